/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What `iovctl top` has measured between two looks at all attachments, and how it is shown. */
#pragma once

#include "cli/cmd.h"

#define TOP_UNKNOWN UINT64_MAX

/* One attachment. Texts belong to the reply that it was read from. */
struct top_row {
	const char *id, *vm, *name, *device, *path, *state, *action;
	uint64_t completed, failed, timed, timed_ms; /* since it was made */
	uint64_t in_flight, restarts;
	uint64_t
		faults; /* of the hardware, as far as they are kept; TOP_UNKNOWN: nobody sees them */
	/* in the interval: */
	uint64_t rate;       /* a second; TOP_UNKNOWN: it was not looked at before */
	uint64_t latency_us; /* the mean of what was completed; TOP_UNKNOWN: nothing was */
};

struct top_look {
	uint64_t at_ns, interval_ns;
	struct json *reply;
	struct top_row *rows;
	size_t count;
};

enum top_order { TOP_BY_RATE, TOP_BY_LATENCY, TOP_BY_IN_FLIGHT, TOP_BY_NAME, TOP_ORDERS };

extern const char *const top_order_names[TOP_ORDERS];

/* Takes the reply of ListAttachments over, also when this fails. 0 or -1. */
int top_look_read(struct top_look *look, struct json *reply, struct err *e);
/* What ListFaults answers. While the daemon cannot see any, how many there are is not known. */
void top_look_take_faults(struct top_look *look, const struct json *reply);

void top_look_release(struct top_look *look);

/* Fills in what happened since `before` (with no rows: nothing is known of that). */
void top_look_compare(struct top_look *look, const struct top_look *before);

void top_look_sort(struct top_look *look, enum top_order order);

/*
 * For people: a line of sums, titles and a line for each attachment, as far as they fit; 0: all there are.
 * Every line is `columns` wide at most, 0: as wide as it takes.
 */
void top_print(const struct top_look *look, unsigned int columns, unsigned int rows);

/* For scripts: a document, or a line for each attachment with tabs between. */
void top_print_json(const struct top_look *look);
void top_print_plain(const struct top_look *look);
