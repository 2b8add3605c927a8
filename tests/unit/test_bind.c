/* SPDX-License-Identifier: GPL-2.0-or-later */
/* lib/iommu/bind and lib/kmod, on a tree that answers as the kernel would. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lib/iommu/bind.h"
#include "tests/unit/fake_pci.h"
#include "tests/unit/unit.h"

#define ID "0000:01:00.0"

static struct sysroot *root;
static struct err e;

static void begin(const char *driver)
{
	const char *path = fake_pci_new();

	fake_pci_add(ID, 1, driver);
	fake_pci_driver("vfio-pci", NULL);
	ck_assert_int_eq(sysroot_open(path, &root, &e), 0);
}

static void make(const char *driver, const char *override)
{
	struct bind_state wanted = {0};

	str_copy(wanted.driver, sizeof(wanted.driver), driver);
	str_copy(wanted.override, sizeof(wanted.override), override);
	ck_assert_msg(bind_make(root, ID, &wanted, &e) == 0, "%s: %s", e.msg, e.evidence);
	ck_assert_str_eq(fake_pci_driver_of(ID), driver);
	ck_assert_str_eq(fake_pci_override_of(ID), override);
}

static void expect_failure(const char *driver, const char *code)
{
	struct bind_state wanted = {0};

	str_copy(wanted.driver, sizeof(wanted.driver), driver);
	str_copy(wanted.override, sizeof(wanted.override), driver);
	ck_assert_int_eq(bind_make(root, ID, &wanted, &e), -1);
	ck_assert_str_eq(e.code, code);
}

START_TEST(goes_to_vfio_and_back_in_the_right_order)
{
	begin("nvme");
	make("vfio-pci", "vfio-pci");
	ck_assert_str_eq(fake_pci_log(), ID "/driver_override=vfio-pci\n"
					    "nvme/unbind=" ID "\n"
					    "vfio-pci/bind=" ID "\n");
	make("nvme", "");
	ck_assert_str_eq(fake_pci_log(), ID "/driver_override=nvme\n"
					    "vfio-pci/unbind=" ID "\n"
					    "nvme/bind=" ID "\n" ID "/driver_override=\n");
}
END_TEST

START_TEST(what_is_done_is_not_done_again)
{
	begin("nvme");
	make("vfio-pci", "vfio-pci");
	fake_pci_log();
	make("vfio-pci", "vfio-pci");
	ck_assert_str_eq(fake_pci_log(), "");
	make("nvme", "");
	fake_pci_log();
	make("nvme", "");
	ck_assert_str_eq(fake_pci_log(), "");
}
END_TEST

START_TEST(no_driver_is_a_driver_too)
{
	struct bind_state now;

	begin(NULL);
	ck_assert_int_eq(bind_look(root, ID, &now, &e), 0);
	ck_assert_str_eq(now.driver, "");
	ck_assert_str_eq(now.override, "");
	make("vfio-pci", "vfio-pci");
	ck_assert_int_eq(bind_look(root, ID, &now, &e), 0);
	ck_assert_str_eq(now.driver, "vfio-pci");
	ck_assert_str_eq(now.override, "vfio-pci");
	make("", "");
	make("vfio-pci", "vfio-pci");
	make("", "pci-stub"); /* an override that was there before */
}
END_TEST

/* A driver that got the device by new_id, or by an override that is gone. */
START_TEST(driver_that_does_not_know_the_device_gets_it_back)
{
	begin(NULL);
	fake_pci_driver("uio", NULL);
	make("uio", "");
	make("vfio-pci", "vfio-pci");
	make("uio", "");
}
END_TEST

START_TEST(failures_say_what_was_seen)
{
	begin("nvme");
	expect_failure("absent", "BIND-DRIVER");
	ck_assert_str_eq(fake_pci_driver_of(ID), "");
	make("nvme", "");
	fake_pci_refuses("vfio-pci", EINVAL);
	expect_failure("vfio-pci", "BIND-PROBE");
	ck_assert_str_eq(e.evidence,
		"/sys/bus/pci/drivers/vfio-pci/bind: Invalid argument; it has no driver");
	fake_pci_refuses("vfio-pci", 0);
	make("nvme", "");
	fake_pci_keeps("nvme");
	expect_failure("vfio-pci", "BIND-UNBIND");
	ck_assert_ptr_nonnull(strstr(e.evidence, "it has driver nvme"));
	fake_pci_remove(ID);
	expect_failure("vfio-pci", "DEV-GONE");
	ck_assert_int_eq(e.kind, ERR_NOT_FOUND);
}
END_TEST

/* Killed in front of every write, of the way there and of the way back: the next one arrives. */
START_TEST(killed_anywhere_it_is_repeated)
{
	const char *const ways[][2] = {{"vfio-pci", "vfio-pci"}, {"nvme", ""}};

	begin("nvme");
	for (int at = 0; at < 5; at++) {
		for (unsigned int way = 0; way < ARRAY_SIZE(ways); way++) {
			pid_t pid;

			fake_pci_dies_after(at);
			pid = fork();
			if (pid == 0) {
				make(ways[way][0], ways[way][1]);
				_exit(0);
			}
			ck_assert_int_eq(waitpid(pid, NULL, 0), pid);
			fake_pci_dies_after(-1);
			make(ways[way][0], ways[way][1]);
		}
	}
}
END_TEST

/* --- names and variants ----------------------------------------------------------------------- */

START_TEST(names_of_drivers)
{
	ck_assert(bind_name_is_valid("vfio-pci"));
	ck_assert(bind_name_is_valid("mlx5_vfio_pci"));
	ck_assert(!bind_name_is_valid(""));
	ck_assert(!bind_name_is_valid(".."));
	ck_assert(!bind_name_is_valid("../../x"));
	ck_assert(!bind_name_is_valid("a b"));
	ck_assert(!bind_name_is_valid("x\n"));
	ck_assert(bind_name_is_valid("1234567890123456789012345678901"));
	ck_assert(!bind_name_is_valid("12345678901234567890123456789012"));
	ck_assert(bind_is_vfio("vfio-pci") && bind_is_vfio("mlx5_vfio_pci"));
	ck_assert(!bind_is_vfio("nvme") && !bind_is_vfio(""));
}
END_TEST

START_TEST(alias_with_the_fewest_wildcards_fits_best)
{
	static const char device[] = "pci:v000015B3d0000101Esv000015B3sd00000016bc02sc00i00";

	ck_assert_int_eq(bind_alias_fits("vfio_pci:v*d*sv*sd*bc*sc*i*", device), 7);
	ck_assert_int_eq(bind_alias_fits("vfio_pci:v000015B3d0000101Esv*sd*bc*sc*i*", device), 5);
	ck_assert_int_eq(bind_alias_fits("vfio_pci:v000015B3d0000101Fsv*sd*bc*sc*i*", device), -1);
	ck_assert_int_eq(bind_alias_fits("pci:v000015B3d0000101Esv*sd*bc*sc*i*", device), -1);
	ck_assert_int_eq(bind_alias_fits("vfio_pci:v*d*sv*sd*bc*sc*i*", "usb:v1"), -1);
}
END_TEST

/* A module as depmod reads it: its aliases in .modinfo. */
static void add_module(const char *dir, const char *name, const char *alias)
{
	char cmd[1024];

	snprintf(cmd, sizeof(cmd),
		"cd '%s' && echo 'static const char a[] __attribute__((section(\".modinfo\"), "
		"used)) "
		"= \"alias=%s\"; static const char n[] __attribute__((section(\".modinfo\"), "
		"used)) = "
		"\"name=%s\";' | ${CC:-cc} -x c -c -o %s.ko -",
		dir, alias, name, name);
	ck_assert_int_eq(system(cmd), 0);
}

START_TEST(variant_is_chosen_by_modalias)
{
	char dir[512], cmd[2048], driver[BIND_DRIVER_MAX];
	struct utsname kernel;

	begin("nvme");
	/* without any module there is the generic one's name */
	ck_assert_int_eq(bind_choose(root, ID, BIND_VFIO, driver, &e), 0);
	ck_assert_str_eq(driver, "vfio-pci");
	uname(&kernel);
	snprintf(dir, sizeof(dir), "%s/lib/modules/%s", sysroot_path(root), kernel.release);
	snprintf(cmd, sizeof(cmd),
		"mkdir -p '%s' && cd '%s' && touch modules.order modules.builtin "
		"modules.builtin.modinfo",
		dir, dir);
	ck_assert_int_eq(system(cmd), 0);
	add_module(dir, "vfio_pci", "vfio_pci:v*d*sv*sd*bc*sc*i*");
	add_module(dir, "other_vfio_pci", "vfio_pci:v00001234d00009999sv*sd*bc*sc*i*");
	snprintf(cmd, sizeof(cmd), "PATH=$PATH:/sbin:/usr/sbin depmod -b '%s' %s",
		sysroot_path(root), kernel.release);
	ck_assert_int_eq(system(cmd), 0);
	ck_assert_int_eq(bind_choose(root, ID, BIND_VFIO, driver, &e), 0);
	ck_assert_str_eq(driver, "vfio-pci");
	add_module(dir, "edu_vfio_pci", "vfio_pci:v00001234d000011E8sv*sd*bc*sc*i*");
	add_module(dir, "maker_vfio_pci", "vfio_pci:v00001234d*sv*sd*bc*sc*i*");
	ck_assert_int_eq(system(cmd), 0);
	ck_assert_int_eq(bind_choose(root, ID, BIND_VFIO, driver, &e), 0);
	ck_assert_str_eq(driver, "edu_vfio_pci");
	ck_assert_int_eq(bind_choose(root, ID, "pci-stub", driver, &e), 0);
	ck_assert_str_eq(driver, "pci-stub");
	ck_assert_int_eq(bind_choose(root, ID, "../nvme", driver, &e), -1);
	ck_assert_int_eq(e.kind, ERR_USAGE);
}
END_TEST

UNIT_MAIN(goes_to_vfio_and_back_in_the_right_order, what_is_done_is_not_done_again,
	no_driver_is_a_driver_too, driver_that_does_not_know_the_device_gets_it_back,
	failures_say_what_was_seen, killed_anywhere_it_is_repeated, names_of_drivers,
	alias_with_the_fewest_wildcards_fits_best, variant_is_chosen_by_modalias)
