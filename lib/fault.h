/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Places where a test ends the process, to see what a crash there leaves. Nothing happens unless
 * the environment -- root's, for a daemon -- has IOVD_FAULT=FILE. At the place whose name that file
 * holds, it is removed and the process killed, as by kill -9: once, so that the next process gets
 * past it. While it holds "list", the names of all places passed are logged.
 */
#pragma once

#include "lib/util.h"

void fault_point(const char *fmt, ...) PRINTF_LIKE(1, 2);
