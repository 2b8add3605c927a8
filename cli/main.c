/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <config.h>
#include <stdio.h>
#include <string.h>

#include "cli/out.h"

extern const struct cmd cmd_attach, cmd_bind, cmd_bridge, cmd_detach, cmd_doctor, cmd_explain,
	cmd_group, cmd_hook, cmd_job, cmd_list, cmd_migrate, cmd_quiesce, cmd_recover, cmd_release,
	cmd_restore, cmd_resume, cmd_run, cmd_save, cmd_show, cmd_top, cmd_vf, cmd_watch;

const struct cmd *const cmd_all[] = {
	&cmd_list,
	&cmd_show,
	&cmd_explain,
	&cmd_doctor,
	&cmd_group,
	&cmd_attach,
	&cmd_detach,
	&cmd_run,
	&cmd_quiesce,
	&cmd_resume,
	&cmd_recover,
	&cmd_save,
	&cmd_restore,
	&cmd_migrate,
	&cmd_bind,
	&cmd_release,
	&cmd_vf,
	&cmd_job,
	&cmd_watch,
	&cmd_top,
	&cmd_bridge,
	&cmd_hook,
	NULL,
};

static const struct cmd *main_find_cmd(const char *name)
{
	for (const struct cmd *const *cmd = cmd_all; *cmd; cmd++)
		if (strcmp((*cmd)->name, name) == 0)
			return *cmd;
	return NULL;
}

static int main_run_cmd(struct cli *cli, int argc, char **argv, struct err *e)
{
	const struct cmd *cmd = main_find_cmd(argv[0]);
	struct cmd_args args;
	bool help = false;

	if (!cmd) {
		err_set(e, ERR_USAGE, "USAGE", "there is no verb '%s'", argv[0]);
		return err_fix(e, "see 'iovctl --help'");
	}
	if (args_parse(cli, cmd, argc - 1, argv + 1, &args, &help, e) < 0) {
		err_wrap(e, "%s", cmd->name);
		return err_fix(e, "see 'iovctl %s --help'", cmd->name);
	}
	if (help) {
		args_print_help(cmd);
		return 0;
	}
	return cmd->run(cli, cmd, &args, e);
}

static int main_run(struct cli *cli, int argc, char **argv, struct err *e)
{
	bool help = false, version = false;

	if (args_parse_global(cli, &argc, &argv, &help, &version, e) < 0)
		return err_fix(e, "see 'iovctl --help'");
	if (help) {
		args_print_usage();
		return 0;
	}
	if (version) {
		puts("iovctl " PACKAGE_VERSION);
		return 0;
	}
	if (argc == 0) {
		err_set(e, ERR_USAGE, "USAGE", "a verb is missing");
		return err_fix(e, "see 'iovctl --help'");
	}
	return main_run_cmd(cli, argc, argv, e);
}

/* What was printed must have arrived, or a script would work with half of it. */
static int main_flush(struct err *e)
{
	if (fflush(stdout) == EOF || ferror(stdout))
		return err_set(e, ERR_FAILED, "OUTPUT", "standard output cannot be written");
	return 0;
}

int main(int argc, char **argv)
{
	struct cli cli = {.socket = IOVD_RUNTIME_DIR "/iovd.sock"};
	struct err e = ERR_INIT;
	int rc = main_run(&cli, argc - 1, argv + 1, &e);

	if (rc == 0)
		rc = main_flush(&e);
	if (rc < 0 && e.msg[0])
		out_error(&cli, &e);
	client_close(cli.client);
	return rc < 0 ? err_kind_info(e.kind)->exit_status : 0;
}
