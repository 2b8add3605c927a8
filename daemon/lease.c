/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Theory of operation: who has the lease on a volume, and where that is known.
 *
 * A domain's disk that is a file has a lease as long as it is attached: a lock of a description that
 * the keeper holds (VAULT_LEASE), and a line in an attribute of the file (lease_hand.c). Neither
 * daemon nor worker holds it by living, so the death of either gives nothing away. A worker never gets
 * the description: its guest may have taken it over.
 *
 * The lease is taken when the disk is attached, in the background (lease_keep_up()): at that time
 * workers' own locks keep two hosts apart, and a volume that can hold none is attached all the same.
 * It only cannot move without a channel then: who would arrive elsewhere finds no lease to wait for.
 *
 * Where the baton goes by a channel the lease follows it: passed on when the baton is away, taken
 * when it is here. Where there is none, the lease is the baton: baton_lease.c has those steps, and
 * nothing is done here for such a VM.
 *
 * killed ...				the next daemon finds ...
 * while a hand takes it		written as held by us, and not locked: taken again
 * between the hand and the keeper	the same
 * with a description in the keeper	what it is worth: an act says so, and may be done twice
 * (the keeper)				no description: opened and taken anew
 */
#include "daemon/lease.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "daemon/backing.h"
#include "daemon/baton.h"
#include "daemon/daemon.h"
#include "daemon/supervisor.h"
#include "daemon/tap_node.h"
#include "lib/cleanup.h"
#include "lib/fault.h"
#include "lib/log.h"
#include "lib/nbd_uri.h"

#define ACT_MS   60000 /* what was written may have to get to the disk */
#define AGAIN_MS 5000

bool lease_is_needed(const struct attachment *a)
{
	return a->spec.path == ATTACHMENT_PARAVIRT && !a->spec.readonly &&
	       !tap_node_is(a->spec.node);
}

bool lease_fits(const struct attachment *a)
{
	return lease_is_needed(a) && a->spec.domain[0] && a->disk.number == 0 &&
	       !nbd_uri_is(a->spec.node);
}

/* --- who we are ------------------------------------------------------------------------------- */

static int read_id(void *arg, const struct store_row *row)
{
	const char *id = store_row_text(row, 0);

	return id && str_copy(arg, LEASE_HOST_SIZE, id) ? 0 : -1;
}

/* Of this iovd, for ever: two on one machine are two hosts. */
static int own_id(struct daemon *d, char id[LEASE_HOST_SIZE], struct err *e)
{
	static const char read[] = "SELECT id FROM lease_host";
	static const char write[] = "INSERT INTO lease_host VALUES (?)";
	uint8_t bytes[(LEASE_HOST_SIZE - 1) / 2];

	id[0] = '\0';
	if (store_run(d->store, read, STORE_NO_BIND, read_id, id, e) < 0)
		return -1;
	if (id[0])
		return 0;
	if (getrandom(bytes, sizeof(bytes), 0) != sizeof(bytes))
		return err_sys(e, errno, "name this host");
	for (unsigned int i = 0; i < sizeof(bytes); i++)
		snprintf(&id[(size_t)2 * i], 3, "%02x", bytes[i]);
	return store_run(d->store, write, STORE_BIND(STORE_TEXT(id)), NULL, NULL, e);
}

/* --- a description --------------------------------------------------------------------------- */

struct claiming {
	lease_claim_fn *done;
	void *arg;
};

static void claimed(void *arg, const void *result, size_t len, int fd, const struct err *e)
{
	struct claiming x = *(struct claiming *)arg;
	struct lease_seen seen = {0};

	free(arg);
	if (!e && len >= sizeof(seen))
		memcpy(&seen, result, sizeof(seen));
	fault_point("lease-claim");
	x.done(x.arg, e ? NULL : &seen, fd, e);
}

static int open_by_hand(struct daemon *d, const char *node, const char *vm, const char *how,
	lease_claim_fn *done, void *arg, struct err *e)
{
	struct claiming *x = malloc(sizeof(*x));
	char host[LEASE_HOST_SIZE];
	const char *const words[HAND_WORDS] = {LEASE_WORK_OPEN, node, host, vm, how, NULL};

	if (!x)
		return err_set(e, ERR_FAILED, "MEMORY", "no memory for a lease");
	*x = (struct claiming){.done = done, .arg = arg};
	if (own_id(d, host, e) == 0 && hands_do(d->hands, node, words, ACT_MS, claimed, x, e) == 0)
		return 0;
	free(x);
	return -1;
}

/* --- acts ------------------------------------------------------------------------------------- */

/* A hand at work for an attachment, which may be gone when it comes back. */
struct acting {
	struct daemon *d;
	char id[KEEPER_ID_SIZE];
	enum lease_act act;
	lease_done_fn *done;
	void *arg;
};

static void note_seen(struct attachment *a, enum lease_act act, const struct lease_seen *seen)
{
	if (act == LEASE_ACT_PASS)
		a->lease.is_ours = false;
	else if (seen->is_ours)
		a->lease.is_ours = true;
	if (seen->is_written)
		a->lease.epoch = seen->lease.epoch;
}

static void acted(void *arg, const void *result, size_t len, int fd, const struct err *e)
{
	struct acting *x = arg;
	struct acting copy = *x;
	struct attachment *a = registry_by_id(x->d->registry, x->id);
	struct lease_seen seen = {0};

	free(x);
	close_fd(&fd);
	if (!e && len >= sizeof(seen))
		memcpy(&seen, result, sizeof(seen));
	if (a)
		a->lease.is_busy = false;
	if (a && !e)
		note_seen(a, copy.act, &seen);
	fault_point("%s", lease_works[copy.act]);
	copy.done(copy.arg, e ? NULL : &seen, e);
}

static int act_now(struct acting *x, struct attachment *a, struct err *e)
{
	char description[32], host[LEASE_HOST_SIZE];
	const char *const words[HAND_WORDS] = {
		lease_works[x->act], description, host, a->spec.domain, NULL};

	snprintf(description, sizeof(description), "%d:%d", (int)getpid(), a->lease.fd);
	if (own_id(x->d, host, e) < 0)
		return -1;
	return hands_do(x->d->hands, a->spec.node, words, ACT_MS, acted, x, e);
}

/* A new keeper has lost it, and whatever it held. */
static void reopened(void *arg, const struct lease_seen *seen, int fd, const struct err *e)
{
	struct acting *x = arg;
	struct attachment *a = registry_by_id(x->d->registry, x->id);
	struct err own = ERR_INIT;

	(void)seen;
	if (!e && !a)
		e = (err_set(&own, ERR_NOT_FOUND, "NO-SUCH", "%s is gone", x->id), &own);
	if (!e && supervisor_fill(x->d->supervisor, a, VAULT_LEASE, fd, &own) < 0)
		e = &own;
	if (!e) {
		close_fd(&a->lease.fd);
		a->lease.fd = steal_fd(&fd);
		if (act_now(x, a, &own) == 0)
			return;
		e = &own;
	}
	acted(x, NULL, 0, fd, e);
}

int lease_act(struct daemon *d, struct attachment *a, enum lease_act act, lease_done_fn *done,
	void *arg, struct err *e)
{
	struct acting *x = calloc(1, sizeof(*x));
	int rc;

	if (!x)
		return err_set(e, ERR_FAILED, "MEMORY", "no memory for a lease");
	*x = (struct acting){.d = d, .act = act, .done = done, .arg = arg};
	str_copy(x->id, sizeof(x->id), a->spec.id);
	rc = a->lease.fd >= 0
		     ? act_now(x, a, e)
		     : open_by_hand(d, a->spec.node, a->spec.domain, "just", reopened, x, e);
	if (rc == 0)
		a->lease.is_busy = true;
	else
		free(x);
	return rc;
}

/* --- claiming --------------------------------------------------------------------------------- */

int lease_claim(struct daemon *d, const char *node, const char *vm, lease_claim_fn *done, void *arg,
	struct err *e)
{
	if (nbd_uri_is(node)) {
		err_set(e, ERR_REFUSED, "LEASE-NONE", "%s can hold no lease", node);
		return err_evidence(e, "NBD has none");
	}
	return open_by_hand(d, node, vm, "claim", done, arg, e);
}

/* --- kept up ---------------------------------------------------------------------------------- */

struct opening {
	struct daemon *d;
	char id[KEEPER_ID_SIZE];
};

/* What cannot hold one is not asked again, until there is another one in its place. */
static void not_ours(struct attachment *a, const struct err *e)
{
	a->lease.again_ms = now_ms() + AGAIN_MS;
	a->lease.is_none = strcmp(e->code, "LEASE-NONE") == 0;
	if (a->lease.is_none)
		log_info("%s: has no lease: %s (%s)", a->spec.id, e->msg, e->evidence);
	else if (a->lease.is_early && strcmp(e->code, "LEASE-HELD") == 0)
		log_debug("lease", "%s: not passed on yet (%s)", a->spec.id, e->evidence);
	else
		log_warning("%s: has no lease yet: %s (%s)", a->spec.id, e->msg, e->evidence);
}

static void opened(void *arg, const struct lease_seen *seen, int fd, const struct err *e)
{
	struct opening x = *(struct opening *)arg;
	struct attachment *a = registry_by_id(x.d->registry, x.id);
	struct err own = ERR_INIT;

	free(arg);
	if (a)
		a->lease.is_busy = false;
	if (a && !e && supervisor_fill(x.d->supervisor, a, VAULT_LEASE, fd, &own) < 0)
		e = &own;
	if (a && !e) {
		close_fd(&a->lease.fd);
		a->lease.fd = fd;
		note_seen(a, LEASE_ACT_TAKE, seen);
		log_debug("lease", "%s: ours, epoch %llu", a->spec.id,
			(unsigned long long)a->lease.epoch);
		return;
	}
	close_fd(&fd);
	if (a)
		not_ours(a, e);
}

/* One at a time: a->lease.is_busy. */
static void note_asked(struct daemon *d, struct attachment *a)
{
	a->lease.is_busy = true;
	a->lease.is_early = baton_is_arriving(d, a->spec.vm);
	a->lease.asked = a->disk;
}

static int open_own(struct daemon *d, struct attachment *a, struct err *e)
{
	struct opening *x = malloc(sizeof(*x));

	if (!x)
		return err_set(e, ERR_FAILED, "MEMORY", "no memory for a lease");
	x->d = d;
	str_copy(x->id, sizeof(x->id), a->spec.id);
	if (open_by_hand(d, a->spec.node, a->spec.domain, "own", opened, x, e) < 0) {
		free(x);
		return -1;
	}
	note_asked(d, a);
	return 0;
}

static void kept_up(void *arg, const struct lease_seen *seen, const struct err *e)
{
	struct opening x = *(struct opening *)arg;
	struct attachment *a = registry_by_id(x.d->registry, x.id);

	(void)seen;
	free(arg);
	if (a && e)
		not_ours(a, e);
}

static int act_alone(struct daemon *d, struct attachment *a, enum lease_act act, struct err *e)
{
	struct opening *x = malloc(sizeof(*x));

	if (!x)
		return err_set(e, ERR_FAILED, "MEMORY", "no memory for a lease");
	x->d = d;
	str_copy(x->id, sizeof(x->id), a->spec.id);
	if (lease_act(d, a, act, kept_up, x, e) < 0) {
		free(x);
		return -1;
	}
	note_asked(d, a);
	return 0;
}

/* It has been recovered onto another one: the lease on that is another, too, or can be one, or none. */
static void forget_other_volume(struct attachment *a)
{
	const struct attachment_disk *asked = &a->lease.asked, *now = &a->disk;

	if (asked->fs != now->fs || asked->inode != now->inode || asked->number != now->number)
		a->lease.is_none = false;
	if (a->lease.fd < 0 || backing_is(a->lease.fd, now->fs, now->inode, now->number))
		return;
	close_fd(&a->lease.fd);
	a->lease.is_ours = false;
}

void lease_keep_up(struct daemon *d, struct attachment *a)
{
	bool wanted = a->baton == BATON_HERE || a->baton == BATON_ARMED;
	struct err e = ERR_INIT;
	int rc = 0;

	if (a->lease.is_busy || a->restoring || a->kept != KEPT_ATTACHED || a->busy ||
		a->disk_changes || a->worker.generation == 0 || baton_goes_by_lease(d, a->spec.vm))
		return;
	forget_other_volume(a);
	if (!lease_fits(a) || a->lease.is_none)
		return;
	if (wanted == a->lease.is_ours || now_ms() < a->lease.again_ms)
		return;
	if (a->lease.fd < 0)
		rc = wanted ? open_own(d, a, &e) : 0;
	else
		rc = act_alone(d, a, wanted ? LEASE_ACT_TAKE : LEASE_ACT_PASS, &e);
	if (rc < 0)
		not_ours(a, &e);
}
