/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Hands: work that can block for ever -- opening a disk that is gone, say -- is done by a process
 * of its own, with a deadline. It is exec'd (`iovd` under the name iovd-hand) with all other
 * descriptors closed, so that one stuck in the kernel, which not even kill -9 ends, keeps nothing
 * of the daemon's alive. Its result comes over a socket.
 *
 * The record of a hand is the hand itself: its command line says whose it is, at what, doing what.
 * A daemon that was killed leaves it running; the next one finds it (hands_adopt()).
 */
#pragma once

#include <sys/types.h>

#include "lib/watch.h"

#define HAND_NAME        "iovd-hand"
#define HAND_WORDS       6
#define HAND_RESULT_SIZE 4352 /* largest result, a plain structure */

struct hands;

struct hands *hands_new(struct watch_loop *loop, struct err *e);

/* Forgets all that still work. */
void hands_free(struct hands *hands);

/*
 * From now on these are the hands of the daemon of this folder (its runtime folder). Those that an
 * earlier daemon of the folder left are killed; an object whose hand does not die of it is wedged.
 */
int hands_adopt(struct hands *hands, const char *home, struct err *e);

/* Told when an object becomes wedged, and when it is so no more. */
typedef void hands_listener_fn(void *arg, const char *object, bool wedged);
void hands_set_listener(struct hands *hands, hands_listener_fn *fn, void *arg);

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

/* Who holds a wedged object: the stuck hand, what it was told to do, where in the kernel it waits. */
struct hand_wedge {
	pid_t pid;
	char work[128]; /* "pci-make / 0000:01:00.0 nvme vfio-pci vfio-pci" */
	char waits_in
		[256]; /* "vfio_unregister_group_dev < vfio_pci_core_unregister_device < ..." */
};

/* False if it is not wedged. */
bool hands_find_wedge(const struct hands *hands, const char *object, struct hand_wedge *wedge);

/* main() of such a process: HAND_NAME HOME OBJECT WORK [WORD]... */
int hand_main(int argc, char **argv);

/* --- hands_proc.c: hands as /proc shows them -------------------------------------------------- */

/* Calls fn for every living hand of this home. 0, or -1. */
typedef void hand_seen_fn(void *arg, pid_t pid, const char *object, const char *work);
int hands_each_process(const char *home, hand_seen_fn *fn, void *arg, struct err *e);

/* Where a living process waits. */
void hand_look(pid_t pid, struct hand_wedge *wedge);

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
