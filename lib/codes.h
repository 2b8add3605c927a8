/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The codes that refusals and failures carry (struct err), each with its page: what `iovctl explain
 * CODE` prints. A code has one meaning for ever. A new one is a row in the file of its area
 * (lib/codes_*.c), and an err_set() or a rule that says it; tests/repo/test_codes.py holds one
 * against the other.
 */
#pragma once

#include "lib/util.h"

struct code_page {
	const char *code;
	const char *title;  /* what is the matter, in a few words: those of no other code */
	const char *cause;  /* why it is so, and why that matters */
	const char *seen;   /* how iovd sees it: which file, which answer */
	const char *fix;    /* what to do about it */
	const char *waiver; /* the option that waives it; NULL: nothing does */
};

struct code_area {
	const char *name; /* "groups" */
	const struct code_page *pages;
	size_t count;
};

/* All of them, in the order of areas. */
extern const struct code_area *const code_areas[];
extern const size_t code_area_count;

/* NULL if there is no such code. */
const struct code_page *code_find(const char *code);

/* Whether it is made as codes are: "GRP-SPLIT". */
bool code_is_word(const char *text);
