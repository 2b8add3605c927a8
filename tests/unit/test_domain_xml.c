/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/domain_xml.h"

#include <stdio.h>
#include <string.h>

#include "lib/cleanup.h"
#include "tests/unit/unit.h"

#define SOURCE_ACCESS "<source type='memfd'/><access mode='shared'/>"

START_TEST(memory_is_shared_as_a_whole_or_by_cells)
{
	static const struct {
		const char *xml;
		bool shared;
	} samples[] = {
		{"<domain/>", false},
		{"<domain><memoryBacking>" SOURCE_ACCESS "</memoryBacking></domain>", true},
		{"<domain><memoryBacking><access mode='private'/></memoryBacking></domain>", false},
		{"<domain><cpu><numa><cell memAccess='shared'/><cell memAccess='shared'/></numa>"
		 "</cpu></domain>",
			true},
		{"<domain><cpu><numa><cell memAccess='shared'/><cell/></numa></cpu></domain>",
			false},
		{"<domain><devices><access mode='shared'/></devices></domain>", false},
	};

	for (size_t i = 0; i < ARRAY_SIZE(samples); i++)
		ck_assert_msg(domain_xml_shares_memory(samples[i].xml) == samples[i].shared, "%s",
			samples[i].xml);
}
END_TEST

START_TEST(memory_is_made_to_be_shared_and_all_else_stays)
{
	static const struct {
		const char *before, *after;
	} samples[] = {
		{"<domain><name>x</name><devices><disk/></devices></domain>",
			"<domain><name>x</name><memoryBacking>" SOURCE_ACCESS
			"</memoryBacking><devices><disk/></devices></domain>"},
		{"<domain><memoryBacking/><devices/></domain>",
			"<domain><memoryBacking>" SOURCE_ACCESS
			"</memoryBacking><devices/></domain>"},
		{"<domain><memoryBacking><hugepages/><source type='anonymous'/>"
		 "<access mode='private'/><locked/></memoryBacking></domain>",
			"<domain><memoryBacking>" SOURCE_ACCESS
			"<hugepages/><locked/></memoryBacking></domain>"},
	};

	for (size_t i = 0; i < ARRAY_SIZE(samples); i++) {
		auto_free char *made = domain_xml_share_memory(samples[i].before);

		ck_assert_ptr_nonnull(made);
		ck_assert_str_eq(made, samples[i].after);
		ck_assert(domain_xml_shares_memory(made));
	}
	ck_assert_ptr_null(domain_xml_share_memory("<network/>"));
}
END_TEST

START_TEST(a_disk_gets_a_name_that_neither_definition_has)
{
	static const char live[] = "<domain><devices><disk><target dev='vda'/></disk>"
				   "<interface><target dev='vdb'/></interface></devices></domain>";
	static const char config[] =
		"<domain><devices><disk><target dev='vdb'/></disk></devices></domain>";
	char all[26 * 48] = "<domain><devices>", one[48], target[16];

	ck_assert(domain_xml_free_target(live, NULL, "vd", target));
	ck_assert_str_eq(target, "vdb");
	ck_assert(domain_xml_free_target(live, config, "vd", target));
	ck_assert_str_eq(target, "vdc");
	for (int c = 'a'; c <= 'z'; c++) {
		ck_assert(domain_xml_free_target(all, NULL, "vd", target));
		snprintf(one, sizeof(one), "<disk><target dev='vd%c'/></disk>", c);
		ck_assert_int_eq(target[2], c);
		strcat(all, one);
	}
	ck_assert(!domain_xml_free_target(all, NULL, "vd", target));
}
END_TEST

START_TEST(the_user_is_that_of_the_model_dac)
{
	static const char head[] =
		"<capabilities><host><secmodel><model>apparmor</model>"
		"<baselabel type='qemu'>+1:+2</baselabel></secmodel><secmodel><model>dac</model>"
		"<doi>0</doi><baselabel type='kvm'>+5:+5</baselabel>";

	ck_assert_int_eq(domain_xml_qemu_user("<capabilities/>"), -1);
	ck_assert_int_eq(domain_xml_qemu_user(head), -1);
	for (int i = 0; i < 2; i++) {
		char text[512];

		snprintf(text, sizeof(text), "%s%s", head,
			i ? "<baselabel type='qemu'>+64055:+104</baselabel></secmodel>"
			  : "</secmodel><secmodel><baselabel type='qemu'>+9:+9</baselabel>"
			    "</secmodel>");
		ck_assert_int_eq(domain_xml_qemu_user(text), i ? 64055 : -1);
	}
}
END_TEST

START_TEST(a_socket_is_set_for_its_alias_only)
{
#define DISK(alias, path)                                                                          \
	"<disk type='vhostuser'><source type='unix' path='" path "' index='1'><reconnect/>"        \
	"</source><target dev='vda'/><alias name='" alias "'/></disk>"
#define DOMAIN(a, b)                                                                               \
	"<domain><devices>" DISK("ua-iovd-a", a) "<disk><alias name='ua-iovd-c'/></disk>" DISK(    \
		"ua-iovd-b", b) "</devices></domain>"
	static const char before[] = DOMAIN("/x", "/y"), after[] = DOMAIN("/x", "/run/b&apos;");
	auto_free char *set = domain_xml_set_socket(before, "ua-iovd-b", "/run/b'");
	auto_free char *none = domain_xml_set_socket(before, "ua-iovd-c", "/run/c");

	ck_assert_str_eq(set, after);
	ck_assert_str_eq(none, before);
}
END_TEST

START_TEST(a_port_goes_to_another_socket)
{
#define PORT(path)                                                                                 \
	"<domain><devices><disk><source path='/d'/></disk><interface type='vhostuser'>"            \
	"<source type='unix' path='" path "' mode='client'/>"                                      \
	"<alias name='ua-iovd-lan'/></interface></devices></domain>"
	static const char before[] = PORT("/x"), after[] = PORT("/run/lan");
	auto_free char *set = domain_xml_set_socket(before, "ua-iovd-lan", "/run/lan");

	ck_assert_str_eq(set, after);
}
END_TEST

START_TEST(a_description_says_where_it_was_written)
{
#define DESCRIBED(host)                                                                            \
	"<domain><metadata><iovd:attachments xmlns:iovd=\"x\"" host                                \
	"><attachment host='no'/></iovd:attachments></metadata></domain>"
	static const char before[] = DESCRIBED(" host=\"ssh://a\"");
	static const char none[] = DESCRIBED("");
	auto_free char *set = domain_xml_set_host(before, "unix:///b");
	auto_free char *still = domain_xml_set_host(none, "unix:///b");
	char host[32];

	ck_assert(domain_xml_host(before, host, sizeof(host)));
	ck_assert_str_eq(host, "ssh://a");
	ck_assert(!domain_xml_host(none, host, sizeof(host)));
	ck_assert_str_eq(host, "");
	ck_assert_str_eq(set, DESCRIBED(" host=\"unix:///b\""));
	ck_assert_str_eq(still, none);
}
END_TEST

START_TEST(an_alias_has_no_dot)
{
	struct attachment_spec spec = {.name = "root.disk-1"};
	char alias[DOMAIN_ALIAS_SIZE];

	domain_alias(&spec, alias);
	ck_assert_str_eq(alias, "ua-iovd-root_disk-1");
}
END_TEST

START_TEST(a_function_and_its_standby_know_each_other)
{
	struct attachment_spec spec = {.name = "lan",
		.device = "0000:41:10.1",
		.path = ATTACHMENT_PASSTHROUGH,
		.vf = {.standby = "bridge:br0",
			.settings = {.has = 1u << VF_MAC, .mac = {0x52, 0x54, 0, 1, 2, 3}}}};
	auto_free char *function = domain_xml_device(NULL, &spec);
	auto_free char *bridge = domain_xml_standby(&spec), *direct = NULL;

	ck_assert_str_eq(function,
		"<hostdev mode='subsystem' type='pci' managed='no'><source>"
		"<address domain='0x0000' bus='0x41' slot='0x10' function='0x1'/></source>"
		"<teaming type='transient' persistent='ua-iovd-lan-standby'/>"
		"<alias name='ua-iovd-lan'/></hostdev>");
	ck_assert_str_eq(bridge,
		"<interface type='bridge'><mac address='52:54:00:01:02:03'/>"
		"<source bridge='br0'/><model type='virtio'/><teaming type='persistent'/>"
		"<alias name='ua-iovd-lan-standby'/></interface>");
	str_copy(spec.vf.standby, sizeof(spec.vf.standby), "direct:eth0");
	direct = domain_xml_standby(&spec);
	ck_assert_ptr_nonnull(strstr(direct, "<source dev='eth0' mode='bridge'/>"));
	spec.vf.settings.has = 0; /* which its definition does without */
	ck_assert_ptr_null(domain_xml_standby(&spec));
}
END_TEST

static int count_description(void *arg, const struct domain_description *d, struct err *e)
{
	unsigned int *count = arg;

	(void)e;
	ck_assert_str_eq(d->name, "root");
	ck_assert_str_eq(d->device, "/srv/a&b.img");
	ck_assert_str_eq(d->owner, "nobody");
	ck_assert_uint_eq(d->queues, 4);
	ck_assert(d->readonly);
	ck_assert_uint_eq(d->rescue.spare_count, 2);
	ck_assert_str_eq(d->rescue.spares[1], "/srv/c.img");
	ck_assert_str_eq(d->rescue.fence, "/bin/fence a");
	ck_assert_uint_eq(d->rescue.io_timeout_ms, 500);
	++*count;
	return 0;
}

START_TEST(a_description_is_read_with_and_without_prefix)
{
	static const char text[] =
		"<domain><metadata><other:attachments><attachment name='no'/></other:attachments>"
		"<iovd:attachments xmlns:iovd='x'>"
		"<attachment name='root' device='/srv/a&amp;b.img' queues='4' readonly='yes' "
		"owner='nobody' fence='/bin/fence a' io_timeout='500'><spare device='/srv/b.img'/>"
		"<spare device='/srv/c.img'/></attachment>"
		"<iovd:attachment name='root' device='/srv/a&amp;b.img' queues='4' readonly='yes' "
		"owner='nobody' fence='/bin/fence a' io_timeout='500'>"
		"<iovd:spare device='/srv/b.img'/><iovd:spare device='/srv/c.img'/>"
		"</iovd:attachment></iovd:attachments></metadata>"
		"<devices><attachment name='no'/></devices></domain>";
	unsigned int count = 0;
	struct err e = ERR_INIT;

	ck_assert_int_eq(domain_xml_each(text, count_description, &count, &e), 0);
	ck_assert_uint_eq(count, 2);
	ck_assert_int_eq(domain_xml_each("<domain>", count_description, &count, &e), -1);
	ck_assert_int_eq(e.kind, ERR_USAGE);
}
END_TEST

UNIT_MAIN(memory_is_shared_as_a_whole_or_by_cells, memory_is_made_to_be_shared_and_all_else_stays,
	a_disk_gets_a_name_that_neither_definition_has, the_user_is_that_of_the_model_dac,
	a_socket_is_set_for_its_alias_only, a_port_goes_to_another_socket,
	a_description_says_where_it_was_written, an_alias_has_no_dot,
	a_function_and_its_standby_know_each_other, a_description_is_read_with_and_without_prefix)
