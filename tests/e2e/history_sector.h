/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A sector as the history checker writes it: where it belongs, its generation, a checksum over both
 * and over its other bytes, which are a function of them and of a seed.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#define SECTOR 512u

struct stamp {
	uint64_t sector, generation, sum;
};

static inline uint64_t mix(uint64_t x)
{
	x = (x ^ (x >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
	x = (x ^ (x >> 27)) * UINT64_C(0x94d049bb133111eb);
	return x ^ (x >> 31);
}

static inline uint64_t body_word(uint64_t seed, const struct stamp *s, unsigned int i)
{
	return mix(seed ^ mix(s->sector) ^ (s->generation << 8) ^ i);
}

static inline void write_sector(uint64_t seed, char *to, uint64_t sector, uint64_t generation)
{
	struct stamp s = {.sector = sector, .generation = generation};
	uint64_t *words = (uint64_t *)to;

	for (unsigned int i = 3; i < SECTOR / 8; i++) {
		words[i] = body_word(seed, &s, i);
		s.sum = mix(s.sum + words[i]);
	}
	s.sum = mix(s.sum ^ s.sector ^ mix(s.generation));
	memcpy(to, &s, sizeof(s));
}

/* The generation that a sector has; false when it is none that we wrote there. */
static inline bool read_sector(
	uint64_t seed, const char *from, uint64_t sector, uint64_t *generation)
{
	static const char zeroes[SECTOR];
	char expected[SECTOR] __attribute__((aligned(8)));
	struct stamp s;

	*generation = 0;
	if (memcmp(from, zeroes, SECTOR) == 0)
		return true;
	memcpy(&s, from, sizeof(s));
	*generation = s.generation;
	write_sector(seed, expected, sector, s.generation);
	return memcmp(from, expected, SECTOR) == 0;
}
