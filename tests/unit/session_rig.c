/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "tests/unit/session_rig.h"

#include <check.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "daemon/keeper_proto.h"
#include "daemon/worker_run.h"
#include "lib/backends/vu_session.h"
#include "lib/cleanup.h"
#include "lib/fdio.h"

#define PATIENCE_MS 20000

/* --- the worker's process -------------------------------------------------------------------- */

static unsigned int passages_left;

static void count_passages(const char *name)
{
	(void)name;
	if (passages_left && --passages_left == 0)
		kill(getpid(), SIGKILL);
}

/* Within the sandbox kill() is forbidden, and so ends the process as surely. */
static void run_worker(struct rig *r, int control)
{
	struct worker_args args = {
		.type = "blk",
		.null_size = r->opt.null ? RIG_DISK_BYTES : 0,
		.queues = r->opt.queues ? r->opt.queues : 1,
		.hold = r->opt.hold,
		.drain_timeout_ms = r->opt.drain_timeout_ms ? r->opt.drain_timeout_ms : 10000,
		.fd = -1,
		.control_fd = control,
		.ring_fd = r->ring_fd,
		.old_ring_fd = r->old_ring_fd,
		.backing_fd = r->disk,
	};
	struct err e = ERR_INIT;

	close(r->vmm);
	close(r->control);
	for (unsigned int slot = 0; slot < VAULT_SLOTS; slot++)
		close_fd(&r->vault[slot]);
	passages_left = r->generation == 1 ? r->kill_at : r->generation == 2 ? r->kill_again_at : 0;
	vu_crash_point = count_passages;
	if (worker_run(&args, &e) < 0)
		fprintf(stderr, "worker: %s\n", e.msg);
	_exit(1);
}

/* --- the keeper ------------------------------------------------------------------------------ */

static void give(struct rig *r, struct keeper_msg msg, int fd)
{
	msg.version = KEEPER_PROTO_VERSION;
	/* A worker that dies while it is told loses the rest: its end is seen soon enough. */
	fdio_send(r->control, &msg, sizeof(msg), &fd, fd >= 0 ? 1 : 0);
}

static void make_ring(struct rig *r)
{
	const int files[URING_FILES] = {
		[URING_FILE_DIRECT] = r->disk,
		[URING_FILE_BUFFERED] = r->disk,
		[URING_FILE_CONN] = -1,
		[URING_FILE_BACKEND_REQ] = -1,
	};
	struct err e = ERR_INIT;

	r->ring_fd = uring_create(32, &r->ring_params, &e);
	ck_assert_msg(r->ring_fd >= 0, "%s", e.msg);
	ck_assert_msg(uring_arm(r->ring_fd, files, &e) == 0, "%s", e.msg);
}

static void start_worker(struct rig *r)
{
	struct keeper_msg hello = {.type = KEEPER_MSG_HELLO};
	int pair[2];

	make_ring(r);
	r->generation++;
	r->ready = false;
	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair), 0);
	r->control = pair[0];
	r->worker = fork();
	ck_assert_int_ge(r->worker, 0);
	if (r->worker == 0)
		run_worker(r, pair[1]);
	close(pair[1]);
	r->pidfd = (int)syscall(SYS_pidfd_open, r->worker, 0);
	ck_assert_int_ge(r->pidfd, 0);
	hello.value = r->generation;
	hello.ring_params = r->ring_params;
	hello.old_ring_params = r->old_ring_params;
	give(r, hello, -1);
	for (unsigned int slot = 0; slot < VAULT_SLOTS; slot++)
		if (r->vault[slot] >= 0)
			give(r, (struct keeper_msg){.type = KEEPER_MSG_GIVE, .slot = slot},
				r->vault[slot]);
	give(r, (struct keeper_msg){.type = KEEPER_MSG_GO}, -1);
}

static void take_put(struct rig *r, const struct keeper_msg *msg, int fd)
{
	ck_assert_uint_lt(msg->slot, VAULT_SLOTS);
	ck_assert_int_ge(fd, 0);
	close_fd(&r->vault[msg->slot]);
	r->vault[msg->slot] = fd;
	give(r, (struct keeper_msg){.type = KEEPER_MSG_ACK, .cookie = msg->cookie}, -1);
}

static void hear(struct rig *r, const struct keeper_msg *msg, int fd)
{
	switch ((enum keeper_msg_type)msg->type) {
	case KEEPER_MSG_PUT:
		take_put(r, msg, fd);
		return;
	case KEEPER_MSG_DROP:
		for (uint64_t i = 0; i < msg->value; i++)
			close_fd(&r->vault[msg->slot + i]);
		return;
	case KEEPER_MSG_DRAINED:
		close_fd(&r->old_ring_fd);
		return;
	case KEEPER_MSG_READY:
		r->ready = true;
		if (r->page->gate.word != r->gate)
			rig_tell_gate(r, r->gate);
		if (r->release && r->page->hold.released != r->release)
			rig_tell_release(r, r->release);
		return;
	case KEEPER_MSG_NOTE:
		return;
	case KEEPER_MSG_FAILED:
		ck_assert_msg(r->opt.may_fail, "the worker failed: %s", msg->text);
		str_copy(r->failure, sizeof(r->failure), msg->text);
		r->stays_dead = true;
		return;
	default:
		ck_abort_msg("the worker says %u", msg->type);
	}
}

static void hear_all(struct rig *r)
{
	for (;;) {
		struct keeper_msg msg;
		struct fdio_msg m;

		if (fdio_recv(r->control, &msg, sizeof(msg), MSG_DONTWAIT, &m) < 0 || m.len == 0)
			return;
		ck_assert_uint_eq((size_t)m.len, sizeof(msg));
		hear(r, &msg, m.fd_count ? m.fds[0] : -1);
	}
}

static void bury(struct rig *r)
{
	hear_all(r); /* what it said before it died counts */
	ck_assert_int_eq(waitpid(r->worker, &r->exit_status, 0), r->worker);
	close_fd(&r->pidfd);
	close_fd(&r->control);
	r->worker = 0;
	r->deaths++;
	if (r->old_ring_fd < 0) {
		r->old_ring_fd = r->ring_fd;
		r->old_ring_params = r->ring_params;
	} else {
		close(r->ring_fd); /* never used: the one before was not drained */
	}
	r->ring_fd = -1;
	if (!r->stays_dead)
		start_worker(r);
}

/* One round: waits a little for the worker's words, its death, or the VMM's side. */
static void tend(struct rig *r)
{
	struct pollfd p[] = {
		{.fd = r->control, .events = POLLIN},
		{.fd = r->pidfd, .events = POLLIN},
		{.fd = r->vmm, .events = POLLIN},
	};

	poll(p, ARRAY_SIZE(p), 1);
	if (r->worker && p[1].revents)
		bury(r);
	else if (r->worker && p[0].revents)
		hear_all(r);
}

void rig_until(struct rig *r, bool (*done)(void *arg), void *arg)
{
	uint64_t deadline = now_ms() + PATIENCE_MS;

	do {
		ck_assert_msg(now_ms() < deadline, "nothing happened in %d ms", PATIENCE_MS);
		tend(r);
	} while (done && !done(arg));
}

/* --- the VMM --------------------------------------------------------------------------------- */

void rig_send(struct rig *r, uint32_t request, uint32_t flags, const void *payload, uint32_t size,
	const int *fds, unsigned int fd_count)
{
	const uint32_t header[3] = {request, VU_VERSION | flags, size};
	uint8_t msg[VU_HEADER_SIZE + 1024];

	ck_assert_uint_le(size, 1024);
	memcpy(msg, header, sizeof(header));
	if (size)
		memcpy(msg + sizeof(header), payload, size);
	ck_assert_int_eq(fdio_send(r->vmm, msg, sizeof(header) + size, fds, fd_count), 0);
	for (unsigned int i = 0; i < fd_count; i++)
		close(fds[i]);
}

struct wanted {
	struct rig *r;
	uint8_t *to;
	size_t have, want;
	int fd;
};

static bool receive_some(void *arg)
{
	struct wanted *w = arg;
	struct fdio_msg m;
	int rc = fdio_recv(w->r->vmm, w->to + w->have, w->want - w->have, MSG_DONTWAIT, &m);

	if (rc == -EAGAIN)
		return false;
	ck_assert_int_eq(rc, 0);
	ck_assert_msg(m.len > 0, "the worker closed the connection");
	w->have += (size_t)m.len;
	if (m.fd_count) {
		ck_assert_int_eq(w->fd, -1);
		w->fd = m.fds[0];
	}
	return w->have == w->want;
}

uint32_t rig_reply(struct rig *r, uint32_t request, void *payload, uint32_t size, int *fd)
{
	uint32_t header[3];
	struct wanted w = {.r = r, .to = (uint8_t *)header, .want = sizeof(header), .fd = -1};

	rig_until(r, receive_some, &w);
	ck_assert_uint_eq(header[0], request);
	ck_assert_uint_eq(header[1], VU_VERSION | VU_FLAG_REPLY);
	ck_assert_uint_le(header[2], size);
	if (header[2]) {
		w.to = payload;
		w.have = 0;
		w.want = header[2];
		rig_until(r, receive_some, &w);
	}
	*fd = w.fd;
	return header[2];
}

static bool is_quiet(void *arg)
{
	struct rig *r = arg;
	uint64_t word = __atomic_load_n(&r->page->message.word, __ATOMIC_ACQUIRE);
	int unread = 0;

	/* The worker's queue is empty when nothing that we sent is left in it. */
	ck_assert_int_eq(ioctl(r->vmm, TIOCOUTQ, &unread), 0);
	return r->ready && (word & 0xffff) == MSG_IDLE && unread == 0;
}

void rig_until_quiet(struct rig *r)
{
	int left = 0;

	rig_until(r, is_quiet, r);
	ck_assert_int_eq(ioctl(r->vmm, FIONREAD, &left), 0);
	ck_assert_int_eq(left, 0);
}

static bool is_closed(void *arg)
{
	struct rig *r = arg;
	char byte[256];

	for (;;) {
		ssize_t n = recv(r->vmm, byte, sizeof(byte), MSG_DONTWAIT);

		if (n <= 0)
			return n == 0 || errno == ECONNRESET;
	}
}

static bool is_let_go(void *arg)
{
	return !__atomic_load_n(&((struct rig *)arg)->page->connected, __ATOMIC_ACQUIRE);
}

void rig_until_closed(struct rig *r)
{
	rig_until(r, is_closed, r);
	rig_until(r, is_let_go, r);
}

static bool is_connected(void *arg)
{
	return !is_let_go(arg);
}

void rig_connect(struct rig *r)
{
	close_fd(&r->vmm);
	rig_until(r, is_let_go, r);
	r->vmm = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	ck_assert_int_eq(connect(r->vmm, (struct sockaddr *)&r->door, r->door_len), 0);
	rig_until(r, is_connected, r);
}

void rig_tell_gate(struct rig *r, uint64_t word)
{
	r->gate = word;
	give(r,
		(struct keeper_msg){
			.type = KEEPER_MSG_TELL, .code = WORKER_TELL_GATE, .value = word},
		-1);
}

static bool has_heard(void *arg)
{
	struct rig *r = arg;

	return __atomic_load_n(&r->page->gate.word, __ATOMIC_ACQUIRE) == r->gate;
}

void rig_until_heard(struct rig *r)
{
	rig_until(r, has_heard, r);
}

static bool is_settled(void *arg)
{
	struct rig *r = arg;

	return __atomic_load_n(&r->page->gate.settled, __ATOMIC_ACQUIRE) == r->gate;
}

void rig_until_settled(struct rig *r)
{
	rig_until(r, is_settled, r);
}

static bool is_held_anew(void *arg)
{
	const struct page_hold *hold = &((struct rig *)arg)->page->hold;

	return __atomic_load_n(&hold->number, __ATOMIC_ACQUIRE) > ((struct rig *)arg)->release;
}

void rig_until_held(struct rig *r)
{
	rig_until(r, is_held_anew, r);
}

void rig_tell_release(struct rig *r, uint32_t hold)
{
	r->release = hold;
	give(r,
		(struct keeper_msg){
			.type = KEEPER_MSG_TELL, .code = WORKER_TELL_RELEASE, .value = hold},
		-1);
}

void rig_recover(struct rig *r)
{
	kill(r->worker, SIGKILL);
	bury(r);
	r->release = r->page->hold.number; /* when the next one is ready */
}

void rig_turn(struct rig *r, void (*between)(struct rig *r))
{
	r->stays_dead = true;
	if (r->worker) {
		kill(r->worker, SIGKILL);
		bury(r);
	}
	r->stays_dead = false;
	between(r);
	start_worker(r);
}

unsigned int rig_worker_fds(const struct rig *r)
{
	char path[64];
	unsigned int count = 0;
	DIR *dir;

	snprintf(path, sizeof(path), "/proc/%d/fd", (int)r->worker);
	dir = opendir(path);
	ck_assert_ptr_nonnull(dir);
	while (readdir(dir))
		count++;
	closedir(dir);
	return count;
}

/* --- all of it ------------------------------------------------------------------------------- */

static int make_disk(void)
{
	int fd = open("/var/tmp", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);

	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(ftruncate(fd, RIG_DISK_BYTES), 0);
	return fd;
}

/* At an address that the kernel chooses. */
static int open_door(struct rig *r)
{
	struct sockaddr_un any = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	ck_assert_int_eq(bind(fd, (struct sockaddr *)&any, sizeof(sa_family_t)), 0);
	ck_assert_int_eq(listen(fd, 8), 0);
	r->door_len = sizeof(r->door);
	ck_assert_int_eq(getsockname(fd, (struct sockaddr *)&r->door, &r->door_len), 0);
	return fd;
}

void rig_open(struct rig *r, struct rig_options opt)
{
	struct err e = ERR_INIT;
	int pair[2];

	memset(r, 0, sizeof(*r));
	r->opt = opt;
	r->kill_at = opt.kill_at;
	r->kill_again_at = opt.kill_again_at;
	r->old_ring_fd = -1;
	memset(r->vault, 0xff, sizeof(r->vault));
	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
	r->vmm = pair[0];
	r->vault[VAULT_CONN] = pair[1];
	r->vault[VAULT_LISTEN] = open_door(r);
	r->vault[VAULT_PAGE] = session_page_create(&e);
	r->page = session_page_map(r->vault[VAULT_PAGE], &e);
	ck_assert_msg(r->page, "%s", e.msg);
	r->disk = make_disk();
	if (opt.prepare)
		opt.prepare(r);
	start_worker(r);
}

void rig_close(struct rig *r)
{
	r->stays_dead = true;
	if (r->worker) {
		kill(r->worker, SIGKILL);
		bury(r);
	}
	for (unsigned int i = 0; i < VAULT_SLOTS; i++)
		close_fd(&r->vault[i]);
	close_fd(&r->vmm);
	close_fd(&r->disk);
	close_fd(&r->old_ring_fd);
	session_page_unmap(r->page);
}
