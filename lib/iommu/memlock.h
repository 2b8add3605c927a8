/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Locked memory: what is mapped for a device is pinned, and pinned memory counts against
 * RLIMIT_MEMLOCK; but type1 counts by process and container, iommufd by user. The sum is made
 * and told before the kernel would refuse with no more than ENOMEM. Any thread.
 */
#pragma once

#include "lib/iommu/iommu.h"

struct memlock {
	enum iommu_api api;   /* who counts */
	uint64_t limit_bytes; /* RLIMIT_MEMLOCK; UINT64_MAX: none, or CAP_IPC_LOCK */
	uint64_t used_bytes;  /* locked now, as far as can be seen */
	uint64_t need_bytes;  /* asked for in addition */
};

/* "the process" or "the user": whose locked memory counts under this interface. */
const char *memlock_counter(enum iommu_api api);

/*
 * How matters stand for mapping need_bytes more. type1's count is the kernel's own number for this
 * process; iommufd's (one per user, which the kernel does not show) is that of `space` alone, so
 * the kernel may still refuse. `space` may be NULL: for a process that is yet to start.
 */
int memlock_read(enum iommu_api api, const struct iommu_space *space, uint64_t need_bytes,
	struct memlock *m, struct err *e);

/*
 * 0, or -1 with e set (ERR_REFUSED, MEMLOCK): the sum, the limit, who counts, and what to set.
 * memlock_refused() says so in any case: the kernel knew of more.
 */
int memlock_check(const struct memlock *m, struct err *e);
int memlock_refused(const struct memlock *m, struct err *e);

/*
 * RLIMIT_MEMLOCK for a VMM with `memory_bytes` of guest memory and `device_count` passed-through
 * devices: each address space counts the memory again, and a VMM with a virtual IOMMU
 * (`own_spaces`) has one per device; the VMM's own small needs are in it. With iommufd the VMMs
 * of one user count together: add them up. 0 for no device.
 */
uint64_t memlock_for_vmm(uint64_t memory_bytes, unsigned int device_count, bool own_spaces);
