/* SPDX-License-Identifier: GPL-2.0-or-later */
/* lib/device and the daemon's inventory, on trees of hosts (tests/trees/make_tree.py). */
#include <unistd.h>

#include "daemon/host_use.h"
#include "daemon/inventory.h"
#include "tests/unit/tree.h"
#include "tests/unit/unit.h"

static struct inventory *inv;

static void open_scene(const char *scene)
{
	struct err e = ERR_INIT;

	ck_assert_msg(inventory_new(tree_make(scene), NULL, &inv, &e) == 0, "%s", e.msg);
}

/* As the daemon does it: where a path leads is looked at beforehand. */
static const struct device *resolve(const char *name, struct err *e)
{
	static struct inventory_look look;

	if (inventory_wants_look(name)) {
		look.error = -file_look(name, look.real, &look.facts);
		inventory_set_look(inv, name, &look);
	}
	return inventory_resolve(inv, name, e);
}

static const struct device *get(const char *name)
{
	struct err e = ERR_INIT;
	const struct device *d = resolve(name, &e);

	ck_assert_msg(d, "%s: %s", name, e.msg);
	return d;
}

/* The JSON of a device; good until the next call. */
static const char *json_of(const char *name)
{
	static char text[65536];
	struct err e = ERR_INIT;
	struct json_out o;
	size_t len;
	char *out;

	json_out_init(&o);
	json_out_object(&o, NULL);
	ck_assert_int_eq(inventory_put_device(inv, get(name), &o, "device", &e), 0);
	json_out_end(&o);
	out = json_out_finish(&o, &len);
	ck_assert_ptr_nonnull(out);
	ck_assert(str_copy(text, sizeof(text), out));
	free(out);
	return text;
}

#define check_has(name, part)                                                                      \
	do {                                                                                       \
		const char *json_ = json_of(name);                                                 \
		ck_assert_msg(strstr(json_, part), "%s: %s is not in %s", name, part, json_);      \
	} while (0)

#define check_lacks(name, part)                                                                    \
	do {                                                                                       \
		const char *json_ = json_of(name);                                                 \
		ck_assert_msg(!strstr(json_, part), "%s: %s is in %s", name, part, json_);         \
	} while (0)

static void check_refused(const char *name, const char *code, const char *evidence)
{
	struct err e = ERR_INIT;

	ck_assert_msg(host_use_check(inv, get(name), &e) < 0, "%s is not refused", name);
	ck_assert_int_eq(e.kind, ERR_REFUSED);
	ck_assert_str_eq(e.code, code);
	ck_assert_msg(
		strstr(e.evidence, evidence), "%s: %s is not in %s", name, evidence, e.evidence);
	ck_assert_str_ne(e.fix, "");
}

static void check_allowed(const char *name)
{
	struct err e = ERR_INIT;

	ck_assert_msg(host_use_check(inv, get(name), &e) == 0, "%s: %s", name, e.msg);
}

static void check_no_such(const char *name, enum err_kind kind, const char *evidence)
{
	struct err e = ERR_INIT;

	ck_assert_ptr_null(resolve(name, &e));
	ck_assert_msg(e.kind == kind, "%s: %s", name, e.msg);
	ck_assert_msg(strstr(e.evidence, evidence), "%s: %s", name, e.evidence);
}

START_TEST(root_on_lvm_on_md)
{
	static const char *const root[] = {
		"dm-0", "md0", "sda2", "sdb2", "sda", "sdb", "0000:00:1f.2"};

	open_scene("lvm");
	for (size_t i = 0; i < ARRAY_SIZE(root); i++) {
		check_has(root[i], "\"state\":\"host\"");
		check_has(root[i], "{\"kind\":\"root\",\"what\":\"/\"");
		check_refused(root[i], "HOST-USE",
			"/proc/self/mountinfo: 253:0 /dev/mapper/vg-root on / type ext4");
	}
	check_lacks("dm-0", "swap");
	check_has("md0", "\"redundancy\":{\"kind\":\"kernel mirror\",\"count\":2}");
	check_has("dm-0", "\"redundancy\":null");
	check_has("sda2", "\"redundancy\":null");
	check_has("md0", "\"kind\":\"swap\",\"what\":\"/dev/dm-1\",\"via\":\"dm-1\"");
	check_has("sda", "\"kind\":\"mount\",\"what\":\"/boot/efi\",\"via\":\"sda1\"");
	check_has("sda", "\"kind\":\"holder\",\"what\":\"md0\",\"via\":\"sda2\"");
	check_has("dm-0", "\"what\":\"/srv/a b\"");
	check_lacks("sda1", "root");
	check_lacks("sdb1", "in_use_by\":[{");
	check_has("dm-2", "\"state\":\"free\"");
	check_has("sdc", "\"state\":\"free\"");
	check_has("sdc", "\"paths\":[\"paravirt\"]");
	check_has("sdc", "\"wwid\":\"naa.5000000000000002\",\"serial\":\"S0002\"");
	check_has("sdc", "\"name\":\"TURBO DISK\",\"driver\":\"sd\"");
	check_allowed("sdc");
	check_allowed("sdb1");
	check_allowed("dm-2");
	inventory_free(inv);
}
END_TEST

START_TEST(mount_through_multipath)
{
	static const char *const below[] = {
		"dm-1", "dm-0", "sda", "sdb", "0000:05:00.0", "0000:82:00.0"};

	open_scene("multipath");
	for (size_t i = 0; i < ARRAY_SIZE(below); i++)
		check_refused(below[i], "HOST-USE", "253:1 /dev/mapper/mpatha-part1 on /data");
	check_has("0000:82:00.0", "\"numa_node\":1");
	check_has("dm-0", "\"redundancy\":{\"kind\":\"multipath\",\"count\":2}");
	check_has("dm-1", "\"redundancy\":null");
	inventory_free(inv);
}
END_TEST

START_TEST(route_through_bridge_vlan_and_bond)
{
	static const char *const below[] = {
		"bond0.100", "bond0", "eth0", "eth1", "0000:41:00.0", "0000:41:00.1"};

	open_scene("network");
	for (size_t i = 0; i < ARRAY_SIZE(below); i++) {
		check_has(below[i], "\"kind\":\"default_route\",\"what\":\"IPv4\"");
		check_refused(below[i], "HOST-USE", "/proc/net/route: default by br0");
	}
	check_has("eth0", "{\"kind\":\"master\",\"what\":\"bond0\"");
	check_has("eth1", "\"mac\":\"00:1b:21:00:00:01\"");
	check_has("br0", "\"name\":\"bridge\"");
	check_has("eth2", "\"state\":\"free\"");
	check_has("0000:41:00.2", "\"state\":\"free\"");
	check_has("eth2", "\"paths\":[]");
	check_allowed("br1");
	check_has("br0", "\"kind\":\"default_route\",\"what\":\"IPv4\"");
	check_allowed("br0"); /* a bridge is shared by its nature */
	check_no_such("bonding_masters", ERR_NOT_FOUND, "");
	inventory_free(inv);
}
END_TEST

START_TEST(virtual_function_with_the_way_in)
{
	open_scene("sriov");
	check_refused("ens1f0v1", "HOST-USE", "/proc/net/ipv6_route: default by ens1f0v1");
	check_refused("0000:41:02.1", "HOST-USE", "ens1f0v1");
	check_refused("0000:41:00.0", "HOST-USE", "ens1f0v1");
	check_refused("0000:40:01.0", "HOST-USE", "/class: 0x060400");
	check_allowed("0000:41:02.0");
	check_has("0000:41:00.0", "\"virtual_functions_possible\":64,\"virtual_functions\":4");
	check_has("0000:41:02.2", "\"physical_function\":\"0000:41:00.0\"");
	check_has("0000:41:02.2", "\"driver\":\"vfio-pci\",\"vendor_id\":\"0x8086\",\"device_id\":"
				  "\"0x154c\",\"iommu_group\":32");
	check_has("0000:41:02.2", "\"iommu\":\"dmar0\",\"reset_methods\":\"flr bus\"");
	check_has("ens1f0", "\"parent\":\"0000:41:00.0\"");
	inventory_free(inv);
}
END_TEST

START_TEST(nvme_and_its_controllers)
{
	struct err e = ERR_INIT;

	open_scene("nvme");
	check_refused("nvme0n1", "HOST-USE", "/proc/swaps: /dev/nvme0n1p2");
	check_refused("0000:01:00.0", "HOST-USE", "/proc/swaps");
	check_allowed("nvme0n1p1");
	check_refused("nvme1n1", "HOST-USE", "on /fast");
	check_refused("0000:02:00.0", "HOST-USE", "on /fast");
	check_refused("0000:03:00.0", "HOST-USE", "on /fast");
	check_has("nvme0n1", "\"driver\":\"nvme\"");
	check_has("nvme1n1", "\"redundancy\":{\"kind\":\"multipath\",\"count\":2}");
	check_has("nvme1n1", "\"driver\":\"nvme\"");
	check_lacks("nvme1n1", "\"parent\""); /* it has two */
	check_has("nvme0n1", "\"serial\":\"N0\"");
	ck_assert_ptr_null(inventory_resolve(inv, "nvme1c1n1", &e)); /* hidden */
	ck_assert_int_eq(e.kind, ERR_NOT_FOUND);
	inventory_free(inv);
}
END_TEST

START_TEST(file_systems_of_several_devices)
{
	open_scene("volumes");
	check_refused("sda", "HOST-USE",
		"/sys/fs/btrfs/11111111-2222-3333-4444-555555555555/devices/sda");
	check_refused("/dev/sdb", "HOST-USE", "on /pool type btrfs");
	check_refused("sdc", "HOST-USE", "/sys/fs/bcache");
	check_refused(
		"sdd", "HOST-USE", "/sys/fs/bcache/66666666-7777-8888-9999-000000000000/cache0");
	check_allowed("bcache0");
	check_has("loop0", "\"backing_file\":\"/srv/images/a.img\"");
	check_has("loop1", "\"paths\":[]");
	inventory_free(inv);
}
END_TEST

START_TEST(recorded_virtual_machine)
{
	struct err e = ERR_INIT;

	tree_unpack("virtual-machine");
	ck_assert_msg(inventory_new(tree_root, NULL, &inv, &e) == 0, "%s", e.msg);
	check_refused("vda", "HOST-USE", "/proc/self/mountinfo: 254:0 /dev/vda on / type ext4");
	check_refused("0000:00:02.0", "HOST-USE", "/dev/vda on /");
	check_refused("eth0", "HOST-USE", "/proc/net/route: default by eth0");
	check_refused("00:03.0", "HOST-USE", "default by eth0");
	check_refused("0000:00:00.0", "HOST-USE", "class: 0x060000");
	check_allowed("0000:00:05.0");
	check_has("vda", "\"driver\":\"virtio_blk\"");
	check_has("vda", "\"size_bytes\":274877906944");
	check_has("0000:00:05.0", "\"name\":\"Red Hat, Inc. Virtio 1.0 RNG\"");
	check_has("eth0", "\"parent\":\"0000:00:03.0\"");
	inventory_free(inv);
}
END_TEST

/* md, LVM, crypt, multipath, btrfs, bcache, NVMe with VFs, bond, VLAN, bridge, macvlan, VT-d. */
START_TEST(recorded_server)
{
	static const struct {
		const char *name, *evidence;
	} used[] = {
		{"nvme0n1", "259:3 /dev/root on /"}, /* a shared namespace, below no controller */
		{"0000:00:01.0", "259:3 /dev/root on /"},
		{"vda", "/dev/mapper/vg-data on"},
		{"vdb1", "/dev/mapper/vg-data on"},
		{"0000:00:05.0", "/dev/mapper/vg-data on"},
		{"dm-1", "/proc/swaps: /dev/mapper/vg-swap"},
		{"vdc", "/dev/mapper/secret on"},
		{"vdd", "/dev/vdd on"},
		{"vde", "/sys/fs/btrfs/"},
		{"vdf", "/dev/bcache0 on"},
		{"vdg", "/dev/bcache0 on"},
		{"sda", "/dev/mapper/mpatha on"},
		{"sdb", "/dev/mapper/mpatha on"},
		{"eth0", "/proc/net/route: default by br0"},
		{"0000:00:0d.0", "/proc/net/route: default by br0"},
		{"eth2", "/proc/net/ipv6_route: default by mv0"},
		{"0000:03:00.0", "class: 0x060400"},
	};
	static const char *const unused[] = {"vda2", "vdb2", "nvme1n1", "0000:01:00.0",
		"0000:01:00.1", "0000:00:1f.2", "0000:04:01.0"};
	struct err e = ERR_INIT;

	tree_unpack("server");
	ck_assert_msg(inventory_new(tree_root, NULL, &inv, &e) == 0, "%s", e.msg);
	for (size_t i = 0; i < ARRAY_SIZE(used); i++)
		check_refused(used[i].name, "HOST-USE", used[i].evidence);
	for (size_t i = 0; i < ARRAY_SIZE(unused); i++)
		check_allowed(unused[i]);
	check_has("0000:01:00.0", "\"virtual_functions_possible\":4,\"virtual_functions\":4");
	check_has("0000:01:00.1", "\"driver\":\"vfio-pci\"");
	check_has("0000:01:00.1", "\"physical_function\":\"0000:01:00.0\"");
	check_has("0000:04:02.0", "\"iommu_group\":19");
	check_no_such("nvme0c0n1", ERR_NOT_FOUND, ""); /* one path of it, which nobody can open */
	check_no_such("bonding_masters", ERR_NOT_FOUND, "");
	inventory_free(inv);
}
END_TEST

START_TEST(names_that_people_paste)
{
	static const struct {
		const char *scene, *name, *id;
	} cases[] = {
		{"sriov", "41:02.0", "0000:41:02.0"},
		{"sriov", "pci_0000_41_02_0", "0000:41:02.0"},
		{"sriov", "0001:41:00.0", "0001:41:00.0"},
		{"sriov", "/sys/bus/pci/devices/0000:41:02.0", "0000:41:02.0"},
		{"sriov", "/sys/class/net/ens1f0v1", "ens1f0v1"},
		{"lvm", "/dev/sda", "sda"},
		{"lvm", "/dev/disk/by-id/ata-TURBO_S0002", "sdc"},
		{"lvm", "/dev/mapper/vg-root", "dm-0"},
		{"volumes", "/dev/cciss/c0d0", "cciss!c0d0"},
		{"volumes", "/dev/sde", "sde"},
		{"volumes", "/sys/class/block/sde", "sde"},
	};
	const char *scene = "";

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		if (strcmp(scene, cases[i].scene) != 0) {
			if (i)
				inventory_free(inv);
			tree_remove();
			open_scene(scene = cases[i].scene);
		}
		ck_assert_str_eq(get(cases[i].name)->id, cases[i].id);
	}
	inventory_free(inv);
}
END_TEST

START_TEST(names_that_do_not_tell)
{
	open_scene("sriov");
	check_no_such("41:00.0", ERR_USAGE,
		"/sys/bus/pci/devices/0000:41:00.0, /sys/bus/pci/devices/0001:41:00.0");
	check_no_such("eth7", ERR_NOT_FOUND, "");
	check_no_such("", ERR_NOT_FOUND, "");
	check_no_such("42:00.0", ERR_NOT_FOUND, "");
	check_no_such("/dev/nosuch", ERR_NOT_FOUND, "");
	check_no_such("/sys/class", ERR_NOT_FOUND, "");
	check_no_such("../../etc/passwd", ERR_NOT_FOUND, "");
	inventory_free(inv);
	tree_remove();
	open_scene("volumes");
	check_no_such("sde", ERR_USAGE, "/sys/class/net/sde, /sys/class/block/sde");
	inventory_free(inv);
}
END_TEST

START_TEST(broken_trees_cost_only_what_is_broken)
{
	open_scene("broken");
	check_has("0000:00:04.0", "\"reset_methods\":\"flr?[31m\"");
	check_has("eth0", "\"mac\":null");
	check_refused("sda", "HOST-USE", "/proc/self/mountinfo: 8:0");
	check_refused("sdb", "HOST-USE", "/proc/self/mountinfo: 8:0");
	check_no_such("0000:00:01.0", ERR_NOT_FOUND, "");
	check_no_such("0000:00:02.0", ERR_NOT_FOUND, "");
	check_no_such("sdc", ERR_NOT_FOUND, "");
	check_no_such("sdd", ERR_NOT_FOUND, "");
	check_no_such("sde", ERR_NOT_FOUND, "");
	inventory_free(inv);
}
END_TEST

START_TEST(without_mounts_nothing_is_called_free)
{
	open_scene("lvm");
	check_has("sdc", "\"state\":\"free\"");
	ck_assert_int_eq(chdir(tree_root), 0);
	ck_assert_int_eq(unlink("proc/self/mountinfo"), 0);
	check_has("sdc", "\"state\":\"unknown\"");
	check_has("sda", "\"state\":\"host\"");
	check_refused("sdc", "HOST-USE", "/proc/self/mountinfo");
	inventory_free(inv);
}
END_TEST

START_TEST(new_uses_are_seen_at_once)
{
	open_scene("lvm");
	check_allowed("sdc");
	tree_text("proc/swaps", "Filename Type Size Used Priority\n/dev/sdc partition 1 1 1\n");
	check_has("sdc", "\"state\":\"host\"");
	check_refused("sdc", "HOST-USE", "/proc/swaps: /dev/sdc");
	tree_text("proc/swaps", "");
	check_allowed("sdc");
	inventory_free(inv);
}
END_TEST

/* --- attachments ------------------------------------------------------------------------------ */

static const struct inventory_attachment *attached;

static void one_attachment(void *arg, inventory_visit_fn *visit, void *visit_arg)
{
	(void)arg;
	if (attached)
		visit(visit_arg, attached);
}

START_TEST(attached_devices_are_taken)
{
	const struct inventory_attachment disk = {
		.id = "web1/disk0", .vm = "web1", .device = "sdc"};
	const struct inventory_attachment part = {
		.id = "web1/disk0", .vm = "web1", .device = "sdb1"};
	const struct inventory_attachment volume = {
		.id = "web1/d", .vm = "web1", .device = "bcache0"};

	open_scene("lvm");
	inventory_set_attachments(inv, one_attachment, NULL);
	attached = &disk;
	check_has("sdc", "\"state\":\"attached\"");
	check_has("sdc", "{\"kind\":\"vm\",\"what\":\"attachment web1/disk0\"");
	check_refused("sdc", "DEV-TAKEN", "web1/disk0");
	attached = &part;
	check_allowed("sdc");
	check_refused("sdb1", "DEV-TAKEN", "web1/disk0");
	check_has("sdb", "\"kind\":\"vm\",\"what\":\"attachment web1/disk0\",\"via\":\"sdb1\"");
	attached = NULL;
	check_allowed("sdb1");
	inventory_free(inv);
	tree_remove();
	open_scene("volumes");
	inventory_set_attachments(inv, one_attachment, NULL);
	attached = &volume;
	check_has("sdc", "\"kind\":\"vm\",\"what\":\"attachment web1/d\",\"via\":\"bcache0\"");
	inventory_free(inv);
}
END_TEST

START_TEST(a_partition_is_taken_with_its_disk)
{
	const struct inventory_attachment disk = {.id = "v/d", .vm = "v", .device = "nvme0n1"};

	open_scene("nvme");
	tree_text("proc/swaps", "");
	inventory_set_attachments(inv, one_attachment, NULL);
	attached = &disk;
	check_refused("nvme0n1p1", "DEV-TAKEN", "v/d");
	check_has("nvme0n1p1", "\"state\":\"attached\"");
	check_refused("0000:01:00.0", "DEV-TAKEN", "v/d");
	check_refused("nvme1n1", "HOST-USE", "/fast");
	attached = NULL;
	check_allowed("nvme0n1p1");
	inventory_free(inv);
}
END_TEST

static const char *stuck; /* the device that is wedged */
static char news[256];

static bool is_stuck(void *arg, const struct device *d, struct json_out *o)
{
	(void)arg;
	if (!stuck || strcmp(d->id, stuck) != 0)
		return false;
	if (o) {
		json_out_object(o, "wedge");
		json_out_u64(o, "pid", 7);
		json_out_end(o);
	}
	return true;
}

static void hear(void *arg, const char *event, const char *id, const char *json, size_t len)
{
	(void)arg, (void)len;
	snprintf(news, sizeof(news), "%s %s%s", event, id,
		strstr(json, "\"state\":\"wedged\"") ? " wedged" : "");
}

START_TEST(wedged_devices_are_shown_and_told)
{
	open_scene("nvme");
	inventory_set_wedged(inv, is_stuck, NULL);
	inventory_set_listener(inv, hear, NULL);
	check_lacks("0000:01:00.0", "wedge");
	stuck = "0000:01:00.0";
	inventory_wedge_changed(inv, stuck);
	ck_assert_str_eq(news, "changed 0000:01:00.0 wedged");
	check_has("0000:01:00.0", "\"state\":\"wedged\"");
	check_has("0000:01:00.0", "\"wedge\":{\"pid\":7}");
	check_lacks("nvme0n1", "wedge");
	stuck = "nvme0n1";
	inventory_wedge_changed(inv, "/dev/nvme0n1"); /* by its node */
	ck_assert_str_eq(news, "changed nvme0n1 wedged");
	stuck = NULL;
	inventory_wedge_changed(inv, "nvme0n1");
	ck_assert_str_eq(news, "changed nvme0n1");
	inventory_free(inv);
}
END_TEST

START_TEST(image_files_are_devices_when_named)
{
	struct inventory_attachment a = {.id = "v/d", .vm = "v"};
	char image[PATH_MAX + 16], other[PATH_MAX + 16], folder[PATH_MAX];
	char swaps[PATH_MAX + 128];
	const struct device *d;

	open_scene("volumes");
	ck_assert_ptr_nonnull(realpath(tree_root, folder));
	snprintf(image, sizeof(image), "%s/disk.img", folder);
	snprintf(other, sizeof(other), "%s/other.img", folder);
	tree_text("disk.img", "0123456789");
	ck_assert_int_eq(link(image, other), 0);
	d = get(image);
	ck_assert_int_eq(d->class, DEVICE_FILE);
	ck_assert_uint_eq(d->file.size_bytes, 10);
	check_has(image, "\"state\":\"free\",\"class\":\"file\"");
	check_has(image, "\"paths\":[\"paravirt\"]");
	check_allowed(image);

	inventory_set_attachments(inv, one_attachment, NULL);
	a.device = image;
	attached = &a;
	check_refused(image, "DEV-TAKEN", "v/d");
	check_refused(other, "DEV-TAKEN", "v/d"); /* the same file by another name */
	tree_text("sys/devices/virtual/block/loop0/loop/backing_file", other);
	check_refused("loop0", "DEV-TAKEN", "v/d"); /* and by a loop device */
	tree_text("sys/devices/virtual/block/loop0/loop/backing_file", "");
	check_allowed("loop0");
	attached = NULL;
	check_allowed(other);

	snprintf(swaps, sizeof(swaps), "Filename T S U P\n%s file 1 1 1\n", image);
	tree_text("proc/swaps", swaps);
	check_refused(other, "HOST-USE", "/proc/swaps");
	tree_text("proc/swaps", "");
	tree_text("sys/devices/virtual/block/loop0/loop/backing_file", image);
	ck_assert_int_eq(inventory_refresh(inv, &(const struct device *){get("loop0")}), true);
	check_refused(other, "HOST-USE", "/sys/class/block/loop0/loop/backing_file");
	inventory_free(inv);
}
END_TEST

/* --- lists ------------------------------------------------------------------------------------ */

/* How many devices a filter lets through. */
static unsigned int count_listed(const struct inventory_filter *filter)
{
	struct err e = ERR_INIT;
	unsigned int count = 0;
	struct json_out o;
	size_t len;
	char *text;

	json_out_init(&o);
	json_out_object(&o, NULL);
	ck_assert_int_eq(inventory_put_devices(inv, filter, &o, "devices", &e), 0);
	json_out_end(&o);
	text = json_out_finish(&o, &len);
	for (const char *s = text; (s = strstr(s, "{\"id\":")); s++)
		count++;
	free(text);
	return count;
}

/* Names that a hand must have looked at, and nobody else may. */
START_TEST(paths_are_not_followed_by_the_daemon)
{
	struct err e = ERR_INIT;

	open_scene("volumes");
	ck_assert(inventory_wants_look("/srv/a.img"));
	ck_assert(inventory_wants_look("/dev/sda"));
	ck_assert(inventory_wants_look("/sys/../srv/a.img"));
	ck_assert(!inventory_wants_look("/sys/class/net/eth0"));
	ck_assert(!inventory_wants_look("sda"));
	ck_assert_ptr_null(inventory_resolve(inv, tree_root, &e));
	ck_assert_str_eq(e.code, "INTERNAL");
	inventory_free(inv);
}
END_TEST

START_TEST(lists_and_filters)
{
	const struct inventory_attachment disk = {
		.id = "web1/disk0", .vm = "web1", .device = "sdc"};
	struct err e = ERR_INIT;
	struct json_out o;

	open_scene("lvm");
	inventory_set_attachments(inv, one_attachment, NULL);
	attached = &disk;
	ck_assert_uint_eq(count_listed(&(struct inventory_filter){0}), 12);
	ck_assert_uint_eq(count_listed(&(struct inventory_filter){.class = "pci"}), 1);
	ck_assert_uint_eq(count_listed(&(struct inventory_filter){.class = "block"}), 11);
	ck_assert_uint_eq(count_listed(&(struct inventory_filter){.vm = "web1"}), 1);
	ck_assert_uint_eq(count_listed(&(struct inventory_filter){.vm = "web2"}), 0);
	/* sdb1, dm-2; the swap and sdc are taken */
	ck_assert_uint_eq(count_listed(&(struct inventory_filter){.free_only = true}), 2);
	json_out_init(&o);
	ck_assert_int_eq(inventory_put_devices(inv, &(struct inventory_filter){.class = "nonsense"},
				 &o, "devices", &e),
		-1);
	ck_assert_int_eq(e.kind, ERR_USAGE);
	json_out_release(&o);
	inventory_free(inv);
}
END_TEST

START_TEST(fingerprints_tell_devices_apart)
{
	static const char *const names[] = {
		"sda", "sdb", "sdc", "sda1", "sda2", "sdb1", "md0", "dm-0", "dm-1", "0000:00:1f.2"};
	char seen[ARRAY_SIZE(names)][33];

	open_scene("lvm");
	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		ck_assert(str_copy(seen[i], sizeof(seen[i]), get(names[i])->fingerprint));
		ck_assert_uint_eq(strlen(seen[i]), 32);
		for (size_t j = 0; j < i; j++)
			ck_assert_str_ne(seen[i], seen[j]);
	}
	/* another disk in the same place is another device */
	tree_text("sys/devices/pci0000:00/0000:00:1f.2/host0/target0:0:0/0:0:0:32/wwid",
		"naa.other\n");
	ck_assert(inventory_refresh(inv, &(const struct device *){get("sdc")}));
	ck_assert_str_ne(get("sdc")->fingerprint, seen[2]);
	inventory_free(inv);
}
END_TEST

UNIT_MAIN(root_on_lvm_on_md, mount_through_multipath, route_through_bridge_vlan_and_bond,
	virtual_function_with_the_way_in, nvme_and_its_controllers, file_systems_of_several_devices,
	recorded_virtual_machine, recorded_server, names_that_people_paste, names_that_do_not_tell,
	broken_trees_cost_only_what_is_broken, without_mounts_nothing_is_called_free,
	new_uses_are_seen_at_once, attached_devices_are_taken, a_partition_is_taken_with_its_disk,
	wedged_devices_are_shown_and_told, image_files_are_devices_when_named,
	paths_are_not_followed_by_the_daemon, lists_and_filters, fingerprints_tell_devices_apart)
