/* SPDX-License-Identifier: GPL-2.0-or-later */
/* lib/sysfs: never out of the root, never more than asked for, never waiting. */
#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "lib/sysfs.h"
#include "tests/unit/tree.h"
#include "tests/unit/unit.h"

static struct sysroot *root;
static struct sysfs_dir top;

static void open_tree(void)
{
	struct err e = ERR_INIT;

	tree_new();
	ck_assert_int_eq(chdir(tree_root), 0);
	ck_assert_int_eq(mkdir("sys", 0700), 0);
	ck_assert_int_eq(sysroot_open(tree_root, &root, &e), 0);
	ck_assert(!sysroot_is_live(root));
	ck_assert(sysfs_dir_init(&top, root, "sys"));
}

START_TEST(text_is_one_clean_line)
{
	char text[32];
	uint64_t value;

	open_tree();
	tree_text("sys/a", "  two words \n");
	ck_assert_int_eq(sysfs_read_text(&top, "a", text, sizeof(text)), 0);
	ck_assert_str_eq(text, "two words");
	tree_text("sys/a", "x\x1b[31m\ty\n");
	ck_assert_int_eq(sysfs_read_text(&top, "a", text, sizeof(text)), 0);
	ck_assert_str_eq(text, "x?[31m?y");
	tree_text("sys/a", "0x1f\n");
	ck_assert_int_eq(sysfs_read_u64(&top, "a", &value), 0);
	ck_assert_uint_eq(value, 0x1f);
	tree_text("sys/a", "-1\n");
	ck_assert_int_eq(sysfs_read_u64(&top, "a", &value), -EINVAL);
	ck_assert_int_eq(sysfs_read_u64(&top, "missing", &value), -ENOENT);
	sysroot_close(root);
}
END_TEST

START_TEST(size_limit_is_exact)
{
	char data[8];

	open_tree();
	tree_text("sys/a", "12345678");
	ck_assert_int_eq(sysfs_read_raw(&top, "a", data, 8), 8);
	ck_assert_int_eq(sysfs_read_raw(&top, "a", data, 7), -EFBIG);
	ck_assert_int_eq(sysfs_read_text(&top, "a", data, 8), -EFBIG); /* the terminator */
	ck_assert_str_eq(data, "");
	sysroot_close(root);
}
END_TEST

START_TEST(file_limit_is_exact)
{
	size_t len = 100000;
	char *data = malloc(len + 1), *text;

	open_tree();
	memset(data, 'x', len + 1);
	tree_write("sys/a", data, len);
	ck_assert_int_eq(sysroot_read_file(root, "sys/a", len, &text), 0);
	ck_assert_uint_eq(strlen(text), len);
	free(text);
	ck_assert_int_eq(sysroot_read_file(root, "sys/a", len - 1, &text), -EFBIG);
	ck_assert_int_eq(sysroot_read_file(root, "sys/b", len, &text), -ENOENT);
	free(data);
	sysroot_close(root);
}
END_TEST

START_TEST(links_stay_in_the_root)
{
	char text[64];

	open_tree();
	tree_text("inside", "inside");
	ck_assert_int_eq(symlink("/inside", "sys/absolute"), 0);
	ck_assert_int_eq(symlink("../../../../../../../../inside", "sys/dots"), 0);
	ck_assert_int_eq(symlink("/etc/passwd", "sys/outside"), 0);
	ck_assert_int_eq(symlink("/proc/self/root/etc/passwd", "sys/magic"), 0);
	ck_assert_int_eq(sysfs_read_text(&top, "absolute", text, sizeof(text)), 0);
	ck_assert_str_eq(text, "inside");
	ck_assert_int_eq(sysfs_read_text(&top, "dots", text, sizeof(text)), 0);
	ck_assert_str_eq(text, "inside");
	ck_assert_int_eq(sysfs_read_text(&top, "outside", text, sizeof(text)), -ENOENT);
	ck_assert_int_eq(sysfs_read_text(&top, "magic", text, sizeof(text)), -ENOENT);
	ck_assert_int_eq(
		sysfs_read_text(&top, "../../../../etc/passwd", text, sizeof(text)), -ENOENT);
	sysroot_close(root);
}
END_TEST

START_TEST(only_regular_files_are_read)
{
	char text[64];

	open_tree();
	ck_assert_int_eq(mkfifo("sys/fifo", 0600), 0);
	ck_assert_int_eq(mkdir("sys/folder", 0700), 0);
	ck_assert_int_eq(symlink("loop", "sys/loop"), 0);
	ck_assert_int_eq(sysfs_read_text(&top, "fifo", text, sizeof(text)), -EINVAL);
	ck_assert_int_eq(sysfs_read_text(&top, "folder", text, sizeof(text)), -EISDIR);
	ck_assert_int_eq(sysfs_read_text(&top, "loop", text, sizeof(text)), -ELOOP);
	sysroot_close(root);
}
END_TEST

START_TEST(links_are_read_not_followed)
{
	char name[16], target[16];

	open_tree();
	ck_assert_int_eq(symlink("../../bus/pci/igb", "sys/driver"), 0);
	tree_text("sys/plain", "x");
	ck_assert_int_eq(sysfs_read_link_name(&top, "driver", name, sizeof(name)), 0);
	ck_assert_str_eq(name, "igb");
	ck_assert_int_eq(sysfs_read_link_name(&top, "driver", name, 3), -ENAMETOOLONG);
	ck_assert_str_eq(name, "");
	ck_assert_int_eq(sysfs_read_link(&top, "driver", target, 16), -ENAMETOOLONG);
	ck_assert_int_eq(sysfs_read_link(&top, "plain", target, sizeof(target)), -EINVAL);
	ck_assert_int_eq(sysfs_read_link(&top, "none", target, sizeof(target)), -ENOENT);
	sysroot_close(root);
}
END_TEST

START_TEST(real_path_is_from_the_root)
{
	struct sysfs_dir d;
	char path[64];

	open_tree();
	ck_assert_int_eq(mkdir("sys/devices", 0700), 0);
	ck_assert_int_eq(symlink("../sys/devices", "sys/class"), 0);
	ck_assert(sysfs_dir_init(&d, root, "sys/%s", "class"));
	ck_assert_int_eq(sysfs_real_path(&d, path, sizeof(path)), 0);
	ck_assert_str_eq(path, "sys/devices");
	ck_assert_int_eq(sysfs_real_path(&d, path, 11), -ENAMETOOLONG);
	ck_assert_int_eq(sysfs_real_path(&d, path, 12), 0);
	sysroot_close(root);
}
END_TEST

START_TEST(lists_are_in_natural_order)
{
	struct name_list list;
	struct sysfs_dir none;

	open_tree();
	tree_text("sys/eth10", "");
	tree_text("sys/eth9", "");
	tree_text("sys/.hidden", "");
	ck_assert_int_eq(sysfs_list(&top, &list), 0);
	ck_assert_uint_eq(list.count, 3);
	ck_assert_str_eq(list.names[1], "eth9");
	ck_assert_str_eq(list.names[2], "eth10");
	name_list_release(&list);
	ck_assert(sysfs_dir_init(&none, root, "sys/none"));
	ck_assert_int_eq(sysfs_list(&none, &list), -ENOENT);
	ck_assert_uint_eq(list.count, 0);
	sysroot_close(root);
}
END_TEST

START_TEST(a_long_name_is_one_that_is_not_there)
{
	char name[SYSFS_PATH_MAX];
	struct sysfs_dir d;
	char text[8];

	open_tree();
	memset(name, 'n', sizeof(name));
	name[SYSFS_PATH_MAX - 1] = '\0';
	ck_assert(sysfs_dir_init(&d, root, "%s", name)); /* exactly fits */
	ck_assert_int_eq(sysfs_read_text(&d, "a", text, sizeof(text)), -ENAMETOOLONG);
	ck_assert(!sysfs_dir_init(&d, root, "%sn", name));
	ck_assert_int_eq(sysfs_read_text(&d, "a", text, sizeof(text)), -ENOENT);
	sysroot_close(root);
}
END_TEST

START_TEST(only_attributes_that_exist_are_written)
{
	uint64_t first, second;
	char text[16];

	open_tree();
	tree_text("sys/a", "something long\n");
	ck_assert_int_eq(sysfs_write_text(&top, "a", "4"), 0);
	ck_assert_int_eq(sysfs_read_text(&top, "a", text, sizeof(text)), 0);
	ck_assert_str_eq(text, "4");
	ck_assert_int_eq(sysfs_write_text(&top, "b", "4"), -ENOENT);
	ck_assert(!sysfs_exists(&top, "b"));
	ck_assert_int_eq(sysfs_write_text(&top, ".", "4"), -EISDIR);
	ck_assert_int_eq(mkfifo("sys/fifo", 0600), 0);
	ck_assert_int_eq(sysfs_write_text(&top, "fifo", "4"), -EINVAL);
	ck_assert_int_eq(symlink("/sys/a", "sys/link"), 0); /* the root's, not the machine's */
	ck_assert_int_eq(sysfs_write_text(&top, "link", "7"), 0);
	ck_assert_int_eq(sysfs_read_text(&top, "a", text, sizeof(text)), 0);
	ck_assert_str_eq(text, "7");
	ck_assert_int_eq(sysfs_read_inode(&top, "a", &first), 0);
	ck_assert_int_eq(sysfs_read_inode(&top, "link", &second), 0);
	ck_assert_uint_eq(first, second);
	ck_assert_int_eq(sysfs_read_inode(&top, "b", &second), -ENOENT);
	sysroot_close(root);
}
END_TEST

START_TEST(the_live_host_is_known_as_such)
{
	struct err e = ERR_INIT;

	ck_assert_int_eq(sysroot_open("/", &root, &e), 0);
	ck_assert(sysroot_is_live(root));
	sysroot_close(root);
	ck_assert_int_eq(sysroot_open("/nonexistent", &root, &e), -1);
	ck_assert_int_eq(e.sys, ENOENT);
}
END_TEST

UNIT_MAIN(text_is_one_clean_line, size_limit_is_exact, file_limit_is_exact, links_stay_in_the_root,
	only_regular_files_are_read, links_are_read_not_followed, real_path_is_from_the_root,
	lists_are_in_natural_order, a_long_name_is_one_that_is_not_there,
	only_attributes_that_exist_are_written, the_live_host_is_known_as_such)
