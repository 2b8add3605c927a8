/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Restoring: is it what it was, and the verdict on it (do_restore.c has the theory). */
#include <string.h>

#include "daemon/restore.h"
#include "daemon/tap_node.h"
#include "lib/cleanup.h"
#include "lib/nbd_uri.h"

/*
 * An export has no identity but its name, and that means another server on each host where it is one of
 * the host's own: then somebody has to say that it is the same.
 */
static int check_export(const struct restore *x, const struct restoring *one, struct err *e)
{
	const struct iostate_identity *there = &x->s->attachments[x->next].identity;
	const char *here = one->wish.spec.device;
	struct nbd_uri uri;

	if (nbd_uri_parse(here, &uri, e) < 0)
		return -1;
	if (one->is_mapped || (strcmp(here, there->device) == 0 && !nbd_uri_is_local(&uri)))
		return 0;
	err_set(e, ERR_REFUSED, "MIG-OTHER-VOLUME",
		"%s is not shown to be the volume that the source has", one->wish.spec.name);
	err_evidence(e, "%.300s is a server of each host's own", there->device);
	return err_fix(e, "name it by a host that both reach; or say with --map what it is there");
}

/*
 * Is it the volume that the source has, and will it read what was written there? A file that is
 * shared has one number everywhere, and shows the lock of the source's worker.
 */
static int check_same(const struct restore *x, const struct restoring *one, struct err *e)
{
	const struct attach_wish *w = &one->wish;
	const char *there = x->s->attachments[x->next].identity.fingerprint;

	if (nbd_uri_is(w->spec.node))
		return check_export(x, one, e);
	if (w->disk.is_block && strcmp(there, w->spec.fingerprint) == 0)
		return 0;
	if (!w->disk.is_block && w->disk.is_locked && w->disk.inode == one->inode)
		return 0;
	err_set(e, ERR_REFUSED, "MIG-OTHER-VOLUME",
		"%s is not shown to be the volume that the source has", w->spec.name);
	if (w->disk.is_block)
		err_evidence(e, "%s: fingerprint %s; at the source %s", one->name,
			w->spec.fingerprint, there);
	else
		err_evidence(e, "%s: inode %llu, %s; at the source %llu", one->name,
			(unsigned long long)w->disk.inode,
			w->disk.is_locked ? "in use by a worker" : "in use by no worker",
			(unsigned long long)one->inode);
	return err_fix(e, "say with --map what it is called there");
}

static int check_cache(const struct attach_wish *w, struct err *e)
{
	if (w->spec.cache == ATTACHMENT_CACHE_NONE && w->disk.is_direct)
		return 0;
	err_set(e, ERR_REFUSED, "MIG-CACHE", "%s goes through the host's page cache", w->spec.name);
	err_evidence(e, "cache %s, direct I/O is %s", attachment_cache_names[w->spec.cache],
		w->disk.is_direct ? "possible" : "not possible");
	return err_fix(e, "attach it with --cache none, on storage that can do direct I/O");
}

void restore_compare(struct restore *x, struct restoring *one)
{
	const struct iostate_attachment *saved = &x->s->attachments[x->next];
	const struct attach_wish *w = &one->wish;
	struct problems *p = &one->problems;
	struct err e = ERR_INIT;

	for (size_t i = 0; i < INCOMING_CHECKS; i++)
		problems_add(p, incoming_checks[i](saved, &w->disk, &e), &e);
	/* Whether a network is the same only its name says. */
	if (x->kind == RESTORE_NOW || tap_node_is(w->spec.node))
		return;
	problems_add(p, check_cache(w, &e), &e);
	problems_add(p, check_same(x, one, &e), &e);
}

/* --- the verdict ------------------------------------------------------------------------------ */

static bool put_devices(const struct restore *x, struct json_out *o)
{
	bool ok = true;

	json_out_array(o, "devices");
	for (uint32_t i = 0; i < x->s->attachment_count; i++) {
		const struct restoring *one = &x->each[i];

		ok = ok && !one->problems.count;
		verdict_put_device(o, one->wish.spec.name, one->name, &one->problems);
	}
	json_out_end(o);
	return ok;
}

void restore_judge(struct restore *x)
{
	auto_json_out struct json_out o;
	auto_free char *text = NULL;
	struct err e = ERR_INIT;
	size_t len = 0;
	bool ok;

	json_out_init(&o);
	json_out_object(&o, NULL);
	json_out_str(&o, "schema", "iovd.verdict/1");
	json_out_str(&o, "vm", x->vm);
	ok = put_devices(x, &o);
	json_out_bool(&o, "ok", ok);
	json_out_end(&o);
	text = json_out_finish(&o, &len);
	if (!text) {
		err_set(&e, ERR_FAILED, "MEMORY", "no memory for the verdict");
		restore_fail(x, &e);
		return;
	}
	job_done(x->job, text, len);
	restore_free(x);
}
