/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What is kept of attachments. The number of the next id is kept on its own, so that an id is never
 * given twice, though its attachment is long gone.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/baton.h"
#include "daemon/binding.h"
#include "daemon/domain_xml.h"
#include "daemon/faults.h"
#include "daemon/group_type.h"
#include "daemon/iostate.h"
#include "daemon/lease.h"
#include "daemon/quarantine.h"
#include "daemon/registry_internal.h"
#include "daemon/tap_node.h"
#include "daemon/unknown.h"
#include "daemon/vf.h"
#include "daemon/vf_given.h"
#include "lib/journal.h"
#include "lib/log.h"

static const char *const migrations[] = {
	"CREATE TABLE attachment ("
	"	number INTEGER PRIMARY KEY,"
	"	vm TEXT NOT NULL,"
	"	name TEXT NOT NULL,"
	"	device TEXT NOT NULL UNIQUE,"
	"	node TEXT NOT NULL,"
	"	owner TEXT NOT NULL,"
	"	cache INTEGER NOT NULL,"
	"	queues INTEGER NOT NULL,"
	"	readonly INTEGER NOT NULL,"
	"	kept INTEGER NOT NULL,"
	"	UNIQUE (vm, name));"
	"CREATE TABLE counter (next_number INTEGER NOT NULL);"
	"INSERT INTO counter VALUES (1);" JOURNAL_SCHEMA,
	BINDING_SCHEMA,
	GROUP_TYPE_SCHEMA,
	/* All there were until then are paravirtual: 0. */
	"ALTER TABLE attachment ADD COLUMN path INTEGER NOT NULL DEFAULT 0;",
	"ALTER TABLE attachment ADD COLUMN quiesced INTEGER NOT NULL DEFAULT 0;",
	VF_SCHEMA,
	"ALTER TABLE attachment ADD COLUMN fingerprint TEXT NOT NULL DEFAULT '';"
	"ALTER TABLE attachment ADD COLUMN group_type TEXT NOT NULL DEFAULT '';"
	"ALTER TABLE attachment ADD COLUMN no_reset_boot TEXT NOT NULL DEFAULT '';"
	"CREATE TABLE companion ("
	"	device TEXT PRIMARY KEY,"
	"	number INTEGER NOT NULL);",
	"ALTER TABLE attachment ADD COLUMN on_error INTEGER NOT NULL DEFAULT 0;",
	"ALTER TABLE attachment ADD COLUMN incoming TEXT NOT NULL DEFAULT '';",
	"ALTER TABLE attachment ADD COLUMN restoring INTEGER NOT NULL DEFAULT 0;",
	"ALTER TABLE attachment ADD COLUMN fence TEXT NOT NULL DEFAULT '';"
	"ALTER TABLE attachment ADD COLUMN io_timeout INTEGER NOT NULL DEFAULT 0;"
	"ALTER TABLE attachment ADD COLUMN spare_allow INTEGER NOT NULL DEFAULT 0;"
	"CREATE TABLE spare ("
	"	number INTEGER NOT NULL,"
	"	place INTEGER NOT NULL,"
	"	device TEXT NOT NULL,"
	"	PRIMARY KEY (number, place));",
	"ALTER TABLE attachment ADD COLUMN domain TEXT NOT NULL DEFAULT '';"
	"ALTER TABLE attachment ADD COLUMN target TEXT NOT NULL DEFAULT '';",
	BATON_SCHEMA,
	UNKNOWN_SCHEMA,
	VF_GIVEN_SCHEMA,
	FAULTS_SCHEMA,
	"ALTER TABLE attachment_vf ADD COLUMN standby TEXT NOT NULL DEFAULT '';",
	"ALTER TABLE attachment ADD COLUMN on_fault INTEGER NOT NULL DEFAULT 0;",
	"ALTER TABLE attachment ADD COLUMN serial TEXT NOT NULL DEFAULT '';",
	LEASE_SCHEMA,
	"ALTER TABLE baton ADD COLUMN carry_ms INTEGER NOT NULL DEFAULT 0;",
	"ALTER TABLE attachment_vf ADD COLUMN pair INTEGER NOT NULL DEFAULT 0;"
	"ALTER TABLE attachment_vf ADD COLUMN left_because TEXT NOT NULL DEFAULT '';"
	"ALTER TABLE attachment_vf ADD COLUMN leaves INTEGER NOT NULL DEFAULT 0;" QUARANTINE_SCHEMA,
};

const struct store_schema registry_schema = {
	.application_id = 0x696f7664, /* "iovd" */
	.migrations = migrations,
	.count = ARRAY_SIZE(migrations),
};

static bool row_text(const struct store_row *row, int column, char *out, size_t size)
{
	const char *text = store_row_text(row, column);

	return text && str_copy(out, size, text);
}

static bool row_to_passthrough(const struct store_row *row, struct attachment_passthrough *p)
{
	return row_text(row, 13, p->group_type, sizeof(p->group_type)) &&
	       row_text(row, 14, p->no_reset_boot, sizeof(p->no_reset_boot));
}

static bool row_to_rescue(const struct store_row *row, struct attachment_rescue *r)
{
	int64_t io_timeout = store_row_int(row, 19);

	r->io_timeout_ms = io_timeout > 0 ? (uint64_t)io_timeout : 0;
	r->allow = (unsigned int)store_row_int(row, 20);
	return row_text(row, 18, r->fence, sizeof(r->fence));
}

/*
 * The store has each device once. A bridge may be given to many, and a function that has left is nobody's:
 * there it has the attachment's id behind its name.
 */
#define SHARED_SIZE (PATH_MAX + KEEPER_ID_SIZE)

static const char *device_key(const struct attachment_spec *spec, char key[SHARED_SIZE])
{
	bool is_shared = tap_node_is(spec->node) || strcmp(spec->target, DOMAIN_NET_BRIDGE) == 0 ||
			 spec->vf.pair == PAIR_APART;

	snprintf(key, SHARED_SIZE, "%s%s%s", spec->device, is_shared ? "#" : "",
		is_shared ? spec->id : "");
	return key;
}

static void device_of_key(struct attachment_spec *spec)
{
	size_t len = strlen(spec->device), tail = strlen(spec->id) + 1;
	char *behind = spec->device + len - tail;

	if (len > tail && *behind == '#' && strcmp(behind + 1, spec->id) == 0)
		*behind = '\0';
}

static int row_to_spec(const struct store_row *row, struct attachment_spec *spec)
{
	int64_t number = store_row_int(row, 0), cache = store_row_int(row, 6);
	int64_t queues = store_row_int(row, 7), path = store_row_int(row, 10);
	int64_t on_error = store_row_int(row, 15);

	if (number < 1 || number > INT32_MAX || cache < 0 || cache >= ATTACHMENT_CACHES ||
		queues < 1 || queues > VU_MAX_QUEUES || path < 0 || path >= ATTACHMENT_PATHS ||
		on_error < 0 || on_error >= ON_ERRORS)
		return -1;
	snprintf(spec->id, sizeof(spec->id), "a%d", (int)number);
	spec->path = (enum attachment_path)path;
	spec->cache = (enum attachment_cache)cache;
	spec->on_error = (enum attachment_on_error)on_error;
	spec->queues = (unsigned int)queues;
	spec->readonly = store_row_int(row, 8) != 0;
	if (!row_text(row, 3, spec->device, sizeof(spec->device)))
		return -1;
	device_of_key(spec);
	return row_to_passthrough(row, &spec->passthrough) && row_to_rescue(row, &spec->rescue) &&
			       row_text(row, 1, spec->vm, sizeof(spec->vm)) &&
			       row_text(row, 2, spec->name, sizeof(spec->name)) &&
			       row_text(row, 4, spec->node, sizeof(spec->node)) &&
			       row_text(row, 5, spec->owner, sizeof(spec->owner)) &&
			       row_text(row, 21, spec->domain, sizeof(spec->domain)) &&
			       row_text(row, 22, spec->target, sizeof(spec->target)) &&
			       row_text(row, 12, spec->fingerprint, sizeof(spec->fingerprint)) &&
			       name_is_valid(spec->vm) && name_is_valid(spec->name)
		       ? 0
		       : -1;
}

/* Without it, its next worker must not begin as if there were nothing to go on from. */
static bool load_incoming(struct attachment *a, const struct store_row *row)
{
	const char *text = store_row_text(row, 16);
	struct err e = ERR_INIT;

	if (!text || !*text)
		return true;
	a->incoming = incoming_of_text(text, &e);
	if (!a->incoming)
		log_error("store: %s is incoming, and from where is lost: %s", a->spec.id, e.msg);
	return a->incoming;
}

static int load_row(void *arg, const struct store_row *row)
{
	struct registry *r = arg;
	int64_t kept = store_row_int(row, 9);
	struct attachment_spec spec = {0};
	struct attachment *a;
	struct err e = ERR_INIT;

	if (kept < KEPT_PREPARING || kept > KEPT_DETACHING || row_to_spec(row, &spec) < 0) {
		log_error("store: attachment a%lld makes no sense: left alone",
			(long long)store_row_int(row, 0));
		return 0;
	}
	a = registry_add(r, &spec, &e);
	if (!a) {
		log_error("a%lld: %s", (long long)store_row_int(row, 0), e.msg);
		return 0;
	}
	if (!load_incoming(a, row)) {
		registry_remove(r, a);
		return 0;
	}
	a->kept = (enum attachment_kept)kept;
	a->restoring = store_row_int(row, 17) != 0;
	a->gate =
		(unsigned int)store_row_int(row, 11) &
		(SESSION_GATE_SHUT | SESSION_GATE_CARRY | SESSION_GATE_FENCE | SESSION_GATE_STORED);
	a->quiesced = a->gate != 0;
	/* Not a change of what is: only now is it known here. */
	if (a->kept == KEPT_ATTACHED)
		a->state = ATTACHMENT_RECOVERING;
	else if (a->kept == KEPT_DETACHING)
		a->state = ATTACHMENT_DETACHING;
	return 0;
}

static int load_companion(void *arg, const struct store_row *row)
{
	char id[KEEPER_ID_SIZE];
	struct attachment *a;
	struct attachment_passthrough *p;

	snprintf(id, sizeof(id), "a%lld", (long long)store_row_int(row, 1));
	a = registry_by_id(arg, id);
	if (!a)
		return 0;
	p = &a->spec.passthrough;
	if (p->companion_count < ATTACHMENT_MAX_COMPANIONS &&
		row_text(row, 0, p->companions[p->companion_count], PCI_ADDR_MAX))
		p->companion_count++;
	return 0;
}

static int load_spare(void *arg, const struct store_row *row)
{
	struct attachment_rescue *r;
	char id[KEEPER_ID_SIZE];
	struct attachment *a;

	snprintf(id, sizeof(id), "a%lld", (long long)store_row_int(row, 1));
	a = registry_by_id(arg, id);
	if (!a)
		return 0;
	r = &a->spec.rescue;
	if (r->spare_count < ATTACHMENT_SPARES_MAX &&
		row_text(row, 0, r->spares[r->spare_count], PATH_MAX))
		r->spare_count++;
	return 0;
}

/* What only those that are passed through have. */
static int load_passed(void *arg, const struct store_row *row)
{
	struct attachment *a;
	struct attachment_passthrough *p;
	char id[KEEPER_ID_SIZE];

	snprintf(id, sizeof(id), "a%lld", (long long)store_row_int(row, 0));
	a = registry_by_id(arg, id);
	if (!a)
		return 0;
	p = &a->spec.passthrough;
	p->on_fault = store_row_int(row, 1) == 1 ? ON_FAULT_BLOCK : ON_FAULT_REPORT;
	row_text(row, 2, p->serial, sizeof(p->serial));
	return 0;
}

static int load_number(void *arg, const struct store_row *row)
{
	struct registry *r = arg;
	int64_t number = store_row_int(row, 0);

	if (number > 0)
		r->next_number = MAX(r->next_number, (uint64_t)number);
	return 0;
}

int registry_load(struct registry *r, struct err *e)
{
	static const char rows[] =
		"SELECT number, vm, name, device, node, owner, cache, queues, readonly, kept, path,"
		" quiesced, fingerprint, group_type, no_reset_boot, on_error, incoming,"
		" restoring, fence, io_timeout, spare_allow, domain, target"
		" FROM attachment ORDER BY number";
	static const char companions[] = "SELECT device, number FROM companion ORDER BY rowid";
	static const char spares[] = "SELECT device, number FROM spare ORDER BY number, place";
	static const char passed[] = "SELECT number, on_fault, serial FROM attachment WHERE "
				     "on_fault = 1 OR serial != ''";
	static const char next[] = "SELECT next_number FROM counter";

	if (store_run(r->store, next, STORE_NO_BIND, load_number, r, e) < 0)
		return -1;
	if (store_run(r->store, rows, STORE_NO_BIND, load_row, r, e) < 0)
		return -1;
	if (store_run(r->store, spares, STORE_NO_BIND, load_spare, r, e) < 0 ||
		vf_given_load(r->store, r, e) < 0 ||
		store_run(r->store, passed, STORE_NO_BIND, load_passed, r, e) < 0)
		return -1;
	return store_run(r->store, companions, STORE_NO_BIND, load_companion, r, e);
}

static int64_t spec_number(const struct attachment_spec *spec)
{
	return strtoll(spec->id + 1, NULL, 10);
}

static int keep_companions(struct registry *r, const struct attachment_spec *s, struct err *e)
{
	static const char row[] = "INSERT INTO companion (device, number) VALUES (?, ?)";

	for (unsigned int i = 0; i < s->passthrough.companion_count; i++)
		if (store_run(r->store, row,
			    STORE_BIND(STORE_TEXT(s->passthrough.companions[i]),
				    STORE_INT(spec_number(s))),
			    NULL, NULL, e) < 0)
			return -1;
	return 0;
}

static int unkeep_spares(struct registry *r, int64_t number, struct err *e)
{
	static const char sql[] = "DELETE FROM spare WHERE number = ?";

	return store_run(r->store, sql, STORE_BIND(STORE_INT(number)), NULL, NULL, e);
}

/* In the place of those there were. */
static int keep_spares(struct registry *r, const struct attachment_spec *s, struct err *e)
{
	static const char row[] = "INSERT INTO spare (number, place, device) VALUES (?, ?, ?)";

	if (unkeep_spares(r, spec_number(s), e) < 0)
		return -1;
	for (unsigned int i = 0; i < s->rescue.spare_count; i++)
		if (store_run(r->store, row,
			    STORE_BIND(STORE_INT(spec_number(s)), STORE_INT(i),
				    STORE_TEXT(s->rescue.spares[i])),
			    NULL, NULL, e) < 0)
			return -1;
	return 0;
}

static int keep_on_fault(struct registry *r, const struct attachment_spec *s, struct err *e)
{
	static const char sql[] = "UPDATE attachment SET on_fault = ? WHERE number = ?";

	return store_run(r->store, sql,
		STORE_BIND(STORE_INT(s->passthrough.on_fault), STORE_INT(spec_number(s))), NULL,
		NULL, e);
}

static int keep_rows(struct registry *r, const struct attachment *a, struct err *e)
{
	static const char row[] =
		"INSERT INTO attachment (number, vm, name, device, node, owner, cache, queues,"
		" readonly, kept, path, fingerprint, group_type, no_reset_boot, on_error, incoming,"
		" restoring, fence, io_timeout, spare_allow, domain, target)"
		" VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)";
	static const char next[] = "UPDATE counter SET next_number = max(next_number, ?)";
	const struct attachment_spec *s = &a->spec;
	char key[SHARED_SIZE];

	if (store_run(r->store, row,
		    STORE_BIND(STORE_INT(spec_number(s)), STORE_TEXT(s->vm), STORE_TEXT(s->name),
			    STORE_TEXT(device_key(s, key)), STORE_TEXT(s->node),
			    STORE_TEXT(s->owner), STORE_INT(s->cache), STORE_INT(s->queues),
			    STORE_INT(s->readonly), STORE_INT(a->kept), STORE_INT(s->path),
			    STORE_TEXT(s->fingerprint), STORE_TEXT(s->passthrough.group_type),
			    STORE_TEXT(s->passthrough.no_reset_boot), STORE_INT(s->on_error),
			    STORE_TEXT(a->incoming ? a->incoming->text : ""),
			    STORE_INT(a->restoring), STORE_TEXT(s->rescue.fence),
			    STORE_INT((int64_t)s->rescue.io_timeout_ms), STORE_INT(s->rescue.allow),
			    STORE_TEXT(s->domain), STORE_TEXT(s->target)),
		    NULL, NULL, e) < 0)
		return -1;
	if (keep_companions(r, s, e) < 0 || keep_spares(r, s, e) < 0 ||
		keep_on_fault(r, s, e) < 0 || vf_given_keep(r->store, s, e) < 0)
		return -1;
	return store_run(r->store, next, STORE_BIND(STORE_INT(spec_number(s) + 1)), NULL, NULL, e);
}

int registry_keep(struct registry *r, const struct attachment *a, struct err *e)
{
	if (store_begin(r->store, e) < 0)
		return -1;
	if (keep_rows(r, a, e) == 0)
		return store_commit(r->store, e);
	store_rollback(r->store);
	return -1;
}

int registry_keep_pair(struct registry *r, const struct attachment_spec *s, struct err *e)
{
	static const char sql[] = "UPDATE attachment SET device = ?, fingerprint = ?,"
				  " group_type = ?, no_reset_boot = ?, serial = ? WHERE number = ?";
	char key[SHARED_SIZE];

	if (store_run(r->store, sql,
		    STORE_BIND(STORE_TEXT(device_key(s, key)), STORE_TEXT(s->fingerprint),
			    STORE_TEXT(s->passthrough.group_type),
			    STORE_TEXT(s->passthrough.no_reset_boot),
			    STORE_TEXT(s->passthrough.serial), STORE_INT(spec_number(s))),
		    NULL, NULL, e) < 0)
		return -1;
	return vf_given_keep(r->store, s, e);
}

int registry_keep_serial(struct registry *r, const struct attachment *a, struct err *e)
{
	static const char sql[] = "UPDATE attachment SET serial = ? WHERE number = ?";

	return store_run(r->store, sql,
		STORE_BIND(
			STORE_TEXT(a->spec.passthrough.serial), STORE_INT(spec_number(&a->spec))),
		NULL, NULL, e);
}

int registry_keep_as(
	struct registry *r, struct attachment *a, enum attachment_kept kept, struct err *e)
{
	static const char sql[] = "UPDATE attachment SET kept = ? WHERE number = ?";

	return store_run(r->store, sql,
		STORE_BIND(STORE_INT(kept), STORE_INT(spec_number(&a->spec))), NULL, NULL, e);
}

int registry_keep_quiesced(
	struct registry *r, const struct attachment *a, unsigned int gate, struct err *e)
{
	static const char sql[] = "UPDATE attachment SET quiesced = ? WHERE number = ?";

	return store_run(r->store, sql,
		STORE_BIND(STORE_INT(gate), STORE_INT(spec_number(&a->spec))), NULL, NULL, e);
}

int registry_keep_arrived(struct registry *r, const struct attachment *a, struct err *e)
{
	static const char sql[] = "UPDATE attachment SET incoming = '' WHERE number = ?";

	return store_run(
		r->store, sql, STORE_BIND(STORE_INT(spec_number(&a->spec))), NULL, NULL, e);
}

int registry_keep_incoming(struct registry *r, const struct attachment *a, struct err *e)
{
	static const char sql[] = "UPDATE attachment SET incoming = ? WHERE number = ?";

	return store_run(r->store, sql,
		STORE_BIND(STORE_TEXT(a->incoming->text), STORE_INT(spec_number(&a->spec))), NULL,
		NULL, e);
}

int registry_keep_restored(struct registry *r, const char *vm, struct err *e)
{
	static const char sql[] = "UPDATE attachment SET restoring = 0 WHERE vm = ?";

	return store_run(r->store, sql, STORE_BIND(STORE_TEXT(vm)), NULL, NULL, e);
}

int registry_keep_half_restored(struct registry *r, const char *vm, struct err *e)
{
	static const char sql[] = "UPDATE attachment SET restoring = 1 WHERE vm = ?";

	return store_run(r->store, sql, STORE_BIND(STORE_TEXT(vm)), NULL, NULL, e);
}

int registry_keep_device(struct registry *r, const struct attachment_spec *spec, struct err *e)
{
	static const char sql[] =
		"UPDATE attachment SET device = ?, node = ?, fingerprint = ? WHERE number = ?";

	if (store_run(r->store, sql,
		    STORE_BIND(STORE_TEXT(spec->device), STORE_TEXT(spec->node),
			    STORE_TEXT(spec->fingerprint), STORE_INT(spec_number(spec))),
		    NULL, NULL, e) < 0)
		return -1;
	return keep_spares(r, spec, e);
}

static int unkeep_rows(struct registry *r, int64_t number, struct err *e)
{
	static const char companions[] = "DELETE FROM companion WHERE number = ?";
	static const char row[] = "DELETE FROM attachment WHERE number = ?";

	if (store_run(r->store, companions, STORE_BIND(STORE_INT(number)), NULL, NULL, e) < 0 ||
		unkeep_spares(r, number, e) < 0 || vf_given_unkeep(r->store, number, e) < 0)
		return -1;
	return store_run(r->store, row, STORE_BIND(STORE_INT(number)), NULL, NULL, e);
}

int registry_unkeep(struct registry *r, const struct attachment *a, struct err *e)
{
	if (store_begin(r->store, e) < 0)
		return -1;
	if (unkeep_rows(r, spec_number(&a->spec), e) == 0)
		return store_commit(r->store, e);
	store_rollback(r->store);
	return -1;
}
