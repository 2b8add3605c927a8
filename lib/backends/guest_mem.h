/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Guest memory as a VMM shares it: a table of regions, each a mapped part of a descriptor, and the
 * only place where an address from outside becomes a pointer. Two address spaces lead into it:
 * guest physical (descriptors) and the VMM's user addresses (where vhost-user puts its rings).
 *
 * Every lookup is bounded by the length asked for; nothing is cached by callers beyond a request,
 * because a region may be removed when none is in flight. A VMM can shrink the file behind a region
 * after we mapped it; reading would then be SIGBUS. guest_mem_catch_faults() turns that into zeroes
 * and a "poisoned" mark that ends the one session.
 *
 * One thread. Errors: 0 / -1 with `e`, unless said otherwise.
 */
#pragma once

#include <sys/uio.h>

#include "lib/err.h"

/* Slots offered by GET_MAX_MEM_SLOTS; also the bound for SET_MEM_TABLE (8 there, by its format). */
#define GUEST_MEM_MAX_REGIONS 256

struct guest_mem;

/* As it stands in SET_MEM_TABLE and ADD_MEM_REG. Sizes need not be page multiples (libblkio). */
struct guest_region_desc {
	uint64_t gpa;    /* first guest physical address */
	uint64_t size;   /* bytes */
	uint64_t uva;    /* the VMM's own address of the same byte */
	uint64_t offset; /* where in the descriptor it begins */
};

struct guest_mem *guest_mem_new(void);
void guest_mem_free(struct guest_mem *mem);

/*
 * Maps a region (the descriptor may be closed afterwards; it is not consumed) after checking size,
 * overflow, the file's real size, and overlap in both address spaces. Returns its slot
 * (0..GUEST_MEM_MAX_REGIONS-1, stable until removed).
 */
int guest_mem_add(
	struct guest_mem *mem, const struct guest_region_desc *desc, int fd, struct err *e);

/* Unmaps the region with this gpa, uva and size. Returns the slot it had; ERR_NOT_FOUND if none. */
int guest_mem_remove(struct guest_mem *mem, const struct guest_region_desc *desc, struct err *e);

/* The slot of exactly this region, or -1. */
int guest_mem_find(const struct guest_mem *mem, const struct guest_region_desc *desc);

/* Unmaps all. */
void guest_mem_clear(struct guest_mem *mem);

unsigned int guest_mem_count(const struct guest_mem *mem);

/* Lowest address above all regions: what a dirty log must cover. */
uint64_t guest_mem_end(const struct guest_mem *mem);

/*
 * Appends the host memory of [gpa, gpa+len) to iov[*count..max): one entry per region touched.
 * -1 (no words: data path) when any byte is outside or there is no room; len 0 appends nothing.
 */
int guest_mem_iov(const struct guest_mem *mem, uint64_t gpa, uint64_t len, struct iovec *iov,
	unsigned int *count, unsigned int max);

/* [gpa, gpa+len) or [uva, uva+len) when it lies in one region, else NULL. */
void *guest_mem_gpa(const struct guest_mem *mem, uint64_t gpa, uint64_t len);
void *guest_mem_uva(const struct guest_mem *mem, uint64_t uva, uint64_t len);

/* The guest physical address of a host pointer that a lookup returned. */
uint64_t guest_mem_gpa_of(const struct guest_mem *mem, const void *host);

/*
 * Installs the SIGBUS handler for this process (for one guest_mem at a time): a fault inside a
 * region, or inside a range added with guest_mem_guard(), is backed by zeroes and marks it
 * poisoned; any other SIGBUS is fatal as before.
 */
int guest_mem_catch_faults(struct guest_mem *mem, struct err *e);
bool guest_mem_is_poisoned(const struct guest_mem *mem);

/* Watches a further mapping (dirty log, in-flight region) for the same fault; NULL/0 forgets it. */
enum guest_mem_guard_id { GUARD_LOG, GUARD_INFLIGHT, GUARD_COUNT };
void guest_mem_guard(struct guest_mem *mem, enum guest_mem_guard_id id, void *base, size_t len);
