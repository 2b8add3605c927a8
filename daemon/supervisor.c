/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Theory of operation
 *
 * A worker's death is answered at once by its successor, however often: a test, or a bug that a
 * guest can trigger, may kill it a hundred times a second, and each of them served. What is counted
 * is only generations in a row that died *before* they served (READY): each is answered later than
 * the one before, and after STARTS_MAX of them the attachment has failed. It is tried again every
 * RETRY_MS all the same, since what was wrong may pass: a disk that was not there yet, no memory.
 * Under the policy `hold` it is not failed but held: its guest's requests wait, as they do when the
 * disk goes away under a worker that lives.
 *
 * While attach or detach is at work on an attachment (on_worker), deaths are theirs. While there is no
 * daemon the keeper answers the death of one that served (daemon/keeper_api.h).
 */
#include "daemon/supervisor.h"

#include <errno.h>
#include <pwd.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>

#include "daemon/backing.h"
#include "daemon/conf.h"
#include "daemon/keeper_proto.h"
#include "daemon/tap_node.h"
#include "lib/cleanup.h"
#include "lib/fault.h"
#include "lib/log.h"

#define STARTS_MAX   10
#define DELAY_MS     10 /* doubled with each start that failed */
#define DELAY_MAX_MS 1000
#define RETRY_MS     30000
#define TICK_MS      1000
#define RING_ENTRIES 256

struct supervisor {
	struct watch_loop *loop;
	struct registry *registry;
	struct keeper_link *link;
	struct watch *timer;
	struct supervisor_owner owner;
	char user[64];
	bool begun;
};

/* --- orders ----------------------------------------------------------------------------------- */

int supervisor_fill(struct supervisor *s, const struct attachment *a, enum vault_slot slot, int fd,
	struct err *e)
{
	return keeper_link_fill(s->link, a->spec.id, slot, fd, e);
}

int supervisor_fetch(struct supervisor *s, const char *id, enum vault_slot slot, struct err *e)
{
	return keeper_link_fetch(s->link, id, slot, e);
}

int supervisor_kill(struct supervisor *s, const struct attachment *a, int sig, struct err *e)
{
	return keeper_link_kill(s->link, a->spec.id, sig, e);
}

int supervisor_forget(struct supervisor *s, const struct attachment *a, struct err *e)
{
	return keeper_link_forget(s->link, a->spec.id, e);
}

/* The words of a worker, which are never many. */
struct spawn_words {
	const char *list[16];
	char text[8][96];
	unsigned int count;
};

static void add_word(struct spawn_words *w, const char *fmt, ...) PRINTF_LIKE(2, 3);

static void add_word(struct spawn_words *w, const char *fmt, ...)
{
	char *text = w->text[w->count];
	va_list ap;

	assert(w->count < ARRAY_SIZE(w->text));
	va_start(ap, fmt);
	vsnprintf(text, sizeof(w->text[0]), fmt, ap);
	va_end(ap);
	w->list[w->count++] = text;
}

static void add_net_words(struct spawn_words *w, const struct attachment_spec *spec)
{
	const struct vf_settings *s = &spec->vf.settings;
	char mac[18];

	tap_node_mac(spec, mac);
	add_word(w, "--mac=%s", mac);
	if (!(s->has & 1u << VF_SPOOFCHK) || s->number[VF_SPOOFCHK])
		add_word(w, "--only-mac");
	if (!(s->has & 1u << VF_TRUST) || !s->number[VF_TRUST])
		add_word(w, "--no-vlan");
}

static void add_disk_words(struct spawn_words *w, const struct attachment_spec *spec)
{
	add_word(w, "--cache=%s", attachment_cache_names[spec->cache]);
	add_word(w, "--serial=%.20s", spec->name); /* all that virtio has */
	add_word(w, "--io-timeout-ms=%llu", (unsigned long long)spec->rescue.io_timeout_ms);
	if (spec->readonly)
		add_word(w, "--read-only");
	if (spec->on_error == ON_ERROR_HOLD)
		add_word(w, "--hold");
}

int supervisor_spawn(struct supervisor *s, struct attachment *a, struct err *e)
{
	const struct attachment_spec *spec = &a->spec;
	unsigned int flags = spec->readonly ? KEEPER_SPAWN_READONLY : 0;
	bool is_net = tap_node_is(spec->node);
	struct spawn_words w = {.count = 0};

	if (spec->cache == ATTACHMENT_CACHE_NONE)
		flags |= KEEPER_SPAWN_DIRECT;
	if (is_net)
		flags |= KEEPER_SPAWN_TAP;
	if (a->gate & SESSION_GATE_IDLE)
		flags |= KEEPER_SPAWN_IDLE;
	add_word(&w, "%s", is_net ? "net" : "blk");
	add_word(&w, "--num-queues=%u", spec->queues);
	add_word(&w, "--user=%s", s->user);
	if (is_net)
		add_net_words(&w, spec);
	else
		add_disk_words(&w, spec);
	if (a->gate & SESSION_GATE_IDLE)
		w.list[w.count++] = "--idle";
	a->try_again_ms = 0;
	return keeper_link_spawn(s->link, spec->id, flags, RING_ENTRIES, w.list, e);
}

int supervisor_release(
	struct supervisor *s, const struct attachment *a, uint32_t hold, struct err *e)
{
	return keeper_link_tell(s->link, a->spec.id, WORKER_TELL_RELEASE, hold, e);
}

/* --- when to start ---------------------------------------------------------------------------- */

/* The timer is due at the next start, at the latest with the next tick. */
static void supervisor_plan(struct supervisor *s)
{
	uint64_t now = now_ms(), due = now + TICK_MS;

	list_for_each (node, registry_list(s->registry)) {
		struct attachment *a = list_entry(node, struct attachment, node);

		if (a->try_again_ms)
			due = MIN(due, a->try_again_ms);
	}
	s->loop->ops->set_timer(s->timer, due > now ? due - now : 0);
}

static void supervisor_try_later(struct supervisor *s, struct attachment *a, uint64_t delay_ms)
{
	a->try_again_ms = now_ms() + delay_ms;
	supervisor_plan(s);
}

void supervisor_give_up(struct supervisor *s, struct attachment *a, const char *reason)
{
	bool holds = a->spec.on_error == ON_ERROR_HOLD && a->worker.generation > 0;

	registry_set_state(s->registry, a, holds ? ATTACHMENT_HELD : ATTACHMENT_FAILED, reason);
	supervisor_try_later(s, a, RETRY_MS);
}

/* Its worker is what the gate that the page has makes of it. */
static bool must_turn(const struct attachment *a)
{
	struct session_status status;

	return a->page_fd >= 0 && session_page_status(a->page_fd, &status, NULL) == 0 &&
	       (session_gate_flags(status.gate_word) ^ a->gate) & SESSION_GATE_IDLE;
}

/* Between two generations: the next one will be idle, or will be no more. */
static int supervisor_turn(struct supervisor *s, struct attachment *a, struct err *e)
{
	struct session_status status;

	if (!must_turn(a))
		return 0;
	/* Killed from here on, nobody but a daemon starts one: it would be what this one was. */
	if (supervisor_kill(s, a, 0, e) < 0 || session_page_status(a->page_fd, &status, e) < 0 ||
		s->owner.turn(s->owner.arg, a, e) < 0)
		return -1;
	fault_point("gate.turn");
	a->gate_word = session_gate_next(MAX(a->gate_word, status.gate_word), a->gate);
	return session_page_set_gate(a->page_fd, a->gate_word, e);
}

static void supervisor_start(struct supervisor *s, struct attachment *a)
{
	struct err e = ERR_INIT;

	a->try_again_ms = 0;
	if (a->disk_unknown)
		s->owner.check(s->owner.arg, a);
	if (a->vault_is_void && keeper_link_forget(s->link, a->spec.id, &e) == 0) {
		memset(&a->worker, 0, sizeof(a->worker));
		a->vault_is_void = false;
	}
	if (a->worker.generation == 0)
		s->owner.revive(s->owner.arg, a);
	else if (supervisor_turn(s, a, &e) < 0 || supervisor_spawn(s, a, &e) < 0)
		supervisor_give_up(s, a, e.msg);
}

static void describe_end(const struct attachment *a, char *text, size_t size)
{
	int status = a->worker.exit_status;

	if (a->failure[0])
		snprintf(text, size, "its worker cannot start: %.100s", a->failure);
	else if (status >= 0 && WIFSIGNALED(status))
		snprintf(
			text, size, "its worker dies at the start, by signal %d", WTERMSIG(status));
	else
		snprintf(text, size, "its worker ends at the start, with status %d",
			status < 0 ? status : WEXITSTATUS(status));
}

static void supervisor_worker_died(struct supervisor *s, struct attachment *a)
{
	char reason[sizeof(a->reason)];
	uint64_t delay;

	if (a->worker.ready)
		a->failed_starts = 0;
	else if (a->worker.generation)
		a->failed_starts++;
	if (a->failed_starts >= STARTS_MAX) {
		describe_end(a, reason, sizeof(reason));
		supervisor_give_up(s, a, reason);
		return;
	}
	registry_set_state(s->registry, a, ATTACHMENT_RECOVERING, NULL);
	if (a->failed_starts == 0) {
		supervisor_start(s, a);
	} else {
		delay = (uint64_t)DELAY_MS << a->failed_starts;
		supervisor_try_later(s, a, MIN(delay, DELAY_MAX_MS));
	}
}

/* --- the gate --------------------------------------------------------------------------------- */

/*
 * Says what the worker has not heard; one that cannot be told now is told when it has come to
 * serve, or with the next tick. What an earlier daemon said holds, if it is what is wanted.
 */
static void supervisor_check_gate(struct supervisor *s, struct attachment *a)
{
	struct session_status status;

	if (a->page_fd < 0 || a->worker.pid <= 0 ||
		session_page_status(a->page_fd, &status, NULL) < 0)
		return;
	if (must_turn(a)) {
		supervisor_kill(s, a, SIGKILL, NULL);
		return;
	}
	if (!a->gate_word)
		a->gate_word = session_gate_flags(status.gate_word) == a->gate
				       ? status.gate_word
				       : session_gate_next(status.gate_word, a->gate);
	if (status.gate_word != a->gate_word)
		keeper_link_tell(s->link, a->spec.id, WORKER_TELL_GATE, a->gate_word, NULL);
}

void supervisor_set_gate(struct supervisor *s, struct attachment *a, unsigned int flags)
{
	struct session_status status;

	if (a->page_fd >= 0 && session_page_status(a->page_fd, &status, NULL) == 0)
		a->gate_word = MAX(a->gate_word, status.gate_word);
	a->gate = flags;
	a->gate_word = session_gate_next(a->gate_word, flags);
	supervisor_check_gate(s, a);
}

/* --- what the keeper says --------------------------------------------------------------------- */

void supervisor_look(struct supervisor *s, struct attachment *a)
{
	supervisor_check_gate(s, a);
	if (a->on_gate)
		a->on_gate(a->on_gate_arg);
	if (a->on_worker) {
		a->on_worker(a->on_worker_arg);
		return;
	}
	if (a->spec.path != ATTACHMENT_PARAVIRT)
		return; /* it has no worker */
	if (!s->begun || a->kept != KEPT_ATTACHED || a->state == ATTACHMENT_DETACHING)
		return;
	if (a->worker.pid == 0) {
		supervisor_worker_died(s, a);
	} else if (a->worker.pid > 0 && a->worker.ready) {
		a->failed_starts = 0;
		registry_look(s->registry, a);
	} else if (a->state != ATTACHMENT_FAILED && a->failed_starts < STARTS_MAX) {
		registry_set_state(s->registry, a, ATTACHMENT_RECOVERING, NULL);
	}
	s->owner.looked(s->owner.arg, a);
}

static void supervisor_item(
	void *arg, const char *id, const struct keeper_item *item, const char *failure)
{
	struct supervisor *s = arg;
	struct attachment *a = registry_by_id(s->registry, id);

	log_debug("sup", "%s: worker %d, generation %llu, ready %u", id, item->pid,
		(unsigned long long)item->generation, item->ready);
	if (!a) {
		s->owner.unknown(s->owner.arg, id, item);
		return;
	}
	a->worker = *item;
	str_copy(a->failure, sizeof(a->failure), failure);
	for (char *c = a->failure; *c; c++) /* a worker's words */
		if (*c < ' ' || *c > '~')
			*c = '?';
	supervisor_look(s, a);
}

static void supervisor_lost(void *arg)
{
	struct supervisor *s = arg;

	s->owner.lost(s->owner.arg);
}

static const struct keeper_link_ops link_ops = {
	.item = supervisor_item,
	.lost = supervisor_lost,
};

int supervisor_list(struct supervisor *s, struct err *e)
{
	return keeper_link_list(s->link, e);
}

int supervisor_up(struct supervisor *s, struct err *e)
{
	return keeper_link_up(s->link, e);
}

/* --- every second ----------------------------------------------------------------------------- */

static void supervisor_check_size(struct supervisor *s, struct attachment *a)
{
	uint64_t bytes;

	if (a->kept != KEPT_ATTACHED || a->backing_fd < 0 || a->worker.pid <= 0 || !a->worker.ready)
		return;
	bytes = backing_size(a->backing_fd);
	if (bytes == 0 || bytes == a->disk_bytes)
		return;
	if (a->disk_bytes)
		log_info("%s: the disk has %llu bytes now", a->spec.id, (unsigned long long)bytes);
	/* The worker looks for itself; one that cannot be told now is told with the next tick. */
	if (a->disk_bytes == 0 ||
		keeper_link_tell(s->link, a->spec.id, WORKER_TELL_RESIZE, 0, NULL) == 0)
		a->disk_bytes = bytes;
}

static void supervisor_tick(void *arg, unsigned int events)
{
	struct supervisor *s = arg;
	uint64_t now = now_ms();

	(void)events;
	list_for_each_safe (node, registry_list(s->registry)) {
		struct attachment *a = list_entry(node, struct attachment, node);

		if (s->begun && a->try_again_ms && a->try_again_ms <= now && !a->on_worker)
			supervisor_start(s, a);
		supervisor_check_size(s, a);
		supervisor_check_gate(s, a);
		if (s->begun)
			s->owner.looked(s->owner.arg, a);
	}
	supervisor_plan(s);
}

void supervisor_begin(struct supervisor *s)
{
	s->begun = true;
	list_for_each_safe (node, registry_list(s->registry))
		supervisor_look(s, list_entry(node, struct attachment, node));
	supervisor_plan(s);
}

/* A worker has no rights whoever it is; nobody is the next best. */
static void supervisor_choose_user(struct supervisor *s, const char *user)
{
	if (!getpwnam(user)) {
		log_warning("there is no user %s: workers run as nobody", user);
		user = "nobody";
	}
	str_copy(s->user, sizeof(s->user), user);
}

struct supervisor *supervisor_new(struct watch_loop *loop, struct registry *registry,
	const struct conf *conf, int keeper_fd, const struct supervisor_owner *owner, struct err *e)
{
	struct supervisor *s = calloc(1, sizeof(*s));

	if (!s) {
		err_set(e, ERR_FAILED, "MEMORY", "no memory for the supervisor");
		close_fd(&keeper_fd);
		return NULL;
	}
	s->loop = loop;
	s->registry = registry;
	s->owner = *owner;
	supervisor_choose_user(s, conf->worker_user);
	s->link = keeper_link_new(loop, keeper_fd, &link_ops, s, e);
	if (s->link)
		s->timer = loop->ops->add_timer(loop, TICK_MS, supervisor_tick, s, e);
	if (!s->timer) {
		supervisor_free(s);
		return NULL;
	}
	return s;
}

void supervisor_free(struct supervisor *s)
{
	if (!s)
		return;
	s->loop->ops->remove(s->timer);
	keeper_link_free(s->link);
	free(s);
}
