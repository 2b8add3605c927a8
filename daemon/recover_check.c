/* SPDX-License-Identifier: GPL-2.0-or-later */
/* May a disk take over from another one? */
#include <stdio.h>
#include <string.h>

#include "daemon/recover.h"
#include "lib/backends/blk_geometry.h"
#include "lib/backends/session_facts.h"
#include "lib/nbd_uri.h"

/* --- what may be waived ----------------------------------------------------------------------- */

static const struct {
	const char *code;
	enum recover_allow what;
} allows[] = {
	{"STALE-SPARE", RECOVER_ALLOW_STALE},
	{"LATE-WRITE", RECOVER_ALLOW_LATE},
	{"NBD-LATE", RECOVER_ALLOW_NBD_LATE},
};

unsigned int recover_find_allow(const char *code, size_t len)
{
	for (size_t i = 0; i < ARRAY_SIZE(allows); i++)
		if (strlen(allows[i].code) == len && memcmp(allows[i].code, code, len) == 0)
			return allows[i].what;
	return 0;
}

int recover_read_allow(const char *codes, unsigned int *allow, struct err *e)
{
	while (codes && *codes) {
		size_t len = strcspn(codes, ",");
		unsigned int what = recover_find_allow(codes, len);

		if (!what) {
			err_set(e, ERR_USAGE, "ALLOW", "%.*s is nothing that can be allowed",
				(int)MIN(len, 32), codes);
			return err_fix(e,
				"STALE-SPARE, LATE-WRITE or NBD-LATE; every other refusal stays");
		}
		*allow |= what;
		codes += len + (codes[len] == ',');
	}
	return 0;
}

static int refuse(unsigned int allow, enum recover_allow what, const char *code, struct err *e)
{
	if (allow & what) {
		*e = (struct err)ERR_INIT;
		return 0;
	}
	return err_fix(e, "if you know that it is so all the same: --allow %s", code);
}

/* --- the disk before -------------------------------------------------------------------------- */

void recover_look_before(const struct attachment *a, struct recover_before *before)
{
	struct session_facts known;
	struct blk_geometry g;

	*before = (struct recover_before){.spec = &a->spec, .disk = a->disk};
	if (a->page_fd < 0 || session_facts_read(a->page_fd, &known, NULL) < 0)
		return; /* no guest was told anything */
	g = blk_geometry_of_config(known.config);
	before->sectors = g.sectors;
	before->block_size = g.block_size;
}

static bool is_same_disk(const struct recover_before *before, const struct backing_facts *facts)
{
	const struct attachment_disk *disk = &before->disk;

	if (disk->number || facts->number)
		return disk->number == facts->number;
	return disk->inode && disk->fs == facts->fs && disk->inode == facts->inode;
}

bool recover_is_same_disk(const struct attachment *a, const struct backing_facts *facts)
{
	const struct recover_before before = {.spec = &a->spec, .disk = a->disk};

	return a->backing_fd >= 0 && is_same_disk(&before, facts);
}

/* --- the checks ------------------------------------------------------------------------------- */

/* What the guest knows of its disk, and goes by. */
static int check_size(
	const struct recover_before *before, const struct backing_facts *facts, struct err *e)
{
	if (before->sectors && facts->size_bytes / 512 != before->sectors) {
		err_set(e, ERR_REFUSED, "DEV-SIZE",
			"the device has another size than the guest knows");
		return err_evidence(e, "%llu sectors, and the guest knows %llu",
			(unsigned long long)(facts->size_bytes / 512),
			(unsigned long long)before->sectors);
	}
	if (before->block_size && facts->block_size != before->block_size) {
		err_set(e, ERR_REFUSED, "DEV-SIZE",
			"the device has blocks of another size than the guest knows");
		return err_evidence(e, "%u bytes, and the guest knows %u", facts->block_size,
			before->block_size);
	}
	return 0;
}

/* The volume is the same: by what the device says of itself, or because it is the same file. */
static bool is_same_volume(const struct recover_before *before, const struct recover_wish *wish)
{
	const struct attachment_spec *was = before->spec, *is = &wish->spec;
	bool same_name = strcmp(is->device, was->device) == 0;

	switch (wish->class) {
	case DEVICE_FILE:
		return same_name || is_same_disk(before, &wish->facts);
	case DEVICE_BLOCK: /* two that name nothing would be as equal as two of one volume */
		return was->fingerprint[0] && strcmp(is->fingerprint, was->fingerprint) == 0 &&
		       (same_name || wish->is_identified);
	case DEVICE_NBD:
		return was->fingerprint[0] && strcmp(is->fingerprint, was->fingerprint) == 0;
	case DEVICE_PCI:
	case DEVICE_NET:
	case DEVICE_CLASS_COUNT:
		break;
	}
	return false;
}

static int check_volume(const struct recover_before *before, const struct recover_wish *wish,
	unsigned int allow, struct err *e)
{
	const char *was = before->spec->fingerprint;

	if (is_same_volume(before, wish))
		return 0;
	err_set(e, ERR_REFUSED, "STALE-SPARE", "nothing shows that %s has the data of %s",
		wish->spec.device, before->spec->device);
	err_evidence(e, "fingerprint %s%s, and %s had %s", wish->spec.fingerprint,
		wish->is_identified ? "" : " (without a name of its volume)", before->spec->device,
		was[0] ? was : "none");
	return refuse(allow, RECOVER_ALLOW_STALE, "STALE-SPARE", e);
}

/*
 * Past the page cache nothing is left behind on the old path that the kernel could write later; and
 * by a path that a command ends, nothing can. A volume of the network is never in the page cache; what
 * its server may do later is looked at when the path is ended (recover.c).
 */
static int check_late_writes(const struct recover_before *before, const struct recover_wish *wish,
	unsigned int allow, struct err *e)
{
	const struct attachment_spec *was = before->spec;
	bool direct = nbd_uri_is(was->node) ||
		      (was->cache == ATTACHMENT_CACHE_NONE && before->disk.is_direct);

	if (direct || was->rescue.fence[0] || is_same_disk(before, &wish->facts))
		return 0;
	err_set(e, ERR_REFUSED, "LATE-WRITE",
		"the host's page cache may write to %s later what failed there", was->device);
	err_evidence(e, "cache %s; it %s direct I/O", attachment_cache_names[was->cache],
		before->disk.is_direct ? "has" : "has no");
	return refuse(allow, RECOVER_ALLOW_LATE, "LATE-WRITE", e);
}

int recover_check_end(const struct attachment_spec *before, const struct nbd_end *end,
	unsigned int allow, struct err *e)
{
	if (!end->is_late)
		return 0;
	err_set(e, ERR_REFUSED, "NBD-LATE",
		"the server of %.200s may do later what it did not answer", before->device);
	err_evidence(e, "%s", end->evidence);
	return refuse(allow, RECOVER_ALLOW_NBD_LATE, "NBD-LATE", e);
}

/* A command is run if it is another device: then its proof is awaited. */
static int check_end(const struct recover_before *before, const struct recover_wish *wish,
	unsigned int allow, struct err *e)
{
	const struct attachment_spec *was = before->spec;

	if (was->rescue.fence[0] && strcmp(was->device, wish->spec.device) != 0)
		return 0;
	return recover_check_end(was, &before->end, allow, e);
}

int recover_check(const struct recover_before *before, const struct recover_wish *wish,
	unsigned int allow, struct err *e)
{
	if (check_size(before, &wish->facts, e) < 0 || check_volume(before, wish, allow, e) < 0)
		return -1;
	if (check_late_writes(before, wish, allow, e) < 0)
		return -1;
	return check_end(before, wish, allow, e);
}
