/* SPDX-License-Identifier: GPL-2.0-or-later */
/* lib/iommu: configuration spaces, the ways up from a function, and why a group is as it is. */
#include "lib/iommu/acs.h"
#include "lib/iommu/group.h"
#include "tests/unit/tree.h"
#include "tests/unit/unit.h"

static struct sysroot *root;
static struct acs_finding found[ACS_MAX_FINDINGS];
static size_t found_count;

static void open_groups(void)
{
	struct err e = ERR_INIT;

	ck_assert_int_eq(sysroot_open(tree_make("groups"), &root, &e), 0);
}

static void explain(const char *id)
{
	static struct pci_path paths[8];
	struct iommu_group group;
	struct err e = ERR_INIT;

	ck_assert_int_eq(iommu_group_read(root, id, &group, &e), 0);
	ck_assert_uint_le(group.member_count, ARRAY_SIZE(paths));
	for (size_t i = 0; i < group.member_count; i++)
		ck_assert_msg(pci_path_read(root, group.members[i].id, pci_config_at_once, root,
				      &paths[i], &e) == 0,
			"%s", e.msg);
	found_count = acs_explain(group.id, paths, group.member_count, found, ARRAY_SIZE(found));
	iommu_group_release(&group);
}

static void check_found(size_t i, enum acs_kind kind, const char *device, const char *what)
{
	ck_assert_uint_lt(i, found_count);
	ck_assert_str_eq(acs_kind_names[found[i].kind], acs_kind_names[kind]);
	ck_assert_str_eq(found[i].device, device);
	ck_assert_str_eq(found[i].what, what);
}

/* --- configuration spaces --------------------------------------------------------------------- */

/* What the bytes of a function of the tree say, of which `len` can be read. */
static struct pci_config decode(const char *place, size_t len)
{
	uint8_t bytes[PCI_CONFIG_MAX];
	struct pci_config c;
	struct sysfs_dir dir;

	ck_assert(sysfs_dir_init(&dir, root, "sys/bus/pci/devices/%s", place));
	ck_assert_int_ge(sysfs_read_raw(&dir, "config", bytes, sizeof(bytes)), (ssize_t)len);
	ck_assert_int_eq(pci_config_decode(bytes, len, &c), len >= PCI_CONFIG_HEADER_SIZE);
	return c;
}

START_TEST(a_configuration_space_is_read)
{
	struct pci_config c;

	open_groups();
	c = decode("0000:03:01.0", 4096);
	ck_assert_int_eq(c.port, PCI_PORT_DOWNSTREAM);
	ck_assert(c.is_bridge && !c.multifunction);
	ck_assert_uint_eq(c.secondary, 5);
	ck_assert_uint_eq(c.express_at, 0x50);
	ck_assert_uint_eq(c.acs_at, 0x148);
	ck_assert_uint_eq(
		pci_config_acs_lacks(&c), PCI_ACS_REQUEST_REDIRECT | PCI_ACS_COMPLETION_REDIRECT);
	c = decode("0000:09:00.0", 4096);
	ck_assert_uint_eq(c.phantom_bits, 2);
	ck_assert(c.acs_known && !c.acs_at);
	c = decode("0000:08:00.2", 4096); /* what its capability lacks is hard-wired */
	ck_assert(c.multifunction && !pci_config_acs_lacks(&c));
	ck_assert_int_eq(decode("0000:07:01.0", 4096).port, PCI_PORT_CONVENTIONAL);
	sysroot_close(root);
}
END_TEST

START_TEST(what_cannot_be_seen_is_not_taken_for_absent)
{
	struct pci_config c;

	open_groups();
	c = decode("0000:00:01.0", 63);
	ck_assert(!c.has_header);
	c = decode("0000:00:01.0", 64);
	ck_assert(c.has_header && c.is_bridge && !c.acs_known);
	ck_assert_int_eq(c.port, PCI_PORT_UNKNOWN);
	c = decode("0000:00:01.0", 0x59); /* one byte of PCI Express short */
	ck_assert_int_eq(c.port, PCI_PORT_UNKNOWN);
	c = decode("0000:00:01.0", 0x5a);
	ck_assert_int_eq(c.port, PCI_PORT_ROOT);
	c = decode("0000:00:01.0", 0x14f); /* one byte of ACS short */
	ck_assert_uint_eq(c.acs_at, 0);
	c = decode("0000:00:01.0", 0x150);
	ck_assert_uint_eq(c.acs_at, 0x148);
	sysroot_close(root);
}
END_TEST

START_TEST(a_serial_number_is_read)
{
	uint8_t bytes[0x110] = {[0x06] = 0x10, [0x34] = 0x40, [0x40] = 0x10, [0x42] = 0x02};
	struct pci_config c;

	bytes[0x100] = 0x03;
	bytes[0x102] = 0x01;
	memcpy(bytes + 0x104, "\x78\x56\x34\x12\xef\xcd\xab\x90", 8);
	ck_assert(pci_config_decode(bytes, sizeof(bytes), &c));
	ck_assert(c.has_serial);
	ck_assert_uint_eq(c.serial, 0x90abcdef12345678);
	ck_assert(pci_config_decode(bytes, 0x10b, &c)); /* cut in its last byte */
	ck_assert(!c.has_serial);
	memset(bytes + 0x104, 0xff, 8);
	ck_assert(pci_config_decode(bytes, sizeof(bytes), &c));
	ck_assert(!c.has_serial);
}
END_TEST

START_TEST(hostile_bytes)
{
	uint8_t bytes[PCI_CONFIG_MAX];
	struct pci_config c;

	memset(bytes, 0xff, sizeof(bytes));
	ck_assert(!pci_config_decode(bytes, sizeof(bytes), &c)); /* it is gone */
	bytes[0x06] = 0x10;
	bytes[0x34] = 0x40;
	ck_assert(pci_config_decode(bytes, sizeof(bytes), &c)); /* but not quite */
	ck_assert_int_eq(c.port, PCI_PORT_CONVENTIONAL);
	memset(bytes, 0, sizeof(bytes));
	bytes[0x06] = 0x10;
	bytes[0x34] = bytes[0x41] = 0x40; /* a circle */
	ck_assert(pci_config_decode(bytes, sizeof(bytes), &c));
	ck_assert_int_eq(c.port, PCI_PORT_CONVENTIONAL);
	bytes[0x41] = 0x50;
	bytes[0x50] = 0x10;
	bytes[0x52] = 0xb0; /* a type that is not defined */
	bytes[0x102] = 0x01;
	bytes[0x103] = 0x10; /* an extended circle */
	bytes[0x100] = 0x01;
	ck_assert(pci_config_decode(bytes, sizeof(bytes), &c));
	ck_assert_int_eq(c.port, PCI_PORT_UNKNOWN);
	ck_assert_uint_eq(c.acs_at, 0);
}
END_TEST

/* --- ways up ---------------------------------------------------------------------------------- */

START_TEST(the_way_up_has_each_bridge)
{
	struct pci_path path;
	struct err e = ERR_INIT;

	open_groups();
	ck_assert_int_eq(
		pci_path_read(root, "0000:05:00.0", pci_config_at_once, root, &path, &e), 0);
	ck_assert_uint_eq(path.count, 4);
	ck_assert_str_eq(path.at[1].id, "0000:03:01.0");
	ck_assert_int_eq(path.at[2].config.port, PCI_PORT_UPSTREAM);
	ck_assert_str_eq(path.at[3].id, "0000:00:02.0");
	ck_assert_int_eq(path.at[3].group, 3);
	ck_assert_uint_eq(pci_requester_id(&path.at[1].addr), 0x308);
	ck_assert_int_eq(
		pci_path_read(root, "0000:00:08.0", pci_config_at_once, root, &path, &e), 0);
	ck_assert_int_eq(path.at[0].group, -1);
	ck_assert_int_eq(
		pci_path_read(root, "0000:7f:00.0", pci_config_at_once, root, &path, &e), -1);
	ck_assert_int_eq(e.kind, ERR_NOT_FOUND);
	sysroot_close(root);
}
END_TEST

/* --- why -------------------------------------------------------------------------------------- */

START_TEST(a_function_that_is_alone)
{
	open_groups();
	explain("1");
	check_found(0, ACS_ALONE, "0000:00:01.0",
		"is alone on its way to the IOMMU: it is on the root bus");
	explain("2");
	ck_assert_uint_eq(found_count, 1);
	check_found(0, ACS_ALONE, "0000:01:00.0",
		"is alone: each port above it, up to 0000:00:01.0, keeps it apart");
	ck_assert_str_eq(found[0].evidence, "configuration space: PCI Express at 0x50, type 4; ACS "
					    "at 0x148, capability 0x001d, control 0x001d");
	explain("8"); /* beside two without ACS, it has it */
	check_found(0, ACS_ALONE, "0000:08:00.2",
		"is alone: each port above it, up to 0000:00:04.0, keeps it apart");
	sysroot_close(root);
}
END_TEST

START_TEST(ports_that_do_not_isolate_are_named)
{
	open_groups();
	explain("3");
	ck_assert_uint_eq(found_count, 2);
	check_found(0, ACS_ABSENT, "0000:00:02.0",
		"is a root port without ACS (no Source Validation, Request Redirect, Completion "
		"Redirect, Upstream Forwarding): it and the 5 functions behind it cannot be told "
		"apart");
	ck_assert_str_eq(
		found[0].evidence, "configuration space: PCI Express at 0x50, type 4; no ACS");
	check_found(1, ACS_OFF, "0000:03:01.0",
		"is a downstream port that does not use all of its ACS (no Request Redirect, "
		"Completion Redirect): it and 0000:05:00.0 cannot be told apart");
	sysroot_close(root);
}
END_TEST

START_TEST(a_bridge_gives_its_own_id)
{
	open_groups();
	explain("5");
	ck_assert_uint_eq(found_count, 1);
	check_found(0, ACS_BRIDGE, "0000:06:00.0",
		"is a PCI Express to PCI bridge, and all behind it has the requester ID 07:00.0: "
		"it, 0000:07:01.0 and 0000:07:02.0 cannot be told apart");
	sysroot_close(root);
}
END_TEST

START_TEST(functions_of_one_device)
{
	open_groups();
	explain("7");
	ck_assert_uint_eq(found_count, 1);
	check_found(0, ACS_FUNCTIONS, "0000:08:00.0",
		"is one function of a device without ACS, with 0000:08:00.1: they can reach each "
		"other without the IOMMU seeing it");
	explain("14");
	ck_assert_uint_eq(found_count, 1);
	check_found(0, ACS_FUNCTIONS, "0000:00:1f.0",
		"is one function of a device without ACS, with 0000:00:1f.2, 0000:00:1f.3, "
		"0000:00:1f.4, ...: they can reach each other without the IOMMU seeing it");
	sysroot_close(root);
}
END_TEST

START_TEST(what_the_bytes_do_not_explain_is_said)
{
	open_groups();
	explain("10");
	ck_assert_uint_eq(found_count, 2);
	check_found(0, ACS_TRUSTED, "0000:00:05.0",
		"is a root port without ACS, yet the kernel takes it for one that isolates: it "
		"knows the device, or was told to on its command line");
	check_found(1, ACS_ALONE, "0000:09:00.0",
		"is alone: each port above it, up to 0000:00:05.0, keeps it apart");
	explain("11");
	ck_assert_uint_eq(found_count, 1);
	check_found(0, ACS_UNSEEN, "0000:00:06.0",
		"cannot be seen in full: whether it keeps others apart is not known");
	explain("12");
	check_found(0, ACS_UNEXPLAINED, "0000:00:07.0",
		"and the others share no port that lacks ACS now: they were put together before it "
		"was switched on, or for a reason of the kernel's own");
	sysroot_close(root);
}
END_TEST

START_TEST(findings_are_bounded)
{
	static struct pci_path paths[3];

	open_groups();
	for (size_t i = 0; i < 3; i++) {
		const char *const ids[] = {"0000:04:00.0", "0000:05:00.0", "0000:07:01.0"};
		struct err e = ERR_INIT;

		ck_assert_int_eq(
			pci_path_read(root, ids[i], pci_config_at_once, root, &paths[i], &e), 0);
	}
	ck_assert_uint_eq(acs_explain(3, paths, 2, found, 2), 2);
	ck_assert_uint_eq(acs_explain(3, paths, 2, found, 1), 1);
	ck_assert_uint_eq(acs_explain(3, paths, 0, found, 1), 0);
	sysroot_close(root);
}
END_TEST

/* The lab's host: QEMU's ports and bridges, grouped by a real kernel. */
static void open_lab(const char *name)
{
	struct err e = ERR_INIT;

	ck_assert_int_eq(sysroot_open(tree_unpack(name), &root, &e), 0);
}

static bool is_found(enum acs_kind kind)
{
	for (size_t i = 0; i < found_count; i++)
		if (found[i].kind == kind)
			return true;
	return false;
}

START_TEST(all_groups_of_a_real_kernel_are_explained)
{
	struct name_list ids;

	open_lab("lab-vtd");
	ck_assert_int_eq(iommu_group_list(root, &ids), 0);
	ck_assert_uint_eq(ids.count, 24);
	for (size_t i = 0; i < ids.count; i++) {
		struct iommu_group group;
		struct err e = ERR_INIT;

		ck_assert_int_eq(iommu_group_read(root, ids.names[i], &group, &e), 0);
		explain(ids.names[i]);
		ck_assert_msg(found_count > 0, "%s", ids.names[i]);
		ck_assert_msg(is_found(ACS_ALONE) == (group.member_count == 1), "group %s: %s",
			ids.names[i], found[0].what);
		ck_assert(!is_found(ACS_UNSEEN) && !is_found(ACS_TRUSTED));
		ck_assert(!is_found(ACS_UNEXPLAINED));
		iommu_group_release(&group);
	}
	name_list_release(&ids);
	explain("13");
	check_found(0, ACS_ABSENT, "0000:00:19.0",
		"is a root port without ACS (no Source Validation, Request Redirect, Completion "
		"Redirect, Upstream Forwarding): it and 0000:0b:00.0 cannot be told apart");
	explain("22");
	check_found(0, ACS_BRIDGE, "0000:08:00.0",
		"is a PCI Express to PCI bridge, and all behind it has the requester ID 09:00.0: "
		"it, 0000:09:01.0 and 0000:09:02.0 cannot be told apart");
	sysroot_close(root);
}
END_TEST

UNIT_MAIN(a_configuration_space_is_read, what_cannot_be_seen_is_not_taken_for_absent,
	a_serial_number_is_read, hostile_bytes, the_way_up_has_each_bridge,
	a_function_that_is_alone, ports_that_do_not_isolate_are_named, a_bridge_gives_its_own_id,
	functions_of_one_device, what_the_bytes_do_not_explain_is_said, findings_are_bounded,
	all_groups_of_a_real_kernel_are_explained)
