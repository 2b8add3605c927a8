/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Theory of operation
 *
 *	/dev/kmsg --faults_source--> line --lib/iommu/fault--> fault --faults_map--> entry --> event,
 *	sysfs aer_dev_* --faults_errors-----------------------------------------> entry     store
 *
 * An entry is a fault and those like it that come right after (the same device, reason and page), which
 * are only counted; and of one kind a device gets FAULTS_FRESH_MAX entries in FAULTS_FRESH_MS, the rest
 * is counted in the last of these. So a flood is a few entries, whatever its rate. Those that the
 * kernel itself left out are counted in the latest entry of their source (`suppressed`).
 *
 * Events go out at once, changes of a count with the next write. The store is written FAULTS_FLUSH_MS
 * after the first change, entries and the number of the log's next record in one transaction: a
 * daemon that is killed before leaves both as they were, and the next one reads the same records
 * again. Numbers of entries are never used twice: the newest one is always kept.
 *
 * What nobody saw is said, too: the log lost records (FAULT-LOST), or cannot be read (FAULT-BLIND).
 */
#include "daemon/faults.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/events.h"
#include "daemon/faults_priv.h"
#include "lib/cleanup.h"
#include "lib/log.h"

const char *const fault_class_names[] = {
	[FAULT_CLASS_NONE] = "",
	[FAULT_CLASS_UNMAPPED] = "unmapped",
	[FAULT_CLASS_RAM] = "ram",
	[FAULT_CLASS_RESERVED] = "reserved",
	[FAULT_CLASS_BAR] = "bar",
};
static_assert(ARRAY_SIZE(fault_class_names) == FAULT_CLASSES, "a name for each class");

/* --- entries ---------------------------------------------------------------------------------- */

static void str_or_null(struct json_out *o, const char *key, const char *text)
{
	json_out_str(o, key, text[0] ? text : NULL);
}

static void number_or_null(struct json_out *o, const char *key, int64_t number)
{
	if (number >= 0)
		json_out_hex(o, key, (uint64_t)number);
	else
		json_out_null(o, key);
}

static void put_raw(struct json_out *o, const char *words)
{
	char word[24];

	json_out_array(o, "raw");
	while (*words) {
		size_t len = strcspn(words, " ");

		snprintf(word, sizeof(word), "%.*s", (int)len, words);
		json_out_str(o, NULL, word);
		words += len + (words[len] == ' ');
	}
	json_out_end(o);
}

static void entry_put(const struct fault_entry *x, struct json_out *o)
{
	char text[UTC_TEXT_SIZE];

	json_out_object(o, NULL);
	json_out_i64(o, "seq", x->seq);
	json_out_str(o, "time", utc_text(x->time_ms, text));
	json_out_str(o, "latest", utc_text(x->latest_ms, text));
	json_out_u64(o, "count", MIN(x->count, INT64_MAX));
	json_out_u64(o, "suppressed", MIN(x->suppressed, INT64_MAX));
	json_out_str(o, "source", x->source);
	json_out_str(o, "code", x->code);
	str_or_null(o, "device", x->device);
	str_or_null(o, "vm", x->vm);
	str_or_null(o, "attachment", x->attachment);
	str_or_null(o, "iova", x->iova);
	str_or_null(o, "class", x->class);
	str_or_null(o, "access", x->access);
	number_or_null(o, "stream", x->stream);
	number_or_null(o, "pasid", x->pasid);
	json_out_str(o, "reason", x->reason);
	put_raw(o, x->raw);
	json_out_end(o);
}

static void entry_say(struct faults *f, const struct fault_entry *x, const char *event)
{
	auto_free char *text = NULL;
	char id[24];
	struct json_out o;
	size_t len;

	json_out_init(&o);
	entry_put(x, &o);
	text = json_out_finish(&o, &len);
	snprintf(id, sizeof(id), "%" PRId64, x->seq);
	if (text)
		events_emit(f->d->events, event, "fault", id, text, len);
}

static void entry_free(struct faults *f, struct fault_entry *x)
{
	list_remove(&x->node);
	f->entry_count--;
	free(x);
}

static void flush(void *arg, unsigned int events)
{
	struct faults *f = arg;
	struct err e = ERR_INIT;

	(void)events;
	if (!f->flush_is_due)
		return;
	f->flush_is_due = false;
	list_for_each (node, &f->entries) {
		struct fault_entry *x = list_entry(node, struct fault_entry, node);

		if (x->is_dirty && !x->is_new)
			entry_say(f, x, "changed");
	}
	if (faults_keep(f, &e) < 0)
		log_error("faults: not kept: %s", e.msg);
}

void faults_flush_soon(struct faults *f)
{
	if (f->flush_is_due)
		return;
	f->flush_is_due = true;
	f->d->loop->ops->set_timer(f->flush, FAULTS_FLUSH_MS);
}

void faults_touch(struct faults *f, struct fault_entry *entry)
{
	entry->is_dirty = true;
	faults_flush_soon(f);
}

/* --- adding ----------------------------------------------------------------------------------- */

#define PAGE_CHARS 3 /* of "0x2000123": its page is the rest */

static bool is_same_page(const char *a, const char *b)
{
	size_t len = strlen(a);

	if (len != strlen(b))
		return false;
	return len <= 2 + PAGE_CHARS || strncmp(a, b, len - PAGE_CHARS) == 0;
}

static bool is_alike(const struct fault_entry *a, const struct fault_entry *b)
{
	return strcmp(a->device, b->device) == 0 && strcmp(a->code, b->code) == 0 &&
	       strcmp(a->source, b->source) == 0 && a->stream == b->stream &&
	       strcmp(a->attachment, b->attachment) == 0;
}

/* The entry in which one like this is to be counted, or NULL: it deserves its own. */
static struct fault_entry *find_alike(struct faults *f, const struct fault_entry *like)
{
	struct fault_entry *latest = NULL;
	unsigned int fresh = 0, steps = 0;

	for (struct list_node *node = f->entries.prev; node != &f->entries; node = node->prev) {
		struct fault_entry *x = list_entry(node, struct fault_entry, node);

		if (++steps > FAULTS_LOOK_BACK)
			break;
		if (x->latest_ms + FAULTS_ALIKE_MS < like->time_ms || !is_alike(x, like))
			continue;
		if (is_same_page(x->iova, like->iova) && strcmp(x->reason, like->reason) == 0)
			return x;
		latest = latest ?: x;
		fresh += x->time_ms + FAULTS_FRESH_MS >= like->time_ms;
	}
	return fresh >= FAULTS_FRESH_MAX ? latest : NULL;
}

static struct fault_entry *entry_new(struct faults *f, const struct fault_entry *like)
{
	struct fault_entry *x = malloc(sizeof(*x));

	if (!x) {
		log_error("a fault of %s is not kept: no memory: %s", like->device, like->reason);
		return NULL;
	}
	*x = *like;
	x->seq = f->next_seq++;
	x->is_new = true;
	list_append(&f->entries, &x->node);
	if (++f->entry_count > FAULTS_MAX)
		entry_free(f, list_entry(f->entries.next, struct fault_entry, node));
	faults_touch(f, x);
	return x;
}

static void entry_log(const struct fault_entry *x)
{
	log_warning("fault %" PRId64 ": %s: %s%s%s%s%s [%s]", x->seq, x->source,
		x->device[0] ? x->device : "a device that nobody knows", x->vm[0] ? " of " : "",
		x->vm, x->iova[0] ? " at " : "", x->iova, x->code);
}

static void count_one(struct faults *f, struct fault_entry *x, const struct fault_entry *like)
{
	x->count += like->count;
	x->latest_ms = MAX(x->latest_ms, like->time_ms);
	faults_touch(f, x);
}

void faults_tell(struct faults *f, const struct fault_entry *like)
{
	struct fault_entry *x = entry_new(f, like);

	if (!x)
		return;
	entry_log(x);
	entry_say(f, x, "added");
}

void faults_add(struct faults *f, const struct fault_entry *like)
{
	struct fault_entry *x = find_alike(f, like);

	if (x)
		count_one(f, x, like);
	else
		faults_tell(f, like);
}

static void entry_describe(const struct fault *fault, struct fault_entry *x)
{
	size_t len = 0;

	x->count = 1;
	x->stream = fault->has_stream ? (int64_t)fault->stream : -1;
	x->pasid = fault->has_pasid ? (int64_t)fault->pasid : -1;
	str_copy(x->source, sizeof(x->source), fault_source_names[fault->source]);
	str_copy(x->code, sizeof(x->code), fault_kind_codes[fault->kind]);
	str_copy(x->reason, sizeof(x->reason), fault->reason);
	if (fault->has_iova) {
		snprintf(x->iova, sizeof(x->iova), "0x%" PRIx64, fault->iova);
		str_copy(x->access, sizeof(x->access), fault_access_names[fault->access]);
	}
	for (unsigned int i = 0; i < fault->raw_count; i++)
		len += (size_t)snprintf(x->raw + len, sizeof(x->raw) - len, "%s0x%" PRIx64,
			i ? " " : "", fault->raw[i]);
}

static bool is_dma(const struct fault *fault)
{
	return fault->kind == FAULT_UNMAPPED || fault->kind == FAULT_ACCESS ||
	       fault->kind == FAULT_STREAM || fault->kind == FAULT_INTERRUPT;
}

/* What comes of one besides its entry, if it is news. */
static void judge(struct faults *f, const struct fault *fault, const struct fault_entry *like)
{
	static const struct {
		bool is_told;
		enum faults_what what;
	} told[FAULT_KINDS] = {
		[FAULT_REQUEST] = {true, FAULTS_REQUEST},
		[FAULT_LINK] = {true, FAULTS_LINK},
		[FAULT_DEAD] = {true, FAULTS_DEAD},
		[FAULT_FATAL] = {true, FAULTS_ERROR},
	};
	struct attachment *a =
		like->attachment[0] ? registry_by_id(f->d->registry, like->attachment) : NULL;

	if (like->time_ms + FAULTS_FRESH_MS < utc_now_ms())
		return;
	if (a && is_dma(fault)) {
		faults_report_of(f, a, FAULTS_DMA, 1);
		faults_policy_fault(f, a);
	} else if (told[fault->kind].is_told) {
		faults_report(f, like->device, told[fault->kind].what, 1);
		faults_dead_look(f, like->device);
	}
}

void faults_take(struct faults *f, const struct fault *fault, uint64_t time_ms)
{
	struct fault_entry like = {.time_ms = time_ms, .latest_ms = time_ms};
	struct fault_entry *x;

	entry_describe(fault, &like);
	faults_place(f, fault, &like);
	if (fault->kind == FAULT_ERROR) {
		faults_errors_hint(f, like.device);
		return;
	}
	/* What the address is takes longer to find out than a flood leaves. */
	x = find_alike(f, &like);
	if (x) {
		count_one(f, x, &like);
	} else {
		str_copy(like.class, sizeof(like.class),
			fault_class_names[faults_classify(f, fault, &like)]);
		faults_tell(f, &like);
	}
	judge(f, fault, &like);
}

/* Whose those are that were left out: those of all that had any of late, if that is one. */
static struct attachment *only_one_of_late(struct faults *f, const char *source)
{
	uint64_t now = utc_now_ms();
	const struct fault_entry *one = NULL;

	for (struct list_node *node = f->entries.prev; node != &f->entries; node = node->prev) {
		const struct fault_entry *x = list_entry(node, struct fault_entry, node);

		if (strcmp(x->source, source) != 0 || x->latest_ms + FAULTS_FRESH_MS < now)
			continue;
		if (one && strcmp(one->device, x->device) != 0)
			return NULL;
		one = x;
	}
	return one && one->attachment[0] ? registry_by_id(f->d->registry, one->attachment) : NULL;
}

void faults_suppressed(struct faults *f, enum fault_source source, uint64_t count)
{
	const char *name = fault_source_names[source];
	struct attachment *a = f->is_behind ? NULL : only_one_of_late(f, name);

	f->suppressed += count;
	if (a) {
		faults_report_of(f, a, FAULTS_DMA, count);
		faults_policy_left_out(f, a, count);
	}
	for (struct list_node *node = f->entries.prev; node != &f->entries; node = node->prev) {
		struct fault_entry *x = list_entry(node, struct fault_entry, node);

		if (strcmp(x->source, name) != 0)
			continue;
		x->suppressed += count;
		faults_touch(f, x);
		return;
	}
}

void faults_lost(struct faults *f, uint64_t count)
{
	struct fault_entry like = {
		.source = "iovd", .code = "FAULT-LOST", .stream = -1, .pasid = -1};

	f->unseen += count;
	like.time_ms = like.latest_ms = utc_now_ms();
	like.count = count;
	str_copy(like.reason, sizeof(like.reason),
		"records of the kernel's log were lost before they were read: faults may be among "
		"them");
	faults_add(f, &like);
}

/* --- showing ---------------------------------------------------------------------------------- */

static bool passes(const struct fault_entry *x, const struct faults_filter *filter)
{
	return (!filter->vm || strcmp(x->vm, filter->vm) == 0) &&
	       (!filter->device || strcmp(x->device, filter->device) == 0) &&
	       x->seq > (int64_t)MIN(filter->since, INT64_MAX);
}

static void put_log(const struct faults *f, struct json_out *o)
{
	json_out_object(o, "log");
	json_out_bool(o, "readable", f->is_open);
	json_out_str(o, "problem", f->is_open ? NULL : f->blind.evidence);
	json_out_u64(o, "suppressed", MIN(f->suppressed, INT64_MAX));
	json_out_u64(o, "unseen", MIN(f->unseen, INT64_MAX));
	json_out_end(o);
}

void faults_put_list(const struct faults *f, const struct faults_filter *filter, struct json_out *o)
{
	json_out_array(o, "faults");
	list_for_each (node, &f->entries) {
		const struct fault_entry *x = list_entry(node, struct fault_entry, node);

		if (passes(x, filter))
			entry_put(x, o);
	}
	json_out_end(o);
	put_log(f, o);
}

void faults_put_of(const struct faults *f, const char *device, struct json_out *o)
{
	const struct faults_filter filter = {.device = device};
	struct list_node *from = f->entries.prev;
	unsigned int count = 0;

	for (; from != &f->entries && count < FAULTS_OF_MAX; from = from->prev)
		count += passes(list_entry(from, struct fault_entry, node), &filter);
	if (!count)
		return;
	json_out_array(o, "faults");
	for (struct list_node *node = from->next; node != &f->entries; node = node->next)
		if (passes(list_entry(node, struct fault_entry, node), &filter))
			entry_put(list_entry(node, struct fault_entry, node), o);
	json_out_end(o);
}

const struct err *faults_blind(const struct faults *f)
{
	return f->is_open ? NULL : &f->blind;
}

/* --- coming and going ------------------------------------------------------------------------- */

struct faults *faults_new(struct daemon *d, struct err *e)
{
	struct faults *f = calloc(1, sizeof(*f));

	if (!f) {
		err_set(e, ERR_FAILED, "MEMORY", "no memory for faults");
		return NULL;
	}
	f->d = d;
	f->next_seq = 1;
	f->map_is_old = true;
	list_init(&f->entries);
	list_init(&f->counters);
	err_set(&f->blind, ERR_FAILED, "FAULT-BLIND", "the kernel's log is not read yet");
	f->flush = d->loop->ops->add_timer(d->loop, FAULTS_FLUSH_MS, flush, f, e);
	if (f->flush && faults_errors_new(f, e) == 0 && faults_dead_new(f, e) == 0 &&
		faults_policy_new(f, e) == 0 && faults_load(f, e) == 0)
		return f;
	faults_free(f);
	return NULL;
}

void faults_begin(struct faults *f)
{
	faults_errors_begin(f);
	faults_policy_begin(f);
	faults_source_open(f);
}

void faults_free(struct faults *f)
{
	struct err e = ERR_INIT;

	if (!f)
		return;
	if (f->has_number && faults_keep(f, &e) < 0)
		log_error("faults: not kept: %s", e.msg);
	faults_source_close(f);
	faults_errors_free(f);
	faults_dead_free(f);
	faults_policy_free(f);
	faults_map_release(f);
	list_for_each_safe (node, &f->entries)
		entry_free(f, list_entry(node, struct fault_entry, node));
	f->d->loop->ops->remove(f->flush);
	free(f);
}
