/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Theory of operation. Who uses what is found out in two steps.
 *
 * Claims (daemon/host_claims.c): each source (a file of /proc, a relation that /sys shows, the
 * registry of attachments) says of single devices that they are used: "/home is mounted from dm-3".
 *
 * Uses (here): a claim on a device is one on everything that the device stands on: dm-3 is on md0,
 * that on sda2 and sdb2, these on sda and sdb, and those on a PCI function. Devices and their
 * "stands on" edges are a graph, and one walk down from each claim covers every stack of md, LVM,
 * crypt, multipath, bcache, partitions, bridges, bonds, VLANs and virtual functions alike. An
 * attachment counts upwards, too: a partition is taken when its disk is.
 *
 * Every request collects the claims anew (a few small files). Only when they, or the model, differ
 * from the last time are the uses spread again.
 */
#include "daemon/host_use.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/hands.h"
#include "daemon/inventory_model.h"

#define OPENERS_MAX 16

#define USES_MAX 32 /* of one device: the worst are enough to know */

const char *const use_kind_names[USE_KIND_COUNT] = {
	[USE_ROOT] = "root",
	[USE_ROUTE] = "default_route",
	[USE_MOUNT] = "mount",
	[USE_SWAP] = "swap",
	[USE_FILESYSTEM] = "filesystem",
	[USE_HOLDER] = "holder",
	[USE_MASTER] = "master",
	[USE_LOOP] = "loop",
	[USE_BUS] = "bus",
	[USE_UNKNOWN] = "unknown",
	[USE_QUARANTINE] = "quarantine",
	[USE_VM] = "vm",
};

/* --- from claims to uses ---------------------------------------------------------------------- */

static uint64_t digest_add(uint64_t digest, const void *data, size_t len)
{
	const unsigned char *s = data;

	for (size_t i = 0; i < len; i++)
		digest = (digest ^ s[i]) * 0x100000001b3u;
	return digest;
}

static uint64_t digest_claim(uint64_t digest, const struct host_claim *c)
{
	digest = digest_add(digest, &c->kind, sizeof(c->kind));
	digest = digest_add(digest, c->what, strlen(c->what) + 1);
	digest = digest_add(digest, &c->is_untrusted, sizeof(c->is_untrusted));
	digest = digest_add(digest, &c->is_array, sizeof(c->is_array));
	return c->vm ? digest_add(digest, c->vm, strlen(c->vm) + 1) : digest;
}

static uint64_t digest_claims(const struct inventory *inv)
{
	uint64_t digest =
		digest_add(0xcbf29ce484222325u, &inv->generation, sizeof(inv->generation));

	digest = digest_add(digest, &inv->blind, sizeof(inv->blind));
	for (size_t i = 0; i < inv->claim_count; i++) {
		digest = digest_claim(digest, &inv->claims[i]);
		digest = digest_add(digest, &inv->claims[i].node, sizeof(struct inv_node *));
	}
	return digest;
}

static bool use_is_known(const struct inv_node *node, const struct host_claim *c)
{
	for (size_t i = 0; i < node->use_count; i++) {
		const struct host_claim *known = node->uses[i].claim;

		if (known == c || (known->kind == c->kind && known->node == c->node &&
					  strcmp(known->what, c->what) == 0))
			return true;
	}
	return false;
}

static bool use_add(struct inv_node *node, const struct host_claim *c)
{
	if (node->use_count == USES_MAX || use_is_known(node, c))
		return true;
	if (node->use_count == node->use_room) {
		size_t room = node->use_room ? node->use_room * 2 : 4;
		struct host_use *uses = reallocarray(node->uses, room, sizeof(*uses));

		if (!uses)
			return false;
		node->uses = uses;
		node->use_room = room;
	}
	node->uses[node->use_count++] =
		(struct host_use){.claim = c, .via = c->node == node ? NULL : c->node};
	return true;
}

struct spread {
	const struct host_claim *claim;
	bool failed;
};

static void spread_to(struct inv_node *node, void *arg)
{
	struct spread *s = arg;
	bool is_bridge = node->dev->class == DEVICE_PCI && node->dev->pci.is_bridge;

	/* A bridge says so itself; all that is used behind it would only hide that. */
	if (is_bridge && node != s->claim->node)
		return;
	if (!use_add(node, s->claim))
		s->failed = true;
}

static void spread_claim(struct inventory *inv, struct host_claim *c)
{
	struct spread s = {.claim = c};

	if (c->kind == USE_BUS)
		spread_to(c->node, &s);
	else
		inv_walk(inv, c->node, spread_to, &s);
	if (c->kind == USE_VM && !c->other_name)
		c->node->attachment = c;
	if (s.failed)
		inv->blind = true;
}

struct inherit {
	struct inv_node *upper;
	bool failed;
};

static void inherit_from(struct inv_node *node, void *arg)
{
	struct inherit *i = arg;

	if (node->attachment && !use_add(i->upper, node->attachment))
		i->failed = true;
}

/* What stands on an attached device is taken with it. */
static void inherit_attachments(struct inventory *inv)
{
	for (size_t n = 0; n < inv->node_count; n++) {
		struct inherit i = {.upper = inv->nodes[n]};

		inv_walk(inv, inv->nodes[n], inherit_from, &i);
		if (i.failed)
			inv->blind = true;
	}
}

/* What is written of a node stays as it is if its uses came out the same. */
static void node_digest(struct inv_node *node, bool blind)
{
	uint64_t digest = digest_add(0xcbf29ce484222325u, &blind, sizeof(blind));

	for (size_t i = 0; i < node->use_count; i++) {
		digest = digest_claim(digest, node->uses[i].claim);
		digest = digest_add(digest, &node->uses[i].via, sizeof(node->uses[i].via));
	}
	if (digest == node->use_digest)
		return;
	node->use_digest = digest;
	free(node->json);
	node->json = NULL;
}

static void spread_all(struct inventory *inv)
{
	for (size_t i = 0; i < inv->node_count; i++) {
		inv->nodes[i]->use_count = 0;
		inv->nodes[i]->attachment = NULL;
	}
	for (size_t i = 0; i < inv->claim_count; i++)
		if (inv->claims[i].node)
			spread_claim(inv, &inv->claims[i]);
	inherit_attachments(inv);
	for (size_t i = 0; i < inv->node_count; i++)
		node_digest(inv->nodes[i], inv->blind);
}

static void find_out(struct inventory *inv)
{
	struct host_claim *old = inv->claims;
	size_t old_count = inv->claim_count, old_room = inv->claim_room;
	uint64_t digest;

	inv_settle(inv);
	inv->claims = NULL;
	inv->claim_count = inv->claim_room = 0;
	inv->blind = false;
	host_claims_collect(inv);
	inv_settle(inv); /* looking for a mounted device may have found a new one */
	digest = digest_claims(inv);
	if (digest == inv->claims_digest) {
		host_claims_free(inv->claims, inv->claim_count);
		inv->claims = old;
		inv->claim_count = old_count;
		inv->claim_room = old_room;
		return;
	}
	spread_all(inv);
	host_claims_free(old, old_count);
	inv->claims_digest = digest_claims(inv);
}

void host_use_update(struct inventory *inv)
{
	find_out(inv);
	inv_news_tell(inv);
}

static void drop_uses(struct inventory *inv, const struct inv_node *gone)
{
	for (size_t i = 0; i < inv->node_count; i++) {
		struct inv_node *node = inv->nodes[i];
		size_t kept = 0;

		for (size_t j = 0; j < node->use_count; j++)
			if (node->uses[j].claim->node != gone)
				node->uses[kept++] = node->uses[j];
		if (kept == node->use_count)
			continue;
		node->use_count = kept;
		node->use_digest = 0;
		free(node->json);
		node->json = NULL;
	}
}

void host_use_forget(struct inventory *inv, const struct inv_node *node)
{
	drop_uses(inv, node);
	for (size_t i = 0; i < inv->claim_count; i++)
		if (inv->claims[i].node == node)
			inv->claims[i].node = NULL; /* a claim on nothing */
}

void host_use_release(struct inventory *inv)
{
	for (size_t i = 0; i < inv->node_count; i++) {
		inv->nodes[i]->use_count = 0;
		inv->nodes[i]->attachment = NULL;
	}
	host_claims_free(inv->claims, inv->claim_count);
	inv->claims = NULL;
	inv->claim_count = inv->claim_room = 0;
	inv->claims_digest = 0;
}

/* --- the check -------------------------------------------------------------------------------- */

static const char *const fixes[USE_KIND_COUNT] = {
	[USE_ROOT] = "nothing: iovd does not give away what the host itself lives on",
	[USE_ROUTE] = "nothing: this is the host's way to the network; give another interface",
	[USE_MOUNT] = "unmount it (umount %s), and take it out of /etc/fstab",
	[USE_SWAP] = "stop swapping to it (swapoff %s)",
	[USE_FILESYSTEM] = "unmount or stop %s, of which it is a member",
	[USE_HOLDER] =
		"take down %s, which is built on it (vgchange -an, mdadm --stop, dmsetup remove)",
	[USE_MASTER] = "take it out of %s (ip link set ... nomaster)",
	[USE_LOOP] = "detach the loop device (losetup -d /dev/%s)",
	[USE_BUS] = "nothing: a bridge carries other devices and is given to nobody",
	[USE_UNKNOWN] = "", /* refuse_unknown() has more to say */
	[USE_QUARANTINE] = "when it is well again: iovctl release %s",
	[USE_VM] = "take it back first: iovctl detach %s",
};

static int refuse_leg(const char *id, const struct host_claim *c, struct err *e)
{
	err_set(e, ERR_REFUSED, "HOST-LEG", "%s is a leg of %s", id, c->what);
	err_evidence(e, "%s", c->evidence);
	return err_fix(e, "give %s instead, which goes on without one of its legs", c->what);
}

int host_use_refuse(const char *id, const struct host_use *use, struct err *e)
{
	const struct host_claim *c = use->claim;
	char fix[sizeof(e->fix)];

	if (host_use_is_leg(use))
		return refuse_leg(id, c, e);
	if (c->kind == USE_VM)
		err_set(e, ERR_REFUSED, "DEV-TAKEN", "%s is taken: %s of VM %s has %s", id, c->what,
			c->vm ? c->vm : "?", use->via ? use->via->dev->id : "it");
	else if (c->kind == USE_QUARANTINE)
		err_set(e, ERR_REFUSED, "DEV-QUARANTINED", "%s has failed, and is given to nobody",
			c->what);
	else
		err_set(e, ERR_REFUSED, "HOST-USE", "the host uses %s%s%s: %s %s", id,
			use->via ? " through " : "", use->via ? use->via->dev->id : "",
			use_kind_names[c->kind], c->what);
	err_evidence(e, "%s", c->evidence);
	/* the texts are ours, with at most one %s */
	snprintf(fix, sizeof(fix), fixes[c->kind],
		c->kind == USE_VM ? strchr(c->what, ' ') + 1 : c->what);
	return err_fix(e, "%s", fix);
}

int host_use_refuse_blind(const char *id, struct err *e)
{
	err_set(e, ERR_REFUSED, "HOST-USE", "who uses %s cannot be found out", id);
	err_evidence(e, "/proc/self/mountinfo, /proc/swaps, /proc/net/route: not all readable");
	return err_fix(e, "run iovd as root, with /proc mounted");
}

size_t host_use_openers(const struct inventory *inv, const struct device *d, char *path,
	size_t size, struct opener *found, size_t max)
{
	path[0] = '\0';
	if (d->class == DEVICE_PCI && strcmp(d->driver, "vfio-pci") == 0)
		snprintf(path, size, "/dev/vfio/%lld", (long long)d->iommu_group);
	else
		device_node_path(d, path, size);
	if (!path[0] || !sysroot_is_live(inv->root))
		return 0;
	return openers_find(path, inv->keeper, found, max);
}

/* One on this very host, with folders of its own. */
static bool is_of_iovd(const struct opener *o)
{
	static const char *const names[] = {"iovd", "iovd-keeper", "iov-worker"};

	for (unsigned int i = 0; i < ARRAY_SIZE(names); i++)
		if (strcmp(o->comm, names[i]) == 0)
			return true;
	return false;
}

/* It writes nothing there but what is iovd's own, and is about to end. */
static bool is_hand(const struct opener *o)
{
	return strcmp(o->comm, HAND_NAME) == 0;
}

static int refuse_unknown(const struct inventory *inv, const struct inv_node *node,
	const struct host_use *use, struct err *e)
{
	const struct device *d = use->via ? use->via->dev : node->dev;
	char path[PATH_MAX];
	struct opener o;

	err_set(e, ERR_REFUSED, "DEV-UNKNOWN",
		"whose %s is nobody knows: it is ready to be passed through, and the store that "
		"knew for whom was damaged",
		d->id);
	if (host_use_openers(inv, d, path, sizeof(path), &o, 1))
		err_evidence(e, "%s; %s (pid %d) has %s open", use->claim->evidence, o.comm,
			(int)o.pid, path);
	else
		err_evidence(e, "%s; nobody has it open", use->claim->evidence);
	return err_fix(e,
		"when no machine needs it any more: iovctl release %s makes it the host's, and "
		"attach with --allow DEV-UNKNOWN a machine's",
		d->id);
}

/* A VMM that was started without iovd, or whatever else writes to it. */
static int refuse_if_open(
	const struct inventory *inv, const struct device *d, bool moves, struct err *e)
{
	char path[PATH_MAX];
	struct opener all[OPENERS_MAX], o;
	size_t count = host_use_openers(inv, d, path, sizeof(path), all, OPENERS_MAX), i = 0;

	while (i < count && (is_hand(&all[i]) || (moves && is_of_iovd(&all[i]))))
		i++;
	if (i == count)
		return 0;
	o = all[i];
	err_set(e, ERR_REFUSED, "HOST-USE", "the process %s (pid %d) has %s open for writing",
		o.comm, (int)o.pid, d->id);
	err_evidence(e, "/proc/%d/fd/%d: %s", (int)o.pid, o.fd, path);
	return err_fix(e, "end that process, or give another device");
}

static bool is_own(const struct host_claim *c, const struct host_use_own *own)
{
	static const char prefix[] = "attachment ";

	if (c->kind == USE_UNKNOWN)
		return own->unknown;
	if (c->kind != USE_VM)
		return false;
	if (own->vm && c->vm && strcmp(own->vm, c->vm) == 0)
		return true;
	return own->attachment && strncmp(c->what, prefix, sizeof(prefix) - 1) == 0 &&
	       strcmp(c->what + sizeof(prefix) - 1, own->attachment) == 0;
}

/* The worst use by others. */
static const struct host_use *foreign_use(
	const struct inv_node *node, const struct host_use_own *own)
{
	for (size_t i = 0; i < node->use_count; i++)
		if (!is_own(node->uses[i].claim, own))
			return &node->uses[i];
	return NULL;
}

/* One port more takes nothing from those who have the bridge. */
static bool is_shared(const struct device *d)
{
	return d->class == DEVICE_NET && strcmp(d->net.kind, "bridge") == 0;
}

const struct host_use *host_use_worst(
	struct inventory *inv, const struct device *d, const struct host_use_own *own, bool by_vm)
{
	const struct inv_node *node = inv_find(inv, d->class, d->id);

	for (size_t i = 0; node && !is_shared(d) && i < node->use_count; i++)
		if ((node->uses[i].claim->kind == USE_VM) == by_vm &&
			node->uses[i].claim->kind != USE_UNKNOWN && /* neither, for all one knows */
			node->uses[i].claim->kind != USE_QUARANTINE &&
			!is_own(node->uses[i].claim, own))
			return &node->uses[i];
	return NULL;
}

int host_use_check(struct inventory *inv, const struct device *d, struct err *e)
{
	return host_use_check_own(inv, d, &(const struct host_use_own){0}, e);
}

int host_use_check_own(struct inventory *inv, const struct device *d,
	const struct host_use_own *own, struct err *e)
{
	enum device_class class = d->class;
	auto_free char *id = strdup(d->id);
	const struct inv_node *node;
	const struct host_use *use;

	if (!id)
		return err_sys(e, ENOMEM, "find out who uses the device");
	inventory_refresh(inv, &d);
	host_use_update(inv); /* d is not good after this */
	node = inv_find(inv, class, id);
	if (!node)
		return err_set(e, ERR_NOT_FOUND, "DEV-GONE", "%s is gone", id);
	use = is_shared(node->dev) ? NULL : foreign_use(node, own);
	if (use && use->claim->kind == USE_UNKNOWN)
		return refuse_unknown(inv, node, use, e);
	if (use)
		return host_use_refuse(node->dev->id, use, e);
	if (inv->blind)
		return host_use_refuse_blind(id, e);
	return refuse_if_open(inv, node->dev, own->moves, e);
}
