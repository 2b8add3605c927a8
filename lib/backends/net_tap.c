/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Theory of operation. A frame is one system call: readv() and writev() move it between the kernel's
 * buffer and the guest's memory without a copy of ours. io_uring would hand each call to a thread of
 * the kernel, or have it in flight when we die; as it is, a call is over when the process is.
 *
 * A descriptor of a queue is shared by all generations of a worker, since it cannot be opened twice:
 * what one left (offloads, header, queues in use) the next finds, and sets again.
 *
 * A queue that nobody uses is detached: the kernel drops what comes for it, so that a guest's first
 * frame is none that was for whoever was there before. While all are, the tap can be asked and told
 * nothing; so what it is to be told is told again with each queue that comes into use.
 */
#include "lib/backends/net_tap.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <linux/virtio_net.h>
#include <net/if.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "lib/cleanup.h"
#include "lib/fdio.h"

/* Newer than the headers of Debian 12. */
#ifndef TUN_F_USO4
#define TUN_F_USO4 0x20
#define TUN_F_USO6 0x40
#endif

/* A macvtap's queues are opened by a node of its own, named by its index. */
static int open_node(const char *name, struct err *e)
{
	char path[64];
	unsigned int index = if_nametoindex(name);
	int fd;

	if (!index)
		return err_set(e, ERR_NOT_FOUND, "NET-TAP", "there is no interface %s", name);
	snprintf(path, sizeof(path), "/dev/tap%u", index);
	fd = open(path, O_RDWR | O_CLOEXEC | O_NONBLOCK);
	if (fd < 0 && errno == ENOENT) {
		str_copy(path, sizeof(path), "/dev/net/tun");
		fd = open(path, O_RDWR | O_CLOEXEC | O_NONBLOCK);
	}
	return fd < 0 ? err_sys(e, errno, "open %s", path) : fd;
}

static int open_queue(const char *name, bool several, struct err *e)
{
	auto_close int fd = open_node(name, e);
	struct ifreq ifr = {.ifr_flags = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR};

	if (fd < 0)
		return -1;
	if (several)
		ifr.ifr_flags |= IFF_MULTI_QUEUE;
	str_copy(ifr.ifr_name, sizeof(ifr.ifr_name), name);
	if (ioctl(fd, TUNSETIFF, &ifr) == 0)
		return steal_fd(&fd);
	if (errno == EINVAL && !several) /* it was made for several: one of them will do */
		return open_queue(name, true, e);
	err_sys(e, errno, "take a queue of %s", name);
	if (errno == EINVAL)
		return err_fix(e,
			"make it for several queues: ip tuntap add %s mode tap "
			"vnet_hdr multi_queue",
			name);
	return -1;
}

int net_tap_open(struct net_tap *tap, const char *name, uint16_t queues, struct err *e)
{
	int fds[NET_TAP_QUEUES_MAX];

	assert(queues >= 1 && queues <= NET_TAP_QUEUES_MAX);
	for (uint16_t i = 0; i < queues; i++) {
		fds[i] = open_queue(name, queues > 1, e);
		if (fds[i] < 0) {
			while (i-- > 0)
				close(fds[i]);
			return -1;
		}
	}
	return net_tap_adopt(tap, fds, queues, e);
}

static int use_queue(int fd, bool on)
{
	struct ifreq ifr = {.ifr_flags = on ? IFF_ATTACH_QUEUE : IFF_DETACH_QUEUE};

	return ioctl(fd, TUNSETQUEUE, &ifr);
}

static bool ask_uso(int fd)
{
	unsigned long uso = TUN_F_CSUM | TUN_F_USO4 | TUN_F_USO6;
	bool rested = use_queue(fd, true) == 0; /* else it was in use, and stays so */
	bool can = ioctl(fd, TUNSETOFFLOAD, uso) == 0;

	return rested && use_queue(fd, false) < 0 ? false : can;
}

int net_tap_adopt(struct net_tap *tap, const int *fds, uint16_t queues, struct err *e)
{
	int rc = 0;

	assert(queues >= 1 && queues <= NET_TAP_QUEUES_MAX);
	memset(tap, 0, sizeof(*tap));
	tap->queues = queues;
	memcpy(tap->fds, fds, queues * sizeof(fds[0]));
	for (uint16_t i = 0; i < queues && rc == 0; i++)
		rc = fdio_set_nonblock(fds[i], true);
	if (rc < 0) {
		net_tap_close(tap);
		return err_sys(e, -rc, "the tap");
	}
	tap->can_uso = ask_uso(fds[0]);
	return 0;
}

void net_tap_close(struct net_tap *tap)
{
	for (uint16_t i = 0; i < tap->queues; i++)
		close_fd(&tap->fds[i]);
	tap->queues = 0;
}

int net_tap_watch(
	struct net_tap *tap, struct watch_loop *loop, watch_fn *fn, void *arg, struct err *e)
{
	for (uint16_t i = 0; i < tap->queues; i++) {
		tap->watches[i] =
			loop->ops->add_fd(loop, tap->fds[i], WATCH_READ | WATCH_EDGE, fn, arg, e);
		if (!tap->watches[i])
			return -1;
	}
	return 0;
}

static int tell_filter(const struct net_tap *tap, int fd)
{
	const struct tun_filter head = {.flags = TUN_FLT_ALLMULTI, .count = tap->is_filtered};
	uint8_t filter[sizeof(head) + sizeof(tap->mac)]; /* addresses follow the head */

	memcpy(filter, &head, sizeof(head));
	memcpy(filter + sizeof(head), tap->mac, sizeof(tap->mac));
	return ioctl(fd, TUNSETTXFILTER, filter);
}

/* By a queue that rests nothing is told; nor where there is no tap at all, as in tests. */
static void tell(const struct net_tap *tap, uint16_t queue)
{
	if (tap->header_bytes && ioctl(tap->fds[queue], TUNSETVNETHDRSZ, &tap->header_bytes) < 0)
		return;
	if (ioctl(tap->fds[queue], TUNSETOFFLOAD, (unsigned long)tap->offload) < 0)
		return; /* none is ever left to the guest then: right, if slow */
	if (tell_filter(tap, tap->fds[queue]) < 0)
		return; /* a macvtap, which gets no others */
}

void net_tap_filter(struct net_tap *tap, const uint8_t mac[6])
{
	tap->is_filtered = true;
	memcpy(tap->mac, mac, sizeof(tap->mac));
}

void net_tap_set_offload(struct net_tap *tap, uint64_t features)
{
	static const struct {
		unsigned int bit, flag;
	} offloads[] = {
		{VIRTIO_NET_F_GUEST_CSUM, TUN_F_CSUM},
		{VIRTIO_NET_F_GUEST_TSO4, TUN_F_TSO4},
		{VIRTIO_NET_F_GUEST_TSO6, TUN_F_TSO6},
		{VIRTIO_NET_F_GUEST_ECN, TUN_F_TSO_ECN},
		{VIRTIO_NET_F_GUEST_USO4, TUN_F_USO4},
		{VIRTIO_NET_F_GUEST_USO6, TUN_F_USO6},
	};
	unsigned int flags = 0;

	for (size_t i = 0; i < ARRAY_SIZE(offloads); i++)
		if (features & 1ull << offloads[i].bit)
			flags |= offloads[i].flag;
	if (!(flags & TUN_F_CSUM)) /* without it the kernel has to do all of them */
		flags = 0;
	tap->offload = flags;
	tell(tap, 0);
}

void net_tap_set_header(struct net_tap *tap, int header_bytes)
{
	tap->header_bytes = header_bytes;
	for (uint16_t i = 0; i < tap->queues; i++)
		tell(tap, i);
}

void net_tap_use_queue(struct net_tap *tap, uint16_t queue, bool on)
{
	if (queue >= tap->queues)
		return;
	if (use_queue(tap->fds[queue], on) == 0 && on) /* else it is so already, or cannot rest */
		tell(tap, queue);
}

ssize_t net_tap_read(struct net_tap *tap, uint16_t queue, const struct iovec *iov, int count)
{
	ssize_t n;

	do {
		n = readv(tap->fds[queue], iov, count);
	} while (n < 0 && errno == EINTR);
	return n < 0 ? -errno : n;
}

int net_tap_write(struct net_tap *tap, uint16_t queue, const struct iovec *iov, int count)
{
	ssize_t n;

	do {
		n = writev(tap->fds[queue], iov, count);
	} while (n < 0 && errno == EINTR);
	return n < 0 ? -errno : 0;
}
