/* SPDX-License-Identifier: GPL-2.0-or-later */
/* lib/iommu/stream, iort: the IDs by which an IOMMU knows a function. */
#include <errno.h>
#include <unistd.h>

#include "lib/iommu/iort.h"
#include "lib/iommu/stream.h"
#include "tests/unit/tree.h"
#include "tests/unit/unit.h"

static struct sysroot *root;

static void open_groups(void)
{
	struct err e = ERR_INIT;

	ck_assert_int_eq(sysroot_open(tree_make("groups"), &root, &e), 0);
	ck_assert_int_eq(chdir(tree_root), 0);
}

static struct streams read_streams(const char *id)
{
	static struct pci_path path;
	struct streams s;
	struct err e = ERR_INIT;

	ck_assert_int_eq(pci_path_read(root, id, pci_config_at_once, root, &path, &e), 0);
	streams_read(root, &path, &s);
	return s;
}

static uint8_t table[1024];

/* The table of the tree, whole. */
static size_t read_table(void)
{
	struct sysfs_dir dir;
	ssize_t len;

	ck_assert(sysfs_dir_init(&dir, root, "sys/firmware/acpi/tables"));
	len = sysfs_read_raw(&dir, "IORT", table, sizeof(table));
	ck_assert_int_gt(len, 0);
	return (size_t)len;
}

START_TEST(requester_ids_and_aliases)
{
	struct streams s;

	open_groups();
	s = read_streams("0000:07:01.0");
	ck_assert_uint_eq(s.count, 2);
	ck_assert_uint_eq(s.at[0].requester, 0x708);
	ck_assert_str_eq(s.at[0].via, "");
	ck_assert_uint_eq(s.at[1].requester, 0x700); /* secondary<<8 */
	ck_assert_str_eq(s.at[1].via, "0000:06:00.0");
	s = read_streams("0000:05:00.0"); /* ports leave the ID as it is */
	ck_assert_uint_eq(s.count, 1);
	ck_assert_uint_eq(s.at[0].requester, 0x500);
	ck_assert_uint_eq(s.phantoms, 0);
	ck_assert_uint_eq(read_streams("0000:09:00.0").phantoms, 3);
	sysroot_close(root);
}
END_TEST

START_TEST(stream_ids_of_acpi)
{
	struct streams s;

	open_groups();
	s = read_streams("0000:07:01.0");
	ck_assert(s.at[0].has_stream_id && s.at[1].has_stream_id);
	ck_assert_uint_eq(s.at[0].stream_id, 0x40708);
	ck_assert_uint_eq(s.at[1].stream_id, 0x40700);
	ck_assert_str_eq(s.at[0].source, "IORT");
	s = read_streams("0000:05:00.0");
	ck_assert_uint_eq(s.at[0].stream_id, 0x1500);
	ck_assert(!read_streams("0000:09:00.0").at[0].has_stream_id); /* no row has it */
	sysroot_close(root);
}
END_TEST

START_TEST(iort_rows_have_ends)
{
	struct stream_map map;
	size_t len;

	open_groups();
	len = read_table();
	ck_assert_int_eq(iort_map(table, len, 0, 0x7ff, &map), 0);
	ck_assert_uint_eq(map.stream_id, 0x407ff);
	ck_assert_uint_eq(map.smmu, 0x9050000);
	ck_assert_int_eq(iort_map(table, len, 0, 0x800, &map), -ENOENT);
	ck_assert_int_eq(iort_map(table, len, 0, 0x5ff, &map), 0);
	ck_assert_int_eq(iort_map(table, len, 0, 0x600, &map), -ENOENT);
	ck_assert_int_eq(iort_map(table, len, 1, 0x700, &map), -ENOENT); /* another segment */
	sysroot_close(root);
}
END_TEST

START_TEST(iort_that_lies)
{
	struct stream_map map;
	size_t len;

	open_groups();
	len = read_table();
	for (size_t cut = 0; cut < len; cut++)
		ck_assert_int_eq(iort_map(table, cut, 0, 0x700, &map), -EINVAL);
	table[36] = 9; /* more nodes than there are */
	ck_assert_int_eq(iort_map(table, len, 0, 0x800, &map), -EINVAL);
	table[36] = 2;
	table[48 + 68 + 8] = 3; /* more mappings than the node has */
	ck_assert_int_eq(iort_map(table, len, 0, 0x700, &map), -EINVAL);
	table[48 + 68 + 8] = 2;
	table[48 + 68 + 36 + 12] = 0xff; /* leads to no node */
	ck_assert_int_eq(iort_map(table, len, 0, 0x700, &map), -ENOENT);
	table[48 + 1] = 0; /* a node of no length */
	ck_assert_int_eq(iort_map(table, len, 0, 0x500, &map), -EINVAL);
	sysroot_close(root);
}
END_TEST

/* Two rows: 0..ff at 0x100, 100..1ff at 0x8000. */
static const uint8_t cells[] = {0, 0, 0, 0, 0, 0, 0x80, 1, 0, 0, 1, 0, 0, 0, 1, 0,

	0, 0, 1, 0, 0, 0, 0x80, 2, 0, 0, 0x80, 0, 0, 0, 1, 0};

START_TEST(stream_ids_of_a_device_tree)
{
	struct stream_map map;
	struct streams s;

	ck_assert_int_eq(iommu_map_map(cells, sizeof(cells), UINT32_MAX, 0xff, &map), 0);
	ck_assert_uint_eq(map.stream_id, 0x1ff);
	ck_assert_uint_eq(map.smmu, 0x8001);
	ck_assert_int_eq(iommu_map_map(cells, sizeof(cells), UINT32_MAX, 0x100, &map), 0);
	ck_assert_uint_eq(map.stream_id, 0x8000);
	ck_assert_int_eq(iommu_map_map(cells, sizeof(cells), UINT32_MAX, 0x200, &map), -ENOENT);
	ck_assert_int_eq(iommu_map_map(cells, sizeof(cells), 0xff, 0x205, &map), 0);
	ck_assert_uint_eq(map.stream_id, 0x105);
	ck_assert_int_eq(iommu_map_map(cells, 31, UINT32_MAX, 1, &map), -EINVAL);

	open_groups();
	ck_assert_int_eq(unlink("sys/firmware/acpi/tables/IORT"), 0);
	ck_assert(!read_streams("0000:01:00.0").at[0].has_stream_id);
	ck_assert_int_eq(mkdir("sys/devices/pci0000:00/of_node", 0777), 0);
	tree_write("sys/devices/pci0000:00/of_node/iommu-map", cells, sizeof(cells));
	s = read_streams("0000:01:00.0");
	ck_assert(s.at[0].has_stream_id);
	ck_assert_uint_eq(s.at[0].stream_id, 0x8000);
	ck_assert_str_eq(s.at[0].source, "iommu-map");
	sysroot_close(root);
}
END_TEST

/* What QEMU's firmware says of the lab's Arm host: the last buses go past the SMMU. */
START_TEST(stream_ids_of_real_firmware)
{
	struct stream_map map;
	struct err e = ERR_INIT;
	struct streams s;
	size_t len;

	ck_assert_int_eq(sysroot_open(tree_unpack("lab-smmuv3"), &root, &e), 0);
	s = read_streams("0000:06:00.0");
	ck_assert_uint_eq(s.count, 1);
	ck_assert(s.at[0].has_stream_id);
	ck_assert_uint_eq(s.at[0].stream_id, 0x600);
	s = read_streams("0000:09:02.0");
	ck_assert_uint_eq(s.count, 2);
	ck_assert_uint_eq(s.at[1].stream_id, 0x900);
	ck_assert_str_eq(s.at[1].via, "0000:08:00.0");
	len = read_table();
	ck_assert_int_eq(iort_map(table, len, 0, 0xbff, &map), 0);
	ck_assert_uint_eq(map.smmu, 0x9050000);
	ck_assert_int_eq(iort_map(table, len, 0, 0xc00, &map), -ENOENT);
	sysroot_close(root);
}
END_TEST

START_TEST(contexts)
{
	ck_assert_str_eq(stream_context("DMA"), "translate");
	ck_assert_str_eq(stream_context("DMA-FQ"), "translate");
	ck_assert_str_eq(stream_context("identity"), "bypass");
	ck_assert_str_eq(stream_context("blocked"), "block");
	ck_assert_ptr_null(stream_context(""));
	ck_assert_ptr_null(stream_context("unmanaged"));
}
END_TEST

UNIT_MAIN(requester_ids_and_aliases, stream_ids_of_acpi, iort_rows_have_ends, iort_that_lies,
	stream_ids_of_a_device_tree, stream_ids_of_real_firmware, contexts)
