/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The gate of a whole session: shut on the daemon's word, so that what is in flight drains and
 * nothing follows it (quiesce), until another word opens it.
 *
 * Theory of operation. The daemon's wish reaches a worker as one word (session_page.h): a number
 * that only grows, and whether to shut. The worker stores it in its page before it obeys, and obeys
 * what is in the page: so its successor does as well, from its first round on, and whatever the
 * daemon does meanwhile. When nothing is in flight any more behind a shut gate, that is stored too.
 *
 *	page		what goes on				killed here, the successor ...
 *	----		------------				------------------------------
 *	word w		before a word is heard			goes on as before; the daemon sees
 *							that w + 1 is not in the page, and tells it
 *	word w+1, shut	nothing new is fetched; replays are,	drains what the dead one's ring has,
 *			they are the rest of what drains	replays what is marked, drains that
 *	settled w+1	the host has nothing of ours		fetches nothing at all
 *	word w+2, open	as always; what the guest made		fetches
 *			available meanwhile is found by the
 *			round that follows, kick or not
 *
 * The daemon counts on "settled" only together with the very word that it told: what an earlier
 * word led to says nothing about this one. An older word than the page's is not obeyed: after an
 * upgrade of the keeper two daemons' words may arrive out of order.
 *
 * Settled is settled: replays that a VMM brings along later, in a region of its own (it reconnected
 * meanwhile), stay where they are too until the gate opens.
 *
 * With the flag "carry" what is in flight is not waited for but cancelled, where the host can show
 * that it was never sent; it stays marked in flight, and with nobody (parked). What cannot be
 * cancelled is waited for as always. Settled then means that the host has nothing of ours, not that
 * nothing is in flight: what is, is in the region. With "fence" that holds for what fails, too, since
 * the daemon has somebody end the path to the disk: whether that was proven, it knows. When the gate opens, those that this very worker
 * has parked go to the host again, in their order; a successor replays them.
 *
 * A VMM that stops its rings is about to take the guest's memory elsewhere, where the requests that are
 * carried are known only by the list that was made of them here. So it does not hear where a ring
 * stands before the daemon says that this list is "stored", on a disk or by the other side; when
 * nobody says so, it is sent off at the drain's deadline, and brings its region back when it comes again.
 *
 * Armed, the gate shuts by itself when the VMM stops a ring while writes to memory are logged: the
 * machine is about to go on elsewhere. By the time that the VMM hears where the ring stands, the page
 * says that the gate is shut, so nothing that the VMM does from then on -- start the rings again, as
 * it does when the move has failed; connect again, and replay -- makes a request of the guest move
 * before the daemon's next word. A successor finds the gate as shut. What has shut it is noted by the
 * word that armed it. The next word ends that, unless it arms as well and the VMM has not started a
 * ring since: then it says how to go on with what is in flight, for which the VMM waits just then
 * ("carry", "fence", "stored", as above). Killed while it notes that, a worker has noted a word which
 * is not heard yet, and the gate is as shut. A daemon that learns of the move by the log may come too late with
 * the first such word: armed when all rings have stopped so, the gate shuts at once.
 *
 * A VMM that leaves with rings that had not stopped yet -- it dies just then, or a drain took too long
 * and the connection was closed -- does not know where they stand: "torn" says so. Then the machine
 * must not go on elsewhere by what it knew.
 *
 * Shutting the gate does not ask the guest for anything and does not read its kicks: they only say
 * that it is worth looking, and opening the gate looks.
 */
#include <time.h>

#include "lib/backends/vu_session_priv.h"

bool vu_gate_is_shut(const struct vu_session *s)
{
	return page_gate_is_shut(s->page);
}

bool vu_gate_is_settled(const struct vu_session *s)
{
	return page_gate_is_settled(s->page);
}

bool vu_gate_bars_vmm(const struct vu_session *s)
{
	return page_gate_has_tripped(s->page) || s->page->gate.word & SESSION_GATE_AWAY;
}

/* What is armed only after that has tripped at once. */
void vu_gate_note_stop(struct vu_session *s)
{
	if (s->page->features & VHOST_F_LOG_ALL)
		page_commit(s->page->stopped_logging, 1);
}

void vu_gate_note_start(struct vu_session *s)
{
	page_commit(s->page->stopped_logging, 0);
	if (!page_gate_has_tripped(s->page) || page_gate_came_back(s->page))
		return;
	page_commit(s->page->trip.back, s->page->trip.word);
	vu_changed(s);
}

void vu_gate_note_end(struct vu_session *s)
{
	if (!vu_any_ring_started(s))
		return;
	page_commit(s->page->stopped_logging, 0);
	if (page_gate_has_tripped(s->page))
		page_commit(s->page->trip.torn, s->page->trip.word);
}

static void tell_carry(struct vu_session *s)
{
	s->backend->ops->carry(
		s->backend, vu_gate_carries(s), s->page->gate.word & SESSION_GATE_FENCE);
}

void vu_gate_trip(struct vu_session *s)
{
	if (!(s->page->gate.word & SESSION_GATE_ARM) || !(s->page->features & VHOST_F_LOG_ALL) ||
		page_gate_has_tripped(s->page))
		return;
	page_commit(s->page->trip.word, s->page->gate.word);
	vu_point("gate-tripped");
	tell_carry(s);
	vu_changed(s);
}

bool vu_gate_carries(const struct vu_session *s)
{
	return vu_gate_is_shut(s) && s->page->gate.word & SESSION_GATE_CARRY;
}

void vu_gate_carry(struct backend_host *host, unsigned int ring, struct virtq_chain *chain)
{
	struct vu_session *s = container_of(host, struct vu_session, host);

	assert(s->carried_count < SESSION_REQUESTS_MAX); /* no ring has that many with the kernel */
	s->rings[ring].parked++;
	s->parked++;
	if (chain->note)
		page_commit(s->page->requests[chain->note - 1].state, SESSION_REQUEST_PARKED);
	s->carried_ring[s->carried_count] = (uint8_t)ring;
	s->carried[s->carried_count++] = chain;
}

void vu_gate_forget(struct vu_session *s, unsigned int ring)
{
	unsigned int kept = 0;

	for (unsigned int i = 0; i < s->carried_count; i++) {
		if (s->carried_ring[i] == ring)
			continue;
		s->carried_ring[kept] = s->carried_ring[i];
		s->carried[kept++] = s->carried[i];
	}
	s->carried_count = kept;
}

/* The one that was fetched first of those that are left. */
static unsigned int first_carried(const struct vu_session *s)
{
	unsigned int first = 0;

	for (unsigned int i = 1; i < s->carried_count; i++)
		if (s->carried[i]->order < s->carried[first]->order)
			first = i;
	return first;
}

/* Held, they wait for a successor like all that is parked. */
static void take_up_again(struct vu_session *s)
{
	if (vu_is_held(s))
		s->carried_count = 0;
	while (s->carried_count) {
		unsigned int i = first_carried(s), ring = s->carried_ring[i];
		struct virtq_chain *chain = s->carried[i];

		s->carried[i] = s->carried[--s->carried_count];
		s->carried_ring[i] = s->carried_ring[s->carried_count];
		s->rings[ring].parked--;
		s->parked--;
		vu_note_end(s, chain);
		s->backend->ops->again(s->backend, ring, chain);
	}
}

/* Of a word that an earlier daemon said, and that never was heard. */
static void drop_promise(struct page_trip *trip, uint64_t word)
{
	if (trip->word < word)
		return;
	page_commit(trip->word, 0);
	trip->back = trip->torn = 0;
}

/* Before the word is heard, so that the gate is as shut when it is. */
static void keep_trip(struct vu_session *s, uint64_t word)
{
	struct page_trip *trip = &s->page->trip;

	if (!(word & SESSION_GATE_ARM))
		return;
	if (!page_gate_has_tripped(s->page) || page_gate_came_back(s->page)) {
		if (s->page->stopped_logging && !vu_any_ring_started(s))
			page_commit(trip->word, word);
		else
			drop_promise(trip, word);
		return;
	}
	if (page_gate_is_torn(s->page))
		page_commit(trip->torn, word);
	page_commit(trip->word, word);
	vu_point("trip-kept");
}

void vu_session_set_gate(struct vu_session *s, uint64_t word)
{
	if (word <= s->page->gate.word)
		return;
	keep_trip(s, word);
	page_commit(s->page->gate.word, word);
	vu_point("gate-heard");
	tell_carry(s);
	if (!vu_gate_carries(s))
		take_up_again(s);
	vu_changed(s);
}

/* Nothing in flight, or, carried, nothing of it with the host. */
static bool has_drained(const struct vu_session *s)
{
	if (vu_gate_carries(s))
		return s->in_flight == s->parked && !vu_rings_busy(s);
	return !s->in_flight && !vu_rings_taken(s);
}

void vu_gate_look(struct vu_session *s)
{
	if (!vu_gate_is_shut(s) || vu_gate_is_settled(s) || !has_drained(s))
		return;
	page_commit(s->page->gate.settled, s->page->gate.word);
	vu_point("gate-settled");
	vu_changed(s);
}

/* --- what is with the host ------------------------------------------------------------------- */

/* A tick old at most, and a fraction of the price: once for each request. */
static uint64_t about_now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC_COARSE, &ts);
	return (uint64_t)ts.tv_sec * 1000 + (uint64_t)ts.tv_nsec / 1000000;
}

void vu_notes_clear(struct vu_session *s)
{
	for (s->notes_free = 0; s->notes_free < SESSION_REQUESTS_MAX; s->notes_free++) {
		s->page->requests[s->notes_free].state = 0;
		s->note_free[s->notes_free] = (uint16_t)(SESSION_REQUESTS_MAX - s->notes_free);
	}
}

void vu_note_begin(struct backend_host *host, unsigned int ring, struct virtq_chain *chain,
	enum session_request_what what, uint64_t sector, uint64_t sectors)
{
	struct vu_session *s = container_of(host, struct vu_session, host);
	struct page_request *r;

	if (!s->notes_free) /* a device that holds more than a disk's ring does */
		return;
	chain->note = s->note_free[--s->notes_free];
	r = &s->page->requests[chain->note - 1];
	r->since_ms = about_now_ms();
	r->sector = sector;
	r->sectors = sectors;
	r->ring = (uint16_t)ring;
	r->what = (uint8_t)what;
	r->id = chain->id;
	page_commit(r->state, 1);
}

void vu_note_end(struct vu_session *s, struct virtq_chain *chain)
{
	if (!chain->note)
		return;
	page_commit(s->page->requests[chain->note - 1].state, 0);
	s->note_free[s->notes_free++] = chain->note;
	chain->note = 0;
}

/*
 * The clock moves in ticks of some milliseconds, so that most requests seem to take none, and some a
 * whole one. Since they begin and end at any point of a tick, the sum is right all the same.
 */
void vu_note_done(struct vu_session *s, struct virtq_chain *chain)
{
	uint64_t now;

	if (!chain->note)
		return;
	now = about_now_ms();
	s->page->timed_ms += now - MIN(now, s->page->requests[chain->note - 1].since_ms);
	s->page->timed_requests++;
	vu_note_end(s, chain);
}
