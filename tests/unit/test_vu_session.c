/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The vhost-user session, as a VMM sees it that does not know how often its worker dies: a real
 * worker process in its sandbox, a conversation as QEMU has it, and a sweep that kills the worker at
 * every point of every message's way (safety: "the message that was half handled").
 */
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "lib/fdio.h"
#include "tests/unit/unit.h"
#include "tests/unit/vmm.h"

static void migrate_a_bit(struct vmm *v)
{
	struct vu_log log = {.size = 4096};
	int fd, memory = memfd_create("log", MFD_CLOEXEC);
	uint8_t *bits;

	ck_assert_int_eq(ftruncate(memory, 4096), 0);
	bits = mmap(NULL, 4096, PROT_READ, MAP_SHARED, memory, 0);
	rig_send(&v->rig, VU_SET_LOG_BASE, 0, &log, sizeof(log), &memory, 1);
	ck_assert_uint_eq(rig_reply(&v->rig, VU_SET_LOG_BASE, NULL, 0, &fd), 0);
	vmm_tell_u64(v, VU_SET_FEATURES, true, VMM_FEATURES | VHOST_F_LOG_ALL);
	vmm_tell_addresses(v, true, VU_VRING_F_LOG);
	vmm_use_disk(v, 0x50);
	ck_assert(bits[VMM_DATA_AT / 4096 / 8] & 1 << VMM_DATA_AT / 4096 % 8);
	vmm_tell_u64(v, VU_SET_FEATURES, true, VMM_FEATURES);
	vmm_tell_addresses(v, true, 0);
	munmap(bits, 4096);
}

static void hotplug(struct vmm *v)
{
	const uint64_t gpa = GUEST_END + 0x100000, uva = GUEST_UVA + 0x10000000;
	int fd = memfd_create("dimm", MFD_CLOEXEC);

	ck_assert_int_eq(ftruncate(fd, 0x10000), 0);
	vmm_tell_region(v, VU_ADD_MEM_REG, gpa, uva, 0x10000, 0, fd);
	vmm_use_disk(v, 0x60);
	vmm_tell_region(v, VU_REM_MEM_REG, gpa, uva, 0x10000, 0, -1);
	close(fd);
}

static void stop_and_resume(struct vmm *v)
{
	uint32_t base;

	vmm_ask(v, 0, true, 0); /* perhaps still on its way when the ring is to stop */
	vmm_kick(v);
	vmm_tell_state(v, VU_SET_VRING_ENABLE, true, 0, 0);
	base = vmm_get_base(v);
	ck_assert_uint_eq(vmm_get_base(v), base);
	vmm_tell_u64(v, VU_SET_STATUS, false, 0);
	vmm_set_inflight(v);
	vmm_start_ring(v, base);
	vmm_await(v, 1);
	ck_assert_uint_eq(vmm_get_base(v), v->requests);
}

static void write_through(struct vmm *v)
{
	struct vu_config config = {.offset = 32, .size = 1};

	vmm_tell(v, VU_SET_CONFIG, true, &config, 12 + config.size, NULL, 0);
}

static void swap_memory(struct vmm *v)
{
	struct vu_mem_table table = {
		.count = 2,
		.regions = {{GUEST_BASE, GUEST_HALF, GUEST_UVA, GUEST_HALF},
			{GUEST_SEAM, GUEST_HALF, GUEST_UVA + GUEST_HALF, 0}},
	};
	int fds[] = {dup(v->driver.fd), dup(v->driver.fd)};

	vmm_tell(v, VU_SET_MEM_TABLE, true, &table, 8 + 64, fds, 2);
}

static void converse(struct vmm *v)
{
	vmm_greet(v);
	vmm_tell_u64(v, VU_SET_FEATURES, false, VMM_FEATURES);
	vmm_tell_u64(v, VU_SET_STATUS, false, 8);
	vmm_get_inflight(v);
	vmm_set_inflight(v);
	vmm_share_memory(v, VU_ADD_MEM_REG);
	vmm_start_ring(v, 0);
	vmm_use_disk(v, 0x10);
	migrate_a_bit(v);
	hotplug(v);
	write_through(v);
	stop_and_resume(v);
	swap_memory(v);
	vmm_start_ring(v, v->requests);
	vmm_use_disk(v, 0x70);
	ck_assert_uint_eq(vmm_get_base(v), v->requests);
	vmm_tell(v, VU_RESET_DEVICE, true, NULL, 0, NULL, 0);
	ck_assert_uint_eq(vmm_u64_of(v, VU_GET_STATUS), 0);
	rig_until_quiet(&v->rig);
}

/* --- tests ----------------------------------------------------------------------------------- */

/* What must be the same at the end, however often the worker died. */
struct ending {
	uint32_t messages;
	struct page_inflight inflight;
	struct page_ring ring;
	unsigned int regions;
	uint64_t features, protocol;
	uint8_t device[64];
	bool filled[VAULT_SLOTS];
};

static void look_at_end(const struct rig *r, struct ending *end)
{
	memset(end, 0, sizeof(*end));
	end->messages = (uint32_t)(r->page->message.word >> 32);
	end->inflight = r->page->inflight;
	end->ring = r->page->rings[0];
	for (unsigned int i = 0; i < GUEST_MEM_MAX_REGIONS; i++)
		end->regions += r->page->regions[i].epoch == r->page->mem_epoch;
	end->features = r->page->features;
	end->protocol = r->page->protocol;
	memcpy(end->device, r->page->device, sizeof(end->device));
	for (unsigned int i = 0; i < VAULT_MEM0; i++)
		end->filled[i] = r->vault[i] >= 0;
	for (unsigned int i = VAULT_KICK0; i < VAULT_SLOTS; i++)
		end->filled[i] = r->vault[i] >= 0;
}

/* One conversation; true when the worker died in it. */
static bool converse_dying(struct rig_options opt, struct ending *end)
{
	struct vmm v;
	bool died;

	vmm_open(&v, opt);
	converse(&v);
	look_at_end(&v.rig, end);
	died = v.rig.deaths > 0;
	vmm_close(&v);
	return died;
}

START_TEST(a_conversation_goes_through)
{
	struct ending end;

	ck_assert(!converse_dying((struct rig_options){0}, &end));
	ck_assert_uint_eq(end.regions, 2);
	ck_assert(!end.filled[VAULT_REPLY]);
}
END_TEST

/* A VMM that keeps no in-flight region, and whose guest reboots: the ring begins at 0 each time. */
START_TEST(a_ring_is_started_anew)
{
	struct vmm v;

	vmm_open(&v, (struct rig_options){0});
	vmm_u64_of(&v, VU_GET_FEATURES);
	vmm_tell_u64(
		&v, VU_SET_PROTOCOL_FEATURES, false, VU_PF_REPLY_ACK | VU_PF_CONFIGURE_MEM_SLOTS);
	vmm_tell(&v, VU_SET_OWNER, false, NULL, 0, NULL, 0);
	vmm_share_memory(&v, VU_ADD_MEM_REG);
	for (uint8_t round = 0; round < 4; round++) {
		vmm_start_ring(&v, 0);
		vmm_use_disk(&v, round);
		ck_assert_uint_eq(vmm_get_base(&v), v.requests);
		driver_restart(&v.driver);
		v.requests = 0;
	}
	rig_until_quiet(&v.rig);
	ck_assert_uint_eq(v.rig.deaths, 0);
	vmm_close(&v);
}
END_TEST

/*
 * Kills at every passage of every crash point, `stride` apart so that several processes share them.
 * The sweep is over when a conversation is so short that nobody died.
 */
static void sweep(unsigned int first, unsigned int stride, unsigned int again)
{
	struct rig_options opt = {.kill_at = first, .kill_again_at = again};
	struct ending whole, end;
	unsigned int kills = 0;

	converse_dying((struct rig_options){0}, &whole);
	while (converse_dying(opt, &end)) {
		ck_assert_msg(memcmp(&whole, &end, sizeof(end)) == 0,
			"killed at passage %u it ended differently", opt.kill_at);
		opt.kill_at += stride;
		kills++;
	}
	ck_assert_msg(kills > 300 / stride, "only %u kills", kills);
	printf("killed at %u points\n", kills);
}

/* Every point, in parts that each fit into a test's time. */
#define SWEEP_PARTS 10

#define SWEEP_PART(n)                                                                              \
	START_TEST(killed_at_every_point_part_##n)                                                 \
	{                                                                                          \
		sweep(n, SWEEP_PARTS, 0);                                                          \
	}                                                                                          \
	END_TEST

SWEEP_PART(1)
SWEEP_PART(2)
SWEEP_PART(3)
SWEEP_PART(4)
SWEEP_PART(5)
SWEEP_PART(6)
SWEEP_PART(7)
SWEEP_PART(8)
SWEEP_PART(9)
SWEEP_PART(10)

START_TEST(killed_again_at_once)
{
	sweep(3, 13, 1);
}
END_TEST

START_TEST(killed_again_a_little_later)
{
	sweep(5, 17, 4);
}
END_TEST

UNIT_MAIN(a_conversation_goes_through, a_ring_is_started_anew, killed_at_every_point_part_1,
	killed_at_every_point_part_2, killed_at_every_point_part_3, killed_at_every_point_part_4,
	killed_at_every_point_part_5, killed_at_every_point_part_6, killed_at_every_point_part_7,
	killed_at_every_point_part_8, killed_at_every_point_part_9, killed_at_every_point_part_10,
	killed_again_at_once, killed_again_a_little_later)
