/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The whole move of a libvirt domain to another host: the verdict, the reservation, libvirt's own
 * migration, and the end of it. domain_move.c has the theory of operation.
 */
#pragma once

#include "proto/json.h"

struct daemon;
struct request;

struct domain_move_wish {
	const char *vm;          /* as attachments call it */
	const char *destination; /* libvirt's URI, as this host's libvirtd reaches it */
	const char *iovd;        /* where the iovd there is; NULL: the destination says it */
	const char *address;     /* where QEMU's stream goes; NULL: libvirt knows */
	const struct json *map;  /* names there, or NULL */
	uint64_t timeout_ms;     /* then it is given up; 0: never */
	uint64_t carry_ms;       /* as of baton_start() */
};

/* A job that answers `rq`. -1 with e set: nothing was begun, and `rq` is the caller's. */
int domain_move_start(struct request *rq, const struct domain_move_wish *wish, struct err *e);

/* The domain of this VM, or NULL if it is none. */
const struct domain *domain_move_domain(struct daemon *d, const char *vm);

/*
 * Somebody else is about to move it, or to have libvirt do that: the baton is READY, and is brought to
 * whichever end that comes to.
 */
void domain_move_follow(struct daemon *d, const char *vm);

/* It cannot leave (baton_was_stuck()): libvirt is told to give its migration up, if it is a domain. */
void domain_move_give_up(struct daemon *d, const char *vm);

/* After a start: whatever move a domain was in is followed to its end. */
void domain_moves_begin(struct daemon *d);
