/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <stdio.h>
#include <string.h>

#include "cli/out.h"
#include "lib/cleanup.h"

static void watch_print_member(const struct json *event, const char *key, char after)
{
	auto_free char *text = out_text(json_member(event, key));

	printf("%s%c", text ? text : "?", after);
}

/* What a job is at, or an attachment is called: a person wants to see more than its state. */
static void watch_print_state(const struct json *data, char gap)
{
	static const char *const keys[] = {"doing", "name", "redundancy"};
	const char *reason = json_member_str(data, "reason");
	auto_free char *state = out_text(json_member(data, reason ? "device" : "state"));

	fputs(state ? state : "?", stdout);
	if (reason) { /* a fault has no state */
		putchar(gap);
		out_safe(stdout, reason);
	}
	for (unsigned int i = 0; i < ARRAY_SIZE(keys); i++) {
		const char *note = json_member_str(data, keys[i]);

		if (note && *note)
			printf("%c%s", gap, note);
	}
	putchar('\n');
}

/* What a watcher that came back has missed for good. */
static void watch_print_lost(const struct json *data)
{
	auto_free char *from = out_text(json_member(data, "from"));
	auto_free char *to = out_text(json_member(data, "to"));
	const char *why = json_member_str(data, "why");

	printf("%s to %s: %s\n", from ? from : "?", to ? to : "?", why ? why : "?");
}

/* "watching" is for programs: people see that nothing has happened yet. */
static int watch_print(const struct cli *cli, struct err *e)
{
	char gap = cli->form == OUT_PLAIN ? '\t' : ' ';
	auto_json struct json *event = NULL;
	const char *what;
	int rc = out_reply(cli, &event, e);

	if (rc <= 0)
		return rc;
	what = json_member_str(event, "event");
	if (what && strcmp(what, "watching") == 0)
		return 0;
	watch_print_member(event, "time", gap);
	watch_print_member(event, "event", gap);
	if (what && strcmp(what, "lost") == 0) {
		watch_print_lost(json_member(event, "data"));
		return 0;
	}
	watch_print_member(event, "kind", gap);
	watch_print_member(event, "id", gap);
	watch_print_state(json_member(event, "data"), gap);
	return 0;
}

/* Every event leaves at once, whatever standard output is; the end comes from outside. */
static int watch_run(
	struct cli *cli, const struct cmd *cmd, const struct cmd_args *args, struct err *e)
{
	if (args_option(cmd, args, "--daemon") && !args_option(cmd, args, "--since"))
		return err_set(e, ERR_USAGE, "USAGE", "--daemon says whose --since is: give both");
	if (call_daemon(cli, "Watch", cmd, args, true, e) < 0)
		return -1;
	for (;;) {
		if (watch_print(cli, e) < 0)
			return -1;
		if (fflush(stdout) == EOF)
			return err_set(
				e, ERR_FAILED, "OUTPUT", "standard output cannot be written");
		if (!cli->reply.continues)
			return 0;
		if (call_next(cli, e) < 0)
			return -1;
	}
}

extern const struct cmd cmd_watch;
const struct cmd cmd_watch = {
	.name = "watch",
	.summary = "Prints events as they happen, until it is ended.",
	.options =
		{
			{"--since", "since", CMD_NUMBER, "SEQ",
				.help = "first what came after this event, as far as it is kept"},
			{"--daemon", "daemon", CMD_TEXT, "ID", .help = "whose event that was"},
		},
	.run = watch_run,
};
