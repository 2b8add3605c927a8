/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Theory of operation
 *
 *	redundant --it must go, and the standby can--> leaving --done--> single
 *	single --a healthy one, for long enough--> joining --done--> redundant
 *	leaving --failed--> redundant		joining --failed--> single
 *
 * Why a VF must go, and whether it is quarantined then:
 *
 *	its PF's link is down for LINK_MS	no: the port may come back, and the VF is well
 *	STORM faults within STORM_MS		yes
 *	an error that is not corrected (AER)	yes
 *	it is gone, its PF was reset		no: it is another one by now
 *
 * STORM is as many as Linux tells of VT-d's in STORM_MS: a device that is well has none, and as there
 * is a standby, to be wrong costs little.
 *
 * The link's rest of LINK_MS is for a cable that is touched: it is short, since the guest's own driver
 * sees the link, too, and has moved to the standby by itself. What has been decided stays so: a link
 * that comes back while the VF is leaving finds it gone, and it comes back like any other.
 *
 * While the standby is down nothing leaves: a VF that is ill is more than nothing. It leaves when the
 * standby is back, unless what ailed it was its link and that is back first.
 *
 * Hysteresis: one comes in after a healthy one has been there for wait_ms without a break, WAIT_MS at
 * first. After one that went again within CALM_MS of its coming the next one waits twice as long, up to
 * WAIT_MAX_MS; one that stayed longer makes all be forgotten. So a port that flaps for an hour costs the
 * guest a few changes, and one that failed once is back in seconds.
 */
#include "daemon/failover.h"

#include <assert.h>
#include <stddef.h>

#include "lib/util.h"

#define LINK_MS     250
#define STORM       3
#define STORM_MS    5000
#define WAIT_MS     5000
#define WAIT_MAX_MS 320000
#define CALM_MS     600000
#define RETRY_MS    1000 /* for what has failed */
#define NEVER       UINT64_MAX

const char *const failover_state_names[] = {
	[FAILOVER_REDUNDANT] = "redundant",
	[FAILOVER_LEAVING] = "leaving",
	[FAILOVER_SINGLE] = "single",
	[FAILOVER_JOINING] = "joining",
};
static_assert(ARRAY_SIZE(failover_state_names) == FAILOVER_STATES, "a name for each state");

/* --- what has happened ------------------------------------------------------------------------ */

/* Of a VF that is not there any more there is nothing to say. */
static void must_go(struct failover *f, const char *reason, bool quarantine)
{
	if (f->state == FAILOVER_SINGLE)
		return;
	f->broken = true;
	f->quarantine = f->quarantine || quarantine;
	f->reason = reason;
}

static void link_down(struct failover *f, uint64_t now_ms)
{
	if (!f->link_down)
		f->link_down_ms = now_ms;
	f->link_down = f->state != FAILOVER_SINGLE;
}

static void link_up(struct failover *f, uint64_t now_ms)
{
	(void)now_ms;
	f->link_down = false;
}

static void fault(struct failover *f, uint64_t now_ms)
{
	if (!f->faults || now_ms - f->faults_ms >= STORM_MS) {
		f->faults = 0;
		f->faults_ms = now_ms;
	}
	if (++f->faults >= STORM)
		must_go(f, "its faults do not end", true);
}

static void error(struct failover *f, uint64_t now_ms)
{
	(void)now_ms;
	must_go(f, "it has failed", true);
}

static void gone(struct failover *f, uint64_t now_ms)
{
	(void)now_ms;
	must_go(f, "it is gone", false);
}

static void pf_reset(struct failover *f, uint64_t now_ms)
{
	(void)now_ms;
	must_go(f, "its physical function was reset", false);
}

static void standby_down(struct failover *f, uint64_t now_ms)
{
	(void)now_ms;
	f->standby_down = true;
}

static void standby_up(struct failover *f, uint64_t now_ms)
{
	(void)now_ms;
	f->standby_down = false;
}

static void healthy(struct failover *f, uint64_t now_ms)
{
	if (f->none_healthy)
		f->healthy_ms = now_ms;
	f->none_healthy = false;
}

static void none_healthy(struct failover *f, uint64_t now_ms)
{
	(void)now_ms;
	f->none_healthy = true;
}

static void has_left(struct failover *f, uint64_t now_ms)
{
	bool was_short = f->has_joined && now_ms - f->joined_ms < CALM_MS;

	f->state = FAILOVER_SINGLE;
	f->wait_ms = was_short ? MIN(2 * f->wait_ms, WAIT_MAX_MS) : WAIT_MS;
	f->healthy_ms = now_ms;
	f->broken = f->link_down = false;
}

static void has_joined(struct failover *f, uint64_t now_ms)
{
	f->state = FAILOVER_REDUNDANT;
	f->joined_ms = now_ms;
	f->has_joined = true;
}

static void done(struct failover *f, uint64_t now_ms)
{
	if (f->state == FAILOVER_LEAVING)
		has_left(f, now_ms);
	else if (f->state == FAILOVER_JOINING)
		has_joined(f, now_ms);
}

static void failed(struct failover *f, uint64_t now_ms)
{
	if (f->state == FAILOVER_LEAVING)
		f->state = FAILOVER_REDUNDANT;
	else if (f->state == FAILOVER_JOINING)
		f->state = FAILOVER_SINGLE;
	else
		return;
	f->retry_ms = now_ms + RETRY_MS;
	f->healthy_ms = now_ms; /* of joining: all of the wait again */
}

static void time_passes(struct failover *f, uint64_t now_ms)
{
	(void)f;
	(void)now_ms;
}

static void (*const takers[])(struct failover *f, uint64_t now_ms) = {
	[FAILOVER_LINK_DOWN] = link_down,
	[FAILOVER_LINK_UP] = link_up,
	[FAILOVER_FAULT] = fault,
	[FAILOVER_ERROR] = error,
	[FAILOVER_GONE] = gone,
	[FAILOVER_PF_RESET] = pf_reset,
	[FAILOVER_STANDBY_DOWN] = standby_down,
	[FAILOVER_STANDBY_UP] = standby_up,
	[FAILOVER_HEALTHY] = healthy,
	[FAILOVER_NONE_HEALTHY] = none_healthy,
	[FAILOVER_DONE] = done,
	[FAILOVER_FAILED] = failed,
	[FAILOVER_TIME] = time_passes,
};
static_assert(ARRAY_SIZE(takers) == FAILOVER_EVENTS, "each event is taken in");

/* --- what to do ------------------------------------------------------------------------------- */

/* When the VF is to leave, as far as it is about the VF. */
static uint64_t leaves_at(const struct failover *f)
{
	if (f->broken)
		return f->retry_ms;
	return f->link_down ? MAX(f->link_down_ms + LINK_MS, f->retry_ms) : NEVER;
}

static uint64_t joins_at(const struct failover *f)
{
	return f->none_healthy ? NEVER : MAX(f->healthy_ms + f->wait_ms, f->retry_ms);
}

static enum failover_action leave(struct failover *f)
{
	f->state = FAILOVER_LEAVING;
	if (!f->broken)
		f->reason = "its link is down";
	return FAILOVER_LEAVE;
}

/* What was said of the one before is over. */
static enum failover_action join(struct failover *f)
{
	f->state = FAILOVER_JOINING;
	f->broken = f->quarantine = f->link_down = false;
	f->faults = 0;
	f->reason = NULL;
	return FAILOVER_JOIN;
}

static enum failover_action decide(struct failover *f, uint64_t now_ms)
{
	uint64_t at = NEVER;

	switch (f->state) {
	case FAILOVER_REDUNDANT:
		at = f->standby_down ? NEVER : leaves_at(f);
		if (at <= now_ms)
			return leave(f);
		break;
	case FAILOVER_SINGLE:
		at = joins_at(f);
		if (at <= now_ms)
			return join(f);
		break;
	case FAILOVER_LEAVING:
	case FAILOVER_JOINING:
	case FAILOVER_STATES:
		break;
	}
	f->wakes_ms = at;
	return FAILOVER_NOTHING;
}

void failover_init(struct failover *f, uint64_t now_ms)
{
	*f = (struct failover){
		.wait_ms = WAIT_MS, .healthy_ms = now_ms, .none_healthy = true, .wakes_ms = NEVER};
}

enum failover_action failover_step(struct failover *f, enum failover_event event, uint64_t now_ms)
{
	f->wakes_ms = NEVER;
	takers[event](f, now_ms);
	return decide(f, now_ms);
}
