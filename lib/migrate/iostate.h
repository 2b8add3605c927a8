/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The I/O state of a virtual machine: what must travel with it, besides what its VMM takes along.
 * Bytes to structs and back, no I/O; iostate_file.h has the file, iostate.c the theory of operation
 * and the exact layout, iovd-iostate(5) the same for people. No state of its own; thread safe.
 *
 * The bytes are hostile until iostate_decode() has returned: then everything in the structs is
 * within the bounds that are written here, and fits together (iostate_check.c).
 */
#pragma once

#include "lib/buf.h"
#include "lib/err.h"
#include "lib/util.h"

#define IOSTATE_VERSION         3u
#define IOSTATE_LOWEST          1u /* whose readers get by without what came later */
#define IOSTATE_MAX_BYTES       ((size_t)16 << 20) /* of a file */
#define IOSTATE_MAX_ATTACHMENTS 256u
#define IOSTATE_MAX_RINGS       64u
#define IOSTATE_MAX_RING_SIZE   1024u
#define IOSTATE_MAX_REQUESTS    (IOSTATE_MAX_RINGS * IOSTATE_MAX_RING_SIZE)
#define IOSTATE_MAX_SPARES      4u
#define IOSTATE_MAX_IO_TIMEOUT  86400000u /* ms */

#define IOSTATE_F_PACKED (1ull << 34) /* VIRTIO_F_RING_PACKED, in `acknowledged` */

/* Codes of refusals (`iovctl explain CODE`). */
#define IOSTATE_FOREIGN "STATE-FOREIGN" /* no I/O state at all */
#define IOSTATE_NEWER   "STATE-NEWER"   /* made for a later iovd than this one */
#define IOSTATE_CUT     "STATE-CUT"     /* ends early */
#define IOSTATE_DAMAGED "STATE-DAMAGED" /* a checksum or the frame is wrong */
#define IOSTATE_SIZE    "STATE-SIZE"    /* larger, or more of something, than there can be */
#define IOSTATE_SECTION "STATE-SECTION" /* unknown and indispensable, twice, missing, misplaced */
#define IOSTATE_VALUE   "STATE-VALUE"   /* a field that cannot be, or does not fit another */

enum iostate_request_type {
	IOSTATE_READ,
	IOSTATE_WRITE,
	IOSTATE_FLUSH,
	IOSTATE_DISCARD,
	IOSTATE_WRITE_ZEROES,
	IOSTATE_OTHER,
	IOSTATE_UNKNOWN, /* nobody looked */
	IOSTATE_REQUEST_TYPES
};

/* What is done about a disk that fails. */
enum iostate_on_error { IOSTATE_ON_ERROR_REPORT, IOSTATE_ON_ERROR_HOLD, IOSTATE_ON_ERRORS };

enum iostate_cache { IOSTATE_CACHE_NONE, IOSTATE_CACHE_WRITEBACK, IOSTATE_CACHES };

/* Whose it is, and where and when it was written. Strings are printable and terminated. */
struct iostate_origin {
	char vm[33];       /* name_is_valid() */
	char uuid[37];     /* or "" */
	char host[65];     /* of the iovd that wrote it */
	char program[33];  /* "iovd 0.1" */
	uint64_t saved_ms; /* since 1970, UTC */
};

struct iostate_identity {
	char name[33];        /* of the device, for the VM; name_is_valid(), once in a file */
	char id[17];          /* of the attachment on the host that wrote it */
	char device[4096];    /* the same of the device ... */
	char node[4096];      /* ... and what was opened */
	char fingerprint[65]; /* or "" */
};

struct iostate_disk {
	uint64_t size_bytes;
	uint32_t block_size, physical_block_size; /* as told to the guest */
	uint32_t queues;                          /* that the device has: 1..IOSTATE_MAX_RINGS */
	bool readonly;
	bool write_cache; /* as the guest has set it */
};

struct iostate_features {
	uint64_t offered, acknowledged; /* acknowledged is within offered */
	uint64_t protocol;              /* vhost-user protocol features, as acknowledged */
};

/* A network device. Its rings are two for each of its queues. */
struct iostate_network {
	uint32_t queues;    /* that it has, in pairs: 1..IOSTATE_MAX_RINGS / 2 */
	uint32_t mtu;       /* of the network that it was on, bytes; 0: not known */
	char settings[192]; /* what it is held to: "mac=52:54:00:00:00:01,spoofchk=on" */
};

/* Where a ring stands. size 0: the guest has not set it up, and all else is 0. */
struct iostate_ring {
	uint16_t index;
	uint16_t size;
	uint16_t avail, used;       /* split: as counted; packed: place in the ring ... */
	bool avail_wrap, used_wrap; /* ... and lap */
	bool enabled;
};

/* Taken from the guest and not given back. By ring, in the order in which they were taken. */
struct iostate_request {
	uint16_t ring;
	uint16_t head;  /* split: first descriptor; packed: buffer id */
	uint16_t descs; /* packed: how many of iostate_attachment.descs are its own; split: 0 */
	enum iostate_request_type type;
	uint64_t counter; /* in which order they were taken from their ring */
	uint64_t sector, bytes;
};

/* A descriptor of a packed ring, as it was there. */
struct iostate_desc {
	uint64_t addr;
	uint32_t len;
	uint16_t id, flags;
};

struct iostate_policy {
	enum iostate_cache cache;
	char owner[33]; /* user whose the socket is */
	enum iostate_on_error on_error;
	/* Since version 2; only with IOSTATE_ON_ERROR_HOLD: */
	char spares[IOSTATE_MAX_SPARES][4096]; /* devices, as the host that wrote it calls them */
	/* and with any: */
	char fence[1024];       /* a program and its words; or "" */
	uint64_t io_timeout_ms; /* 0: there is no limit */
};

struct iostate_attachment {
	struct iostate_identity identity;
	/* One of them, whose .queues is not 0; the other one is not in the file. */
	struct iostate_disk disk;
	struct iostate_network network;
	struct iostate_features features;
	struct iostate_policy policy;
	struct iostate_ring *rings; /* in the order of their indexes */
	struct iostate_request *requests;
	struct iostate_desc *descs; /* of the first request, then of the second, ... */
	uint32_t ring_count, request_count, desc_count;
};

struct iostate {
	struct iostate_origin origin;
	struct iostate_attachment *attachments;
	uint32_t attachment_count;
	uint32_t version; /* of the file; 0: made here. Not written */
};

/* So many rings it may have. */
uint32_t iostate_ring_limit(const struct iostate_attachment *a);

/* The first bytes of every file. */
extern const uint8_t iostate_magic[8];

/* An empty one, and its end (NULL is nothing), with all arrays that hang on it, which are malloc()s. */
struct iostate *iostate_new(struct err *e);
void iostate_free(struct iostate *s);

static inline void iostate_cleanup_p(struct iostate **s)
{
	iostate_free(*s);
}
#define auto_iostate __attribute__((cleanup(iostate_cleanup_p)))

/* One more, zeroed, or NULL with e set; moves those there are. */
struct iostate_attachment *iostate_add(struct iostate *s, struct err *e);

/* What the bytes say, or NULL with e set: refused with one of the codes above. */
struct iostate *iostate_decode(const void *data, size_t len, struct err *e);

/*
 * Appends the bytes of `s` to `out`. 0, or -1: what iostate_decode() would refuse is not written
 * either, and `out` is as before.
 */
int iostate_encode(const struct iostate *s, struct buf *out, struct err *e);

/* Whether everything is within its bounds and fits together. 0, or -1 (IOSTATE_VALUE, ...). */
int iostate_check(const struct iostate *s, struct err *e);

extern const char *const iostate_request_type_names[IOSTATE_REQUEST_TYPES];
extern const char *const iostate_cache_names[IOSTATE_CACHES];
extern const char *const iostate_on_error_names[IOSTATE_ON_ERRORS];

/* Receives an I/O state as a document: what `key` is follows json_out_*() of proto/json.h. */
struct iostate_visitor {
	void (*object)(void *arg, const char *key);
	void (*array)(void *arg, const char *key);
	void (*end)(void *arg);
	void (*string)(void *arg, const char *key, const char *value);
	void (*number)(void *arg, const char *key, uint64_t value);
	void (*hex)(void *arg, const char *key, uint64_t value);
	void (*boolean)(void *arg, const char *key, bool value);
	void *arg;
};

/* Tells all that is in `s`, in the order of the file. */
void iostate_visit(const struct iostate *s, const struct iostate_visitor *v);
