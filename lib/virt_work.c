/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What calls of libvirt do, on threads of their own: nothing here touches more than its call. */
#include <libvirt/virterror.h>
#include <stdlib.h>
#include <string.h>

#include "lib/cleanup.h"
#include "lib/virt_priv.h"
#include "lib/xml.h"

const char *const virt_state_names[] = {
	[VIRT_UNKNOWN] = "unknown",
	[VIRT_RUNNING] = "running",
	[VIRT_PAUSED] = "paused",
	[VIRT_STOPPING] = "stopping",
	[VIRT_OFF] = "off",
	[VIRT_CRASHED] = "crashed",
	[VIRT_SUSPENDED] = "suspended",
};
static_assert(ARRAY_SIZE(virt_state_names) == VIRT_STATES, "a name for each state");

/* --- what libvirt says ------------------------------------------------------------------------ */

/* The last error of this thread as ours. */
int virt_err(struct err *e, const char *what)
{
	const virError *last = virGetLastError();
	int code = last ? last->code : VIR_ERR_INTERNAL_ERROR;

	err_set(e, code == VIR_ERR_NO_DOMAIN ? ERR_NOT_FOUND : ERR_FAILED, "LIBVIRT",
		"%s: libvirt: %.300s", what, virGetLastErrorMessage());
	return -1;
}

static enum virt_state virt_state_of(int state)
{
	static const enum virt_state states[] = {
		[VIR_DOMAIN_RUNNING] = VIRT_RUNNING,
		[VIR_DOMAIN_BLOCKED] = VIRT_RUNNING,
		[VIR_DOMAIN_PAUSED] = VIRT_PAUSED,
		[VIR_DOMAIN_SHUTDOWN] = VIRT_STOPPING,
		[VIR_DOMAIN_SHUTOFF] = VIRT_OFF,
		[VIR_DOMAIN_CRASHED] = VIRT_CRASHED,
		[VIR_DOMAIN_PMSUSPENDED] = VIRT_SUSPENDED,
	};

	return state >= 0 && (size_t)state < ARRAY_SIZE(states) ? states[state] : VIRT_UNKNOWN;
}

/* --- the work of calls: on their threads ------------------------------------------------------ */

static void domain_cleanup_p(virDomainPtr *dom)
{
	if (*dom)
		virDomainFree(*dom);
}
#define auto_domain __attribute__((cleanup(domain_cleanup_p)))

static virDomainPtr call_domain(const struct virt_call *call, struct err *e)
{
	virDomainPtr dom = virDomainLookupByUUIDString(call->conn, call->domain);

	if (!dom)
		virt_err(e, call->domain);
	return dom;
}

/* False: it went away meanwhile. */
static bool describe(virDomainPtr dom, struct virt_domain *d)
{
	int state = 0, persistent = virDomainIsPersistent(dom);

	if (persistent < 0 || virDomainGetState(dom, &state, NULL, 0) < 0 ||
		virDomainGetUUIDString(dom, d->uuid) < 0)
		return false;
	d->name = strdup(virDomainGetName(dom));
	d->state = virt_state_of(state);
	d->persistent = persistent > 0;
	return d->name;
}

static int answer_domains(struct virt_call *call, virDomainPtr *doms, int count, struct err *e)
{
	struct virt_answer *answer = &call->answer;

	answer->domains = calloc((size_t)count + 1, sizeof(*answer->domains));
	if (!answer->domains)
		return err_set(e, ERR_FAILED, "MEMORY", "no memory for %d domains", count);
	for (int i = 0; i < count; i++)
		if (describe(doms[i], &answer->domains[answer->count]))
			answer->count++;
	return 0;
}

static int run_list(struct virt_call *call, struct err *e)
{
	virDomainPtr *doms = NULL;
	int count = virConnectListAllDomains(call->conn, &doms, 0);
	int rc;

	if (count < 0)
		return virt_err(e, "list the domains");
	rc = answer_domains(call, doms, count, e);
	for (int i = 0; i < count; i++)
		virDomainFree(doms[i]);
	free(doms);
	return rc;
}

static int run_look(struct virt_call *call, struct err *e)
{
	auto_domain virDomainPtr dom = virDomainLookupByUUIDString(call->conn, call->domain);

	if (!dom)
		dom = virDomainLookupByName(call->conn, call->domain);
	if (!dom && virGetLastError() && virGetLastError()->code != VIR_ERR_NO_DOMAIN)
		return virt_err(e, call->domain);
	return answer_domains(call, &dom, dom ? 1 : 0, e);
}

static int run_capabilities(struct virt_call *call, struct err *e)
{
	call->answer.capabilities = virConnectGetCapabilities(call->conn);
	return call->answer.capabilities ? 0 : virt_err(e, "its capabilities");
}

static int run_definitions(struct virt_call *call, struct err *e)
{
	auto_domain virDomainPtr dom = call_domain(call, e);
	struct virt_answer *answer = &call->answer;

	if (!dom)
		return -1;
	if (virDomainIsActive(dom) > 0)
		answer->live = virDomainGetXMLDesc(dom, VIR_DOMAIN_XML_SECURE);
	if (virDomainIsPersistent(dom) > 0)
		answer->config =
			virDomainGetXMLDesc(dom, VIR_DOMAIN_XML_SECURE | VIR_DOMAIN_XML_INACTIVE);
	return answer->live || answer->config ? 0 : virt_err(e, "its definition");
}

static unsigned int affect(const struct virt_call *call)
{
	return call->which == VIRT_LIVE ? VIR_DOMAIN_AFFECT_LIVE : VIR_DOMAIN_AFFECT_CONFIG;
}

/* A device of the domain has this alias. */
static bool has_alias(const char *text, const char *alias)
{
	char found[128];
	struct xml x;

	xml_begin(&x, text);
	while (xml_next(&x)) {
		const char *last = strrchr(x.path, '/');

		if (strncmp(x.path, "domain/devices/", 15) == 0 && strcmp(last, "/alias") == 0 &&
			xml_attribute(&x, "name", found, sizeof(found)) &&
			strcmp(found, alias) == 0)
			return true;
	}
	return false;
}

enum presence { IS_THERE, IS_NOT_THERE, NO_DEFINITION, UNKNOWN };

static enum presence look_for(virDomainPtr dom, const struct virt_call *call, struct err *e)
{
	bool live = call->which == VIRT_LIVE;
	int there = live ? virDomainIsActive(dom) : virDomainIsPersistent(dom);
	auto_free char *text = NULL;

	if (there == 0)
		return NO_DEFINITION;
	if (there > 0)
		text = virDomainGetXMLDesc(dom, live ? 0 : VIR_DOMAIN_XML_INACTIVE);
	if (!text) {
		virt_err(e, "its definition");
		return UNKNOWN;
	}
	return !call->alias || has_alias(text, call->alias) ? IS_THERE : IS_NOT_THERE;
}

static int describe_in(virDomainPtr dom, const struct virt_call *call, struct err *e)
{
	const char *text = call->metadata && *call->metadata ? call->metadata : NULL;

	if (!call->metadata)
		return 0;
	return virDomainSetMetadata(dom, VIR_DOMAIN_METADATA_ELEMENT, text, VIRT_METADATA_KEY,
		       VIRT_METADATA_URI, affect(call)) < 0
		       ? virt_err(e, "describe it in the metadata")
		       : 0;
}

static int plug_failed(struct err *e)
{
	virt_err(e, "add the device");
	if (strstr(e->msg, "No more available PCI slots"))
		err_fix(e, "a running domain gets a device at a free pcie-root-port only: add some "
			   "while it is shut off: <controller type='pci' "
			   "model='pcie-root-port'/>");
	return -1;
}

static int run_plug(struct virt_call *call, struct err *e)
{
	auto_domain virDomainPtr dom = call_domain(call, e);
	enum presence there = dom ? look_for(dom, call, e) : UNKNOWN;

	if (there == UNKNOWN)
		return -1;
	if (there == NO_DEFINITION)
		return 0;
	if (there == IS_NOT_THERE && virDomainAttachDeviceFlags(dom, call->text, affect(call)) < 0)
		return plug_failed(e);
	return describe_in(dom, call, e);
}

static int run_unplug(struct virt_call *call, struct err *e)
{
	auto_domain virDomainPtr dom = call_domain(call, e);
	enum presence there = dom ? look_for(dom, call, e) : UNKNOWN;

	if (there == UNKNOWN)
		return -1;
	if (there == NO_DEFINITION)
		return 0;
	if (there == IS_THERE && virDomainDetachDeviceAlias(dom, call->alias, affect(call)) < 0)
		return virt_err(e, "take the device away");
	call->answer.asked = there == IS_THERE && call->which == VIRT_LIVE;
	return call->answer.asked ? 0 : describe_in(dom, call, e);
}

static int run_describe(struct virt_call *call, struct err *e)
{
	auto_domain virDomainPtr dom = call_domain(call, e);
	enum presence there = dom ? look_for(dom, call, e) : UNKNOWN;

	if (there == UNKNOWN)
		return -1;
	return there == NO_DEFINITION ? 0 : describe_in(dom, call, e);
}

/* --- moving ----------------------------------------------------------------------------------- */

static int run_migratable(struct virt_call *call, struct err *e)
{
	const unsigned int flags = VIR_DOMAIN_XML_SECURE | VIR_DOMAIN_XML_MIGRATABLE;
	auto_domain virDomainPtr dom = call_domain(call, e);
	struct virt_answer *answer = &call->answer;
	int persistent;

	if (!dom)
		return -1;
	persistent = virDomainIsPersistent(dom);
	answer->live = virDomainGetXMLDesc(dom, flags);
	if (persistent > 0)
		answer->config = virDomainGetXMLDesc(dom, flags | VIR_DOMAIN_XML_INACTIVE);
	return answer->live && persistent >= 0 && (!persistent || answer->config)
		       ? 0
		       : virt_err(e, "its definition");
}

/* Those that are given. 0, or -1. */
static int move_params(const struct virt_call *call, virTypedParameterPtr *params, int *count)
{
	const struct {
		const char *name, *value;
	} all[] = {
		{VIR_MIGRATE_PARAM_URI, call->address},
		{VIR_MIGRATE_PARAM_DEST_XML, call->text},
		{VIR_MIGRATE_PARAM_PERSIST_XML, call->config},
	};
	int max = 0;

	for (size_t i = 0; i < ARRAY_SIZE(all); i++)
		if (all[i].value &&
			virTypedParamsAddString(params, count, &max, all[i].name, all[i].value) < 0)
			return -1;
	return 0;
}

/*
 * The two libvirtds do it between them: whatever becomes of us and of this connection, they bring it to
 * its end.
 */
static int run_migrate(struct virt_call *call, struct err *e)
{
	auto_domain virDomainPtr dom = call_domain(call, e);
	unsigned int flags = VIR_MIGRATE_LIVE | VIR_MIGRATE_PEER2PEER;
	virTypedParameterPtr params = NULL;
	int count = 0, rc = -1;

	if (!dom)
		return -1;
	if (call->config)
		flags |= VIR_MIGRATE_PERSIST_DEST | VIR_MIGRATE_UNDEFINE_SOURCE;
	if (move_params(call, &params, &count) == 0)
		rc = virDomainMigrateToURI3(
			dom, call->destination, params, (unsigned int)count, flags);
	if (rc < 0)
		virt_err(e, "move the domain");
	virTypedParamsFree(params, count);
	return rc;
}

static uint64_t job_number(virTypedParameterPtr params, int count, const char *name)
{
	unsigned long long value = 0;

	return virTypedParamsGetULLong(params, count, name, &value) == 1 ? value : 0;
}

static int run_progress(struct virt_call *call, struct err *e)
{
	struct virt_progress *p = &call->answer.progress;
	auto_domain virDomainPtr dom = NULL;
	virTypedParameterPtr params = NULL;
	int type = VIR_DOMAIN_JOB_NONE, count = 0;

	if (run_look(call, e) < 0 || !call->answer.count)
		return call->answer.domains ? 0 : -1;
	dom = virDomainLookupByUUIDString(call->conn, call->domain);
	/* It may just have ended. */
	if (!dom || virDomainGetJobStats(dom, &type, &params, &count, 0) < 0)
		return 0;
	*p = (struct virt_progress){
		.active = type == VIR_DOMAIN_JOB_BOUNDED || type == VIR_DOMAIN_JOB_UNBOUNDED,
		.total_bytes = job_number(params, count, VIR_DOMAIN_JOB_DATA_TOTAL),
		.left_bytes = job_number(params, count, VIR_DOMAIN_JOB_DATA_REMAINING),
		.downtime_ms = job_number(params, count, VIR_DOMAIN_JOB_DOWNTIME),
		.passes = job_number(params, count, VIR_DOMAIN_JOB_MEMORY_ITERATION),
	};
	virTypedParamsFree(params, count);
	return 0;
}

static int run_stop_job(struct virt_call *call, struct err *e)
{
	auto_domain virDomainPtr dom = call_domain(call, e);

	if (!dom)
		return -1;
	return virDomainAbortJob(dom) < 0 ? virt_err(e, "give up the move") : 0;
}

/* libvirt may be the first to have it run on, which is an error here. */
static int run_nudge(struct virt_call *call, struct err *e)
{
	auto_domain virDomainPtr dom = call_domain(call, e);
	int state = VIR_DOMAIN_NOSTATE;

	if (!dom)
		return -1;
	if (virDomainSuspend(dom) < 0)
		return virt_err(e, "stop it for a moment");
	if (virDomainResume(dom) == 0 || virDomainGetState(dom, &state, NULL, 0) < 0 ||
		state != VIR_DOMAIN_PAUSED)
		return 0;
	return virt_err(e, "have it run on");
}

static int undefine_left(virDomainPtr dom, struct virt_call *call, struct err *e)
{
	call->which = VIRT_CONFIG;
	switch (look_for(dom, call, e)) {
	case UNKNOWN:
		return -1;
	case NO_DEFINITION:
	case IS_NOT_THERE:
		return 0;
	case IS_THERE:
		break;
	}
	return virDomainUndefineFlags(dom, VIR_DOMAIN_UNDEFINE_KEEP_NVRAM) < 0
		       ? virt_err(e, "undefine what is left of the domain")
		       : 0;
}

static int run_leave(struct virt_call *call, struct err *e)
{
	auto_domain virDomainPtr dom = NULL;
	enum presence live;

	if (run_look(call, e) < 0 || !call->answer.count)
		return call->answer.domains ? 0 : -1;
	dom = call_domain(call, e);
	live = dom ? look_for(dom, call, e) : UNKNOWN;
	if (live == UNKNOWN)
		return -1;
	if (live == IS_THERE && virDomainDestroy(dom) < 0)
		return virt_err(e, "end what is left of the domain");
	return call->destination ? undefine_left(dom, call, e) : 0;
}

static int run_define(struct virt_call *call, struct err *e)
{
	auto_domain virDomainPtr dom = virDomainDefineXML(call->conn, call->text);

	return dom ? 0 : virt_err(e, "define the domain");
}

int (*const virt_runs[])(struct virt_call *call, struct err *e) = {
	[VIRT_LIST] = run_list,
	[VIRT_LOOK] = run_look,
	[VIRT_CAPABILITIES] = run_capabilities,
	[VIRT_DEFINITIONS] = run_definitions,
	[VIRT_PLUG] = run_plug,
	[VIRT_UNPLUG] = run_unplug,
	[VIRT_DESCRIBE] = run_describe,
	[VIRT_DEFINE] = run_define,
	[VIRT_MIGRATABLE] = run_migratable,
	[VIRT_MIGRATE] = run_migrate,
	[VIRT_PROGRESS] = run_progress,
	[VIRT_STOP_JOB] = run_stop_job,
	[VIRT_NUDGE] = run_nudge,
	[VIRT_LEAVE] = run_leave,
};
static_assert(ARRAY_SIZE(virt_runs) == VIRT_OPS, "a function for each");
