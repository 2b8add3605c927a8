/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Spares: other paths to an attachment's volume, which take over by themselves. */
#pragma once

#include "daemon/attach.h"

/*
 * Looks whether requests are held that a spare could do, and if so begins to recover with the first
 * that may. To be called when something of the attachment may have changed, and now and then.
 */
void spare_look(struct daemon *d, struct attachment *a);

/*
 * Looks at the spares that are wished for (w->spec.rescue), beside the disk that was looked at: each
 * must be one that may take over. Calls w->done(), now or later.
 */
void spare_look_ahead(struct attach_wish *w);
