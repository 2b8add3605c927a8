/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Theory of operation. The VM is quiesced: each worker has said, by the very word that shut its
 * gate, that nothing is with the host and nothing will be fetched. So page and region stand still,
 * whatever the guest does, and what is read of them piece by piece is of one moment.
 *
 * Where a ring stands: by the region, which knows what was fetched and used; of a stopped ring by its
 * base, which is what the VMM takes along, and the region must agree if it has anything in flight.
 */
#include <config.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "daemon/daemon.h"
#include "daemon/inventory.h"
#include "daemon/iostate.h"
#include "daemon/supervisor.h"
#include "daemon/tap_node.h"
#include "lib/backends/blk_geometry.h"
#include "lib/cleanup.h"
#include "lib/sysfs.h"

/* VHOST_F_LOG_ALL: not the driver's, and there only while the VMM sends the memory away. */
#define VMMS_OWN (1ull << 26)

static_assert(IOSTATE_MAX_RINGS == SESSION_RINGS_MAX, "each ring has its place");
static_assert((int)ATTACHMENT_CACHES == (int)IOSTATE_CACHES &&
		      (int)ATTACHMENT_CACHE_WRITEBACK == (int)IOSTATE_CACHE_WRITEBACK,
	"the same ways of caching");
static_assert((int)ON_ERRORS == (int)IOSTATE_ON_ERRORS &&
		      (int)ON_ERROR_HOLD == (int)IOSTATE_ON_ERROR_HOLD,
	"the same answers to errors");
static_assert(sizeof(((struct iostate_network *)0)->settings) == VF_SETTINGS_TEXT, "room for all");
static_assert(TAP_NODE_QUEUES_MAX <= IOSTATE_MAX_RINGS / 2, "two rings for each of its queues");
static_assert(ATTACHMENT_SPARES_MAX == IOSTATE_MAX_SPARES, "a place for each spare");
static_assert(sizeof(((struct iostate_policy *)0)->fence) == ATTACHMENT_FENCE_SIZE, "room for it");

/* --- may it be saved? ------------------------------------------------------------------------- */

static int check_rests(const struct attachment *a, const struct session_facts *facts, struct err *e)
{
	bool shut = a->quiesced || a->baton == BATON_ARMED;

	if (!shut || a->gating || !facts->settled) {
		err_set(e, ERR_REFUSED, "NOT-QUIESCED", "%s is not quiesced", a->spec.id);
		err_evidence(e, "it is %s", attachment_state_names[a->state]);
		return err_fix(e, "iovctl quiesce %s", a->spec.vm);
	}
	if (facts->incoming)
		return err_set(e, ERR_REFUSED, "INCOMING", "%s has not arrived itself", a->spec.id);
	if (!facts->connected && a->baton != BATON_ARMED) {
		err_set(e, ERR_REFUSED, "NO-VMM", "no VMM is connected to %s", a->spec.id);
		return err_fix(e, "save after the quiesce, and before the VMM ends");
	}
	return 0;
}

static int read_facts(
	const struct attachment *a, bool at_rest, struct session_facts *facts, struct err *e)
{
	if (a->spec.path != ATTACHMENT_PARAVIRT)
		return err_set(e, ERR_REFUSED, "PATH",
			"%s is not paravirtual: its state is the device's own", a->spec.id);
	if (a->kept != KEPT_ATTACHED || a->busy || a->page_fd < 0)
		return err_set(e, ERR_BUSY, "BUSY", "%s is %s", a->spec.id,
			attachment_state_names[a->state]);
	if (session_facts_read(a->page_fd, facts, e) < 0)
		return -1;
	return at_rest ? check_rests(a, facts, e) : 0;
}

/* --- rings and requests ----------------------------------------------------------------------- */

/* The region's bytes; *bytes is NULL when the session has none. */
static int read_region(struct daemon *d, const struct attachment *a,
	const struct session_facts *facts, void **bytes, struct err *e)
{
	auto_close int fd = -1;

	*bytes = NULL;
	if (!facts->has_region)
		return 0;
	fd = supervisor_fetch(d->supervisor, a->spec.id, VAULT_INFLIGHT, e);
	if (fd < 0)
		return -1;
	*bytes = taken_read_region(fd, &facts->region, e);
	return *bytes ? 0 : -1;
}

static int find_position(const struct session_facts *facts, const void *bytes, uint16_t index,
	struct taken *taken, struct taken_position *at, struct err *e)
{
	const struct session_ring *ring = &facts->rings[index];
	bool packed = facts->acknowledged & IOSTATE_F_PACKED;
	uint32_t before = taken->request_count;
	int known =
		!bytes ? 0 : taken_collect(taken, &facts->region, bytes, index, ring->size, at, e);

	if (known < 0)
		return -1;
	if (!known && ring->started)
		return err_set(e, ERR_FAILED, "VU-INFLIGHT",
			"ring %u runs, and nothing says where it stands", index);
	if (ring->started)
		return 0;
	if (taken->request_count == before)
		*at = taken_position_of_base(ring->base, packed);
	else if (taken_base(at, packed) != ring->base)
		return err_set(e, ERR_FAILED, "VU-INFLIGHT",
			"ring %u stands elsewhere than its requests in flight say", index);
	return 0;
}

static int collect_rings(struct iostate_attachment *to, const struct session_facts *facts,
	const void *bytes, struct taken *taken, struct err *e)
{
	to->ring_count = iostate_ring_limit(to);
	to->rings = calloc(to->ring_count, sizeof(*to->rings));
	if (!to->rings)
		return err_set(e, ERR_FAILED, "MEMORY", "no memory for an I/O state");
	for (uint32_t i = 0; i < to->ring_count; i++) {
		const struct session_ring *ring = &facts->rings[i];
		struct taken_position at = {0};

		if (ring->size && find_position(facts, bytes, (uint16_t)i, taken, &at, e) < 0)
			return -1;
		to->rings[i] = (struct iostate_ring){
			.index = (uint16_t)i,
			.size = ring->size,
			.avail = at.avail,
			.used = at.used,
			.avail_wrap = at.avail_wrap,
			.used_wrap = at.used_wrap,
			.enabled = ring->enabled,
		};
	}
	return 0;
}

static int copy_requests(struct iostate_attachment *to, const struct taken *t, struct err *e)
{
	to->requests = calloc(t->request_count + 1, sizeof(*to->requests));
	to->descs = calloc(t->desc_count + 1, sizeof(*to->descs));
	if (!to->requests || !to->descs)
		return err_set(e, ERR_FAILED, "MEMORY", "no memory for an I/O state");
	to->request_count = t->request_count;
	to->desc_count = t->desc_count;
	/* What each of them asks for is in the guest's memory, where we do not look. */
	for (uint32_t i = 0; i < t->request_count; i++)
		to->requests[i] = (struct iostate_request){
			.ring = t->requests[i].ring,
			.head = t->requests[i].head,
			.descs = t->requests[i].descs,
			.counter = t->requests[i].counter,
			.type = IOSTATE_UNKNOWN,
		};
	for (uint32_t i = 0; i < t->desc_count; i++)
		to->descs[i] = (struct iostate_desc){
			.addr = t->descs[i].addr,
			.len = t->descs[i].len,
			.id = t->descs[i].id,
			.flags = t->descs[i].flags,
		};
	return 0;
}

static int collect_guest_side(struct daemon *d, const struct attachment *a,
	const struct session_facts *facts, struct iostate_attachment *to, struct err *e)
{
	auto_taken struct taken taken = {0};
	auto_free void *bytes = NULL;

	if (read_region(d, a, facts, &bytes, e) < 0 ||
		collect_rings(to, facts, bytes, &taken, e) < 0)
		return -1;
	return copy_requests(to, &taken, e);
}

/* --- the rest --------------------------------------------------------------------------------- */

static void collect_identity(const struct attachment *a, struct iostate_identity *to)
{
	str_copy(to->name, sizeof(to->name), a->spec.name);
	str_copy(to->id, sizeof(to->id), a->spec.id);
	str_copy(to->device, sizeof(to->device), a->spec.device);
	str_copy(to->node, sizeof(to->node), a->spec.node);
	str_copy(to->fingerprint, sizeof(to->fingerprint), a->spec.fingerprint);
}

/* As the driver reads it, not as the disk is by now. */
static void collect_disk(
	const struct attachment *a, const struct session_facts *facts, struct iostate_disk *to)
{
	struct blk_geometry g = blk_geometry_of_config(facts->config);

	*to = (struct iostate_disk){
		.size_bytes = g.sectors <= UINT64_MAX / 512 ? g.sectors * 512 : 0,
		.block_size = g.block_size,
		.physical_block_size = g.physical_block_size,
		.queues = MIN(a->spec.queues, IOSTATE_MAX_RINGS),
		.readonly = a->spec.readonly,
		.write_cache = g.write_cache,
	};
}

/* With its MAC, which an earlier iovd did not keep. */
static void collect_network(
	const struct daemon *d, const struct attachment *a, struct iostate_network *to)
{
	struct vf_settings settings = a->spec.vf.settings;
	struct sysfs_dir bridge;
	uint64_t mtu = 0;
	char mac[18];

	tap_node_mac(&a->spec, mac);
	vf_settings_add(&settings, vf_setting_names[VF_MAC], mac, NULL);
	vf_settings_write(&settings, to->settings);
	to->queues = a->spec.queues;
	sysfs_dir_init(
		&bridge, inventory_sysroot(d->inventory), "sys/class/net/%s", a->spec.device);
	to->mtu = sysfs_read_u64(&bridge, "mtu", &mtu) == 0 ? (uint32_t)MIN(mtu, UINT16_MAX) : 0;
}

/* What was waived of the checks of spares is not taken along: it was said of this host's devices. */
static void collect_policy(const struct attachment_spec *spec, struct iostate_policy *to)
{
	const struct attachment_rescue *rescue = &spec->rescue;

	to->cache = (enum iostate_cache)spec->cache;
	to->on_error = (enum iostate_on_error)spec->on_error;
	to->io_timeout_ms = rescue->io_timeout_ms;
	str_copy(to->owner, sizeof(to->owner), spec->owner);
	str_copy(to->fence, sizeof(to->fence), rescue->fence);
	for (unsigned int i = 0; i < rescue->spare_count; i++)
		str_copy(to->spares[i], sizeof(to->spares[i]), rescue->spares[i]);
}

static int collect_one(struct daemon *d, const struct attachment *a, bool at_rest,
	struct iostate *s, struct err *e)
{
	struct session_facts facts;
	struct iostate_attachment *to;

	if (read_facts(a, at_rest, &facts, e) < 0)
		return -1;
	to = iostate_add(s, e);
	if (!to)
		return -1;
	collect_identity(a, &to->identity);
	if (tap_node_is(a->spec.node))
		collect_network(d, a, &to->network);
	else
		collect_disk(a, &facts, &to->disk);
	to->features = (struct iostate_features){
		.offered = facts.offered,
		.acknowledged = facts.acknowledged & ~VMMS_OWN,
		.protocol = facts.protocol,
	};
	collect_policy(&a->spec, &to->policy);
	if (!at_rest)
		return 0;
	return collect_guest_side(d, a, &facts, to, e) < 0 ? err_wrap(e, "%s", a->spec.id) : 0;
}

static void set_origin(struct iostate_origin *to, const char *vm)
{
	struct timespec now;

	clock_gettime(CLOCK_REALTIME, &now);
	*to = (struct iostate_origin){
		.program = "iovd " PACKAGE_VERSION,
		.saved_ms = (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000,
	};
	str_copy(to->vm, sizeof(to->vm), vm);
	if (gethostname(to->host, sizeof(to->host) - 1) < 0)
		to->host[0] = '\0';
}

typedef bool wanted_fn(const struct attachment *a);

/*
 * `is_wanted` (or NULL: all are) picks; `unfit` (or NULL: they are an error) hears of those that cannot be
 * collected.
 */
static struct iostate *collect(struct daemon *d, const char *vm, bool at_rest, wanted_fn *is_wanted,
	iostate_unfit_fn *unfit, void *arg, struct err *e)
{
	size_t told = 0;
	auto_iostate struct iostate *s = iostate_new(e);

	if (!s)
		return NULL;
	set_origin(&s->origin, vm);
	list_for_each (node, registry_list(d->registry)) {
		struct attachment *a = list_entry(node, struct attachment, node);

		registry_look(d->registry, a);
		if (strcmp(a->spec.vm, vm) != 0 || (is_wanted && !is_wanted(a)))
			continue;
		if (collect_one(d, a, at_rest, s, e) < 0) {
			if (!unfit)
				return NULL;
			unfit(arg, a, e);
			*e = (struct err)ERR_INIT;
			told++;
		}
		str_copy(s->origin.uuid, sizeof(s->origin.uuid), a->spec.domain);
	}
	if (!s->attachment_count && !told) {
		err_set(e, ERR_NOT_FOUND, "NO-SUCH", "there is no VM %.64s with attachments", vm);
		err_fix(e, "iovctl list vms shows those there are");
		return NULL;
	}
	return steal_ptr(&s);
}

struct iostate *iostate_collect(struct daemon *d, const char *vm, struct err *e)
{
	return collect(d, vm, true, NULL, NULL, NULL, e);
}

struct iostate *iostate_collect_some(
	struct daemon *d, const char *vm, wanted_fn *is_wanted, struct err *e)
{
	return collect(d, vm, true, is_wanted, NULL, NULL, e);
}

struct iostate *iostate_describe(struct daemon *d, const char *vm, struct err *e)
{
	return collect(d, vm, false, NULL, NULL, NULL, e);
}

struct iostate *iostate_describe_fit(
	struct daemon *d, const char *vm, iostate_unfit_fn *unfit, void *arg, struct err *e)
{
	return collect(d, vm, false, NULL, unfit, arg, e);
}
