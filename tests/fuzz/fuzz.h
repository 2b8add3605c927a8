/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What a fuzz harness is: this one function, called with one input. It aborts (or a sanitizer does)
 * when something is wrong, and returns 0. Its main() is libFuzzer's or that of replay.c.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
