/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Who is at the other end of the control socket, as the kernel says. */
#pragma once

#include <sys/types.h>

#include "daemon/dispatch.h"

#define PEER_NO_GROUP ((gid_t)-1)

/* The group of this name; PEER_NO_GROUP if there is none (NULL and "" are no names). */
gid_t peer_group(const char *name);

/*
 * Credentials (SO_PEERCRED) and role of the peer of a connected socket: root and the daemon's own
 * user may change, members of `group` (SO_PEERGROUPS) may read, all others may nothing. 0 or -1.
 */
int peer_identify(int fd, gid_t group, struct request_peer *peer, struct err *e);
