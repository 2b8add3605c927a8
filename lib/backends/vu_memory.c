/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the VMM shares: memory regions, the dirty log, the in-flight region. Each is a descriptor in
 * the vault and a fact in the session page; the order between the two is in session_page.c.
 *
 * A region may go only when no request uses it: all gates are shut, what is in flight ends, then it
 * goes and the gates open again. Adding one is at once.
 */
#include "lib/backends/vu_session_priv.h"

#include "lib/cleanup.h"

static bool counts(const struct vu_session *s, unsigned int i)
{
	return s->page->regions[i].epoch == s->page->mem_epoch;
}

static bool is_same(const struct guest_region_desc *a, const struct vu_region *b)
{
	return a->gpa == b->gpa && a->size == b->size && a->uva == b->uva;
}

static int find_region(const struct vu_session *s, const struct vu_region *region)
{
	for (int i = 0; i < GUEST_MEM_MAX_REGIONS; i++)
		if (counts(s, (unsigned int)i) && is_same(&s->page->regions[i].desc, region))
			return i;
	return -1;
}

/* An entry that does not count now, after `from`; -1: none. */
static int free_entry(const struct vu_session *s, int from)
{
	for (int i = from; i < GUEST_MEM_MAX_REGIONS; i++)
		if (!counts(s, (unsigned int)i))
			return i;
	return -1;
}

static struct guest_region_desc desc_of(const struct vu_region *r)
{
	return (struct guest_region_desc){
		.gpa = r->gpa,
		.size = r->size,
		.uva = r->uva,
		.offset = r->offset,
	};
}

/* Puts a region and its descriptor (consumed) where they begin to count with `epoch`. */
static int store_region(struct vu_session *s, unsigned int entry, const struct vu_region *region,
	int fd, uint64_t epoch, struct err *e)
{
	struct page_region *stored = &s->page->regions[entry];

	stored->epoch = 0;
	if (vault_put(s->vault, VAULT_MEM0 + entry, fd, e) < 0)
		return -1;
	vu_point("vault");
	stored->desc = desc_of(region);
	page_commit(stored->epoch, epoch);
	return 0;
}

enum vu_act vu_add_mem_reg(struct vu_session *s, struct err *e)
{
	const struct vu_region *region = &s->in.msg.body.region;
	struct guest_region_desc desc = desc_of(region);
	int entry = free_entry(s, 0);

	if (s->in.retry && find_region(s, region) >= 0)
		return VU_DONE;
	if (entry < 0) {
		err_set(e, ERR_REFUSED, "VU-MEMORY", "more than %u regions", GUEST_MEM_MAX_REGIONS);
		return VU_BROKEN;
	}
	if (guest_mem_add(s->mem, &desc, s->in.fds[0], e) < 0)
		return VU_BROKEN;
	if (store_region(s, (unsigned int)entry, region, vu_take_fd(s), s->page->mem_epoch, e) < 0)
		return VU_BROKEN;
	return VU_DONE;
}

enum vu_act vu_rem_mem_reg(struct vu_session *s, struct err *e)
{
	const struct vu_region *region = &s->in.msg.body.region;
	struct guest_region_desc desc = desc_of(region);
	int entry = find_region(s, region);

	if (entry < 0 && s->in.retry)
		return VU_DONE;
	if (entry < 0) {
		err_set(e, ERR_REFUSED, "VU-MEMORY", "no such region");
		return VU_BROKEN;
	}
	vu_rings_gate(s, true);
	if (vu_rings_busy(s))
		return VU_WAIT;
	page_commit(s->page->regions[entry].epoch, 0);
	vault_drop(s->vault, VAULT_MEM0 + (unsigned int)entry);
	if (guest_mem_remove(s->mem, &desc, e) < 0 || vu_rings_remap(s, e) < 0)
		return VU_BROKEN;
	vu_rings_gate(s, false);
	return VU_DONE;
}

/* Drops the descriptors of regions that do not count (any more). */
static void sweep_regions(struct vu_session *s)
{
	for (unsigned int i = 0; i < GUEST_MEM_MAX_REGIONS; i++)
		if (!counts(s, i))
			vault_drop(s->vault, VAULT_MEM0 + i);
}

static int map_counted(struct vu_session *s, struct err *e)
{
	for (unsigned int i = 0; i < GUEST_MEM_MAX_REGIONS; i++) {
		int fd = vault_fd(s->vault, VAULT_MEM0 + i);

		if (!counts(s, i))
			continue;
		if (fd < 0)
			return err_set(
				e, ERR_FAILED, "VU-MEMORY", "region %u is not in the vault", i);
		if (guest_mem_add(s->mem, &s->page->regions[i].desc, fd, e) < 0)
			return -1;
	}
	return 0;
}

enum vu_act vu_set_mem_table(struct vu_session *s, struct err *e)
{
	const struct vu_mem_table *table = &s->in.msg.body.mem;
	uint64_t next = s->page->mem_epoch + 1;
	int entry = -1;

	vu_rings_gate(s, true);
	if (vu_rings_busy(s))
		return VU_WAIT;
	for (unsigned int i = 0; i < table->count; i++) {
		int fd = s->in.fds[i];

		entry = free_entry(s, entry + 1);
		s->in.fds[i] = -1;
		if (entry < 0) {
			close(fd);
			err_set(e, ERR_REFUSED, "VU-MEMORY", "no room for another table");
			return VU_BROKEN;
		}
		if (store_region(s, (unsigned int)entry, &table->regions[i], fd, next, e) < 0)
			return VU_BROKEN;
	}
	page_commit(s->page->mem_epoch, next);
	vu_point("swapped");
	sweep_regions(s);
	guest_mem_clear(s->mem);
	if (map_counted(s, e) < 0 || vu_rings_remap(s, e) < 0)
		return VU_BROKEN;
	vu_rings_gate(s, false);
	return VU_DONE;
}

/* --- dirty log ------------------------------------------------------------------------------- */

static void close_log(struct vu_session *s)
{
	guest_mem_guard(s->mem, GUARD_LOG, NULL, 0);
	dirty_log_close(s->log);
	s->log = NULL;
}

static void use_log(struct vu_session *s, struct dirty_log *log)
{
	struct dirty_log *old = s->log;
	size_t len;
	void *base;

	s->log = log;
	vu_rings_update_log(s); /* nobody holds the old one from here on */
	base = dirty_log_base(log, &len);
	guest_mem_guard(s->mem, GUARD_LOG, base, len);
	dirty_log_close(old);
}

enum vu_act vu_set_log_base(struct vu_session *s, struct err *e)
{
	const struct vu_log *told = &s->in.msg.body.log;
	struct dirty_log *log;

	if (dirty_log_open(&log, s->in.fds[0], told->size, told->offset, guest_mem_end(s->mem), e) <
		0)
		return VU_BROKEN;
	s->page->log.valid = 0;
	use_log(s, log);
	if (vault_put(s->vault, VAULT_LOG, vu_take_fd(s), e) < 0)
		return VU_BROKEN;
	s->page->log.size = told->size;
	s->page->log.offset = told->offset;
	page_commit(s->page->log.valid, 1);
	vu_reply(s, vu_reply_empty(s->page->message.reply, s->in.msg.request), 0);
	return VU_DONE;
}

/* --- in-flight region ------------------------------------------------------------------------ */

static bool is_packed(const struct vu_session *s)
{
	return s->page->features & VIRTIO_F_RING_PACKED;
}

static int make_region(const struct page_inflight *facts, struct err *e)
{
	return fdio_sealed_memfd("iovd in-flight region", facts->size, e);
}

/* GET_INFLIGHT_FD hands out a fresh region; it is used when SET_INFLIGHT_FD brings it back. */
enum vu_act vu_get_inflight_fd(struct vu_session *s, struct err *e)
{
	struct vu_inflight told = s->in.msg.body.inflight;
	struct page_inflight facts;
	int fd;

	if (!told.num_queues || told.num_queues > s->ring_count || !told.queue_size ||
		told.queue_size > VIRTQ_MAX_SIZE) {
		err_set(e, ERR_REFUSED, "VU-INFLIGHT", "a region of %u rings of %u entries",
			told.num_queues, told.queue_size);
		return VU_BROKEN;
	}
	facts = (struct page_inflight){
		.size = inflight_region_size(told.num_queues, told.queue_size, is_packed(s)),
		.queues = told.num_queues,
		.queue_size = told.queue_size,
		.packed = is_packed(s),
	};
	told.mmap_size = facts.size;
	told.mmap_offset = 0;
	fd = make_region(&facts, e);
	if (fd < 0 || vault_put(s->vault, VAULT_REPLY, fd, e) < 0)
		return VU_BROKEN;
	vu_point("vault");
	vu_reply(s, vu_reply_inflight(s->page->message.reply, &s->in.msg, &told), 1 + VAULT_REPLY);
	return VU_DONE;
}

static int open_inflight(struct vu_session *s, int fd, const struct page_inflight *p, struct err *e)
{
	struct inflight *inflight;
	size_t len;
	void *base;

	if (inflight_open(&inflight, fd, p->size, p->offset, p->queues, p->queue_size,
		    (uint16_t)s->ring_count, p->packed, e) < 0)
		return -1;
	guest_mem_guard(s->mem, GUARD_INFLIGHT, NULL, 0);
	inflight_close(s->inflight);
	s->inflight = inflight;
	base = inflight_base(inflight, &len);
	guest_mem_guard(s->mem, GUARD_INFLIGHT, base, len);
	return vu_incoming_mark(s, p, e);
}

/* Opens a region, and puts its descriptor (consumed) and facts where a successor finds them. */
static int adopt_inflight(
	struct vu_session *s, int fd, const struct page_inflight *facts, struct err *e)
{
	auto_close int owned = fd;
	struct page_inflight *stored = &s->page->inflight;

	page_commit(stored->valid, 0);
	if (open_inflight(s, fd, facts, e) < 0)
		return -1;
	if (vault_put(s->vault, VAULT_INFLIGHT, steal_fd(&owned), e) < 0)
		return -1;
	vu_point("vault");
	*stored = *facts;
	page_commit(stored->valid, 1);
	return 0;
}

enum vu_act vu_set_inflight_fd(struct vu_session *s, struct err *e)
{
	const struct vu_inflight *told = &s->in.msg.body.inflight;
	struct page_inflight facts = {
		.size = told->mmap_size,
		.offset = told->mmap_offset,
		.queues = told->num_queues,
		.queue_size = told->queue_size,
		.packed = is_packed(s),
	};

	if (vu_any_ring_started(s)) {
		err_set(e, ERR_REFUSED, "VU-INFLIGHT", "a ring is running on the one before");
		return VU_BROKEN;
	}
	if (adopt_inflight(s, vu_take_fd(s), &facts, e) < 0)
		return VU_BROKEN;
	return VU_DONE;
}

int vu_make_inflight(struct vu_session *s, struct err *e)
{
	struct page_inflight facts = {
		.queues = (uint16_t)s->ring_count,
		.queue_size = VIRTQ_MAX_SIZE,
		.packed = is_packed(s),
		.ours = 1,
	};
	int fd;

	facts.size = inflight_region_size(facts.queues, facts.queue_size, facts.packed);
	fd = make_region(&facts, e);
	return fd < 0 ? -1 : adopt_inflight(s, fd, &facts, e);
}

void vu_inflight_drop(struct vu_session *s)
{
	page_commit(s->page->inflight.valid, 0);
	vault_drop(s->vault, VAULT_INFLIGHT);
	guest_mem_guard(s->mem, GUARD_INFLIGHT, NULL, 0);
	inflight_close(s->inflight);
	s->inflight = NULL;
}

/* --- all of it ------------------------------------------------------------------------------- */

static int restore_log(struct vu_session *s, struct err *e)
{
	struct dirty_log *log;
	const struct page_log *p = &s->page->log;

	if (!p->valid) {
		vault_drop(s->vault, VAULT_LOG);
		return 0;
	}
	if (dirty_log_open(&log, vault_fd(s->vault, VAULT_LOG), p->size, p->offset, 0, e) < 0)
		return -1;
	use_log(s, log);
	return 0;
}

int vu_memory_restore(struct vu_session *s, struct err *e)
{
	const struct page_inflight *p = &s->page->inflight;

	sweep_regions(s);
	if (map_counted(s, e) < 0 || restore_log(s, e) < 0)
		return -1;
	if (p->valid)
		return open_inflight(s, vault_fd(s->vault, VAULT_INFLIGHT), p, e);
	vault_drop(s->vault, VAULT_INFLIGHT);
	return 0;
}

void vu_memory_drop(struct vu_session *s)
{
	vu_inflight_drop(s);
	page_commit(s->page->log.valid, 0);
	vault_drop(s->vault, VAULT_LOG);
	close_log(s);
	page_commit(s->page->mem_epoch, s->page->mem_epoch + 1);
	vault_drop_range(s->vault, VAULT_MEM0, GUEST_MEM_MAX_REGIONS);
	guest_mem_clear(s->mem);
}
