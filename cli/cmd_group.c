/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <stdio.h>

#include "cli/out.h"
#include "lib/cleanup.h"

static int group_set(
	struct cli *cli, const struct cmd *cmd, const struct cmd_args *args, struct err *e)
{
	auto_json struct json *reply = NULL;
	auto_free char *id = NULL, *type = NULL;
	const struct json *group;
	int rc;

	if (call_daemon(cli, "SetGroup", cmd, args, false, e) < 0)
		return -1;
	rc = out_reply(cli, &reply, e);
	if (rc <= 0)
		return rc;
	group = json_member(reply, "group");
	id = out_text(json_member(group, "id"));
	type = out_text(json_member(group, "type"));
	printf(cli->form == OUT_PLAIN ? "%s\t%s\n" : "group %s: %s\n", id ? id : "?",
		type ? type : "?");
	return 0;
}

static int group_run(
	struct cli *cli, const struct cmd *cmd, const struct cmd_args *args, struct err *e)
{
	if (args_option(cmd, args, "--type"))
		return group_set(cli, cmd, args, e);
	if (call_daemon(cli, "ShowGroup", cmd, args, false, e) < 0)
		return -1;
	return out_object(cli, "group", e);
}

extern const struct cmd cmd_group;
const struct cmd cmd_group = {
	.name = "group",
	.summary = "Shows an IOMMU group, or sets what the IOMMU does with it by default.",
	.words = {{"GROUP", "group"}},
	.options =
		{
			{"--type", "type", CMD_TEXT, .choices = "translate|identity|blocked",
				.help = "what the IOMMU does with its members' DMA"},
		},
	.run = group_run,
};
