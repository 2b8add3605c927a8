/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What a command is: a row with its grammar and a function, exported by cli/cmd_<verb>.c and listed
 * in cli/main.c. Help text and parsing come from the row, and words and options that have a `key`
 * become parameters of the call as they are: names are the daemon's to understand.
 */
#pragma once

#include "lib/err.h"
#include "proto/client.h"
#include "proto/json.h"

#define CMD_MAX_WORDS   2
#define CMD_MAX_OPTIONS 20
#define CMD_MAX_PAIRS   32

enum out_form {
	OUT_TABLE, /* for people */
	OUT_JSON,  /* the document as the daemon sent it */
	OUT_JSONL, /* one object per line */
	OUT_PLAIN, /* one thing per line, tabs between, no header */
};

/* What the command line said about everything but the command. */
struct cli {
	const char *socket;
	enum out_form form;
	struct client *client; /* connected on the first call */
	struct varlink_reply reply;
	char job[32]; /* of the latest error: what goes on */
};

enum cmd_kind {
	CMD_FLAG,         /* --free */
	CMD_TEXT,         /* --vm VM */
	CMD_NUMBER,       /* --queues N */
	CMD_MAYBE_NUMBER, /* --wait [MS] */
	CMD_PAIRS, /* --map OLD=NEW, any number of times; one such option in a command, ... */
	CMD_LIST,  /* or one like this: --spare DEVICE, any number of times */
};

struct cmd_word {
	const char *name;    /* "DEVICE"; NULL: no more words */
	const char *key;     /* of the parameter; NULL: the command's own business */
	const char *choices; /* "devices|groups"; NULL: anything */
};

struct cmd_option {
	const char *name; /* "--path"; NULL: no more options */
	const char *key;
	enum cmd_kind kind;
	const char *value_name;
	const char *choices;
	const char *help;
};

/* By position of the word, of the option. NULL: not given; a flag and a lone --wait are "". */
struct cmd_args {
	const char *words[CMD_MAX_WORDS];
	const char *options[CMD_MAX_OPTIONS];
	char **rest; /* the words after these, if the command takes more; NULL at the end */
	int rest_count;
	const char *pairs[CMD_MAX_PAIRS]; /* of CMD_PAIRS, CMD_LIST; the last is in options[] too */
	unsigned int pair_count;
};

struct cmd {
	const char *name, *summary;
	struct cmd_word words[CMD_MAX_WORDS + 1];
	const char
		*rest; /* one more word at least, "COUNT"; "-- CMD...": as many as come after -- */
	struct cmd_option options[CMD_MAX_OPTIONS + 1];
	int (*run)(
		struct cli *cli, const struct cmd *cmd, const struct cmd_args *args, struct err *e);
};

/* Every command, NULL at the end; in the order of the help text. */
extern const struct cmd *const cmd_all[];

/* --- cli/args.c: words to values -------------------------------------------------------------- */

/* The global options; *argc and *argv move on to the verb. 0, or -1 (ERR_USAGE). */
int args_parse_global(
	struct cli *cli, int *argc, char ***argv, bool *help, bool *version, struct err *e);

/* What follows the verb. 0, or -1 (ERR_USAGE). */
int args_parse(struct cli *cli, const struct cmd *cmd, int argc, char **argv, struct cmd_args *args,
	bool *help, struct err *e);

/* The option of this name, as in struct cmd_args. */
const char *args_option(const struct cmd *cmd, const struct cmd_args *args, const char *name);

/* The members for all words and options that have a key and were given. */
void args_put(const struct cmd *cmd, const struct cmd_args *args, struct json_out *o);

void args_print_usage(void);
void args_print_help(const struct cmd *cmd);

/* --- cli/call.c: the daemon ------------------------------------------------------------------- */

/*
 * Calls a method (of org.iovd.Manager) with what args_put() says (args NULL: no parameters) and
 * waits for the reply, in cli->reply. An error reply is an error: -1 with e as the daemon filled
 * it.
 */
int call_daemon(struct cli *cli, const char *method, const struct cmd *cmd,
	const struct cmd_args *args, bool more, struct err *e);

/* The same with parameters made by the caller, who closes nothing: `o` is consumed. */
int call_with(struct cli *cli, const char *method, struct json_out *o, bool more, struct err *e);

/* Its first half: the call is sent, and call_next() takes the reply. */
int call_send(struct cli *cli, const char *method, struct json_out *o, bool more, struct err *e);

/* The next reply of a stream. 0 or -1. */
int call_next(struct cli *cli, struct err *e);
