/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A notification that got lost must not cost more than a moment.
 *
 * Theory of operation. Each side tells the other from where on it wants to be notified, and then looks
 * whether that is the case already (virtio 1.2, 2.7.7 and 2.7.10). Both rely on a full barrier between
 * the two. A driver whose barrier is none (in a guest that QEMU's TCG runs in one thread the
 * processor's locked instructions become plain ones) may have its wish still on the way to memory when
 * we look for it, and not have seen what we wrote before we looked. Then nobody notifies anybody, and
 * the guest waits for ever for what is done, or was never fetched.
 *
 * What was on its way arrives within microseconds. So LOOK_MS after rounds in which something was
 * done all rings are looked at once more: for calls here, for kicks by the round that follows any
 * timer. While there is much to do that is one look every LOOK_MS; when nothing was done since the last
 * look there is none, and an idle guest costs nothing.
 */
#include "lib/backends/vu_session_priv.h"

#define LOOK_MS 2u

static void look(void *arg, unsigned int events)
{
	struct vu_session *s = arg;

	(void)events;
	s->look_set = false;
	for (unsigned int i = 0; i < s->ring_count; i++)
		vu_ring_call_after_all(&s->rings[i]);
}

int vu_second_look_begin(struct vu_session *s, struct err *e)
{
	s->look_timer = s->cfg.loop->ops->add_timer(s->cfg.loop, LOOK_MS, look, s, e);
	s->look_set = s->look_timer;
	return s->look_timer ? 0 : -1;
}

void vu_second_look_plan(struct vu_session *s)
{
	if (!s->look_due || s->look_set)
		return;
	s->look_due = false;
	s->look_set = true;
	s->cfg.loop->ops->set_timer(s->look_timer, LOOK_MS);
}
