/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The kernel's log, record by record, as /dev/kmsg has it. It is a ring: whoever reads too slowly
 * loses records, which their numbers tell.
 *
 *	3,1207,5140900,-;DMAR: [DMA Write ...	level | facility<<3, number, microseconds, flags
 *	 SUBSYSTEM=pci				what belongs to it, each line with a blank in front
 *
 * Anybody who is root can write into it, but not as the kernel (facility 0).
 */
#pragma once

#include "lib/sysfs.h"

#define KMSG_TEXT_MAX 1024

struct kmsg_record {
	unsigned int level, facility; /* facility 0: the kernel itself */
	uint64_t number;              /* counts up from the boot, all records */
	uint64_t time_us;             /* since the boot */
	char text[KMSG_TEXT_MAX];     /* one line, without its end; longer ones are cut */
};

/* The line of a record, "\x09" and the like as the bytes they are. False if it is none. Pure. */
bool kmsg_parse(const char *line, size_t len, struct kmsg_record *record);

struct kmsg;

/*
 * Opens the log below `root`, to be read without waiting, from its oldest record. -1 with e set (code
 * FAULT-BLIND) if there is none to be read.
 */
int kmsg_open(const struct sysroot *root, struct kmsg **out, struct err *e);
void kmsg_close(struct kmsg *k); /* NULL is allowed */
int kmsg_fd(const struct kmsg *k);

/* Whether it can be waited for; that of a recorded tree is a file. */
bool kmsg_is_live(const struct kmsg *k);

/* 1: the next record; 0: none yet; -1 with e set: it can be read no more. */
int kmsg_next(struct kmsg *k, struct kmsg_record *record, struct err *e);
