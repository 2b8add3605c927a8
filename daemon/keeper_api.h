/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Between iovd and iovd-keeper: the daemon's orders, and what became of the workers.
 *
 * One SOCK_SEQPACKET pair, whose end the daemon inherits (--keeper-fd=N). All messages are struct
 * keeper_api_msg in full, with at most one descriptor. The daemon has one request out at a time;
 * the keeper never waits for anything, so the answer (DONE or REFUSED, with the request's cookie)
 * comes at once, and the daemon waits for it.
 *
 * What happens to workers is not told as events, which could be lost when one side is slow, but as
 * facts: whenever something about a worker changed the keeper sends its ITEM, in its state at that
 * time, as soon as the channel has room. A new daemon asks for LIST: all ITEMs, then DONE.
 *
 * A worker that died stays dead until the daemon orders the next generation: it may be about to give it
 * another disk. Only when there is no daemon, or one that has not asked for LIST yet, a worker that had
 * come to serve is started again as it was, so that guests need not wait for that daemon, which sees it
 * by its generation; and only if the last daemon had no hand in it: since it was started, no FILL and
 * no KILL. (So KILL with signal 0 says of a dead one that it is to stay dead.)
 *
 * The keeper outlives daemons: what was put into a vault by FILL stays until FORGET.
 */
#pragma once

#include "lib/watch.h"

#define KEEPER_API_VERSION 1u
#define KEEPER_ID_SIZE     16   /* "a123", terminated: it becomes the name of a socket */
#define KEEPER_TEXT_SIZE   1024 /* words, each terminated, or a sentence */

enum keeper_api_type {
	/* daemon to keeper */
	KEEPER_API_LIST = 1,
	KEEPER_API_FILL,   /* id, slot, fd: into the vault, which is made if there is none */
	KEEPER_API_FETCH,  /* id, slot: answered by DONE with a duplicate */
	KEEPER_API_SPAWN,  /* id, flags, value = ring entries, text = words: the next generation */
	KEEPER_API_KILL,   /* id, value = signal */
	KEEPER_API_FORGET, /* id: the worker is dead; its vault and rings go */
	KEEPER_API_TELL,   /* id, code, value: enum worker_tell */
	KEEPER_API_UP,     /* the daemon serves: from now on it is restarted when it dies */

	/* keeper to daemon */
	KEEPER_API_DONE = 64,
	KEEPER_API_REFUSED, /* text says why */
	KEEPER_API_ITEM,    /* id, item, text = why its last generation could not start */
};

enum keeper_spawn_flags {
	KEEPER_SPAWN_READONLY = 1, /* the worker gets the disk read-only */
	KEEPER_SPAWN_DIRECT = 2,   /* and past the page cache, where that can be */
	KEEPER_SPAWN_TAP = 8,      /* it has no disk; its tap's queues are in the vault */
	KEEPER_SPAWN_IDLE = 4,     /* its gate is shut for good: it only speaks with the VMM */
};

/* A worker, or what is left of it. */
struct keeper_item {
	uint64_t generation; /* the last one started; 0: none yet */
	int32_t pid;         /* 0: none runs */
	int32_t exit_status; /* of the last one that ended, as waitpid() has it; -1: not known */
	uint32_t ready;      /* this generation, or the last, has come to serve */
	uint32_t notes;      /* how many KEEPER_MSG_NOTE came so far: look at the page */
};

struct keeper_api_msg {
	uint32_t version; /* KEEPER_API_VERSION */
	uint32_t type;
	uint64_t cookie;
	char id[KEEPER_ID_SIZE];
	uint32_t slot;
	uint32_t code;
	uint32_t flags;
	uint32_t reserved;
	uint64_t value;
	struct keeper_item item;
	char text[KEEPER_TEXT_SIZE];
};

/* An id as both sides accept it: terminated, "a" and digits. */
bool keeper_id_is_valid(const char id[KEEPER_ID_SIZE]);

/* --- the daemon's side ------------------------------------------------------------------------ */

struct keeper_link;

struct keeper_link_ops {
	/* The facts about one worker have changed (or LIST names it). `failure`: "" or a sentence.
	 */
	void (*item)(
		void *arg, const char *id, const struct keeper_item *item, const char *failure);
	/* The keeper is gone, and with it the reason to live. */
	void (*lost)(void *arg);
};

/* Speaks with the keeper over fd, which is the link's from now on. Callbacks come from the loop. */
struct keeper_link *keeper_link_new(struct watch_loop *loop, int fd,
	const struct keeper_link_ops *ops, void *arg, struct err *e);
void keeper_link_free(struct keeper_link *link);

/* All workers, each told by ops->item() before this returns. */
int keeper_link_list(struct keeper_link *link, struct err *e);

/* Puts a duplicate of fd into the vault of `id`; fd stays the caller's. */
int keeper_link_fill(
	struct keeper_link *link, const char *id, unsigned int slot, int fd, struct err *e);

/* A duplicate of what is in a slot; ERR_NOT_FOUND when that is nothing. */
int keeper_link_fetch(struct keeper_link *link, const char *id, unsigned int slot, struct err *e);

/*
 * Starts the next generation: `words` (NULL terminated) are its arguments, the type first. It is
 * ready, or has failed, when item() says so.
 */
int keeper_link_spawn(struct keeper_link *link, const char *id, unsigned int flags,
	unsigned int ring_entries, const char *const *words, struct err *e);

/* Sends a signal; no error when it is dead already. */
int keeper_link_kill(struct keeper_link *link, const char *id, int sig, struct err *e);

/* Drops vault and rings of a dead one; no error when there is nothing. */
int keeper_link_forget(struct keeper_link *link, const char *id, struct err *e);

/* Passes a word on to the worker (enum worker_tell). */
int keeper_link_tell(
	struct keeper_link *link, const char *id, unsigned int code, uint64_t value, struct err *e);

/* The daemon is up. */
int keeper_link_up(struct keeper_link *link, struct err *e);
