/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The lease: the baton of a volume, on the volume itself, for hosts whose iovds cannot talk with each
 * other. lease.c has the theory of operation. All of it is for disks of libvirt domains: nobody else's
 * VM is moved without an iovd being told.
 */
#pragma once

#include "daemon/hands.h"
#include "daemon/registry.h"
#include "lib/migrate/lease.h"

struct daemon;

#define LEASE_SCHEMA "CREATE TABLE lease_host (id TEXT NOT NULL);"

/* What was seen on the volume, or came of it. */
struct lease_seen {
	struct lease lease;
	bool is_written; /* `lease` is; else nothing is written there */
	bool is_ours;    /* we hold it now */
	bool is_locked;  /* somebody else holds it */
	bool is_claimed; /* somebody else waits for it */
	bool is_direct;  /* of a claim: the volume can do without the page cache */
};

/* seen is NULL if it has failed. */
typedef void lease_done_fn(void *arg, const struct lease_seen *seen, const struct err *e);

/* An attachment that can have one, as far as that is known without trying. */
bool lease_fits(const struct attachment *a);

/* It writes, and nothing else than a lease could keep two hosts from that. */
bool lease_is_needed(const struct attachment *a);

/* The supervisor has looked at it: takes what it should have, and passes on what it should not. */
void lease_keep_up(struct daemon *d, struct attachment *a);

/*
 * At a host that waits: the volume `node` is held by another iovd for this VM (UUID), and from now on
 * it is claimed by us; done() gets the descriptor, too, which is its own. -1: it is not called.
 */
typedef void lease_claim_fn(void *arg, const struct lease_seen *seen, int fd, const struct err *e);
int lease_claim(struct daemon *d, const char *node, const char *vm, lease_claim_fn *done, void *arg,
	struct err *e);

/* Of an attachment whose description is open (a->lease.fd). One at a time; -1: done() is not called. */
enum lease_act {
	LEASE_ACT_LOOK,   /* what there is */
	LEASE_ACT_SYNC,   /* the same, and what was written is on the disk */
	LEASE_ACT_PASS,   /* passed on, if it was ours */
	LEASE_ACT_TAKE,   /* ours, if nobody has had it since it was */
	LEASE_ACT_ARRIVE, /* ours, as soon as its holder lets it go; waited for, a while */
	LEASE_ACTS
};
int lease_act(struct daemon *d, struct attachment *a, enum lease_act act, lease_done_fn *done,
	void *arg, struct err *e);

/* Hands: lease_hand.c. */
#define LEASE_WORK_OPEN "lease-open"
extern const char *const lease_works[LEASE_ACTS];
int lease_work_open(char **words, void *result, int *fd, struct err *e);
int lease_work_look(char **words, void *result, int *fd, struct err *e);
int lease_work_sync(char **words, void *result, int *fd, struct err *e);
int lease_work_pass(char **words, void *result, int *fd, struct err *e);
int lease_work_take(char **words, void *result, int *fd, struct err *e);
int lease_work_arrive(char **words, void *result, int *fd, struct err *e);
