/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Theory of operation. A put is sent and its ACK waited for before the worker goes on: only then is
 * the descriptor safe, and what was said to the VMM about it true. Words from the daemon that come
 * in between are heard at once; all they do is set something to be done later.
 *
 * The keeper may end (an upgrade). Then the worker goes on by itself, keeping its descriptors, until
 * a new keeper connects to the adoption socket and is given all of them. Only root may: whoever
 * holds these descriptors holds the guest's memory.
 */
#include "daemon/worker_vault.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "lib/cleanup.h"
#include "lib/fdio.h"
#include "lib/log.h"

static void lose_keeper(struct worker_keeper *k)
{
	if (k->control < 0)
		return;
	log_debug("keeper", "the keeper has gone");
	if (k->control_watch)
		k->loop->ops->remove(k->control_watch);
	k->control_watch = NULL;
	close_fd(&k->control);
}

static int send_msg(struct worker_keeper *k, const struct keeper_msg *msg, int fd)
{
	int rc = fdio_send(k->control, msg, sizeof(*msg), &fd, fd >= 0 ? 1 : 0);

	if (rc < 0)
		lose_keeper(k);
	return rc;
}

/* One message with its descriptor (-1: none). 0, -EAGAIN, or -1 when the keeper is lost. */
static int recv_msg(struct worker_keeper *k, struct keeper_msg *msg, int *fd, int flags)
{
	struct fdio_msg m;
	int rc = fdio_recv(k->control, msg, sizeof(*msg), flags, &m);

	*fd = -1;
	if (rc == -EAGAIN)
		return rc;
	if (rc < 0 || m.len != sizeof(*msg) || m.truncated || m.fd_count > 1 ||
		msg->version != KEEPER_PROTO_VERSION) {
		fdio_msg_close(&m);
		lose_keeper(k);
		return -1;
	}
	if (m.fd_count == 1)
		*fd = m.fds[0];
	return 0;
}

static struct keeper_msg new_msg(enum keeper_msg_type type)
{
	return (struct keeper_msg){.version = KEEPER_PROTO_VERSION, .type = type};
}

static void hear(struct worker_keeper *k, const struct keeper_msg *msg)
{
	if (msg->type == KEEPER_MSG_TELL && k->told)
		k->told(k->arg, msg->code, msg->value);
}

/* Sends slot `slot` and waits for its ACK. A keeper lost meanwhile is no failure. */
static void put_and_wait(struct worker_keeper *k, unsigned int slot, int fd)
{
	struct keeper_msg msg = new_msg(KEEPER_MSG_PUT);
	uint64_t cookie = ++k->cookie;

	msg.slot = slot;
	msg.cookie = cookie;
	if (send_msg(k, &msg, fd) < 0)
		return;
	while (k->control >= 0) {
		auto_close int stray = -1;

		if (recv_msg(k, &msg, &stray, 0) < 0)
			return;
		if (msg.type == KEEPER_MSG_ACK && msg.cookie == cookie)
			return;
		hear(k, &msg);
	}
}

static int keeper_put(struct vault *vault, unsigned int slot, int fd, struct err *e)
{
	struct worker_keeper *k = container_of(vault, struct worker_keeper, vault);

	(void)e;
	if (k->control >= 0)
		put_and_wait(k, slot, fd);
	return 0;
}

static void keeper_drop(struct vault *vault, unsigned int first, unsigned int count)
{
	struct worker_keeper *k = container_of(vault, struct worker_keeper, vault);
	struct keeper_msg msg = new_msg(KEEPER_MSG_DROP);

	msg.slot = first;
	msg.value = count;
	if (k->control >= 0)
		send_msg(k, &msg, -1);
}

static const struct vault_ops keeper_ops = {
	.put = keeper_put,
	.drop = keeper_drop,
};

static int take_gift(struct worker_keeper *k, const struct keeper_msg *msg, int fd, struct err *e)
{
	if (msg->type != KEEPER_MSG_GIVE || msg->slot >= VAULT_SLOTS || fd < 0) {
		close_fd(&fd);
		return err_set(e, ERR_FAILED, "KEEPER", "an unexpected message %u from the keeper",
			msg->type);
	}
	close_fd(&k->vault.fds[msg->slot]);
	k->vault.fds[msg->slot] = fd;
	return 0;
}

int worker_keeper_meet(struct worker_keeper *k, int control_fd, struct err *e)
{
	bool greeted = false;

	vault_init(&k->vault, &keeper_ops);
	k->control = control_fd;
	for (;;) {
		struct keeper_msg msg;
		int fd;

		if (recv_msg(k, &msg, &fd, 0) < 0)
			return err_set(e, ERR_FAILED, "KEEPER", "the keeper left before GO");
		if (msg.type == KEEPER_MSG_GO && greeted)
			return 0;
		if (msg.type == KEEPER_MSG_HELLO && !greeted) {
			k->hello = msg;
			greeted = true;
		} else if (take_gift(k, &msg, fd, e) < 0) {
			return -1;
		}
	}
}

static void control_has_news(void *arg, unsigned int events)
{
	struct worker_keeper *k = arg;

	(void)events;
	for (;;) {
		auto_close int stray = -1;
		struct keeper_msg msg;

		if (k->control < 0 || recv_msg(k, &msg, &stray, MSG_DONTWAIT) < 0)
			return;
		hear(k, &msg);
	}
}

static int watch_control(struct worker_keeper *k, struct err *e)
{
	k->control_watch =
		k->loop->ops->add_fd(k->loop, k->control, WATCH_READ, control_has_news, k, e);
	return k->control_watch ? 0 : -1;
}

static bool is_root(int sock)
{
	struct ucred cred;
	socklen_t len = sizeof(cred);

	return getsockopt(sock, SOL_SOCKET, SO_PEERCRED, &cred, &len) == 0 && cred.uid == 0;
}

/* Gives a new keeper everything. */
static void adopt(struct worker_keeper *k, int sock)
{
	struct keeper_msg msg = new_msg(KEEPER_MSG_ADOPTED);
	struct err e = ERR_INIT;

	lose_keeper(k);
	k->control = sock;
	msg.value = k->hello.value;
	msg.cookie = KEEPER_FD_RING;
	msg.ring_params = k->hello.ring_params;
	send_msg(k, &msg, -1);
	for (unsigned int slot = 0; slot < VAULT_SLOTS && k->control >= 0; slot++)
		if (k->vault.fds[slot] >= 0)
			put_and_wait(k, slot, k->vault.fds[slot]);
	worker_keeper_send(k, KEEPER_MSG_READY, 0);
	if (k->control < 0)
		return;
	if (watch_control(k, &e) < 0)
		lose_keeper(k);
	else
		log_info("a new keeper has taken over");
}

static void adopter_knocks(void *arg, unsigned int events)
{
	struct worker_keeper *k = arg;
	int sock = accept4(vault_fd(&k->vault, VAULT_ADOPT), NULL, NULL, SOCK_CLOEXEC);

	(void)events;
	if (sock < 0)
		return;
	if (is_root(sock)) {
		adopt(k, sock);
	} else {
		log_warning("somebody who is not root wants to be our keeper: refused");
		close(sock);
	}
}

int worker_keeper_listen(struct worker_keeper *k, struct watch_loop *loop, struct err *e)
{
	int door = vault_fd(&k->vault, VAULT_ADOPT);

	k->loop = loop;
	if (door >= 0) {
		k->adopt_watch = loop->ops->add_fd(loop, door, WATCH_READ, adopter_knocks, k, e);
		if (!k->adopt_watch)
			return -1;
	}
	return k->control >= 0 ? watch_control(k, e) : 0;
}

void worker_keeper_send(struct worker_keeper *k, enum keeper_msg_type type, uint32_t code)
{
	struct keeper_msg msg = new_msg(type);

	msg.code = code;
	if (k->control >= 0)
		send_msg(k, &msg, -1);
}

void worker_keeper_failed(struct worker_keeper *k, const struct err *why)
{
	struct keeper_msg msg = new_msg(KEEPER_MSG_FAILED);

	str_copy(msg.text, sizeof(msg.text), why->msg);
	if (k->control >= 0)
		send_msg(k, &msg, -1);
}
