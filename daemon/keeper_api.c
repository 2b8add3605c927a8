/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The daemon's end of keeper_api.h: one request out, its answer awaited. Facts that arrive in
 * between are queued and handed on from the loop, so that a callback may send requests of its own
 * and nobody is called back from within a request.
 */
#include "daemon/keeper_api.h"

#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include "lib/cleanup.h"
#include "lib/fdio.h"
#include "lib/list.h"

#define ANSWER_MS 10000 /* the keeper never waits: later than this it is stopped or gone */

/* A fact that is not handed on yet. */
struct fact {
	struct list_node node;
	struct keeper_item item;
	char id[KEEPER_ID_SIZE];
	char failure[KEEPER_TEXT_SIZE];
};

struct keeper_link {
	struct watch_loop *loop;
	struct watch *watch;
	struct watch *later; /* timer: facts wait */
	struct list_node facts;
	const struct keeper_link_ops *ops;
	void *arg;
	int fd;
	uint64_t cookie;
	bool lost;
};

bool keeper_id_is_valid(const char id[KEEPER_ID_SIZE])
{
	size_t len = strnlen(id, KEEPER_ID_SIZE);

	return len >= 2 && len < KEEPER_ID_SIZE && id[0] == 'a' &&
	       strspn(id + 1, "0123456789") == len - 1;
}

/* Out of memory there is no telling what state the workers are in: start anew and list. */
static void link_queue(struct keeper_link *link, const struct keeper_api_msg *msg)
{
	struct fact *fact;

	if (!keeper_id_is_valid(msg->id))
		return;
	fact = calloc(1, sizeof(*fact));
	if (!fact)
		abort();
	fact->item = msg->item;
	str_copy(fact->id, sizeof(fact->id), msg->id);
	str_copy(fact->failure, sizeof(fact->failure), msg->text);
	list_append(&link->facts, &fact->node);
}

static void link_hand_on(struct keeper_link *link)
{
	while (!list_is_empty(&link->facts)) {
		struct fact *fact = list_entry(link->facts.next, struct fact, node);

		list_remove(&fact->node);
		link->ops->item(link->arg, fact->id, &fact->item, fact->failure);
		free(fact);
	}
}

static void link_later(void *arg, unsigned int events)
{
	(void)events;
	link_hand_on(arg);
}

/* One message with its descriptor (-1: none). -EAGAIN: nothing there; other -errno: it is over. */
static int link_recv(struct keeper_link *link, struct keeper_api_msg *msg, int *fd)
{
	struct fdio_msg in;
	int rc = fdio_recv(link->fd, msg, sizeof(*msg), MSG_DONTWAIT, &in);

	*fd = -1;
	if (rc < 0)
		return rc;
	if (in.len != sizeof(*msg) || in.truncated || msg->version != KEEPER_API_VERSION) {
		fdio_msg_close(&in);
		return in.len ? -EPROTO : -EPIPE;
	}
	msg->text[sizeof(msg->text) - 1] = '\0';
	if (in.fd_count)
		*fd = steal_fd(&in.fds[0]);
	fdio_msg_close(&in);
	return 0;
}

static void link_lost(struct keeper_link *link)
{
	if (link->lost)
		return;
	link->lost = true;
	link->loop->ops->set_events(link->watch, 0);
	link->ops->lost(link->arg);
}

static void link_readable(void *arg, unsigned int events)
{
	struct keeper_link *link = arg;
	struct keeper_api_msg msg;
	int fd, rc;

	(void)events;
	rc = link_recv(link, &msg, &fd);
	if (rc == -EAGAIN)
		return;
	close_fd(&fd);
	if (rc < 0) {
		link_lost(link);
		return;
	}
	if (msg.type == KEEPER_API_ITEM)
		link_queue(link, &msg);
	link_hand_on(link);
}

struct keeper_link *keeper_link_new(struct watch_loop *loop, int fd,
	const struct keeper_link_ops *ops, void *arg, struct err *e)
{
	struct keeper_link *link = calloc(1, sizeof(*link));

	if (!link) {
		err_set(e, ERR_FAILED, "MEMORY", "no memory for the link to the keeper");
		close_fd(&fd);
		return NULL;
	}
	*link = (struct keeper_link){.loop = loop, .ops = ops, .arg = arg, .fd = fd};
	list_init(&link->facts);
	link->watch = loop->ops->add_fd(loop, fd, WATCH_READ, link_readable, link, e);
	link->later = loop->ops->add_timer(loop, 0, link_later, link, e);
	if (!link->watch || !link->later) {
		keeper_link_free(link);
		return NULL;
	}
	return link;
}

void keeper_link_free(struct keeper_link *link)
{
	if (!link)
		return;
	link->loop->ops->remove(link->watch);
	link->loop->ops->remove(link->later);
	list_for_each_safe (node, &link->facts)
		free(list_entry(node, struct fact, node));
	close_fd(&link->fd);
	free(link);
}

static int link_await(struct keeper_link *link, uint64_t deadline)
{
	struct pollfd p = {.fd = link->fd, .events = POLLIN};
	uint64_t now = now_ms();
	int rc;

	if (now >= deadline)
		return -ETIMEDOUT;
	rc = poll(&p, 1, (int)(deadline - now));
	return rc < 0 && errno != EINTR ? -errno : 0;
}

/* The answer to the request that is out; facts that come in between are queued. */
static int link_answer(struct keeper_link *link, struct keeper_api_msg *answer, int *fd)
{
	uint64_t deadline = now_ms() + ANSWER_MS;

	for (;;) {
		int rc = link_recv(link, answer, fd);

		if (rc == -EAGAIN)
			rc = link_await(link, deadline);
		else if (rc == 0 && answer->type == KEEPER_API_ITEM)
			link_queue(link, answer);
		else if (rc == 0 && answer->cookie == link->cookie)
			return 0;
		if (rc < 0)
			return rc;
		close_fd(fd);
	}
}

/* Sends a request and awaits its answer; *result_fd is what came with it, or -1. */
static int link_call(
	struct keeper_link *link, struct keeper_api_msg *msg, int fd, int *result_fd, struct err *e)
{
	auto_close int got = -1;
	int rc;

	msg->version = KEEPER_API_VERSION;
	msg->cookie = ++link->cookie;
	rc = link->lost ? -EPIPE : fdio_send(link->fd, msg, sizeof(*msg), &fd, fd >= 0 ? 1 : 0);
	if (rc == 0)
		rc = link_answer(link, msg, &got);
	if (!list_is_empty(&link->facts))
		link->loop->ops->set_timer(link->later, 0);
	if (rc < 0) {
		link_lost(link);
		return err_sys(e, -rc, "the keeper does not answer");
	}
	if (msg->type != KEEPER_API_DONE)
		return err_set(e, msg->code ? (enum err_kind)msg->code : ERR_FAILED, "KEEPER",
			"keeper: %s", msg->text);
	if (result_fd)
		*result_fd = steal_fd(&got);
	return 0;
}

static struct keeper_api_msg link_msg(enum keeper_api_type type, const char *id)
{
	struct keeper_api_msg msg = {.type = type};

	str_copy(msg.id, sizeof(msg.id), id);
	return msg;
}

int keeper_link_list(struct keeper_link *link, struct err *e)
{
	struct keeper_api_msg msg = link_msg(KEEPER_API_LIST, "");

	if (link_call(link, &msg, -1, NULL, e) < 0)
		return -1;
	link_hand_on(link);
	return 0;
}

int keeper_link_fill(
	struct keeper_link *link, const char *id, unsigned int slot, int fd, struct err *e)
{
	struct keeper_api_msg msg = link_msg(KEEPER_API_FILL, id);

	msg.slot = slot;
	return link_call(link, &msg, fd, NULL, e);
}

int keeper_link_fetch(struct keeper_link *link, const char *id, unsigned int slot, struct err *e)
{
	struct keeper_api_msg msg = link_msg(KEEPER_API_FETCH, id);
	int fd = -1;

	msg.slot = slot;
	if (link_call(link, &msg, -1, &fd, e) < 0)
		return -1;
	if (fd < 0)
		err_set(e, ERR_NOT_FOUND, "KEEPER", "keeper: slot %u of %s is empty", slot, id);
	return fd;
}

static int link_put_words(struct keeper_api_msg *msg, const char *const *words, struct err *e)
{
	size_t used = 0;

	for (; *words; words++) {
		size_t len = strlen(*words) + 1;

		if (len + 1 > sizeof(msg->text) - used)
			return err_set(e, ERR_FAILED, "KEEPER",
				"the words for a worker are longer than %zu bytes",
				sizeof(msg->text));
		memcpy(msg->text + used, *words, len);
		used += len;
	}
	return 0;
}

int keeper_link_spawn(struct keeper_link *link, const char *id, unsigned int flags,
	unsigned int ring_entries, const char *const *words, struct err *e)
{
	struct keeper_api_msg msg = link_msg(KEEPER_API_SPAWN, id);

	msg.flags = flags;
	msg.value = ring_entries;
	if (link_put_words(&msg, words, e) < 0)
		return -1;
	return link_call(link, &msg, -1, NULL, e);
}

int keeper_link_kill(struct keeper_link *link, const char *id, int sig, struct err *e)
{
	struct keeper_api_msg msg = link_msg(KEEPER_API_KILL, id);

	msg.value = (uint64_t)sig;
	return link_call(link, &msg, -1, NULL, e);
}

int keeper_link_forget(struct keeper_link *link, const char *id, struct err *e)
{
	struct keeper_api_msg msg = link_msg(KEEPER_API_FORGET, id);

	return link_call(link, &msg, -1, NULL, e);
}

int keeper_link_tell(
	struct keeper_link *link, const char *id, unsigned int code, uint64_t value, struct err *e)
{
	struct keeper_api_msg msg = link_msg(KEEPER_API_TELL, id);

	msg.code = code;
	msg.value = value;
	return link_call(link, &msg, -1, NULL, e);
}

int keeper_link_up(struct keeper_link *link, struct err *e)
{
	struct keeper_api_msg msg = link_msg(KEEPER_API_UP, "");

	return link_call(link, &msg, -1, NULL, e);
}
