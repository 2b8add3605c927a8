/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What is lost with a damaged store is nobody's, until somebody says whose it is. */
#include <stdio.h>
#include <string.h>

#include "daemon/binding_keep.h"
#include "daemon/conf.h"
#include "daemon/daemon.h"
#include "daemon/hands.h"
#include "daemon/host_use.h"
#include "daemon/loop.h"
#include "daemon/registry.h"
#include "daemon/unknown.h"
#include "tests/unit/fake_pci.h"
#include "tests/unit/unit.h"

#define PASSED  "0000:01:00.0" /* has vfio-pci */
#define HOSTS   "0000:02:00.0" /* has nvme */
#define BOOT    "proc/sys/kernel/random/boot_id"
#define DAMAGED "iovd.db" STORE_ASIDE "20260101T000000Z-0"

static struct conf conf;
static struct daemon d = {.conf = &conf};
static struct err e;

static void tell(void *arg, inventory_visit_fn *visit, void *visit_arg)
{
	unknown_tell(arg, visit, visit_arg);
}

/* As a start of the daemon does it, up to the point where it is looked what was lost. */
static void open_store(void)
{
	char path[PATH_MAX + 16], *aside;

	snprintf(path, sizeof(path), "%s/iovd.db", conf.state_dir);
	d.store = store_open(path, &registry_schema, &aside, &e);
	ck_assert_msg(d.store, "%s", e.msg);
	free(aside);
	d.registry = registry_new(d.store, NULL, conf.runtime_dir, &e);
	d.loop = loop_new(&e);
	d.hands = hands_new(d.loop, &e);
	ck_assert_int_eq(inventory_new(conf.state_dir, NULL, &d.inventory, &e), 0);
	inventory_set_attachments(d.inventory, tell, &d);
}

static void open_daemon(void)
{
	open_store();
	ck_assert_int_eq(registry_load(d.registry, &e), 0);
	ck_assert_msg(unknown_begin(&d, &e) == 0, "%s", e.msg);
}

static void close_daemon(void)
{
	unknown_end();
	inventory_free(d.inventory);
	hands_free(d.hands);
	registry_free(d.registry);
	loop_free(d.loop);
	store_close(d.store);
}

static void put(const char *path, const char *text)
{
	char full[2 * PATH_MAX];
	FILE *f;

	snprintf(full, sizeof(full), "%s/%s", conf.state_dir, path);
	f = fopen(full, "w");
	ck_assert_ptr_nonnull(f);
	fputs(text, f);
	ck_assert_int_eq(fclose(f), 0);
}

static void begin(bool damaged)
{
	const char *root = fake_pci_new();
	char path[PATH_MAX];

	str_copy(conf.state_dir, sizeof(conf.state_dir), root);
	str_copy(conf.runtime_dir, sizeof(conf.runtime_dir), root);
	snprintf(path, sizeof(path), "mkdir -p '%s/proc/sys/kernel/random'", root);
	ck_assert_int_eq(system(path), 0);
	put(BOOT, "11111111-1111-1111-1111-111111111111\n");
	fake_pci_driver("vfio-pci", NULL);
	fake_pci_add(PASSED, 1, "nvme");
	fake_pci_rebind(PASSED, "vfio-pci");
	put("sys/bus/pci/drivers/vfio-pci/table", ""); /* by an override only */
	fake_pci_add(HOSTS, 2, "nvme");
	if (damaged)
		put(DAMAGED, "not a database");
}

static const char *code_of(const char *id, bool allowed)
{
	const struct device *device = inventory_find(d.inventory, DEVICE_PCI, id);
	const struct host_use_own own = {.unknown = allowed};

	memset(&e, 0, sizeof(e));
	return host_use_check_own(d.inventory, device, &own, &e) < 0 ? e.code : "";
}

START_TEST(whole_store_has_lost_nothing)
{
	begin(false);
	open_daemon();
	ck_assert(!unknown_is(&d, PASSED));
	close_daemon();
	/* nor has one that was looked at before another was put beside it */
	put(DAMAGED, "not a database");
	open_daemon();
	ck_assert(!unknown_is(&d, PASSED));
	ck_assert_str_eq(code_of(PASSED, false), "");
	close_daemon();
}
END_TEST

START_TEST(what_is_lost_is_refused)
{
	begin(true);
	for (unsigned int start = 0; start < 2; start++) {
		open_daemon();
		ck_assert(unknown_is(&d, PASSED));
		ck_assert(!unknown_is(&d, HOSTS));
		ck_assert_str_eq(code_of(PASSED, false), "DEV-UNKNOWN");
		ck_assert_ptr_nonnull(strstr(e.evidence, "20260101T000000Z-0"));
		ck_assert_ptr_nonnull(strstr(e.fix, "iovctl release " PASSED));
		ck_assert_str_eq(code_of(PASSED, true), "");
		ck_assert_str_eq(code_of(HOSTS, false), "");
		close_daemon();
	}
}
END_TEST

/* The daemon dies when the fresh store is there, and nobody has looked yet. */
START_TEST(crash_in_between_forgets_nothing)
{
	begin(true);
	open_store();
	close_daemon();
	open_daemon();
	ck_assert(unknown_is(&d, PASSED));
	close_daemon();
}
END_TEST

START_TEST(it_is_so_only_while_it_can_be)
{
	const struct device *device;

	begin(true);
	open_daemon();
	fake_pci_rebind(PASSED, "nvme");
	device = inventory_find(d.inventory, DEVICE_PCI, PASSED);
	ck_assert(inventory_refresh(d.inventory, &device));
	ck_assert(!unknown_is(&d, PASSED)); /* the host's */
	fake_pci_rebind(PASSED, "vfio-pci");
	device = inventory_find(d.inventory, DEVICE_PCI, PASSED);
	ck_assert(inventory_refresh(d.inventory, &device));
	ck_assert(unknown_is(&d, PASSED));
	close_daemon();
	put(BOOT, "22222222-2222-2222-2222-222222222222\n");
	open_daemon();
	ck_assert(!unknown_is(&d, PASSED)); /* a boot ends all guests */
	close_daemon();
}
END_TEST

START_TEST(attachment_hides_it)
{
	struct attachment_spec spec = {.id = "a1",
		.vm = "vm",
		.name = "pci0",
		.device = PASSED,
		.path = ATTACHMENT_PASSTHROUGH,
		.queues = 1};
	struct attachment *a;

	begin(true);
	open_daemon();
	a = registry_add(d.registry, &spec, &e);
	ck_assert_ptr_nonnull(a);
	ck_assert(!unknown_is(&d, PASSED));
	registry_remove(d.registry, a);
	ck_assert(unknown_is(&d, PASSED));
	close_daemon();
}
END_TEST

static void on_done(void *arg, const struct err *why)
{
	(void)arg;
	ck_assert_msg(!why, "%s: %s", why ? why->msg : "", why ? why->evidence : "");
	loop_stop(d.loop);
}

/* What the host had before is lost, too: so the kernel picks. */
START_TEST(released_it_gets_what_the_kernel_gives)
{
	struct binding_row row;

	begin(true);
	open_daemon();
	ck_assert_int_eq(unknown_claim(&d, PASSED, &e), 0);
	ck_assert(!unknown_is(&d, PASSED));
	ck_assert(binding_find(&d, PASSED, BINDING_KEPT, &row));
	ck_assert_str_eq(row.driver, "vfio-pci");
	ck_assert_int_eq(binding_give_back(&d, BINDING_KEPT, on_done, NULL, &e), 0);
	ck_assert_int_eq(loop_run(d.loop, &e), 0);
	ck_assert_str_eq(fake_pci_driver_of(PASSED), "nvme");
	ck_assert_str_eq(fake_pci_override_of(PASSED), "");
	ck_assert(!binding_find(&d, PASSED, BINDING_KEPT, NULL));
	close_daemon();
	open_daemon();
	ck_assert(!unknown_is(&d, PASSED));
	close_daemon();
}
END_TEST

int main(int argc, char **argv)
{
	const TTest *const tests[] = {whole_store_has_lost_nothing, what_is_lost_is_refused,
		crash_in_between_forgets_nothing, it_is_so_only_while_it_can_be,
		attachment_hides_it, released_it_gets_what_the_kernel_gives};

	if (strcmp(argv[0], HAND_NAME) == 0)
		return hand_main(argc, argv);
	return unit_run(__FILE__, tests, ARRAY_SIZE(tests));
}
