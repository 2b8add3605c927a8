/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the rules say of a device, and of the host, as clients see it. */
#pragma once

#include "daemon/registry.h"
#include "daemon/rules.h"
#include "proto/json.h"

struct attach_wish;
struct daemon;

/*
 * Adds the object `key`: the paths of the device of that name, which one attach takes and why, and what
 * closes each. `vm` (may be NULL): for whom; `machine`: what is known of it (may be NULL). 0, or -1 with
 * e set: no such device.
 */
int explain_device(struct daemon *d, const char *name, const char *vm,
	const struct machine_facts *machine, struct json_out *o, const char *key, struct err *e);

/* Adds the object `key`: what of the host works, what does not, and what to change. */
void explain_host(struct daemon *d, struct json_out *o, const char *key);

/*
 * The wish is for a device of this class, by spec.path: refused by the first rule that is a refusal of
 * its own and that `allow` does not waive. The device was found fit by everything else.
 */
int explain_refuse(
	struct daemon *d, enum device_class class, const struct attach_wish *w, struct err *e);

/* The machine is to have a device by this path: refused likewise; `except` (may be NULL) is the code of a rule
 * that does not count. */
int explain_refuse_machine(struct daemon *d, const struct machine_facts *machine,
	enum attachment_path path, const char *except, struct err *e);

/* A function is to have a VFIO driver: refused as if it were attached by passthrough. */
int explain_refuse_bind(struct daemon *d, const char *id, unsigned int allow, struct err *e);

/* A VM is to move: refused by the first rule that says of a device of its that it stays. */
int explain_refuse_move(struct daemon *d, const char *vm, struct err *e);
/* The same of one of its attachments. */
int explain_refuse_move_of(struct daemon *d, const struct attachment *a, struct err *e);

/* A function that is to have (more) virtual ones: refused by the first rule that closes that. */
int explain_refuse_functions(struct daemon *d, const char *pf, struct err *e);

/* Adds an array of them, what closes first. */
void explain_put_findings(const struct findings *found, struct json_out *o, const char *key);
