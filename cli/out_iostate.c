/* SPDX-License-Identifier: GPL-2.0-or-later */
/* An I/O state file, for people and as a document. */
#include <inttypes.h>
#include <stdio.h>
#include <time.h>

#include "cli/out.h"
#include "lib/cleanup.h"
#include "lib/migrate/iostate.h"

/* --- as a document ---------------------------------------------------------------------------- */

static void doc_object(void *o, const char *key)
{
	json_out_object(o, key);
}

static void doc_array(void *o, const char *key)
{
	json_out_array(o, key);
}

static void doc_end(void *o)
{
	json_out_end(o);
}

static void doc_string(void *o, const char *key, const char *value)
{
	json_out_str(o, key, value);
}

static void doc_number(void *o, const char *key, uint64_t value)
{
	/* What JSON's readers cannot hold as an integer they get as text. */
	if (value > INT64_MAX)
		json_out_hex(o, key, value);
	else
		json_out_u64(o, key, value);
}

static void doc_hex(void *o, const char *key, uint64_t value)
{
	json_out_hex(o, key, value);
}

static void doc_boolean(void *o, const char *key, bool value)
{
	json_out_bool(o, key, value);
}

static int out_document(const struct iostate *s, struct err *e)
{
	auto_json_out struct json_out o;
	auto_free char *text = NULL;
	const struct iostate_visitor v = {
		doc_object, doc_array, doc_end, doc_string, doc_number, doc_hex, doc_boolean, &o};
	size_t len;

	json_out_init(&o);
	json_out_object(&o, NULL);
	json_out_str(&o, "schema", "iovd.iostate/1");
	json_out_str(&o, "kind", "iostate");
	json_out_object(&o, "iostate");
	iostate_visit(s, &v);
	json_out_end(&o);
	json_out_end(&o);
	text = json_out_finish(&o, &len);
	if (!text)
		return err_set(e, ERR_FAILED, "MEMORY", "no memory for the document");
	puts(text);
	return 0;
}

/* --- for people ------------------------------------------------------------------------------- */

static void out_labelled(const char *label, const char *text)
{
	printf("  %-12s ", label);
	out_safe(stdout, text);
	putchar('\n');
}

static void out_origin(const struct iostate *s)
{
	time_t seconds = (time_t)(s->origin.saved_ms / 1000);
	char when[64] = "?";
	struct tm tm;

	if (gmtime_r(&seconds, &tm))
		strftime(when, sizeof(when), "%Y-%m-%d %H:%M:%S UTC", &tm);
	printf("I/O state of %s, saved %s on ", s->origin.vm, when);
	out_safe(stdout, s->origin.host);
	fputs(" by ", stdout);
	out_safe(stdout, s->origin.program);
	printf(" (version %u)\n", s->version);
}

static void out_rescue(const struct iostate_policy *p)
{
	if (p->io_timeout_ms)
		printf("  %-12s %" PRIu64 " ms for a request\n", "io timeout", p->io_timeout_ms);
	for (unsigned int i = 0; i < IOSTATE_MAX_SPARES && p->spares[i][0]; i++) {
		printf("  %-12s ", "spare");
		out_safe(stdout, p->spares[i]);
		putchar('\n');
	}
	if (!p->fence[0])
		return;
	printf("  %-12s ", "fence");
	out_safe(stdout, p->fence);
	putchar('\n');
}

static void out_disk(const struct iostate_disk *d)
{
	printf("  %-12s %" PRIu64 " bytes in blocks of %u (physical %u), %u queue%s, %s, write "
	       "cache %s\n",
		"disk", d->size_bytes, d->block_size, d->physical_block_size, d->queues,
		d->queues == 1 ? "" : "s", d->readonly ? "read-only" : "read-write",
		d->write_cache ? "on" : "off");
}

static void out_network(const struct iostate_network *n)
{
	printf("  %-12s %u pair%s of queues, MTU %u, ", "network", n->queues,
		n->queues == 1 ? "" : "s", n->mtu);
	out_safe(stdout, n->settings);
	putchar('\n');
}

static void out_device(const struct iostate_attachment *a)
{
	if (a->network.queues)
		out_network(&a->network);
	else
		out_disk(&a->disk);
	printf("  %-12s 0x%" PRIx64 " acknowledged of 0x%" PRIx64 ", vhost-user 0x%" PRIx64 "\n",
		"features", a->features.acknowledged, a->features.offered, a->features.protocol);
	printf("  %-12s cache %s, on error %s, socket for ", "policy",
		iostate_cache_names[a->policy.cache], iostate_on_error_names[a->policy.on_error]);
	out_safe(stdout, a->policy.owner);
	putchar('\n');
	out_rescue(&a->policy);
}

static void out_ring(const struct iostate_ring *ring, bool packed)
{
	printf("  ring %-7u ", ring->index);
	if (!ring->size)
		puts("not set up");
	else if (packed)
		printf("packed, %u entries, available up to %u lap %d, used up to %u lap %d\n",
			ring->size, ring->avail, ring->avail_wrap, ring->used, ring->used_wrap);
	else
		printf("split, %u entries, available up to %u, used up to %u\n", ring->size,
			ring->avail, ring->used);
}

static void out_requests(const struct iostate_attachment *a)
{
	if (!a->request_count)
		out_labelled("in flight", "none");
	for (uint32_t i = 0; i < a->request_count; i++) {
		const struct iostate_request *rq = &a->requests[i];

		printf("  %-12s %u in ring %u, number %" PRIu64, i ? "" : "in flight", rq->head,
			rq->ring, rq->counter);
		if (rq->type != IOSTATE_UNKNOWN)
			printf(": %s, sector %" PRIu64 ", %" PRIu64 " bytes",
				iostate_request_type_names[rq->type], rq->sector, rq->bytes);
		putchar('\n');
	}
}

static void out_attachment(const struct iostate_attachment *a)
{
	printf("\n%s\n", a->identity.name);
	out_labelled("id", a->identity.id);
	out_labelled("device", a->identity.device);
	if (a->identity.fingerprint[0])
		out_labelled("fingerprint", a->identity.fingerprint);
	out_device(a);
	for (uint32_t i = 0; i < a->ring_count; i++)
		out_ring(&a->rings[i], a->features.acknowledged & IOSTATE_F_PACKED);
	out_requests(a);
}

static void out_plain(const struct iostate *s)
{
	for (uint32_t i = 0; i < s->attachment_count; i++) {
		const struct iostate_attachment *a = &s->attachments[i];

		printf("%s\t%s\t", s->origin.vm, a->identity.name);
		out_safe(stdout, a->identity.device);
		printf("\t%" PRIu64 "\t%u\t%u\n", a->disk.size_bytes,
			MAX(a->disk.queues, a->network.queues), a->request_count);
	}
}

int out_iostate(const struct cli *cli, const struct iostate *s, struct err *e)
{
	if (out_is_json(cli))
		return out_document(s, e);
	if (cli->form == OUT_PLAIN) {
		out_plain(s);
		return 0;
	}
	out_origin(s);
	for (uint32_t i = 0; i < s->attachment_count; i++)
		out_attachment(&s->attachments[i]);
	return 0;
}
