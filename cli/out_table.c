/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Replies for people (aligned columns) and for simple scripts (tabs). */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/out.h"
#include "cli/term.h"
#include "lib/cleanup.h"

#define COLUMN_GAP       2
#define COLUMN_MIN_WIDTH 8
#define ELLIPSIS         "\xe2\x80\xa6"

/* All cells of a table, row by row; the first row is the titles. */
struct table {
	const struct out_column *columns;
	unsigned int column_count;
	size_t row_count;
	char **cells;
	unsigned int widths[OUT_MAX_COLUMNS];
};

/* --- text ------------------------------------------------------------------------------------- */

/* Control characters (C1 too, which in UTF-8 are 0xc2 0x80..0x9f) do not reach a terminal. */
static bool out_is_control(const char *s)
{
	unsigned char c = (unsigned char)s[0], next = (unsigned char)s[1];

	return c < ' ' || c == 0x7f || (c == 0xc2 && next >= 0x80 && next <= 0x9f);
}

static void out_replace_controls(char *text)
{
	for (char *p = text; *p; p++)
		if (out_is_control(p))
			*p = '?';
}

void out_safe(FILE *f, const char *text)
{
	auto_free char *copy = strdup(text);

	if (!copy)
		return;
	out_replace_controls(copy);
	fputs(copy, f);
}

/* Where and how values are being written. */
struct out_writer {
	FILE *f;
	bool in_full; /* with the evidence, for which a table has no room */
	bool first;   /* of an object's members */
};

static void out_write_value(struct out_writer *w, const struct json *v);

/* "mount /home via dm-3 (/proc/self/mountinfo: ...)" */
static void out_write_member(void *arg, const char *key, const struct json *value)
{
	struct out_writer *w = arg;
	bool evidence = strcmp(key, "evidence") == 0;

	if (evidence && !w->in_full)
		return;
	fputs(w->first ? "" : " ", w->f);
	fputs(evidence ? "(" : strcmp(key, "via") == 0 ? "via " : "", w->f);
	out_write_value(w, value);
	fputs(evidence ? ")" : "", w->f);
	w->first = false;
}

static void out_write_number(FILE *f, const struct json *v)
{
	auto_free char *text = NULL;
	struct json_out o;
	size_t len;

	json_out_init(&o);
	json_out_value(&o, NULL, v);
	text = json_out_finish(&o, &len);
	fputs(text ? text : "?", f);
}

static void out_write_value(struct out_writer *w, const struct json *v)
{
	FILE *f = w->f;

	switch (json_kind(v)) {
	case JSON_NULL:
		fputc('-', f);
		return;
	case JSON_STRING:
		fputs(json_str(v)[0] ? json_str(v) : "-", f);
		return;
	case JSON_ARRAY:
		for (size_t i = 0; i < json_count(v); i++) {
			const struct json *item = json_item(v, i);

			fputs(!i ? "" : json_kind(item) == JSON_OBJECT ? ", " : ",", f);
			out_write_value(w, item);
		}
		fputs(json_count(v) ? "" : "-", f);
		return;
	case JSON_BOOL:
		fputs(json_is_true(v) ? "yes" : "no", f);
		return;
	case JSON_INT:
	case JSON_REAL:
		out_write_number(f, v);
		return;
	case JSON_OBJECT:
		w->first = true;
		json_each_member(v, out_write_member, w);
		w->first = false;
		return;
	}
}

static char *out_text_of(const struct json *v, bool in_full)
{
	struct out_writer w = {.in_full = in_full};
	char *text = NULL;
	size_t len;

	w.f = open_memstream(&text, &len);
	if (!w.f)
		return NULL;
	out_write_value(&w, v);
	fclose(w.f);
	if (text)
		out_replace_controls(text);
	return text;
}

char *out_text(const struct json *v)
{
	return out_text_of(v, false);
}

/* --- tables ----------------------------------------------------------------------------------- */

static char **table_cell(const struct table *t, size_t row, unsigned int column)
{
	return &t->cells[row * t->column_count + column];
}

static void table_release(struct table *t)
{
	for (size_t i = 0; t->cells && i < t->row_count * t->column_count; i++)
		free(t->cells[i]);
	free(t->cells);
}

static int table_set(struct table *t, size_t row, unsigned int column, char *text, struct err *e)
{
	if (!text)
		return err_set(e, ERR_FAILED, "MEMORY", "no memory for a table");
	*table_cell(t, row, column) = text;
	t->widths[column] = MAX(t->widths[column], term_width(text));
	return 0;
}

static int table_fill(struct table *t, const struct json *list, struct err *e)
{
	t->row_count = json_count(list) + 1;
	t->cells = calloc(t->row_count * t->column_count, sizeof(*t->cells));
	if (!t->cells)
		return err_set(e, ERR_FAILED, "MEMORY", "no memory for a table");
	for (unsigned int c = 0; c < t->column_count; c++)
		if (table_set(t, 0, c, strdup(t->columns[c].title), e) < 0)
			return -1;
	for (size_t r = 1; r < t->row_count; r++) {
		const struct json *item = json_item(list, r - 1);

		for (unsigned int c = 0; c < t->column_count; c++) {
			const struct json *v = json_member(item, t->columns[c].key);

			if (table_set(t, r, c, out_text(v), e) < 0)
				return -1;
		}
	}
	return 0;
}

/* Takes from the widest columns until the table fits a terminal; a pipe gets everything. */
static void table_adapt(struct table *t)
{
	unsigned int total = 0, columns = term_columns(), widest;

	if (!columns)
		return;
	for (unsigned int c = 0; c < t->column_count; c++)
		total += t->widths[c] + (c ? COLUMN_GAP : 0);
	for (; total > columns; total--) {
		widest = 0;
		for (unsigned int c = 1; c < t->column_count; c++)
			if (t->widths[c] > t->widths[widest])
				widest = c;
		if (t->widths[widest] <= COLUMN_MIN_WIDTH)
			return;
		t->widths[widest]--;
	}
}

/* At most `width` characters, and blanks up to it unless the cell is the last one. */
static void table_print_cell(const char *text, unsigned int width, bool last)
{
	unsigned int full = term_width(text), shown = MIN(full, width);

	if (full > width)
		shown = width - 1;
	for (unsigned int n = 0; *text; text++) {
		n += ((unsigned char)*text & 0xc0) != 0x80;
		if (n > shown)
			break;
		putchar(*text);
	}
	if (full > width)
		fputs(ELLIPSIS, stdout);
	if (!last)
		printf("%*s", (int)(width - MIN(full, width)) + COLUMN_GAP, "");
}

static void table_print(const struct table *t)
{
	bool style = term_has_style();

	for (size_t r = 0; r < t->row_count; r++) {
		fputs(style && r == 0 ? "\033[1m" : "", stdout);
		for (unsigned int c = 0; c < t->column_count; c++)
			table_print_cell(
				*table_cell(t, r, c), t->widths[c], c + 1 == t->column_count);
		fputs(style && r == 0 ? "\033[0m\n" : "\n", stdout);
	}
}

static void table_print_plain(const struct table *t)
{
	for (size_t r = 1; r < t->row_count; r++)
		for (unsigned int c = 0; c < t->column_count; c++)
			printf("%s%c", *table_cell(t, r, c),
				c + 1 == t->column_count ? '\n' : '\t');
}

/* --- views ------------------------------------------------------------------------------------ */

static int out_table(
	const struct cli *cli, const struct out_view *view, const struct json *list, struct err *e)
{
	struct table t = {.columns = view->columns};
	int rc;

	while (t.column_count < ARRAY_SIZE(view->columns) && view->columns[t.column_count].title)
		t.column_count++;
	assert(t.column_count <= OUT_MAX_COLUMNS); /* the last one has no title */
	rc = table_fill(&t, list, e);
	if (rc == 0 && cli->form == OUT_PLAIN) {
		table_print_plain(&t);
	} else if (rc == 0) {
		table_adapt(&t);
		table_print(&t);
	}
	table_release(&t);
	return rc;
}

static int out_lines(const struct json *list, struct err *e)
{
	for (size_t i = 0; i < json_count(list); i++) {
		auto_free char *text = NULL;
		struct json_out o;
		size_t len;

		json_out_init(&o);
		json_out_value(&o, NULL, json_item(list, i));
		text = json_out_finish(&o, &len);
		if (!text)
			return err_set(e, ERR_FAILED, "MEMORY", "no memory for a line");
		puts(text);
	}
	return 0;
}

int out_list(const struct cli *cli, const struct out_view *view, struct err *e)
{
	auto_json struct json *reply = NULL;
	const struct json *list;

	if (cli->form == OUT_JSON) {
		out_raw(cli);
		return 0;
	}
	reply = out_parse(cli, e);
	if (!reply)
		return -1;
	list = json_member(reply, view->member);
	if (json_kind(list) != JSON_ARRAY)
		return err_set(e, ERR_FAILED, "REPLY", "the daemon's answer has no list of %s",
			view->member);
	return cli->form == OUT_JSONL ? out_lines(list, e) : out_table(cli, view, list, e);
}

static void out_longest_key(void *arg, const char *key, const struct json *value)
{
	unsigned int *width = arg;

	*width = MAX(*width, term_width(key));
	if (json_kind(value) == JSON_OBJECT)
		json_each_member(value, out_longest_key, width);
}

struct out_members {
	bool plain;
	unsigned int width;
};

static void out_line(const struct out_members *m, const char *key, const struct json *value)
{
	auto_free char *text = NULL;

	if (m->plain)
		printf("%s\t", key);
	else
		printf("%-*s  ", (int)m->width, key);
	if (strcmp(key, "vmm_args") == 0) {
		out_words(value, " ");
	} else {
		text = out_text_of(value, true);
		fputs(text ? text : "?", stdout);
	}
	putchar('\n');
}

/* An object's members are lines like the others; of a list of objects each is a line. */
static void out_member(void *arg, const char *key, const struct json *value)
{
	const struct out_members *m = arg;

	if (json_kind(value) == JSON_OBJECT) {
		json_each_member(value, out_member, arg);
	} else if (json_kind(json_item(value, 0)) == JSON_OBJECT) {
		for (size_t i = 0; i < json_count(value); i++)
			out_line(m, i && !m->plain ? "" : key, json_item(value, i));
	} else {
		out_line(m, key, value);
	}
}

int out_object(const struct cli *cli, const char *member, struct err *e)
{
	struct out_members m = {.plain = cli->form == OUT_PLAIN};
	auto_json struct json *reply = NULL;
	const struct json *object;
	int rc = out_reply(cli, &reply, e);

	if (rc <= 0)
		return rc;
	object = json_member(reply, member);
	if (json_kind(object) != JSON_OBJECT)
		return err_set(e, ERR_FAILED, "REPLY", "the daemon's answer has no %s", member);
	json_each_member(object, out_longest_key, &m.width);
	json_each_member(object, out_member, &m);
	return 0;
}
