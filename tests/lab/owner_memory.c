/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What an owner does with memory: buffers of a device, what is in them, where they really are. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

#include "lib/cleanup.h"
#include "tests/lab/owner.h"

#define MAX_BUFFERS 10

struct owned_buffer {
	struct dma_buffer dma;
	char *memory;
	uint64_t len;
	bool own; /* the memory is to be unmapped here */
};

static struct owned_buffer buffers[MAX_BUFFERS];

/* The buffer of a number, and `len` bytes from `offset` in it. */
static struct owned_buffer *part_of(char **words, uint64_t *offset, uint64_t len, struct err *e)
{
	struct owned_buffer *b;
	uint64_t index;

	if (owner_number(words[1], MAX_BUFFERS - 1, &index, e) < 0 ||
		owner_number(words[2], UINT64_MAX, offset, e) < 0)
		return NULL;
	b = &buffers[index];
	if (*offset > b->len || len > b->len - *offset) {
		err_set(e, ERR_USAGE, "USAGE", "buffer %s has %" PRIu64 " bytes", words[1], b->len);
		return NULL;
	}
	return b;
}

/* --- address space and buffers ----------------------------------------------------------------  */

int owner_limits(char **words, struct err *e)
{
	const struct iommu_limits *l;

	(void)words;
	if (!owner_space || iommu_space_refresh(owner_space, e) < 0)
		return owner_space ? -1 : err_set(e, ERR_USAGE, "USAGE", "there is no space");
	l = iommu_space_limits(owner_space);
	owner_say(" %" PRIu64 " 0x%" PRIx64 " %" PRIu64, l->granule_bytes, l->page_sizes,
		l->maps_left);
	for (size_t i = 0; i < l->range_count; i++)
		owner_say(" 0x%" PRIx64 "-0x%" PRIx64, l->ranges[i].first, l->ranges[i].last);
	return 0;
}

/* Every page of it in memory, and the system got them in an order that scatters them. */
static void touch_scattered(char *memory, uint64_t len, uint64_t page)
{
	uint64_t count = len / page, at = 0;

	madvise(memory, len, MADV_NOHUGEPAGE);
	for (uint64_t i = 0; i < count; i++) {
		memory[at * page] = 0;
		/* Steps through all numbers below a power of two, none twice. */
		at = (at * 5 + 12345) & (count - 1);
	}
}

static int new_buffer(struct owned_buffer *b, char **words, uint64_t bits, struct err *e)
{
	uint64_t page = (uint64_t)sysconf(_SC_PAGESIZE);
	enum iommu_access access = owner_word_is(words[5], "read") ? IOMMU_READ : IOMMU_READ_WRITE;
	struct iovec piece;
	int rc;

	if (!owner_word_is(words[4], "scattered")) {
		rc = dma_buffer_new(owner_space, b->len,
			owner_word_is(words[4], "huge") ? DMA_PAGES_HUGE : DMA_PAGES_ANY,
			iova_mask((unsigned int)bits), access, &b->dma, e);
		b->memory = rc < 0 ? NULL : b->dma.memory;
		return rc;
	}
	b->memory = mmap(NULL, b->len, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (b->memory == MAP_FAILED)
		return err_sys(e, errno, "get memory");
	b->own = true;
	touch_scattered(b->memory, b->len, page);
	piece = (struct iovec){b->memory, b->len};
	return dma_buffer_map(
		owner_space, &piece, 1, iova_mask((unsigned int)bits), access, &b->dma, e);
}

/* buffer N BYTES BITS [any|huge|scattered] [read|write]: where it is for the device. */
int owner_buffer(char **words, struct err *e)
{
	struct owned_buffer *b;
	uint64_t index, len, bits;

	if (!owner_space || owner_number(words[1], MAX_BUFFERS - 1, &index, e) < 0 ||
		owner_number(words[2], UINT64_MAX, &len, e) < 0 ||
		owner_number(words[3], 64, &bits, e) < 0)
		return -1;
	b = &buffers[index];
	*b = (struct owned_buffer){.len = len};
	if (new_buffer(b, words, bits, e) < 0) {
		if (b->own)
			munmap(b->memory, b->len);
		*b = (struct owned_buffer){0};
		return -1;
	}
	return owner_say(" 0x%" PRIx64, b->dma.iova);
}

/* Takes the mapping away; the memory stays, to be looked at. */
int owner_unmap(char **words, struct err *e)
{
	struct owned_buffer *b;
	uint64_t index;

	if (owner_number(words[1], MAX_BUFFERS - 1, &index, e) < 0)
		return -1;
	b = &buffers[index];
	b->dma.memory = NULL;
	b->own = true;
	return dma_buffer_release(&b->dma, e);
}

/* map N IOVA: the memory of buffer N is there, too. */
int owner_map(char **words, struct err *e)
{
	uint64_t iova;
	struct owned_buffer *b;
	char *at[] = {NULL, words[1], "0"};

	b = part_of(at, &iova, 0, e);
	if (!b || owner_number(words[2], UINT64_MAX, &iova, e) < 0)
		return -1;
	return iommu_map(owner_space, iova, b->memory, b->len, IOMMU_READ_WRITE, e);
}

int owner_unmap_at(char **words, struct err *e)
{
	uint64_t iova, len;

	if (owner_number(words[1], UINT64_MAX, &iova, e) < 0 ||
		owner_number(words[2], UINT64_MAX, &len, e) < 0)
		return -1;
	return iommu_unmap(owner_space, iova, len, e);
}

int owner_poke(char **words, struct err *e)
{
	size_t len = strlen(words[3]);
	uint64_t offset;
	struct owned_buffer *b = part_of(words, &offset, len, e);

	if (!b)
		return -1;
	memcpy(b->memory + offset, words[3], len);
	return 0;
}

/* peek N OFFSET LEN: the text that is there; dots for what is none. */
int owner_peek(char **words, struct err *e)
{
	uint64_t offset, len;
	struct owned_buffer *b;

	if (owner_number(words[3], 4096, &len, e) < 0)
		return -1;
	b = part_of(words, &offset, len, e);
	if (!b)
		return -1;
	owner_say(" ");
	for (uint64_t i = 0; i < len; i++) {
		char c = b->memory[offset + i];

		owner_say("%c", c > ' ' && c < 0x7f ? c : '.');
	}
	return 0;
}

/* fill N TEXT: the text over and over. count N TEXT: bytes that differ from that. */
int owner_fill(char **words, struct err *e)
{
	char *at[] = {NULL, words[1], "0"};
	uint64_t offset, len = strlen(words[2]);
	struct owned_buffer *b = part_of(at, &offset, 1, e);

	for (uint64_t i = 0; b && i < b->len; i++)
		b->memory[i] = words[2][i % len];
	return b ? 0 : -1;
}

int owner_differ(char **words, struct err *e)
{
	char *at[] = {NULL, words[1], "0"};
	uint64_t offset, len = strlen(words[2]), differ = 0;
	struct owned_buffer *b = part_of(at, &offset, 1, e);

	for (uint64_t i = 0; b && i < b->len; i++)
		differ += b->memory[i] != words[2][i % len];
	return b ? owner_say(" %" PRIu64, differ) : -1;
}

/* --- physical memory -------------------------------------------------------------------------- */

static int physical(const char *memory, uint64_t *address, struct err *e)
{
	uint64_t page = (uint64_t)sysconf(_SC_PAGESIZE), entry = 0;
	auto_close int fd = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);

	if (pread(fd, &entry, sizeof(entry), (off_t)((uintptr_t)memory / page * sizeof(entry))) !=
			sizeof(entry) ||
		!(entry >> 63))
		return err_set(e, ERR_FAILED, "INTERNAL", "a page is not in memory");
	*address = (entry & ((UINT64_C(1) << 55) - 1)) * page + (uintptr_t)memory % page;
	return 0;
}

int owner_physical(char **words, struct err *e)
{
	uint64_t offset, address;
	struct owned_buffer *b = part_of(words, &offset, 1, e);

	if (!b || physical(b->memory + offset, &address, e) < 0)
		return -1;
	return owner_say(" 0x%" PRIx64, address);
}

/* fragments N: of how many physically contiguous pieces it is. */
int owner_fragments(char **words, struct err *e)
{
	char *at[] = {NULL, words[1], "0"};
	uint64_t page = (uint64_t)sysconf(_SC_PAGESIZE), offset, next = 0, here, count = 0;
	struct owned_buffer *b = part_of(at, &offset, 1, e);

	if (!b)
		return -1;
	for (uint64_t i = 0; i < b->len; i += page) {
		if (physical(b->memory + i, &here, e) < 0)
			return -1;
		count += here != next;
		next = here + page;
	}
	return owner_say(" %" PRIu64, count);
}

/* limit BYTES: RLIMIT_MEMLOCK, and no privilege to pass it any more. */
int owner_limit(char **words, struct err *e)
{
	uint64_t bytes;
	struct rlimit limit;

	if (owner_number(words[1], UINT64_MAX, &bytes, e) < 0)
		return -1;
	limit = (struct rlimit){bytes, bytes};
	if (setrlimit(RLIMIT_MEMLOCK, &limit) < 0 || setresuid(65534, 65534, 65534) < 0)
		return err_sys(e, errno, "set the limit");
	return 0;
}
