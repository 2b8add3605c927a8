/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Theory of operation
 *
 *	preparing	being attached; when that does not work out it just goes
 *	ready		its worker serves, and waits for the VMM
 *	active		a VMM is connected
 *	held		its disk failed; requests are parked, and the guest waits (daemon/recover.c)
 *	quiesced	no request is taken from the guest, and none is in flight (daemon/quiesce.c)
 *	recovering	its worker died, and the next one does not serve yet
 *	incoming	restored, and not all of its rings have arrived with the VMM; or it waits for
 *			the baton (daemon/baton.c)
 *	away		the baton is another host's: the gate stays shut until it comes back
 *	failed		it cannot serve, and a person has to look (reason); it may get better
 *	detaching	being detached; it does not come back
 *
 * Who moves it: attach and detach (preparing, detaching), the supervisor (recovering, failed, and
 * out of them), quiesce and resume (quiesced), the session page (ready, active). In the store there
 * is only how far its making or unmaking got, and that it is quiesced: all else is seen anew.
 */
#include "daemon/registry.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "daemon/events.h"
#include "daemon/iostate.h"
#include "daemon/registry_internal.h"
#include "lib/cleanup.h"
#include "lib/log.h"

const char *const attachment_state_names[] = {
	[ATTACHMENT_PREPARING] = "preparing",
	[ATTACHMENT_READY] = "ready",
	[ATTACHMENT_ACTIVE] = "active",
	[ATTACHMENT_QUIESCED] = "quiesced",
	[ATTACHMENT_HELD] = "held",
	[ATTACHMENT_RECOVERING] = "recovering",
	[ATTACHMENT_INCOMING] = "incoming",
	[ATTACHMENT_AWAY] = "away",
	[ATTACHMENT_FAILED] = "failed",
	[ATTACHMENT_DETACHING] = "detaching",
};
static_assert(ARRAY_SIZE(attachment_state_names) == ATTACHMENT_STATES, "a name for each state");

const char *const attachment_path_names[] = {
	[ATTACHMENT_PARAVIRT] = "paravirt",
	[ATTACHMENT_PASSTHROUGH] = "passthrough",
	[ATTACHMENT_EMULATED] = "emulated",
};
static_assert(ARRAY_SIZE(attachment_path_names) == ATTACHMENT_PATHS, "a name for each path");

const char *const attachment_cache_names[] = {
	[ATTACHMENT_CACHE_NONE] = "none",
	[ATTACHMENT_CACHE_WRITEBACK] = "writeback",
};
static_assert(ARRAY_SIZE(attachment_cache_names) == ATTACHMENT_CACHES, "a name for each");

const char *const attachment_on_error_names[] = {
	[ON_ERROR_REPORT] = "report",
	[ON_ERROR_HOLD] = "hold",
};
static_assert(ARRAY_SIZE(attachment_on_error_names) == ON_ERRORS, "a name for each");

const char *const attachment_on_fault_names[] = {
	[ON_FAULT_REPORT] = "report",
	[ON_FAULT_BLOCK] = "block",
};
static_assert(ARRAY_SIZE(attachment_on_fault_names) == ON_FAULTS, "a name for each");

#define TO(state) (1u << ATTACHMENT_##state)

/* What a worker that serves may say of itself. */
#define SERVING                                                                                    \
	(TO(READY) | TO(ACTIVE) | TO(QUIESCED) | TO(HELD) | TO(INCOMING) | TO(AWAY) | TO(FAILED))

static const unsigned int edges[] = {
	[ATTACHMENT_PREPARING] = (SERVING & ~(TO(QUIESCED) | TO(AWAY))) | TO(RECOVERING),
	[ATTACHMENT_READY] = (SERVING & ~TO(READY)) | TO(RECOVERING) | TO(DETACHING),
	[ATTACHMENT_ACTIVE] = (SERVING & ~TO(ACTIVE)) | TO(RECOVERING) | TO(DETACHING),
	[ATTACHMENT_QUIESCED] = (SERVING & ~TO(QUIESCED)) | TO(RECOVERING) | TO(DETACHING),
	[ATTACHMENT_HELD] = (SERVING & ~TO(HELD)) | TO(RECOVERING) | TO(DETACHING),
	[ATTACHMENT_RECOVERING] = SERVING | TO(DETACHING),
	[ATTACHMENT_INCOMING] = (SERVING & ~TO(INCOMING)) | TO(RECOVERING) | TO(DETACHING),
	[ATTACHMENT_AWAY] = (SERVING & ~TO(AWAY)) | TO(RECOVERING) | TO(DETACHING),
	[ATTACHMENT_FAILED] = (SERVING & ~TO(FAILED)) | TO(RECOVERING) | TO(DETACHING),
	[ATTACHMENT_DETACHING] = 0,
};
static_assert(ARRAY_SIZE(edges) == ATTACHMENT_STATES, "edges of each state");

bool attachment_edge(enum attachment_state from, enum attachment_state to)
{
	return edges[from] & 1u << to;
}

struct registry *registry_new(
	struct store *store, struct events *events, const char *runtime_dir, struct err *e)
{
	struct registry *r = calloc(1, sizeof(*r));

	if (!r) {
		err_set(e, ERR_FAILED, "MEMORY", "no memory for the registry");
		return NULL;
	}
	r->store = store;
	r->events = events;
	r->runtime_dir = runtime_dir;
	r->next_number = 1;
	list_init(&r->attachments);
	return r;
}

static void attachment_free(struct attachment *a)
{
	list_remove(&a->node);
	close_fd(&a->page_fd);
	close_fd(&a->backing_fd);
	close_fd(&a->lease.fd);
	incoming_free(a->incoming);
	free(a);
}

void registry_free(struct registry *r)
{
	if (!r)
		return;
	list_for_each_safe (node, &r->attachments)
		attachment_free(list_entry(node, struct attachment, node));
	free(r);
}

struct store *registry_store(const struct registry *r)
{
	return r->store;
}

struct list_node *registry_list(struct registry *r)
{
	return &r->attachments;
}

/* --- finding ---------------------------------------------------------------------------------- */

struct attachment *registry_by_id(struct registry *r, const char *id)
{
	list_for_each (node, &r->attachments) {
		struct attachment *a = list_entry(node, struct attachment, node);

		if (strcmp(a->spec.id, id) == 0)
			return a;
	}
	return NULL;
}

struct attachment *registry_by_name(struct registry *r, const char *vm, const char *name)
{
	list_for_each (node, &r->attachments) {
		struct attachment *a = list_entry(node, struct attachment, node);

		if (strcmp(a->spec.vm, vm) == 0 && strcmp(a->spec.name, name) == 0)
			return a;
	}
	return NULL;
}

static struct attachment *registry_by_path(struct registry *r, const char *path)
{
	const char *slash = strchr(path, '/');
	char vm[REGISTRY_NAME_MAX];

	if (!slash || (size_t)(slash - path) >= sizeof(vm))
		return NULL;
	memcpy(vm, path, (size_t)(slash - path));
	vm[slash - path] = '\0';
	return registry_by_name(r, vm, slash + 1);
}

struct attachment *registry_find(struct registry *r, const char *name, struct err *e)
{
	struct attachment *found = registry_by_id(r, name) ?: registry_by_path(r, name);
	char list[sizeof(((struct err *)0)->evidence)] = "";
	unsigned int count = 0;

	if (found)
		return found;
	list_for_each (node, &r->attachments) {
		struct attachment *a = list_entry(node, struct attachment, node);
		size_t len = strlen(list);

		if (strcmp(a->spec.name, name) != 0)
			continue;
		found = a;
		snprintf(list + len, sizeof(list) - len, "%s%s (%s/%s)", count++ ? ", " : "",
			a->spec.id, a->spec.vm, a->spec.name);
	}
	if (count == 1)
		return found;
	if (count) {
		err_set(e, ERR_USAGE, "AMBIGUOUS", "%s names %u attachments", name, count);
		err_evidence(e, "%s", list);
		err_fix(e, "say which one, by its id or as VM/NAME");
	} else {
		err_set(e, ERR_NOT_FOUND, "NO-SUCH", "there is no attachment %s", name);
		err_fix(e, "iovctl list attachments shows those there are");
	}
	return NULL;
}

const char *registry_find_vm(struct registry *r, const char *name)
{
	list_for_each (node, &r->attachments) {
		const struct attachment *a = list_entry(node, struct attachment, node);

		if (strcmp(a->spec.vm, name) == 0 ||
			(a->spec.domain[0] && strcasecmp(a->spec.domain, name) == 0))
			return a->spec.vm;
	}
	return NULL;
}

bool attachment_has(const struct attachment *a, const char *device)
{
	const struct attachment_passthrough *p = &a->spec.passthrough;

	if (a->spec.vf.pair == PAIR_APART)
		return false;
	for (unsigned int i = 0; i < p->companion_count; i++)
		if (strcmp(p->companions[i], device) == 0)
			return true;
	return strcmp(a->spec.device, device) == 0;
}

bool registry_has_vm(struct registry *r, const char *vm)
{
	list_for_each (node, &r->attachments)
		if (strcmp(list_entry(node, struct attachment, node)->spec.vm, vm) == 0)
			return true;
	return false;
}

/* --- coming and going ------------------------------------------------------------------------- */

void registry_next_id(const struct registry *r, char id[KEEPER_ID_SIZE])
{
	snprintf(id, KEEPER_ID_SIZE, "a%llu", (unsigned long long)r->next_number);
}

static uint64_t attachment_number(const struct attachment_spec *spec)
{
	return strtoull(spec->id + 1, NULL, 10);
}

/* By number, so that lists look the same whatever order they were found in. */
static void registry_insert(struct registry *r, struct attachment *a)
{
	struct list_node *before = &r->attachments;

	while (before->prev != &r->attachments) {
		struct attachment *other = list_entry(before->prev, struct attachment, node);

		if (attachment_number(&other->spec) < attachment_number(&a->spec))
			break;
		before = before->prev;
	}
	list_append(before, &a->node); /* in front of `before` */
	r->next_number = MAX(r->next_number, attachment_number(&a->spec) + 1);
}

void registry_say(struct registry *r, const struct attachment *a, const char *event)
{
	auto_json_out struct json_out o;
	auto_free char *text = NULL;
	size_t len;

	json_out_init(&o);
	attachment_put(r, a, &o, NULL);
	text = json_out_finish(&o, &len);
	if (text && r->events)
		events_emit(r->events, event, "attachment", a->spec.id, text, len);
}

struct attachment *registry_add(
	struct registry *r, const struct attachment_spec *spec, struct err *e)
{
	struct attachment *a = calloc(1, sizeof(*a));

	if (!a) {
		err_set(e, ERR_FAILED, "MEMORY", "no memory for an attachment");
		return NULL;
	}
	a->spec = *spec;
	a->page_fd = a->backing_fd = a->lease.fd = -1;
	a->state = ATTACHMENT_PREPARING;
	registry_insert(r, a);
	registry_say(r, a, "added");
	return a;
}

void registry_remove(struct registry *r, struct attachment *a)
{
	registry_say(r, a, "removed");
	attachment_free(a);
}

void registry_set_link(struct registry *r, struct attachment *a, enum attachment_link link)
{
	if (a->link == link)
		return;
	a->link = link;
	registry_say(r, a, "changed");
}

/* --- states ----------------------------------------------------------------------------------- */

/* For those who wait for just that; however it came to its end. */
static void say_of_hold(struct registry *r, struct attachment *a)
{
	bool serves = a->state == ATTACHMENT_READY || a->state == ATTACHMENT_ACTIVE ||
		      a->state == ATTACHMENT_QUIESCED;

	if (a->state == ATTACHMENT_HELD && !a->was_held)
		registry_say(r, a, "held");
	else if (serves && a->was_held)
		registry_say(r, a, "recovered");
	a->was_held = (a->was_held || a->state == ATTACHMENT_HELD) && !serves;
}

void registry_set_state(
	struct registry *r, struct attachment *a, enum attachment_state state, const char *reason)
{
	if (a->state == state && strcmp(a->reason, reason ? reason : "") == 0)
		return;
	assert(a->state == state || attachment_edge(a->state, state));
	if (state == ATTACHMENT_FAILED)
		log_error("%s (%s/%s): failed: %s", a->spec.id, a->spec.vm, a->spec.name, reason);
	else if (state == ATTACHMENT_HELD)
		log_warning("%s (%s/%s): held: %s", a->spec.id, a->spec.vm, a->spec.name, reason);
	else
		log_info("%s (%s/%s): %s", a->spec.id, a->spec.vm, a->spec.name,
			attachment_state_names[state]);
	a->state = state;
	str_copy(a->reason, sizeof(a->reason), reason ? reason : "");
	registry_say(r, a, "changed");
	say_of_hold(r, a);
}

/* What a worker that serves says of itself; quiesced is what the store says. */
static enum attachment_state state_of(const struct attachment *a, const struct session_status *s)
{
	if (s->failed)
		return ATTACHMENT_FAILED;
	if (s->hold)
		return ATTACHMENT_HELD;
	if (a->quiesced)
		return ATTACHMENT_QUIESCED;
	if (a->baton == BATON_AWAY)
		return ATTACHMENT_AWAY;
	if (s->incoming || a->baton == BATON_COMING)
		return ATTACHMENT_INCOMING;
	return s->connected ? ATTACHMENT_ACTIVE : ATTACHMENT_READY;
}

/* Kept until the store knows: it is looked at again. */
static void note_arrived(struct registry *r, struct attachment *a)
{
	struct err e = ERR_INIT;

	if (registry_keep_arrived(r, a, &e) < 0) {
		log_error("%s: has arrived, which cannot be kept: %s", a->spec.id, e.msg);
		return;
	}
	incoming_free(a->incoming);
	a->incoming = NULL;
}

/*
 * All of its rings have. What an idle worker's page says of that is about a reservation: the VMM may have
 * been early, and what was granted since is not in the page yet (daemon/baton.c).
 */
static bool has_arrived(const struct attachment *a, const struct session_status *s)
{
	bool idle = session_gate_flags(s->gate_word) & SESSION_GATE_IDLE;

	return a->incoming && !s->incoming && !idle;
}

void registry_look(struct registry *r, struct attachment *a)
{
	struct session_status status;
	struct err e = ERR_INIT;

	if (a->kept != KEPT_ATTACHED || a->state == ATTACHMENT_DETACHING || a->worker.pid <= 0 ||
		!a->worker.ready)
		return;
	if (a->disk_changes && a->state == ATTACHMENT_RECOVERING)
		return; /* it may be killed and not dead yet: its words are not the last ones */
	if (a->page_fd < 0 || session_page_status(a->page_fd, &status, &e) < 0) {
		registry_set_state(r, a, ATTACHMENT_FAILED,
			a->page_fd < 0 ? "its session page is lost" : e.msg);
		return;
	}
	a->connected = status.connected;
	if (has_arrived(a, &status))
		note_arrived(r, a);
	registry_set_state(r, a, state_of(a, &status),
		status.failed || status.hold || status.late ? status.reason : NULL);
}
