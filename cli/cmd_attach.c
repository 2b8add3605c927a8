/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <stdio.h>

#include "cli/out.h"
#include "lib/cleanup.h"

static void attach_print_member(const struct json *a, const char *before, const char *key)
{
	auto_free char *text = out_text(json_member(a, key));

	printf("%s%s", before, text ? text : "?");
}

static void attach_print(const struct json *a, bool already)
{
	const struct json *devices = json_member(a, "devices");
	bool has_socket = json_member_str(a, "socket") != NULL;

	attach_print_member(a, "", "id");
	attach_print_member(a, already ? ": is already given, " : ": ", "device");
	attach_print_member(a, " -> ", "vm");
	attach_print_member(a, ", ", "path");
	attach_print_member(a, ", ", "state");
	putchar('\n');
	if (has_socket)
		attach_print_member(a, "socket: ", "socket");
	for (size_t i = 1; i < json_count(devices); i++) {
		fputs(i == 1 ? "with its group: " : ", ", stdout);
		out_safe(stdout, json_str(json_item(devices, i)));
	}
	if (has_socket || json_count(devices) > 1)
		putchar('\n');
	if (json_member_str(a, "domain")) {
		puts("\nIt is in the domain's definition, and in the domain if it runs.");
		return;
	}
	puts("\nAdd to the command line of the VMM:");
	fputs("  ", stdout);
	out_words(json_member(a, "vmm_args"), " \\\n  ");
	putchar('\n');
	if (has_socket)
		puts("\nIt must share the guest's memory (-object "
		     "memory-backend-memfd,share=on,...).");
}

static void attach_print_plain(const struct json *a)
{
	attach_print_member(a, "", "id");
	attach_print_member(a, "\t", "device");
	attach_print_member(a, "\t", "vm");
	attach_print_member(a, "\t", "path");
	attach_print_member(a, "\t", "state");
	attach_print_member(a, "\t", "socket");
	putchar('\n');
}

static int attach_run(
	struct cli *cli, const struct cmd *cmd, const struct cmd_args *args, struct err *e)
{
	auto_json struct json *reply = NULL;
	const struct json *a, *plan;
	int rc;

	if (call_daemon(cli, "Attach", cmd, args, false, e) < 0)
		return -1;
	rc = out_reply(cli, &reply, e);
	if (rc <= 0)
		return rc;
	a = json_member(reply, "attachment");
	plan = json_member(reply, "plan");
	if (plan)
		out_plan(plan);
	else if (!a)
		return err_set(e, ERR_FAILED, "REPLY", "the daemon's answer has no attachment");
	else if (cli->form == OUT_PLAIN)
		attach_print_plain(a);
	else
		attach_print(a, json_is_true(json_member(reply, "already")));
	return 0;
}

extern const struct cmd cmd_attach;
const struct cmd cmd_attach = {
	.name = "attach",
	.summary = "Gives a device to a virtual machine, and prints what its VMM needs.",
	.words = {{"DEVICE", "device"}, {"VM", "vm"}},
	.options =
		{
			{"--path", "path", CMD_TEXT,
				.choices = "auto|paravirt|passthrough|emulated",
				.help = "how the machine gets at it"},
			{"--as", "as", CMD_TEXT, "NAME", .help = "what the attachment is called"},
			{"--readonly", "readonly", CMD_FLAG, .help = "the machine cannot write"},
			{"--queues", "queues", CMD_NUMBER, "N",
				.help = "how many queues the machine may use"},
			{"--cache", "cache", CMD_TEXT, .choices = "none|writeback",
				.help = "past the host's page cache, or through it"},
			{"--owner", "owner", CMD_TEXT, "USER",
				.help = "the user that the VMM runs as: socket or device node are "
					"his"},
			{"--allow", "allow", CMD_TEXT, "CODE[,CODE]",
				.help = "waive GRP-SPLIT (give the whole group), DEV-NO-RESET, "
					"DEV-UNKNOWN; of "
					"spares STALE-SPARE, LATE-WRITE"},
			{"--on-error", "on_error", CMD_TEXT, .choices = "report|hold",
				.help = "tell the machine, or keep its requests until 'recover'"},
			{"--on-fault", "on_fault", CMD_TEXT, .choices = "report|block",
				.help = "a storm of DMA faults is reported, or the device's DMA "
					"blocked"},
			{"--spare", "spare", CMD_LIST, "DEVICE",
				.help = "another path, that takes over by itself; may be repeated"},
			{"--fence", "fence", CMD_TEXT, "CMD",
				.help = "ends a path: once it exits with 0, nothing lands by it"},
			{"--io-timeout", "io_timeout_ms", CMD_NUMBER, "MS",
				.help = "a request that takes longer has failed (30000 with hold; "
					"0: "
					"none)"},
			{"--set", "set", CMD_TEXT, "KEY=VALUE[,KEY=VALUE]",
				.help = "of a virtual function: as 'vf set', while it is given"},
			{"--standby", "standby", CMD_TEXT, "INTERFACE",
				.help = "with a virtual function: a virtio card carries on without "
					"it"},
			{"--fix", "fix", CMD_FLAG,
				.help = "let a domain that is shut off share its memory"},
			{"--dry-run", "dry_run", CMD_FLAG,
				.help = "say what would be done, and change nothing"},
		},
	.run = attach_run,
};
