/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Theory of operation: an attachment is handed over to who asks, `iovctl run`, which becomes the VMM
 * (its process id stays). With a node of its own for each function (VFIO_DEVICE_CDEV) and iommufd,
 * hands open them, one after the other, and the descriptors leave with the reply: the functions are
 * opened, but not bound, so the VMM binds them to its own iommufd as if it had opened them. Neither
 * hand nor daemon keeps one: the end of the VMM is the end of the last descriptor.
 *
 * Who has them is seen as always (daemon/passthrough.h): the open is heard, and /proc tells whose it
 * is as soon as they have arrived. While they are on their way the attachment is busy. A client that
 * goes away meanwhile, or takes no descriptors, is a VMM that has closed them.
 */
#include <errno.h>
#include <fcntl.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/daemon.h"
#include "daemon/dispatch.h"
#include "daemon/do.h"
#include "daemon/hands.h"
#include "daemon/handover.h"
#include "daemon/inventory.h"
#include "daemon/passthrough.h"
#include "daemon/registry.h"
#include "daemon/words.h"
#include "lib/cleanup.h"
#include "lib/fdio.h"
#include "lib/iommu/memlock.h"
#include "lib/iommu/vfio_device.h"

#define OPEN_MS      10000
#define IOMMUFD_NODE "/dev/iommu"
#define FIRST_FD_MAX 1000
#define NODES_MAX    FDIO_MAX_FDS

/* One that is on its way. */
struct handover {
	struct daemon *d;
	struct request *rq; /* NULL: the client has gone */
	char id[KEEPER_ID_SIZE];
	char user[REGISTRY_NAME_MAX];
	unsigned int first_fd;
	uint64_t memory_bytes;
	char nodes[NODES_MAX][VFIO_NODE_MAX]; /* to be opened: the iommufd, then the functions */
	unsigned int node_count, fd_count;
};

/* --- what is handed over ---------------------------------------------------------------------- */

static const char *function_id(const struct attachment_spec *spec, unsigned int i)
{
	return i ? spec->passthrough.companions[i - 1] : spec->device;
}

static unsigned int function_count(const struct attachment_spec *spec)
{
	return 1 + spec->passthrough.companion_count;
}

/* True if all can be opened by nodes of their own; they are in h->nodes then. */
static bool find_nodes(struct handover *h, const struct attachment *a)
{
	unsigned int count = function_count(&a->spec);
	struct vfio_nodes nodes;
	struct pci_addr addr;

	if (!a->has_cdev || count >= NODES_MAX)
		return false;
	str_copy(h->nodes[0], VFIO_NODE_MAX, IOMMUFD_NODE);
	for (unsigned int i = 0; i < count; i++) {
		if (!pci_addr_parse(function_id(&a->spec, i), &addr) ||
			vfio_nodes_find(inventory_sysroot(h->d->inventory), &addr, &nodes, NULL) <
				0 ||
			!nodes.cdev_node[0])
			return false;
		str_copy(h->nodes[1 + i], VFIO_NODE_MAX, nodes.cdev_node);
	}
	h->node_count = 1 + count;
	return true;
}

/* --- the answer ------------------------------------------------------------------------------- */

static void put_word(void *arg, const char *word)
{
	json_out_str(arg, NULL, word);
}

static void put_words(const struct handover *h, const struct attachment *a, struct json_out *o)
{
	struct words_fds fds = {.iommufd = (int)h->first_fd};

	for (unsigned int i = 1; i < h->node_count; i++)
		fds.functions[i - 1] = (int)(h->first_fd + i);
	json_out_array(o, "words");
	attachment_words(h->d->registry, a, h->node_count ? &fds : NULL, put_word, o);
	json_out_end(o);
}

static void answer(struct handover *h, const struct attachment *a)
{
	bool passes = a->spec.path == ATTACHMENT_PASSTHROUGH;
	struct json_out *o = request_begin_reply(h->rq);

	json_out_str(o, "schema", "iovd.handover/1");
	json_out_str(o, "attachment", a->spec.id);
	json_out_str(o, "user", h->user);
	put_words(h, a, o);
	json_out_u64(o, "fds", h->node_count);
	if (passes && h->memory_bytes)
		json_out_u64(o, "memlock_bytes",
			memlock_for_vmm(h->memory_bytes, function_count(&a->spec), false));
	else if (passes)
		json_out_null(o, "memlock_bytes");
	else
		json_out_u64(o, "memlock_bytes", 0);
	request_send_reply(h->rq);
}

/* --- opening ---------------------------------------------------------------------------------- */

/* The attachment, if it is still there. */
static struct attachment *handover_end(struct handover *h)
{
	struct attachment *a = registry_by_id(h->d->registry, h->id);

	if (!a)
		return NULL;
	a->busy = false;
	passthrough_look(h->d->passthrough, a);
	return a;
}

static void handover_fail(struct handover *h, const struct err *e)
{
	struct err words = *e;

	handover_end(h);
	err_wrap(&words, "hand over %s", h->id);
	if (h->rq)
		request_fail(h->rq, &words);
	free(h);
}

static void handover_done(struct handover *h)
{
	struct attachment *a = registry_by_id(h->d->registry, h->id);
	struct err e = ERR_INIT;

	if (!a || a->kept != KEPT_ATTACHED) {
		err_set(&e, ERR_FAILED, "GONE", "it was taken back meanwhile");
		handover_fail(h, &e);
		return;
	}
	answer(h, a);
	handover_end(h);
	free(h);
}

static void handover_gone(void *arg)
{
	((struct handover *)arg)->rq = NULL;
}

static int open_next(struct handover *h, struct err *e);

static void node_opened(void *arg, const void *result, size_t len, int fd, const struct err *why)
{
	struct handover *h = arg;
	struct err e = ERR_INIT;

	(void)result;
	(void)len;
	if (!why && fd < 0)
		err_set(&e, ERR_FAILED, "HAND", "%s was opened, and did not arrive",
			h->nodes[h->fd_count]);
	else if (!why && !h->rq)
		err_set(&e, ERR_FAILED, "GONE", "who asked for it has gone");
	if (why || e.kind != ERR_NONE) {
		close_fd(&fd);
		handover_fail(h, why ? why : &e);
		return;
	}
	request_add_fds(h->rq, &fd, 1);
	h->fd_count++;
	if (h->fd_count == h->node_count)
		handover_done(h);
	else if (open_next(h, &e) < 0)
		handover_fail(h, &e);
}

static int open_next(struct handover *h, struct err *e)
{
	const char *node = h->nodes[h->fd_count];
	const char *const words[HAND_WORDS] = {HANDOVER_WORK_OPEN, node, NULL};

	return hands_do(h->d->hands, node, words, OPEN_MS, node_opened, h, e);
}

int handover_work_open(char **words, void *result, int *fd, struct err *e)
{
	(void)result;
	*fd = open(words[0], O_RDWR | O_CLOEXEC | O_NOCTTY);
	return *fd < 0 ? err_sys(e, errno, "open %s", words[0]) : 0;
}

/* --- may it be? ------------------------------------------------------------------------------- */

static int check_state(struct daemon *d, const struct attachment *a, struct err *e)
{
	if (a->kept != KEPT_ATTACHED || a->busy)
		return err_set(e, ERR_BUSY, "BUSY", "%s is %s", a->spec.id,
			attachment_state_names[a->state]);
	if (a->spec.path != ATTACHMENT_PASSTHROUGH)
		return 0;
	if (passthrough_check_idle(d, a, e) < 0)
		return -1;
	if (a->state == ATTACHMENT_READY)
		return 0;
	err_set(e, ERR_REFUSED, "NOT-READY", "%s is %s", a->spec.id,
		attachment_state_names[a->state]);
	return err_evidence(e, "%s", a->reason);
}

/* What the VMM opens itself, a socket or a node, is for its owner alone. */
static int check_user(const struct handover *h, const struct attachment *a, struct err *e)
{
	if (!getpwnam(h->user))
		return err_set(e, ERR_NOT_FOUND, "USER", "there is no user %s", h->user);
	if (h->node_count || strcmp(h->user, a->spec.owner) == 0)
		return 0;
	err_set(e, ERR_REFUSED, "OWNER", "%s cannot use %s", h->user, a->spec.id);
	err_evidence(e, "%s belongs to %s",
		a->spec.path == ATTACHMENT_PARAVIRT ? "its socket" : "the node of its group",
		a->spec.owner);
	return err_fix(e, "attach it with --owner %s, or run as %s", h->user, a->spec.owner);
}

/* --- the method ------------------------------------------------------------------------------- */

struct hand_over_args {
	const char *attachment, *user;
	uint64_t first_fd, memory_bytes;
};

static const struct json_field hand_over_fields[] = {
	{"attachment", JSON_FIELD_STRING, .required = true,
		.offset = offsetof(struct hand_over_args, attachment)},
	{"user", JSON_FIELD_STRING, .offset = offsetof(struct hand_over_args, user)},
	{"first_fd", JSON_FIELD_U64, .required = true, .max = FIRST_FD_MAX,
		.offset = offsetof(struct hand_over_args, first_fd)},
	{"memory_bytes", JSON_FIELD_U64, .offset = offsetof(struct hand_over_args, memory_bytes)},
};
const struct json_params do_hand_over_params = {
	hand_over_fields, ARRAY_SIZE(hand_over_fields), sizeof(struct hand_over_args)};

/* 0: it is answered, or will be; `h` is taken over. */
static int begin(struct handover *h, struct attachment *a, struct err *e)
{
	if (!h->node_count) {
		answer(h, a);
		free(h);
		return 0;
	}
	if (open_next(h, e) < 0)
		return -1;
	a->busy = true;
	request_on_gone(h->rq, handover_gone, h);
	return 0;
}

static int ask(struct request *rq, const struct hand_over_args *args, struct err *e)
{
	struct daemon *d = request_daemon(rq);
	struct attachment *a = registry_find(d->registry, args->attachment, e);
	auto_free struct handover *h = NULL;

	if (!a || check_state(d, a, e) < 0)
		return -1;
	h = calloc(1, sizeof(*h));
	if (!h)
		return err_set(e, ERR_FAILED, "MEMORY", "no memory to hand over");
	h->d = d;
	h->rq = rq;
	h->first_fd = (unsigned int)args->first_fd;
	h->memory_bytes = args->memory_bytes;
	str_copy(h->id, sizeof(h->id), a->spec.id);
	if (!str_copy(h->user, sizeof(h->user), args->user ? args->user : a->spec.owner))
		return err_set(e, ERR_NOT_FOUND, "USER", "there is no user %.64s", args->user);
	if (a->spec.path == ATTACHMENT_PASSTHROUGH)
		find_nodes(h, a);
	if (check_user(h, a, e) < 0 || begin(h, a, e) < 0)
		return -1;
	steal_ptr(&h);
	return 0;
}

void do_hand_over(struct request *rq, const void *args)
{
	const struct hand_over_args *a = args;
	struct err e = ERR_INIT;

	if (ask(rq, a, &e) == 0)
		return;
	err_wrap(&e, "hand over %.64s", a->attachment);
	request_fail(rq, &e);
}
