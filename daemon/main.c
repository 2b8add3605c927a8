/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Theory of operation
 *
 * The command `iovd` becomes iovd-keeper, which starts `iovd --keeper-fd=N ...` with the same
 * options: that is the daemon, and what the rest of this file is about. It may be killed at any
 * instant; the keeper starts the next one.
 *
 * The order of the start is the order of trust: the lock (only one daemon works on these folders),
 * what is remembered, what is there, what was left half done; and only when all of that agrees does
 * the socket open and the service manager hear that we are ready. The end is the reverse.
 */
#include <config.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "daemon/binding_keep.h"
#include "daemon/conf.h"
#include "daemon/config_reader.h"
#include "daemon/daemon.h"
#include "daemon/domains.h"
#include "daemon/events.h"
#include "daemon/faults.h"
#include "daemon/inventory.h"
#include "daemon/jobs.h"
#include "daemon/loop.h"
#include "daemon/hands.h"
#include "daemon/notify.h"
#include "daemon/passthrough.h"
#include "daemon/reconcile.h"
#include "daemon/supervisor.h"
#include "daemon/server.h"
#include "daemon/vf.h"
#include "daemon/vf_given.h"
#include "lib/cleanup.h"
#include "lib/err.h"
#include "lib/fdio.h"
#include "lib/log.h"

#define KEEPER_NAME "iovd-keeper"

/* What main() holds besides the daemon's parts, to be given back at the end. */
struct process {
	struct conf conf;
	struct daemon daemon;
	struct watch *term, *intr;
	int lock_fd;
	bool failed; /* to begin serving, for this reason */
	struct err failure;
	bool made_socket; /* not passed in: ours to remove */
	char socket_path[PATH_MAX], pid_path[PATH_MAX];
};

static void print_help(void)
{
	printf("Usage: iovd [OPTION]...\n"
	       "Hands host devices to virtual machines.\n\n"
	       "  --state-dir DIR     what is remembered (%s)\n"
	       "  --runtime-dir DIR   sockets and pid files (%s)\n"
	       "  --sysroot DIR       read /sys, /proc and /dev facts under DIR\n"
	       "  --config FILE       settings (%s/iovd.conf)\n"
	       "  --libvirt URI       whose domains are VMs (qemu:///system), or none\n"
	       "  --apply-bindings    give devices the drivers that are kept for them, and end\n"
	       "  --stop-all          end the daemon of these folders and all its workers\n"
	       "  --debug TOKENS      log more: ctl,keeper,inv,... or all\n"
	       "  -h, --help          this text\n"
	       "  -V, --version       the version\n",
		IOVD_STATE_DIR, IOVD_RUNTIME_DIR, IOVD_SYSCONF_DIR);
}

/* --- becoming the keeper ---------------------------------------------------------------------- */

/* Where this program is, so that a build tree runs its own keeper. */
static int main_own_dir(char *dir, size_t size, struct err *e)
{
	ssize_t len = readlink("/proc/self/exe", dir, size);
	char *slash;

	if (len < 0 || (size_t)len >= size)
		return err_set(e, ERR_FAILED, "EXEC", "iovd cannot find its own place");
	dir[len] = '\0';
	slash = strrchr(dir, '/');
	*slash = '\0';
	return 0;
}

/* Only returns on failure. */
static int main_exec_keeper(char **argv, struct err *e)
{
	char dir[PATH_MAX], path[PATH_MAX + sizeof(KEEPER_NAME) + 1];

	if (main_own_dir(dir, sizeof(dir), e) < 0)
		return -1;
	argv[0] = (char *)KEEPER_NAME;
	snprintf(path, sizeof(path), "%s/" KEEPER_NAME, dir);
	execv(path, argv);
	if (errno == ENOENT)
		execv(IOVD_LIBEXECDIR "/" KEEPER_NAME, argv);
	err_sys(e, errno, "start " KEEPER_NAME);
	return err_evidence(e, "looked in %s and %s", dir, IOVD_LIBEXECDIR);
}

/* --- folders, lock, pid file ------------------------------------------------------------------ */

/* Who else could write there could put his own socket or store in place of ours. */
static int main_check_dir(const char *path, struct err *e)
{
	struct stat st;

	if (stat(path, &st) < 0)
		return err_sys(e, errno, "look at %s", path);
	if (!S_ISDIR(st.st_mode))
		return err_set(e, ERR_FAILED, "FOLDER", "%s is no folder", path);
	if ((st.st_uid == 0 || st.st_uid == geteuid()) && !(st.st_mode & (S_IWGRP | S_IWOTH)))
		return 0;
	err_set(e, ERR_REFUSED, "FOLDER", "others can change what is in %s", path);
	err_evidence(e, "owner %u, mode %04o", (unsigned int)st.st_uid, st.st_mode & 07777u);
	return err_fix(e, "give it to the user that iovd runs as, with mode 0711 or less");
}

static int main_make_dir(const char *path, mode_t mode, struct err *e)
{
	if (mkdir(path, mode) < 0 && errno != EEXIST)
		return err_sys(e, errno, "make the folder %s", path);
	return main_check_dir(path, e);
}

/* One daemon for a runtime folder; the lock falls with the process, however it ends. */
static int main_lock(struct process *p, struct err *e)
{
	struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
	char path[PATH_MAX + 16];

	snprintf(path, sizeof(path), "%s/iovd.lock", p->conf.runtime_dir);
	p->lock_fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (p->lock_fd < 0)
		return err_sys(e, errno, "open %s", path);
	if (fcntl(p->lock_fd, F_OFD_SETLK, &lock) == 0)
		return 0;
	if (errno != EAGAIN && errno != EACCES)
		return err_sys(e, errno, "lock %s", path);
	err_set(e, ERR_BUSY, "RUNNING", "an iovd works in %s already", p->conf.runtime_dir);
	return err_fix(e, "stop it, or choose other folders with --state-dir and --runtime-dir");
}

static int main_write_pid(struct process *p, struct err *e)
{
	char text[16];
	int len = snprintf(text, sizeof(text), "%d\n", (int)getpid());
	auto_close int fd =
		open(p->pid_path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0644);
	int rc;

	if (fd < 0)
		return err_sys(e, errno, "open %s", p->pid_path);
	rc = fdio_write_all(fd, text, (size_t)len);
	return rc < 0 ? err_sys(e, -rc, "write %s", p->pid_path) : 0;
}

/* A thousand clients and their workers need more descriptors than a login shell gives. */
static void main_raise_fd_limit(void)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) < 0 || limit.rlim_cur >= limit.rlim_max)
		return;
	limit.rlim_cur = limit.rlim_max;
	if (setrlimit(RLIMIT_NOFILE, &limit) < 0)
		log_warning("the limit of open files stays low: %s", strerror(errno));
}

/* --- the daemon ------------------------------------------------------------------------------- */

static void main_stop(void *arg, unsigned int signum)
{
	struct process *p = arg;

	log_info("ending on signal %u", signum);
	loop_stop(p->daemon.loop);
}

static int main_open_socket(struct process *p, struct err *e)
{
	struct daemon *d = &p->daemon;
	int fd = notify_listen_fd(p->conf.keeper_fd >= 0, e);

	if (fd == -2)
		return -1;
	if (fd == -1) {
		fd = server_listen(p->socket_path, p->conf.socket_group, e);
		if (fd < 0)
			return err_wrap(e, "open the control socket");
		p->made_socket = true;
	}
	d->server = server_new(d, fd, p->conf.socket_group, &server_default_limits, e);
	return d->server ? 0 : -1;
}

static int main_prepare(struct process *p, struct err *e)
{
	umask(0022);
	signal(SIGPIPE, SIG_IGN);
	signal(SIGXFSZ, SIG_IGN); /* a full quota is the store's error, not our end */
	main_raise_fd_limit();
	snprintf(p->socket_path, sizeof(p->socket_path), "%.4000s/iovd.sock", p->conf.runtime_dir);
	snprintf(p->pid_path, sizeof(p->pid_path), "%.4000s/iovd.pid", p->conf.runtime_dir);
	if (main_make_dir(p->conf.runtime_dir, 0711, e) < 0 ||
		main_make_dir(p->conf.state_dir, 0700, e) < 0)
		return -1;
	return main_lock(p, e);
}

static void main_tell(void *arg, const char *event, const char *id, const char *json, size_t len)
{
	struct process *p = arg;

	events_emit(p->daemon.events, event, "device", id, json, len);
	vf_news(&p->daemon, id);
	vf_given_news(&p->daemon);
	binding_news(&p->daemon, id);
	faults_news(p->daemon.faults, event, id);
	passthrough_news(p->daemon.passthrough, id);
	config_reader_look(p->daemon.config_reader);
}

static void main_recovery(void *arg, const char *id, const char *what)
{
	faults_recovery(((struct process *)arg)->daemon.faults, id, what);
}

static int main_take_inventory(struct process *p, struct err *e)
{
	struct daemon *d = &p->daemon;
	const char *sysroot = p->conf.sysroot[0] ? p->conf.sysroot : "/";

	if (inventory_new(sysroot, d->loop, &d->inventory, e) < 0)
		return -1;
	inventory_set_listener(d->inventory, main_tell, p);
	inventory_set_recovery(d->inventory, main_recovery, p);
	if (p->conf.keeper_fd >= 0)
		inventory_set_keeper(d->inventory, getppid());
	return 0;
}

/* Store, keeper and host agree: only now may clients ask. */
static int main_begin_serving(struct process *p, struct err *e)
{
	struct supervisor *supervisor = p->daemon.supervisor;

	if (main_open_socket(p, e) < 0 || main_write_pid(p, e) < 0 ||
		(supervisor && supervisor_up(supervisor, e) < 0))
		return -1;
	log_info("serving %s", p->socket_path);
	notify_state("READY=1");
	return 0;
}

static void main_ready(void *arg)
{
	struct process *p = arg;

	p->failed = main_begin_serving(p, &p->failure) < 0;
	if (p->failed)
		loop_stop(p->daemon.loop);
}

static void main_reconciled(void *arg)
{
	struct process *p = arg;
	struct daemon *d = &p->daemon;

	vf_given_news(d); /* what has changed while there was no daemon */
	d->config_reader = config_reader_new(d, &config_reader_default_limits, &p->failure);
	if (d->config_reader &&
		config_reader_begin(d->config_reader, main_ready, p, &p->failure) == 0)
		return;
	p->failed = true;
	loop_stop(d->loop);
}

static int main_start(struct process *p, struct err *e)
{
	struct daemon *d = &p->daemon;

	d->conf = &p->conf;
	d->loop = loop_new(e);
	if (!d->loop)
		return -1;
	p->term = loop_add_signal(d->loop, SIGTERM, main_stop, p, e);
	p->intr = loop_add_signal(d->loop, SIGINT, main_stop, p, e);
	if (!p->term || !p->intr)
		return -1;
	d->events = events_new(e);
	if (!d->events)
		return -1;
	d->jobs = jobs_new(d->loop, d->events, e);
	if (!d->jobs || main_take_inventory(p, e) < 0)
		return -1;
	if (reconcile_open(d, p->conf.keeper_fd, e) < 0)
		return -1;
	d->domains = domains_new(
		d, p->conf.libvirt_given[0] ? p->conf.libvirt_given : p->conf.libvirt, e);
	return d->domains ? reconcile_begin(d, main_reconciled, p, e) : -1;
}

/* The reverse of main_start(), from wherever it got to. */
static void main_end(struct process *p)
{
	struct daemon *d = &p->daemon;

	server_free(d->server);
	if (p->made_socket)
		unlink(p->socket_path);
	config_reader_free(d->config_reader);
	domains_free(d->domains);
	reconcile_close(d);
	inventory_free(d->inventory);
	jobs_free(d->jobs);
	events_free(d->events);
	if (d->loop) {
		d->loop->ops->remove(p->term);
		d->loop->ops->remove(p->intr);
		loop_free(d->loop);
	}
	if (p->lock_fd >= 0)
		unlink(p->pid_path);
	close_fd(&p->lock_fd);
}

static int main_serve(struct process *p, struct err *e)
{
	int rc;

	if (main_prepare(p, e) < 0)
		return -1;
	rc = main_start(p, e);
	if (rc == 0) {
		rc = loop_run(p->daemon.loop, e);
		notify_state("STOPPING=1");
	}
	if (rc == 0 && p->failed) {
		*e = p->failure;
		rc = -1;
	}
	main_end(p);
	return rc;
}

/* --- at boot ---------------------------------------------------------------------------------- */

static void main_applied(void *arg, const struct err *e)
{
	struct process *p = arg;

	p->failed = e;
	if (e)
		p->failure = *e;
	loop_stop(p->daemon.loop);
}

/* Without keeper, socket or anything else that a boot may not have yet. */
static int main_apply(struct process *p, struct err *e)
{
	struct daemon *d = &p->daemon;
	int rc;

	if (main_prepare(p, e) < 0)
		return -1;
	d->conf = &p->conf;
	d->loop = loop_new(e);
	d->events = d->loop ? events_new(e) : NULL; /* that nobody watches */
	if (!d->events)
		return -1;
	rc = main_take_inventory(p, e);
	if (rc == 0)
		rc = reconcile_open(d, -1, e);
	if (rc == 0)
		rc = binding_apply(d, NULL, main_applied, p, e);
	if (rc == 0)
		rc = loop_run(d->loop, e);
	if (rc == 0 && p->failed) {
		*e = p->failure;
		rc = -1;
	}
	main_end(p);
	return rc;
}

static int main_run(struct process *p, int argc, char **argv, struct err *e)
{
	conf_init(&p->conf);
	if (conf_parse_args(&p->conf, argc, argv, e) < 0)
		return -1;
	if (p->conf.show_help) {
		print_help();
		return 0;
	}
	if (p->conf.show_version) {
		puts("iovd " PACKAGE_VERSION);
		return 0;
	}
	if (conf_read_file(&p->conf, e) < 0)
		return -1;
	if (p->conf.apply_bindings)
		return main_apply(p, e);
	return p->conf.runs_as_daemon ? main_serve(p, e) : main_exec_keeper(argv, e);
}

int main(int argc, char **argv)
{
	static struct process process = {.lock_fd = -1};
	struct err e = ERR_INIT;

	log_open("iovd");
	if (strcmp(argv[0], HAND_NAME) == 0)
		return hand_main(argc, argv);
	if (main_run(&process, argc, argv, &e) == 0)
		return EXIT_SUCCESS;
	log_error("%s [%s]%s%s", e.msg, e.code, e.evidence[0] ? ": " : "", e.evidence);
	if (e.fix[0])
		log_error("%s", e.fix);
	return err_kind_info(e.kind)->exit_status;
}
