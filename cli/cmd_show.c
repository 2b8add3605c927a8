/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "cli/out.h"
#include "lib/cleanup.h"
#include "lib/migrate/iostate_file.h"

/* The file is the caller's, and so are the rights to read it: the daemon has no part in it. */
static int show_file(const struct cli *cli, const char *path, struct err *e)
{
	auto_iostate struct iostate *s = iostate_file_read(path, e);

	return s ? out_iostate(cli, s, e) : -1;
}

/* The reply says what kind of thing it is, and has it under that name. */
static int show_run(
	struct cli *cli, const struct cmd *cmd, const struct cmd_args *args, struct err *e)
{
	auto_json struct json *reply = NULL;
	const char *kind;
	int rc;

	if (iostate_file_is(args->words[0]))
		return show_file(cli, args->words[0], e);
	if (call_daemon(cli, "Show", cmd, args, false, e) < 0)
		return -1;
	rc = out_reply(cli, &reply, e);
	if (rc <= 0)
		return rc;
	kind = json_member_str(reply, "kind");
	if (!kind)
		return err_set(e, ERR_FAILED, "REPLY", "the daemon's answer has no kind");
	return out_object(cli, kind, e);
}

extern const struct cmd cmd_show;
const struct cmd cmd_show = {
	.name = "show",
	.summary = "Shows everything about one thing, found by any of its names, or an I/O state "
		   "file.",
	.words = {{"NAME", "name"}},
	.run = show_run,
};
