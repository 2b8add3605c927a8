/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The vault: a table of descriptors per attachment, filled by the daemon and by workers, given to
 * each new worker. And the end of a worker: what it sent before it died is still taken (a slot it
 * put or dropped, DRAINED), then its ring is set aside for its successor:
 *
 *	died before DRAINED	the old ring stays the old ring; its own was never used
 *	died after, or had none	its own ring becomes the old one
 */
#include "daemon/keeper.h"

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/socket.h>
#include <sys/wait.h>

#include "lib/cleanup.h"
#include "lib/fdio.h"
#include "lib/log.h"

void ring_close(struct held_ring *ring)
{
	close_fd(&ring->fd);
	ring->generation = 0;
}

struct held *held_find(struct keeper *k, const char *id)
{
	list_for_each (node, &k->workers) {
		struct held *h = list_entry(node, struct held, node);

		if (strcmp(h->id, id) == 0)
			return h;
	}
	return NULL;
}

struct held *held_new(struct keeper *k, const char *id, struct err *e)
{
	struct held *h = calloc(1, sizeof(*h));

	if (!h) {
		err_set(e, ERR_FAILED, "MEMORY", "no memory for another vault");
		return NULL;
	}
	h->keeper = k;
	str_copy(h->id, sizeof(h->id), id);
	for (unsigned int i = 0; i < VAULT_SLOTS; i++)
		h->slots[i] = -1;
	h->ring.fd = h->old.fd = h->pidfd = h->control = -1;
	list_append(&k->workers, &h->node);
	return h;
}

static void held_close_control(struct held *h)
{
	h->keeper->loop->ops->remove(h->control_watch);
	h->control_watch = NULL;
	close_fd(&h->control);
}

static void held_close_pid(struct held *h)
{
	h->keeper->loop->ops->remove(h->pid_watch);
	h->pid_watch = NULL;
	close_fd(&h->pidfd);
	h->item.pid = 0;
}

void held_free(struct held *h)
{
	held_close_control(h);
	held_close_pid(h);
	for (unsigned int i = 0; i < VAULT_SLOTS; i++)
		close_fd(&h->slots[i]);
	ring_close(&h->ring);
	ring_close(&h->old);
	list_remove(&h->node);
	free(h);
}

void held_set_slot(struct held *h, unsigned int slot, int fd)
{
	close_fd(&h->slots[slot]);
	h->slots[slot] = fd;
}

static void held_changed(struct held *h)
{
	h->changed = true;
	keeper_daemon_flush(h->keeper);
}

/* --- to the worker ---------------------------------------------------------------------------- */

static int held_send(struct held *h, struct keeper_msg *msg, int fd)
{
	msg->version = KEEPER_PROTO_VERSION;
	return fdio_send(h->control, msg, sizeof(*msg), &fd, fd >= 0 ? 1 : 0);
}

static int held_send_hello(struct held *h)
{
	struct keeper_msg msg = {
		.type = KEEPER_MSG_HELLO,
		.value = h->item.generation,
		.ring_params = h->ring.params,
		.old_ring_params = h->old.params,
	};

	return held_send(h, &msg, -1);
}

/* The next message of a birth; slots are counted from 1, 0 is HELLO. */
static int held_give_one(struct held *h)
{
	struct keeper_msg msg = {.type = KEEPER_MSG_GO};
	int rc;

	if (h->give_next == 0)
		return held_send_hello(h);
	if (h->give_next <= VAULT_SLOTS) {
		int fd = h->slots[h->give_next - 1];

		msg.type = KEEPER_MSG_GIVE;
		msg.slot = h->give_next - 1;
		if (msg.slot == VAULT_LEASE)
			return 0;
		return fd >= 0 ? held_send(h, &msg, fd) : 0;
	}
	rc = held_send(h, &msg, -1);
	h->go_sent = rc == 0;
	return rc;
}

void held_give(struct held *h)
{
	int rc = 0;

	while (!h->go_sent && rc == 0) {
		rc = held_give_one(h);
		if (rc == 0)
			h->give_next++;
	}
	/* Any other failure is the worker's death, which its pidfd tells. */
	h->keeper->loop->ops->set_events(
		h->control_watch, rc == -EAGAIN ? WATCH_READ | WATCH_WRITE : WATCH_READ);
}

int held_tell(struct held *h, unsigned int code, uint64_t value, struct err *e)
{
	struct keeper_msg msg = {.type = KEEPER_MSG_TELL, .code = code, .value = value};
	int rc;

	if (h->control < 0 || !h->go_sent)
		return err_set(e, ERR_BUSY, "KEEPER", "the worker of %s is not running", h->id);
	rc = held_send(h, &msg, -1);
	return rc < 0 ? err_sys(e, -rc, "tell the worker of %s", h->id) : 0;
}

/* --- from the worker -------------------------------------------------------------------------- */

/*
 * The disk and what the daemon made are not a worker's to change: a successor opens the disk anew
 * with our rights, and a worker may have been sent any descriptor by its VMM. Only what is handed
 * back to a new keeper is taken as it is; the daemon looks at the disk before it is used again.
 */
static bool slot_is_workers(const struct held *h, unsigned int slot)
{
	switch (slot) {
	case VAULT_PAGE:
	case VAULT_LISTEN:
	case VAULT_BACKING:
	case VAULT_ADOPT:
		return h->adopting;
	case VAULT_LEASE:
		return false;
	default:
		return slot < VAULT_TAP0 || (h->adopting && slot < VAULT_SLOTS);
	}
}

static int take_put(struct held *h, const struct keeper_msg *in, int *fd)
{
	struct keeper_msg ack = {.type = KEEPER_MSG_ACK, .slot = in->slot, .cookie = in->cookie};

	if (!slot_is_workers(h, in->slot) || *fd < 0)
		return -1;
	held_set_slot(h, in->slot, steal_fd(fd));
	/* It waits for each ACK, so there is room; if it is gone, its pidfd tells. */
	return held_send(h, &ack, -1) == -EAGAIN ? -1 : 0;
}

static int take_drop(struct held *h, const struct keeper_msg *in, int *fd)
{
	(void)fd;
	if (in->slot >= VAULT_SLOTS || in->value > VAULT_SLOTS - in->slot)
		return -1;
	for (unsigned int i = 0; i < in->value; i++) {
		if (!slot_is_workers(h, in->slot + i))
			return -1;
		held_set_slot(h, in->slot + i, -1);
	}
	return 0;
}

static int take_ready(struct held *h, const struct keeper_msg *in, int *fd)
{
	(void)in, (void)fd;
	h->item.ready = true;
	h->changed = true;
	if (h->adopting) {
		h->adopting = false;
		log_info("%s: worker %d adopted, generation %llu", h->id, h->item.pid,
			(unsigned long long)h->item.generation);
		keeper_progress(h->keeper);
	}
	return 0;
}

static int take_drained(struct held *h, const struct keeper_msg *in, int *fd)
{
	(void)in, (void)fd;
	ring_close(&h->old);
	return 0;
}

static int take_note(struct held *h, const struct keeper_msg *in, int *fd)
{
	(void)in, (void)fd;
	h->item.notes++;
	h->changed = true;
	return 0;
}

static int take_failed(struct held *h, const struct keeper_msg *in, int *fd)
{
	(void)fd;
	str_copy(h->failure, sizeof(h->failure), in->text);
	return 0;
}

static int (*const take[])(struct held *h, const struct keeper_msg *in, int *fd) = {
	[KEEPER_MSG_PUT] = take_put,
	[KEEPER_MSG_DROP] = take_drop,
	[KEEPER_MSG_READY] = take_ready,
	[KEEPER_MSG_DRAINED] = take_drained,
	[KEEPER_MSG_NOTE] = take_note,
	[KEEPER_MSG_FAILED] = take_failed,
};

/* One message: 0, -EAGAIN when there is none, -EPIPE at the end, -EPROTO for what is none. */
static int held_take_one(struct held *h)
{
	struct keeper_msg msg;
	struct fdio_msg in;
	int none = -1;
	int rc;

	/* A worker that dies before it read all resets the connection: that is reported first, and
	 * once, and what it had sent is behind it. */
	do {
		rc = fdio_recv(h->control, &msg, sizeof(msg), MSG_DONTWAIT, &in);
	} while (rc == -ECONNRESET);
	if (rc < 0)
		return rc;
	if (in.len == 0)
		return -EPIPE;
	msg.text[sizeof(msg.text) - 1] = '\0';
	rc = -EPROTO;
	if (in.len == sizeof(msg) && !in.truncated && in.fd_count <= 1 &&
		msg.version == KEEPER_PROTO_VERSION && msg.type < ARRAY_SIZE(take) &&
		take[msg.type] && take[msg.type](h, &msg, in.fd_count ? &in.fds[0] : &none) == 0)
		rc = 0;
	fdio_msg_close(&in);
	return rc;
}

/* There is nothing to say to it any more. It is dying, or must. */
static void held_break(struct held *h)
{
	/* Killed first: it must not see the closed channel and end as if it were its own idea. */
	if (h->pidfd >= 0)
		pidfd_send_signal(h->pidfd, SIGKILL, NULL, 0);
	held_close_control(h);
	if (h->pidfd < 0)
		held_free(h); /* a connection that never said whose it is */
}

static void held_not_adopted(struct held *h, const struct err *e)
{
	if (e->kind == ERR_NOT_FOUND)
		held_unlink_adopt(h);
	else
		log_warning("%s: not adopted: %s", h->id, e->msg);
	held_free(h);
}

static void held_control_ready(void *arg, unsigned int events)
{
	struct held *h = arg;
	struct keeper *k = h->keeper;
	struct err e = ERR_INIT;
	int rc;

	if (events & WATCH_WRITE)
		held_give(h);
	if (!(events & WATCH_READ))
		return;
	if (h->adopting && h->item.pid == 0) {
		if (held_take_adopted(h, &e) < 0)
			held_not_adopted(h, &e);
	} else {
		rc = held_take_one(h);
		if (rc == -EPROTO)
			log_warning("%s: worker %d broke the protocol: killed", h->id, h->item.pid);
		if (rc < 0 && rc != -EAGAIN)
			held_break(h);
	}
	keeper_progress(k);
	keeper_daemon_flush(k);
}

int held_watch_control(struct held *h, int fd, struct err *e)
{
	int rc = fdio_set_nonblock(fd, true);

	h->control = fd;
	if (rc < 0)
		return err_sys(e, -rc, "%s: control socket", h->id);
	h->control_watch = h->keeper->loop->ops->add_fd(
		h->keeper->loop, fd, WATCH_READ, held_control_ready, h, e);
	return h->control_watch ? 0 : -1;
}

/* --- its end ---------------------------------------------------------------------------------- */

static int held_reap(struct held *h)
{
	siginfo_t info = {0};

	/* An adopted one is not our child, and its status nobody's. */
	if (waitid(P_PIDFD, (id_t)h->pidfd, &info, WEXITED) < 0)
		return -1;
	return info.si_code == CLD_EXITED ? (info.si_status & 0xff) << 8 : info.si_status;
}

void held_go_on(struct held *h)
{
	struct err e = ERR_INIT;

	if (h->item.pid != 0 || !h->item.ready || !h->words[0] || h->touched ||
		!keeper_daemon_is_away(h->keeper))
		return;
	log_info("%s: its worker died, and no daemon is there: started again", h->id);
	if (held_spawn(h, h->flags, h->entries, h->words, &e) < 0)
		log_error("%s: %s", h->id, e.msg);
}

static void held_died(void *arg, unsigned int events)
{
	struct held *h = arg;

	(void)events;
	if (h->control >= 0)
		while (held_take_one(h) == 0)
			;
	held_close_control(h);
	h->item.exit_status = held_reap(h);
	held_close_pid(h);
	h->adopting = false;
	if (h->old.fd >= 0) {
		ring_close(&h->ring);
	} else {
		h->old = h->ring;
		h->ring.fd = -1;
	}
	log_debug("keeper", "%s: worker ended, status 0x%x", h->id,
		(unsigned int)h->item.exit_status);
	held_go_on(h);
	held_changed(h);
	keeper_progress(h->keeper);
}

int held_watch_pid(struct held *h, pid_t pid, int pidfd, struct err *e)
{
	h->pidfd = pidfd;
	h->item.pid = pid;
	h->pid_watch =
		h->keeper->loop->ops->add_fd(h->keeper->loop, pidfd, WATCH_READ, held_died, h, e);
	return h->pid_watch ? 0 : -1;
}
