/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "lib/xml.h"

#include <string.h>

#include "tests/unit/unit.h"

static const char domain[] =
	"<?xml version='1.0'?>\n<!-- <not> -->\n<domain type='qemu'>\n  <name>a &lt; b</name>\n"
	"  <devices><disk type=\"file\"><target dev='vda' bus='virtio'/></disk>\n"
	"    <disk><target note='a>b' dev='&quot;v&amp;&apos;'/></disk><empty/></devices>\n"
	"</domain>\n";

START_TEST(elements_come_in_order)
{
	static const char *const paths[] = {"domain", "domain/name", "domain/devices",
		"domain/devices/disk", "domain/devices/disk/target", "domain/devices/disk",
		"domain/devices/disk/target", "domain/devices/empty"};
	struct xml x;
	size_t n = 0;

	xml_begin(&x, domain);
	while (xml_next(&x)) {
		ck_assert_uint_lt(n, ARRAY_SIZE(paths));
		ck_assert_str_eq(x.path, paths[n]);
		n++;
	}
	ck_assert(!xml_failed(&x));
	ck_assert_uint_eq(n, ARRAY_SIZE(paths));
}
END_TEST

START_TEST(attributes_are_decoded)
{
	char value[16];
	struct xml x;

	xml_begin(&x, domain);
	while (xml_next(&x) && strncmp(x.element, "<target note", 12) != 0)
		;
	ck_assert(xml_attribute(&x, "dev", value, sizeof(value)));
	ck_assert_str_eq(value, "\"v&'");
	ck_assert(xml_attribute(&x, "note", value, sizeof(value)));
	ck_assert_str_eq(value, "a>b");
	ck_assert(!xml_attribute(&x, "bus", value, sizeof(value)));
	ck_assert_str_eq(value, "");
	ck_assert(xml_attribute(&x, "dev", value, 5)); /* four and a NUL */
	ck_assert(!xml_attribute(&x, "dev", value, 4));
}
END_TEST

START_TEST(an_element_has_its_end)
{
	struct xml x;

	xml_begin(&x, domain);
	while (xml_next(&x) && !xml_is(&x, "domain/devices"))
		;
	ck_assert_int_eq(strncmp(xml_content(&x), "<disk type", 10), 0);
	ck_assert_str_eq(xml_end(&x), "\n</domain>\n");
	while (xml_next(&x) && !x.is_empty)
		;
	ck_assert_int_eq(strncmp(xml_end(&x), "</disk>", 7), 0);
	while (xml_next(&x)) /* the walk has not moved */
		;
	ck_assert(!xml_failed(&x));
}
END_TEST

START_TEST(what_is_no_xml_ends_the_walk)
{
	static const char *const bad[] = {"<a>", "<a></b>", "</a>", "<a><b></a></b>", "<a b='>",
		"<a></a", "<>", "<!-- <a>", "<a/></a>", "<"};

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		struct xml x;

		xml_begin(&x, bad[i]);
		while (xml_next(&x))
			;
		ck_assert_msg(xml_failed(&x) || strchr(bad[i], '!'), "%s", bad[i]);
	}
}
END_TEST

START_TEST(it_never_goes_too_deep)
{
	char text[XML_MAX_DEPTH * 7 + 8] = "";
	struct xml x;

	for (int levels = XML_MAX_DEPTH; levels <= XML_MAX_DEPTH + 1; levels++) {
		text[0] = '\0';
		for (int i = 0; i < levels; i++)
			strcat(text, "<a>");
		for (int i = 0; i < levels; i++)
			strcat(text, "</a>");
		xml_begin(&x, text);
		while (xml_next(&x))
			;
		ck_assert(xml_failed(&x) == (levels > XML_MAX_DEPTH));
	}
}
END_TEST

START_TEST(a_word_is_escaped)
{
	char out[18];

	ck_assert(xml_escape(out, sizeof(out), "a<b&'"));
	ck_assert_str_eq(out, "a&lt;b&amp;&apos;");
	ck_assert(!xml_escape(out, sizeof(out), "a<b&'x"));
}
END_TEST

UNIT_MAIN(elements_come_in_order, attributes_are_decoded, an_element_has_its_end,
	what_is_no_xml_ends_the_walk, it_never_goes_too_deep, a_word_is_escaped)
