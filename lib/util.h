/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Small helpers with no state and no allocation of their own. All functions are thread safe.
 */
#pragma once

#include <assert.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))
#define MIN(a, b)     ((a) < (b) ? (a) : (b))
#define MAX(a, b)     ((a) > (b) ? (a) : (b))

/* The structure that embeds `ptr` as its member `member`. */
#define container_of(ptr, type, member) ((type *)((char *)(ptr)-offsetof(type, member)))

/* Round up to a multiple of `align`, which is a power of two. The caller rules out overflow. */
#define ALIGN_UP(n, align) (((n) + ((align)-1)) & ~((uint64_t)(align)-1))

#define PRINTF_LIKE(fmt, args) __attribute__((format(printf, fmt, args)))
#define MUST_CHECK             __attribute__((warn_unused_result))

/* a + b and a * b into *sum / *product; false (and nothing stored that may be used) on overflow. */
static inline MUST_CHECK bool u64_add(uint64_t a, uint64_t b, uint64_t *sum)
{
	return !__builtin_add_overflow(a, b, sum);
}

static inline MUST_CHECK bool u64_mul(uint64_t a, uint64_t b, uint64_t *product)
{
	return !__builtin_mul_overflow(a, b, product);
}

/* CLOCK_MONOTONIC in milliseconds / nanoseconds. */
uint64_t now_ms(void);
uint64_t now_ns(void);

#define UTC_TEXT_SIZE 32

/* A time of the wall clock, in milliseconds since 1970, for people and JSON:
 * "2025-05-01T10:00:00.123Z". Returns `text`. */
char *utc_text(uint64_t ms, char text[UTC_TEXT_SIZE]);
uint64_t utc_now_ms(void);
char *utc_now_text(char text[UTC_TEXT_SIZE]);

/* The whole of `s` as an unsigned number, decimal or 0x hex, at most `max`. 0, or -1 if it is not.
 */
int parse_u64(const char *s, uint64_t max, uint64_t *value);

/*
 * The name of a VM or attachment: [A-Za-z0-9._-]{1,32} with no leading dot (safety: it becomes a
 * path component).
 */
bool name_is_valid(const char *name);

/* Copies at most size-1 bytes and terminates; true if all of `src` fitted. */
bool str_copy(char *dst, size_t size, const char *src);
