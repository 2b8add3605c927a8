/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A call that takes long, with how far its job is, on standard error while that is a terminal. */
#pragma once

#include "cli/cmd.h"

/*
 * As call_with(), of a method whose job is called `verb` and works at `object` ("vm:web1"). Without a
 * terminal, or where events cannot be had, it only waits.
 */
int bar_call(struct cli *cli, const char *method, struct json_out *o, const char *verb,
	const char *object, struct err *e);
