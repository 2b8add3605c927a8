/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Theory of operation. A hand that is told to go on may be alone a moment later, its daemon killed;
 * then the next daemon must find it, or the two would work at one device. So the hand first takes
 * its name, then looks whether its daemon is still there (the other end of its socket), and only
 * then begins: whoever starts after that daemon's death, which releases the lock of the folder,
 * finds it by that name, or it never begins.
 */
#include "daemon/hands.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/close_range.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lib/cleanup.h"
#include "lib/fdio.h"
#include "lib/list.h"
#include "lib/log.h"

#define HAND_FD  3   /* where the hand finds its socket */
#define ADOPT_MS 200 /* for a hand that was left over to die */

/* What it sends: an error (kind not ERR_NONE), or a result. */
struct hand_answer {
	struct err e;
	unsigned char result[HAND_RESULT_SIZE];
};

struct hand {
	struct list_node node;
	struct hands *hands;
	char object[PATH_MAX];
	char work[sizeof(((struct hand_wedge *)0)->work)]; /* in words */
	pid_t pid;
	int pidfd;
	int sock;
	struct watch *pid_watch;
	struct watch *sock_watch;
	struct watch *deadline;
	hand_done_fn *done; /* NULL: was called */
	bool late;
	void *arg;
};

struct hands {
	struct watch_loop *loop;
	struct list_node list;
	char home[PATH_MAX];
	hands_listener_fn *listener;
	void *listener_arg;
};

struct hands *hands_new(struct watch_loop *loop, struct err *e)
{
	struct hands *hands = calloc(1, sizeof(*hands));

	if (!hands) {
		err_set(e, ERR_FAILED, "MEMORY", "no memory for hands");
		return NULL;
	}
	hands->loop = loop;
	strcpy(hands->home, "-");
	list_init(&hands->list);
	return hands;
}

void hands_set_listener(struct hands *hands, hands_listener_fn *fn, void *arg)
{
	hands->listener = fn;
	hands->listener_arg = arg;
}

static void hand_free(struct hand *h)
{
	const struct watch_ops *ops = h->hands->loop->ops;

	ops->remove(h->pid_watch);
	ops->remove(h->sock_watch);
	ops->remove(h->deadline);
	close_fd(&h->pidfd);
	close_fd(&h->sock);
	list_remove(&h->node);
	free(h);
}

void hands_free(struct hands *hands)
{
	if (!hands)
		return;
	list_for_each_safe (node, &hands->list)
		hand_free(list_entry(node, struct hand, node));
	free(hands);
}

static struct hand *hands_at(const struct hands *hands, const char *object)
{
	list_for_each (node, (struct list_node *)&hands->list) {
		struct hand *h = list_entry(node, struct hand, node);

		if (strcmp(h->object, object) == 0 && h->late)
			return h;
	}
	return NULL;
}

bool hands_is_wedged(const struct hands *hands, const char *object)
{
	return hands_at(hands, object);
}

bool hands_find_wedge(const struct hands *hands, const char *object, struct hand_wedge *wedge)
{
	const struct hand *h = hands_at(hands, object);

	if (!h)
		return false;
	hand_look(h->pid, wedge);
	str_copy(wedge->work, sizeof(wedge->work), h->work); /* one that exits has none any more */
	return true;
}

/* The object becomes wedged, or is let go. */
static void hand_say(const struct hand *h, bool wedged)
{
	if (h->hands->listener)
		h->hands->listener(h->hands->listener_arg, h->object, wedged);
}

static int wedged_error(const struct hand *h, struct err *e)
{
	struct hand_wedge wedge;

	hand_look(h->pid, &wedge);
	err_set(e, ERR_FAILED, "DEV-WEDGED", "%s does not answer", h->object);
	err_evidence(e, "process %d (%s) does not end%s%s", (int)h->pid, h->work,
		wedge.waits_in[0] ? "; it waits in " : "", wedge.waits_in);
	return err_fix(e, "look at what holds it; nothing more is begun there until it answers");
}

/* --- its end ---------------------------------------------------------------------------------- */

static void hand_tell(struct hand *h, const void *result, size_t len, int fd, const struct err *e)
{
	hand_done_fn *done = h->done;

	h->done = NULL;
	h->hands->loop->ops->set_events(h->sock_watch, 0);
	if (done)
		done(h->arg, result, len, fd, e);
	else
		close_fd(&fd);
}

static void hand_answered(void *arg, unsigned int events)
{
	struct hand *h = arg;
	struct hand_answer answer;
	struct fdio_msg in;
	struct err e = ERR_INIT;
	int rc = fdio_recv(h->sock, &answer, sizeof(answer), MSG_DONTWAIT, &in);

	(void)events;
	if (rc == -EAGAIN)
		return;
	if (rc == 0 && in.len == sizeof(answer) && answer.e.kind == ERR_NONE) {
		hand_tell(h, answer.result, sizeof(answer.result),
			in.fd_count ? steal_fd(&in.fds[0]) : -1, NULL);
	} else if (rc == 0 && in.len == sizeof(answer)) {
		hand_tell(h, NULL, 0, -1, &answer.e);
	} else {
		err_set(&e, ERR_FAILED, "HAND", "%s: the process that works on it died", h->object);
		hand_tell(h, NULL, 0, -1, &e);
	}
	fdio_msg_close(&in);
}

static void hand_ended(void *arg, unsigned int events)
{
	struct hand *h = arg;

	(void)events;
	if (h->done)
		hand_answered(h, WATCH_READ);
	waitpid(h->pid, NULL, WNOHANG); /* one that was adopted is somebody else's child */
	if (h->late) {
		log_info("%s: is let go", h->object);
		h->late = false;
		hand_say(h, false);
	}
	hand_free(h);
}

static void hand_late(void *arg, unsigned int events)
{
	struct hand *h = arg;
	struct err e = ERR_INIT;

	(void)events;
	h->late = true;
	wedged_error(h, &e); /* as it is before it may die */
	pidfd_send_signal(h->pidfd, SIGKILL, NULL, 0);
	log_warning("%s: is wedged: %s", h->object, e.evidence);
	hand_say(h, true);
	hand_tell(h, NULL, 0, -1, &e);
}

/* --- its start -------------------------------------------------------------------------------- */

static void hand_exec(const struct hand *h, int sock, const char *const words[HAND_WORDS])
{
	char *argv[HAND_WORDS + 4] = {(char *)HAND_NAME, (char *)h->hands->home, (char *)h->object};
	sigset_t none;

	for (int i = 0; i < HAND_WORDS && words[i]; i++)
		argv[i + 3] = (char *)words[i];
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	if (sock != HAND_FD && dup2(sock, HAND_FD) < 0)
		_exit(1);
	if (fcntl(HAND_FD, F_SETFD, 0) < 0 || close_range(HAND_FD + 1, ~0u, 0) < 0)
		_exit(1);
	execv("/proc/self/exe", argv);
	_exit(1);
}

/* Our signal handlers write to a pipe that a child shares: none may run there. */
static pid_t hand_fork(const struct hand *h, int sock, const char *const words[HAND_WORDS])
{
	sigset_t all, before;
	pid_t pid;

	sigfillset(&all);
	sigprocmask(SIG_BLOCK, &all, &before);
	pid = fork();
	if (pid == 0) {
		signal(SIGTERM, SIG_DFL);
		signal(SIGINT, SIG_DFL);
		hand_exec(h, sock, words);
	}
	sigprocmask(SIG_SETMASK, &before, NULL);
	return pid;
}

static int hand_watch(struct hand *h, uint64_t deadline_ms, struct err *e)
{
	struct watch_loop *loop = h->hands->loop;

	h->pidfd = pidfd_open(h->pid, 0);
	if (h->pidfd < 0)
		return err_sys(e, errno, "watch process %d", (int)h->pid);
	h->pid_watch = loop->ops->add_fd(loop, h->pidfd, WATCH_READ, hand_ended, h, e);
	h->sock_watch = loop->ops->add_fd(loop, h->sock, WATCH_READ, hand_answered, h, e);
	h->deadline = loop->ops->add_timer(loop, deadline_ms, hand_late, h, e);
	return h->pid_watch && h->sock_watch && h->deadline ? 0 : -1;
}

static int hand_start(
	struct hand *h, const char *const words[HAND_WORDS], uint64_t deadline_ms, struct err *e)
{
	int pair[2];

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
		return err_sys(e, errno, "a socket for a process");
	h->sock = pair[0];
	h->pid = hand_fork(h, pair[1], words);
	close(pair[1]);
	if (h->pid < 0)
		return err_sys(e, errno, "fork");
	if (hand_watch(h, deadline_ms, e) == 0)
		return 0;
	kill(h->pid, SIGKILL); /* it has hardly begun */
	return -1;
}

static void append_word(char *text, size_t size, const char *word)
{
	size_t len = strlen(text);

	snprintf(text + len, size - len, "%s%s", len ? " " : "", word);
}

int hands_do(struct hands *hands, const char *object, const char *const words[HAND_WORDS],
	uint64_t deadline_ms, hand_done_fn *done, void *arg, struct err *e)
{
	struct hand *stuck = hands_at(hands, object);
	struct hand *h;

	if (stuck)
		return wedged_error(stuck, e);
	h = calloc(1, sizeof(*h));
	if (!h)
		return err_set(e, ERR_FAILED, "MEMORY", "no memory for a process");
	*h = (struct hand){.hands = hands, .pidfd = -1, .sock = -1, .done = done, .arg = arg};
	str_copy(h->object, sizeof(h->object), object);
	for (int i = 0; i < HAND_WORDS && words[i]; i++)
		append_word(h->work, sizeof(h->work), words[i]);
	list_append(&hands->list, &h->node);
	if (hand_start(h, words, deadline_ms, e) == 0)
		return 0;
	hand_free(h);
	return -1;
}

/* --- those of an earlier daemon --------------------------------------------------------------- */

/* Whether it ends of SIGKILL, soon. */
static bool ends_when_killed(int pidfd)
{
	struct pollfd p = {.fd = pidfd, .events = POLLIN};

	pidfd_send_signal(pidfd, SIGKILL, NULL, 0);
	return poll(&p, 1, ADOPT_MS) > 0;
}

static void adopt_one(void *arg, pid_t pid, const char *object, const char *work)
{
	struct hands *hands = arg;
	struct watch_loop *loop = hands->loop;
	auto_close int pidfd = pidfd_open(pid, 0);
	struct err e = ERR_INIT;
	struct hand *h;

	if (pidfd < 0 || ends_when_killed(pidfd))
		return;
	h = calloc(1, sizeof(*h));
	if (!h)
		return;
	*h = (struct hand){.hands = hands, .pid = pid, .pidfd = -1, .sock = -1, .late = true};
	str_copy(h->object, sizeof(h->object), object);
	str_copy(h->work, sizeof(h->work), work);
	list_append(&hands->list, &h->node);
	h->pidfd = steal_fd(&pidfd);
	h->pid_watch = loop->ops->add_fd(loop, h->pidfd, WATCH_READ, hand_ended, h, &e);
	if (!h->pid_watch)
		log_error("%s: nobody will see process %d end: %s", object, (int)pid, e.msg);
	log_warning("%s: is wedged since an earlier run, by process %d", object, (int)pid);
	hand_say(h, true);
}

int hands_adopt(struct hands *hands, const char *home, struct err *e)
{
	if (!str_copy(hands->home, sizeof(hands->home), home))
		return err_set(
			e, ERR_USAGE, "PATH-TOO-LONG", "the path %.64s... is too long", home);
	return hands_each_process(home, adopt_one, hands, e);
}

/* --- in the hand ------------------------------------------------------------------------------ */

static const struct hand_work *hand_find_work(const char *name)
{
	for (unsigned int i = 0; i < hand_work_count; i++)
		if (strcmp(hand_works[i].name, name) == 0)
			return &hand_works[i];
	return NULL;
}

/* Named first, then asked: see the head of this file. */
static bool daemon_is_there(void)
{
	struct pollfd p = {.fd = HAND_FD};

	prctl(PR_SET_NAME, HAND_NAME);
	return poll(&p, 1, 0) == 0;
}

int hand_main(int argc, char **argv)
{
	const struct hand_work *work = argc > 3 ? hand_find_work(argv[3]) : NULL;
	struct hand_answer answer = {0};
	int fd = -1;

	if (!work) {
		fprintf(stderr, "%s is started by iovd only\n", HAND_NAME);
		return 2;
	}
	assert(work->result_size <= sizeof(answer.result));
	prctl(PR_SET_NAME, HAND_NAME);
	if (!daemon_is_there())
		return 1;
	if (work->run(argv + 4, answer.result, &fd, &answer.e) < 0)
		close_fd(&fd);
	return fdio_send(HAND_FD, &answer, sizeof(answer), &fd, fd >= 0 ? 1 : 0) < 0 ? 1 : 0;
}
