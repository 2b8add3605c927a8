/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The inventory's IOMMU groups, and what may become of them, on made-up hosts. */
#include <unistd.h>

#include "daemon/conf.h"
#include "daemon/daemon.h"
#include "daemon/group_type.h"
#include "daemon/inventory.h"
#include "daemon/registry.h"
#include "tests/unit/tree.h"
#include "tests/unit/unit.h"

static struct inventory *inv;

static void open_scene(const char *scene)
{
	struct err e = ERR_INIT;

	ck_assert_msg(inventory_new(tree_make(scene), NULL, &inv, &e) == 0, "%s", e.msg);
	ck_assert_int_eq(chdir(tree_root), 0);
}

static void close_scene(void)
{
	inventory_free(inv);
	ck_assert_int_eq(chdir("/"), 0);
	tree_remove();
}

/* What `list groups` shows; good until the next call. */
static const char *list_groups(void)
{
	static char text[65536];
	struct json_out o;
	size_t len;
	char *out;

	json_out_init(&o);
	json_out_object(&o, NULL);
	inventory_put_groups(inv, &o, "groups");
	json_out_end(&o);
	out = json_out_finish(&o, &len);
	ck_assert_ptr_nonnull(out);
	ck_assert(str_copy(text, sizeof(text), out));
	free(out);
	return text;
}

/* One group, as `group` shows it. */
static const char *show_group(uint32_t id)
{
	static char text[65536];
	struct err e = ERR_INIT;
	struct json_out o;
	size_t len;
	char *out;

	json_out_init(&o);
	ck_assert_msg(inventory_put_group(inv, id, &o, NULL, &e) == 0, "%s", e.msg);
	out = json_out_finish(&o, &len);
	ck_assert(str_copy(text, sizeof(text), out));
	free(out);
	return text;
}

#define check_in(text, part)     ck_assert_msg(strstr(text, part), "%s is not in %s", part, text)
#define check_not_in(text, part) ck_assert_msg(!strstr(text, part), "%s is in %s", part, text)

static const struct device *get(const char *name)
{
	struct err e = ERR_INIT;
	const struct device *d = inventory_resolve(inv, name, &e);

	ck_assert_msg(d, "%s: %s", name, e.msg);
	return d;
}

/* --- the cache -------------------------------------------------------------------------------- */

START_TEST(groups_are_kept_and_read_again_when_a_device_changed)
{
	const struct device *d;

	open_scene("sriov");
	check_in(list_groups(), "{\"id\":7,\"type\":\"DMA-FQ\",\"devices\":[\"0000:03:00.0\","
				"\"0000:03:00.1\"],\"viable\":false");
	ck_assert_int_eq(unlink("sys/devices/pci0000:03/0000:03:00.1/driver"), 0);
	check_in(list_groups(), "\"0000:03:00.1\"],\"viable\":false"); /* nobody has told us */
	d = get("0000:03:00.1");
	ck_assert(inventory_refresh(inv, &d));
	check_in(list_groups(), "\"0000:03:00.1\"],\"viable\":true");
	close_scene();
}
END_TEST

START_TEST(whoever_decides_has_it_read_again)
{
	const struct iommu_group *group;
	struct err e = ERR_INIT;

	open_scene("sriov");
	tree_text("sys/kernel/iommu_groups/7/type", "identity\n");
	check_in(list_groups(), "{\"id\":7,\"type\":\"DMA-FQ\"");
	group = inventory_group(inv, 7, &e);
	ck_assert_ptr_nonnull(group);
	ck_assert_str_eq(group->type, "identity");
	check_in(list_groups(), "{\"id\":7,\"type\":\"identity\"");
	ck_assert_ptr_null(inventory_group(inv, 8, &e));
	ck_assert_int_eq(e.kind, ERR_NOT_FOUND);
	close_scene();
}
END_TEST

START_TEST(groups_come_and_go)
{
	open_scene("groups");
	check_not_in(list_groups(), "{\"id\":70,");
	ck_assert_int_eq(system("mkdir -p sys/kernel/iommu_groups/70/devices && cd "
				"sys/kernel/iommu_groups/70/devices && ln -s "
				"../../../../devices/pci0000:00/0000:00:08.0 0000:00:08.0 && ln -s "
				"../../../kernel/iommu_groups/70 0000:00:08.0/iommu_group"),
		0);
	check_in(list_groups(), "{\"id\":70,");
	ck_assert_int_eq(get("0000:00:08.0")->iommu_group, 70); /* without a message of its own */
	ck_assert_int_eq(system("rm -r sys/kernel/iommu_groups/70 sys/kernel/iommu_groups/1"), 0);
	check_not_in(list_groups(), "{\"id\":70,");
	check_not_in(list_groups(), "{\"id\":1,");
	check_in(list_groups(), "{\"id\":2,");
	close_scene();
}
END_TEST

START_TEST(names_of_groups_that_the_kernel_does_not_write)
{
	open_scene("groups");
	ck_assert_int_eq(system("cd sys/kernel/iommu_groups && mkdir -p 007/devices x/devices "
				"99999999999/devices 0/devices"),
		0);
	check_in(list_groups(), "{\"id\":0,");
	check_in(list_groups(), "{\"id\":14,");
	ck_assert_ptr_eq(strstr(list_groups(), "{\"id\":7,"),
		strstr(strstr(list_groups(), "{\"id\":6,"), "{\"id\":7,"));
	close_scene();
}
END_TEST

/* --- whose group ------------------------------------------------------------------------------ */

START_TEST(the_group_of_what_is_on_a_function)
{
	const struct iommu_group *group;
	struct err e = ERR_INIT;

	open_scene("sriov");
	group = inventory_group_of(inv, get("ens1f0v1"), &e);
	ck_assert_ptr_nonnull(group);
	ck_assert_uint_eq(group->id, 31);
	close_scene();

	open_scene("nvme");
	group = inventory_group_of(inv, get("nvme0n1p2"), &e); /* by its disk */
	ck_assert_ptr_nonnull(group);
	ck_assert_uint_eq(group->id, 0);
	close_scene();
}
END_TEST

START_TEST(no_group_is_said_with_its_reason)
{
	struct err e = ERR_INIT;

	open_scene("groups");
	ck_assert_ptr_null(inventory_group_of(inv, get("0000:00:08.0"), &e));
	ck_assert_int_eq(e.kind, ERR_REFUSED);
	ck_assert_str_eq(e.code, "GRP-NONE");
	check_in(e.evidence, "14 groups there are");
	check_in(e.fix, "only when a driver probes it");
	close_scene();

	open_scene("lvm");
	ck_assert_int_eq(
		system("rm -r sys/kernel/iommu_groups; find . -name iommu_group -delete"), 0);
	inventory_free(inv);
	ck_assert_int_eq(inventory_new(tree_root, NULL, &inv, &e), 0);
	ck_assert_ptr_null(inventory_group_of(inv, get("sdc"), &e));
	check_in(e.evidence, "the kernel uses no IOMMU");
	ck_assert_ptr_null(inventory_group_of(inv, get("dm-0"), &e));
	check_in(e.msg, "is on no PCI function");
	check_in(list_groups(), "{\"groups\":[]}");
	close_scene();
}
END_TEST

/* The lab's Arm host: no group before a driver, and the hot-plug driver on a bridge. */
START_TEST(a_host_whose_groups_come_with_drivers)
{
	const struct iommu_group *group;
	struct err e = ERR_INIT;

	ck_assert_int_eq(inventory_new(tree_unpack("lab-smmuv3"), NULL, &inv, &e), 0);
	ck_assert_ptr_null(inventory_group_of(inv, get("0000:06:00.0"), &e));
	ck_assert_str_eq(e.code, "GRP-NONE");
	check_in(e.evidence, "21 groups there are have other devices");
	group = inventory_group_of(inv, get("0000:08:00.0"), &e);
	ck_assert_ptr_nonnull(group);
	ck_assert_str_eq(group->iommu, "smmu3.0x0000000009050000");
	ck_assert_int_eq(iommu_group_check_viable(group, &e), -1);
	check_in(e.evidence, "0000:08:00.0/driver: shpchp");
	close_scene();
}
END_TEST

START_TEST(what_a_group_shows)
{
	open_scene("groups");
	check_in(show_group(5),
		"\"blockers\":[{\"device\":\"0000:06:00.0\",\"driver\":\"shpchp\"}]");
	check_in(show_group(5), "{\"device\":\"0000:07:01.0\",\"requester_id\":\"0x0700\","
				"\"stream_id\":\"0x40700\",\"context\":\"translate\","
				"\"via\":\"0000:06:00.0\",\"evidence\":\"IORT\"}");
	check_in(show_group(13), "\"context\":\"bypass\"");
	check_in(show_group(13), "{\"start\":\"0xfd00000000\",\"end\":\"0xffffffffff\"");
	check_in(show_group(2), "\"why\":[{\"kind\":\"alone\",\"device\":\"0000:01:00.0\"");
	check_in(list_groups(), "{\"kind\":\"no_acs\",\"device\":\"0000:00:02.0\",\"what\":\"is a "
				"root port without ACS");
	close_scene();
	open_scene("sriov"); /* 0000:41:02.2 is on vfio-pci: its owner decides */
	check_in(show_group(32), "\"context\":null");
	check_in(show_group(33), "\"context\":\"translate\"");
	close_scene();
}
END_TEST

/* --- types ------------------------------------------------------------------------------------ */

static struct daemon d;
static struct conf conf;

static void open_daemon(const char *scene)
{
	char path[PATH_MAX + 16], *aside = NULL;
	struct err e = ERR_INIT;

	open_scene(scene);
	snprintf(path, sizeof(path), "%s/iovd.db", tree_root);
	d = (struct daemon){.inventory = inv, .conf = &conf};
	d.store = store_open(path, &registry_schema, &aside, &e);
	ck_assert_msg(d.store, "%s", e.msg);
}

static void close_daemon(void)
{
	store_close(d.store);
	close_scene();
}

static void check_refused(uint32_t id, const char *type, const char *code, const char *evidence)
{
	struct group_type_plan plan;
	struct err e = ERR_INIT;

	ck_assert_int_eq(group_type_check(&d, id, type, &plan, &e), -1);
	ck_assert_int_eq(e.kind, ERR_REFUSED);
	ck_assert_str_eq(e.code, code);
	check_in(e.evidence, evidence);
	ck_assert_str_ne(e.fix, "");
}

START_TEST(a_type_that_may_be_set)
{
	struct group_type_plan plan;
	struct err e = ERR_INIT;

	open_daemon("groups");
	ck_assert_int_eq(group_type_check(&d, 13, "identity", &plan, &e), 1); /* it is */
	ck_assert_int_eq(group_type_check(&d, 12, "translate", &plan, &e), 1);
	ck_assert_int_eq(group_type_check(&d, 12, "identity", &plan, &e), 0);
	ck_assert_str_eq(plan.before, "DMA-FQ");
	ck_assert_str_eq(plan.word, "identity");
	ck_assert_int_eq(group_type_check(&d, 13, "translate", &plan, &e), 0);
	ck_assert_str_eq(plan.word, "DMA"); /* nobody knows what it was */
	tree_text("sys/kernel/iommu_groups/13/type", "blocked");
	ck_assert_int_eq(group_type_check(&d, 13, "blocked", &plan, &e), 1);
	close_daemon();
}
END_TEST

START_TEST(a_type_that_may_not_be_set)
{
	open_daemon("groups");
	check_refused(12, "blocked", "GRP-TYPE", "/sys/kernel/iommu_groups/12/type: DMA-FQ");
	check_refused(5, "identity", "GRP-VIABLE", "0000:06:00.0/driver: shpchp");
	close_daemon();
	open_daemon("sriov");
	check_refused(31, "identity", "HOST-USE", "ipv6_route");
	check_refused(7, "identity", "GRP-VIABLE", "0000:03:00.1/driver: igb");
	close_daemon();
}
END_TEST

START_TEST(the_hand_writes_and_looks)
{
	char *words[] = {tree_root, (char *)"12", (char *)"identity", NULL};
	struct err e = ERR_INIT;
	int fd = -1;

	open_scene("groups");
	ck_assert_msg(group_type_work(words, NULL, &fd, &e) == 0, "%s", e.msg);
	check_in(show_group(12), "\"type\":\"identity\"");
	words[1] = (char *)"99";
	ck_assert_int_eq(group_type_work(words, NULL, &fd, &e), -1);
	ck_assert_str_eq(e.code, "GRP-TYPE");
	check_in(e.evidence, "write identity to /sys/kernel/iommu_groups/99/type: ");
	close_scene();
}
END_TEST

UNIT_MAIN(groups_are_kept_and_read_again_when_a_device_changed, whoever_decides_has_it_read_again,
	groups_come_and_go, names_of_groups_that_the_kernel_does_not_write,
	the_group_of_what_is_on_a_function, no_group_is_said_with_its_reason,
	a_host_whose_groups_come_with_drivers, what_a_group_shows, a_type_that_may_be_set,
	a_type_that_may_not_be_set, the_hand_writes_and_looks)
