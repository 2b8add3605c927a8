/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The inside of daemon/faults*.c. daemon/faults.c has the theory of operation. */
#pragma once

#include "daemon/daemon.h"
#include "daemon/faults.h"
#include "daemon/registry.h"
#include "lib/iommu/aer.h"
#include "lib/iommu/fault.h"
#include "lib/kmsg.h"

#define FAULTS_MAX       1000 /* kept; then the oldest goes */
#define FAULTS_FLUSH_MS  500  /* from a change to the store */
#define FAULTS_ALIKE_MS  60000
#define FAULTS_FRESH_MS  10000 /* in which a device gets ... */
#define FAULTS_FRESH_MAX 16    /* so many entries of a kind; the rest is counted in the last */
#define FAULTS_LOOK_BACK 64    /* entries, for one that is alike */
#define FAULTS_OF_MAX    10    /* that `show` has of a device */
#define FAULTS_IDS_MAX   ((size_t)(1 + ATTACHMENT_MAX_COMPANIONS) * PCI_ADDR_MAX)

/* What kind of address it was, as far as iovd knows. */
enum fault_class {
	FAULT_CLASS_NONE, /* it has no address */
	FAULT_CLASS_UNMAPPED,
	FAULT_CLASS_RAM,
	FAULT_CLASS_RESERVED,
	FAULT_CLASS_BAR,
	FAULT_CLASSES
};
extern const char *const fault_class_names[FAULT_CLASSES];

/* One line of the list: a fault, and those like it that came right after. */
struct fault_entry {
	struct list_node node;
	int64_t seq;
	uint64_t time_ms, latest_ms; /* of the wall clock */
	uint64_t count, suppressed;
	char source[16], code[24];
	char device[PCI_ADDR_MAX]; /* "": not known */
	char vm[REGISTRY_NAME_MAX], attachment[KEEPER_ID_SIZE];
	int64_t stream, pasid; /* -1: none */
	char iova[20];         /* "0x1f"; "": none */
	char class[12];        /* "": no address */
	char access[12];       /* "": no access */
	char reason[FAULT_REASON_MAX + 64];
	char raw[FAULT_RAW_MAX * 20]; /* "0x1 0x2" */
	bool is_dirty, is_new;        /* not in the store as it is; not at all */
};

/* A stream of the host, or a range of addresses of a device. */
struct fault_stream {
	char id[PCI_ADDR_MAX];
	struct pci_addr addr;
	uint16_t requester;
	bool has_stream_id;
	uint32_t stream_id;
};
struct fault_range {
	uint64_t start, end;
};
struct fault_map {
	struct fault_stream *streams;
	size_t stream_count, stream_room;
	struct fault_range *bars;
	size_t bar_count, bar_room;
};

/* A function whose error counters are known. */
struct fault_counters {
	struct list_node node;
	char id[PCI_ADDR_MAX];
	struct aer_facts facts;
};

#define FAULTS_HINTS_MAX 16

struct faults {
	struct daemon *d;
	struct list_node entries; /* oldest first */
	size_t entry_count;
	int64_t next_seq;
	struct watch *flush;
	bool flush_is_due;

	/* faults_source.c */
	struct kmsg *kmsg;
	struct watch *kmsg_watch, *pause;
	struct fault_reader reader;
	char boot[40];
	uint64_t kept_number; /* that the store has */
	uint64_t next_number; /* of the record that comes next */
	bool has_number;      /* next_number is known */
	bool is_behind;       /* what is read is older than this daemon */
	bool is_open;
	struct err blind; /* why it is not */
	uint64_t records, unseen, suppressed;

	/* faults_map.c */
	struct fault_map map;
	bool map_is_old;
	uint64_t map_ms;

	faults_listener_fn *listener;
	void *listener_arg;

	struct watch *dead;  /* faults_dead.c */
	struct watch *guard; /* faults_policy.c */

	/* faults_errors.c */
	struct list_node counters;
	struct watch *errors;
	char hints[FAULTS_HINTS_MAX][PCI_ADDR_MAX];
	unsigned int hint_count;
};

/* --- faults.c --------------------------------------------------------------------------------- */

/* A fault that came at this time. */
void faults_take(struct faults *f, const struct fault *fault, uint64_t time_ms);

/* An entry, but for its number / the same where one like it is only counted. */
void faults_tell(struct faults *f, const struct fault_entry *like);
void faults_add(struct faults *f, const struct fault_entry *like);

/* The kernel left out `count` of a source. */
void faults_suppressed(struct faults *f, enum fault_source source, uint64_t count);

/* The kernel's log lost `count` records before they were read. */
void faults_lost(struct faults *f, uint64_t count);

/* An entry, or only the number of the log's next record, is to be stored. */
void faults_touch(struct faults *f, struct fault_entry *entry);
void faults_flush_soon(struct faults *f);

/* --- faults_source.c -------------------------------------------------------------------------- */

void faults_source_open(struct faults *f);
void faults_source_close(struct faults *f);

/* --- faults_map.c ----------------------------------------------------------------------------- */

/* Finds whose a fault is: device, VM, attachment. */
void faults_place(struct faults *f, const struct fault *fault, struct fault_entry *entry);
/* The attachment that has the device, or NULL. */
struct attachment *faults_attachment(const struct faults *f, const char *device);
enum fault_class faults_classify(
	struct faults *f, const struct fault *fault, const struct fault_entry *entry);
void faults_map_release(struct faults *f);

/* Whether `id` is the attachment's device, its PF, or above either. */
bool faults_concerns(const struct faults *f, const struct attachment *a, const char *id);
/* All functions of it, with commas between them: words for a hand. */
void faults_ids_of(const struct attachment *a, char ids[static FAULTS_IDS_MAX]);
/* The entry's attachment is this one. */
void faults_name(struct fault_entry *entry, const struct attachment *a);

/* --- faults_told.c ---------------------------------------------------------------------------- */

/* Tells the listener, of each attachment that `id` concerns / of this one. */
void faults_report(struct faults *f, const char *id, enum faults_what what, uint64_t count);
void faults_report_of(
	struct faults *f, struct attachment *a, enum faults_what what, uint64_t count);

/* --- faults_dead.c ---------------------------------------------------------------------------- */

int faults_dead_new(struct faults *f, struct err *e);
void faults_dead_free(struct faults *f);
/* Whether those that `id` concerns still answer is looked at now. */
void faults_dead_look(struct faults *f, const char *id);

/* --- faults_policy.c -------------------------------------------------------------------------- */

int faults_policy_new(struct faults *f, struct err *e);
void faults_policy_free(struct faults *f);
/* Those that an earlier daemon gave up stay so. */
void faults_policy_begin(struct faults *f);

/* A fault of `a` came / `count` more of a source were left out. */
void faults_policy_fault(struct faults *f, struct attachment *a);
void faults_policy_left_out(struct faults *f, struct attachment *a, uint64_t count);

/* It does not answer any more. */
void faults_policy_dead(struct faults *f, struct attachment *a);

/* --- faults_errors.c -------------------------------------------------------------------------- */

int faults_errors_new(struct faults *f, struct err *e);
void faults_errors_begin(struct faults *f);
void faults_errors_free(struct faults *f);
/* Its counters are to be read. */
void faults_errors_hint(struct faults *f, const char *id);
void faults_errors_forget(struct faults *f, const char *id);

/* --- faults_store.c --------------------------------------------------------------------------- */

/* Reads all that is kept, and the number of the log's record that comes next. */
int faults_load(struct faults *f, struct err *e);
/* Writes what is dirty, in one transaction with that number. */
int faults_keep(struct faults *f, struct err *e);
