/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <stdio.h>

#include "cli/out.h"
#include "lib/cleanup.h"

static int recover_run(
	struct cli *cli, const struct cmd *cmd, const struct cmd_args *args, struct err *e)
{
	auto_json struct json *reply = NULL;
	auto_free char *id = NULL, *device = NULL;
	const struct json *a;
	int rc;

	if (call_daemon(cli, "Recover", cmd, args, false, e) < 0)
		return -1;
	rc = out_reply(cli, &reply, e);
	if (rc <= 0)
		return rc;
	a = json_member(reply, "attachment");
	id = out_text(json_member(a, "id"));
	device = out_text(json_member(a, "device"));
	if (cli->form == OUT_PLAIN)
		printf("%s\n", id ? id : "-");
	else
		printf("%s: goes on with %s\n", id ? id : "-", device ? device : "-");
	return 0;
}

extern const struct cmd cmd_recover;
const struct cmd cmd_recover = {
	.name = "recover",
	.summary = "Does held requests again, on the same device or on another one.",
	.words = {{"ATTACHMENT", "attachment"}},
	.options =
		{
			{"--to", "to", CMD_TEXT, "DEVICE",
				.help = "another path to the same volume"},
			{"--allow", "allow", CMD_TEXT, "CODE,...",
				.help = "checks that are waived: STALE-SPARE, LATE-WRITE, "
					"NBD-LATE"},
		},
	.run = recover_run,
};
