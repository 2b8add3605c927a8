/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Hands: work that can block for ever -- opening a disk that is gone, say -- is done by a process
 * of its own, with a deadline. It is exec'd (`iovd` under the name iovd-hand) with all other
 * descriptors closed, so that one stuck in the kernel, which not even kill -9 ends, keeps nothing
 * of the daemon's alive. Its result comes over a socket.
 */
#pragma once

#include "lib/watch.h"

#define HAND_NAME        "iovd-hand"
#define HAND_WORDS       4
#define HAND_RESULT_SIZE 256 /* largest result, a plain structure */

struct hands;

struct hands *hands_new(struct watch_loop *loop, struct err *e);

/* Forgets all that still work. */
void hands_free(struct hands *hands);

/* What a hand brought: `result` (len bytes) and a descriptor (-1: none; the callee's), or e. */
typedef void hand_done_fn(void *arg, const void *result, size_t len, int fd, const struct err *e);

/*
 * Does `words` (NULL terminated, the work first: hand_works[]) on `object`. While a hand is
 * stuck on the same object, new ones fail at once (code DEV-WEDGED). done() is called once, from
 * the loop, unless this returns -1.
 */
int hands_do(struct hands *hands, const char *object, const char *const words[HAND_WORDS],
	uint64_t deadline_ms, hand_done_fn *done, void *arg, struct err *e);

/* Whether a hand is past its deadline and still at this object. */
bool hands_is_wedged(const struct hands *hands, const char *object);

/* main() of such a process. */
int hand_main(int argc, char **argv);

/* --- for the work ----------------------------------------------------------------------------- */

/* One kind of work: fills result (of result_size bytes) and *fd. */
struct hand_work {
	const char *name;
	size_t result_size;
	int (*run)(char **words, void *result, int *fd, struct err *e);
};

/* daemon/hand_works.c */
extern const struct hand_work hand_works[];
extern const unsigned int hand_work_count;
