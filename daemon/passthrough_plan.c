/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/passthrough_plan.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "daemon/attach.h"
#include "daemon/binding.h"
#include "daemon/daemon.h"
#include "daemon/inventory.h"
#include "daemon/passthrough.h"
#include "daemon/vf_given.h"
#include "lib/cleanup.h"
#include "lib/iommu/memlock.h"
#include "lib/iommu/vfio_device.h"
#include "lib/pci.h"

#define GIVEN_MAX (1 + ATTACHMENT_MAX_COMPANIONS)

/* --- reset ------------------------------------------------------------------------------------ */

static bool is_among(const char *id, const char *const *ids, size_t count)
{
	for (size_t i = 0; i < count; i++)
		if (strcmp(ids[i], id) == 0)
			return true;
	return false;
}

const char *passthrough_reset_way(const char *methods, const char *const *on_bus, size_t bus_count,
	const char *const *given, size_t given_count, char way[static 16])
{
	size_t len = strcspn(methods, " ");

	way[0] = '\0';
	if (len) {
		snprintf(way, 16, "%.*s", (int)MIN(len, 15), methods);
		return way;
	}
	for (size_t i = 0; on_bus && i < bus_count; i++)
		if (!is_among(on_bus[i], given, given_count))
			return way;
	if (on_bus && bus_count)
		str_copy(way, 16, "bus");
	return way;
}

/* The functions on the bus of `device`; none where it is a root bus, which nothing resets. */
static void list_bus(const struct sysroot *root, const struct device *device, struct name_list *ids)
{
	auto_names struct name_list names = {0};
	struct sysfs_dir bus;
	struct pci_addr addr;
	char *slash;

	sysfs_dir_init(&bus, root, "%s", device->syspath);
	slash = strrchr(bus.path, '/');
	if (!slash)
		return;
	*slash = '\0';
	slash = strrchr(bus.path, '/');
	if (!slash || !pci_addr_parse(slash + 1, &addr) || sysfs_list(&bus, &names) < 0)
		return;
	ids->names = calloc(names.count, sizeof(*ids->names));
	for (size_t i = 0; ids->names && i < names.count; i++)
		if (pci_addr_parse(names.names[i], &addr))
			ids->names[ids->count++] = strdup(names.names[i]);
}

void passthrough_find_reset(const struct inventory *inv, const struct device *device,
	const char *const *given, size_t given_count, char way[static 16])
{
	auto_names struct name_list bus = {0};

	list_bus(inventory_sysroot(inv), device, &bus);
	passthrough_reset_way(device->pci.reset_methods,
		bus.count ? (const char *const *)bus.names : NULL, bus.count, given, given_count,
		way);
}

/* --- boots ------------------------------------------------------------------------------------ */

static void read_boot_id(struct daemon *d, char *id, size_t size)
{
	auto_free char *text = NULL;

	id[0] = '\0';
	if (sysroot_read_file(inventory_sysroot(d->inventory), "proc/sys/kernel/random/boot_id",
		    128, &text) == 0)
		snprintf(id, size, "%.*s", (int)strcspn(text, "\n"), text);
}

int passthrough_check_boot(struct daemon *d, const struct attachment_spec *spec, struct err *e)
{
	char now[sizeof(spec->passthrough.no_reset_boot)];

	read_boot_id(d, now, sizeof(now));
	if (!spec->passthrough.no_reset_boot[0] ||
		strcmp(spec->passthrough.no_reset_boot, now) != 0)
		return 0;
	err_set(e, ERR_REFUSED, "DEV-NO-RESET",
		"%s cannot be reset, and so stays with %s until the host is rebooted", spec->device,
		spec->vm);
	err_evidence(e, "given with --allow DEV-NO-RESET in boot %s", now);
	return err_fix(e, "reboot the host, then detach it");
}

/* --- the decision ----------------------------------------------------------------------------- */

static int choose_functions(struct attach_wish *w, struct err *e)
{
	struct attachment_passthrough *p = &w->spec.passthrough;
	const struct binding_ask ask = {.device = w->spec.device,
		.driver = BIND_VFIO,
		.holder = w->spec.id,
		.whole_group = w->allow & ATTACH_ALLOW_GROUP,
		.unknown = w->allow & ATTACH_ALLOW_UNKNOWN};
	struct binding_plan plan;

	if (binding_plan(w->d, &ask, &plan, e) < 0) {
		if (strcmp(e->code, "GRP-SPLIT") == 0 && !ask.whole_group)
			err_fix(e, "give the whole group to %s: --allow GRP-SPLIT", w->spec.vm);
		return -1;
	}
	if (plan.count > GIVEN_MAX)
		return err_set(e, ERR_REFUSED, "GRP-SPLIT", "its group has %zu functions: too many",
			plan.count);
	w->facts.group = plan.group;
	w->facts.count = plan.count;
	for (size_t i = 0; i < plan.count; i++) {
		struct passthrough_function *f = &w->facts.functions[i];

		str_copy(f->id, sizeof(f->id), plan.members[i].id);
		str_copy(f->driver, sizeof(f->driver), plan.members[i].driver);
		if (i > 0)
			str_copy(p->companions[p->companion_count++], PCI_ADDR_MAX, f->id);
	}
	return 0;
}

int passthrough_refuse_no_reset(const char *id, struct err *e)
{
	err_set(e, ERR_REFUSED, "DEV-NO-RESET",
		"%s cannot be reset: what one machine left in it, the next would find", id);
	err_evidence(
		e, "/sys/bus/pci/devices/%s/reset_method: none, and its bus cannot be reset", id);
	return err_fix(e,
		"--allow DEV-NO-RESET gives it to this machine only, until the host is rebooted");
}

static int choose_reset(struct attach_wish *w, struct err *e)
{
	const char *given[GIVEN_MAX];
	const size_t count = w->facts.count;

	for (size_t i = 0; i < count; i++)
		given[i] = w->facts.functions[i].id;
	for (size_t i = 0; i < count; i++) {
		struct passthrough_function *f = &w->facts.functions[i];
		const struct device *device = inventory_find(w->d->inventory, DEVICE_PCI, f->id);

		if (!device)
			return err_set(e, ERR_NOT_FOUND, "DEV-GONE", "%s is gone", f->id);
		if (binding_check_functions(device, e) < 0)
			return -1;
		passthrough_find_reset(w->d->inventory, device, given, count, f->reset);
		if (f->reset[0])
			continue;
		if (!(w->allow & ATTACH_ALLOW_NO_RESET))
			return passthrough_refuse_no_reset(f->id, e);
		read_boot_id(w->d, w->spec.passthrough.no_reset_boot,
			sizeof(w->spec.passthrough.no_reset_boot));
	}
	return 0;
}

int passthrough_check_type(
	struct daemon *d, uint32_t group, struct attachment_spec *spec, struct err *e)
{
	struct attachment_passthrough *p = &spec->passthrough;
	char type[sizeof(p->group_type)];

	passthrough_read_type(d, group, type, sizeof(type));
	if (strcmp(type, "identity") == 0) {
		str_copy(p->group_type, sizeof(p->group_type), type);
		return 0;
	}
	return passthrough_type_is_known(type) ? 0 : passthrough_refuse_type(group, type, e);
}

bool passthrough_type_is_known(const char *type)
{
	return strncmp(type, "DMA", 3) == 0 || strcmp(type, "blocked") == 0 ||
	       strcmp(type, "identity") == 0;
}

int passthrough_refuse_type(uint32_t group, const char *type, struct err *e)
{
	err_set(e, ERR_REFUSED, "GRP-TYPE",
		"what the IOMMU does with group %u while nobody has it open is not known", group);
	err_evidence(e, "/sys/kernel/iommu_groups/%u/type: \"%s\"", group, type);
	return err_fix(e, "DMA, DMA-FQ or blocked are known");
}

/* A group that comes with the driver is looked at when it is there. */
static int choose_type(struct attach_wish *w, struct err *e)
{
	if (w->facts.group < 0)
		return 0;
	passthrough_read_type(w->d, (uint32_t)w->facts.group, w->facts.type, sizeof(w->facts.type));
	return passthrough_check_type(w->d, (uint32_t)w->facts.group, &w->spec, e);
}

static int choose_options(const struct attach_wish *w, struct err *e)
{
	const char *option = w->spec.readonly                         ? "--readonly"
			     : w->spec.queues > 1                     ? "--queues"
			     : w->spec.cache != ATTACHMENT_CACHE_NONE ? "--cache"
								      : NULL;

	if (!option)
		return 0;
	err_set(e, ERR_USAGE, "PATH-OPTION", "%s means nothing to a device that is passed through",
		option);
	return err_fix(e, "leave it out");
}

int passthrough_choose(const struct device *device, struct attach_wish *w, struct err *e)
{
	str_copy(w->spec.fingerprint, sizeof(w->spec.fingerprint), device->fingerprint);
	registry_next_id(w->d->registry, w->spec.id); /* in whose name the drivers are taken */
	if (choose_options(w, e) < 0 || vf_given_choose(device, w, e) < 0 ||
		choose_functions(w, e) < 0 || choose_reset(w, e) < 0)
		return -1;
	return choose_type(w, e);
}

/* --- the plan --------------------------------------------------------------------------------- */

/* With what the VM has already. */
static unsigned int count_functions(const struct attach_wish *w)
{
	unsigned int count = (unsigned int)w->facts.count;

	list_for_each (node, registry_list(w->d->registry)) {
		const struct attachment_spec *s = &list_entry(node, struct attachment, node)->spec;

		if (s->path == ATTACHMENT_PASSTHROUGH && strcmp(s->vm, w->spec.vm) == 0)
			count += 1 + s->passthrough.companion_count;
	}
	return count;
}

/* What the guest's memory is only its VMM knows: so the sum for each GiB of it. */
static void put_memlock(const struct attach_wish *w, struct json_out *o)
{
	bool by_iommufd = access("/dev/iommu", F_OK) == 0;
	enum iommu_api api = by_iommufd ? IOMMU_IOMMUFD : IOMMU_TYPE1;
	unsigned int count = count_functions(w);

	json_out_fmt(o, NULL,
		"locked memory: the guest's, and the VMM's own need: %llu MiB for 1 GiB of guest "
		"memory, %llu MiB for 2, with the %u functions of %s; %s counts it (%s)",
		(unsigned long long)memlock_for_vmm(1ull << 30, count, false) >> 20,
		(unsigned long long)memlock_for_vmm(2ull << 30, count, false) >> 20, count,
		w->spec.vm, memlock_counter(api), iommu_api_names[api]);
}

static void put_group(const struct attach_wish *w, struct json_out *o)
{
	if (w->facts.group < 0) {
		json_out_str(o, NULL, "group: none yet; it comes with the driver");
		return;
	}
	json_out_fmt(o, NULL, "group: %lld, of type %s%s", (long long)w->facts.group, w->facts.type,
		w->spec.passthrough.group_type[0] ? ", which becomes DMA for as long" : "");
	json_out_fmt(o, NULL, "node: /dev/vfio/%lld, for user %s", (long long)w->facts.group,
		w->spec.owner);
}

void passthrough_put_plan(const struct attach_wish *w, struct json_out *o)
{
	for (size_t i = 0; i < w->facts.count; i++) {
		const struct passthrough_function *f = &w->facts.functions[i];

		json_out_fmt(o, NULL, "%s: %s, of the host's driver %s, reset by %s",
			i ? "companion" : "device", f->id, f->driver[0] ? f->driver : "(none)",
			f->reset[0] ? f->reset
				    : "nothing: it stays with this machine until reboot");
	}
	put_group(w, o);
	put_memlock(w, o);
}
