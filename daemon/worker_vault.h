/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The keeper, seen from a worker: birth, vault, words in both directions (daemon/keeper_proto.h). */
#pragma once

#include "daemon/keeper_proto.h"
#include "lib/backends/vault.h"
#include "lib/watch.h"

struct worker_keeper {
	struct vault vault; /* its ops are the keeper's */
	int control;        /* -1: no keeper (any more); puts succeed locally until one adopts us */
	uint64_t cookie;    /* of the last PUT */
	struct keeper_msg hello;
	struct watch_loop *loop;
	struct watch *control_watch, *adopt_watch;
	/* A word from the daemon (WORKER_TELL_*). */
	void (*told)(void *arg, uint32_t code, uint64_t value);
	void *arg;
};

/* Receives HELLO, all GIVEs and GO. The control fd becomes ours. */
int worker_keeper_meet(struct worker_keeper *k, int control_fd, struct err *e);

/* From here on the keeper's words are heard, and a new keeper may adopt us. */
int worker_keeper_listen(struct worker_keeper *k, struct watch_loop *loop, struct err *e);

void worker_keeper_send(struct worker_keeper *k, enum keeper_msg_type type, uint32_t code);

/* Why this worker cannot start. */
void worker_keeper_failed(struct worker_keeper *k, const struct err *why);
