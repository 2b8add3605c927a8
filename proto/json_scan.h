/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Between the scanner and the parser: what json_parse() needs besides json.h. */
#pragma once

#include "proto/json.h"

/* json_check(), and how many members all objects have together. */
int json_scan(const char *text, size_t len, size_t *members, struct err *e);
