/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/channel.h"

#include "lib/cleanup.h"
#include "tests/unit/unit.h"

START_TEST(a_host_is_what_ssh_takes_for_one)
{
	static const struct {
		const char *uri;
		bool good;
	} samples[] = {
		{"qemu+ssh://host2/system", true},
		{"qemu+ssh://root@host2.example.org:2222/system?no_tty=1", true},
		{"ssh://host2", true},
		{"ssh://[::1]", true},
		{"ssh://root@[fe80::1]:65535", true},
		{"ssh://::1", false},
		{"ssh://[::1", false},
		{"ssh://::1]", false},
		{"ssh://a[::1]", false},
		{"ssh://[[::1]]", false},
		{"ssh://[-oProxyCommand=x]", false},
		{"ssh://[]", false},
		{"ssh://", false},
		{"ssh://-oProxyCommand=x", false},
		{"ssh://host2;reboot", false},
		{"ssh://$(reboot)", false},
		{"ssh://host2:65536", false},
		{"ssh://host2:", false},
		{"unix:///run/iovd/iovd.sock", true},
		{"unix://iovd.sock", false},
		{"qemu+tls://host2/system", false},
	};

	for (size_t i = 0; i < ARRAY_SIZE(samples); i++) {
		struct err e = ERR_INIT;
		int rc = channel_check_uri(samples[i].uri, &e);

		ck_assert_msg((rc == 0) == samples[i].good, "%s: %d", samples[i].uri, rc);
		if (rc < 0)
			ck_assert_str_eq(e.code, "URI");
	}
}
END_TEST

UNIT_MAIN(a_host_is_what_ssh_takes_for_one)
