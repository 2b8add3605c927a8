/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The description, as a domain's metadata has it; whoever writes it, a domain that has it is ours:
 *
 *	<iovd:attachments xmlns:iovd="https://iovd.org/xmlns/domain/1" host='ssh://host1'>
 *	  <attachment name='root' device='/srv/root.img' path='paravirt' target='vda' queues='1'
 *	              cache='none' on_error='hold' readonly='no' owner='libvirt-qemu'
 *	              io_timeout='30000' fence='/usr/sbin/fence-path' pool='' set=''>
 *	    <spare device='/srv/other-path.img'/>
 *	  </attachment>
 *	</iovd:attachments>
 */
#include "daemon/domain_xml.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/attach_options.h"
#include "daemon/tap_node.h"
#include "lib/cleanup.h"
#include "lib/virt.h"
#include "lib/xml.h"

/*
 * The most that QEMU knows. 10.0.13 offers guests so many, however few the device was given, but asks
 * for a region of requests in flight for those few: the worker then refuses the larger ring.
 */
#define QUEUE_SIZE 1024u

const char domain_xml_sharing[] = "<memoryBacking><source type='memfd'/><access mode='shared'/>"
				  "</memoryBacking>";

/* --- reading ---------------------------------------------------------------------------------- */

static bool attribute_is(const struct xml *x, const char *name, const char *value)
{
	char found[64];

	return xml_attribute(x, name, found, sizeof(found)) && strcmp(found, value) == 0;
}

/* For all of it, or for each NUMA cell that there is. */
bool domain_xml_shares_memory(const char *xml)
{
	unsigned int cells = 0, shared_cells = 0;
	bool shared = false;
	struct xml x;

	xml_begin(&x, xml);
	while (xml_next(&x)) {
		if (xml_is(&x, "domain/memoryBacking/access"))
			shared = attribute_is(&x, "mode", "shared");
		if (!xml_is(&x, "domain/cpu/numa/cell"))
			continue;
		cells++;
		shared_cells += attribute_is(&x, "memAccess", "shared");
	}
	return shared || (cells && cells == shared_cells);
}

static bool has_target(const char *xml, const char *target)
{
	struct xml x;

	xml_begin(&x, xml);
	while (xml_next(&x))
		if (xml_is(&x, "domain/devices/disk/target") && attribute_is(&x, "dev", target))
			return true;
	return false;
}

bool domain_xml_free_target(const char *xml, const char *other, const char *stem, char target[16])
{
	for (int c = 'a'; c <= 'z'; c++) {
		snprintf(target, 16, "%s%c", stem, c);
		if (!has_target(xml, target) && !(other && has_target(other, target)))
			return true;
	}
	return false;
}

/* <baselabel type='qemu'>+64055:+104</baselabel> of the security model "dac". */
int64_t domain_xml_qemu_user(const char *capabilities)
{
	static const char model[] = "<model>dac</model>", label[] = "<baselabel type='qemu'>+";
	const char *at = strstr(capabilities, model), *end;
	char number[16] = "";
	uint64_t user;

	end = at ? strstr(at, "</secmodel>") : NULL;
	at = at ? strstr(at, label) : NULL;
	if (!at || !end || at > end)
		return -1;
	at += strlen(label);
	snprintf(number, sizeof(number), "%.*s", (int)MIN(strcspn(at, ":<"), 15), at);
	return parse_u64(number, INT32_MAX, &user) == 0 ? (int64_t)user : -1;
}

/* --- changing --------------------------------------------------------------------------------- */

/* `xml` up to `from`, the words, and `xml` from `to`. */
static char *splice(const char *xml, const char *from, const char *words, const char *to)
{
	char *out = NULL;

	if (asprintf(&out, "%.*s%s%s", (int)(from - xml), xml, words, to) < 0)
		return NULL;
	return out;
}

/* In what there is of <memoryBacking>: its own access and source go, whatever else stays. */
static char *share_inside(const char *xml)
{
	static const char words[] = "<source type='memfd'/><access mode='shared'/>";
	auto_free char *text = strdup(xml);

	for (;;) {
		struct xml x;
		char *next;

		if (!text)
			return NULL;
		xml_begin(&x, text);
		while (xml_next(&x) && !xml_is(&x, "domain/memoryBacking/access") &&
			!xml_is(&x, "domain/memoryBacking/source"))
			;
		if (xml_is(&x, ""))
			break;
		next = splice(text, x.element, "", xml_end(&x));
		free(text);
		text = next;
	}
	for (struct xml x = (xml_begin(&x, text), x); xml_next(&x);)
		if (xml_is(&x, "domain/memoryBacking"))
			return x.is_empty ? splice(text, x.element, domain_xml_sharing, xml_end(&x))
					  : splice(text, xml_content(&x), words, xml_content(&x));
	return NULL;
}

char *domain_xml_share_memory(const char *xml)
{
	const char *devices = NULL;
	struct xml x;

	xml_begin(&x, xml);
	while (xml_next(&x)) {
		if (xml_is(&x, "domain/memoryBacking"))
			return share_inside(xml);
		if (xml_is(&x, "domain/devices"))
			devices = x.element;
	}
	return devices ? splice(xml, devices, domain_xml_sharing, devices) : NULL;
}

/* --- an attachment as a device ---------------------------------------------------------------- */

/* libvirt takes no dot in an alias. */
void domain_alias(const struct attachment_spec *spec, char alias[DOMAIN_ALIAS_SIZE])
{
	snprintf(alias, DOMAIN_ALIAS_SIZE, "ua-iovd-%s", spec->name);
	for (char *c = alias; *c; c++)
		if (*c == '.')
			*c = '_';
}

static char *disk_xml(const struct registry *r, const struct attachment_spec *spec)
{
	char path[PATH_MAX], socket[PATH_MAX], alias[DOMAIN_ALIAS_SIZE];
	char *out = NULL;

	domain_alias(spec, alias);
	attachment_socket_path(r, spec, path, sizeof(path));
	if (!xml_escape(socket, sizeof(socket), path) ||
		asprintf(&out,
			"<disk type='vhostuser' device='disk'>"
			"<driver name='qemu' type='raw' queues='%u' queue_size='%u'/>"
			"<source type='unix' path='%s'><reconnect enabled='yes' "
			"timeout='1'/></source>"
			"<target dev='%s' bus='virtio'/><alias name='%s'/></disk>",
			spec->queues, QUEUE_SIZE, socket, spec->target, alias) < 0)
		return NULL;
	return out;
}

/* Its MAC is said, since libvirt would make up another one in each of its definitions. */
static char *port_xml(const struct registry *r, const struct attachment_spec *spec)
{
	char path[PATH_MAX], socket[PATH_MAX], alias[DOMAIN_ALIAS_SIZE], mac[18], several[32] = "";
	char *out = NULL;

	domain_alias(spec, alias);
	tap_node_mac(spec, mac);
	attachment_socket_path(r, spec, path, sizeof(path));
	if (spec->queues > 1)
		snprintf(several, sizeof(several), "<driver queues='%u'/>", spec->queues);
	if (!xml_escape(socket, sizeof(socket), path) ||
		asprintf(&out,
			"<interface type='vhostuser'><mac address='%s'/>"
			"<source type='unix' path='%s' mode='client'>"
			"<reconnect enabled='yes' timeout='1'/></source>"
			"<model type='virtio'/>%s<alias name='%s'/></interface>",
			mac, socket, several, alias) < 0)
		return NULL;
	return out;
}

void domain_standby_alias(const struct attachment_spec *spec, char alias[DOMAIN_ALIAS_SIZE])
{
	char device[DOMAIN_ALIAS_SIZE];

	domain_alias(spec, device);
	snprintf(alias, DOMAIN_ALIAS_SIZE, "%.50s-standby", device); /* names are shorter */
}

/* The VF and its standby know each other by the standby's alias. */
static char *hostdev_xml(const struct attachment_spec *spec)
{
	char alias[DOMAIN_ALIAS_SIZE], standby[DOMAIN_ALIAS_SIZE], *out = NULL;
	bool has_standby = spec->vf.standby[0];
	struct pci_addr addr;

	domain_alias(spec, alias);
	domain_standby_alias(spec, standby);
	if (!pci_addr_parse(spec->device, &addr) ||
		asprintf(&out,
			"<hostdev mode='subsystem' type='pci' managed='no'>"
			"<source><address domain='0x%04x' bus='0x%02x' slot='0x%02x' "
			"function='0x%x'/>"
			"</source>%s%s%s<alias name='%s'/></hostdev>",
			addr.domain, addr.bus, addr.slot, addr.function,
			has_standby ? "<teaming type='transient' persistent='" : "",
			has_standby ? standby : "", has_standby ? "'/>" : "", alias) < 0)
		return NULL;
	return out;
}

char *domain_xml_standby(const struct attachment_spec *spec)
{
	const char *colon = strchr(spec->vf.standby, ':');
	char alias[DOMAIN_ALIAS_SIZE], mac[32], interface[2 * DEVICE_NAME_MAX], *out = NULL;
	bool is_bridge;

	if (!colon || !vf_settings_value(&spec->vf.settings, VF_MAC, mac, sizeof(mac)) ||
		!xml_escape(interface, sizeof(interface), colon + 1))
		return NULL;
	is_bridge = strncmp(spec->vf.standby, DOMAIN_NET_BRIDGE, strlen(DOMAIN_NET_BRIDGE)) == 0;
	domain_standby_alias(spec, alias);
	if (asprintf(&out,
		    "<interface type='%s'><mac address='%s'/><source %s='%s'%s/>"
		    "<model type='virtio'/><teaming type='persistent'/><alias "
		    "name='%s'/></interface>",
		    is_bridge ? DOMAIN_NET_BRIDGE : DOMAIN_NET_DIRECT, mac,
		    is_bridge ? "bridge" : "dev", interface, is_bridge ? "" : " mode='bridge'",
		    alias) < 0)
		return NULL;
	return out;
}

/* With cache none the disk is opened past the page cache, as the worker opens it. */
static char *sata_xml(const struct attachment_spec *spec)
{
	bool is_block = strncmp(spec->node, "/dev/", 5) == 0;
	char alias[DOMAIN_ALIAS_SIZE], node[PATH_MAX], *out = NULL;

	domain_alias(spec, alias);
	if (!xml_escape(node, sizeof(node), spec->node) ||
		asprintf(&out,
			"<disk type='%s' device='disk'>"
			"<driver name='qemu' type='raw' cache='%s'/><source %s='%s'/>"
			"<target dev='%s' bus='sata'/>%s<alias name='%s'/></disk>",
			is_block ? "block" : "file", attachment_cache_names[spec->cache],
			is_block ? "dev" : "file", node, spec->target,
			spec->readonly ? "<readonly/>" : "", alias) < 0)
		return NULL;
	return out;
}

static char *e1000_xml(const struct attachment_spec *spec)
{
	bool is_bridge = strcmp(spec->target, DOMAIN_NET_BRIDGE) == 0;
	char alias[DOMAIN_ALIAS_SIZE], interface[2 * DEVICE_NAME_MAX], *out = NULL;

	domain_alias(spec, alias);
	if (!xml_escape(interface, sizeof(interface), spec->device) ||
		asprintf(&out,
			"<interface type='%s'><source %s='%s'%s/><model type='e1000e'/>"
			"<alias name='%s'/></interface>",
			spec->target, is_bridge ? "bridge" : "dev", interface,
			is_bridge ? "" : " mode='bridge'", alias) < 0)
		return NULL;
	return out;
}

char *domain_xml_device(const struct registry *r, const struct attachment_spec *spec)
{
	switch (spec->path) {
	case ATTACHMENT_PARAVIRT:
		return tap_node_is(spec->node) ? port_xml(r, spec) : disk_xml(r, spec);
	case ATTACHMENT_PASSTHROUGH:
		return hostdev_xml(spec);
	case ATTACHMENT_EMULATED:
		return spec->node[0] ? sata_xml(spec) : e1000_xml(spec);
	case ATTACHMENT_PATHS:
		break;
	}
	return NULL;
}

/*
 * The value of an attribute, in the element from `element` to `end`; NULL: it has none. libvirt prints
 * '...' everywhere but in metadata.
 */
static const char *find_value(const char *element, const char *end, const char *name, size_t *len)
{
	size_t name_len = strlen(name);

	for (const char *at = element; at < end; at++) {
		const char quote[2] = {at[name_len + 2], '\0'};

		if (*at != ' ' || strncmp(at + 1, name, name_len) != 0 || at[name_len + 1] != '=' ||
			(*quote != '\'' && *quote != '"'))
			continue;
		at += name_len + 3;
		*len = strcspn(at, quote);
		return at + *len < end ? at : NULL;
	}
	return NULL;
}

char *domain_xml_set_socket(const char *xml, const char *alias, const char *path)
{
	const char *source = NULL, *end = NULL;
	char escaped[PATH_MAX];
	struct xml x;
	size_t len;

	if (!xml_escape(escaped, sizeof(escaped), path))
		return NULL;
	xml_begin(&x, xml);
	while (xml_next(&x)) {
		if (xml_is(&x, "domain/devices/disk") || xml_is(&x, "domain/devices/interface"))
			source = NULL;
		if (xml_is(&x, "domain/devices/disk/source") ||
			xml_is(&x, "domain/devices/interface/source")) {
			end = xml_content(&x);
			source = find_value(x.element, end, "path", &len);
		}
		if (source &&
			(xml_is(&x, "domain/devices/disk/alias") ||
				xml_is(&x, "domain/devices/interface/alias")) &&
			attribute_is(&x, "name", alias))
			return splice(xml, source, escaped, source + len);
	}
	return strdup(xml);
}

/* --- the description -------------------------------------------------------------------------- */

static int put_spares(FILE *f, const struct attachment_rescue *rescue)
{
	char device[PATH_MAX];

	for (unsigned int i = 0; i < rescue->spare_count; i++)
		if (!xml_escape(device, sizeof(device), rescue->spares[i]) ||
			fprintf(f, "<spare device='%s'/>", device) < 0)
			return -1;
	return fputs("</attachment>", f);
}

static int put_description(FILE *f, const struct attachment_spec *spec)
{
	char device[PATH_MAX], fence[2 * ATTACHMENT_FENCE_SIZE], pool[2 * sizeof(spec->vf.pool)];
	char set[VF_SETTINGS_TEXT];
	int rc;

	vf_settings_write(&spec->vf.settings, set);
	if (!xml_escape(device, sizeof(device), spec->device) ||
		!xml_escape(fence, sizeof(fence), spec->rescue.fence) ||
		!xml_escape(pool, sizeof(pool), spec->vf.pool))
		return -1;
	rc = fprintf(f,
		"<attachment name='%s' device='%s' path='%s' target='%s' queues='%u' cache='%s' "
		"on_error='%s' readonly='%s' owner='%s' io_timeout='%llu' fence='%s' pool='%s' "
		"set='%s' standby='%s'>",
		spec->name, device, attachment_path_names[spec->path], spec->target, spec->queues,
		attachment_cache_names[spec->cache], attachment_on_error_names[spec->on_error],
		spec->readonly ? "yes" : "no", spec->owner,
		(unsigned long long)spec->rescue.io_timeout_ms, fence, pool, set, spec->vf.standby);
	return rc < 0 ? rc : put_spares(f, &spec->rescue);
}

static int put_host(FILE *f, const char *host)
{
	char escaped[PATH_MAX];

	if (!host[0])
		return fputs("<attachments>", f);
	return xml_escape(escaped, sizeof(escaped), host)
		       ? fprintf(f, "<attachments host='%s'>", escaped)
		       : -1;
}

char *domain_xml_metadata(struct registry *r, const char *uuid, const char *host,
	const struct attachment *with, const struct attachment *without)
{
	char *text = NULL;
	size_t len = 0;
	FILE *f = open_memstream(&text, &len);
	unsigned int count = 0;
	bool failed = !f || put_host(f, host) < 0;

	list_for_each (node, registry_list(r)) {
		const struct attachment *a = list_entry(node, struct attachment, node);

		if (strcmp(a->spec.domain, uuid) != 0 || a == without ||
			(a != with && a->kept != KEPT_ATTACHED))
			continue;
		failed = failed || put_description(f, &a->spec) < 0;
		count++;
	}
	if (f)
		fputs("</attachments>", f);
	if (!f || fclose(f) != 0 || failed) {
		free(text);
		return NULL;
	}
	if (!count)
		*text = '\0';
	return text;
}

static uint64_t number_of(const struct xml *x, const char *name, uint64_t otherwise)
{
	char text[24];
	uint64_t value;

	return xml_attribute(x, name, text, sizeof(text)) && parse_u64(text, INT64_MAX, &value) == 0
		       ? value
		       : otherwise;
}

static void read_description(const struct xml *x, struct domain_description *d)
{
	xml_attribute(x, "name", d->name, sizeof(d->name));
	xml_attribute(x, "device", d->device, sizeof(d->device));
	xml_attribute(x, "owner", d->owner, sizeof(d->owner));
	xml_attribute(x, "path", d->path, sizeof(d->path));
	xml_attribute(x, "cache", d->cache, sizeof(d->cache));
	xml_attribute(x, "on_error", d->on_error, sizeof(d->on_error));
	xml_attribute(x, "target", d->target, sizeof(d->target));
	xml_attribute(x, "fence", d->rescue.fence, sizeof(d->rescue.fence));
	xml_attribute(x, "pool", d->pool, sizeof(d->pool));
	xml_attribute(x, "set", d->set, sizeof(d->set));
	xml_attribute(x, "standby", d->standby, sizeof(d->standby));
	d->rescue.io_timeout_ms = number_of(x, "io_timeout", ATTACH_IO_TIMEOUT_ABSENT);
	d->queues = number_of(x, "queues", 0);
	d->readonly = attribute_is(x, "readonly", "yes");
}

/* An element of our description. libvirt gives what is inside of it our prefix, too. */
static bool is_ours(const struct xml *x, const char *what)
{
	static const char top[] = "domain/metadata/" VIRT_METADATA_KEY ":attachments/";
	static const char prefix[] = VIRT_METADATA_KEY ":";
	const char *at = x->path;

	if (strncmp(at, top, strlen(top)) != 0)
		return false;
	for (at += strlen(top); *what; what++, at++) {
		if (strncmp(at, prefix, strlen(prefix)) == 0)
			at += strlen(prefix);
		if (*at != *what)
			return false;
	}
	return !*at;
}

static bool find_description(const char *xml, struct xml *x)
{
	xml_begin(x, xml);
	while (xml_next(x))
		if (xml_is(x, "domain/metadata/" VIRT_METADATA_KEY ":attachments"))
			return true;
	return false;
}

bool domain_xml_host(const char *xml, char *host, size_t size)
{
	struct xml x;

	*host = '\0';
	return find_description(xml, &x) && xml_attribute(&x, "host", host, size);
}

char *domain_xml_set_host(const char *xml, const char *host)
{
	char escaped[PATH_MAX];
	const char *at = NULL;
	struct xml x;
	size_t len;

	if (!xml_escape(escaped, sizeof(escaped), host))
		return NULL;
	if (find_description(xml, &x))
		at = find_value(x.element, xml_content(&x), "host", &len);
	return at ? splice(xml, at, escaped, at + len) : strdup(xml);
}

static void read_spare(const struct xml *x, struct attachment_rescue *rescue)
{
	unsigned int n = rescue->spare_count;

	if (n < ATTACHMENT_SPARES_MAX && xml_attribute(x, "device", rescue->spares[n], PATH_MAX))
		rescue->spare_count++;
}

/* A description is told when what is inside of it is known: at the next one, or the end. */
static int walk(struct xml *x, struct domain_description *d,
	int (*fn)(void *arg, const struct domain_description *d, struct err *e), void *arg,
	struct err *e)
{
	bool has = false;

	while (xml_next(x)) {
		if (has && is_ours(x, "attachment/spare"))
			read_spare(x, &d->rescue);
		if (!is_ours(x, "attachment"))
			continue;
		if (has && fn(arg, d, e) < 0)
			return -1;
		has = true;
		memset(d, 0, sizeof(*d));
		read_description(x, d);
	}
	if (xml_failed(x))
		return err_set(e, ERR_USAGE, JSON_CODE_PARAM, "the domain's XML is broken");
	return has ? fn(arg, d, e) : 0;
}

int domain_xml_each(const char *xml,
	int (*fn)(void *arg, const struct domain_description *d, struct err *e), void *arg,
	struct err *e)
{
	auto_free struct domain_description *d = malloc(sizeof(*d));
	struct xml x;

	if (!d)
		return err_set(e, ERR_FAILED, "MEMORY", "no memory for a description");
	xml_begin(&x, xml);
	return walk(&x, d, fn, arg, e);
}
