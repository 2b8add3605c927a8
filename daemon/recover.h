/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Recover: the end of a hold. What the disk could not do is done again, in order, on the same device
 * opened anew, or on another one. Asked for by clients (daemon/do_recover.c), and gone on with
 * after a crash.
 */
#pragma once

#include "daemon/backing.h"
#include "daemon/nbd_volume.h"
#include "daemon/registry.h"
#include "lib/device.h"
#include "lib/migrate/stages.h"

struct daemon;

struct recover_caller {
	void (*done)(void *arg, struct attachment *a, const struct err *e); /* as stages_done_fn */
	void (*progress)(void *arg, const char *stage, unsigned int percent); /* may be NULL */
	void *arg;
};

/* What an attachment is to go on with: its spec, with another device perhaps. */
struct recover_wish {
	struct attachment_spec spec;
	enum device_class class;
	bool is_identified; /* it says itself which volume it is */
	unsigned int allow; /* enum recover_allow: RECOVER_ALLOW_NBD_LATE counts, when it starts */
	struct backing_facts facts;
	int fd; /* open; -1: to be opened */
};

/* Whether there is anything to recover: requests are held, or no worker can serve. */
bool recover_is_due(const struct attachment *a);

/* Goes on with wish->fd, which is consumed. -1: nothing was done. */
int recover_start(struct daemon *d, struct attachment *a, struct recover_wish *wish,
	const struct recover_caller *caller, struct err *e);

/* What the journal has open for `a`. */
extern const char recover_verb[];
int recover_go_on(struct daemon *d, struct attachment *a, const struct journal_op *op,
	const struct recover_caller *caller, struct err *e);

/* --- recover_check.c -------------------------------------------------------------------------- */

/* Checks that --allow waives. The numbers are in the store. */
enum recover_allow {
	RECOVER_ALLOW_STALE = 1, /* STALE-SPARE */
	RECOVER_ALLOW_LATE = 2,  /* LATE-WRITE */
	RECOVER_ALLOW_NBD_LATE = 4,
};

/* The one of this code (len bytes), or 0. */
unsigned int recover_find_allow(const char *code, size_t len);

/* Codes with commas between (NULL: none), added to *allow. 0, or -1: there is no such code. */
int recover_read_allow(const char *codes, unsigned int *allow, struct err *e);

/* The disk that is to be succeeded, as far as it is known. */
struct recover_before {
	const struct attachment_spec *spec;
	struct attachment_disk disk;
	uint64_t sectors;    /* as the guest knows it; 0: it was told nothing */
	uint32_t block_size; /* the same */
	struct nbd_end end;  /* of a volume that was ended already */
};

/* Of an attachment, as it is now. */
void recover_look_before(const struct attachment *a, struct recover_before *before);

/*
 * May the disk that was opened take over? It must have the sizes that the guest knows (DEV-SIZE), be
 * another path to the same volume (STALE-SPARE), and nothing of the old path may be written late
 * (LATE-WRITE, NBD-LATE). `allow`: enum recover_allow. 0 or -1.
 */
int recover_check(const struct recover_before *before, const struct recover_wish *wish,
	unsigned int allow, struct err *e);

/* How the volume before ended: -1 if something may be done later (NBD-LATE), and that is not waived. */
int recover_check_end(const struct attachment_spec *before, const struct nbd_end *end,
	unsigned int allow, struct err *e);

/* It is the very disk that the attachment has open. */
bool recover_is_same_disk(const struct attachment *a, const struct backing_facts *facts);
