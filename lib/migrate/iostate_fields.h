/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The sections of an I/O state as tables: what is in the file, in the structs and in documents, in
 * one place. Used by iostate.c (the frame around them) only.
 */
#pragma once

#include "lib/migrate/iostate.h"

enum iostate_field_type {
	IOSTATE_FIELD_U16,
	IOSTATE_FIELD_U32,
	IOSTATE_FIELD_U64,
	IOSTATE_FIELD_HEX,  /* u64 that people read as hexadecimal */
	IOSTATE_FIELD_BOOL, /* u8: 0 or 1 */
	IOSTATE_FIELD_ENUM, /* u8: below the number of names */
	IOSTATE_FIELD_TEXT, /* u16 length, and as many bytes: no control characters */
};

struct iostate_field {
	const char *key;
	unsigned int
		since; /* version of the first writer that has it; of an older one it is zero */
	enum iostate_field_type type;
	size_t offset;   /* in the struct */
	size_t capacity; /* TEXT: bytes there, the NUL included */
	const char *const *names;
	unsigned int name_count;
};

/* One struct, or a list of structs that have no TEXT. */
struct iostate_section {
	char type[5];
	bool opens_attachment; /* those of attachments that follow are this attachment's */
	bool of_attachment;
	bool is_list;
	bool must_be;       /* a file, or an attachment, without it is refused */
	bool is_choice;     /* there where its number at count_offset is not 0 */
	bool indispensable; /* a reader that does not know it must refuse the file */
	uint32_t most;      /* of a list */
	const char *key;    /* in documents */
	const char *what;   /* in sentences */
	size_t offset;      /* of the struct, or of the pointer to the first one */
	size_t count_offset;
	size_t struct_size;
	const struct iostate_field *fields;
	unsigned int field_count;
};

extern const struct iostate_section iostate_sections[];
extern const unsigned int iostate_section_count;

/* What is not read yet. */
struct iostate_bytes {
	const uint8_t *at;
	size_t len;
};

static inline uint64_t iostate_get_le(const uint8_t *at, unsigned int width)
{
	uint64_t value = 0;

	for (unsigned int i = width; i-- > 0;)
		value = value << 8 | at[i];
	return value;
}

static inline void iostate_put_le(uint8_t *at, unsigned int width, uint64_t value)
{
	for (unsigned int i = 0; i < width; i++)
		at[i] = (uint8_t)(value >> 8 * i);
}

/* Bytes of a struct of a list, in the file. */
size_t iostate_record_bytes(const struct iostate_section *section);

/* One struct from bytes that a writer of `version` has made, and to bytes of ours. 0 or -1. */
int iostate_get_struct(const struct iostate_section *section, uint32_t version,
	struct iostate_bytes *in, void *out, struct err *e);
int iostate_put_struct(
	const struct iostate_section *section, const void *in, struct buf *out, struct err *e);

/* The first struct of a section in what it hangs on (the state, or an attachment), and how many. */
const void *iostate_structs(
	const struct iostate_section *section, const void *owner, uint32_t *count);
