/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The rings of a session: what the VMM says about them, and the way of requests through them.
 *
 * Theory of operation. A ring is stopped or started, and independently enabled or not. SET_VRING_
 * KICK starts it, with what NUM, ADDR and BASE said before; GET_VRING_BASE stops it, after what is
 * in flight has ended. Requests are fetched while it is started, enabled, and its gate is open. A
 * shut gate lets replays through: they are the rest of what was in flight when a worker died, and a
 * drain that left them out would lose them. The session has a gate of its own (vu_gate.c).
 *
 * One round (vu_rings_work): fetch from each ring what there is, up to a batch; hand the batch to
 * the kernel at once; publish per ring what has completed since, with at most one call to the
 * guest. A device may complete within submit(): the same round publishes it. Then the device fills
 * rings of its own (backend.h), of which nothing is in flight between two rounds.
 *
 * When the connection is ending nothing is pushed any more. The VMM takes its rings back as they
 * are the moment it sees the end, and counts what is not in the used ring as in flight; a completion
 * that it does not see is simply done again after it has reconnected.
 */
#include "lib/backends/vu_session_priv.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#define FETCH_BATCH  32u
#define POLL_TICK_MS 1u

static struct page_ring *facts(const struct vu_ring *r)
{
	return &r->s->page->rings[r->index];
}

/* The ring that a message names, or NULL. */
static struct vu_ring *named(struct vu_session *s, uint32_t index, struct err *e)
{
	if (index < s->ring_count)
		return &s->rings[index];
	err_set(e, ERR_REFUSED, "VU-RING", "ring %u of a device with %u", index, s->ring_count);
	return NULL;
}

/* The same, for what may only be told about a ring that does not run. */
static struct vu_ring *named_stopped(struct vu_session *s, uint32_t index, struct err *e)
{
	struct vu_ring *r = named(s, index, e);

	if (!r || !facts(r)->started)
		return r;
	err_set(e, ERR_REFUSED, "VU-RING", "ring %u is running", index);
	return NULL;
}

bool vu_any_ring_started(const struct vu_session *s)
{
	for (unsigned int i = 0; i < s->ring_count; i++)
		if (s->page->rings[i].started)
			return true;
	return false;
}

/* The device hears whether the driver uses it: both started and enabled. */
static void tell_use(struct vu_ring *r)
{
	struct backend *b = r->s->backend;

	if (b->ops->enable)
		b->ops->enable(b, r->index, facts(r)->started && facts(r)->enabled);
}

static void note_started(struct vu_session *s)
{
	bool started = vu_any_ring_started(s);

	if (s->page->started == started)
		return;
	s->page->started = started;
	vu_changed(s);
}

/* --- starting and stopping ------------------------------------------------------------------- */

static void poll_tick(void *arg, unsigned int events)
{
	struct vu_session *s = arg;

	(void)events;
	s->cfg.loop->ops->set_timer(s->poll_timer, POLL_TICK_MS);
}

static void unwatch_kick(struct vu_ring *r)
{
	r->s->cfg.loop->ops->remove(r->kick);
	r->kick = NULL;
}

static void kicked(void *arg, unsigned int events)
{
	struct vu_ring *r = arg;
	uint64_t count;
	ssize_t n = read(vault_fd(r->s->vault, VAULT_KICK0 + r->index), &count, sizeof(count));

	(void)events;
	if (n > 0 || (n < 0 && errno == EAGAIN))
		return;  /* it is quiet now, and the round that follows looks at all rings */
	unwatch_kick(r); /* what cannot be read will never be quiet */
	vu_report(r->s, "ring %u: its kick descriptor cannot be read", r->index);
}

/* A ring without a kick descriptor is looked at on every tick. */
static int watch_kick(struct vu_ring *r, struct err *e)
{
	struct vu_session *s = r->s;
	const struct watch_ops *loop = s->cfg.loop->ops;
	int fd = vault_fd(s->vault, VAULT_KICK0 + r->index);

	if (fd < 0 && !s->poll_timer)
		s->poll_timer = loop->add_timer(s->cfg.loop, POLL_TICK_MS, poll_tick, s, e);
	if (fd < 0)
		return s->poll_timer ? 0 : -1;
	r->kick = loop->add_fd(s->cfg.loop, fd, WATCH_READ, kicked, r, e);
	return r->kick ? 0 : -1;
}

static void update_log(struct vu_ring *r)
{
	struct vu_session *s = r->s;
	struct dirty_log *log = s->page->features & VHOST_F_LOG_ALL ? s->log : NULL;

	if (r->q)
		virtq_set_log(r->q, log, facts(r)->log_used, facts(r)->log_gpa);
}

void vu_rings_update_log(struct vu_session *s)
{
	for (unsigned int i = 0; i < s->ring_count; i++)
		update_log(&s->rings[i]);
}

/*
 * A region, ready for this ring. One of our own knows nothing of a ring that the VMM starts (again):
 * it was drained when it stopped, and may begin elsewhere or in the other format now.
 */
static int ready_inflight(struct vu_ring *r, bool takeover, struct err *e)
{
	struct vu_session *s = r->s;
	const struct page_inflight *p = &s->page->inflight;
	bool packed = s->page->features & VIRTIO_F_RING_PACKED;

	if (s->inflight && p->ours && p->packed != packed && !vu_any_ring_started(s))
		vu_inflight_drop(s);
	if (!s->inflight && vu_make_inflight(s, e) < 0)
		return -1;
	if (p->ours && !takeover && !vu_incoming_waits_for(s, r->index))
		inflight_queue_reset(inflight_queue_get(s->inflight, (uint16_t)r->index));
	return 0;
}

static int start(struct vu_ring *r, bool takeover, struct err *e)
{
	const struct page_ring *p = facts(r);
	uint64_t features = r->s->page->features;
	struct virtq_config cfg = {
		.index = (uint16_t)r->index,
		.size = (uint16_t)p->num,
		.packed = features & VIRTIO_F_RING_PACKED,
		.event_idx = features & VIRTIO_F_EVENT_IDX,
		.indirect = features & VIRTIO_F_RING_INDIRECT,
		.desc_uva = p->desc_uva,
		.avail_uva = p->avail_uva,
		.used_uva = p->used_uva,
		.log_gpa = p->log_gpa,
		.log_used = p->log_used,
		.base = p->base,
		.takeover = takeover,
		.in_order = r->s->backend->ops->in_order,
		.refetch = vu_ring_is_filled(r),
	};

	if (!p->num || !p->has_addr)
		return err_set(e, ERR_REFUSED, "VU-RING", "ring %u has no %s yet", r->index,
			p->num ? "addresses" : "size");
	if (!takeover && vu_incoming_check(r->s, r->index, e) < 0)
		return -1;
	if (ready_inflight(r, takeover, e) < 0)
		return -1;
	if (virtq_start(&r->q, &cfg, r->s->mem, inflight_queue_get(r->s->inflight, cfg.index), e) <
		0)
		return -1;
	update_log(r);
	virtq_kicks_off(r->q);
	return 0;
}

static void let_go(struct vu_ring *r)
{
	vu_forget_parked(r);
	unwatch_kick(r);
	virtq_free(r->q);
	r->q = NULL;
	r->gate = false;
	r->in_flight = r->staged = 0;
}

void vu_ring_stop(struct vu_ring *r)
{
	struct page_ring *p = facts(r);

	r->gate = false; /* also where a predecessor got as far as this, and no further */
	if (!p->started)
		return;
	if (r->q)
		p->base = virtq_base(r->q);
	p->broken = 0;
	page_commit(p->started, 0);
	tell_use(r);
	vu_point("ring-stopped");
	/* Closing first would leave the watch: the VMM keeps the same open file description. */
	unwatch_kick(r);
	vault_drop(r->s->vault, VAULT_KICK0 + r->index);
	let_go(r);
	note_started(r->s);
}

/* --- what the VMM says ----------------------------------------------------------------------- */

enum vu_act vu_ring_set_num(struct vu_session *s, struct err *e)
{
	const struct vu_vring_state *state = &s->in.msg.body.state;
	struct vu_ring *r = named_stopped(s, state->index, e);

	if (!r)
		return VU_BROKEN;
	if (!state->num || state->num > VIRTQ_MAX_SIZE) {
		err_set(e, ERR_REFUSED, "VU-RING", "ring %u: size %u is not 1 to %u", r->index,
			state->num, VIRTQ_MAX_SIZE);
		return VU_BROKEN;
	}
	facts(r)->num = state->num;
	return VU_DONE;
}

static bool is_same_place(const struct page_ring *p, const struct vu_vring_addr *a)
{
	return p->desc_uva == a->desc && p->avail_uva == a->avail && p->used_uva == a->used;
}

/* On a running ring only what is logged may change: its indexes go on. */
enum vu_act vu_ring_set_addr(struct vu_session *s, struct err *e)
{
	const struct vu_vring_addr *addr = &s->in.msg.body.addr;
	struct vu_ring *r = named(s, addr->index, e);
	struct page_ring *p;

	if (!r)
		return VU_BROKEN;
	p = facts(r);
	if (p->started && !is_same_place(p, addr)) {
		err_set(e, ERR_REFUSED, "VU-RING", "ring %u is running elsewhere", r->index);
		return VU_BROKEN;
	}
	p->desc_uva = addr->desc;
	p->avail_uva = addr->avail;
	p->used_uva = addr->used;
	p->log_gpa = addr->log;
	p->log_used = (addr->flags & VU_VRING_F_LOG) != 0;
	p->has_addr = 1;
	update_log(r);
	return VU_DONE;
}

enum vu_act vu_ring_set_base(struct vu_session *s, struct err *e)
{
	const struct vu_vring_state *state = &s->in.msg.body.state;
	struct vu_ring *r = named_stopped(s, state->index, e);

	if (!r)
		return VU_BROKEN;
	if (!(s->page->features & VIRTIO_F_RING_PACKED) && state->num > UINT16_MAX) {
		err_set(e, ERR_REFUSED, "VU-RING", "ring %u: base %u is over 65535", r->index,
			state->num);
		return VU_BROKEN;
	}
	facts(r)->base = state->num;
	return VU_DONE;
}

/* Replays are not fetched, but wait in the region. */
static bool replays_wait(const struct vu_session *s)
{
	return vu_is_held(s) || vu_gate_is_settled(s) || vu_gate_carries(s);
}

/* See vu_rings_busy(). */
static unsigned int busy(const struct vu_ring *r)
{
	unsigned int with_host = r->in_flight - r->parked;

	if (!r->q)
		return 0;
	if (virtq_broken(r->q))
		return with_host;
	return replays_wait(r->s) ? with_host + r->staged : virtq_in_flight(r->q);
}

unsigned int vu_rings_taken(const struct vu_session *s)
{
	unsigned int sum = 0;

	for (unsigned int i = 0; i < s->ring_count; i++) {
		const struct vu_ring *r = &s->rings[i];

		if (r->q)
			sum += virtq_broken(r->q) ? r->in_flight : virtq_in_flight(r->q);
	}
	return sum;
}

/* The ring has requests that only wait in the region. May it stop with them? */
static bool may_leave_waiting(const struct vu_ring *r)
{
	const struct vu_session *s = r->s;

	if (!r->q || virtq_broken(r->q) || !virtq_in_flight(r->q))
		return true;
	if (s->page->inflight.ours) /* which ends with the ring */
		return false;
	if (vu_gate_carries(s))
		return s->page->gate.word & SESSION_GATE_STORED;
	return !(s->page->features & VHOST_F_LOG_ALL);
}

unsigned int vu_rings_busy(const struct vu_session *s)
{
	unsigned int sum = 0;

	for (unsigned int i = 0; i < s->ring_count; i++)
		sum += busy(&s->rings[i]);
	return sum;
}

enum vu_act vu_ring_get_base(struct vu_session *s, struct err *e)
{
	struct vu_vring_state state = s->in.msg.body.state;
	struct vu_ring *r = named(s, state.index, e);

	if (!r)
		return VU_BROKEN;
	r->gate = true;
	vu_gate_trip(s);
	if (busy(r) || !may_leave_waiting(r))
		return VU_WAIT;
	vu_gate_note_stop(s);
	vu_ring_stop(r);
	state.num = facts(r)->base;
	vu_reply(s, vu_reply_state(s->page->message.reply, s->in.msg.request, &state), 0);
	return VU_DONE;
}

/* Puts the message's descriptor, if it has one, into the ring's slot. */
static int store_fd(struct vu_session *s, unsigned int slot, struct err *e)
{
	int fd, rc;

	if (s->in.msg.body.ring_fd.no_fd) {
		vault_drop(s->vault, slot);
		return 0;
	}
	fd = vu_take_fd(s);
	/* Neither a full nor an empty counter may hold us up, whatever the VMM does with it. */
	rc = fdio_set_nonblock(fd, true);
	if (rc < 0) {
		close(fd);
		return err_sys(e, -rc, "its descriptor");
	}
	if (vault_put(s->vault, slot, fd, e) < 0)
		return -1;
	vu_point("vault");
	return 0;
}

enum vu_act vu_ring_set_kick(struct vu_session *s, struct err *e)
{
	struct vu_ring *r = named(s, s->in.msg.body.ring_fd.index, e);

	if (!r)
		return VU_BROKEN;
	unwatch_kick(r);
	if (store_fd(s, VAULT_KICK0 + r->index, e) < 0 || watch_kick(r, e) < 0)
		return VU_BROKEN;
	if (!r->q && !facts(r)->broken && start(r, false, e) < 0)
		return VU_BROKEN;
	page_commit(facts(r)->started, 1);
	vu_point("ring-started");
	tell_use(r);
	vu_incoming_arrived(s, r->index);
	vu_gate_note_start(s);
	note_started(s);
	return VU_DONE;
}

static void signal_fd(struct vu_session *s, unsigned int slot)
{
	const uint64_t one = 1;
	int fd = vault_fd(s->vault, slot);

	/* A full counter is a signal already; a VMM that has gone is noticed elsewhere. */
	if (fd >= 0 && write(fd, &one, sizeof(one)) < 0)
		return;
}

static void call_guest(struct vu_ring *r)
{
	signal_fd(r->s, VAULT_CALL0 + r->index);
}

enum vu_act vu_ring_set_call(struct vu_session *s, struct err *e)
{
	struct vu_ring *r = named(s, s->in.msg.body.ring_fd.index, e);

	if (!r || store_fd(s, VAULT_CALL0 + r->index, e) < 0)
		return VU_BROKEN;
	if (r->q) /* what was signalled through the one before may not have been heard */
		call_guest(r);
	return VU_DONE;
}

enum vu_act vu_ring_set_err(struct vu_session *s, struct err *e)
{
	struct vu_ring *r = named(s, s->in.msg.body.ring_fd.index, e);

	if (!r || store_fd(s, VAULT_ERR0 + r->index, e) < 0)
		return VU_BROKEN;
	if (facts(r)->broken)
		signal_fd(s, VAULT_ERR0 + r->index);
	return VU_DONE;
}

void vu_ring_set_enabled(struct vu_ring *r, bool enabled)
{
	facts(r)->enabled = enabled;
	tell_use(r);
}

enum vu_act vu_ring_enable(struct vu_session *s, struct err *e)
{
	const struct vu_vring_state *state = &s->in.msg.body.state;
	struct vu_ring *r = named(s, state->index, e);

	if (!r)
		return VU_BROKEN;
	vu_ring_set_enabled(r, state->num != 0);
	return VU_DONE;
}

/* --- all rings ------------------------------------------------------------------------------- */

void vu_rings_gate(struct vu_session *s, bool closed)
{
	for (unsigned int i = 0; i < s->ring_count; i++)
		s->rings[i].gate = closed;
}

int vu_rings_remap(struct vu_session *s, struct err *e)
{
	for (unsigned int i = 0; i < s->ring_count; i++)
		if (s->rings[i].q && virtq_remap(s->rings[i].q, e) < 0)
			return -1;
	return 0;
}

void vu_rings_reset(struct vu_session *s)
{
	for (unsigned int i = 0; i < s->ring_count; i++) {
		vu_ring_stop(&s->rings[i]);
		*facts(&s->rings[i]) = (struct page_ring){0};
	}
}

static void set_broken(struct vu_ring *r, const char *why)
{
	if (facts(r)->broken)
		return;
	facts(r)->broken = 1;
	vu_report(r->s, "ring %u is stopped: %s", r->index, why);
	signal_fd(r->s, VAULT_ERR0 + r->index);
}

void vu_rings_restore(struct vu_session *s)
{
	for (unsigned int i = 0; i < s->ring_count; i++) {
		struct vu_ring *r = &s->rings[i];
		struct err e = ERR_INIT;

		tell_use(r);
		if (!facts(r)->started) {
			vault_drop(s->vault, VAULT_KICK0 + i);
			continue;
		}
		vu_incoming_arrived(s, i);
		if (watch_kick(r, &e) < 0 || start(r, true, &e) < 0)
			set_broken(r, e.msg);
	}
}

void vu_rings_drop(struct vu_session *s)
{
	for (unsigned int i = 0; i < s->ring_count; i++) {
		struct vu_ring *r = &s->rings[i];

		page_commit(facts(r)->started, 0);
		tell_use(r);
		let_go(r);
		*facts(r) = (struct page_ring){0};
	}
	vault_drop_range(s->vault, VAULT_KICK0, 3 * VU_MAX_QUEUES);
	s->cfg.loop->ops->remove(s->poll_timer);
	s->poll_timer = NULL;
	note_started(s);
}

/* --- the way of requests --------------------------------------------------------------------- */

void vu_rings_done(
	struct backend_host *host, unsigned int ring, struct virtq_chain *chain, bool failed)
{
	struct vu_session *s = container_of(host, struct vu_session, host);
	struct vu_ring *r = &s->rings[ring];

	assert(r->in_flight && s->in_flight);
	r->in_flight--;
	s->in_flight--;
	s->page->requests_completed++;
	vu_note_done(s, chain);
	s->page->errors += failed;
	if (s->ending)
		return;
	virtq_push(r->q, chain, (uint32_t)chain->in_len);
	r->staged++;
}

bool vu_ring_may_fetch(const struct vu_ring *r)
{
	if (!r->q || r->s->ending || virtq_broken(r->q))
		return false;
	if (virtq_in_flight(r->q) > r->in_flight + r->staged) /* replays wait */
		return !replays_wait(r->s);
	if (vu_is_held(r->s))
		return false;
	return facts(r)->enabled && !r->gate && !vu_gate_is_shut(r->s) && !r->s->finishing;
}

static unsigned int fetch(struct vu_ring *r)
{
	struct vu_session *s = r->s;
	struct backend *b = s->backend;
	unsigned int n = 0;

	while (n < FETCH_BATCH && vu_ring_may_fetch(r) && b->ops->has_room(b)) {
		struct virtq_chain *chain = virtq_pop(r->q);

		if (!chain)
			break;
		n++;
		r->in_flight++;
		s->in_flight++;
		s->page->replayed += chain->replayed;
		chain->order = ++s->fetched;
		b->ops->submit(b, r->index, chain);
	}
	return n;
}

static bool publish(struct vu_ring *r)
{
	bool any = r->staged;

	if (!r->q || r->s->ending)
		return false;
	r->staged = 0;
	if (virtq_publish(r->q))
		call_guest(r);
	if (virtq_broken(r->q))
		set_broken(r, virtq_broken(r->q));
	return any;
}

void vu_ring_call_after_all(struct vu_ring *r)
{
	if (r->q && !r->s->ending && virtq_wants_call_after_all(r->q))
		call_guest(r);
}

bool vu_rings_work(struct vu_session *s)
{
	bool worked = false;

	for (unsigned int i = 0; i < s->ring_count; i++)
		if (!vu_ring_is_filled(&s->rings[i]))
			worked |= fetch(&s->rings[i]) > 0;
	s->backend->ops->flush(s->backend);
	if (s->backend->ops->poll)
		worked |= s->backend->ops->poll(s->backend);
	for (unsigned int i = 0; i < s->ring_count; i++)
		worked |= publish(&s->rings[i]);
	s->page->in_flight = vu_rings_taken(s);
	return worked;
}
