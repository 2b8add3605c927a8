/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The fact model that the rules (daemon/rules.h) judge: what /sys, /proc and a few other files say of
 * the host and of one device, read once. Plain data, but for pointers into the inventory, which are
 * valid until it changes. Nothing here waits for a device: what a hand has to read comes from the
 * inventory, which had it read before.
 */
#pragma once

#include "daemon/hands.h"
#include "daemon/host_use.h"
#include "daemon/inventory.h"
#include "lib/iommu/acs.h"
#include "lib/iommu/bind.h"
#include "lib/iommu/group.h"

#define FACTS_MAX_MEMBERS 64 /* of a group: those beyond are not looked at one by one */
#define FACTS_PCI_BARS    6  /* a function's own; in `resource` the ROM is next, then VFs' */
#define FACTS_PCI_VF_BARS 6

/* A file that holds one number; `known` is false where there is none. */
struct fact_number {
	bool known;
	uint64_t value;
};

struct fact_module {
	bool is_loaded;    /* /sys/module has it: loaded, or built in with parameters */
	bool is_available; /* its file is among those of this kernel, or it is built in */
};

struct host_facts {
	bool is_x86;
	char cpu_vendor[16];         /* "GenuineIntel"; "" where nobody says */
	bool has_virtualization;     /* the processor's vmx or svm */
	unsigned int physical_bits;  /* of an address; 0: not known */
	char cmdline[2048];          /* of the kernel */
	char release[64];            /* "6.1.0-28-amd64"; "" if it cannot be read */
	unsigned int version, patch; /* 6, 1 */

	/* what the firmware describes */
	bool has_tables; /* it can be seen at all */
	bool has_dmar, has_ivrs, has_iort, has_viot;
	struct fact_number dmar_flags;

	/* what the kernel uses */
	size_t iommu_count, group_count, identity_count;
	char iommu[40];               /* the first one */
	bool interrupts_seen;         /* /proc/interrupts says how they are raised */
	bool remaps_interrupts;       /* through the IOMMU */
	char narrow[40];              /* the unit with the fewest bits of address, "dmar0" */
	uint64_t narrow_capabilities; /* its register */
	unsigned int narrow_bits;     /* 0: not known */

	struct fact_module vfio_pci, type1, iommufd;
	bool modules_seen; /* the modules of this kernel can be seen */
	bool has_vfio_class, has_vfio_node, has_iommu_node, has_kvm_node;
	bool allows_unsafe_interrupts, allows_no_iommu, denylist_off;
	char log_problem[64]; /* why the kernel's log cannot be read; "": it can, or nobody knows */
	bool has_log;
	struct fact_number io_uring_disabled, ptrace_scope, seccomp;

	struct fact_number memory_kib, hugepages, hugepages_free, hugepage_kib;
	struct fact_number memlock_bytes; /* iovd's own soft limit; UINT64_MAX: none */

	bool has_group_iovd, has_users; /* /etc/group: has iovd; can be seen */
	bool has_apparmor, libvirt_profile, libvirt_profile_iovd;
	bool has_programs;     /* /usr/bin can be seen */
	char qemu[64];         /* path of a QEMU for machines of this kind; "" if there is none */
	char qemu_version[64]; /* as its package says; "" if not known */
	char qemu_source[64];  /* which file says so */
};

/* Reads them. Never fails: what cannot be read is not known. */
void facts_read_host(struct inventory *inv, struct host_facts *h);

/* What kind of IOMMU the firmware describes; "IOMMU" where it says nothing, NULL: none is in use. */
const char *facts_iommu_kind(const struct host_facts *h);

/* Adds what only the whole host is asked for, and takes longer: which QEMU there is. */
void facts_read_programs(const struct sysroot *root, struct host_facts *h);

/* One that shares the device's group. */
struct fact_member {
	const char *id, *driver;
	bool blocks, is_bridge, is_known; /* the inventory has it */
	const struct host_use *use;       /* by others; NULL: none */
};

struct device_facts {
	const struct device *dev;
	const struct host_use *host_use; /* the worst one by the host; NULL: none */
	const struct host_use *vm_use;   /* that another machine has it; NULL: none has */
	bool is_blind;                   /* who uses what could not be found out in full */
	const char *vm;
	bool is_wedged;
	struct hand_wedge wedge;

	/* of a PCI function */
	const struct iommu_group *group;          /* NULL: none */
	struct acs_finding why[ACS_MAX_FINDINGS]; /* why the group is as it is */
	size_t why_count;
	struct fact_member members[FACTS_MAX_MEMBERS]; /* of the group; without the device */
	size_t member_count;
	struct pci_config config, bridge; /* has_header is false where nobody has read it */
	char bridge_id[PCI_ADDR_MAX];     /* the bridge above; "" on a root bus */
	char power_state[16];             /* "D0", "D3cold"; "" where it is not said */
	char reset_way[16];               /* how it can be reset with its group; "" not at all */
	struct fact_number boot_vga, dma_mask_bits, aer_fatal, link_width, link_width_max;
	char link_speed[32], link_speed_max[32];
	bool has_resource;
	struct fact_bar {
		uint64_t start, end, flags;
	} bars[FACTS_PCI_BARS], vf_bars[FACTS_PCI_VF_BARS];
	struct fact_number sriov_total;
	bool has_cdev;
	char vfio_driver[BIND_DRIVER_MAX]; /* the best one for it; "" where nobody knows */
	char pf_interface[DEVICE_NAME_MAX], pf_state[16]; /* of a virtual function */
};

/*
 * Of `dev`, which is the inventory's. `vm` (may be NULL) is for whom: what it has itself is no use by
 * others. The inventory must be up to date (host_use_update()).
 */
void facts_read_device(
	struct inventory *inv, const struct device *dev, const char *vm, struct device_facts *f);

/* By which bus a machine has its devices. */
enum machine_bus {
	MACHINE_BUS_UNKNOWN,
	MACHINE_PCIE,
	MACHINE_PCI, /* conventional */
	MACHINE_NO_PCI,
};

/* A libvirt domain, as its XML has it. */
struct machine_facts {
	bool is_live; /* it runs, and this is how */
	bool shares_memory;
	char type[48]; /* "pc-q35-9.2" */
	enum machine_bus bus;
	unsigned int ports, free_ports; /* of PCI Express, for one device each */
	uint64_t memory_kib, limit_kib; /* of what it may lock; 0: not said */
	bool has_balloon;
};

void facts_read_machine(const char *xml, bool is_live, struct machine_facts *m);

/* Whether a word stands on the kernel's command line: "iommu=off", or, with '=' at its end, one that
 * begins so; that word, up to the next blank, is copied to `found` (may be NULL). */
bool facts_cmdline_has(const struct host_facts *h, const char *word, char *found, size_t size);
