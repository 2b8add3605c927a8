/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The birth of a worker, the keeper's half (keeper_proto.h): the ring is made and the child forked
 * here; all that may block is done by the child (keeper_child.c).
 */
#include "daemon/keeper.h"

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "lib/backends/uring.h"
#include "lib/cleanup.h"
#include "lib/log.h"

pid_t keeper_fork(void)
{
	static const int caught[] = {SIGTERM, SIGINT};
	sigset_t all, before;
	pid_t pid;

	/* Our handlers write into a pipe of the loop, which a child shares: it must not run them.
	 */
	sigfillset(&all);
	sigprocmask(SIG_BLOCK, &all, &before);
	pid = fork();
	if (pid == 0)
		for (unsigned int i = 0; i < ARRAY_SIZE(caught); i++)
			signal(caught[i], SIG_DFL);
	sigprocmask(SIG_SETMASK, &before, NULL);
	return pid;
}

static int held_check_dead(const struct held *h, struct err *e)
{
	if (h->item.pid != 0 || h->adopting)
		return err_set(
			e, ERR_BUSY, "KEEPER", "worker %d of %s is alive", h->item.pid, h->id);
	if (h->slots[VAULT_BACKING] < 0)
		return err_set(e, ERR_FAILED, "KEEPER", "the vault of %s has no disk", h->id);
	return 0;
}

/* Forks the child; it owns the other end of the control socket. */
static pid_t held_fork(struct held *h, struct spawn *s, struct err *e)
{
	int pair[2];
	pid_t pid;

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
		return err_sys(e, errno, "%s: control socket", h->id);
	s->control = pair[1];
	pid = keeper_fork();
	if (pid == 0)
		keeper_child_run(s);
	if (pid < 0)
		err_sys(e, errno, "%s: fork", h->id);
	close(pair[1]);
	if (pid < 0)
		close(pair[0]);
	else if (held_watch_control(h, pair[0], e) < 0)
		/* nobody will speak with the child: it reads the end of its socket, and ends */
		pid = -1;
	return pid;
}

int held_spawn(
	struct held *h, unsigned int flags, unsigned int entries, const char *text, struct err *e)
{
	struct spawn s = {
		.program = h->keeper->worker_path,
		.text = text,
		.flags = flags,
		.backing = h->slots[VAULT_BACKING],
		.ring = &h->ring,
		.old = &h->old,
	};
	pid_t pid;
	int pidfd;

	if (held_check_dead(h, e) < 0)
		return -1;
	if (h->slots[VAULT_ADOPT] < 0 && held_listen_adopt(h, e) < 0)
		return -1;
	ring_close(&h->ring);
	h->ring.fd = uring_create(entries, &h->ring.params, e);
	if (h->ring.fd < 0)
		return -1;
	h->ring.generation = h->item.generation + 1;
	pid = held_fork(h, &s, e);
	if (pid < 0) {
		ring_close(&h->ring);
		return -1;
	}
	pidfd = pidfd_open(pid, 0); /* nobody but us can have reaped it */
	if (pidfd < 0 || held_watch_pid(h, pid, pidfd, e) < 0)
		return err_sys(e, errno, "%s: watch worker %d", h->id, (int)pid);
	h->item.generation++;
	h->item.ready = false;
	h->touched = false;
	h->flags = flags;
	h->entries = entries;
	memmove(h->words, text, sizeof(h->words)); /* they may be these */
	h->failure[0] = '\0';
	h->give_next = 0;
	h->go_sent = false;
	h->changed = true;
	held_give(h);
	log_debug("keeper", "%s: worker %d started, generation %llu", h->id, (int)pid,
		(unsigned long long)h->item.generation);
	return 0;
}
