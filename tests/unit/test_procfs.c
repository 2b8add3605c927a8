/* SPDX-License-Identifier: GPL-2.0-or-later */
/* lib/procfs, lib/uevent, lib/openers, lib/pci: what the kernel's texts mean. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lib/openers.h"
#include "lib/pci.h"
#include "lib/procfs.h"
#include "lib/uevent.h"
#include "tests/unit/unit.h"

START_TEST(mounts_with_optional_fields_and_escapes)
{
	char text[] =
		"36 35 98:0 /mnt1 /mnt\\0402 rw,noatime master:1 shared:2 - ext3 /dev/root rw\n"
		"garbage\n"
		"1 2 3:4 / /x rw\n"
		"27 1 254:1 / / rw - xfs /dev/a\\134b rw";
	char *cursor = text;
	struct mountinfo_row row;

	ck_assert(mountinfo_next(&cursor, &row));
	ck_assert_uint_eq(row.major, 98);
	ck_assert_uint_eq(row.minor, 0);
	ck_assert_str_eq(row.root, "/mnt1");
	ck_assert_str_eq(row.mount_point, "/mnt 2");
	ck_assert_str_eq(row.fstype, "ext3");
	ck_assert_str_eq(row.source, "/dev/root");
	ck_assert(mountinfo_next(&cursor, &row));
	ck_assert_uint_eq(row.minor, 1);
	ck_assert_str_eq(row.mount_point, "/");
	ck_assert_str_eq(row.source, "/dev/a\\b");
	ck_assert(!mountinfo_next(&cursor, &row));
	ck_assert(!mountinfo_next(&cursor, &row));
}
END_TEST

START_TEST(swaps_are_devices_and_files)
{
	char text[] = "Filename\tType\t\tSize\tUsed\tPriority\n"
		      "/dev/dm-1 partition 8388604 0 -2\n"
		      "/swap\\040file file 1024 0 -3\n"
		      "/short partition\n";
	char *cursor = text;
	struct swaps_row row;

	ck_assert(swaps_next(&cursor, &row));
	ck_assert_str_eq(row.path, "/dev/dm-1");
	ck_assert(!row.is_file);
	ck_assert(swaps_next(&cursor, &row));
	ck_assert_str_eq(row.path, "/swap file");
	ck_assert(row.is_file);
	ck_assert(!swaps_next(&cursor, &row));
}
END_TEST

/* Which of the rows of a table are default routes: "eth0:1 eth1:0 ". */
static void check_routes(
	const char *table, bool (*next)(char **, struct route_row *), const char *wanted)
{
	char text[2048], seen[256] = "";
	char *cursor = text;
	struct route_row row;
	size_t len = 0;

	ck_assert(str_copy(text, sizeof(text), table));
	while (next(&cursor, &row)) {
		len += (size_t)snprintf(
			seen + len, sizeof(seen) - len, "%s:%d ", row.interface, row.is_default);
		ck_assert_uint_lt(len, sizeof(seen));
	}
	ck_assert_str_eq(seen, wanted);
}

START_TEST(default_routes)
{
	check_routes("Iface Destination Gateway Flags RefCnt Use Metric Mask MTU Window IRTT\n"
		     "eth0 00000000 010200C0 0003 0 0 0 00000000 0 0 0\n"
		     "eth1 00000000 00000000 0001 0 0 0 00FFFFFF 0 0 0\n" /* 0.0.0.0/24 */
		     "eth2 000200C0 00000000 0001 0 0 0 00FFFFFF 0 0 0\n"
		     "eth3 00000000 00000000 0200 0 0 0 00000000 0 0 0\n" /* reject */
		     "eth4 00000000 00000000 0002 0 0 0 00000000 0 0 0\n" /* not up */
		     "eth5 zz 0 1 0 0 0 0 0 0 0\n",
		route_next, "eth0:1 eth1:0 eth2:0 eth3:0 eth4:0 ");
	check_routes("00000000000000000000000000000000 00 0 00 0 00000400 1 0 00000003 eth0\n"
		     "00000000000000000000000000000000 00 0 00 0 ffffffff 1 0 00200200 lo\n"
		     "00000000000000000000000000000000 80 0 00 0 00000000 1 0 00000001 eth1\n"
		     "fe800000000000000000000000000000 40 0 00 0 00000100 1 0 00000001 eth2\n"
		     "short 00\n",
		ipv6_route_next, "eth0:1 lo:0 eth1:0 eth2:0 ");
}
END_TEST

/* uevent_parse() of a text whose NULs are written as '|'. */
static bool parse(const char *text, char *data, struct uevent *event)
{
	size_t len = strlen(text);

	for (size_t i = 0; i < len; i++)
		data[i] = text[i] == '|' ? '\0' : text[i];
	return uevent_parse(data, len, event);
}

START_TEST(uevents)
{
	struct uevent event;
	char data[256];

	ck_assert(parse("add@/devices/x/net/eth1|ACTION=add|DEVPATH=/devices/x/net/eth1|"
			"SUBSYSTEM=net|INTERFACE=eth1|",
		data, &event));
	ck_assert_int_eq(event.action, UEVENT_ADD);
	ck_assert_str_eq(event.subsystem, "net");
	ck_assert_str_eq(uevent_name(event.devpath), "eth1");
	ck_assert_ptr_null(event.old_devpath);
	ck_assert_ptr_null(event.recovery);

	ck_assert(parse("change@/b|ACTION=change|DEVPATH=/b|SUBSYSTEM=pci|"
			"ERROR_EVENT=FAILED_RECOVERY|DEVICE_ONLINE=0|",
		data, &event));
	ck_assert_str_eq(event.recovery, "FAILED_RECOVERY");

	ck_assert(
		parse("move@/b|ACTION=move|DEVPATH=/b|DEVPATH_OLD=/a|SUBSYSTEM=net", data, &event));
	ck_assert_int_eq(event.action, UEVENT_MOVE);
	ck_assert_str_eq(event.old_devpath, "/a");
	ck_assert_str_eq(event.subsystem, "net"); /* not terminated in the message */

	ck_assert(parse("x@/b|ACTION=offline|DEVPATH=/b|SUBSYSTEM=cpu", data, &event));
	ck_assert_int_eq(event.action, UEVENT_OTHER);
	ck_assert(!parse("add@/b|ACTION=add|DEVPATH=/b|", data, &event));
	ck_assert(!parse("libudev|ACTION=add|DEVPATH=/b|SUBSYSTEM=net|", data, &event));
	ck_assert(!parse("", data, &event));
}
END_TEST

START_TEST(openers_of_a_file)
{
	char path[64];
	const char *const paths[] = {"/nowhere", path};
	struct opener found[2];
	int tell[2], fd;
	pid_t child;

	unit_path(path, sizeof(path), "openers");
	fd = mkstemp(path);
	ck_assert(openers_fdinfo_writes("pos:\t0\nflags:\t0100002\nmnt_id:\t1\n"));
	ck_assert(openers_fdinfo_writes("flags:\t01"));
	ck_assert(!openers_fdinfo_writes("pos:\t0\nflags:\t0100000\n"));
	ck_assert(!openers_fdinfo_writes(""));

	ck_assert_int_ge(fd, 0);
	ck_assert_uint_eq(openers_find(path, getpid(), found, 2), 0); /* ourselves do not count */
	ck_assert_int_eq(pipe(tell), 0);
	child = fork();
	ck_assert_int_ge(child, 0);
	if (child == 0) { /* has the file by inheritance, until we close the pipe */
		char byte;

		close(tell[1]);
		_exit(read(tell[0], &byte, 1) != 0);
	}
	close(tell[0]);
	ck_assert_uint_eq(openers_find(path, 1, found, 2), 1);
	ck_assert_int_eq(found[0].pid, child);
	ck_assert_int_eq(found[0].fd, fd);
	ck_assert_str_eq(found[0].comm, "test_procfs");
	ck_assert_uint_eq(openers_find_any(paths, ARRAY_SIZE(paths), 1, found, 2), 1);
	ck_assert_uint_eq(found[0].path, 1);
	ck_assert_uint_eq(openers_find(path, getpid(), found, 2), 0); /* nor do our children */
	close(tell[1]);
	ck_assert_int_eq(waitpid(child, NULL, 0), child);
	close(fd);
	unlink(path);
}
END_TEST

START_TEST(pci_addresses)
{
	static const struct {
		const char *text, *wanted; /* NULL: is none */
		bool domain;
	} cases[] = {
		{"0000:41:00.0", "0000:41:00.0", true},
		{"10000:e1:1f.7", "10000:e1:1f.7", true}, /* behind VMD */
		{"41:00.1", "0000:41:00.1", false},
		{"pci_0000_41_00_0", "0000:41:00.0", true},
		{"0000:41:20.0", NULL, false},
		{"0000:41:00.8", NULL, false},
		{"0000:41:00.0 ", NULL, false},
		{"0000:4:00.0", NULL, false},
		{"pci_0000_41_00", NULL, false},
		{"eth0", NULL, false},
		{"", NULL, false},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct pci_addr addr;
		char text[PCI_ADDR_MAX];
		bool is_one = pci_addr_parse(cases[i].text, &addr);

		ck_assert_msg(is_one == (cases[i].wanted != NULL), "%s", cases[i].text);
		if (!is_one)
			continue;
		pci_addr_format(&addr, text);
		ck_assert_str_eq(text, cases[i].wanted);
		ck_assert_int_eq(addr.domain_given, cases[i].domain);
	}
}
END_TEST

UNIT_MAIN(mounts_with_optional_fields_and_escapes, swaps_are_devices_and_files, default_routes,
	uevents, openers_of_a_file, pci_addresses)
