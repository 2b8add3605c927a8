/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What hardware reports of what went wrong, as the kernel's log has it: lines to structures. Pure.
 *
 * The log is the one source that every IOMMU has: VT-d, SMMUv3 and virtio-iommu report a fault
 * nowhere else (no trace event, no descriptor), AMD-Vi in a trace event as well, which says less.
 * The kernel limits its rate: a line is a fault, but no line is not the absence of one. What it
 * left out it counts, in lines of their own (FAULT_LINE_SUPPRESSED).
 *
 * Each source has a file, lib/iommu/fault_NAME.c; lib/iommu/fault.c finds whose a line is.
 */
#pragma once

#include "lib/pci.h"

enum fault_source {
	FAULT_FROM_VTD,
	FAULT_FROM_AMDVI,
	FAULT_FROM_SMMUV3,
	FAULT_FROM_VIRTIO,
	FAULT_FROM_PCI,  /* PCI Express: the link, the device itself */
	FAULT_FROM_AER,  /* its error reporting */
	FAULT_FROM_VFIO, /* the kernel's driver for those that are given away */
	FAULT_SOURCES
};

extern const char *const fault_source_names[FAULT_SOURCES]; /* "vtd", "virtio" */

enum fault_kind {
	FAULT_UNMAPPED,  /* nothing is mapped there, or not for that */
	FAULT_ACCESS,    /* it is mapped, and may not be used so */
	FAULT_STREAM,    /* the IOMMU has nothing, or nothing valid, for the device itself */
	FAULT_INTERRUPT, /* an interrupt, not memory */
	FAULT_IOMMU,     /* the IOMMU could not read its own tables, or is in trouble */
	FAULT_ODD,       /* none of these */
	FAULT_REQUEST,   /* the host wants the device back */
	FAULT_LINK,      /* its link is down, or it was pulled out */
	FAULT_DEAD,      /* it does not answer any more */
	FAULT_ERROR,     /* its error counters have to be looked at */
	FAULT_FATAL,     /* an error that no counter has: it cannot be asked any more */
	FAULT_KINDS
};

/* The code of each kind, whose page explains it: "FAULT-UNMAPPED". */
extern const char *const fault_kind_codes[FAULT_KINDS];

enum fault_access { FAULT_ACCESS_UNKNOWN, FAULT_READ, FAULT_WRITE, FAULT_EXECUTE, FAULT_ACCESSES };

extern const char *const fault_access_names[FAULT_ACCESSES]; /* "unknown", "read", ... */

#define FAULT_REASON_MAX 160
#define FAULT_RAW_MAX    4

struct fault {
	enum fault_source source;
	enum fault_kind kind;
	char unit[40];   /* of the IOMMU: "9050000.smmuv3"; "" where the line does not say */
	bool has_device; /* what made it, as requester; domain_given: the line has its segment, too */
	struct pci_addr device;
	bool has_stream; /* the IOMMU's name of it: StreamID, endpoint */
	uint32_t stream;
	bool has_iova;
	uint64_t iova;
	bool has_pasid;
	uint32_t pasid;
	enum fault_access access;
	char reason[FAULT_REASON_MAX]; /* a sentence without its end */
	uint64_t raw[FAULT_RAW_MAX];   /* what the hardware wrote, as far as the line has it */
	unsigned int raw_count;
};

enum fault_line {
	FAULT_LINE_NONE,       /* about something else */
	FAULT_LINE_PART,       /* there is more to come before it is a fault */
	FAULT_LINE_FAULT,      /* *f is one */
	FAULT_LINE_SUPPRESSED, /* f->source had more, which were left out: f->raw[0] of them */
};

/* What is read of a fault that takes several lines; zeroed before the first. */
struct fault_reader {
	struct fault event;
	unsigned int words; /* of it, so far */
	bool is_open;
};

/* Reads one line, without its end; *f is set as the answer says. */
enum fault_line fault_read_line(struct fault_reader *r, const char *line, struct fault *f);
