/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * libvirt's domains, as the VMs that they are: kept in memory as libvirt tells of them, told on the
 * event bus (kind "vm"). While libvirt is not there, what it said last is still known, with state
 * unknown; attachments of domains do not depend on it.
 */
#pragma once

#include "daemon/registry.h"
#include "lib/virt.h"

struct daemon;
struct domains;

struct domain {
	struct list_node node;
	char uuid[VIRT_UUID_SIZE];
	char *name;
	enum virt_state state;
	bool persistent;
	/* private: */
	struct virt_call *asked; /* it is being looked at */
	bool again;              /* something has happened since */
	bool seen;               /* in the list that came just now */
};

/* NULL with e set. `uri`: "none": there never are any. */
struct domains *domains_new(struct daemon *d, const char *uri, struct err *e);
void domains_free(struct domains *domains);

/* In what follows, NULL is for no domains. */

/* The connection, or NULL when there never is one. */
struct virt *domains_virt(struct domains *domains);

/* The user that libvirt runs QEMU as; NULL: not known (now), or one without a name. */
const char *domains_qemu_user(const struct domains *domains);

/* Whether all of libvirt's domains are known now. */
bool domains_are_known(const struct domains *domains);

/* By name or UUID (with or without dashes); NULL: libvirt knows none such, as far as we know. */
const struct domain *domains_find(const struct domains *domains, const char *name);

/* Whether it runs or is being started, as far as we know. */
bool domain_is_active(const struct domain *domain);

/*
 * The VM's name for attachments and folders: the domain's, or where that does not fit, its UUID
 * without dashes.
 */
void domain_vm(const struct domain *domain, char vm[REGISTRY_NAME_MAX]);

/*
 * By which name attachments know the VM that somebody calls `name`: that of its domain, if it is
 * one, or the name itself. The result is `name` or `vm`.
 */
const char *domains_vm(const struct domains *domains, struct registry *r, const char *name,
	char vm[REGISTRY_NAME_MAX]);

/* All VMs, and one: libvirt's, and those that somebody attached something to. False: none such. */
void vms_put(struct daemon *d, struct json_out *o, const char *key);
bool vm_put(struct daemon *d, const char *name, struct json_out *o, const char *key);

/* --- waiting for what libvirt tells ----------------------------------------------------------- */

/* Told of every event of its domain, until it is removed; may remove itself when told. */
struct domain_watch {
	struct list_node node;
	const char *uuid; /* not copied; NULL: of all domains */
	void (*told)(struct domain_watch *w, const struct virt_event *event);
};

void domains_watch(struct domains *domains, struct domain_watch *w);
void domain_unwatch(struct domain_watch *w);
