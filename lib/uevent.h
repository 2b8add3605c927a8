/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Codec for the kernel's hot-plug messages: what lib/netlink.c receives. Pure. */
#pragma once

#include "lib/util.h"

enum uevent_action {
	UEVENT_ADD,
	UEVENT_REMOVE,
	UEVENT_CHANGE,
	UEVENT_MOVE, /* renamed: devpath is the new one, old_devpath the old */
	UEVENT_BIND, /* a driver took it */
	UEVENT_UNBIND,
	UEVENT_OTHER, /* online, offline, and what comes */
};

/* Strings point into the message. */
struct uevent {
	enum uevent_action action;
	const char *devpath;     /* "/devices/pci0000:00/..." */
	const char *old_devpath; /* NULL unless moved */
	const char *subsystem;   /* "pci", "net", "block", ... */
	const char *recovery;    /* from an error of PCI: "BEGIN_RECOVERY", ...; or NULL */
};

/*
 * Takes a message of `len` bytes apart: "ACTION@DEVPATH", then KEY=VALUE, each ended by a NUL. The
 * byte data[len] must be writable: the last string is terminated there. False if it is not a
 * message of the kernel, or lacks one of action, devpath and subsystem.
 */
bool uevent_parse(char *data, size_t len, struct uevent *event);

/* The last component of a devpath: a device's name. */
const char *uevent_name(const char *devpath);
