/* SPDX-License-Identifier: GPL-2.0-or-later */
/* daemon/conf: options, and the settings file. */
#include <string.h>

#include "daemon/conf.h"
#include "tests/unit/unit.h"

/* One command line, the program's name in front. */
static int parse(struct conf *c, struct err *e, const char *const *words)
{
	char copies[8][PATH_MAX + 64];
	char *argv[9];
	int argc = 0;

	conf_init(c);
	for (; *words; words++, argc++)
		argv[argc] = strcpy(copies[argc], *words);
	argv[argc] = NULL;
	return conf_parse_args(c, argc, argv, e);
}

#define PARSE(c, e, ...) parse((c), (e), (const char *const[]){"iovd", ##__VA_ARGS__, NULL})

START_TEST(options_are_taken)
{
	struct err e = ERR_INIT;
	struct conf c;

	ck_assert_int_eq(PARSE(&c, &e), 0);
	ck_assert_int_eq(c.keeper_fd, -1);
	ck_assert(!c.runs_as_daemon && !c.stop_all && !c.config_given);
	ck_assert_int_eq(PARSE(&c, &e, "--state-dir=/a", "--runtime-dir", "/b", "--sysroot=/c",
				 "--config=/d", "--stop-all"),
		0);
	ck_assert_str_eq(c.state_dir, "/a");
	ck_assert_str_eq(c.runtime_dir, "/b");
	ck_assert_str_eq(c.sysroot, "/c");
	ck_assert_str_eq(c.config, "/d");
	ck_assert(c.config_given && c.stop_all && !c.runs_as_daemon);
	ck_assert_int_eq(PARSE(&c, &e, "--keeper-fd=5"), 0);
	ck_assert(c.runs_as_daemon);
	ck_assert_int_eq(c.keeper_fd, 5);
	ck_assert_int_eq(PARSE(&c, &e, "--keeper-fd=-1"), 0);
	ck_assert(c.runs_as_daemon);
	ck_assert_int_eq(c.keeper_fd, -1);
}
END_TEST

START_TEST(bad_options_are_refused)
{
	static const char *const bad[] = {"--what", "--state-dir", "--state-dir=rel", "word",
		"--keeper-fd=x", "--keeper-fd=-2", "--keeper-fd=99999999999", "-x",
		"--stop-all=yes"};

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		struct err e = ERR_INIT;
		struct conf c;

		ck_assert_msg(PARSE(&c, &e, bad[i]) < 0, "%s", bad[i]);
		ck_assert_int_eq(e.kind, ERR_USAGE);
	}
}
END_TEST

START_TEST(file_is_read)
{
	char text[] = "# who\n\n  socket_group=disk  \n\tworker_user = nobody\n#end";
	struct err e = ERR_INIT;
	struct conf c;

	conf_init(&c);
	ck_assert_int_eq(conf_parse_text(&c, "f", text, &e), 0);
	ck_assert_str_eq(c.socket_group, "disk");
	ck_assert_str_eq(c.worker_user, "nobody");
}
END_TEST

START_TEST(errors_name_the_line)
{
	static const struct {
		const char *text, *where;
	} bad[] = {
		{"\nsocket_grup = x\n", "f:2: there is no setting 'socket_grup'"},
		{"word", "f:1: 'word' is no 'key = value'"},
		{"#\n#\n= x", "f:3: there is no setting ''"},
		{"worker_user = "
		 "0123456789012345678901234567890123456789012345678901234567890123",
			"f:1: the value of 'worker_user' is too long"},
	};

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		char text[256];
		struct err e = ERR_INIT;
		struct conf c;

		conf_init(&c);
		strcpy(text, bad[i].text);
		ck_assert_int_eq(conf_parse_text(&c, "f", text, &e), -1);
		ck_assert_str_eq(e.msg, bad[i].where);
	}
}
END_TEST

/* The file of a plain start may be missing; one that was asked for may not. */
START_TEST(missing_file)
{
	struct err e = ERR_INIT;
	struct conf c;

	conf_init(&c);
	strcpy(c.config, "/nonexistent/iovd.conf");
	ck_assert_int_eq(conf_read_file(&c, &e), 0);
	c.config_given = true;
	ck_assert_int_eq(conf_read_file(&c, &e), -1);
}
END_TEST

UNIT_MAIN(options_are_taken, bad_options_are_refused, file_is_read, errors_name_the_line,
	missing_file)
