/* SPDX-License-Identifier: GPL-2.0-or-later */
/* CRC32C (Castagnoli), the checksum of iSCSI, ext4 and of our files. Portable; thread safe. */
#pragma once

#include <stddef.h>
#include <stdint.h>

/* Of `len` bytes; `crc` is 0, or what it was of the bytes in front of these. */
uint32_t crc32c(uint32_t crc, const void *data, size_t len);
