/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The host as a picture: what `ShowHost` says, put in the order of its topology. Rows from top to
 * bottom, each with its place in the tree: root complexes, the bridges and functions behind them, what
 * is on a function (interfaces, disks and their partitions; virtual functions below the physical
 * one), what is on no bus, and then the machines with their attachments. Who draws (a tree of text, SVG, DOT) only
 * goes through the rows.
 */
#pragma once

#include "cli/cmd.h"

enum picture_kind {
	PICTURE_ROOT,     /* a root complex, or what is on no bus */
	PICTURE_BRIDGE,   /* with devices behind it */
	PICTURE_FUNCTION, /* of PCI */
	PICTURE_DEVICE,   /* anything else that a VM can be given */
	PICTURE_VM,
	PICTURE_ATTACHMENT,
};

#define PICTURE_NONE      SIZE_MAX /* no row */
#define PICTURE_DEEP      60       /* rows of a deeper level are drawn on this one */
#define PICTURE_LABEL_MAX 264      /* the name of any file, and a count */

struct picture_row {
	enum picture_kind kind;
	unsigned int depth;
	bool is_last;   /* of its parent's children */
	uint64_t open;  /* bit n: a line goes on at level n, to later rows of that level */
	size_t parent;  /* the row; PICTURE_NONE: none */
	size_t count;   /* of devices that it stands for: alike and next to each other */
	const char *id; /* in full; of several, of the first one */
	const char *to; /* of the last of several; else NULL */
	/* "" where there is none; of an attachment how it is given, and in `name` what is. */
	const char *driver, *state;
	char name[96]; /* what it is, without the forms that its maker's company has */
	int64_t group; /* of the IOMMU; -1: none */
	char use[160]; /* by whom, in a few words; "" nobody */
	size_t device; /* of an attachment: the row of what is given */
};

struct picture_node;

struct picture {
	struct picture_node *nodes; /* names of root complexes are in there */
	const struct json *reply;   /* strings are in there */
	const struct json *host;
	struct picture_row *rows;
	size_t count;
	size_t vms_at; /* the first row of a machine; count: there are none */
};

/*
 * `reply` is kept, not owned. `whole`: each device is a row of its own, however many are alike. NULL
 * with e set.
 */
struct picture *picture_new(const struct json *reply, bool whole, struct err *e);
void picture_free(struct picture *p);

/* "lab1, Linux 6.1.0, Intel VT-d with 24 groups" */
void picture_title(const struct picture *p, char *text, size_t size);

/* How a row is called where there is little room: "41:00.0", "sda", "41:02.0-7". */
void picture_label(const struct picture_row *row, char *text, size_t size);

/*
 * The state that a row is coloured by. A machine that libvirt does not have, and that has nothing open, is
 * unknown as long as it is not run; of a device that is trouble.
 */
const char *picture_mark(const struct picture_row *row);

/*
 * At most `room` characters (0: all), the last of them an ellipsis if there are more; `put` gets each byte.
 * Half a character, which is what may be left of one at the end of a short buffer, is left out: with it whole
 * pages would be unreadable.
 */
void picture_put(const char *text, unsigned int room, void (*put)(unsigned char c));

/* The row where the group of row `at` ends, if it begins there and has several rows; else `at`. */
size_t picture_group_end(const struct picture *p, size_t at);

/* --- who draws; on standard output ------------------------------------------------------------ */

int picture_tree(const struct picture *p, struct err *e); /* picture_tree.c */
int picture_svg(const struct picture *p, struct err *e);  /* picture_svg.c */
int picture_dot(const struct picture *p, struct err *e);  /* picture_dot.c */
