/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "cli/top.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/out.h"
#include "cli/term.h"
#include "lib/cleanup.h"

#define NS_PER_SECOND 1000000000ull

const char *const top_order_names[] = {
	[TOP_BY_RATE] = "rate",
	[TOP_BY_LATENCY] = "latency",
	[TOP_BY_IN_FLIGHT] = "in flight",
	[TOP_BY_NAME] = "name",
};
static_assert(ARRAY_SIZE(top_order_names) == TOP_ORDERS, "each order has a name");

/* --- looking ---------------------------------------------------------------------------------- */

static uint64_t number_of(const struct json *object, const char *key, uint64_t absent)
{
	uint64_t value;

	return json_u64(json_member(object, key), &value) ? value : absent;
}

static const char *text_of(const struct json *object, const char *key)
{
	return json_member_str(object, key) ?: "";
}

static void read_row(const struct json *a, struct top_row *row)
{
	*row = (struct top_row){
		.id = text_of(a, "id"),
		.vm = text_of(a, "vm"),
		.name = text_of(a, "name"),
		.device = text_of(a, "device"),
		.path = text_of(a, "path"),
		.state = text_of(a, "state"),
		.action = text_of(a, "pending_action"),
		.completed = number_of(a, "requests_completed", 0),
		.failed = number_of(a, "requests_failed", 0),
		.timed = number_of(a, "requests_timed", 0),
		.timed_ms = number_of(a, "timed_ms", 0),
		.in_flight = number_of(a, "in_flight", 0),
		.restarts = number_of(a, "restarts", 0),
		.faults = TOP_UNKNOWN,
		.rate = TOP_UNKNOWN,
		.latency_us = TOP_UNKNOWN,
	};
}

int top_look_read(struct top_look *look, struct json *reply, struct err *e)
{
	const struct json *list = json_member(reply, "attachments");

	*look = (struct top_look){.at_ns = now_ns(), .reply = reply, .count = json_count(list)};
	look->rows = calloc(look->count + 1, sizeof(*look->rows));
	if (!look->rows) {
		top_look_release(look);
		return err_set(e, ERR_FAILED, "MEMORY", "no memory for the attachments");
	}
	for (size_t i = 0; i < look->count; i++)
		read_row(json_item(list, i), &look->rows[i]);
	top_look_sort(look, TOP_BY_NAME);
	return 0;
}

static const struct top_row *find_row(const struct top_look *look, const char *id)
{
	for (size_t i = 0; i < look->count; i++)
		if (strcmp(look->rows[i].id, id) == 0)
			return &look->rows[i];
	return NULL;
}

void top_look_take_faults(struct top_look *look, const struct json *reply)
{
	const struct json *list = json_member(reply, "faults");

	if (!json_is_true(json_member(json_member(reply, "log"), "readable")))
		return;
	for (size_t i = 0; i < look->count; i++)
		look->rows[i].faults = 0;
	for (size_t i = 0; i < json_count(list); i++) {
		const struct json *f = json_item(list, i);
		const struct top_row *found = find_row(look, text_of(f, "attachment"));

		if (found)
			look->rows[found - look->rows].faults +=
				number_of(f, "count", 1) + number_of(f, "suppressed", 0);
	}
}

void top_look_release(struct top_look *look)
{
	free(look->rows);
	json_free(look->reply);
	*look = (struct top_look){.reply = NULL};
}

static void compare_row(struct top_row *row, const struct top_row *before, uint64_t interval_ns)
{
	uint64_t done = row->completed - before->completed, timed = row->timed - before->timed;

	if (row->completed < before->completed || row->timed < before->timed ||
		row->timed_ms < before->timed_ms) /* another one of the same name */
		return;
	row->rate = (uint64_t)((double)done * NS_PER_SECOND / (double)interval_ns + 0.5);
	if (timed)
		row->latency_us = (row->timed_ms - before->timed_ms) * 1000 / timed;
}

void top_look_compare(struct top_look *look, const struct top_look *before)
{
	look->interval_ns = look->at_ns - before->at_ns;
	if (!before->rows || !look->interval_ns)
		return;
	for (size_t i = 0; i < look->count; i++) {
		const struct top_row *old = find_row(before, look->rows[i].id);

		if (old)
			compare_row(&look->rows[i], old, look->interval_ns);
	}
}

static int by_name(const struct top_row *a, const struct top_row *b)
{
	int order = strcmp(a->vm, b->vm);

	return order ? order : strcmp(a->name, b->name);
}

/* Larger ones first, what is not known last. */
static int compare_values(const void *a, const void *b, void *arg)
{
	const struct top_row *x = a, *y = b;
	const enum top_order *order = arg;
	uint64_t m = 0, n = 0;

	switch (*order) {
	case TOP_BY_RATE:
		m = x->rate + 1;
		n = y->rate + 1;
		break;
	case TOP_BY_LATENCY:
		m = x->latency_us + 1;
		n = y->latency_us + 1;
		break;
	case TOP_BY_IN_FLIGHT:
		m = x->in_flight;
		n = y->in_flight;
		break;
	case TOP_BY_NAME:
	case TOP_ORDERS:
		break;
	}
	return m != n ? (m > n ? -1 : 1) : by_name(x, y);
}

void top_look_sort(struct top_look *look, enum top_order order)
{
	qsort_r(look->rows, look->count, sizeof(*look->rows), compare_values, &order);
}

/* --- for people ------------------------------------------------------------------------------- */

#define CELL_MAX 80
#define GAP      2
#define TEXT_MIN 10

static void put_count(char *text, size_t size, uint64_t n)
{
	static const char *const units[] = {"", "k", "M", "G", "T"};
	double value = (double)n;
	size_t unit = 0;

	while (value >= 9999.5 && unit + 1 < ARRAY_SIZE(units)) {
		value /= 1000;
		unit++;
	}
	if (n == TOP_UNKNOWN)
		snprintf(text, size, "-");
	else
		snprintf(text, size, unit && value < 100 ? "%.1f%s" : "%.0f%s", value, units[unit]);
}

static void cell_name(const struct top_row *r, char *text)
{
	snprintf(text, CELL_MAX, "%s/%s", r->vm, r->name);
}

static void cell_device(const struct top_row *r, char *text)
{
	const char *base = strrchr(r->device, '/');

	snprintf(text, CELL_MAX, "%s", base && base[1] ? base + 1 : r->device);
}

static void cell_state(const struct top_row *r, char *text)
{
	snprintf(text, CELL_MAX, "%s", r->state);
}

static void cell_rate(const struct top_row *r, char *text)
{
	put_count(text, CELL_MAX, r->rate);
}

static void cell_latency(const struct top_row *r, char *text)
{
	if (r->latency_us == TOP_UNKNOWN)
		snprintf(text, CELL_MAX, "-");
	else if (r->latency_us == 0)
		snprintf(text, CELL_MAX, "<1 us");
	else if (r->latency_us < 10000)
		snprintf(text, CELL_MAX, "%llu us", (unsigned long long)r->latency_us);
	else
		snprintf(text, CELL_MAX, "%llu ms", (unsigned long long)r->latency_us / 1000);
}

static void cell_in_flight(const struct top_row *r, char *text)
{
	put_count(text, CELL_MAX, r->in_flight);
}

static void cell_done(const struct top_row *r, char *text)
{
	put_count(text, CELL_MAX, r->completed);
}

static void cell_failed(const struct top_row *r, char *text)
{
	put_count(text, CELL_MAX, r->failed);
}

static void cell_restarts(const struct top_row *r, char *text)
{
	put_count(text, CELL_MAX, r->restarts);
}

static void cell_faults(const struct top_row *r, char *text)
{
	put_count(text, CELL_MAX, r->faults);
}

/* In the order on the line; where it is narrow those with the highest number go first. */
static const struct top_column {
	const char *title;
	unsigned int width; /* 0: as wide as its texts are, as far as there is room */
	unsigned int goes;
	void (*cell)(const struct top_row *r, char *text);
} top_columns[] = {
	{"ATTACHMENT", 0, 0, cell_name},
	{"DEVICE", 0, 8, cell_device},
	{"STATE", 10, 2, cell_state},
	{"RATE/S", 6, 1, cell_rate},
	{"LATENCY", 7, 3, cell_latency},
	{"IN FLIGHT", 9, 4, cell_in_flight},
	{"DONE", 5, 9, cell_done},
	{"FAILED", 6, 6, cell_failed},
	{"RESTARTS", 8, 5, cell_restarts},
	{"FAULTS", 6, 7, cell_faults},
};
#define COLUMNS ARRAY_SIZE(top_columns)

/* How wide each column is on this screen; 0: it is not shown. */
static void natural_widths(const struct top_look *look, unsigned int widths[COLUMNS])
{
	char text[CELL_MAX];

	for (size_t c = 0; c < COLUMNS; c++) {
		widths[c] = MAX(top_columns[c].width, (unsigned int)strlen(top_columns[c].title));
		for (size_t i = 0; !top_columns[c].width && i < look->count; i++) {
			top_columns[c].cell(&look->rows[i], text);
			widths[c] = MAX(widths[c], term_width(text));
		}
	}
}

static unsigned int total_width(const unsigned int widths[COLUMNS])
{
	unsigned int total = 0;

	for (size_t c = 0; c < COLUMNS; c++)
		total += widths[c] ? widths[c] + (total ? GAP : 0) : 0;
	return total;
}

/* Texts get shorter first; when they are short, columns go. False: nothing is left to take. */
static bool take_one(unsigned int widths[COLUMNS])
{
	size_t widest = COLUMNS, least = COLUMNS;

	for (size_t c = 0; c < COLUMNS; c++) {
		if (!widths[c])
			continue;
		if (!top_columns[c].width && widths[c] > TEXT_MIN &&
			(widest == COLUMNS || widths[c] > widths[widest]))
			widest = c;
		if (top_columns[c].goes &&
			(least == COLUMNS || top_columns[c].goes > top_columns[least].goes))
			least = c;
	}
	if (widest < COLUMNS)
		widths[widest]--;
	else if (least < COLUMNS)
		widths[least] = 0;
	return widest < COLUMNS || least < COLUMNS;
}

/* Columns that went leave room, which the texts get back. */
static void give_back(
	unsigned int widths[COLUMNS], const unsigned int natural[COLUMNS], unsigned int columns)
{
	for (size_t c = 0; c < COLUMNS; c++)
		while (widths[c] && widths[c] < natural[c] && total_width(widths) < columns)
			widths[c]++;
}

/* Numbers are right-justified, so that they can be compared. */
static void put_cell(const char *text, unsigned int width, bool is_number, bool *first)
{
	if (!width)
		return;
	printf("%*s", *first ? 0 : GAP, "");
	*first = false;
	if (is_number && term_width(text) < width)
		printf("%*s", (int)(width - term_width(text)), "");
	term_put(text, is_number && term_width(text) < width ? 0 : width);
}

static void put_line(const unsigned int widths[COLUMNS], const struct top_row *row)
{
	char text[CELL_MAX];
	bool first = true;

	for (size_t c = 0; c < COLUMNS; c++) {
		str_copy(text, sizeof(text), top_columns[c].title);
		if (row)
			top_columns[c].cell(row, text);
		put_cell(text, widths[c],
			top_columns[c].cell != cell_name && top_columns[c].cell != cell_device &&
				top_columns[c].cell != cell_state,
			&first);
	}
	putchar('\n');
}

static void put_sums(const struct top_look *look, unsigned int columns)
{
	uint64_t rate = 0, in_flight = 0;
	char text[160], rates[32];
	size_t troubled = 0;

	for (size_t i = 0; i < look->count; i++) {
		rate += look->rows[i].rate == TOP_UNKNOWN ? 0 : look->rows[i].rate;
		in_flight += look->rows[i].in_flight;
		troubled += look->rows[i].action[0] != '\0';
	}
	put_count(rates, sizeof(rates), rate);
	snprintf(text, sizeof(text),
		"%zu attachment%s, %s requests/s, %llu in flight, %zu to be looked at, in %.1f s",
		look->count, look->count == 1 ? "" : "s", rates, (unsigned long long)in_flight,
		troubled, (double)look->interval_ns / NS_PER_SECOND);
	term_put(text, columns && term_width(text) > columns ? columns : 0);
	putchar('\n');
}

void top_print(const struct top_look *look, unsigned int columns, unsigned int rows)
{
	size_t room = !rows ? look->count : rows > 2 ? rows - 2 : 0, shown;
	unsigned int natural[COLUMNS], widths[COLUMNS];
	bool style = term_has_style();

	natural_widths(look, natural);
	memcpy(widths, natural, sizeof(widths));
	while (columns && total_width(widths) > columns && take_one(widths))
		;
	give_back(widths, natural, columns);
	put_sums(look, columns);
	fputs(style ? "\033[1m" : "", stdout);
	put_line(widths, NULL);
	fputs(style ? "\033[0m" : "", stdout);
	shown = look->count <= room ? look->count : room ? room - 1 : 0;
	for (size_t i = 0; i < shown; i++)
		put_line(widths, &look->rows[i]);
	if (shown < look->count && room)
		printf("and %zu more\n", look->count - shown);
}

/* --- for scripts ------------------------------------------------------------------------------ */

static void put_number(struct json_out *o, const char *key, uint64_t value)
{
	if (value == TOP_UNKNOWN)
		json_out_null(o, key);
	else
		json_out_u64(o, key, value);
}

static void put_row(struct json_out *o, const struct top_row *r)
{
	json_out_object(o, NULL);
	json_out_str(o, "id", r->id);
	json_out_str(o, "vm", r->vm);
	json_out_str(o, "name", r->name);
	json_out_str(o, "device", r->device);
	json_out_str(o, "path", r->path);
	json_out_str(o, "state", r->state);
	put_number(o, "requests_per_second", r->rate);
	put_number(o, "latency_us", r->latency_us);
	json_out_u64(o, "in_flight", r->in_flight);
	json_out_u64(o, "requests_completed", r->completed);
	json_out_u64(o, "requests_failed", r->failed);
	json_out_u64(o, "restarts", r->restarts);
	put_number(o, "faults", r->faults);
	json_out_end(o);
}

void top_print_json(const struct top_look *look)
{
	auto_free char *text = NULL;
	char now[UTC_TEXT_SIZE];
	struct json_out o;
	size_t len;

	json_out_init(&o);
	json_out_object(&o, NULL);
	json_out_str(&o, "schema", "iovd.top/1");
	json_out_str(&o, "time", utc_now_text(now));
	json_out_u64(&o, "interval_ms", look->interval_ns / 1000000);
	json_out_array(&o, "attachments");
	for (size_t i = 0; i < look->count; i++)
		put_row(&o, &look->rows[i]);
	json_out_end(&o);
	json_out_end(&o);
	text = json_out_finish(&o, &len);
	if (text)
		puts(text);
}

void top_print_plain(const struct top_look *look)
{
	for (size_t i = 0; i < look->count; i++) {
		const struct top_row *r = &look->rows[i];
		const uint64_t numbers[] = {r->rate, r->latency_us, r->in_flight, r->completed,
			r->failed, r->restarts, r->faults};

		out_safe(stdout, r->id);
		putchar('\t');
		out_safe(stdout, r->state);
		for (size_t n = 0; n < ARRAY_SIZE(numbers); n++) {
			if (numbers[n] == TOP_UNKNOWN)
				fputs("\t-", stdout);
			else
				printf("\t%llu", (unsigned long long)numbers[n]);
		}
		putchar('\n');
	}
}
