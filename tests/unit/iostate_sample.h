/* SPDX-License-Identifier: GPL-2.0-or-later */
/* I/O states for tests: good ones of any shape, and what mends the checksums of a bad one. */
#pragma once

#include "lib/migrate/iostate.h"

/* A good one, its shape and content after the seed; 0: one attachment, nothing in flight. */
struct iostate *iostate_sample(uint64_t seed);

/* Makes length, count and all checksums of a file right for what is in it, as far as there is any. */
void iostate_mend(uint8_t *data, size_t len);
