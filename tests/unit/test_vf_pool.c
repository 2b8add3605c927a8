/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Virtual functions that are chosen by a rule, on a tree. */
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>

#include "daemon/daemon.h"
#include "daemon/inventory.h"
#include "daemon/jobs.h"
#include "daemon/loop.h"
#include "daemon/registry.h"
#include "daemon/vf.h"
#include "daemon/vf_pool.h"
#include "lib/cleanup.h"
#include "tests/unit/fake_pci.h"
#include "tests/unit/unit.h"

#define PF  "0000:01:00.0"
#define VF0 "0000:01:10.0"
#define VF1 "0000:01:10.1"

static struct err e;
static struct daemon d;

static void make_vfs(void)
{
	struct sysroot *root;

	ck_assert_int_eq(sysroot_open(getenv("FAKE_PCI_ROOT"), &root, &e), 0);
	ck_assert_int_eq(sriov_set_count(root, PF, 0, 2, 0, &e), 0);
	sysroot_close(root);
}

static void start(void)
{
	const char *dir = getenv("FAKE_PCI_ROOT");
	char path[PATH_MAX];
	auto_free char *aside = NULL;

	snprintf(path, sizeof(path), "%s/db", dir);
	d = (struct daemon){.loop = loop_new(&e)};
	d.store = store_open(path, &registry_schema, &aside, &e);
	ck_assert_ptr_nonnull(d.store);
	d.registry = registry_new(d.store, NULL, "", &e);
	d.jobs = jobs_new(d.loop, NULL, &e);
	ck_assert_int_eq(inventory_new(dir, NULL, &d.inventory, &e), 0);
}

static void end(void)
{
	inventory_free(d.inventory);
	jobs_free(d.jobs);
	registry_free(d.registry);
	store_close(d.store);
	loop_free(d.loop);
}

static void write_file(const char *dir, const char *name, const char *text)
{
	char path[PATH_MAX];
	FILE *f;

	snprintf(path, sizeof(path), "mkdir -p %s/%s", getenv("FAKE_PCI_ROOT"), dir);
	ck_assert_int_eq(system(path), 0);
	snprintf(path, sizeof(path), "%s/%s/%s", getenv("FAKE_PCI_ROOT"), dir, name);
	f = fopen(path, "w");
	ck_assert_ptr_nonnull(f);
	fprintf(f, "%s\n", text);
	fclose(f);
}

static const char *chosen(const char *rule)
{
	const struct device *device = vf_pool_choose(&d, rule, &e);

	return device ? device->id : e.code;
}

START_TEST(pool_is_by_pf_product_switch_and_vlan)
{
	static const struct vf_settings in_vlan_7 = {
		.has = 1u << VF_VLAN, .number = {[VF_VLAN] = 7}};
	struct vf_setting_row row = {.vf = VF1, .pf = PF, .index = 1};
	char rule[64];

	fake_pci_new();
	fake_pci_add(PF, 1, "igb");
	fake_pci_sriov(PF, 7, 4);
	write_file("sys/bus/pci/devices/" PF "/net/eth9", "x", "");
	write_file("sys/class/net/eth9", "phys_switch_id", "0002c9fffe123456");
	make_vfs();
	start();
	ck_assert_str_eq(chosen("vf:" PF), VF0);
	ck_assert_str_eq(chosen("vf:switch=0002c9fffe123456"), VF0);
	ck_assert_str_eq(chosen("vf:switch=0002c9fffe123457"), "VF-POOL");
	ck_assert_str_eq(chosen("vf:vlan=7"), "VF-POOL");
	row.kept = in_vlan_7;
	ck_assert_int_eq(vf_setting_keep(d.store, &row, &e), 0);
	ck_assert_str_eq(chosen("vf:vlan=7"), VF1);
	ck_assert_str_eq(chosen("vf:" PF ",vlan=8"), "VF-POOL");
	snprintf(rule, sizeof(rule), "vf:product=%04x:%04x,vlan=7",
		inventory_find(d.inventory, DEVICE_PCI, VF0)->pci.vendor,
		inventory_find(d.inventory, DEVICE_PCI, VF0)->pci.device);
	ck_assert_str_eq(chosen(rule), VF1);
	ck_assert_str_eq(chosen("vf:product=ffff:ffff"), "VF-POOL");
	ck_assert_str_eq(chosen("vf:" VF0), "SRIOV-NONE");
	ck_assert_str_eq(chosen("vf:0000:09:00.0"), "NO-SUCH");
	ck_assert_str_eq(chosen("vf:"), "VF-RULE");
	ck_assert_str_eq(chosen("vf:product=1:2:3"), "VF-RULE");
	ck_assert_str_eq(chosen("vf:colour=red"), "VF-RULE");
	end();
}
END_TEST

UNIT_MAIN(pool_is_by_pf_product_switch_and_vlan)
