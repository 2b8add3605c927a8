/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * SR-IOV of one physical function (PF): how many virtual functions (VFs) it has and could have, and
 * making and removing them. Reading these attributes waits for the PF's driver as writing them does,
 * so all of this is for hands, but for the names of VFs, which are links.
 *
 * The kernel makes and removes all VFs of a PF at once: it goes from none to some number and back.
 */
#pragma once

#include "lib/err.h"
#include "lib/pci.h"
#include "lib/sysfs.h"

#define SRIOV_MAX_VFS 65535

struct sriov_facts {
	uint32_t total; /* VFs that the PF could have */
	uint32_t count; /* that it has */
	bool probes;    /* new VFs are given to host drivers */
	uint64_t mark;  /* of this birth of the VFs: the next one has another; 0 with none */
	char boot[40];  /* of the host: marks of another boot mean nothing */
};

/* ERR_REFUSED (SRIOV-NONE) if it cannot have VFs. */
int sriov_look(
	const struct sysroot *root, const char *pf, struct sriov_facts *facts, struct err *e);

/* Whether host drivers are given new VFs. */
int sriov_set_probes(const struct sysroot *root, const char *pf, bool on, struct err *e);

/*
 * From `from` VFs (of this mark; 0: any) to `to`, one of which is 0. It may be so already; other VFs
 * than these are somebody else's doing: ERR_REFUSED (VF-FOREIGN), and nothing is changed.
 */
int sriov_set_count(const struct sysroot *root, const char *pf, uint32_t from, uint32_t to,
	uint64_t mark, struct err *e);

/*
 * Leaves the VFs without a driver also when one that would take them is loaded later: until somebody
 * names one for them (driver_override).
 */
int sriov_keep_free(const struct sysroot *root, const char *pf, struct err *e);

/* The name of the VF with this index. 0 or -errno. Never waits. */
int sriov_vf(const struct sysroot *root, const char *pf, uint32_t index, char vf[PCI_ADDR_MAX]);

/* The index of `vf` below `pf`; -1 if it is none of its VFs. Never waits. */
int sriov_index(const struct sysroot *root, const char *pf, const char *vf);

/* The network interface of the PF itself. False if it has none. Never waits. */
bool sriov_interface(const struct sysroot *root, const char *pf, char *name, size_t size);

/* This boot of the host, as in struct sriov_facts. Never waits. */
void sriov_boot(const struct sysroot *root, char boot[static 40]);
