/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Theory of operation. Devices become nodes, found by id in a sorted index; each looks for its parent
 * there (a virtual function: its physical one; else what the daemon says is above it). Without one a
 * function is below its root complex, which is made for it, and anything else on no bus. Nodes sorted by
 * parent are the children of each, next to each other; one walk from the roots then writes the rows.
 * A child that is not reached by it has itself above it, and is left out.
 */
#include "cli/picture.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/term.h"
#include "lib/cleanup.h"
#include "proto/utf8.h"

#define RUN_MIN    4 /* so many alike are one row */
#define PCI_ROOT   7 /* "0000:00" */
#define NO_BUS     "other"
#define NODE_NONE  SIZE_MAX
#define ROOT_SPARE 2 /* more nodes than devices: each root complex has one at least, and other */

struct picture_node {
	const struct json *device; /* NULL: a root */
	char root[PCI_ROOT + 1];   /* its name */
	const char *id;
	bool is_pci;
	size_t parent, first_child, child_count;
	size_t row;
};

/* A picture that is being made. */
struct builder {
	struct picture *p;
	struct picture_node *nodes;
	size_t count, device_count;
	size_t *by_id;     /* of devices, sorted by id */
	size_t *by_parent; /* of all, children of one parent next to each other, in order */
	size_t room;       /* of p->rows */
	bool whole;
};

static const char *text_of(const struct json *object, const char *key)
{
	return json_member_str(object, key) ?: "";
}

/* --- parents ---------------------------------------------------------------------------------- */

static int compare_ids(const void *a, const void *b, void *arg)
{
	const struct builder *x = arg;

	return strcmp(x->nodes[*(const size_t *)a].id, x->nodes[*(const size_t *)b].id);
}

static size_t find_id(const struct builder *b, const char *id)
{
	size_t low = 0, high = b->device_count;

	while (id && low < high) {
		size_t middle = low + (high - low) / 2;
		int order = strcmp(b->nodes[b->by_id[middle]].id, id);

		if (order == 0)
			return b->by_id[middle];
		if (order < 0)
			low = middle + 1;
		else
			high = middle;
	}
	return NODE_NONE;
}

static size_t find_root(struct builder *b, const char *name)
{
	struct picture_node *n;

	for (size_t i = b->device_count; i < b->count; i++)
		if (strcmp(b->nodes[i].root, name) == 0)
			return i;
	n = &b->nodes[b->count];
	*n = (struct picture_node){
		.is_pci = strcmp(name, NO_BUS) != 0, .parent = NODE_NONE, .row = NODE_NONE};
	str_copy(n->root, sizeof(n->root), name);
	n->id = n->root;
	return b->count++;
}

static void take_devices(struct builder *b, const struct json *devices)
{
	for (size_t i = 0; i < json_count(devices); i++) {
		const struct json *d = json_item(devices, i);

		b->nodes[i] = (struct picture_node){
			.device = d,
			.id = text_of(d, "id"),
			.is_pci = strcmp(text_of(d, "class"), "pci") == 0,
			.row = NODE_NONE,
		};
		b->by_id[i] = i;
	}
	b->count = b->device_count = json_count(devices);
	qsort_r(b->by_id, b->device_count, sizeof(*b->by_id), compare_ids, b);
}

static void take_parents(struct builder *b)
{
	char root[PCI_ROOT + 1];

	for (size_t i = 0; i < b->device_count; i++) {
		struct picture_node *n = &b->nodes[i];

		n->parent = find_id(b, json_member_str(n->device, "pf"));
		if (n->parent == NODE_NONE)
			n->parent = find_id(b, json_member_str(n->device, "parent"));
		if (n->parent != NODE_NONE)
			continue;
		str_copy(root, sizeof(root), n->is_pci ? n->id : NO_BUS);
		n->parent = find_root(b, root);
	}
}

/* What is on a function comes before the functions behind it; addresses in their order. */
static int compare_places(const void *a, const void *b, void *arg)
{
	const size_t i = *(const size_t *)a, j = *(const size_t *)b;
	const struct builder *x = arg;
	const struct picture_node *m = &x->nodes[i], *n = &x->nodes[j];

	if (m->parent != n->parent)
		return m->parent < n->parent ? -1 : 1;
	if (m->is_pci != n->is_pci) {
		int functions_last = m->is_pci ? 1 : -1;

		return m->device ? functions_last : -functions_last;
	}
	if (m->is_pci)
		return strcmp(m->id, n->id);
	return i < j ? -1 : i > j; /* as the daemon lists them */
}

static void take_children(struct builder *b)
{
	for (size_t i = 0; i < b->count; i++)
		b->by_parent[i] = i;
	qsort_r(b->by_parent, b->count, sizeof(*b->by_parent), compare_places, b);
	for (size_t i = b->count; i-- > 0;) {
		size_t parent = b->nodes[b->by_parent[i]].parent;

		if (parent == NODE_NONE)
			continue;
		b->nodes[parent].first_child = i;
		b->nodes[parent].child_count++;
	}
}

/* --- rows ------------------------------------------------------------------------------------- */

static struct picture_row *add_row(struct builder *b, size_t parent, unsigned int depth)
{
	struct picture *p = b->p;
	struct picture_row *row;

	if (p->count == b->room) {
		size_t room = b->room ? 2 * b->room : 64;
		struct picture_row *rows = reallocarray(p->rows, room, sizeof(*rows));

		if (!rows)
			return NULL;
		p->rows = rows;
		b->room = room;
	}
	row = &p->rows[p->count++];
	*row = (struct picture_row){.depth = MIN(depth, PICTURE_DEEP),
		.parent = parent,
		.count = 1,
		.driver = "",
		.state = "",
		.group = -1,
		.device = PICTURE_NONE};
	if (parent != PICTURE_NONE) {
		const struct picture_row *above = &p->rows[parent];

		row->open = above->open | (above->is_last ? 0 : (uint64_t)1 << above->depth);
	}
	return row;
}

static void add_word(char *text, size_t size, const char *between, const char *word)
{
	size_t len = strlen(text);

	snprintf(text + len, size - len, "%s%s", len ? between : "", word);
}

/* What a device is held for, rather than by whom: of that others tell. */
static bool is_between(const char *kind)
{
	static const char *const kinds[] = {"bus", "holder", "master", "filesystem"};

	for (size_t i = 0; i < ARRAY_SIZE(kinds); i++)
		if (strcmp(kinds[i], kind) == 0)
			return true;
	return false;
}

static const struct json *find_attachment(const struct json *attachments, const char *id)
{
	for (size_t i = 0; id && i < json_count(attachments); i++)
		if (strcmp(text_of(json_item(attachments, i), "id"), id) == 0)
			return json_item(attachments, i);
	return NULL;
}

/* "web1/disk0", of what the daemon calls "attachment a1"; else as it calls it. */
static void take_vm(const struct builder *b, const char *what, char *text, size_t size)
{
	static const char word[] = "attachment ";
	const struct json *a = strncmp(what, word, sizeof(word) - 1) != 0
				       ? NULL
				       : find_attachment(json_member(b->p->reply, "attachments"),
						 what + sizeof(word) - 1);

	add_word(text, size, ", ", a ? text_of(a, "vm") : what);
	if (a) {
		add_word(text, size, "/", text_of(a, "name"));
	}
}

static void take_use(const struct builder *b, const struct json *use, char *text, size_t size)
{
	const char *kind = text_of(use, "kind"), *via = text_of(use, "via");

	if (strcmp(kind, "vm") == 0) {
		take_vm(b, text_of(use, "what"), text, size);
	} else {
		add_word(text, size, ", ", strcmp(kind, "default_route") == 0 ? "route" : kind);
		add_word(text, size, " ", text_of(use, "what"));
	}
	if (*via) {
		add_word(text, size, " via ", via);
	}
}

/* "root /, mount /home via dm-0"; what it does as a bus the tree shows. */
static void take_uses(const struct builder *b, const struct json *device, char *text, size_t size)
{
	const struct json *uses = json_member(device, "in_use_by");
	size_t count = json_count(uses);

	for (size_t i = 0; i < count; i++)
		if (!is_between(text_of(json_item(uses, i), "kind")))
			take_use(b, json_item(uses, i), text, size);
	for (size_t i = 0; i < count && !*text; i++)
		if (strcmp(text_of(json_item(uses, i), "kind"), "bus") != 0)
			take_use(b, json_item(uses, i), text, size);
}

/* "Intel Corporation 82576 Gigabit" is "Intel 82576 Gigabit": there is little room. */
static void take_name(const char *name, char *text, size_t size)
{
	static const char *const forms[] = {" Corporation", ", Inc.", " Inc.", " Co., Ltd.",
		" Co Ltd", " Technologies", " Electronics", " Limited", " Ltd."};
	size_t len = 0;

	while (*name && len + 1 < size) {
		size_t form = 0;

		for (size_t i = 0; i < ARRAY_SIZE(forms) && !form; i++)
			if (strncmp(name, forms[i], strlen(forms[i])) == 0 &&
				(name[strlen(forms[i])] == ' ' || !name[strlen(forms[i])]))
				form = strlen(forms[i]);
		name += form;
		if (!form)
			text[len++] = *name++;
	}
	while (len && ((unsigned char)*name & 0xc0) == 0x80) /* not in the middle of a character */
		name--, len--;
	text[len] = '\0';
}

static void take_device(
	const struct builder *b, const struct picture_node *n, struct picture_row *row)
{
	const struct json *group = json_member(n->device, "iommu_group");
	bool is_bridge = false;
	uint64_t number;

	row->id = n->id;
	if (!n->device) {
		row->kind = PICTURE_ROOT;
		str_copy(row->name, sizeof(row->name), n->is_pci ? "root complex" : "on no bus");
		return;
	}
	for (size_t i = 0; i < n->child_count; i++) {
		const struct picture_node *child = &b->nodes[b->by_parent[n->first_child + i]];

		is_bridge |= child->is_pci && !json_member_str(child->device, "pf");
	}
	row->kind = !n->is_pci ? PICTURE_DEVICE : is_bridge ? PICTURE_BRIDGE : PICTURE_FUNCTION;
	take_name(
		n->id[0] == '/' ? n->id : text_of(n->device, "name"), row->name, sizeof(row->name));
	row->driver = text_of(n->device, "driver");
	row->state = text_of(n->device, "state");
	row->group = json_u64(group, &number) ? (int64_t)number : -1;
	take_uses(b, n->device, row->use, sizeof(row->use));
}

/* "loop" of "loop0". */
static size_t prefix_len(const char *id)
{
	size_t len = strlen(id);

	while (len && id[len - 1] >= '0' && id[len - 1] <= '9')
		len--;
	return len;
}

static bool are_named_alike(const struct picture_node *a, const struct picture_node *b)
{
	size_t len = prefix_len(a->id);

	return a->is_pci || (len == prefix_len(b->id) && strncmp(a->id, b->id, len) == 0);
}

static bool are_alike(
	const struct builder *x, const struct picture_node *a, const struct picture_node *b)
{
	static const char *const keys[] = {"class", "state", "name", "driver"};
	char use_a[160] = "", use_b[160] = "";

	if (a->child_count || b->child_count || !are_named_alike(a, b) ||
		(a->is_pci && !json_member_str(a->device, "pf")))
		return false;
	for (size_t i = 0; i < ARRAY_SIZE(keys); i++)
		if (strcmp(text_of(a->device, keys[i]), text_of(b->device, keys[i])) != 0)
			return false;
	take_uses(x, a->device, use_a, sizeof(use_a));
	take_uses(x, b->device, use_b, sizeof(use_b));
	return strcmp(use_a, use_b) == 0;
}

/* How many children from the i-th on become one row. */
static size_t run_length(const struct builder *b, const struct picture_node *n, size_t i)
{
	const size_t *children = &b->by_parent[n->first_child];
	size_t len = 1;

	if (b->whole || !b->nodes[children[i]].device)
		return 1;
	while (i + len < n->child_count &&
		are_alike(b, &b->nodes[children[i]], &b->nodes[children[i + len]]))
		len++;
	return len < RUN_MIN ? 1 : len;
}

static int put_node(
	struct builder *b, size_t at, size_t run, size_t parent, unsigned int depth, bool is_last)
{
	struct picture_node *n = &b->nodes[b->by_parent[at]];
	struct picture_row *row = add_row(b, parent, depth);
	size_t here = b->p->count - 1;

	if (!row)
		return -1;
	row->is_last = is_last;
	row->count = run;
	take_device(b, n, row);
	if (run > 1)
		row->to = b->nodes[b->by_parent[at + run - 1]].id;
	for (size_t i = 0; i < run; i++)
		b->nodes[b->by_parent[at + i]].row = here;
	for (size_t i = 0, len; i < n->child_count; i += len) {
		len = run_length(b, n, i);
		if (put_node(b, n->first_child + i, len, here, depth + 1,
			    i + len == n->child_count) < 0)
			return -1;
	}
	return 0;
}

/* --- machines --------------------------------------------------------------------------------- */

static int put_attachment(struct builder *b, const struct json *a, size_t parent, bool is_last)
{
	struct picture_row *row = add_row(b, parent, 1);
	size_t device;

	if (!row)
		return -1;
	row->kind = PICTURE_ATTACHMENT;
	row->is_last = is_last;
	row->id = text_of(a, "name");
	str_copy(row->name, sizeof(row->name), text_of(a, "device"));
	row->driver = text_of(a, "path");
	row->state = text_of(a, "state");
	device = find_id(b, json_member_str(a, "device"));
	if (device != NODE_NONE) {
		row->device = b->nodes[device].row;
		picture_label(&b->p->rows[row->device], row->name, sizeof(row->name));
	}
	return 0;
}

static int put_vm(struct builder *b, const struct json *vm)
{
	const struct json *ids = json_member(vm, "attachments");
	struct picture_row *row = add_row(b, PICTURE_NONE, 0);
	size_t here = b->p->count - 1;

	if (!row)
		return -1;
	row->kind = PICTURE_VM;
	row->is_last = true;
	row->id = text_of(vm, "name");
	if (strcmp(text_of(vm, "managed"), "libvirt") == 0)
		str_copy(row->name, sizeof(row->name), "libvirt");
	row->state = text_of(vm, "state");
	for (size_t i = 0; i < json_count(ids); i++) {
		const struct json *a = find_attachment(
			json_member(b->p->reply, "attachments"), json_str(json_item(ids, i)));

		if (a && put_attachment(b, a, here, i + 1 == json_count(ids)) < 0)
			return -1;
	}
	return 0;
}

/* --- the whole -------------------------------------------------------------------------------- */

static int put_rows(struct builder *b)
{
	const struct json *vms = json_member(b->p->reply, "vms");

	/* Roots have no parent, and so are last, in the order of their names. */
	for (size_t i = 0; i < b->count; i++)
		if (b->nodes[b->by_parent[i]].parent == NODE_NONE &&
			put_node(b, i, 1, PICTURE_NONE, 0, true) < 0)
			return -1;
	b->p->vms_at = b->p->count;
	for (size_t i = 0; i < json_count(vms); i++)
		if (put_vm(b, json_item(vms, i)) < 0)
			return -1;
	return 0;
}

static int build(struct builder *b)
{
	const struct json *devices = json_member(b->p->reply, "devices");
	size_t room = 2 * json_count(devices) + ROOT_SPARE;

	b->nodes = calloc(room, sizeof(*b->nodes));
	b->by_id = calloc(room, sizeof(*b->by_id));
	b->by_parent = calloc(room, sizeof(*b->by_parent));
	if (!b->nodes || !b->by_id || !b->by_parent)
		return -1;
	take_devices(b, devices);
	take_parents(b);
	take_children(b);
	return put_rows(b);
}

struct picture *picture_new(const struct json *reply, bool whole, struct err *e)
{
	struct builder b = {.p = calloc(1, sizeof(*b.p)), .whole = whole};
	int rc = -1;

	if (b.p) {
		b.p->reply = reply;
		b.p->host = json_member(reply, "host");
		rc = build(&b);
		b.p->nodes = b.nodes;
	}
	free(b.by_id);
	free(b.by_parent);
	if (rc == 0)
		return b.p;
	picture_free(b.p);
	err_set(e, ERR_FAILED, "MEMORY", "no memory for a picture");
	return NULL;
}

void picture_free(struct picture *p)
{
	if (!p)
		return;
	free(p->nodes);
	free(p->rows);
	free(p);
}

void picture_title(const struct picture *p, char *text, size_t size)
{
	const char *name = text_of(p->host, "name"), *kernel = text_of(p->host, "kernel");
	const char *iommu = json_member_str(p->host, "iommu");
	uint64_t groups = 0;
	size_t len;

	json_u64(json_member(p->host, "iommu_groups"), &groups);
	snprintf(text, size, "%s%s%s", *name ? name : "host", *kernel ? ", Linux " : "", kernel);
	len = strlen(text);
	if (iommu)
		snprintf(text + len, size - len, ", %s with %llu groups", iommu,
			(unsigned long long)groups);
	else
		snprintf(text + len, size - len, ", no IOMMU in use");
}

/* Of the path of an image, its last part. */
static const char *short_id(const struct picture_row *row, const char *id)
{
	bool is_pci = row->kind == PICTURE_BRIDGE || row->kind == PICTURE_FUNCTION;
	const char *part = id[0] == '/' ? strrchr(id, '/') : NULL;

	if (part && part[1])
		return part + 1;
	return is_pci && strncmp(id, "0000:", 5) == 0 ? id + 5 : id;
}

void picture_label(const struct picture_row *row, char *text, size_t size)
{
	snprintf(text, size, "%s%s%s", short_id(row, row->id), row->to ? "-" : "",
		row->to ? short_id(row, row->to) : "");
}

const char *picture_mark(const struct picture_row *row)
{
	bool nobody_knows = row->kind == PICTURE_VM && strcmp(row->state, "unknown") == 0;

	return nobody_knows ? "" : row->state;
}

void picture_put(const char *text, unsigned int room, void (*put)(unsigned char c))
{
	size_t len = strlen(text), step;
	bool cut = room && term_width(text) > room;

	for (unsigned int n = 1; len; n++, text += step, len -= step) {
		if (cut && n == room) {
			fputs("\xe2\x80\xa6", stdout);
			return;
		}
		step = utf8_step(text, len);
		for (size_t i = 0; i < step; i++)
			put((unsigned char)text[i]);
		step = MAX(step, 1);
	}
}

/* The nearest row above with a group, that it is in. */
static bool begins_group(const struct picture *p, size_t at)
{
	for (size_t i = at; i-- > 0;)
		if (p->rows[i].group >= 0)
			return p->rows[i].group != p->rows[at].group;
	return true;
}

size_t picture_group_end(const struct picture *p, size_t at)
{
	size_t end = at;

	if (p->rows[at].group < 0 || p->rows[at].count > 1 || !begins_group(p, at))
		return at;
	for (size_t i = at + 1; i < p->vms_at; i++) {
		if (p->rows[i].group == p->rows[at].group && p->rows[i].count == 1)
			end = i;
		else if (p->rows[i].group >= 0)
			break;
	}
	return end;
}
