/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Theory of operation. The log is read in the loop, at most BUDGET records in a turn, and then not for
 * PAUSE_MS: whatever the kernel says, no more than BUDGET records in that time are looked at. What
 * comes faster for longer than its ring lasts is overwritten, which the records' numbers tell.
 *
 * The first read of a daemon goes on where the last one stopped, if that was in this boot; else it
 * begins with the oldest record there is. The store has that place with each fault, and else now and
 * then, so that a daemon that was killed reads a little twice, in which there was nothing. Times of such records are made of the kernel's clock; those
 * that come while we wait for them have ours.
 *
 * Only the kernel's own records count (facility 0): any program of root can write into its log.
 */
#include <inttypes.h>
#include <string.h>

#include "daemon/faults_priv.h"
#include "daemon/inventory.h"
#include "lib/log.h"

#define BUDGET     256
#define PAUSE_MS   20
#define KEEP_EVERY 256 /* records: far fewer than the ring holds */

static uint64_t time_of(const struct faults *f, const struct kmsg_record *r)
{
	uint64_t now = utc_now_ms(), up = now_ms(), at = r->time_us / 1000;

	if (!f->is_behind || !sysroot_is_live(inventory_sysroot(f->d->inventory)) || at > up)
		return now;
	return now - (up - at);
}

/* False if the record was read already. */
static bool follow_numbers(struct faults *f, const struct kmsg_record *r)
{
	uint64_t expected = f->next_number;

	if (f->has_number && r->number < expected)
		return false;
	f->next_number = r->number + 1;
	if (f->has_number && r->number > expected)
		faults_lost(f, r->number - expected);
	f->has_number = true;
	return true;
}

static void take_record(struct faults *f, const struct kmsg_record *r)
{
	struct fault fault;

	f->records++;
	if (!follow_numbers(f, r) || r->facility != 0)
		return;
	switch (fault_read_line(&f->reader, r->text, &fault)) {
	case FAULT_LINE_FAULT:
		faults_take(f, &fault, time_of(f, r));
		break;
	case FAULT_LINE_SUPPRESSED:
		faults_suppressed(f, fault.source, fault.raw[0]);
		break;
	case FAULT_LINE_NONE:
	case FAULT_LINE_PART:
		break;
	}
}

static void go_blind(struct faults *f, const struct err *e)
{
	f->blind = *e;
	f->is_open = false;
	log_error("faults: %s: %s", e->msg, e->evidence);
	faults_source_close(f);
}

/* True: there may be more. */
static bool read_some(struct faults *f)
{
	struct kmsg_record r;
	struct err e = ERR_INIT;

	for (unsigned int i = 0; i < BUDGET; i++) {
		int rc = kmsg_next(f->kmsg, &r, &e);

		if (rc < 0)
			go_blind(f, &e);
		else if (rc == 0)
			f->is_behind = false;
		if (rc <= 0)
			return false;
		take_record(f, &r);
	}
	return true;
}

static void turn(void *arg, unsigned int events)
{
	struct faults *f = arg;
	const struct watch_ops *ops = f->d->loop->ops;
	bool has_more;

	(void)events;
	has_more = f->kmsg && read_some(f);
	if (!f->kmsg)
		return;
	if (f->next_number - f->kept_number >= KEEP_EVERY)
		faults_flush_soon(f);
	if (f->kmsg_watch)
		ops->set_events(f->kmsg_watch, has_more ? 0 : WATCH_READ);
	if (has_more)
		ops->set_timer(f->pause, PAUSE_MS);
}

static int open_log(struct faults *f, struct err *e)
{
	struct watch_loop *loop = f->d->loop;

	if (kmsg_open(inventory_sysroot(f->d->inventory), &f->kmsg, e) < 0)
		return -1;
	f->pause = loop->ops->add_timer(loop, 0, turn, f, e);
	if (f->pause && kmsg_is_live(f->kmsg))
		f->kmsg_watch = loop->ops->add_fd(loop, kmsg_fd(f->kmsg), WATCH_READ, turn, f, e);
	return f->pause && (f->kmsg_watch || !kmsg_is_live(f->kmsg)) ? 0 : -1;
}

void faults_source_open(struct faults *f)
{
	struct err e = ERR_INIT;

	f->is_behind = true;
	f->is_open = open_log(f, &e) == 0;
	if (!f->is_open)
		go_blind(f, &e);
}

void faults_source_close(struct faults *f)
{
	const struct watch_ops *ops = f->d->loop->ops;

	ops->remove(f->kmsg_watch);
	ops->remove(f->pause);
	kmsg_close(f->kmsg);
	f->kmsg_watch = f->pause = NULL;
	f->kmsg = NULL;
}
