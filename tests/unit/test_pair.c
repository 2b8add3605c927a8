/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What is kept of a virtual function and its standby: how far they are, and who is in quarantine. */
#include <stdio.h>
#include <string.h>

#include "daemon/conf.h"
#include "daemon/daemon.h"
#include "daemon/host_use.h"
#include "daemon/loop.h"
#include "daemon/quarantine.h"
#include "daemon/registry.h"
#include "daemon/standby.h"
#include "tests/unit/fake_pci.h"
#include "tests/unit/unit.h"

#define FIRST  "0000:01:00.0"
#define SECOND "0000:02:00.0"

static struct conf conf;
static struct daemon d = {.conf = &conf};
static struct err e;

static void tell(void *arg, inventory_visit_fn *visit, void *visit_arg)
{
	quarantine_tell(arg, visit, visit_arg);
}

static void open_daemon(void)
{
	char path[PATH_MAX + 16], *aside;

	snprintf(path, sizeof(path), "%s/iovd.db", conf.state_dir);
	d.store = store_open(path, &registry_schema, &aside, &e);
	ck_assert_msg(d.store, "%s", e.msg);
	free(aside);
	d.registry = registry_new(d.store, NULL, conf.runtime_dir, &e);
	ck_assert_int_eq(inventory_new(conf.state_dir, NULL, &d.inventory, &e), 0);
	inventory_set_attachments(d.inventory, tell, &d);
	ck_assert_msg(registry_load(d.registry, &e) == 0, "%s", e.msg);
	ck_assert_msg(quarantine_load(&d, &e) == 0, "%s", e.msg);
}

static void close_daemon(void)
{
	quarantine_end();
	inventory_free(d.inventory);
	registry_free(d.registry);
	store_close(d.store);
}

static void begin(void)
{
	const char *root = fake_pci_new();

	str_copy(conf.state_dir, sizeof(conf.state_dir), root);
	str_copy(conf.runtime_dir, sizeof(conf.runtime_dir), root);
	fake_pci_add(FIRST, 1, "nvme");
	fake_pci_add(SECOND, 2, "nvme");
	open_daemon();
}

static void restart(void)
{
	close_daemon();
	open_daemon();
}

/* A function as if it had been attached, with a standby. */
static struct attachment *add(const char *device, const char *name)
{
	struct attachment_spec spec = {.path = ATTACHMENT_PASSTHROUGH, .queues = 1, .vm = "vm1"};
	struct attachment *a;

	registry_next_id(d.registry, spec.id);
	str_copy(spec.device, sizeof(spec.device), device);
	str_copy(spec.name, sizeof(spec.name), name);
	str_copy(spec.vf.standby, sizeof(spec.vf.standby), "bridge:br0");
	str_copy(spec.vf.pool, sizeof(spec.vf.pool), "vf:eth0");
	a = registry_add(d.registry, &spec, &e);
	ck_assert_ptr_nonnull(a);
	a->kept = KEPT_ATTACHED;
	ck_assert_msg(registry_keep(d.registry, a, &e) == 0, "%s", e.msg);
	return a;
}

static void keep(struct attachment *a, enum attachment_pair pair, const char *device)
{
	a->spec.vf.pair = pair;
	str_copy(a->spec.device, sizeof(a->spec.device), device);
	ck_assert_msg(registry_keep_pair(d.registry, &a->spec, &e) == 0, "%s", e.msg);
}

static const char *code_of(const char *id)
{
	memset(&e, 0, sizeof(e));
	return host_use_check(d.inventory, inventory_find(d.inventory, DEVICE_PCI, id), &e) < 0
		       ? e.code
		       : "";
}

START_TEST(what_has_left_is_nobodys_and_may_be_anothers)
{
	struct attachment *a, *other;

	begin();
	a = add(FIRST, "lan");
	ck_assert_str_eq(standby_word(a), "redundant");
	ck_assert(attachment_has(a, FIRST));
	a->spec.vf.leaves = 1;
	str_copy(a->spec.vf.left, sizeof(a->spec.vf.left), "its link is down");
	keep(a, PAIR_LEAVING, FIRST);
	ck_assert(attachment_has(a, FIRST));
	keep(a, PAIR_APART, FIRST);
	ck_assert(!attachment_has(a, FIRST));
	other = add(FIRST, "wan");
	restart();
	a = registry_find(d.registry, "lan", &e);
	other = registry_find(d.registry, "wan", &e);
	ck_assert_str_eq(a->spec.device, FIRST);
	ck_assert_str_eq(a->spec.vf.left, "its link is down");
	ck_assert_str_eq(standby_word(a), "on standby");
	ck_assert(!attachment_has(a, FIRST) && attachment_has(other, FIRST));
	keep(a, PAIR_JOINING, SECOND);
	ck_assert(attachment_has(a, SECOND));
	keep(a, PAIR_WHOLE, SECOND);
	restart();
	a = registry_find(d.registry, "lan", &e);
	ck_assert_str_eq(a->spec.device, SECOND);
	ck_assert_str_eq(standby_word(a), "redundant again");
	close_daemon();
}
END_TEST

START_TEST(quarantined_is_refused_until_it_is_released)
{
	const struct device *device;

	begin();
	ck_assert_str_eq(code_of(FIRST), "");
	device = inventory_find(d.inventory, DEVICE_PCI, FIRST);
	ck_assert_int_eq(
		quarantine_add(&d, FIRST, device->fingerprint, "a1", "its faults do not end", &e),
		0);
	for (unsigned int start = 0; start < 2; start++) {
		ck_assert(quarantine_is(&d, FIRST) && !quarantine_is(&d, SECOND));
		ck_assert_str_eq(code_of(FIRST), "DEV-QUARANTINED");
		ck_assert_ptr_nonnull(strstr(e.evidence, "a1 has left it: its faults do not end"));
		ck_assert_ptr_nonnull(strstr(e.fix, "iovctl release " FIRST));
		ck_assert_str_eq(code_of(SECOND), "");
		restart();
	}
	ck_assert_int_eq(quarantine_release(&d, FIRST, &e), 0);
	ck_assert_str_eq(code_of(FIRST), "");
	restart();
	ck_assert(!quarantine_is(&d, FIRST));
	close_daemon();
}
END_TEST

START_TEST(another_device_at_its_address_is_not_meant)
{
	begin();
	ck_assert_int_eq(quarantine_add(&d, FIRST, "another", "a1", "it has failed", &e), 0);
	ck_assert(!quarantine_is(&d, FIRST));
	ck_assert_str_eq(code_of(FIRST), "");
	close_daemon();
}
END_TEST

UNIT_MAIN(what_has_left_is_nobodys_and_may_be_anothers, quarantined_is_refused_until_it_is_released,
	another_device_at_its_address_is_not_meant)
