/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <stdio.h>
#include <string.h>

#include "cli/out.h"
#include "lib/cleanup.h"
#include "lib/codes.h"

#define INDENT 2

/* --- the device, in about ten lines ----------------------------------------------------------- */

static void print_word(const char *before, const char *text)
{
	if (!text || !text[0])
		return;
	fputs(before, stdout);
	out_safe(stdout, text);
}

static void print_head(const struct json *x)
{
	auto_free char *group = out_text(json_member(x, "iommu_group"));
	const char *path = json_member_str(x, "path");

	print_word("", json_member_str(x, "device"));
	print_word(": ", json_member_str(x, "title"));
	print_word(", driver ", json_member_str(x, "driver"));
	if (group && strcmp(group, "-") != 0)
		print_word(", IOMMU group ", group);
	putchar('\n');
	printf("attach takes %s: ", path ? path : "nothing");
	out_safe(stdout, json_member_str(x, "reason") ?: "");
	puts("\n");
}

static void print_other_device(const struct json *x, const struct json *p)
{
	const char *device = json_member_str(p, "device"), *own = json_member_str(x, "device");

	if (device && own && strcmp(device, own) != 0)
		print_word(" of ", device);
}

/* The path that attach takes, in full. */
static void print_chosen(const struct json *p)
{
	const struct json *found = json_member(p, "findings");

	printf("%s: %s\n", json_member_str(p, "path") ?: "?",
		json_is_true(json_member(p, "open")) ? "open" : "closed");
	out_findings(found, "closes", INDENT, true);
	out_findings(found, "warns", INDENT, false);
	out_findings(found, "notes", INDENT, false);
}

/* Another one: a line. */
static void print_other(const struct json *x, const struct json *p)
{
	fputs(json_member_str(p, "path") ?: "?", stdout);
	print_other_device(x, p);
	if (json_is_true(json_member(p, "open"))) {
		puts(": open");
		return;
	}
	fputs(": closed, ", stdout);
	out_first_finding(json_member(p, "findings"));
	putchar('\n');
}

static void print_paths(const struct json *x, bool chosen)
{
	const struct json *paths = json_member(x, "paths");

	for (size_t i = 0; i < json_count(paths); i++) {
		const struct json *p = json_item(paths, i);

		if (json_is_true(json_member(p, "chosen")) != chosen)
			continue;
		if (chosen)
			print_chosen(p);
		else
			print_other(x, p);
	}
}

static void print_vfs(const struct json *vfs)
{
	auto_free char *count = out_text(json_member(vfs, "count"));
	auto_free char *possible = out_text(json_member(vfs, "possible"));

	if (json_kind(vfs) != JSON_OBJECT)
		return;
	printf("virtual functions: %s, %s of %s\n",
		json_is_true(json_member(vfs, "open")) ? "open" : "closed", count ? count : "?",
		possible ? possible : "?");
	out_findings(json_member(vfs, "findings"), NULL, INDENT, false);
}

static void print_explanation(const struct json *x)
{
	print_head(x);
	print_paths(x, true);
	print_paths(x, false);
	print_vfs(json_member(x, "vfs"));
}

static void print_plain(const struct json *x)
{
	const struct json *paths = json_member(x, "paths");

	for (size_t i = 0; i < json_count(paths); i++) {
		const struct json *p = json_item(paths, i), *found = json_member(p, "findings");

		printf("%s\t%s\t%s\t", json_member_str(p, "path") ?: "?",
			json_is_true(json_member(p, "open")) ? "open" : "closed",
			json_is_true(json_member(p, "chosen")) ? "chosen" : "-");
		for (size_t n = 0; n < json_count(found); n++)
			printf("%s%s", n ? "," : "",
				json_member_str(json_item(found, n), "code") ?: "?");
		putchar('\n');
	}
}

static int explain_device(
	struct cli *cli, const struct cmd *cmd, const struct cmd_args *args, struct err *e)
{
	auto_json struct json *reply = NULL;
	const struct json *x;
	int rc;

	if (call_daemon(cli, "Explain", cmd, args, false, e) < 0)
		return -1;
	rc = out_reply(cli, &reply, e);
	if (rc <= 0)
		return rc;
	x = json_member(reply, "explanation");
	if (json_kind(x) != JSON_OBJECT)
		return err_set(e, ERR_FAILED, "REPLY", "the daemon's answer has no explanation");
	if (cli->form == OUT_PLAIN)
		print_plain(x);
	else
		print_explanation(x);
	return 0;
}

static int explain_run(
	struct cli *cli, const struct cmd *cmd, const struct cmd_args *args, struct err *e)
{
	const char *what = args->words[0];
	const struct code_page *page = code_find(what);

	if (page)
		return out_page(cli, page, e);
	if (explain_device(cli, cmd, args, e) == 0)
		return 0;
	if (e->kind == ERR_NOT_FOUND && code_is_word(what))
		err_fix(e, "iovctl list codes shows the codes there are");
	return -1;
}

extern const struct cmd cmd_explain;
const struct cmd cmd_explain = {
	.name = "explain",
	.summary =
		"Says by which paths a device could be given, and why not; or what a code means.",
	.words = {{"DEVICE|CODE", "device"}},
	.options =
		{
			{"--vm", "vm", CMD_TEXT, "VM", NULL,
				"for which VM: what it has already is in nobody's way"},
		},
	.run = explain_run,
};
