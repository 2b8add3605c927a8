/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The interface descriptions against the code: every method has a row and every row a method, with
 * the same parameters of the same types; and every kind of error that a daemon can answer is
 * declared with what its replies carry.
 */
#include <stdio.h>
#include <string.h>

#include "daemon/dispatch.h"
#include "tests/unit/unit.h"

#define MAX_TOKEN 64

static const struct {
	const char *interface, *text;
} descriptions[] = {
	{VARLINK_SERVICE, varlink_service_text},
	{IOVD_INTERFACE, varlink_manager_text},
};

/* --- reading a description -------------------------------------------------------------------- */

/* The one compound type that a parameter has. */
#define MAP  "[string]string"
#define LIST "[]string"

/* The next word or sign at *at; "" at the end. */
static void next_token(const char **at, char token[MAX_TOKEN])
{
	static const char word[] =
		"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.";
	size_t len;

	while (**at == ' ' || **at == '\n' || **at == '\t' || **at == '#')
		*at += **at == '#' ? strcspn(*at, "\n") : 1;
	len = strncmp(*at, MAP, strlen(MAP)) == 0     ? strlen(MAP)
	      : strncmp(*at, LIST, strlen(LIST)) == 0 ? strlen(LIST)
						      : strspn(*at, word);
	if (!len && **at)
		len = 1;
	ck_assert_uint_lt(len, MAX_TOKEN);
	memcpy(token, *at, len);
	token[len] = '\0';
	*at += len;
}

/*
 * The declaration "what name(" of this name: what follows the parenthesis, or NULL. With name NULL
 * the first one from *from on, whose name is stored, and *from moves on.
 */
static const char *find_declaration(
	const char **from, const char *what, const char *name, char found[MAX_TOKEN])
{
	const char *at = *from;
	char token[MAX_TOKEN];
	int depth = 0; /* inside parentheses such words are names of members */

	for (next_token(&at, token); token[0]; next_token(&at, token)) {
		depth += (token[0] == '(') - (token[0] == ')');
		if (depth || strcmp(token, what) != 0)
			continue;
		next_token(&at, found);
		*from = at;
		if (name && strcmp(name, found) != 0)
			continue;
		next_token(&at, token);
		ck_assert_str_eq(token, "(");
		return at;
	}
	return NULL;
}

struct parameter {
	char name[MAX_TOKEN], type[MAX_TOKEN];
	bool optional;
};

/* One "name: ?type" and the comma behind it; false at the closing parenthesis. */
static bool next_parameter(const char **at, struct parameter *p)
{
	char token[MAX_TOKEN];

	next_token(at, p->name);
	if (strcmp(p->name, ",") == 0)
		next_token(at, p->name);
	if (strcmp(p->name, ")") == 0)
		return false;
	next_token(at, token);
	ck_assert_str_eq(token, ":");
	next_token(at, p->type);
	p->optional = strcmp(p->type, "?") == 0;
	if (p->optional)
		next_token(at, p->type);
	return true;
}

/* --- against the table ------------------------------------------------------------------------ */

static const struct method *find_row(const char *interface, const char *name)
{
	char full[2 * MAX_TOKEN];

	snprintf(full, sizeof(full), "%s.%s", interface, name);
	for (unsigned int i = 0; i < dispatch_method_count; i++)
		if (strcmp(dispatch_methods[i].name, full) == 0)
			return &dispatch_methods[i];
	return NULL;
}

static const struct json_field *find_field(const struct method *m, const char *name)
{
	for (unsigned int i = 0; m->params && i < m->params->count; i++)
		if (strcmp(m->params->fields[i].key, name) == 0)
			return &m->params->fields[i];
	return NULL;
}

static const char *type_of(const struct json_field *f)
{
	switch (f->type) {
	case JSON_FIELD_STRING:
		return "string";
	case JSON_FIELD_BOOL:
		return "bool";
	case JSON_FIELD_U64:
		return "int";
	case JSON_FIELD_OBJECT:
		return MAP;
	case JSON_FIELD_ARRAY:
		return LIST;
	}
	return "none";
}

static void check_parameters(const struct method *m, const char *declared)
{
	unsigned int count = 0;
	struct parameter p;

	for (; next_parameter(&declared, &p); count++) {
		const struct json_field *f = find_field(m, p.name);

		ck_assert_msg(f != NULL, "%s: parameter '%s' is not read", m->name, p.name);
		ck_assert_msg(strcmp(type_of(f), p.type) == 0, "%s: parameter '%s' is read as %s",
			m->name, p.name, type_of(f));
		ck_assert_msg(f->required == !p.optional, "%s: parameter '%s': required or not?",
			m->name, p.name);
	}
	ck_assert_msg(count == (m->params ? m->params->count : 0),
		"%s: reads what is not described", m->name);
}

START_TEST(every_method_has_a_row)
{
	unsigned int methods = 0;

	for (size_t i = 0; i < ARRAY_SIZE(descriptions); i++) {
		const char *from = descriptions[i].text, *declared;
		char name[MAX_TOKEN];

		while ((declared = find_declaration(&from, "method", NULL, name))) {
			const struct method *m = find_row(descriptions[i].interface, name);

			ck_assert_msg(m != NULL, "method %s has no row", name);
			check_parameters(m, declared);
			methods++;
		}
	}
	ck_assert_uint_eq(methods, dispatch_method_count); /* so every row has a method, too */
}
END_TEST

START_TEST(every_interface_has_its_name)
{
	for (size_t i = 0; i < ARRAY_SIZE(descriptions); i++) {
		const char *at = descriptions[i].text;
		char token[MAX_TOKEN];

		next_token(&at, token);
		ck_assert_str_eq(token, "interface");
		next_token(&at, token);
		ck_assert_str_eq(token, descriptions[i].interface);
	}
}
END_TEST

/* ERR_UNREACHABLE is the client's alone: no daemon answers that there is none. */
START_TEST(every_error_is_declared)
{
	static const char *const carried[] = {"code", "attempted", "evidence", "fix", "job"};

	for (int kind = ERR_FAILED; kind < ERR_KIND_COUNT; kind++) {
		const char *from = varlink_manager_text, *declared;
		const char *name = err_kind_info((enum err_kind)kind)->varlink_name;
		char found[MAX_TOKEN];
		struct parameter p;
		unsigned int count = 0;

		declared = find_declaration(&from, "error", name, found);
		ck_assert_msg(!!declared == (kind != ERR_UNREACHABLE), "error %s", name);
		while (declared && next_parameter(&declared, &p)) {
			ck_assert_uint_lt(count, ARRAY_SIZE(carried));
			ck_assert_str_eq(p.name, carried[count++]);
			ck_assert_str_eq(p.type, "string");
			ck_assert(!p.optional);
		}
		if (kind != ERR_UNREACHABLE)
			ck_assert_uint_eq(count, kind == ERR_TIMED_OUT ? 5 : 4);
	}
}
END_TEST

/* The reader itself: a description with all it has to understand. */
START_TEST(reader_reads)
{
	const char *text = "# method No()\ninterface a.b\nerror E(method: string)\nmethod X(\n  a: "
			   "?int, # c\n  b_c: string\n"
			   ") -> ()\nmethod Y() -> ()";
	char name[MAX_TOKEN];
	struct parameter p;
	const char *at;

	at = find_declaration(&text, "method", NULL, name);
	ck_assert_str_eq(name, "X");
	ck_assert(next_parameter(&at, &p));
	ck_assert_str_eq(p.name, "a");
	ck_assert_str_eq(p.type, "int");
	ck_assert(p.optional);
	ck_assert(next_parameter(&at, &p));
	ck_assert_str_eq(p.name, "b_c");
	ck_assert(!p.optional);
	ck_assert(!next_parameter(&at, &p));
	at = find_declaration(&text, "method", NULL, name);
	ck_assert_str_eq(name, "Y");
	ck_assert(!next_parameter(&at, &p));
	ck_assert_ptr_null(find_declaration(&text, "method", NULL, name));
}
END_TEST

UNIT_MAIN(
	every_method_has_a_row, every_interface_has_its_name, every_error_is_declared, reader_reads)
