/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the IOMMU does with a group by default: translate or identity, as the kernel's file `type`
 * lets it be changed.
 */
#pragma once

#include "lib/iommu/group.h"

struct daemon;

#define GROUP_TYPE_MAX 16

/* As part of the store's schema: what a group was before it was changed, of this boot. */
#define GROUP_TYPE_SCHEMA                                                                          \
	"CREATE TABLE group_type ("                                                                \
	"	number INTEGER PRIMARY KEY,"                                                             \
	"	boot TEXT NOT NULL,"                                                                     \
	"	before TEXT NOT NULL);"

/* A change that may be made: what is written for it. */
struct group_type_plan {
	uint32_t group;
	char before[GROUP_TYPE_MAX]; /* what it is, as the kernel says it */
	char word[GROUP_TYPE_MAX];   /* what is written */
	bool is_lent;                /* who changes it gives it back: nothing to remember */
};

/*
 * Looks only. `wanted`: "translate", "identity" or "blocked". 1: it is so already; 0: may be done;
 * -1 with ERR_REFUSED: GRP-TYPE (there is no such type to set), HOST-USE or DEV-TAKEN (a member is
 * in use), GRP-VIABLE (a member has a driver of the host). Changes the inventory: `id` is a number.
 */
int group_type_check(struct daemon *d, uint32_t id, const char *wanted,
	struct group_type_plan *plan, struct err *e);

typedef void group_type_done_fn(void *arg, const struct err *e);

/* Keeps what it was, then writes, by a hand. 0: done() is called once, from the loop; or -1. */
int group_type_set(struct daemon *d, const struct group_type_plan *plan, group_type_done_fn *done,
	void *arg, struct err *e);

/* The work of that hand: sysroot, group, word. */
int group_type_work(char **words, void *result, int *fd, struct err *e);
