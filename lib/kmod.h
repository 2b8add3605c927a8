/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Kernel modules (the home of libkmod). May read much and block long: for hands. */
#pragma once

#include "lib/err.h"

/* One alias ("pci:v00008086d*...") of a module; strings are the caller's of this. */
typedef void kmod_alias_fn(void *arg, const char *module, const char *alias);

/*
 * Calls fn for every alias of every module that `alias` (a name as a device has it) leads to; none
 * is no error. `dir`: "/lib/modules/6.12.0", NULL for that of the running kernel.
 */
int kmod_each_alias(
	const char *dir, const char *alias, kmod_alias_fn *fn, void *arg, struct err *e);

/* Loads a module, with all it needs, as modprobe would. 0, also when it is there already. */
int kmod_load(const char *module, struct err *e);
