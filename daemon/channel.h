/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A channel to another host's iovd: Varlink, over what the operator trusts already. One call at a
 * time. What comes back is hostile until it was looked at: it is bounded and strict JSON, no more.
 */
#pragma once

#include "lib/watch.h"
#include "proto/json.h"

#define CHANNEL_URI_MAX 256

struct channel;

/*
 * Where another iovd is:
 *	unix:///run/other/iovd.sock		its socket, on this host
 *	qemu+ssh://[USER@]HOST[:PORT]/system	`ssh HOST iovctl bridge`; ssh:// is the same
 * `ssh` is the program for that. NULL with e set: the URI is none of these (ERR_USAGE), or the socket
 * does not answer, or the program cannot be started (ERR_UNREACHABLE).
 */
struct channel *channel_open(
	struct watch_loop *loop, const char *uri, const char *ssh, struct err *e);

/* Ends the program too. done() of a call that waits is not called any more. NULL is nothing. */
void channel_close(struct channel *c);

/* Whether the URI is one of those, without opening anything. */
int channel_check_uri(const char *uri, struct err *e);

/*
 * How a call ended: `reply` (valid only inside), or e. An error that the other iovd answered with is
 * `e` as it said it; ERR_UNREACHABLE means that nothing is known: it may have acted, or not, and the
 * channel is of no use any more.
 */
typedef void channel_done_fn(void *arg, const struct json *reply, const struct err *e);

/*
 * Calls a method of org.iovd.Manager. `parameters`: an open document with one object, consumed. done()
 * is called from the loop, which may close the channel; -1: it is not.
 */
int channel_call(struct channel *c, const char *method, struct json_out *parameters,
	uint64_t deadline_ms, channel_done_fn *done, void *arg, struct err *e);
