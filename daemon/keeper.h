/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Inside iovd-keeper: one struct keeper, one struct held per attachment. One thread; everything
 * runs from the loop, nothing waits. keeper_proto.h is what it speaks with workers, keeper_api.h
 * what it speaks with the daemon; it reads no byte of either's peers.
 */
#pragma once

#include <limits.h>
#include <sys/types.h>

#include "daemon/keeper_api.h"
#include "daemon/keeper_proto.h"
#include "lib/backends/vault.h"
#include "lib/list.h"
#include "lib/watch.h"

struct keeper;

/* A ring and what it takes to map it; made for one generation. */
struct held_ring {
	int fd; /* -1: none */
	uint64_t generation;
	struct io_uring_params params;
};

/* What is held for one attachment: its vault, its rings, its worker. */
struct held {
	struct list_node node; /* keeper->workers */
	struct keeper *keeper;
	char id[KEEPER_ID_SIZE];
	int slots[VAULT_SLOTS];
	struct held_ring ring; /* of the generation that runs, or ran last */
	struct held_ring old;  /* of one before, until it is known to be drained */
	struct keeper_item item;
	char failure[sizeof(((struct keeper_msg *)0)->text)];
	int pidfd;
	int control;
	struct watch *pid_watch;
	struct watch *control_watch;
	unsigned int give_next; /* first slot not given to a new worker yet */
	bool go_sent;           /* GO was sent: nothing is left to give */
	bool adopting;          /* connected to a worker of an earlier keeper, not READY yet */
	bool changed;           /* the daemon has not got the item yet */
	bool touched;           /* a daemon has filled its vault or signalled it since its start */
	/* What its last generation was ordered with; no words: an earlier keeper did that. */
	unsigned int flags, entries;
	char words[KEEPER_TEXT_SIZE];
};

struct keeper_daemon {
	pid_t pid;
	int pidfd;
	int fd;
	struct watch *pid_watch;
	struct watch *fd_watch;
	struct watch *restart_timer;
	struct keeper_api_msg answer; /* to the request in hand */
	int answer_fd;
	bool answering;
	bool up;     /* some daemon of ours has come to serve */
	bool up_now; /* this one has */
	bool listed; /* it knows what workers there are */
	uint64_t started_ms;
	uint64_t delay_ms;
};

struct keeper {
	struct watch_loop *loop;
	char **argv; /* for the daemon */
	int argc;
	char runtime_dir[PATH_MAX];
	char adopt_dir[PATH_MAX];
	char daemon_path[PATH_MAX];
	char worker_path[PATH_MAX];
	struct list_node workers;
	struct watch *deadline; /* timer: of the step that is waited for */
	struct keeper_daemon daemon;
	bool begun;    /* adoption is over: the daemon was started, or workers were told to end */
	bool stopping; /* the daemon is not started again */
	bool stop_all; /* here to end workers, not to serve */
	int exit_status;
};

/* --- keeper_vault.c: what is held, and the messages of workers -------------------------------- */

struct held *held_find(struct keeper *k, const char *id);
struct held *held_new(struct keeper *k, const char *id, struct err *e);

/* Closes all descriptors and forgets it; its worker, if any, goes on unwatched. */
void held_free(struct held *h);

void held_set_slot(struct held *h, unsigned int slot, int fd); /* consumes fd */

/* Speaks over `fd` with the worker from now on; consumes it. */
int held_watch_control(struct held *h, int fd, struct err *e);

/* Watches for the end of `pid`; consumes pidfd. */
int held_watch_pid(struct held *h, pid_t pid, int pidfd, struct err *e);

/* Sends all of HELLO, GIVE and GO that the socket takes now; the rest when it has room. */
void held_give(struct held *h);

/* Starts it again, if it is one that may be while there is no daemon (keeper_api.h). */
void held_go_on(struct held *h);

/* Passes on what the daemon has to say. */
int held_tell(struct held *h, unsigned int code, uint64_t value, struct err *e);

void ring_close(struct held_ring *ring);

/* --- keeper_spawn.c, keeper_child.c ----------------------------------------------------------- */

/* Starts the next generation with the words in `text`, KEEPER_TEXT_SIZE bytes: each terminated, an empty
 * one last. */
int held_spawn(
	struct held *h, unsigned int flags, unsigned int entries, const char *text, struct err *e);

/* fork(), but the child has no signal handler of ours. */
pid_t keeper_fork(void);

/* In the child, which becomes the worker. Does not return. */
struct spawn {
	const char *program;
	const char *text;
	unsigned int flags;
	int control;
	int backing; /* the vault's */
	const struct held_ring *ring, *old;
};
void keeper_child_run(const struct spawn *s) __attribute__((noreturn));

/* --- keeper_adopt.c --------------------------------------------------------------------------- */

/* The listening socket by which a later keeper finds this worker, into its slot. */
int held_listen_adopt(struct held *h, struct err *e);
void held_unlink_adopt(struct held *h);

/* Connects to all workers that earlier keepers left. */
int keeper_adopt_all(struct keeper *k, struct err *e);

/* Takes ADOPTED from the socket: who it is, and its ring. */
int held_take_adopted(struct held *h, struct err *e);

/* How many have not answered yet. */
unsigned int keeper_adopting(const struct keeper *k);

/* --- keeper_daemon.c -------------------------------------------------------------------------- */

int keeper_daemon_start(struct keeper *k, struct err *e);

/* There was one, there will be another one, and just now there is none that knows of any worker. */
bool keeper_daemon_is_away(const struct keeper *k);

/* Asks it to end; keeper_progress() follows. */
void keeper_daemon_stop(struct keeper *k);

/* Sends what the daemon has not got yet, as far as there is room. */
void keeper_daemon_flush(struct keeper *k);

/* --- keeper_main.c ---------------------------------------------------------------------------- */

/* Something ended or was adopted: is it time for the next step? */
void keeper_progress(struct keeper *k);
