/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A device that a VMM has open cannot be opened by us: what is left is sysfs. Bus mastering is switched
 * off in the configuration space, which the kernel lets us write whoever has the device; the kernel's
 * reset (attribute `reset`) then gives back the registers that it found, that one among them. So the
 * device is blocked before, during and after it. Its machine can switch bus mastering on again, and
 * its driver must, to use it.
 */
#include "daemon/faults_hand.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "lib/cleanup.h"
#include "lib/pci.h"
#include "lib/sysfs.h"

#define CONFIG_COMMAND 4
#define COMMAND_MASTER 4
#define ALL_ONES       0xffff

/* The id is as pci_addr_format() writes it. */
static int open_config(const char *id)
{
	char path[SYSFS_PATH_MAX];

	snprintf(path, sizeof(path), "/sys/bus/pci/devices/%s/config", id);
	return open(path, O_RDWR | O_CLOEXEC);
}

static bool read_word(int fd, off_t at, uint16_t *word)
{
	uint8_t bytes[2];

	if (pread(fd, bytes, sizeof(bytes), at) != sizeof(bytes))
		return false;
	*word = (uint16_t)(bytes[0] | bytes[1] << 8);
	return true;
}

static bool write_word(int fd, off_t at, uint16_t word)
{
	const uint8_t bytes[2] = {(uint8_t)word, (uint8_t)(word >> 8)};

	return pwrite(fd, bytes, sizeof(bytes), at) == sizeof(bytes);
}

static void say(struct faults_blocked *b, const char *id, const char *what)
{
	if (!b->what[0])
		snprintf(b->what, sizeof(b->what), "%s %s", id, what);
}

/* Bus master off, and looked at whether it is. */
static void block_one(const char *id, struct faults_blocked *b)
{
	auto_close int fd = open_config(id);
	uint16_t command = ALL_ONES; /* a virtual function's vendor is always that */

	if (fd < 0 || !read_word(fd, CONFIG_COMMAND, &command) || command == ALL_ONES) {
		b->answers = false;
		say(b, id, "does not answer: its configuration space is all ones");
		return;
	}
	if (!(command & COMMAND_MASTER))
		return;
	if (!write_word(fd, CONFIG_COMMAND, command & ~COMMAND_MASTER) ||
		!read_word(fd, CONFIG_COMMAND, &command) || command & COMMAND_MASTER) {
		b->is_blocked = false;
		say(b, id, "stays a bus master");
	}
}

static void reset_one(const struct sysroot *root, const char *id, struct faults_blocked *b)
{
	struct sysfs_dir dir;
	char what[120];
	int rc;

	sysfs_dir_init(&dir, root, "sys/bus/pci/devices/%s", id);
	rc = sysfs_write_text(&dir, "reset", "1");
	if (rc == 0)
		return;
	b->is_reset = false;
	snprintf(what, sizeof(what), "cannot be reset: %s",
		rc == -ENOENT ? "it has no reset of its own" : strerror(-rc));
	say(b, id, what);
}

int faults_work_block(char **words, void *result, int *fd, struct err *e)
{
	struct faults_blocked *b = result;
	bool resets = strcmp(words[1], "reset") == 0;
	struct sysroot *root = NULL;
	char *rest;

	(void)fd;
	*b = (struct faults_blocked){.is_blocked = true, .is_reset = resets, .answers = true};
	if (sysroot_open("/", &root, e) < 0)
		return -1;
	for (char *id = strtok_r(words[0], ",", &rest); id; id = strtok_r(NULL, ",", &rest)) {
		struct pci_addr addr;

		if (!pci_addr_parse(id, &addr)) {
			sysroot_close(root);
			return err_set(e, ERR_FAILED, "HAND", "%s is no PCI function", id);
		}
		block_one(id, b);
		if (!resets)
			continue;
		reset_one(root, id, b);
		block_one(id, b);
	}
	sysroot_close(root);
	return 0;
}
