/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Theory of operation: libvirt asks for descriptors and timers from whatever thread it works on,
 * and our loop has one thread. So a request is noted in a list, under a lock, and the loop is woken
 * by an eventfd; what is noted becomes watches there.
 *
 *	any thread	add, update, remove: note it, write the eventfd
 *	loop's thread	apply(): watches made, moved, removed; then the free functions of the removed
 *			fire: the callback, unless it was removed meanwhile
 *
 * An item is freed only by apply(), after its watch: a callback that runs may remove its own item.
 * libvirt closes a descriptor not before the item's free function has run, so that a watch is never
 * on a descriptor that means something else by then.
 */
#include "lib/virt_events.h"

#include <errno.h>
#include <libvirt/libvirt.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "lib/list.h"

struct item {
	struct list_node node;
	int id;
	int fd;     /* -1: a timer */
	int wanted; /* VIR_EVENT_HANDLE_...; of a timer: its period in ms, < 0: off */
	bool changed, removed;
	virEventHandleCallback on_fd;
	virEventTimeoutCallback on_timer;
	void *opaque;
	virFreeCallback free_opaque;
	struct watch *watch; /* the loop's thread only */
};

static struct {
	pthread_mutex_t lock;
	struct list_node items;
	int last_id;
	int wake_fd;
	struct watch_loop *loop; /* the loop's thread only; NULL: there is none */
	struct watch *wake;
} impl = {.lock = PTHREAD_MUTEX_INITIALIZER, .wake_fd = -1};

static void wake(void)
{
	const uint64_t one = 1;

	/* It can only fail when it is signalled already. */
	if (write(impl.wake_fd, &one, sizeof(one)) < 0)
		return;
}

/* --- on the loop's thread --------------------------------------------------------------------- */

static void item_fire_fd(void *arg, unsigned int events)
{
	const struct item *item = arg;
	int what = 0;
	bool removed;

	pthread_mutex_lock(&impl.lock);
	removed = item->removed;
	pthread_mutex_unlock(&impl.lock);
	if (removed)
		return;
	if (events & WATCH_READ)
		what |= VIR_EVENT_HANDLE_READABLE;
	if (events & WATCH_WRITE)
		what |= VIR_EVENT_HANDLE_WRITABLE;
	item->on_fd(item->id, item->fd, what, item->opaque);
}

/* A timer of ours fires once, one of libvirt's again and again. */
static void item_fire_timer(void *arg, unsigned int events)
{
	struct item *item = arg;
	bool off;

	(void)events;
	pthread_mutex_lock(&impl.lock);
	off = item->removed || item->wanted < 0;
	pthread_mutex_unlock(&impl.lock);
	if (off)
		return;
	item->on_timer(item->id, item->opaque);
	pthread_mutex_lock(&impl.lock);
	if (!item->removed && !item->changed && item->wanted >= 0)
		impl.loop->ops->set_timer(item->watch, (uint64_t)item->wanted);
	pthread_mutex_unlock(&impl.lock);
}

static unsigned int watch_bits(int wanted)
{
	return ((wanted & VIR_EVENT_HANDLE_READABLE) ? WATCH_READ : 0) |
	       ((wanted & VIR_EVENT_HANDLE_WRITABLE) ? WATCH_WRITE : 0);
}

static void item_apply_fd(struct item *item)
{
	if (item->watch)
		impl.loop->ops->set_events(item->watch, watch_bits(item->wanted));
	else
		item->watch = impl.loop->ops->add_fd(
			impl.loop, item->fd, watch_bits(item->wanted), item_fire_fd, item, NULL);
}

static void item_apply_timer(struct item *item)
{
	if (item->wanted < 0) {
		impl.loop->ops->remove(item->watch);
		item->watch = NULL;
	} else if (item->watch) {
		impl.loop->ops->set_timer(item->watch, (uint64_t)item->wanted);
	} else {
		item->watch = impl.loop->ops->add_timer(
			impl.loop, (uint64_t)item->wanted, item_fire_timer, item, NULL);
	}
}

/* Watches do not run callbacks when they are made: the lock may be held. */
static void item_apply(struct item *item, struct list_node *gone)
{
	if (item->removed) {
		impl.loop->ops->remove(item->watch);
		list_remove(&item->node);
		list_append(gone, &item->node);
	} else if (item->changed) {
		item->changed = false;
		if (item->fd >= 0)
			item_apply_fd(item);
		else
			item_apply_timer(item);
	}
}

static void apply(void *arg, unsigned int events)
{
	struct list_node gone;
	uint64_t count;

	(void)arg, (void)events;
	list_init(&gone);
	if (read(impl.wake_fd, &count, sizeof(count)) < 0 && errno != EAGAIN)
		return;
	pthread_mutex_lock(&impl.lock);
	list_for_each_safe (node, &impl.items)
		item_apply(list_entry(node, struct item, node), &gone);
	pthread_mutex_unlock(&impl.lock);
	list_for_each_safe (node, &gone) {
		struct item *item = list_entry(node, struct item, node);

		if (item->free_opaque)
			item->free_opaque(item->opaque);
		free(item);
	}
}

/* --- on any thread ---------------------------------------------------------------------------- */

static int item_add(const struct item *model)
{
	struct item *item = malloc(sizeof(*item));

	if (!item)
		return -1;
	*item = *model;
	item->changed = true;
	pthread_mutex_lock(&impl.lock);
	item->id = ++impl.last_id;
	list_append(&impl.items, &item->node);
	pthread_mutex_unlock(&impl.lock);
	wake();
	return item->id;
}

/* `wanted` or, with `remove`, the end of it. */
static int item_change(int id, bool remove, int wanted)
{
	int rc = -1;

	pthread_mutex_lock(&impl.lock);
	list_for_each (node, &impl.items) {
		struct item *item = list_entry(node, struct item, node);

		if (item->id != id || item->removed)
			continue;
		item->removed = remove;
		item->wanted = wanted;
		item->changed = true;
		rc = 0;
		break;
	}
	pthread_mutex_unlock(&impl.lock);
	wake();
	return rc;
}

static int add_handle(
	int fd, int events, virEventHandleCallback fn, void *opaque, virFreeCallback free_opaque)
{
	return item_add(&(struct item){.fd = fd,
		.wanted = events,
		.on_fd = fn,
		.opaque = opaque,
		.free_opaque = free_opaque});
}

static int add_timeout(
	int period_ms, virEventTimeoutCallback fn, void *opaque, virFreeCallback free_opaque)
{
	return item_add(&(struct item){.fd = -1,
		.wanted = period_ms,
		.on_timer = fn,
		.opaque = opaque,
		.free_opaque = free_opaque});
}

static void update(int id, int wanted)
{
	item_change(id, false, wanted);
}

static int remove_item(int id)
{
	return item_change(id, true, 0);
}

int virt_events_begin(struct watch_loop *loop, struct err *e)
{
	if (impl.wake_fd < 0) {
		list_init(&impl.items);
		impl.wake_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
		if (impl.wake_fd < 0)
			return err_sys(e, errno, "eventfd");
		virEventRegisterImpl(
			add_handle, update, remove_item, add_timeout, update, remove_item);
	}
	impl.loop = loop;
	impl.wake = loop->ops->add_fd(loop, impl.wake_fd, WATCH_READ, apply, NULL, e);
	return impl.wake ? 0 : -1;
}

void virt_events_end(void)
{
	if (!impl.loop)
		return;
	pthread_mutex_lock(&impl.lock);
	list_for_each (node, &impl.items) {
		struct item *item = list_entry(node, struct item, node);

		impl.loop->ops->remove(item->watch);
		item->watch = NULL;
	}
	pthread_mutex_unlock(&impl.lock);
	impl.loop->ops->remove(impl.wake);
	impl.loop = NULL;
}
