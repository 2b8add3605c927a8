/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What hands do to virtual functions, and asking them to. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "daemon/conf.h"
#include "daemon/daemon.h"
#include "daemon/hands.h"
#include "daemon/inventory.h"
#include "daemon/vf.h"
#include "lib/netlink.h"
#include "lib/nvme_virt.h"

#define VF_LOOK_MS 10000
#define VF_MAKE_MS 120000 /* a driver takes its time for each of 256 */
#define VF_SET_MS  20000

#define VF_SHARE_MS 60000 /* with a reset, and a command or three for each VF */

/* --- in the hand ------------------------------------------------------------------------------ */

int vf_work_look(char **words, void *result, int *fd, struct err *e)
{
	struct sysroot *root;
	int rc;

	(void)fd;
	if (sysroot_open(words[0], &root, e) < 0)
		return -1;
	rc = sriov_look(root, words[1], result, e);
	sysroot_close(root);
	return rc;
}

static int count_in(
	const struct sysroot *root, char **words, struct sriov_facts *facts, struct err *e)
{
	unsigned int from, to;
	unsigned long long mark;

	if (sscanf(words[2], "%u %u %llu", &from, &to, &mark) != 3)
		return err_set(e, ERR_FAILED, "HAND", "how many VFs is not said");
	if (sriov_set_count(root, words[1], from, to, mark, e) < 0 ||
		(to && sriov_keep_free(root, words[1], e) < 0))
		return -1;
	return sriov_look(root, words[1], facts, e);
}

int vf_work_count(char **words, void *result, int *fd, struct err *e)
{
	struct sysroot *root;
	int rc;

	(void)fd;
	if (sysroot_open(words[0], &root, e) < 0)
		return -1;
	rc = count_in(root, words, result, e);
	sysroot_close(root);
	return rc;
}

int vf_work_probes(char **words, void *result, int *fd, struct err *e)
{
	struct sysroot *root;
	int rc;

	(void)fd;
	if (sysroot_open(words[0], &root, e) < 0)
		return -1;
	rc = sriov_set_probes(root, words[1], strcmp(words[2], "on") == 0, e);
	if (rc == 0)
		rc = sriov_look(root, words[1], result, e);
	sysroot_close(root);
	return rc;
}

int vf_work_share(char **words, void *result, int *fd, struct err *e)
{
	struct sysroot *root;
	unsigned int vfs, may_reset;
	bool reset;
	int rc;

	(void)fd;
	if (sscanf(words[2], "%u %u", &vfs, &may_reset) != 2)
		return err_set(e, ERR_FAILED, "HAND", "how many VFs share is not said");
	if (sysroot_open(words[0], &root, e) < 0)
		return -1;
	rc = nvme_virt_share(root, words[1], vfs, may_reset, &reset, e);
	if (rc == 0)
		rc = sriov_look(root, words[1], result, e);
	sysroot_close(root);
	return rc;
}

int vf_work_online(char **words, void *result, int *fd, struct err *e)
{
	struct sysroot *root;
	int rc;

	(void)fd;
	if (sysroot_open(words[0], &root, e) < 0)
		return -1;
	rc = nvme_virt_online(root, words[1], (uint32_t)strtoul(words[2], NULL, 10), e);
	if (rc == 0)
		rc = sriov_look(root, words[1], result, e);
	sysroot_close(root);
	return rc;
}

int vf_work_get(char **words, void *result, int *fd, struct err *e)
{
	(void)fd;
	return netlink_get_vf(words[0], (uint32_t)strtoul(words[1], NULL, 10), result, e);
}

int vf_work_set(char **words, void *result, int *fd, struct err *e)
{
	uint32_t index = (uint32_t)strtoul(words[1], NULL, 10);
	struct vf_settings wanted;

	(void)fd;
	if (vf_settings_read(words[2], &wanted, e) < 0 ||
		netlink_set_vf(words[0], index, &wanted, e) < 0)
		return -1;
	return netlink_get_vf(words[0], index, result, e);
}

/* No MAC: as zeros, or where the driver wants one, as one that nobody has. */
static int set_no_mac(const char *interface, uint32_t index, struct err *e)
{
	struct vf_settings s = {.has = 1u << VF_MAC};

	if (netlink_set_vf(interface, index, &s, NULL) == 0)
		return 0;
	if (getrandom(s.mac, sizeof(s.mac), 0) != sizeof(s.mac))
		return err_sys(e, errno, "make up a MAC");
	s.mac[0] = (uint8_t)((s.mac[0] & ~1u) | 2u);
	return netlink_set_vf(interface, index, &s, e);
}

static int fit(const char *interface, uint32_t index, const struct vf_settings *wanted,
	struct vf_settings *now, struct err *e)
{
	static const uint8_t none[6];
	struct vf_settings rest;

	if (netlink_get_vf(interface, index, now, e) < 0)
		return -1;
	rest = vf_settings_differing(wanted, now);
	if (rest.has & 1u << VF_MAC && memcmp(rest.mac, none, sizeof(none)) == 0) {
		if (set_no_mac(interface, index, e) < 0)
			return -1;
		rest.has &= ~(1u << VF_MAC);
	}
	if (rest.has && netlink_set_vf(interface, index, &rest, e) < 0)
		return -1;
	return netlink_get_vf(interface, index, now, e);
}

int vf_work_fit(char **words, void *result, int *fd, struct err *e)
{
	struct vf_settings wanted;

	(void)fd;
	if (vf_settings_read(words[2], &wanted, e) < 0)
		return -1;
	return fit(words[0], (uint32_t)strtoul(words[1], NULL, 10), &wanted, result, e);
}

/* --- asking ----------------------------------------------------------------------------------- */

struct asked {
	vf_facts_fn *facts; /* one of the two */
	vf_settings_fn *settings;
	void *arg;
};

static void answered(void *arg, const void *result, size_t len, int fd, const struct err *e)
{
	struct asked *a = arg;
	struct asked copy = *a;

	(void)len;
	close_fd(&fd);
	free(a);
	if (copy.facts)
		copy.facts(copy.arg, e ? NULL : result, e);
	else
		copy.settings(copy.arg, e ? NULL : result, e);
}

static int ask(struct daemon *d, const char *pf, const char *const words[HAND_WORDS],
	uint64_t deadline_ms, const struct asked *asked, struct err *e)
{
	struct asked *a = malloc(sizeof(*a));

	if (!a)
		return err_set(e, ERR_FAILED, "MEMORY", "no memory to look at %s", pf);
	*a = *asked;
	if (hands_do(d->hands, pf, words, deadline_ms, answered, a, e) == 0)
		return 0;
	free(a);
	return -1;
}

static const char *root_of(const struct daemon *d)
{
	return d->conf->sysroot[0] ? d->conf->sysroot : "/";
}

int vf_look(struct daemon *d, const char *pf, vf_facts_fn *done, void *arg, struct err *e)
{
	const char *const words[HAND_WORDS] = {"vf-look", root_of(d), pf, NULL};
	const struct asked asked = {.facts = done, .arg = arg};

	return ask(d, pf, words, VF_LOOK_MS, &asked, e);
}

int vf_count(struct daemon *d, const char *pf, uint32_t from, uint32_t to, uint64_t mark,
	vf_facts_fn *done, void *arg, struct err *e)
{
	char numbers[64];
	const char *const words[HAND_WORDS] = {"vf-count", root_of(d), pf, numbers};
	const struct asked asked = {.facts = done, .arg = arg};

	snprintf(numbers, sizeof(numbers), "%u %u %llu", from, to, (unsigned long long)mark);
	return ask(d, pf, words, VF_MAKE_MS, &asked, e);
}

int vf_probes(
	struct daemon *d, const char *pf, bool on, vf_facts_fn *done, void *arg, struct err *e)
{
	const char *const words[HAND_WORDS] = {"vf-probes", root_of(d), pf, on ? "on" : "off"};
	const struct asked asked = {.facts = done, .arg = arg};

	return ask(d, pf, words, VF_LOOK_MS, &asked, e);
}

int vf_share(struct daemon *d, const char *pf, uint32_t vfs, bool may_reset, vf_facts_fn *done,
	void *arg, struct err *e)
{
	char numbers[32];
	const char *const words[HAND_WORDS] = {"vf-share", root_of(d), pf, numbers};
	const struct asked asked = {.facts = done, .arg = arg};

	snprintf(numbers, sizeof(numbers), "%u %u", vfs, may_reset);
	return ask(d, pf, words, VF_SHARE_MS, &asked, e);
}

int vf_online(
	struct daemon *d, const char *pf, uint32_t vfs, vf_facts_fn *done, void *arg, struct err *e)
{
	char number[16];
	const char *const words[HAND_WORDS] = {"vf-online", root_of(d), pf, number};
	const struct asked asked = {.facts = done, .arg = arg};

	snprintf(number, sizeof(number), "%u", vfs);
	return ask(d, pf, words, VF_SHARE_MS, &asked, e);
}

static int settings_do(struct daemon *d, const char *work, const char *pf, uint32_t index,
	const struct vf_settings *settings, const struct asked *asked, struct err *e)
{
	const struct sysroot *root = inventory_sysroot(d->inventory);
	char interface[DEVICE_NAME_MAX], number[16], text[VF_SETTINGS_TEXT];
	const char *words[HAND_WORDS] = {work, interface, number, NULL};

	if (!sysroot_is_live(root))
		return err_set(e, ERR_REFUSED, "SYSROOT", "a recorded host has no driver to ask");
	if (!sriov_interface(root, pf, interface, sizeof(interface))) {
		err_set(e, ERR_REFUSED, "VF-NOT-NET", "%s is no network device", pf);
		err_evidence(e, "/sys/bus/pci/devices/%s/net has no interface", pf);
		return err_fix(e, "only VFs of network devices have these settings; the PF must be "
				  "bound to its host driver");
	}
	snprintf(number, sizeof(number), "%u", index);
	if (settings) {
		vf_settings_write(settings, text);
		words[3] = text;
	}
	return ask(d, pf, words, VF_SET_MS, asked, e);
}

int vf_settings_do(struct daemon *d, const char *pf, uint32_t index,
	const struct vf_settings *settings, vf_settings_fn *done, void *arg, struct err *e)
{
	const struct asked asked = {.settings = done, .arg = arg};

	return settings_do(d, settings ? "vf-set" : "vf-get", pf, index, settings, &asked, e);
}

int vf_fit(struct daemon *d, const char *pf, uint32_t index, const struct vf_settings *settings,
	vf_settings_fn *done, void *arg, struct err *e)
{
	const struct asked asked = {.settings = done, .arg = arg};

	return settings_do(d, "vf-fit", pf, index, settings, &asked, e);
}
