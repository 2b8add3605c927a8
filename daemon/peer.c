/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/peer.h"

#include <errno.h>
#include <grp.h>
#include <limits.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "lib/cleanup.h"

gid_t peer_group(const char *name)
{
	struct group *group = name && *name ? getgrnam(name) : NULL;

	return group ? group->gr_gid : PEER_NO_GROUP;
}

static bool peer_list_has(const gid_t *gids, size_t count, gid_t gid)
{
	for (size_t i = 0; i < count; i++)
		if (gids[i] == gid)
			return true;
	return false;
}

/* Supplementary groups, as they were when the peer connected. An unreadable list is an empty one.
 */
static bool peer_has_group(int fd, gid_t gid)
{
	socklen_t size = NGROUPS_MAX * sizeof(gid_t);
	auto_free gid_t *gids = malloc(size);

	if (!gids || getsockopt(fd, SOL_SOCKET, SO_PEERGROUPS, gids, &size) < 0)
		return false;
	return peer_list_has(gids, size / sizeof(gid_t), gid);
}

int peer_identify(int fd, gid_t group, struct request_peer *peer, struct err *e)
{
	struct ucred cred;
	socklen_t size = sizeof(cred);

	*peer = (struct request_peer){.role = ROLE_NONE};
	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &cred, &size) < 0)
		return err_sys(e, errno, "ask who a client is");
	peer->uid = cred.uid;
	peer->pid = cred.pid;
	if (cred.uid == 0 || cred.uid == geteuid())
		peer->role = ROLE_CHANGE;
	else if (group != PEER_NO_GROUP && (cred.gid == group || peer_has_group(fd, group)))
		peer->role = ROLE_READ;
	return 0;
}
