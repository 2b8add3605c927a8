/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What hands do for bindings (daemon/binding_works.c); the first word is the system root. */
#pragma once

#include "lib/iommu/bind.h"

#define BINDING_WORK_LOOK "pci-look"
#define BINDING_WORK_MAKE "pci-make"

/* "" as a word, and back: an empty one would be lost on whoever reads a list of processes. */
const char *binding_word(const char *name);

/* pci-look ROOT ID DRIVER */
struct binding_look {
	struct bind_state now;
	char driver[BIND_DRIVER_MAX]; /* that DRIVER comes to for this device */
};

int binding_work_look(char **words, void *result, int *fd, struct err *e);

/* pci-make ROOT ID FROM DRIVER OVERRIDE; no result. FROM, which it has now, is for who looks at a hand
 * that is stuck. */
int binding_work_make(char **words, void *result, int *fd, struct err *e);
