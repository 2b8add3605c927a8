/* SPDX-License-Identifier: GPL-2.0-or-later */
/* lib/iommu/vfio_*: what can be told without a device: nodes, refusals, the check after a reset. */
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "lib/iommu/vfio_device_priv.h"
#include "tests/unit/tree.h"
#include "tests/unit/unit.h"

static struct sysroot *root;

static void open_scene(const char *scene)
{
	struct err e = ERR_INIT;

	ck_assert_int_eq(sysroot_open(tree_make(scene), &root, &e), 0);
	ck_assert_int_eq(chdir(tree_root), 0);
}

static void put(const char *path, const char *text)
{
	FILE *f = fopen(path, "w");

	ck_assert_ptr_nonnull(f);
	fputs(text, f);
	fclose(f);
}

static int find(const char *id, struct vfio_nodes *nodes, struct err *e)
{
	struct pci_addr addr;

	ck_assert(pci_addr_parse(id, &addr));
	return vfio_nodes_find(root, &addr, nodes, e);
}

#define DEV "sys/devices/pci0000:03/0000:03:00.0"

START_TEST(nodes_are_those_of_the_function)
{
	struct vfio_nodes nodes;

	open_scene("sriov");
	ck_assert_int_eq(find("0000:03:00.0", &nodes, NULL), 0);
	ck_assert_str_eq(nodes.driver, "vfio-pci");
	ck_assert_str_eq(nodes.group, "7");
	ck_assert_str_eq(nodes.group_node, "/dev/vfio/7");
	ck_assert_str_eq(nodes.cdev_node, "");
	/* The class is there since 6.1; a node only where the kernel makes them. */
	ck_assert_int_eq(mkdir(DEV "/vfio-dev", 0755), 0);
	ck_assert_int_eq(mkdir(DEV "/vfio-dev/vfio3", 0755), 0);
	ck_assert_int_eq(find("0000:03:00.0", &nodes, NULL), 0);
	ck_assert_str_eq(nodes.cdev_node, "");
	put(DEV "/vfio-dev/vfio3/dev", "243:3\n");
	ck_assert_int_eq(find("0000:03:00.0", &nodes, NULL), 0);
	ck_assert_str_eq(nodes.cdev_node, "/dev/vfio/devices/vfio3");
	sysroot_close(root);
}
END_TEST

START_TEST(what_cannot_be_opened_says_why)
{
	struct vfio_nodes nodes;
	struct err e = ERR_INIT;

	open_scene("sriov");
	ck_assert_int_eq(find("0000:99:00.0", &nodes, &e), -1);
	ck_assert_int_eq(e.kind, ERR_NOT_FOUND);
	ck_assert_str_eq(e.code, "DEV-GONE");
	ck_assert_int_eq(find("0000:03:00.1", &nodes, &e), -1);
	ck_assert_str_eq(e.code, "DEV-NOT-VFIO");
	ck_assert_ptr_nonnull(strstr(e.evidence, "igb"));
	put("sys/kernel/iommu_groups/7/name", "vfio-noiommu\n");
	ck_assert_int_eq(find("0000:03:00.0", &nodes, &e), -1);
	ck_assert_str_eq(e.code, "GRP-NONE");
	ck_assert_int_eq(unlink(DEV "/iommu_group"), 0);
	ck_assert_int_eq(find("0000:03:00.0", &nodes, &e), -1);
	ck_assert_int_eq(e.kind, ERR_REFUSED);
	ck_assert_str_eq(e.code, "GRP-NONE");
	sysroot_close(root);
}
END_TEST

START_TEST(an_errno_is_told_with_its_step)
{
	static const struct {
		const char *step;
		int sys;
		const char *code;
	} cases[] = {
		{"open", EBUSY, "DEV-TAKEN"},
		{"open", ENOENT, "DEV-NOT-VFIO"},
		{"open", EACCES, "SYS"},
		{"VFIO_SET_IOMMU", EPERM, "IRQ-UNSAFE"},
		{"VFIO_SET_IOMMU", EINVAL, "GRP-IOMMU"},
		{"VFIO_DEVICE_BIND_IOMMUFD", EINVAL, "DEV-TAKEN"},
		{"VFIO_DEVICE_ATTACH_IOMMUFD_PT", EADDRINUSE, "IOVA-RANGE"},
		{"VFIO_DEVICE_ATTACH_IOMMUFD_PT", EINVAL, "GRP-IOMMU"},
		{"VFIO_GROUP_GET_STATUS", EPERM, "GRP-VIABLE"},
	};
	struct vfio_nodes nodes;
	struct iommu_entrant who = {.id = "0000:03:00.0", .nodes = &nodes};
	struct err e = ERR_INIT;

	open_scene("sriov");
	who.root = root;
	ck_assert_int_eq(find(who.id, &nodes, NULL), 0);
	/* A member at work for the host is the reason, whatever the kernel calls it. */
	ck_assert_int_eq(iommu_explain_entry(&who, EINVAL, "VFIO_SET_IOMMU", &e), -1);
	ck_assert_str_eq(e.code, "GRP-VIABLE");
	ck_assert_int_eq(unlink("sys/devices/pci0000:03/0000:03:00.1/driver"), 0);
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		ck_assert_int_eq(iommu_explain_entry(&who, cases[i].sys, cases[i].step, &e), -1);
		ck_assert_msg(strcmp(e.code, cases[i].code) == 0, "%s: %s: %s", cases[i].step,
			e.code, e.msg);
		ck_assert_ptr_nonnull(strstr(e.msg, who.id));
	}
	/* iommufd has one errno for two things: with a companion on VFIO it is the other. */
	ck_assert_int_eq(iommu_explain_entry(&who, EPERM, "VFIO_DEVICE_BIND_IOMMUFD", &e), -1);
	ck_assert_str_eq(e.code, "IRQ-UNSAFE");
	ck_assert_int_eq(symlink("../../../bus/pci/drivers/vfio-pci",
				 "sys/devices/pci0000:03/0000:03:00.1/driver"),
		0);
	ck_assert_int_eq(iommu_explain_entry(&who, EPERM, "VFIO_DEVICE_BIND_IOMMUFD", &e), -1);
	ck_assert_str_eq(e.code, "DEV-TAKEN");
	sysroot_close(root);
}
END_TEST

/* --- the check after a reset ------------------------------------------------------------------ */

/* Vendor 1234 device 11e8, memory on, class 00ff00, a BAR at 0xfea00000. */
static const uint8_t edu[VFIO_HEADER_BYTES] = {0x34, 0x12, 0xe8, 0x11, 0x02, 0x01, 0x10, 0x00, 0x10,
	0x00, 0xff, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0xa0, 0xfe};

static int check_with(size_t at, uint8_t value, bool is_vf, struct err *e)
{
	uint8_t now[VFIO_HEADER_BYTES];

	memcpy(now, edu, sizeof(now));
	now[at] = value;
	return vfio_check_header(edu, now, is_vf, e);
}

START_TEST(a_good_device_passes)
{
	ck_assert_int_eq(vfio_check_header(edu, edu, false, NULL), 0);
	ck_assert_int_eq(check_with(0x07, 0x29, false, NULL), 0); /* errors seen: status */
	ck_assert_int_eq(check_with(0x04, 0x00, false, NULL), 0); /* memory off */
}
END_TEST

START_TEST(a_bad_one_does_not)
{
	uint8_t gone[VFIO_HEADER_BYTES], vf[VFIO_HEADER_BYTES];
	struct err e = ERR_INIT;

	memset(gone, 0xff, sizeof(gone));
	ck_assert_int_eq(vfio_check_header(edu, gone, false, &e), -1);
	ck_assert_str_eq(e.code, "DEV-RESET");
	ck_assert_int_eq(vfio_check_header(gone, gone, false, &e), -1);
	ck_assert_int_eq(check_with(0x02, 0xe9, false, &e), -1); /* another device */
	ck_assert_int_eq(check_with(0x04, 0x06, false, &e), -1); /* bus master */
	ck_assert_str_eq(e.evidence, "command and status: 0x00100106");
	ck_assert_int_eq(check_with(0x13, 0x00, false, &e), -1); /* its BAR is lost */
	ck_assert_str_eq(e.evidence, "config space at 0x10: 0x00a00000, was 0xfea00000");
	ck_assert_int_eq(check_with(0x27, 0x01, false, &e), -1); /* a BAR that was not */

	/* A VF reads as ones for its ids, and is known by its class. */
	memcpy(vf, edu, sizeof(vf));
	memset(vf, 0xff, 4);
	memset(vf + 0x10, 0, 24);
	ck_assert_int_eq(vfio_check_header(vf, vf, true, &e), 0);
	ck_assert_int_eq(vfio_check_header(vf, gone, true, &e), -1);
	vf[0x04] = 0x04;
	ck_assert_int_eq(vfio_check_header(vf, vf, true, &e), -1);
}
END_TEST

UNIT_MAIN(nodes_are_those_of_the_function, what_cannot_be_opened_says_why,
	an_errno_is_told_with_its_step, a_good_device_passes, a_bad_one_does_not)
