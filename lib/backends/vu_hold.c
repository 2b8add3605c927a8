/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Hold: the host could not do a request, and the guest is not told. The request is parked: it stays
 * marked in flight, and nothing of it is with the host. Nothing further is fetched.
 *
 * Theory of operation. The page counts the holds, and has the number of the last one that was
 * released; the two differ while the session is held. A request that was parked is never touched
 * again by the worker that parked it: like a worker's death, a hold ends by a successor, which
 * replays what is marked, in order -- when it is told that this hold is over, and not before:
 *
 *	page			what goes on				killed here, the successor ...
 *	----			------------				------------------------------
 *	n holds, n released	a request fails				replays it; it fails again
 *	n+1 holds		nothing is fetched, replays neither;	fetches nothing; all that is
 *				what else is with the host ends, well	marked waits in the region
 *				or by being parked
 *	(a successor)		the daemon has put another disk in	the same
 *				place, or the same one once more, and
 *				says: n+1 is released
 *	n+1 released		replays, then all is as always		replays
 *
 * A request that takes too long begins a hold, too, of which nothing is parked (vu_late.c).
 *
 * The word names the hold, so it can be said any number of times, and one that comes late does not
 * release the next hold.
 *
 * Parked requests hold up nobody: no memory of the VMM is in use for them. So a ring that has only
 * such requests stops when the VMM asks (GET_VRING_BASE), if they are in a region that the VMM
 * keeps: it gives it back when it starts the ring again. Where there is none, or while writes to
 * memory are logged (a migration, whose other side would know nothing of them), it has to wait, and
 * at the drain's deadline the connection is closed, which loses nothing either. (Carried, they have
 * to be stored elsewhere first, and then it need not wait for the log either: vu_gate.c.)
 */
#include <stdio.h>
#include <string.h>

#include "lib/backends/vu_session_priv.h"

bool vu_is_held(const struct vu_session *s)
{
	return s->page->hold.number != s->page->hold.released;
}

/* All that goes to the host has a note but what found no place for one. */
static void say_reason(struct vu_session *s, unsigned int note, int error)
{
	struct page_hold *hold = &s->page->hold;
	const struct page_request *r;

	if (!note) {
		snprintf(hold->reason, sizeof(hold->reason), "%s", strerror(error));
		return;
	}
	r = &s->page->requests[note - 1];
	snprintf(hold->reason, sizeof(hold->reason), "%s at sector %llu: %s",
		session_request_names[r->what], (unsigned long long)r->sector, strerror(error));
}

void vu_park(struct backend_host *host, unsigned int ring, struct virtq_chain *chain, int error)
{
	struct vu_session *s = container_of(host, struct vu_session, host);
	struct page_hold *hold = &s->page->hold;

	s->rings[ring].parked++;
	s->parked++;
	if (chain->note)
		page_commit(s->page->requests[chain->note - 1].state, SESSION_REQUEST_PARKED);
	if (vu_is_held(s) && !vu_hold_is_late(s))
		return;
	say_reason(s, chain->note, error);
	page_commit(s->page->late.hold, 0);
	page_commit(hold->number, hold->released + 1);
	vu_point("held");
	vu_report(s, "requests are held: %s", hold->reason);
	vu_changed(s);
}

void vu_session_release(struct vu_session *s, uint64_t number)
{
	if (!vu_is_held(s) || number != s->page->hold.number)
		return;
	if (s->parked) { /* only a successor finds them again */
		vu_report(s, "a hold is released under the worker that parked its requests");
		return;
	}
	page_commit(s->page->hold.released, s->page->hold.number);
	vu_point("released");
	vu_changed(s);
}

void vu_forget_parked(struct vu_ring *r)
{
	struct vu_session *s = r->s;

	for (unsigned int i = 0; r->parked && i < SESSION_REQUESTS_MAX; i++) {
		struct page_request *p = &s->page->requests[i];

		if (p->state != SESSION_REQUEST_PARKED || p->ring != r->index)
			continue;
		page_commit(p->state, 0);
		s->note_free[s->notes_free++] = (uint16_t)(i + 1);
	}
	vu_gate_forget(s, r->index);
	s->parked -= r->parked;
	s->in_flight -= r->parked;
	r->in_flight -= r->parked;
	r->parked = 0;
}
