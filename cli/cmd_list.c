/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <stdio.h>
#include <string.h>

#include "cli/out.h"
#include "lib/cleanup.h"

/* Of faults: those that nobody saw, so that no line is not taken for no fault. */
static int list_say_unseen(const struct cli *cli, struct err *e)
{
	auto_json struct json *reply = out_parse(cli, e);
	const struct json *log = json_member(reply, "log");
	auto_free char *suppressed = out_text(json_member(log, "suppressed"));
	auto_free char *unseen = out_text(json_member(log, "unseen"));

	if (!reply)
		return -1;
	if (!json_is_true(json_member(log, "readable")))
		fprintf(stderr, "No fault can be seen now: %s\n",
			json_member_str(log, "problem") ?: "?");
	if (suppressed && strcmp(suppressed, "0") != 0)
		fprintf(stderr, "The kernel has left out %s more, since iovd began.\n", suppressed);
	if (unseen && strcmp(unseen, "0") != 0)
		fprintf(stderr, "%s records of the kernel's log were lost, since iovd began.\n",
			unseen);
	return 0;
}

/* What can be listed, and which filters it has. */
static const struct listing {
	const char *name, *method;
	bool takes_class, takes_vm, takes_free;
	struct out_view view;
	int (*after)(const struct cli *cli, struct err *e); /* the table: what it cannot show */
} listings[] = {
	{"devices", "ListDevices", true, true, true,
		{"devices", {{"ID", "id"}, {"CLASS", "class"}, {"STATE", "state"},
				    {"DRIVER", "driver"}, {"GROUP", "iommu_group"},
				    {"NAME", "name"}, {"IN USE BY", "in_use_by"}}}},
	{"groups", "ListGroups", false, false, false,
		{"groups", {{"GROUP", "id"}, {"TYPE", "type"}, {"VIABLE", "viable"},
				   {"IOMMU", "iommu"}, {"DEVICES", "devices"}, {"WHY", "why"}}}},
	{"attachments", "ListAttachments", false, true, false,
		{"attachments", {{"ID", "id"}, {"DEVICE", "device"}, {"VM", "vm"}, {"PATH", "path"},
					{"STATE", "state"}, {"REDUNDANCY", "redundancy"},
					{"RESTARTS", "restarts"},
					{"REQUESTS", "requests_completed"}, {"SOCKET", "socket"}}}},
	{"vms", "ListVms", false, false, false,
		{"vms", {{"NAME", "name"}, {"MANAGED", "managed"}, {"STATE", "state"},
				{"ATTACHMENTS", "attachments"}}}},
	{"faults", "ListFaults", false, true, false,
		{"faults", {{"SEQ", "seq"}, {"TIME", "time"}, {"COUNT", "count"},
				   {"DEVICE", "device"}, {"VM", "vm"}, {"IOVA", "iova"},
				   {"CODE", "code"}, {"REASON", "reason"}}},
		.after = list_say_unseen},
	{"jobs", "ListJobs", false, false, false,
		{"jobs", {{"ID", "id"}, {"VERB", "verb"}, {"STATE", "state"}, {"%", "percent"},
				 {"OBJECTS", "objects"}, {"DOING", "doing"}, {"ERROR", "error"}}}},
	{.name = "codes"},
};

static int list_check_filter(const struct listing *l, const struct cmd *cmd,
	const struct cmd_args *args, const char *option, bool taken, struct err *e)
{
	if (taken || !args_option(cmd, args, option))
		return 0;
	return err_set(e, ERR_USAGE, "USAGE", "'list %s' has no %s", l->name, option);
}

static int list_run(
	struct cli *cli, const struct cmd *cmd, const struct cmd_args *args, struct err *e)
{
	const struct listing *l = listings;

	while (strcmp(l->name, args->words[0]) != 0) /* args_parse() has checked the choice */
		l++;
	if (list_check_filter(l, cmd, args, "--class", l->takes_class, e) < 0 ||
		list_check_filter(l, cmd, args, "--vm", l->takes_vm, e) < 0 ||
		list_check_filter(l, cmd, args, "--free", l->takes_free, e) < 0)
		return -1;
	if (!l->method) /* this program knows them itself */
		return out_pages(cli, e);
	if (call_daemon(cli, l->method, cmd, args, false, e) < 0)
		return -1;
	if (out_list(cli, &l->view, e) < 0)
		return -1;
	return l->after && cli->form == OUT_TABLE ? l->after(cli, e) : 0;
}

extern const struct cmd cmd_list;
const struct cmd cmd_list = {
	.name = "list",
	.summary =
		"Lists devices, IOMMU groups, attachments, virtual machines, faults, jobs or codes "
		"of refusals.",
	.words = {{"WHAT", .choices = "devices|groups|attachments|vms|faults|jobs|codes"}},
	.options =
		{
			{"--class", "class", CMD_TEXT, "CLASS",
				.help = "devices of this class: block, net, pci, ..."},
			{"--vm", "vm", CMD_TEXT, "VM", .help = "what this virtual machine has"},
			{"--free", "free", CMD_FLAG, .help = "devices that nobody uses"},
		},
	.run = list_run,
};
