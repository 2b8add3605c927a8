/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Rules about the host as a whole: firmware, kernel, VFIO, memory, programs. */
#include <stdio.h>
#include <string.h>

#include "daemon/rules.h"

#define KERNEL_OLDEST     6 /* 6.1: what iovd is tested with */
#define KERNEL_PATCH      1
#define QEMU_OLDEST       9 /* 9.2: the first one that knows reconnect-ms */
#define QEMU_PATCH        2
#define DMAR_REMAPS       (1u << 0)
#define DMAR_X2APIC_OUT   (1u << 1)
#define MEMLOCK_MIN_BYTES ((uint64_t)1 << 30)

/* --- the IOMMU -------------------------------------------------------------------------------- */

static bool has_iommu(const struct host_facts *h)
{
	return h->iommu_count > 0 || h->group_count > 0;
}

static bool has_table(const struct host_facts *h)
{
	return h->has_dmar || h->has_ivrs || h->has_iort || h->has_viot;
}

static bool firmware_has_none(const struct facts *f, struct err *e)
{
	const struct host_facts *h = f->host;

	if (has_iommu(h) || !h->has_tables || has_table(h))
		return false;
	err_evidence(e, "/sys/firmware/acpi/tables: no DMAR, IVRS, IORT or VIOT");
	return rule_says(e, "the firmware describes no IOMMU");
}

static bool kernel_uses_none(const struct facts *f, struct err *e)
{
	static const char *const words[] = {
		"intel_iommu=off", "amd_iommu=off", "iommu=off", "iommu=soft"};
	const struct host_facts *h = f->host;
	char found[64];

	if (has_iommu(h) || !has_table(h))
		return false;
	for (size_t i = 0; i < ARRAY_SIZE(words); i++) {
		if (!facts_cmdline_has(h, words[i], found, sizeof(found)))
			continue;
		err_evidence(e, "/proc/cmdline: %s; /sys/class/iommu: empty", found);
		err_fix(e, "take %s from the kernel's command line", found);
		return rule_says(e, "the kernel was told to use no IOMMU");
	}
	err_evidence(e,
		"/sys/firmware/acpi/tables has %s; /sys/class/iommu: empty; /proc/cmdline: %s",
		h->has_dmar   ? "DMAR"
		: h->has_ivrs ? "IVRS"
		: h->has_iort ? "IORT"
			      : "VIOT",
		h->has_dmar ? "no intel_iommu=on" : "nothing about it");
	if (h->has_dmar)
		err_fix(e, "add intel_iommu=on to the kernel's command line");
	return rule_says(e, "the firmware describes an IOMMU, and the kernel does not use it");
}

static bool passes_by_default(const struct facts *f, struct err *e)
{
	const struct host_facts *h = f->host;

	if (!h->group_count || h->identity_count < h->group_count)
		return false;
	err_evidence(e, "/sys/kernel/iommu_groups/*/type: identity, in %zu of %zu",
		h->identity_count, h->group_count);
	return rule_says(e, "the IOMMU lets all devices of the host pass (iommu=pt)");
}

static bool no_interrupt_remapping(const struct facts *f, struct err *e)
{
	const struct host_facts *h = f->host;
	char found[64];

	if (!h->is_x86 || !has_iommu(h) || !h->interrupts_seen || h->remaps_interrupts ||
		h->allows_unsafe_interrupts ||
		facts_cmdline_has(h, "vfio_iommu_type1.allow_unsafe_interrupts=", NULL, 0))
		return false;
	if (facts_cmdline_has(h, "intremap=off", found, sizeof(found)) ||
		facts_cmdline_has(h, "nointremap", found, sizeof(found))) {
		err_evidence(e, "/proc/cmdline: %s; /proc/interrupts: no IR-", found);
		err_fix(e, "take %s from the kernel's command line", found);
	} else {
		err_evidence(e, "/proc/interrupts: no line with IR-IO-APIC or IR-PCI-MSI");
	}
	return rule_says(e, "the host does not remap interrupts");
}

static bool trusts_interrupts(const struct facts *f, struct err *e)
{
	if (!f->host->allows_unsafe_interrupts)
		return false;
	err_evidence(e, "/sys/module/vfio_iommu_type1/parameters/allow_unsafe_interrupts: Y");
	return rule_says(e, "any interrupt of the host may be raised by a device's machine");
}

static bool firmware_no_remapping(const struct facts *f, struct err *e)
{
	const struct host_facts *h = f->host;

	if (!h->dmar_flags.known || (h->dmar_flags.value & DMAR_REMAPS))
		return false;
	err_evidence(e, "/sys/firmware/acpi/tables/DMAR, byte 37: 0x%02x, bit 0 is 0",
		(unsigned int)h->dmar_flags.value);
	return rule_says(e, "the firmware says that the platform cannot remap interrupts");
}

static bool firmware_no_x2apic(const struct facts *f, struct err *e)
{
	const struct host_facts *h = f->host;

	if (!h->dmar_flags.known || !(h->dmar_flags.value & DMAR_X2APIC_OUT))
		return false;
	err_evidence(e, "/sys/firmware/acpi/tables/DMAR, byte 37: 0x%02x, bit 1 is 1",
		(unsigned int)h->dmar_flags.value);
	return rule_says(e, "the firmware asks for no x2APIC, and so for no safe interrupts");
}

static bool narrow_iommu(const struct facts *f, struct err *e)
{
	const struct host_facts *h = f->host;

	if (!h->narrow_bits || !h->physical_bits || h->narrow_bits >= h->physical_bits)
		return false;
	err_evidence(e,
		"/sys/class/iommu/%s/intel-iommu/cap: 0x%llx, %u bits; /proc/cpuinfo: %u bits",
		h->narrow, (unsigned long long)h->narrow_capabilities, h->narrow_bits,
		h->physical_bits);
	return rule_says(
		e, "%s translates fewer bits of address than the processor has", h->narrow);
}

static bool acs_override(const struct facts *f, struct err *e)
{
	char found[128];

	if (!facts_cmdline_has(f->host, "pcie_acs_override=", found, sizeof(found)))
		return false;
	err_evidence(e, "/proc/cmdline: %s", found);
	return rule_says(e, "the kernel was told to take devices for isolated that are not");
}

/* --- VFIO ------------------------------------------------------------------------------------- */

static bool no_vfio_module(const struct facts *f, struct err *e)
{
	const struct host_facts *h = f->host;

	if (h->vfio_pci.is_available || !h->modules_seen)
		return false;
	err_evidence(e, "/sys/module/vfio_pci and /lib/modules/%s: no vfio-pci", h->release);
	return rule_says(e, "this kernel has no vfio-pci");
}

static bool no_iommu_interface(const struct facts *f, struct err *e)
{
	const struct host_facts *h = f->host;

	if (h->has_iommu_node || h->type1.is_available || h->iommufd.is_available ||
		!h->modules_seen)
		return false;
	err_evidence(e,
		"/dev/iommu: missing; /lib/modules/%s: neither vfio_iommu_type1 nor iommufd",
		h->release);
	return rule_says(e, "the kernel offers no way to program the IOMMU");
}

static bool no_vfio_node(const struct facts *f, struct err *e)
{
	const struct host_facts *h = f->host;

	if (!h->has_vfio_class || h->has_vfio_node || h->has_iommu_node)
		return false;
	err_evidence(e, "/sys/class/misc/vfio is there, /dev/vfio/vfio is not");
	return rule_says(e, "the kernel has VFIO, and /dev does not show it");
}

static bool no_iommufd(const struct facts *f, struct err *e)
{
	const struct host_facts *h = f->host;

	if (h->has_iommu_node || !h->has_vfio_node)
		return false;
	err_evidence(e, "/dev/iommu: missing; /dev/vfio/vfio: there");
	return rule_says(e, "devices are opened by group: this kernel has no iommufd");
}

static bool no_iommu_mode(const struct facts *f, struct err *e)
{
	if (!f->host->allows_no_iommu)
		return false;
	err_evidence(e, "/sys/module/vfio/parameters/enable_unsafe_noiommu_mode: Y");
	return rule_says(e, "VFIO gives devices away that nothing isolates");
}

/* --- the kernel ------------------------------------------------------------------------------- */

static bool is_older(unsigned int major, unsigned int minor, unsigned int than, unsigned int patch)
{
	return major < than || (major == than && minor < patch);
}

static bool old_kernel(const struct facts *f, struct err *e)
{
	const struct host_facts *h = f->host;

	if (!h->version || !is_older(h->version, h->patch, KERNEL_OLDEST, KERNEL_PATCH))
		return false;
	err_evidence(e, "/proc/sys/kernel/osrelease: %s", h->release);
	return rule_says(e, "the kernel is older than %d.%d", KERNEL_OLDEST, KERNEL_PATCH);
}

static bool no_msi(const struct facts *f, struct err *e)
{
	char found[64];

	if (!facts_cmdline_has(f->host, "pci=nomsi", found, sizeof(found)))
		return false;
	err_evidence(e, "/proc/cmdline: %s", found);
	return rule_says(e, "devices have no interrupts of their own (MSI)");
}

static bool no_faults_seen(const struct facts *f, struct err *e)
{
	if (!f->host->log_problem[0])
		return false;
	err_evidence(e, "/dev/kmsg: %s", f->host->log_problem);
	return rule_says(e, "faults that the hardware reports cannot be seen");
}

static bool no_aer(const struct facts *f, struct err *e)
{
	char found[64];

	if (!facts_cmdline_has(f->host, "pci=noaer", found, sizeof(found)) &&
		!facts_cmdline_has(f->host, "pcie_ports=compat", found, sizeof(found)))
		return false;
	err_evidence(e, "/proc/cmdline: %s", found);
	return rule_says(e, "the kernel does not hear of errors that devices report");
}

static bool no_io_uring(const struct facts *f, struct err *e)
{
	const struct fact_number *n = &f->host->io_uring_disabled;

	if (!n->known || n->value < 2)
		return false;
	err_evidence(e, "/proc/sys/kernel/io_uring_disabled: %llu", (unsigned long long)n->value);
	return rule_says(e, "the kernel lets nobody use io_uring");
}

static bool no_seccomp(const struct facts *f, struct err *e)
{
	if (!f->host->seccomp.known || f->host->seccomp.value)
		return false;
	err_evidence(e, "/proc/sys/kernel/seccomp/actions_avail: missing");
	return rule_says(e, "the kernel cannot filter the system calls of a process");
}

static bool no_tracing(const struct facts *f, struct err *e)
{
	const struct fact_number *n = &f->host->ptrace_scope;

	if (!n->known || n->value < 3)
		return false;
	err_evidence(e, "/proc/sys/kernel/yama/ptrace_scope: %llu", (unsigned long long)n->value);
	return rule_says(e, "no process may take another one's descriptors");
}

/* --- KVM, memory ------------------------------------------------------------------------------ */

static bool no_virtualization(const struct facts *f, struct err *e)
{
	const struct host_facts *h = f->host;

	if (!h->is_x86 || h->has_virtualization || h->has_kvm_node)
		return false;
	err_evidence(e, "/proc/cpuinfo: neither vmx nor svm among the flags");
	return rule_says(e, "the processor cannot run virtual machines, or must not");
}

static bool no_kvm(const struct facts *f, struct err *e)
{
	const struct host_facts *h = f->host;

	if (!h->has_virtualization || h->has_kvm_node)
		return false;
	err_evidence(e, "/proc/cpuinfo: vmx or svm; /dev/kvm: missing");
	return rule_says(e, "the processor can run virtual machines, and the kernel does not");
}

static bool no_hugepages(const struct facts *f, struct err *e)
{
	const struct fact_number *n = &f->host->hugepages;

	if (!n->known || n->value)
		return false;
	err_evidence(e, "/proc/meminfo: HugePages_Total: 0");
	return rule_says(e, "no hugepages are set aside");
}

static bool used_up_hugepages(const struct facts *f, struct err *e)
{
	const struct host_facts *h = f->host;

	if (!h->hugepages.known || !h->hugepages.value || !h->hugepages_free.known ||
		h->hugepages_free.value)
		return false;
	err_evidence(e, "/proc/meminfo: HugePages_Total: %llu, HugePages_Free: 0",
		(unsigned long long)h->hugepages.value);
	return rule_says(e, "all hugepages are taken");
}

static bool low_memlock(const struct facts *f, struct err *e)
{
	const struct fact_number *n = &f->host->memlock_bytes;

	if (!n->known || n->value >= MEMLOCK_MIN_BYTES)
		return false;
	err_evidence(e, "/proc/self/limits: Max locked memory %llu", (unsigned long long)n->value);
	return rule_says(e, "what is started from here may lock %llu KiB of memory",
		(unsigned long long)n->value >> 10);
}

/* --- programs --------------------------------------------------------------------------------- */

static bool no_qemu(const struct facts *f, struct err *e)
{
	if (f->host->qemu[0] || !f->host->has_programs)
		return false;
	err_evidence(e, "/usr/bin/qemu-system-%s and /usr/libexec/qemu-kvm: missing",
		f->host->is_x86 ? "x86_64" : "aarch64");
	return rule_says(e, "no QEMU is installed here");
}

static bool old_qemu(const struct facts *f, struct err *e)
{
	const struct host_facts *h = f->host;
	unsigned int major, minor;

	if (sscanf(h->qemu_version, "%*u:%u.%u", &major, &minor) != 2 &&
		sscanf(h->qemu_version, "%u.%u", &major, &minor) != 2)
		return false;
	if (!is_older(major, minor, QEMU_OLDEST, QEMU_PATCH))
		return false;
	err_evidence(e, "%s %s", h->qemu_source, h->qemu_version);
	return rule_says(e, "QEMU is older than %d.%d", QEMU_OLDEST, QEMU_PATCH);
}

static bool apparmor_stops_libvirt(const struct facts *f, struct err *e)
{
	const struct host_facts *h = f->host;

	if (!h->has_apparmor || !h->libvirt_profile || h->libvirt_profile_iovd)
		return false;
	err_evidence(e, "/etc/apparmor.d/abstractions/libvirt-qemu: nothing about /run/iovd");
	return rule_says(e, "AppArmor keeps libvirt's machines from iovd's sockets");
}

static bool no_reader_group(const struct facts *f, struct err *e)
{
	if (!f->host->has_users || f->host->has_group_iovd)
		return false;
	err_evidence(e, "/etc/group: no iovd");
	return rule_says(e, "only root may ask iovd: there is no group of readers");
}

#define BLOCKS_PCI (RULE_HOST | RULE_PASSTHROUGH)

static const struct rule rules[] = {
	{"FW-NO-IOMMU", BLOCKS_PCI, RULE_CLOSES, firmware_has_none},
	{"KERN-IOMMU-OFF", BLOCKS_PCI, RULE_CLOSES, kernel_uses_none},
	{"IRQ-UNSAFE", BLOCKS_PCI, RULE_CLOSES, no_interrupt_remapping},
	{"VFIO-MODULE", BLOCKS_PCI, RULE_REFUSES, no_vfio_module},
	{"IOMMU-NONE", BLOCKS_PCI, RULE_REFUSES, no_iommu_interface},
	{"VFIO-NODE", BLOCKS_PCI, RULE_REFUSES, no_vfio_node},
	{"IOURING-OFF", RULE_HOST | RULE_PARAVIRT, RULE_REFUSES, no_io_uring},
	{"SECCOMP-NONE", RULE_HOST | RULE_PARAVIRT, RULE_REFUSES, no_seccomp},
	{"IRQ-TRUSTED", BLOCKS_PCI, RULE_WARNS, trusts_interrupts},
	{"FW-NO-REMAP", RULE_HOST, RULE_WARNS, firmware_no_remapping},
	{"FW-X2APIC", RULE_HOST, RULE_NOTES, firmware_no_x2apic},
	{"IOMMU-WIDTH", BLOCKS_PCI, RULE_WARNS, narrow_iommu},
	{"ACS-OVERRIDE", BLOCKS_PCI, RULE_WARNS, acs_override},
	{"VFIO-NOIOMMU", RULE_HOST, RULE_WARNS, no_iommu_mode},
	{"KERN-OLD", RULE_HOST, RULE_WARNS, old_kernel},
	{"KERN-NOMSI", BLOCKS_PCI, RULE_WARNS, no_msi},
	{"KERN-NOAER", RULE_HOST, RULE_WARNS, no_aer},
	{"FAULT-BLIND", RULE_HOST, RULE_WARNS, no_faults_seen},
	{"YAMA-TRACE", RULE_HOST, RULE_WARNS, no_tracing},
	{"CPU-NO-VIRT", RULE_HOST, RULE_WARNS, no_virtualization},
	{"KVM-NONE", RULE_HOST, RULE_WARNS, no_kvm},
	{"HUGE-USED-UP", RULE_HOST, RULE_WARNS, used_up_hugepages},
	{"QEMU-OLD", RULE_HOST, RULE_WARNS, old_qemu},
	{"APPARMOR-LIBVIRT", RULE_HOST, RULE_WARNS, apparmor_stops_libvirt},
	{"IOMMU-IDENTITY", RULE_HOST, RULE_NOTES, passes_by_default},
	{"IOMMUFD-NONE", RULE_HOST, RULE_NOTES, no_iommufd},
	{"HUGE-NONE", RULE_HOST, RULE_NOTES, no_hugepages},
	{"MEMLOCK-LOW", RULE_HOST, RULE_NOTES, low_memlock},
	{"QEMU-NONE", RULE_HOST, RULE_NOTES, no_qemu},
	{"GROUP-IOVD", RULE_HOST, RULE_NOTES, no_reader_group},
};
const struct rule_table rules_host = {rules, ARRAY_SIZE(rules)};
