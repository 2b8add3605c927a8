/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A domain's definition: what libvirt's hook hands us, and who may define domains writes into it. The
 * walk stays inside of the text, and what is changed in a definition keeps the rest of it: memory is
 * shared afterwards, and all its attachments are still there.
 */
#include <stdlib.h>
#include <string.h>

#include "daemon/domain_xml.h"
#include "lib/cleanup.h"
#include "lib/xml.h"
#include "tests/fuzz/fuzz.h"

static void require(bool good)
{
	if (!good)
		abort();
}

static bool is_within(const char *at, const char *text, size_t len)
{
	return at >= text && at <= text + len;
}

/* Every element that begins: its path, its attributes, its content and its end. */
static bool walk(const char *text, size_t len)
{
	char value[8];
	struct xml x;

	xml_begin(&x, text);
	while (xml_next(&x)) {
		const char *end = xml_end(&x);

		require(strlen(x.path) > 0 && strlen(x.path) < XML_PATH_MAX);
		require(is_within(x.element, text, len) && is_within(xml_content(&x), text, len));
		require(!end || (is_within(end, text, len) && end >= xml_content(&x)));
		if (xml_attribute(&x, "name", value, sizeof(value)))
			require(strlen(value) < sizeof(value));
	}
	return !xml_failed(&x);
}

static int count(void *arg, const struct domain_description *d, struct err *e)
{
	(void)d, (void)e;
	++*(unsigned int *)arg;
	return 0;
}

static void share(const char *text, unsigned int attachments)
{
	auto_free char *shared = domain_xml_share_memory(text);
	struct err e = ERR_INIT;
	unsigned int left = 0;

	if (!shared)
		return;
	require(walk(shared, strlen(shared)));
	require(domain_xml_shares_memory(shared));
	require(domain_xml_each(shared, count, &left, &e) == 0 && left == attachments);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	auto_free char *text = strndup((const char *)data, size);
	unsigned int attachments = 0;
	struct err e = ERR_INIT;
	char target[16];
	bool good;

	require(text != NULL);
	good = walk(text, strlen(text));
	require(domain_xml_each(text, count, &attachments, &e) == 0 || !good);
	domain_xml_free_target(text, NULL, "vd", target);
	require(domain_xml_qemu_user(text) >= -1);
	if (good)
		share(text, attachments);
	return 0;
}
