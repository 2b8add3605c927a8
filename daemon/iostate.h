/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Between attachments and their I/O state (lib/migrate/iostate.h): what is saved of one that rests,
 * and what another one begins with. The guest's side of it is in the session page and the in-flight
 * region, both read by pread() only: they are a worker's and a VMM's word.
 */
#pragma once

#include "daemon/attach.h"
#include "lib/backends/session_facts.h"
#include "lib/migrate/iostate.h"

struct daemon;

/*
 * The state of all attachments of a VM, to be iostate_free()d. NULL with e set: there is no such VM,
 * one of them is not quiesced (NOT-QUIESCED), its VMM has gone (NO-VMM), or it goes by a path that
 * has no state to save (PATH).
 */
struct iostate *iostate_collect(struct daemon *d, const char *vm, struct err *e);

/* The same, of those attachments that are wanted. */
struct iostate *iostate_collect_some(struct daemon *d, const char *vm,
	bool (*is_wanted)(const struct attachment *a), struct err *e);

/*
 * The same of attachments that need not rest: without rings and requests, to say what they are.
 * NULL with e set: there is no such VM, or one of them goes by a path that cannot move (PATH).
 */
struct iostate *iostate_describe(struct daemon *d, const char *vm, struct err *e);

/*
 * The same of those that can be described; each of the others is told with the reason. Without any of
 * these there may be none of those. NULL with e set: there is no such VM.
 */
typedef void iostate_unfit_fn(void *arg, const struct attachment *a, const struct err *why);
struct iostate *iostate_describe_fit(
	struct daemon *d, const char *vm, iostate_unfit_fn *unfit, void *arg, struct err *e);

/* As text for a peer or the store, to be freed; NULL without memory. */
char *iostate_to_text(const struct iostate *s);

/* An I/O state in base64: as clients send it, and as the store has it. */
struct iostate *iostate_of_text(const char *text, struct err *e);

/* What a restored attachment begins with, until its rings have arrived. */
struct incoming {
	char *text; /* all of it, for the store, where it outlives the host */
	struct session_facts facts;
	struct taken taken;
};

/* Of the n-th attachment; or of a text. */
struct incoming *incoming_new(const struct iostate *s, uint32_t n, struct err *e);
struct incoming *incoming_of_text(const char *text, struct err *e);
void incoming_free(struct incoming *in);

/* Into the fresh page and vault of `a`, before its first worker. */
int incoming_fill(struct daemon *d, const struct attachment *a, struct err *e);

/*
 * As it was when it was saved, but for the names (vm, device, node, id); of its spares it has the old.
 * 0, or -1 (STATE-VALUE).
 */
int incoming_set_spec(
	const struct iostate_attachment *saved, struct attachment_spec *spec, struct err *e);

/* As many as spec.queues has: of a network device, pairs. */
uint32_t iostate_queues(const struct iostate_attachment *saved);

/*
 * Is the disk, or network, as that one was? Each 0, or -1 (DISK-DIFFERS, NET-DIFFERS), saying what
 * differs.
 */
typedef int incoming_check_fn(
	const struct iostate_attachment *saved, const struct backing_facts *disk, struct err *e);
#define INCOMING_CHECKS 4
extern incoming_check_fn *const incoming_checks[INCOMING_CHECKS];
