/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The vault, as a worker sees it: numbered slots for the descriptors that must outlive it. put()
 * returns only when the other side has the descriptor, so that what was acknowledged to the VMM is
 * never lost with us. Implementations: daemon/worker_vault.c (the keeper behind a socket) and
 * vault_none_ops (a worker that runs alone: the same table, kept by nobody else). One thread.
 */
#pragma once

#include "lib/backends/guest_mem.h"
#include "lib/backends/vu_wire.h"
#include "lib/err.h"

enum vault_slot {
	VAULT_PAGE,        /* the session page */
	VAULT_LISTEN,      /* the vhost-user socket that VMMs connect to */
	VAULT_CONN,        /* the VMM's connection */
	VAULT_BACKING,     /* the disk; never used for I/O: each generation reopens it */
	VAULT_INFLIGHT,    /* the in-flight region: the VMM's, or ours when it has none */
	VAULT_LOG,         /* the dirty log */
	VAULT_BACKEND_REQ, /* the channel for our own requests to the VMM */
	VAULT_ADOPT,       /* where a new keeper connects (listening) */
	VAULT_REPLY,       /* goes along with the reply being sent */
	VAULT_INCOMING,    /* requests in flight on another host, to be replayed (taken.h) */
	VAULT_LEASE, /* the description whose locks are the lease on the disk: never a worker's */
	VAULT_MEM0 = 16,                                  /* + index of the session page's region */
	VAULT_KICK0 = VAULT_MEM0 + GUEST_MEM_MAX_REGIONS, /* + ring index */
	VAULT_CALL0 = VAULT_KICK0 + VU_MAX_QUEUES,
	VAULT_ERR0 = VAULT_CALL0 + VU_MAX_QUEUES,
	VAULT_TAP0 = VAULT_ERR0 + VU_MAX_QUEUES, /* + queue: of a network device */
	VAULT_SLOTS = VAULT_TAP0 + VU_MAX_QUEUES / 2
};

struct vault;

struct vault_ops {
	/* Tells the keeper and waits for its word; the worker's own table is kept by vault.c. */
	int (*put)(struct vault *vault, unsigned int slot, int fd, struct err *e);
	void (*drop)(struct vault *vault, unsigned int first, unsigned int count);
};

struct vault {
	const struct vault_ops *ops;
	int fds[VAULT_SLOTS]; /* ours, -1 where empty; read through vault_fd() */
};

void vault_init(struct vault *vault, const struct vault_ops *ops);

/* Consumes `fd`: it is closed when the slot is dropped or put again, and on failure. */
int vault_put(struct vault *vault, unsigned int slot, int fd, struct err *e);
void vault_drop(struct vault *vault, unsigned int slot);
void vault_drop_range(struct vault *vault, unsigned int first, unsigned int count);
int vault_fd(const struct vault *vault, unsigned int slot); /* -1 when empty; stays the vault's */

/* A worker alone: slots are kept here only. */
extern const struct vault_ops vault_none_ops;
