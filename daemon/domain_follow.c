/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What has become of the move of a domain: how far it is, and to which end it comes (domain_move.c). */
#include <string.h>

#include "daemon/baton.h"
#include "daemon/daemon.h"
#include "daemon/domain_move_priv.h"
#include "daemon/jobs.h"
#include "lib/cleanup.h"
#include "lib/log.h"

#define LOOK_MS      500
#define TOLD_MS      1000
#define COMES_MS     30000 /* from the reservation to libvirt's beginning */
#define MISSED_LOOKS 3
#define END_PERCENT  95

/* --- how far it is ---------------------------------------------------------------------------- */

static unsigned int in_flight(const struct domain_move *m)
{
	unsigned int sum = 0;

	list_for_each (node, registry_list(m->d->registry)) {
		const struct attachment *a = list_entry(node, struct attachment, node);
		struct session_status status;

		if (strcmp(a->spec.vm, m->vm) == 0 && a->page_fd >= 0 &&
			session_page_status(a->page_fd, &status, NULL) == 0)
			sum += status.in_flight;
	}
	return sum;
}

/* Never backwards, though the guest may write faster than its memory is sent. */
static void tell_progress(struct domain_move *m, const struct virt_progress *p)
{
	const unsigned int mib = 20;
	uint64_t sent = p->total_bytes - MIN(p->left_bytes, p->total_bytes);
	unsigned int percent = SEND_PERCENT;

	if (!p->total_bytes)
		return;
	percent += (unsigned int)(sent * (END_PERCENT - SEND_PERCENT) / p->total_bytes);
	m->percent = MAX(m->percent, percent);
	job_progress(m->job, m->percent,
		"pass %llu, %llu of %llu MiB left, %u in flight, blackout about %llu ms",
		(unsigned long long)p->passes, (unsigned long long)(p->left_bytes >> mib),
		(unsigned long long)(p->total_bytes >> mib), in_flight(m),
		(unsigned long long)p->downtime_ms);
}

/* --- the end ---------------------------------------------------------------------------------- */

static void log_moved(const struct domain_move *m)
{
	unsigned long long total = now_ms() - m->begun_ms, still = m->downtime_ms;

	if (still)
		log_info("%s: has moved in %llu ms, and stood still for %llu ms", m->vm, total,
			still);
	else
		log_info("%s: has moved in %llu ms; libvirt has not said how long it stood still",
			m->vm, total);
}

void move_done(struct domain_move *m)
{
	auto_json_out struct json_out o;
	auto_free char *text = NULL;
	struct err e = ERR_INIT;
	size_t len = 0;

	json_out_init(&o);
	json_out_object(&o, NULL);
	json_out_str(&o, "schema", "iovd.move/1");
	json_out_str(&o, "vm", m->vm);
	json_out_u64(&o, "total_ms", now_ms() - m->begun_ms);
	if (m->downtime_ms)
		json_out_u64(&o, "downtime_ms", m->downtime_ms);
	else
		json_out_null(&o, "downtime_ms");
	json_out_end(&o);
	text = json_out_finish(&o, &len);
	if (!text) {
		err_set(&e, ERR_FAILED, "MEMORY", "it has moved, but there is no memory to say so");
		move_fail(m, &e);
		return;
	}
	log_moved(m);
	job_done(m->job, text, len);
	move_free(m);
}

/* It has failed, and all is as before. */
static void move_undone(struct domain_move *m)
{
	if (m->why.kind == ERR_NONE)
		err_set(&m->why, ERR_FAILED, "MIG-REFUSED", "the VM did not leave");
	m->why.kind = ERR_ROLLED_BACK;
	move_fail(m, &m->why);
}

static void waited_enough(void *arg, unsigned int events)
{
	(void)events;
	move_done(arg);
}

static void leave(void *arg, unsigned int events);

static void left(void *arg, const struct virt_answer *answer, const struct err *e)
{
	struct domain_move *m = arg;
	struct err own = ERR_INIT;

	(void)answer;
	m->look = NULL;
	if (!e) {
		move_done(m);
		return;
	}
	log_warning("%s: what is left of it here: %s", m->vm, e->msg);
	m->timer = m->d->loop->ops->add_timer(m->d->loop, TOLD_MS, leave, m, &own);
	if (!m->timer)
		move_fail(m, &own);
}

/* What libvirt has left of it here, for it cannot know; we do. */
static void leave(void *arg, unsigned int events)
{
	struct domain_move *m = arg;
	const struct virt_ask ask = {.op = VIRT_LEAVE,
		.which = VIRT_LIVE,
		.domain = m->uuid,
		.alias = m->alias,
		.destination = m->destination};
	struct err e = ERR_INIT;

	(void)events;
	m->d->loop->ops->remove(m->timer);
	m->timer = NULL;
	m->look = virt_do(domains_virt(m->d->domains), &ask, left, m, &e);
	if (!m->look)
		left(m, NULL, &e);
}

/* libvirt says how long the domain stood still, but maybe later than that it has moved. */
static void move_success(struct domain_move *m)
{
	struct watch_loop *loop = m->d->loop;
	struct err e = ERR_INIT;

	if (m->is_left && m->alias[0] && !registry_has_vm(m->d->registry, m->vm)) {
		leave(m, 0);
		return;
	}
	m->d->loop->ops->remove(m->timer);
	m->timer = NULL;
	if (m->events.told && !m->downtime_ms)
		m->timer = loop->ops->add_timer(loop, TOLD_MS, waited_enough, m, &e);
	m->phase = MOVE_OVER;
	if (!m->timer)
		move_done(m);
}

static void move_ended(void *arg, const char *reply, size_t len, const struct err *e)
{
	struct domain_move *m = arg;

	(void)reply, (void)len;
	if (e)
		move_fail(m, e);
	else
		move_success(m);
}

/* The baton is not on its way any more: where it has ended is where the attachments are. */
static void move_over(struct domain_move *m)
{
	if (!registry_has_vm(m->d->registry, m->vm))
		move_success(m);
	else
		move_undone(m);
}

/* Waits for the baton's end, however long the other host is silent. */
void move_end(struct domain_move *m)
{
	enum baton_state state;
	struct err e = ERR_INIT;

	m->phase = MOVE_ENDING;
	job_progress(m->job, END_PERCENT, "waiting until it runs there");
	if (!baton_is_leaving(m->d, m->vm, &state))
		move_over(m);
	else if (baton_finish(m->d, m->vm, move_ended, m, &e) < 0)
		move_fail(m, &e);
}

static void move_aborted(void *arg, const char *reply, size_t len, const struct err *e)
{
	struct domain_move *m = arg;

	(void)reply, (void)len;
	if (e && strcmp(e->code, "MIG-RUNS") == 0)
		move_end(m);
	else if (e)
		move_fail(m, e);
	else
		move_undone(m);
}

void move_abort(struct domain_move *m)
{
	enum baton_state state;
	struct err e = ERR_INIT;

	m->phase = MOVE_ENDING;
	job_progress(m->job, m->percent, "taking it back");
	if (!baton_is_leaving(m->d, m->vm, &state))
		move_over(m);
	else if (baton_abort(m->d, m->vm, move_aborted, m, &e) < 0)
		move_fail(m, &e);
}

/* --- looking ---------------------------------------------------------------------------------- */

static void look(void *arg, unsigned int events);

void move_look_later(struct domain_move *m)
{
	struct watch_loop *loop = m->d->loop;
	struct err e = ERR_INIT;

	if (m->timer)
		loop->ops->set_timer(m->timer, LOOK_MS);
	else
		m->timer = loop->ops->add_timer(loop, LOOK_MS, look, m, &e);
	if (!m->timer)
		log_error("%s: its move is not followed: %s", m->vm, e.msg);
}

/* Who moves it may not have come to that yet. */
static bool may_still_begin(const struct domain_move *m)
{
	return !m->has_begun && now_ms() < m->begun_ms + COMES_MS;
}

/* The migration is over, as far as libvirt here is concerned. */
static void follow(struct domain_move *m, const struct virt_answer *answer)
{
	enum virt_state there = answer->count ? answer->domains[0].state : VIRT_OFF;
	enum baton_state state;

	m->is_left = m->why.kind != ERR_NONE || there == VIRT_RUNNING;
	if (!baton_is_leaving(m->d, m->vm, &state))
		move_over(m);
	else if (there == VIRT_OFF || there == VIRT_CRASHED)
		state < BATON_LEFT ? move_abort(m) : move_end(m);
	else if (there == VIRT_RUNNING && !may_still_begin(m))
		move_abort(m);
	else
		move_look_later(m);
}

/*
 * A QEMU that was told to give up while it stood still for a disk stops and runs again in one go, and
 * libvirt (9.0) may then wait for its stop for ever. True: that seems to be so, and has for a while; what
 * is said of a QEMU that stands still is from before that.
 */
static bool is_missed(struct domain_move *m, const struct virt_answer *answer)
{
	if (!answer->progress.active || !answer->count ||
		answer->domains[0].state != VIRT_RUNNING || !baton_is_torn(m->d, m->vm)) {
		m->missed = 0;
		return false;
	}
	return ++m->missed >= MISSED_LOOKS;
}

static void nudged(void *arg, const struct virt_answer *answer, const struct err *e)
{
	struct domain_move *m = arg;

	(void)answer;
	m->look = NULL;
	m->missed = 0;
	if (e)
		log_warning("%s: %s", m->vm, e->msg);
	move_look_later(m);
}

static int nudge(struct domain_move *m)
{
	const struct virt_ask ask = {.op = VIRT_NUDGE, .domain = m->uuid};
	struct err e = ERR_INIT;

	log_info("%s: libvirt has missed that it runs on", m->vm);
	m->look = virt_do(domains_virt(m->d->domains), &ask, nudged, m, &e);
	return m->look ? 0 : -1;
}

/* Before it stands still for that. */
static void give_up_hopeless(struct domain_move *m)
{
	struct err e = ERR_INIT;

	if (m->given_up || baton_carry_check(m->d, m->vm, m->carry_ms, &e) == 0)
		return;
	m->stuck = e;
	m->given_up = true;
}

static void looked(void *arg, const struct virt_answer *answer, const struct err *e)
{
	struct domain_move *m = arg;

	m->look = NULL;
	if (!e && is_missed(m, answer) && nudge(m) == 0)
		return;
	if (!e && m->phase == MOVE_SENDING)
		give_up_hopeless(m);
	if (!e)
		tell_progress(m, &answer->progress);
	if (!e && answer->progress.active)
		m->has_begun = true;
	if (!e && m->given_up && m->phase == MOVE_SENDING)
		move_stop(m);
	if (e || m->phase == MOVE_SENDING || answer->progress.active)
		move_look_later(m);
	else
		follow(m, answer);
}

/* Its QEMU would not answer, nor libvirt hear meanwhile that it is given up. */
static bool waits_for_rings(const struct domain_move *m)
{
	if (baton_is_torn(m->d, m->vm))
		return false;
	list_for_each (node, registry_list(m->d->registry)) {
		const struct attachment *a = list_entry(node, struct attachment, node);

		if (strcmp(a->spec.vm, m->vm) == 0 && a->tripped_ms)
			return m->phase == MOVE_SENDING;
	}
	return false;
}

static void look(void *arg, unsigned int events)
{
	struct domain_move *m = arg;
	const struct virt_ask ask = {.op = VIRT_PROGRESS, .domain = m->uuid};
	struct err e = ERR_INIT;

	(void)events;
	if (baton_was_stuck(m->d, m->vm))
		m->stuck = *baton_was_stuck(m->d, m->vm);
	if (waits_for_rings(m)) {
		move_look_later(m);
		return;
	}
	m->look = virt_do(domains_virt(m->d->domains), &ask, looked, m, &e);
	if (!m->look)
		move_look_later(m);
}

void move_look(struct domain_move *m)
{
	look(m, 0);
}

/* --- after a start ---------------------------------------------------------------------------- */

static bool is_first_of_vm(struct registry *r, const struct attachment *a)
{
	list_for_each (node, registry_list(r)) {
		const struct attachment *other = list_entry(node, struct attachment, node);

		if (strcmp(other->spec.vm, a->spec.vm) == 0)
			return other == a;
	}
	return false;
}

static void begin_to_follow(struct daemon *d, const char *vm, const char *uuid, bool has_begun)
{
	struct err e = ERR_INIT;
	struct domain_move *m = move_new(d, NULL, vm, uuid, &e);

	if (!m) {
		log_error("%s: its move is not followed: %s", vm, e.msg);
		return;
	}
	m->phase = MOVE_FOLLOWING;
	m->has_begun = has_begun;
	move_look_later(m);
}

void domain_moves_begin(struct daemon *d)
{
	list_for_each (node, registry_list(d->registry)) {
		const struct attachment *a = list_entry(node, struct attachment, node);
		enum baton_state state;

		if (a->spec.domain[0] && is_first_of_vm(d->registry, a) &&
			!baton_goes_by_lease(d, a->spec.vm) &&
			baton_is_leaving(d, a->spec.vm, &state))
			begin_to_follow(d, a->spec.vm, a->spec.domain, true);
	}
}

void domain_move_follow(struct daemon *d, const char *vm)
{
	const struct domain *domain = domain_move_domain(d, vm);

	if (domain)
		begin_to_follow(d, vm, domain->uuid, false);
}
