/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A libvirt domain's XML, as far as iovd has to do with it: what is read of it, what is added to it.
 * No I/O; text that is returned is the caller's to free(), NULL: no memory.
 */
#pragma once

#include "daemon/registry.h"

#define DOMAIN_ALIAS_SIZE 64

/* Whether the guest's memory is shared with other processes, as vhost-user needs it. */
bool domain_xml_shares_memory(const char *xml);

/* What makes it so, for people. */
extern const char domain_xml_sharing[];

/* The same XML with shared memory. */
char *domain_xml_share_memory(const char *xml);

/* The first of vda, vdb, ... (stem "vd") that neither has. `other` may be NULL. False: all are taken. */
bool domain_xml_free_target(const char *xml, const char *other, const char *stem, char target[16]);

/* How an emulated interface is joined to the host's: the `target` of its spec. */
#define DOMAIN_NET_BRIDGE "bridge"
#define DOMAIN_NET_DIRECT "direct"

/* The user id that libvirt runs QEMU as, by its capabilities; -1: it does not say. */
int64_t domain_xml_qemu_user(const char *capabilities);

/* By which a device of a domain is known as this attachment: "ua-iovd-root". */
void domain_alias(const struct attachment_spec *spec, char alias[DOMAIN_ALIAS_SIZE]);

void domain_standby_alias(const struct attachment_spec *spec, char alias[DOMAIN_ALIAS_SIZE]);

/* The device element; that of its standby (spec->vf.standby). */
char *domain_xml_standby(const struct attachment_spec *spec);
char *domain_xml_device(const struct registry *r, const struct attachment_spec *spec);

/* The same XML with another socket for the device of this alias, if it has that. */
char *domain_xml_set_socket(const char *xml, const char *alias, const char *path);

/*
 * The description of all attachments of a domain, for its metadata: what iovd needs to make them
 * again, here or on another host. "" when there are none. `host`: where this iovd is reached, or "";
 * `with` is one of them in any case, `without` (an attachment's id, or NULL) is not.
 */
char *domain_xml_metadata(struct registry *r, const char *uuid, const char *host,
	const struct attachment *with, const struct attachment *without);

/* The host that a description names; false (and ""): none. */
bool domain_xml_host(const char *xml, char *host, size_t size);

/* The same XML with another host in its description, if that names one. */
char *domain_xml_set_host(const char *xml, const char *host);

/* One attachment of that description; strings are as long as XML has them, unchecked. */
struct domain_description {
	char device[PATH_MAX];
	char name[64], owner[64], path[32], cache[32], on_error[32], target[32];
	char pool[256], set[VF_SETTINGS_TEXT], standby[48];
	uint64_t queues;
	bool readonly;
	struct attachment_rescue rescue;
};

/*
 * Calls fn for each attachment that a domain's XML describes, until it returns -1. 0, or -1 with e set: what is there cannot be read.
 */
int domain_xml_each(const char *xml,
	int (*fn)(void *arg, const struct domain_description *d, struct err *e), void *arg,
	struct err *e);
