/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Theory of operation
 *
 * While it is attached, a passed-through device is known here by its nodes: the group's, and where
 * the kernel has them one of each function. Two things tell what its VMM does:
 *
 *	inotify on the nodes	opened: /proc says by whom, and it is active.
 *				closed: nobody has it open any more, so it is renewed.
 *	the opener's pidfd	ended: the same, also where no close was seen.
 *
 * Both are only hints to look into /proc again. An open is told before the descriptor is in the
 * opener's table, so after one that nobody seems to have made the look is repeated for a while; each
 * look reads all of /proc in the daemon's loop, and so they become rare soon.
 *
 * Hands open the nodes, too, but only while the gate is shut (its nodes are root's), and they have
 * closed them before they answer. So nothing is listened to from the shutting of the gate until
 * just before it opens. While an operation is at the attachment (`busy`) what is heard is kept, and
 * looked into by whoever ends the operation.
 */
#include "daemon/passthrough.h"

#include <errno.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/pidfd.h>
#include <sys/stat.h>
#include <unistd.h>

#include "daemon/attach.h"
#include "daemon/daemon.h"
#include "daemon/inventory.h"
#include "daemon/standby.h"
#include "lib/cleanup.h"
#include "lib/iommu/vfio_device.h"
#include "lib/log.h"

#define NODES_MAX    (2 + ATTACHMENT_MAX_COMPANIONS) /* the group's, and one of each function */
#define LOOK_MS      10 /* to look again for who has opened it; doubled with each look in vain */
#define LOOKS        8
#define TRY_AGAIN_MS 10000
#define ALIVE_MS     1000 /* from the closing of all it had open to the end of a VMM */

/* --- its nodes -------------------------------------------------------------------------------- */

struct node_list {
	char paths[NODES_MAX][VFIO_NODE_MAX];
	unsigned int count;
	bool has_cdev;
};

static void add_node(struct node_list *list, const char *path)
{
	for (unsigned int i = 0; i < list->count; i++)
		if (strcmp(list->paths[i], path) == 0)
			return;
	if (path[0] && list->count < NODES_MAX)
		str_copy(list->paths[list->count++], VFIO_NODE_MAX, path);
}

static int add_function(struct daemon *d, const char *id, struct node_list *list, struct err *e)
{
	struct vfio_nodes nodes;
	struct pci_addr addr;

	if (!pci_addr_parse(id, &addr))
		return err_set(e, ERR_FAILED, "DEV-NAME", "%s is no PCI function", id);
	if (vfio_nodes_find(inventory_sysroot(d->inventory), &addr, &nodes, e) < 0)
		return -1;
	add_node(list, nodes.group_node);
	add_node(list, nodes.cdev_node);
	list->has_cdev = nodes.cdev_node[0] != '\0';
	return 0;
}

/* As far as there are any: -1 says that one function has none, and why. */
static int find_nodes(
	struct daemon *d, const struct attachment *a, struct node_list *list, struct err *e)
{
	const struct attachment_passthrough *p = &a->spec.passthrough;
	int rc;

	*list = (struct node_list){.count = 0};
	if (a->spec.vf.pair == PAIR_APART)
		return 0;
	rc = add_function(d, a->spec.device, list, e);
	for (unsigned int i = 0; i < p->companion_count; i++)
		if (add_function(d, p->companions[i], list, e) < 0)
			rc = -1;
	return rc;
}

bool passthrough_is_bound(struct daemon *d, const struct attachment *a)
{
	struct node_list nodes;

	find_nodes(d, a, &nodes, NULL);
	return nodes.count > 0;
}

void passthrough_read_type(struct daemon *d, uint32_t group, char *type, size_t size)
{
	struct sysfs_dir dir;

	sysfs_dir_init(&dir, inventory_sysroot(d->inventory), "sys/kernel/iommu_groups/%u", group);
	if (sysfs_read_text(&dir, "type", type, size) < 0)
		type[0] = '\0';
}

int passthrough_set_owner(
	struct daemon *d, const struct attachment *a, const char *owner, struct err *e)
{
	const struct passwd *pw = getpwnam(owner ? owner : "root");
	struct node_list nodes;

	if (!pw)
		return err_set(e, ERR_NOT_FOUND, "USER", "there is no user %s", owner);
	if (find_nodes(d, a, &nodes, e) < 0 && owner)
		return -1;
	for (unsigned int i = 0; i < nodes.count; i++) {
		const char *path = nodes.paths[i];

		/* The mode first when it is closed, last when it is opened. */
		if ((!owner && chmod(path, 0600) < 0) || lchown(path, pw->pw_uid, pw->pw_gid) < 0 ||
			(owner && chmod(path, 0600) < 0))
			return err_sys(e, errno, "give %s to %s", path, pw->pw_name);
	}
	return 0;
}

bool passthrough_find_opener(
	struct daemon *d, const struct attachment *a, struct opener *found, char *node, size_t size)
{
	struct node_list nodes;
	const char *paths[NODES_MAX];

	find_nodes(d, a, &nodes, NULL);
	for (unsigned int i = 0; i < nodes.count; i++)
		paths[i] = nodes.paths[i];
	if (nodes.count == 0 || openers_find_any(paths, nodes.count, getpid(), found, 1) == 0)
		return false;
	str_copy(node, size, nodes.paths[found->path]);
	return true;
}

int passthrough_check_idle(struct daemon *d, const struct attachment *a, struct err *e)
{
	char node[VFIO_NODE_MAX];
	struct opener o;

	if (!passthrough_find_opener(d, a, &o, node, sizeof(node)))
		return 0;
	err_set(e, ERR_BUSY, "BUSY", "%s (pid %d), the VMM of %s, has %s open", o.comm, (int)o.pid,
		a->spec.vm, a->spec.device);
	err_evidence(e, "/proc/%d/fd/%d: %s", (int)o.pid, o.fd, node);
	return err_fix(e, "unplug it from the machine, or end the VMM, first");
}

/* --- watching --------------------------------------------------------------------------------- */

/* One attachment that is watched. */
struct watched {
	struct list_node node;
	struct passthrough *owner;
	char id[KEEPER_ID_SIZE]; /* it may be gone by the time that something is told of it */
	int wds[NODES_MAX];
	unsigned int wd_count;
	pid_t pid; /* of the VMM, 0: none */
	int pidfd;
	struct watch *pid_watch;
	struct watch *look_timer;
	unsigned int looks; /* that are still to be made for an open; 0: none */
	bool listens;       /* the gate is open */
	bool was_closed;    /* by somebody, since it was looked at last */
	bool try_again;     /* the timer is for attach_renew() */
	ino_t inode;        /* of the device's folder in /sys when it was last looked at; 0: gone */
	bool has_let_go;    /* ... for standby_let_go(): closed, and its VMM lives */
};

struct passthrough {
	struct daemon *d;
	int inotify_fd;
	struct watch *inotify_watch;
	struct list_node list;
};

static void forget_vmm(struct watched *w)
{
	w->owner->d->loop->ops->remove(w->pid_watch);
	w->pid_watch = NULL;
	close_fd(&w->pidfd);
	w->pid = 0;
}

static void watched_free(struct watched *w)
{
	forget_vmm(w);
	w->owner->d->loop->ops->remove(w->look_timer);
	for (unsigned int i = 0; i < w->wd_count; i++)
		inotify_rm_watch(w->owner->inotify_fd, w->wds[i]);
	list_remove(&w->node);
	free(w);
}

static struct watched *watched_find(struct passthrough *p, const char *id)
{
	list_for_each (node, &p->list) {
		struct watched *w = list_entry(node, struct watched, node);

		if (strcmp(w->id, id) == 0)
			return w;
	}
	return NULL;
}

static void watched_look(struct watched *w, struct attachment *a);

/* The attachment, if it is there and nobody else is at it. */
static struct attachment *watched_idle(struct watched *w)
{
	struct attachment *a = registry_by_id(w->owner->d->registry, w->id);

	return a && a->kept == KEPT_ATTACHED && !a->busy ? a : NULL;
}

static void vmm_ended(void *arg, unsigned int events)
{
	struct watched *w = arg;
	struct attachment *a = watched_idle(w);

	(void)events;
	forget_vmm(w);
	w->was_closed = true;
	if (a)
		watched_look(w, a);
}

static void look_again(void *arg, unsigned int events)
{
	struct watched *w = arg;
	struct attachment *a = watched_idle(w);

	(void)events;
	if (!a)
		return;
	if (w->has_let_go) {
		w->has_let_go = false;
		standby_let_go(w->owner->d, a);
		return;
	}
	if (w->try_again) {
		w->try_again = false;
		attach_renew(w->owner->d, a);
		return;
	}
	watched_look(w, a);
}

/* Its end is told by a pidfd; one that has ended already by the next look. */
static void follow_vmm(struct watched *w, pid_t pid)
{
	struct watch_loop *loop = w->owner->d->loop;
	struct err e = ERR_INIT;

	forget_vmm(w);
	w->pid = pid;
	w->pidfd = pidfd_open(pid, 0);
	if (w->pidfd >= 0)
		w->pid_watch = loop->ops->add_fd(loop, w->pidfd, WATCH_READ, vmm_ended, w, &e);
	if (w->pid_watch)
		return;
	w->was_closed = true;
	w->looks = LOOKS;
	loop->ops->set_timer(w->look_timer, LOOK_MS);
}

/* A machine with a standby goes on without its function. Whether it goes on, is seen a little later. */
static bool let_go(struct watched *w, const struct attachment *a)
{
	if (!a->spec.vf.standby[0] || w->pidfd < 0 || !w->pid_watch)
		return false;
	w->has_let_go = true;
	w->owner->d->loop->ops->set_timer(w->look_timer, ALIVE_MS);
	return true;
}

static bool adopt_vmm(struct watched *w, struct attachment *a)
{
	char node[VFIO_NODE_MAX];
	struct opener o;

	if (!passthrough_find_opener(w->owner->d, a, &o, node, sizeof(node)))
		return false;
	if (o.pid != w->pid)
		follow_vmm(w, o.pid);
	if (a->vmm_pid != o.pid)
		log_info("%s: %s (pid %d) has %s open", a->spec.id, o.comm, (int)o.pid, node);
	a->vmm_pid = o.pid;
	registry_set_state(w->owner->d->registry, a, ATTACHMENT_ACTIVE, NULL);
	return true;
}

static void watched_look(struct watched *w, struct attachment *a)
{
	if (adopt_vmm(w, a)) {
		w->looks = 0;
		w->was_closed = w->has_let_go = false;
		return;
	}
	if ((w->was_closed || a->state == ATTACHMENT_ACTIVE) && let_go(w, a)) {
		w->was_closed = false;
		w->looks = 0;
		return;
	}
	if (w->was_closed || a->state == ATTACHMENT_ACTIVE) {
		forget_vmm(w);
		w->was_closed = w->has_let_go = false;
		w->looks = 0;
		a->vmm_pid = 0;
		attach_renew(w->owner->d, a);
	} else if (w->looks && --w->looks) {
		w->owner->d->loop->ops->set_timer(
			w->look_timer, (uint64_t)LOOK_MS << (LOOKS - 1 - w->looks));
	}
}

static void note_event(struct passthrough *p, const struct inotify_event *event)
{
	list_for_each (node, &p->list) {
		struct watched *w = list_entry(node, struct watched, node);

		for (unsigned int i = 0; w->listens && i < w->wd_count; i++) {
			if (w->wds[i] != event->wd)
				continue;
			w->looks = LOOKS;
			w->was_closed = w->was_closed || (event->mask & IN_CLOSE) != 0;
		}
	}
}

static void read_events(struct passthrough *p)
{
	char buf[4096] __attribute__((aligned(__alignof__(struct inotify_event))));
	ssize_t len;

	while ((len = read(p->inotify_fd, buf, sizeof(buf))) > 0) {
		const struct inotify_event *event;

		for (const char *at = buf; at < buf + len; at += sizeof(*event) + event->len) {
			event = (const struct inotify_event *)at;
			note_event(p, event);
		}
	}
}

static void nodes_changed(void *arg, unsigned int events)
{
	struct passthrough *p = arg;

	(void)events;
	read_events(p);
	list_for_each_safe (node, &p->list) {
		struct watched *w = list_entry(node, struct watched, node);
		struct attachment *a = w->looks ? watched_idle(w) : NULL;

		if (a)
			watched_look(w, a);
	}
}

static struct watched *watched_new(struct passthrough *p, const char *id, struct err *e)
{
	struct watched *w = calloc(1, sizeof(*w));

	if (!w) {
		err_set(e, ERR_FAILED, "MEMORY", "no memory to watch a device");
		return NULL;
	}
	w->owner = p;
	w->pidfd = -1;
	str_copy(w->id, sizeof(w->id), id);
	list_append(&p->list, &w->node);
	w->look_timer = p->d->loop->ops->add_timer(p->d->loop, TRY_AGAIN_MS, look_again, w, e);
	if (w->look_timer)
		return w;
	watched_free(w);
	return NULL;
}

/* The nodes of now: after a new binding they are others. */
static void watch_nodes(struct passthrough *p, struct watched *w, struct attachment *a)
{
	struct err e = ERR_INIT;
	struct node_list nodes;

	if (find_nodes(p->d, a, &nodes, &e) < 0)
		log_warning("%s: %s", w->id, e.msg);
	a->has_cdev = nodes.has_cdev;
	for (unsigned int i = 0; i < w->wd_count; i++)
		inotify_rm_watch(p->inotify_fd, w->wds[i]);
	w->wd_count = 0;
	for (unsigned int i = 0; i < nodes.count; i++) {
		int wd = inotify_add_watch(p->inotify_fd, nodes.paths[i], IN_OPEN | IN_CLOSE);

		if (wd >= 0)
			w->wds[w->wd_count++] = wd;
		else
			log_warning("%s: %s cannot be watched: %s", w->id, nodes.paths[i],
				strerror(errno));
	}
}

static struct watched *watched_get(struct passthrough *p, const struct attachment *a)
{
	struct err e = ERR_INIT;
	struct watched *w = watched_find(p, a->spec.id) ?: watched_new(p, a->spec.id, &e);

	if (!w)
		log_error("%s: %s", a->spec.id, e.msg);
	return w;
}

/* What is plugged in anew has another one. */
static ino_t folder_inode(struct daemon *d, const char *id)
{
	const char *root = sysroot_path(inventory_sysroot(d->inventory));
	char path[PATH_MAX];
	struct stat st;

	snprintf(path, sizeof(path), "%.4000s/sys/bus/pci/devices/%.64s", root, id);
	return stat(path, &st) == 0 ? st.st_ino : 0;
}

void passthrough_listen(struct passthrough *p, struct attachment *a)
{
	struct watched *w = watched_get(p, a);

	if (!w)
		return;
	watch_nodes(p, w, a);
	read_events(p); /* what hands did meanwhile is for nobody */
	w->inode = folder_inode(p->d, a->spec.device);
	w->listens = true;
	w->looks = 0;
	w->was_closed = w->try_again = w->has_let_go = false;
}

void passthrough_deafen(struct passthrough *p, const struct attachment *a)
{
	struct watched *w = watched_find(p, a->spec.id);

	if (w)
		w->listens = false;
}

bool passthrough_look(struct passthrough *p, struct attachment *a)
{
	struct watched *w = watched_get(p, a);

	if (!w)
		return false;
	read_events(p);
	watched_look(w, a);
	return a->state == ATTACHMENT_ACTIVE || a->busy;
}

void passthrough_unwatch(struct passthrough *p, const struct attachment *a)
{
	struct watched *w = watched_find(p, a->spec.id);

	if (w)
		watched_free(w);
}

void passthrough_try_again(struct passthrough *p, const struct attachment *a)
{
	struct watched *w = watched_get(p, a);

	if (!w)
		return;
	w->try_again = true;
	p->d->loop->ops->set_timer(w->look_timer, TRY_AGAIN_MS);
}

/* --- what comes back -------------------------------------------------------------------------- */

/* Nobody has it, and it is gone, or something is in its place: whether that is it, a renewal finds out. */
void passthrough_news(struct passthrough *p, const char *id)
{
	if (!p)
		return;
	list_for_each (node, &p->list) {
		struct watched *w = list_entry(node, struct watched, node);
		const struct attachment *a = registry_by_id(p->d->registry, w->id);
		ino_t inode;

		if (!a || strcmp(a->spec.device, id) != 0)
			continue;
		inode = folder_inode(p->d, id);
		if (inode == w->inode)
			continue;
		w->inode = inode;
		if (a->state == ATTACHMENT_READY || a->state == ATTACHMENT_FAILED) {
			w->try_again = true;
			p->d->loop->ops->set_timer(w->look_timer, 0);
		}
	}
}

struct passthrough *passthrough_new(struct daemon *d, struct err *e)
{
	struct passthrough *p = calloc(1, sizeof(*p));

	if (!p) {
		err_set(e, ERR_FAILED, "MEMORY", "no memory to watch devices");
		return NULL;
	}
	p->d = d;
	list_init(&p->list);
	p->inotify_fd = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
	if (p->inotify_fd < 0) {
		err_sys(e, errno, "inotify");
		free(p);
		return NULL;
	}
	p->inotify_watch =
		d->loop->ops->add_fd(d->loop, p->inotify_fd, WATCH_READ, nodes_changed, p, e);
	if (p->inotify_watch)
		return p;
	passthrough_free(p);
	return NULL;
}

void passthrough_free(struct passthrough *p)
{
	if (!p)
		return;
	list_for_each_safe (node, &p->list)
		watched_free(list_entry(node, struct watched, node));
	p->d->loop->ops->remove(p->inotify_watch);
	close_fd(&p->inotify_fd);
	free(p);
}
