/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/worker_net.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "lib/cleanup.h"

/* The vault's stay the vault's. */
static int take_from_vault(const struct worker_args *args, const struct vault *vault,
	struct net_tap *tap, struct err *e)
{
	int fds[NET_TAP_QUEUES_MAX];
	uint16_t count;

	for (count = 0; count < args->queues; count++) {
		int fd = vault_fd(vault, VAULT_TAP0 + count);

		fds[count] = fd < 0 ? -1 : fcntl(fd, F_DUPFD_CLOEXEC, 0);
		if (fds[count] < 0)
			break;
	}
	if (count == args->queues)
		return net_tap_adopt(tap, fds, count, e);
	err_set(e, ERR_FAILED, "NET-TAP", "the vault has %u queues of the tap, not %u", count,
		args->queues);
	while (count > 0)
		close(fds[--count]);
	return -1;
}

int worker_net_tap(const struct worker_args *args, const struct vault *vault, struct net_tap *tap,
	struct err *e)
{
	if (vault)
		return take_from_vault(args, vault, tap, e);
	if (args->tap)
		return net_tap_open(tap, args->tap, args->queues, e);
	for (uint16_t i = 0; i < args->queues; i++)
		if (fcntl(args->tap_fds[i], F_SETFD, FD_CLOEXEC) < 0)
			return err_sys(e, errno, "--tap-fd=%d", args->tap_fds[i]);
	return net_tap_adopt(tap, args->tap_fds, args->queues, e);
}
