/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the files of a vhost-user session share: vu_session.c, vu_message.c, vu_handlers.c,
 * vu_memory.c, vu_rings.c. */
#pragma once

#include <stdalign.h>
#include <sys/socket.h>

#include "lib/backends/vu_codec.h"
#include "lib/backends/vu_session.h"
#include "lib/fdio.h"

struct vu_ring {
	struct vu_session *s;
	unsigned int index;
	struct virtq *q; /* NULL: stopped, or could not be started */
	struct watch *kick;
	bool gate;          /* closed: nothing new is fetched; replays are */
	uint16_t in_flight; /* fetched, and not completed by the device; of these ... */
	uint16_t parked;    /* ... the device is done with, without success (vu_hold.c) */
	uint16_t staged;    /* completed, and not published */
};

/* What a handler says. */
enum vu_act {
	VU_DONE,    /* acted; the reply, if any, is in s->reply */
	VU_REFUSED, /* not done, and said so if asked (REPLY_ACK 1); the session goes on */
	VU_WAIT,    /* cannot act before requests have ended: call again when they have */
	VU_BROKEN,  /* the message breaks the protocol (`e` says how): the session ends */
};

/* The message being looked at, not yet consumed. */
struct vu_incoming {
	struct vu_msg msg;
	int length; /* bytes, header included */
	int fds[FDIO_MAX_FDS];
	unsigned int fd_count;
	bool held;  /* decoded and not yet acted to its end */
	bool retry; /* a predecessor may have acted on it, in part or in full */
};

/* What the kernel reads while a reply is on its way. */
struct vu_sending {
	struct msghdr header;
	struct iovec iov;
	alignas(struct cmsghdr) char control[CMSG_SPACE(sizeof(int))];
};

struct vu_session {
	struct vu_session_config cfg;
	struct backend_host host;
	struct session_page *page; /* cfg.page */
	struct vault *vault;       /* cfg.vault */
	struct backend *backend;   /* cfg.backend */

	struct guest_mem *mem;
	struct inflight *inflight;
	struct dirty_log *log;
	struct vu_ring rings[VU_MAX_QUEUES];
	unsigned int ring_count;

	struct watch *conn_watch, *listen_watch, *uring_watch;
	struct watch *drain_timer; /* runs while a message waits for requests to end */
	struct watch *poll_timer;  /* runs while a ring without kicks runs */
	struct watch *late_timer;  /* looks for requests that take too long (vu_late.c) */
	struct watch *look_timer;  /* vu_second_look.c; is it set, and is it to be? */
	bool look_set, look_due;
	uint64_t late_tick_ms;
	struct watch *door_timer; /* opens the listening socket again after a refusal */

	struct vu_incoming in;
	uint8_t scratch[VU_HEADER_SIZE + VU_PAYLOAD_MAX]; /* consumed bytes go here */
	struct vu_sending sending;
	bool send_pending, consume_pending;
	bool news; /* the socket may hold more than what was looked at */

	bool started; /* vu_session_start() was called */
	bool ending;  /* the connection is over: requests drain, then all of the VMM's goes */
	bool finishing;
	void (*finished)(void *arg);
	void *finished_arg;
	uint32_t in_flight, parked; /* all rings */

	uint64_t fetched; /* numbers requests in the order in which they were fetched */
	struct virtq_chain *carried[SESSION_REQUESTS_MAX]; /* parked by carry */
	uint8_t carried_ring[SESSION_REQUESTS_MAX];
	unsigned int carried_count;

	uint16_t note_free[SESSION_REQUESTS_MAX]; /* a stack of places in page->requests, from 1 */
	unsigned int notes_free;
};

/* vu_session.c */
/* Ends the connection, for a reason (logged) or because the peer left (NULL). */
void vu_end(struct vu_session *s, const struct err *why);
void vu_changed(struct vu_session *s);
void vu_report(struct vu_session *s, const char *fmt, ...) PRINTF_LIKE(2, 3);
static inline void vu_point(const char *name)
{
	if (vu_crash_point)
		vu_crash_point(name);
}

/* vu_message.c: takes the conversation as far as it goes now. */
void vu_message_step(struct vu_session *s);
void vu_message_completed(struct vu_session *s, uint64_t user_data, int32_t res);
/* Applies what a dead predecessor's ring said. */
void vu_message_seen(struct vu_session *s, uint64_t user_data, int32_t res);
/* True when only the ring of a dead predecessor could say where the message stands. */
bool vu_message_needs_ring(const struct vu_session *s);
/* Closes the descriptors of a message that is not acted on any more. */
void vu_message_forget(struct vu_session *s);

/* vu_handlers.c */
enum vu_act vu_handle(struct vu_session *s, struct err *e);
void vu_tell_config_change(struct vu_session *s);
static inline int vu_take_fd(struct vu_session *s)
{
	int fd = s->in.fds[0];

	assert(s->in.fd_count >= 1);
	s->in.fds[0] = -1;
	return fd;
}
uint64_t vu_offered_features(const struct vu_session *s);
/* Writes the reply into the page. */
void vu_reply(struct vu_session *s, size_t len, unsigned int slot_plus_1);

/* vu_memory.c */
enum vu_act vu_set_mem_table(struct vu_session *s, struct err *e);
enum vu_act vu_add_mem_reg(struct vu_session *s, struct err *e);
enum vu_act vu_rem_mem_reg(struct vu_session *s, struct err *e);
enum vu_act vu_set_log_base(struct vu_session *s, struct err *e);
enum vu_act vu_get_inflight_fd(struct vu_session *s, struct err *e);
enum vu_act vu_set_inflight_fd(struct vu_session *s, struct err *e);
/* An in-flight region of our own, for a VMM that keeps none. */
int vu_make_inflight(struct vu_session *s, struct err *e);
/* Maps everything again that the page counts, and drops from the vault what it does not. */
int vu_memory_restore(struct vu_session *s, struct err *e);
/* Unmaps and drops memory, log and in-flight region. */
void vu_memory_drop(struct vu_session *s);
void vu_inflight_drop(struct vu_session *s);

/* vu_gate.c */
bool vu_gate_is_shut(const struct vu_session *s);
/* Shut, and all has drained: nothing is fetched, replays neither. */
bool vu_gate_is_settled(const struct vu_session *s);
/* Shut as the machine goes away: no VMM is let in. */
bool vu_gate_bars_vmm(const struct vu_session *s);
/* The VMM stops a ring: if it is armed, the gate shuts. */
void vu_gate_trip(struct vu_session *s);
/* The connection is over: were all rings stopped before? */
void vu_gate_note_end(struct vu_session *s);
/* The VMM starts a ring: it was not that away after all. */
void vu_gate_note_stop(struct vu_session *s);
void vu_gate_note_start(struct vu_session *s);
/* Shut, and what is in flight is cancelled: replays are not fetched. */
bool vu_gate_carries(const struct vu_session *s);
void vu_gate_carry(struct backend_host *host, unsigned int ring, struct virtq_chain *chain);
/* The ring is let go. */
void vu_gate_forget(struct vu_session *s, unsigned int ring);
/* After each round: has it settled? */
void vu_gate_look(struct vu_session *s);
/* Requests that are with the host, in the page; clear: none is. */
void vu_notes_clear(struct vu_session *s);
void vu_note_begin(struct backend_host *host, unsigned int ring, struct virtq_chain *chain,
	enum session_request_what what, uint64_t sector, uint64_t sectors);
void vu_note_end(struct vu_session *s, struct virtq_chain *chain);
void vu_note_done(struct vu_session *s, struct virtq_chain *chain); /* ends it, completed */

/* vu_incoming.c: going on from another host's session. Without one, nothing is done here. */
/* The page tells what the driver is told. */
void vu_note_config(struct vu_session *s);
/* The device exists: does it fit? */
int vu_incoming_begin(struct vu_session *s, struct err *e);
/* s->inflight is open, and about to be used: what is in flight is marked in it. */
int vu_incoming_mark(struct vu_session *s, const struct page_inflight *facts, struct err *e);
/* A ring that was saved, and the VMM has not started yet. */
bool vu_incoming_waits_for(struct vu_session *s, unsigned int index);
/* It is about to be started: -1 when this cannot be the ring that was saved. */
int vu_incoming_check(struct vu_session *s, unsigned int index, struct err *e);
/* It runs. */
void vu_incoming_arrived(struct vu_session *s, unsigned int index);

/* vu_hold.c */
bool vu_is_held(const struct vu_session *s);
void vu_park(struct backend_host *host, unsigned int ring, struct virtq_chain *chain, int error);
/* vu_second_look.c: notifications that got lost. Plan: before the loop sleeps. */
int vu_second_look_begin(struct vu_session *s, struct err *e);
void vu_second_look_plan(struct vu_session *s);

/* vu_late.c: a hold that began because a request takes too long, and nothing else. */
bool vu_hold_is_late(const struct vu_session *s);
int vu_late_begin(struct vu_session *s, struct err *e);
/* The ring is let go: its parked requests are in the region, and nowhere else any more. */
void vu_forget_parked(struct vu_ring *r);

/* vu_rings.c */
void vu_ring_stop(struct vu_ring *r); /* nothing may be in flight */
enum vu_act vu_ring_set_kick(struct vu_session *s, struct err *e);
enum vu_act vu_ring_set_call(struct vu_session *s, struct err *e);
enum vu_act vu_ring_set_err(struct vu_session *s, struct err *e);
enum vu_act vu_ring_set_num(struct vu_session *s, struct err *e);
enum vu_act vu_ring_set_addr(struct vu_session *s, struct err *e);
enum vu_act vu_ring_set_base(struct vu_session *s, struct err *e);
enum vu_act vu_ring_get_base(struct vu_session *s, struct err *e);
enum vu_act vu_ring_enable(struct vu_session *s, struct err *e);
void vu_ring_set_enabled(struct vu_ring *r, bool enabled);
bool vu_any_ring_started(const struct vu_session *s);
/* Shuts / opens all gates; what was fetched goes on. */
void vu_rings_gate(struct vu_session *s, bool closed);
/*
 * Requests that have to end before memory or rings may change: those with the host, and replays that
 * are about to be. Not those that only wait in the region (vu_gate.c, vu_hold.c).
 */
unsigned int vu_rings_busy(const struct vu_session *s);
/* Requests taken from the guest and not given back, wherever they are. */
unsigned int vu_rings_taken(const struct vu_session *s);
void vu_rings_update_log(struct vu_session *s);
/* Finds all rings in the (changed) guest memory again. */
int vu_rings_remap(struct vu_session *s, struct err *e);
/* Stops all (nothing in flight) and forgets what the VMM told about them, but for whom to call. */
void vu_rings_reset(struct vu_session *s);
/* Starts again what the predecessor had running. */
void vu_rings_restore(struct vu_session *s);
/* The connection is over: rings are let go as they are, all descriptors too. */
void vu_rings_drop(struct vu_session *s);
void vu_rings_done(
	struct backend_host *host, unsigned int ring, struct virtq_chain *chain, bool failed);
/* One round; true when requests were fetched, completed, or published. */
bool vu_rings_work(struct vu_session *s);
/* Calls the guest if it turns out to wait for what was published. */
void vu_ring_call_after_all(struct vu_ring *r);
/* Something of this ring may be fetched, if there is anything. */
bool vu_ring_may_fetch(const struct vu_ring *r);

/* vu_fill.c */
bool vu_ring_is_filled(const struct vu_ring *r);
struct virtq_chain *vu_rings_take(struct backend_host *host, unsigned int ring);
void vu_rings_filled(
	struct backend_host *host, unsigned int ring, struct virtq_chain *chain, uint32_t written);
void vu_rings_give_back(struct backend_host *host, unsigned int ring, struct virtq_chain *chain);
uint16_t vu_rings_size(struct backend_host *host, unsigned int ring);
bool vu_rings_arm(struct vu_session *s);
void vu_rings_disarm(struct vu_session *s);
