/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Places where a test ends the process, to see what a crash there leaves. Nothing happens unless
 * the environment, which is root's for a daemon, says IOVD_FAULT=NAME: the process is then killed
 * at the place of that name, as by kill -9; NAME:N at the Nth time. IOVD_FAULT=list writes the name
 * of every place passed to standard error instead.
 */
#pragma once

#include "lib/util.h"

void fault_point(const char *fmt, ...) PRINTF_LIKE(1, 2);
