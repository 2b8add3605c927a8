/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/words.h"

#include "daemon/tap_node.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/un.h>

#define WORD_MAX 512

/* Where the words go. */
struct words {
	words_fn *put;
	void *arg;
};

static void put_word(const struct words *w, const char *fmt, ...) PRINTF_LIKE(2, 3);

static void put_word(const struct words *w, const char *fmt, ...)
{
	char word[WORD_MAX];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(word, sizeof(word), fmt, ap);
	va_end(ap);
	w->put(w->arg, word);
}

/* A comma ends a value in QEMU's words; two are one. */
static void qemu_quote(char *out, size_t size, const char *text)
{
	size_t n = 0;

	for (; *text && n + 2 < size; text++) {
		out[n++] = *text;
		if (*text == ',')
			out[n++] = ',';
	}
	out[n] = '\0';
}

static void put_net(const struct words *w, const struct attachment_spec *spec)
{
	char mac[18], several[32] = "";

	tap_node_mac(spec, mac);
	if (spec->queues > 1) /* an interrupt for each ring, for control, and for the device */
		snprintf(several, sizeof(several), ",mq=on,vectors=%u", 2 * spec->queues + 2);
	put_word(w, "-netdev");
	put_word(w, "vhost-user,id=iovd-%s-n,chardev=iovd-%s,queues=%u", spec->id, spec->id,
		spec->queues);
	put_word(w, "-device");
	put_word(w, "virtio-net-pci,netdev=iovd-%s-n,mac=%s%s", spec->id, mac, several);
}

/*
 * A reconnect interval is always among them (a drain that cannot end drops the connection); guest
 * memory that can be shared is the VMM's own affair.
 */
static void put_paravirt(
	const struct words *w, const struct registry *r, const struct attachment *a)
{
	const struct attachment_spec *spec = &a->spec;
	char socket[PATH_MAX], path[2 * sizeof(((struct sockaddr_un *)0)->sun_path)];

	attachment_socket_path(r, spec, socket, sizeof(socket));
	qemu_quote(path, sizeof(path), socket);
	put_word(w, "-chardev");
	put_word(w, "socket,id=iovd-%s,path=%s,reconnect-ms=1000", spec->id, path);
	if (tap_node_is(spec->node)) {
		put_net(w, spec);
		return;
	}
	put_word(w, "-device");
	/* As large as the rings may be: newer QEMUs offer that to the guest whatever is said here. */
	put_word(w, "vhost-user-blk-pci,chardev=iovd-%s,num-queues=%u,queue-size=1024", spec->id,
		spec->queues);
}

static const char *function_id(const struct attachment_spec *spec, unsigned int i)
{
	return i ? spec->passthrough.companions[i - 1] : spec->device;
}

/*
 * A node of its own for each function means iommufd: one for all functions of the attachment, so
 * that the guest's memory is pinned and counted once for them. /dev/iommu is root's: for any other
 * user who opens it himself it is the group, where there is one.
 */
static void put_passthrough(
	const struct words *w, const struct attachment *a, const struct words_fds *fds)
{
	const struct attachment_spec *spec = &a->spec;
	bool by_cdev = fds || (a->has_cdev && strcmp(spec->owner, "root") == 0);
	char iommufd[KEEPER_ID_SIZE + 32] = "";

	if (by_cdev) {
		snprintf(iommufd, sizeof(iommufd), ",iommufd=iovd-%s", spec->id);
		put_word(w, "-object");
		if (fds)
			put_word(w, "iommufd,id=iovd-%s,fd=%d", spec->id, fds->iommufd);
		else
			put_word(w, "iommufd,id=iovd-%s", spec->id);
	}
	for (unsigned int i = 0; i <= spec->passthrough.companion_count; i++) {
		put_word(w, "-device");
		if (fds)
			put_word(w, "vfio-pci,fd=%d%s", fds->functions[i], iommufd);
		else
			put_word(w, "vfio-pci,host=%s%s", function_id(spec, i), iommufd);
	}
}

void attachment_words(const struct registry *r, const struct attachment *a,
	const struct words_fds *fds, words_fn *put, void *arg)
{
	const struct words w = {.put = put, .arg = arg};

	switch (a->spec.path) {
	case ATTACHMENT_PARAVIRT:
		put_paravirt(&w, r, a);
		return;
	case ATTACHMENT_PASSTHROUGH:
		put_passthrough(&w, a, fds);
		return;
	case ATTACHMENT_EMULATED:
	case ATTACHMENT_PATHS:
		return;
	}
}
