/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Virtual functions: the codec of their settings, SR-IOV on a tree that answers as the kernel would,
 * and their stages, stopped at each one. Hands exec the program that they are part of: this test.
 */
#include <limits.h>
#include <stdio.h>
#include <errno.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "config.h"
#ifdef IOVD_SANITIZERS
#include <sanitizer/lsan_interface.h>
#endif

#include "daemon/conf.h"
#include "daemon/daemon.h"
#include "daemon/events.h"
#include "daemon/hands.h"
#include "daemon/inventory.h"
#include "daemon/jobs.h"
#include "daemon/loop.h"
#include "daemon/registry.h"
#include "daemon/vf.h"
#include "lib/cleanup.h"
#include "lib/nvme_virt.h"
#include "tests/unit/fake_pci.h"
#include "tests/unit/unit.h"

#define PF  "0000:01:00.0"
#define VF0 "0000:01:10.0"
#define VF1 "0000:01:10.1"

static struct err e;

/* --- settings --------------------------------------------------------------------------------- */

START_TEST(settings_survive_as_text)
{
	static const char text[] = "mac=52:54:00:12:34:56,vlan=4094,qos=7,spoofchk=off,trust=on,"
				   "min_tx_rate=1,max_tx_rate=4294967295,state=disable";
	char again[VF_SETTINGS_TEXT];
	struct vf_settings s, few = {0}, none;

	ck_assert_msg(vf_settings_read(text, &s, &e) == 0, "%s", e.msg);
	vf_settings_write(&s, again);
	ck_assert_str_eq(again, text);
	ck_assert_int_eq(vf_settings_add(&few, "vlan", "5", &e), 0);
	ck_assert_int_eq(vf_settings_add(&few, "mac", "00:00:00:00:00:00", &e), 0);
	vf_settings_merge(&s, &few);
	s = vf_settings_of(&s, &few);
	vf_settings_write(&s, again);
	ck_assert_str_eq(again, "mac=00:00:00:00:00:00,vlan=5");
	ck_assert_int_eq(vf_settings_read("", &none, &e), 0);
	ck_assert_uint_eq(none.has, 0);
}
END_TEST

static struct vf_settings settings(const char *text)
{
	struct vf_settings s;

	ck_assert_int_eq(vf_settings_read(text, &s, &e), 0);
	return s;
}

START_TEST(only_what_differs_is_set)
{
	const struct vf_settings now = settings("mac=52:54:00:12:34:56,vlan=10,trust=on");
	struct vf_settings wanted, differing = vf_settings_differing(&now, &now);
	char text[VF_SETTINGS_TEXT];

	ck_assert_uint_eq(differing.has, 0);
	wanted = settings("mac=52:54:00:12:34:57,vlan=10,qos=0,trust=off");
	differing = vf_settings_differing(&wanted, &now);
	vf_settings_write(&differing, text);
	ck_assert_str_eq(text, "mac=52:54:00:12:34:57,qos=0,trust=off");
}
END_TEST

START_TEST(wrong_settings_are_refused)
{
	static const char *const wrong[][2] = {{"vlan", "4095"}, {"vlan", "-1"}, {"vlan", ""},
		{"qos", "8"}, {"spoofchk", "yes"}, {"trust", "1"}, {"state", "up"},
		{"max_tx_rate", "4294967296"}, {"mac", "52:54:00:12:34"},
		{"mac", "52:54:00:12:34:56:78"}, {"mac", "52:54:00:12:34:567"},
		{"mac", "01:00:5e:00:00:01"}, {"mac", " 2:54:00:12:34:56"}, {"mac", ""}};
	struct vf_settings s = {0};

	for (size_t i = 0; i < ARRAY_SIZE(wrong); i++) {
		ck_assert_int_eq(vf_settings_add(&s, wrong[i][0], wrong[i][1], &e), -1);
		ck_assert_str_eq(e.code, "VF-VALUE");
		ck_assert_int_eq(e.kind, ERR_USAGE);
	}
	ck_assert_int_eq(vf_settings_add(&s, "colour", "red", &e), -1);
	ck_assert_str_eq(e.code, "VF-KEY");
	ck_assert_uint_eq(s.has, 0);
	ck_assert_int_eq(vf_settings_read("vlan", &s, &e), -1);
}
END_TEST

/* --- NVMe ------------------------------------------------------------------------------------- */

START_TEST(controllers_are_read)
{
	uint8_t data[NVME_IDENTIFY_BYTES] = {[0] = 0x34,
		[1] = 0x12,
		[32] = 8,
		[40] = 6,
		[44] = 4,
		[46] = 2,
		[64] = 4,
		[72] = 4,
		[76] = 4};
	struct nvme_primary p;
	struct nvme_secondary s;

	nvme_primary_read(data, &p);
	ck_assert_uint_eq(p.id, 0x1234);
	ck_assert_uint_eq(p.queues.flexible, 8);
	ck_assert_uint_eq(p.queues.with_primary, 6);
	ck_assert_uint_eq(p.queues.secondary_max, 4);
	ck_assert_uint_eq(p.queues.granularity, 2);
	ck_assert_uint_eq(p.vectors.flexible, 4);
	ck_assert_uint_eq(p.vectors.granularity, 1); /* 0 there */
	memset(data, 0, sizeof(data));
	data[0] = 2;
	data[64] = 7, data[68] = 1, data[72] = 2, data[74] = 5, data[76] = 3;
	ck_assert(nvme_secondary_read(data, 1, &s));
	ck_assert(s.id == 7 && s.online && s.vf == 2 && s.queues == 5 && s.vectors == 3);
	ck_assert(!nvme_secondary_read(data, 2, &s));
	data[0] = 255; /* more than there is room for */
	ck_assert(nvme_secondary_read(data, 126, &s));
	ck_assert(!nvme_secondary_read(data, 127, &s));
}
END_TEST

START_TEST(shares_are_equal_and_enough)
{
	const struct nvme_resource r = {.flexible = 8, .secondary_max = 4, .granularity = 1};
	const struct nvme_resource pairs = {.flexible = 15, .secondary_max = 15, .granularity = 2};

	ck_assert_uint_eq(nvme_share_of(&r, 4, 2), 2);
	ck_assert_uint_eq(nvme_share_of(&r, 3, 2), 2);
	ck_assert_uint_eq(nvme_share_of(&r, 1, 2), 4); /* no more than it can have */
	ck_assert_uint_eq(nvme_share_of(&r, 5, 2), 0);
	ck_assert_uint_eq(nvme_share_of(&r, 0, 2), 0);
	ck_assert_uint_eq(nvme_share_of(&pairs, 3, 2), 4);
}
END_TEST

/* --- SR-IOV ----------------------------------------------------------------------------------- */

static struct sysroot *root;
static struct sysroot *own_root; /* until the inventory has one */

static void begin_tree(void)
{
	const char *path = fake_pci_new();

	fake_pci_add(PF, 1, "igb");
	fake_pci_sriov(PF, 7, 4);
	ck_assert_int_eq(sysroot_open(path, &own_root, &e), 0);
	root = own_root;
}

static struct sriov_facts look(void)
{
	struct sriov_facts facts;

	ck_assert_msg(sriov_look(root, PF, &facts, &e) == 0, "%s", e.msg);
	return facts;
}

START_TEST(count_goes_by_none_only)
{
	char vf[PCI_ADDR_MAX];

	begin_tree();
	ck_assert_uint_eq(look().total, 7);
	ck_assert_uint_eq(look().count, 0);
	ck_assert(look().probes);
	ck_assert_int_eq(sriov_set_count(root, PF, 0, 2, 0, &e), 0);
	ck_assert_uint_eq(look().count, 2);
	ck_assert_int_eq(sriov_set_count(root, PF, 0, 2, 0, &e), 0); /* is so */
	ck_assert_int_eq(sriov_vf(root, PF, 1, vf), 0);
	ck_assert_str_eq(vf, VF1);
	ck_assert_int_eq(sriov_index(root, PF, VF1), 1);
	ck_assert_int_eq(sriov_index(root, PF, PF), -1);
	ck_assert_int_eq(sriov_set_count(root, PF, 3, 0, 0, &e), -1);
	ck_assert_str_eq(e.code, "VF-FOREIGN");
	ck_assert_int_eq(sriov_set_count(root, PF, 2, 0, look().mark, &e), 0);
	ck_assert_int_eq(sriov_set_count(root, PF, 0, 5, 0, &e), -1);
	ck_assert_int_eq(e.sys, ENOMEM);
	ck_assert_ptr_nonnull(strstr(e.evidence, "igb"));
	sysroot_close(root);
}
END_TEST

START_TEST(another_birth_has_another_mark)
{
	uint64_t mark;

	begin_tree();
	ck_assert_uint_eq(look().mark, 0);
	ck_assert_int_eq(sriov_set_count(root, PF, 0, 2, 0, &e), 0);
	mark = look().mark;
	ck_assert_uint_eq(look().mark, mark);
	fake_pci_add("0000:02:00.0", 2, NULL); /* so that no file system gives the number again */
	ck_assert_int_eq(sriov_set_count(root, PF, 2, 0, mark, &e), 0);
	fake_pci_add("0000:03:00.0", 3, NULL);
	ck_assert_int_eq(sriov_set_count(root, PF, 0, 2, 0, &e), 0);
	ck_assert_uint_ne(look().mark, mark);
	ck_assert_int_eq(sriov_set_count(root, PF, 2, 0, mark, &e), -1);
	ck_assert_str_eq(e.code, "VF-FOREIGN");
	ck_assert_uint_eq(look().count, 2);
	sysroot_close(root);
}
END_TEST

START_TEST(function_without_sriov_is_refused)
{
	struct sriov_facts facts;

	begin_tree();
	fake_pci_add("0000:02:00.0", 2, "nvme");
	ck_assert_int_eq(sriov_look(root, "0000:02:00.0", &facts, &e), -1);
	ck_assert_str_eq(e.code, "SRIOV-NONE");
	ck_assert_int_eq(e.kind, ERR_REFUSED);
	sysroot_close(root);
}
END_TEST

/* --- the stages ------------------------------------------------------------------------------- */

/* What a daemon has that stages of VFs need; one "run" of it is between start() and crash(). */
static struct daemon d;
static struct conf conf;
static struct err ended_by;
static unsigned int ends, steps, crash_at;

/* What works when it crashes is lost with it, as with a process: that is no leak. */
static void do_not_look_for_leaks(void)
{
#ifdef IOVD_SANITIZERS
	__lsan_disable();
#endif
}

static void start(void)
{
	char path[PATH_MAX + 8];
	auto_free char *aside = NULL;

	do_not_look_for_leaks();
	str_copy(conf.sysroot, sizeof(conf.sysroot), getenv("FAKE_PCI_ROOT"));
	snprintf(path, sizeof(path), "%s/db", conf.sysroot);
	d = (struct daemon){.conf = &conf, .loop = loop_new(&e)};
	d.hands = hands_new(d.loop, &e);
	d.store = store_open(path, &registry_schema, &aside, &e);
	ck_assert_ptr_nonnull(d.store);
	ck_assert_int_eq(inventory_new(conf.sysroot, NULL, &d.inventory, &e), 0);
	sysroot_close(own_root);
	own_root = NULL;
	root = (struct sysroot *)inventory_sysroot(d.inventory);
	ends = steps = 0;
	crash_at = UINT_MAX;
}

/*
 * The daemon is gone; a hand that works goes on to its end, as it would. The executor has no end: it
 * and its loop are forgotten as the process would be, but not lost to a leak checker.
 */
static void crash(void)
{
	static struct watch_loop *forgotten[128];
	static unsigned int count;

	ck_assert_uint_lt(count, ARRAY_SIZE(forgotten));
	forgotten[count++] = d.loop;
	ck_assert_ptr_nonnull(forgotten[0]);
	hands_free(d.hands);
	store_close(d.store);
	inventory_free(d.inventory);
	while (waitpid(-1, NULL, 0) > 0) {
	}
}

static void on_end(void *arg, const struct err *why)
{
	(void)arg;
	ends++;
	ended_by = why ? *why : (struct err)ERR_INIT;
	loop_stop(d.loop);
}

static void on_step(void *arg, const char *stage, unsigned int percent)
{
	(void)arg;
	(void)stage;
	(void)percent;
	if (steps++ == crash_at)
		loop_stop(d.loop);
}

static void stop_loop(void *arg, unsigned int events)
{
	(void)arg;
	(void)events;
	loop_stop(d.loop);
}

static const struct vf_caller caller = {.done = on_end, .progress = on_step};

static void change(uint32_t to)
{
	const struct sriov_facts now = look();

	ck_assert_int_eq(vf_change_count(&d, PF, &now, to, &caller, &e), 0);
	ck_assert_int_eq(loop_run(d.loop, &e), 0);
}

static bool is_ours(void)
{
	const struct sriov_facts now = look();
	struct vf_row row;

	ck_assert_int_eq(vf_row_load(d.store, PF, &row, &e), 0);
	return vf_row_is_of(&row, &now);
}

START_TEST(drivers_are_kept_from_new_ones)
{
	begin_tree();
	start();
	fake_pci_log();
	change(2);
	ck_assert_msg(ends == 1 && ended_by.kind == ERR_NONE, "%s", ended_by.msg);
	ck_assert_str_eq(fake_pci_log(),
		PF "/sriov_drivers_autoprobe=0\n" PF "/sriov_numvfs=2\n" VF0
		   "/driver_override=none\n" VF1 "/driver_override=none\n" PF
		   "/sriov_drivers_autoprobe=1\n");
	ck_assert_str_eq(fake_pci_driver_of(VF0), "");
	ck_assert_str_eq(fake_pci_attr(PF, "sriov_drivers_autoprobe"), "1");
	ck_assert(is_ours());
	change(4);
	ck_assert_int_eq(ended_by.kind, ERR_NONE);
	ck_assert_uint_eq(look().count, 4);
	ck_assert(is_ours());
	change(0);
	ck_assert_int_eq(ended_by.kind, ERR_NONE);
	ck_assert_uint_eq(look().count, 0);
	crash();
}
END_TEST

START_TEST(autoprobe_that_was_off_stays_off)
{
	struct sysfs_dir pf;

	begin_tree();
	start();
	sysfs_dir_init(&pf, root, "sys/bus/pci/devices/" PF);
	ck_assert_int_eq(sysfs_write_text(&pf, "sriov_drivers_autoprobe", "0"), 0);
	change(2);
	ck_assert_int_eq(ended_by.kind, ERR_NONE);
	ck_assert_str_eq(fake_pci_attr(PF, "sriov_drivers_autoprobe"), "0");
	crash();
}
END_TEST

START_TEST(failure_leaves_what_was_there)
{
	begin_tree();
	start();
	change(5); /* there is room for 4 */
	ck_assert_int_eq(ended_by.kind, ERR_ROLLED_BACK);
	ck_assert_uint_eq(look().count, 0);
	ck_assert_str_eq(fake_pci_attr(PF, "sriov_drivers_autoprobe"), "1");
	change(3);
	ck_assert_int_eq(ended_by.kind, ERR_NONE);
	change(5);
	ck_assert_int_eq(ended_by.kind, ERR_ROLLED_BACK);
	ck_assert_uint_eq(look().count, 3);
	ck_assert_str_eq(fake_pci_driver_of(VF0), "");
	ck_assert_str_eq(fake_pci_attr(PF, "sriov_drivers_autoprobe"), "1");
	ck_assert_msg(is_ours(), "those that were made again are not known as ours");
	crash();
}
END_TEST

static void collect(void *arg, const struct journal_op *op)
{
	struct journal_op *found = arg;

	ck_assert_int_eq(found->id, 0);
	*found = *op;
}

/* As the next daemon does. */
static void restart(void)
{
	struct journal_op op = {0};
	int rc;

	start();
	ck_assert_int_eq(journal_each(d.store, collect, &op, &e), 0);
	if (!op.id)
		return;
	rc = vf_resume(&d, &op, &caller, &e);
	ck_assert_msg(rc >= 0, "%s", e.msg);
	if (rc > 0) {
		ck_assert_int_eq(loop_run(d.loop, &e), 0);
		ck_assert_msg(ends == 1 && ended_by.kind == ERR_NONE, "%s", ended_by.msg);
	} else {
		ck_assert_int_eq(journal_close(d.store, &op, &e), 0);
	}
	memset(&op, 0, sizeof(op));
	ck_assert_int_eq(journal_each(d.store, collect, &op, &e), 0);
	ck_assert_int_eq(op.id, 0);
}

/* From `from` to `to` VFs, with a crash at stage `at`. False when there is no such stage. */
static bool crash_on_the_way(uint32_t from, uint32_t to, unsigned int at)
{
	bool crashed;

	begin_tree();
	start();
	if (from)
		change(from);
	ends = steps = 0;
	crash_at = at;
	change(to);
	crashed = ends == 0;
	crash();
	if (!crashed)
		return false;
	restart();
	ck_assert_msg(look().count == from || look().count == to, "%u VFs after stage %u",
		look().count, at);
	ck_assert(is_ours() == (look().count != 0));
	ck_assert_str_eq(fake_pci_attr(PF, "sriov_drivers_autoprobe"), "1");
	if (look().count)
		ck_assert_str_eq(fake_pci_override_of(VF0), "none");
	crash();
	return true;
}

/* The last stage is the end. */
static void crash_at_each_stage(uint32_t from, uint32_t to, const struct stages_table *table)
{
	unsigned int at = 0;

	while (crash_on_the_way(from, to, at))
		at++;
	ck_assert_uint_eq(at, table->count - 1);
}

START_TEST(crash_at_each_stage_of_making_is_before_or_after)
{
	crash_at_each_stage(0, 2, &vf_create_table);
}
END_TEST

START_TEST(crash_at_each_stage_of_another_number_is_before_or_after)
{
	crash_at_each_stage(1, 2, &vf_create_table);
}
END_TEST

START_TEST(crash_at_each_stage_of_removing_is_before_or_after)
{
	crash_at_each_stage(2, 0, &vf_remove_table);
}
END_TEST

START_TEST(others_are_left_alone_by_a_removal)
{
	struct vf_row row;

	begin_tree();
	start();
	change(2);
	ends = steps = 0;
	crash_at = 1; /* it is committed */
	change(0);
	crash();
	/* somebody else does it, and then makes his own */
	ck_assert_int_eq(sysroot_open(conf.sysroot, &root, &e), 0);
	if (look().count)
		ck_assert_int_eq(sriov_set_count(root, PF, 2, 0, 0, &e), 0);
	ck_assert_int_eq(sriov_set_count(root, PF, 0, 3, 0, &e), 0);
	sysroot_close(root);
	restart();
	ck_assert_uint_eq(look().count, 3);
	ck_assert_int_eq(vf_row_load(d.store, PF, &row, &e), 0);
	ck_assert_int_eq(row.kept, VF_NONE);
	crash();
}
END_TEST

/* A new boot: no VFs, and the store's wish from the one before. */
static void reboot_with(uint32_t count, const char *fingerprint)
{
	struct vf_row row = {.kept = VF_MADE, .count = count, .wanted = count, .probes = true};

	start();
	d.events = events_new(&e);
	d.jobs = jobs_new(d.loop, d.events, &e);
	str_copy(row.pf, sizeof(row.pf), PF);
	str_copy(row.boot, sizeof(row.boot), "the boot before");
	str_copy(row.fingerprint, sizeof(row.fingerprint), fingerprint);
	ck_assert_int_eq(vf_row_keep(d.store, &row, &e), 0);
	vf_begin(&d);
}

static void run_for(uint64_t ms)
{
	struct watch *timer = d.loop->ops->add_timer(d.loop, ms, stop_loop, NULL, &e);

	ck_assert_int_eq(loop_run(d.loop, &e), 0);
	d.loop->ops->remove(timer);
}

static const char *pf_fingerprint(void)
{
	static char fingerprint[33];
	struct inventory *inv;

	ck_assert_int_eq(inventory_new(getenv("FAKE_PCI_ROOT"), NULL, &inv, &e), 0);
	strcpy(fingerprint, inventory_find(inv, DEVICE_PCI, PF)->fingerprint);
	inventory_free(inv);
	return fingerprint;
}

START_TEST(they_are_made_again_after_a_boot)
{
	uint64_t end_ms = now_ms() + 20000;

	begin_tree();
	reboot_with(3, pf_fingerprint());
	while (!is_ours() && now_ms() < end_ms)
		run_for(1);
	ck_assert_uint_eq(look().count, 3);
	ck_assert(is_ours());
	crash();
}
END_TEST

/* Another device, other VFs, or one that does not work out: nothing is made, the wish is kept. */
START_TEST(a_wish_that_cannot_be_waits)
{
	struct vf_row row;

	begin_tree();
	reboot_with(3, "another device");
	run_for(100);
	ck_assert_uint_eq(look().count, 0);
	vf_end();
	crash();

	begin_tree();
	ck_assert_int_eq(sriov_set_count(root, PF, 0, 2, 0, &e), 0);
	reboot_with(3, pf_fingerprint());
	run_for(300);
	ck_assert_uint_eq(look().count, 2);
	crash();

	begin_tree();
	reboot_with(5, pf_fingerprint()); /* there is room for 4 */
	do {
		run_for(50);
		ck_assert_int_eq(vf_row_load(d.store, PF, &row, &e), 0);
	} while (row.boot[0] || row.kept != VF_MADE);
	ck_assert_uint_eq(row.count, 5);
	ck_assert_uint_eq(look().count, 0);
	vf_end();
	crash();
}
END_TEST

#define TESTS                                                                                      \
	settings_survive_as_text, only_what_differs_is_set, wrong_settings_are_refused,            \
		controllers_are_read, shares_are_equal_and_enough, count_goes_by_none_only,        \
		another_birth_has_another_mark, function_without_sriov_is_refused,                 \
		drivers_are_kept_from_new_ones, autoprobe_that_was_off_stays_off,                  \
		failure_leaves_what_was_there, crash_at_each_stage_of_making_is_before_or_after,   \
		crash_at_each_stage_of_another_number_is_before_or_after,                          \
		crash_at_each_stage_of_removing_is_before_or_after,                                \
		others_are_left_alone_by_a_removal, they_are_made_again_after_a_boot,              \
		a_wish_that_cannot_be_waits

int main(int argc, char **argv)
{
	const TTest *const tests[] = {TESTS};

	if (strcmp(argv[0], HAND_NAME) == 0)
		return hand_main(argc, argv);
	return unit_run(__FILE__, tests, ARRAY_SIZE(tests));
}
