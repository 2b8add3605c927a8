/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The picture of the host for a page. At the left the tree, a box for each row and elbows between them;
 * around boxes of one IOMMU group a frame. At the right the machines, each as high as what it has is,
 * and a curve from every device to its attachment. What does not fit into a box is in its <title>, which
 * viewers show under the pointer.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/picture.h"
#include "cli/term.h"
#include "lib/cleanup.h"

#define MARGIN       24
#define LEGEND_WIDTH 760
#define TOP          96 /* title and legend are above */
#define ROW_HEIGHT   26
#define BOX_HEIGHT   20
#define BOX_WIDTH    380
#define VM_WIDTH     260
#define VM_GAP       220 /* for the curves */
#define INDENT       24
#define LABEL_AT     10
#define CHAR_WIDTH   7.3 /* of the font that labels have, 12 high */
#define SANS_WIDTH   5.9 /* of that of the rest, 11 high: on the average */
#define STATE_WIDTH  6.5 /* of words without capitals or blanks */
#define TITLE_MAX    200
#define WORDS_MAX    280
#define WORDS_MIN    8 /* characters */

static const char style[] =
	"text{font:11px 'DejaVu Sans',sans-serif;fill:#37474f}"
	".l{font:12px 'DejaVu Sans Mono',monospace;fill:#102027}"
	".t{font:bold 16px 'DejaVu Sans',sans-serif;fill:#102027}"
	".h{font:bold 12px 'DejaVu Sans',sans-serif;fill:#102027}"
	".b{fill:#fff;stroke:#b0bec5}.r{fill:#eceff1;stroke:#b0bec5}"
	".e{fill:none;stroke:#b0bec5}.g{fill:#fff8e1;stroke:#ffb300;stroke-dasharray:4 3}"
	".n{fill:#b26a00}.c{fill:none;stroke:#0277bd;stroke-width:1.5;opacity:.7}";

/* What the stripe of a box says. */
static const struct {
	const char *state, *colour;
	bool in_legend;
} stripes[] = {
	{"free", "#2e7d32", true}, {"host", "#90a4ae", true}, {"attached", "#0277bd", true},
	{"wedged", "#c62828", true}, {"quarantined", "#c62828", true}, {"unknown", "#c62828", true},
	{"active", "#0277bd", false}, {"running", "#0277bd", false}, {"held", "#c62828", false},
	{"failed", "#c62828", false}, {"", "#90a4ae", false}, /* all others */
};

struct page {
	const struct picture *p;
	int *y; /* of each row's box */
	int vm_x, width, height;
};

/* --- text ------------------------------------------------------------------------------------- */

static void put_char(unsigned char c)
{
	switch (c) {
	case '&':
		fputs("&amp;", stdout);
		return;
	case '<':
		fputs("&lt;", stdout);
		return;
	case '>':
		fputs("&gt;", stdout);
		return;
	case '"':
		fputs("&quot;", stdout);
		return;
	default:
		putchar(c < ' ' || c == 0x7f ? '?' : c);
	}
}

static void put_text(const char *text, unsigned int room)
{
	picture_put(text, room, put_char);
}

static const char *stripe_of(const char *state)
{
	size_t i = 0;

	while (stripes[i].state[0] && strcmp(stripes[i].state, state) != 0)
		i++;
	return stripes[i].colour;
}

/* --- places ----------------------------------------------------------------------------------- */

static bool is_of_vm(const struct page *g, size_t row)
{
	return row >= g->p->vms_at;
}

static int x_of(const struct page *g, size_t row)
{
	return (is_of_vm(g, row) ? g->vm_x : MARGIN) + (int)g->p->rows[row].depth * INDENT;
}

static int width_of(const struct page *g, size_t row)
{
	return is_of_vm(g, row) ? VM_WIDTH : BOX_WIDTH;
}

static size_t vm_end(const struct picture *p, size_t at)
{
	size_t end = at + 1;

	while (end < p->count && p->rows[end].kind == PICTURE_ATTACHMENT)
		end++;
	return end;
}

/* The middle of what a machine has; 0: nothing that is shown. */
static int middle_of(const struct page *g, size_t at, size_t end)
{
	int sum = 0, count = 0;

	for (size_t i = at + 1; i < end; i++) {
		if (g->p->rows[i].device == PICTURE_NONE)
			continue;
		sum += g->y[g->p->rows[i].device];
		count++;
	}
	return count ? sum / count : 0;
}

/* A machine is as near to its devices as the one before it lets it. */
static void place(struct page *g)
{
	const struct picture *p = g->p;
	unsigned int deepest = 0;
	int below = TOP;

	for (size_t i = 0; i < p->vms_at; i++) {
		g->y[i] = TOP + (int)i * ROW_HEIGHT;
		deepest = MAX(deepest, p->rows[i].depth);
	}
	g->vm_x = MARGIN + (int)deepest * INDENT + BOX_WIDTH + VM_GAP;
	for (size_t i = p->vms_at, end; i < p->count; i = end) {
		int rows, wish;

		end = vm_end(p, i);
		rows = (int)(end - i);
		wish = middle_of(g, i, end) - rows * ROW_HEIGHT / 2;
		below = MAX(below, wish);
		for (size_t row = i; row < end; row++, below += ROW_HEIGHT)
			g->y[row] = below;
		below += ROW_HEIGHT;
	}
	g->width = g->vm_x + (p->vms_at < p->count ? INDENT + VM_WIDTH + MARGIN : 0);
	g->width = MAX(g->width, LEGEND_WIDTH);
	g->height = MAX(below, TOP + (int)p->vms_at * ROW_HEIGHT) + MARGIN;
}

/* --- what is drawn ---------------------------------------------------------------------------- */

static void put_group(const struct page *g, size_t from, size_t to)
{
	int x = x_of(g, from), end = x;

	for (size_t i = from; i <= to; i++) {
		x = MIN(x, x_of(g, i));
		end = MAX(end, x_of(g, i) + width_of(g, i));
	}
	printf("<rect class='g' x='%d' y='%d' width='%d' height='%d' rx='6'/>"
	       "<text class='n' x='%d' y='%d'>group %lld</text>\n",
		x - 6, g->y[from] - 3, end - x + 12, g->y[to] - g->y[from] + BOX_HEIGHT + 6,
		end + 12, g->y[from] + 14, (long long)g->p->rows[from].group);
}

static void put_elbow(const struct page *g, size_t row)
{
	size_t parent = g->p->rows[row].parent;

	if (parent == PICTURE_NONE)
		return;
	printf("<path class='e' d='M%d %dV%dH%d'/>\n", x_of(g, parent) + INDENT / 2,
		g->y[parent] + BOX_HEIGHT, g->y[row] + BOX_HEIGHT / 2, x_of(g, row));
}

static void put_curve(const struct page *g, size_t row)
{
	size_t device = g->p->rows[row].device;
	int from_x, from_y, to_x, to_y, bend;

	if (device == PICTURE_NONE)
		return;
	from_x = x_of(g, device) + width_of(g, device);
	from_y = g->y[device] + BOX_HEIGHT / 2;
	to_x = x_of(g, row);
	to_y = g->y[row] + BOX_HEIGHT / 2;
	bend = (to_x - from_x) / 2;
	printf("<path class='c' d='M%d %dC%d %d %d %d %d %d'/>\n", from_x, from_y, from_x + bend,
		from_y, to_x - bend, to_y, to_x, to_y);
}

/* All that is known of it. */
static void put_title(const struct picture_row *row)
{
	const char *const words[] = {
		row->id, row->to, row->name, row->driver, row->state, row->use};
	bool first = true;

	fputs("<title>", stdout);
	for (size_t i = 0; i < ARRAY_SIZE(words); i++) {
		if (!words[i] || !*words[i])
			continue;
		fputs(first ? "" : ", ", stdout);
		put_text(words[i], 0);
		first = false;
	}
	fputs("</title>", stdout);
}

/* The number of a group of one; frames have theirs outside. */
static int put_group_number(const struct page *g, size_t row, int x, int width)
{
	const struct picture_row *r = &g->p->rows[row];
	char text[24];

	if (r->group < 0 || r->count > 1)
		return 0;
	snprintf(text, sizeof(text), "%lld", (long long)r->group);
	printf("<text class='n' text-anchor='end' x='%d' y='%d'>%s</text>", x + width - 8,
		g->y[row] + 14, text);
	return (int)((double)strlen(text) * CHAR_WIDTH) + 8;
}

/*
 * What stands behind the label, in `room`: a word of which little is left says nothing. How wide it comes out
 * is the viewer's to know, so that it is clipped there as well.
 */
static void put_words(const struct picture_row *r, int x, int y, int room)
{
	const char *name = *r->name ? r->name : r->driver;
	int fit = (int)(room / SANS_WIDTH);
	char words[WORDS_MAX];

	snprintf(
		words, sizeof(words), "%s%s%s", name, *name && *r->use ? " \xc2\xb7 " : "", r->use);
	if (!*words || (fit < WORDS_MIN && (int)term_width(words) > fit))
		return;
	printf("<svg x='%d' y='%d' width='%d' height='%d'><text y='14'>", x, y, room, BOX_HEIGHT);
	put_text(words, (unsigned int)fit);
	fputs("</text></svg>", stdout);
}

static void put_box(const struct page *g, size_t row)
{
	const struct picture_row *r = &g->p->rows[row];
	bool is_head = r->kind == PICTURE_ROOT || r->kind == PICTURE_VM;
	int x = x_of(g, row), y = g->y[row], width = width_of(g, row), room;
	unsigned int fit;
	char label[PICTURE_LABEL_MAX];

	printf("<g><rect class='%s' x='%d' y='%d' width='%d' height='%d' rx='3'/>"
	       "<rect x='%d' y='%d' width='4' height='%d' rx='1' fill='%s'/>",
		is_head ? "r" : "b", x, y, width, BOX_HEIGHT, x, y, BOX_HEIGHT,
		stripe_of(picture_mark(r)));
	put_title(r);
	picture_label(r, label, sizeof(label));
	room = width - LABEL_AT - 4 - put_group_number(g, row, x, width);
	fit = (unsigned int)(room / CHAR_WIDTH);
	printf("<text class='%s' x='%d' y='%d'>", is_head ? "h" : "l", x + LABEL_AT, y + 14);
	put_text(label, fit);
	fputs("</text>", stdout);
	width = 8 + (int)(MIN(term_width(label), fit) * CHAR_WIDTH);
	put_words(r, x + LABEL_AT + width, y, room - width);
	fputs("</g>\n", stdout);
}

static void put_head(const struct page *g)
{
	char title[TITLE_MAX];
	int x = MARGIN;

	printf("<svg xmlns='http://www.w3.org/2000/svg' width='%d' height='%d' viewBox='0 0 %d %d'>"
	       "<style>%s</style><rect width='100%%' height='100%%' fill='#fafafa'/>\n",
		g->width, g->height, g->width, g->height, style);
	picture_title(g->p, title, sizeof(title));
	printf("<text class='t' x='%d' y='36'>", MARGIN);
	put_text(title, 0);
	fputs("</text>\n", stdout);
	for (size_t i = 0; stripes[i].in_legend; i++) {
		printf("<rect x='%d' y='56' width='4' height='14' fill='%s'/>"
		       "<text x='%d' y='67'>%s</text>\n",
			x, stripes[i].colour, x + 9, stripes[i].state);
		x += 26 + (int)((double)strlen(stripes[i].state) * STATE_WIDTH);
	}
	printf("<rect class='g' x='%d' y='56' width='24' height='14' rx='3'/>"
	       "<text x='%d' y='67'>one IOMMU group: goes to one owner</text>\n",
		x, x + 30);
}

int picture_svg(const struct picture *p, struct err *e)
{
	struct page g = {.p = p, .y = calloc(p->count + 1, sizeof(*g.y))};

	if (!g.y)
		return err_set(e, ERR_FAILED, "MEMORY", "no memory for a page");
	place(&g);
	put_head(&g);
	for (size_t i = 0; i < p->vms_at; i++)
		if (picture_group_end(p, i) > i)
			put_group(&g, i, picture_group_end(p, i));
	for (size_t i = 0; i < p->count; i++)
		put_elbow(&g, i);
	for (size_t i = p->vms_at; i < p->count; i++)
		put_curve(&g, i);
	for (size_t i = 0; i < p->count; i++)
		put_box(&g, i);
	fputs("</svg>\n", stdout);
	free(g.y);
	return 0;
}
