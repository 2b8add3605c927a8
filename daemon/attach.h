/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Making and unmaking attachments: the stages (lib/migrate/stages.h), by which a crash at any
 * point leaves the host as before or as after. Asked for by clients (daemon/do_attach.c), and gone
 * on with after a crash (daemon/reconcile.c).
 *
 * By which path a device is given is a row of attach_paths[]: what fits it, what is looked at
 * before, and the stages both ways (daemon/attach_PATH.c).
 */
#pragma once

#include "daemon/backing.h"
#include "daemon/registry.h"
#include "lib/device.h"
#include "lib/migrate/stages.h"

struct daemon;

/* How it ended, as stages_done_fn; afterwards a rolled back or detached one does not exist. */
typedef void attach_done_fn(void *arg, struct attachment *a, const struct err *e);

/* What stage begins; may be NULL. */
typedef void attach_progress_fn(void *arg, const char *stage, unsigned int percent);

struct attach_caller {
	attach_done_fn *done;
	attach_progress_fn *progress;
	void *arg;
};

/* Codes of refusals that `allow` waives, and what it means to. */
enum attach_allow {
	ATTACH_ALLOW_GROUP = 1,    /* GRP-SPLIT: the whole group goes to the VM */
	ATTACH_ALLOW_NO_RESET = 2, /* DEV-NO-RESET: given for good, until the host is rebooted */
	ATTACH_ALLOW_CONSOLE = 4,  /* HOST-CONSOLE: the host does without its screen */
	ATTACH_ALLOW_UNKNOWN = 8,  /* DEV-UNKNOWN: nobody knows who had it */
};

/* The bit of a code of `len` bytes; 0 if it cannot be waived. */
unsigned int attach_allow_of(const char *code, size_t len);

/* One of the functions that are passed through together. */
struct passthrough_function {
	char id[PCI_ADDR_MAX];
	char driver[DEVICE_DRIVER_MAX]; /* that it has now */
	char reset[16];                 /* passthrough_reset_way() */
};

/* --- before: what is asked for, and what there is --------------------------------------------- */

struct attach_wish;
typedef void attach_wish_fn(struct attach_wish *w, const struct err *e);

/* Of one that waits for its baton, by lease (daemon/baton_lease.c). */
struct attach_coming {
	int lease_fd; /* the description that claims its volume; -1: it needs none */
};

/* An attachment that is wished for. Nothing of the host is changed for it yet. */
struct attach_wish {
	struct daemon *d;
	struct attachment_spec spec;
	unsigned int allow; /* enum attach_allow */
	const char
		*standby; /* an interface by name, for a VF; NULL: none. Until choose() is over */
	/* Of look(): the device was looked at (e is NULL), or cannot be given so. */
	attach_wish_fn *done;

	/* of a libvirt domain */
	attach_wish_fn *domain_done; /* of attach_domain_look() */
	bool fix;                    /* its definition may be mended */
	bool dry_run;
	bool is_defined; /* its definition has it already */
	bool is_coming;  /* `coming` is its: its gate is shut, and it goes after a crash */
	struct attach_coming coming;

	/* paravirt: what look() found; the descriptor is the wish's until take() */
	struct backing_facts disk;
	int disk_fd; /* -1: none */

	/* passthrough: what choose() found */
	struct passthrough_facts {
		int64_t group;
		char type[24];
		struct passthrough_function functions[1 + ATTACHMENT_MAX_COMPANIONS];
		size_t count;
	} facts;
};

/* Paths as rows. */
struct attach_path {
	/* Whether `auto` picks it for the device, and for which devices that is, in words. */
	bool (*fits)(const struct device *device);
	const char *fits_what;
	bool only_asked; /* `auto` never picks it */

	/* Both ways; and how it is made as new while it is attached (NULL: never). */
	const struct stages_table *attach, *detach, *renew;
	/* Both ways, of a libvirt domain that is to have it in its definitions, too. */
	const struct stages_table *attach_domain, *detach_domain;
	/* A domain's device goes, and its standby stays; one comes to it (NULL: no standby). */
	const struct stages_table *leave, *join;

	/* Fills in what the path needs to know of the device, or refuses. Does not wait. */
	int (*choose)(const struct device *device, struct attach_wish *w, struct err *e);
	/* Looks at the device itself, and calls w->done(), now or later; -1: never. */
	int (*look)(struct attach_wish *w, struct err *e);
	/* What it is to come to, as lines of text in an open array. */
	void (*put_plan)(const struct attach_wish *w, struct json_out *o);
	/* `a`, made of the wish, takes over what look() found. NULL: nothing. */
	void (*take)(struct attachment *a, struct attach_wish *w);

	/* ERR_BUSY, or refused: it cannot be taken back now. NULL: it always can. */
	int (*may_detach)(struct daemon *d, struct attachment *a, struct err *e);
	/* An operation is over, and it is attached (still): looks after it from now on. `failed`: why
	 * it could not be renewed or taken back. */
	void (*keep_up)(struct daemon *d, struct attachment *a, const struct err *failed);
	/* The daemon has started, and it was attached before. NULL: the supervisor does it. */
	void (*adopt)(struct daemon *d, struct attachment *a);
};

extern const struct attach_path *const attach_paths[ATTACHMENT_PATHS];

/* Closes what it still holds. */
void attach_wish_release(struct attach_wish *w);

/* --- the choice: attach_choice.c --------------------------------------------------------------- */

/* What a name means, and by which path it goes. */
struct attach_choice {
	const struct device *device; /* the inventory's: for an interface, the function below it */
	enum attachment_path path;
	bool is_below;      /* it is not the device of that name, but the one that carries it */
	const char *reason; /* why this path, a sentence without its subject */
};

/*
 * `path`: that is asked for; NULL or "auto": the first that is for such a device. This is the choice of
 * attach, and the one that explain tells. -1: no such device, or code PATH.
 */
int attach_choose(struct daemon *d, const char *name, const char *path, struct attach_choice *c,
	struct err *e);

/* --- doing it --------------------------------------------------------------------------------- */

/*
 * Attaches `a`, which is in the registry with what look() found, or takes it away (when it has been
 * renewed, if that is what goes on). -1: nothing was done; `a` is still there.
 */
int attach_start(
	struct daemon *d, struct attachment *a, const struct attach_caller *caller, struct err *e);
/* The same where a libvirt domain's definitions are to have it as well. */
int attach_start_domain(
	struct daemon *d, struct attachment *a, const struct attach_caller *caller, struct err *e);
int detach_start(
	struct daemon *d, struct attachment *a, const struct attach_caller *caller, struct err *e);

/* Makes it as new, in state recovering. What comes of it the path's keep_up() hears. */
void attach_renew(struct daemon *d, struct attachment *a);

/*
 * The function of a pair is taken out of the machine, because of a->spec.vf.left, and is nobody's
 * afterwards (or quarantined); that goes on until it is done. / `spec`, which is a->spec but for the function,
 * comes to be; or it stays as it was. -1: nothing was begun.
 */
int attach_leave(struct daemon *d, struct attachment *a, bool quarantine,
	const struct attach_caller *caller, struct err *e);
int attach_join(struct daemon *d, struct attachment *a, const struct attachment_spec *spec,
	const struct attach_caller *caller, struct err *e);

/* What the journal has open for `a`. */
int attach_resume(struct daemon *d, struct attachment *a, const struct journal_op *op,
	const struct attach_caller *caller, struct err *e);

/* --- libvirt's domains: attach_domain.c ------------------------------------------------------- */

/*
 * Is the domain w->spec.domain fit for it? Tells done(), later; -1: never.
 */
int attach_domain_look(struct attach_wish *w, attach_wish_fn *done, struct err *e);

struct domain;
struct domain_description;

/*
 * Makes an attachment of a domain whose XML describes it; that XML stays as it is. Tells done(),
 * later; -1: never. `coming` (or NULL): it arrives by lease; what that has is consumed.
 */
int attach_described(struct daemon *d, const struct domain *domain,
	const struct domain_description *one, const struct attach_coming *coming,
	void (*done)(void *arg, const struct err *e), void *arg, struct err *e);

/* What it is doing is another thing now: attach_emulated.c. */
void attach_domain_changed(struct daemon *d, const char *uuid);

/* libvirt has it no more: all that it had is taken back. */
void attach_domain_gone(struct daemon *d, const char *uuid);

/* A move of this VM is over: what libvirt has no domain for here is taken back. */
void attach_domain_check(struct daemon *d, const char *vm);

/* It came from elsewhere: the same, and its description says what its devices are called here. */
void attach_domain_arrived(struct daemon *d, const char *vm);

/* All domains are known (again): what is of none of them is taken back. */
void attach_domains_listed(struct daemon *d);

/* --- paravirt: attach_paravirt.c -------------------------------------------------------------- */

/* Makes an attachment serve that has neither worker nor vault (any more): a new socket, a fresh
 * vault. The supervisor hears of what comes of it. */
void attach_revive(struct daemon *d, struct attachment *a);

/* The folders of sockets that no attachment has. */
void attach_sweep_sockets(struct daemon *d);
