/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <stdio.h>

#include "cli/out.h"
#include "lib/cleanup.h"

static int gate_print(struct cli *cli, const char *done, struct err *e)
{
	auto_json struct json *reply = out_parse(cli, e);
	const struct json *list = json_member(reply, "attachments");

	if (!reply)
		return -1;
	for (size_t i = 0; i < json_count(list); i++) {
		auto_free char *id = out_text(json_member(json_item(list, i), "id"));

		printf(cli->form == OUT_PLAIN ? "%s\n" : "%s: %s\n", id ? id : "-", done);
	}
	return 0;
}

static int gate_run(struct cli *cli, const char *method, const char *done, const struct cmd *cmd,
	const struct cmd_args *args, struct err *e)
{
	if (call_daemon(cli, method, cmd, args, false, e) < 0)
		return -1;
	if (!out_is_json(cli))
		return gate_print(cli, done, e);
	out_raw(cli);
	return 0;
}

static int quiesce_run(
	struct cli *cli, const struct cmd *cmd, const struct cmd_args *args, struct err *e)
{
	return gate_run(cli, "Quiesce", "quiesced", cmd, args, e);
}

static int resume_run(
	struct cli *cli, const struct cmd *cmd, const struct cmd_args *args, struct err *e)
{
	return gate_run(cli, "Resume", "open", cmd, args, e);
}

extern const struct cmd cmd_quiesce, cmd_resume;
const struct cmd cmd_quiesce = {
	.name = "quiesce",
	.summary = "Takes no new request from the guest and waits until none is in flight.",
	.words = {{"VM|ATTACHMENT", "target"}},
	.options = {{"--timeout", "timeout_ms", CMD_NUMBER, "MS", NULL,
			    "past it, say what is stuck and undo it (5000)"},
		{"--carry", "carry", CMD_FLAG,
			.help = "cancel what can be shown to be cancelled, and record it"}},
	.run = quiesce_run,
};

const struct cmd cmd_resume = {
	.name = "resume",
	.summary = "Takes requests again from a quiesced guest.",
	.words = {{"VM|ATTACHMENT", "target"}},
	.run = resume_run,
};
