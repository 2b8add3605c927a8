/* SPDX-License-Identifier: GPL-2.0-or-later */
/* lib/backends/dirty_log, and that virtq marks all it writes. */
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "tests/unit/driver.h"
#include "tests/unit/unit.h"

#define PAGE     DIRTY_LOG_PAGE
#define DATA     (GUEST_BASE + 0x100000)
#define LOG_SIZE 256u /* bytes: 2048 pages, 8 MiB */

/* A log in a file, at an offset, with `fill` around it. */
struct log_file {
	struct dirty_log *log;
	uint8_t *file; /* all of it */
	uint8_t *bits;
	size_t len;
	int fd;
};

static void log_open(struct log_file *f, uint64_t offset, uint64_t size)
{
	struct err e = ERR_INIT;

	f->len = offset + size + 64;
	f->fd = memfd_create("log", MFD_CLOEXEC);
	ck_assert_int_eq(ftruncate(f->fd, (off_t)f->len), 0);
	f->file = mmap(NULL, f->len, PROT_READ | PROT_WRITE, MAP_SHARED, f->fd, 0);
	ck_assert_ptr_ne(f->file, MAP_FAILED);
	f->bits = f->file + offset;
	ck_assert_msg(dirty_log_open(&f->log, f->fd, size, offset, size * 8 * PAGE, &e) == 0, "%s",
		e.msg);
}

static void log_close(struct log_file *f)
{
	dirty_log_close(f->log);
	munmap(f->file, f->len);
	close(f->fd);
}

static bool marked(const struct log_file *f, uint64_t gpa)
{
	return f->bits[gpa / PAGE / 8] >> (gpa / PAGE % 8) & 1;
}

static unsigned int marks(const struct log_file *f)
{
	unsigned int n = 0;

	for (size_t i = 0; i < f->len; i++)
		n += (unsigned int)__builtin_popcount(f->file[i]);
	return n;
}

START_TEST(pages_are_exact)
{
	const struct {
		uint64_t gpa, len, first, count;
	} cases[] = {
		{0, 1, 0, 1},
		{PAGE - 1, 1, 0, 1},
		{PAGE - 1, 2, 0, 2},
		{PAGE, PAGE, 1, 1},
		{PAGE, PAGE + 1, 1, 2},
		{7 * PAGE, 2 * PAGE, 7, 2},
		{3 * PAGE, 30 * PAGE, 3, 30},
		{8 * PAGE, 8 * PAGE, 8, 8},
		{(LOG_SIZE * 8 - 1) * PAGE, PAGE, LOG_SIZE * 8 - 1, 1},
		{0, LOG_SIZE * 8ull * PAGE, 0, LOG_SIZE * 8},
		{5 * PAGE, 0, 0, 0},
	};
	const uint64_t offsets[] = {0, 1, 4095, 4096, 5001};

	for (unsigned int o = 0; o < ARRAY_SIZE(offsets); o++)
		for (unsigned int i = 0; i < ARRAY_SIZE(cases); i++) {
			struct log_file f;

			log_open(&f, offsets[o], LOG_SIZE);
			dirty_log_mark(f.log, cases[i].gpa, cases[i].len);
			ck_assert_uint_eq(marks(&f), cases[i].count);
			for (uint64_t n = 0; n < cases[i].count; n++)
				ck_assert(marked(&f, (cases[i].first + n) * PAGE));
			ck_assert_uint_eq(dirty_log_overflows(f.log), 0);
			log_close(&f);
		}
}
END_TEST

START_TEST(outside_is_counted)
{
	const uint64_t end = LOG_SIZE * 8ull * PAGE;
	struct log_file f;

	log_open(&f, 100, LOG_SIZE);
	dirty_log_mark(f.log, end, 1);
	dirty_log_mark(f.log, end - 1, 2);
	dirty_log_mark(f.log, UINT64_MAX, 1);
	dirty_log_mark(f.log, UINT64_MAX, 2);
	dirty_log_mark(f.log, 0, UINT64_MAX);
	dirty_log_mark(f.log, end, 0); /* nothing is nowhere */
	ck_assert_uint_eq(dirty_log_overflows(f.log), 5);
	ck_assert_uint_eq(marks(&f), 0);
	dirty_log_mark(NULL, 0, 1);
	log_close(&f);
}
END_TEST

START_TEST(bad_logs_are_refused)
{
	const struct {
		uint64_t size, offset, covers;
		bool good;
	} cases[] = {
		{0, 0, 0, false},
		{0, 0, 1, false},
		{1, 0, 8 * PAGE, true},
		{1, 0, 8 * PAGE + 1, false},
		{2, 0, 8 * PAGE + 1, true},
		{100, 0, 1, true},
		{101, 0, 1, false}, /* the file ends */
		{100, 1, 1, false},
		{1, 99, 1, true},
		{1, 100, 1, false},
		{UINT64_MAX, 0, 1, false},
		{UINT64_MAX, 1, 1, false},
		{2, UINT64_MAX, 1, false},
		{UINT64_MAX / 2, UINT64_MAX / 2 + 2, 1, false},
		{100, 0, UINT64_MAX, false},
	};
	int fd = memfd_create("log", MFD_CLOEXEC);

	ck_assert_int_eq(ftruncate(fd, 100), 0);
	for (unsigned int i = 0; i < ARRAY_SIZE(cases); i++) {
		struct dirty_log *log = NULL;
		struct err e = ERR_INIT;
		int ret = dirty_log_open(
			&log, fd, cases[i].size, cases[i].offset, cases[i].covers, &e);

		ck_assert_msg(ret == (cases[i].good ? 0 : -1), "case %u: %s", i, e.msg);
		ck_assert_msg(cases[i].good || strstr(e.msg, "dirty log") == e.msg, "%s", e.msg);
		dirty_log_close(log);
	}
	close(fd);
}
END_TEST

struct rig {
	struct driver driver;
	struct device device;
	struct log_file file;
	int inflight_fd;
};

static void rig_open(struct rig *r, bool packed, bool log_used)
{
	struct virtq_config cfg;

	driver_open(&r->driver,
		(struct driver_options){.size = 8, .packed = packed, .event_idx = true});
	cfg = driver_config(&r->driver);
	r->inflight_fd = inflight_memfd(&r->driver);
	device_start(&r->device, &r->driver, r->inflight_fd, false);
	log_open(&r->file, 3, LOG_SIZE);
	virtq_set_log(r->device.q, r->file.log, log_used, cfg.log_gpa);
}

static void rig_close(struct rig *r)
{
	log_close(&r->file);
	device_close(&r->device);
	driver_close(&r->driver);
	close(r->inflight_fd);
}

static void clear_log(struct rig *r)
{
	memset(r->file.file, 0, r->file.len);
}

/* Every page that the guest sees changed is marked, and no buffer that was only read. */
static void writes_are_marked(bool packed)
{
	struct driver_buf bufs[] = {
		{DATA, 16},
		{DATA + 10 * PAGE + 100, 2 * PAGE},
		{GUEST_SEAM - 10, 20},
		{DATA + 20 * PAGE, 1},
	};
	struct virtq_chain *chain;
	uint64_t ring;
	struct rig r;

	rig_open(&r, packed, true);
	ring = driver_ring_gpa(&r.driver);
	ck_assert(marked(&r.file, ring)); /* what a predecessor may have left unmarked */
	clear_log(&r);
	driver_add(&r.driver, bufs, 1, 3, 0);
	chain = virtq_pop(r.device.q);
	ck_assert_uint_eq(marks(&r.file), 0);
	virtq_push(r.device.q, chain, (uint32_t)chain->in_len);
	for (int i = 10; i <= 12; i++)
		ck_assert(marked(&r.file, DATA + i * PAGE));
	ck_assert(marked(&r.file, GUEST_SEAM - 1));
	ck_assert(marked(&r.file, GUEST_SEAM));
	ck_assert(marked(&r.file, DATA + 20 * PAGE)); /* the status byte */
	ck_assert(!marked(&r.file, DATA));
	virtq_publish(r.device.q);
	ck_assert(marked(&r.file, ring));
	ck_assert_uint_eq(marks(&r.file), 7);

	/* A write of less than all. */
	clear_log(&r);
	driver_add(&r.driver, bufs, 1, 3, 0);
	chain = virtq_pop(r.device.q);
	virtq_push(r.device.q, chain, PAGE - 100);
	ck_assert(marked(&r.file, DATA + 10 * PAGE));
	ck_assert(!marked(&r.file, DATA + 11 * PAGE));
	ck_assert(!marked(&r.file, DATA + 20 * PAGE));
	virtq_publish(r.device.q);

	/* "Kick me" is a write as well. */
	clear_log(&r);
	virtq_kicks_on(r.device.q);
	ck_assert_uint_eq(marks(&r.file), 1);
	ck_assert(marked(&r.file, driver_config(&r.driver).log_gpa));
	ck_assert_uint_eq(dirty_log_overflows(r.file.log), 0);
	rig_close(&r);
}

START_TEST(split_writes_are_marked)
{
	writes_are_marked(false);
}
END_TEST

START_TEST(packed_writes_are_marked)
{
	writes_are_marked(true);
}
END_TEST

START_TEST(the_ring_only_when_asked)
{
	struct driver_buf bufs[] = {{DATA, 16}};

	for (int packed = 0; packed < 2; packed++) {
		struct rig r;

		rig_open(&r, packed, false);
		ck_assert_uint_eq(marks(&r.file), 0);
		driver_add(&r.driver, bufs, 1, 0, 0);
		ck_assert_uint_eq(device_serve(&r.device), 1);
		virtq_kicks_on(r.device.q);
		ck_assert_uint_eq(marks(&r.file), 0);
		driver_add(&r.driver, bufs, 0, 1, 0);
		ck_assert_uint_eq(device_serve(&r.device), 1);
		ck_assert_uint_eq(marks(&r.file), 1);
		rig_close(&r);
	}
}
END_TEST

START_TEST(a_used_ring_outside_the_log_is_counted)
{
	struct driver_buf bufs[] = {{DATA, 16}};
	struct rig r;

	rig_open(&r, false, true);
	virtq_set_log(r.device.q, r.file.log, true, UINT64_MAX - 4);
	driver_add(&r.driver, bufs, 1, 0, 0);
	ck_assert_uint_eq(device_serve(&r.device), 1);
	ck_assert_uint_gt(dirty_log_overflows(r.file.log), 0);
	virtq_set_log(r.device.q, NULL, false, 0);
	driver_add(&r.driver, bufs, 0, 1, 0);
	ck_assert_uint_eq(device_serve(&r.device), 1);
	rig_close(&r);
}
END_TEST

UNIT_MAIN(pages_are_exact, outside_is_counted, bad_logs_are_refused, split_writes_are_marked,
	packed_writes_are_marked, the_ring_only_when_asked, a_used_ring_outside_the_log_is_counted)
