/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What keeper tests run in place of iovd and iov-worker: their own program, under these names. The
 * daemon's stand-in sends its channel to the keeper to the test. The worker's follows
 * keeper_proto.h, does no I/O, and writes what it sees into its session page.
 */
#pragma once

#include <stdint.h>

#define STANDIN_PAGE_SIZE 4096
#define STANDIN_SOCKET    "IOVD_TEST_SOCKET"        /* variable: where the channel is brought */
#define STANDIN_STATUS    "IOVD_TEST_DAEMON_STATUS" /* variable: the daemon just ends with it */

/* What the test tells a stand-in to do (as WORKER_TELL codes). */
enum standin_order { ORDER_PUT = 100, ORDER_DROP, ORDER_DRAINED, ORDER_NOTE, ORDER_NONSENSE };

struct standin_page {
	uint64_t generation;
	uint32_t old_entries; /* of the old ring's submission queue; 0: no old ring */
	uint32_t entries;
	uint32_t last_done;    /* the last order that was carried out */
	uint32_t open_fds;     /* a bit per descriptor below 32, at the start */
	uint32_t more_fds;     /* descriptors from 32 on, at the start */
	uint32_t filled_slots; /* given before GO */
	char words[256];
};

int standin_worker(int argc, char **argv);
int standin_daemon(int argc, char **argv);
