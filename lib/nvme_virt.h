/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * NVMe Virtualization Enhancements: queues and interrupt vectors that a controller (the primary,
 * a PF) shares with its virtual functions (the secondaries). Until it has some, and is switched
 * online, a VF's controller does not work. For hands: a controller may not answer.
 *
 * What the primary holds itself is free for others only after it was reset; so that is done before
 * there are VFs, and the secondaries are given theirs, and switched online, when they are there.
 */
#pragma once

#include "lib/err.h"
#include "lib/sysfs.h"

/* The controller of the PCI function ("nvme0"); false if it is none, or has no driver. */
bool nvme_virt_find(const struct sysroot *root, const char *pf, char *name, size_t size);

/*
 * Leaves with the primary what `vfs` VFs, in equal shares, do not need (vfs 0: all). Where that is
 * another number than it has, the PF is reset, which its driver lives through; *reset says so.
 * With `may_reset` false nothing is changed then: -1, ERR_REFUSED (NVME-RESET). A controller without
 * the means is none to share: 0.
 */
int nvme_virt_share(const struct sysroot *root, const char *pf, uint32_t vfs, bool may_reset,
	bool *reset, struct err *e);

/* Gives each of `vfs` VFs its share, and switches it online. */
int nvme_virt_online(const struct sysroot *root, const char *pf, uint32_t vfs, struct err *e);

/* --- codec ------------------------------------------------------------------------------------ */

#define NVME_IDENTIFY_BYTES 4096

/* One kind of resource: queues or interrupt vectors. */
struct nvme_resource {
	uint32_t flexible;      /* all that can be shared */
	uint16_t with_primary;  /* of these, since its last reset */
	uint16_t secondary_max; /* that one VF can have */
	uint16_t granularity;   /* shares are multiples of it; never 0 */
};

struct nvme_primary {
	uint16_t id;
	struct nvme_resource queues, vectors;
};

struct nvme_secondary {
	uint16_t id, vf; /* vf: 1 is the first */
	bool online;
	uint16_t queues, vectors;
};

/* Of Identify (CNS 14h), and of its list of secondaries (CNS 15h), entry i. */
void nvme_primary_read(const uint8_t data[NVME_IDENTIFY_BYTES], struct nvme_primary *p);
bool nvme_secondary_read(
	const uint8_t data[NVME_IDENTIFY_BYTES], unsigned int i, struct nvme_secondary *s);

/* What each of `vfs` VFs gets; 0 if it would be too little to work with. */
uint16_t nvme_share_of(const struct nvme_resource *r, uint32_t vfs, uint16_t least);
