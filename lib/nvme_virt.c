/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "lib/nvme_virt.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/nvme_ioctl.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>

#include "lib/cleanup.h"

#define ADMIN_IDENTIFY  0x06
#define ADMIN_VIRT_MGMT 0x1c
#define ADMIN_MS        5000

#define CNS_CONTROLLER  0x01
#define CNS_PRIMARY     0x14
#define CNS_SECONDARIES 0x15
#define OACS            256 /* of the controller: what admin commands it has */
#define OACS_VIRT_MGMT  (1u << 7)

#define SECONDARIES_MAX 127
#define SECONDARY_FIRST 32 /* bytes; and as many for each */

#define LEAST_QUEUES  2 /* for commands, and for I/O */
#define LEAST_VECTORS 1

#define LIVE_MS  10000 /* for a controller to work again after a reset */
#define LIVE_ASK 20

enum resource_type { QUEUES, VECTORS };

enum virt_action {
	PRIMARY_ALLOCATE = 1,
	SECONDARY_OFFLINE = 7,
	SECONDARY_ASSIGN = 8,
	SECONDARY_ONLINE = 9,
};

/* --- codec ------------------------------------------------------------------------------------ */

static uint16_t le16(const uint8_t *p)
{
	return (uint16_t)(p[0] | p[1] << 8);
}

static uint32_t le32(const uint8_t *p)
{
	return le16(p) | (uint32_t)le16(p + 2) << 16;
}

static void read_resource(const uint8_t *p, struct nvme_resource *r)
{
	r->flexible = le32(p);
	r->with_primary = le16(p + 8);
	r->secondary_max = le16(p + 12);
	r->granularity = MAX(le16(p + 14), 1);
}

void nvme_primary_read(const uint8_t data[NVME_IDENTIFY_BYTES], struct nvme_primary *p)
{
	p->id = le16(data);
	read_resource(data + 32, &p->queues);
	read_resource(data + 64, &p->vectors);
}

bool nvme_secondary_read(
	const uint8_t data[NVME_IDENTIFY_BYTES], unsigned int i, struct nvme_secondary *s)
{
	const uint8_t *entry = data + SECONDARY_FIRST + (size_t)i * SECONDARY_FIRST;

	if (i >= MIN(data[0], SECONDARIES_MAX))
		return false;
	*s = (struct nvme_secondary){
		.id = le16(entry),
		.online = entry[4] & 1,
		.vf = le16(entry + 8),
		.queues = le16(entry + 10),
		.vectors = le16(entry + 12),
	};
	return true;
}

uint16_t nvme_share_of(const struct nvme_resource *r, uint32_t vfs, uint16_t least)
{
	uint32_t share = vfs ? MIN(r->flexible / vfs, r->secondary_max) : 0;

	share -= share % r->granularity;
	return share >= least ? (uint16_t)share : 0;
}

/* --- commands --------------------------------------------------------------------------------- */

static int admin(int fd, struct nvme_passthru_cmd *cmd, const char *what, struct err *e)
{
	int rc;

	cmd->timeout_ms = ADMIN_MS;
	rc = ioctl(fd, NVME_IOCTL_ADMIN_CMD, cmd);
	if (rc < 0)
		return err_sys(e, errno, "%s", what);
	return rc ? err_set(e, ERR_FAILED, "NVME", "%s: status 0x%x", what, (unsigned int)rc) : 0;
}

static int identify(int fd, uint32_t cns, uint8_t data[NVME_IDENTIFY_BYTES], struct err *e)
{
	struct nvme_passthru_cmd cmd = {
		.opcode = ADMIN_IDENTIFY,
		.addr = (uintptr_t)data,
		.data_len = NVME_IDENTIFY_BYTES,
		.cdw10 = cns,
	};

	return admin(fd, &cmd, "identify the controller", e);
}

static int manage(int fd, enum virt_action action, enum resource_type type, uint16_t controller,
	uint16_t count, struct err *e)
{
	struct nvme_passthru_cmd cmd = {
		.opcode = ADMIN_VIRT_MGMT,
		.cdw10 = (uint32_t)controller << 16 | (uint32_t)type << 8 | action,
		.cdw11 = count,
	};
	char what[64];

	snprintf(what, sizeof(what), "virtualization management %d of controller %u", action,
		controller);
	return admin(fd, &cmd, what, e);
}

/* --- the controller --------------------------------------------------------------------------- */

bool nvme_virt_find(const struct sysroot *root, const char *pf, char *name, size_t size)
{
	auto_names struct name_list names = {0};
	struct sysfs_dir d;

	return sysfs_dir_init(&d, root, "sys/bus/pci/devices/%s/nvme", pf) &&
	       sysfs_list(&d, &names) == 0 && names.count == 1 &&
	       str_copy(name, size, names.names[0]);
}

/* Its node; -1 with e set, or with e clear if it has nothing to share. */
static int open_primary(
	const struct sysroot *root, const char *pf, struct nvme_primary *p, struct err *e)
{
	uint8_t data[NVME_IDENTIFY_BYTES];
	char name[32], node[64];
	auto_close int fd = -1;

	if (!sysroot_is_live(root) || !nvme_virt_find(root, pf, name, sizeof(name)))
		return -1;
	snprintf(node, sizeof(node), "/dev/%s", name);
	fd = open(node, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return err_sys(e, errno, "open %s", node);
	if (identify(fd, CNS_CONTROLLER, data, e) < 0 || !(le16(data + OACS) & OACS_VIRT_MGMT))
		return -1;
	if (identify(fd, CNS_PRIMARY, data, e) < 0)
		return -1;
	nvme_primary_read(data, p);
	return steal_fd(&fd);
}

static int wait_live(const struct sysroot *root, const char *pf, struct err *e)
{
	const struct timespec pause = {.tv_nsec = LIVE_ASK * 1000000L};
	uint64_t end_ms = now_ms() + LIVE_MS;
	char name[32], state[32] = "";
	struct sysfs_dir d;

	do {
		if (nvme_virt_find(root, pf, name, sizeof(name)) &&
			sysfs_dir_init(&d, root, "sys/class/nvme/%s", name) &&
			sysfs_read_text(&d, "state", state, sizeof(state)) == 0 &&
			strcmp(state, "live") == 0)
			return 0;
		nanosleep(&pause, NULL); /* the kernel tells nobody of this state */
	} while (now_ms() < end_ms);
	return err_set(e, ERR_FAILED, "NVME", "%s does not work again after its reset: %s", pf,
		state[0] ? state : "it has no controller");
}

static int reset_primary(const struct sysroot *root, const char *pf, struct err *e)
{
	struct sysfs_dir d;
	int rc;

	sysfs_dir_init(&d, root, "sys/bus/pci/devices/%s", pf);
	rc = sysfs_write_text(&d, "reset", "1");
	return rc < 0 ? err_sys(e, -rc, "reset %s", pf) : wait_live(root, pf, e);
}

/* --- sharing ---------------------------------------------------------------------------------- */

/* What is left for the primary. */
static uint16_t rest_of(const struct nvme_resource *r, uint32_t vfs, uint16_t least)
{
	return (uint16_t)(r->flexible - vfs * nvme_share_of(r, vfs, least));
}

int nvme_virt_share(const struct sysroot *root, const char *pf, uint32_t vfs, bool may_reset,
	bool *reset, struct err *e)
{
	struct err own = ERR_INIT;
	struct nvme_primary p;
	auto_close int fd = open_primary(root, pf, &p, &own);
	uint16_t queues, vectors;

	*reset = false;
	if (fd < 0 && own.kind != ERR_NONE)
		*e = own;
	if (fd < 0)
		return own.kind == ERR_NONE ? 0 : -1;
	queues = rest_of(&p.queues, vfs, LEAST_QUEUES);
	vectors = rest_of(&p.vectors, vfs, LEAST_VECTORS);
	if (queues == p.queues.with_primary && vectors == p.vectors.with_primary)
		return 0;
	if (!may_reset)
		return err_set(e, ERR_REFUSED, "NVME-RESET",
			"%s would have to be reset to share its queues, and the host uses it", pf);
	if (manage(fd, PRIMARY_ALLOCATE, VECTORS, p.id, vectors, e) < 0 ||
		manage(fd, PRIMARY_ALLOCATE, QUEUES, p.id, queues, e) < 0)
		return -1;
	*reset = true;
	return reset_primary(root, pf, e);
}

static int put_online(
	int fd, const struct nvme_secondary *s, uint16_t queues, uint16_t vectors, struct err *e)
{
	if (s->online && s->queues == queues && s->vectors == vectors)
		return 0;
	if (s->online && manage(fd, SECONDARY_OFFLINE, QUEUES, s->id, 0, e) < 0)
		return -1;
	if (manage(fd, SECONDARY_ASSIGN, VECTORS, s->id, vectors, e) < 0 ||
		manage(fd, SECONDARY_ASSIGN, QUEUES, s->id, queues, e) < 0)
		return -1;
	return manage(fd, SECONDARY_ONLINE, QUEUES, s->id, 0, e);
}

static int put_all_online(int fd, const struct nvme_primary *p, uint32_t vfs, struct err *e)
{
	uint16_t queues = nvme_share_of(&p->queues, vfs, LEAST_QUEUES);
	uint16_t vectors = nvme_share_of(&p->vectors, vfs, LEAST_VECTORS);
	uint8_t data[NVME_IDENTIFY_BYTES];
	struct nvme_secondary s;

	if (!queues || !vectors) {
		err_set(e, ERR_REFUSED, "NVME-SHARE", "too few queues or vectors for %u VFs", vfs);
		return err_evidence(e, "%u queues and %u vectors to share", p->queues.flexible,
			p->vectors.flexible);
	}
	if (identify(fd, CNS_SECONDARIES, data, e) < 0)
		return -1;
	for (unsigned int i = 0; nvme_secondary_read(data, i, &s); i++)
		if (s.vf >= 1 && s.vf <= vfs && put_online(fd, &s, queues, vectors, e) < 0)
			return -1;
	return 0;
}

int nvme_virt_online(const struct sysroot *root, const char *pf, uint32_t vfs, struct err *e)
{
	struct err own = ERR_INIT;
	struct nvme_primary p;
	auto_close int fd = open_primary(root, pf, &p, &own);

	if (fd >= 0)
		return put_all_online(fd, &p, vfs, e);
	if (own.kind != ERR_NONE)
		*e = own;
	return own.kind == ERR_NONE ? 0 : -1;
}
