/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Theory of operation.
 *
 * The page is a sealed memfd that a worker maps shared. When the worker is killed, the page holds
 * exactly the stores it had executed, in program order (x86 and arm64 alike: a process that maps it
 * afterwards reads memory, not another processor's reordered view). So "what survives a kill" is a
 * question of the order of stores alone, and everything here is a group of facts plus one store
 * that makes them count (page_commit):
 *
 *	message      message.word is one 64-bit word, so number, state and bytes consumed change
 *	             together. reply and lengths are written before the store that says ACTED.
 *	             Who writes it when: vu_message.c.
 *	region       desc, then epoch = mem_epoch. Removing is epoch = 0. Replacing the whole table
 *	             writes the new regions with epoch mem_epoch + 1 into free entries, then
 *	             mem_epoch + 1: the old ones stop and the new ones begin to count at once.
 *	in-flight,   the facts, then valid = 1. Changing them goes through valid = 0. The descriptor
 *	log          is in the vault before valid is set.
 *	ring         facts of a stopped ring are plain; started = 1 is stored when everything that a
 *	             successor needs to run it is in the page and the vault; on stopping, base is
 *	             stored before started = 0.
 *	gate         word, when it was heard; settled = word, when it has come true. A new word
 *	             makes the old settled mean nothing, so nothing has to be cleared.
 *	hold         reason, then number (vu_hold.c).
 *	requests     the facts, then state. Of the worker that wrote them; its successor clears
 *	             them when the dead one's I/O is over, and until then they say what is not.
 *	incoming     written by the daemon before there is a worker; then valid and arrived are the
 *	             worker's (vu_incoming.c).
 *	counters     plain stores; a kill may lose the count of one batch. Nothing depends on them.
 *
 * A descriptor in the vault that the page does not count (killed between the two) is dropped by the
 * successor; the page never counts one that is not there.
 */
#include "lib/backends/session_page_layout.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/cleanup.h"
#include "lib/fdio.h"

int session_page_create(struct err *e)
{
	auto_close int fd = fdio_sealed_memfd("iovd session page", SESSION_PAGE_SIZE, e);
	struct session_page *page;

	if (fd < 0)
		return err_wrap(e, "make a session page");
	page = mmap(NULL, SESSION_PAGE_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (page == MAP_FAILED)
		return err_sys(e, errno, "make a session page: map it");
	page->size = SESSION_PAGE_SIZE;
	page->version = SESSION_PAGE_VERSION;
	page->mem_epoch = 1;
	page->magic = SESSION_PAGE_MAGIC;
	munmap(page, SESSION_PAGE_SIZE);
	return steal_fd(&fd);
}

int session_page_set_gate(int fd, uint64_t word, struct err *e)
{
	const off_t at = offsetof(struct session_page, gate.word);

	if (pwrite(fd, &word, sizeof(word), at) != sizeof(word))
		return err_sys(e, errno, "write the session page");
	return 0;
}

int session_page_hold(int fd, uint32_t *number, struct err *e)
{
	const off_t at = offsetof(struct session_page, hold);
	const off_t reason_at = at + (off_t)offsetof(struct page_hold, reason);
	static const char reason[sizeof(((struct page_hold *)0)->reason)] = "its disk is changed";
	const off_t late_at = (off_t)offsetof(struct session_page, late.hold);
	const uint32_t none = 0;
	struct page_hold hold;

	if (pread(fd, &hold, sizeof(hold), at) != sizeof(hold))
		return err_sys(e, errno, "read the session page");
	/* What was late only is nobody's to release now but the daemon's. */
	if (pwrite(fd, &none, sizeof(none), late_at) != sizeof(none))
		return err_sys(e, errno, "write the session page");
	*number = hold.number;
	if (hold.number != hold.released)
		return 0;
	++*number;
	if (pwrite(fd, reason, sizeof(reason), reason_at) != sizeof(reason) ||
		pwrite(fd, number, sizeof(*number), at) != sizeof(*number))
		return err_sys(e, errno, "write the session page");
	return 0;
}

static int page_check(const struct session_page *page, struct err *e)
{
	if (page->magic != SESSION_PAGE_MAGIC)
		return err_set(e, ERR_FAILED, "SESSION-PAGE", "not a session page");
	if (page->version != SESSION_PAGE_VERSION || page->size != SESSION_PAGE_SIZE)
		return err_set(e, ERR_FAILED, "SESSION-PAGE",
			"a session page of version %u and %u bytes, not version %u and %u bytes",
			page->version, page->size, SESSION_PAGE_VERSION, SESSION_PAGE_SIZE);
	return 0;
}

struct session_page *session_page_map(int fd, struct err *e)
{
	struct session_page *page;
	struct stat st;

	if (fstat(fd, &st) < 0 || st.st_size != SESSION_PAGE_SIZE) {
		err_set(e, ERR_FAILED, "SESSION-PAGE", "session page: not %u bytes long",
			SESSION_PAGE_SIZE);
		return NULL;
	}
	page = mmap(NULL, SESSION_PAGE_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (page == MAP_FAILED) {
		err_sys(e, errno, "session page: map it");
		return NULL;
	}
	if (page_check(page, e) < 0) {
		munmap(page, SESSION_PAGE_SIZE);
		return NULL;
	}
	return page;
}

void session_page_unmap(struct session_page *page)
{
	if (page)
		munmap(page, SESSION_PAGE_SIZE);
}

/* The worker's words, made safe to print: it may have been taken over by its guest. */
static void copy_reason(char *dst, const char *src, size_t size)
{
	for (size_t i = 0; i < size - 1; i++) {
		dst[i] = src[i];
		if (!src[i])
			return;
		if (src[i] < ' ' || src[i] > '~')
			dst[i] = '?';
	}
	dst[size - 1] = '\0';
}

int session_page_read(int fd, struct session_page *page, struct err *e)
{
	ssize_t n = pread(fd, page, sizeof(*page), 0);

	if (n < 0)
		return err_sys(e, errno, "read the session page");
	if ((size_t)n != sizeof(*page))
		return err_set(e, ERR_FAILED, "SESSION-PAGE", "the session page ends early");
	return page_check(page, e);
}

int session_page_status(int fd, struct session_status *status, struct err *e)
{
	struct session_page page;

	if (session_page_read(fd, &page, e) < 0)
		return -1;
	*status = (struct session_status){
		.generation = page.generation,
		.connected = page.connected == 1,
		.started = page.started == 1,
		.failed = page.failed == 1,
		.in_flight = MIN(page.in_flight, VU_MAX_QUEUES * 1024u),
		.requests_completed = page.requests_completed,
		.replayed = page.replayed,
		.errors = page.errors,
		.timed_requests = page.timed_requests,
		.timed_ms = page.timed_ms,
		.vmm_sessions = page.vmm_sessions,
		.gate_word = page.gate.word,
		.incoming = page.incoming.valid == 1,
		.settled = page_gate_is_settled(&page),
		.tripped = page_gate_has_tripped(&page),
		.came_back = page_gate_came_back(&page),
		.logging = (page.features & VHOST_F_LOG_ALL) != 0,
		.moved_off = page.stopped_logging == 1 && page.started != 1,
		.torn = page_gate_is_torn(&page),
	};
	if (page.hold.number != page.hold.released)
		status->hold = page.hold.number;
	status->late = MIN(page.late.count, SESSION_REQUESTS_MAX);
	if (status->failed)
		copy_reason(status->reason, page.reason, sizeof(page.reason));
	else if (status->hold || !status->late)
		copy_reason(status->reason, page.hold.reason, sizeof(page.hold.reason));
	else
		copy_reason(status->reason, page.late.words, sizeof(page.late.words));
	return 0;
}

const char *const session_request_names[] = {
	[SESSION_READ] = "read",
	[SESSION_WRITE] = "write",
	[SESSION_FLUSH] = "flush",
	[SESSION_DISCARD] = "discard",
	[SESSION_ZERO] = "write zeroes",
};
static_assert(ARRAY_SIZE(session_request_names) == SESSION_REQUEST_WHATS, "a name for each");

static int by_age(const void *a, const void *b)
{
	const struct session_request *x = a, *y = b;

	return x->age_ms != y->age_ms ? (x->age_ms > y->age_ms ? -1 : 1)
				      : (x->sector > y->sector) - (x->sector < y->sector);
}

int session_page_requests(int fd, struct session_request *out, struct err *e)
{
	struct session_page page;
	uint64_t now = now_ms();
	int count = 0;

	if (session_page_read(fd, &page, e) < 0)
		return -1;
	for (unsigned int i = 0; i < SESSION_REQUESTS_MAX; i++) {
		const struct page_request *r = &page.requests[i];

		if (r->state == 0 || r->what >= SESSION_REQUEST_WHATS)
			continue;
		out[count++] = (struct session_request){
			.parked = r->state == SESSION_REQUEST_PARKED,
			.what = (enum session_request_what)r->what,
			.age_ms = now > r->since_ms ? now - r->since_ms : 0,
			.sector = r->sector,
			.sectors = r->sectors,
			.ring = MIN(r->ring, VU_MAX_QUEUES - 1u),
			.id = r->id,
		};
	}
	qsort(out, (size_t)count, sizeof(out[0]), by_age);
	return count;
}
