/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A VMM with a guest's driver and one ring, on a real worker (session_rig.h): what it says, in the
 * order that QEMU has, and a disk to write and read. Everything that can go wrong fails the test.
 */
#pragma once

#include "tests/unit/driver.h"
#include "tests/unit/session_rig.h"

#define VMM_RING_SIZE 16u
#define VMM_SECTOR    512u

/* Addresses in the driver's guest memory: its rings end well before. */
#define VMM_HEADER_AT (GUEST_BASE + 0x100000)
#define VMM_DATA_AT   (GUEST_BASE + 0x110000)
#define VMM_STATUS_AT (GUEST_BASE + 0x1f0000)

struct vmm {
	struct rig rig;
	struct driver driver;
	int kick, call;
	int inflight; /* as GET_INFLIGHT_FD gave it */
	struct vu_inflight inflight_desc;
	unsigned int requests;
};

#define VMM_FEATURES                                                                               \
	(VIRTIO_F_VERSION_1 | VIRTIO_F_EVENT_IDX | VU_F_PROTOCOL_FEATURES | 1ull << 9 | 1ull << 11)

/* Asks what is answered with a number. */
uint64_t vmm_u64_of(struct vmm *v, uint32_t request);

/* Sends; with `ack` it asks for an answer and expects 0. `fds` are closed. */
void vmm_tell(struct vmm *v, uint32_t request, bool ack, const void *payload, uint32_t size,
	const int *fds, unsigned int fd_count);
void vmm_tell_u64(struct vmm *v, uint32_t request, bool ack, uint64_t value);
void vmm_tell_state(struct vmm *v, uint32_t request, bool ack, uint32_t index, uint32_t num);
/* Sends a duplicate. */
void vmm_tell_ring_fd(struct vmm *v, uint32_t request, int fd);
void vmm_tell_region(struct vmm *v, uint32_t request, uint64_t gpa, uint64_t uva, uint64_t size,
	uint64_t offset, int fd);
/* Stops ring 0: where it stands. */
uint32_t vmm_get_base(struct vmm *v);

/*
 * Makes available one request of one sector, number `n` in all its addresses; `in`: the device
 * writes the data. Then the guest kicks, and waits for completions, which no further one may follow.
 */
void vmm_ask(struct vmm *v, uint32_t type, bool in, unsigned int n);
void vmm_kick(struct vmm *v);
void vmm_await(struct vmm *v, unsigned int n);
/* Of the requests so numbered: all went well. */
void vmm_check_status(struct vmm *v, unsigned int first, unsigned int count);
/* Writes four sectors, then reads them back. */
void vmm_use_disk(struct vmm *v, uint8_t fill);

/* The conversation. */
void vmm_greet(struct vmm *v);
void vmm_get_inflight(struct vmm *v);
void vmm_set_inflight(struct vmm *v);
void vmm_share_memory(struct vmm *v, uint32_t request);
void vmm_tell_addresses(struct vmm *v, bool ack, uint32_t flags);
void vmm_start_ring(struct vmm *v, uint32_t base);
void vmm_open(struct vmm *v, struct rig_options opt);
void vmm_close(struct vmm *v);
