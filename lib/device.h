/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The facts about one device, as /sys has them: a PCI function, a network interface, a block
 * device or partition; or an image file, or an NBD volume. Facts only: who uses a device and what iovd may do with
 * it is decided above (daemon/inventory, daemon/host_use). Reading one device takes tens of small
 * reads and never opens the device itself.
 *
 * Attributes whose reading waits for the device's lock (driver_override, sriov_numvfs, ...) are
 * left alone: a driver that hangs in its own probe must not make us hang with it.
 */
#pragma once

#include <limits.h>
#include <sys/types.h>

#include "lib/err.h"
#include "lib/pci.h"
#include "lib/sysfs.h"

#define DEVICE_NAME_MAX   40 /* of what is in /sys: the kernel's own limits are 16 to 32 */
#define DEVICE_DRIVER_MAX 32
#define DEVICE_MAX_LOWER  4096

enum device_class {
	DEVICE_PCI,
	DEVICE_NET,
	DEVICE_BLOCK,
	DEVICE_FILE,
	DEVICE_NBD,
	DEVICE_CLASS_COUNT
};

/* "pci", "net", "block", "file", "nbd". */
extern const char *const device_class_names[DEVICE_CLASS_COUNT];

/* False if there is no such class. */
bool device_class_by_name(const char *name, enum device_class *class);

/* One device named by another. Within a class names are unique. */
struct device_ref {
	enum device_class class;
	char id[DEVICE_NAME_MAX];
};

struct device_pci {
	uint16_t vendor, device, sub_vendor, sub_device;
	uint32_t class_code; /* 0x020000 */
	bool is_bridge;
	uint64_t sriov_total; /* VFs the function could have; 0 if it cannot */
	uint64_t sriov_count; /* VFs it has */
	char physfn[PCI_ADDR_MAX];
	char iommu[DEVICE_NAME_MAX]; /* "dmar0" */
	char reset_methods[64];      /* "flr bus" */
};

struct device_net {
	char mac[64]; /* InfiniBand's has 20 bytes */
	char operstate[16];
	char kind[16]; /* "bridge", "bond", "vlan", ...; "" for a plain one */
	char master[DEVICE_NAME_MAX];
	uint64_t ifindex;
};

struct device_block {
	dev_t number;
	uint64_t size_bytes;
	uint64_t logical_block_bytes;
	uint64_t partition; /* its number; 0 for a whole disk */
	bool read_only, rotational, removable;
	char disk[DEVICE_NAME_MAX]; /* of a partition */
	char wwid[128];
	char serial[128];
	bool is_identified;       /* it, or the disk that it is a part of, has a wwid */
	char *loop_file;          /* what a loop device shows, or NULL */
	struct name_list holders; /* block devices that the kernel built on this one */
};

struct device_file {
	dev_t fs;
	ino_t inode;
	uint64_t size_bytes;
};

/* Its size is the server's to say, to whoever opens it. */
struct device_nbd {
	uint64_t size_bytes; /* as it was when it was attached; 0: not known */
};

struct device {
	enum device_class class;
	char *id;      /* 0000:41:00.0, eth1, nvme0n1, the absolute path of a file, nbd://... */
	char *name;    /* for people; NULL if nobody knows one */
	char *syspath; /* "sys/devices/..."; NULL for files and NBD volumes */
	char driver[DEVICE_DRIVER_MAX];
	char fingerprint[33];           /* the same as long as it is the same device */
	char parent[DEVICE_NAME_MAX];   /* a partition's disk, else the PCI function above; or "" */
	int64_t iommu_group, numa_node; /* -1: none */

	/*
	 * What this device stands on: a partition on its disk, a volume on its disks, a bridge
	 * on its ports, an interface or disk on its PCI function, a VF on its PF. Whoever uses
	 * this device uses those, too.
	 */
	struct device_ref *lower;
	size_t lower_count;

	union {
		struct device_pci pci;
		struct device_net net;
		struct device_block block;
		struct device_file file;
		struct device_nbd nbd;
	};
};

/* Where devices of a class are listed: "sys/bus/pci/devices"; NULL for files and NBD volumes. */
const char *device_class_dir(enum device_class class);

/*
 * Reads one device; NULL with e set: ERR_NOT_FOUND (code "DEV-GONE") if it is not there (any
 * more), ERR_FAILED if what is there makes no sense. `names` may be NULL.
 */
struct device *device_read(const struct sysroot *root, enum device_class class, const char *id,
	struct pci_names *names, struct err *e);

/* --- image files (lib/device_file.c): of the machine we run on, a sysroot does not apply ------- */

/* What a path leads to. Plain data: a hand's answer. */
struct file_facts {
	uint64_t fs, inode, number; /* the last of a block device */
	uint64_t size_bytes;
	bool is_regular, is_block;
};

/* All links followed. 0 or -errno. May wait for a server for ever: for hands. */
int file_look(const char *path, char real[static PATH_MAX], struct file_facts *facts);

/* What the kernel knows without asking anybody; -EAGAIN where it would have to. Never waits. */
int file_look_now(const char *path, struct file_facts *facts);

/*
 * The volume that an NBD URI names, in the one way to write it: nobody is asked. `size_bytes` is what
 * is known of it, or 0. NULL with e set.
 */
struct device *device_of_nbd(const char *name, uint64_t size_bytes, struct err *e);

/* `path` is absolute. NULL with e set. */
struct device *device_of_file(const char *path, const struct file_facts *facts, struct err *e);

/* What the kernel itself does for a volume (lib/device_redundancy.c): how many members or paths. */
enum device_redundancy_kind {
	REDUNDANCY_NONE,
	REDUNDANCY_MIRROR,
	REDUNDANCY_RAID, /* of which level is not known, or one with parity */
	REDUNDANCY_MULTIPATH,
	REDUNDANCIES
};

extern const char *const device_redundancy_names[REDUNDANCIES];

struct device_redundancy {
	enum device_redundancy_kind kind;
	unsigned int count;
};

void device_redundancy_read(
	const struct sysroot *root, const struct device *d, struct device_redundancy *r);

void device_free(struct device *d);

static inline void device_free_p(struct device **d)
{
	device_free(*d);
}
#define auto_device __attribute__((cleanup(device_free_p)))

/* What is given to a VM's worker to open: "/dev/sda", "/srv/disk.img", "nbd://..."; "" if there is no such. */
void device_node_path(const struct device *d, char *path, size_t size);

/* d is an image file, and `path` leads to the same file, as far as can be seen without waiting. */
bool device_is_file(const struct device *d, const char *path);

/*
 * Whether somebody holds the block device at `path` for himself, as mounts and arrays do. Looks by
 * trying to be that one, for a moment.
 */
bool device_is_claimed(const char *path);
