/* SPDX-License-Identifier: GPL-2.0-or-later */
/* lib/backends/vu_codec: every request, and every way in which a message can be wrong by itself. */
#include <stdlib.h>
#include <string.h>

#include "lib/backends/vu_codec.h"
#include "tests/unit/unit.h"

struct wire {
	uint32_t request, flags, size;
	uint8_t payload[VU_PAYLOAD_MAX + 64];
};

static struct wire wire(uint32_t request, const void *payload, uint32_t size)
{
	struct wire w = {.request = request, .flags = VU_VERSION, .size = size};

	if (payload)
		memcpy(w.payload, payload, size);
	return w;
}

/* Decodes from an allocation of exactly the message's size, so that a sanitizer sees every byte. */
static int decode(struct vu_msg *msg, const struct wire *w, unsigned int fds, struct err *e)
{
	size_t len = VU_HEADER_SIZE + w->size;
	void *bytes;
	int ret;

	*e = (struct err)ERR_INIT;
	ret = vu_msg_length(w, sizeof(*w), e);
	if (ret < 0)
		return -1;
	ck_assert_uint_eq((size_t)ret, len);
	bytes = malloc(len);
	memcpy(bytes, w, len);
	ret = vu_msg_decode(msg, bytes, len, fds, e);
	free(bytes);
	return ret;
}

static void expect_refused(const struct wire *w, unsigned int fds, const char *words)
{
	struct vu_msg msg;
	struct err e;

	ck_assert_int_eq(decode(&msg, w, fds, &e), -1);
	ck_assert_msg(strstr(e.msg, words), "\"%s\" lacks \"%s\"", e.msg, words);
	/* Whatever is wrong, the sentence names the request. */
	ck_assert_msg(strstr(e.msg, vu_request_name(w->request)) == e.msg, "%s", e.msg);
}

/* What each request looks like: independent of the table in vu_codec.c. */
static const struct known {
	uint32_t request;
	const char *name;
	uint32_t size;
	unsigned int fds;
	enum vu_reply reply;
} known[] = {
	{1, "GET_FEATURES", 0, 0, VU_REPLY_U64},
	{2, "SET_FEATURES", 8, 0, VU_REPLY_ACK_ONLY},
	{3, "SET_OWNER", 0, 0, VU_REPLY_ACK_ONLY},
	{4, "RESET_OWNER", 0, 0, VU_REPLY_ACK_ONLY},
	{5, "SET_MEM_TABLE", 8, 0, VU_REPLY_ACK_ONLY},
	{6, "SET_LOG_BASE", 16, 1, VU_REPLY_EMPTY},
	{7, "SET_LOG_FD", 0, 1, VU_REPLY_ACK_ONLY},
	{8, "SET_VRING_NUM", 8, 0, VU_REPLY_ACK_ONLY},
	{9, "SET_VRING_ADDR", 40, 0, VU_REPLY_ACK_ONLY},
	{10, "SET_VRING_BASE", 8, 0, VU_REPLY_ACK_ONLY},
	{11, "GET_VRING_BASE", 8, 0, VU_REPLY_VRING_STATE},
	{12, "SET_VRING_KICK", 8, 1, VU_REPLY_ACK_ONLY},
	{13, "SET_VRING_CALL", 8, 1, VU_REPLY_ACK_ONLY},
	{14, "SET_VRING_ERR", 8, 1, VU_REPLY_ACK_ONLY},
	{15, "GET_PROTOCOL_FEATURES", 0, 0, VU_REPLY_U64},
	{16, "SET_PROTOCOL_FEATURES", 8, 0, VU_REPLY_ACK_ONLY},
	{17, "GET_QUEUE_NUM", 0, 0, VU_REPLY_U64},
	{18, "SET_VRING_ENABLE", 8, 0, VU_REPLY_ACK_ONLY},
	{19, "SEND_RARP", 8, 0, VU_REPLY_ACK_ONLY},
	{20, "NET_SET_MTU", 8, 0, VU_REPLY_ACK_ONLY},
	{21, "SET_BACKEND_REQ_FD", 0, 1, VU_REPLY_ACK_ONLY},
	{24, "GET_CONFIG", 12, 0, VU_REPLY_CONFIG},
	{25, "SET_CONFIG", 12, 0, VU_REPLY_ACK_ONLY},
	{31, "GET_INFLIGHT_FD", 20, 0, VU_REPLY_INFLIGHT},
	{32, "SET_INFLIGHT_FD", 20, 1, VU_REPLY_ACK_ONLY},
	{34, "RESET_DEVICE", 0, 0, VU_REPLY_ACK_ONLY},
	{36, "GET_MAX_MEM_SLOTS", 0, 0, VU_REPLY_U64},
	{37, "ADD_MEM_REG", 40, 1, VU_REPLY_ACK_ONLY},
	{38, "REM_MEM_REG", 40, 0, VU_REPLY_ACK_ONLY},
	{39, "SET_STATUS", 8, 0, VU_REPLY_ACK_ONLY},
	{40, "GET_STATUS", 0, 0, VU_REPLY_U64},
};

static const struct known *known_by_id(uint32_t request)
{
	for (unsigned int i = 0; i < ARRAY_SIZE(known); i++)
		if (known[i].request == request)
			return &known[i];
	return NULL;
}

START_TEST(every_request_is_known)
{
	for (unsigned int i = 0; i < ARRAY_SIZE(known); i++) {
		struct wire w = wire(known[i].request, NULL, known[i].size);
		struct vu_msg msg;
		struct err e;

		ck_assert_str_eq(vu_request_name(known[i].request), known[i].name);
		ck_assert_msg(decode(&msg, &w, known[i].fds, &e) == 0, "%s", e.msg);
		ck_assert_uint_eq(msg.request, known[i].request);
		ck_assert_uint_eq(msg.size, known[i].size);
		ck_assert_uint_eq(msg.fd_count, known[i].fds);
		ck_assert_int_eq(msg.reply, known[i].reply);
		ck_assert(!msg.need_reply);
		w.flags |= VU_FLAG_NEED_REPLY;
		ck_assert_int_eq(decode(&msg, &w, known[i].fds, &e), 0);
		ck_assert(msg.need_reply);
	}
}
END_TEST

START_TEST(no_other_request_is_known)
{
	const uint32_t far[] = {0x7fffffff, 0x80000000, 0xffffffff};

	for (uint32_t request = 0; request < 300; request++) {
		struct wire w = wire(request, NULL, 0);

		if (!known_by_id(request))
			expect_refused(&w, 0, "unknown");
	}
	for (unsigned int i = 0; i < ARRAY_SIZE(far); i++) {
		struct wire w = wire(far[i], NULL, 0);

		expect_refused(&w, 0, "unknown");
	}
	ck_assert_str_eq(vu_request_name(4294967295u), "request 4294967295");
}
END_TEST

START_TEST(sizes_are_exact)
{
	for (unsigned int i = 0; i < ARRAY_SIZE(known); i++)
		for (uint32_t size = 0; size <= VU_PAYLOAD_MAX + 64; size++) {
			bool inflight = known[i].size == 20;
			bool spare = known[i].request == VU_SET_MEM_TABLE && size >= 8 &&
				     size <= sizeof(struct vu_mem_table) && (size - 8) % 32 == 0;
			struct wire w = wire(known[i].request, NULL, size);

			if (size != known[i].size && !(inflight && size == 24) && !spare)
				expect_refused(&w, known[i].fds, "payload of");
		}
	for (unsigned int i = 0; i < ARRAY_SIZE(known); i++) {
		struct wire w = wire(known[i].request, NULL, 0);

		w.size = 0xffffffff;
		expect_refused(&w, known[i].fds, "payload of 4294967295 bytes");
	}
}
END_TEST

START_TEST(descriptors_are_counted)
{
	for (unsigned int i = 0; i < ARRAY_SIZE(known); i++)
		for (unsigned int fds = 0; fds <= 16; fds++) {
			struct wire w = wire(known[i].request, NULL, known[i].size);

			if (fds == known[i].fds)
				continue;
			if (known[i].request == VU_REM_MEM_REG && fds == 1)
				continue; /* tolerated, as the specification asks */
			expect_refused(&w, fds, "descriptor");
		}
}
END_TEST

START_TEST(headers_are_checked_before_the_payload_comes)
{
	struct wire w = wire(VU_SET_FEATURES, NULL, 8);
	struct err e = ERR_INIT;

	for (size_t len = 0; len < VU_HEADER_SIZE; len++)
		ck_assert_int_eq(vu_msg_length(&w, len, &e), 0);
	for (size_t len = VU_HEADER_SIZE; len < 32; len++)
		ck_assert_int_eq(vu_msg_length(&w, len, &e), 20);
	for (uint32_t version = 0; version < 4; version++) {
		w.flags = version;
		if (version != VU_VERSION)
			expect_refused(&w, 0, "version");
	}
	w.flags = VU_VERSION | VU_FLAG_REPLY;
	expect_refused(&w, 0, "a reply");
	for (uint32_t bit = 0x10; bit; bit <<= 1) {
		w.flags = VU_VERSION | bit;
		expect_refused(&w, 0, "unknown flags");
	}
}
END_TEST

START_TEST(a_message_is_decoded_whole_or_not)
{
	struct wire w = wire(VU_SET_FEATURES, NULL, 8);
	struct vu_msg msg;

	for (size_t len = 0; len < 40; len++) {
		struct err e = ERR_INIT;

		ck_assert_int_eq(vu_msg_decode(&msg, &w, len, 0, &e), len == 20 ? 0 : -1);
	}
}
END_TEST

START_TEST(ring_indexes_are_bounded)
{
	const uint32_t by_state[] = {VU_SET_VRING_NUM, VU_SET_VRING_BASE, VU_GET_VRING_BASE,
		VU_SET_VRING_ENABLE, VU_SET_VRING_ADDR};
	const uint32_t bad[] = {VU_MAX_QUEUES, 256, 65536, 0x80000000, 0xffffffff};

	for (unsigned int i = 0; i < ARRAY_SIZE(by_state); i++) {
		uint32_t payload[10] = {VU_MAX_QUEUES - 1, 1};
		uint32_t size = by_state[i] == VU_SET_VRING_ADDR ? 40 : 8;
		struct wire w = wire(by_state[i], payload, size);
		struct vu_msg msg;
		struct err e;

		ck_assert_int_eq(decode(&msg, &w, 0, &e), 0);
		ck_assert_uint_eq(msg.body.state.index, VU_MAX_QUEUES - 1);
		ck_assert_uint_eq(msg.body.state.num, 1);
		for (unsigned int b = 0; b < ARRAY_SIZE(bad); b++) {
			payload[0] = bad[b];
			w = wire(by_state[i], payload, size);
			expect_refused(&w, 0, "at most 64");
		}
	}
}
END_TEST

START_TEST(ring_descriptors_agree_with_their_bit)
{
	for (uint32_t request = VU_SET_VRING_KICK; request <= VU_SET_VRING_ERR; request++) {
		uint64_t value = 63;
		struct wire w = wire(request, &value, 8);
		struct vu_msg msg;
		struct err e;

		ck_assert_int_eq(decode(&msg, &w, 1, &e), 0);
		ck_assert_uint_eq(msg.body.ring_fd.index, 63);
		ck_assert(!msg.body.ring_fd.no_fd);
		expect_refused(&w, 0, "no bit that says so");
		value = 63 | VU_VRING_NOFD_BIT;
		w = wire(request, &value, 8);
		ck_assert_int_eq(decode(&msg, &w, 0, &e), 0);
		ck_assert(msg.body.ring_fd.no_fd);
		ck_assert_uint_eq(msg.body.ring_fd.index, 63);
		expect_refused(&w, 1, "says there is none");
		value = 64;
		w = wire(request, &value, 8);
		expect_refused(&w, 1, "at most 64");
		for (int bit = 9; bit < 64; bit++) {
			value = 1ull << bit;
			w = wire(request, &value, 8);
			expect_refused(&w, 1, "unknown bits");
		}
	}
}
END_TEST

START_TEST(enable_is_0_or_1)
{
	uint32_t payload[2] = {0, 2};
	struct wire w = wire(VU_SET_VRING_ENABLE, payload, 8);

	expect_refused(&w, 0, "neither 0 nor 1");
}
END_TEST

START_TEST(memory_tables_have_one_descriptor_per_region)
{
	for (uint32_t count = 0; count <= VU_MEM_TABLE_MAX; count++) {
		struct vu_mem_table mem = {.count = count};
		struct wire w;
		struct vu_msg msg;
		struct err e;

		for (uint32_t i = 0; i < count; i++)
			mem.regions[i] = (struct vu_region){i + 1, i + 2, i + 3, i + 4};
		w = wire(VU_SET_MEM_TABLE, &mem, 8 + 32 * count);
		ck_assert_int_eq(decode(&msg, &w, count, &e), 0);
		ck_assert_uint_eq(msg.body.mem.count, count);
		ck_assert_uint_eq(vu_msg_wanted_fds(&w, VU_HEADER_SIZE + 8 + 32 * count), count);
		if (count) {
			ck_assert_uint_eq(msg.body.mem.regions[count - 1].gpa, count);
			ck_assert_uint_eq(msg.body.mem.regions[count - 1].offset, count + 3);
			expect_refused(&w, count - 1, "descriptors");
		}
		if (count < VU_MEM_TABLE_MAX)
			expect_refused(&w, count + 1, "descriptors");
		/* One region more than there are bytes for. */
		mem.count = count + 1;
		memcpy(w.payload, &mem.count, 4);
		expect_refused(&w, count, count < VU_MEM_TABLE_MAX ? "payload of" : "at most 8");
		mem.count = 0xffffffff;
		memcpy(w.payload, &mem.count, 4);
		expect_refused(&w, count, "at most 8");
	}
}
END_TEST

START_TEST(memory_tables_may_have_room_to_spare)
{
	struct vu_mem_table mem = {.count = 1, .regions = {{1, 2, 3, 4}, {5, 6, 7, 8}}};
	struct wire w = wire(VU_SET_MEM_TABLE, &mem, 8 + 32 * 2);
	struct vu_msg msg;
	struct err e;

	ck_assert_int_eq(decode(&msg, &w, 1, &e), 0);
	ck_assert_uint_eq(msg.body.mem.regions[0].gpa, 1);
	ck_assert_uint_eq(msg.body.mem.regions[1].gpa, 0);
	expect_refused(&w, 2, "descriptors");
}
END_TEST

START_TEST(single_regions_have_padding_in_front)
{
	uint64_t payload[5] = {~0ull, 1, 2, 3, 4};
	struct wire w = wire(VU_ADD_MEM_REG, payload, 40);
	struct vu_msg msg;
	struct err e;

	ck_assert_int_eq(decode(&msg, &w, 1, &e), 0);
	ck_assert_uint_eq(msg.body.region.gpa, 1);
	ck_assert_uint_eq(msg.body.region.size, 2);
	ck_assert_uint_eq(msg.body.region.uva, 3);
	ck_assert_uint_eq(msg.body.region.offset, 4);
	w.request = VU_REM_MEM_REG;
	ck_assert_int_eq(decode(&msg, &w, 0, &e), 0);
	ck_assert_int_eq(decode(&msg, &w, 1, &e), 0);
}
END_TEST

START_TEST(config_stays_within_its_bounds)
{
	const struct {
		uint32_t offset, size, sent;
		bool good;
	} cases[] = {
		{0, 0, 0, true},
		{0, 4, 4, true}, /* User-Mode Linux */
		{0, 256, 256, true},
		{256, 0, 0, true},
		{255, 1, 1, true},
		{32, 1, 1, true},
		{255, 2, 2, false},
		{257, 0, 0, false},
		{0, 257, 256, false},
		{0xffffffff, 1, 1, false},
		{1, 0xffffffff, 0, false},
		{0xffffffff, 0xffffffff, 0, false},
		{0, 4, 3, false},
		{0, 4, 5, false},
	};

	for (unsigned int i = 0; i < ARRAY_SIZE(cases); i++)
		for (uint32_t request = VU_GET_CONFIG; request <= VU_SET_CONFIG; request++) {
			uint32_t head[3] = {cases[i].offset, cases[i].size, 7};
			struct wire w = wire(request, head, 12);
			struct vu_msg msg;
			struct err e;

			w.size = 12 + cases[i].sent;
			memset(w.payload + 12, 0x5a, cases[i].sent);
			ck_assert_int_eq(decode(&msg, &w, 0, &e), cases[i].good ? 0 : -1);
			if (!cases[i].good)
				continue;
			ck_assert_uint_eq(msg.body.config.flags, 7);
			ck_assert(
				!cases[i].size || msg.body.config.data[cases[i].size - 1] == 0x5a);
		}
}
END_TEST

START_TEST(inflight_is_20_or_24_bytes)
{
	struct vu_inflight in = {0x1000, 0x2000, 3, 128};

	for (uint32_t size = 20; size <= 24; size += 4) {
		struct wire w = wire(VU_SET_INFLIGHT_FD, &in, 20);
		uint8_t out[VU_REPLY_MAX];
		struct vu_msg msg;
		struct err e;

		w.size = size;
		ck_assert_int_eq(decode(&msg, &w, 1, &e), 0);
		ck_assert_int_eq(memcmp(&msg.body.inflight, &in, sizeof(in)), 0);
		w.request = VU_GET_INFLIGHT_FD;
		ck_assert_int_eq(decode(&msg, &w, 0, &e), 0);
		ck_assert_uint_eq(vu_reply_inflight(out, &msg, &in), 12 + size);
		ck_assert_int_eq(memcmp(out + 12, &in, sizeof(in)), 0);
	}
}
END_TEST

START_TEST(logs_do_not_overflow)
{
	struct vu_log log = {0xfffffffffffff000, 0x1000};
	struct wire w = wire(VU_SET_LOG_BASE, &log, 16);
	struct vu_msg msg;
	struct err e;

	expect_refused(&w, 1, "overflows");
	log = (struct vu_log){0x1000, 0xffffffffffffefff};
	w = wire(VU_SET_LOG_BASE, &log, 16);
	ck_assert_int_eq(decode(&msg, &w, 1, &e), 0);
	ck_assert_uint_eq(msg.body.log.size, 0x1000);
}
END_TEST

START_TEST(replies_look_as_the_specification_says)
{
	struct vu_config config = {.offset = 1, .size = 2, .flags = 3, .data = {4, 5}};
	struct vu_vring_state state = {6, 7};
	uint8_t out[VU_REPLY_MAX];
	const uint8_t u64[] = {1, 0, 0, 0, 5, 0, 0, 0, 8, 0, 0, 0, 8, 7, 6, 5, 4, 3, 2, 1};
	const uint8_t ring[] = {11, 0, 0, 0, 5, 0, 0, 0, 8, 0, 0, 0, 6, 0, 0, 0, 7, 0, 0, 0};
	const uint8_t conf[] = {
		24, 0, 0, 0, 5, 0, 0, 0, 14, 0, 0, 0, 1, 0, 0, 0, 2, 0, 0, 0, 3, 0, 0, 0, 4, 5};
	const uint8_t empty[] = {6, 0, 0, 0, 5, 0, 0, 0, 0, 0, 0, 0};
	const uint8_t change[] = {2, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0};

	ck_assert_uint_eq(vu_reply_u64(out, VU_GET_FEATURES, 0x0102030405060708), sizeof(u64));
	ck_assert_mem_eq(out, u64, sizeof(u64));
	ck_assert_uint_eq(vu_reply_state(out, VU_GET_VRING_BASE, &state), sizeof(ring));
	ck_assert_mem_eq(out, ring, sizeof(ring));
	ck_assert_uint_eq(vu_reply_config(out, VU_GET_CONFIG, &config), sizeof(conf));
	ck_assert_mem_eq(out, conf, sizeof(conf));
	ck_assert_uint_eq(vu_reply_empty(out, VU_SET_LOG_BASE), sizeof(empty));
	ck_assert_mem_eq(out, empty, sizeof(empty));
	ck_assert_uint_eq(vu_backend_config_change(out), sizeof(change));
	ck_assert_mem_eq(out, change, sizeof(change));
}
END_TEST

UNIT_MAIN(every_request_is_known, no_other_request_is_known, sizes_are_exact,
	descriptors_are_counted, headers_are_checked_before_the_payload_comes,
	a_message_is_decoded_whole_or_not, ring_indexes_are_bounded,
	ring_descriptors_agree_with_their_bit, enable_is_0_or_1,
	memory_tables_have_one_descriptor_per_region, memory_tables_may_have_room_to_spare,
	single_regions_have_padding_in_front, config_stays_within_its_bounds,
	inflight_is_20_or_24_bytes, logs_do_not_overflow, replies_look_as_the_specification_says)
