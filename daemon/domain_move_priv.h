/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What domain_move.c (which begins a move) and domain_follow.c (which brings it to its end) share. */
#pragma once

#include "daemon/domain_move.h"
#include "daemon/domain_xml.h"
#include "daemon/domains.h"

#define SEND_PERCENT 10 /* of the job, when libvirt begins */

enum move_phase {
	MOVE_ASKING,    /* the other iovd: nothing of libvirt's has begun */
	MOVE_SENDING,   /* libvirt moves it */
	MOVE_FOLLOWING, /* it is looked at what has become of it */
	MOVE_ENDING,    /* the baton comes to its end */
	MOVE_OVER,      /* it has moved; how long it stood still is not known yet */
};

struct domain_move {
	struct daemon *d;
	enum move_phase phase;
	struct job *job;
	char vm[REGISTRY_NAME_MAX], uuid[VIRT_UUID_SIZE];
	char alias[DOMAIN_ALIAS_SIZE]; /* of a device of the VM's */
	bool is_left;                  /* libvirt runs it here again, or may */
	char *destination, *iovd, *address;
	struct json *map;
	uint64_t carry_ms;
	struct json *there;     /* what was reserved there */
	struct virt_call *call; /* libvirt's migration; NULL: none, or it has ended */
	struct virt_call *look;
	struct watch *timer;   /* the next look */
	struct watch *timeout; /* it is given up then */
	bool given_up;         /* somebody, or the timeout, wants no more of it */
	struct domain_watch events;
	bool has_begun; /* libvirt has, as far as we have seen */
	uint64_t begun_ms, downtime_ms;
	unsigned int percent;
	unsigned int missed; /* looks in a row: libvirt has missed that it runs on here */
	struct err stuck;    /* a disk kept it; else of kind ERR_NONE */
	struct err why;      /* it failed; else of kind ERR_NONE */
};

/* --- domain_move.c ---------------------------------------------------------------------------- */

/* With a job that answers rq (NULL: nobody's). NULL with e set. */
struct domain_move *move_new(
	struct daemon *d, struct request *rq, const char *vm, const char *uuid, struct err *e);
void move_free(struct domain_move *m);
/* The job fails, and it is freed. */
void move_fail(struct domain_move *m, const struct err *e);
/* libvirt is told to give it up, if it has begun. */
void move_stop(struct domain_move *m);

/* --- domain_follow.c: whatever they come to, they end the job and free it ----------------------- */

/* Looks what libvirt says of it, now or in a while, and goes on from there. */
void move_look(struct domain_move *m);
void move_look_later(struct domain_move *m);

/* It has moved. */
void move_done(struct domain_move *m);

/* The baton to its end, or back. */
void move_end(struct domain_move *m);
void move_abort(struct domain_move *m);
