/* SPDX-License-Identifier: GPL-2.0-or-later */
/* proto/json: writing, the scanner, the parser, parameters by table. */
#include <stdio.h>
#include <string.h>

#include "lib/cleanup.h"
#include "proto/json.h"
#include "tests/unit/unit.h"

/* What the writer made; compared and freed. */
static void check_text(struct json_out *o, const char *expected)
{
	size_t len;
	auto_free char *text = json_out_finish(o, &len);

	ck_assert_ptr_nonnull(text);
	ck_assert_str_eq(text, expected);
	ck_assert_uint_eq(len, strlen(expected));
}

START_TEST(writer_sets_commas_and_closes)
{
	struct json_out o;

	json_out_init(&o);
	json_out_object(&o, NULL);
	json_out_str(&o, "s", "x");
	json_out_array(&o, "a");
	json_out_u64(&o, NULL, UINT64_MAX);
	json_out_i64(&o, NULL, INT64_MIN);
	json_out_object(&o, NULL);
	json_out_end(&o);
	json_out_array(&o, NULL);
	json_out_end(&o);
	json_out_end(&o);
	json_out_bool(&o, "t", true);
	json_out_str(&o, "n", NULL);
	json_out_hex(&o, "h", 0xfee00000);
	json_out_raw(&o, "r", "[1]", 3);
	json_out_fmt(&o, "f", "%d%%", 5);
	json_out_end(&o);
	check_text(&o, "{\"s\":\"x\",\"a\":[18446744073709551615,-9223372036854775808,{},[]],"
		       "\"t\":true,\"n\":null,\"h\":\"0xfee00000\",\"r\":[1],\"f\":\"5%\"}");
}
END_TEST

START_TEST(writer_escapes_and_repairs)
{
	static const struct {
		const char *in, *out;
	} cases[] = {
		{"", "\"\""}, {"a\"b\\c", "\"a\\\"b\\\\c\""},
		{"\n\x01\x1f", "\"\\u000a\\u0001\\u001f\""},
		{"\xc3\xa4/\xf0\x9f\x98\x80", "\"\xc3\xa4/\xf0\x9f\x98\x80\""},
		{"\xff\xc3", "\"\xef\xbf\xbd\xef\xbf\xbd\""},
		{"\xc0\xaf", "\"\xef\xbf\xbd\xef\xbf\xbd\""},                 /* overlong */
		{"\xed\xa0\x80", "\"\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\""}, /* a surrogate */
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct json_out o;
		struct err e = ERR_INIT;

		json_out_init(&o);
		json_out_str(&o, NULL, cases[i].in);
		ck_assert_int_eq(json_check(o.text.data, o.text.len, &e), 0);
		check_text(&o, cases[i].out);
	}
}
END_TEST

/* At the limit the writer says so once, and no call before that is dangerous. */
START_TEST(writer_stops_at_the_limit)
{
	struct json_out o;
	size_t len;

	json_out_init(&o);
	o.text.limit = 8;
	json_out_array(&o, NULL);
	json_out_str(&o, NULL, "1234");
	ck_assert(!json_out_failed(&o));
	json_out_end(&o);
	ck_assert(!json_out_failed(&o)); /* ["1234"] are exactly 8 */
	json_out_release(&o);

	o.text.limit = 8;
	json_out_array(&o, NULL);
	json_out_str(&o, NULL, "12345");
	json_out_end(&o);
	ck_assert(json_out_failed(&o));
	ck_assert_ptr_null(json_out_finish(&o, &len));
}
END_TEST

/* What is taken and what is not, by scanner and parser alike. */
static const struct {
	const char *text;
	bool good;
} texts[] = {
	{"{}", true},
	{" [ 1 , -0.5e+3 , \"\\u00e4\\ud83d\\ude00\" , null , true ] \n", true},
	{"{\"a\":{\"a\":1},\"b\":1}", true},
	{"[18446744073709551615,-9223372036854775808,1e400]", true},
	{"", false},
	{"{", false},
	{"[1,]", false},
	{"{\"a\":1,}", false},
	{"{\"a\" 1}", false},
	{"{a:1}", false},
	{"{'a':1}", false},
	{"[01]", false},
	{"[+1]", false},
	{"[1.]", false},
	{"[.5]", false},
	{"[1e]", false},
	{"[-]", false},
	{"[18446744073709551616]", false},
	{"[-9223372036854775809]", false},
	{"[NaN]", false},
	{"[Infinity]", false},
	{"[tru]", false},
	{"[True]", false},
	{"{} {}", false},
	{"{}x", false},
	{"[1]/**/", false},
	{"[\"\\u0000\"]", false},
	{"[\"\\ud800\"]", false},
	{"[\"\\ud800\\u0041\"]", false},
	{"[\"\\udc00\"]", false},
	{"[\"\\u12g4\"]", false},
	{"[\"\\x41\"]", false},
	{"[\"\t\"]", false},
	{"[\"\xff\"]", false},
	{"[\"\xc3\"]", false},
	{"[\"abc", false},
	{"[\"\\", false},
};

START_TEST(scanner_and_parser_are_strict)
{
	for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
		struct err e = ERR_INIT;
		size_t len = strlen(texts[i].text);
		auto_json struct json *v = json_parse(texts[i].text, len, &e);

		ck_assert_msg(!!v == texts[i].good, "parser: %s: %s", texts[i].text, e.msg);
		ck_assert_msg((json_check(texts[i].text, len, &e) == 0) == texts[i].good,
			"scanner: %s", texts[i].text);
		if (!v)
			ck_assert_int_eq(e.kind, ERR_USAGE);
	}
}
END_TEST

/* No prefix of a good text is good, and reading one stays inside of it. */
START_TEST(every_cut_is_an_error)
{
	static const char text[] = "{\"a\":[1.5e3,\"\\ud83d\\ude00\xc3\xa4\",null,{\"b\":true}]}";

	for (size_t len = 0; len < strlen(text); len++) {
		auto_free char *exact = malloc(len + 1); /* + 1: malloc(0) may be NULL */
		struct err e = ERR_INIT;

		memcpy(exact, text, len);
		ck_assert_int_eq(json_check(exact, len, &e), -1);
	}
}
END_TEST

/* Exactly JSON_MAX_DEPTH levels are taken, one more is not. */
START_TEST(depth_is_exact)
{
	for (unsigned int depth = JSON_MAX_DEPTH - 1; depth <= JSON_MAX_DEPTH + 1; depth++) {
		char text[2 * (JSON_MAX_DEPTH + 1) + 1] = "";
		struct err e = ERR_INIT;
		struct json *v;

		memset(text, '[', depth);
		memset(text + depth, ']', depth);
		v = json_parse(text, 2 * depth, &e);
		ck_assert_msg(!!v == (depth <= JSON_MAX_DEPTH), "depth %u: %s", depth, e.msg);
		json_free(v);
	}
}
END_TEST

START_TEST(a_member_twice_is_an_error)
{
	static const char *const twice[] = {
		"{\"a\":1,\"a\":1}",
		"[{\"b\":{\"a\":1,\"x\":2,\"a\":1}}]",
		"{\"a\":1,\"\\u0061\":1}",
	};
	struct err e = ERR_INIT;

	for (size_t i = 0; i < ARRAY_SIZE(twice); i++)
		ck_assert_ptr_null(json_parse(twice[i], strlen(twice[i]), &e));
}
END_TEST

START_TEST(split_cuts_without_parsing)
{
	static const char *const keys[] = {"a", "b", "c"};
	static const char text[] = " { \"b\" : {\"x\":[1, 2]} , \"a\":\"q\\\"\" } ";
	struct json_span values[3];
	struct err e = ERR_INIT;

	ck_assert_int_eq(json_split(text, strlen(text), keys, values, 3, &e), 0);
	ck_assert_uint_eq(values[0].len, 5);
	ck_assert_mem_eq(values[0].text, "\"q\\\"\"", 5);
	ck_assert_uint_eq(values[1].len, 12);
	ck_assert_mem_eq(values[1].text, "{\"x\":[1, 2]}", 12);
	ck_assert_ptr_null(values[2].text);
}
END_TEST

START_TEST(split_refuses)
{
	static const char *const keys[] = {"a"};
	static const char *const bad[] = {
		"{\"a\":1,\"a\":2}", /* twice */
		"{\"b\":1}",         /* unknown */
		"[1]",
		"{\"a\":1} x",
		"{\"a\":[}",
		"",
		"{",
	};
	struct json_span values[1];
	struct err e = ERR_INIT;

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		ck_assert_msg(
			json_split(bad[i], strlen(bad[i]), keys, values, 1, &e) < 0, "%s", bad[i]);
}
END_TEST

START_TEST(values_are_read_and_absent_is_harmless)
{
	static const char text[] = "{\"s\":\"x\",\"n\":18446744073709551615,\"neg\":-1,\"b\":true,"
				   "\"a\":[1,{}],\"z\":null,\"r\":1.5}";
	struct err e = ERR_INIT;
	auto_json struct json *v = json_parse(text, strlen(text), &e);
	uint64_t n = 0;

	ck_assert_str_eq(json_member_str(v, "s"), "x");
	ck_assert(json_u64(json_member(v, "n"), &n));
	ck_assert_uint_eq(n, UINT64_MAX);
	ck_assert(!json_u64(json_member(v, "neg"), &n));
	ck_assert(!json_u64(json_member(v, "r"), &n));
	ck_assert(json_is_true(json_member(v, "b")));
	ck_assert_uint_eq(json_count(json_member(v, "a")), 2);
	ck_assert_int_eq(json_kind(json_item(json_member(v, "a"), 1)), JSON_OBJECT);
	ck_assert_ptr_null(json_item(json_member(v, "a"), 2));
	ck_assert_int_eq(json_kind(json_member(v, "z")), JSON_NULL);
	ck_assert_int_eq(json_kind(json_member(v, "absent")), JSON_NULL);
	ck_assert_ptr_null(json_str(json_member(v, "n")));
	ck_assert_ptr_null(json_member(json_member(v, "s"), "x"));
	ck_assert_uint_eq(json_count(NULL), 0);
	ck_assert(!json_is_true(NULL));
}
END_TEST

/* --- parameters ------------------------------------------------------------------------------- */

struct sample {
	const char *name;
	bool flag;
	uint64_t count, wait;
	const char *code;
	const struct json *map;
};

static const struct json_field sample_fields[] = {
	{"name", JSON_FIELD_STRING, .required = true, .offset = offsetof(struct sample, name)},
	{"flag", JSON_FIELD_BOOL, .offset = offsetof(struct sample, flag)},
	{"count", JSON_FIELD_U64, .offset = offsetof(struct sample, count), .max = 8},
	{"wait", JSON_FIELD_U64, .offset = offsetof(struct sample, wait), .absent = 77},
	{"code", JSON_FIELD_STRING, .offset = offsetof(struct sample, code), .max = 3},
	{"map", JSON_FIELD_OBJECT, .offset = offsetof(struct sample, map)},
};
static const struct json_params sample_params = {
	sample_fields, ARRAY_SIZE(sample_fields), sizeof(struct sample)};

START_TEST(params_are_read)
{
	static const char text[] = "{\"count\":8,\"flag\":true,\"name\":\"x\",\"wait\":null,"
				   "\"code\":\"abc\",\"map\":{\"a\":\"b\"}}";
	struct err e = ERR_INIT;
	auto_json struct json *v = json_parse(text, strlen(text), &e);
	struct sample s;

	ck_assert_int_eq(json_read_params(v, &sample_params, &s, &e), 0);
	ck_assert_str_eq(s.name, "x");
	ck_assert(s.flag);
	ck_assert_uint_eq(s.count, 8);
	ck_assert_uint_eq(s.wait, 77);
	ck_assert_str_eq(s.code, "abc");
	ck_assert_str_eq(json_member_str(s.map, "a"), "b");
}
END_TEST

START_TEST(params_are_checked)
{
	static const struct {
		const char *text, *culprit;
	} bad[] = {
		{"{}", "name"},
		{"{\"name\":null}", "name"},
		{"{\"name\":\"\"}", "name"},
		{"{\"name\":7}", "name"},
		{"{\"name\":\"x\",\"flag\":1}", "flag"},
		{"{\"name\":\"x\",\"count\":9}", "count"},
		{"{\"name\":\"x\",\"count\":-1}", "count"},
		{"{\"name\":\"x\",\"count\":1.0}", "count"},
		{"{\"name\":\"x\",\"count\":\"1\"}", "count"},
		{"{\"name\":\"x\",\"wait\":9223372036854775808}", "wait"},
		{"{\"name\":\"x\",\"code\":\"abcd\"}", "code"},
		{"{\"name\":\"x\",\"map\":[]}", "map"},
		{"{\"name\":\"x\",\"map\":\"a=b\"}", "map"},
		{"{\"name\":\"x\",\"nmae\":\"x\"}", "nmae"},
		{"{\"name\":\"x\",\"other\":null}", "other"},
	};

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		struct err e = ERR_INIT;
		auto_json struct json *v = json_parse(bad[i].text, strlen(bad[i].text), &e);
		struct sample s;

		ck_assert_ptr_nonnull(v);
		ck_assert_msg(json_read_params(v, &sample_params, &s, &e) < 0, "%s", bad[i].text);
		ck_assert_str_eq(e.code, JSON_CODE_PARAM);
		ck_assert_str_eq(e.evidence, bad[i].culprit);
	}
}
END_TEST

/* A path of PATH_MAX is taken, a byte more is not. */
START_TEST(string_length_is_exact)
{
	for (size_t len = JSON_MAX_STRING; len <= JSON_MAX_STRING + 1; len++) {
		char text[JSON_MAX_STRING + 32];
		int n = snprintf(text, sizeof(text), "{\"name\":\"%0*d\"}", (int)len, 0);
		struct err e = ERR_INIT;
		auto_json struct json *v = json_parse(text, (size_t)n, &e);
		struct sample s;

		ck_assert_int_eq(json_read_params(v, &sample_params, &s, &e),
			len <= JSON_MAX_STRING ? 0 : -1);
	}
}
END_TEST

START_TEST(a_share_outlives_the_whole)
{
	static const char text[] = "{\"map\":{\"a\":\"b\"}}";
	struct err e = ERR_INIT;
	struct json *whole = json_parse(text, strlen(text), &e);
	struct json *map = json_share(json_member(whole, "map"));

	json_free(whole);
	ck_assert_str_eq(json_member_str(map, "a"), "b");
	json_free(map);
	ck_assert_ptr_null(json_share(NULL));
}
END_TEST

UNIT_MAIN(a_share_outlives_the_whole, writer_sets_commas_and_closes, writer_escapes_and_repairs,
	writer_stops_at_the_limit, scanner_and_parser_are_strict, every_cut_is_an_error,
	depth_is_exact, a_member_twice_is_an_error, split_cuts_without_parsing, split_refuses,
	values_are_read_and_absent_is_harmless, params_are_read, params_are_checked,
	string_length_is_exact)
