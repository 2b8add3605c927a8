/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A restore while it is under way (do_restore.c has the theory): what its parts share.
 *
 * All run in the loop's thread. Who ends a restore (restore_fail(), restore_judge(), the last step of
 * restore_attach()) answers its job and frees it.
 */
#pragma once

#include <limits.h>

#include "daemon/attach.h"
#include "daemon/baton.h"
#include "daemon/daemon.h"
#include "daemon/iostate.h"
#include "daemon/jobs.h"
#include "daemon/verdict.h"

/* Of a client, or of a peer. */
struct restore_args {
	const char *allow; /* of restore alone */
	const char *state, *vm;
	const struct json *map;
	const char *move;           /* of reserve and check */
	const struct json *inodes;  /* of the same: numbers of image files, by name */
	const struct json *targets; /* of the same: what a domain calls its disks */
};

enum restore_kind { RESTORE_NOW, RESTORE_RESERVE, RESTORE_JUDGE };
extern const char *const restore_verbs[];

/* One attachment to be, and to have been. */
struct restoring {
	struct attach_wish wish;
	struct restore *all;
	char name[PATH_MAX];     /* of the device, as it is called here */
	char id[KEEPER_ID_SIZE]; /* when it is there; else "" */
	uint64_t inode;          /* that its file has at the source; 0: not known */
	bool is_mapped;          /* somebody has said what it is called here */
	bool is_lost;            /* there is nothing to look at */
	struct problems problems;
};

struct restore {
	struct daemon *d;
	struct job *job;
	struct iostate *s;
	enum restore_kind kind;
	char move[BATON_MOVE_SIZE];
	char vm[REGISTRY_NAME_MAX];
	struct restoring *each;
	uint32_t next;  /* the one that is looked at, attached, or detached again */
	struct err why; /* of an undo */
};

/* Frees it, and the descriptors of its disks; its job is not touched. */
void restore_free(struct restore *x);

/*
 * What is asked for, decoded and checked: the VM, its names here, what a peer or a file may demand.
 * Nothing is looked at yet. -1 with e set: the caller frees it.
 */
int restore_plan(struct restore *x, const struct restore_args *args, struct err *e);

/* The device of the next attachment, found and free, and its name not taken: its problems are added. */
void restore_plan_device(struct restore *x);

/* A disk of it has been opened (e NULL), or cannot be: goes on with the next one. Given to each wish. */
void restore_looked(struct attach_wish *w, const struct err *e);

/* Is it the volume that the source has, as it was, and safe to be read here? Its problems are added. */
void restore_compare(struct restore *x, struct restoring *one);

/* All have been looked at: the verdict is the answer. */
void restore_judge(struct restore *x);

/* Attaches all of them, one after the other; detaches them again when one fails. */
void restore_attach(struct restore *x);

/* The answer is why not. */
void restore_fail(struct restore *x, const struct err *e);
