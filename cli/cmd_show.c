/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <string.h>

#include "cli/out.h"
#include "cli/picture.h"
#include "lib/cleanup.h"
#include "lib/migrate/iostate_file.h"

/* The file is the caller's, and so are the rights to read it: the daemon has no part in it. */
static int show_file(const struct cli *cli, const char *path, struct err *e)
{
	auto_iostate struct iostate *s = iostate_file_read(path, e);

	return s ? out_iostate(cli, s, e) : -1;
}

/* --- the host --------------------------------------------------------------------------------- */

typedef int draw_fn(const struct picture *p, struct err *e);

static const struct {
	const char *option;
	draw_fn *draw;
	bool whole;
} drawings[] = {
	{"--tree", picture_tree, false},
	{"--svg", picture_svg, false},
	{"--dot", picture_dot, true},
};

/* How it is to be drawn: an index; the count of them: not at all; -1: more than one way. */
static int find_drawing(const struct cmd *cmd, const struct cmd_args *args, struct err *e)
{
	int found = ARRAY_SIZE(drawings);

	for (int i = 0; i < (int)ARRAY_SIZE(drawings); i++) {
		if (!args_option(cmd, args, drawings[i].option))
			continue;
		if (found < (int)ARRAY_SIZE(drawings))
			return err_set(e, ERR_USAGE, "USAGE", "%s and %s are two pictures",
				drawings[found].option, drawings[i].option);
		found = i;
	}
	return found;
}

static int draw(const struct cli *cli, int how, struct err *e)
{
	auto_json struct json *reply = out_parse(cli, e);
	struct picture *p;
	int rc;

	if (!reply)
		return -1;
	p = picture_new(reply, drawings[how].whole, e);
	if (!p)
		return -1;
	rc = drawings[how].draw(p, e);
	picture_free(p);
	return rc;
}

static int show_host(struct cli *cli, int how, struct err *e)
{
	if (call_daemon(cli, "ShowHost", NULL, NULL, false, e) < 0)
		return -1;
	if (how < (int)ARRAY_SIZE(drawings) && !out_is_json(cli))
		return draw(cli, how, e);
	return out_object(cli, "host", e);
}

/* --- anything --------------------------------------------------------------------------------- */

/* The reply says what kind of thing it is, and has it under that name. */
static int show_run(
	struct cli *cli, const struct cmd *cmd, const struct cmd_args *args, struct err *e)
{
	auto_json struct json *reply = NULL;
	int how = find_drawing(cmd, args, e), rc;
	const char *kind;

	if (how < 0)
		return -1;
	if (strcmp(args->words[0], "host") == 0)
		return show_host(cli, how, e);
	if (how < (int)ARRAY_SIZE(drawings))
		return err_set(e, ERR_USAGE, "USAGE", "%s is for the host: show host %s",
			drawings[how].option, drawings[how].option);
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
	.options =
		{
			{"--tree", NULL, CMD_FLAG,
				.help = "of 'host': a picture of all that there is, as a tree"},
			{"--svg", NULL, CMD_FLAG, .help = "the same for a page"},
			{"--dot", NULL, CMD_FLAG, .help = "the same for Graphviz"},
		},
	.run = show_run,
};
