/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Theory of operation: the path `paravirt`, a worker behind a socket.
 *
 * attach:	keep it (preparing)	| undo: forget it
 *		make the socket		| undo: remove it
 *		start the worker	| undo: kill it, drop its vault
 *		keep it as attached	  commits
 *
 * detach:	keep it as detaching	  commits
 *		end the worker		  SIGTERM, later SIGKILL
 *		drop its vault		  and wait until no request of it is on its way any more
 *		remove the socket
 *		forget it
 *
 * The socket's folder is everybody's to enter and nobody's to list (0711); the socket belongs to
 * the user that the VMM runs as, and to nobody else (0600), before anybody can connect.
 */
#include "daemon/attach_op.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pwd.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "daemon/conf.h"
#include "daemon/iostate.h"
#include "daemon/spare.h"
#include "daemon/supervisor.h"
#include "daemon/tap_node.h"
#include "daemon/vf_given.h"
#include "lib/cleanup.h"
#include "lib/log.h"

#define READY_MS 20000 /* for a worker to serve */
#define END_MS   10000 /* for a worker to drain and end before it is killed */

/* --- the socket ------------------------------------------------------------------------------- */

static int make_folder(const char *path, struct err *e)
{
	if (mkdir(path, 0711) < 0 && errno != EEXIST)
		return err_sys(e, errno, "make %s", path);
	return chmod(path, 0711) < 0 ? err_sys(e, errno, "%s", path) : 0;
}

static int make_folders(const struct daemon *d, const struct attachment_spec *spec, struct err *e)
{
	char path[PATH_MAX + 8];

	snprintf(path, sizeof(path), "%.4000s/vm", d->conf->runtime_dir);
	if (make_folder(path, e) < 0)
		return -1;
	attachment_folder(d->registry, spec, path, sizeof(path));
	return make_folder(path, e);
}

static int give_to_owner(const char *path, const char *owner, struct err *e)
{
	const struct passwd *pw = getpwnam(owner);

	if (!pw)
		return err_set(e, ERR_NOT_FOUND, "USER", "there is no user %s", owner);
	if (lchown(path, pw->pw_uid, pw->pw_gid) < 0)
		return err_sys(e, errno, "give %s to %s", path, owner);
	return 0;
}

/* The listening socket of an attachment, made anew. */
static int make_socket(struct daemon *d, const struct attachment_spec *spec, struct err *e)
{
	struct sockaddr_un addr = {.sun_family = AF_UNIX};
	auto_close int fd = -1;
	mode_t mask;
	int rc;

	if (!attachment_socket_path(d->registry, spec, addr.sun_path, sizeof(addr.sun_path)))
		return err_set(e, ERR_REFUSED, "PATH-TOO-LONG", "the socket's path is too long");
	if (make_folders(d, spec, e) < 0)
		return -1;
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return err_sys(e, errno, "socket");
	if (unlink(addr.sun_path) < 0 && errno != ENOENT)
		return err_sys(e, errno, "remove the old %s", addr.sun_path);
	mask = umask(0177);
	rc = bind(fd, (const struct sockaddr *)&addr, sizeof(addr));
	umask(mask);
	if (rc < 0)
		return err_sys(e, errno, "make %s", addr.sun_path);
	if (give_to_owner(addr.sun_path, spec->owner, e) < 0)
		return -1;
	if (listen(fd, 4) < 0)
		return err_sys(e, errno, "listen on %s", addr.sun_path);
	return steal_fd(&fd);
}

static int remove_socket(struct daemon *d, const struct attachment_spec *spec, struct err *e)
{
	char path[PATH_MAX];

	if (attachment_socket_path(d->registry, spec, path, sizeof(path)) && unlink(path) < 0 &&
		errno != ENOENT && errno != ENOTDIR)
		return err_sys(e, errno, "remove %s", path);
	attachment_folder(d->registry, spec, path, sizeof(path));
	rmdir(path); /* others of this VM may still be in it */
	return 0;
}

/* --- the disk --------------------------------------------------------------------------------- */

static void attachment_set_disk(struct attachment *a, const struct backing_facts *facts, int fd)
{
	close_fd(&a->backing_fd);
	a->backing_fd = fd;
	a->disk = (struct attachment_disk){
		.fs = facts->fs,
		.inode = facts->inode,
		.number = facts->number,
		.is_direct = facts->is_direct,
	};
}

/* --- the worker ------------------------------------------------------------------------------- */

static int fill_one(
	struct daemon *d, struct attachment *a, enum vault_slot slot, int fd, struct err *e)
{
	return fd < 0 ? -1 : supervisor_fill(d->supervisor, a, slot, fd, e);
}

/* The queues of a tap that was just made; the first one stands for all from then on. */
static int fill_taps(struct daemon *d, struct attachment *a, struct err *e)
{
	int fds[TAP_NODE_QUEUES_MAX], rc = 0;
	int count = tap_node_unpack(a->backing_fd, fds, e);

	a->backing_fd = count < 0 ? -1 : fds[0];
	for (int i = 0; i < count && rc == 0; i++)
		rc = fill_one(d, a, VAULT_TAP0 + (unsigned int)i, fds[i], e);
	for (int i = 1; i < count; i++)
		close(fds[i]);
	return count < 0 ? -1 : rc;
}

/* A fresh vault, and the first generation on it. */
static int start_worker(struct daemon *d, struct attachment *a, int listen_fd, struct err *e)
{
	close_fd(&a->page_fd);
	a->page_fd = session_page_create(e);
	a->gate_word = session_gate_next(a->gate_word, a->gate);
	if (a->page_fd < 0 || session_page_set_gate(a->page_fd, a->gate_word, e) < 0 ||
		incoming_fill(d, a, e) < 0 || attachment_describe(d->registry, a, e) < 0 ||
		(tap_node_is(a->spec.node) && fill_taps(d, a, e) < 0) ||
		fill_one(d, a, VAULT_PAGE, a->page_fd, e) < 0 ||
		fill_one(d, a, VAULT_LISTEN, listen_fd, e) < 0 ||
		fill_one(d, a, VAULT_BACKING, a->backing_fd, e) < 0 ||
		(a->lease.fd >= 0 && fill_one(d, a, VAULT_LEASE, a->lease.fd, e) < 0))
		return -1;
	a->disk_bytes = backing_size(a->backing_fd);
	return supervisor_spawn(d->supervisor, a, e);
}

/* --- the stages of attach --------------------------------------------------------------------- */

static int attach_socket(struct stages *x, void *arg, struct err *e)
{
	struct attach_op *op = arg;

	(void)x;
	op->listen_fd = make_socket(op->d, &op->a->spec, e);
	return op->listen_fd < 0 ? -1 : STAGE_DONE;
}

static int attach_unsocket(struct stages *x, void *arg, struct err *e)
{
	struct attach_op *op = arg;

	(void)x;
	close_fd(&op->listen_fd);
	return remove_socket(op->d, &op->a->spec, e);
}

static void attach_worker_news(void *arg)
{
	struct attach_op *op = arg;
	const struct attachment *a = op->a;
	struct err e = ERR_INIT;

	if (a->worker.pid > 0 && a->worker.ready) {
		op_wake(op, NULL);
	} else if (a->worker.pid == 0 && a->worker.generation > 0) {
		if (a->failure[0])
			err_set(&e, ERR_FAILED, "WORKER", "the worker cannot start: %s",
				a->failure);
		else
			err_set(&e, ERR_FAILED, "WORKER", "the worker ended at once, status 0x%x",
				(unsigned int)a->worker.exit_status);
		op_wake(op, &e);
	}
}

static void attach_worker_late(void *arg, unsigned int events)
{
	struct attach_op *op = arg;
	struct err e = ERR_INIT;

	(void)events;
	err_set(&e, ERR_FAILED, "WORKER", "the worker does not serve after %d s", READY_MS / 1000);
	err_evidence(&e, "process %d", op->a->worker.pid);
	err_fix(&e, "if another iovd has %s, detach it there", op->a->spec.node);
	op_wake(op, &e);
}

static int attach_worker(struct stages *x, void *arg, struct err *e)
{
	struct attach_op *op = arg;

	if (start_worker(op->d, op->a, op->listen_fd, e) < 0)
		return -1;
	close_fd(&op->listen_fd);
	return op_wait(op, x, attach_worker_news, attach_worker_late, READY_MS, e);
}

/* --- ending a worker, and its last request ---------------------------------------------------- */

static void op_ended_news(void *arg)
{
	struct attach_op *op = arg;

	if (op->a->worker.pid == 0)
		op_wake(op, NULL);
}

static void op_end_late(void *arg, unsigned int events)
{
	struct attach_op *op = arg;
	struct err e = ERR_INIT;

	(void)events;
	log_warning("%s: worker %d does not end: killed", op->a->spec.id, op->a->worker.pid);
	if (supervisor_kill(op->d->supervisor, op->a, SIGKILL, &e) < 0)
		op_wake(op, &e);
	else
		op->d->loop->ops->set_timer(op->timer, END_MS);
}

static int op_end_worker(struct attach_op *op, struct stages *x, int sig, struct err *e)
{
	if (op->a->worker.pid == 0)
		return STAGE_DONE;
	if (supervisor_kill(op->d->supervisor, op->a, sig, e) < 0)
		return -1;
	return op_wait(op, x, op_ended_news, op_end_late, END_MS, e);
}

static void op_idle(void *arg, const struct err *e)
{
	op_wake(arg, e);
}

/* The keeper forgets it, and what described it goes too. */
static int forget_vault(struct daemon *d, const struct attachment *a, struct err *e)
{
	if (supervisor_forget(d->supervisor, a, e) < 0)
		return -1;
	attachment_drop_description(d->registry, a->spec.id);
	return 0;
}

static int op_drop_vault(struct attach_op *op, struct stages *x, struct err *e)
{
	if (forget_vault(op->d, op->a, e) < 0)
		return -1;
	memset(&op->a->worker, 0, sizeof(op->a->worker));
	if (op->a->gate & SESSION_GATE_IDLE) /* it had none, and others' are not waited for */
		return STAGE_DONE;
	if (op->a->backing_fd < 0) /* after a crash nothing of it is known, and nothing lives */
		return STAGE_DONE;
	if (op_wait(op, x, NULL, NULL, 0, e) < 0)
		return -1;
	if (backing_wait_idle(
		    op->d->hands, op->a->spec.node, op->a->backing_fd, END_MS, op_idle, op, e) == 0)
		return STAGE_WAITS;
	op->waits = NULL;
	return -1;
}

/* The undo of attach_worker() is two steps: the second when the first one's wait is over. */
static void attach_unworker_ended(void *arg)
{
	struct attach_op *op = arg;
	struct err e = ERR_INIT;

	if (op->a->worker.pid != 0)
		return;
	op_wake(op, forget_vault(op->d, op->a, &e) < 0 ? &e : NULL);
}

static int attach_unworker(struct stages *x, void *arg, struct err *e)
{
	struct attach_op *op = arg;

	/* No guest was ever served: there is nothing to drain. */
	if (op->a->worker.pid == 0)
		return forget_vault(op->d, op->a, e);
	if (supervisor_kill(op->d->supervisor, op->a, SIGKILL, e) < 0)
		return -1;
	return op_wait(op, x, attach_unworker_ended, op_end_late, END_MS, e);
}

static const struct stage attach_stages[] = {
	{"keep it in the store", .run = op_keep, .undo = op_unkeep},
	{"make the socket", .run = attach_socket, .undo = attach_unsocket},
	{"start the worker", .run = attach_worker, .undo = attach_unworker},
	{"keep it as attached", .run = op_keep_attached, .commits = true},
};

/* --- the stages of detach --------------------------------------------------------------------- */

static int detach_end_worker(struct stages *x, void *arg, struct err *e)
{
	struct attach_op *op = arg;

	op_begin_detaching(op);
	return op_end_worker(op, x, SIGTERM, e);
}

static int detach_drop_vault(struct stages *x, void *arg, struct err *e)
{
	return op_drop_vault(arg, x, e);
}

static const struct stage detach_stages[] = {
	{"keep it as detaching", .run = op_keep_detaching, .commits = true},
	{"end the worker", .run = detach_end_worker},
	{"drop the vault", .run = detach_drop_vault},
	{"remove the socket", .run = attach_unsocket},
	{"forget it", .run = op_unkeep},
};

/* In a libvirt domain's definitions it is last, and out of them first. */
static const struct stage attach_domain_stages[] = {
	{"keep it in the store", .run = op_keep, .undo = op_unkeep},
	{"make the socket", .run = attach_socket, .undo = attach_unsocket},
	{"start the worker", .run = attach_worker, .undo = attach_unworker},
	{"put it into the definition", .run = op_define, .undo = op_undefine},
	{"plug it into the running domain", .run = op_plug, .undo = op_unplug},
	{"keep it as attached", .run = op_keep_attached, .commits = true},
};

static const struct stage detach_domain_stages[] = {
	{"unplug it from the running domain", .run = op_unplug, .undo = op_plug},
	{"take it out of the definition", .run = op_undefine, .undo = op_define},
	{"keep it as detaching", .run = op_keep_detaching, .commits = true},
	{"end the worker", .run = detach_end_worker},
	{"drop the vault", .run = detach_drop_vault},
	{"remove the socket", .run = attach_unsocket},
	{"forget it", .run = op_unkeep},
};

static const struct stages_table attach_domain_table = {
	"attach-domain", attach_domain_stages, ARRAY_SIZE(attach_domain_stages)};
static const struct stages_table detach_domain_table = {
	"detach-domain", detach_domain_stages, ARRAY_SIZE(detach_domain_stages)};
static const struct stages_table attach_table = {
	"attach", attach_stages, ARRAY_SIZE(attach_stages)};
static const struct stages_table detach_table = {
	"detach", detach_stages, ARRAY_SIZE(detach_stages)};

/* --- before the stages ------------------------------------------------------------------------- */

static bool is_bridge(const struct device *device)
{
	return device->class == DEVICE_NET && strcmp(device->net.kind, "bridge") == 0;
}

static bool paravirt_fits(const struct device *device)
{
	return device->class == DEVICE_BLOCK || device->class == DEVICE_FILE ||
	       device->class == DEVICE_NBD || is_bridge(device);
}

static int check_socket_path(struct registry *r, const struct attachment_spec *spec, struct err *e)
{
	char path[PATH_MAX];

	if (attachment_socket_path(r, spec, path, sizeof(path)))
		return 0;
	err_set(e, ERR_REFUSED, "PATH-TOO-LONG", "the socket's path would have %zu bytes",
		strlen(path));
	err_evidence(e, "%.200s; a socket's path has at most %zu", path,
		sizeof(((struct sockaddr_un *)0)->sun_path) - 1);
	return err_fix(e, "a shorter name of VM or attachment, or a shorter --runtime-dir");
}

static int refuse_option(const char *option, struct err *e)
{
	err_set(e, ERR_USAGE, "PATH-OPTION", "%s means nothing to a network device", option);
	return err_fix(e, "leave it out");
}

/* What a port of a bridge can be set to; its MAC it has in any case, and keeps wherever it goes. */
static int choose_settings(struct attachment_spec *spec, struct err *e)
{
	static const unsigned int known = 1u << VF_MAC | 1u << VF_SPOOFCHK | 1u << VF_TRUST;
	static const uint8_t none[6];
	unsigned int unknown = spec->vf.settings.has & ~known;
	char mac[18];

	if (unknown) {
		err_set(e, ERR_USAGE, "PATH-OPTION", "a port of a bridge has no setting %s",
			vf_setting_names[__builtin_ctz(unknown)]);
		return err_fix(e, "mac, spoofchk, trust");
	}
	if (spec->vf.settings.has & 1u << VF_MAC && memcmp(spec->vf.settings.mac, none, 6) == 0)
		return err_set(e, ERR_USAGE, "VF-VALUE", "a port of a bridge has a MAC address");
	tap_node_mac(spec, mac);
	return vf_settings_add(&spec->vf.settings, vf_setting_names[VF_MAC], mac, e);
}

/* A tap of its own, in the bridge. */
static int choose_tap(const struct device *bridge, struct attach_wish *w, struct err *e)
{
	struct attachment_spec *spec = &w->spec;

	if (spec->readonly)
		return refuse_option("--readonly", e);
	if (spec->cache != ATTACHMENT_CACHE_NONE)
		return refuse_option("--cache", e);
	if (spec->on_error != ON_ERROR_REPORT || spec->rescue.spare_count ||
		spec->rescue.fence[0] || spec->rescue.io_timeout_ms)
		return refuse_option("what is done about a disk's errors", e);
	if (spec->queues > TAP_NODE_QUEUES_MAX)
		return err_set(e, ERR_USAGE, "PATH-OPTION",
			"a network device has at most %u pairs of queues", TAP_NODE_QUEUES_MAX);
	if (choose_settings(spec, e) < 0)
		return -1;
	tap_node_write(spec->node, sizeof(spec->node), bridge->id, spec->queues);
	return check_socket_path(w->d->registry, spec, e);
}

static int paravirt_choose(const struct device *device, struct attach_wish *w, struct err *e)
{
	if (is_bridge(device))
		return choose_tap(device, w, e);
	if (w->spec.vf.settings.has)
		return err_set(e, ERR_USAGE, "PATH-OPTION", "a disk has no settings");
	device_node_path(device, w->spec.node, sizeof(w->spec.node));
	if (!w->spec.node[0])
		return err_set(e, ERR_REFUSED, "PATH", "%s has no node to open", device->id);
	str_copy(w->spec.fingerprint, sizeof(w->spec.fingerprint), device->fingerprint);
	return check_socket_path(w->d->registry, &w->spec, e);
}

static void paravirt_looked(
	void *arg, const struct backing_facts *facts, int fd, const struct err *e)
{
	struct attach_wish *w = arg;

	w->disk_fd = fd;
	if (e) {
		w->done(w, e);
		return;
	}
	w->disk = *facts;
	spare_look_ahead(w);
}

static int paravirt_look(struct attach_wish *w, struct err *e)
{
	if (tap_node_is(w->spec.node) && w->dry_run) { /* looking would make it */
		w->done(w, NULL);
		return 0;
	}
	return backing_open(w->d->hands, w->spec.node, w->spec.readonly, paravirt_looked, w, e);
}

static void put_disk(const struct attach_wish *w, struct json_out *o)
{
	const struct attachment_spec *spec = &w->spec;

	json_out_fmt(o, NULL, "disk: %s, %llu bytes, %s, %s", spec->node,
		(unsigned long long)w->disk.size_bytes, spec->readonly ? "read-only" : "read-write",
		spec->cache != ATTACHMENT_CACHE_NONE ? "through the host's page cache"
		: w->disk.is_direct                  ? "past the host's page cache"
						     : "through the host's page cache, as the "
						       "file system has no direct I/O");
}

static void paravirt_put_plan(const struct attach_wish *w, struct json_out *o)
{
	const struct attachment_spec *spec = &w->spec;
	char socket[PATH_MAX];

	attachment_socket_path(w->d->registry, spec, socket, sizeof(socket));
	if (tap_node_is(spec->node))
		json_out_fmt(o, NULL, "network: a tap of its own in %s, %u pairs of queues",
			spec->device, spec->queues);
	else
		put_disk(w, o);
	json_out_fmt(o, NULL, "socket: %s, for user %s", socket, spec->owner);
	for (unsigned int i = 0; i < spec->rescue.spare_count; i++)
		json_out_fmt(o, NULL, "spare %u: %s", i + 1, spec->rescue.spares[i]);
}

static void paravirt_take(struct attachment *a, struct attach_wish *w)
{
	attachment_set_disk(a, &w->disk, steal_fd(&w->disk_fd));
}

/* Its worker may have died since. */
static void paravirt_keep_up(struct daemon *d, struct attachment *a, const struct err *failed)
{
	(void)failed;
	supervisor_look(d->supervisor, a);
	vf_given_look(d, a);
}

const struct attach_path attach_paravirt = {
	.fits = paravirt_fits,
	.fits_what = "block devices, image files, NBD volumes and bridges",
	.attach = &attach_table,
	.detach = &detach_table,
	.attach_domain = &attach_domain_table,
	.detach_domain = &detach_domain_table,
	.choose = paravirt_choose,
	.look = paravirt_look,
	.put_plan = paravirt_put_plan,
	.take = paravirt_take,
	.keep_up = paravirt_keep_up,
};

/* --- reviving --------------------------------------------------------------------------------- */

struct revival {
	struct daemon *d;
	char id[KEEPER_ID_SIZE]; /* it may be detached meanwhile */
};

static void revive_opened(void *arg, const struct backing_facts *facts, int fd, const struct err *e)
{
	struct revival *r = arg;
	struct daemon *d = r->d;
	struct attachment *a = registry_by_id(d->registry, r->id);
	auto_close int disk = fd, listen_fd = -1;
	struct err own = ERR_INIT;

	free(r);
	if (!a || a->kept != KEPT_ATTACHED || a->busy || a->worker.generation)
		return;
	if (e) {
		supervisor_give_up(d->supervisor, a, e->msg);
		return;
	}
	attachment_set_disk(a, facts, steal_fd(&disk));
	listen_fd = make_socket(d, &a->spec, &own);
	if (listen_fd < 0 || start_worker(d, a, listen_fd, &own) < 0)
		supervisor_give_up(d->supervisor, a, own.msg);
}

void attach_revive(struct daemon *d, struct attachment *a)
{
	struct revival *r = calloc(1, sizeof(*r));
	struct err e = ERR_INIT;

	if (r) {
		r->d = d;
		str_copy(r->id, sizeof(r->id), a->spec.id);
		if (backing_open(d->hands, a->spec.node, a->spec.readonly, revive_opened, r, &e) ==
			0)
			return;
		free(r);
	}
	supervisor_give_up(d->supervisor, a, e.msg[0] ? e.msg : "no memory");
}

/* --- leftovers -------------------------------------------------------------------------------- */

static void sweep_folder(struct daemon *d, int vm_dir, const char *vm)
{
	int fd = openat(vm_dir, vm, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
	auto_closedir DIR *dir = fd < 0 ? NULL : fdopendir(fd);
	struct dirent *entry;

	if (!dir) {
		close_fd(&fd);
		return;
	}
	while ((entry = readdir(dir))) {
		size_t len = strlen(entry->d_name);
		char name[REGISTRY_NAME_MAX];

		if (len <= 5 || len - 5 >= sizeof(name) ||
			strcmp(entry->d_name + len - 5, ".sock") != 0)
			continue;
		memcpy(name, entry->d_name, len - 5);
		name[len - 5] = '\0';
		if (!registry_by_name(d->registry, vm, name) &&
			unlinkat(dirfd(dir), entry->d_name, 0) == 0)
			log_info("removed %s/%s, which nobody has", vm, entry->d_name);
	}
	unlinkat(vm_dir, vm, AT_REMOVEDIR); /* if it is empty */
}

void attach_sweep_sockets(struct daemon *d)
{
	char path[PATH_MAX + 8];
	auto_closedir DIR *dir = NULL;
	struct dirent *entry;

	snprintf(path, sizeof(path), "%.4000s/vm", d->conf->runtime_dir);
	dir = opendir(path);
	while (dir && (entry = readdir(dir)))
		if (name_is_valid(entry->d_name))
			sweep_folder(d, dirfd(dir), entry->d_name);
}
