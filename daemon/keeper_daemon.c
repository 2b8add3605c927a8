/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The daemon as the keeper's child: started, restarted when it dies, and its requests carried out
 * (keeper_api.h). One request is in hand at a time; what is to be sent waits until there is room:
 * the changed items first, then the answer, so that LIST is answered behind its items.
 */
#include "daemon/keeper.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>

#include "lib/cleanup.h"
#include "lib/fdio.h"
#include "lib/log.h"

#define RESTART_FIRST_MS 20
#define RAN_WELL_MS      1000 /* one that served, and for so long, is started again at once */
#define RESTART_MAX_MS   5000

static void daemon_readable(void *arg, unsigned int events);
static void daemon_died(void *arg, unsigned int events);

/* --- its messages ----------------------------------------------------------------------------- */

static int daemon_send(struct keeper *k, struct keeper_api_msg *msg, int fd)
{
	msg->version = KEEPER_API_VERSION;
	return fdio_send(k->daemon.fd, msg, sizeof(*msg), &fd, fd >= 0 ? 1 : 0);
}

static int daemon_send_items(struct keeper *k)
{
	list_for_each (node, &k->workers) {
		struct held *h = list_entry(node, struct held, node);
		struct keeper_api_msg msg = {.type = KEEPER_API_ITEM, .item = h->item};

		if (!h->changed)
			continue;
		str_copy(msg.id, sizeof(msg.id), h->id);
		str_copy(msg.text, sizeof(msg.text), h->failure);
		if (h->adopting && h->item.pid == 0)
			msg.item.pid = -1;
		if (daemon_send(k, &msg, -1) < 0)
			return -1;
		h->changed = false;
	}
	return 0;
}

void keeper_daemon_flush(struct keeper *k)
{
	struct keeper_daemon *d = &k->daemon;
	bool all;

	if (d->fd < 0)
		return;
	all = daemon_send_items(k) == 0;
	if (all && d->answering) {
		all = daemon_send(k, &d->answer, d->answer_fd) == 0;
		if (all) {
			d->answering = false;
			close_fd(&d->answer_fd);
		}
	}
	/* Failed for another reason than want of room: it has died, and its pidfd tells. */
	k->loop->ops->set_events(
		d->fd_watch, (d->answering ? 0 : WATCH_READ) | (all ? 0 : WATCH_WRITE));
}

/* --- its requests ----------------------------------------------------------------------------- */

static struct held *held_need(struct keeper *k, const char *id, struct err *e)
{
	struct held *h = held_find(k, id);

	if (!h)
		err_set(e, ERR_NOT_FOUND, "KEEPER", "there is no vault of %s", id);
	return h;
}

static int do_list(struct keeper *k, struct keeper_api_msg *msg, int *fd, struct err *e)
{
	(void)msg, (void)fd, (void)e;
	k->daemon.listed = true;
	list_for_each (node, &k->workers)
		list_entry(node, struct held, node)->changed = true;
	return 0;
}

static int do_fill(struct keeper *k, struct keeper_api_msg *msg, int *fd, struct err *e)
{
	struct held *h = held_find(k, msg->id);

	if (msg->slot >= VAULT_SLOTS || *fd < 0)
		return err_set(e, ERR_FAILED, "KEEPER", "there is no slot %u", msg->slot);
	if (!h)
		h = held_new(k, msg->id, e);
	if (!h)
		return -1;
	held_set_slot(h, msg->slot, steal_fd(fd));
	if (msg->slot != VAULT_LEASE) /* which is nothing to the worker */
		h->touched = true;
	return 0;
}

static int do_fetch(struct keeper *k, struct keeper_api_msg *msg, int *fd, struct err *e)
{
	struct held *h = held_need(k, msg->id, e);

	(void)fd;
	if (!h)
		return -1;
	if (msg->slot >= VAULT_SLOTS || h->slots[msg->slot] < 0)
		return err_set(
			e, ERR_NOT_FOUND, "KEEPER", "slot %u of %s is empty", msg->slot, msg->id);
	k->daemon.answer_fd = fcntl(h->slots[msg->slot], F_DUPFD_CLOEXEC, 0);
	return k->daemon.answer_fd < 0 ? err_sys(e, errno, "slot %u of %s", msg->slot, msg->id) : 0;
}

/* The words end with an empty one, within the text. */
static bool words_are_whole(const char text[KEEPER_TEXT_SIZE])
{
	return text[0] && memmem(text, KEEPER_TEXT_SIZE, "\0", 2);
}

static int do_spawn(struct keeper *k, struct keeper_api_msg *msg, int *fd, struct err *e)
{
	struct held *h = held_need(k, msg->id, e);

	(void)fd;
	if (!h)
		return -1;
	if (!words_are_whole(msg->text) || msg->value == 0 || msg->value > 32768)
		return err_set(e, ERR_FAILED, "KEEPER", "no words or no ring for a worker");
	return held_spawn(h, msg->flags, (unsigned int)msg->value, msg->text, e);
}

static int do_kill(struct keeper *k, struct keeper_api_msg *msg, int *fd, struct err *e)
{
	struct held *h = held_need(k, msg->id, e);

	(void)fd;
	if (!h)
		return -1;
	h->touched = true;
	if (h->pidfd >= 0 && pidfd_send_signal(h->pidfd, (int)msg->value, NULL, 0) < 0 &&
		errno != ESRCH)
		return err_sys(e, errno, "signal worker %d", h->item.pid);
	return 0;
}

static int do_forget(struct keeper *k, struct keeper_api_msg *msg, int *fd, struct err *e)
{
	struct held *h = held_find(k, msg->id);

	(void)fd;
	if (!h)
		return 0;
	if (h->item.pid != 0 || h->adopting)
		return err_set(
			e, ERR_BUSY, "KEEPER", "worker %d of %s is alive", h->item.pid, h->id);
	held_unlink_adopt(h);
	held_free(h);
	return 0;
}

static int do_tell(struct keeper *k, struct keeper_api_msg *msg, int *fd, struct err *e)
{
	struct held *h = held_need(k, msg->id, e);

	(void)fd;
	return h ? held_tell(h, msg->code, msg->value, e) : -1;
}

static int do_up(struct keeper *k, struct keeper_api_msg *msg, int *fd, struct err *e)
{
	(void)msg, (void)fd, (void)e;
	k->daemon.up = k->daemon.up_now = true;
	return 0;
}

static int (*const requests[])(
	struct keeper *k, struct keeper_api_msg *msg, int *fd, struct err *e) = {
	[KEEPER_API_LIST] = do_list,
	[KEEPER_API_FILL] = do_fill,
	[KEEPER_API_FETCH] = do_fetch,
	[KEEPER_API_SPAWN] = do_spawn,
	[KEEPER_API_KILL] = do_kill,
	[KEEPER_API_FORGET] = do_forget,
	[KEEPER_API_TELL] = do_tell,
	[KEEPER_API_UP] = do_up,
};

static int daemon_request(struct keeper *k, struct keeper_api_msg *msg, int *fd, struct err *e)
{
	bool needs_id = msg->type != KEEPER_API_LIST && msg->type != KEEPER_API_UP;

	if (msg->type >= ARRAY_SIZE(requests) || !requests[msg->type])
		return err_set(e, ERR_FAILED, "KEEPER", "unknown request %u", msg->type);
	if (needs_id && !keeper_id_is_valid(msg->id))
		return err_set(e, ERR_FAILED, "KEEPER", "this is no id of an attachment");
	return requests[msg->type](k, msg, fd, e);
}

static void daemon_ready(void *arg, unsigned int events)
{
	struct keeper *k = arg;

	if (events & WATCH_READ && !k->daemon.answering)
		daemon_readable(arg, events);
	keeper_daemon_flush(k);
}

static void daemon_readable(void *arg, unsigned int events)
{
	struct keeper *k = arg;
	struct keeper_api_msg *answer = &k->daemon.answer;
	struct keeper_api_msg msg;
	struct fdio_msg in;
	struct err e = ERR_INIT;
	int none = -1;

	(void)events;
	if (fdio_recv(k->daemon.fd, &msg, sizeof(msg), MSG_DONTWAIT, &in) < 0)
		return;
	if (in.len != sizeof(msg) || in.truncated || msg.version != KEEPER_API_VERSION) {
		fdio_msg_close(&in);
		if (in.len) { /* else it is about to end, which its pidfd tells */
			log_error("the daemon speaks another version: killed");
			pidfd_send_signal(k->daemon.pidfd, SIGKILL, NULL, 0);
		}
		k->loop->ops->remove(k->daemon.fd_watch);
		k->daemon.fd_watch = NULL;
		close_fd(&k->daemon.fd);
		return;
	}
	*answer = (struct keeper_api_msg){.type = KEEPER_API_DONE, .cookie = msg.cookie};
	if (daemon_request(k, &msg, in.fd_count ? &in.fds[0] : &none, &e) < 0) {
		answer->type = KEEPER_API_REFUSED;
		answer->code = e.kind;
		str_copy(answer->text, sizeof(answer->text), e.msg);
	}
	k->daemon.answering = true;
	fdio_msg_close(&in);
}

/* --- its life --------------------------------------------------------------------------------- */

static void daemon_child(struct keeper *k, int fd)
{
	char option[32];
	char **argv = calloc((size_t)k->argc + 2, sizeof(*argv));

	/* Two daemons on one store would be worse than none. */
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	snprintf(option, sizeof(option), "--keeper-fd=%d", fd);
	if (argv && fcntl(fd, F_SETFD, 0) == 0) {
		memcpy(argv, k->argv, (size_t)k->argc * sizeof(*argv));
		argv[0] = (char *)"iovd";
		argv[k->argc] = option;
		execv(k->daemon_path, argv);
	}
	log_error("%s: %s", k->daemon_path, strerror(errno));
	_exit(1);
}

int keeper_daemon_start(struct keeper *k, struct err *e)
{
	struct keeper_daemon *d = &k->daemon;
	int pair[2];

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
		return err_sys(e, errno, "a socket to the daemon");
	d->pid = keeper_fork();
	if (d->pid == 0)
		daemon_child(k, pair[1]);
	close(pair[1]);
	d->fd = pair[0];
	d->answer_fd = -1;
	d->answering = d->up_now = d->listed = false;
	d->started_ms = now_ms();
	fdio_set_nonblock(d->fd, true);
	if (d->pid < 0)
		return err_sys(e, errno, "fork the daemon");
	d->pidfd = pidfd_open(d->pid, 0);
	if (d->pidfd < 0)
		return err_sys(e, errno, "watch the daemon");
	d->fd_watch = k->loop->ops->add_fd(k->loop, d->fd, WATCH_READ, daemon_ready, k, e);
	d->pid_watch = k->loop->ops->add_fd(k->loop, d->pidfd, WATCH_READ, daemon_died, k, e);
	return d->fd_watch && d->pid_watch ? 0 : -1;
}

bool keeper_daemon_is_away(const struct keeper *k)
{
	return k->daemon.up && !k->stopping && (k->daemon.pidfd < 0 || !k->daemon.listed);
}

void keeper_daemon_stop(struct keeper *k)
{
	if (k->daemon.pidfd >= 0)
		pidfd_send_signal(k->daemon.pidfd, SIGTERM, NULL, 0);
}

static void daemon_restart(void *arg, unsigned int events)
{
	struct keeper *k = arg;
	struct err e = ERR_INIT;

	(void)events;
	k->loop->ops->remove(k->daemon.restart_timer);
	k->daemon.restart_timer = NULL;
	if (!k->stopping && keeper_daemon_start(k, &e) < 0) {
		log_error("%s", e.msg);
		k->exit_status = 1;
		k->stopping = true;
	}
	keeper_progress(k);
}

/* A daemon that never came up, because of its settings, say, would not come up the next time. */
static void daemon_plan_restart(struct keeper *k, int status)
{
	struct keeper_daemon *d = &k->daemon;
	struct err e = ERR_INIT;

	if (WIFEXITED(status) && (!d->up || WEXITSTATUS(status) == 0)) {
		k->exit_status = WEXITSTATUS(status);
		k->stopping = true;
		return;
	}
	if (!d->up_now)
		d->delay_ms = MAX(MIN(2 * d->delay_ms, RESTART_MAX_MS), RESTART_FIRST_MS);
	else
		d->delay_ms = now_ms() - d->started_ms < RAN_WELL_MS ? RESTART_FIRST_MS : 0;
	log_warning("the daemon ended (status 0x%x): started again in %llu ms",
		(unsigned int)status, (unsigned long long)d->delay_ms);
	d->restart_timer = k->loop->ops->add_timer(k->loop, d->delay_ms, daemon_restart, k, &e);
	if (!d->restart_timer)
		daemon_restart(k, 0);
}

static void daemon_died(void *arg, unsigned int events)
{
	struct keeper *k = arg;
	struct keeper_daemon *d = &k->daemon;
	int status = 0;

	(void)events;
	waitpid(d->pid, &status, 0);
	k->loop->ops->remove(d->pid_watch);
	k->loop->ops->remove(d->fd_watch);
	d->pid_watch = d->fd_watch = NULL;
	close_fd(&d->pidfd);
	close_fd(&d->fd);
	close_fd(&d->answer_fd);
	d->answering = false;
	if (!k->stopping)
		daemon_plan_restart(k, status);
	list_for_each_safe (node, &k->workers) /* what it has not come to */
		held_go_on(list_entry(node, struct held, node));
	keeper_progress(k);
}
