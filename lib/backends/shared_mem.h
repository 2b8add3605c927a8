/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Loads and stores of memory that others can write at the same time: rings, guest memory, the
 * in-flight region. A load happens exactly once, and what is decided is decided on the copy. Every
 * store is a release store, for two readers: the guest, which must see what a store announces
 * before the announcement; and our own successor, which finds the stores of a killed process cut
 * off at one point of this very order.
 *
 * Tests define IOVD_STORE_HOOK and stop the process in front of the n-th store.
 *
 * The fields are little endian, and so is every machine that this runs on.
 */
#pragma once

#include "lib/util.h"

static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "rings and regions are little endian");

#ifdef IOVD_STORE_HOOK
void shared_store_hook(void);
#else
static inline void shared_store_hook(void)
{
}
#endif

static inline uint16_t shared_load16(const uint16_t *p)
{
	return __atomic_load_n(p, __ATOMIC_ACQUIRE);
}

static inline uint32_t shared_load32(const uint32_t *p)
{
	return __atomic_load_n(p, __ATOMIC_ACQUIRE);
}

static inline uint64_t shared_load64(const uint64_t *p)
{
	return __atomic_load_n(p, __ATOMIC_ACQUIRE);
}

static inline void shared_store8(uint8_t *p, uint8_t value)
{
	shared_store_hook();
	__atomic_store_n(p, value, __ATOMIC_RELEASE);
}

static inline void shared_store16(uint16_t *p, uint16_t value)
{
	shared_store_hook();
	__atomic_store_n(p, value, __ATOMIC_RELEASE);
}

static inline void shared_store32(uint32_t *p, uint32_t value)
{
	shared_store_hook();
	__atomic_store_n(p, value, __ATOMIC_RELEASE);
}

static inline void shared_store64(uint64_t *p, uint64_t value)
{
	shared_store_hook();
	__atomic_store_n(p, value, __ATOMIC_RELEASE);
}

/* What was stored before is visible before what is loaded after: "I published; who wants to know?"
 */
static inline void shared_fence(void)
{
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
}

/* The copies made before are what is looked at after: nothing is fetched a second time. */
static inline void shared_copied(void)
{
	__asm__ volatile("" ::: "memory");
}
