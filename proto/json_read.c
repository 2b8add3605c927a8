/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Parsed values: json-c behind proto/json.h. A struct json is a json_object; null is NULL. */
#include <json.h>
#include <stdlib.h>
#include <string.h>

#include "lib/cleanup.h"
#include "proto/json_scan.h"

static struct json_object *json_object_of(const struct json *v)
{
	return (struct json_object *)v;
}

static const struct json *json_of(struct json_object *v)
{
	return (const struct json *)v;
}

/* All members of all objects in v, as json-c kept them. */
static size_t json_count_members(struct json_object *v)
{
	size_t count = 0;

	if (json_object_is_type(v, json_type_array)) {
		for (size_t i = 0; i < json_object_array_length(v); i++)
			count += json_count_members(json_object_array_get_idx(v, i));
	} else if (json_object_is_type(v, json_type_object)) {
		json_object_object_foreach(v, key, member)
		{
			(void)key;
			count += 1 + json_count_members(member);
		}
	}
	return count;
}

static struct json_object *json_build(const char *text, size_t len)
{
	struct json_tokener *tok = json_tokener_new_ex(JSON_MAX_DEPTH + 1);
	struct json_object *v;

	if (!tok)
		return NULL;
	json_tokener_set_flags(tok, JSON_TOKENER_STRICT);
	v = json_tokener_parse_ex(tok, text, (int)len);
	if (json_tokener_get_error(tok) != json_tokener_success) {
		json_object_put(v);
		v = NULL;
	}
	json_tokener_free(tok);
	return v;
}

struct json *json_parse(const char *text, size_t len, struct err *e)
{
	struct json_object *v;
	size_t members;

	if (len > JSON_MAX_OUT) {
		err_set(e, ERR_USAGE, JSON_CODE, "a JSON text of %zu bytes is too long", len);
		return NULL;
	}
	if (json_scan(text, len, &members, e) < 0)
		return NULL;
	v = json_build(text, len);
	if (!v || (!json_object_is_type(v, json_type_object) &&
			  !json_object_is_type(v, json_type_array))) {
		json_object_put(v);
		err_set(e, ERR_USAGE, JSON_CODE, "a JSON text that is no object and no array");
		return NULL;
	}
	if (json_count_members(v) != members) {
		json_object_put(v);
		err_set(e, ERR_USAGE, JSON_CODE, "a JSON object with the same member twice");
		return NULL;
	}
	return (struct json *)v;
}

struct json *json_share(const struct json *v)
{
	return (struct json *)json_object_get(json_object_of(v));
}

void json_free(struct json *v)
{
	json_object_put(json_object_of(v));
}

enum json_kind json_kind(const struct json *v)
{
	switch (json_object_get_type(json_object_of(v))) {
	case json_type_null:
		return JSON_NULL;
	case json_type_boolean:
		return JSON_BOOL;
	case json_type_double:
		return JSON_REAL;
	case json_type_int:
		return JSON_INT;
	case json_type_object:
		return JSON_OBJECT;
	case json_type_array:
		return JSON_ARRAY;
	case json_type_string:
		return JSON_STRING;
	}
	return JSON_NULL;
}

const struct json *json_member(const struct json *object, const char *key)
{
	struct json_object *member;

	if (json_kind(object) != JSON_OBJECT ||
		!json_object_object_get_ex(json_object_of(object), key, &member))
		return NULL;
	return json_of(member);
}

const char *json_str(const struct json *v)
{
	return json_kind(v) == JSON_STRING ? json_object_get_string(json_object_of(v)) : NULL;
}

bool json_u64(const struct json *v, uint64_t *value)
{
	if (json_kind(v) != JSON_INT || json_object_get_int64(json_object_of(v)) < 0)
		return false;
	*value = json_object_get_uint64(json_object_of(v));
	return true;
}

bool json_is_true(const struct json *v)
{
	return json_kind(v) == JSON_BOOL && json_object_get_boolean(json_object_of(v));
}

size_t json_count(const struct json *v)
{
	return json_kind(v) == JSON_ARRAY ? json_object_array_length(json_object_of(v)) : 0;
}

const struct json *json_item(const struct json *v, size_t i)
{
	return i < json_count(v) ? json_of(json_object_array_get_idx(json_object_of(v), i)) : NULL;
}

const char *json_member_str(const struct json *object, const char *key)
{
	return json_str(json_member(object, key));
}

void json_each_member(const struct json *object,
	void (*fn)(void *arg, const char *key, const struct json *value), void *arg)
{
	if (json_kind(object) != JSON_OBJECT)
		return;
	json_object_object_foreach(json_object_of(object), key, member)
	{
		fn(arg, key, json_of(member));
	}
}

void json_out_value(struct json_out *o, const char *key, const struct json *v)
{
	size_t len;
	const char *text = json_object_to_json_string_length(
		json_object_of(v), JSON_C_TO_STRING_PLAIN | JSON_C_TO_STRING_NOSLASHESCAPE, &len);

	if (text)
		json_out_raw(o, key, text, len);
	else
		json_out_null(o, key);
}

/* --- parameters by table ---------------------------------------------------------------------- */

static int json_bad_field(struct err *e, const char *key, const char *what)
{
	err_set(e, ERR_USAGE, JSON_CODE_PARAM, "parameter '%s' %s", key, what);
	return err_evidence(e, "%s", key);
}

static int json_read_string(
	const struct json_field *f, const struct json *v, const char **out, struct err *e)
{
	*out = json_str(v);
	if (!*out)
		return json_bad_field(e, f->key, "is not a string");
	if (!**out)
		return json_bad_field(e, f->key, "is empty");
	if (strlen(*out) > (f->max ? f->max : JSON_MAX_STRING))
		return json_bad_field(e, f->key, "is too long");
	return 0;
}

static int json_read_u64(
	const struct json_field *f, const struct json *v, uint64_t *out, struct err *e)
{
	if (!json_u64(v, out))
		return json_bad_field(e, f->key, "is not a number from 0 on");
	if (*out > (f->max ? f->max : (uint64_t)INT64_MAX))
		return json_bad_field(e, f->key, "is too large");
	return 0;
}

static int json_read_field(
	const struct json_field *f, const struct json *v, char *out, struct err *e)
{
	if (!v && f->required)
		return json_bad_field(e, f->key, "is missing");
	if (!v && f->type == JSON_FIELD_U64)
		*(uint64_t *)(out + f->offset) = f->absent;
	if (!v)
		return 0;
	switch (f->type) {
	case JSON_FIELD_STRING:
		return json_read_string(f, v, (const char **)(out + f->offset), e);
	case JSON_FIELD_U64:
		return json_read_u64(f, v, (uint64_t *)(out + f->offset), e);
	case JSON_FIELD_OBJECT:
		if (json_kind(v) != JSON_OBJECT)
			return json_bad_field(e, f->key, "is no object");
		*(const struct json **)(void *)(out + f->offset) = v;
		return 0;
	case JSON_FIELD_ARRAY:
		if (json_kind(v) != JSON_ARRAY)
			return json_bad_field(e, f->key, "is no list");
		*(const struct json **)(void *)(out + f->offset) = v;
		return 0;
	case JSON_FIELD_BOOL:
		if (json_kind(v) != JSON_BOOL)
			return json_bad_field(e, f->key, "is neither true nor false");
		*(bool *)(out + f->offset) = json_is_true(v);
		return 0;
	}
	return json_bad_field(e, f->key, "has no type");
}

static bool json_params_have(const struct json_params *params, const char *key)
{
	for (unsigned int i = 0; i < params->count; i++)
		if (strcmp(params->fields[i].key, key) == 0)
			return true;
	return false;
}

int json_read_params(
	const struct json *object, const struct json_params *params, void *out, struct err *e)
{
	memset(out, 0, params->size);
	if (object) {
		json_object_object_foreach(json_object_of(object), key, member)
		{
			(void)member;
			if (!json_params_have(params, key))
				return json_bad_field(e, key, "is unknown");
		}
	}
	for (unsigned int i = 0; i < params->count; i++) {
		const struct json_field *f = &params->fields[i];

		if (json_read_field(f, json_member(object, f->key), out, e) < 0)
			return -1;
	}
	return 0;
}
