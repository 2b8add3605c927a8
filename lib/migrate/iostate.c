/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Theory of operation
 *
 * The VMM takes along the guest's memory and its own half of the device: the driver's features, the
 * rings' addresses, how far the driver's rings were read. What it does not know is ours, and goes
 * into this file: what the device was, which requests were taken from the guest and not answered,
 * and how the host had been told to treat it.
 *
 * A request in flight travels as its place in the ring, not as data. While it is in flight its
 * descriptors, its buffers and (for a write) what is in them belong to the device, so the guest
 * leaves them alone; they are guest memory, and arrive with it, written or not. The successor reads
 * them there, as after the death of a worker, and submits the request once, in the order of the
 * counters, before anything new. For a split ring the head is enough. A packed ring's descriptors
 * are overwritten by those of other requests as they are used, so their copies travel too. Type,
 * sector and bytes are for people. This holds only when memory and file are of one moment, which is
 * what the rings' positions are compared for when the VMM starts them.
 *
 * The rings' addresses and the memory regions are not here: they are the old VMM's addresses, and
 * the new one tells its own.
 *
 *
 * The bytes. All numbers are little-endian; what is not named is zero, and is checked to be.
 *
 *	header, 40 bytes			 section, 16 bytes and its content
 *	 0   8  89 "iovs" 0d 0a 1a		  0  4  type: four of A-Z 0-9
 *	 8   4  version of the writer		  4  4  flags: 1 indispensable
 *	12   4  lowest version of a reader	  8  4  bytes of content
 *	16   8  bytes of the whole file		 12  4  CRC32C of these 12 and the content
 *	24   4  sections			 16  n  content
 *	28   4  CRC32C of all after the header	 ..     zeroes up to a multiple of 8
 *	32   4  0
 *	36   4  CRC32C of these 36 bytes
 *
 * Sections follow one another with nothing between, so none can overlap another. ORIG is once in a
 * file; each ATCH begins an attachment, and the others belong to the last one before them. A section
 * is one struct, or a list: u32 how many, u32 bytes of each, and then the structs. Which sections
 * there are, and which fields in which order, is the table in iostate_fields.c, from which the
 * bytes, the checks of single fields and the document are made alike; iostate_check.c has what must
 * hold between fields.
 *
 *	ORIG  vm, uuid, host, program: text; saved_ms: u64
 *	ATCH  name, id, device, node, fingerprint: text
 *	DISK  size_bytes: u64; block_size, physical_block_size, queues: u32; readonly, write_cache: u8
 *	NETW  queues, mtu: u32; settings: text (since version 3); instead of DISK
 *	FEAT  offered, acknowledged, protocol: u64
 *	POLI  cache: u8; owner: text; on_error: u8; since version 2 spare1, spare2, spare3, spare4,
 *	      fence: text; io_timeout_ms: u64
 *	RING  list of: index, size, avail, used: u16; avail_wrap, used_wrap, enabled: u8
 *	REQS  list of: ring, head, descs: u16; type: u8; counter, sector, bytes: u64
 *	DESC  list of: addr: u64; len: u32; id, flags: u16
 *
 * Text is a u16 length and as many bytes.
 *
 * Versions. A later writer may add fields at the end of a section or of the structs of a list, and
 * sections; it says the lowest version whose readers get by without them. A reader skips what it
 * does not know at the end of sections, if the writer is later than itself, and whole sections that
 * are not marked indispensable. What it knows and an earlier writer did not is zero. The header stays as
 * it is for ever.
 *
 * Why two layers of checksums: a section's own tells what is damaged, the one over all of them
 * tells that parts of different files were put together.
 *
 * Bounded memory: nothing is allocated before the bytes that fill it are seen to be there, and a
 * struct is at most some two hundred times as large as the fewest bytes that stand for one.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "lib/cleanup.h"
#include "lib/crc32c.h"
#include "lib/migrate/iostate_fields.h"

#define HEADER_BYTES       40u
#define HEADER_CRC_AT      36u
#define SECTION_BYTES      16u
#define SECTION_CRC_AT     12u
#define LIST_BYTES         8u
#define ALIGN              8u
#define FLAG_INDISPENSABLE 1u

const uint8_t iostate_magic[8] = {0x89, 'i', 'o', 'v', 's', '\r', '\n', 0x1a};

struct header {
	uint32_t version, lowest, sections, content_crc;
	uint64_t bytes;
};

/* --- coming and going ------------------------------------------------------------------------- */

struct iostate *iostate_new(struct err *e)
{
	struct iostate *s = calloc(1, sizeof(*s));

	if (!s)
		err_set(e, ERR_FAILED, "MEMORY", "no memory for an I/O state");
	return s;
}

void iostate_free(struct iostate *s)
{
	if (!s)
		return;
	for (uint32_t i = 0; i < s->attachment_count; i++) {
		free(s->attachments[i].rings);
		free(s->attachments[i].requests);
		free(s->attachments[i].descs);
	}
	free(s->attachments);
	free(s);
}

struct iostate_attachment *iostate_add(struct iostate *s, struct err *e)
{
	struct iostate_attachment *a;

	if (s->attachment_count == IOSTATE_MAX_ATTACHMENTS) {
		err_set(e, ERR_REFUSED, IOSTATE_SIZE, "more than %u attachments",
			IOSTATE_MAX_ATTACHMENTS);
		return NULL;
	}
	a = reallocarray(s->attachments, s->attachment_count + 1, sizeof(*a));
	if (!a) {
		err_set(e, ERR_FAILED, "MEMORY", "no memory for an I/O state");
		return NULL;
	}
	s->attachments = a;
	a += s->attachment_count++;
	memset(a, 0, sizeof(*a));
	return a;
}

/* --- writing ---------------------------------------------------------------------------------- */

static int append(struct buf *out, const void *data, size_t len, struct err *e)
{
	if (buf_append(out, data, len) == 0)
		return 0;
	return err_set(e, ERR_REFUSED, IOSTATE_SIZE, "it takes more than %zu bytes", out->limit);
}

static int put_content(const struct iostate_section *section, const char *structs, uint32_t count,
	struct buf *out, struct err *e)
{
	uint8_t list[LIST_BYTES];

	if (section->is_list) {
		if (count > section->most)
			return err_set(e, ERR_REFUSED, IOSTATE_SIZE, "section %s (%s): %u of %u",
				section->type, section->what, count, section->most);
		iostate_put_le(list, 4, count);
		iostate_put_le(list + 4, 4, iostate_record_bytes(section));
		if (append(out, list, sizeof(list), e) < 0)
			return -1;
	}
	for (uint32_t i = 0; i < count; i++)
		if (iostate_put_struct(section, structs + i * section->struct_size, out, e) < 0)
			return -1;
	return 0;
}

static uint32_t section_crc(const uint8_t *at, size_t content)
{
	return crc32c(crc32c(0, at, SECTION_CRC_AT), at + SECTION_BYTES, content);
}

static int put_section(
	const struct iostate_section *section, const void *owner, struct buf *out, struct err *e)
{
	static const uint8_t zeroes[SECTION_BYTES];
	size_t begin = out->len, content;
	uint32_t count;
	const char *structs = iostate_structs(section, owner, &count);
	uint8_t *at;

	if (!count && !section->must_be)
		return 0;
	if (append(out, zeroes, SECTION_BYTES, e) < 0 ||
		put_content(section, structs, count, out, e) < 0)
		return -1;
	content = out->len - begin - SECTION_BYTES;
	if (append(out, zeroes, ALIGN_UP(content, ALIGN) - content, e) < 0)
		return -1;
	at = (uint8_t *)out->data + begin;
	memcpy(at, section->type, 4);
	iostate_put_le(at + 4, 4, section->indispensable ? FLAG_INDISPENSABLE : 0);
	iostate_put_le(at + 8, 4, content);
	iostate_put_le(at + SECTION_CRC_AT, 4, section_crc(at, content));
	return 0;
}

static int put_sections(bool of_attachment, const void *owner, struct buf *out, struct err *e)
{
	for (unsigned int i = 0; i < iostate_section_count; i++) {
		const struct iostate_section *section = &iostate_sections[i];

		if (section->of_attachment == of_attachment &&
			put_section(section, owner, out, e) < 0)
			return -1;
	}
	return 0;
}

static uint32_t count_sections(const uint8_t *at, size_t len)
{
	uint32_t count = 0;

	for (size_t done = 0; done < len; count++)
		done += SECTION_BYTES + ALIGN_UP(iostate_get_le(at + done + 8, 4), ALIGN);
	return count;
}

static void put_header(struct buf *out)
{
	uint8_t *at = (uint8_t *)out->data;
	size_t content = out->len - HEADER_BYTES;

	memcpy(at, iostate_magic, sizeof(iostate_magic));
	iostate_put_le(at + 8, 4, IOSTATE_VERSION);
	iostate_put_le(at + 12, 4, IOSTATE_LOWEST);
	iostate_put_le(at + 16, 8, out->len);
	iostate_put_le(at + 24, 4, count_sections(at + HEADER_BYTES, content));
	iostate_put_le(at + 28, 4, crc32c(0, at + HEADER_BYTES, content));
	iostate_put_le(at + HEADER_CRC_AT, 4, crc32c(0, at, HEADER_CRC_AT));
}

static int encode(const struct iostate *s, struct buf *out, struct err *e)
{
	static const uint8_t zeroes[HEADER_BYTES];

	if (append(out, zeroes, HEADER_BYTES, e) < 0 || put_sections(false, s, out, e) < 0)
		return -1;
	for (uint32_t i = 0; i < s->attachment_count; i++)
		if (put_sections(true, &s->attachments[i], out, e) < 0)
			return -1;
	put_header(out);
	return 0;
}

int iostate_encode(const struct iostate *s, struct buf *out, struct err *e)
{
	struct buf own;
	int rc;

	if (iostate_check(s, e) < 0)
		return -1;
	buf_init(&own, IOSTATE_MAX_BYTES);
	rc = encode(s, &own, e);
	if (rc == 0)
		rc = append(out, own.data, own.len, e);
	buf_release(&own);
	return rc;
}

/* --- reading: the frame ----------------------------------------------------------------------- */

static int foreign(const uint8_t *data, size_t len, struct err *e)
{
	if (!len)
		return err_set(e, ERR_REFUSED, IOSTATE_CUT, "there is nothing in it");
	if (memcmp(data, iostate_magic, MIN(len, sizeof(iostate_magic))) != 0)
		return err_set(e, ERR_REFUSED, IOSTATE_FOREIGN, "it is no I/O state of iovd");
	if (len < HEADER_BYTES)
		return err_set(e, ERR_REFUSED, IOSTATE_CUT, "it ends within its header");
	return 0;
}

static int check_version(const struct header *h, struct err *e)
{
	if (!h->version || h->lowest > h->version)
		return err_set(e, ERR_REFUSED, IOSTATE_VALUE,
			"header: version %u, for readers of %u", h->version, h->lowest);
	if (h->lowest <= IOSTATE_VERSION)
		return 0;
	err_set(e, ERR_REFUSED, IOSTATE_NEWER,
		"it is of version %u and needs a reader of version %u or later", h->version,
		h->lowest);
	return err_fix(e, "this iovd reads version %u: take a later one", IOSTATE_VERSION);
}

static int check_length(const struct header *h, size_t len, struct err *e)
{
	if (h->bytes > len)
		return err_set(e, ERR_REFUSED, IOSTATE_CUT,
			"it ends after %zu of %" PRIu64 " bytes", len, h->bytes);
	if (h->bytes < len)
		return err_set(e, ERR_REFUSED, IOSTATE_DAMAGED,
			"it goes on after its %" PRIu64 " bytes", h->bytes);
	return 0;
}

static int get_header(struct header *h, const uint8_t *data, size_t len, struct err *e)
{
	if (len > IOSTATE_MAX_BYTES)
		return err_set(e, ERR_REFUSED, IOSTATE_SIZE, "it has %zu bytes, at most %zu", len,
			IOSTATE_MAX_BYTES);
	if (foreign(data, len, e) < 0)
		return -1;
	if (iostate_get_le(data + HEADER_CRC_AT, 4) != crc32c(0, data, HEADER_CRC_AT))
		return err_set(e, ERR_REFUSED, IOSTATE_DAMAGED, "its header is damaged");
	*h = (struct header){
		.version = (uint32_t)iostate_get_le(data + 8, 4),
		.lowest = (uint32_t)iostate_get_le(data + 12, 4),
		.bytes = iostate_get_le(data + 16, 8),
		.sections = (uint32_t)iostate_get_le(data + 24, 4),
		.content_crc = (uint32_t)iostate_get_le(data + 28, 4),
	};
	if (check_version(h, e) < 0 || check_length(h, len, e) < 0)
		return -1;
	if (iostate_get_le(data + 32, 4))
		return err_set(e, ERR_REFUSED, IOSTATE_VALUE, "header: what must be zero is not");
	return 0;
}

/* A section as it is cut out of the file. */
struct cut_section {
	char type[5];
	uint32_t flags;
	struct iostate_bytes content;
};

static int check_cut(const struct cut_section *cut, const uint8_t *at, size_t padded, struct err *e)
{
	for (int i = 0; i < 4; i++)
		if (!strchr("ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789", cut->type[i]) || !cut->type[i])
			return err_set(e, ERR_REFUSED, IOSTATE_DAMAGED,
				"there is no section where one should begin");
	if (iostate_get_le(at + SECTION_CRC_AT, 4) != section_crc(at, cut->content.len))
		return err_set(e, ERR_REFUSED, IOSTATE_DAMAGED, "section %s is damaged", cut->type);
	for (size_t i = cut->content.len; i < padded; i++)
		if (cut->content.at[i])
			return err_set(e, ERR_REFUSED, IOSTATE_DAMAGED,
				"section %s: what must be zero is not", cut->type);
	if (cut->flags & ~FLAG_INDISPENSABLE)
		return err_set(e, ERR_REFUSED, IOSTATE_VALUE,
			"section %s: flags 0x%x are not known", cut->type, cut->flags);
	return 0;
}

/* Takes the next section off `in`. */
static int cut_section(struct cut_section *cut, struct iostate_bytes *in, struct err *e)
{
	const uint8_t *at = in->at;
	uint64_t content, padded;

	if (in->len < SECTION_BYTES)
		return err_set(
			e, ERR_REFUSED, IOSTATE_DAMAGED, "it ends where a section should begin");
	*cut = (struct cut_section){.flags = (uint32_t)iostate_get_le(at + 4, 4)};
	memcpy(cut->type, at, 4);
	content = iostate_get_le(at + 8, 4);
	padded = ALIGN_UP(content, ALIGN);
	if (padded > in->len - SECTION_BYTES)
		return err_set(e, ERR_REFUSED, IOSTATE_DAMAGED, "a section ends after the file");
	cut->content = (struct iostate_bytes){at + SECTION_BYTES, content};
	in->at += SECTION_BYTES + padded;
	in->len -= SECTION_BYTES + padded;
	return check_cut(cut, at, padded, e);
}

/* All sections are whole, and are those that were written together. */
static int check_frame(const struct header *h, struct iostate_bytes in, struct err *e)
{
	struct iostate_bytes rest = in;
	struct cut_section cut;
	uint32_t count = 0;

	for (; rest.len; count++)
		if (cut_section(&cut, &rest, e) < 0)
			return -1;
	if (count != h->sections)
		return err_set(e, ERR_REFUSED, IOSTATE_DAMAGED, "it has %u sections, not %u", count,
			h->sections);
	if (crc32c(0, in.at, in.len) != h->content_crc)
		return err_set(e, ERR_REFUSED, IOSTATE_DAMAGED,
			"its sections are good, but not of one file");
	return 0;
}

/* --- reading: the sections -------------------------------------------------------------------- */

struct reader {
	struct iostate *s;
	struct iostate_attachment *a; /* the last one */
	uint32_t seen;    /* bit per row of the table: of the file, and of this attachment */
	uint32_t version; /* of the writer: a later one may know more than we do */
};

static_assert(sizeof(((struct reader *)0)->seen) * 8 >= 16, "a bit for each section");

static int misplaced(const struct iostate_section *section, struct err *e, const char *how)
{
	return err_set(e, ERR_REFUSED, IOSTATE_SECTION, "section %s (%s) %s", section->type,
		section->what, how);
}

static const struct iostate_section *find_section(const char *type)
{
	for (unsigned int i = 0; i < iostate_section_count; i++)
		if (strcmp(iostate_sections[i].type, type) == 0)
			return &iostate_sections[i];
	return NULL;
}

static int skip_unknown(const struct cut_section *cut, struct err *e)
{
	if (!(cut->flags & FLAG_INDISPENSABLE))
		return 0;
	err_set(e, ERR_REFUSED, IOSTATE_SECTION,
		"section %s is not known here, and cannot be left out", cut->type);
	return err_fix(e, "take an iovd that knows it");
}

/* What is not read of a section (or of a struct in a list) must be a later writer's. */
static int check_rest(
	const struct reader *r, const struct iostate_section *section, size_t rest, struct err *e)
{
	return !rest || r->version > IOSTATE_VERSION
		       ? 0
		       : misplaced(section, e, "is longer than it should be");
}

static int get_list_head(const struct reader *r, const struct iostate_section *section,
	struct iostate_bytes *in, uint32_t *count, size_t *each, struct err *e)
{
	size_t least = iostate_record_bytes(section);

	if (in->len < LIST_BYTES)
		return err_set(e, ERR_REFUSED, IOSTATE_CUT, "section %s (%s) ends within its head",
			section->type, section->what);
	*count = (uint32_t)iostate_get_le(in->at, 4);
	*each = iostate_get_le(in->at + 4, 4);
	in->at += LIST_BYTES;
	in->len -= LIST_BYTES;
	if (*count > section->most)
		return err_set(e, ERR_REFUSED, IOSTATE_SIZE, "section %s (%s): %u of at most %u",
			section->type, section->what, *count, section->most);
	if (*each < least || (uint64_t)*each * *count > in->len)
		return err_set(e, ERR_REFUSED, IOSTATE_CUT,
			"section %s (%s): %u of %zu bytes do not fit", section->type, section->what,
			*count, *each);
	return check_rest(r, section, *each - least, e);
}

static int get_list(const struct reader *r, const struct iostate_section *section, char *owner,
	struct iostate_bytes *in, struct err *e)
{
	char *structs;
	uint32_t count = 0;
	size_t each = 0;

	if (get_list_head(r, section, in, &count, &each, e) < 0)
		return -1;
	structs = calloc(count ? count : 1, section->struct_size);
	if (!structs)
		return err_set(e, ERR_FAILED, "MEMORY", "no memory for an I/O state");
	*(void **)(void *)(owner + section->offset) = structs; /* iostate_free()s */
	*(uint32_t *)(void *)(owner + section->count_offset) = count;
	for (uint32_t i = 0; i < count; i++) {
		struct iostate_bytes one = {in->at + i * each, each};

		if (iostate_get_struct(
			    section, r->version, &one, structs + i * section->struct_size, e) < 0)
			return -1;
	}
	in->at += count * each;
	in->len -= count * each;
	return 0;
}

/* Has everything that must be, from row 0 or from the last attachment on, been there? */
static int check_complete(const struct reader *r, bool of_attachment, struct err *e)
{
	for (unsigned int i = 0; i < iostate_section_count; i++) {
		const struct iostate_section *section = &iostate_sections[i];

		if (section->must_be && section->of_attachment == of_attachment &&
			!(r->seen & 1u << i))
			return misplaced(section, e, "is missing");
	}
	return 0;
}

static int open_attachment(struct reader *r, struct err *e)
{
	if (r->a && check_complete(r, true, e) < 0)
		return -1;
	for (unsigned int i = 0; i < iostate_section_count; i++)
		if (iostate_sections[i].of_attachment)
			r->seen &= ~(1u << i);
	r->a = iostate_add(r->s, e);
	return r->a ? 0 : -1;
}

/* It is there: then it is not of nothing. */
static int check_choice(const struct iostate_section *section, const char *owner, struct err *e)
{
	uint32_t count;

	iostate_structs(section, owner, &count);
	return count ? 0
		     : err_set(e, ERR_REFUSED, IOSTATE_VALUE, "section %s (%s) has no queues",
			       section->type, section->what);
}

static int get_section(struct reader *r, struct cut_section *cut, struct err *e)
{
	const struct iostate_section *section = find_section(cut->type);
	struct iostate_bytes *in = &cut->content;
	uint32_t bit;
	char *owner;
	int rc;

	if (!section)
		return skip_unknown(cut, e);
	bit = 1u << (section - iostate_sections);
	if (section->opens_attachment && open_attachment(r, e) < 0)
		return -1;
	if (section->of_attachment && !r->a)
		return misplaced(section, e, "stands before any attachment");
	if (r->seen & bit)
		return misplaced(section, e, "is there twice");
	r->seen |= bit;
	owner = section->of_attachment ? (char *)r->a : (char *)r->s;
	rc = section->is_list
		     ? get_list(r, section, owner, in, e)
		     : iostate_get_struct(section, r->version, in, owner + section->offset, e);
	if (rc < 0 || (section->is_choice && check_choice(section, owner, e) < 0))
		return -1;
	return check_rest(r, section, in->len, e);
}

static int get_sections(struct reader *r, struct iostate_bytes in, struct err *e)
{
	struct cut_section cut;

	while (in.len)
		if (cut_section(&cut, &in, e) < 0 || get_section(r, &cut, e) < 0)
			return -1;
	return check_complete(r, false, e) < 0 || check_complete(r, true, e) < 0 ? -1 : 0;
}

struct iostate *iostate_decode(const void *data, size_t len, struct err *e)
{
	struct iostate_bytes in;
	auto_iostate struct iostate *s = NULL;
	struct reader r;
	struct header h = {0};

	if (get_header(&h, data, len, e) < 0)
		return NULL;
	in = (struct iostate_bytes){(const uint8_t *)data + HEADER_BYTES, len - HEADER_BYTES};
	s = iostate_new(e);
	if (!s || check_frame(&h, in, e) < 0)
		return NULL;
	s->version = h.version;
	r = (struct reader){.s = s, .version = h.version};
	if (get_sections(&r, in, e) < 0 || iostate_check(s, e) < 0)
		return NULL;
	return steal_ptr(&s);
}
