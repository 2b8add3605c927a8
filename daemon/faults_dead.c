/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Devices that do not answer any more: all that is read of their configuration space is ones. Nobody tells
 * that, so it is looked at, of devices that a machine has: now and then, and when something else was
 * reported of them. Reading can block (the kernel waits for a reset that is going on), and so is a
 * hand's. What a hand works at is called "answer of ID": a device that cannot be read yet is not wedged.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/faults_hand.h"
#include "daemon/faults_priv.h"
#include "daemon/hands.h"
#include "daemon/inventory.h"
#include "lib/cleanup.h"
#include "lib/iommu/pci_path.h"
#include "lib/log.h"

#define LOOK_MS 15000 /* between two looks at all */
#define HAND_MS 30000

/* Until the hand answers: the attachment may be gone by then. */
struct dead_look {
	struct faults *f;
	char id[KEEPER_ID_SIZE];
};

static void tell(struct faults *f, struct attachment *a, const char *device)
{
	struct fault_entry like = {.source = "iovd",
		.code = "FAULT-DEAD",
		.reason = "it does not answer any more: its configuration space is all ones",
		.count = 1,
		.stream = -1,
		.pasid = -1};

	like.time_ms = like.latest_ms = utc_now_ms();
	str_copy(like.device, sizeof(like.device), device);
	faults_name(&like, a);
	faults_tell(f, &like);
}

static void judge(struct faults *f, struct attachment *a, const struct faults_answer *answer)
{
	bool was_dead = a->storm.is_dead;

	a->storm.is_dead = answer->dead[0] != '\0';
	if (was_dead || !a->storm.is_dead)
		return;
	tell(f, a, answer->dead);
	faults_report_of(f, a, FAULTS_DEAD, 1);
	faults_policy_dead(f, a);
}

static void look_done(void *arg, const void *result, size_t len, int fd, const struct err *e)
{
	auto_free struct dead_look *look = arg;
	struct attachment *a = registry_by_id(look->f->d->registry, look->id);

	close_fd(&fd);
	if (!a)
		return;
	a->storm.is_looked_at = false;
	if (e || len < sizeof(struct faults_answer))
		log_debug("faults", "%s: whether it answers is not known: %s", look->id,
			e ? e->msg : "no answer");
	else if (a->state == ATTACHMENT_ACTIVE && !a->busy)
		judge(look->f, a, result);
}

static void look_at(struct faults *f, struct attachment *a)
{
	const struct sysroot *sysroot = inventory_sysroot(f->d->inventory);
	const char *root = sysroot_is_live(sysroot) ? "/" : sysroot_path(sysroot);
	char ids[FAULTS_IDS_MAX], object[PCI_ADDR_MAX + 16];
	const char *const words[HAND_WORDS] = {FAULTS_WORK_ANSWER, root, ids};
	struct dead_look *look;
	struct err e = ERR_INIT;

	/* While it changes hands, whoever renews it finds out. */
	if (a->spec.path != ATTACHMENT_PASSTHROUGH || a->state != ATTACHMENT_ACTIVE || a->busy ||
		a->storm.is_looked_at || !(look = calloc(1, sizeof(*look))))
		return;
	faults_ids_of(a, ids);
	snprintf(object, sizeof(object), "answer of %.*s", PCI_ADDR_MAX, a->spec.device);
	look->f = f;
	str_copy(look->id, sizeof(look->id), a->spec.id);
	if (hands_do(f->d->hands, object, words, HAND_MS, look_done, look, &e) < 0) {
		log_debug("faults", "%s: whether it answers is not known: %s", a->spec.id, e.msg);
		free(look);
		return;
	}
	a->storm.is_looked_at = true;
}

void faults_dead_look(struct faults *f, const char *id)
{
	list_for_each (node, registry_list(f->d->registry)) {
		struct attachment *a = list_entry(node, struct attachment, node);

		if (faults_concerns(f, a, id))
			look_at(f, a);
	}
}

static void look_at_all(void *arg, unsigned int events)
{
	struct faults *f = arg;

	(void)events;
	list_for_each (node, registry_list(f->d->registry))
		look_at(f, list_entry(node, struct attachment, node));
	f->d->loop->ops->set_timer(f->dead, LOOK_MS);
}

int faults_dead_new(struct faults *f, struct err *e)
{
	f->dead = f->d->loop->ops->add_timer(f->d->loop, LOOK_MS, look_at_all, f, e);
	return f->dead ? 0 : -1;
}

void faults_dead_free(struct faults *f)
{
	f->d->loop->ops->remove(f->dead);
}

/* --- in the hand ------------------------------------------------------------------------------ */

int faults_work_answer(char **words, void *result, int *fd, struct err *e)
{
	struct faults_answer *answer = result;
	struct sysroot *root;
	char *rest = words[1];
	const char *id;

	(void)fd;
	*answer = (struct faults_answer){.dead = ""};
	if (sysroot_open(words[0], &root, e) < 0)
		return -1;
	while (!answer->dead[0] && (id = strsep(&rest, ","))) {
		struct pci_config c;

		if (!pci_config_read(root, id, &c) && c.is_dead)
			str_copy(answer->dead, sizeof(answer->dead), id);
	}
	sysroot_close(root);
	return 0;
}
