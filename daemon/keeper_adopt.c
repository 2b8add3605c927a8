/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * How a keeper finds the workers of an earlier one: each worker listens on R/keeper/ID.sock (a
 * folder for root only). Whoever is connected there becomes its keeper: it says ADOPTED, hands its
 * descriptors back by PUT, and ends with READY. Who it is comes from the kernel, with the message
 * (SCM_CREDENTIALS: SO_PEERCRED would name who made the listening socket); its ring is taken out of
 * it by pidfd_getfd(), since a ring cannot be sent.
 *
 * A worker may have been taken over by its guest, so what it hands back is kept for it and for its
 * successor, and never read here.
 */
#include "daemon/keeper.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include "lib/cleanup.h"
#include "lib/log.h"

static int adopt_address(
	const struct keeper *k, const char *id, struct sockaddr_un *addr, struct err *e)
{
	*addr = (struct sockaddr_un){.sun_family = AF_UNIX};
	if (snprintf(addr->sun_path, sizeof(addr->sun_path), "%s/%s.sock", k->adopt_dir, id) >=
		(int)sizeof(addr->sun_path))
		return err_set(e, ERR_REFUSED, "PATH-TOO-LONG",
			"%s/%s.sock is longer than a socket's path can be", k->adopt_dir, id);
	return 0;
}

static int adopt_socket(struct err *e)
{
	int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);

	return fd < 0 ? err_sys(e, errno, "socket") : fd;
}

int held_listen_adopt(struct held *h, struct err *e)
{
	auto_close int fd = adopt_socket(e);
	struct sockaddr_un addr;

	if (fd < 0 || adopt_address(h->keeper, h->id, &addr, e) < 0)
		return -1;
	unlink(addr.sun_path);
	if (bind(fd, (const struct sockaddr *)&addr, sizeof(addr)) < 0 || listen(fd, 1) < 0)
		return err_sys(e, errno, "listen on %s", addr.sun_path);
	held_set_slot(h, VAULT_ADOPT, steal_fd(&fd));
	return 0;
}

void held_unlink_adopt(struct held *h)
{
	struct sockaddr_un addr;

	if (adopt_address(h->keeper, h->id, &addr, NULL) == 0)
		unlink(addr.sun_path);
}

/* Connects, or finds that nobody lives there (1). */
static int adopt_connect(struct keeper *k, const char *id, int *connected, struct err *e)
{
	auto_close int fd = adopt_socket(e);
	struct sockaddr_un addr;
	int on = 1;

	if (fd < 0 || adopt_address(k, id, &addr, e) < 0)
		return -1;
	if (setsockopt(fd, SOL_SOCKET, SO_PASSCRED, &on, sizeof(on)) < 0)
		return err_sys(e, errno, "SO_PASSCRED");
	if (connect(fd, (const struct sockaddr *)&addr, sizeof(addr)) == 0) {
		*connected = steal_fd(&fd);
		return 0;
	}
	if (errno != ECONNREFUSED)
		return err_sys(e, errno, "connect to %s", addr.sun_path);
	unlink(addr.sun_path);
	return 1;
}

static int adopt_one(struct keeper *k, const char *id, struct err *e)
{
	struct held *h;
	int fd = -1, rc = adopt_connect(k, id, &fd, e);

	if (rc != 0)
		return rc;
	h = held_new(k, id, e);
	if (!h) {
		close(fd);
		return -1;
	}
	h->adopting = true;
	h->go_sent = true;
	if (held_watch_control(h, fd, e) < 0) {
		held_free(h);
		return -1;
	}
	return 0;
}

int keeper_adopt_all(struct keeper *k, struct err *e)
{
	auto_closedir DIR *dir = opendir(k->adopt_dir);
	struct dirent *entry;

	if (!dir)
		return err_sys(e, errno, "%s", k->adopt_dir);
	while ((entry = readdir(dir))) {
		char id[KEEPER_ID_SIZE] = "";
		size_t len = strlen(entry->d_name);
		struct err one = ERR_INIT;

		if (len <= 5 || len - 5 >= sizeof(id) ||
			strcmp(entry->d_name + len - 5, ".sock") != 0)
			continue;
		memcpy(id, entry->d_name, len - 5);
		if (keeper_id_is_valid(id) && adopt_one(k, id, &one) < 0)
			log_error("%s: not adopted: %s", id, one.msg);
	}
	return 0;
}

unsigned int keeper_adopting(const struct keeper *k)
{
	unsigned int count = 0;

	list_for_each (node, (struct list_node *)&k->workers)
		count += list_entry(node, struct held, node)->adopting;
	return count;
}

/* The first message of an adoption, with its sender's credentials from the kernel. */
static int adopt_recv(int sock, struct keeper_msg *msg, struct ucred *who, struct err *e)
{
	union {
		char bytes[CMSG_SPACE(sizeof(struct ucred)) + CMSG_SPACE(sizeof(int))];
		struct cmsghdr align;
	} control;
	struct iovec iov = {.iov_base = msg, .iov_len = sizeof(*msg)};
	struct msghdr mh = {
		.msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = control.bytes,
		.msg_controllen = sizeof(control.bytes),
	};
	ssize_t len = recvmsg(sock, &mh, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);

	/* An earlier keeper that is just going may have held the listening socket of a dead worker.
	 */
	if (len == 0 || (len < 0 && errno == ECONNRESET))
		return err_set(e, ERR_NOT_FOUND, "KEEPER", "nobody lives there any more");
	if (len < 0)
		return err_sys(e, errno, "receive");
	who->pid = 0;
	for (struct cmsghdr *c = CMSG_FIRSTHDR(&mh); c; c = CMSG_NXTHDR(&mh, c)) {
		int fd;

		if (c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_CREDENTIALS)
			memcpy(who, CMSG_DATA(c), sizeof(*who));
		if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
			continue;
		memcpy(&fd, CMSG_DATA(c), sizeof(fd)); /* there is room for one */
		close(fd);
	}
	if (len != sizeof(*msg) || msg->version != KEEPER_PROTO_VERSION ||
		msg->type != KEEPER_MSG_ADOPTED || who->pid <= 0)
		return err_set(e, ERR_FAILED, "KEEPER", "this is no worker that speaks version %u",
			KEEPER_PROTO_VERSION);
	return 0;
}

static bool fd_is_ring(int fd)
{
	char link[32], name[32] = "";

	snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
	return readlink(link, name, sizeof(name) - 1) > 0 &&
	       strcmp(name, "anon_inode:[io_uring]") == 0;
}

static int adopt_ring(struct held *h, int pidfd, const struct keeper_msg *msg, struct err *e)
{
	auto_close int fd = msg->cookie > INT32_MAX ? -1 : pidfd_getfd(pidfd, (int)msg->cookie, 0);

	if (fd < 0 || !fd_is_ring(fd))
		return err_set(e, ERR_FAILED, "KEEPER", "it names no ring of its own");
	h->ring.fd = steal_fd(&fd);
	h->ring.params = msg->ring_params;
	h->ring.generation = msg->value;
	return 0;
}

int held_take_adopted(struct held *h, struct err *e)
{
	struct keeper_msg msg;
	struct ucred who;
	auto_close int pidfd = -1;
	int off = 0;

	if (adopt_recv(h->control, &msg, &who, e) < 0)
		return -1;
	if (msg.value >= INT32_MAX) /* a generation per millisecond for three weeks */
		return err_set(e, ERR_FAILED, "KEEPER", "its generation cannot be");
	pidfd = pidfd_open(who.pid, 0);
	if (pidfd < 0)
		return err_sys(e, errno, "worker %d", (int)who.pid);
	if (adopt_ring(h, pidfd, &msg, e) < 0)
		return -1;
	setsockopt(h->control, SOL_SOCKET, SO_PASSCRED, &off, sizeof(off));
	h->item.generation = msg.value;
	h->item.exit_status = -1;
	return held_watch_pid(h, who.pid, steal_fd(&pidfd), e);
}
