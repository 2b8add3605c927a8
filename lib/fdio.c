/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "lib/fdio.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "lib/cleanup.h"

/* Room for more descriptors than a message may have, so that an overlong one is seen whole. */
#define CONTROL_FDS 32

void fdio_msg_close(struct fdio_msg *msg)
{
	for (unsigned int i = 0; i < msg->fd_count; i++)
		close_fd(&msg->fds[i]);
	msg->fd_count = 0;
}

static void fdio_take_fds(struct fdio_msg *msg, const struct cmsghdr *c)
{
	size_t count = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);

	for (size_t i = 0; i < count; i++) {
		int fd;

		memcpy(&fd, CMSG_DATA(c) + i * sizeof(int), sizeof(fd));
		if (msg->fd_count < FDIO_MAX_FDS) {
			msg->fds[msg->fd_count++] = fd;
		} else {
			msg->truncated = true;
			close(fd);
		}
	}
}

int fdio_recv(int sock, void *data, size_t size, int flags, struct fdio_msg *msg)
{
	union {
		char bytes[CMSG_SPACE(sizeof(int) * CONTROL_FDS)];
		struct cmsghdr align;
	} control;
	struct iovec iov = {.iov_base = data, .iov_len = size};
	struct msghdr mh = {
		.msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = control.bytes,
		.msg_controllen = sizeof(control.bytes),
	};

	*msg = (struct fdio_msg){0};
	do {
		msg->len = recvmsg(sock, &mh, flags | MSG_CMSG_CLOEXEC);
	} while (msg->len < 0 && errno == EINTR);
	if (msg->len < 0)
		return -errno;
	msg->truncated = mh.msg_flags & (MSG_CTRUNC | MSG_TRUNC);
	for (struct cmsghdr *c = CMSG_FIRSTHDR(&mh); c; c = CMSG_NXTHDR(&mh, c))
		if (c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_RIGHTS)
			fdio_take_fds(msg, c);
	return 0;
}

/* As fdio_write_all(), for a socket: a peer that is gone is an error, never a signal. */
static int fdio_send_bytes(int sock, const char *data, size_t len)
{
	while (len) {
		ssize_t n = send(sock, data, len, MSG_NOSIGNAL);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		data += n;
		len -= (size_t)n;
	}
	return 0;
}

/* Bytes sent, or -errno. */
static ssize_t fdio_sendmsg(
	int sock, const void *data, size_t len, const int *fds, unsigned int fd_count, int flags)
{
	union {
		char bytes[CMSG_SPACE(sizeof(int) * FDIO_MAX_FDS)];
		struct cmsghdr align;
	} control = {0};
	struct iovec iov = {.iov_base = (void *)data, .iov_len = len};
	struct msghdr mh = {.msg_iov = &iov, .msg_iovlen = 1};
	ssize_t sent;

	assert(fd_count <= FDIO_MAX_FDS);
	if (fd_count) {
		struct cmsghdr *c = &control.align;

		mh.msg_control = control.bytes;
		mh.msg_controllen = CMSG_SPACE(sizeof(int) * fd_count);
		c->cmsg_level = SOL_SOCKET;
		c->cmsg_type = SCM_RIGHTS;
		c->cmsg_len = CMSG_LEN(sizeof(int) * fd_count);
		memcpy(CMSG_DATA(c), fds, sizeof(int) * fd_count);
	}
	do {
		sent = sendmsg(sock, &mh, flags | MSG_NOSIGNAL);
	} while (sent < 0 && errno == EINTR);
	return sent < 0 ? -errno : sent;
}

ssize_t fdio_send_some(
	int sock, const void *data, size_t len, const int *fds, unsigned int fd_count)
{
	return fdio_sendmsg(sock, data, len, fds, fd_count, MSG_DONTWAIT);
}

int fdio_send(int sock, const void *data, size_t len, const int *fds, unsigned int fd_count)
{
	ssize_t sent = fdio_sendmsg(sock, data, len, fds, fd_count, 0);

	if (sent < 0)
		return (int)sent;
	/* A stream socket may take less: the descriptors have left with the first byte. */
	return fdio_send_bytes(sock, (const char *)data + sent, len - (size_t)sent);
}

int fdio_write_all(int fd, const void *data, size_t len)
{
	const char *p = data;

	while (len) {
		ssize_t n = write(fd, p, len);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		p += n;
		len -= (size_t)n;
	}
	return 0;
}

ssize_t fdio_read_file(int dirfd, const char *path, char *data, size_t size)
{
	auto_close int fd = openat(dirfd, path, O_RDONLY | O_CLOEXEC);
	size_t len = 0;

	if (fd < 0)
		return -errno;
	for (;;) {
		ssize_t n = read(fd, data + len, size - len);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		if (n == 0)
			break;
		len += (size_t)n;
		if (len == size)
			return -EFBIG;
	}
	if (len && data[len - 1] == '\n')
		len--;
	data[len] = '\0';
	return (ssize_t)len;
}

int fdio_set_nonblock(int fd, bool on)
{
	int flags = fcntl(fd, F_GETFL);

	if (flags < 0)
		return -errno;
	flags = on ? flags | O_NONBLOCK : flags & ~O_NONBLOCK;
	return fcntl(fd, F_SETFL, flags) < 0 ? -errno : 0;
}

int fdio_sealed_memfd(const char *name, size_t len, struct err *e)
{
	auto_close int fd = memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING);

	if (fd < 0)
		return err_sys(e, errno, "memfd_create %s", name);
	if (ftruncate(fd, (off_t)len) < 0)
		return err_sys(e, errno, "memfd %s: set size %zu", name, len);
	if (fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) < 0)
		return err_sys(e, errno, "memfd %s: seal", name);
	return steal_fd(&fd);
}
