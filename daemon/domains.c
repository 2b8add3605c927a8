/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Theory of operation: an event says that something has happened to a domain, not what is: so each
 * makes us look at that domain, once at a time, and again if more has happened meanwhile. What the
 * look finds is what is known. When the connection is new, all domains are listed; those that
 * are not in the list are gone, and those of which events came meanwhile are looked at again.
 */
#include "daemon/domains.h"

#include <pwd.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "daemon/attach.h"
#include "daemon/daemon.h"
#include "daemon/domain_xml.h"
#include "daemon/events.h"
#include "lib/cleanup.h"
#include "lib/log.h"

struct domains {
	struct daemon *d;
	struct virt *virt; /* NULL: --libvirt none */
	struct list_node list;
	struct list_node watches;
	bool listed; /* since the connection is up */
	char qemu_user[REGISTRY_NAME_MAX];
};

/* --- what is known ---------------------------------------------------------------------------- */

/* The same UUID, dashes or not. */
static bool same_uuid(const char *uuid, const char *name)
{
	for (; *uuid; uuid++) {
		if (*uuid == '-') {
			name += *name == '-';
			continue;
		}
		if (strncasecmp(uuid, name, 1) != 0)
			return false;
		name++;
	}
	return !*name;
}

static struct domain *find_uuid(const struct domains *domains, const char *uuid)
{
	if (!domains)
		return NULL;
	list_for_each (node, &domains->list) {
		struct domain *domain = list_entry(node, struct domain, node);

		if (strcmp(domain->uuid, uuid) == 0)
			return domain;
	}
	return NULL;
}

const struct domain *domains_find(const struct domains *domains, const char *name)
{
	if (!domains)
		return NULL;
	list_for_each (node, &domains->list) {
		const struct domain *domain = list_entry(node, struct domain, node);

		if (domain->name && strcmp(domain->name, name) == 0)
			return domain;
	}
	list_for_each (node, &domains->list) {
		const struct domain *domain = list_entry(node, struct domain, node);

		if (same_uuid(domain->uuid, name))
			return domain;
	}
	return NULL;
}

bool domain_is_active(const struct domain *domain)
{
	return domain->state != VIRT_OFF && domain->state != VIRT_CRASHED;
}

void domain_vm(const struct domain *domain, char vm[REGISTRY_NAME_MAX])
{
	size_t len = 0;

	if (domain->name && name_is_valid(domain->name)) {
		str_copy(vm, REGISTRY_NAME_MAX, domain->name);
		return;
	}
	for (const char *c = domain->uuid; *c && len + 1 < REGISTRY_NAME_MAX; c++)
		if (*c != '-')
			vm[len++] = *c;
	vm[len] = '\0';
}

/* Of a domain that was renamed, attachments keep the name that they were made with. */
static const struct attachment *first_of(struct registry *r, const char *uuid)
{
	list_for_each (node, registry_list(r)) {
		const struct attachment *a = list_entry(node, struct attachment, node);

		if (strcmp(a->spec.domain, uuid) == 0)
			return a;
	}
	return NULL;
}

const char *domains_vm(const struct domains *domains, struct registry *r, const char *name,
	char vm[REGISTRY_NAME_MAX])
{
	const struct domain *domain = domains_find(domains, name);
	const struct attachment *a;

	if (!domain)
		return name;
	a = first_of(r, domain->uuid);
	if (a)
		str_copy(vm, REGISTRY_NAME_MAX, a->spec.vm);
	else
		domain_vm(domain, vm);
	return vm;
}

/* --- shown ------------------------------------------------------------------------------------ */

static void put_domain(
	struct domains *domains, const struct domain *domain, struct json_out *o, const char *key)
{
	const struct vm_facts facts = {
		.name = domain->name ? domain->name : domain->uuid,
		.uuid = domain->uuid,
		.state = virt_state_names[domain->state],
	};

	registry_put_vm(domains->d->registry, &facts, o, key);
}

/* Its domain is not known (now): all there is are its attachments. */
static void put_attached(
	struct registry *r, const struct attachment *a, struct json_out *o, const char *key)
{
	const struct vm_facts facts = {
		.name = a->spec.vm,
		.uuid = a->spec.domain[0] ? a->spec.domain : NULL,
		.state = "unknown",
	};

	registry_put_vm(r, &facts, o, key);
}

static bool is_first_of_vm(struct registry *r, const struct attachment *a)
{
	list_for_each (node, registry_list(r)) {
		const struct attachment *other = list_entry(node, struct attachment, node);

		if (strcmp(other->spec.vm, a->spec.vm) == 0 &&
			strcmp(other->spec.domain, a->spec.domain) == 0)
			return other == a;
	}
	return false;
}

void vms_put(struct daemon *d, struct json_out *o, const char *key)
{
	json_out_array(o, key);
	if (d->domains)
		list_for_each (node, &d->domains->list)
			put_domain(d->domains, list_entry(node, struct domain, node), o, NULL);
	list_for_each (node, registry_list(d->registry)) {
		const struct attachment *a = list_entry(node, struct attachment, node);

		if (is_first_of_vm(d->registry, a) &&
			!(a->spec.domain[0] && find_uuid(d->domains, a->spec.domain)))
			put_attached(d->registry, a, o, NULL);
	}
	json_out_end(o);
}

bool vm_put(struct daemon *d, const char *name, struct json_out *o, const char *key)
{
	const struct domain *domain = domains_find(d->domains, name);

	if (domain) {
		put_domain(d->domains, domain, o, key);
		return true;
	}
	list_for_each (node, registry_list(d->registry)) {
		const struct attachment *a = list_entry(node, struct attachment, node);

		if (strcmp(a->spec.vm, name) != 0 && strcmp(a->spec.domain, name) != 0)
			continue;
		put_attached(d->registry, a, o, key);
		return true;
	}
	return false;
}

static void emit(struct domains *domains, const char *event, const struct domain *domain)
{
	auto_json_out struct json_out o;
	auto_free char *text = NULL;
	size_t len = 0;

	json_out_init(&o);
	put_domain(domains, domain, &o, NULL);
	text = json_out_finish(&o, &len);
	if (text)
		events_emit(domains->d->events, event, "vm", domain->uuid, text, len);
}

/* --- looking ---------------------------------------------------------------------------------- */

static struct domain *domain_add(struct domains *domains, const char *uuid)
{
	struct domain *domain = calloc(1, sizeof(*domain));

	if (!domain) {
		log_error("no memory for domain %s", uuid);
		return NULL;
	}
	str_copy(domain->uuid, sizeof(domain->uuid), uuid);
	list_append(&domains->list, &domain->node);
	return domain;
}

/* It is not there any more, and what it had goes back to the host. */
static void domain_gone(struct domains *domains, struct domain *domain)
{
	if (domain->asked)
		virt_forget(domain->asked);
	list_remove(&domain->node);
	emit(domains, "removed", domain);
	attach_domain_gone(domains->d, domain->uuid);
	free(domain->name);
	free(domain);
}

static void domain_take(
	struct domains *domains, struct domain *domain, const struct virt_domain *found)
{
	bool is_new = !domain->name;

	if (!is_new && strcmp(domain->name, found->name) == 0 && domain->state == found->state &&
		domain->persistent == found->persistent)
		return;
	free(domain->name);
	domain->name = strdup(found->name);
	domain->state = found->state;
	domain->persistent = found->persistent;
	emit(domains, is_new ? "added" : "changed", domain);
	attach_domain_changed(domains->d, domain->uuid);
}

struct look {
	struct domains *domains;
	char uuid[VIRT_UUID_SIZE];
};

static void domain_look(struct domains *domains, struct domain *domain);

static void domain_looked(void *arg, const struct virt_answer *answer, const struct err *e)
{
	struct look *look = arg;
	struct domains *domains = look->domains;
	struct domain *domain = find_uuid(domains, look->uuid);

	free(look);
	if (!domain)
		return;
	domain->asked = NULL;
	if (e) {
		log_warning("domain %s: %s", domain->uuid, e->msg);
	} else if (domain->again) {
		domain_look(domains, domain);
	} else if (answer->count) {
		domain_take(domains, domain, &answer->domains[0]);
	} else {
		domain_gone(domains, domain);
	}
}

static void domain_look(struct domains *domains, struct domain *domain)
{
	const struct virt_ask ask = {.op = VIRT_LOOK, .domain = domain->uuid};
	struct look *look = malloc(sizeof(*look));
	struct err e = ERR_INIT;

	domain->again = false;
	if (look) {
		look->domains = domains;
		str_copy(look->uuid, sizeof(look->uuid), domain->uuid);
		domain->asked = virt_do(domains->virt, &ask, domain_looked, look, &e);
	}
	if (domain->asked)
		return;
	free(look);
	log_debug("virt", "domain %s cannot be looked at: %s", domain->uuid, e.msg);
}

static void domain_news(struct domains *domains, const char *uuid)
{
	struct domain *domain = find_uuid(domains, uuid);

	if (!domain)
		domain = domain_add(domains, uuid);
	if (!domain)
		return;
	domain->again = true;
	if (!domain->asked && domains->listed)
		domain_look(domains, domain);
}

static void take_list(struct domains *domains, const struct virt_answer *answer)
{
	list_for_each (node, &domains->list)
		list_entry(node, struct domain, node)->seen = false;
	for (size_t i = 0; i < answer->count; i++) {
		const struct virt_domain *found = &answer->domains[i];
		struct domain *domain = find_uuid(domains, found->uuid);

		if (!domain)
			domain = domain_add(domains, found->uuid);
		if (!domain)
			continue;
		domain->seen = true;
		domain_take(domains, domain, found);
	}
}

static void domains_listed(void *arg, const struct virt_answer *answer, const struct err *e)
{
	struct domains *domains = arg;

	if (e) {
		log_warning("libvirt's domains: %s", e->msg);
		return;
	}
	take_list(domains, answer);
	domains->listed = true;
	list_for_each_safe (node, &domains->list) {
		struct domain *domain = list_entry(node, struct domain, node);

		if (domain->again && !domain->asked)
			domain_look(domains, domain);
		else if (!domain->seen && !domain->asked)
			domain_gone(domains, domain);
	}
	attach_domains_listed(domains->d);
}

static void domains_host(void *arg, const struct virt_answer *answer, const struct err *e)
{
	struct domains *domains = arg;
	int64_t uid = e ? -1 : domain_xml_qemu_user(answer->capabilities);
	const struct passwd *pw = uid >= 0 ? getpwuid((uid_t)uid) : NULL;

	if (e)
		log_warning("libvirt's capabilities: %s", e->msg);
	else if (uid >= 0 && !pw)
		log_warning("libvirt runs QEMU as user %lld, who has no name", (long long)uid);
	if (pw && !str_copy(domains->qemu_user, sizeof(domains->qemu_user), pw->pw_name))
		domains->qemu_user[0] = '\0';
}

/* --- what libvirt tells ----------------------------------------------------------------------- */

static void on_up(void *arg)
{
	struct domains *domains = arg;
	const struct virt_ask ask = {.op = VIRT_LIST}, host = {.op = VIRT_CAPABILITIES};
	struct err e = ERR_INIT;

	log_info("connected to libvirt at %s", virt_uri(domains->virt));
	if (!virt_do(domains->virt, &host, domains_host, domains, &e) ||
		!virt_do(domains->virt, &ask, domains_listed, domains, &e))
		log_warning("libvirt's domains: %s", e.msg);
}

static void on_down(void *arg, const struct err *why)
{
	struct domains *domains = arg;

	if (domains->listed)
		log_warning("libvirt at %s: %s", virt_uri(domains->virt), why->msg);
	else
		log_debug("virt", "%s: %s", virt_uri(domains->virt), why->msg);
	domains->listed = false;
	list_for_each (node, &domains->list) {
		struct domain *domain = list_entry(node, struct domain, node);

		if (domain->state == VIRT_UNKNOWN)
			continue;
		domain->state = VIRT_UNKNOWN;
		emit(domains, "changed", domain);
	}
}

/* What people would like to see go by; the state itself comes by the look. */
static void emit_event(struct domains *domains, const struct virt_event *event)
{
	static const char *const words[] = {
		[VIRT_DOMAIN_CHANGED] = NULL,
		[VIRT_DEVICE_REMOVED] = "device-removed",
		[VIRT_DEVICE_KEPT] = "device-kept",
		[VIRT_JOB_DONE] = "job-ended",
		[VIRT_MIGRATION_PASS] = "migration-pass",
	};
	auto_json_out struct json_out o;
	auto_free char *text = NULL;
	size_t len = 0;

	json_out_init(&o);
	json_out_object(&o, NULL);
	json_out_str(&o, "name", event->name);
	if (event->device)
		json_out_str(&o, "device", event->device);
	if (event->kind == VIRT_MIGRATION_PASS)
		json_out_u64(&o, "pass", event->pass);
	if (event->kind == VIRT_JOB_DONE)
		json_out_bool(&o, "success", event->success);
	if (event->kind == VIRT_DOMAIN_CHANGED)
		json_out_bool(&o, "migrated", event->migrated);
	json_out_end(&o);
	text = json_out_finish(&o, &len);
	if (text)
		events_emit(domains->d->events, words[event->kind] ?: event->what, "vm",
			event->uuid, text, len);
}

static void on_event(void *arg, const struct virt_event *event)
{
	struct domains *domains = arg;

	emit_event(domains, event);
	if (event->kind == VIRT_DOMAIN_CHANGED)
		domain_news(domains, event->uuid);
	list_for_each_safe (node, &domains->watches) {
		struct domain_watch *w = list_entry(node, struct domain_watch, node);

		if (!w->uuid || strcmp(w->uuid, event->uuid) == 0)
			w->told(w, event);
	}
}

void domains_watch(struct domains *domains, struct domain_watch *w)
{
	list_append(&domains->watches, &w->node);
}

void domain_unwatch(struct domain_watch *w)
{
	list_remove(&w->node);
}

/* --- begin and end ---------------------------------------------------------------------------- */

const char *domains_qemu_user(const struct domains *domains)
{
	return domains && domains->qemu_user[0] ? domains->qemu_user : NULL;
}

bool domains_are_known(const struct domains *domains)
{
	return domains && domains->listed;
}

struct virt *domains_virt(struct domains *domains)
{
	return domains ? domains->virt : NULL;
}

struct domains *domains_new(struct daemon *d, const char *uri, struct err *e)
{
	static const struct virt_listener listener = {on_up, on_down, on_event};
	struct domains *domains = calloc(1, sizeof(*domains));

	if (!domains) {
		err_set(e, ERR_FAILED, "MEMORY", "no memory for domains");
		return NULL;
	}
	domains->d = d;
	list_init(&domains->list);
	list_init(&domains->watches);
	if (strcmp(uri, "none") == 0)
		return domains;
	domains->virt = virt_new(d->loop, uri, &listener, domains, e);
	if (domains->virt)
		return domains;
	free(domains);
	return NULL;
}

void domains_free(struct domains *domains)
{
	if (!domains)
		return;
	virt_free(domains->virt);
	list_for_each_safe (node, &domains->list) {
		struct domain *domain = list_entry(node, struct domain, node);

		free(domain->name);
		free(domain);
	}
	free(domains);
}
