/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * When a machine's virtual function (VF) gives way to its standby, and when one comes back: the
 * decisions, and nothing else. No I/O, no clock: times are told, in milliseconds of any clock that
 * only goes forward.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

/* What is done with the VF now. */
enum failover_state {
	FAILOVER_REDUNDANT, /* it carries the traffic, and the standby could */
	FAILOVER_LEAVING,   /* it is being taken out of the machine */
	FAILOVER_SINGLE,    /* the standby carries the traffic, alone */
	FAILOVER_JOINING,   /* one is being put into the machine */
	FAILOVER_STATES
};

extern const char *const failover_state_names[FAILOVER_STATES];

/* What has happened. */
enum failover_event {
	FAILOVER_LINK_DOWN, /* of the VF's PF */
	FAILOVER_LINK_UP,
	FAILOVER_FAULT,        /* one more of the VF's */
	FAILOVER_ERROR,        /* it, or what it is part of, is broken: AER */
	FAILOVER_GONE,         /* it is not there any more */
	FAILOVER_PF_RESET,     /* it lost what it was set to */
	FAILOVER_STANDBY_DOWN, /* the standby can carry nothing */
	FAILOVER_STANDBY_UP,
	FAILOVER_HEALTHY, /* there is a VF that could be put in: its PF has a link, nobody has it, it is
			     not quarantined */
	FAILOVER_NONE_HEALTHY,
	FAILOVER_DONE,   /* what was begun (leaving, joining) has worked */
	FAILOVER_FAILED, /* it has not, and all is as it was before it */
	FAILOVER_TIME,   /* nothing: time has passed */
	FAILOVER_EVENTS
};

/* What to do now. */
enum failover_action {
	FAILOVER_NOTHING,
	FAILOVER_LEAVE, /* take the VF out; tell FAILOVER_DONE or _FAILED */
	FAILOVER_JOIN,  /* put a healthy one in, set as this one was; tell the same */
};

struct failover {
	enum failover_state state;
	bool standby_down, link_down, none_healthy;
	bool broken;           /* the VF must go as soon as the standby can take over */
	bool quarantine;       /* ... and no machine gets it until a person says so */
	const char *reason;    /* why it went, or must; NULL: all is well */
	uint64_t link_down_ms; /* since when */
	uint64_t faults_ms;    /* since when they are counted */
	unsigned int faults;   /* since then */
	uint64_t healthy_ms;   /* since when there is a healthy one */
	uint64_t wait_ms;   /* for how long there must be one: doubled by each that did not last */
	bool has_joined;    /* the VF came by itself, */
	uint64_t joined_ms; /* then */
	uint64_t retry_ms;  /* nothing is begun before: it has failed */
	uint64_t wakes_ms;  /* when FAILOVER_TIME is due; UINT64_MAX: never */
};

/* A pair that is whole. */
void failover_init(struct failover *f, uint64_t now_ms);

/* Takes an event in. FAILOVER_TIME may come at any time, and has to at f->wakes_ms. */
enum failover_action failover_step(struct failover *f, enum failover_event event, uint64_t now_ms);
