/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * JSON as iovd speaks it. Writing goes straight to text (struct json_out), so that what was
 * serialized once can be put into any document as it is; reading is strict (json_parse), and
 * parameters are read by table into a plain C structure (json_read_fields).
 *
 * Strict: RFC 8259 and no more, valid UTF-8, no NUL and no lone surrogate in strings, no key twice
 * in one object, nothing after the value, at most JSON_MAX_DEPTH levels, integers within 64 bits.
 */
#pragma once

#include "lib/buf.h"
#include "lib/err.h"
#include "lib/util.h"

#define JSON_MAX_DEPTH 32
#define JSON_MAX_OUT   ((size_t)64 << 20) /* the largest document that is ever written */

#define JSON_CODE       "JSON"  /* of errors: this is not JSON */
#define JSON_CODE_PARAM "PARAM" /* it is, but not what was asked for */

/* --- writing ---------------------------------------------------------------------------------- */

/*
 * A document that grows. `key` is the member's name inside an object, NULL inside an array or at
 * the top. Commas are set as needed. Running out of memory or past JSON_MAX_OUT is remembered and
 * reported once, by json_out_finish() or json_out_failed(); until then all calls are harmless.
 */
struct json_out {
	struct buf text;
	/* private: */
	unsigned int depth;
	uint32_t has_member; /* bit per level: a comma is due */
	uint32_t is_array;   /* bit per level: how to close it */
	bool failed;
};

void json_out_init(struct json_out *o);
void json_out_release(struct json_out *o);

/* Opens a container; json_out_end() closes the innermost one. */
void json_out_object(struct json_out *o, const char *key);
void json_out_array(struct json_out *o, const char *key);
void json_out_end(struct json_out *o);

/* Values. Bytes that are not UTF-8 become U+FFFD; a NULL string becomes null. */
void json_out_str(struct json_out *o, const char *key, const char *value);
void json_out_fmt(struct json_out *o, const char *key, const char *fmt, ...) PRINTF_LIKE(3, 4);
void json_out_u64(struct json_out *o, const char *key, uint64_t value);
void json_out_i64(struct json_out *o, const char *key, int64_t value);
void json_out_hex(struct json_out *o, const char *key, uint64_t value); /* "0x1f": a string */
void json_out_bool(struct json_out *o, const char *key, bool value);
void json_out_null(struct json_out *o, const char *key);

/* One value that is JSON text already, trusted and copied as it is ("{...}" of a cached device). */
void json_out_raw(struct json_out *o, const char *key, const char *text, size_t len);

bool json_out_failed(const struct json_out *o);

/*
 * All containers are closed: the text (with a NUL behind it that *len does not count), which is the
 * caller's to free(); the writer is empty again. NULL when writing failed at any time.
 */
char *json_out_finish(struct json_out *o, size_t *len);

#define auto_json_out __attribute__((cleanup(json_out_release)))

/* --- scanning --------------------------------------------------------------------------------- */

/* A piece of somebody else's text; not terminated. */
struct json_span {
	const char *text; /* NULL: absent */
	size_t len;
};

/*
 * Checks `text` for strictness (all but the duplicate keys of inner objects) without building
 * anything. 0 or -1.
 */
int json_check(const char *text, size_t len, struct err *e);

/*
 * Cuts an object into its members without building anything: values[i] becomes the text of member
 * keys[i], or {NULL, 0}. The whole text is checked as by json_check(). A member that is not among
 * the keys, or one given twice, is an error. 0 or -1.
 */
int json_split(const char *text, size_t len, const char *const *keys, struct json_span *values,
	unsigned int count, struct err *e);

/* --- reading ---------------------------------------------------------------------------------- */

struct json; /* a parsed value; what is inside belongs to the value that json_parse() returned */

enum json_kind { JSON_NULL, JSON_BOOL, JSON_INT, JSON_REAL, JSON_STRING, JSON_ARRAY, JSON_OBJECT };

/* The object or array, to be json_free()d, or NULL with e set (code JSON_CODE). */
struct json *json_parse(const char *text, size_t len, struct err *e);

/* The same value (or part of one), which stays until this is json_free()d, too. NULL is NULL. */
struct json *json_share(const struct json *v);
void json_free(struct json *v);

static inline void json_cleanup_p(struct json **v)
{
	json_free(*v);
}
#define auto_json __attribute__((cleanup(json_cleanup_p)))

/* All of these take NULL for "absent": then JSON_NULL, NULL, 0, false. */
enum json_kind json_kind(const struct json *v);
const struct json *json_member(const struct json *object, const char *key);
const char *json_str(const struct json *v);           /* NULL if it is not a string */
bool json_u64(const struct json *v, uint64_t *value); /* false if not an integer >= 0 */
bool json_is_true(const struct json *v);              /* false if not true */
size_t json_count(const struct json *v);              /* of an array; else 0 */
const struct json *json_item(const struct json *v, size_t i);
const char *json_member_str(const struct json *object, const char *key);

/* Calls fn for every member, in the order of the text. */
void json_each_member(const struct json *object,
	void (*fn)(void *arg, const char *key, const struct json *value), void *arg);

/* Puts a parsed value into a document. */
void json_out_value(struct json_out *o, const char *key, const struct json *v);

/* --- parameters by table ---------------------------------------------------------------------- */

enum json_field_type {
	JSON_FIELD_STRING, /* const char *: NULL when absent; never empty; at most `max` bytes */
	JSON_FIELD_BOOL,   /* bool: false when absent */
	JSON_FIELD_U64,    /* uint64_t: `absent` when absent */
	JSON_FIELD_OBJECT, /* const struct json *: NULL when absent; its members are not looked at */
	JSON_FIELD_ARRAY,  /* the same of an array */
};

#define JSON_MAX_STRING 4095 /* a path of PATH_MAX */

struct json_field {
	const char *key;
	enum json_field_type type;
	bool required;
	size_t offset;   /* of the member of the C structure */
	uint64_t max;    /* of a number (0: INT64_MAX), bytes of a string (0: JSON_MAX_STRING) */
	uint64_t absent; /* what a JSON_FIELD_U64 is when it is not given */
};

/* The parameters of a method: the fields, and the structure that they are read into. */
struct json_params {
	const struct json_field *fields;
	unsigned int count;
	size_t size;
};

/*
 * Reads the members of `object` (NULL: none) into the structure at `out`, which is zeroed first.
 * Strings point into `object`. null is the same as absent. Anything that the table does not know,
 * of another type or out of range is an error: kind ERR_USAGE, code JSON_CODE_PARAM, and the
 * member's name as evidence. 0 or -1.
 */
int json_read_params(
	const struct json *object, const struct json_params *params, void *out, struct err *e);
