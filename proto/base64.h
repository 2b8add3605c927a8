/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Bytes in JSON: RFC 4648, section 4, with padding, and nothing else between. Thread safe. */
#pragma once

#include "lib/buf.h"

/* The text (terminated), which is the caller's to free(); NULL without memory. */
char *base64_encode(const void *data, size_t len);

/* Appends the bytes. 0, or -1: it is no such text, or they do not fit; then `out` is as before. */
int base64_decode(const char *text, struct buf *out) MUST_CHECK;
