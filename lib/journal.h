/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The journal: what is being changed on the host, written before it is changed. One row per
 * operation, gone when it is over; what a crash left is finished or undone at the next start
 * (lib/migrate/stages.h, which is the only writer).
 */
#pragma once

#include "lib/store.h"

/* The table, as part of the schema's first migration. */
#define JOURNAL_SCHEMA                                                                             \
	"CREATE TABLE journal ("                                                                   \
	"	id INTEGER PRIMARY KEY,"                                                                 \
	"	verb TEXT NOT NULL,"                                                                     \
	"	subject TEXT NOT NULL,"                                                                  \
	"	stage INTEGER NOT NULL,"                                                                 \
	"	direction INTEGER NOT NULL);"

enum journal_direction {
	JOURNAL_UNDECIDED, /* after a crash: undo */
	JOURNAL_COMMITTED, /* there is no way back: finish */
	JOURNAL_UNDOING,
	JOURNAL_DIRECTIONS
};

struct journal_op {
	int64_t id;
	char verb[16];
	char subject[40];   /* what it is done to, as the verb understands it */
	unsigned int stage; /* the last one that was begun */
	enum journal_direction direction;
};

/* A new operation, at its stage 0, undecided; sets op->id. */
int journal_open(struct store *s, struct journal_op *op, struct err *e);

/* Writes stage and direction as they are in `op` now. */
int journal_write(struct store *s, const struct journal_op *op, struct err *e);

/* It is over. */
int journal_close(struct store *s, const struct journal_op *op, struct err *e);

/* What is open, oldest first; fn must not change the journal. */
typedef void journal_fn(void *arg, const struct journal_op *op);
int journal_each(struct store *s, journal_fn *fn, void *arg, struct err *e);
