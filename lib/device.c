/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "lib/device.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <string.h>
#include <sys/stat.h>

#include "lib/device_read.h"

const char *const device_class_names[DEVICE_CLASS_COUNT] = {
	[DEVICE_PCI] = "pci",
	[DEVICE_NET] = "net",
	[DEVICE_BLOCK] = "block",
	[DEVICE_FILE] = "file",
	[DEVICE_NBD] = "nbd",
};

static const char *const class_dirs[DEVICE_CLASS_COUNT] = {
	[DEVICE_PCI] = "sys/bus/pci/devices",
	[DEVICE_NET] = "sys/class/net",
	[DEVICE_BLOCK] = "sys/class/block",
};

bool device_class_by_name(const char *name, enum device_class *class)
{
	for (unsigned int i = 0; i < DEVICE_CLASS_COUNT; i++) {
		if (strcmp(name, device_class_names[i]) == 0) {
			*class = (enum device_class)i;
			return true;
		}
	}
	return false;
}

const char *device_class_dir(enum device_class class)
{
	return class_dirs[class];
}

/* --- fingerprints ----------------------------------------------------------------------------- */

static const unsigned __int128 fnv_basis =
	(unsigned __int128)0x6c62272e07bb0142u << 64 | 0x62b821756295c58du;
static const unsigned __int128 fnv_prime = (unsigned __int128)1 << 88 | 0x13b;

void fingerprint_init(struct fingerprint *f, const char *what)
{
	f->hash = fnv_basis;
	fingerprint_add(f, what);
}

/* The terminator is hashed too: "ab" "c" is not "a" "bc". */
void fingerprint_add(struct fingerprint *f, const char *text)
{
	const unsigned char *s = (const unsigned char *)text;

	do {
		f->hash = (f->hash ^ *s) * fnv_prime;
	} while (*s++);
}

/* The last bytes have been multiplied but a few times: stirred once more, all digits depend on
 * them. */
void fingerprint_text(const struct fingerprint *f, char text[static 33])
{
	unsigned __int128 hash = f->hash;

	for (int i = 0; i < 3; i++)
		hash = (hash ^ hash >> 61) * (fnv_basis | 1);
	hash ^= hash >> 61;
	snprintf(text, 33, "%016llx%016llx", (unsigned long long)(hash >> 64),
		(unsigned long long)hash);
}

/* --- what the readers share ------------------------------------------------------------------- */

bool device_set_name(struct device *d, const char *fmt, ...)
{
	va_list ap;
	int len;

	free(d->name);
	va_start(ap, fmt);
	len = vasprintf(&d->name, fmt, ap);
	va_end(ap);
	if (len < 0)
		d->name = NULL;
	return len >= 0;
}

bool device_add_lower(struct device *d, enum device_class class, const char *id)
{
	struct device_ref *lower;

	for (size_t i = 0; i < d->lower_count; i++)
		if (d->lower[i].class == class && strcmp(d->lower[i].id, id) == 0)
			return true;
	if (d->lower_count == DEVICE_MAX_LOWER)
		return false;
	lower = reallocarray(d->lower, d->lower_count + 1, sizeof(*lower));
	if (!lower)
		return false;
	d->lower = lower;
	lower += d->lower_count;
	lower->class = class;
	if (!str_copy(lower->id, sizeof(lower->id), id))
		return true; /* no device has so long a name: an edge to nothing */
	d->lower_count++;
	return true;
}

void syspath_pci_parent(const char *syspath, char pci[static PCI_ADDR_MAX])
{
	const char *last = strrchr(syspath, '/');
	const char *s = syspath;

	pci[0] = '\0';
	while (last && s < last) {
		size_t len = strcspn(s, "/");
		char part[PCI_ADDR_MAX];
		struct pci_addr addr;

		if (len < sizeof(part)) {
			memcpy(part, s, len);
			part[len] = '\0';
			if (pci_addr_parse(part, &addr) && addr.domain_given && part[0] != 'p')
				memcpy(pci, part, sizeof(part));
		}
		s += len + 1;
	}
}

static int64_t read_numa_node(const struct sysfs_dir *pci)
{
	uint64_t node; /* "-1" where the firmware says nothing, which is no number here */

	return sysfs_read_u64(pci, "numa_node", &node) < 0 || node > INT32_MAX ? -1 : (int64_t)node;
}

bool device_take_pci_parent(struct device *d, const struct sysroot *root)
{
	struct sysfs_dir dir;
	char pci[PCI_ADDR_MAX];

	syspath_pci_parent(d->syspath, pci);
	if (!pci[0])
		return true;
	if (!d->parent[0])
		str_copy(d->parent, sizeof(d->parent), pci);
	if (sysfs_dir_init(&dir, root, "%s/%s", class_dirs[DEVICE_PCI], pci))
		d->numa_node = read_numa_node(&dir);
	return device_add_lower(d, DEVICE_PCI, pci);
}

/* --- reading one device ----------------------------------------------------------------------- */

struct device *device_new(enum device_class class, const char *id, const char *syspath)
{
	struct device *d = calloc(1, sizeof(*d));

	if (!d)
		return NULL;
	d->class = class;
	d->iommu_group = d->numa_node = -1;
	d->id = strdup(id);
	d->syspath = syspath ? strdup(syspath) : NULL;
	if (!d->id || (syspath && !d->syspath)) {
		device_free(d);
		return NULL;
	}
	return d;
}

void device_free(struct device *d)
{
	if (!d)
		return;
	if (d->class == DEVICE_BLOCK) {
		free(d->block.loop_file);
		name_list_release(&d->block.holders);
	}
	free(d->lower);
	free(d->syspath);
	free(d->name);
	free(d->id);
	free(d);
}

static bool id_is_sane(const char *id)
{
	size_t len = strlen(id);

	if (len == 0 || len >= DEVICE_NAME_MAX || id[0] == '.')
		return false;
	for (const char *s = id; *s; s++)
		if (*s == '/' || (unsigned char)*s <= 0x20 || *s == 0x7f)
			return false;
	return true;
}

static int read_by_class(
	struct device *d, const struct sysfs_dir *dir, struct pci_names *names, struct err *e)
{
	assert(d->class < DEVICE_CLASS_COUNT);
	switch (d->class) {
	case DEVICE_PCI:
		return device_read_pci(d, dir, names, e);
	case DEVICE_NET:
		return device_read_net(d, dir, e);
	case DEVICE_BLOCK:
		return device_read_block(d, dir, e);
	case DEVICE_FILE:
	case DEVICE_NBD:
	case DEVICE_CLASS_COUNT:
		break;
	}
	return err_set(e, ERR_FAILED, "DEV-CLASS", "%s is not a class of /sys",
		device_class_names[d->class]);
}

struct device *device_read(const struct sysroot *root, enum device_class class, const char *id,
	struct pci_names *names, struct err *e)
{
	auto_device struct device *d = NULL;
	struct sysfs_dir dir;
	char syspath[SYSFS_PATH_MAX];
	int rc;

	assert(class_dirs[class]);
	if (!id_is_sane(id)) {
		err_set(e, ERR_FAILED, "DEV-NAME",
			"a %s device has a name that the kernel gives to none",
			device_class_names[class]);
		return NULL;
	}
	sysfs_dir_init(&dir, root, "%s/%s", class_dirs[class], id);
	rc = sysfs_real_path(&dir, syspath, sizeof(syspath));
	if (rc < 0) {
		err_set(e, rc == -ENOENT || rc == -ENODEV ? ERR_NOT_FOUND : ERR_FAILED, "DEV-GONE",
			"there is no %s device %s", device_class_names[class], id);
		err_evidence(e, "/%s: %s", dir.path, strerror(-rc));
		return NULL;
	}
	d = device_new(class, id, syspath);
	if (!d) {
		err_sys(e, ENOMEM, "read the facts of %s", id);
		return NULL;
	}
	if (read_by_class(d, &dir, names, e) < 0) {
		err_wrap(e, "read the facts of %s", id);
		return NULL;
	}
	return steal_ptr(&d);
}

void device_node_path(const struct device *d, char *path, size_t size)
{
	path[0] = '\0';
	if (d->class == DEVICE_FILE || d->class == DEVICE_NBD) {
		str_copy(path, size, d->id);
	} else if (d->class == DEVICE_BLOCK) {
		snprintf(path, size, "/dev/%s", d->id);
		for (char *s = path; *s; s++)
			if (*s == '!') /* how /sys writes the slash of cciss/c0d0 */
				*s = '/';
	}
}

bool device_is_claimed(const char *path)
{
	auto_close int fd = open(path, O_RDONLY | O_EXCL | O_NONBLOCK | O_CLOEXEC);

	return fd < 0 && errno == EBUSY;
}
