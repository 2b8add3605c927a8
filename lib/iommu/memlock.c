/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "lib/iommu/memlock.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>

#include "lib/fdio.h"

#define CAP_IPC_LOCK_BIT 14
#define KIB              UINT64_C(1024)
#define MIB              (KIB * KIB)

/*
 * What a VMM has mapped for its devices beside the guest's memory (video memory, firmware), and
 * locks for itself (rings); generous, since it is a limit and not a reservation.
 */
#define VMM_OWN (1024 * MIB)

const char *memlock_counter(enum iommu_api api)
{
	static const char *const counters[IOMMU_API_COUNT] = {
		[IOMMU_TYPE1] = "the process",
		[IOMMU_IOMMUFD] = "the user",
	};

	return counters[api];
}

/* The number behind `key` in /proc/self/status. */
static uint64_t status_number(const char *status, const char *key, int base)
{
	const char *at = strstr(status, key);

	return at ? strtoull(at + strlen(key), NULL, base) : 0;
}

int memlock_read(enum iommu_api api, const struct iommu_space *space, uint64_t need_bytes,
	struct memlock *m, struct err *e)
{
	struct rlimit limit;
	char status[8192];
	ssize_t len = fdio_read_file(AT_FDCWD, "/proc/self/status", status, sizeof(status));
	bool exempt;

	if (len < 0)
		return err_sys(e, (int)-len, "read /proc/self/status");
	getrlimit(RLIMIT_MEMLOCK, &limit);
	exempt = status_number(status, "\nCapEff:", 16) & (UINT64_C(1) << CAP_IPC_LOCK_BIT);
	*m = (struct memlock){
		.api = api,
		.limit_bytes =
			exempt || limit.rlim_cur == RLIM_INFINITY ? UINT64_MAX : limit.rlim_cur,
		.need_bytes = need_bytes,
	};
	if (api == IOMMU_TYPE1)
		m->used_bytes = status_number(status, "\nVmLck:", 10) * KIB;
	else if (space)
		m->used_bytes = iommu_space_mapped_bytes(space);
	return 0;
}

int memlock_refused(const struct memlock *m, struct err *e)
{
	uint64_t sum = m->used_bytes + m->need_bytes;

	err_set(e, ERR_REFUSED, "MEMLOCK",
		"lock %llu MiB of memory: with the %llu MiB locked already %llu MiB are needed",
		(unsigned long long)((m->need_bytes + MIB - 1) / MIB),
		(unsigned long long)(m->used_bytes / MIB),
		(unsigned long long)((sum + MIB - 1) / MIB));
	if (m->limit_bytes == UINT64_MAX)
		return err_evidence(e, "no limit, so the kernel has no memory for it");
	err_evidence(e, "RLIMIT_MEMLOCK is %llu KiB; %s counts it for %s",
		(unsigned long long)(m->limit_bytes / KIB), iommu_api_names[m->api],
		memlock_counter(m->api));
	return err_fix(e, "set the limit to %llu KiB or more (ulimit -l, LimitMEMLOCK=)",
		(unsigned long long)((sum + KIB - 1) / KIB));
}

int memlock_check(const struct memlock *m, struct err *e)
{
	uint64_t sum;

	if (u64_add(m->used_bytes, m->need_bytes, &sum) && sum <= m->limit_bytes)
		return 0;
	return memlock_refused(m, e);
}

uint64_t memlock_for_vmm(uint64_t memory_bytes, unsigned int device_count, bool own_spaces)
{
	uint64_t spaces = own_spaces ? MAX(device_count, 1) : 1, sum;

	if (device_count == 0)
		return 0;
	if (!u64_mul(memory_bytes, spaces, &sum) || !u64_add(sum, VMM_OWN, &sum))
		return UINT64_MAX;
	return sum;
}
