/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "tests/unit/fake_pci.h"

#include <errno.h>
#include <signal.h>
#include <stdarg.h>
#include <unistd.h>

#include "lib/cleanup.h"
#include "tests/unit/tree.h"

#define DEVICES "sys/bus/pci/devices"
#define DRIVERS "sys/bus/pci/drivers"

/* Also in hands, where libcheck is not. */
static void must(bool ok, const char *what)
{
	if (ok)
		return;
	perror(what);
	abort();
}

/* tree_root is this file's own here: the path is in the environment, for hands. */
static const char *root(void)
{
	const char *path = getenv("FAKE_PCI_ROOT");

	must(path, "FAKE_PCI_ROOT");
	return path;
}

static void path_of(char path[PATH_MAX], const char *fmt, ...) PRINTF_LIKE(2, 3);

static void path_of(char path[PATH_MAX], const char *fmt, ...)
{
	int len = snprintf(path, PATH_MAX, "%s/", root());
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(path + len, PATH_MAX - (size_t)len, fmt, ap);
	va_end(ap);
}

static void put(const char *path, const char *mode, const char *text)
{
	FILE *f = fopen(path, mode);

	must(f, path);
	fputs(text, f);
	fclose(f);
}

static const char *get(const char *path)
{
	static char text[8192];
	FILE *f = fopen(path, "r");
	size_t len = f ? fread(text, 1, sizeof(text) - 1, f) : 0;

	if (f)
		fclose(f);
	text[len] = '\0';
	return text;
}

static void folder(const char *path)
{
	char cmd[PATH_MAX + 16];

	snprintf(cmd, sizeof(cmd), "mkdir -p '%s'", path);
	must(system(cmd) == 0, "system");
}

static void set_link(const char *id, const char *driver)
{
	char path[PATH_MAX], target[PATH_MAX];

	path_of(path, DEVICES "/%s/driver", id);
	unlink(path);
	snprintf(target, sizeof(target), "../../drivers/%s", driver);
	if (driver[0])
		must(symlink(target, path) == 0, "symlink");
}

/* --- the tree --------------------------------------------------------------------------------- */

const char *fake_pci_new(void)
{
	char path[PATH_MAX];

	setenv("FAKE_PCI_ROOT", tree_new(), 1);
	path_of(path, "dies");
	put(path, "w", "-1");
	path_of(path, DEVICES);
	folder(path);
	path_of(path, DRIVERS);
	folder(path);
	path_of(path, "sys/bus/pci/drivers_probe");
	put(path, "w", "");
	path_of(path, "sys/class/iommu/dmar0");
	folder(path);
	/* so that nothing is unknown about who uses what */
	path_of(path, "proc/self");
	folder(path);
	path_of(path, "proc/net");
	folder(path);
	path_of(path, "proc/self/mountinfo");
	put(path, "w", "");
	path_of(path, "proc/swaps");
	put(path, "w", "");
	path_of(path, "proc/net/route");
	put(path, "w", "");
	path_of(path, "proc/net/ipv6_route");
	put(path, "w", "");
	return root();
}

static void put_attr(const char *id, const char *attr, const char *text)
{
	char path[PATH_MAX];

	path_of(path, DEVICES "/%s/%s", id, attr);
	put(path, "w", text);
}

static void put_in_group(const char *id, int group)
{
	char path[PATH_MAX], target[PATH_MAX];

	path_of(path, "sys/kernel/iommu_groups/%d/devices", group);
	folder(path);
	path_of(path, "sys/kernel/iommu_groups/%d/devices/%s", group, id);
	snprintf(target, sizeof(target), "../../../../bus/pci/devices/%s", id);
	must(symlink(target, path) == 0, "symlink");
	path_of(path, DEVICES "/%s/iommu_group", id);
	snprintf(target, sizeof(target), "../../../../kernel/iommu_groups/%d", group);
	must(symlink(target, path) == 0, "symlink");
}

void fake_pci_add(const char *id, int group, const char *driver)
{
	char path[PATH_MAX];

	path_of(path, DEVICES "/%s", id);
	folder(path);
	put_attr(id, "vendor", "0x1234\n");
	put_attr(id, "device", "0x11e8\n");
	put_attr(id, "class", "0x00ff00\n");
	put_attr(id, "modalias", "pci:v00001234d000011E8sv00001AF4sd00001100bc00scFFi00\n");
	put_attr(id, "driver_override", "(null)\n");
	if (group >= 0)
		put_in_group(id, group);
	if (driver) {
		fake_pci_driver(driver, id);
		set_link(id, driver);
	}
}

void fake_pci_remove(const char *id)
{
	char cmd[PATH_MAX + 16], path[PATH_MAX];

	path_of(path, DEVICES "/%s", id);
	snprintf(cmd, sizeof(cmd), "rm -r '%s'", path);
	must(system(cmd) == 0, "system");
}

void fake_pci_driver(const char *driver, const char *id)
{
	char path[PATH_MAX], line[64];

	path_of(path, DRIVERS "/%s", driver);
	folder(path);
	path_of(path, DRIVERS "/%s/bind", driver);
	put(path, "w", "");
	path_of(path, DRIVERS "/%s/unbind", driver);
	put(path, "w", "");
	path_of(path, DRIVERS "/%s/table", driver);
	snprintf(line, sizeof(line), "%s\n", id ? id : "");
	put(path, "a", line);
}

void fake_pci_group_later(const char *id, int group)
{
	char text[16];

	snprintf(text, sizeof(text), "%d", group);
	put_attr(id, "group-later", text);
}

static void make_group(const char *id)
{
	char path[PATH_MAX];
	const char *group;

	path_of(path, DEVICES "/%s/group-later", id);
	group = get(path);
	if (group[0]) {
		put_in_group(id, atoi(group));
		unlink(path);
	}
}

void fake_pci_rebind(const char *id, const char *driver)
{
	fake_pci_driver(driver, id);
	set_link(id, driver);
}

static void put_trait(const char *driver, const char *trait, int value)
{
	char path[PATH_MAX], text[16];

	path_of(path, DRIVERS "/%s/%s", driver, trait);
	snprintf(text, sizeof(text), "%d", value);
	put(path, "w", text);
}

static int trait(const char *driver, const char *name)
{
	char path[PATH_MAX];

	path_of(path, DRIVERS "/%s/%s", driver, name);
	return atoi(get(path));
}

void fake_pci_refuses(const char *driver, int error)
{
	put_trait(driver, "refuses", error);
}

void fake_pci_keeps(const char *driver)
{
	put_trait(driver, "keeps", 1);
}

void fake_pci_hangs(const char *driver)
{
	put_trait(driver, "hangs", 1);
}

void fake_pci_sriov(const char *pf, unsigned int total, unsigned int room)
{
	char text[16];

	snprintf(text, sizeof(text), "%u\n", total);
	put_attr(pf, "sriov_totalvfs", text);
	snprintf(text, sizeof(text), "%u\n", room);
	put_attr(pf, "room", text);
	put_attr(pf, "sriov_numvfs", "0\n");
	put_attr(pf, "sriov_drivers_autoprobe", "1\n");
	fake_pci_driver("vfdrv", NULL);
}

const char *fake_pci_attr(const char *id, const char *attr)
{
	static char text[64];
	char path[PATH_MAX];

	path_of(path, DEVICES "/%s/%s", id, attr);
	str_copy(text, sizeof(text), get(path));
	text[strcspn(text, "\n")] = '\0';
	return text;
}

const char *fake_pci_driver_of(const char *id)
{
	static char target[PATH_MAX];
	char path[PATH_MAX];
	ssize_t len;

	path_of(path, DEVICES "/%s/driver", id);
	len = readlink(path, target, sizeof(target) - 1);
	target[len < 0 ? 0 : len] = '\0';
	return len < 0 ? "" : strrchr(target, '/') + 1;
}

const char *fake_pci_override_of(const char *id)
{
	static char override[64];
	char path[PATH_MAX];

	path_of(path, DEVICES "/%s/driver_override", id);
	str_copy(override, sizeof(override), get(path));
	override[strcspn(override, "\n")] = '\0';
	return strcmp(override, "(null)") == 0 ? "" : override;
}

const char *fake_pci_log(void)
{
	static char text[8192];
	char path[PATH_MAX];

	path_of(path, "log");
	str_copy(text, sizeof(text), get(path));
	put(path, "w", "");
	return text;
}

void fake_pci_dies_after(int writes)
{
	char path[PATH_MAX], text[16];

	path_of(path, "dies");
	snprintf(text, sizeof(text), "%d", writes);
	put(path, "w", text);
}

/* --- the kernel ------------------------------------------------------------------------------- */

static void maybe_die(void)
{
	char path[PATH_MAX];
	int left;

	path_of(path, "dies");
	left = atoi(get(path));
	if (left == 0)
		raise(SIGKILL);
	fake_pci_dies_after(left < 0 ? -1 : left - 1);
}

static void write_log(const char *where, const char *attr, const char *text)
{
	char path[PATH_MAX], line[256];

	path_of(path, "log");
	snprintf(line, sizeof(line), "%s/%s=%s%s", strrchr(where, '/') + 1, attr, text,
		text[0] == '\n' ? "" : "\n");
	put(path, "a", line);
}

static bool has_in_table(const char *driver, const char *id)
{
	char path[PATH_MAX];

	path_of(path, DRIVERS "/%s/table", driver);
	return strstr(get(path), id);
}

static int kernel_unbind(const char *driver, const char *id)
{
	if (strcmp(fake_pci_driver_of(id), driver) != 0)
		return -ENODEV;
	while (trait(driver, "hangs"))
		pause();
	if (trait(driver, "keeps"))
		return -EBUSY;
	set_link(id, "");
	return 0;
}

static int kernel_bind(const char *driver, const char *id)
{
	const char *override = fake_pci_override_of(id);

	if (override[0] ? strcmp(override, driver) != 0 : !has_in_table(driver, id))
		return -ENODEV;
	if (fake_pci_driver_of(id)[0])
		return -EBUSY;
	if (trait(driver, "refuses"))
		return -trait(driver, "refuses");
	set_link(id, driver);
	make_group(id);
	return 0;
}

/* The first driver that takes it. */
static int kernel_probe(const char *id)
{
	auto_closedir DIR *dir = NULL;
	const struct dirent *entry;
	char path[PATH_MAX];

	path_of(path, DRIVERS);
	dir = opendir(path);
	must(dir, "opendir");
	while ((entry = readdir(dir)))
		if (entry->d_name[0] != '.' && kernel_bind(entry->d_name, id) == 0)
			return 0;
	return -EINVAL;
}

/* 0000:01:00.0 has 0000:01:10.0, 0000:01:10.1, ... */
static void vf_name(const char *pf, unsigned int n, char vf[32])
{
	snprintf(vf, 32, "%.8s%02x.%x", pf, 0x10 + n / 8, n % 8);
}

static void vf_link(const char *from, const char *name, const char *to)
{
	char path[PATH_MAX], target[64];

	path_of(path, DEVICES "/%s/%s", from, name);
	snprintf(target, sizeof(target), "../%s", to);
	must(symlink(target, path) == 0, "symlink");
}

static void vf_born(const char *pf, unsigned int n)
{
	bool probes = strcmp(fake_pci_attr(pf, "sriov_drivers_autoprobe"), "0") != 0;
	char vf[32], link[32];

	vf_name(pf, n, vf);
	snprintf(link, sizeof(link), "virtfn%u", n);
	fake_pci_add(vf, -1, probes ? "vfdrv" : NULL);
	vf_link(vf, "physfn", pf);
	vf_link(pf, link, vf);
}

static void vf_gone(const char *pf, unsigned int n)
{
	char path[PATH_MAX], vf[32];

	vf_name(pf, n, vf);
	path_of(path, DEVICES "/%s/virtfn%u", pf, n);
	unlink(path);
	fake_pci_remove(vf);
}

static int kernel_numvfs(const char *pf, const char *text)
{
	unsigned int had = (unsigned int)atoi(fake_pci_attr(pf, "sriov_numvfs"));
	unsigned int wanted = (unsigned int)atoi(text);

	if (had && wanted)
		return -EBUSY;
	if (wanted > (unsigned int)atoi(fake_pci_attr(pf, "room")))
		return -ENOMEM;
	for (unsigned int n = 0; n < wanted; n++)
		vf_born(pf, n);
	for (unsigned int n = 0; n < had; n++)
		vf_gone(pf, n);
	put_attr(pf, "sriov_numvfs", text);
	return 0;
}

int sysfs_write_text(const struct sysfs_dir *d, const char *attr, const char *text)
{
	const char *name = strrchr(d->path, '/') + 1;
	char path[2 * PATH_MAX];

	snprintf(path, sizeof(path), "%s/%s/%s", root(), d->path, attr);
	if (access(path, W_OK) < 0)
		return -errno;
	maybe_die();
	write_log(d->path, attr, text);
	if (strcmp(attr, "unbind") == 0)
		return kernel_unbind(name, text);
	if (strcmp(attr, "bind") == 0)
		return kernel_bind(name, text);
	if (strcmp(attr, "drivers_probe") == 0)
		return kernel_probe(text);
	if (strcmp(attr, "sriov_numvfs") == 0)
		return kernel_numvfs(name, text);
	put(path, "w", text[0] == '\n' ? "(null)\n" : text);
	return 0;
}
