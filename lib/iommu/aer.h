/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Advanced Error Reporting of PCI Express: what sysfs counts for a function, in three files of lines
 * "NAME COUNT" and a last one, "TOTAL_... COUNT". That counts reports, each of which may have several names;
 * or none: of a fatal error the kernel does not ask the function, whose link may be down.
 */
#pragma once

#include "lib/sysfs.h"

enum aer_severity { AER_CORRECTABLE, AER_NONFATAL, AER_FATAL, AER_SEVERITIES };

extern const char *const aer_severity_names[AER_SEVERITIES]; /* "correctable" */

/* Of an error whose name could not be read. */
#define AER_NAMELESS "fatal: its link is down, so that its name cannot be read"

#define AER_NAME_MAX     24
#define AER_COUNTERS_MAX 32

struct aer_counter {
	char name[AER_NAME_MAX]; /* "CmpltTO" */
	uint64_t count;
};

/* Those of one severity. */
struct aer_counters {
	struct aer_counter at[AER_COUNTERS_MAX];
	size_t count;
	uint64_t total;
};

struct aer_facts {
	struct aer_counters of[AER_SEVERITIES];
};

/* Takes the text of such a file apart; what is no counter is left out. Pure. */
void aer_parse(const char *text, struct aer_counters *c);

/* Reads all of `id`. False if it has none (no AER, or the kernel leaves it to the firmware). */
bool aer_read(const struct sysroot *root, const char *id, struct aer_facts *facts);

/* How much more `now` has of a counter than `before` had. */
uint64_t aer_more(const struct aer_counters *before, const struct aer_counter *now);

/* How many reports came of which nobody knows the names. */
uint64_t aer_nameless(const struct aer_counters *before, const struct aer_counters *now);

/* The name in words: "a completion did not come in time"; the name itself where nobody knows. */
const char *aer_words(const char *name);
