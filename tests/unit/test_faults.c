/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * daemon/faults_map.c, faults_told.c: whose a fault is, what kind of address it was, and who hears of it; on
 * the host of scene "groups", some of whose devices a machine has.
 */
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "daemon/daemon.h"
#include "daemon/faults_priv.h"
#include "daemon/inventory.h"
#include "lib/backends/session_page_layout.h"
#include "tests/unit/tree.h"
#include "tests/unit/unit.h"

#define MEBI 0x100000ull

static struct daemon d;
static struct faults f;
static struct store *store;
static char told[256]; /* "a1:its link is down*1 " for each */

static void listen(void *arg, struct attachment *a, enum faults_what what, uint64_t count)
{
	size_t len = strlen(told);

	ck_assert_ptr_eq(arg, &f);
	snprintf(told + len, sizeof(told) - len, "%s:%s*%u ", a->spec.id, faults_what_names[what],
		(unsigned int)count);
}

static void begin(void)
{
	char path[128], *aside;
	struct err e = ERR_INIT;

	ck_assert_msg(inventory_new(tree_make("groups"), NULL, &d.inventory, &e) == 0, "%s", e.msg);
	unit_path(path, sizeof(path), "faults.db");
	unlink(path);
	store = store_open(path, &registry_schema, &aside, &e);
	ck_assert_msg(store, "%s", e.msg);
	d.registry = registry_new(store, NULL, "/", &e);
	ck_assert_ptr_nonnull(d.registry);
	f = (struct faults){.d = &d, .map_is_old = true};
	list_init(&f.entries);
	list_init(&f.counters);
	faults_set_listener(&f, listen, &f);
	told[0] = '\0';
}

static void end(void)
{
	faults_map_release(&f);
	registry_free(d.registry);
	store_close(store);
	inventory_free(d.inventory);
	tree_remove();
}

static struct attachment *give(const char *id, const char *device, const char *vm)
{
	struct attachment_spec spec = {.path = ATTACHMENT_PASSTHROUGH};
	struct err e = ERR_INIT;
	struct attachment *a;

	str_copy(spec.id, sizeof(spec.id), id);
	str_copy(spec.name, sizeof(spec.name), id);
	str_copy(spec.device, sizeof(spec.device), device);
	str_copy(spec.vm, sizeof(spec.vm), vm);
	a = registry_add(d.registry, &spec, &e);
	ck_assert_msg(a, "%s", e.msg);
	return a;
}

/* A worker's page, whose machine has memory from 1 MiB to 3 MiB; what was there before is not any more. */
static int page_of_memory(void)
{
	static struct session_page page;
	struct err e = ERR_INIT;
	int fd = session_page_create(&e);

	ck_assert_msg(fd >= 0, "%s", e.msg);
	ck_assert_int_eq(pread(fd, &page, sizeof(page), 0), (ssize_t)sizeof(page));
	page.regions[0] = (struct page_region){
		.desc = {.gpa = MEBI, .size = 2 * MEBI}, .epoch = page.mem_epoch};
	page.regions[1] = (struct page_region){
		.desc = {.gpa = 16 * MEBI, .size = MEBI}, .epoch = page.mem_epoch + 1};
	ck_assert_int_eq(pwrite(fd, &page, sizeof(page), 0), (ssize_t)sizeof(page));
	return fd;
}

static const char *class_of(const char *device, const char *vm, uint64_t iova)
{
	const struct fault fault = {.has_iova = true, .iova = iova};
	struct fault_entry entry = {.seq = 0};

	str_copy(entry.device, sizeof(entry.device), device);
	str_copy(entry.vm, sizeof(entry.vm), vm);
	return fault_class_names[faults_classify(&f, &fault, &entry)];
}

START_TEST(addresses_have_classes)
{
	const struct fault none = {.has_iova = false};
	const struct fault_entry nobody = {.seq = 0};
	char path[PATH_MAX + 64];
	FILE *bars;

	begin();
	snprintf(path, sizeof(path), "%s/sys/bus/pci/devices/0000:01:00.0/resource", tree_root);
	bars = fopen(path, "w");
	ck_assert_ptr_nonnull(bars);
	fputs("0x00000000fe000000 0x00000000fe003fff 0x0000000000040200\n"
	      "0x0000000000002000 0x000000000000201f 0x0000000000040101\n"
	      "0x0000000000000000 0x0000000000000000 0x0000000000000000\n",
		bars);
	fclose(bars);
	give("a1", "0000:01:00.0", "vm1");
	give("a2", "/srv/x.img", "vm1")->page_fd = page_of_memory();
	/* memory: exactly the machine's own, and only of that machine */
	ck_assert_str_eq(class_of("0000:01:00.0", "vm1", MEBI - 1), "unmapped");
	ck_assert_str_eq(class_of("0000:01:00.0", "vm1", MEBI), "ram");
	ck_assert_str_eq(class_of("0000:01:00.0", "vm1", 3 * MEBI - 1), "ram");
	ck_assert_str_eq(class_of("0000:01:00.0", "vm1", 3 * MEBI), "unmapped");
	ck_assert_str_eq(class_of("0000:01:00.0", "vm1", 16 * MEBI), "unmapped");
	ck_assert_str_eq(class_of("0000:01:00.0", "vm2", MEBI), "unmapped");
	ck_assert_str_eq(class_of("0000:01:00.0", "", MEBI), "unmapped");
	/* registers, of whichever device; I/O ports are none */
	ck_assert_str_eq(class_of("0000:01:00.0", "vm1", 0xfdffffff), "unmapped");
	ck_assert_str_eq(class_of("0000:01:00.0", "vm1", 0xfe000000), "bar");
	ck_assert_str_eq(class_of("0000:05:00.0", "", 0xfe003fff), "bar");
	ck_assert_str_eq(class_of("0000:01:00.0", "vm1", 0xfe004000), "unmapped");
	ck_assert_str_eq(class_of("0000:01:00.0", "vm1", 0x2000), "unmapped");
	/* reserved, of the device's own group */
	ck_assert_str_eq(class_of("0000:00:09.0", "", 0x8000000), "reserved");
	ck_assert_str_eq(class_of("0000:00:09.0", "", 0x7ffffff), "unmapped");
	ck_assert_str_eq(fault_class_names[faults_classify(&f, &none, &nobody)], "");
	end();
}
END_TEST

START_TEST(those_that_a_fault_concerns_are_told)
{
	begin();
	give("a1", "0000:01:00.0", "vm1");
	give("a2", "0000:05:00.0", "vm2");
	faults_report(&f, "0000:01:00.0", FAULTS_DEAD, 1);
	ck_assert_str_eq(told, "a1:it does not answer*1 ");
	told[0] = '\0';
	faults_news(&f, "removed", "0000:05:00.0");
	faults_news(&f, "added", "0000:05:00.0");
	faults_news(&f, "changed", "0000:05:00.0");
	ck_assert_str_eq(told, "a2:it is gone*1 a2:it is back*1 ");
	told[0] = '\0';
	faults_report(&f, "0000:7f:00.0", FAULTS_LINK, 1);
	faults_report(&f, "", FAULTS_LINK, 1);
	ck_assert_str_eq(told, "");
	end();
}
END_TEST

UNIT_MAIN(addresses_have_classes, those_that_a_fault_concerns_are_told)
