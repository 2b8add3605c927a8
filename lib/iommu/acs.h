/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Why an IOMMU group is as it is: which port, bridge or function keeps the IOMMU from telling its
 * members apart, by the rules of PCI Express and of Linux. Pure: works on what pci_path_read() read.
 */
#pragma once

#include "lib/iommu/pci_path.h"

enum acs_kind {
	ACS_ALONE,       /* nothing: the only member, and kept apart from all others */
	ACS_ABSENT,      /* a port without ACS */
	ACS_OFF,         /* a port that has ACS, not switched on */
	ACS_BRIDGE,      /* what is behind a PCI bridge uses the bridge's requester ID */
	ACS_FUNCTIONS,   /* functions of one device that can reach each other inside it */
	ACS_UNSEEN,      /* too little of a configuration space can be seen to know */
	ACS_TRUSTED,     /* a port without ACS that the kernel takes for isolating all the same */
	ACS_UNEXPLAINED, /* several members, and nothing of the above */
	ACS_KIND_COUNT
};

/* As in JSON: "alone", "no_acs", "acs_off", ... */
extern const char *const acs_kind_names[ACS_KIND_COUNT];

struct acs_finding {
	enum acs_kind kind;
	char device[PCI_ADDR_MAX]; /* which function lacks it */
	/* A sentence without its subject, which is the device: "is a root port without ACS ..." */
	char what[320];
	char evidence[160]; /* where the configuration space says so */
};

#define ACS_MAX_FINDINGS 16 /* of one group; each names all that it keeps together */

/*
 * `members`: the ways of the PCI functions of the group with this number, `count` of them. Returns
 * how many findings there are, at least one if count is not 0; at most `max` are written.
 */
size_t acs_explain(uint32_t group, const struct pci_path *members, size_t count,
	struct acs_finding *found, size_t max);

/*
 * The bridge of the path, nearest to the root, whose requester ID stands in for those behind it; 0
 * if there is none: then the function is seen as itself.
 */
size_t acs_alias_point(const struct pci_path *path);

/* Whether transactions through the bridge at `i` of a path carry a requester ID of the bridge, and
 * which one. */
bool acs_bridge_alias(const struct pci_path *path, size_t i, uint16_t *requester);
