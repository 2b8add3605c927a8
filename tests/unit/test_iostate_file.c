/* SPDX-License-Identifier: GPL-2.0-or-later */
/* lib/migrate/iostate_file: the old file or the new one, and nothing that is not a file. */
#include <dirent.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/cleanup.h"
#include "lib/migrate/iostate_file.h"
#include "tests/unit/iostate_sample.h"
#include "tests/unit/unit.h"

static char dir[64], path[128];

/* A folder of its own for each test. */
static void make_folder(void)
{
	unit_path(dir, sizeof(dir), "iostate");
	ck_assert_ptr_nonnull(mkdtemp(dir));
	snprintf(path, sizeof(path), "%s/web1.state", dir);
}

static unsigned int count_files(void)
{
	auto_closedir DIR *d = opendir(dir);
	const struct dirent *entry;
	unsigned int count = 0;

	while ((entry = readdir(d)))
		count += strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0;
	return count;
}

static void remove_folder(void)
{
	unlink(path);
	ck_assert_int_eq(rmdir(dir), 0);
}

static struct buf sample(uint64_t seed)
{
	auto_iostate struct iostate *s = iostate_sample(seed);
	struct buf b;

	buf_init(&b, IOSTATE_MAX_BYTES);
	ck_assert_int_eq(iostate_encode(s, &b, NULL), 0);
	return b;
}

static void assert_holds(const struct buf *wanted)
{
	struct buf b;
	struct err e = ERR_INIT;

	buf_init(&b, IOSTATE_MAX_BYTES);
	ck_assert_msg(iostate_file_load(path, &b, &e) == 0, "%s", e.msg);
	ck_assert_uint_eq(b.len, wanted->len);
	ck_assert_mem_eq(b.data, wanted->data, b.len);
	buf_release(&b);
}

START_TEST(what_is_written_is_read)
{
	struct buf a = sample(0), b = sample(3);
	struct err e = ERR_INIT;
	struct stat st;

	make_folder();
	ck_assert_int_eq(iostate_file_write(path, a.data, a.len, &e), 0);
	assert_holds(&a);
	ck_assert_int_eq(stat(path, &st), 0);
	ck_assert_uint_eq(st.st_mode, S_IFREG | 0600);
	ck_assert_int_eq(iostate_file_write(path, b.data, b.len, &e), 0);
	assert_holds(&b);
	ck_assert(iostate_file_is(path));
	ck_assert_uint_eq(count_files(), 1);
	remove_folder();
	buf_release(&a);
	buf_release(&b);
}
END_TEST

START_TEST(a_full_file_system_leaves_the_old_file)
{
	const struct rlimit small = {100, 100}; /* as ENOSPC: a write that ends early */
	struct buf a = sample(0), b = sample(3);
	struct err e = ERR_INIT;

	make_folder();
	ck_assert_int_eq(iostate_file_write(path, a.data, a.len, &e), 0);
	signal(SIGXFSZ, SIG_IGN);
	ck_assert_int_eq(setrlimit(RLIMIT_FSIZE, &small), 0);
	ck_assert_int_eq(iostate_file_write(path, b.data, b.len, &e), -1);
	ck_assert_ptr_nonnull(strstr(e.msg, path));
	assert_holds(&a);
	ck_assert_uint_eq(count_files(), 1);
	remove_folder();
	buf_release(&a);
	buf_release(&b);
}
END_TEST

START_TEST(only_files_are_replaced_or_opened)
{
	static const char *const kinds[] = {"folder", "fifo", "link"};
	char other[160];

	for (size_t i = 0; i < ARRAY_SIZE(kinds); i++) {
		auto_iostate struct iostate *s = NULL;
		struct err e = ERR_INIT;

		make_folder();
		snprintf(other, sizeof(other), "%s/absent", dir);
		ck_assert_int_eq(i == 0   ? mkdir(path, 0700)
				 : i == 1 ? mkfifo(path, 0600)
					  : symlink(other, path),
			0);
		ck_assert_int_eq(iostate_file_write(path, "x", 1, &e), -1);
		ck_assert_str_eq(e.code, IOSTATE_NO_FILE);
		s = iostate_file_read(path, &e); /* must not wait for a writer */
		ck_assert_ptr_null(s);
		ck_assert_str_eq(e.code, i == 2 ? "SYS" : IOSTATE_NO_FILE);
		ck_assert(!iostate_file_is(path));
		if (i == 0)
			rmdir(path);
		remove_folder();
	}
}
END_TEST

START_TEST(a_file_over_the_limit_is_refused)
{
	auto_iostate struct iostate *s = NULL;
	struct err e = ERR_INIT;
	int fd;

	make_folder();
	fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
	ck_assert_int_eq(ftruncate(fd, (off_t)IOSTATE_MAX_BYTES + 1), 0);
	close(fd);
	s = iostate_file_read(path, &e);
	ck_assert_ptr_null(s);
	ck_assert_str_eq(e.code, IOSTATE_SIZE);
	remove_folder();
}
END_TEST

START_TEST(where_nothing_can_be_made_says_so)
{
	struct err e = ERR_INIT;

	ck_assert_int_eq(iostate_file_write("/nowhere/at/all", "x", 1, &e), -1);
	ck_assert_ptr_nonnull(strstr(e.msg, "No such file"));
	ck_assert_int_eq(iostate_file_write("/", "x", 1, &e), -1);
}
END_TEST

UNIT_MAIN(what_is_written_is_read, a_full_file_system_leaves_the_old_file,
	only_files_are_replaced_or_opened, a_file_over_the_limit_is_refused,
	where_nothing_can_be_made_says_so)
