/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A VMM and a keeper for a real worker process: the VMM's side of a connection, and just enough of
 * the keeper (daemon/keeper_proto.h) to hold the vault and to start a successor, with the dead
 * one's ring, the moment a worker dies. Everything that can go wrong fails the test.
 */
#pragma once

#include <sys/socket.h>
#include <sys/types.h>
#include <sys/un.h>

#include "lib/backends/session_page_layout.h"
#include "lib/backends/uring.h"
#include "lib/backends/vault.h"
#include "lib/backends/vu_codec.h"

struct rig;

struct rig_options {
	bool null;                 /* a disk without bytes; else a file of RIG_DISK_BYTES */
	uint16_t queues;           /* 0: 1 */
	uint64_t drain_timeout_ms; /* 0: 10000 */
	bool hold;                 /* what the disk cannot do */
	/* Which passage of a crash point kills the first and the second worker; 0: none. */
	unsigned int kill_at, kill_again_at;
	bool may_fail; /* the first worker may say that it cannot start: then none serves */
	/* Fills page and vault before there is a worker. */
	void (*prepare)(struct rig *r);
};

#define RIG_DISK_BYTES (1u << 20)

struct rig {
	struct rig_options opt;
	int vmm; /* our end of the connection */
	struct sockaddr_un door;
	socklen_t door_len;
	int disk;
	struct session_page *page;
	int vault[VAULT_SLOTS];

	pid_t worker;
	int pidfd, control;
	int ring_fd, old_ring_fd;
	struct io_uring_params ring_params, old_ring_params;
	unsigned int generation;
	bool ready;        /* this generation said so */
	char failure[256]; /* why it cannot start */
	int exit_status;   /* of a worker that ended by itself, as waitpid() has it */
	bool stays_dead;   /* do not start a successor */

	unsigned int kill_at, kill_again_at;
	unsigned int deaths;
	/* What the daemon wants: told to a worker that does not know it yet. */
	uint64_t gate;
	uint32_t release;
};

void rig_open(struct rig *r, struct rig_options opt);
void rig_close(struct rig *r);

/* Tends to the keeper's duties until `done` (may be NULL: one round); fails after 20 s. */
void rig_until(struct rig *r, bool (*done)(void *arg), void *arg);

/* Sends a whole message; `fds` are closed. */
void rig_send(struct rig *r, uint32_t request, uint32_t flags, const void *payload, uint32_t size,
	const int *fds, unsigned int fd_count);

/* The next reply, whole: its payload's size. *fd gets its descriptor, or -1. */
uint32_t rig_reply(struct rig *r, uint32_t request, void *payload, uint32_t size, int *fd);

/* Until the worker has nothing to do with messages; then no byte of a reply may be left. */
void rig_until_quiet(struct rig *r);

/* Until the worker has closed the connection; then a new one can be made. */
void rig_until_closed(struct rig *r);
void rig_connect(struct rig *r);

/* The daemon's word about the gate, and waiting until the worker has heard it; until it is settled. */
void rig_tell_gate(struct rig *r, uint64_t word);
void rig_until_heard(struct rig *r);
void rig_until_settled(struct rig *r);

/* Until it is held (again); and what the daemon does about it: another worker, and the word. */
void rig_until_held(struct rig *r);
void rig_tell_release(struct rig *r, uint32_t hold);
void rig_recover(struct rig *r);

/* Another worker, for which `between` fills page and vault while there is none. */
void rig_turn(struct rig *r, void (*between)(struct rig *r));

/* Descriptors that the worker has open. */
unsigned int rig_worker_fds(const struct rig *r);
