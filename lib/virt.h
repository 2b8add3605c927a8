/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * libvirt: the one home of it. A connection that is kept up, what happens to domains, and calls
 * that do not hold up the loop: each is a thread of its own with a deadline, for libvirt's calls
 * block, and may do so for as long as a guest, a disk or another client pleases.
 *
 * All functions are for the loop's thread, and all callbacks run there.
 */
#pragma once

#include "lib/watch.h"

#define VIRT_UUID_SIZE 37

struct virt;

enum virt_state {
	VIRT_UNKNOWN,
	VIRT_RUNNING,
	VIRT_PAUSED,
	VIRT_STOPPING, /* the guest shuts down */
	VIRT_OFF,
	VIRT_CRASHED,
	VIRT_SUSPENDED, /* by its guest's power management */
	VIRT_STATES
};

extern const char *const virt_state_names[VIRT_STATES];

struct virt_domain {
	char uuid[VIRT_UUID_SIZE];
	char *name;
	enum virt_state state;
	bool persistent; /* it is defined: it is there also when it does not run */
};

/* --- what happens ----------------------------------------------------------------------------- */

enum virt_event_kind {
	VIRT_DOMAIN_CHANGED, /* defined, undefined, started, ...: `what` says which */
	VIRT_DEVICE_REMOVED, /* the guest let go of `device`: it is gone */
	VIRT_DEVICE_KEPT,    /* the guest refused */
	VIRT_JOB_DONE,       /* a save, a migration, ... ended; `success` */
	VIRT_MIGRATION_PASS, /* `pass` over the memory begins */
};

struct virt_event {
	enum virt_event_kind kind;
	char uuid[VIRT_UUID_SIZE];
	const char *name;   /* of the domain */
	const char *what;   /* "started" */
	bool migrated;      /* ... because of a migration */
	const char *device; /* its alias */
	bool success;
	unsigned int pass;
	uint64_t downtime_ms; /* of a migration that is done; 0: not known */
};

struct virt_listener {
	/* The connection is there, and events come. */
	void (*up)(void *arg);
	/* It is not (any more). Told once until it is up again. */
	void (*down)(void *arg, const struct err *why);
	void (*event)(void *arg, const struct virt_event *event);
};

/*
 * Connects to `uri`, and again whenever that ends. `listener` is kept, not copied. NULL with e set.
 * One at a time in a process.
 */
struct virt *virt_new(struct watch_loop *loop, const char *uri,
	const struct virt_listener *listener, void *arg, struct err *e);

/* Calls that have not ended never tell of it. NULL is allowed. */
void virt_free(struct virt *v);

bool virt_is_up(const struct virt *v);
const char *virt_uri(const struct virt *v);

/* --- calls ------------------------------------------------------------------------------------ */

/* Which definition of a domain: that of the running one, that from which it starts next. */
enum virt_which { VIRT_LIVE = 1, VIRT_CONFIG = 2 };

enum virt_op {
	VIRT_LIST,         /* all domains -> domains */
	VIRT_LOOK,         /* domain -> domains: one, or none when there is none such */
	VIRT_CAPABILITIES, /* -> capabilities */
	VIRT_DEFINITIONS,  /* domain -> live, config */
	/*
	 * domain, which (one), alias, text, metadata: it has this device, once, and this
	 * description. Nothing where the domain has no such definition.
	 */
	VIRT_PLUG,
	/* The same, it has it not. LIVE -> asked: whether the guest was, and an event will say. */
	VIRT_UNPLUG,
	VIRT_DESCRIBE, /* domain, which (one), metadata */
	VIRT_DEFINE,   /* text: the domain's XML */
	/* domain -> live, config: the definitions as another host's libvirt takes them */
	VIRT_MIGRATABLE,
	/*
	 * domain, destination, address (may be NULL), text, config (may be NULL): moves the running
	 * domain, its definition with it where it has one. Ends when it runs there, or failed.
	 */
	VIRT_MIGRATE,
	VIRT_PROGRESS, /* domain -> domains as of LOOK, progress */
	VIRT_STOP_JOB, /* domain: what goes on with it (a migration) is to be given up */
	/*
	 * domain, which runs: it stops and runs on. libvirt, which waits for a QEMU that has moved to stop,
	 * and has missed that it did and has been given up since, sees then that it has.
	 */
	VIRT_NUDGE,
	/*
	 * domain, which (LIVE), alias: it lives elsewhere now, so that what has this device here ends,
	 * whether it runs or not; with `destination`, so does its definition.
	 */
	VIRT_LEAVE,
	VIRT_OPS
};

#define VIRT_METADATA_URI "https://iovd.org/xmlns/domain/1"
#define VIRT_METADATA_KEY "iovd"

struct virt_ask {
	enum virt_op op;
	enum virt_which which;
	const char *domain;      /* its UUID */
	const char *alias;       /* of a device, "ua-..." */
	const char *text;        /* XML */
	const char *metadata;    /* XML of our namespace; "": none */
	const char *destination; /* another libvirt's URI, as this host's libvirtd reaches it */
	const char *address;     /* "tcp://HOST": where the VMMs talk to each other */
	const char *config;      /* the XML that it starts from next, there */
	uint64_t deadline_ms;    /* 0: VIRT_DEADLINE_MS */
};

#define VIRT_DEADLINE_MS ((uint64_t)20000)

/* What goes on with a domain. */
struct virt_progress {
	bool active; /* a job does */
	uint64_t total_bytes, left_bytes;
	uint64_t downtime_ms; /* expected; 0: not known yet */
	uint64_t passes;
};

struct virt_answer {
	struct virt_domain *domains;
	size_t count;
	char *live, *config; /* XML; NULL: it does not run, is not defined */
	char *capabilities;  /* XML of the host's */
	bool asked;
	struct virt_progress progress;
};

/* `answer` is the call's; NULL when e says why not. A call past its deadline (ERR_TIMED_OUT) may
 * still have its effect later. */
typedef void virt_done_fn(void *arg, const struct virt_answer *answer, const struct err *e);

struct virt_call;

/* Strings are copied. done() is called once, from the loop; NULL with e set: never. */
struct virt_call *virt_do(
	struct virt *v, const struct virt_ask *ask, virt_done_fn *done, void *arg, struct err *e);

/* done() will not be called. */
void virt_forget(struct virt_call *call);
