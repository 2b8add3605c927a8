/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Theory of operation: each message of the VMM is handled exactly once, whoever dies meanwhile.
 *
 * A message stays in the socket until everything it asks for is done and its reply has left. Where
 * it stands is one word in the session page (session_page_layout.h), and the two steps that cannot
 * be undone or repeated, sending and consuming, are done through the ring, whose completions
 * outlive us: what a successor cannot see in the page it sees there.
 *
 *	page word	what happens				killed here, the successor ...
 *	---------	------------				------------------------------
 *	{n, IDLE}	the whole message is peeked,		peeks it again
 *			descriptors included
 *	{n, ACTING}	the handler acts: descriptors to	peeks it again and acts again: handlers
 *			the vault, facts to the page		are written so that this is the same
 *			the reply is written to the page	(does so again)
 *	{n, ACTED}	the reply is submitted to the ring	asks the old ring: completed means it
 *			... and completes			left, else it is sent now
 *	{n, SENT}	reading the message off the socket	asks the old ring: each completion says
 *			is submitted ... and completes,		how many bytes are gone (once: the tag
 *			perhaps in parts			has the count before it)
 *	{n+1, IDLE}
 *
 * "Asks the old ring" is exact because a submission is either taken by the kernel, and then has a
 * completion that nobody else reaps, or was not taken, and then nothing happened. A completion is
 * marked as reaped only after the page says what it meant; seen twice it changes nothing, since the
 * word has moved on.
 *
 * Peeking. SO_PEEK_OFF makes consecutive peeks go forward; each attempt starts it at 0 again. An
 * incomplete message is left alone until the socket has news (WATCH_EDGE). Peeked descriptors are
 * duplicates; consuming by a plain read drops the originals.
 * The kernel ends a peek behind the first buffer that carries descriptors, and not sooner: even
 * when all bytes asked for are there it looks through the buffers that follow, and gives the
 * descriptors of the first that has some. So a message may take several peeks, and one without
 * descriptors may show those of a message behind it. Its own always come first: we keep as many as
 * it says it has (vu_msg_wanted_fds), and close the others.
 *
 * The socket is blocking on purpose: on a non-blocking one the ring would answer a full socket
 * buffer with EAGAIN instead of waiting for room.
 */
#include <errno.h>
#include <string.h>

#include "lib/backends/vu_session_priv.h"
#include "lib/cleanup.h"

void (*vu_crash_point)(const char *name);

static struct page_message *record(struct vu_session *s)
{
	return &s->page->message;
}

static uint32_t number_of(uint64_t word)
{
	return (uint32_t)(word >> 32);
}

static uint16_t consumed_of(uint64_t word)
{
	return (uint16_t)(word >> 16);
}

static enum page_message_state state_of(uint64_t word)
{
	return (enum page_message_state)(word & 0xffff);
}

static void enter(struct vu_session *s, enum page_message_state state)
{
	struct page_message *m = record(s);

	page_commit(m->word, page_word(number_of(m->word), consumed_of(m->word), state));
}

void vu_message_forget(struct vu_session *s)
{
	for (unsigned int i = 0; i < s->in.fd_count; i++)
		close_fd(&s->in.fds[i]);
	s->in = (struct vu_incoming){0};
}

/* --- looking --------------------------------------------------------------------------------- */

/* Adds the descriptors of one peek; false: more than any message may have. */
static bool keep_fds(struct vu_incoming *in, struct fdio_msg *peeked)
{
	for (unsigned int i = 0; i < peeked->fd_count && in->fd_count < FDIO_MAX_FDS; i++)
		in->fds[in->fd_count++] = steal_fd(&peeked->fds[i]);
	fdio_msg_close(peeked);
	return !peeked->truncated;
}

/* The message's own come first; what is over belongs to the next one, or to none. */
static void keep_wanted_fds(struct vu_incoming *in, unsigned int wanted)
{
	while (in->fd_count > wanted)
		close_fd(&in->fds[--in->fd_count]);
}

enum { PEEK_GONE = -1, PEEK_TOO_MANY_FDS = -2 };

/* The first `want` bytes of what is in the socket: how many there are, or PEEK_*. */
static int peek(struct vu_session *s, uint8_t *to, int want)
{
	int conn = vault_fd(s->vault, VAULT_CONN), zero = 0, have = 0;

	vu_message_forget(s);
	if (setsockopt(conn, SOL_SOCKET, SO_PEEK_OFF, &zero, sizeof(zero)) < 0)
		return PEEK_GONE;
	while (have < want) {
		struct fdio_msg peeked;
		int rc = fdio_recv(
			conn, to + have, (size_t)(want - have), MSG_PEEK | MSG_DONTWAIT, &peeked);

		if (rc == -EAGAIN)
			return have;
		if (rc < 0 || peeked.len == 0)
			return PEEK_GONE;
		if (!keep_fds(&s->in, &peeked))
			return PEEK_TOO_MANY_FDS;
		have += (int)peeked.len;
	}
	return have;
}

static int look_at(struct vu_session *s, uint8_t *data, struct err *e)
{
	int have = peek(s, data, VU_HEADER_SIZE), length = 0;

	if (have == VU_HEADER_SIZE) {
		length = vu_msg_length(data, VU_HEADER_SIZE, e);
		if (length < 0)
			return -1;
		have = peek(s, data, length);
	}
	if (have == PEEK_TOO_MANY_FDS)
		return err_set(e, ERR_FAILED, "VU-FDS", "a message with too many descriptors");
	if (have == PEEK_GONE) {
		vu_end(s, NULL);
		return 0;
	}
	if (!length || have < length)
		return 0; /* the rest is on its way */
	keep_wanted_fds(&s->in, vu_msg_wanted_fds(data, (size_t)length));
	if (vu_msg_decode(&s->in.msg, data, (size_t)length, s->in.fd_count, e) < 0)
		return -1;
	s->in.length = length;
	s->in.held = true;
	return 0;
}

/* True when the next message is there, whole and decoded, in s->in. */
static bool fetch(struct vu_session *s, bool retry)
{
	uint8_t data[VU_HEADER_SIZE + VU_PAYLOAD_MAX];
	struct err e = ERR_INIT;

	if (look_at(s, data, &e) < 0)
		vu_end(s, &e);
	if (!s->in.held)
		vu_message_forget(s);
	s->in.retry = retry;
	return s->in.held;
}

/* --- acting ---------------------------------------------------------------------------------- */

void vu_reply(struct vu_session *s, size_t len, unsigned int slot_plus_1)
{
	record(s)->reply_len = (uint16_t)len;
	record(s)->reply_slot = (uint16_t)slot_plus_1;
}

static void drain_timer_due(void *arg, unsigned int events)
{
	struct vu_session *s = arg;
	struct err e = ERR_INIT;

	(void)events;
	if (s->ending)
		return;
	err_set(&e, ERR_TIMED_OUT, "VU-DRAIN", "%u requests %s within %lu ms", vu_rings_taken(s),
		vu_rings_busy(s) ? "do not end" : "that only wait are stored nowhere else",
		(unsigned long)s->cfg.drain_timeout_ms);
	err_wrap(&e, "%s", vu_request_name(s->in.msg.request));
	vu_end(s, &e);
}

static void wait_for_requests(struct vu_session *s)
{
	struct err e = ERR_INIT;

	if (s->drain_timer)
		return;
	s->drain_timer = s->cfg.loop->ops->add_timer(
		s->cfg.loop, s->cfg.drain_timeout_ms, drain_timer_due, s, &e);
	if (!s->drain_timer) /* then nothing would bound the wait */
		vu_end(s, &e);
}

static void stop_waiting(struct vu_session *s)
{
	s->cfg.loop->ops->remove(s->drain_timer);
	s->drain_timer = NULL;
}

/* False when the message has to wait, or the session is over. */
static bool act(struct vu_session *s)
{
	const struct vu_msg *msg = &s->in.msg;
	struct err e = ERR_INIT;
	enum vu_act done;

	vu_reply(s, 0, 0);
	done = vu_handle(s, &e);
	if (done == VU_WAIT) {
		wait_for_requests(s);
		return false;
	}
	stop_waiting(s);
	if (done == VU_BROKEN) {
		err_wrap(&e, "%s", vu_request_name(msg->request));
		vu_end(s, &e);
		return false;
	}
	if (done == VU_REFUSED)
		vu_report(s, "%s: %s", vu_request_name(msg->request), e.msg);
	if (msg->reply == VU_REPLY_ACK_ONLY && msg->need_reply)
		vu_reply(s, vu_reply_u64(record(s)->reply, msg->request, done == VU_REFUSED), 0);
	record(s)->length = (uint16_t)s->in.length;
	vu_message_forget(s);
	vu_point("acted");
	return true;
}

/* --- sending and consuming ------------------------------------------------------------------- */

static void attach_descriptor(struct vu_sending *out, int fd)
{
	struct cmsghdr *c = (struct cmsghdr *)out->control;

	out->header.msg_control = out->control;
	out->header.msg_controllen = sizeof(out->control);
	c->cmsg_level = SOL_SOCKET;
	c->cmsg_type = SCM_RIGHTS;
	c->cmsg_len = CMSG_LEN(sizeof(int));
	memcpy(CMSG_DATA(c), &fd, sizeof(fd));
}

static void submit_reply(struct vu_session *s)
{
	struct page_message *m = record(s);
	struct io_uring_sqe *sqe = io_uring_get_sqe(s->cfg.ring);

	if (!sqe)
		return; /* with the next round */
	s->sending = (struct vu_sending){.iov = {.iov_base = m->reply, .iov_len = m->reply_len}};
	s->sending.header.msg_iov = &s->sending.iov;
	s->sending.header.msg_iovlen = 1;
	if (m->reply_slot)
		attach_descriptor(&s->sending, vault_fd(s->vault, m->reply_slot - 1u));
	io_uring_prep_sendmsg(sqe, URING_FILE_CONN, &s->sending.header, MSG_WAITALL | MSG_NOSIGNAL);
	sqe->flags |= IOSQE_FIXED_FILE;
	sqe->user_data = uring_tag(URING_KIND_REPLY, number_of(m->word));
	s->send_pending = true;
	vu_point("send-prepared");
	io_uring_submit(s->cfg.ring);
	vu_point("send-submitted");
}

static void submit_consume(struct vu_session *s)
{
	struct page_message *m = record(s);
	struct io_uring_sqe *sqe = io_uring_get_sqe(s->cfg.ring);
	uint16_t before = consumed_of(m->word);

	if (!sqe)
		return;
	vault_drop(s->vault, VAULT_REPLY); /* it has left */
	io_uring_prep_read(sqe, URING_FILE_CONN, s->scratch, m->length - before, 0);
	sqe->flags |= IOSQE_FIXED_FILE;
	sqe->user_data = uring_tag(URING_KIND_CONSUME, (uint64_t)before << 32 | number_of(m->word));
	s->consume_pending = true;
	vu_point("consume-prepared");
	io_uring_submit(s->cfg.ring);
	vu_point("consume-submitted");
}

static bool worth_repeating(int32_t res)
{
	return res == -EAGAIN || res == -EINTR || res == -ECANCELED;
}

/* What a reply's completion means for the page. False: the connection is broken. */
static bool apply_reply(struct vu_session *s, uint32_t number, int32_t res)
{
	struct page_message *m = record(s);

	if (number != number_of(m->word) || state_of(m->word) != MSG_ACTED)
		return true; /* the page knows already */
	if (worth_repeating(res))
		return true;
	if (res != m->reply_len)
		return false;
	enter(s, MSG_SENT);
	return true;
}

static bool apply_consume(struct vu_session *s, uint32_t number, uint16_t before, int32_t res)
{
	struct page_message *m = record(s);
	uint32_t consumed;

	if (number != number_of(m->word) || state_of(m->word) != MSG_SENT ||
		before != consumed_of(m->word) || worth_repeating(res))
		return true;
	if (res <= 0)
		return false;
	consumed = before + (uint32_t)res;
	assert(consumed <= m->length);
	if (consumed == m->length)
		page_commit(m->word, page_word(number + 1, 0, MSG_IDLE));
	else
		page_commit(m->word, page_word(number, (uint16_t)consumed, MSG_SENT));
	return true;
}

static bool apply(struct vu_session *s, uint64_t user_data, int32_t res)
{
	uint32_t number = (uint32_t)user_data;
	uint16_t before = (uint16_t)(user_data >> 32);

	if (uring_tag_kind(user_data) == URING_KIND_REPLY)
		return apply_reply(s, number, res);
	return apply_consume(s, number, before, res);
}

void vu_message_completed(struct vu_session *s, uint64_t user_data, int32_t res)
{
	if (uring_tag_kind(user_data) == URING_KIND_REPLY) {
		vu_point("send-completed");
		s->send_pending = false;
	} else {
		vu_point("consume-completed");
		s->consume_pending = false;
	}
	if (!apply(s, user_data, res))
		vu_end(s, NULL);
	vu_point("applied");
}

void vu_message_seen(struct vu_session *s, uint64_t user_data, int32_t res)
{
	enum uring_kind kind = uring_tag_kind(user_data);

	if (kind == URING_KIND_REPLY || kind == URING_KIND_CONSUME)
		apply(s, user_data, res); /* a broken connection will show itself again */
}

bool vu_message_needs_ring(const struct vu_session *s)
{
	const struct page_message *m = &s->page->message;

	switch (state_of(m->word)) {
	case MSG_IDLE:
	case MSG_ACTING:
		return false;
	case MSG_ACTED:
	case MSG_SENT:
		return true;
	}
	return true;
}

/* --- the way of a message -------------------------------------------------------------------- */

/* One step; false when the next one has to wait for something. */
static bool step(struct vu_session *s)
{
	struct page_message *m = record(s);

	switch (state_of(m->word)) {
	case MSG_IDLE:
		if (!s->news)
			return false;
		s->news = fetch(s, false); /* if there was one there may be another behind it */
		if (!s->news)
			return false;
		vu_point("peeked");
		enter(s, MSG_ACTING);
		vu_point("acting");
		return true;
	case MSG_ACTING:
		if (!s->in.held && !fetch(s, true))
			return false;
		if (!act(s))
			return false;
		enter(s, MSG_ACTED);
		vu_point("stored");
		return true;
	case MSG_ACTED:
		if (!m->reply_len) {
			enter(s, MSG_SENT);
			return true;
		}
		if (!s->send_pending)
			submit_reply(s);
		return false;
	case MSG_SENT:
		if (!s->consume_pending)
			submit_consume(s);
		return false;
	}
	return false;
}

void vu_message_step(struct vu_session *s)
{
	while (s->page->connected && !s->ending && step(s))
		;
}
