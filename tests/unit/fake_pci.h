/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A tree of PCI functions, drivers and IOMMU groups that does what the kernel does when something is
 * written to it: a program that links this one has its sysfs_write_text(). What the kernel would
 * remember is in files, so that hands (processes) of the same program see the same.
 */
#pragma once

#include "lib/sysfs.h"

/* An empty tree (tests/unit/tree.h); its root. */
const char *fake_pci_new(void);

/* A function, of a group if that is not negative; with the driver, if that is not NULL. */
void fake_pci_add(const char *id, int group, const char *driver);
void fake_pci_remove(const char *id);

/* Its group comes with its next driver only, as on kernels that make groups when drivers probe. */
void fake_pci_group_later(const char *id, int group);

/* Another driver gets it, without anybody being asked. */
void fake_pci_rebind(const char *id, const char *driver);

/* A driver that is there; `id`: of a device whose kind is in its table, or NULL. */
void fake_pci_driver(const char *driver, const char *id);

/* That driver fails to take a device, as probe would with this error / does not let go of one. */
void fake_pci_refuses(const char *driver, int error);
void fake_pci_keeps(const char *driver);

/* That driver hangs in unbind, until the process is killed. */
void fake_pci_hangs(const char *driver);

/*
 * That function can have `total` VFs, but fails with ENOMEM for more than `room`. Each birth goes to
 * the VFs' host driver "vfdrv" if drivers are let have them.
 */
void fake_pci_sriov(const char *pf, unsigned int total, unsigned int room);

/* An attribute of a function, as text. */
const char *fake_pci_attr(const char *id, const char *attr);

/* What it has now; "" for none. */
const char *fake_pci_driver_of(const char *id);
const char *fake_pci_override_of(const char *id);

/* What was written since the last call: "0000:01:00.0/driver_override=vfio-pci\n...". */
const char *fake_pci_log(void);

/* After this many more writes, the writing process dies at the next one. Negative: never. */
void fake_pci_dies_after(int writes);
