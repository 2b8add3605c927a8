/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "lib/migrate/iostate_fields.h"

#include <string.h>

const char *const iostate_request_type_names[] = {
	[IOSTATE_READ] = "read",
	[IOSTATE_WRITE] = "write",
	[IOSTATE_FLUSH] = "flush",
	[IOSTATE_DISCARD] = "discard",
	[IOSTATE_WRITE_ZEROES] = "write_zeroes",
	[IOSTATE_OTHER] = "other",
	[IOSTATE_UNKNOWN] = "unknown",
};
static_assert(ARRAY_SIZE(iostate_request_type_names) == IOSTATE_REQUEST_TYPES, "a name for each");

const char *const iostate_cache_names[] = {
	[IOSTATE_CACHE_NONE] = "none",
	[IOSTATE_CACHE_WRITEBACK] = "writeback",
};
static_assert(ARRAY_SIZE(iostate_cache_names) == IOSTATE_CACHES, "a name for each");

const char *const iostate_on_error_names[] = {
	[IOSTATE_ON_ERROR_REPORT] = "report",
	[IOSTATE_ON_ERROR_HOLD] = "hold",
};
static_assert(ARRAY_SIZE(iostate_on_error_names) == IOSTATE_ON_ERRORS, "a name for each");

/* --- the tables: in a version a row may only be added at the end ------------------------------ */

#define FIELD_SINCE(version, type_, struct_, member, key_)                                         \
	{                                                                                          \
		.key = (key_), .since = (version), .type = IOSTATE_FIELD_##type_,                  \
		.offset = offsetof(struct struct_, member),                                        \
		.capacity = sizeof(((struct struct_ *)0)->member)                                  \
	}
#define FIELD(type_, struct_, member) FIELD_SINCE(1, type_, struct_, member, #member)
#define ENUM(struct_, member, names_)                                                              \
	{                                                                                          \
		.key = #member, .since = 1, .type = IOSTATE_FIELD_ENUM,                            \
		.offset = offsetof(struct struct_, member), .names = (names_),                     \
		.name_count = ARRAY_SIZE(names_)                                                   \
	}

static const struct iostate_field origin_fields[] = {
	FIELD(TEXT, iostate_origin, vm),
	FIELD(TEXT, iostate_origin, uuid),
	FIELD(TEXT, iostate_origin, host),
	FIELD(TEXT, iostate_origin, program),
	FIELD(U64, iostate_origin, saved_ms),
};

static const struct iostate_field identity_fields[] = {
	FIELD(TEXT, iostate_identity, name),
	FIELD(TEXT, iostate_identity, id),
	FIELD(TEXT, iostate_identity, device),
	FIELD(TEXT, iostate_identity, node),
	FIELD(TEXT, iostate_identity, fingerprint),
};

static const struct iostate_field disk_fields[] = {
	FIELD(U64, iostate_disk, size_bytes),
	FIELD(U32, iostate_disk, block_size),
	FIELD(U32, iostate_disk, physical_block_size),
	FIELD(U32, iostate_disk, queues),
	FIELD(BOOL, iostate_disk, readonly),
	FIELD(BOOL, iostate_disk, write_cache),
};

static const struct iostate_field network_fields[] = {
	FIELD_SINCE(3, U32, iostate_network, queues, "queues"),
	FIELD_SINCE(3, U32, iostate_network, mtu, "mtu"),
	FIELD_SINCE(3, TEXT, iostate_network, settings, "settings"),
};

static const struct iostate_field features_fields[] = {
	FIELD(HEX, iostate_features, offered),
	FIELD(HEX, iostate_features, acknowledged),
	FIELD(HEX, iostate_features, protocol),
};

static const struct iostate_field ring_fields[] = {
	FIELD(U16, iostate_ring, index),
	FIELD(U16, iostate_ring, size),
	FIELD(U16, iostate_ring, avail),
	FIELD(U16, iostate_ring, used),
	FIELD(BOOL, iostate_ring, avail_wrap),
	FIELD(BOOL, iostate_ring, used_wrap),
	FIELD(BOOL, iostate_ring, enabled),
};

static const struct iostate_field request_fields[] = {
	FIELD(U16, iostate_request, ring),
	FIELD(U16, iostate_request, head),
	FIELD(U16, iostate_request, descs),
	ENUM(iostate_request, type, iostate_request_type_names),
	FIELD(U64, iostate_request, counter),
	FIELD(U64, iostate_request, sector),
	FIELD(U64, iostate_request, bytes),
};

static const struct iostate_field desc_fields[] = {
	FIELD(HEX, iostate_desc, addr),
	FIELD(U32, iostate_desc, len),
	FIELD(U16, iostate_desc, id),
	FIELD(U16, iostate_desc, flags),
};

static const struct iostate_field policy_fields[] = {
	ENUM(iostate_policy, cache, iostate_cache_names),
	FIELD(TEXT, iostate_policy, owner),
	ENUM(iostate_policy, on_error, iostate_on_error_names),
	FIELD_SINCE(2, TEXT, iostate_policy, spares[0], "spare1"),
	FIELD_SINCE(2, TEXT, iostate_policy, spares[1], "spare2"),
	FIELD_SINCE(2, TEXT, iostate_policy, spares[2], "spare3"),
	FIELD_SINCE(2, TEXT, iostate_policy, spares[3], "spare4"),
	FIELD_SINCE(2, TEXT, iostate_policy, fence, "fence"),
	FIELD_SINCE(2, U64, iostate_policy, io_timeout_ms, "io_timeout_ms"),
};
static_assert(IOSTATE_MAX_SPARES == 4, "a row for each");

#define FIELDS(table) .fields = (table), .field_count = ARRAY_SIZE(table)
#define OF(member, struct_)                                                                        \
	.of_attachment = true, .key = #member,                                                     \
	.offset = offsetof(struct iostate_attachment, member),                                     \
	.struct_size = sizeof(struct struct_)
#define CHOICE(member)                                                                             \
	.is_choice = true, .count_offset = offsetof(struct iostate_attachment, member.queues)
#define LIST(count, most_)                                                                         \
	.is_list = true, .count_offset = offsetof(struct iostate_attachment, count), .most = (most_)

const struct iostate_section iostate_sections[] = {
	{"ORIG", .key = "origin", .what = "where it comes from", .must_be = true,
		.indispensable = true, .offset = offsetof(struct iostate, origin),
		.struct_size = sizeof(struct iostate_origin), FIELDS(origin_fields)},
	{"ATCH", OF(identity, iostate_identity), .what = "an attachment", .opens_attachment = true,
		.must_be = true, .indispensable = true, FIELDS(identity_fields)},
	{"DISK", OF(disk, iostate_disk), .what = "the disk", .indispensable = true, CHOICE(disk),
		FIELDS(disk_fields)},
	{"NETW", OF(network, iostate_network), .what = "the network device", .indispensable = true,
		CHOICE(network), FIELDS(network_fields)},
	{"FEAT", OF(features, iostate_features), .what = "the negotiated features", .must_be = true,
		.indispensable = true, FIELDS(features_fields)},
	{"POLI", OF(policy, iostate_policy), .what = "the policy", .must_be = true,
		FIELDS(policy_fields)},
	{"RING", OF(rings, iostate_ring), .what = "the rings", .must_be = true,
		.indispensable = true, LIST(ring_count, IOSTATE_MAX_RINGS), FIELDS(ring_fields)},
	{"REQS", OF(requests, iostate_request), .what = "the requests in flight",
		.indispensable = true, LIST(request_count, IOSTATE_MAX_REQUESTS),
		FIELDS(request_fields)},
	{"DESC", OF(descs, iostate_desc), .what = "the descriptors of requests in flight",
		.indispensable = true, LIST(desc_count, IOSTATE_MAX_REQUESTS), FIELDS(desc_fields)},
};
const unsigned int iostate_section_count = ARRAY_SIZE(iostate_sections);

/* --- one field -------------------------------------------------------------------------------- */

/* Bytes in the file; of a TEXT, of its length. */
static const unsigned int widths[] = {
	[IOSTATE_FIELD_U16] = 2,
	[IOSTATE_FIELD_U32] = 4,
	[IOSTATE_FIELD_U64] = 8,
	[IOSTATE_FIELD_HEX] = 8,
	[IOSTATE_FIELD_BOOL] = 1,
	[IOSTATE_FIELD_ENUM] = 1,
	[IOSTATE_FIELD_TEXT] = 2,
};

static int bad_field(const struct iostate_section *section, const struct iostate_field *field,
	struct err *e, const char *why)
{
	return err_set(e, ERR_REFUSED, IOSTATE_VALUE, "section %s (%s): %s %s", section->type,
		section->what, field->key, why);
}

static int cut(
	const struct iostate_section *section, const struct iostate_field *field, struct err *e)
{
	return err_set(e, ERR_REFUSED, IOSTATE_CUT, "section %s (%s) ends within %s", section->type,
		section->what, field->key);
}

static bool is_printable(const char *text, size_t len)
{
	for (size_t i = 0; i < len; i++)
		if ((unsigned char)text[i] < ' ' || text[i] == 0x7f)
			return false;
	return true;
}

static uint64_t load(const struct iostate_field *field, const void *from)
{
	const char *at = (const char *)from + field->offset;

	switch (field->type) {
	case IOSTATE_FIELD_U16:
		return *(const uint16_t *)(const void *)at;
	case IOSTATE_FIELD_U32:
		return *(const uint32_t *)(const void *)at;
	case IOSTATE_FIELD_U64:
	case IOSTATE_FIELD_HEX:
		return *(const uint64_t *)(const void *)at;
	case IOSTATE_FIELD_BOOL:
		return *(const bool *)(const void *)at;
	case IOSTATE_FIELD_ENUM:
		return *(const unsigned int *)(const void *)at;
	case IOSTATE_FIELD_TEXT:
		return strnlen(at, field->capacity);
	}
	return 0;
}

static void store(const struct iostate_field *field, void *to, uint64_t value)
{
	char *at = (char *)to + field->offset;

	switch (field->type) {
	case IOSTATE_FIELD_U16:
		*(uint16_t *)(void *)at = (uint16_t)value;
		break;
	case IOSTATE_FIELD_U32:
		*(uint32_t *)(void *)at = (uint32_t)value;
		break;
	case IOSTATE_FIELD_U64:
	case IOSTATE_FIELD_HEX:
		*(uint64_t *)(void *)at = value;
		break;
	case IOSTATE_FIELD_BOOL:
		*(bool *)(void *)at = value;
		break;
	case IOSTATE_FIELD_ENUM:
		*(unsigned int *)(void *)at = (unsigned int)value;
		break;
	case IOSTATE_FIELD_TEXT:
		at[value] = '\0'; /* whose bytes are there already */
		break;
	}
}

/* What must hold of a field on the way in and on the way out. */
static int check_field(const struct iostate_section *section, const struct iostate_field *field,
	uint64_t value, const char *text, struct err *e)
{
	if (field->type == IOSTATE_FIELD_BOOL && value > 1)
		return bad_field(section, field, e, "is neither 0 nor 1");
	if (field->type == IOSTATE_FIELD_ENUM && value >= field->name_count)
		return bad_field(section, field, e, "has a value that nothing stands for");
	if (field->type != IOSTATE_FIELD_TEXT)
		return 0;
	if (value >= field->capacity)
		return bad_field(section, field, e, "is too long");
	return is_printable(text, value) ? 0 : bad_field(section, field, e, "is no printable text");
}

static int get_field(const struct iostate_section *section, const struct iostate_field *field,
	struct iostate_bytes *in, void *out, struct err *e)
{
	unsigned int width = widths[field->type];
	bool is_text = field->type == IOSTATE_FIELD_TEXT;
	uint64_t value;

	if (in->len < width)
		return cut(section, field, e);
	value = iostate_get_le(in->at, width);
	in->at += width;
	in->len -= width;
	if (is_text && in->len < value)
		return cut(section, field, e);
	if (check_field(section, field, value, (const char *)in->at, e) < 0)
		return -1;
	if (is_text) {
		memcpy((char *)out + field->offset, in->at, value);
		in->at += value;
		in->len -= value;
	}
	store(field, out, value);
	return 0;
}

static int put_field(const struct iostate_section *section, const struct iostate_field *field,
	const void *in, struct buf *out, struct err *e)
{
	unsigned int width = widths[field->type];
	const char *text = (const char *)in + field->offset;
	uint64_t value = load(field, in);
	uint8_t bytes[8];

	if (check_field(section, field, value, text, e) < 0)
		return -1;
	iostate_put_le(bytes, width, value);
	if (buf_append(out, bytes, width) < 0 ||
		(field->type == IOSTATE_FIELD_TEXT && buf_append(out, text, value) < 0))
		return err_set(
			e, ERR_REFUSED, IOSTATE_SIZE, "it takes more than %zu bytes", out->limit);
	return 0;
}

/* --- structs ---------------------------------------------------------------------------------- */

size_t iostate_record_bytes(const struct iostate_section *section)
{
	size_t sum = 0;

	for (unsigned int i = 0; i < section->field_count; i++)
		sum += widths[section->fields[i].type];
	return sum;
}

int iostate_get_struct(const struct iostate_section *section, uint32_t version,
	struct iostate_bytes *in, void *out, struct err *e)
{
	for (unsigned int i = 0; i < section->field_count; i++)
		if (section->fields[i].since <= version &&
			get_field(section, &section->fields[i], in, out, e) < 0)
			return -1;
	return 0;
}

int iostate_put_struct(
	const struct iostate_section *section, const void *in, struct buf *out, struct err *e)
{
	for (unsigned int i = 0; i < section->field_count; i++)
		if (put_field(section, &section->fields[i], in, out, e) < 0)
			return -1;
	return 0;
}

const void *iostate_structs(
	const struct iostate_section *section, const void *owner, uint32_t *count)
{
	const char *base = owner;

	*count = 1;
	if (section->is_list || section->is_choice)
		*count = *(const uint32_t *)(const void *)(base + section->count_offset);
	if (section->is_list)
		return *(const void *const *)(const void *)(base + section->offset);
	*count = MIN(*count, 1);
	return base + section->offset;
}

/* --- as a document ---------------------------------------------------------------------------- */

static void visit_field(
	const struct iostate_field *field, const void *from, const struct iostate_visitor *v)
{
	uint64_t value = load(field, from);

	switch (field->type) {
	case IOSTATE_FIELD_U16:
	case IOSTATE_FIELD_U32:
	case IOSTATE_FIELD_U64:
		v->number(v->arg, field->key, value);
		break;
	case IOSTATE_FIELD_HEX:
		v->hex(v->arg, field->key, value);
		break;
	case IOSTATE_FIELD_BOOL:
		v->boolean(v->arg, field->key, value);
		break;
	case IOSTATE_FIELD_ENUM:
		v->string(v->arg, field->key, field->names[value]);
		break;
	case IOSTATE_FIELD_TEXT:
		v->string(v->arg, field->key, (const char *)from + field->offset);
		break;
	}
}

static void visit_struct(const struct iostate_section *section, const char *key, const void *from,
	const struct iostate_visitor *v)
{
	v->object(v->arg, key);
	for (unsigned int i = 0; i < section->field_count; i++)
		visit_field(&section->fields[i], from, v);
	v->end(v->arg);
}

static void visit_sections(bool of_attachment, const void *owner, const struct iostate_visitor *v)
{
	for (unsigned int i = 0; i < iostate_section_count; i++) {
		const struct iostate_section *section = &iostate_sections[i];
		uint32_t count;
		const char *at;

		if (section->of_attachment != of_attachment)
			continue;
		at = iostate_structs(section, owner, &count);
		if (!section->is_list) {
			if (count)
				visit_struct(section, section->key, at, v);
			continue;
		}
		v->array(v->arg, section->key);
		for (uint32_t n = 0; n < count; n++)
			visit_struct(section, NULL, at + n * section->struct_size, v);
		v->end(v->arg);
	}
}

void iostate_visit(const struct iostate *s, const struct iostate_visitor *v)
{
	v->number(v->arg, "version", s->version);
	visit_sections(false, s, v);
	v->array(v->arg, "attachments");
	for (uint32_t i = 0; i < s->attachment_count; i++) {
		v->object(v->arg, NULL);
		visit_sections(true, &s->attachments[i], v);
		v->end(v->arg);
	}
	v->end(v->arg);
}
