/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "lib/iommu/aer.h"

#include <stdio.h>
#include <string.h>

#define FILE_MAX 2048

const char *const aer_severity_names[] = {
	[AER_CORRECTABLE] = "correctable",
	[AER_NONFATAL] = "nonfatal",
	[AER_FATAL] = "fatal",
};
static_assert(ARRAY_SIZE(aer_severity_names) == AER_SEVERITIES, "a name for each");

/* One line of `len` bytes. */
static void parse_line(const char *line, size_t len, struct aer_counters *c)
{
	size_t name = strcspn(line, " \n");
	struct aer_counter *to = &c->at[c->count];
	char number[24];
	uint64_t value;

	if (name == 0 || name >= len || name >= sizeof(to->name) || line[name] != ' ' ||
		len - name - 1 >= sizeof(number))
		return;
	memcpy(number, line + name + 1, len - name - 1);
	number[len - name - 1] = '\0';
	if (parse_u64(number, UINT64_MAX, &value) < 0)
		return;
	if (strncmp(line, "TOTAL", 5) == 0) {
		c->total = value;
		return;
	}
	to->count = value;
	memcpy(to->name, line, name);
	to->name[name] = '\0';
	c->count++;
}

void aer_parse(const char *text, struct aer_counters *c)
{
	*c = (struct aer_counters){.count = 0};
	while (*text && c->count < ARRAY_SIZE(c->at)) {
		size_t len = strcspn(text, "\n");

		parse_line(text, len, c);
		text += len + (text[len] == '\n');
	}
}

bool aer_read(const struct sysroot *root, const char *id, struct aer_facts *facts)
{
	struct sysfs_dir dir;
	bool found = false;

	sysfs_dir_init(&dir, root, "sys/bus/pci/devices/%s", id);
	for (unsigned int i = 0; i < AER_SEVERITIES; i++) {
		char file[40], text[FILE_MAX];
		ssize_t len;

		facts->of[i] = (struct aer_counters){.count = 0};
		snprintf(file, sizeof(file), "aer_dev_%s", aer_severity_names[i]);
		len = sysfs_read_raw(&dir, file, text, sizeof(text) - 1);
		if (len < 0)
			continue;
		text[len] = '\0';
		aer_parse(text, &facts->of[i]);
		found = true;
	}
	return found;
}

uint64_t aer_more(const struct aer_counters *before, const struct aer_counter *now)
{
	for (size_t i = 0; i < before->count; i++)
		if (strcmp(before->at[i].name, now->name) == 0)
			return now->count > before->at[i].count ? now->count - before->at[i].count
								: 0;
	return now->count;
}

uint64_t aer_nameless(const struct aer_counters *before, const struct aer_counters *now)
{
	for (size_t i = 0; i < now->count; i++)
		if (aer_more(before, &now->at[i]))
			return 0;
	return now->total > before->total ? now->total - before->total : 0;
}

const char *aer_words(const char *name)
{
	static const struct {
		const char *name, *words;
	} known[] = {
		{"RxErr", "the receiver saw a bad symbol"},
		{"BadTLP", "a packet was damaged on the link"},
		{"BadDLLP", "a packet of the link itself was damaged"},
		{"Rollover", "packets had to be sent again too often"},
		{"Timeout", "packets had to be sent again, for lack of an answer"},
		{"NonFatalErr", "an error that the receiver deals with"},
		{"CorrIntErr", "an error inside the device, which it corrected"},
		{"HeaderOF", "errors came faster than they were taken note of"},
		{"Undefined", "the link was being set up"},
		{"DLP", "the link's protocol was broken"},
		{"SDES", "the link went down by surprise"},
		{"TLP", "poisoned data came"},
		{"FCP", "the link's flow control was broken"},
		{"CmpltTO", "an answer did not come in time"},
		{"CmpltAbrt", "a request was given up"},
		{"UnxCmplt", "an answer came that nobody waited for"},
		{"RxOF", "more came than there was room for"},
		{"MalfTLP", "a packet was malformed"},
		{"ECRC", "a packet was damaged end to end"},
		{"UnsupReq", "a request that the receiver does not know"},
		{"ACSViol", "a request that access control forbids"},
		{"UncorrIntErr", "an error inside the device"},
		{"BlockedTLP", "a multicast request was blocked"},
		{"AtomicOpBlocked", "an atomic operation was blocked"},
		{"TLPBlockedErr", "a request with a prefix was blocked"},
		{"PoisonTLPBlocked", "poisoned data was kept back"},
	};

	for (size_t i = 0; i < ARRAY_SIZE(known); i++)
		if (strcmp(known[i].name, name) == 0)
			return known[i].words;
	return name;
}
