/* SPDX-License-Identifier: GPL-2.0-or-later */
/* lib/kmsg: records of the kernel's log, whole and in pieces. */
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#include "lib/cleanup.h"
#include "lib/fdio.h"
#include "lib/kmsg.h"
#include "tests/unit/unit.h"

static bool parse(const char *line, struct kmsg_record *r)
{
	return kmsg_parse(line, strlen(line), r);
}

START_TEST(records)
{
	struct kmsg_record r;

	ck_assert(parse("3,1207,5140900,-;DMAR: [DMA\\x09Write] \\x5cx", &r));
	ck_assert_uint_eq(r.level, 3);
	ck_assert_uint_eq(r.facility, 0);
	ck_assert_uint_eq(r.number, 1207);
	ck_assert_uint_eq(r.time_us, 5140900);
	ck_assert_str_eq(r.text, "DMAR: [DMA\tWrite] \\x");
	ck_assert(parse("30,1,2,c,caller=T1;from a program", &r));
	ck_assert_uint_eq(r.level, 6);
	ck_assert_uint_eq(r.facility, 3);
	ck_assert(parse("0,18446744073709551615,0,-;", &r));
	ck_assert_str_eq(r.text, "");
	ck_assert(parse("6,1,2,-;cut \\x0", &r));
	ck_assert_str_eq(r.text, "cut \\x0");
}
END_TEST

START_TEST(what_is_no_record)
{
	static const char *const lines[] = {"", ";", "6;x", "6,1;x", "6,1,2;x", "x,1,2,-;x",
		"6,,2,-;x", "6,18446744073709551616,2,-;x", "4294967296,1,2,-;x", "6,1,2,-",
		"6,1 ,2,-;x"};
	struct kmsg_record r;

	for (size_t i = 0; i < ARRAY_SIZE(lines); i++)
		ck_assert_msg(!parse(lines[i], &r), "'%s'", lines[i]);
}
END_TEST

START_TEST(long_lines_are_cut)
{
	char line[KMSG_TEXT_MAX + 100] = "6,1,2,-;";
	struct kmsg_record r;

	memset(line + 8, 'x', sizeof(line) - 9);
	ck_assert(parse(line, &r));
	ck_assert_uint_eq(strlen(r.text), KMSG_TEXT_MAX - 1);
}
END_TEST

/* --- reading ---------------------------------------------------------------------------------- */

static struct sysroot *make_root(char *path, size_t size)
{
	char dev[300];
	struct sysroot *root;
	struct err e = ERR_INIT;

	unit_path(path, size, "kmsg");
	ck_assert_ptr_nonnull(mkdtemp(path));
	snprintf(dev, sizeof(dev), "%s/dev", path);
	ck_assert_int_eq(mkdir(dev, 0700), 0);
	ck_assert_int_eq(sysroot_open(path, &root, &e), 0);
	return root;
}

static void say(int fd, const char *text)
{
	ck_assert_int_eq(fdio_write_all(fd, text, strlen(text)), 0);
}

START_TEST(pieces_of_a_fifo)
{
	char path[200], fifo[220];
	struct sysroot *root = make_root(path, sizeof(path));
	struct kmsg_record r;
	struct kmsg *k;
	struct err e = ERR_INIT;
	int fd;

	ck_assert_int_eq(kmsg_open(root, &k, &e), -1);
	ck_assert_str_eq(e.code, "FAULT-BLIND");
	snprintf(fifo, sizeof(fifo), "%s/dev/kmsg", path);
	ck_assert_int_eq(mkfifo(fifo, 0600), 0);
	ck_assert_int_eq(kmsg_open(root, &k, &e), 0);
	ck_assert(kmsg_is_live(k));
	fd = open(fifo, O_WRONLY);
	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(kmsg_next(k, &r, &e), 0);
	say(fd, "6,1,10,-;one\n KEY=value\nnonsense\n6,2,2");
	ck_assert_int_eq(kmsg_next(k, &r, &e), 1);
	ck_assert_str_eq(r.text, "one");
	ck_assert_int_eq(kmsg_next(k, &r, &e), 0);
	say(fd, "0,-;two\n6,3,30,-;three\n");
	ck_assert_int_eq(kmsg_next(k, &r, &e), 1);
	ck_assert_str_eq(r.text, "two");
	ck_assert_uint_eq(r.time_us, 20);
	ck_assert_int_eq(kmsg_next(k, &r, &e), 1);
	ck_assert_str_eq(r.text, "three");
	close(fd);
	ck_assert_int_eq(kmsg_next(k, &r, &e), 0); /* its writer's end is not the log's */
	kmsg_close(k);
	sysroot_close(root);
}
END_TEST

START_TEST(a_line_without_end_is_dropped)
{
	char path[200], file[220], text[20000];
	struct sysroot *root = make_root(path, sizeof(path));
	struct kmsg_record r;
	struct kmsg *k;
	struct err e = ERR_INIT;
	int fd;

	snprintf(file, sizeof(file), "%s/dev/kmsg", path);
	fd = open(file, O_WRONLY | O_CREAT, 0600);
	memset(text, 'x', sizeof(text));
	ck_assert_int_eq(fdio_write_all(fd, text, sizeof(text)), 0);
	say(fd, "\n6,9,1,-;nine\n");
	close(fd);
	ck_assert_int_eq(kmsg_open(root, &k, &e), 0);
	ck_assert(!kmsg_is_live(k));
	ck_assert_int_eq(kmsg_next(k, &r, &e), 1);
	ck_assert_uint_eq(r.number, 9);
	ck_assert_int_eq(kmsg_next(k, &r, &e), 0);
	kmsg_close(k);
	sysroot_close(root);
}
END_TEST

UNIT_MAIN(records, what_is_no_record, long_lines_are_cut, pieces_of_a_fifo,
	a_line_without_end_is_dropped)
