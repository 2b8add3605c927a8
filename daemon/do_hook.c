/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Theory of operation: libvirt tells its hook script what it is about to do with a domain, and waits
 * for the script, which tells us (systemd/libvirt-hook.in). While it waits it answers nobody who asks
 * about that domain: so libvirt is not asked anything here. All there is to know is in the XML.
 *
 *	prepare		the domain is to start: each attachment that the metadata describes serves, or
 *			is made; the reply is when all do. An error: the domain does not start.
 *	migrate		the domain is to arrive here. Each attachment is reserved already (iovctl migrate), or
 *			the iovd that it comes from is asked to reserve them, at the address that the
 *			description has, and follows what comes of it (daemon/domain_move.h). Where none can
 *			be asked, they are reserved here by the leases on their volumes
 *			(daemon/baton_lease.c). The reply is when all are there, and has the XML as it is
 *			to be here: other sockets, this host.
 *	release		it has ended; what becomes of its devices follows from the domain's going.
 *
 * A domain's attachments are here since they were given to it, unless it comes from elsewhere: defined
 * from a file, or by another host. Then they are made from their description.
 */
#include <stdlib.h>
#include <string.h>

#include "daemon/attach.h"
#include "daemon/channel.h"
#include "daemon/conf.h"
#include "daemon/daemon.h"
#include "daemon/dispatch.h"
#include "daemon/do.h"
#include "daemon/domain_xml.h"
#include "daemon/domains.h"
#include "daemon/lease_reserve.h"
#include "lib/cleanup.h"
#include "lib/xml.h"

#define XML_MAX  ((size_t)512 << 10)
#define READY_MS 4500 /* the script waits for 5 seconds */
#define LOOK_MS  10
#define COME_MS  25000 /* at the source; the script waits for 30 seconds */

struct hook_args {
	const char *operation, *xml;
};

static const struct json_field hook_fields[] = {
	{"operation", JSON_FIELD_STRING, .required = true,
		.offset = offsetof(struct hook_args, operation)},
	{"xml", JSON_FIELD_STRING, .required = true, .offset = offsetof(struct hook_args, xml),
		.max = XML_MAX},
};
const struct json_params do_hook_params = {
	hook_fields, ARRAY_SIZE(hook_fields), sizeof(struct hook_args)};

/* One start of a domain. */
struct hook {
	struct daemon *d;
	struct request *rq; /* NULL: the script has gone */
	struct watch *timer;
	uint64_t deadline_ms;
	struct domain domain; /* as the XML has it */
	struct domain_description each[64];
	size_t count, next;
	char *xml;               /* of one that arrives */
	struct channel *channel; /* to where it comes from */
	struct err why;          /* there is none */
};

static void hook_free(struct hook *h)
{
	h->d->loop->ops->remove(h->timer);
	channel_close(h->channel);
	free(h->domain.name);
	free(h->xml);
	free(h);
}

/* The reply, with the XML as it is to be, if that is another. */
static void hook_reply(struct hook *h)
{
	struct json_out *o = request_begin_reply(h->rq);

	json_out_str(o, "schema", "iovd.hook/1");
	json_out_str(o, "xml", h->xml);
	request_send_reply(h->rq);
}

static void hook_end(struct hook *h, const struct err *e)
{
	struct err words;

	if (h->rq)
		request_on_gone(h->rq, NULL, NULL);
	if (h->rq && e) {
		words = *e;
		err_wrap(&words, "start %.100s", h->domain.name);
		request_fail(h->rq, &words);
	} else if (h->rq) {
		hook_reply(h);
	}
	hook_free(h);
}

static void hook_gone(void *arg)
{
	((struct hook *)arg)->rq = NULL;
}

/* --- what the XML says ------------------------------------------------------------------------ */

/* The text of an element, as far as libvirt escapes none of it. */
static char *element_text(const char *xml, const char *path)
{
	struct xml x;

	xml_begin(&x, xml);
	while (xml_next(&x))
		if (xml_is(&x, path))
			return strndup(xml_content(&x), strcspn(xml_content(&x), "<"));
	return NULL;
}

static int take_description(void *arg, const struct domain_description *one, struct err *e)
{
	struct hook *h = arg;

	if (h->count == ARRAY_SIZE(h->each))
		return err_set(
			e, ERR_REFUSED, "VM-FULL", "it has more than %zu attachments", h->count);
	if (!name_is_valid(one->name) || !one->device[0])
		return err_set(e, ERR_USAGE, JSON_CODE_PARAM,
			"its metadata describes an attachment without name or device");
	h->each[h->count++] = *one;
	return 0;
}

static int read_domain(struct hook *h, const char *xml, struct err *e)
{
	auto_free char *uuid = element_text(xml, "domain/uuid");

	h->domain.name = element_text(xml, "domain/name");
	if (!h->domain.name || !uuid || !str_copy(h->domain.uuid, sizeof(h->domain.uuid), uuid) ||
		strlen(uuid) + 1 != sizeof(h->domain.uuid))
		return err_set(e, ERR_USAGE, JSON_CODE_PARAM, "this is no domain's XML");
	return domain_xml_each(xml, take_description, h, e);
}

/* --- prepare ---------------------------------------------------------------------------------- */

static struct attachment *find(const struct hook *h, const char *name)
{
	list_for_each (node, registry_list(h->d->registry)) {
		struct attachment *a = list_entry(node, struct attachment, node);

		if (strcmp(a->spec.domain, h->domain.uuid) == 0 && strcmp(a->spec.name, name) == 0)
			return a;
	}
	return NULL;
}

/* 1: a VMM can connect; 0: not yet; -1: nobody knows when. */
static int serves(struct hook *h, const struct domain_description *one, struct err *e)
{
	struct attachment *a = find(h, one->name);

	if (!a)
		return err_set(e, ERR_NOT_FOUND, "NO-SUCH", "%s was taken back", one->name);
	registry_look(h->d->registry, a);
	if (a->kept == KEPT_ATTACHED && a->state != ATTACHMENT_RECOVERING &&
		a->state != ATTACHMENT_PREPARING && a->state != ATTACHMENT_FAILED)
		return 1;
	if (a->state != ATTACHMENT_FAILED && now_ms() < h->deadline_ms)
		return 0;
	err_set(e, ERR_FAILED, "WORKER", "%s (%s) is %s", a->spec.id, a->spec.name,
		attachment_state_names[a->state]);
	return a->reason[0] ? err_evidence(e, "%s", a->reason) : -1;
}

static void wait_for_all(void *arg, unsigned int events)
{
	struct hook *h = arg;
	struct err e = ERR_INIT;
	int rc = 1;

	(void)events;
	for (size_t i = 0; i < h->count && rc > 0; i++)
		rc = serves(h, &h->each[i], &e);
	if (rc == 0)
		h->d->loop->ops->set_timer(h->timer, LOOK_MS);
	else
		hook_end(h, rc < 0 ? &e : NULL);
}

static void prepare_next(struct hook *h);

static void described_attached(void *arg, const struct err *e)
{
	struct hook *h = arg;

	if (e) {
		hook_end(h, e);
		return;
	}
	h->next++;
	prepare_next(h);
}

/* Those that are not here are made, one after the other. */
static void prepare_next(struct hook *h)
{
	struct err e = ERR_INIT;

	while (h->next < h->count && find(h, h->each[h->next].name))
		h->next++;
	if (h->next == h->count)
		h->d->loop->ops->set_timer(h->timer, 0);
	else if (attach_described(
			 h->d, &h->domain, &h->each[h->next], NULL, described_attached, h, &e) < 0)
		hook_end(h, &e);
}

static int hook_prepare(struct request *rq, const char *xml, struct err *e)
{
	struct hook *h = calloc(1, sizeof(*h));

	if (!h)
		return err_set(e, ERR_FAILED, "MEMORY", "no memory to start a domain");
	h->d = request_daemon(rq);
	h->deadline_ms = now_ms() + READY_MS;
	if (read_domain(h, xml, e) < 0)
		goto failed;
	h->timer = h->d->loop->ops->add_timer(h->d->loop, READY_MS, wait_for_all, h, e);
	if (!h->timer)
		goto failed;
	h->rq = rq;
	request_on_gone(rq, hook_gone, h);
	prepare_next(h);
	return 0;
failed:
	hook_free(h);
	return -1;
}

/* --- migrate ---------------------------------------------------------------------------------- */

/* Takes the place of the XML. */
static int xml_becomes(struct hook *h, char *xml, struct err *e)
{
	free(h->xml);
	h->xml = xml;
	return xml ? 0 : err_set(e, ERR_FAILED, "MEMORY", "no memory for a domain's XML");
}

static int adapt_xml(struct hook *h, struct err *e)
{
	for (size_t i = 0; i < h->count; i++) {
		const struct attachment *a = find(h, h->each[i].name);
		char path[PATH_MAX], alias[DOMAIN_ALIAS_SIZE];

		if (!a || a->baton != BATON_COMING)
			return err_set(e, ERR_REFUSED, "MIG-NO-BATON", "%s is not reserved here",
				h->each[i].name);
		attachment_socket_path(h->d->registry, &a->spec, path, sizeof(path));
		domain_alias(&a->spec, alias);
		if (xml_becomes(h, domain_xml_set_socket(h->xml, alias, path), e) < 0)
			return -1;
	}
	return xml_becomes(h, domain_xml_set_host(h->xml, h->d->conf->address), e);
}

static void all_reserved(struct hook *h)
{
	struct err e = ERR_INIT;

	hook_end(h, adapt_xml(h, &e) < 0 ? &e : NULL);
}

static void source_answered(void *arg, const struct json *reply, const struct err *e)
{
	struct hook *h = arg;
	struct err words;

	(void)reply;
	if (!e) {
		all_reserved(h);
		return;
	}
	words = *e;
	err_wrap(&words, "the iovd that it comes from");
	hook_end(h, &words);
}

static int say_no_channel(const struct hook *h, const char *host, struct err *e)
{
	err_set(e, ERR_REFUSED, "MIG-NO-BATON", "nobody hands over the I/O of %.100s",
		h->domain.name);
	err_evidence(e, "its description names %.200s; this iovd is %.200s",
		host[0] ? host : "no address of the iovd that it comes from",
		h->d->conf->address[0] ? h->d->conf->address : "at no address");
	return err_fix(e, "set `address` in iovd.conf on both hosts, or use iovctl migrate");
}

static int open_channel(struct hook *h, struct err *e)
{
	char host[CHANNEL_URI_MAX];

	if (!domain_xml_host(h->xml, host, sizeof(host)) || !h->d->conf->address[0] ||
		strcmp(host, h->d->conf->address) == 0)
		return say_no_channel(h, host, e);
	h->channel = channel_open(h->d->loop, host, h->d->conf->ssh, e);
	return h->channel ? 0 : -1;
}

/* Where it comes from, its I/O is reserved to here as by an operator. */
static int ask_source(struct hook *h, struct err *e)
{
	struct json_out o;

	json_out_init(&o);
	json_out_object(&o, NULL);
	json_out_str(&o, "vm", h->domain.uuid);
	json_out_str(&o, "destination", h->d->conf->address);
	json_out_str(&o, "step", "follow");
	json_out_end(&o);
	return channel_call(h->channel, "Migrate", &o, COME_MS, source_answered, h, e);
}

static void reserved_by_lease(void *arg, const struct err *e)
{
	struct hook *h = arg;
	struct err words = h->why;

	if (!e) {
		all_reserved(h);
		return;
	}
	err_evidence(&words, "%.400s; of its volumes: %.200s: %.200s", h->why.evidence, e->msg,
		e->evidence);
	hook_end(h, strcmp(e->code, "MIG-CACHE") == 0 ? e : &words);
}

/* By the channel, if there is one: what was asked for there is not asked for in another way. */
static int begin_to_come(struct hook *h, struct err *e)
{
	if (open_channel(h, &h->why) == 0)
		return ask_source(h, e);
	return lease_reserve(h->d, &h->domain, h->each, h->count, reserved_by_lease, h, e);
}

/* iovctl drives it, and has reserved them. */
static bool is_reserved(const struct hook *h)
{
	size_t here = 0;

	for (size_t i = 0; i < h->count; i++) {
		const struct attachment *a = find(h, h->each[i].name);

		here += a && a->baton == BATON_COMING;
	}
	return here == h->count;
}

static int hook_migrate(struct request *rq, const char *xml, struct err *e)
{
	struct hook *h = calloc(1, sizeof(*h));

	if (h)
		h->xml = strdup(xml);
	if (!h || !h->xml) {
		free(h);
		return err_set(e, ERR_FAILED, "MEMORY", "no memory to take a domain");
	}
	h->d = request_daemon(rq);
	if (read_domain(h, xml, e) < 0)
		goto failed;
	h->rq = rq;
	request_on_gone(rq, hook_gone, h);
	if (is_reserved(h)) {
		all_reserved(h);
		return 0;
	}
	if (begin_to_come(h, e) == 0)
		return 0;
	request_on_gone(rq, NULL, NULL);
failed:
	hook_free(h);
	return -1;
}

void do_hook(struct request *rq, const void *args)
{
	const struct hook_args *a = args;
	struct err e = ERR_INIT;

	if (strcmp(a->operation, "migrate") == 0) {
		if (hook_migrate(rq, a->xml, &e) < 0)
			request_fail(rq, &e);
	} else if (strcmp(a->operation, "prepare") == 0) {
		if (hook_prepare(rq, a->xml, &e) < 0)
			request_fail(rq, &e);
	} else {
		json_out_str(request_begin_reply(rq), "schema", "iovd.hook/1");
		request_send_reply(rq);
	}
}
