/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What a restored attachment begins with, and whether its disk is fit for that. */
#include <stdlib.h>
#include <string.h>

#include "daemon/daemon.h"
#include "daemon/iostate.h"
#include "daemon/supervisor.h"
#include "lib/backends/blk_geometry.h"
#include "lib/backends/net_shape.h"
#include "lib/backends/vu_wire.h"
#include "lib/cleanup.h"
#include "proto/base64.h"

struct iostate *iostate_of_text(const char *text, struct err *e)
{
	struct iostate *s = NULL;
	struct buf bytes;

	buf_init(&bytes, IOSTATE_MAX_BYTES);
	if (base64_decode(text, &bytes) < 0)
		err_set(e, ERR_USAGE, JSON_CODE_PARAM, "the state is no base64");
	else
		s = iostate_decode(bytes.data, bytes.len, e);
	buf_release(&bytes);
	return s;
}

/* What the worker holds its own against (blk_adopt(), net_adopt()). */
static void put_disk(const struct iostate_disk *d, uint8_t config[SESSION_CONFIG_BYTES])
{
	const struct blk_geometry g = {
		.sectors = d->size_bytes / 512,
		.block_size = d->block_size,
		.physical_block_size = d->physical_block_size,
		.queues = (uint16_t)d->queues,
		.write_cache = d->write_cache,
	};

	blk_geometry_to_config(&g, config);
}

static int read_settings(
	const struct iostate_network *n, struct vf_settings *settings, struct err *e)
{
	if (vf_settings_read(n->settings, settings, NULL) == 0 && settings->has & 1u << VF_MAC)
		return 0;
	return err_set(e, ERR_REFUSED, IOSTATE_VALUE, "a network device without a MAC address");
}

static int put_network(
	const struct iostate_network *n, uint8_t config[SESSION_CONFIG_BYTES], struct err *e)
{
	struct net_shape shape = {.queues = (uint16_t)n->queues, .mtu = (uint16_t)n->mtu};
	struct vf_settings settings;

	if (read_settings(n, &settings, e) < 0)
		return -1;
	memcpy(shape.mac, settings.mac, sizeof(shape.mac));
	net_shape_to_config(&shape, config);
	return 0;
}

static int put_config(
	const struct iostate_attachment *saved, uint8_t config[SESSION_CONFIG_BYTES], struct err *e)
{
	if (saved->network.queues)
		return put_network(&saved->network, config, e);
	put_disk(&saved->disk, config);
	return 0;
}

static void put_rings(const struct iostate_attachment *saved, struct session_facts *facts)
{
	bool packed = saved->features.acknowledged & IOSTATE_F_PACKED;

	for (uint32_t i = 0; i < saved->ring_count; i++) {
		const struct iostate_ring *ring = &saved->rings[i];
		const struct taken_position at = {
			ring->avail, ring->used, ring->avail_wrap, ring->used_wrap};

		facts->rings[ring->index] =
			(struct session_ring){.size = ring->size, .base = taken_base(&at, packed)};
	}
}

static void put_requests(const struct iostate_attachment *saved, struct taken *t)
{
	for (uint32_t i = 0; i < saved->request_count; i++)
		t->requests[i] = (struct taken_request){
			.ring = saved->requests[i].ring,
			.head = saved->requests[i].head,
			.descs = saved->requests[i].descs,
			.counter = saved->requests[i].counter,
		};
	for (uint32_t i = 0; i < saved->desc_count; i++)
		t->descs[i] = (struct taken_desc){
			.addr = saved->descs[i].addr,
			.len = saved->descs[i].len,
			.id = saved->descs[i].id,
			.flags = saved->descs[i].flags,
		};
}

char *iostate_to_text(const struct iostate *s)
{
	char *text = NULL;
	struct buf bytes;

	buf_init(&bytes, IOSTATE_MAX_BYTES);
	if (iostate_encode(s, &bytes, NULL) == 0)
		text = base64_encode(bytes.data, bytes.len);
	buf_release(&bytes);
	return text;
}

/* An I/O state of this attachment alone. NULL without memory. */
static char *text_of(const struct iostate *s, uint32_t n)
{
	const struct iostate one = {
		.origin = s->origin, .attachments = &s->attachments[n], .attachment_count = 1};

	return iostate_to_text(&one);
}

struct incoming *incoming_new(const struct iostate *s, uint32_t n, struct err *e)
{
	const struct iostate_attachment *saved = &s->attachments[n];
	struct incoming *in = calloc(1, sizeof(*in));

	if (in)
		in->text = text_of(s, n);
	if (!in || !in->text ||
		taken_allocate(&in->taken, saved->request_count, saved->desc_count, e) < 0) {
		incoming_free(in);
		err_set(e, ERR_FAILED, "MEMORY", "no memory for an I/O state");
		return NULL;
	}
	if (put_config(saved, in->facts.config, e) < 0) {
		incoming_free(in);
		return NULL;
	}
	in->facts.acknowledged = saved->features.acknowledged;
	put_rings(saved, &in->facts);
	put_requests(saved, &in->taken);
	return in;
}

struct incoming *incoming_of_text(const char *text, struct err *e)
{
	struct incoming *in = NULL;
	auto_iostate struct iostate *s = iostate_of_text(text, e);

	if (s)
		in = incoming_new(s, 0, e);
	return in;
}

void incoming_free(struct incoming *in)
{
	if (!in)
		return;
	taken_release(&in->taken);
	free(in->text);
	free(in);
}

int incoming_fill(struct daemon *d, const struct attachment *a, struct err *e)
{
	const struct incoming *in = a->incoming;
	auto_close int list = -1;

	if (!in)
		return 0;
	if (session_facts_set_incoming(a->page_fd, &in->facts, e) < 0)
		return -1;
	list = taken_to_fd(&in->taken, e);
	return list < 0 ? -1 : supervisor_fill(d->supervisor, a, VAULT_INCOMING, list, e);
}

static void set_rescue(const struct iostate_policy *saved, struct attachment_rescue *rescue)
{
	unsigned int *count = &rescue->spare_count;

	for (*count = 0; *count < IOSTATE_MAX_SPARES && saved->spares[*count][0]; ++*count)
		str_copy(rescue->spares[*count], sizeof(rescue->spares[0]), saved->spares[*count]);
	str_copy(rescue->fence, sizeof(rescue->fence), saved->fence);
	rescue->io_timeout_ms = saved->io_timeout_ms;
}

uint32_t iostate_queues(const struct iostate_attachment *saved)
{
	return saved->network.queues ? saved->network.queues : saved->disk.queues;
}

int incoming_set_spec(
	const struct iostate_attachment *saved, struct attachment_spec *spec, struct err *e)
{
	if (saved->network.queues && read_settings(&saved->network, &spec->vf.settings, e) < 0)
		return -1;
	set_rescue(&saved->policy, &spec->rescue);
	spec->path = ATTACHMENT_PARAVIRT;
	spec->queues = iostate_queues(saved);
	spec->readonly = saved->disk.readonly;
	spec->cache = (enum attachment_cache)saved->policy.cache;
	spec->on_error = (enum attachment_on_error)saved->policy.on_error;
	str_copy(spec->name, sizeof(spec->name), saved->identity.name);
	str_copy(spec->owner, sizeof(spec->owner), saved->policy.owner);
	return 0;
}

/* What such a device offers here, besides that of any. */
static uint64_t offered_here(
	const struct iostate_attachment *saved, const struct backing_facts *facts)
{
	const struct iostate_network *n = &saved->network;

	return n->queues ? net_features_of(true, (uint16_t)n->queues, facts->can_uso)
			 : blk_features_of(saved->disk.readonly);
}

static int check_features(
	const struct iostate_attachment *saved, const struct backing_facts *facts, struct err *e)
{
	uint64_t offered = VU_RING_FEATURES | offered_here(saved, facts);
	uint64_t missing = saved->features.acknowledged & ~offered;

	if (!missing)
		return 0;
	if (saved->network.queues)
		err_set(e, ERR_REFUSED, "NET-DIFFERS",
			"the network for %s has not all that the machine's driver uses",
			saved->identity.name);
	else
		err_set(e, ERR_REFUSED, "DISK-DIFFERS",
			"the disk for %s has not all that the machine's driver uses",
			saved->identity.name);
	return err_evidence(e, "features 0x%llx are not offered here", (unsigned long long)missing);
}

/* A frame may be as long as on the network that it comes from. */
static int check_mtu(
	const struct iostate_attachment *saved, const struct backing_facts *facts, struct err *e)
{
	uint32_t mtu = saved->network.queues ? saved->network.mtu : 0;

	if (facts->mtu >= mtu)
		return 0;
	err_set(e, ERR_REFUSED, "NET-DIFFERS", "the network for %s has a smaller MTU",
		saved->identity.name);
	err_evidence(e, "%u; %.64s had %u", facts->mtu, saved->identity.device, mtu);
	return err_fix(e, "raise it there: ip link set BRIDGE mtu %u", mtu);
}

static int check_size(
	const struct iostate_attachment *saved, const struct backing_facts *disk, struct err *e)
{
	uint64_t size = disk->size_bytes / 512 * 512;

	if (saved->network.queues || size == saved->disk.size_bytes)
		return 0;
	err_set(e, ERR_REFUSED, "DISK-DIFFERS", "the disk for %s has another size",
		saved->identity.name);
	return err_evidence(e, "%llu bytes; %s had %llu", (unsigned long long)size,
		saved->identity.device, (unsigned long long)saved->disk.size_bytes);
}

static int check_blocks(
	const struct iostate_attachment *saved, const struct backing_facts *disk, struct err *e)
{
	if (saved->network.queues || disk->block_size == saved->disk.block_size)
		return 0;
	err_set(e, ERR_REFUSED, "DISK-DIFFERS", "the disk for %s has blocks of another size",
		saved->identity.name);
	return err_evidence(e, "%u bytes; those of %s had %u", disk->block_size,
		saved->identity.device, saved->disk.block_size);
}

incoming_check_fn *const incoming_checks[INCOMING_CHECKS] = {
	check_features, check_size, check_blocks, check_mtu};
