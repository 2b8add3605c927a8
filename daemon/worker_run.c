/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Theory of operation. Everything that needs a privilege happens first, by the keeper
 * (daemon/keeper_proto.h) or, alone, by worker_alone.c; then the sandbox closes; then, when the
 * predecessor's ring has nothing pending any more, the session goes on where it was left, or begins.
 */
#include "daemon/worker_run.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "daemon/worker_alone.h"
#include "daemon/worker_loop.h"
#include "daemon/worker_net.h"
#include "daemon/worker_sandbox.h"
#include "daemon/worker_vault.h"
#include "lib/backends/blk.h"
#include "lib/backends/net.h"
#include "lib/backends/vu_session.h"
#include "lib/cleanup.h"
#include "lib/log.h"

struct worker {
	struct worker_args args;
	struct worker_keeper keeper;
	struct vault alone_vault;
	struct vault *vault;
	bool kept; /* by a keeper */

	bool is_net;
	struct blk_disk disk; /* else */
	struct net_tap tap;
	int ring_fd;
	struct io_uring_params ring_params;
	struct io_uring ring, old_ring;
	bool has_old_ring;
	int connection; /* alone: a connected socket to begin with, or -1 */

	struct session_page *page;
	struct backend *backend;
	struct worker_loop *loop;
	struct vu_session *session;
	struct watch *old_ring_watch, *patience, *signal_watch;
	int signals;
	bool refresh_due;
	/* The daemon's last words, until they are heard. */
	uint64_t gate_due, release_due;
};

/* --- what the session tells ------------------------------------------------------------------ */

static void session_changed(void *arg)
{
	struct worker *w = arg;
	bool door = vault_fd(w->vault, VAULT_LISTEN) >= 0;

	if (w->kept)
		worker_keeper_send(&w->keeper, KEEPER_MSG_NOTE, WORKER_NOTE_STATE);
	else if (!door && !w->page->connected && w->page->vmm_sessions)
		worker_loop_stop(w->loop); /* the one connection that we were given is over */
}

static void session_report(void *arg, const char *sentence)
{
	(void)arg;
	log_warning("%s", sentence);
}

static void stop_loop(void *arg)
{
	worker_loop_stop(((struct worker *)arg)->loop);
}

/* --- work, words, signals -------------------------------------------------------------------- */

static bool work(void *arg)
{
	struct worker *w = arg;

	if (w->refresh_due) {
		w->refresh_due = false;
		vu_session_refresh(w->session);
	}
	if (w->gate_due) {
		vu_session_set_gate(w->session, w->gate_due);
		w->gate_due = 0;
	}
	if (w->release_due) {
		vu_session_release(w->session, w->release_due);
		w->release_due = 0;
	}
	return vu_session_work(w->session);
}

static bool arm(void *arg)
{
	return vu_session_arm(((struct worker *)arg)->session);
}

static void disarm(void *arg)
{
	vu_session_disarm(((struct worker *)arg)->session);
}

static bool waiting(void *arg)
{
	return vu_session_in_kernel(((struct worker *)arg)->session);
}

static void daemon_told(void *arg, uint32_t code, uint64_t value)
{
	struct worker *w = arg;

	if (code == WORKER_TELL_RESIZE)
		w->refresh_due = true;
	else if (code == WORKER_TELL_DEBUG)
		log_set_debug(value ? "all" : "");
	else if (code == WORKER_TELL_GATE)
		w->gate_due = MAX(w->gate_due, value);
	else if (code == WORKER_TELL_RELEASE)
		w->release_due = value;
}

static void signalled(void *arg, unsigned int events)
{
	struct worker *w = arg;
	struct signalfd_siginfo info;

	(void)events;
	if (read(w->signals, &info, sizeof(info)) != sizeof(info))
		return;
	if (info.ssi_signo == SIGHUP)
		w->refresh_due = true;
	else
		vu_session_finish(w->session, stop_loop, w);
}

static int watch_signals(struct worker *w, struct err *e)
{
	struct watch_loop *loop = worker_loop_watch(w->loop);
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGHUP);
	sigprocmask(SIG_BLOCK, &set, NULL);
	signal(SIGPIPE, SIG_IGN);
	w->signals = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	if (w->signals < 0)
		return err_sys(e, errno, "signals");
	w->signal_watch = loop->ops->add_fd(loop, w->signals, WATCH_READ, signalled, w, e);
	return w->signal_watch ? 0 : -1;
}

/* --- the end of the predecessor -------------------------------------------------------------- */

static void forget_old_ring(struct worker *w)
{
	const struct watch_ops *loop = worker_loop_watch(w->loop)->ops;

	loop->remove(w->old_ring_watch);
	loop->remove(w->patience);
	w->old_ring_watch = w->patience = NULL;
	uring_unmap(&w->old_ring);
	close(w->args.old_ring_fd);
	w->has_old_ring = false;
	worker_keeper_send(&w->keeper, KEEPER_MSG_DRAINED, 0);
}

static int serve(struct worker *w, struct err *e)
{
	if (vu_session_start(w->session, w->args.old_ring_fd >= 0, e) < 0)
		return -1;
	if (w->connection >= 0 && vu_session_connect(w->session, steal_fd(&w->connection), e) < 0)
		return -1;
	if (w->kept)
		worker_keeper_send(&w->keeper, KEEPER_MSG_READY, 0);
	return 0;
}

static void old_ring_seen(void *arg, uint64_t user_data, int32_t res)
{
	vu_session_seen(((struct worker *)arg)->session, user_data, res);
}

/* Nothing is submitted to our own ring before the old one is empty. */
static void look_at_old_ring(void *arg, unsigned int events)
{
	struct worker *w = arg;
	struct err e = ERR_INIT;

	(void)events;
	if (!w->has_old_ring || uring_drain(&w->old_ring, 0, old_ring_seen, w, &e) < 0)
		return;
	forget_old_ring(w);
	if (serve(w, &e) < 0) {
		log_error("%s", e.msg);
		worker_keeper_failed(&w->keeper, &e);
		exit(1);
	}
}

static void patience_ended(void *arg, unsigned int events)
{
	struct worker *w = arg;

	(void)events;
	vu_session_give_up_waiting(w->session);
	worker_loop_watch(w->loop)->ops->set_timer(w->patience, w->args.drain_timeout_ms);
}

static int await_predecessor(struct worker *w, struct err *e)
{
	struct watch_loop *loop = worker_loop_watch(w->loop);

	w->old_ring_watch =
		loop->ops->add_fd(loop, w->args.old_ring_fd, WATCH_READ, look_at_old_ring, w, e);
	w->patience = loop->ops->add_timer(loop, w->args.drain_timeout_ms, patience_ended, w, e);
	if (!w->old_ring_watch || !w->patience)
		return -1;
	look_at_old_ring(w, 0);
	return 0;
}

/* --- birth ----------------------------------------------------------------------------------- */

static int be_born_kept(struct worker *w, struct err *e)
{
	const struct keeper_msg *hello = &w->keeper.hello;

	w->kept = true;
	w->vault = &w->keeper.vault;
	w->keeper.told = daemon_told;
	w->keeper.arg = w;
	if (worker_keeper_meet(&w->keeper, w->args.control_fd, e) < 0)
		return -1;
	w->ring_fd = w->args.ring_fd;
	w->ring_params = hello->ring_params;
	if (w->args.old_ring_fd >= 0) {
		if (uring_map(&w->old_ring, w->args.old_ring_fd, &hello->old_ring_params, e) < 0)
			return err_wrap(e, "the predecessor's ring");
		w->has_old_ring = true;
	}
	if (w->is_net) {
		if (worker_net_tap(&w->args, w->vault, &w->tap, e) < 0)
			return -1;
	} else if (!w->args.null_size && blk_disk_probe(&w->disk, w->args.backing_fd, e) < 0) {
		return -1;
	}
	w->disk.direct = w->args.cache == WORKER_CACHE_NONE && blk_disk_can_be_direct(&w->disk);
	w->page = session_page_map(vault_fd(w->vault, VAULT_PAGE), e);
	if (!w->page)
		return -1;
	w->page->generation = hello->value;
	return 0;
}

static int be_born_alone(struct worker *w, struct err *e)
{
	bool listening;
	int page;

	w->vault = &w->alone_vault;
	vault_init(w->vault, &vault_none_ops);
	if (w->is_net && worker_net_tap(&w->args, NULL, &w->tap, e) < 0)
		return -1;
	w->ring_fd = w->is_net ? worker_alone_ring(&w->ring_params, e)
			       : worker_alone_disk(&w->args, &w->disk, &w->ring_params, e);
	if (w->ring_fd < 0)
		return -1;
	page = session_page_create(e);
	if (page < 0 || vault_put(w->vault, VAULT_PAGE, page, e) < 0)
		return -1;
	w->page = session_page_map(vault_fd(w->vault, VAULT_PAGE), e);
	if (!w->page)
		return -1;
	w->page->generation = 1;
	w->connection = worker_alone_socket(&w->args, w->vault, &listening, e);
	if (w->connection < 0)
		return -1;
	if (listening)
		w->connection = -1;
	return 0;
}

static struct blk_engine *make_engine(struct worker *w, struct err *e)
{
	if (w->args.null_size)
		return blk_null_new(w->args.null_size, e);
	if (w->disk.in_memory)
		return blk_inline_new(&w->disk, e);
	return blk_uring_new(&w->disk, &w->ring, e);
}

static int make_net(struct worker *w, struct err *e)
{
	const struct net_options options = {
		.mtu = w->args.mtu,
		.mac = w->args.has_mac ? w->args.mac : NULL,
		.only_mac = w->args.only_mac,
		.no_vlan = w->args.no_vlan,
	};

	w->backend = net_new(&options, &w->tap, e);
	return w->backend ? 0 : -1;
}

static int make_disk(struct worker *w, struct err *e)
{
	struct blk_engine *engine = make_engine(w, e);
	const struct blk_options options = {
		.queues = w->args.queues,
		.read_only = w->args.read_only || (w->disk.read_only && !w->args.idle),
		.hold = w->args.hold,
		.write_through = w->args.hold && !w->disk.direct,
		.serial = w->args.serial,
		.block_size = w->args.null_size ? 512 : w->disk.block_size,
		.physical_block_size = w->args.null_size ? 4096 : w->disk.physical_block_size,
	};

	if (!engine)
		return -1;
	w->backend = blk_new(&options, engine, e);
	return w->backend ? 0 : -1;
}

static int make_session(struct worker *w, struct err *e)
{
	const struct worker_poller poller = {
		.work = work,
		.arm = arm,
		.disarm = disarm,
		.waiting = waiting,
		.arg = w,
	};
	struct vu_session_config cfg;

	/* On one processor the guest cannot give us work while we look for it. */
	w->loop = worker_loop_new(sysconf(_SC_NPROCESSORS_ONLN) > 1 ? w->args.poll_us : 0, e);
	if (!w->loop || watch_signals(w, e) < 0)
		return -1;
	cfg = (struct vu_session_config){
		.loop = worker_loop_watch(w->loop),
		.vault = w->vault,
		.page = w->page,
		.ring = &w->ring,
		.backend = w->backend,
		.drain_timeout_ms = w->args.drain_timeout_ms,
		.io_timeout_ms = w->args.io_timeout_ms,
		.holds = w->args.hold,
		.changed = session_changed,
		.report = session_report,
		.arg = w,
	};
	if (vu_session_new(&w->session, &cfg, e) < 0)
		return -1;
	worker_loop_set_poller(w->loop, &poller);
	return 0;
}

static int be_born(struct worker *w, struct err *e)
{
	int rc = w->args.control_fd >= 0 ? be_born_kept(w, e) : be_born_alone(w, e);

	if (rc < 0 || uring_map(&w->ring, w->ring_fd, &w->ring_params, e) < 0)
		return -1;
	rc = w->is_net ? make_net(w, e) : make_disk(w, e);
	if (rc < 0 || make_session(w, e) < 0)
		return -1;
	if (w->kept && worker_keeper_listen(&w->keeper, worker_loop_watch(w->loop), e) < 0)
		return -1;
	return worker_sandbox_enter(w->args.user,
		w->is_net ? WORKER_SANDBOX_TAP : WORKER_SANDBOX_DISK,
		getenv("IOV_WORKER_FORGIVE") != NULL, e);
}

static int live(struct worker *w, struct err *e)
{
	int rc = w->has_old_ring ? await_predecessor(w, e) : serve(w, e);

	return rc < 0 ? -1 : worker_loop_run(w->loop, e);
}

int worker_run(const struct worker_args *args, struct err *e)
{
	static struct worker w = {.connection = -1, .ring_fd = -1, .keeper.control = -1};

	w.args = *args;
	w.is_net = worker_args_is_net(args);
	if (be_born(&w, e) == 0 && live(&w, e) == 0)
		return 0;
	worker_keeper_failed(&w.keeper, e);
	return -1;
}
