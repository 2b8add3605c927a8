/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The daemon's settings: the command line, and iovd.conf, which is lines of `key = value`, blank
 * lines and lines that begin with `#`. An unknown key is an error: a typing mistake must not run.
 */
#pragma once

#include <limits.h>

#include "lib/err.h"

struct conf {
	/* from the command line */
	char state_dir[PATH_MAX];   /* /var/lib/iovd */
	char runtime_dir[PATH_MAX]; /* /run/iovd */
	char sysroot[PATH_MAX];     /* "" for the real host */
	char config[PATH_MAX];      /* /etc/iovd/iovd.conf */
	bool config_given;          /* then it must exist */
	bool stop_all;
	bool apply_bindings;
	bool runs_as_daemon; /* --keeper-fd was given: this process is the daemon itself */
	int keeper_fd;       /* -1: none */
	bool show_help, show_version;
	/* from the file */
	char socket_group[64];   /* who may read: "iovd" */
	char worker_user[64];    /* whom workers run as: "iovd-worker" */
	char ssh[256];           /* the program that reaches other hosts: "ssh" */
	char address[256];       /* where other hosts' iovds reach this one; "": nowhere */
	char libvirt[256];       /* its URI, "qemu:///system", or "none" */
	char libvirt_given[256]; /* on the command line: instead of that; or "" */
};

/* Everything at its default. */
void conf_init(struct conf *c);

/* The options of `iovd`; 0, or -1 (ERR_USAGE). */
int conf_parse_args(struct conf *c, int argc, char **argv, struct err *e);

/* The file c->config, if there is one. 0, or -1 naming file and line. */
int conf_read_file(struct conf *c, struct err *e);

/* The same for text that was read already; `name` for the messages. */
int conf_parse_text(struct conf *c, const char *name, char *text, struct err *e);
