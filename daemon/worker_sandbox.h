/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The box that a worker lives in: a user of its own, no capability, no new privileges, nobody to
 * look into its memory, and a short list of system calls, anything else ends the process.
 *
 * Not on the list: whatever opens (open, socket, connect, accept on anything not handed in is
 * harmless), starts (execve, fork), looks at or signals others (ptrace, kill), or makes an io_uring.
 * Mapping executable memory is not possible. What the ring may do is the ring's own restriction
 * (lib/backends/uring.h): a filter does not see it.
 */
#pragma once

#include "lib/err.h"

/* What its descriptors are beside the usual, which says what it may ask of them by ioctl(). */
enum worker_sandbox_for { WORKER_SANDBOX_DISK, WORKER_SANDBOX_TAP };

/*
 * Becomes `user` (NULL: stays who it is) when started as root, then drops what is left. With
 * `forgive` a forbidden call fails with EPERM and is logged by the kernel's audit instead of
 * ending the process: for finding out what a new environment needs, never for service.
 */
int worker_sandbox_enter(
	const char *user, enum worker_sandbox_for what, bool forgive, struct err *e);
