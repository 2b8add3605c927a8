/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Theory of operation
 *
 * Of each attachment the store may know, and the keeper may have a vault (with or without a live
 * worker). After a crash of the daemon, or of everything:
 *
 *	store	keeper		journal
 *	kept	worker		-	adopted as it is: nothing changes but our knowledge
 *	kept	dead worker	-	the next generation, on the same vault
 *	kept	nothing		-	a fresh vault, the socket made anew (host or keeper restarted)
 *	-	worker		-	rebuilt from its description (damaged store)
 *	-	nothing		-	a device that VFIO has: unknown (damaged store; daemon/unknown.c)
 *	restoring any		-	detached: of a restore that did not come to its end
 *	any	any		open	finished or undone, by its own rules (lib/migrate/stages.h)
 *
 * A live worker is never ended for not being known: it serves a guest. A device that is passed
 * through has no worker: a VMM that has it open is adopted, any other is reset and made ready anew.
 */
#include "daemon/reconcile.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/attach.h"
#include "daemon/backing.h"
#include "daemon/baton.h"
#include "daemon/binding_keep.h"
#include "daemon/conf.h"
#include "daemon/daemon.h"
#include "daemon/faults.h"
#include "daemon/hands.h"
#include "daemon/inventory.h"
#include "daemon/lease.h"
#include "daemon/loop.h"
#include "daemon/passthrough.h"
#include "daemon/quiesce.h"
#include "daemon/recover.h"
#include "daemon/registry.h"
#include "daemon/quarantine.h"
#include "daemon/spare.h"
#include "daemon/standby.h"
#include "daemon/supervisor.h"
#include "daemon/unknown.h"
#include "daemon/vf.h"
#include "daemon/vf_given.h"
#include "lib/cleanup.h"
#include "lib/log.h"

#define PATIENCE_MS 15000 /* of clients, for what is finished or undone first */

struct reconcile {
	struct daemon *d;
	struct watch *patience;
	unsigned int open; /* operations that still go on */
	void (*done)(void *arg);
	void *arg;
	bool listing; /* workers that nobody knows may be told now */
};

/* --- what the supervisor needs of us ---------------------------------------------------------- */

static void owner_lost(void *arg)
{
	struct daemon *d = arg;

	log_error("the keeper is gone");
	loop_stop(d->loop);
}

static int owner_turn(void *arg, struct attachment *a, struct err *e)
{
	return baton_turn(arg, a, e);
}

static void owner_revive(void *arg, struct attachment *a)
{
	attach_revive(arg, a);
}

static void owner_looked(void *arg, struct attachment *a)
{
	spare_look(arg, a);
	baton_looked(arg, a);
	lease_keep_up(arg, a);
}

static void tell_attachments(void *arg, inventory_visit_fn *visit, void *visit_arg)
{
	struct daemon *d = arg;

	list_for_each (node, registry_list(d->registry)) {
		const struct attachment *a = list_entry(node, struct attachment, node);
		const struct attachment_passthrough *p = &a->spec.passthrough;
		struct inventory_attachment told = {.id = a->spec.id,
			.vm = a->spec.vm,
			.device = a->spec.device,
			.fs = a->disk.fs,
			.inode = a->disk.inode,
			.size_bytes = a->disk_bytes,
			.is_untrusted = a->is_untrusted};

		if (a->spec.vf.pair != PAIR_APART)
			visit(visit_arg, &told);
		for (unsigned int i = 0; i < p->companion_count; i++) {
			told.device = p->companions[i];
			visit(visit_arg, &told);
		}
		told.fs = told.inode = told.size_bytes = 0; /* of spares nobody knows */
		for (unsigned int i = 0; i < a->spec.rescue.spare_count; i++) {
			told.device = a->spec.rescue.spares[i];
			visit(visit_arg, &told);
		}
	}
	unknown_tell(d, visit, visit_arg);
	quarantine_tell(d, visit, visit_arg);
}

static bool tell_wedged(void *arg, const struct device *device, struct json_out *o)
{
	struct daemon *d = arg;
	char path[PATH_MAX];
	const char *object = path;
	struct hand_wedge wedge;

	device_node_path(device, path, sizeof(path));
	if (!hands_is_wedged(d->hands, object))
		object = device->id;
	if (!o || !hands_find_wedge(d->hands, object, &wedge))
		return hands_is_wedged(d->hands, object);
	json_out_object(o, "wedge");
	json_out_i64(o, "pid", wedge.pid);
	json_out_str(o, "work", wedge.work);
	json_out_str(o, "waits_in", wedge.waits_in[0] ? wedge.waits_in : NULL);
	json_out_end(o);
	return true;
}

/* "kept_driver": for good, by `iovctl bind`; "driver_before": what `release` gives back. */
static void tell_facts(void *arg, const struct device *device, struct json_out *o)
{
	struct binding_row row;

	faults_put_of(((struct daemon *)arg)->faults, device->id, o);
	if (device->class != DEVICE_PCI || !binding_find(arg, device->id, BINDING_KEPT, &row))
		return;
	json_out_str(o, "kept_driver", row.driver);
	json_out_str(o, "driver_before", row.old.driver[0] ? row.old.driver : NULL);
}

static void on_wedge(void *arg, const char *object, bool wedged)
{
	struct daemon *d = arg;

	(void)wedged;
	if (d->inventory)
		inventory_wedge_changed(d->inventory, object);
}

/* --- rebuilding ------------------------------------------------------------------------------- */

/* Whether somebody else has its name or its device. */
static bool is_taken(struct registry *r, const struct attachment_spec *spec)
{
	list_for_each (node, registry_list(r)) {
		const struct attachment_spec *other =
			&list_entry(node, struct attachment, node)->spec;

		if (strcmp(other->device, spec->device) == 0 ||
			(strcmp(other->vm, spec->vm) == 0 && strcmp(other->name, spec->name) == 0))
			return true;
	}
	return false;
}

static int rebuild_one(struct daemon *d, const char *id, struct err *e)
{
	struct attachment_spec spec;
	struct attachment_disk disk;
	struct attachment *a;

	if (attachment_read_description(d->registry, id, &spec, &disk, e) < 0)
		return -1;
	if (is_taken(d->registry, &spec))
		return err_set(e, ERR_FAILED, "DESCRIPTION", "another has its name or its device");
	a = registry_add(d->registry, &spec, e);
	if (!a)
		return -1;
	a->kept = KEPT_ATTACHED;
	a->state = ATTACHMENT_RECOVERING;
	log_warning("%s (%s/%s): rebuilt from its worker", id, spec.vm, spec.name);
	if (registry_keep(d->registry, a, e) < 0)
		log_error("%s: rebuilt, but not kept: %s", id, e->msg);
	return 0;
}

/* --- workers that nobody knows ---------------------------------------------------------------- */

struct stranger {
	struct list_node node;
	char id[KEEPER_ID_SIZE];
	struct keeper_item item;
};

static struct list_node strangers = {&strangers, &strangers};

static void owner_unknown(void *arg, const char *id, const struct keeper_item *item)
{
	struct daemon *d = arg;
	struct stranger *s;

	if (!d->reconcile->listing) {
		log_debug("sup", "%s: nobody's worker", id);
		return;
	}
	s = calloc(1, sizeof(*s));
	if (!s)
		return;
	str_copy(s->id, sizeof(s->id), id);
	s->item = *item;
	list_append(&strangers, &s->node);
}

/* Whose gate is shut was quiesced, or about to be; which of both, the store knew. */
static void rebuild_gate(struct daemon *d, struct attachment *a)
{
	auto_close int page = supervisor_fetch(d->supervisor, a->spec.id, VAULT_PAGE, NULL);
	struct session_status status;
	struct err e = ERR_INIT;

	if (page < 0 || session_page_status(page, &status, NULL) < 0)
		return;
	a->gate = session_gate_flags(status.gate_word);
	a->quiesced = a->gate != 0;
	if (a->quiesced && registry_keep_quiesced(d->registry, a, a->gate, &e) < 0)
		log_error("%s: quiesced, but not kept: %s", a->spec.id, e.msg);
}

/* All are found out before one is asked for: the link has one request out at a time. */
static void rebuild_all(struct daemon *d)
{
	list_for_each_safe (node, &strangers) {
		struct stranger *s = list_entry(node, struct stranger, node);
		struct attachment *a;
		struct err e = ERR_INIT;

		if (rebuild_one(d, s->id, &e) < 0)
			log_error("%s: a worker that nobody knows: %s", s->id, e.msg);
		a = registry_by_id(d->registry, s->id);
		if (a) {
			a->worker = s->item;
			rebuild_gate(d, a);
		}
		list_remove(&s->node);
		free(s);
	}
}

/* --- store, keeper, journal ------------------------------------------------------------------- */

/*
 * A new keeper has the disk from the worker, which may have been taken over: it must be the disk
 * that was opened, or a successor would open something else with our rights. One that cannot be
 * looked at (its file server is gone) is no other for that: nothing can be opened by it, and it is
 * looked at again before a successor starts.
 */
static void owner_check(void *arg, struct attachment *a)
{
	struct daemon *d = arg;
	struct attachment_spec spec;
	struct err e = ERR_INIT;

	if (attachment_read_description(d->registry, a->spec.id, &spec, &a->disk, &e) == 0 &&
		a->backing_fd >= 0) {
		a->disk_unknown = backing_is_dead(a->backing_fd);
		if (a->disk_unknown ||
			backing_is(a->backing_fd, a->disk.fs, a->disk.inode, a->disk.number))
			return;
	}
	a->disk_unknown = false;
	log_error("%s: its worker holds another disk (%s): killed", a->spec.id,
		e.msg[0] ? e.msg : "not the one that was opened");
	close_fd(&a->backing_fd);
	a->vault_is_void = true;
	if (supervisor_kill(d->supervisor, a, SIGKILL, &e) < 0)
		log_error("%s: %s", a->spec.id, e.msg);
}

/* Which of two disks these have is not known, and does not matter: they get theirs anew. */
static void note_disk_changes(void *arg, const struct journal_op *op)
{
	struct daemon *d = arg;
	struct attachment *a = registry_by_id(d->registry, op->subject);
	struct attachment_spec spec;

	if (!a || strcmp(op->verb, recover_verb) != 0)
		return;
	a->disk_changes = true;
	attachment_read_description(d->registry, a->spec.id, &spec, &a->disk, NULL);
}

static void fetch_descriptors(struct daemon *d)
{
	list_for_each (node, registry_list(d->registry)) {
		struct attachment *a = list_entry(node, struct attachment, node);

		if (a->worker.generation == 0)
			continue;
		a->page_fd = supervisor_fetch(d->supervisor, a->spec.id, VAULT_PAGE, NULL);
		a->backing_fd = supervisor_fetch(d->supervisor, a->spec.id, VAULT_BACKING, NULL);
		a->lease.fd = supervisor_fetch(d->supervisor, a->spec.id, VAULT_LEASE, NULL);
		if (a->kept == KEPT_ATTACHED && !a->disk_changes)
			owner_check(d, a);
	}
}

static void reconcile_end(struct reconcile *r)
{
	void (*done)(void *arg) = r->done;

	r->done = NULL;
	r->d->loop->ops->remove(r->patience);
	r->patience = NULL;
	if (done)
		done(r->arg);
}

static void op_ended(void *arg, struct attachment *a, const struct err *e);

/* Its restore did not come to its end: those that were there go again. */
static void undo_restore(struct reconcile *r, struct attachment *a)
{
	const struct attach_caller caller = {.done = op_ended, .arg = r};
	struct err e = ERR_INIT;

	if (!a->restoring || a->kept != KEPT_ATTACHED || a->busy)
		return;
	log_info("%s: of a restore that was left half done: is detached", a->spec.id);
	if (detach_start(r->d, a, &caller, &e) < 0)
		log_error("%s: %s", a->spec.id, e.msg);
	else
		r->open++;
}

static void op_ended(void *arg, struct attachment *a, const struct err *e)
{
	struct reconcile *r = arg;

	if (e)
		log_error("%s: left half done, and tried again: %s", a->spec.id, e->msg);
	else
		undo_restore(r, a);
	if (--r->open == 0)
		reconcile_end(r);
}

static void patience_ended(void *arg, unsigned int events)
{
	struct reconcile *r = arg;

	(void)events;
	if (r->open)
		log_warning("%u operations of an earlier run go on", r->open);
	r->open = 0;
	reconcile_end(r);
}

struct open_ops {
	struct journal_op *ops;
	size_t count;
};

static void collect_op(void *arg, const struct journal_op *op)
{
	struct open_ops *all = arg;
	struct journal_op *more = reallocarray(all->ops, all->count + 1, sizeof(*more));

	if (!more)
		return;
	all->ops = more;
	all->ops[all->count++] = *op;
}

static void gate_ended(void *arg, const struct err *e)
{
	struct reconcile *r = arg;

	if (e)
		log_error("quiesce or resume: left half done, and tried again: %s", e->msg);
	if (--r->open == 0)
		reconcile_end(r);
}

static void resume_gate(struct reconcile *r, const struct journal_op *op)
{
	const struct quiesce_caller caller = {.done = gate_ended, .arg = r};
	struct err e = ERR_INIT;

	if (quiesce_go_on(r->d, op, &caller, &e) < 0)
		log_error("%s %s: %s", op->verb, op->subject, e.msg);
	else
		r->open++;
}

static void binding_ended(void *arg, const struct err *e)
{
	struct reconcile *r = arg;

	if (e)
		log_error("a binding was left half done, and is tried again: %s", e->msg);
	if (--r->open == 0)
		reconcile_end(r);
}

static void resume_binding(struct reconcile *r, const struct journal_op *op)
{
	const struct binding_caller caller = {.done = binding_ended, .arg = r};
	struct err e = ERR_INIT;

	if (binding_resume(r->d, op, &caller, &e) < 0)
		log_error("%s %s: %s", op->verb, op->subject, e.msg);
	else
		r->open++;
}

static void vf_ended(void *arg, const struct err *e)
{
	struct reconcile *r = arg;

	if (e)
		log_error("virtual functions: left half done, and tried again: %s", e->msg);
	if (--r->open == 0)
		reconcile_end(r);
}

/* True if it is of virtual functions, and more than nothing is left of it. */
static bool resume_vf(struct reconcile *r, const struct journal_op *op, struct err *e)
{
	const struct vf_caller caller = {.done = vf_ended, .arg = r};
	int rc = vf_resume(r->d, op, &caller, e);

	if (rc < 0)
		log_error("%s %s: %s", op->verb, op->subject, e->msg);
	r->open += rc > 0;
	return rc != 0;
}

static void resume_one(struct reconcile *r, const struct journal_op *op)
{
	const struct attach_caller caller = {.done = op_ended, .arg = r};
	struct attachment *a = registry_by_id(r->d->registry, op->subject);
	struct err e = ERR_INIT;

	log_info("%s %s was left half done: is %s", op->verb, op->subject,
		op->direction == JOURNAL_COMMITTED ? "finished" : "undone");
	if (a && strcmp(op->verb, recover_verb) == 0) {
		const struct recover_caller recover = {.done = op_ended, .arg = r};

		if (recover_go_on(r->d, a, op, &recover, &e) < 0)
			log_error("%s %s: %s", op->verb, op->subject, e.msg);
		else
			r->open++;
		return;
	}
	if (quiesce_is_verb(op->verb)) {
		resume_gate(r, op);
		return;
	}
	if (binding_owns(op)) {
		resume_binding(r, op);
		return;
	}
	if (resume_vf(r, op, &e))
		return;
	if (!a) {
		/* Before its first stage did anything, or after its last did all. */
		if (journal_close(r->d->store, op, &e) < 0)
			log_error("%s", e.msg);
		return;
	}
	if (attach_resume(r->d, a, op, &caller, &e) < 0)
		log_error("%s %s: %s", op->verb, op->subject, e.msg);
	else
		r->open++;
}

static int resume_all(struct reconcile *r, struct err *e)
{
	struct open_ops all = {0};
	int rc = journal_each(r->d->store, collect_op, &all, e);

	for (size_t i = 0; rc == 0 && i < all.count; i++)
		resume_one(r, &all.ops[i]);
	free(all.ops);
	return rc;
}

static void undo_restores(struct reconcile *r)
{
	list_for_each_safe (node, registry_list(r->d->registry))
		undo_restore(r, list_entry(node, struct attachment, node));
}

/* Those that no operation is at: what became of them while no daemon was there. */
static void adopt_all(struct daemon *d)
{
	list_for_each_safe (node, registry_list(d->registry)) {
		struct attachment *a = list_entry(node, struct attachment, node);

		if (a->kept == KEPT_ATTACHED && !a->busy && attach_paths[a->spec.path]->adopt)
			attach_paths[a->spec.path]->adopt(d, a);
	}
}

int reconcile_begin(struct daemon *d, void (*done)(void *arg), void *arg, struct err *e)
{
	struct reconcile *r = d->reconcile;

	r->done = done;
	r->arg = arg;
	if (registry_load(d->registry, e) < 0 || batons_load(d, e) < 0)
		return err_wrap(e, "read the store");
	r->listing = true;
	if (d->supervisor && supervisor_list(d->supervisor, e) < 0)
		return -1;
	r->listing = false;
	if (d->supervisor) {
		rebuild_all(d);
		if (unknown_begin(d, e) < 0 || quarantine_load(d, e) < 0)
			return -1;
		if (journal_each(d->store, note_disk_changes, d, e) < 0)
			return -1;
		fetch_descriptors(d);
		batons_begin(d);
		attach_sweep_sockets(d);
		if (resume_all(r, e) < 0)
			return -1;
		undo_restores(r);
		adopt_all(d);
		supervisor_begin(d->supervisor);
		vf_begin(d);
		binding_follow(d);
	}
	faults_begin(d->faults);
	r->patience =
		d->loop->ops->add_timer(d->loop, r->open ? PATIENCE_MS : 0, patience_ended, r, e);
	return r->patience ? 0 : -1;
}

int reconcile_open(struct daemon *d, int keeper_fd, struct err *e)
{
	const struct supervisor_owner owner = {
		.lost = owner_lost,
		.unknown = owner_unknown,
		.revive = owner_revive,
		.turn = owner_turn,
		.looked = owner_looked,
		.check = owner_check,
		.arg = d,
	};
	char path[PATH_MAX + 16];
	auto_free char *aside = NULL;

	d->reconcile = calloc(1, sizeof(*d->reconcile));
	if (!d->reconcile)
		return err_set(e, ERR_FAILED, "MEMORY", "no memory to begin");
	d->reconcile->d = d;
	snprintf(path, sizeof(path), "%.4000s/iovd.db", d->conf->state_dir);
	d->store = store_open(path, &registry_schema, &aside, e);
	if (!d->store)
		return -1;
	d->registry = registry_new(d->store, d->events, d->conf->runtime_dir, e);
	d->hands = hands_new(d->loop, e);
	d->passthrough = passthrough_new(d, e);
	d->batons = batons_new(d, e);
	d->faults = faults_new(d, e);
	if (!d->registry || !d->hands || !d->passthrough || !d->batons || !d->faults)
		return -1;
	standby_begin(d);
	if (d->inventory) {
		inventory_set_attachments(d->inventory, tell_attachments, d);
		inventory_set_wedged(d->inventory, tell_wedged, d);
		inventory_set_facts(d->inventory, tell_facts, d);
	}
	hands_set_listener(d->hands, on_wedge, d);
	if (hands_adopt(d->hands, d->conf->runtime_dir, e) < 0)
		return -1;
	if (keeper_fd < 0)
		return 0;
	d->supervisor = supervisor_new(d->loop, d->registry, d->conf, keeper_fd, &owner, e);
	return d->supervisor ? 0 : -1;
}

void reconcile_close(struct daemon *d)
{
	if (d->reconcile)
		d->loop->ops->remove(d->reconcile->patience);
	vf_end();
	vf_given_end(d);
	binding_follow_end();
	unknown_end();
	quarantine_end();
	standby_end();
	supervisor_free(d->supervisor);
	faults_free(d->faults);
	passthrough_free(d->passthrough);
	batons_free(d->batons);
	hands_free(d->hands);
	registry_free(d->registry);
	store_close(d->store);
	free(d->reconcile);
}
