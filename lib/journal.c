/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "lib/journal.h"

int journal_open(struct store *s, struct journal_op *op, struct err *e)
{
	static const char sql[] =
		"INSERT INTO journal (verb, subject, stage, direction) VALUES (?, ?, ?, ?)";

	op->stage = 0;
	op->direction = JOURNAL_UNDECIDED;
	if (store_run(s, sql,
		    STORE_BIND(STORE_TEXT(op->verb), STORE_TEXT(op->subject), STORE_INT(op->stage),
			    STORE_INT(op->direction)),
		    NULL, NULL, e) < 0)
		return err_wrap(e, "journal");
	op->id = store_last_id(s);
	return 0;
}

int journal_write(struct store *s, const struct journal_op *op, struct err *e)
{
	static const char sql[] = "UPDATE journal SET stage = ?, direction = ? WHERE id = ?";

	if (store_run(s, sql,
		    STORE_BIND(STORE_INT(op->stage), STORE_INT(op->direction), STORE_INT(op->id)),
		    NULL, NULL, e) < 0)
		return err_wrap(e, "journal");
	return 0;
}

int journal_close(struct store *s, const struct journal_op *op, struct err *e)
{
	static const char sql[] = "DELETE FROM journal WHERE id = ?";

	if (store_run(s, sql, STORE_BIND(STORE_INT(op->id)), NULL, NULL, e) < 0)
		return err_wrap(e, "journal");
	return 0;
}

struct each {
	journal_fn *fn;
	void *arg;
};

static int each_row(void *arg, const struct store_row *row)
{
	const struct each *each = arg;
	int64_t direction = store_row_int(row, 4);
	struct journal_op op = {
		.id = store_row_int(row, 0),
		.stage = (unsigned int)store_row_int(row, 3),
		.direction = (enum journal_direction)direction,
	};

	if (direction < 0 || direction >= JOURNAL_DIRECTIONS)
		op.direction = JOURNAL_UNDECIDED;
	str_copy(op.verb, sizeof(op.verb), store_row_text(row, 1));
	str_copy(op.subject, sizeof(op.subject), store_row_text(row, 2));
	each->fn(each->arg, &op);
	return 0;
}

int journal_each(struct store *s, journal_fn *fn, void *arg, struct err *e)
{
	static const char sql[] =
		"SELECT id, verb, subject, stage, direction FROM journal ORDER BY id";
	struct each each = {.fn = fn, .arg = arg};

	return store_run(s, sql, STORE_NO_BIND, each_row, &each, e);
}
