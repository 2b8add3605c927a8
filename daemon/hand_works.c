/* SPDX-License-Identifier: GPL-2.0-or-later */
/* All that hands can do, each by the module whose business it is. */
#include "daemon/backing.h"
#include "daemon/hands.h"

const struct hand_work hand_works[] = {
	{"open", sizeof(struct backing_facts), backing_work_open},
};
const unsigned int hand_work_count = ARRAY_SIZE(hand_works);
