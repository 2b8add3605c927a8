/* SPDX-License-Identifier: GPL-2.0-or-later */
/* `bind` and `release`: the same answer, told in other words. */
#include <stdio.h>

#include "cli/out.h"
#include "lib/cleanup.h"

static void bind_print_text(const struct json *b, const char *before, const char *key)
{
	const char *text = json_member_str(b, key);

	fputs(before, stdout);
	out_safe(stdout, text ? text : "(none)");
}

static void bind_print(const struct json *b, bool already)
{
	bind_print_text(b, "", "device");
	bind_print_text(b, ": driver ", "driver");
	if (json_is_true(json_member(b, "kept")))
		bind_print_text(b, ", for good; before: ", "before");
	puts(already ? " (it was so already)" : "");
}

static void bind_print_plain(const struct json *b)
{
	bind_print_text(b, "", "device");
	bind_print_text(b, "\t", "driver");
	bind_print_text(b, "\t", "before");
	putchar('\n');
}

static int bind_call(struct cli *cli, const char *method, const struct cmd *cmd,
	const struct cmd_args *args, struct err *e)
{
	auto_json struct json *reply = NULL;
	const struct json *list, *plan;
	bool already;
	int rc;

	if (call_daemon(cli, method, cmd, args, false, e) < 0)
		return -1;
	rc = out_reply(cli, &reply, e);
	if (rc <= 0)
		return rc;
	plan = json_member(reply, "plan");
	list = json_member(reply, "bindings");
	already = json_is_true(json_member(reply, "already"));
	if (plan)
		out_plan(plan);
	for (size_t i = 0; i < json_count(list); i++) {
		if (cli->form == OUT_PLAIN)
			bind_print_plain(json_item(list, i));
		else
			bind_print(json_item(list, i), already);
	}
	return 0;
}

static int bind_run(
	struct cli *cli, const struct cmd *cmd, const struct cmd_args *args, struct err *e)
{
	return bind_call(cli, "Bind", cmd, args, e);
}

static int release_run(
	struct cli *cli, const struct cmd *cmd, const struct cmd_args *args, struct err *e)
{
	return bind_call(cli, "Release", cmd, args, e);
}

extern const struct cmd cmd_bind, cmd_release;

const struct cmd cmd_bind = {
	.name = "bind",
	.summary = "Gives a PCI device a driver, over reboots, too.",
	.words = {{"DEVICE", "device"}, {"DRIVER", "driver"}},
	.options =
		{
			{"--group", "group", CMD_FLAG,
				.help = "with all that shares its IOMMU group"},
			{"--allow", "allow", CMD_TEXT, "CODE",
				.help = "a check that is waived: HOST-CONSOLE"},
			{"--dry-run", "dry_run", CMD_FLAG,
				.help = "say what would be done, and change nothing"},
		},
	.run = bind_run,
};

const struct cmd cmd_release = {
	.name = "release",
	.summary = "Gives a PCI device back the driver that it had before.",
	.words = {{"DEVICE", "device"}},
	.options =
		{
			{"--group", "group", CMD_FLAG,
				.help = "with all of its IOMMU group that was bound"},
			{"--dry-run", "dry_run", CMD_FLAG,
				.help = "say what would be done, and change nothing"},
		},
	.run = release_run,
};
