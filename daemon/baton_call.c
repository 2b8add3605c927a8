/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The baton at the source: how the destination is asked, and who is told what came of it. */
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "daemon/baton_priv.h"
#include "daemon/conf.h"
#include "lib/log.h"

#define CALL_MS 20000

/* --- the one who waits ------------------------------------------------------------------------ */

void baton_tell(struct baton *b, const char *reply, size_t len, const struct err *e)
{
	baton_done_fn *done = b->done;

	b->done = NULL;
	b->wish = WISH_NONE;
	if (done)
		done(b->arg, reply, len, e);
}

/* --- calls ------------------------------------------------------------------------------------ */

static void step_again(void *arg, unsigned int events)
{
	(void)events;
	baton_step(arg);
}

void baton_try_later(struct baton *b, uint64_t delay_ms)
{
	struct err e = ERR_INIT;

	if (b->again)
		b->d->loop->ops->set_timer(b->again, delay_ms);
	else
		b->again = b->d->loop->ops->add_timer(b->d->loop, delay_ms, step_again, b, &e);
}

/* The channel is of no use any more; the next call opens another. */
static void drop_channel(struct baton *b)
{
	channel_close(b->channel);
	b->channel = NULL;
}

void baton_put_move(const struct baton *b, struct json_out *o)
{
	json_out_init(o);
	json_out_object(o, NULL);
	json_out_str(o, "move", b->move);
}

int baton_call(struct baton *b, const char *method, struct json_out *o, uint64_t deadline_ms,
	channel_done_fn *done, struct err *e)
{
	json_out_end(o);
	if (!b->channel)
		b->channel = channel_open(b->d->loop, b->peer, b->d->conf->ssh, e);
	if (b->channel && channel_call(b->channel, method, o, deadline_ms, done, b, e) == 0) {
		b->calling = true;
		return 0;
	}
	json_out_release(o);
	drop_channel(b);
	return -1;
}

void baton_ask(struct baton *b, const char *method, struct json_out *o, channel_done_fn *done)
{
	struct err e = ERR_INIT;

	if (baton_call(b, method, o, CALL_MS, done, &e) == 0)
		return;
	log_warning("%s: %s: %s: tried again", b->vm, method, e.msg);
	baton_try_later(b, BATON_AGAIN_MS);
}

bool baton_is_no_answer(struct baton *b, const char *method, const struct err *e)
{
	b->calling = false;
	if (!e)
		return false;
	log_warning("%s: %s: %s: tried again", b->vm, method, e->msg);
	if (e->kind == ERR_UNREACHABLE)
		drop_channel(b);
	baton_try_later(b, BATON_AGAIN_MS);
	return true;
}

/* --- what the VM has -------------------------------------------------------------------------- */

/* Which files they are, by the names of the attachments: on storage that is shared they are so there. */
static void put_inodes(struct baton *b, struct json_out *o)
{
	struct attachment *a = NULL;

	json_out_object(o, "inodes");
	while ((a = baton_next(b, a))) {
		struct stat st;

		if (a->backing_fd >= 0 && fstat(a->backing_fd, &st) == 0 && S_ISREG(st.st_mode))
			json_out_fmt(o, a->spec.name, "%llu", (unsigned long long)st.st_ino);
	}
	json_out_end(o);
}

/* What the domain calls its disks, if it is one. */
static void put_targets(struct baton *b, struct json_out *o)
{
	struct attachment *a = NULL;

	json_out_object(o, "targets");
	while ((a = baton_next(b, a)))
		if (a->spec.target[0])
			json_out_str(o, a->spec.name, a->spec.target);
	json_out_end(o);
}

void baton_put_description(struct baton *b, const char *state, struct json_out *o)
{
	baton_put_move(b, o);
	json_out_str(o, "vm", b->vm);
	json_out_str(o, "state", state);
	put_inodes(b, o);
	put_targets(b, o);
	if (b->map)
		json_out_value(o, "map", b->map);
}
