/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "lib/backends/vault.h"

#include "lib/cleanup.h"

static int none_put(struct vault *vault, unsigned int slot, int fd, struct err *e)
{
	(void)vault, (void)slot, (void)fd, (void)e;
	return 0;
}

static void none_drop(struct vault *vault, unsigned int first, unsigned int count)
{
	(void)vault, (void)first, (void)count;
}

const struct vault_ops vault_none_ops = {
	.put = none_put,
	.drop = none_drop,
};

void vault_init(struct vault *vault, const struct vault_ops *ops)
{
	vault->ops = ops;
	for (unsigned int i = 0; i < VAULT_SLOTS; i++)
		vault->fds[i] = -1;
}

int vault_put(struct vault *vault, unsigned int slot, int fd, struct err *e)
{
	auto_close int owned = fd;

	assert(slot < VAULT_SLOTS && fd >= 0);
	if (vault->ops->put(vault, slot, fd, e) < 0)
		return -1;
	close_fd(&vault->fds[slot]);
	vault->fds[slot] = steal_fd(&owned);
	return 0;
}

void vault_drop(struct vault *vault, unsigned int slot)
{
	vault_drop_range(vault, slot, 1);
}

void vault_drop_range(struct vault *vault, unsigned int first, unsigned int count)
{
	bool any = false;

	assert(first + count <= VAULT_SLOTS);
	for (unsigned int slot = first; slot < first + count; slot++) {
		any |= vault->fds[slot] >= 0;
		close_fd(&vault->fds[slot]);
	}
	if (any)
		vault->ops->drop(vault, first, count);
}

int vault_fd(const struct vault *vault, unsigned int slot)
{
	assert(slot < VAULT_SLOTS);
	return vault->fds[slot];
}
