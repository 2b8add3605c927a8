/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "cli/out.h"

static int job_call_wait(struct cli *cli, const char *id, const char *wait_ms, struct err *e)
{
	struct json_out o;
	uint64_t ms;

	json_out_init(&o);
	json_out_object(&o, NULL);
	json_out_str(&o, "id", id);
	if (*wait_ms && parse_u64(wait_ms, INT64_MAX, &ms) == 0)
		json_out_u64(&o, "wait_ms", ms);
	json_out_end(&o);
	return call_with(cli, "WaitJob", &o, false, e);
}

/* Cancelling comes before waiting; without both the job is only shown. */
static int job_run(
	struct cli *cli, const struct cmd *cmd, const struct cmd_args *args, struct err *e)
{
	const char *wait_ms = args_option(cmd, args, "--wait");
	bool cancel = args_option(cmd, args, "--cancel");

	if (cancel && call_daemon(cli, "CancelJob", cmd, args, false, e) < 0)
		return -1;
	if (wait_ms && job_call_wait(cli, args->words[0], wait_ms, e) < 0)
		return -1;
	if (!cancel && !wait_ms && call_daemon(cli, "ShowJob", cmd, args, false, e) < 0)
		return -1;
	return out_object(cli, "job", e);
}

extern const struct cmd cmd_job;
const struct cmd cmd_job = {
	.name = "job",
	.summary = "Shows a job, waits for its end, or cancels it.",
	.words = {{"ID", "id"}},
	.options =
		{
			{"--wait", NULL, CMD_MAYBE_NUMBER, "MS",
				.help = "until it has ended, or for so many milliseconds"},
			{"--cancel", NULL, CMD_FLAG, .help = "ask it to stop"},
		},
	.run = job_run,
};
