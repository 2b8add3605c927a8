/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "cli/out.h"
#include "lib/codes.h"

static int explain_run(
	struct cli *cli, const struct cmd *cmd, const struct cmd_args *args, struct err *e)
{
	const char *what = args->words[0];
	const struct code_page *page = code_find(what);

	(void)cmd;
	if (page)
		return out_page(cli, page, e);
	err_set(e, ERR_NOT_FOUND, "NO-SUCH", "there is no code %s", what);
	return err_fix(e, "iovctl list codes");
}

extern const struct cmd cmd_explain;
const struct cmd cmd_explain = {
	.name = "explain",
	.summary = "Says what a refusal's code means, what to do, and whether it can be waived.",
	.words = {{"CODE"}},
	.run = explain_run,
};
