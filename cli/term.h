/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What standard output is, and how text fits on it. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

/* Columns and rows of the terminal; 0: standard output is none, or it does not say. */
unsigned int term_columns(void);
unsigned int term_rows(void);

/* A terminal that shows colours, for somebody who wants to see them. */
bool term_has_style(void);

/* The locale's characters are UTF-8: lines may be drawn with those that it has for that. */
bool term_is_utf8(void);

/* Characters, not bytes. */
unsigned int term_width(const char *text);

/*
 * Prints exactly `width` characters (0: all that there are): what is too long ends in an ellipsis, what is
 * too short in blanks. Control characters do not get through, nor, unless the locale has
 * UTF-8, what is not ASCII.
 */
void term_put(const char *text, unsigned int width);
