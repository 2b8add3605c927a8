/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <stdio.h>

#include "cli/out.h"
#include "lib/cleanup.h"

static int detach_run(
	struct cli *cli, const struct cmd *cmd, const struct cmd_args *args, struct err *e)
{
	auto_json struct json *reply = NULL;
	auto_free char *id = NULL;
	int rc;

	if (call_daemon(cli, "Detach", cmd, args, false, e) < 0)
		return -1;
	rc = out_reply(cli, &reply, e);
	if (rc <= 0)
		return rc;
	id = out_text(json_member(json_member(reply, "attachment"), "id"));
	printf(cli->form == OUT_PLAIN ? "%s\n" : "%s: taken back\n", id ? id : args->words[0]);
	return 0;
}

extern const struct cmd cmd_detach;
const struct cmd cmd_detach = {
	.name = "detach",
	.summary = "Takes a device back from its virtual machine.",
	.words = {{"ATTACHMENT", "attachment"}},
	.run = detach_run,
};
