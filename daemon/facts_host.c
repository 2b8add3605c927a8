/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the rules want to know of the host (daemon/facts.h). Every file is small, or read in one go. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/facts.h"
#include "lib/cleanup.h"

#define TABLES        "sys/firmware/acpi/tables"
#define DMAR_FLAGS_AT 37 /* behind the header of all tables, and one byte of address width */
#define CAP_MGAW_AT   16 /* VT-d's capability register: address width less one, 6 bits */
#define PROC_MAX      ((size_t)16 << 20)
#define DPKG_MAX      ((size_t)64 << 20)

/* --- small files ------------------------------------------------------------------------------ */

static bool exists(const struct sysroot *root, const char *dir, const char *name)
{
	struct sysfs_dir d;

	return sysfs_dir_init(&d, root, "%s", dir) && sysfs_exists(&d, name);
}

static void read_text(
	const struct sysroot *root, const char *dir, const char *name, char *text, size_t size)
{
	struct sysfs_dir d;

	sysfs_dir_init(&d, root, "%s", dir);
	if (sysfs_read_text(&d, name, text, size) < 0)
		text[0] = '\0';
}

static void read_number(
	const struct sysroot *root, const char *dir, const char *name, struct fact_number *n)
{
	struct sysfs_dir d;

	sysfs_dir_init(&d, root, "%s", dir);
	n->known = sysfs_read_u64(&d, name, &n->value) == 0;
}

static bool read_switch(const struct sysroot *root, const char *module, const char *parameter)
{
	char dir[96], text[8];

	snprintf(dir, sizeof(dir), "sys/module/%s/parameters", module);
	read_text(root, dir, parameter, text, sizeof(text));
	return text[0] == 'Y' || text[0] == '1';
}

/* --- processor and kernel --------------------------------------------------------------------- */

/* Whether `word` stands in a line of words. */
static bool has_word(const char *line, size_t len, const char *word)
{
	size_t n = strlen(word);

	for (const char *s = line; s + n <= line + len; s++)
		if (memcmp(s, word, n) == 0 && (s == line || s[-1] == ' ' || s[-1] == '\t') &&
			(s + n == line + len || s[n] == ' '))
			return true;
	return false;
}

/* "vendor_id\t: GenuineIntel" of the first processor; NULL if there is no such line. */
static const char *cpu_line(const char *text, const char *key, size_t *len)
{
	size_t n = strlen(key);

	for (const char *s = text; s; s = strchr(s, '\n')) {
		s += *s == '\n';
		if (strncmp(s, key, n) == 0 && (s[n] == '\t' || s[n] == ' ' || s[n] == ':')) {
			const char *value = s + strcspn(s, ":\n");

			value += strspn(value, ": \t");
			*len = strcspn(value, "\n");
			return value;
		}
	}
	return NULL;
}

static void read_cpu(const struct sysroot *root, struct host_facts *h)
{
	auto_free char *text = NULL;
	const char *line;
	size_t len;

	if (sysroot_read_file(root, "proc/cpuinfo", PROC_MAX, &text) < 0)
		return;
	line = cpu_line(text, "vendor_id", &len);
	if (line)
		snprintf(h->cpu_vendor, sizeof(h->cpu_vendor), "%.*s", (int)MIN(len, 15), line);
	line = cpu_line(text, "flags", &len);
	h->is_x86 = line;
	h->has_virtualization = line && (has_word(line, len, "vmx") || has_word(line, len, "svm"));
	line = cpu_line(text, "address sizes", &len);
	if (line && sscanf(line, "%u bits physical", &h->physical_bits) != 1)
		h->physical_bits = 0;
}

static void read_kernel(const struct sysroot *root, struct host_facts *h)
{
	auto_free char *text = NULL;

	read_text(root, "proc/sys/kernel", "osrelease", h->release, sizeof(h->release));
	if (sscanf(h->release, "%u.%u", &h->version, &h->patch) != 2)
		h->version = h->patch = 0;
	if (sysroot_read_file(root, "proc/cmdline", sizeof(h->cmdline) - 1, &text) == 0)
		snprintf(h->cmdline, sizeof(h->cmdline), "%.*s", (int)strcspn(text, "\n"), text);
	text_clean(h->cmdline);
	read_number(root, "proc/sys/kernel", "io_uring_disabled", &h->io_uring_disabled);
	read_number(root, "proc/sys/kernel/yama", "ptrace_scope", &h->ptrace_scope);
	h->seccomp.known = h->version > 0;
	h->seccomp.value = exists(root, "proc/sys/kernel/seccomp", "actions_avail");
}

bool facts_cmdline_has(const struct host_facts *h, const char *word, char *found, size_t size)
{
	size_t n = strlen(word);

	for (const char *s = h->cmdline; *s; s += strcspn(s, " ")) {
		s += strspn(s, " ");
		if (strncmp(s, word, n) != 0 ||
			(word[n - 1] != '=' && s[n] && s[n] != ' ' && s[n] != ','))
			continue;
		if (found)
			snprintf(found, size, "%.*s", (int)MIN(strcspn(s, " "), size - 1), s);
		return true;
	}
	return false;
}

/* --- the IOMMU -------------------------------------------------------------------------------- */

static void read_tables(const struct sysroot *root, struct host_facts *h)
{
	uint8_t dmar[4096];
	struct sysfs_dir dir;
	ssize_t len;

	sysfs_dir_init(&dir, root, TABLES);
	h->has_tables = exists(root, "sys/firmware/acpi", "tables");
	h->has_dmar = sysfs_exists(&dir, "DMAR");
	h->has_ivrs = sysfs_exists(&dir, "IVRS");
	h->has_iort = sysfs_exists(&dir, "IORT");
	h->has_viot = sysfs_exists(&dir, "VIOT");
	len = h->has_dmar ? sysfs_read_raw(&dir, "DMAR", dmar, sizeof(dmar)) : 0;
	h->dmar_flags.known = len > DMAR_FLAGS_AT && memcmp(dmar, "DMAR", 4) == 0;
	h->dmar_flags.value = h->dmar_flags.known ? dmar[DMAR_FLAGS_AT] : 0;
}

/* VT-d says how many bits of address each unit translates. */
static void read_unit(const struct sysroot *root, const char *unit, struct host_facts *h)
{
	char dir[128], text[32];
	uint64_t capabilities;
	unsigned int bits;

	snprintf(dir, sizeof(dir), "sys/class/iommu/%.60s/intel-iommu", unit);
	read_text(root, dir, "cap", text, sizeof(text));
	if (sscanf(text, "%" SCNx64, &capabilities) != 1)
		return;
	bits = (unsigned int)(capabilities >> CAP_MGAW_AT & 0x3f) + 1;
	if (h->narrow_bits && h->narrow_bits <= bits)
		return;
	h->narrow_bits = bits;
	h->narrow_capabilities = capabilities;
	str_copy(h->narrow, sizeof(h->narrow), unit);
}

static void read_units(const struct sysroot *root, struct host_facts *h)
{
	auto_names struct name_list units = {0};
	struct sysfs_dir dir;

	sysfs_dir_init(&dir, root, "sys/class/iommu");
	if (sysfs_list(&dir, &units) < 0)
		return;
	h->iommu_count = units.count;
	if (units.count)
		str_copy(h->iommu, sizeof(h->iommu), units.names[0]);
	for (size_t i = 0; i < units.count; i++)
		read_unit(root, units.names[i], h);
}

/* The kernel writes "IR-IO-APIC" and "IR-PCI-MSI" once interrupts go through the IOMMU. */
static void read_interrupts(const struct sysroot *root, struct host_facts *h)
{
	auto_free char *text = NULL;

	if (sysroot_read_file(root, "proc/interrupts", PROC_MAX, &text) < 0)
		return;
	h->remaps_interrupts = strstr(text, " IR-");
	h->interrupts_seen =
		h->remaps_interrupts || strstr(text, "IO-APIC") || strstr(text, "PCI-MSI");
}

/* --- VFIO and KVM ----------------------------------------------------------------------------- */

static bool has_module_file(const struct sysroot *root, const char *release, const char *path)
{
	static const char *const packed[] = {"", ".xz", ".zst", ".gz"};
	auto_free char *builtin = NULL;
	char dir[96], name[128];

	snprintf(dir, sizeof(dir), "lib/modules/%.60s", release);
	for (size_t i = 0; i < ARRAY_SIZE(packed); i++) {
		snprintf(name, sizeof(name), "kernel/%s.ko%s", path, packed[i]);
		if (exists(root, dir, name))
			return true;
	}
	snprintf(name, sizeof(name), "%s/modules.builtin", dir);
	return sysroot_read_file(root, name, PROC_MAX, &builtin) == 0 && strstr(builtin, path);
}

static void read_module(const struct sysroot *root, const struct host_facts *h, const char *name,
	const char *path, struct fact_module *m)
{
	m->is_loaded = exists(root, "sys/module", name);
	m->is_available =
		m->is_loaded || (h->modules_seen && has_module_file(root, h->release, path));
}

static void read_vfio(const struct sysroot *root, struct host_facts *h)
{
	h->modules_seen = h->release[0] && exists(root, "lib/modules", h->release);
	read_module(root, h, "vfio_pci", "drivers/vfio/pci/vfio-pci", &h->vfio_pci);
	read_module(root, h, "vfio_iommu_type1", "drivers/vfio/vfio_iommu_type1", &h->type1);
	read_module(root, h, "iommufd", "drivers/iommu/iommufd/iommufd", &h->iommufd);
	h->has_vfio_class = exists(root, "sys/class/misc", "vfio");
	h->has_vfio_node = exists(root, "dev/vfio", "vfio");
	h->has_iommu_node = exists(root, "dev", "iommu");
	h->has_kvm_node = exists(root, "dev", "kvm");
	h->allows_unsafe_interrupts =
		read_switch(root, "vfio_iommu_type1", "allow_unsafe_interrupts") ||
		read_switch(root, "iommufd", "allow_unsafe_interrupts");
	h->allows_no_iommu = read_switch(root, "vfio", "enable_unsafe_noiommu_mode");
	h->denylist_off = read_switch(root, "vfio_pci", "disable_denylist");
}

/* --- memory ----------------------------------------------------------------------------------- */

static void find_number(const char *text, const char *key, struct fact_number *n)
{
	const char *line = strstr(text, key);

	n->known = line && sscanf(line + strlen(key), " %" SCNu64, &n->value) == 1;
}

static void read_memory(const struct sysroot *root, struct host_facts *h)
{
	auto_free char *meminfo = NULL, *limits = NULL;
	const char *line;

	if (sysroot_read_file(root, "proc/meminfo", PROC_MAX, &meminfo) == 0) {
		find_number(meminfo, "MemTotal:", &h->memory_kib);
		find_number(meminfo, "HugePages_Total:", &h->hugepages);
		find_number(meminfo, "HugePages_Free:", &h->hugepages_free);
		find_number(meminfo, "Hugepagesize:", &h->hugepage_kib);
	}
	if (sysroot_read_file(root, "proc/self/limits", PROC_MAX, &limits) < 0)
		return;
	find_number(limits, "Max locked memory", &h->memlock_bytes);
	line = strstr(limits, "Max locked memory");
	if (line && strncmp(line + strcspn(line, "u\n0123456789"), "unlimited", 9) == 0)
		h->memlock_bytes = (struct fact_number){true, UINT64_MAX};
}

/* --- programs --------------------------------------------------------------------------------- */

static void read_users(const struct sysroot *root, struct host_facts *h)
{
	auto_free char *groups = NULL, *profile = NULL, *local = NULL;
	char enabled[8];

	if (sysroot_read_file(root, "etc/group", PROC_MAX, &groups) == 0) {
		h->has_users = true;
		h->has_group_iovd = strncmp(groups, "iovd:", 5) == 0 || strstr(groups, "\niovd:");
	}
	read_text(root, "sys/module/apparmor/parameters", "enabled", enabled, sizeof(enabled));
	h->has_apparmor = enabled[0] == 'Y';
	h->libvirt_profile = sysroot_read_file(root, "etc/apparmor.d/abstractions/libvirt-qemu",
				     PROC_MAX, &profile) == 0;
	sysroot_read_file(root, "etc/apparmor.d/local/abstractions/libvirt-qemu", PROC_MAX, &local);
	h->libvirt_profile_iovd =
		(profile && strstr(profile, "/run/iovd")) || (local && strstr(local, "/run/iovd"));
}

/* Opened, since more than its mode decides. A recorded tree need not have one. */
static void read_log(const struct sysroot *root, struct host_facts *h)
{
	auto_close int fd = sysroot_open_stream(root, "dev/kmsg");

	h->has_log = fd >= 0;
	if (fd >= 0 || (fd == -ENOENT && !sysroot_is_live(root)))
		return;
	snprintf(h->log_problem, sizeof(h->log_problem), "%s", strerror(-fd));
}

void facts_read_host(struct inventory *inv, struct host_facts *h)
{
	const struct sysroot *root = inventory_sysroot(inv);

	*h = (struct host_facts){0};
	read_cpu(root, h);
	read_kernel(root, h);
	read_tables(root, h);
	read_units(root, h);
	read_interrupts(root, h);
	h->group_count = inventory_count_groups(inv, NULL);
	h->identity_count = inventory_count_groups(inv, "identity");
	read_vfio(root, h);
	read_memory(root, h);
	read_log(root, h);
	read_users(root, h);
}

/* The paragraph of a package that is installed, and its version. */
static bool find_package(const char *status, const char *name, char *version, size_t size)
{
	char key[96];
	const char *at, *end, *line;

	snprintf(key, sizeof(key), "Package: %s\n", name);
	at = strstr(status, key);
	end = at ? strstr(at, "\n\n") : NULL;
	line = at ? strstr(at, "\nVersion: ") : NULL;
	if (!line || (end && line > end) || !strstr(at, "\nStatus: install ok installed"))
		return false;
	line += strlen("\nVersion: ");
	snprintf(version, size, "%.*s", (int)MIN(strcspn(line, "\n"), size - 1), line);
	return true;
}

const char *facts_iommu_kind(const struct host_facts *h)
{
	if (h->iommu_count == 0 && h->group_count == 0)
		return NULL;
	return h->has_dmar   ? "Intel VT-d"
	       : h->has_ivrs ? "AMD-Vi"
	       : h->has_iort ? "Arm SMMU"
	       : h->has_viot ? "virtio-iommu"
			     : "IOMMU";
}

void facts_read_programs(const struct sysroot *root, struct host_facts *h)
{
	static const char *const names[] = {"qemu-system-x86_64", "qemu-system-aarch64"};
	static const char *const packages[] = {"qemu-system-x86", "qemu-system-arm"};
	auto_free char *status = NULL;
	size_t kind = h->is_x86 ? 0 : 1;

	h->has_programs = exists(root, "usr", "bin");
	if (exists(root, "usr/bin", names[kind]))
		snprintf(h->qemu, sizeof(h->qemu), "/usr/bin/%s", names[kind]);
	else if (exists(root, "usr/libexec", "qemu-kvm"))
		snprintf(h->qemu, sizeof(h->qemu), "/usr/libexec/qemu-kvm");
	if (!h->qemu[0] || sysroot_read_file(root, "var/lib/dpkg/status", DPKG_MAX, &status) < 0)
		return;
	if (find_package(status, packages[kind], h->qemu_version, sizeof(h->qemu_version)))
		snprintf(h->qemu_source, sizeof(h->qemu_source), "/var/lib/dpkg/status: %s",
			packages[kind]);
}
