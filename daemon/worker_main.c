/* SPDX-License-Identifier: GPL-2.0-or-later */
/* iov-worker: the data plane of one device (iov-worker(1)). */
#include <stdio.h>

#include "config.h"
#include "daemon/worker_args.h"
#include "daemon/worker_run.h"
#include "lib/log.h"

static int print_words(const struct worker_args *args)
{
	if (args->help)
		worker_args_help();
	else if (args->version)
		puts(PACKAGE_STRING);
	else
		puts(worker_args_is_net(args) ? "{\"type\": \"net\"}"
					      : "{\"type\": \"block\", \"features\": "
						"[\"read-only\", \"blk-file\"]}");
	return fflush(stdout) == 0 ? 0 : 1;
}

int main(int argc, char **argv)
{
	struct worker_args args;
	struct err e = ERR_INIT;

	log_open("iov-worker");
	if (worker_args_parse(&args, argc, argv, &e) < 0) {
		fprintf(stderr, "iov-worker: %s\n", e.msg);
		if (e.fix[0])
			fprintf(stderr, "%s\n", e.fix);
		return err_kind_info(e.kind)->exit_status;
	}
	if (args.help || args.version || args.print_capabilities)
		return print_words(&args);
	if (worker_run(&args, &e) < 0) {
		log_error("%s", e.msg);
		return 1;
	}
	return 0;
}
