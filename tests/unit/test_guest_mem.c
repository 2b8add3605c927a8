/* SPDX-License-Identifier: GPL-2.0-or-later */
/* lib/backends/guest_mem: every lookup is bounded, every lie about a region is refused. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lib/backends/guest_mem.h"
#include "tests/unit/unit.h"

#define MiB  0x100000ull
#define PAGE 4096ull

static int memfd(uint64_t size)
{
	int fd = memfd_create("guest", MFD_CLOEXEC | MFD_ALLOW_SEALING);

	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(ftruncate(fd, (off_t)size), 0);
	return fd;
}

static int add(
	struct guest_mem *mem, uint64_t gpa, uint64_t size, uint64_t uva, uint64_t offset, int fd)
{
	struct guest_region_desc desc = {gpa, size, uva, offset};

	return guest_mem_add(mem, &desc, fd, NULL);
}

START_TEST(addresses_lead_to_the_right_byte)
{
	struct guest_mem *mem = guest_mem_new();
	int fd = memfd(4 * MiB);
	char *file = mmap(NULL, 4 * MiB, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);

	/* Added out of order, lying in the file in another order. */
	ck_assert_int_eq(add(mem, 8 * MiB, MiB, 100 * MiB, 0, fd), 0);
	ck_assert_int_eq(add(mem, 0, MiB, 300 * MiB, MiB, fd), 1);
	ck_assert_int_eq(add(mem, 4 * MiB, MiB, 200 * MiB, 2 * MiB, fd), 2);
	close(fd);
	file[5] = 'a';
	file[MiB] = 'b';
	file[3 * MiB - 1] = 'c';
	ck_assert_int_eq(*(char *)guest_mem_gpa(mem, 8 * MiB + 5, 1), 'a');
	ck_assert_int_eq(*(char *)guest_mem_gpa(mem, 0, 1), 'b');
	ck_assert_int_eq(*(char *)guest_mem_gpa(mem, 5 * MiB - 1, 1), 'c');
	ck_assert_int_eq(*(char *)guest_mem_uva(mem, 100 * MiB + 5, 1), 'a');
	ck_assert_int_eq(*(char *)guest_mem_uva(mem, 300 * MiB, MiB), 'b');
	ck_assert_int_eq(*(char *)guest_mem_uva(mem, 201 * MiB - 1, 1), 'c');
	ck_assert_uint_eq(guest_mem_gpa_of(mem, guest_mem_uva(mem, 201 * MiB - 1, 1)), 5 * MiB - 1);
	ck_assert_uint_eq(guest_mem_gpa_of(mem, guest_mem_uva(mem, 100 * MiB, 1)), 8 * MiB);
	ck_assert_uint_eq(guest_mem_end(mem), 9 * MiB);
	ck_assert_uint_eq(guest_mem_count(mem), 3);
	munmap(file, 4 * MiB);
	guest_mem_free(mem);
}
END_TEST

START_TEST(lookups_end_where_the_region_ends)
{
	struct guest_mem *mem = guest_mem_new();
	int fd = memfd(MiB);

	ck_assert_int_eq(add(mem, MiB, MiB, 5 * MiB, 0, fd), 0);
	for (int again = 0; again < 2; again++) { /* the second time with a last hit */
		ck_assert_ptr_nonnull(guest_mem_gpa(mem, MiB, MiB));
		ck_assert_ptr_nonnull(guest_mem_gpa(mem, 2 * MiB - 1, 1));
		ck_assert_ptr_null(guest_mem_gpa(mem, MiB, MiB + 1));
		ck_assert_ptr_null(guest_mem_gpa(mem, MiB - 1, 1));
		ck_assert_ptr_null(guest_mem_gpa(mem, 2 * MiB, 1));
		ck_assert_ptr_null(guest_mem_gpa(mem, 2 * MiB, 0));
		ck_assert_ptr_null(guest_mem_gpa(mem, 2 * MiB - 1, 2));
		ck_assert_ptr_null(guest_mem_gpa(mem, 2 * MiB - 1, UINT64_MAX));
		ck_assert_ptr_null(guest_mem_gpa(mem, UINT64_MAX, 1));
		ck_assert_ptr_null(guest_mem_uva(mem, MiB, 1));
		ck_assert_ptr_null(guest_mem_uva(mem, 6 * MiB, 1));
		ck_assert_ptr_null(guest_mem_uva(mem, 5 * MiB + 1, MiB));
	}
	guest_mem_clear(mem);
	ck_assert_ptr_null(guest_mem_gpa(mem, MiB, 1));
	ck_assert_uint_eq(guest_mem_end(mem), 0);
	close(fd);
	guest_mem_free(mem);
}
END_TEST

START_TEST(buffers_may_cross_regions_that_meet)
{
	struct guest_mem *mem = guest_mem_new();
	int fd = memfd(4 * MiB);
	struct iovec iov[4];
	unsigned int count = 0;

	add(mem, 0, MiB, 10 * MiB, 2 * MiB, fd);
	add(mem, MiB, MiB, 20 * MiB, 0, fd);
	add(mem, 2 * MiB, MiB, 30 * MiB, MiB, fd);
	add(mem, 3 * MiB + PAGE, PAGE, 40 * MiB, 0, fd); /* behind a hole */
	ck_assert_int_eq(guest_mem_iov(mem, MiB - 1, MiB + 2, iov, &count, 4), 0);
	ck_assert_uint_eq(count, 3);
	ck_assert_uint_eq(iov[0].iov_len, 1);
	ck_assert_uint_eq(iov[1].iov_len, MiB);
	ck_assert_uint_eq(iov[2].iov_len, 1);
	ck_assert_ptr_eq(iov[1].iov_base, guest_mem_gpa(mem, MiB, 1));
	ck_assert_int_eq(guest_mem_iov(mem, 7, 1, iov, &count, 4), 0);
	ck_assert_int_eq(guest_mem_iov(mem, 7, 1, iov, &count, 4), -1); /* no room */
	ck_assert_uint_eq(count, 4);
	ck_assert_int_eq(guest_mem_iov(mem, 7, 0, iov, &count, 4), 0); /* nothing takes none */
	count = 0;
	ck_assert_int_eq(guest_mem_iov(mem, 3 * MiB - 1, 1, iov, &count, 4), 0);
	ck_assert_int_eq(guest_mem_iov(mem, 3 * MiB - 1, 2, iov, &count, 4), -1); /* the hole */
	count = 0;
	ck_assert_int_eq(guest_mem_iov(mem, MiB - 1, MiB + 2, iov, &count, 2), -1);
	ck_assert_int_eq(guest_mem_iov(mem, 0, UINT64_MAX, iov, &count, 4), -1);
	close(fd);
	guest_mem_free(mem);
}
END_TEST

START_TEST(lies_are_refused)
{
	const struct {
		struct guest_region_desc desc;
		const char *words;
	} lies[] = {
		{{0, 0, 0, 0}, "size is 0"},
		{{0, MiB + 1, 0, 0}, "beyond the file's"},
		{{0, MiB, 0, 1}, "beyond the file's"},
		{{0, 1, 0, MiB}, "beyond the file's"},
		{{0, 2, 0, UINT64_MAX}, "overflows"},
		{{200 * MiB, UINT64_MAX - 200 * MiB, 200 * MiB, 201 * MiB}, "overflows"},
		{{200 * MiB, UINT64_MAX - 200 * MiB, 200 * MiB, 0}, "beyond the file's"},
		{{UINT64_MAX, 2, 0, 0}, "overflows"},
		{{0, 2, UINT64_MAX, 0}, "overflows"},
		{{100 * MiB, MiB, 0, 0}, "overlaps another region"},
		{{100 * MiB + PAGE - 1, 1, 0, 0}, "overlaps another region"},
		{{100 * MiB - 1, 2, 0, 0}, "overlaps another region"},
		{{0, MiB, 50 * MiB + PAGE - 1, 0}, "user address"},
		{{0, MiB, 50 * MiB - MiB + 1, 0}, "user address"},
	};
	struct guest_mem *mem = guest_mem_new();
	int fd = memfd(MiB);

	ck_assert_int_eq(add(mem, 100 * MiB, PAGE, 50 * MiB, 0, fd), 0);
	for (unsigned int i = 0; i < ARRAY_SIZE(lies); i++) {
		struct err e = ERR_INIT;

		ck_assert_int_eq(guest_mem_add(mem, &lies[i].desc, fd, &e), -1);
		ck_assert_msg(strstr(e.msg, lies[i].words), "%u: \"%s\"", i, e.msg);
		ck_assert_msg(strstr(e.msg, "memory region 0x") == e.msg, "%s", e.msg);
	}
	ck_assert_uint_eq(guest_mem_count(mem), 1);
	/* Next to it on both sides is good. */
	ck_assert_int_ge(add(mem, 100 * MiB + PAGE, MiB, 50 * MiB + PAGE, 0, fd), 0);
	ck_assert_int_ge(add(mem, 99 * MiB, MiB, 49 * MiB, 0, fd), 0);
	close(fd);
	guest_mem_free(mem);
}
END_TEST

START_TEST(only_memory_is_mapped)
{
	const char *paths[] = {"/dev/null", "/dev/zero", "/"};
	struct guest_mem *mem = guest_mem_new();
	int pipes[2], fd;

	for (unsigned int i = 0; i < ARRAY_SIZE(paths); i++) {
		fd = open(paths[i], O_RDONLY | O_CLOEXEC);
		ck_assert_int_ge(fd, 0);
		ck_assert_int_eq(add(mem, 0, PAGE, 0, 0, fd), -1);
		close(fd);
	}
	ck_assert_int_eq(pipe(pipes), 0);
	ck_assert_int_eq(add(mem, 0, PAGE, 0, 0, pipes[0]), -1);
	ck_assert_int_eq(add(mem, 0, PAGE, 0, 0, -1), -1);
	close(pipes[0]);
	close(pipes[1]);
	/* A descriptor without the right to write. */
	fd = memfd(PAGE);
	ck_assert_int_eq(fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE), 0);
	ck_assert_int_eq(add(mem, 0, PAGE, 0, 0, fd), -1);
	close(fd);
	ck_assert_uint_eq(guest_mem_count(mem), 0);
	guest_mem_free(mem);
}
END_TEST

START_TEST(odd_sizes_and_offsets_are_exact)
{
	struct guest_mem *mem = guest_mem_new();
	int fd = memfd(3 * PAGE + 100);

	/* libblkio shares buffers of any size. */
	ck_assert_int_eq(pwrite(fd, "x", 1, 5001), 1);
	ck_assert_int_ge(add(mem, 0, 3 * PAGE + 100 - 5001, MiB, 5001, fd), 0);
	ck_assert_int_eq(*(char *)guest_mem_gpa(mem, 0, 1), 'x');
	ck_assert_ptr_nonnull(guest_mem_gpa(mem, 0, 3 * PAGE + 100 - 5001));
	ck_assert_ptr_null(guest_mem_gpa(mem, 0, 3 * PAGE + 101 - 5001));
	close(fd);
	guest_mem_free(mem);
}
END_TEST

START_TEST(slots_are_stable_and_reused)
{
	struct guest_region_desc middle = {MiB, PAGE, MiB, 0};
	struct guest_mem *mem = guest_mem_new();
	struct err e = ERR_INIT;
	int fd = memfd(PAGE);

	for (uint64_t i = 0; i < 3; i++)
		ck_assert_int_eq(add(mem, i * MiB, PAGE, i * MiB, 0, fd), (int)i);
	ck_assert_int_eq(guest_mem_find(mem, &middle), 1);
	ck_assert_int_eq(guest_mem_add(mem, &middle, fd, &e), -1); /* twice */
	ck_assert_int_eq(guest_mem_remove(mem, &middle, &e), 1);
	ck_assert_int_eq(guest_mem_find(mem, &middle), -1);
	ck_assert_int_eq(guest_mem_remove(mem, &middle, &e), -1);
	ck_assert_int_eq(e.kind, ERR_NOT_FOUND);
	ck_assert_ptr_null(guest_mem_gpa(mem, MiB, 1));
	ck_assert_ptr_nonnull(guest_mem_gpa(mem, 2 * MiB, 1));
	ck_assert_int_eq(add(mem, 9 * MiB, PAGE, 9 * MiB, 0, fd), 1);
	middle.uva++; /* not exactly this one */
	ck_assert_int_eq(guest_mem_remove(mem, &middle, &e), -1);
	close(fd);
	guest_mem_free(mem);
}
END_TEST

START_TEST(slots_are_counted)
{
	struct guest_mem *mem = guest_mem_new();
	int fd = memfd(PAGE);

	/* Inserted from both ends towards the middle, so that the order is put to the test. */
	for (unsigned int i = 0; i < GUEST_MEM_MAX_REGIONS; i++) {
		uint64_t at = (i % 2 ? 1000 - i : i) * MiB;

		ck_assert_int_eq(add(mem, at, PAGE, 2000 * MiB - at, 0, fd), (int)i);
	}
	ck_assert_int_eq(add(mem, 5000 * MiB, PAGE, 5000 * MiB, 0, fd), -1);
	for (unsigned int i = 0; i < GUEST_MEM_MAX_REGIONS; i++) {
		uint64_t at = (i % 2 ? 1000 - i : i) * MiB;

		ck_assert_ptr_nonnull(guest_mem_gpa(mem, at, PAGE));
		ck_assert_ptr_eq(guest_mem_gpa(mem, at, 1), guest_mem_uva(mem, 2000 * MiB - at, 1));
		ck_assert_ptr_null(guest_mem_gpa(mem, at + PAGE, 1));
	}
	close(fd);
	guest_mem_free(mem);
}
END_TEST

static unsigned int open_fds(void)
{
	DIR *dir = opendir("/proc/self/fd");
	unsigned int n = 0;

	while (readdir(dir))
		n++;
	closedir(dir);
	return n;
}

static unsigned int mappings(void)
{
	FILE *maps = fopen("/proc/self/maps", "re");
	unsigned int n = 0;
	char line[512];

	while (fgets(line, sizeof(line), maps))
		n += !!strstr(line, "memfd:guest");
	fclose(maps);
	return n;
}

START_TEST(nothing_leaks)
{
	struct guest_mem *mem = guest_mem_new();
	struct guest_region_desc desc = {0, PAGE, 0, 0};
	struct guest_region_desc wrong = {MiB, PAGE + 1, MiB, 0};
	int fd = memfd(PAGE);
	unsigned int fds = open_fds();

	for (int i = 0; i < 1000; i++) {
		ck_assert_int_eq(guest_mem_add(mem, &desc, fd, NULL), 0);
		ck_assert_int_eq(guest_mem_add(mem, &desc, fd, NULL), -1);
		ck_assert_int_eq(guest_mem_add(mem, &wrong, fd, NULL), -1);
		if (i % 2)
			ck_assert_int_eq(guest_mem_remove(mem, &desc, NULL), 0);
		else
			guest_mem_clear(mem);
	}
	ck_assert_uint_eq(open_fds(), fds);
	ck_assert_uint_eq(mappings(), 0);
	close(fd);
	guest_mem_free(mem);
}
END_TEST

START_TEST(a_file_that_shrinks_poisons)
{
	struct guest_mem *mem = guest_mem_new();
	int fd = memfd(4 * PAGE), guarded = memfd(PAGE);
	struct err e = ERR_INIT;
	volatile char *data, *guard;

	guard = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, guarded, 0);
	ck_assert_int_eq(add(mem, 0, 4 * PAGE, 0, 0, fd), 0);
	ck_assert_int_eq(guest_mem_catch_faults(mem, &e), 0);
	data = guest_mem_gpa(mem, 0, 4 * PAGE);
	memset((void *)data, 'x', 4 * PAGE);
	ck_assert_int_eq(ftruncate(fd, 2 * PAGE), 0);
	ck_assert_int_eq(data[2 * PAGE - 1], 'x');
	ck_assert(!guest_mem_is_poisoned(mem));
	ck_assert_int_eq(data[3 * PAGE + 7], 0);
	ck_assert(guest_mem_is_poisoned(mem));
	data[3 * PAGE + 7] = 'y'; /* ours alone now, and writable */
	data[2 * PAGE] = 'z';
	ck_assert_int_eq(data[0], 'x');
	guest_mem_free(mem);

	mem = guest_mem_new();
	ck_assert_int_eq(guest_mem_catch_faults(mem, &e), 0);
	guest_mem_guard(mem, GUARD_LOG, (void *)guard, PAGE);
	ck_assert_int_eq(ftruncate(guarded, 0), 0);
	guard[5] = 1;
	ck_assert(guest_mem_is_poisoned(mem));
	guest_mem_free(mem);
	close(fd);
	close(guarded);
}
END_TEST

/* Works without a single huge page: nothing is reserved, and the first touch is a fault. */
START_TEST(huge_pages_are_mapped_and_patched_whole)
{
	const uint64_t huge = 2 * MiB;
	struct guest_mem *mem = guest_mem_new();
	int fd = memfd_create("guest", MFD_CLOEXEC | MFD_HUGETLB | (21u << 26 /* of 2^21 bytes */));
	struct err e = ERR_INIT;
	volatile char *data;

	if (fd < 0 || ftruncate(fd, (off_t)(4 * huge)) < 0) {
		printf("SKIP huge pages: %s\n", strerror(errno));
		return;
	}
	ck_assert_int_eq(guest_mem_catch_faults(mem, &e), 0);
	ck_assert_int_eq(add(mem, 0, huge + 5, 0, huge - PAGE, fd), 0);
	ck_assert_int_eq(add(mem, 4 * MiB, 3 * huge + 1, 4 * MiB, huge, fd), -1);
	data = guest_mem_gpa(mem, 0, huge + 5);
	ck_assert_int_eq(ftruncate(fd, 0), 0);
	ck_assert_int_eq(data[PAGE + 7], 0);
	ck_assert(guest_mem_is_poisoned(mem));
	data[huge + 4] = 1;
	guest_mem_free(mem);
	ck_assert_uint_eq(mappings(), 0);
	close(fd);
}
END_TEST

static void fault_outside(void)
{
	int fd = memfd(PAGE);
	volatile char *data = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);

	if (ftruncate(fd, 0) == 0)
		data[0] = 1; /* in no region */
}

static void send_signal(void)
{
	raise(SIGBUS);
}

START_TEST(other_signals_are_fatal)
{
	void (*const deadly[])(void) = {fault_outside, send_signal};

	for (unsigned int i = 0; i < ARRAY_SIZE(deadly); i++) {
		int status;
		pid_t pid = fork();

		if (pid == 0) {
			struct guest_mem *mem = guest_mem_new();

			if (guest_mem_catch_faults(mem, NULL) == 0)
				deadly[i]();
			_exit(0);
		}
		ck_assert_int_eq(waitpid(pid, &status, 0), pid);
		ck_assert(WIFSIGNALED(status) && WTERMSIG(status) == SIGBUS);
	}
}
END_TEST

UNIT_MAIN(addresses_lead_to_the_right_byte, lookups_end_where_the_region_ends,
	buffers_may_cross_regions_that_meet, lies_are_refused, only_memory_is_mapped,
	odd_sizes_and_offsets_are_exact, slots_are_stable_and_reused, slots_are_counted,
	nothing_leaks, a_file_that_shrinks_poisons, huge_pages_are_mapped_and_patched_whole,
	other_signals_are_fatal)
