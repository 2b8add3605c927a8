/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Theory of operation: the life of a vhost-user device.
 *
 *	  listening ──accept──► connected ──peer leaves, or breaks the protocol──► ending ──► listening
 *	                            ▲  │
 *	                            └──┘ a worker dies, its successor goes on: not seen by the VMM
 *
 * Taking over. The page says whether a VMM is connected, the vault has its socket. Order: the dead
 * worker's ring is drained by the caller, which tells us its completions (vu_session_seen);
 * vu_session_start() maps what the page counts, starts the rings that ran, and the first round
 * handles the message that was half handled before it looks at any ring.
 *
 * Accepting. The conversation's record starts at {n+1, IDLE}, then the socket goes into the vault,
 * then `connected` is set. A socket found in the vault with `connected` unset was on its way in (or
 * out, and then shows its end at once). A worker killed between accept() and the vault's word loses
 * a connection on which nothing was said yet.
 *
 * Ending. Nothing is fetched or published any more (vu_rings.c says why); the socket is shut down,
 * since the vault's duplicate would keep it open; requests with the kernel write into the VMM's
 * memory and so are waited for; then all that was the VMM's is dropped, because duplicates of its
 * memory pin it, and we listen again.
 *
 * One VMM at a time. A further connection is closed at once, so that its owner may retry instead of
 * hanging in its handshake; unless the one before has visibly left, then it waits its turn.
 */
#include "lib/backends/vu_session_priv.h"

#include <errno.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "lib/cleanup.h"
#include "lib/log.h"

#define DOOR_CLOSED_MS 1000u

void vu_changed(struct vu_session *s)
{
	if (s->cfg.changed)
		s->cfg.changed(s->cfg.arg);
}

void vu_report(struct vu_session *s, const char *fmt, ...)
{
	char sentence[640];
	va_list ap;

	if (!s->cfg.report)
		return;
	va_start(ap, fmt);
	vsnprintf(sentence, sizeof(sentence), fmt, ap);
	va_end(ap);
	s->cfg.report(s->cfg.arg, sentence);
}

static void unwatch(struct vu_session *s, struct watch **w)
{
	s->cfg.loop->ops->remove(*w);
	*w = NULL;
}

/* --- the listening socket -------------------------------------------------------------------- */

static void door_opens(void *arg, unsigned int events);

/* Leaves who knocks in the backlog for a while: level-triggered news would be endless. */
static void close_door(struct vu_session *s, uint64_t delay_ms)
{
	const struct watch_ops *loop = s->cfg.loop->ops;
	struct err e = ERR_INIT;

	loop->set_events(s->listen_watch, 0);
	if (s->door_timer)
		loop->set_timer(s->door_timer, delay_ms);
	else
		s->door_timer = loop->add_timer(s->cfg.loop, delay_ms, door_opens, s, &e);
}

static void door_opens(void *arg, unsigned int events)
{
	struct vu_session *s = arg;

	(void)events;
	s->cfg.loop->ops->set_events(s->listen_watch, WATCH_READ);
}

static bool peer_has_left(struct vu_session *s)
{
	struct pollfd p = {.fd = vault_fd(s->vault, VAULT_CONN), .events = POLLRDHUP};

	return poll(&p, 1, 0) > 0 && p.revents & (POLLRDHUP | POLLHUP | POLLERR);
}

static void knocked(void *arg, unsigned int events)
{
	struct vu_session *s = arg;
	bool taken = s->page->connected || s->ending || s->finishing;
	struct err e = ERR_INIT;
	int fd;

	(void)events;
	if (taken && !s->ending && peer_has_left(s)) {
		close_door(s, DOOR_CLOSED_MS);
		return;
	}
	fd = accept4(vault_fd(s->vault, VAULT_LISTEN), NULL, NULL, SOCK_CLOEXEC);
	if (fd < 0 && errno != EAGAIN && errno != EINTR && errno != ECONNABORTED)
		close_door(s, DOOR_CLOSED_MS); /* no descriptors left, or worse: not in a loop */
	if (fd < 0)
		return;
	if (taken || vu_gate_bars_vmm(s)) {
		vu_report(s, "a further connection is refused: %s",
			!taken      ? "the machine goes on elsewhere"
			: s->ending ? "requests of the last one have not ended"
				    : "one VMM at a time");
		close(fd);
		close_door(s, DOOR_CLOSED_MS); /* one line a second at most */
		return;
	}
	if (vu_session_connect(s, fd, &e) < 0)
		vu_report(s, "a connection is refused: %s", e.msg);
}

static int watch_listener(struct vu_session *s, struct err *e)
{
	int fd = vault_fd(s->vault, VAULT_LISTEN);

	if (fd < 0)
		return 0;
	s->listen_watch = s->cfg.loop->ops->add_fd(s->cfg.loop, fd, WATCH_READ, knocked, s, e);
	return s->listen_watch ? 0 : -1;
}

/* --- the connection -------------------------------------------------------------------------- */

static void conn_has_news(void *arg, unsigned int events)
{
	(void)events;
	((struct vu_session *)arg)->news = true; /* the round that follows looks */
}

/* The socket is in the vault. */
static int use_connection(struct vu_session *s, struct err *e)
{
	int fd = vault_fd(s->vault, VAULT_CONN);

	if (uring_set_file(s->cfg.ring, URING_FILE_CONN, fd, e) < 0)
		return -1;
	s->conn_watch = s->cfg.loop->ops->add_fd(
		s->cfg.loop, fd, WATCH_READ | WATCH_EDGE, conn_has_news, s, e);
	if (!s->conn_watch)
		return -1;
	s->news = true;
	page_commit(s->page->connected, 1);
	vu_changed(s);
	return 0;
}

int vu_session_connect(struct vu_session *s, int fd, struct err *e)
{
	auto_close int owned = fd;
	uint64_t word = s->page->message.word;
	int rc = fdio_set_nonblock(fd, false);

	assert(!s->page->connected && !s->ending);
	if (rc < 0)
		return err_sys(e, -rc, "the connection");
	page_commit(s->page->message.word, page_word((uint32_t)(word >> 32) + 1, 0, MSG_IDLE));
	if (vault_put(s->vault, VAULT_CONN, steal_fd(&owned), e) < 0)
		return -1;
	s->page->vmm_sessions++;
	if (use_connection(s, e) < 0) {
		vault_drop(s->vault, VAULT_CONN);
		return -1;
	}
	return 0;
}

void vu_end(struct vu_session *s, const struct err *why)
{
	if (!s->page->connected || s->ending)
		return;
	if (why)
		vu_report(s, "the connection is closed: %s", why->msg);
	else
		log_debug("vu", "the VMM has left");
	s->ending = true;
	unwatch(s, &s->conn_watch);
	unwatch(s, &s->drain_timer);
	vu_gate_note_end(s); /* before the VMM goes on */
	shutdown(vault_fd(s->vault, VAULT_CONN), SHUT_RDWR);
	vu_message_forget(s);
	vu_changed(s);
}

/* What one VMM did to its memory is not held against the next. */
static void forget_poison(struct vu_session *s)
{
	struct guest_mem *mem;
	struct err e = ERR_INIT;

	if (!guest_mem_is_poisoned(s->mem))
		return;
	mem = guest_mem_new();
	if (!mem || guest_mem_catch_faults(mem, &e) < 0) {
		guest_mem_free(mem);
		vu_report(s, "no VMM can be served any more: %s", mem ? e.msg : "no memory");
		return;
	}
	guest_mem_free(s->mem);
	s->mem = mem;
}

/* Requests and messages of ours have ended: nothing of the VMM's is in use. */
static void finish_ending(struct vu_session *s)
{
	struct err e = ERR_INIT;

	vu_gate_note_end(s);
	vu_rings_drop(s);
	vu_memory_drop(s);
	forget_poison(s);
	s->page->features = s->page->protocol = 0;
	s->page->features_known = s->page->device_status = s->page->tell_config = 0;
	s->backend->ops->set_features(s->backend, 0);
	if (uring_set_file(s->cfg.ring, URING_FILE_CONN, -1, &e) < 0)
		vu_report(s, "%s", e.msg);
	page_commit(s->page->connected, 0);
	vault_drop(s->vault, VAULT_REPLY);
	vault_drop(s->vault, VAULT_BACKEND_REQ);
	vault_drop(s->vault, VAULT_CONN);
	s->ending = false;
	if (s->listen_watch)
		door_opens(s, 0);
	vu_changed(s);
}

/* --- rounds ---------------------------------------------------------------------------------- */

static bool reap(struct vu_session *s)
{
	struct io_uring *ring = s->cfg.ring;
	struct io_uring_cqe *cqe;
	bool any = false;

	while (io_uring_peek_cqe(ring, &cqe) == 0) {
		uint64_t user_data = cqe->user_data;

		if (uring_tag_kind(user_data) == URING_KIND_DEVICE)
			s->backend->ops->complete(s->backend, user_data, cqe->res);
		else if (uring_tag_kind(user_data) != URING_KIND_CANCEL)
			vu_message_completed(s, user_data, cqe->res);
		io_uring_cqe_seen(ring, cqe); /* only now: the page knows */
		any = true;
	}
	return any;
}

static void note_failure(struct vu_session *s)
{
	const char *why = s->backend->ops->failure(s->backend);

	if (!why || s->page->failed)
		return;
	str_copy(s->page->reason, sizeof(s->page->reason), why);
	page_commit(s->page->failed, 1);
	vu_report(s, "the device fails: %s", why);
	vu_changed(s);
}

static void end_if_poisoned(struct vu_session *s)
{
	struct err e = ERR_INIT;

	if (s->ending || !guest_mem_is_poisoned(s->mem))
		return;
	err_set(&e, ERR_FAILED, "VU-POISONED", "the VMM has cut off memory that it shared");
	vu_end(s, &e);
}

static void look_for_ends(struct vu_session *s)
{
	end_if_poisoned(s);
	note_failure(s);
	if (s->ending && s->in_flight == s->parked && !s->send_pending && !s->consume_pending)
		finish_ending(s);
	vu_gate_look(s);
	if (s->finishing && !vu_rings_busy(s) && s->finished) {
		void (*finished)(void *) = s->finished;

		s->finished = NULL;
		finished(s->finished_arg);
	}
}

bool vu_session_work(struct vu_session *s)
{
	bool worked;

	if (!s->started)
		return false;
	worked = reap(s);
	vu_message_step(s);
	worked |= vu_rings_work(s);
	if (io_uring_sq_ready(s->cfg.ring))
		io_uring_submit(s->cfg.ring);
	if (s->page->tell_config)
		vu_tell_config_change(s);
	look_for_ends(s);
	s->look_due |= worked;
	return worked;
}

bool vu_session_arm(struct vu_session *s)
{
	if (!s->started)
		return false;
	vu_second_look_plan(s);
	return vu_rings_arm(s) || io_uring_cq_ready(s->cfg.ring);
}

void vu_session_disarm(struct vu_session *s)
{
	if (s->started)
		vu_rings_disarm(s);
}

bool vu_session_in_kernel(struct vu_session *s)
{
	return s->backend->ops->in_kernel(s->backend) || s->send_pending || s->consume_pending;
}

void vu_session_refresh(struct vu_session *s)
{
	uint8_t due = s->page->tell_config;

	/* Before the page has the new size: killed in between, the VMM hears of it once too often. */
	page_commit(s->page->tell_config, 1);
	if (s->backend->ops->refresh(s->backend))
		vu_tell_config_change(s);
	else
		page_commit(s->page->tell_config, due);
	vu_note_config(s);
}

void vu_session_finish(struct vu_session *s, void (*done)(void *arg), void *arg)
{
	s->finishing = true;
	s->finished = done;
	s->finished_arg = arg;
}

/* --- from nothing, and from what a predecessor left ------------------------------------------ */

static void uring_has_news(void *arg, unsigned int events)
{
	(void)arg, (void)events; /* the round that follows reaps */
}

int vu_session_new(struct vu_session **out, const struct vu_session_config *cfg, struct err *e)
{
	struct vu_session *s = calloc(1, sizeof(*s));

	if (!s)
		return err_sys(e, ENOMEM, "session");
	s->cfg = *cfg;
	s->page = cfg->page;
	s->vault = cfg->vault;
	s->backend = cfg->backend;
	s->backend->host = &s->host;
	s->host.done = vu_rings_done;
	s->host.begun = vu_note_begin;
	s->host.park = vu_park;
	s->host.carry = vu_gate_carry;
	s->host.take = vu_rings_take;
	s->host.filled = vu_rings_filled;
	s->host.give_back = vu_rings_give_back;
	s->host.ring_size = vu_rings_size;
	s->ring_count = s->backend->ops->rings(s->backend);
	assert(s->ring_count <= VU_MAX_QUEUES);
	for (unsigned int i = 0; i < s->ring_count; i++) {
		s->rings[i].s = s;
		s->rings[i].index = i;
	}
	s->mem = guest_mem_new();
	if (!s->mem || guest_mem_catch_faults(s->mem, e) < 0 ||
		s->backend->ops->restore(s->backend, s->page->device, e) < 0 ||
		vu_incoming_begin(s, e) < 0) {
		vu_session_free(s);
		return err_wrap(e, "session");
	}
	*out = s;
	return 0;
}

void vu_session_seen(struct vu_session *s, uint64_t user_data, int32_t res)
{
	vu_message_seen(s, user_data, res);
}

static void give_up(struct vu_session *s, const char *why)
{
	struct err e = ERR_INIT;

	err_set(&e, ERR_FAILED, "VU-TAKEOVER", "%s", why);
	vu_end(s, &e);
}

static void resume(struct vu_session *s, bool ring_seen)
{
	struct err e = ERR_INIT;

	s->backend->ops->set_features(s->backend, s->page->features);
	if (use_connection(s, &e) < 0 || vu_memory_restore(s, &e) < 0) {
		s->page->connected = 1; /* so that it can end */
		vu_end(s, &e);
		return;
	}
	vu_rings_restore(s);
	if (!ring_seen && vu_message_needs_ring(s))
		give_up(s, "nothing tells whether the last reply has left");
}

int vu_session_start(struct vu_session *s, bool ring_seen, struct err *e)
{
	struct watch_loop *loop = s->cfg.loop;

	s->uring_watch =
		loop->ops->add_fd(loop, s->cfg.ring->ring_fd, WATCH_READ, uring_has_news, s, e);
	if (!s->uring_watch || watch_listener(s, e) < 0)
		return -1;
	if (s->backend->ops->begin && s->backend->ops->begin(s->backend, loop, e) < 0)
		return -1;
	s->started = true;
	vu_notes_clear(s); /* the predecessor's are over */
	if (vault_fd(s->vault, VAULT_CONN) >= 0)
		resume(s, ring_seen);
	else if (s->page->connected)
		finish_ending(s);
	if (vu_late_begin(s, e) < 0 || vu_second_look_begin(s, e) < 0)
		return -1;
	vu_session_refresh(s); /* what changed while no worker looked */
	return 0;
}

void vu_session_give_up_waiting(struct vu_session *s)
{
	struct pollfd p = {.fd = vault_fd(s->vault, VAULT_CONN), .events = POLLIN};

	if (p.fd >= 0 && poll(&p, 1, 0) > 0) {
		vu_report(s, "the connection is closed: the VMM waits for an answer, and requests "
			     "of the worker before do not end");
		shutdown(p.fd, SHUT_RDWR);
	}
}

void vu_session_free(struct vu_session *s)
{
	if (!s)
		return;
	unwatch(s, &s->conn_watch);
	unwatch(s, &s->listen_watch);
	unwatch(s, &s->uring_watch);
	unwatch(s, &s->drain_timer);
	unwatch(s, &s->door_timer);
	unwatch(s, &s->late_timer);
	unwatch(s, &s->look_timer);
	unwatch(s, &s->poll_timer);
	for (unsigned int i = 0; i < s->ring_count; i++) {
		unwatch(s, &s->rings[i].kick);
		virtq_free(s->rings[i].q);
	}
	vu_message_forget(s);
	inflight_close(s->inflight);
	dirty_log_close(s->log);
	guest_mem_free(s->mem);
	free(s);
}
