/* SPDX-License-Identifier: GPL-2.0-or-later */
/* lib/migrate/iostate: what is written can be read, and what was not written so is refused by name. */
#include <stdio.h>
#include <string.h>

#include "lib/cleanup.h"
#include "tests/unit/iostate_sample.h"
#include "tests/unit/unit.h"

#define SAMPLES 500

static struct buf encoded(const struct iostate *s)
{
	struct err e = ERR_INIT;
	struct buf b;

	buf_init(&b, IOSTATE_MAX_BYTES);
	ck_assert_msg(iostate_encode(s, &b, &e) == 0, "%s", e.msg);
	return b;
}

static struct buf sample_bytes(uint64_t seed)
{
	auto_iostate struct iostate *s = iostate_sample(seed);

	return encoded(s);
}

static void refused(const void *data, size_t len, const char *code, const char *word)
{
	auto_iostate struct iostate *s = NULL;
	struct err e = ERR_INIT;

	s = iostate_decode(data, len, &e);
	ck_assert_msg(!s, "it was taken, not refused with %s", code);
	ck_assert_int_eq(e.kind, ERR_REFUSED);
	ck_assert_msg(!code || strcmp(e.code, code) == 0, "%s: %s, not %s", e.code, e.msg, code);
	ck_assert_msg(!word || strstr(e.msg, word), "'%s' does not say '%s'", e.msg, word);
}

/* --- what is written comes back --------------------------------------------------------------- */

START_TEST(any_state_comes_back_as_it_was)
{
	uint32_t requests = 0, packed = 0;

	for (uint64_t seed = 0; seed < SAMPLES; seed++) {
		struct buf first = sample_bytes(seed * 0x9e3779b97f4a7c15), second;
		struct err e = ERR_INIT;
		auto_iostate struct iostate *s = iostate_decode(first.data, first.len, &e);

		ck_assert_msg(s != NULL, "sample %d: %s", (int)seed, e.msg);
		second = encoded(s);
		ck_assert_uint_eq(first.len, second.len);
		ck_assert_mem_eq(first.data, second.data, first.len);
		requests += s->attachments[0].request_count;
		packed += s->attachments[0].desc_count > 0;
		buf_release(&first);
		buf_release(&second);
	}
	ck_assert_uint_gt(requests, SAMPLES);
	ck_assert_uint_gt(packed, SAMPLES / 10);
}
END_TEST

START_TEST(fields_come_back_as_they_were)
{
	const uint64_t seed = 77;
	auto_iostate struct iostate *s = iostate_sample(seed), *back = NULL;
	struct buf b = encoded(s);

	back = iostate_decode(b.data, b.len, NULL);
	ck_assert_ptr_nonnull(back);
	ck_assert_mem_eq(&s->origin, &back->origin, sizeof(s->origin));
	ck_assert_uint_eq(s->attachment_count, back->attachment_count);
	for (uint32_t i = 0; i < s->attachment_count; i++) {
		const struct iostate_attachment *x = &s->attachments[i], *y = &back->attachments[i];

		ck_assert_str_eq(x->identity.device, y->identity.device);
		ck_assert_mem_eq(&x->disk, &y->disk, sizeof(x->disk));
		ck_assert_mem_eq(&x->features, &y->features, sizeof(x->features));
		ck_assert_mem_eq(&x->policy, &y->policy, sizeof(x->policy));
		ck_assert_uint_eq(x->ring_count, y->ring_count);
		if (x->ring_count)
			ck_assert_mem_eq(x->rings, y->rings, x->ring_count * sizeof(*x->rings));
		ck_assert_uint_eq(x->request_count, y->request_count);
		ck_assert_uint_eq(x->desc_count, y->desc_count);
		if (x->desc_count)
			ck_assert_mem_eq(x->descs, y->descs, x->desc_count * sizeof(*x->descs));
	}
	buf_release(&b);
}
END_TEST

/* The layout is for ever: these bytes are written out here and nowhere computed. */
START_TEST(layout_is_as_documented)
{
	static const char origin[] = "ORIG\x01\0\0\0\x21\0\0\0";
	struct buf b = sample_bytes(0);
	const char *data = b.data;

	ck_assert_mem_eq(data, "\x89iovs\r\n\x1a\x03\0\0\0\x01\0\0\0", 16);
	ck_assert_uint_eq((unsigned char)data[16] | (unsigned char)data[17] << 8, b.len);
	ck_assert_mem_eq(data + 24, "\x06\0\0\0", 4);
	ck_assert_mem_eq(data + 40, origin, 12);
	ck_assert_mem_eq(
		data + 56, "\x04\0web1\0\0\x05\0host0\x08\0iovd 0.1\0\0\0\0\0\0\0\0\0\0", 33);
	buf_release(&b);
}
END_TEST

/* --- what is not a whole file ----------------------------------------------------------------- */

START_TEST(every_prefix_is_refused)
{
	struct buf b = sample_bytes(5);

	for (size_t len = 0; len < 40; len++)
		refused(b.data, len, IOSTATE_CUT, NULL);
	for (size_t len = 40; len < b.len; len++)
		refused(b.data, len, IOSTATE_CUT, "bytes");
	buf_release(&b);
}
END_TEST

START_TEST(every_flipped_bit_is_refused)
{
	struct buf b = sample_bytes(0);

	for (size_t bit = 0; bit < 8 * b.len; bit++) {
		b.data[bit / 8] ^= (char)(1 << bit % 8);
		refused(b.data, b.len, bit < 64 ? IOSTATE_FOREIGN : IOSTATE_DAMAGED, NULL);
		b.data[bit / 8] ^= (char)(1 << bit % 8);
	}
	buf_release(&b);
}
END_TEST

START_TEST(what_is_damaged_is_named)
{
	struct buf b = sample_bytes(0);
	char *disk = memmem(b.data, b.len, "DISK", 4);

	disk[20] ^= 1;
	refused(b.data, b.len, IOSTATE_DAMAGED, "section DISK");
	buf_release(&b);
}
END_TEST

START_TEST(parts_of_two_files_are_refused)
{
	struct buf a = sample_bytes(0), b = sample_bytes(0);
	char *x = memmem(a.data, a.len, "DISK", 4), *y = memmem(b.data, b.len, "DISK", 4);

	y[16 + 21] ^= 1; /* write_cache: a good section still, and its checksum right */
	iostate_mend((uint8_t *)b.data, b.len);
	memcpy(x, y, 40);
	refused(a.data, a.len, IOSTATE_DAMAGED, "not of one file");
	buf_release(&a);
	buf_release(&b);
}
END_TEST

START_TEST(other_files_are_foreign)
{
	static const char png[64] = "\x89PNG\r\n\x1a\n";
	char *large = calloc(1, IOSTATE_MAX_BYTES + 1);

	refused(png, sizeof(png), IOSTATE_FOREIGN, NULL);
	refused("{\"schema\": 1}", 13, IOSTATE_FOREIGN, NULL);
	refused("\n", 1, IOSTATE_FOREIGN, NULL);
	refused(large, IOSTATE_MAX_BYTES, IOSTATE_FOREIGN, NULL);
	refused(large, IOSTATE_MAX_BYTES + 1, IOSTATE_SIZE, NULL);
	free(large);
}
END_TEST

START_TEST(what_follows_the_end_is_refused)
{
	struct buf b = sample_bytes(0);

	ck_assert_int_eq(buf_append(&b, "\0", 1), 0);
	refused(b.data, b.len, IOSTATE_DAMAGED, "goes on");
	buf_release(&b);
}
END_TEST

/* --- versions --------------------------------------------------------------------------------- */

static void set_versions(struct buf *b, char writer, char reader)
{
	b->data[8] = writer;
	b->data[12] = reader;
	iostate_mend((uint8_t *)b->data, b->len);
}

START_TEST(versions_are_kept)
{
	static const struct {
		char writer, reader;
		const char *code, *word;
	} rows[] = {
		{2, 1, NULL, NULL}, {2, 2, NULL, NULL}, {9, 1, NULL, NULL}, {3, 3, NULL, NULL},
		{4, 4, IOSTATE_NEWER, "version"}, {9, 4, IOSTATE_NEWER, "version"},
		{1, 2, IOSTATE_VALUE, "version"}, {0, 0, IOSTATE_VALUE, "version"},
		{2, 0, NULL, NULL},
		{1, 1, IOSTATE_SECTION, "POLI"}, /* which has not all that is there */
	};
	struct buf b = sample_bytes(0);

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		auto_iostate struct iostate *s = NULL;

		set_versions(&b, rows[i].writer, rows[i].reader);
		if (rows[i].code) {
			refused(b.data, b.len, rows[i].code, rows[i].word);
			continue;
		}
		s = iostate_decode(b.data, b.len, NULL);
		ck_assert_ptr_nonnull(s);
		ck_assert_uint_eq(s->version, (unsigned char)rows[i].writer);
	}
	buf_release(&b);
}
END_TEST

/* Puts `len` bytes into the file at `at`. */
static void insert(struct buf *b, size_t at, const void *data, size_t len)
{
	ck_assert_ptr_nonnull(buf_reserve(b, len));
	memmove(b->data + at + len, b->data + at, b->len - at);
	memcpy(b->data + at, data, len);
	buf_commit(b, len);
	iostate_mend((uint8_t *)b->data, b->len);
}

static size_t place_of(const struct buf *b, const char *type)
{
	const char *at = memmem(b->data, b->len, type, 4);

	ck_assert_ptr_nonnull(at);
	return (size_t)(at - b->data);
}

/* Makes a section's content eight bytes longer. */
static void lengthen(struct buf *b, const char *type)
{
	size_t at = place_of(b, type);
	unsigned char old = (unsigned char)b->data[at + 8];

	/* The padding becomes content, and eight bytes of new padding or content follow. */
	b->data[at + 8] = (char)(old + 8);
	insert(b, at + 16 + ALIGN_UP(old, 8), "\0\0\0\0\0\0\0", 8);
}

START_TEST(fields_of_a_later_writer_are_skipped)
{
	struct buf b = sample_bytes(0);
	auto_iostate struct iostate *s = NULL;

	lengthen(&b, "FEAT");
	refused(b.data, b.len, IOSTATE_SECTION, "FEAT");
	set_versions(&b, 4, 1);
	s = iostate_decode(b.data, b.len, NULL);
	ck_assert_ptr_nonnull(s);
	ck_assert_uint_eq(s->attachments[0].features.acknowledged, 1ull << 32);
	buf_release(&b);
}
END_TEST

/* A file as version 1 wrote them: its policy ends after on_error, which is at 7 here. */
START_TEST(fields_of_an_earlier_writer_are_zero)
{
	const size_t then = 8;
	struct buf b = sample_bytes(0);
	size_t at = place_of(&b, "POLI") + 16, now = (unsigned char)b.data[at - 8];
	auto_iostate struct iostate *s = NULL;

	ck_assert_uint_eq(now, then + 5 * 2 + 8);
	ck_assert_int_eq(b.data[at + then], 0); /* no spare */
	b.data[at - 8] = (char)then;
	memmove(b.data + at + then, b.data + at + ALIGN_UP(now, 8), b.len - at - ALIGN_UP(now, 8));
	b.len -= ALIGN_UP(now, 8) - then;
	set_versions(&b, 2, 1);
	refused(b.data, b.len, IOSTATE_CUT, "spare1");
	set_versions(&b, 1, 1);
	s = iostate_decode(b.data, b.len, NULL);
	ck_assert_ptr_nonnull(s);
	ck_assert_str_eq(s->attachments[0].policy.owner, "root");
	ck_assert_str_eq(s->attachments[0].policy.fence, "");
	ck_assert_uint_eq(s->attachments[0].policy.io_timeout_ms, 0);
	ck_assert_uint_eq(s->attachments[0].ring_count, 1);
	buf_release(&b);
}
END_TEST

/* What cannot be is not written, either. */
START_TEST(policies_that_cannot_be_are_refused)
{
	static const struct {
		const char *first, *second, *fence, *word;
		uint64_t timeout_ms;
		enum iostate_on_error on_error;
	} rows[] = {
		{"/a", "/b", "/c d", NULL, 86400000, IOSTATE_ON_ERROR_HOLD},
		{"", "", "/c", NULL, 1, IOSTATE_ON_ERROR_REPORT},
		{"", "/b", "", "after none", 0, IOSTATE_ON_ERROR_HOLD},
		{"/a", "", "", "held", 0, IOSTATE_ON_ERROR_REPORT},
		{"", "", "c", "path", 0, IOSTATE_ON_ERROR_HOLD},
		{"", "", "", "a day", 86400001, IOSTATE_ON_ERROR_HOLD},
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		auto_iostate struct iostate *s = iostate_sample(0);
		struct iostate_policy *p = &s->attachments[0].policy;
		struct err e = ERR_INIT;
		struct buf b;

		p->on_error = rows[i].on_error;
		p->io_timeout_ms = rows[i].timeout_ms;
		snprintf(p->spares[0], sizeof(p->spares[0]), "%s", rows[i].first);
		snprintf(p->spares[1], sizeof(p->spares[1]), "%s", rows[i].second);
		snprintf(p->fence, sizeof(p->fence), "%s", rows[i].fence);
		buf_init(&b, IOSTATE_MAX_BYTES);
		ck_assert_int_eq(iostate_encode(s, &b, &e), rows[i].word ? -1 : 0);
		ck_assert(!rows[i].word || strstr(e.msg, rows[i].word));
		buf_release(&b);
	}
}
END_TEST

START_TEST(unknown_sections_are_skipped_or_refused_by_name)
{
	static const char optional[] = "VGPU\0\0\0\0\x03\0\0\0....abc\0\0\0\0";
	struct buf b = sample_bytes(0);
	auto_iostate struct iostate *s = NULL;

	insert(&b, 40, optional, 24);
	insert(&b, b.len, optional, 24); /* twice is its own affair */
	s = iostate_decode(b.data, b.len, NULL);
	ck_assert_ptr_nonnull(s);
	ck_assert_uint_eq(s->attachment_count, 1);
	b.data[44] = 1;
	iostate_mend((uint8_t *)b.data, b.len);
	refused(b.data, b.len, IOSTATE_SECTION, "VGPU");
	b.data[44] = 2;
	iostate_mend((uint8_t *)b.data, b.len);
	refused(b.data, b.len, IOSTATE_VALUE, "VGPU");
	b.data[44] = 0;
	b.data[40] = 'v';
	iostate_mend((uint8_t *)b.data, b.len);
	refused(b.data, b.len, IOSTATE_DAMAGED, "begin");
	buf_release(&b);
}
END_TEST

/* --- sections --------------------------------------------------------------------------------- */

static const char *const all_sections[] = {"ORIG", "ATCH", "DISK", "FEAT", "POLI", "RING"};

static size_t section_len(const struct buf *b, const char *type)
{
	return 16 + ALIGN_UP((unsigned char)b->data[place_of(b, type) + 8], 8);
}

START_TEST(sections_that_are_missing_are_named)
{
	for (size_t i = 0; i < ARRAY_SIZE(all_sections); i++) {
		struct buf b = sample_bytes(0);
		size_t at = place_of(&b, all_sections[i]), len = section_len(&b, all_sections[i]);

		memmove(b.data + at, b.data + at + len, b.len - at - len);
		b.len -= len;
		iostate_mend((uint8_t *)b.data, b.len);
		refused(b.data, b.len, IOSTATE_SECTION,
			strcmp(all_sections[i], "ATCH") == 0 ? "before any attachment"
							     : all_sections[i]);
		buf_release(&b);
	}
}
END_TEST

START_TEST(sections_that_are_there_twice_are_named)
{
	for (size_t i = 0; i < ARRAY_SIZE(all_sections); i++) {
		struct buf b = sample_bytes(0);
		size_t at = place_of(&b, all_sections[i]), len = section_len(&b, all_sections[i]);
		auto_free char *copy = malloc(len);

		memcpy(copy, b.data + at, len);
		insert(&b, b.len, copy, len);
		/* A second ATCH is an attachment, of which the rest is missing. */
		refused(b.data, b.len, IOSTATE_SECTION,
			strcmp(all_sections[i], "ATCH") == 0 ? "missing" : "twice");
		buf_release(&b);
	}
}
END_TEST

START_TEST(lists_that_do_not_fit_are_refused)
{
	static const struct {
		const char *bytes, *code;
	} rows[] = {
		{"\x02\0\0\0\x0b\0\0\0", IOSTATE_CUT},        /* one more than there is */
		{"\x01\0\0\0\x0a\0\0\0", IOSTATE_CUT},        /* each too short */
		{"\x01\0\0\0\0\0\0\0", IOSTATE_CUT},          /* of nothing */
		{"\x01\0\0\0\xff\xff\xff\xff", IOSTATE_CUT},  /* huge */
		{"\xff\xff\xff\xff\x0b\0\0\0", IOSTATE_SIZE}, /* very many */
		{"\x41\0\0\0\x0b\0\0\0", IOSTATE_SIZE},       /* one over the most */
		{"\0\0\0\0\x0b\0\0\0", IOSTATE_SECTION},      /* none, and then something */
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct buf b = sample_bytes(0);

		memcpy(b.data + place_of(&b, "RING") + 16, rows[i].bytes, 8);
		iostate_mend((uint8_t *)b.data, b.len);
		refused(b.data, b.len, rows[i].code, "RING");
		buf_release(&b);
	}
}
END_TEST

START_TEST(fields_out_of_bounds_are_named)
{
	static const struct {
		const char *type;
		size_t at;
		char value;
		const char *word;
	} rows[] = {
		{"DISK", 20, 2, "readonly"},
		{"POLI", 0, 2, "cache"},
		{"POLI", 7, 2, "on_error"},
		{"ATCH", 0, 33, "name"},
		{"ORIG", 2, '\n', "vm"},
		{"ORIG", 2, '/', "name of the VM"},
		{"ATCH", 2, '/', "name"},
		{"DISK", 0, 1, "sectors"},
		{"DISK", 9, 3, "block sizes"},
		{"DISK", 16, 0, "queues"},
		{"DISK", 16, 65, "queues"},
		{"FEAT", 15, 1, "not offered"},
		{"RING", 8, 1, "beyond the device's queues"},
		{"RING", 10, 63, "power of two"},
		{"RING", 11, 8, "too large"},
		{"RING", 12, 1, "stands elsewhere"},
		{"RING", 16, 1, "laps"},
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct buf b = sample_bytes(0);

		b.data[place_of(&b, rows[i].type) + 16 + rows[i].at] = rows[i].value;
		iostate_mend((uint8_t *)b.data, b.len);
		refused(b.data, b.len, IOSTATE_VALUE, rows[i].word);
		buf_release(&b);
	}
}
END_TEST

/* --- disk or network -------------------------------------------------------------------------- */

static struct iostate *of_network(void)
{
	struct iostate *s = iostate_sample(0);
	struct iostate_attachment *a = &s->attachments[0];

	a->disk = (struct iostate_disk){0};
	a->network = (struct iostate_network){.queues = 1, .mtu = 1500, .settings = "mac=x"};
	a->rings[0].index = 1; /* which a device of one queue has */
	return s;
}

static struct buf network_bytes(void)
{
	auto_iostate struct iostate *s = of_network();
	struct buf b;

	buf_init(&b, IOSTATE_MAX_BYTES);
	ck_assert_int_eq(iostate_encode(s, &b, NULL), 0);
	return b;
}

START_TEST(a_network_device_has_no_disk)
{
	struct buf b = network_bytes(), disk = sample_bytes(0);
	auto_iostate struct iostate *s = iostate_decode(b.data, b.len, NULL);
	size_t at = place_of(&disk, "DISK"), netw = place_of(&b, "NETW");

	ck_assert_ptr_nonnull(s);
	ck_assert_uint_eq(s->attachments[0].network.mtu, 1500);
	ck_assert_str_eq(s->attachments[0].network.settings, "mac=x");
	ck_assert_uint_eq(s->attachments[0].disk.queues, 0);
	ck_assert_uint_eq(iostate_ring_limit(&s->attachments[0]), 2);
	insert(&b, netw, disk.data + at, section_len(&disk, "DISK"));
	refused(b.data, b.len, IOSTATE_SECTION, "both");
	buf_release(&disk);
	buf_release(&b);
}
END_TEST

START_TEST(network_devices_are_bounded)
{
	static const struct {
		uint32_t queues;
		uint16_t ring;
		const char *word;
	} rows[] = {
		{1, 2, "beyond"},
		{IOSTATE_MAX_RINGS / 2 + 1, 0, "too many"},
		{UINT32_MAX, 0, "too many"},
	};
	struct buf b = network_bytes();

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		auto_iostate struct iostate *s = of_network();
		struct err e = ERR_INIT;

		s->attachments[0].network.queues = rows[i].queues;
		s->attachments[0].rings[0].index = rows[i].ring;
		ck_assert_int_eq(iostate_check(s, &e), -1);
		ck_assert_msg(strstr(e.msg, rows[i].word), "%s", e.msg);
	}
	b.data[place_of(&b, "NETW") + 16] = 0;
	iostate_mend((uint8_t *)b.data, b.len);
	refused(b.data, b.len, IOSTATE_VALUE, "NETW");
	buf_release(&b);
	b = network_bytes();
	set_versions(&b, 2, 1); /* which knew of none */
	refused(b.data, b.len, IOSTATE_VALUE, "NETW");
	buf_release(&b);
}
END_TEST

/* --- requests --------------------------------------------------------------------------------- */

/* One attachment with a split or packed ring of 8 and 3 requests in flight. */
static struct iostate *three_in_flight(bool packed)
{
	struct iostate *s = iostate_sample(0);
	struct iostate_attachment *a = &s->attachments[0];

	a->rings[0] = (struct iostate_ring){.size = 8, .used = 6, .avail = 9, .enabled = true};
	if (packed) {
		a->features.offered |= IOSTATE_F_PACKED;
		a->features.acknowledged |= IOSTATE_F_PACKED;
		a->rings[0].avail = 1;
		a->rings[0].used_wrap = true;
		a->desc_count = 3;
	}
	a->request_count = 3;
	for (uint16_t i = 0; i < 3; i++) {
		a->requests[i] = (struct iostate_request){
			.head = i, .counter = 10u + i, .descs = packed, .type = IOSTATE_WRITE};
		a->descs[i] = (struct iostate_desc){.id = i};
	}
	return s;
}

enum harm {
	HARM_NONE,
	HARM_HEAD_TWICE,
	HARM_HEAD_BEYOND,
	HARM_COUNTER_TWICE,
	HARM_COUNTER_ENDS,
	HARM_NO_RING,
	HARM_ONE_LESS,
	HARM_POSITION,
	HARM_OTHERS_DESC,
	HARM_DESC_LEFT,
	HARM_COUNT
};

static void do_harm(struct iostate_attachment *a, enum harm harm)
{
	switch (harm) {
	case HARM_HEAD_TWICE:
		a->requests[2].head = a->descs[2].id = 0;
		break;
	case HARM_HEAD_BEYOND:
		a->requests[2].head = a->descs[2].id = 8;
		break;
	case HARM_COUNTER_TWICE:
		a->requests[2].counter = 11;
		break;
	case HARM_COUNTER_ENDS:
		a->requests[2].counter = UINT64_MAX;
		break;
	case HARM_NO_RING:
		a->requests[2].ring = 1;
		break;
	case HARM_ONE_LESS:
		a->request_count = 2;
		break;
	case HARM_POSITION:
		a->rings[0].used = 5;
		break;
	case HARM_OTHERS_DESC:
		a->descs[1].id = 2;
		break;
	case HARM_DESC_LEFT:
		a->desc_count++;
		a->descs[3] = (struct iostate_desc){0};
		break;
	case HARM_NONE:
	case HARM_COUNT:
		break;
	}
}

/* Neither written nor (iostate_check() being the same) read. */
START_TEST(requests_fit_their_rings)
{
	for (int packed = 0; packed < 2; packed++)
		for (enum harm harm = HARM_NONE; harm < HARM_COUNT; harm++) {
			auto_iostate struct iostate *s = three_in_flight(packed);
			bool good = harm == HARM_NONE || (!packed && harm == HARM_OTHERS_DESC);
			struct err e = ERR_INIT;
			struct buf b;
			int rc;

			do_harm(&s->attachments[0], harm);
			buf_init(&b, IOSTATE_MAX_BYTES);
			rc = iostate_encode(s, &b, &e);
			ck_assert_msg(
				(rc == 0) == good, "packed %d, harm %u: %s", packed, harm, e.msg);
			if (!good)
				ck_assert_str_eq(e.code, IOSTATE_VALUE);
			buf_release(&b);
		}
}
END_TEST

START_TEST(too_much_is_not_written)
{
	auto_iostate struct iostate *s = iostate_sample(0);
	struct err e = ERR_INIT;
	struct buf b;

	buf_init(&b, 100);
	ck_assert_int_eq(iostate_encode(s, &b, &e), -1);
	ck_assert_str_eq(e.code, IOSTATE_SIZE);
	ck_assert_uint_eq(b.len, 0);
	while (s->attachment_count < IOSTATE_MAX_ATTACHMENTS)
		ck_assert_ptr_nonnull(iostate_add(s, &e));
	ck_assert_ptr_null(iostate_add(s, &e));
	ck_assert_str_eq(e.code, IOSTATE_SIZE);
	buf_release(&b);
}
END_TEST

UNIT_MAIN(any_state_comes_back_as_it_was, fields_come_back_as_they_were, layout_is_as_documented,
	every_prefix_is_refused, every_flipped_bit_is_refused, what_is_damaged_is_named,
	parts_of_two_files_are_refused, other_files_are_foreign, what_follows_the_end_is_refused,
	versions_are_kept, fields_of_a_later_writer_are_skipped,
	fields_of_an_earlier_writer_are_zero, policies_that_cannot_be_are_refused,
	unknown_sections_are_skipped_or_refused_by_name, sections_that_are_missing_are_named,
	sections_that_are_there_twice_are_named, lists_that_do_not_fit_are_refused,
	fields_out_of_bounds_are_named, a_network_device_has_no_disk, network_devices_are_bounded,
	requests_fit_their_rings, too_much_is_not_written)
