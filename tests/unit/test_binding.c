/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * daemon/binding: groups are taken whole and given back as they were, on a tree that answers as the
 * kernel would. Hands are this program again, under their name, and write to the same tree.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "daemon/binding_keep.h"
#include "daemon/daemon.h"
#include "daemon/hands.h"
#include "daemon/inventory.h"
#include "daemon/loop.h"
#include "daemon/registry.h"
#include "tests/unit/fake_pci.h"
#include "tests/unit/unit.h"

#define NVME   "0000:01:00.0" /* alone in its group */
#define PAIR_A "0000:02:01.0" /* behind a bridge, in one group */
#define PAIR_B "0000:02:02.0"
#define BRIDGE "0000:00:03.0"
#define LONER  "0000:05:00.0" /* without a group */

static struct daemon d;
static struct err e, failure;
static unsigned int ended;
static const struct inventory_attachment *attached;

static void attachments(void *arg, inventory_visit_fn *visit, void *visit_arg)
{
	(void)arg;
	if (attached)
		visit(visit_arg, attached);
}

static void set_class(const char *root, const char *id, const char *class)
{
	char path[256];
	FILE *f;

	snprintf(path, sizeof(path), "%s/sys/bus/pci/devices/%s/class", root, id);
	f = fopen(path, "w");
	fputs(class, f);
	fclose(f);
}

static void open_daemon(void)
{
	char path[256], *aside;

	snprintf(path, sizeof(path), "%s/iovd.db", getenv("FAKE_PCI_ROOT"));
	d.loop = loop_new(&e);
	d.store = store_open(path, &registry_schema, &aside, &e);
	d.hands = hands_new(d.loop, &e);
	ck_assert_msg(d.store && d.hands, "%s", e.msg);
	ck_assert_int_eq(inventory_new(getenv("FAKE_PCI_ROOT"), NULL, &d.inventory, &e), 0);
	inventory_set_attachments(d.inventory, attachments, NULL);
}

static void close_daemon(void)
{
	inventory_free(d.inventory);
	hands_free(d.hands);
	store_close(d.store);
	loop_free(d.loop);
}

static void begin(void)
{
	const char *root = fake_pci_new();

	fake_pci_driver("vfio-pci", NULL);
	fake_pci_add(NVME, 1, "nvme");
	fake_pci_add(BRIDGE, 2, "pcieport");
	set_class(root, BRIDGE, "0x060400\n");
	fake_pci_add(PAIR_A, 2, "edu");
	fake_pci_add(PAIR_B, 2, NULL);
	fake_pci_add(LONER, -1, NULL);
	open_daemon();
}

static void on_done(void *arg, const struct err *why)
{
	(void)arg;
	memset(&failure, 0, sizeof(failure));
	if (why)
		failure = *why;
	ended++;
	loop_stop(d.loop);
}

static int try_take(const char *device, const char *holder, bool whole_group)
{
	const struct binding_ask ask = {.device = device,
		.driver = BIND_VFIO,
		.holder = holder,
		.whole_group = whole_group};
	unsigned int before = ended;

	memset(&e, 0, sizeof(e));
	if (binding_take(&d, &ask, on_done, NULL, &e) < 0)
		return -1;
	ck_assert_uint_eq(ended, before); /* from the loop only */
	ck_assert_int_eq(loop_run(d.loop, &e), 0);
	ck_assert_uint_eq(ended, before + 1);
	e = failure;
	return failure.kind == ERR_NONE ? 0 : -1;
}

static void take(const char *device, const char *holder)
{
	ck_assert_msg(try_take(device, holder, true) == 0, "%s: %s", e.msg, e.evidence);
}

static void refused(const char *device, bool whole_group, const char *code, const char *evidence)
{
	ck_assert_int_eq(try_take(device, "a1", whole_group), -1);
	ck_assert_str_eq(e.code, code);
	ck_assert_msg(strstr(e.evidence, evidence) || strstr(e.msg, evidence), "%s (%s)", e.msg,
		e.evidence);
	ck_assert_str_ne(e.fix, "");
	ck_assert_str_eq(fake_pci_log(), ""); /* nothing was touched */
	ck_assert(!binding_find(&d, device, "a1", NULL));
}

static void give_back(const char *holder)
{
	ck_assert_int_eq(binding_give_back(&d, holder, on_done, NULL, &e), 0);
	ck_assert_int_eq(loop_run(d.loop, &e), 0);
	ck_assert_msg(failure.kind == ERR_NONE, "%s: %s", failure.msg, failure.evidence);
}

static void has(const char *id, const char *driver, const char *override)
{
	const struct device *device = inventory_find(d.inventory, DEVICE_PCI, id);

	ck_assert_str_eq(fake_pci_driver_of(id), driver);
	ck_assert_str_eq(fake_pci_override_of(id), override);
	ck_assert_str_eq(device->driver, driver); /* the inventory knows */
}

START_TEST(function_is_taken_and_given_back)
{
	struct binding_row row;

	begin();
	take(NVME, "a1");
	has(NVME, "vfio-pci", "vfio-pci");
	ck_assert(binding_find(&d, NVME, "a1", &row));
	ck_assert_str_eq(row.old.driver, "nvme");
	ck_assert_str_eq(row.old.override, "");
	ck_assert_str_eq(row.driver, "vfio-pci");
	fake_pci_log();
	take(NVME, "a1"); /* again, as after a crash */
	ck_assert_str_eq(fake_pci_log(), "");
	give_back("a1");
	has(NVME, "nvme", "");
	ck_assert(!binding_find(&d, NVME, "a1", NULL));
	give_back("a1");
	has(NVME, "nvme", "");
	close_daemon();
}
END_TEST

START_TEST(group_is_taken_whole_or_not_at_all)
{
	begin();
	refused(PAIR_A, false, "GRP-SPLIT", PAIR_B);
	refused(PAIR_B, false, "GRP-SPLIT", PAIR_A " with driver edu");
	take(PAIR_A, "a1");
	has(PAIR_A, "vfio-pci", "vfio-pci");
	has(PAIR_B, "vfio-pci", "vfio-pci");
	has(BRIDGE, "pcieport", "");
	fake_pci_log();
	give_back("a1");
	has(PAIR_A, "edu", "");
	has(PAIR_B, "", "");
	/* last taken, first given back */
	ck_assert_ptr_nonnull(strstr(fake_pci_log(),
		"vfio-pci/unbind=" PAIR_B "\n" PAIR_B "/driver_override=\n" PAIR_A));
	close_daemon();
}
END_TEST

START_TEST(failure_leaves_what_can_be_given_back)
{
	begin();
	fake_pci_keeps("edu");
	ck_assert_int_eq(try_take(PAIR_B, "a1", true), -1);
	ck_assert_str_eq(e.code, "BIND-UNBIND");
	has(PAIR_B, "vfio-pci", "vfio-pci");
	give_back("a1");
	has(PAIR_A, "edu", "");
	has(PAIR_B, "", "");
	close_daemon();
}
END_TEST

/* The daemon dies with its hand in front of every write; the next one undoes or repeats it. */
START_TEST(killed_anywhere_it_ends_before_or_after)
{
	begin();
	for (int n = 0; n < 10; n++) {
		bool undo = n % 2;

		fake_pci_dies_after(n / 2); /* five writes in all */
		ck_assert_int_eq(try_take(PAIR_A, "a1", true), -1);
		fake_pci_dies_after(-1);
		close_daemon();
		open_daemon();
		if (undo)
			give_back("a1");
		else
			take(PAIR_A, "a1");
		has(PAIR_A, undo ? "edu" : "vfio-pci", undo ? "" : "vfio-pci");
		has(PAIR_B, undo ? "" : "vfio-pci", undo ? "" : "vfio-pci");
		give_back("a1");
		has(PAIR_A, "edu", "");
	}
	close_daemon();
}
END_TEST

START_TEST(hosts_without_isolation_are_refused)
{
	char path[256];

	begin();
	take(LONER, "a1"); /* its group may come with its driver */
	give_back("a1");
	fake_pci_log();
	snprintf(path, sizeof(path), "%s/sys/class/iommu/dmar0", getenv("FAKE_PCI_ROOT"));
	ck_assert_int_eq(rmdir(path), 0);
	refused(LONER, true, "GRP-NONE", "iommu_group");
	close_daemon();
}
END_TEST

/* A group that is not there before its device has a driver: its companions are seen then. */
START_TEST(group_that_comes_late_is_taken_whole_too)
{
	begin();
	fake_pci_group_later(LONER, 2);
	ck_assert_int_eq(try_take(LONER, "a1", false), -1);
	ck_assert_str_eq(e.code, "GRP-SPLIT");
	has(PAIR_A, "edu", "");
	take(LONER, "a1");
	has(PAIR_A, "vfio-pci", "vfio-pci");
	has(PAIR_B, "vfio-pci", "vfio-pci");
	give_back("a1");
	has(PAIR_A, "edu", "");
	has(LONER, "", "");
	close_daemon();
}
END_TEST

START_TEST(what_works_for_the_host_is_refused)
{
	const struct inventory_attachment other = {.id = "a9", .vm = "web", .device = PAIR_B};
	const struct inventory_attachment own = {.id = "a1", .vm = "web", .device = NVME};

	begin();
	attached = &other;
	refused(PAIR_B, true, "DEV-TAKEN", "a9");
	refused(PAIR_A, true, "GRP-SPLIT", "attachment a9");
	attached = &own;
	take(NVME, "a1");
	give_back("a1");
	attached = NULL;
	fake_pci_log();
	/* a bridge whose driver works for the host */
	close_daemon();
	fake_pci_rebind(BRIDGE, "shpchp");
	open_daemon();
	refused(PAIR_A, true, "GRP-VIABLE", "shpchp");
	refused(BRIDGE, true, "HOST-USE", BRIDGE);
	refused("0000:09:00.0", true, "NO-SUCH", "0000:09:00.0");
	close_daemon();
}
END_TEST

/* An attachment of a device that is bound for good: each gives back what it found. */
START_TEST(holders_go_in_any_order)
{
	begin();
	take(NVME, BINDING_KEPT);
	take(NVME, "a1");
	give_back("a1");
	has(NVME, "vfio-pci", "vfio-pci");
	take(NVME, "a2");
	fake_pci_log();
	give_back(BINDING_KEPT);
	ck_assert_str_eq(fake_pci_log(), ""); /* a2 has it still */
	has(NVME, "vfio-pci", "vfio-pci");
	give_back("a2");
	has(NVME, "nvme", "");
	close_daemon();
}
END_TEST

START_TEST(gone_and_other_devices_are_not_touched)
{
	begin();
	take(NVME, "a1");
	close_daemon();
	fake_pci_remove(NVME);
	open_daemon();
	give_back("a1");
	ck_assert(!binding_find(&d, NVME, "a1", NULL));
	fake_pci_add(LONER, -1, NULL);
	close_daemon();
	open_daemon();
	take(LONER, "a2");
	set_class(getenv("FAKE_PCI_ROOT"), LONER, "0x010802\n"); /* another one in its slot */
	fake_pci_log();
	give_back("a2");
	ck_assert_str_eq(fake_pci_log(), "");
	ck_assert(!binding_find(&d, LONER, "a2", NULL));
	close_daemon();
}
END_TEST

static void on_hand(void *arg, const void *result, size_t len, int fd, const struct err *why)
{
	(void)result, (void)len, (void)fd;
	on_done(arg, why);
}

START_TEST(stuck_driver_wedges_its_device_only)
{
	struct hand_wedge wedge;

	begin();
	fake_pci_hangs("nvme");
	{
		const char *const words[HAND_WORDS] = {
			"pci-make", getenv("FAKE_PCI_ROOT"), NVME, "nvme", "vfio-pci", "vfio-pci"};

		ck_assert_int_eq(hands_do(d.hands, NVME, words, 200, on_hand, NULL, &e), 0);
	}
	ck_assert_int_eq(loop_run(d.loop, &e), 0);
	ck_assert_str_eq(failure.code, "DEV-WEDGED");
	ck_assert(hands_find_wedge(d.hands, NVME, &wedge)); /* until the loop sees its end */
	fake_pci_log();
	refused(NVME, true, "DEV-WEDGED", "pci-make");
	take(PAIR_A, "a1");
	close_daemon();
}
END_TEST

/* --- for good --------------------------------------------------------------------------------- */

static const struct binding_caller caller = {.done = on_done};

static void keep(const char *device, const char *driver)
{
	const struct binding_ask ask = {.device = device, .driver = driver, .whole_group = true};

	ck_assert_int_eq(bind_start(&d, &ask, &caller, &e), 0);
	ck_assert_int_eq(loop_run(d.loop, &e), 0);
}

static void release(const char *device)
{
	struct binding_plan plan;

	ck_assert_int_eq(release_plan(&d, device, true, &plan, &e), 0);
	ck_assert_int_eq(release_start(&d, &plan, &caller, &e), 0);
	ck_assert_int_eq(loop_run(d.loop, &e), 0);
	ck_assert_msg(failure.kind == ERR_NONE, "%s: %s", failure.msg, failure.evidence);
}

START_TEST(kept_binding_is_changed_and_released)
{
	struct binding_row row;

	begin();
	fake_pci_driver("pci-stub", NULL);
	keep(NVME, BIND_VFIO);
	ck_assert(binding_find(&d, NVME, BINDING_KEPT, &row));
	has(NVME, "vfio-pci", "vfio-pci");
	keep(NVME, "pci-stub");
	has(NVME, "pci-stub", "pci-stub");
	ck_assert(binding_find(&d, NVME, BINDING_KEPT, &row));
	ck_assert_str_eq(row.driver, "pci-stub");
	ck_assert_str_eq(row.old.driver, "nvme"); /* from before the first time */
	keep(NVME, "absent");
	ck_assert_int_eq(failure.kind, ERR_ROLLED_BACK);
	ck_assert_str_eq(failure.code, "BIND-DRIVER");
	has(NVME, "pci-stub", "pci-stub");
	release(NVME);
	has(NVME, "nvme", "");
	ck_assert(!binding_find(&d, NVME, BINDING_KEPT, NULL));
	close_daemon();
}
END_TEST

START_TEST(what_is_not_finished_is_not_begun_anew)
{
	struct binding_plan plan;

	begin();
	take(NVME, "-" NVME); /* as a release has it that goes on after its job */
	ck_assert_int_eq(release_plan(&d, NVME, true, &plan, &e), 0);
	ck_assert_int_eq(binding_check_over(&d, &plan, &e), -1);
	ck_assert_int_eq(e.kind, ERR_BUSY);
	ck_assert_msg(strstr(e.msg, "a release of " NVME), "%s", e.msg);
	ck_assert_str_ne(e.fix, "");
	give_back("-" NVME);
	ck_assert_int_eq(binding_check_over(&d, &plan, &e), 0);
	close_daemon();
}
END_TEST

/* As a boot leaves them: host's driver, no override. */
START_TEST(kept_bindings_are_applied_at_boot)
{
	begin();
	keep(NVME, BIND_VFIO);
	take(PAIR_A, "a1");
	close_daemon();
	fake_pci_rebind(NVME, "nvme");
	fake_pci_rebind(PAIR_A, "edu");
	fake_pci_remove(PAIR_B);
	open_daemon();
	ck_assert_int_eq(binding_apply(&d, NULL, on_done, NULL, &e), 0);
	ck_assert_int_eq(loop_run(d.loop, &e), 0);
	ck_assert_str_eq(failure.code, "DEV-GONE"); /* PAIR_B; the others have theirs */
	ck_assert_str_eq(fake_pci_driver_of(NVME), "vfio-pci");
	ck_assert_str_eq(fake_pci_driver_of(PAIR_A), "vfio-pci");
	close_daemon();
}
END_TEST

int main(int argc, char **argv)
{
	const TTest *const tests[] = {function_is_taken_and_given_back,
		group_is_taken_whole_or_not_at_all, failure_leaves_what_can_be_given_back,
		killed_anywhere_it_ends_before_or_after, hosts_without_isolation_are_refused,
		group_that_comes_late_is_taken_whole_too, what_works_for_the_host_is_refused,
		holders_go_in_any_order, gone_and_other_devices_are_not_touched,
		stuck_driver_wedges_its_device_only, kept_binding_is_changed_and_released,
		what_is_not_finished_is_not_begun_anew, kept_bindings_are_applied_at_boot};

	if (strcmp(argv[0], HAND_NAME) == 0)
		return hand_main(argc, argv);
	return unit_run(__FILE__, tests, ARRAY_SIZE(tests));
}
