/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The picture of the host for Graphviz: a node for each row, named by its number; a cluster for each
 * group with several devices, wherever in the tree they are; solid edges for what is on what, dashed ones for
 * what stands on several devices, bold ones to machines.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/picture.h"
#include "lib/cleanup.h"

#define TITLE_MAX 200

static const struct {
	const char *state, *colour;
} fills[] = {
	{"free", "#c8e6c9"}, {"attached", "#b3e5fc"}, {"active", "#b3e5fc"}, {"running", "#b3e5fc"},
	{"wedged", "#ffcdd2"}, {"quarantined", "#ffcdd2"}, {"unknown", "#ffcdd2"},
	{"held", "#ffcdd2"}, {"failed", "#ffcdd2"}, {"", "#eceff1"}, /* all others */
};

/* In quotes, what is a quote or a backslash there made plain. */
static void put_char(unsigned char c)
{
	if (c == '"' || c == '\\')
		putchar('\\');
	putchar(c < ' ' || c == 0x7f ? '?' : c);
}

static void put_text(const char *text)
{
	picture_put(text, 0, put_char);
}

static const char *fill_of(const char *state)
{
	size_t i = 0;

	while (fills[i].state[0] && strcmp(fills[i].state, state) != 0)
		i++;
	return fills[i].colour;
}

static void put_node(const struct picture *p, size_t at, const char *indent)
{
	const struct picture_row *row = &p->rows[at];
	const char *const lines[] = {row->name, row->driver, row->use};
	char label[PICTURE_LABEL_MAX];

	picture_label(row, label, sizeof(label));
	printf("%sn%zu [label=\"", indent, at);
	put_text(label);
	for (size_t i = 0; i < ARRAY_SIZE(lines); i++) {
		if (!*lines[i])
			continue;
		fputs("\\n", stdout);
		put_text(lines[i]);
	}
	printf("\", fillcolor=\"%s\"];\n", fill_of(picture_mark(row)));
}

/* --- clusters --------------------------------------------------------------------------------- */

static int compare_groups(const void *a, const void *b, void *arg)
{
	const size_t i = *(const size_t *)a, j = *(const size_t *)b;
	const struct picture *p = arg;

	if (p->rows[i].group != p->rows[j].group)
		return p->rows[i].group < p->rows[j].group ? -1 : 1;
	return i < j ? -1 : i > j;
}

/* The rows, those of one group next to each other. */
static void put_nodes(const struct picture *p, const size_t *order)
{
	for (size_t i = 0, end; i < p->count; i = end) {
		int64_t group = p->rows[order[i]].group;
		bool is_cluster;

		for (end = i + 1; end < p->count && p->rows[order[end]].group == group; end++)
			;
		is_cluster = group >= 0 && end - i > 1;
		if (is_cluster)
			printf("  subgraph cluster_%lld {\n    label=\"group %lld\";\n",
				(long long)group, (long long)group);
		for (size_t k = i; k < end; k++)
			put_node(p, order[k], is_cluster ? "    " : "  ");
		if (is_cluster)
			puts("  }");
	}
}

/* --- edges ------------------------------------------------------------------------------------ */

static size_t find_row(const struct picture *p, const char *id)
{
	for (size_t i = 0; id && i < p->vms_at; i++)
		if (strcmp(p->rows[i].id, id) == 0)
			return i;
	return PICTURE_NONE;
}

static void put_stands_on(const struct picture *p)
{
	const struct json *devices = json_member(p->reply, "devices");

	for (size_t i = 0; i < json_count(devices); i++) {
		const struct json *d = json_item(devices, i), *on = json_member(d, "stands_on");
		size_t to = json_count(on) ? find_row(p, json_member_str(d, "id")) : PICTURE_NONE;

		for (size_t k = 0; to != PICTURE_NONE && k < json_count(on); k++) {
			size_t from = find_row(p, json_str(json_item(on, k)));

			if (from != PICTURE_NONE)
				printf("  n%zu -> n%zu [style=dashed];\n", from, to);
		}
	}
}

static void put_edges(const struct picture *p)
{
	for (size_t i = 0; i < p->count; i++) {
		const struct picture_row *row = &p->rows[i];

		if (row->parent != PICTURE_NONE)
			printf("  n%zu -> n%zu;\n", row->parent, i);
		if (row->device != PICTURE_NONE)
			printf("  n%zu -> n%zu [style=bold, color=\"#0277bd\", "
			       "constraint=false];\n",
				row->device, i);
	}
	put_stands_on(p);
}

int picture_dot(const struct picture *p, struct err *e)
{
	size_t *order = calloc(p->count + 1, sizeof(*order));
	char title[TITLE_MAX];

	if (!order)
		return err_set(e, ERR_FAILED, "MEMORY", "no memory for a graph");
	for (size_t i = 0; i < p->count; i++)
		order[i] = i;
	qsort_r(order, p->count, sizeof(*order), compare_groups, (void *)p);
	picture_title(p, title, sizeof(title));
	fputs("digraph host {\n  label=\"", stdout);
	put_text(title);
	puts("\";\n  labelloc=t;\n  rankdir=LR;\n  fontname=\"sans-serif\";\n"
	     "  node [shape=box, style=\"rounded,filled\", fontname=\"sans-serif\", fontsize=10];\n"
	     "  edge [arrowhead=none];");
	put_nodes(p, order);
	put_edges(p);
	puts("}");
	free(order);
	return 0;
}
