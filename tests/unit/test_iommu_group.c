/* SPDX-License-Identifier: GPL-2.0-or-later */
/* lib/iommu/group: what /sys/kernel/iommu_groups says. */
#include <unistd.h>

#include "lib/iommu/group.h"
#include "tests/unit/tree.h"
#include "tests/unit/unit.h"

static struct sysroot *root;

static void open_scene(const char *scene)
{
	struct err e = ERR_INIT;

	ck_assert_int_eq(sysroot_open(tree_make(scene), &root, &e), 0);
	ck_assert_int_eq(chdir(tree_root), 0);
}

static struct iommu_group read_group(const char *id)
{
	struct iommu_group group;
	struct err e = ERR_INIT;

	ck_assert_msg(iommu_group_read(root, id, &group, &e) == 0, "%s: %s", id, e.msg);
	return group;
}

START_TEST(groups_are_listed_by_number)
{
	struct name_list ids;

	open_scene("sriov");
	ck_assert_int_eq(iommu_group_list(root, &ids), 0);
	ck_assert_uint_eq(ids.count, 8);
	ck_assert_str_eq(ids.names[2], "7");
	ck_assert_str_eq(ids.names[3], "30");
	name_list_release(&ids);
	sysroot_close(root);
}
END_TEST

START_TEST(a_driver_of_the_host_blocks_its_group)
{
	struct iommu_group group;

	open_scene("sriov");
	group = read_group("7");
	ck_assert_uint_eq(group.id, 7);
	ck_assert_str_eq(group.type, "DMA-FQ");
	ck_assert_str_eq(group.iommu, "dmar0");
	ck_assert_uint_eq(group.member_count, 2);
	ck_assert_str_eq(group.members[0].id, "0000:03:00.0");
	ck_assert(!group.members[0].blocks); /* vfio-pci */
	ck_assert_str_eq(group.members[1].driver, "igb");
	ck_assert(group.members[1].blocks);
	ck_assert(!iommu_group_is_viable(&group));
	iommu_group_release(&group);

	ck_assert_int_eq(unlink("sys/devices/pci0000:03/0000:03:00.1/driver"), 0);
	group = read_group("7");
	ck_assert(iommu_group_is_viable(&group));
	iommu_group_release(&group);

	group = read_group("1"); /* a root port: pcieport does no DMA for the host */
	ck_assert(iommu_group_is_viable(&group));
	iommu_group_release(&group);
	sysroot_close(root);
}
END_TEST

START_TEST(who_blocks_a_group_is_named)
{
	struct iommu_member members[] = {{.id = "0000:01:00.0", .driver = "pcieport"},
		{.id = "0000:02:00.0", .driver = "shpchp", .blocks = true},
		{.id = "0000:02:00.1", .driver = "igb", .blocks = true}};
	struct iommu_group group = {.id = 12, .members = members, .member_count = 3};
	struct err e = ERR_INIT;

	ck_assert_int_eq(iommu_group_check_viable(&group, &e), -1);
	ck_assert_int_eq(e.kind, ERR_REFUSED);
	ck_assert_str_eq(e.code, "GRP-VIABLE");
	ck_assert_str_eq(e.evidence, "/sys/kernel/iommu_groups/12/devices/0000:02:00.0/driver: "
				     "shpchp, and 1 more like it");
	ck_assert_ptr_nonnull(strstr(e.fix, "drivers/shpchp/unbind"));
	members[1].blocks = false;
	ck_assert_int_eq(iommu_group_check_viable(&group, &e), -1);
	ck_assert_ptr_nonnull(strstr(e.evidence, "0000:02:00.1/driver: igb"));
	ck_assert_str_eq(e.fix, "all of a group go together: iovctl bind 0000:02:00.1 vfio-pci");
	members[2].blocks = false;
	ck_assert_int_eq(iommu_group_check_viable(&group, &e), 0);
	ck_assert_ptr_eq(iommu_group_member(&group, "0000:02:00.1"), &members[2]);
	ck_assert_ptr_null(iommu_group_member(&group, "0000:02:00.2"));
}
END_TEST

START_TEST(drivers_that_leave_dma_to_others)
{
	static const char *const blocking[] = {"igb", "shpchp", "nvme", "pcieport2", "xhci_hcd"};
	static const char *const passive[] = {"", "vfio-pci", "mlx5_vfio_pci",
		"nvgrace-gpu-vfio-pci", "vfio-platform", "pci-stub", "pcieport"};

	for (size_t i = 0; i < ARRAY_SIZE(blocking); i++)
		ck_assert_msg(iommu_driver_blocks(blocking[i]), "%s", blocking[i]);
	for (size_t i = 0; i < ARRAY_SIZE(passive); i++)
		ck_assert_msg(!iommu_driver_blocks(passive[i]), "%s", passive[i]);
}
END_TEST

START_TEST(what_is_missing_is_said)
{
	static const char *const wrong[] = {"99", "x", "", "-1", "7/../7", "07x", "9999999999"};
	struct iommu_group group;
	struct err e = ERR_INIT;

	open_scene("sriov");
	for (size_t i = 0; i < ARRAY_SIZE(wrong); i++) {
		ck_assert_int_eq(iommu_group_read(root, wrong[i], &group, &e), -1);
		ck_assert_int_eq(e.kind, ERR_NOT_FOUND);
	}
	ck_assert_int_eq(unlink("sys/kernel/iommu_groups/7/type"), 0);
	group = read_group("7");
	ck_assert_str_eq(group.type, "");
	iommu_group_release(&group);
	sysroot_close(root);
}
END_TEST

START_TEST(reserved_regions)
{
	char text[] = "0x00000000fee00000 0x00000000feefffff msi\n"
		      "0x0 0xffffffffffffffff direct-relaxable\n"
		      "0x2 0x1 backwards\n"
		      "junk\n"
		      "0x1 0x2\n"
		      "0x1 0x2 a-type-of-exactly-23-by\n"
		      "0x1 0x2 a-type-of-more-than-23-bytes\n";
	char again[sizeof(text)];
	struct iommu_region r[8];

	memcpy(again, text, sizeof(text));
	ck_assert_uint_eq(iommu_parse_regions(text, r, ARRAY_SIZE(r)), 3);
	ck_assert_uint_eq(r[0].start, 0xfee00000);
	ck_assert_uint_eq(r[0].end, 0xfeefffff);
	ck_assert_str_eq(r[0].type, "msi");
	ck_assert_uint_eq(r[1].end, UINT64_MAX);
	ck_assert_str_eq(r[2].type, "a-type-of-exactly-23-by");
	ck_assert_uint_eq(iommu_parse_regions(again, r, 2), 2); /* exactly what fits */
}
END_TEST

UNIT_MAIN(groups_are_listed_by_number, a_driver_of_the_host_blocks_its_group,
	who_blocks_a_group_is_named, drivers_that_leave_dma_to_others, what_is_missing_is_said,
	reserved_regions)
