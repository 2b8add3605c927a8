/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Theory of operation. Linux makes a group thus (drivers/iommu/iommu.c, pci_device_group()), and the
 * same walk is done here to find out what made it stop, or not stop, where it did:
 *
 *	1. A PCI Express to PCI bridge, or a conventional bridge, puts its own requester ID on what
 *	   comes from behind it. The walk begins at the last such bridge above the function.
 *	2. From there up, as long as not every port between here and the root isolates, the port
 *	   is of the same group. A port isolates if the four services of ACS that it has are on.
 *	3. Where the walk ends, functions of the same device that do not isolate are of the group.
 *
 * What counts is what the kernel did: a port without ACS that is of another group than what is
 * behind it is one that the kernel knows better (a quirk, or an option of the command line), and
 * that is said, since nothing in the port supports it.
 */
#include "lib/iommu/acs.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

const char *const acs_kind_names[ACS_KIND_COUNT] = {
	[ACS_ALONE] = "alone",
	[ACS_ABSENT] = "no_acs",
	[ACS_OFF] = "acs_off",
	[ACS_BRIDGE] = "bridge",
	[ACS_FUNCTIONS] = "functions",
	[ACS_UNSEEN] = "unseen",
	[ACS_TRUSTED] = "trusted",
	[ACS_UNEXPLAINED] = "unexplained",
};

static const struct {
	uint16_t bit;
	const char *name;
} services[] = {
	{PCI_ACS_SOURCE_VALIDATION, "Source Validation"},
	{PCI_ACS_REQUEST_REDIRECT, "Request Redirect"},
	{PCI_ACS_COMPLETION_REDIRECT, "Completion Redirect"},
	{PCI_ACS_UPSTREAM_FORWARDING, "Upstream Forwarding"},
};

#define NAMED_MAX 3 /* functions that a sentence names; of more it tells the number */

/* A group, while it is explained. */
struct explanation {
	uint32_t group;
	const struct pci_path *members;
	size_t count;
	struct acs_finding *found;
	size_t found_count, max;
};

static const char *port_name(const struct pci_config *c)
{
	switch (c->port) {
	case PCI_PORT_ROOT:
		return "root port";
	case PCI_PORT_UPSTREAM:
		return "upstream port";
	case PCI_PORT_DOWNSTREAM:
		return "downstream port";
	case PCI_PORT_TO_PCI:
		return "PCI Express to PCI bridge";
	case PCI_PORT_FROM_PCI:
		return "PCI to PCI Express bridge";
	case PCI_PORT_EVENTS:
		return "root complex event collector";
	case PCI_PORT_CONVENTIONAL:
		return c->is_bridge ? "conventional PCI bridge" : "conventional PCI function";
	case PCI_PORT_ENDPOINT:
	case PCI_PORT_LEGACY_ENDPOINT:
	case PCI_PORT_INTEGRATED:
		return "function";
	case PCI_PORT_UNKNOWN:
		return "function of unknown type";
	}
	return "function";
}

/* --- the rules -------------------------------------------------------------------------------- */

/* Too little of it can be seen to say whether it isolates. */
static bool is_unseen(const struct pci_config *c)
{
	return c->port == PCI_PORT_UNKNOWN || (!c->acs_known && pci_config_acs_lacks(c));
}

/* A function that is alone in its device needs no ACS of its own. */
static bool unseen_matters(const struct pci_config *c)
{
	return c->multifunction || !c->has_header;
}

static bool isolates(const struct pci_config *c)
{
	switch (c->port) {
	case PCI_PORT_ROOT:
	case PCI_PORT_DOWNSTREAM:
		return !pci_config_acs_lacks(c);
	case PCI_PORT_ENDPOINT:
	case PCI_PORT_LEGACY_ENDPOINT:
	case PCI_PORT_UPSTREAM:
	case PCI_PORT_INTEGRATED:
		return !c->multifunction || !pci_config_acs_lacks(c);
	case PCI_PORT_TO_PCI:
	case PCI_PORT_FROM_PCI:
	case PCI_PORT_EVENTS:
	case PCI_PORT_CONVENTIONAL:
		return false;
	case PCI_PORT_UNKNOWN:
		return true; /* nothing speaks against it; is_unseen() is said besides */
	}
	return false;
}

bool acs_bridge_alias(const struct pci_path *path, size_t i, uint16_t *requester)
{
	const struct pci_function *f = &path->at[i];

	if (i == 0 || !f->config.is_bridge)
		return false;
	if (f->config.port == PCI_PORT_TO_PCI)
		*requester = (uint16_t)(f->config.secondary << 8);
	else if (f->config.port == PCI_PORT_FROM_PCI || f->config.port == PCI_PORT_CONVENTIONAL)
		*requester = pci_requester_id(&f->addr);
	else
		return false;
	return true;
}

size_t acs_alias_point(const struct pci_path *path)
{
	uint16_t requester;

	for (size_t i = path->count; i-- > 1;)
		if (acs_bridge_alias(path, i, &requester))
			return i;
	return 0;
}

/* The last port that the walk takes into the group. */
static size_t walk_end(const struct pci_path *path)
{
	for (size_t i = path->count, point = acs_alias_point(path); i-- > point + 1;)
		if (!isolates(&path->at[i].config))
			return i;
	return acs_alias_point(path);
}

/* --- sentences -------------------------------------------------------------------------------- */

PRINTF_LIKE(3, 4) static void append(char *text, size_t size, const char *fmt, ...)
{
	size_t len = strlen(text);
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text + len, size - len, fmt, ap);
	va_end(ap);
}

/* NULL if this is said already, or there is no room for more. */
static struct acs_finding *add(
	struct explanation *x, enum acs_kind kind, const struct pci_function *f)
{
	struct acs_finding *finding;

	for (size_t i = 0; i < x->found_count; i++)
		if (x->found[i].kind == kind && strcmp(x->found[i].device, f->id) == 0)
			return NULL;
	if (x->found_count == x->max)
		return NULL;
	finding = &x->found[x->found_count++];
	*finding = (struct acs_finding){.kind = kind};
	str_copy(finding->device, sizeof(finding->device), f->id);
	return finding;
}

static void put_evidence(struct acs_finding *finding, const struct pci_config *c)
{
	char *text = finding->evidence;
	size_t size = sizeof(finding->evidence);

	append(text, size, "configuration space: ");
	if (!c->has_header) {
		append(text, size, "not read");
		return;
	}
	if (c->express_at)
		append(text, size, "PCI Express at 0x%02x, type %d; ", c->express_at, (int)c->port);
	else
		append(text, size, "no PCI Express; ");
	if (c->acs_at)
		append(text, size, "ACS at 0x%03x, capability 0x%04x, control 0x%04x", c->acs_at,
			c->acs_capability, c->acs_control);
	else
		append(text, size, c->acs_known ? "no ACS" : "no more than the header can be read");
}

static void put_services(struct acs_finding *finding, uint16_t bits)
{
	const char *before = "";

	for (size_t i = 0; i < ARRAY_SIZE(services); i++) {
		if (!(bits & services[i].bit))
			continue;
		append(finding->what, sizeof(finding->what), "%s%s", before, services[i].name);
		before = ", ";
	}
}

static bool is_behind(const struct pci_path *member, const char *port)
{
	for (size_t i = 1; i < member->count; i++)
		if (strcmp(member->at[i].id, port) == 0)
			return true;
	return false;
}

static size_t count_behind(const struct explanation *x, const char *port)
{
	size_t count = 0;

	for (size_t i = 0; i < x->count; i++)
		count += is_behind(&x->members[i], port);
	return count;
}

/* "it and 0000:03:00.0", "it, 0000:03:00.0 and 0000:03:00.1", "it and the 17 functions behind it" */
static void put_it_and_behind(
	const struct explanation *x, struct acs_finding *finding, const char *port)
{
	size_t total = count_behind(x, port), named = 0;

	append(finding->what, sizeof(finding->what), "it");
	if (total > NAMED_MAX)
		append(finding->what, sizeof(finding->what), " and the %zu functions behind it",
			total);
	for (size_t i = 0; total <= NAMED_MAX && i < x->count; i++)
		if (is_behind(&x->members[i], port))
			append(finding->what, sizeof(finding->what), "%s%s",
				++named == total ? " and " : ", ", x->members[i].at[0].id);
}

/* --- findings --------------------------------------------------------------------------------- */

static void find_unseen(struct explanation *x, const struct pci_function *f)
{
	struct acs_finding *finding = add(x, ACS_UNSEEN, f);

	if (!finding)
		return;
	append(finding->what, sizeof(finding->what),
		"cannot be seen in full: whether it keeps others apart is not known");
	put_evidence(finding, &f->config);
}

static void find_trusted(struct explanation *x, const struct pci_function *port)
{
	struct acs_finding *finding = add(x, ACS_TRUSTED, port);

	if (!finding)
		return;
	append(finding->what, sizeof(finding->what),
		"is a %s %s ACS, yet the kernel takes it for one that isolates: it knows the "
		"device, or was told to on its command line",
		port_name(&port->config), port->config.acs_at ? "without all of" : "without");
	put_evidence(finding, &port->config);
}

/* A port on the way that does not isolate. */
static void find_port(struct explanation *x, const struct pci_function *port)
{
	bool has_acs = port->config.acs_at;
	struct acs_finding *finding;

	if (port->group >= 0 && port->group != (int64_t)x->group) {
		find_trusted(x, port);
		return;
	}
	finding = add(x, has_acs ? ACS_OFF : ACS_ABSENT, port);
	if (!finding)
		return;
	append(finding->what, sizeof(finding->what), "is a %s %s ACS (no ",
		port_name(&port->config), has_acs ? "that does not use all of its" : "without");
	put_services(finding, pci_config_acs_lacks(&port->config));
	append(finding->what, sizeof(finding->what), "): ");
	put_it_and_behind(x, finding, port->id);
	append(finding->what, sizeof(finding->what), " cannot be told apart");
	put_evidence(finding, &port->config);
}

static void find_bridge(struct explanation *x, const struct pci_path *path, size_t i)
{
	const struct pci_function *bridge = &path->at[i];
	struct acs_finding *finding;
	uint16_t id;

	if (!acs_bridge_alias(path, i, &id))
		return;
	finding = add(x, ACS_BRIDGE, bridge);
	if (!finding)
		return;
	append(finding->what, sizeof(finding->what),
		"is a %s, and all behind it has the requester ID %02x:%02x.%x: ",
		port_name(&bridge->config), id >> 8, id >> 3 & 0x1f, id & 7);
	put_it_and_behind(x, finding, bridge->id);
	append(finding->what, sizeof(finding->what), " cannot be told apart");
	put_evidence(finding, &bridge->config);
}

static bool is_sibling(const struct pci_function *a, const struct pci_function *b)
{
	return a->addr.domain == b->addr.domain && a->addr.bus == b->addr.bus &&
	       a->addr.slot == b->addr.slot && a->addr.function != b->addr.function &&
	       !isolates(&b->config);
}

/* Where the walk ended: other functions of that device, which do not isolate either. */
static void find_functions(struct explanation *x, const struct pci_function *top)
{
	const char *others[NAMED_MAX];
	size_t count = 0;
	struct acs_finding *finding;

	if (!top->config.multifunction || isolates(&top->config))
		return;
	for (size_t i = 0; i < x->count; i++) {
		const struct pci_function *f = &x->members[i].at[0];

		if (!is_sibling(top, f))
			continue;
		if (f->addr.function < top->addr.function)
			return; /* it is said of the first of them */
		if (count < NAMED_MAX)
			others[count] = f->id;
		count++;
	}
	finding = count ? add(x, ACS_FUNCTIONS, top) : NULL;
	if (!finding)
		return;
	append(finding->what, sizeof(finding->what), "is one function of a device without ACS%s ",
		top->config.acs_at ? " in use," : ",");
	for (size_t i = 0; i < MIN(count, NAMED_MAX); i++)
		append(finding->what, sizeof(finding->what), "%s%s", i ? ", " : "with ", others[i]);
	append(finding->what, sizeof(finding->what),
		"%s: they can reach each other without the IOMMU seeing it",
		count > NAMED_MAX ? ", ..." : "");
	put_evidence(finding, &top->config);
}

static void explain_member(struct explanation *x, const struct pci_path *path)
{
	size_t point = acs_alias_point(path);

	for (size_t i = 0; i < path->count; i++)
		if (is_unseen(&path->at[i].config) && (i || unseen_matters(&path->at[0].config)))
			find_unseen(x, &path->at[i]);
	for (size_t i = 1; i <= point; i++)
		find_bridge(x, path, i);
	for (size_t i = point + 1; i < path->count; i++)
		if (!isolates(&path->at[i].config) && !is_unseen(&path->at[i].config))
			find_port(x, &path->at[i]);
	find_functions(x, &path->at[walk_end(path)]);
}

/* Nothing was found that keeps members together. */
static void explain_rest(struct explanation *x)
{
	const struct pci_path *first = &x->members[0];
	struct acs_finding *finding =
		add(x, x->count > 1 ? ACS_UNEXPLAINED : ACS_ALONE, &first->at[0]);

	if (!finding)
		return;
	if (x->count > 1)
		append(finding->what, sizeof(finding->what),
			"and the others share no port that lacks ACS now: they were put together "
			"before it was switched on, or for a reason of the kernel's own");
	else if (first->count == 1)
		append(finding->what, sizeof(finding->what),
			"is alone on its way to the IOMMU: it is on the root bus");
	else
		append(finding->what, sizeof(finding->what),
			"is alone: each port above it, up to %s, keeps it apart",
			first->at[first->count - 1].id);
	put_evidence(finding, &first->at[first->count > 1].config);
}

static bool explains(enum acs_kind kind)
{
	return kind != ACS_TRUSTED;
}

size_t acs_explain(uint32_t group, const struct pci_path *members, size_t count,
	struct acs_finding *found, size_t max)
{
	struct explanation x = {
		.group = group, .members = members, .count = count, .found = found, .max = max};
	size_t reasons = 0;

	for (size_t i = 0; i < count; i++)
		if (members[i].count)
			explain_member(&x, &members[i]);
	for (size_t i = 0; i < x.found_count; i++)
		reasons += explains(found[i].kind);
	if (!reasons && count && members[0].count)
		explain_rest(&x);
	return x.found_count;
}
