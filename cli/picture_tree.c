/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The picture of the host for a terminal: one line for each row, the tree at its left, then columns.
 * On a narrow one what a device is and who uses it share the last column. A bracket behind the
 * number of a group joins the rows that only go together.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/picture.h"
#include "cli/term.h"
#include "lib/cleanup.h"

#define WIDE        120 /* columns from which on drivers have room */
#define NAME_WIDTH  44  /* at most, on a terminal */
#define INDENT      3
#define TITLE_MAX   200
#define STATE_WIDTH 11
#define MIN_WIDTH   12

/* What the lines are drawn with. */
struct strokes {
	const char *branch, *last, *down, *blank;
	const char *top, *middle, *bottom; /* of a bracket */
};

static const struct strokes utf8_strokes = {"├─ ", "└─ ", "│  ", "   ", "┐", "│", "┘"};
static const struct strokes ascii_strokes = {"|- ", "`- ", "|  ", "   ", "\\", "|", "/"};

enum colour { COLOUR_NONE, COLOUR_DIM, COLOUR_BOLD, COLOUR_GOOD, COLOUR_TAKEN, COLOUR_BAD };

static const char *const colours[] = {
	[COLOUR_NONE] = "",
	[COLOUR_DIM] = "\033[2m",
	[COLOUR_BOLD] = "\033[1m",
	[COLOUR_GOOD] = "\033[32m",
	[COLOUR_TAKEN] = "\033[36m",
	[COLOUR_BAD] = "\033[31m",
};

/* States that are worth a colour; the others are as they should be. */
static const struct {
	const char *state;
	enum colour colour;
} states[] = {
	{"free", COLOUR_GOOD},
	{"attached", COLOUR_TAKEN},
	{"active", COLOUR_TAKEN},
	{"running", COLOUR_TAKEN},
	{"wedged", COLOUR_BAD},
	{"quarantined", COLOUR_BAD},
	{"unknown", COLOUR_BAD},
	{"held", COLOUR_BAD},
	{"failed", COLOUR_BAD},
};

struct drawing {
	const struct picture *p;
	const struct strokes *strokes;
	bool has_style;
	unsigned int columns; /* 0: as many as it takes */
	unsigned int label_width, group_width, driver_width, name_width;
	size_t group_at, group_end; /* the bracket that was begun last */
};

static void put_colour(const struct drawing *d, enum colour colour)
{
	if (d->has_style)
		fputs(colours[colour], stdout);
}

static void end_colour(const struct drawing *d, enum colour colour)
{
	if (d->has_style && colour != COLOUR_NONE)
		fputs("\033[0m", stdout);
}

static void put_coloured(
	const struct drawing *d, enum colour colour, const char *text, unsigned int width)
{
	put_colour(d, colour);
	term_put(text, width);
	end_colour(d, colour);
}

static enum colour colour_of(const char *state)
{
	for (size_t i = 0; i < ARRAY_SIZE(states); i++)
		if (strcmp(states[i].state, state) == 0)
			return states[i].colour;
	return COLOUR_NONE;
}

/* --- the columns ------------------------------------------------------------------------------ */

static unsigned int indent_of(const struct picture_row *row)
{
	return row->depth * INDENT;
}

static void label_of(const struct picture_row *row, char text[PICTURE_LABEL_MAX])
{
	size_t len;

	picture_label(row, text, PICTURE_LABEL_MAX);
	len = strlen(text);
	if (row->count > 1)
		snprintf(text + len, PICTURE_LABEL_MAX - len, " (%zu)", row->count);
}

static void measure(struct drawing *d)
{
	for (size_t i = 0; i < d->p->count; i++) {
		const struct picture_row *row = &d->p->rows[i];
		char label[PICTURE_LABEL_MAX];

		label_of(row, label);
		d->label_width = MAX(d->label_width, indent_of(row) + term_width(label));
		d->driver_width = MAX(d->driver_width, term_width(row->driver));
		if (*row->use)
			d->name_width = MAX(d->name_width, term_width(row->name));
	}
	d->group_width = 5;
	d->driver_width = MAX(d->driver_width, 6);
	if (!d->columns)
		return;
	d->driver_width = MIN(d->driver_width, d->columns < WIDE ? 10 : 20);
	d->name_width = MIN(d->name_width, NAME_WIDTH);
	d->label_width = MIN(d->label_width, MAX(d->columns / 3, MIN_WIDTH));
}

/* The lines of the tree, as drawn before the label; how wide. */
static unsigned int put_lines(const struct drawing *d, const struct picture_row *row)
{
	put_colour(d, COLOUR_DIM);
	for (unsigned int level = 1; level < row->depth; level++)
		fputs(row->open >> level & 1 ? d->strokes->down : d->strokes->blank, stdout);
	if (row->depth)
		fputs(row->is_last ? d->strokes->last : d->strokes->branch, stdout);
	end_colour(d, COLOUR_DIM);
	return indent_of(row);
}

static void put_label(const struct drawing *d, const struct picture_row *row)
{
	bool is_head = row->kind == PICTURE_ROOT || row->kind == PICTURE_VM;
	unsigned int used = put_lines(d, row);
	char label[PICTURE_LABEL_MAX];

	label_of(row, label);
	put_coloured(d, is_head ? COLOUR_BOLD : COLOUR_NONE, label,
		d->label_width > used ? d->label_width - used : 1);
}

/* The number of the group, and its place in the bracket around those that go together. */
static void put_group(struct drawing *d, size_t at)
{
	const struct picture_row *row = &d->p->rows[at];
	const char *bracket = " ";

	if (row->group >= 0 && at > d->group_end) {
		d->group_at = at;
		d->group_end = picture_group_end(d->p, at);
	}
	if (d->group_end > d->group_at && at >= d->group_at && at <= d->group_end)
		bracket = at == d->group_at    ? d->strokes->top
			  : at == d->group_end ? d->strokes->bottom
					       : d->strokes->middle;
	if (row->group >= 0 && row->count == 1)
		printf("%*lld ", (int)d->group_width, (long long)row->group);
	else
		printf("%*s ", (int)d->group_width, "");
	put_coloured(d, COLOUR_TAKEN, bracket, 0);
	putchar(' ');
}

/* Without blanks behind it; `room` 0: without end. */
static void put_last(const char *text, unsigned int room)
{
	term_put(text, room && term_width(text) > room ? room : 0);
}

/* What it is, and who uses it: for both there is room, or who uses it is all. */
static void put_words(const struct drawing *d, const struct picture_row *row, unsigned int room)
{
	unsigned int name = d->name_width + 2;

	if (*row->use && (!room || room >= name + MIN_WIDTH)) {
		if (d->name_width)
			term_put(row->name, d->name_width);
		fputs("  ", stdout);
		put_last(row->use, room ? room - name : 0);
	} else {
		put_last(*row->use ? row->use : row->name, room);
	}
}

static void put_row(struct drawing *d, size_t at)
{
	const struct picture_row *row = &d->p->rows[at];
	unsigned int used = d->label_width + d->group_width + STATE_WIDTH + d->driver_width + 7;

	put_label(d, row);
	put_group(d, at);
	put_coloured(d, colour_of(picture_mark(row)), row->state, STATE_WIDTH);
	putchar(' ');
	put_coloured(d, COLOUR_NONE, row->driver, d->driver_width);
	fputs("  ", stdout);
	put_words(d, row, d->columns > used ? d->columns - used : d->columns ? 1 : 0);
	putchar('\n');
}

static void put_titles(const struct drawing *d)
{
	put_colour(d, COLOUR_DIM);
	printf("%*s%*s   ", (int)d->label_width, "", (int)d->group_width, "group");
	term_put("state", STATE_WIDTH);
	fputs(" driver\n", stdout);
	end_colour(d, COLOUR_DIM);
}

int picture_tree(const struct picture *p, struct err *e)
{
	struct drawing d = {
		.p = p,
		.strokes = term_is_utf8() ? &utf8_strokes : &ascii_strokes,
		.has_style = term_has_style(),
		.columns = term_columns(),
	};
	char title[TITLE_MAX];

	(void)e;
	measure(&d);
	picture_title(p, title, sizeof(title));
	put_coloured(&d, COLOUR_BOLD, title, 0);
	putchar('\n');
	put_titles(&d);
	for (size_t i = 0; i < p->count; i++) {
		if (i == p->vms_at)
			putchar('\n');
		put_row(&d, i);
	}
	return 0;
}
