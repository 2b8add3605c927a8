/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A network attachment's node: "tap:QUEUES:BRIDGE", a tap of its own in that bridge. It lives as long
 * as somebody has it open, which is the vault: nothing is left of it when the attachment is gone, by
 * whatever end.
 */
#pragma once

#include "lib/err.h"

#define TAP_NODE_QUEUES_MAX 8u

struct attachment_spec;

bool tap_node_is(const char *node);
void tap_node_write(char *node, size_t size, const char *bridge, unsigned int queues);

struct tap_node_facts {
	bool can_uso; /* it segments UDP, too */
	uint16_t mtu; /* of the bridge */
};

/*
 * In the hand: makes the tap. Of its queues the first one, or -1; *box has all, to be unpacked. None is
 * in use: until a guest uses one, what comes for it is dropped.
 */
int tap_node_make(const char *node, struct tap_node_facts *facts, int *box, struct err *e);

/* The queues in the box, which is closed: how many; or -1. Never waits. */
int tap_node_unpack(int box, int fds[TAP_NODE_QUEUES_MAX], struct err *e);

/*
 * The address that the device has for its guest: the one that it is set to, else one that is always the
 * same for the same VM and name.
 */
void tap_node_mac(const struct attachment_spec *spec, char text[18]);
