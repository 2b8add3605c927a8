/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Intrusive doubly linked list: a head is a list_node that points at itself when empty. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "lib/util.h"

struct list_node {
	struct list_node *prev, *next;
};

static inline void list_init(struct list_node *head)
{
	head->prev = head->next = head;
}

static inline bool list_is_empty(const struct list_node *head)
{
	return head->next == head;
}

static inline void list_append(struct list_node *head, struct list_node *node)
{
	node->prev = head->prev;
	node->next = head;
	head->prev->next = node;
	head->prev = node;
}

/* Takes the node out; it may be removed again (it then points at itself). */
static inline void list_remove(struct list_node *node)
{
	node->prev->next = node->next;
	node->next->prev = node->prev;
	node->prev = node->next = node;
}

#define list_entry(node, type, member) container_of(node, type, member)

#define list_for_each(node, head)                                                                  \
	for (struct list_node *node = (head)->next; node != (head); node = node->next)

/* The current node may be removed or freed in the body. */
#define list_for_each_safe(node, head)                                                             \
	for (struct list_node *node = (head)->next, *node##_next = node->next; node != (head);     \
		node = node##_next, node##_next = node->next)
