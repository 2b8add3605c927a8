/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A vhost-user device: one backend, one VMM at a time, over the life of any number of workers. The
 * session's facts are in the session page and its descriptors in the vault; this is the machine
 * that works on them. vu_session.c has the theory of operation, vu_message.c that of messages.
 *
 * One thread, driven by a watch_loop and by vu_session_work().
 */
#pragma once

#include "lib/backends/backend.h"
#include "lib/backends/session_page_layout.h"
#include "lib/backends/uring.h"
#include "lib/backends/vault.h"
#include "lib/watch.h"

struct vu_session;

struct vu_session_config {
	struct watch_loop *loop;
	struct vault *vault;       /* VAULT_LISTEN and/or VAULT_CONN filled */
	struct session_page *page; /* fresh, or a predecessor's */
	struct io_uring *ring;     /* mapped; ours alone */
	struct backend *backend;
	uint64_t drain_timeout_ms; /* how long the VMM may have to wait for requests to end */
	uint64_t
		io_timeout_ms; /* how long a request may be with the host (vu_late.c); 0: for ever */
	bool holds;            /* what the host cannot do is held (vu_hold.c) */
	/* What session_page.h's status says has changed; may be NULL. */
	void (*changed)(void *arg);
	/* One sentence for the log: why a connection is closed, how a ring broke, and the like. */
	void (*report)(void *arg, const char *sentence);
	void *arg;
};

/* All of `cfg` stays the caller's and must outlive the session. Nothing runs yet. */
int vu_session_new(struct vu_session **s, const struct vu_session_config *cfg, struct err *e);

/* A completion of the dead predecessor's ring: before vu_session_start(), oldest first. */
void vu_session_seen(struct vu_session *s, uint64_t user_data, int32_t res);

/*
 * Goes on from what the page says: the predecessor's I/O is over. `ring_seen` is false when its
 * ring could not be asked: a reply whose fate is unknown then ends the connection.
 */
int vu_session_start(struct vu_session *s, bool ring_seen, struct err *e);

/* Before vu_session_start(): the predecessor's I/O does not end; frees a VMM that waits for us. */
void vu_session_give_up_waiting(struct vu_session *s);

/* Adopts a connected socket as the VMM's connection (--fd=N). Consumed. */
int vu_session_connect(struct vu_session *s, int fd, struct err *e);

/*
 * One round over rings and completions, without waiting. True when something was done. To be
 * called whenever the loop has run, and for polling.
 */
bool vu_session_work(struct vu_session *s);

/* About to sleep: asks the guest for kicks. True: there is work already, do not sleep. */
bool vu_session_arm(struct vu_session *s);
/* Awake: kicks are not needed as long as vu_session_work() is called. */
void vu_session_disarm(struct vu_session *s);

/* Requests are in the kernel's hands: their completions wake the loop, and polling gains little. */
bool vu_session_in_kernel(struct vu_session *s);

/* The disk's size may have changed. */
void vu_session_refresh(struct vu_session *s);

/*
 * The daemon's word about the gate (session_page.h); an old one is not obeyed. Also before
 * vu_session_start().
 */
void vu_session_set_gate(struct vu_session *s, uint64_t word);

/* The daemon's word that this hold is over (vu_hold.c). Also before vu_session_start(). */
void vu_session_release(struct vu_session *s, uint64_t number);

/*
 * Takes no more requests and calls `done` when none is in flight (at once, if so). The connection
 * stays open; for the end of a worker that runs alone.
 */
void vu_session_finish(struct vu_session *s, void (*done)(void *arg), void *arg);

void vu_session_free(struct vu_session *s);

/*
 * Test hook: called with the name of each point of the message's way at which a kill is tried
 * (vu_message.c). Set by tests only; the programs leave it NULL.
 */
extern void (*vu_crash_point)(const char *name);
