/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * iovd-keeper: the small parent of daemon and workers. It holds what they would lose by dying,
 * starts them, and starts the daemon again; it does nothing else. `iovd` becomes it (same
 * arguments), and it starts `iovd --keeper-fd=N` as its child.
 *
 *	start		take the lock; adopt the workers that live; then start the daemon
 *	SIGTERM		end the daemon, then itself; workers go on
 *	--stop-all	end the keeper that runs, if any, as by SIGTERM; adopt the workers as it
 * would be done at a start; end them; then itself
 *
 * R/keeper.pid is also the lock: who holds it (an OFD lock) is the keeper of this runtime folder.
 */
#include "daemon/keeper.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "daemon/loop.h"
#include "lib/cleanup.h"
#include "lib/fdio.h"
#include "lib/log.h"

#define ADOPT_MS    3000  /* for workers to answer a new keeper */
#define STOP_MS     20000 /* for the daemon or a worker to end before it is killed */
#define LOCK_ASK_MS 20

static void keeper_signal_workers(struct keeper *k, int sig)
{
	list_for_each (node, &k->workers) {
		struct held *h = list_entry(node, struct held, node);

		if (h->pidfd >= 0)
			pidfd_send_signal(h->pidfd, sig, NULL, 0);
	}
}

static bool keeper_has_workers(const struct keeper *k)
{
	list_for_each (node, (struct list_node *)&k->workers)
		if (list_entry(node, struct held, node)->item.pid > 0)
			return true;
	return false;
}

/* Lets go of all; with --stop-all the sockets by which workers would be found go too. */
static void keeper_end_vaults(struct keeper *k)
{
	list_for_each_safe (node, &k->workers) {
		struct held *h = list_entry(node, struct held, node);

		if (k->stop_all)
			held_unlink_adopt(h);
		held_free(h);
	}
}

static void keeper_begin(struct keeper *k)
{
	struct err e = ERR_INIT;

	k->begun = true;
	if (k->stop_all) {
		keeper_signal_workers(k, SIGTERM);
		k->loop->ops->set_timer(k->deadline, STOP_MS);
	} else if (!k->stopping && keeper_daemon_start(k, &e) < 0) {
		log_error("%s", e.msg);
		k->exit_status = 1;
		k->stopping = true;
	}
}

void keeper_progress(struct keeper *k)
{
	if (!k->begun && (k->stopping || keeper_adopting(k) == 0))
		keeper_begin(k);
	if (k->begun && k->stop_all && !keeper_has_workers(k))
		loop_stop(k->loop);
	if (k->stopping && k->daemon.pidfd < 0)
		loop_stop(k->loop);
}

/* Who did not answer in time is not waited for: adopted later, or killed. */
static void keeper_deadline(void *arg, unsigned int events)
{
	struct keeper *k = arg;

	(void)events;
	if (!k->begun) {
		log_warning("%u workers do not answer yet", keeper_adopting(k));
		keeper_begin(k);
	} else if (k->stop_all) {
		keeper_signal_workers(k, SIGKILL);
	} else if (k->stopping && k->daemon.pidfd >= 0) {
		log_warning("the daemon does not end: killed");
		pidfd_send_signal(k->daemon.pidfd, SIGKILL, NULL, 0);
	}
	keeper_progress(k);
}

static void keeper_terminate(void *arg, unsigned int signum)
{
	struct keeper *k = arg;

	(void)signum;
	k->stopping = true;
	keeper_daemon_stop(k);
	k->loop->ops->set_timer(k->deadline, STOP_MS);
	keeper_progress(k);
}

/* --- the lock --------------------------------------------------------------------------------- */

static int pid_file_open(const char *path, struct err *e)
{
	int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0644);

	return fd < 0 ? err_sys(e, errno, "%s", path) : fd;
}

/* Locked, and still the file of that name: 0; held by another keeper: -EAGAIN. */
static int pid_file_lock(int fd, const char *path)
{
	struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
	struct stat ours, theirs;

	if (fcntl(fd, F_OFD_SETLK, &lock) < 0)
		return errno == EACCES ? -EAGAIN : -errno;
	if (fstat(fd, &ours) < 0 || stat(path, &theirs) < 0 || ours.st_ino != theirs.st_ino)
		return -ESTALE;
	return 0;
}

static void pid_file_write(int fd)
{
	char text[16];
	int len = snprintf(text, sizeof(text), "%d\n", (int)getpid());

	if (ftruncate(fd, 0) < 0 || pwrite(fd, text, (size_t)len, 0) != len)
		log_warning("keeper.pid: %s", strerror(errno));
}

static int keeper_ask_to_end(const char *path)
{
	char text[16];
	uint64_t pid;
	ssize_t len = fdio_read_file(AT_FDCWD, path, text, sizeof(text));

	if (len <= 0 || parse_u64(text, INT32_MAX, &pid) < 0)
		return -1;
	return kill((pid_t)pid, SIGTERM);
}

/* The lock, or -1; with `take_over` the keeper that has it is asked to end first. */
static int keeper_lock(struct keeper *k, bool take_over, struct err *e)
{
	char path[PATH_MAX + 16];
	uint64_t deadline = now_ms() + STOP_MS;
	bool asked = false;

	snprintf(path, sizeof(path), "%s/keeper.pid", k->runtime_dir);
	for (;;) {
		auto_close int fd = pid_file_open(path, e);
		int rc = fd < 0 ? -1 : pid_file_lock(fd, path);

		if (fd < 0)
			return -1;
		if (rc == 0) {
			pid_file_write(fd);
			return steal_fd(&fd);
		}
		if (rc != -EAGAIN && rc != -ESTALE)
			return err_sys(e, -rc, "lock %s", path);
		if (rc == -EAGAIN && (!take_over || now_ms() > deadline))
			return err_set(e, ERR_FAILED, "KEEPER-RUNS",
				"%s: another iovd-keeper runs there", k->runtime_dir);
		if (rc == -EAGAIN && !asked)
			asked = keeper_ask_to_end(path) == 0;
		poll(NULL, 0, LOCK_ASK_MS); /* a lock falls without an event */
	}
}

static void keeper_unlock(struct keeper *k, int fd)
{
	char path[PATH_MAX + 16];

	snprintf(path, sizeof(path), "%s/keeper.pid", k->runtime_dir);
	unlink(path);
	close(fd);
}

/* --- start ------------------------------------------------------------------------------------ */

/* `name` beside this program (a build folder), else where it was installed. */
static void keeper_find_program(char path[PATH_MAX], const char *name, const char *installed)
{
	ssize_t len = readlink("/proc/self/exe", path, PATH_MAX - 1);
	char *slash;

	if (len > 0) {
		path[len] = '\0';
		slash = strrchr(path, '/');
		if (slash && str_copy(slash + 1, (size_t)(path + PATH_MAX - slash - 1), name) &&
			access(path, X_OK) == 0)
			return;
	}
	snprintf(path, PATH_MAX, "%s/%s", installed, name);
}

/* The folder is there, with this mode if it is made now. */
static int keeper_make_dir(const char *path, mode_t mode, struct err *e)
{
	if (mkdir(path, mode) == 0)
		return chmod(path, mode) < 0 ? err_sys(e, errno, "%s", path) : 0;
	return errno == EEXIST ? 0 : err_sys(e, errno, "make %s", path);
}

static int keeper_make_dirs(struct keeper *k, struct err *e)
{
	if (snprintf(k->adopt_dir, sizeof(k->adopt_dir), "%s/keeper", k->runtime_dir) >=
		(int)sizeof(k->adopt_dir))
		return err_set(e, ERR_USAGE, "PATH-TOO-LONG", "%s is too long", k->runtime_dir);
	if (keeper_make_dir(k->runtime_dir, 0711, e) < 0 ||
		keeper_make_dir(k->adopt_dir, 0700, e) < 0)
		return -1;
	/* Who may enter it may become a keeper. */
	return chmod(k->adopt_dir, 0700) < 0 ? err_sys(e, errno, "%s", k->adopt_dir) : 0;
}

/* Vaults hold hundreds of descriptors per worker. */
static void keeper_raise_limits(void)
{
	struct rlimit files;

	if (getrlimit(RLIMIT_NOFILE, &files) < 0)
		return;
	files.rlim_cur = files.rlim_max;
	setrlimit(RLIMIT_NOFILE, &files);
}

static void keeper_read_args(struct keeper *k, int argc, char **argv)
{
	static const char runtime[] = "--runtime-dir";

	str_copy(k->runtime_dir, sizeof(k->runtime_dir), IOVD_RUNTIME_DIR);
	for (int i = 1; i < argc; i++) {
		if (strcmp(argv[i], "--stop-all") == 0)
			k->stop_all = true;
		else if (strcmp(argv[i], runtime) == 0 && i + 1 < argc)
			str_copy(k->runtime_dir, sizeof(k->runtime_dir), argv[++i]);
		else if (strncmp(argv[i], runtime, strlen(runtime)) == 0 &&
			 argv[i][strlen(runtime)] == '=')
			str_copy(k->runtime_dir, sizeof(k->runtime_dir),
				argv[i] + strlen(runtime) + 1);
	}
}

static int keeper_run(struct keeper *k, struct err *e)
{
	struct watch *term = loop_add_signal(k->loop, SIGTERM, keeper_terminate, k, e);
	struct watch *intr = loop_add_signal(k->loop, SIGINT, keeper_terminate, k, e);
	int rc = -1;

	k->deadline = k->loop->ops->add_timer(k->loop, ADOPT_MS, keeper_deadline, k, e);
	if (term && intr && k->deadline && keeper_adopt_all(k, e) == 0) {
		keeper_progress(k);
		rc = loop_run(k->loop, e);
	}
	k->loop->ops->remove(k->deadline);
	k->loop->ops->remove(intr);
	k->loop->ops->remove(term);
	return rc;
}

int main(int argc, char **argv)
{
	struct keeper k = {.argc = argc, .argv = argv, .daemon = {.pidfd = -1, .fd = -1}};
	struct err e = ERR_INIT;
	int lock = -1;

	log_open("iovd-keeper");
	list_init(&k.workers);
	keeper_raise_limits();
	keeper_read_args(&k, argc, argv);
	keeper_find_program(k.daemon_path, "iovd", IOVD_SBINDIR);
	keeper_find_program(k.worker_path, "iov-worker", IOVD_BINDIR);
	signal(SIGPIPE, SIG_IGN);
	k.loop = loop_new(&e);
	if (k.loop && keeper_make_dirs(&k, &e) == 0)
		lock = keeper_lock(&k, k.stop_all, &e);
	if (lock < 0 || keeper_run(&k, &e) < 0) {
		log_error("%s", e.msg);
		k.exit_status = 1;
	}
	keeper_end_vaults(&k);
	loop_free(k.loop);
	if (lock >= 0)
		keeper_unlock(&k, lock);
	return k.exit_status;
}
