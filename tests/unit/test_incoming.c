/* SPDX-License-Identifier: GPL-2.0-or-later */
/* daemon/incoming: what is in an I/O state is what the first worker begins with, also by the store. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/iostate.h"
#include "lib/backends/blk_geometry.h"
#include "lib/backends/net_shape.h"
#include "tests/unit/iostate_sample.h"
#include "tests/unit/unit.h"

#define SAMPLES 200

static void check_requests(const struct iostate_attachment *a, const struct taken *t)
{
	ck_assert_uint_eq(t->request_count, a->request_count);
	ck_assert_uint_eq(t->desc_count, a->desc_count);
	for (uint32_t i = 0; i < a->request_count; i++) {
		ck_assert_uint_eq(t->requests[i].ring, a->requests[i].ring);
		ck_assert_uint_eq(t->requests[i].head, a->requests[i].head);
		ck_assert_uint_eq(t->requests[i].descs, a->requests[i].descs);
		ck_assert_uint_eq(t->requests[i].counter, a->requests[i].counter);
	}
	for (uint32_t i = 0; i < a->desc_count; i++) {
		ck_assert_uint_eq(t->descs[i].addr, a->descs[i].addr);
		ck_assert_uint_eq(t->descs[i].len, a->descs[i].len);
		ck_assert_uint_eq(t->descs[i].id, a->descs[i].id);
	}
}

static void check_disk(const struct iostate_attachment *a, const struct session_facts *facts)
{
	struct blk_geometry g = blk_geometry_of_config(facts->config);

	ck_assert_uint_eq(g.sectors * 512, a->disk.size_bytes);
	ck_assert_uint_eq(g.block_size, a->disk.block_size);
	ck_assert_uint_eq(g.physical_block_size, a->disk.physical_block_size);
	ck_assert_uint_eq(g.queues, a->disk.queues);
	ck_assert_int_eq(g.write_cache, a->disk.write_cache);
}

static void check_network(const struct iostate_attachment *a, const struct session_facts *facts)
{
	struct net_shape shape = net_shape_of_config(facts->config);
	char text[32];

	snprintf(text, sizeof(text), "mac=%02x:%02x:%02x:%02x:%02x:%02x", shape.mac[0],
		shape.mac[1], shape.mac[2], shape.mac[3], shape.mac[4], shape.mac[5]);
	ck_assert_str_eq(text, a->network.settings);
	ck_assert_uint_eq(shape.queues, a->network.queues);
	ck_assert_uint_eq(shape.mtu, a->network.mtu);
}

static void check_facts(const struct iostate_attachment *a, const struct session_facts *facts)
{
	bool packed = a->features.acknowledged & IOSTATE_F_PACKED;

	ck_assert_uint_eq(facts->acknowledged, a->features.acknowledged);
	if (a->network.queues)
		check_network(a, facts);
	else
		check_disk(a, facts);
	for (uint32_t i = 0; i < a->ring_count; i++) {
		const struct session_ring *ring = &facts->rings[a->rings[i].index];
		struct taken_position at = taken_position_of_base(ring->base, packed);

		ck_assert_uint_eq(ring->size, a->rings[i].size);
		ck_assert_uint_eq(at.avail, a->rings[i].avail);
		if (packed)
			ck_assert_uint_eq(at.used, a->rings[i].used);
	}
}

START_TEST(a_worker_begins_with_what_was_saved)
{
	uint32_t requests = 0;

	for (uint64_t seed = 0; seed < SAMPLES; seed++) {
		auto_iostate struct iostate *s = iostate_sample(seed * 0x9e3779b97f4a7c15);

		for (uint32_t n = 0; n < s->attachment_count; n++) {
			struct err e = ERR_INIT;
			struct incoming *in = incoming_new(s, n, &e), *again;

			ck_assert_msg(in, "%s", e.msg);
			again = incoming_of_text(in->text, &e);
			ck_assert_msg(again, "%s", e.msg);
			ck_assert_str_eq(again->text, in->text);
			check_facts(&s->attachments[n], &again->facts);
			check_requests(&s->attachments[n], &again->taken);
			requests += again->taken.request_count;
			incoming_free(in);
			incoming_free(again);
		}
	}
	ck_assert_uint_gt(requests, SAMPLES);
}
END_TEST

START_TEST(text_is_not_believed)
{
	static const char *const rows[] = {"", "x", "AAAA", "iWlvdnMNCho="};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct err e = ERR_INIT;

		ck_assert_ptr_null(incoming_of_text(rows[i], &e));
		ck_assert(e.msg[0]);
	}
}
END_TEST

/* The first thing that differs. */
static int check_device(
	const struct iostate_attachment *saved, const struct backing_facts *disk, struct err *e)
{
	for (size_t i = 0; i < INCOMING_CHECKS; i++)
		if (incoming_checks[i](saved, disk, e) < 0)
			return -1;
	return 0;
}

START_TEST(a_network_that_differs_is_refused)
{
	struct iostate_attachment a = {.identity.name = "net0",
		.network = {.queues = 2, .mtu = 1500},
		.features.acknowledged = net_features_of(true, 2, true)};
	struct backing_facts facts = {.mtu = 1500, .can_uso = true};
	struct err e = ERR_INIT;

	ck_assert_int_eq(check_device(&a, &facts, &e), 0);
	facts.mtu = 1499;
	ck_assert_int_eq(check_device(&a, &facts, &e), -1);
	ck_assert_str_eq(e.code, "NET-DIFFERS");
	facts.mtu = 9000;
	ck_assert_int_eq(check_device(&a, &facts, &e), 0);
	facts.can_uso = false;
	ck_assert_int_eq(check_device(&a, &facts, &e), -1);
	ck_assert_str_eq(e.code, "NET-DIFFERS");
	ck_assert_ptr_nonnull(strstr(e.msg, "driver uses"));
}
END_TEST

START_TEST(a_network_without_an_address_is_refused)
{
	static const char *const rows[] = {
		"", "spoofchk=on", "mac=01:00:00:00:00:00", "colour=blue"};
	struct attachment_spec *spec = calloc(1, sizeof(*spec));

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct iostate_attachment a = {.network.queues = 1};
		const struct iostate s = {.attachments = &a, .attachment_count = 1};
		struct err e = ERR_INIT;

		snprintf(a.network.settings, sizeof(a.network.settings), "%s", rows[i]);
		ck_assert_int_eq(incoming_set_spec(&a, spec, &e), -1);
		ck_assert_str_eq(e.code, IOSTATE_VALUE);
		ck_assert_ptr_null(incoming_new(&s, 0, &e));
	}
	free(spec);
}
END_TEST

START_TEST(a_disk_that_differs_is_refused)
{
	auto_iostate struct iostate *s = iostate_sample(0);
	const struct iostate_attachment *a = &s->attachments[0];
	struct backing_facts disk = {
		.size_bytes = a->disk.size_bytes, .block_size = a->disk.block_size};
	struct err e = ERR_INIT;

	ck_assert_int_eq(check_device(a, &disk, &e), 0);
	disk.size_bytes += 511; /* no whole sector more */
	ck_assert_int_eq(check_device(a, &disk, &e), 0);
	disk.size_bytes++;
	ck_assert_int_eq(check_device(a, &disk, &e), -1);
	ck_assert_int_eq(e.kind, ERR_REFUSED);
	ck_assert_str_eq(e.code, "DISK-DIFFERS");
	disk.size_bytes = a->disk.size_bytes - 512;
	ck_assert_int_eq(check_device(a, &disk, &e), -1);
	disk.size_bytes = a->disk.size_bytes;
	disk.block_size = 4096;
	ck_assert_int_eq(check_device(a, &disk, &e), -1);
	ck_assert_ptr_nonnull(strstr(e.msg, "blocks"));
	disk.block_size = a->disk.block_size;
	s->attachments[0].features.acknowledged |= 1ull << 40; /* of no device yet */
	ck_assert_int_eq(check_device(a, &disk, &e), -1);
	ck_assert_int_eq(e.kind, ERR_REFUSED);
	ck_assert_str_eq(e.code, "DISK-DIFFERS");
}
END_TEST

UNIT_MAIN(a_worker_begins_with_what_was_saved, text_is_not_believed, a_disk_that_differs_is_refused,
	a_network_that_differs_is_refused, a_network_without_an_address_is_refused)
