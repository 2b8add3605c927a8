/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Theory of operation
 *
 *	netlink: the PF's link, vf_given_look() --+
 *	faults_set_listener(): DMA, AER, gone ----+--> failover_step() --> attach_leave(), attach_join()
 *	a running machine closes its node --------+         ^                        |
 *	                                                    +--standby_keep_up()-----+
 *
 * A physical function (PF) that is reset is seen as what it does to its functions: its link goes, or they do.
 *
 * What is decided is in memory only (daemon/failover.c); how far the change of functions is, is in the
 * store (attachment_vf.pair), written by its stages. So a daemon that is killed knows after its start
 * whether the function is with the machine, and only the patience that flapping has cost is forgotten.
 *
 * While the standby is alone it is looked every LOOK_MS for a function that could come: of the pool that the
 * first one was chosen from, or if that was named, the same one again. It must be nobody's, not quarantined,
 * and its PF must have a link.
 */
#include "daemon/standby.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/attach.h"
#include "daemon/daemon.h"
#include "daemon/domains.h"
#include "daemon/explain.h"
#include "daemon/failover.h"
#include "daemon/faults.h"
#include "daemon/host_use.h"
#include "daemon/inventory.h"
#include "daemon/quarantine.h"
#include "daemon/registry_internal.h"
#include "daemon/vf_given.h"
#include "daemon/vf_pool.h"
#include "lib/log.h"
#include "lib/sysfs.h"

#define LOOK_MS 1000

struct pair {
	struct list_node node;
	struct daemon *d;
	char id[KEEPER_ID_SIZE]; /* the attachment may be gone when the timer comes */
	struct failover f;
	struct watch *timer;
	char waits_for[160];
};

static struct list_node pairs = {&pairs, &pairs};

static struct pair *pair_find(const char *id)
{
	list_for_each (node, &pairs) {
		struct pair *p = list_entry(node, struct pair, node);

		if (strcmp(p->id, id) == 0)
			return p;
	}
	return NULL;
}

static void pair_free(struct pair *p)
{
	p->d->loop->ops->remove(p->timer);
	list_remove(&p->node);
	free(p);
}

void standby_end(void)
{
	list_for_each_safe (node, &pairs)
		pair_free(list_entry(node, struct pair, node));
}

void standby_forget(struct daemon *d, const struct attachment *a)
{
	struct pair *p = pair_find(a->spec.id);

	(void)d;
	if (p)
		pair_free(p);
}

/* --- which function could come ------------------------------------------------------------------ */

/* The one that was named, if it is there and well. */
static const struct device *find_named(struct daemon *d, const struct attachment *a, struct err *e)
{
	const struct device *device = inventory_find(d->inventory, DEVICE_PCI, a->spec.device);

	if (!device || strcmp(device->fingerprint, a->spec.fingerprint) != 0) {
		err_set(e, ERR_NOT_FOUND, "DEV-GONE", "%s is gone", a->spec.device);
		return NULL;
	}
	if (!vf_given_has_link(d, device)) {
		err_set(e, ERR_REFUSED, "VF-POOL", "%s has no link", a->spec.device);
		return NULL;
	}
	if (host_use_check(d->inventory, device, e) < 0)
		return NULL;
	return inventory_find(d->inventory, DEVICE_PCI, a->spec.device);
}

/* What the attachment would be with the function that could come; -1: there is none. */
static int find_next(
	struct daemon *d, const struct attachment *a, struct attachment_spec *next, struct err *e)
{
	struct attach_wish w = {.d = d, .disk_fd = -1, .spec = a->spec};
	const struct device *device = a->spec.vf.pool[0]
					      ? vf_pool_choose_linked(d, a->spec.vf.pool, e)
					      : find_named(d, a, e);

	if (!device)
		return -1;
	str_copy(w.spec.device, sizeof(w.spec.device), device->id);
	if (attach_paths[ATTACHMENT_PASSTHROUGH]->choose(device, &w, e) < 0 ||
		explain_refuse(d, DEVICE_PCI, &w, e) < 0)
		return -1;
	if (w.spec.passthrough.companion_count)
		return err_set(
			e, ERR_REFUSED, "GRP-SPLIT", "%s is not alone in its group", w.spec.device);
	str_copy(w.spec.id, sizeof(w.spec.id), a->spec.id);
	*next = w.spec;
	return 0;
}

/* --- doing what is decided ---------------------------------------------------------------------- */

static void pair_tell(struct pair *p, struct attachment *a, enum failover_event event);

static int begin(struct pair *p, struct attachment *a, enum failover_action action, struct err *e)
{
	static const struct attach_caller nobody;
	struct attachment_spec next;

	if (a->busy || a->gating || a->kept != KEPT_ATTACHED)
		return err_set(e, ERR_BUSY, "BUSY", "it is being worked on");
	if (action == FAILOVER_JOIN) {
		if (find_next(p->d, a, &next, e) < 0)
			return -1;
		log_info("%s (%s/%s): %s joins its standby", a->spec.id, a->spec.vm, a->spec.name,
			next.device);
		return attach_join(p->d, a, &next, &nobody, e);
	}
	log_warning("%s (%s/%s): %s leaves its standby: %s", a->spec.id, a->spec.vm, a->spec.name,
		a->spec.device, p->f.reason);
	str_copy(a->spec.vf.left, sizeof(a->spec.vf.left), p->f.reason);
	return attach_leave(p->d, a, p->f.quarantine, &nobody, e);
}

static void act(struct pair *p, struct attachment *a, enum failover_action action)
{
	struct err e = ERR_INIT;

	if (action == FAILOVER_NOTHING)
		return;
	if (begin(p, a, action, &e) < 0) {
		log_warning("%s: its function does not %s yet: %s", a->spec.id,
			action == FAILOVER_LEAVE ? "leave" : "come", e.msg);
		pair_tell(p, a, FAILOVER_FAILED);
	} else {
		registry_say(p->d->registry, a, action == FAILOVER_LEAVE ? "leaving" : "joining");
	}
}

static void pair_wake_at(struct pair *p)
{
	uint64_t now = now_ms(), at = p->f.wakes_ms;

	if (p->f.state == FAILOVER_SINGLE)
		at = MIN(at, now + LOOK_MS);
	if (at != UINT64_MAX)
		p->d->loop->ops->set_timer(p->timer, at > now ? at - now : 0);
}

static void pair_tell(struct pair *p, struct attachment *a, enum failover_event event)
{
	act(p, a, failover_step(&p->f, event, now_ms()));
	pair_wake_at(p);
}

/* --- looking ------------------------------------------------------------------------------------ */

static bool standby_is_up(struct daemon *d, const struct attachment *a)
{
	const char *colon = strchr(a->spec.vf.standby, ':');
	char state[16];
	struct sysfs_dir dir;

	if (!colon)
		return false;
	sysfs_dir_init(&dir, inventory_sysroot(d->inventory), "sys/class/net/%s", colon + 1);
	return sysfs_read_text(&dir, "operstate", state, sizeof(state)) == 0 &&
	       (strcmp(state, "up") == 0 || strcmp(state, "unknown") == 0);
}

static void look_at_standby(struct pair *p, struct attachment *a)
{
	bool down = !standby_is_up(p->d, a);

	if (down != p->f.standby_down)
		pair_tell(p, a, down ? FAILOVER_STANDBY_DOWN : FAILOVER_STANDBY_UP);
}

static void look_for_function(struct pair *p, struct attachment *a)
{
	struct attachment_spec next;
	struct err e = ERR_INIT;
	bool none = find_next(p->d, a, &next, &e) < 0;

	if (strcmp(p->waits_for, none ? e.msg : "") != 0) {
		snprintf(p->waits_for, sizeof(p->waits_for), "%.150s", none ? e.msg : "");
		if (none)
			log_info("%s: on standby: %s", a->spec.id, e.msg);
	}
	if (none != p->f.none_healthy)
		pair_tell(p, a, none ? FAILOVER_NONE_HEALTHY : FAILOVER_HEALTHY);
}

static void pair_look(struct pair *p, struct attachment *a)
{
	look_at_standby(p, a);
	if (p->f.state == FAILOVER_SINGLE && !a->busy)
		look_for_function(p, a);
}

static void wakes(void *arg, unsigned int events)
{
	struct pair *p = arg;
	struct attachment *a = registry_by_id(p->d->registry, p->id);

	(void)events;
	if (!a) {
		pair_free(p);
		return;
	}
	pair_look(p, a);
	pair_tell(p, a, FAILOVER_TIME);
}

void standby_look(struct daemon *d)
{
	list_for_each_safe (node, &pairs) {
		struct pair *p = list_entry(node, struct pair, node);
		struct attachment *a = registry_by_id(d->registry, p->id);

		if (a)
			look_at_standby(p, a);
	}
}

/* --- beginning, and the end of an operation ------------------------------------------------------ */

static struct pair *pair_new(struct daemon *d, struct attachment *a)
{
	struct pair *p = calloc(1, sizeof(*p));
	struct err e = ERR_INIT;

	if (!p) {
		log_error("%s: no memory to look after its standby", a->spec.id);
		return NULL;
	}
	p->d = d;
	str_copy(p->id, sizeof(p->id), a->spec.id);
	failover_init(&p->f, now_ms());
	p->f.state = a->spec.vf.pair == PAIR_WHOLE ? FAILOVER_REDUNDANT : FAILOVER_SINGLE;
	list_append(&pairs, &p->node);
	p->timer = d->loop->ops->add_timer(d->loop, 0, wakes, p, &e);
	if (p->timer)
		return p;
	log_error("%s: its standby is not looked after: %s", a->spec.id, e.msg);
	pair_free(p);
	return NULL;
}

static void set_state(struct daemon *d, struct attachment *a)
{
	const struct domain *domain = domains_find(d->domains, a->spec.domain);
	bool runs = domain && domain_is_active(domain);

	registry_set_state(d->registry, a, runs ? ATTACHMENT_ACTIVE : ATTACHMENT_READY, NULL);
}

/* What was begun is over: which way, the attachment shows. */
static void pair_end(struct pair *p, struct attachment *a)
{
	bool whole = a->spec.vf.pair == PAIR_WHOLE;
	bool left = p->f.state == FAILOVER_LEAVING && !whole;
	bool joined = p->f.state == FAILOVER_JOINING && whole;

	if (p->f.state != FAILOVER_LEAVING && p->f.state != FAILOVER_JOINING)
		return;
	p->waits_for[0] = '\0';
	if (left || joined) {
		log_info("%s (%s/%s): %s", a->spec.id, a->spec.vm, a->spec.name, standby_word(a));
		registry_say(p->d->registry, a, left ? "on_standby" : "redundant_again");
	}
	pair_tell(p, a, left || joined ? FAILOVER_DONE : FAILOVER_FAILED);
}

void standby_keep_up(struct daemon *d, struct attachment *a)
{
	struct pair *p;

	if (!a->spec.vf.standby[0])
		return;
	if (a->spec.vf.pair == PAIR_APART)
		set_state(d, a);
	p = pair_find(a->spec.id);
	if (p)
		pair_end(p, a);
	else
		p = pair_new(d, a);
	if (p && a->spec.vf.pair == PAIR_WHOLE && a->link == ATTACHMENT_LINK_DOWN)
		pair_tell(p, a, FAILOVER_LINK_DOWN);
}

/* --- what has happened ---------------------------------------------------------------------------- */

static void tell(struct attachment *a, enum failover_event event)
{
	struct pair *p = pair_find(a->spec.id);

	if (p)
		pair_tell(p, a, event);
}

void standby_link(struct daemon *d, struct attachment *a)
{
	(void)d;
	if (a->link != ATTACHMENT_LINK_NONE)
		tell(a, a->link == ATTACHMENT_LINK_UP ? FAILOVER_LINK_UP : FAILOVER_LINK_DOWN);
}

static void faulted(void *arg, struct attachment *a, enum faults_what what, uint64_t count)
{
	static const enum failover_event events[FAULTS_WHATS] = {
		[FAULTS_DMA] = FAILOVER_FAULT,
		[FAULTS_ERROR] = FAILOVER_ERROR,
		[FAULTS_REQUEST] = FAILOVER_GONE,
		[FAULTS_LINK] = FAILOVER_GONE,
		[FAULTS_DEAD] = FAILOVER_ERROR,
		[FAULTS_GONE] = FAILOVER_GONE,
		[FAULTS_BACK] = FAILOVER_TIME,
	};

	(void)arg;
	/* More of them than make a storm change nothing. */
	for (uint64_t i = 0; i < MIN(count, 8); i++)
		tell(a, events[what]);
}

void standby_begin(struct daemon *d)
{
	faults_set_listener(d->faults, faulted, NULL);
}

void standby_let_go(struct daemon *d, struct attachment *a)
{
	(void)d;
	tell(a, FAILOVER_GONE);
}

/* --- showing -------------------------------------------------------------------------------------- */

const char *standby_word(const struct attachment *a)
{
	static const char *const words[PAIRS] = {
		[PAIR_WHOLE] = "redundant",
		[PAIR_LEAVING] = "leaving",
		[PAIR_APART] = "on standby",
		[PAIR_JOINING] = "joining",
	};
	const struct attachment_vf *vf = &a->spec.vf;

	if (!vf->standby[0])
		return NULL;
	return vf->pair == PAIR_WHOLE && vf->leaves ? "redundant again" : words[vf->pair];
}

const char *standby_waits_for(const struct attachment *a)
{
	const struct pair *p = pair_find(a->spec.id);

	return p ? p->waits_for : "";
}

void standby_put(const struct attachment *a, struct json_out *o)
{
	const char *colon = strchr(a->spec.vf.standby, ':');

	json_out_str(o, "standby", colon ? colon + 1 : NULL);
	json_out_u64(o, "leaves", a->spec.vf.leaves);
	json_out_str(o, "left_because", a->spec.vf.left[0] ? a->spec.vf.left : NULL);
	quarantine_put(a->spec.id, o);
}
