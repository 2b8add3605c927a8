/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The attachments: what each is, in the store; what state it is in, here. This is the one place
 * where an attachment changes state, along a table of edges; every change is told on the event bus.
 */
#pragma once

#include <limits.h>
#include <sys/types.h>

#include "daemon/keeper_api.h"
#include "lib/backends/session_page.h"
#include "lib/backends/vu_wire.h"
#include "lib/list.h"
#include "lib/pci.h"
#include "lib/store.h"
#include "lib/vf_settings.h"
#include "proto/json.h"

#define REGISTRY_NAME_MAX 33 /* as name_is_valid(), with its NUL */

struct attach_op;
struct events;
struct incoming;
struct registry;

enum attachment_state {
	ATTACHMENT_PREPARING,
	ATTACHMENT_READY,
	ATTACHMENT_ACTIVE,
	ATTACHMENT_QUIESCED,
	ATTACHMENT_HELD,
	ATTACHMENT_RECOVERING,
	ATTACHMENT_INCOMING,
	ATTACHMENT_AWAY,
	ATTACHMENT_FAILED,
	ATTACHMENT_DETACHING,
	ATTACHMENT_STATES
};

extern const char *const attachment_state_names[ATTACHMENT_STATES];

/* May it go from one to the other? */
bool attachment_edge(enum attachment_state from, enum attachment_state to);

/* How the VM gets at the device. The numbers are in the store. */
enum attachment_path {
	ATTACHMENT_PARAVIRT,
	ATTACHMENT_PASSTHROUGH,
	ATTACHMENT_EMULATED,
	ATTACHMENT_PATHS
};

extern const char *const attachment_path_names[ATTACHMENT_PATHS];

#define ATTACHMENT_MAX_COMPANIONS 31

#define PASSTHROUGH_SERIAL_SIZE 20

/* What is done about a storm of faults (daemon/faults_policy.c). The numbers are in the store. */
enum attachment_on_fault { ON_FAULT_REPORT, ON_FAULT_BLOCK, ON_FAULTS };

extern const char *const attachment_on_fault_names[ON_FAULTS];

/* What passing a device through has to remember of it. */
struct attachment_passthrough {
	enum attachment_on_fault on_fault;
	char serial[PASSTHROUGH_SERIAL_SIZE]; /* that the device says it has; "": not known */
	/* Functions of its group that go with it; the first `companion_count` of them. */
	char companions[ATTACHMENT_MAX_COMPANIONS][PCI_ADDR_MAX];
	unsigned int companion_count;
	char group_type[24]; /* that its group gets back, "identity"; "": the one it has */
	/* Given though it cannot be reset: while the host has this boot id nobody else gets it. */
	char no_reset_boot[40];
};

/*
 * How far a virtual function and its standby are from being a pair (daemon/attach_passthrough.c). The
 * numbers are in the store.
 */
enum attachment_pair {
	PAIR_WHOLE,
	PAIR_LEAVING, /* the function is being taken out of the machine */
	PAIR_APART,   /* the standby is alone: `device` is what left, and nobody's */
	PAIR_JOINING, /* `device` is being put into the machine */
	PAIRS
};

/* What giving a virtual function has to remember of it (daemon/vf_given.h). */
struct attachment_vf {
	char pool[256];              /* the rule that it was chosen by; "": it was named */
	struct vf_settings settings; /* that it has while it is given */
	struct vf_settings before;   /* that it gets back; nothing: not known yet */
	char standby
		[48]; /* "bridge:br0", "direct:eth0": what a virtio card with the same MAC is on,
			     which carries on without it; "": there is none */
	enum attachment_pair pair;
	char left[80];       /* why the last one that left did; "": none has */
	unsigned int leaves; /* how many have */
};

/* Of the interface of a VF's PF; NONE: it is no VF of an interface. */
enum attachment_link {
	ATTACHMENT_LINK_NONE,
	ATTACHMENT_LINK_UP,
	ATTACHMENT_LINK_DOWN,
	ATTACHMENT_LINKS
};

enum attachment_cache { ATTACHMENT_CACHE_NONE, ATTACHMENT_CACHE_WRITEBACK, ATTACHMENT_CACHES };

extern const char *const attachment_cache_names[ATTACHMENT_CACHES];

/* What becomes of a request that the host cannot do. The numbers are in the store. */
enum attachment_on_error { ON_ERROR_REPORT, ON_ERROR_HOLD, ON_ERRORS };

extern const char *const attachment_on_error_names[ON_ERRORS];

#define ATTACHMENT_SPARES_MAX 4
#define ATTACHMENT_FENCE_SIZE 1024

/* What is done by itself when its disk fails (daemon/spare.h, daemon/fence.h). */
struct attachment_rescue {
	/* Devices as .device, other paths to the same volume; the first one's turn is next. */
	char spares[ATTACHMENT_SPARES_MAX][PATH_MAX];
	unsigned int spare_count;
	char fence[ATTACHMENT_FENCE_SIZE]; /* a program and its words, parted by blanks; "": none */
	uint64_t io_timeout_ms;            /* 0: a request may take for ever */
	unsigned int allow;                /* enum recover_allow: what spares need not show */
};

/*
 * What an attachment is: fixed when it is made, but for its device, which recover or a failover may
 * change, and with it its spares. Kept in the store, and with its worker.
 */
struct attachment_spec {
	char id[KEEPER_ID_SIZE]; /* "a1": never used again */
	char vm[REGISTRY_NAME_MAX];
	char domain[37]; /* UUID of the libvirt domain that it is; "": nobody's */
	char target
		[16]; /* of a domain's disk: "vda"; of its emulated interface: how it is joined */
	char name[REGISTRY_NAME_MAX];  /* of the device, for the VM */
	char device[PATH_MAX];         /* the id that the inventory has for it */
	char node[PATH_MAX];           /* what is opened; "" when passed through */
	char owner[REGISTRY_NAME_MAX]; /* user whose the socket, or the VFIO node, is */
	enum attachment_path path;
	struct attachment_passthrough passthrough;
	struct attachment_vf vf;
	enum attachment_cache cache;
	enum attachment_on_error on_error;
	struct attachment_rescue rescue;
	char fingerprint
		[33]; /* of the device: another may be there after a reboot; "": not known */
	unsigned int queues;
	bool readonly;
};

/* Which disk was opened: by number, or where it is no block device, by file. */
struct attachment_disk {
	uint64_t fs, inode, number;
	bool is_direct; /* it can do without the page cache */
};

/* Who may do I/O for the VM while it moves (daemon/baton.h). */
enum attachment_baton {
	BATON_HERE,
	BATON_ARMED,  /* here, until the VMM stops */
	BATON_AWAY,   /* another host's */
	BATON_COMING, /* another host's still, which is about to hand it over */
};

/* As the store has it: how far its making or unmaking got. */
enum attachment_kept { KEPT_PREPARING, KEPT_ATTACHED, KEPT_DETACHING };

/* What has come of ending its path (daemon/fence.h), while requests are to be carried. */
enum attachment_fencing {
	FENCING_NONE,
	FENCING_RUNS,
	FENCING_FAILED,
	FENCING_UNKNOWN, /* an earlier daemon has begun it */
	FENCING_DONE
};

/* The lease on its volume, if it has one (daemon/lease.h). */
struct attachment_lease {
	int fd;       /* the keeper's description, which the locks are of; -1: none */
	bool is_ours; /* as far as is known: after a start it is taken again */
	bool is_busy; /* a hand is at it */
	bool is_none; /* the volume that was asked about can hold none */
	struct attachment_disk asked;
	bool is_early; /* it was asked when whoever had it before may not have passed it on yet */
	uint64_t epoch, again_ms;
};

/* Faults of late, and what was done about them (daemon/faults_policy.c). */
struct attachment_storm {
	uint64_t began_ms; /* of the window, for which both are counted */
	uint64_t seen, left_out;
	uint64_t blocked_ms;   /* when it was blocked last; 0: never */
	unsigned int blocks;   /* in a row */
	bool is_being_blocked; /* a hand is at it */
	bool is_given_up;      /* it stays blocked, until it is made as new */
	bool is_dead;          /* it does not answer */
	bool is_looked_at;     /* a hand finds out whether it does */
	char action[200];      /* what a person has to do; or "" */
};

/* How its spares take turns (daemon/spare.c). */
struct attachment_turn {
	bool is_busy; /* one of them is being looked at, or takes over */
	bool used;    /* one has */
	uint64_t again_ms, delay_ms;
	uint64_t completed; /* requests, when the last one took over */
	char reason[160];   /* of the hold before that */
	char failure[160];  /* why none could take over; or "" */
};

struct attachment {
	struct list_node node; /* in the registry, by number */
	struct attachment_spec spec;
	enum attachment_kept kept;
	enum attachment_state state;
	char reason[160]; /* of ATTACHMENT_FAILED, _HELD; why _RECOVERING takes long; else of what
			     is late; or "" */
	struct keeper_item worker; /* what the keeper last said */
	char failure[160];         /* why its worker could not start; or "" */
	int page_fd;               /* the session page, or -1 */
	int backing_fd;            /* the vault's description of the disk, or -1: never for I/O */
	struct attachment_disk disk;
	uint64_t disk_bytes;
	bool disk_changes;  /* recover is at it: which disk is in the vault is not known yet */
	bool disk_unknown;  /* what is in the vault cannot be looked at: before the next worker */
	bool vault_is_void; /* what it holds cannot be trusted: to be made anew */
	bool busy;          /* an operation is at it */
	struct attach_op *renewal; /* that operation, if it is one that a detach waits for */
	/* passthrough */
	pid_t vmm_pid; /* who has it open, or 0 */
	bool has_cdev; /* it can be opened by a node of its own, besides its group's */
	struct attachment_storm storm;
	bool is_untrusted; /* it could not be reset, or was not as it should be afterwards */
	enum attachment_link link;
	struct attachment_turn turn;
	bool was_held; /* since then it has not served */
	/* Told of everything the keeper says about its worker; NULL: nobody waits. */
	void (*on_worker)(void *arg);
	void *on_worker_arg;
	bool restoring; /* with others, of which not all are there yet: after a crash it goes again */
	struct incoming
		*incoming; /* what its first worker begins with (daemon/iostate.h), or NULL */
	enum attachment_baton baton;
	struct attachment_lease lease;
	/* The gate (daemon/quiesce.h, daemon/baton.h). */
	bool gating;                     /* quiesce or resume is at it */
	bool quiesced;                   /* as the store has it */
	bool connected;                  /* when it was last looked at */
	unsigned int gate;               /* what is wanted: SESSION_GATE_... */
	uint64_t gate_word;              /* what its worker has to hear for that; 0: nothing yet */
	enum attachment_fencing fencing; /* of its path, for quiesce or a move */
	uint64_t tripped_ms; /* since when its VMM is seen to wait (daemon/baton_carry.c), or 0 */
	void (*on_gate)(
		void *arg); /* told when it may have heard, or done so; NULL: nobody waits */
	void *on_gate_arg;
	/* for the supervisor */
	unsigned int failed_starts; /* generations in a row that never came to serve */
	uint64_t try_again_ms;      /* when a start is due; 0: none is */
};

/* `runtime_dir` is kept, not copied. */
struct registry *registry_new(
	struct store *store, struct events *events, const char *runtime_dir, struct err *e);
void registry_free(struct registry *r);

struct store *registry_store(const struct registry *r);
struct list_node *registry_list(struct registry *r); /* of struct attachment */
struct attachment *registry_by_id(struct registry *r, const char *id);
struct attachment *registry_by_name(struct registry *r, const char *vm, const char *name);

/* By id, "vm/name", or a name that only one has; NULL with e set. */
struct attachment *registry_find(struct registry *r, const char *name, struct err *e);

/* Whether a device of this id is its own, itself or as a companion: not one that has left it. */
bool attachment_has(const struct attachment *a, const char *device);

/* Whether any attachment is of this VM. */
bool registry_has_vm(struct registry *r, const char *vm);

/* The VM that is called so, or is the libvirt domain of this UUID, if it has any; or NULL. */
const char *registry_find_vm(struct registry *r, const char *name);

/* An id that was never used. */
void registry_next_id(const struct registry *r, char id[KEEPER_ID_SIZE]);

/* A new attachment in memory only, in state preparing (KEPT_PREPARING). */
struct attachment *registry_add(
	struct registry *r, const struct attachment_spec *spec, struct err *e);

/* Forgets it here, closing what it holds; says "removed". */
void registry_remove(struct registry *r, struct attachment *a);

/* `reason` is for ATTACHMENT_FAILED (else NULL). The edge must exist; no change, no event. */
void registry_set_state(
	struct registry *r, struct attachment *a, enum attachment_state state, const char *reason);

/* Another link is told; no change, no event. */
void registry_set_link(struct registry *r, struct attachment *a, enum attachment_link link);

/* Looks into the session page: in what state it is that way. */
void registry_look(struct registry *r, struct attachment *a);

/* --- registry_store.c: what is kept ----------------------------------------------------------- */

extern const struct store_schema registry_schema;

/* All attachments that are kept become attachments here, in state recovering or detaching. */
int registry_load(struct registry *r, struct err *e);

int registry_keep(struct registry *r, const struct attachment *a, struct err *e);
/*
 * Another function is with its standby now, or none: all that is about the function, and how far the
 * pair is. In a transaction of the caller's.
 */
int registry_keep_pair(struct registry *r, const struct attachment_spec *spec, struct err *e);
/* The serial number that its device has said. */
int registry_keep_serial(struct registry *r, const struct attachment *a, struct err *e);
int registry_keep_as(
	struct registry *r, struct attachment *a, enum attachment_kept kept, struct err *e);
/* `gate`: SESSION_GATE_..., 0 for open. */
int registry_keep_quiesced(
	struct registry *r, const struct attachment *a, unsigned int gate, struct err *e);
/* It goes on from a->incoming now. */
int registry_keep_incoming(struct registry *r, const struct attachment *a, struct err *e);
/* All that was restored for this VM is there: it stays, whatever dies. */
int registry_keep_restored(struct registry *r, const char *vm, struct err *e);
/* Those of the VM go again, after a crash too. */
int registry_keep_half_restored(struct registry *r, const char *vm, struct err *e);
/* It is incoming no more. */
int registry_keep_arrived(struct registry *r, const struct attachment *a, struct err *e);
/*
 * The device is another one now: spec.device, .node, .fingerprint, and its spares. In a transaction
 * of the caller's.
 */
int registry_keep_device(struct registry *r, const struct attachment_spec *spec, struct err *e);
int registry_unkeep(struct registry *r, const struct attachment *a, struct err *e);

/* --- registry_json.c: how it is shown --------------------------------------------------------- */

void attachment_put(
	const struct registry *r, const struct attachment *a, struct json_out *o, const char *key);
/* Of `show`: also the requests that are with its disk, or held; oldest first. */
void attachment_put_all(
	const struct registry *r, const struct attachment *a, struct json_out *o, const char *key);
void registry_put_list(struct registry *r, const char *vm, struct json_out *o, const char *key);

/* What is known of a VM besides what it has (daemon/domains.h). */
struct vm_facts {
	const char *name;
	const char *uuid; /* of the libvirt domain; NULL: nobody manages it */
	const char *state;
};
void registry_put_vm(
	struct registry *r, const struct vm_facts *vm, struct json_out *o, const char *key);

/* The socket for the VMM, or its folder. False when it is longer than a socket's path can be. */
bool attachment_socket_path(
	const struct registry *r, const struct attachment_spec *spec, char *path, size_t size);
void attachment_folder(
	const struct registry *r, const struct attachment_spec *spec, char *path, size_t size);

/*
 * The description of an attachment, beside the socket by which its worker is adopted: where it is
 * rebuilt from when the store is damaged, and its disk known again. Not kept by the worker, whom
 * its guest may have taken over.
 */
int attachment_describe(const struct registry *r, const struct attachment *a, struct err *e);
int attachment_read_description(const struct registry *r, const char *id,
	struct attachment_spec *spec, struct attachment_disk *disk, struct err *e);
void attachment_drop_description(const struct registry *r, const char *id);
