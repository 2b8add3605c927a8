/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What a hand does to a device that causes faults, while somebody has it. */
#pragma once

#include "lib/err.h"

#define FAULTS_WORK_BLOCK "fault-block"

struct faults_blocked {
	bool is_blocked; /* no function is a bus master any more */
	bool is_reset;   /* all of them were reset, if that was asked for */
	bool answers;    /* all of them do */
	char what[200];  /* what went wrong; or "" */
};

/* Words: ids with commas between them, "reset" or "block". */
int faults_work_block(char **words, void *result, int *fd, struct err *e);

#define FAULTS_WORK_ANSWER "fault-answer"

struct faults_answer {
	char dead[24]; /* the first that does not answer; "": all do */
};

/* Words: the sysroot, ids with commas between them. */
int faults_work_answer(char **words, void *result, int *fd, struct err *e);
