/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "lib/nbd_uri.h"

#include <string.h>

#include "tests/unit/unit.h"

/* What is said, and the one way to say it; NULL: refused. */
static const struct {
	const char *said, *written;
} samples[] = {
	{"nbd://host/export", "nbd://host/export"},
	{"nbd://host", "nbd://host/"},
	{"nbd://HOST:10809/", "nbd://host/"},
	{"nbd://host:010809/x", NULL},
	{"nbd://host:65535/x", "nbd://host:65535/x"},
	{"nbd://host:65536/x", NULL},
	{"nbd://host:0/x", NULL},
	{"nbd://host:/x", NULL},
	{"nbd://host:1x/x", NULL},
	{"nbd://[2001:DB8::1]:99/x", "nbd://[2001:db8::1]:99/x"},
	{"nbd://[::1]/", "nbd://[::1]/"},
	{"nbd://[::1/", NULL},
	{"nbd://[/", NULL},
	{"nbd://", NULL},
	{"nbd:///x", NULL},
	{"nbd://user@host/x", NULL},
	{"nbd://host/a%20b", "nbd://host/a%20b"},
	{"nbd://host/a%2fb//c", "nbd://host/a/b//c"},
	{"nbd://host/%41", "nbd://host/A"},
	{"nbd://host/\xc3\xa9", "nbd://host/%C3%A9"},
	{"nbd://host/%", NULL},
	{"nbd://host/%4", NULL},
	{"nbd://host/%zz", NULL},
	{"nbd://host/%00", NULL},
	{"nbd://host/%0a", NULL},
	{"nbd://host/x#y", NULL},
	{"nbd://host/x?socket=/s", NULL},
	{"nbd://host?x", NULL},
	{"nbds://host/x", NULL},
	{"nbd+unix:///x?socket=/run/nbd", "nbd+unix:///x?socket=/run/nbd"},
	{"nbd+unix://?socket=%2Fs", "nbd+unix:///?socket=/s"},
	{"nbd+unix:///x?socket=/s&socket=/t", NULL},
	{"nbd+unix:///x?socket=s", NULL},
	{"nbd+unix:///x?socket=", NULL},
	{"nbd+unix:///x?SOCKET=/s", NULL},
	{"nbd+unix:///x", NULL},
	{"nbd+unix://host/x?socket=/s", NULL},
	{"nbd+vsock://2/x", NULL},
};

START_TEST(there_is_one_way_to_write_a_name)
{
	for (size_t i = 0; i < ARRAY_SIZE(samples); i++) {
		struct err e = ERR_INIT;
		char text[NBD_URI_MAX];
		struct nbd_uri uri;
		int rc = nbd_uri_parse(samples[i].said, &uri, &e);

		ck_assert_msg(
			(rc == 0) == (samples[i].written != NULL), "%s: %d", samples[i].said, rc);
		if (rc < 0) {
			ck_assert_str_eq(e.code, "NBD-URI");
			continue;
		}
		nbd_uri_format(&uri, text);
		ck_assert_str_eq(text, samples[i].written);
		ck_assert_int_eq(nbd_uri_parse(text, &uri, NULL), 0);
	}
}
END_TEST

START_TEST(other_names_are_not_meant)
{
	static const char *const others[] = {
		"nbd0", "nbd:host:1", "/dev/nbd0", "nbd", "nbd:/x", "http://nbd/", "Nbd://x", ""};

	for (size_t i = 0; i < ARRAY_SIZE(others); i++)
		ck_assert_msg(!nbd_uri_is(others[i]), "%s", others[i]);
	ck_assert(nbd_uri_is("nbds+unix://"));
}
END_TEST

/* Exactly as much as there is room for, and one more. */
START_TEST(the_longest_fits)
{
	char text[NBD_URI_MAX] = "nbd://h/", back[NBD_URI_MAX];
	char path[NBD_URI_MAX] = "nbd+unix:///";
	struct nbd_uri uri;
	size_t len = strlen(path);

	for (int i = 0; i < 256; i++)
		strcat(text, "%C3");
	ck_assert_int_eq(nbd_uri_parse(text, &uri, NULL), 0);
	nbd_uri_format(&uri, back);
	ck_assert_str_eq(back, text);
	strcat(text, "x");
	ck_assert_int_eq(nbd_uri_parse(text, &uri, NULL), -1);

	for (int i = 0; i < 256; i++)
		strcat(path, "%C3");
	strcat(path, "?socket=/");
	for (int i = 0; i < 106; i++)
		strcat(path, "%20");
	ck_assert_uint_gt(strlen(path), len);
	ck_assert_int_eq(nbd_uri_parse(path, &uri, NULL), 0);
	ck_assert_uint_eq(strlen(uri.socket), 107);
	nbd_uri_format(&uri, back);
	ck_assert_str_eq(back, path);
	strcat(path, "x");
	ck_assert_int_eq(nbd_uri_parse(path, &uri, NULL), -1);
}
END_TEST

START_TEST(some_names_mean_another_server_on_each_host)
{
	static const struct {
		const char *text;
		bool local;
	} samples[] = {
		{"nbd://storage/a", false},
		{"nbd://10.0.0.7:10809/a", false},
		{"nbd://localhost/a", true},
		{"nbd://127.0.0.2/a", true},
		{"nbd://[::1]/a", true},
		{"nbd+unix:///a?socket=/run/nbd", true},
	};

	for (size_t i = 0; i < ARRAY_SIZE(samples); i++) {
		struct nbd_uri uri;
		struct err e = ERR_INIT;

		ck_assert_int_eq(nbd_uri_parse(samples[i].text, &uri, &e), 0);
		ck_assert_msg(nbd_uri_is_local(&uri) == samples[i].local, "%s", samples[i].text);
	}
}
END_TEST

UNIT_MAIN(some_names_mean_another_server_on_each_host, there_is_one_way_to_write_a_name,
	other_names_are_not_meant, the_longest_fits)
