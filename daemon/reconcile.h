/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The start of the daemon: what is remembered, what the keeper still has, and what was left half
 * done are brought to agree, before anybody can ask.
 */
#pragma once

#include "lib/err.h"

struct daemon;
struct reconcile;

/* Opens the store in d->conf->state_dir, and makes store, registry and supervisor of `d`. */
int reconcile_open(struct daemon *d, int keeper_fd, struct err *e);

/*
 * Brings all to agree; done(arg) is called, from the loop, when nothing is half done any more (or
 * what is will take longer than clients should wait).
 */
int reconcile_begin(struct daemon *d, void (*done)(void *arg), void *arg, struct err *e);

/* The reverse of reconcile_open(). */
void reconcile_close(struct daemon *d);
