/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Why: of a device, and of the host. */
#include <stddef.h>
#include <stdlib.h>

#include "daemon/daemon.h"
#include "daemon/dispatch.h"
#include "daemon/do.h"
#include "daemon/domains.h"
#include "daemon/explain.h"
#include "daemon/inventory.h"
#include "lib/cleanup.h"

struct explain_args {
	const char *device, *vm;
};

static const struct json_field explain_fields[] = {
	{"device", JSON_FIELD_STRING, .required = true,
		.offset = offsetof(struct explain_args, device)},
	{"vm", JSON_FIELD_STRING, .offset = offsetof(struct explain_args, vm)},
};
const struct json_params do_explain_params = {
	explain_fields, ARRAY_SIZE(explain_fields), sizeof(struct explain_args)};

static void answer(
	struct request *rq, const struct explain_args *a, const struct machine_facts *machine)
{
	struct json_out *o = request_begin_reply(rq);
	struct err e = ERR_INIT;

	json_out_str(o, "schema", "iovd.explanation/1");
	if (explain_device(request_daemon(rq), a->device, a->vm, machine, o, "explanation", &e) < 0)
		request_fail(rq, &e);
	else
		request_send_reply(rq);
}

/* One that waits for what libvirt says of the machine. */
struct waiting {
	struct request *rq; /* NULL: its client has gone */
	const struct explain_args *args;
	bool has_look; /* where the name of the device leads */
	struct inventory_look look;
};

static void waiting_gone(void *arg)
{
	((struct waiting *)arg)->rq = NULL;
}

/* What libvirt does not say is not known: what is about the device is told all the same. */
static void machine_looked(void *arg, const struct virt_answer *domain, const struct err *e)
{
	auto_free struct waiting *w = arg;
	const char *xml = e ? NULL : domain->live ?: domain->config;
	struct machine_facts machine;
	struct inventory *inv;

	if (!w->rq)
		return;
	inv = request_daemon(w->rq)->inventory;
	request_on_gone(w->rq, NULL, NULL);
	if (xml)
		facts_read_machine(xml, domain->live, &machine);
	if (w->has_look)
		inventory_set_look(inv, w->args->device, &w->look);
	answer(w->rq, w->args, xml ? &machine : NULL);
	inventory_set_look(inv, NULL, NULL);
}

/* False: it is no domain of libvirt's, or libvirt is not there. */
static bool ask_libvirt(struct request *rq, const struct explain_args *a)
{
	const struct inventory_look *look = inventory_get_look(request_daemon(rq)->inventory);
	struct domains *domains = request_daemon(rq)->domains;
	const struct domain *domain = domains_find(domains, a->vm);
	struct virt_ask ask = {.op = VIRT_DEFINITIONS};
	struct err e = ERR_INIT;
	struct waiting *w;

	w = domain ? calloc(1, sizeof(*w)) : NULL;
	if (!w)
		return false;
	*w = (struct waiting){.rq = rq, .args = a, .has_look = look};
	if (look)
		w->look = *look;
	ask.domain = domain->uuid;
	if (!virt_do(domains_virt(domains), &ask, machine_looked, w, &e)) {
		free(w);
		return false;
	}
	request_on_gone(rq, waiting_gone, w);
	return true;
}

void do_explain(struct request *rq, const void *args)
{
	const struct explain_args *a = args;

	if (!a->vm || !ask_libvirt(rq, a))
		answer(rq, a, NULL);
}

void do_doctor(struct request *rq, const void *args)
{
	struct json_out *o = request_begin_reply(rq);

	(void)args;
	json_out_str(o, "schema", "iovd.doctor/1");
	explain_host(request_daemon(rq), o, "doctor");
	request_send_reply(rq);
}
