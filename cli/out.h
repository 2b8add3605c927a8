/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * How replies look. A view names what a reply has for people: the member that holds it, and the
 * columns. JSON is printed as the daemon sent it, whatever the view says. Nothing that a device or
 * a peer is called can move the cursor: control characters are replaced.
 */
#pragma once

#include <stdio.h>

#include "cli/cmd.h"

#define OUT_MAX_COLUMNS 12

struct out_column {
	const char *title; /* NULL: no more columns */
	const char *key;
};

struct out_view {
	const char *member; /* of the parameters: an array of objects */
	struct out_column columns[OUT_MAX_COLUMNS + 1];
};

/* The list in cli->reply, in the form that was asked for. 0 or -1. */
int out_list(const struct cli *cli, const struct out_view *view, struct err *e);

/* One object: member `member` of the reply, all that it has. 0 or -1. */
int out_object(const struct cli *cli, const char *member, struct err *e);

/* The reply as it came, as one line: what json and jsonl mean for a reply that is one thing. */
void out_raw(const struct cli *cli);
bool out_is_json(const struct cli *cli);

/* An I/O state, in the form that was asked for. 0 or -1. */
struct iostate;
int out_iostate(const struct cli *cli, const struct iostate *s, struct err *e);

/* The page of a code / the list of all codes, in the form that was asked for. 0 or -1. */
struct code_page;
int out_page(struct cli *cli, const struct code_page *p, struct err *e);
int out_pages(struct cli *cli, struct err *e);

/*
 * Findings of rules, for people: those of `weight` ("closes") only, or all (NULL). What closes comes
 * with what to do; all the rest if `fixes`.
 */
void out_findings(const struct json *findings, const char *weight, unsigned int indent, bool fixes);

/* "GRP-SPLIT: ...", the first that closes; false if none does. */
bool out_first_finding(const struct json *findings);

/* A label, and text that is broken between words; its lines begin at column `indent`. */
void out_paragraph(const char *label, unsigned int indent, const char *text);

/* The reply's parameters, parsed; NULL with e set. */
struct json *out_parse(const struct cli *cli, struct err *e);

/*
 * What a verb does with the reply to its call: 0 where JSON was asked for, which is printed then; else 1,
 * and *reply is for the caller to print and to free. -1 with e set.
 */
int out_reply(const struct cli *cli, struct json **reply, struct err *e);

/* A value as text: lists with commas, null as "-". The caller frees it; NULL without memory. */
char *out_text(const struct json *v);

/* Prints to `f` with control characters replaced. */
void out_safe(FILE *f, const char *text);

/* Words of a command line, for a shell: `between_options` stands before each one that begins with
 * a hyphen, but not before the first word. */
void out_words(const struct json *words, const char *between_options);

/* What a --dry-run says. */
void out_plan(const struct json *plan);

/* An error for people on standard error, and with -o json or jsonl as a document on standard
 * output. */
void out_error(const struct cli *cli, const struct err *e);
