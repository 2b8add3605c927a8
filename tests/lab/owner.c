/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * An owner of devices: opens, maps and drives them as it is told, a line at a time, and answers
 * with one line each: "ok WORDS...", or "refused CODE sentence (evidence; fix)". Topics of the lab
 * start several of them and set them against each other. owner.py speaks to it.
 *
 * Devices are named by their address, buffers by a number of one digit.
 */
#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "lib/cleanup.h"
#include "lib/iommu/vfio_device.h"
#include "tests/lab/edu.h"
#include "tests/lab/owner.h"

#define MAX_DEVICES 4
#define MAX_VECTORS 16
#define MAX_WORDS   8
#define LINE_BYTES  16384

struct owned_device {
	char id[PCI_ADDR_MAX];
	struct vfio_device *dev;
	struct edu edu;          /* .dev is set if it is one */
	int held;                /* its descriptor alone, or -1 */
	int events[MAX_VECTORS]; /* of `vectors` */
	unsigned int event_count;
};

static struct sysroot *root;
struct iommu_space *owner_space;
static struct owned_device devices[MAX_DEVICES];
static char answer[LINE_BYTES];

int owner_say(const char *fmt, ...)
{
	size_t len = strlen(answer);
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(answer + len, sizeof(answer) - len, fmt, ap);
	va_end(ap);
	return 0;
}

/* --- words ------------------------------------------------------------------------------------ */

int owner_number(const char *word, uint64_t max, uint64_t *value, struct err *e)
{
	if (parse_u64(word, max, value) < 0)
		return err_set(
			e, ERR_USAGE, "USAGE", "'%s' is no number up to 0x%" PRIx64, word, max);
	return 0;
}

static struct owned_device *device_of(const char *id, struct err *e)
{
	for (size_t i = 0; i < MAX_DEVICES; i++)
		if (strcmp(devices[i].id, id) == 0)
			return &devices[i];
	err_set(e, ERR_USAGE, "USAGE", "%s is not open here", id);
	return NULL;
}

static struct edu *edu_of(const char *id, struct err *e)
{
	struct owned_device *d = device_of(id, e);

	if (d && !d->edu.dev)
		err_set(e, ERR_USAGE, "USAGE", "%s is no edu", id);
	return d && d->edu.dev ? &d->edu : NULL;
}

bool owner_word_is(const char *word, const char *wanted)
{
	return word && strcmp(word, wanted) == 0;
}

/* --- devices ---------------------------------------------------------------------------------- */

/* The space of this process: by the interface that is named, or else that serves the device. */
static int need_space(const struct pci_addr *addr, const char *api, struct err *e)
{
	enum iommu_api chosen;

	if (owner_space)
		return 0;
	if (iommu_probe(root, addr, &chosen, e) < 0)
		return -1;
	for (unsigned int i = 0; api && i < IOMMU_API_COUNT; i++)
		if (strcmp(iommu_api_names[i], api) == 0)
			chosen = (enum iommu_api)i;
	return iommu_space_new(chosen, &owner_space, e);
}

static struct owned_device *free_slot(const char *id)
{
	for (size_t i = 0; i < MAX_DEVICES; i++)
		if (!devices[i].id[0]) {
			devices[i] = (struct owned_device){.held = -1};
			str_copy(devices[i].id, sizeof(devices[i].id), id);
			return &devices[i];
		}
	return NULL;
}

/* An edu gets its driver with the device. */
static int equip(struct owned_device *d, struct err *e)
{
	uint32_t ids = 0;

	if (vfio_region_read(d->dev, VFIO_REGION_CONFIG, 0, 4, &ids, e) < 0)
		return -1;
	return ids == 0x11e81234 ? edu_wrap(d->dev, &d->edu, e) : 0;
}

static void close_device(struct owned_device *d)
{
	if (d->edu.dev)
		edu_close(&d->edu);
	else
		vfio_device_close(d->dev);
	close_fd(&d->held);
	for (unsigned int i = 0; i < d->event_count; i++)
		close_fd(&d->events[i]);
	*d = (struct owned_device){.held = -1};
}

static int do_open(char **words, struct err *e)
{
	struct owned_device *d;
	struct pci_addr addr;

	if (!pci_addr_parse(words[1], &addr))
		return err_set(e, ERR_USAGE, "USAGE", "'%s' is no address", words[1]);
	if (need_space(&addr, words[2], e) < 0)
		return -1;
	d = free_slot(words[1]);
	if (!d)
		return err_set(e, ERR_USAGE, "USAGE", "too many devices");
	if (vfio_device_open(root, owner_space, &addr, &d->dev, e) < 0 || equip(d, e) < 0) {
		*d = (struct owned_device){.held = -1};
		return -1;
	}
	return owner_say(" %s", iommu_api_names[iommu_space_api(owner_space)]);
}

static int do_close(char **words, struct err *e)
{
	struct owned_device *d = device_of(words[1], e);

	if (!d)
		return -1;
	close_device(d);
	return 0;
}

static bool is_any_open(void)
{
	for (size_t i = 0; i < MAX_DEVICES; i++)
		if (devices[i].dev)
			return true;
	return false;
}

/* Keeps nothing of the device but its descriptor; no space either when it was the last. */
static int do_hold(char **words, struct err *e)
{
	struct owned_device *d = device_of(words[1], e);

	if (!d)
		return -1;
	vfio_bar_unmap(&d->edu.bar);
	d->held = vfio_device_release(d->dev);
	d->dev = d->edu.dev = NULL;
	if (is_any_open())
		return 0;
	iommu_space_free(owner_space);
	owner_space = NULL;
	return 0;
}

static int do_adopt(char **words, struct err *e)
{
	struct owned_device *d = device_of(words[1], e);
	struct pci_addr addr;

	if (!d || !pci_addr_parse(words[1], &addr))
		return -1;
	return vfio_device_adopt(root, &addr, steal_fd(&d->held), &d->dev, e) < 0 ? -1
										  : equip(d, e);
}

static int do_master(char **words, struct err *e)
{
	struct owned_device *d = device_of(words[1], e);
	bool on = false;

	if (!d || (words[2] && vfio_set_bus_master(d->dev, owner_word_is(words[2], "on"), e) < 0) ||
		vfio_get_bus_master(d->dev, &on, e) < 0)
		return -1;
	return owner_say(" %s", on ? "on" : "off");
}

static int do_region(char **words, struct err *e)
{
	struct owned_device *d = device_of(words[1], e);
	struct vfio_region_facts facts;
	uint64_t index;

	if (!d || owner_number(words[2], VFIO_REGION_COUNT - 1, &index, e) < 0)
		return -1;
	facts = vfio_region(d->dev, (enum vfio_region)index);
	return owner_say(" 0x%" PRIx64 "%s%s%s", facts.size_bytes, facts.readable ? " read" : "",
		facts.writable ? " write" : "", facts.mappable ? " map" : "");
}

/* at ID REGION OFFSET SIZE [VALUE]: reads, or writes. */
static int do_at(char **words, struct err *e)
{
	struct owned_device *d = device_of(words[1], e);
	uint64_t region, offset, size, value;
	uint32_t seen = 0;

	if (!d || owner_number(words[2], VFIO_REGION_COUNT - 1, &region, e) < 0 ||
		owner_number(words[3], UINT64_MAX, &offset, e) < 0 ||
		owner_number(words[4], 4, &size, e) < 0)
		return -1;
	if (words[5])
		return owner_number(words[5], UINT32_MAX, &value, e) < 0
			       ? -1
			       : vfio_region_write(d->dev, (enum vfio_region)region, offset,
					 (unsigned int)size, (uint32_t)value, e);
	if (vfio_region_read(
		    d->dev, (enum vfio_region)region, offset, (unsigned int)size, &seen, e) < 0)
		return -1;
	return owner_say(" 0x%x", seen);
}

static int do_resets(char **words, struct err *e)
{
	struct owned_device *d = device_of(words[1], e);
	struct vfio_reset_info info;
	char id[PCI_ADDR_MAX];

	if (!d || vfio_reset_info(d->dev, &info, e) < 0)
		return -1;
	owner_say(" %s %s", info.function ? "function" : "-", info.bus ? "bus" : "-");
	for (size_t i = 0; i < info.companion_count; i++) {
		pci_addr_format(&info.companions[i].addr, id);
		owner_say(" %s=%s", id, info.companions[i].ours ? "ours" : "theirs");
	}
	return 0;
}

static int do_reset(char **words, struct err *e)
{
	struct owned_device *d = device_of(words[1], e);

	if (!d)
		return -1;
	return owner_word_is(words[2], "bus") ? vfio_reset_bus(d->dev, e)
					      : vfio_reset_function(d->dev, e);
}

static int do_check(char **words, struct err *e)
{
	struct owned_device *d = device_of(words[1], e);

	return d ? vfio_device_check(d->dev, e) : -1;
}

/* --- edu -------------------------------------------------------------------------------------- */

static int run_dma(char **words,
	int (*run)(struct edu *edu, uint64_t iova, uint32_t len_bytes, struct err *e),
	struct err *e)
{
	struct edu *edu = edu_of(words[1], e);
	uint64_t iova, len;

	if (!edu || owner_number(words[2], UINT64_MAX, &iova, e) < 0 ||
		owner_number(words[3], EDU_BUFFER_BYTES, &len, e) < 0)
		return -1;
	return run(edu, iova, (uint32_t)len, e);
}

static int do_store(char **words, struct err *e)
{
	return run_dma(words, edu_store, e);
}

static int do_fetch(char **words, struct err *e)
{
	return run_dma(words, edu_fetch, e);
}

static int irq_kind(const char *word, enum vfio_irq *irq, struct err *e)
{
	static const char *const names[] = {"intx", "msi", "msix"};

	for (unsigned int i = 0; i < ARRAY_SIZE(names); i++)
		if (strcmp(names[i], word) == 0) {
			*irq = (enum vfio_irq)i;
			return 0;
		}
	return err_set(e, ERR_USAGE, "USAGE", "'%s' is no interrupt", word);
}

static int do_irq(char **words, struct err *e)
{
	struct edu *edu = edu_of(words[1], e);
	enum vfio_irq irq = VFIO_IRQ_INTX;

	if (!edu || irq_kind(words[2], &irq, e) < 0)
		return -1;
	return edu_irq_on(edu, irq, e);
}

/* vectors ID KIND COUNT: of any device; how many it has, if COUNT is 0. */
static int do_vectors(char **words, struct err *e)
{
	struct owned_device *d = device_of(words[1], e);
	enum vfio_irq irq = VFIO_IRQ_INTX;
	uint64_t count;

	if (!d || irq_kind(words[2], &irq, e) < 0 ||
		owner_number(words[3], MAX_VECTORS, &count, e) < 0)
		return -1;
	if (count == 0)
		return owner_say(" %u", vfio_irq_count(d->dev, irq));
	while (d->event_count < count)
		d->events[d->event_count++] = eventfd(0, EFD_CLOEXEC);
	return vfio_irq_on(d->dev, irq, d->events, (unsigned int)count, e);
}

/* event ID VECTOR MS: waits for one. */
static int do_event(char **words, struct err *e)
{
	struct owned_device *d = device_of(words[1], e);
	uint64_t vector, timeout_ms, times;
	struct pollfd event = {.events = POLLIN};

	if (!d || owner_number(words[2], MAX_VECTORS - 1, &vector, e) < 0 ||
		owner_number(words[3], INT32_MAX, &timeout_ms, e) < 0)
		return -1;
	event.fd = vector < d->event_count ? d->events[vector] : -1;
	if (poll(&event, 1, (int)timeout_ms) != 1 ||
		read(event.fd, &times, sizeof(times)) != sizeof(times))
		return err_set(e, ERR_TIMED_OUT, "IRQ-NONE", "vector %s is silent", words[2]);
	return 0;
}

static int do_raise(char **words, struct err *e)
{
	struct edu *edu = edu_of(words[1], e);

	if (!edu)
		return -1;
	edu_irq_raise(edu);
	return 0;
}

static int do_wait(char **words, struct err *e)
{
	struct edu *edu = edu_of(words[1], e);
	uint64_t timeout_ms;

	if (!edu || owner_number(words[2], INT32_MAX, &timeout_ms, e) < 0)
		return -1;
	return edu_irq_wait(edu, (int)timeout_ms, e);
}

/* --- the lines -------------------------------------------------------------------------------- */

static const struct {
	const char *name;
	int least, most; /* words behind it */
	int (*run)(char **words, struct err *e);
} commands[] = {
	{"open", 1, 2, do_open},
	{"close", 1, 1, do_close},
	{"hold", 1, 1, do_hold},
	{"adopt", 1, 1, do_adopt},
	{"master", 1, 2, do_master},
	{"region", 2, 2, do_region},
	{"at", 4, 5, do_at},
	{"resets", 1, 1, do_resets},
	{"reset", 1, 2, do_reset},
	{"check", 1, 1, do_check},
	{"store", 3, 3, do_store},
	{"fetch", 3, 3, do_fetch},
	{"irq", 2, 2, do_irq},
	{"vectors", 3, 3, do_vectors},
	{"event", 3, 3, do_event},
	{"raise", 1, 1, do_raise},
	{"wait", 2, 2, do_wait},
	{"limits", 0, 0, owner_limits},
	{"buffer", 3, 5, owner_buffer},
	{"unmap", 1, 1, owner_unmap},
	{"map", 2, 2, owner_map},
	{"unmap-at", 2, 2, owner_unmap_at},
	{"poke", 3, 3, owner_poke},
	{"peek", 3, 3, owner_peek},
	{"fill", 2, 2, owner_fill},
	{"differ", 2, 2, owner_differ},
	{"physical", 2, 2, owner_physical},
	{"fragments", 1, 1, owner_fragments},
	{"limit", 1, 1, owner_limit},
};

static int split(char *line, char **words)
{
	char *rest;
	int count = 0;

	for (char *word = strtok_r(line, " \n", &rest); word && count < MAX_WORDS;
		word = strtok_r(NULL, " \n", &rest))
		words[count++] = word;
	return count;
}

static int run_line(char *line, struct err *e)
{
	char *words[MAX_WORDS + 1] = {NULL};
	int count = split(line, words) - 1;

	for (size_t i = 0; i < ARRAY_SIZE(commands); i++)
		if (owner_word_is(words[0], commands[i].name) && count >= commands[i].least &&
			count <= commands[i].most)
			return commands[i].run(words, e);
	return err_set(e, ERR_USAGE, "USAGE", "'%s' is no command with %d words",
		words[0] ? words[0] : "", count);
}

int main(void)
{
	char line[LINE_BYTES];
	struct err e;

	for (size_t i = 0; i < MAX_DEVICES; i++)
		devices[i].held = -1;
	if (sysroot_open("/", &root, &e) < 0)
		return EXIT_FAILURE;
	while (fgets(line, sizeof(line), stdin)) {
		answer[0] = '\0';
		e = (struct err)ERR_INIT;
		if (run_line(line, &e) < 0)
			printf("refused %s %s (%s; %s)\n", e.code[0] ? e.code : "USAGE", e.msg,
				e.evidence, e.fix);
		else
			printf("ok%s\n", answer);
		fflush(stdout);
	}
	for (size_t i = 0; i < MAX_DEVICES; i++)
		close_device(&devices[i]);
	iommu_space_free(owner_space);
	sysroot_close(root);
	return EXIT_SUCCESS;
}
