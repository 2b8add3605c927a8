/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Why a path is closed, or less good than it could be: one table of rules over the fact model
 * (daemon/facts.h). A rule is a pure function of facts; its code has a page (lib/codes.h), with its
 * title, its fix in general, and what waives it. `explain`, `doctor` and what attach refuses are views
 * of this table.
 */
#pragma once

#include "daemon/facts.h"

/* What a rule is about. */
enum rule_about {
	RULE_HOST = 1 << 0, /* the host as a whole: `dev` is not there */
	RULE_PASSTHROUGH = 1 << 1,
	RULE_PARAVIRT = 1 << 2,
	RULE_VFS = 1 << 3,  /* making virtual functions of it */
	RULE_MOVE = 1 << 4, /* going along when its machine moves */
	RULE_EMULATED = 1 << 5,
	/* The machine that is to have a device: `machine` is there, `dev` may not be. */
	RULE_VM_PASSTHROUGH = 1 << 6,
	RULE_VM_PARAVIRT = 1 << 7,
};

enum rule_weight {
	RULE_CLOSES,  /* attach refuses, where it comes to that: the rule tells of it before */
	RULE_REFUSES, /* attach refuses by this very rule */
	RULE_WARNS,   /* open, but something is amiss */
	RULE_NOTES,   /* nothing is amiss: worth knowing */
};

struct facts {
	const struct host_facts *host;
	const struct device_facts *dev; /* NULL for RULE_HOST alone */
	const struct machine_facts *machine;
};

/*
 * True if it applies: then e has the sentence, what was seen and what to do (empty: what the page
 * says); the code is the row's.
 */
typedef bool rule_fn(const struct facts *f, struct err *e);

struct rule {
	const char *code;
	unsigned int about; /* of enum rule_about: RULE_HOST | RULE_PASSTHROUGH closes it for all */
	enum rule_weight weight;
	rule_fn *applies;
};

struct rule_table {
	const struct rule *rules;
	size_t count;
};

extern const struct rule_table rules_host, rules_groups, rules_devices, rules_functions,
	rules_machines;

/* What a rule found. */
struct finding {
	const char *code;
	enum rule_weight weight;
	struct err e;
};

#define RULES_MAX_FINDINGS 32

struct findings {
	struct finding at[RULES_MAX_FINDINGS];
	size_t count;
};

/* Adds what applies, of all rules about any of `about`, in the order of the table. */
void rules_judge(const struct facts *f, unsigned int about, struct findings *found);

/* Adds one that something else than a rule has found, unless its code is there. */
void findings_add(struct findings *found, const struct err *e);

bool finding_closes(const struct finding *f);
bool findings_are_open(const struct findings *found);

/* For rules: the sentence. Returns true, so that `return rule_says(...)` reads well. */
bool rule_says(struct err *e, const char *fmt, ...) PRINTF_LIKE(2, 3);
