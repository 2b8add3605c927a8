/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/tap_node.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <linux/sockios.h>
#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "daemon/registry.h"
#include "lib/cleanup.h"
#include "lib/crc32c.h"
#include "lib/fdio.h"

/* Newer than the headers of Debian 12. */
#ifndef TUN_F_USO4
#define TUN_F_USO4 0x20
#define TUN_F_USO6 0x40
#endif

#define PREFIX "tap:"

bool tap_node_is(const char *node)
{
	return strncmp(node, PREFIX, strlen(PREFIX)) == 0;
}

void tap_node_write(char *node, size_t size, const char *bridge, unsigned int queues)
{
	snprintf(node, size, PREFIX "%u:%s", queues, bridge);
}

/* One queue; `ifr` has the name that the kernel gave with the first one. */
static int open_queue(struct ifreq *ifr, struct err *e)
{
	auto_close int fd = open("/dev/net/tun", O_RDWR | O_CLOEXEC | O_NONBLOCK);

	if (fd < 0)
		return err_sys(e, errno, "open /dev/net/tun");
	ifr->ifr_flags = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR | IFF_MULTI_QUEUE;
	if (ioctl(fd, TUNSETIFF, ifr) < 0)
		return err_sys(e, errno, "make a tap");
	return steal_fd(&fd);
}

static int ask(int sock, unsigned long request, struct ifreq *ifr, const char *what, struct err *e)
{
	return ioctl(sock, request, ifr) < 0 ? err_sys(e, errno, "%s %s", what, ifr->ifr_name) : 0;
}

/* A bridge takes the lowest address of its ports: not this one, which would go with the guest. */
static int set_highest(int sock, struct ifreq *port, struct err *e)
{
	if (ask(sock, SIOCGIFHWADDR, port, "look at", e) < 0)
		return -1;
	port->ifr_hwaddr.sa_data[0] = (char)0xfe;
	return ask(sock, SIOCSIFHWADDR, port, "set the address of", e);
}

/* Into the bridge, with its MTU, and up. Gone with its last descriptor, whatever fails. */
static int join(const char *bridge, const char *tap, struct tap_node_facts *facts, struct err *e)
{
	auto_close int sock = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	struct ifreq ifr = {0}, port = {0};

	str_copy(ifr.ifr_name, sizeof(ifr.ifr_name), bridge);
	str_copy(port.ifr_name, sizeof(port.ifr_name), tap);
	if (sock < 0)
		return err_sys(e, errno, "socket");
	if (ask(sock, SIOCGIFMTU, &ifr, "look at", e) < 0)
		return -1;
	port.ifr_mtu = ifr.ifr_mtu;
	facts->mtu = (uint16_t)MIN(ifr.ifr_mtu, UINT16_MAX);
	if (ask(sock, SIOCSIFMTU, &port, "set the MTU of", e) < 0)
		return -1;
	if (set_highest(sock, &port, e) < 0)
		return -1;
	ifr.ifr_ifindex = (int)if_nametoindex(tap);
	if (ask(sock, SIOCBRADDIF, &ifr, "give a port to", e) < 0)
		return -1;
	if (ask(sock, SIOCGIFFLAGS, &port, "look at", e) < 0)
		return -1;
	port.ifr_flags |= IFF_UP;
	return ask(sock, SIOCSIFFLAGS, &port, "bring up", e);
}

/* Not in use, a queue takes nothing: else its guest would first get what was for nobody. */
static int rest(int fd, struct tap_node_facts *facts, struct err *e)
{
	unsigned long uso = TUN_F_CSUM | TUN_F_USO4 | TUN_F_USO6;
	struct ifreq ifr = {.ifr_flags = IFF_DETACH_QUEUE};

	facts->can_uso = ioctl(fd, TUNSETOFFLOAD, uso) == 0;
	if (ioctl(fd, TUNSETOFFLOAD, 0ul) < 0 || ioctl(fd, TUNSETQUEUE, &ifr) < 0)
		return err_sys(e, errno, "a queue of the tap");
	return 0;
}

static int pack(const int *fds, unsigned int count, int *box, struct err *e)
{
	int pair[2], rc;

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
		return err_sys(e, errno, "socket");
	rc = fdio_send(pair[0], "", 1, fds, count);
	close(pair[0]);
	*box = pair[1];
	return rc < 0 ? err_sys(e, -rc, "hand over the tap") : 0;
}

int tap_node_make(const char *node, struct tap_node_facts *facts, int *box, struct err *e)
{
	char *bridge;
	unsigned long queues = strtoul(node + strlen(PREFIX), &bridge, 10);
	struct ifreq ifr = {.ifr_name = "iovt%d"};
	int fds[TAP_NODE_QUEUES_MAX], rc = 0;
	unsigned int count = 0;

	if (*bridge++ != ':' || !queues || queues > TAP_NODE_QUEUES_MAX)
		return err_set(e, ERR_FAILED, "NET-TAP", "%s is no tap", node);
	while (count < queues && rc == 0) {
		fds[count] = open_queue(&ifr, e);
		rc = fds[count] < 0 ? -1 : 0;
		count += rc == 0;
	}
	if (rc == 0)
		rc = join(bridge, ifr.ifr_name, facts, e);
	for (unsigned int i = 0; i < count && rc == 0; i++)
		rc = rest(fds[i], facts, e);
	if (rc == 0)
		rc = pack(fds, count, box, e);
	while (count > 1 || (count && rc < 0))
		close(fds[--count]);
	return rc < 0 ? -1 : fds[0];
}

int tap_node_unpack(int box, int fds[TAP_NODE_QUEUES_MAX], struct err *e)
{
	auto_close int owned = box;
	struct fdio_msg m;
	char byte;
	int rc = fdio_recv(owned, &byte, sizeof(byte), MSG_DONTWAIT, &m);

	if (rc < 0 || !m.fd_count)
		return err_set(e, ERR_FAILED, "NET-TAP", "a tap was made, and did not arrive");
	memcpy(fds, m.fds, m.fd_count * sizeof(m.fds[0]));
	return (int)m.fd_count;
}

void tap_node_mac(const struct attachment_spec *spec, char text[18])
{
	uint32_t vm = crc32c(0, spec->vm, strlen(spec->vm));
	uint32_t both = crc32c(vm, spec->name, strlen(spec->name));

	/* Of those that are given out locally, to one. */
	if (!vf_settings_value(&spec->vf.settings, VF_MAC, text, 18))
		snprintf(text, 18, "52:%02x:%02x:%02x:%02x:%02x", vm & 0xff, both >> 24,
			both >> 16 & 0xff, both >> 8 & 0xff, both & 0xff);
}
