/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The command line of iov-worker (man page iov-worker(1)). */
#pragma once

#include "lib/backends/vu_wire.h"
#include "lib/err.h"

enum worker_cache { WORKER_CACHE_NONE, WORKER_CACHE_WRITEBACK };

struct worker_args {
	const char *type;        /* "blk", "net" */
	const char *blk_file;    /* alone: the disk */
	const char *socket_path; /* alone: where to listen */
	const char *serial;
	const char *user;
	uint64_t null_size; /* --null: a disk without bytes; 0: not asked for */
	uint64_t drain_timeout_ms, poll_us;
	uint16_t queues; /* of a disk; of a network device, pairs of them */
	bool read_only;
	enum worker_cache cache;
	int fd; /* alone: the socket, listening or connected; else -1 */
	/* Born by the keeper (daemon/keeper_proto.h): -1 when alone. */
	int control_fd, ring_fd, old_ring_fd, backing_fd;
	uint64_t io_timeout_ms; /* a request that takes longer is late: vu_late.c; 0: none is */
	bool hold;              /* host errors are not the guest's: vu_hold.c */
	bool idle; /* the disk is read-only for now, and not for the guest: its gate is shut */
	/* A network device. */
	const char *tap;                /* alone: its name, or ... */
	int tap_fds[VU_MAX_QUEUES / 2]; /* ... all its queues */
	uint16_t tap_fd_count;
	bool has_mac, only_mac, no_vlan;
	uint8_t mac[6];
	uint16_t mtu; /* 0: not known */
	/* Print this and end with 0. */
	bool print_capabilities, help, version;
};

bool worker_args_is_net(const struct worker_args *args);
int worker_args_parse(struct worker_args *args, int argc, char **argv, struct err *e);
void worker_args_help(void);
