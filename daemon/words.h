/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The words that a VMM (QEMU) needs on its command line for an attachment. */
#pragma once

#include "daemon/registry.h"

/* Descriptors that the VMM is started with, by their numbers there. */
struct words_fds {
	int iommufd;
	int functions[1 + ATTACHMENT_MAX_COMPANIONS]; /* the device, then its companions */
};

typedef void words_fn(void *arg, const char *word);

/*
 * Calls put() for each word: "-device", "vfio-pci,host=0000:41:00.0". With `fds` (passthrough, on a
 * kernel with a node of its own for each function; else NULL) the VMM opens nothing itself.
 */
void attachment_words(const struct registry *r, const struct attachment *a,
	const struct words_fds *fds, words_fn *put, void *arg);
