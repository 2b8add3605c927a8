/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Theory of operation
 *
 * A region lives in the slot that it was given and never moves; two arrays of pointers hold the
 * same regions sorted by either address. Regions do not overlap in either space, so the one that
 * can hold an address is the last one that begins at or before it. Most lookups hit the region of
 * the lookup before, which is tried first.
 *
 * A VMM that shrinks a file behind our mapping turns an access into SIGBUS. The handler finds the
 * mapping by the faulting address, puts private zeroes over the page and marks the table poisoned:
 * the access then goes on, the data path runs into nonsense that it can bear, and the session looks
 * at the mark and ends. The handler reads the slots only, which change only outside of accesses,
 * and calls nothing but mmap() and sigaction(). (I/O that the kernel does for us gets EFAULT.)
 */
#include "lib/backends/guest_mem.h"

#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "lib/backends/mapping.h"

struct region {
	struct guest_region_desc desc;
	struct mapping map; /* map.base NULL: the slot is free */
};

/* One address space: its regions in order, and the one that was hit last. */
struct space {
	struct region *sorted[GUEST_MEM_MAX_REGIONS];
	struct region *last_hit;
	size_t key; /* offset of the address in struct guest_region_desc */
};

struct guard {
	uint8_t *base;
	size_t len;
	size_t page_size;
};

struct guest_mem {
	struct region slots[GUEST_MEM_MAX_REGIONS];
	unsigned int count;
	struct space gpa, uva;
	struct guard guards[GUARD_COUNT];
	volatile sig_atomic_t poisoned;
};

static struct guest_mem *caught; /* the table that the handler serves */

struct guest_mem *guest_mem_new(void)
{
	struct guest_mem *mem = calloc(1, sizeof(*mem));

	if (!mem)
		return NULL;
	mem->gpa.key = offsetof(struct guest_region_desc, gpa);
	mem->uva.key = offsetof(struct guest_region_desc, uva);
	return mem;
}

void guest_mem_free(struct guest_mem *mem)
{
	if (!mem)
		return;
	guest_mem_clear(mem);
	if (caught == mem)
		caught = NULL;
	free(mem);
}

static uint64_t region_start(const struct space *s, const struct region *r)
{
	uint64_t start;

	memcpy(&start, (const char *)&r->desc + s->key, sizeof(start));
	return start;
}

/* How many of the sorted regions begin at or before `addr`. */
static unsigned int space_upto(const struct space *s, unsigned int count, uint64_t addr)
{
	unsigned int low = 0, high = count;

	while (low < high) {
		unsigned int mid = low + (high - low) / 2;

		if (region_start(s, s->sorted[mid]) <= addr)
			low = mid + 1;
		else
			high = mid;
	}
	return low;
}

static bool region_holds(const struct space *s, const struct region *r, uint64_t addr)
{
	return addr - region_start(s, r) < r->desc.size;
}

/* The region that holds `addr`, or NULL. */
static const struct region *space_find(
	const struct guest_mem *mem, const struct space *s, uint64_t addr)
{
	unsigned int n;

	if (s->last_hit && region_holds(s, s->last_hit, addr))
		return s->last_hit;
	n = space_upto(s, mem->count, addr);
	if (!n || !region_holds(s, s->sorted[n - 1], addr))
		return NULL;
	/* The hint is not part of the table's value: a lookup leaves the table as it was. */
	((struct space *)s)->last_hit = s->sorted[n - 1];
	return s->last_hit;
}

/* `start` + size is known not to overflow, here and for all regions in the table. */
static bool space_overlaps(
	const struct guest_mem *mem, const struct space *s, uint64_t start, uint64_t size)
{
	unsigned int n = space_upto(s, mem->count, start);

	if (n && region_holds(s, s->sorted[n - 1], start))
		return true;
	return n < mem->count && region_start(s, s->sorted[n]) - start < size;
}

static void space_insert(const struct guest_mem *mem, struct space *s, struct region *r)
{
	unsigned int n = space_upto(s, mem->count, region_start(s, r));

	memmove(&s->sorted[n + 1], &s->sorted[n], (mem->count - n) * sizeof(s->sorted[0]));
	s->sorted[n] = r;
}

static void space_remove(const struct guest_mem *mem, struct space *s, const struct region *r)
{
	unsigned int n = space_upto(s, mem->count, region_start(s, r)) - 1;

	assert(s->sorted[n] == r);
	memmove(&s->sorted[n], &s->sorted[n + 1], (mem->count - n - 1) * sizeof(s->sorted[0]));
	s->last_hit = NULL;
}

static int check_addresses(
	const struct guest_mem *mem, const struct guest_region_desc *d, struct err *e)
{
	uint64_t end;

	if (mem->count == GUEST_MEM_MAX_REGIONS)
		return err_set(e, ERR_FAILED, "MEM-SLOTS", "all %d slots are taken",
			GUEST_MEM_MAX_REGIONS);
	if (!u64_add(d->gpa, d->size, &end) || !u64_add(d->uva, d->size, &end))
		return err_set(e, ERR_FAILED, "MEM-RANGE", "address + size overflows");
	if (space_overlaps(mem, &mem->gpa, d->gpa, d->size))
		return err_set(e, ERR_FAILED, "MEM-OVERLAP", "overlaps another region");
	if (space_overlaps(mem, &mem->uva, d->uva, d->size))
		return err_set(e, ERR_FAILED, "MEM-OVERLAP",
			"user address 0x%" PRIx64 " overlaps another region's", d->uva);
	return 0;
}

static int wrap_region(struct err *e, const struct guest_region_desc *d)
{
	return err_wrap(e, "memory region 0x%" PRIx64 " size 0x%" PRIx64, d->gpa, d->size);
}

int guest_mem_add(
	struct guest_mem *mem, const struct guest_region_desc *desc, int fd, struct err *e)
{
	struct mapping map;
	unsigned int slot = 0;

	if (check_addresses(mem, desc, e) < 0 ||
		mapping_open(&map, fd, desc->offset, desc->size, e) < 0)
		return wrap_region(e, desc);
	while (mem->slots[slot].map.base)
		slot++;
	mem->slots[slot] = (struct region){.desc = *desc, .map = map};
	space_insert(mem, &mem->gpa, &mem->slots[slot]);
	space_insert(mem, &mem->uva, &mem->slots[slot]);
	mem->count++;
	return (int)slot;
}

static void remove_slot(struct guest_mem *mem, unsigned int slot)
{
	struct region *r = &mem->slots[slot];

	space_remove(mem, &mem->gpa, r);
	space_remove(mem, &mem->uva, r);
	mem->count--;
	mapping_close(&r->map);
}

int guest_mem_remove(struct guest_mem *mem, const struct guest_region_desc *desc, struct err *e)
{
	int slot = guest_mem_find(mem, desc);

	if (slot < 0) {
		err_set(e, ERR_NOT_FOUND, "MEM-REGION", "not in the table");
		return wrap_region(e, desc);
	}
	remove_slot(mem, (unsigned int)slot);
	return slot;
}

int guest_mem_find(const struct guest_mem *mem, const struct guest_region_desc *desc)
{
	const struct region *r = space_find(mem, &mem->gpa, desc->gpa);

	if (!r || r->desc.gpa != desc->gpa || r->desc.uva != desc->uva ||
		r->desc.size != desc->size)
		return -1;
	return (int)(r - mem->slots);
}

void guest_mem_clear(struct guest_mem *mem)
{
	for (unsigned int slot = 0; slot < GUEST_MEM_MAX_REGIONS; slot++)
		if (mem->slots[slot].map.base)
			remove_slot(mem, slot);
}

unsigned int guest_mem_count(const struct guest_mem *mem)
{
	return mem->count;
}

uint64_t guest_mem_end(const struct guest_mem *mem)
{
	const struct region *last;

	if (!mem->count)
		return 0;
	last = mem->gpa.sorted[mem->count - 1];
	return last->desc.gpa + last->desc.size;
}

int guest_mem_iov(const struct guest_mem *mem, uint64_t gpa, uint64_t len, struct iovec *iov,
	unsigned int *count, unsigned int max)
{
	while (len) {
		const struct region *r = space_find(mem, &mem->gpa, gpa);
		uint64_t skip, part;

		if (!r || *count >= max)
			return -1;
		skip = gpa - r->desc.gpa;
		part = MIN(len, r->desc.size - skip);
		iov[(*count)++] = (struct iovec){r->map.data + skip, part};
		gpa += part; /* at most the region's end, which is a valid u64 */
		len -= part;
	}
	return 0;
}

static void *space_lookup(
	const struct guest_mem *mem, const struct space *s, uint64_t addr, uint64_t len)
{
	const struct region *r = space_find(mem, s, addr);
	uint64_t skip;

	if (!r)
		return NULL;
	skip = addr - region_start(s, r);
	return len <= r->desc.size - skip ? r->map.data + skip : NULL;
}

void *guest_mem_gpa(const struct guest_mem *mem, uint64_t gpa, uint64_t len)
{
	return space_lookup(mem, &mem->gpa, gpa, len);
}

void *guest_mem_uva(const struct guest_mem *mem, uint64_t uva, uint64_t len)
{
	return space_lookup(mem, &mem->uva, uva, len);
}

static bool region_maps(const struct region *r, const void *host)
{
	return r->map.base && (uintptr_t)host - (uintptr_t)r->map.data < r->desc.size;
}

uint64_t guest_mem_gpa_of(const struct guest_mem *mem, const void *host)
{
	const struct region *r = mem->gpa.last_hit;

	if (!r || !region_maps(r, host)) {
		for (r = mem->slots; !region_maps(r, host); r++)
			assert(r < &mem->slots[GUEST_MEM_MAX_REGIONS - 1]);
	}
	return r->desc.gpa + (uint64_t)((const uint8_t *)host - r->map.data);
}

/* Puts zeroes over the page of [base, base+len) that `addr` lies in; false if it does not. */
static bool patch_page(uint8_t *base, size_t len, size_t page_size, uintptr_t addr)
{
	size_t skip = addr - (uintptr_t)base;

	if (!base || skip >= len)
		return false;
	skip &= ~(page_size - 1);
	return mmap(base + skip, MIN(page_size, len - skip), PROT_READ | PROT_WRITE,
		       MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) != MAP_FAILED;
}

static bool patch_fault(struct guest_mem *mem, uintptr_t addr)
{
	for (unsigned int i = 0; i < GUEST_MEM_MAX_REGIONS; i++) {
		const struct mapping *m = &mem->slots[i].map;

		if (patch_page(m->base, m->len_bytes, m->page_size, addr))
			return true;
	}
	for (unsigned int i = 0; i < GUARD_COUNT; i++) {
		const struct guard *g = &mem->guards[i];

		if (patch_page(g->base, g->len, g->page_size, addr))
			return true;
	}
	return false;
}

static void on_sigbus(int sig, siginfo_t *info, void *context)
{
	int saved = errno;

	(void)context;
	/* A positive si_code comes from the kernel: somebody's kill() carries no address. */
	if (caught && info->si_code > 0 && patch_fault(caught, (uintptr_t)info->si_addr)) {
		caught->poisoned = 1;
	} else {
		/* Not ours. The faulting access runs again on return, and is fatal then. */
		sigaction(sig, &(struct sigaction){.sa_handler = SIG_DFL}, NULL);
		if (info->si_code <= 0)
			raise(sig);
	}
	errno = saved;
}

int guest_mem_catch_faults(struct guest_mem *mem, struct err *e)
{
	struct sigaction sa = {.sa_sigaction = on_sigbus, .sa_flags = SA_SIGINFO};

	sigemptyset(&sa.sa_mask);
	caught = mem;
	if (sigaction(SIGBUS, &sa, NULL) < 0)
		return err_sys(e, errno, "cannot catch SIGBUS");
	return 0;
}

bool guest_mem_is_poisoned(const struct guest_mem *mem)
{
	return mem->poisoned;
}

void guest_mem_guard(struct guest_mem *mem, enum guest_mem_guard_id id, void *base, size_t len)
{
	mem->guards[id] = (struct guard){base, len, (size_t)sysconf(_SC_PAGESIZE)};
}
