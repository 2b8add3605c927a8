/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "tests/unit/keeper_standin.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "daemon/keeper_proto.h"
#include "lib/backends/vault.h"
#include "lib/cleanup.h"
#include "lib/fdio.h"

/* --- the worker's stand-in -------------------------------------------------------------------- */

static struct vault_fds {
	int fd[VAULT_SLOTS];
} slots;
static int control = KEEPER_FD_CONTROL;
static struct keeper_msg hello;

static void worker_send(enum keeper_msg_type type, uint32_t slot, uint64_t value, int fd)
{
	struct keeper_msg msg = {
		.version = KEEPER_PROTO_VERSION, .type = type, .slot = slot, .value = value};

	if (type == KEEPER_MSG_ADOPTED) {
		msg.cookie = KEEPER_FD_RING;
		msg.ring_params = hello.ring_params;
	}
	if (fdio_send(control, &msg, sizeof(msg), &fd, fd >= 0 ? 1 : 0) < 0)
		_exit(3);
}

static int worker_recv(struct keeper_msg *msg)
{
	struct fdio_msg in;

	if (fdio_recv(control, msg, sizeof(*msg), 0, &in) < 0 || in.len != sizeof(*msg))
		return -2;
	return in.fd_count ? in.fds[0] : -1;
}

static void worker_put(unsigned int slot, int fd)
{
	struct keeper_msg ack;

	worker_send(KEEPER_MSG_PUT, slot, 0, fd);
	if (worker_recv(&ack) != -1 || ack.type != KEEPER_MSG_ACK)
		_exit(4);
}

static void worker_note_fds(struct standin_page *page)
{
	for (int fd = 0; fd < 1024; fd++) {
		if (fcntl(fd, F_GETFD) < 0)
			continue;
		if (fd < 32)
			page->open_fds |= 1u << fd;
		else
			page->more_fds++;
	}
}

static void worker_obey(struct standin_page *page, const struct keeper_msg *msg)
{
	int fd;

	switch (msg->code) {
	case ORDER_PUT:
		fd = memfd_create("put", MFD_CLOEXEC);
		slots.fd[msg->value] = fd;
		worker_put((unsigned int)msg->value, fd);
		break;
	case ORDER_DROP:
		worker_send(KEEPER_MSG_DROP, (uint32_t)msg->value, 1, -1);
		break;
	case ORDER_DRAINED:
		worker_send(KEEPER_MSG_DRAINED, 0, 0, -1);
		break;
	case ORDER_NOTE:
		worker_send(KEEPER_MSG_NOTE, 0, 0, -1);
		break;
	case ORDER_NONSENSE:
		worker_send(KEEPER_MSG_DROP, 1, VAULT_SLOTS, -1);
		break;
	}
	page->last_done = msg->code;
}

/* The keeper may go: then wait for another. */
static void worker_serve(struct standin_page *page)
{
	for (;;) {
		struct pollfd p[2] = {{.fd = control, .events = POLLIN},
			{.fd = slots.fd[VAULT_ADOPT], .events = POLLIN}};
		struct keeper_msg msg;

		poll(p, 2, -1);
		if (p[0].revents) {
			if (worker_recv(&msg) == -2)
				close_fd(&control);
			else if (msg.type == KEEPER_MSG_TELL)
				worker_obey(page, &msg);
		} else if (p[1].revents) {
			close_fd(&control);
			control = accept(slots.fd[VAULT_ADOPT], NULL, NULL);
			worker_send(KEEPER_MSG_ADOPTED, 0, page->generation, -1);
			for (unsigned int i = 0; i < VAULT_SLOTS; i++)
				if (slots.fd[i] >= 0)
					worker_put(i, slots.fd[i]);
			worker_send(KEEPER_MSG_READY, 0, 0, -1);
		}
	}
}

int standin_worker(int argc, char **argv)
{
	static uint32_t open_fds, more_fds;
	struct standin_page first = {0};
	struct standin_page *page;
	struct keeper_msg msg;

	worker_note_fds(&first);
	open_fds = first.open_fds, more_fds = first.more_fds;
	memset(&slots, -1, sizeof(slots));
	for (;;) {
		int fd = worker_recv(&msg);

		if (fd == -2)
			return 5;
		if (msg.type == KEEPER_MSG_GO)
			break;
		if (msg.type == KEEPER_MSG_HELLO)
			hello = msg;
		else
			slots.fd[msg.slot] = fd, first.filled_slots++;
	}
	page = mmap(NULL, STANDIN_PAGE_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED,
		slots.fd[VAULT_PAGE], 0);
	if (page == MAP_FAILED)
		return 6;
	memset(page, 0, sizeof(*page));
	page->open_fds = open_fds, page->more_fds = more_fds;
	page->filled_slots = first.filled_slots;
	page->entries = hello.ring_params.sq_entries;
	page->generation = hello.value;
	for (int i = 1; i < argc; i++) {
		size_t len = strlen(page->words);

		if (strncmp(argv[i], "--old-ring-fd", 13) == 0)
			page->old_entries = hello.old_ring_params.sq_entries;
		snprintf(page->words + len, sizeof(page->words) - len, "%s ", argv[i]);
	}
	worker_send(KEEPER_MSG_READY, 0, 0, -1);
	worker_serve(page);
	return 0;
}

int standin_daemon(int argc, char **argv)
{
	struct sockaddr_un addr = {.sun_family = AF_UNIX};
	int sock = socket(AF_UNIX, SOCK_STREAM, 0);
	const char *status = getenv(STANDIN_STATUS);
	int fd = -1;

	if (status)
		return atoi(status);
	for (int i = 1; i < argc; i++)
		sscanf(argv[i], "--keeper-fd=%d", &fd);
	str_copy(addr.sun_path, sizeof(addr.sun_path), getenv(STANDIN_SOCKET));
	if (fd < 0 || connect(sock, (struct sockaddr *)&addr, sizeof(addr)) < 0 ||
		fdio_send(sock, &(pid_t){getpid()}, sizeof(pid_t), &fd, 1) < 0)
		return 7;
	close(fd); /* the test has it now */
	for (;;)
		pause();
}
