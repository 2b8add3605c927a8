/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Theory of operation: the move of a libvirt domain. Who may do its I/O is the baton's to decide
 * (daemon/baton.c), by what the VMMs do; who runs it is decided by the two libvirtds, between them
 * (a peer-to-peer migration). Neither needs us after the migration has begun. What is done here:
 *
 *	ask	the verdict of the destination; all reasons against it, before anything is changed
 *	reserve	the baton's first step: attachments there, armed here
 *	prepare	the domain's definitions, with the sockets that its disks have there
 *	migrate	libvirt's call, which ends when the domain runs there or the move has failed; meanwhile it
 *		is looked at twice a second, for those who wait
 *	follow	the call has failed, or its libvirtd, or we: what has become of it is looked at
 *	end	the baton's last step, after which nothing is left here; or its abort
 *
 * A call that fails says nothing reliable (its libvirtd may have been killed when all was done, or the
 * network have gone): so there is one rule for whatever failed, and for a move that a killed daemon has
 * left. As long as libvirt has a job at the domain, it is waited for. Then:
 *
 *	the domain here is	and the baton is	then
 *	running			anywhere		abort: it is asked back, unless it runs there
 *	off, or gone		here (READY)		abort: it died before it had left
 *	off, or gone		LEFT, TAKEN		end: it runs there, or soon will
 *	paused			anywhere		looked at again: libvirt, or a person, decides
 *
 * Where it has moved though libvirt says that it has not, what is left of it here is ended: paused, since its
 * libvirtd was killed when all was sent, and the next one cannot know that it runs there; or running, since the
 * libvirtd there was killed after it had started it, and none here can know. It has stood still all the time:
 * the baton is there. What is left is what still has a device that was taken away from here.
 *
 * An abort that hears that it runs there (MIG-RUNS) becomes an end. By itself a baton that is TAKEN ends as
 * soon as the VM runs there; so that the end may have come before it is asked for.
 */
#include "daemon/domain_move_priv.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/baton.h"
#include "daemon/daemon.h"
#include "daemon/dispatch.h"
#include "daemon/domain_xml.h"
#include "daemon/jobs.h"
#include "daemon/verdict.h"
#include "lib/cleanup.h"
#include "lib/log.h"

#define MOVE_CALL_MS    ((uint64_t)7 * 24 * 3600 * 1000) /* libvirt's call: as long as it takes */
#define ASK_PERCENT     2
#define RESERVE_PERCENT 5

/* --- its life --------------------------------------------------------------------------------- */

void move_free(struct domain_move *m)
{
	if (m->call)
		virt_forget(m->call);
	if (m->look)
		virt_forget(m->look);
	if (m->events.told)
		domain_unwatch(&m->events);
	m->d->loop->ops->remove(m->timer);
	m->d->loop->ops->remove(m->timeout);
	json_free(m->map);
	json_free(m->there);
	free(m->destination);
	free(m->iovd);
	free(m->address);
	free(m);
}

void move_fail(struct domain_move *m, const struct err *e)
{
	struct err words = *e;

	err_wrap(&words, "migrate %s", m->vm);
	job_fail(m->job, &words);
	move_free(m);
}

/* --- libvirt's migration ---------------------------------------------------------------------- */

static void told(struct domain_watch *w, const struct virt_event *event)
{
	struct domain_move *m = container_of(w, struct domain_move, events);

	if (event->kind != VIRT_JOB_DONE || !event->downtime_ms)
		return;
	m->downtime_ms = event->downtime_ms;
	if (m->phase == MOVE_OVER)
		move_done(m);
}

static int say_given_up(struct err *e, const char *evidence)
{
	err_set(e, ERR_FAILED, "MIG-GIVEN-UP", "it was given up");
	return err_evidence(e, "%.300s", evidence);
}

static void migrated(void *arg, const struct virt_answer *answer, const struct err *e)
{
	struct domain_move *m = arg;
	const struct err *stuck = baton_was_stuck(m->d, m->vm);

	(void)answer;
	m->call = NULL;
	if (m->look) /* it may have looked before that */
		virt_forget(m->look);
	m->look = NULL;
	m->d->loop->ops->remove(m->timer);
	m->timer = NULL;
	if (!e) {
		move_end(m);
		return;
	}
	if (stuck)
		m->stuck = *stuck;
	m->why = m->stuck.kind != ERR_NONE ? m->stuck : *e;
	if (m->given_up && m->stuck.kind == ERR_NONE)
		say_given_up(&m->why, e->msg);
	log_warning("%s: %s", m->vm, e->msg);
	m->is_left = true;
	m->phase = MOVE_FOLLOWING;
	m->has_begun = true;
	move_look(m);
}

/* Nothing of libvirt's has begun: back. */
static void move_back(struct domain_move *m, const struct err *e)
{
	m->why = *e;
	move_abort(m);
}

/* The definition, with each disk's socket there. NULL: no memory. */
static char *with_sockets(const struct domain_move *m, const char *xml)
{
	const struct json *list = json_member(m->there, "attachments");
	char *out = strdup(xml);

	for (size_t i = 0; out && i < json_count(list); i++) {
		const char *name = json_member_str(json_item(list, i), "name");
		const char *path = json_member_str(json_item(list, i), "socket");
		struct attachment_spec spec = {0};
		char alias[DOMAIN_ALIAS_SIZE];
		char *next;

		if (!name || !path || !str_copy(spec.name, sizeof(spec.name), name))
			continue;
		domain_alias(&spec, alias);
		next = domain_xml_set_socket(out, alias, path);
		free(out);
		out = next;
	}
	return out;
}

static int begin_migration(struct domain_move *m, const struct virt_answer *found, struct err *e)
{
	auto_free char *live = with_sockets(m, found->live);
	auto_free char *config = found->config ? with_sockets(m, found->config) : NULL;
	const struct virt_ask ask = {.op = VIRT_MIGRATE,
		.domain = m->uuid,
		.destination = m->destination,
		.address = m->address,
		.text = live,
		.config = config,
		.deadline_ms = MOVE_CALL_MS};

	if (m->given_up)
		return say_given_up(e, "before libvirt began");
	if (baton_carry_check(m->d, m->vm, m->carry_ms, e) < 0)
		return -1;
	if (!live || (found->config && !config))
		return err_set(e, ERR_FAILED, "MEMORY", "no memory for a definition");
	m->call = virt_do(domains_virt(m->d->domains), &ask, migrated, m, e);
	if (!m->call)
		return -1;
	m->phase = MOVE_SENDING;
	m->events = (struct domain_watch){.uuid = m->uuid, .told = told};
	domains_watch(m->d->domains, &m->events);
	move_look_later(m);
	return 0;
}

static void got_definitions(void *arg, const struct virt_answer *found, const struct err *e)
{
	struct domain_move *m = arg;
	struct err own = ERR_INIT;

	m->look = NULL;
	if (e)
		move_back(m, e);
	else if (begin_migration(m, found, &own) < 0)
		move_back(m, &own);
}

/* --- before ----------------------------------------------------------------------------------- */

static void reserved(void *arg, const char *reply, size_t len, const struct err *e)
{
	struct domain_move *m = arg;
	const struct virt_ask ask = {.op = VIRT_MIGRATABLE, .domain = m->uuid};
	struct err own = ERR_INIT;

	if (e) {
		move_fail(m, e);
		return;
	}
	m->percent = SEND_PERCENT;
	job_progress(m->job, m->percent, "libvirt moves it");
	m->there = json_parse(reply, len, &own);
	if (m->there)
		m->look = virt_do(domains_virt(m->d->domains), &ask, got_definitions, m, &own);
	if (!m->look)
		move_back(m, &own);
}

/* The first thing that is in the way, and how many there are. */
static int refuse(const struct json *verdict, struct err *e)
{
	const struct json *devices = json_member(verdict, "devices");
	const struct json *first = NULL;
	const char *name = "?";
	size_t count = 0;

	for (size_t i = 0; i < json_count(devices); i++) {
		const struct json *problems = json_member(json_item(devices, i), "problems");

		if (!first && json_count(problems)) {
			first = json_item(problems, 0);
			name = json_member_str(json_item(devices, i), "name") ?: "?";
		}
		count += json_count(problems);
	}
	err_set(e, ERR_REFUSED, "MIG-VERDICT", "%.64s: %.300s", name,
		json_member_str(first, "what") ?: "the destination does not take it");
	err_evidence(e, "%.32s: %.300s (%zu in all)", json_member_str(first, "code") ?: "?",
		json_member_str(first, "evidence") ?: "it does not say why", count);
	return err_fix(e, "%.300s", json_member_str(first, "fix") ?: "see it with --check");
}

static void judged(void *arg, const char *reply, size_t len, const struct err *e)
{
	struct domain_move *m = arg;
	struct err own = ERR_INIT;
	auto_json struct json *verdict = e ? NULL : json_parse(reply, len, &own);

	if (verdict && !json_is_true(json_member(verdict, "ok")))
		refuse(verdict, &own);
	if (e || own.kind != ERR_NONE) {
		move_fail(m, e ? e : &own);
		return;
	}
	m->percent = RESERVE_PERCENT;
	job_progress(m->job, m->percent, "reserving at the destination");
	if (baton_start(m->d, m->vm, m->iovd, m->map, m->carry_ms, reserved, m, &own) < 0)
		move_fail(m, &own);
}

/* --- giving it up ----------------------------------------------------------------------------- */

static void stopped(void *arg, const struct virt_answer *answer, const struct err *e)
{
	(void)arg, (void)answer;
	if (e)
		log_warning("a move cannot be given up: %s", e->msg);
}

static void stop(struct daemon *d, const char *uuid)
{
	const struct virt_ask ask = {.op = VIRT_STOP_JOB, .domain = uuid};
	struct err e = ERR_INIT;

	if (!virt_do(domains_virt(d->domains), &ask, stopped, NULL, &e))
		stopped(NULL, NULL, &e);
}

/* libvirt's call then fails, and the rest follows of that. */
void move_stop(struct domain_move *m)
{
	stop(m->d, m->uuid);
}

void domain_move_give_up(struct daemon *d, const char *vm)
{
	const struct domain *domain = domain_move_domain(d, vm);

	if (domain)
		stop(d, domain->uuid);
}

/* It may be too early for that, or not have been heard: each look tells it again. */
static void give_up(struct domain_move *m)
{
	m->given_up = true;
	if (m->phase == MOVE_SENDING)
		move_stop(m);
}

/* What is only waited for goes on by itself, and --end or --abort can be asked for. */
static void move_cancel(struct job *job, void *arg)
{
	struct domain_move *m = arg;

	give_up(m);
	if (m->phase == MOVE_ENDING)
		baton_forget_waiter(m->d, m->vm);
	if (m->phase != MOVE_ENDING && m->phase != MOVE_FOLLOWING)
		return;
	job_cancelled(job);
	move_free(m);
}

static void move_late(void *arg, unsigned int events)
{
	(void)events;
	give_up(arg);
}

/* --- begin ------------------------------------------------------------------------------------ */

const struct domain *domain_move_domain(struct daemon *d, const char *vm)
{
	list_for_each (node, registry_list(d->registry)) {
		const struct attachment *a = list_entry(node, struct attachment, node);

		if (strcmp(a->spec.vm, vm) == 0 && a->spec.domain[0])
			return domains_find(d->domains, a->spec.domain);
	}
	return NULL;
}

static void name_device(struct domain_move *m)
{
	list_for_each (node, registry_list(m->d->registry)) {
		const struct attachment *a = list_entry(node, struct attachment, node);

		if (strcmp(a->spec.vm, m->vm) == 0)
			domain_alias(&a->spec, m->alias);
	}
}

struct domain_move *move_new(
	struct daemon *d, struct request *rq, const char *vm, const char *uuid, struct err *e)
{
	struct domain_move *m = calloc(1, sizeof(*m));
	char object[REGISTRY_NAME_MAX + 8];
	const struct job_spec job = {.verb = "migrate",
		.objects = {object},
		.deadline_ms = JOB_NO_DEADLINE,
		.cancel = move_cancel,
		.arg = m};

	if (!m) {
		err_set(e, ERR_FAILED, "MEMORY", "no memory to move a domain");
		return NULL;
	}
	m->d = d;
	m->begun_ms = now_ms();
	str_copy(m->vm, sizeof(m->vm), vm);
	str_copy(m->uuid, sizeof(m->uuid), uuid);
	name_device(m);
	snprintf(object, sizeof(object), "vm:%s", m->vm);
	m->job = job_start(d->jobs, rq, &job, e);
	if (m->job)
		return m;
	free(m);
	return NULL;
}

static bool copy(char **to, const char *text)
{
	*to = text ? strdup(text) : NULL;
	return *to || !text;
}

static int move_take(struct domain_move *m, const struct domain_move_wish *wish, struct err *e)
{
	struct watch_loop *loop = m->d->loop;

	if (!copy(&m->destination, wish->destination) || !copy(&m->address, wish->address) ||
		!copy(&m->iovd, wish->iovd ? wish->iovd : wish->destination))
		return err_set(e, ERR_FAILED, "MEMORY", "no memory to move a domain");
	m->map = json_share(wish->map);
	m->carry_ms = wish->carry_ms;
	if (wish->timeout_ms)
		m->timeout = loop->ops->add_timer(loop, wish->timeout_ms, move_late, m, e);
	return wish->timeout_ms && !m->timeout ? -1 : 0;
}

static int check_domain(struct daemon *d, const struct domain_move_wish *wish,
	const struct domain **domain, struct err *e)
{
	*domain = domain_move_domain(d, wish->vm);
	if (!*domain || !domain_is_active(*domain)) {
		err_set(e, ERR_REFUSED, "MIG-OFF", "%s does not run", wish->vm);
		err_evidence(e, "libvirt says %s",
			*domain ? virt_state_names[(*domain)->state] : "that there is none such");
		return err_fix(e, "what does not run is moved by its definition: virsh dumpxml, "
				  "define");
	}
	if (wish->iovd || strncmp(wish->destination, "qemu", 4) == 0)
		return 0;
	err_set(e, ERR_USAGE, "URI", "%.200s is no libvirt", wish->destination);
	return err_fix(e, "qemu+ssh://HOST/system; or another libvirt's URI and --iovd");
}

int domain_move_start(struct request *rq, const struct domain_move_wish *wish, struct err *e)
{
	struct daemon *d = request_daemon(rq);
	const struct domain *domain;
	struct domain_move *m;
	struct err own = ERR_INIT;

	if (check_domain(d, wish, &domain, e) < 0 ||
		channel_check_uri(wish->iovd ? wish->iovd : wish->destination, e) < 0)
		return -1;
	m = move_new(d, rq, wish->vm, domain->uuid, e);
	if (!m)
		return -1;
	m->percent = ASK_PERCENT;
	job_progress(m->job, m->percent, "asking for the verdict");
	if (move_take(m, wish, &own) < 0 ||
		verdict_ask(d, m->vm, m->iovd, m->map, judged, m, &own) < 0)
		move_fail(m, &own); /* which answers */
	return 0;
}
