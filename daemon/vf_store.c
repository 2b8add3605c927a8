/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What is remembered of VFs. The kernel makes and removes all VFs of a PF at once, so they are ours
 * or not as a whole: those whose birth (boot of the host, and inode of the first VF's folder in
 * /sys) is the one that was noted. A row of an earlier boot is a wish: they are to be made again.
 */
#include <stdio.h>
#include <string.h>

#include "daemon/vf.h"
#include "lib/log.h"

bool vf_row_is_of(const struct vf_row *row, const struct sriov_facts *facts)
{
	return row->kept == VF_MADE && facts->count && row->count == facts->count &&
	       row->mark == facts->mark && strcmp(row->boot, facts->boot) == 0;
}

/* --- PFs -------------------------------------------------------------------------------------- */

static bool read_count(const struct store_row *r, int column, uint32_t *count)
{
	int64_t value = store_row_int(r, column);

	*count = (uint32_t)value;
	return value >= 0 && value <= SRIOV_MAX_VFS;
}

static bool read_text(const struct store_row *r, int column, char *out, size_t size)
{
	const char *text = store_row_text(r, column);

	return text && str_copy(out, size, text);
}

static bool read_row(const struct store_row *r, struct vf_row *row)
{
	int64_t kept = store_row_int(r, 1);

	*row = (struct vf_row){
		.kept = (enum vf_kept)kept,
		.probes = store_row_int(r, 4) != 0,
		.mark = (uint64_t)store_row_int(r, 6),
	};
	return kept > VF_NONE && kept < VF_KEPT_STATES &&
	       read_text(r, 0, row->pf, sizeof(row->pf)) && read_count(r, 2, &row->count) &&
	       read_count(r, 3, &row->wanted) && read_text(r, 5, row->boot, sizeof(row->boot)) &&
	       read_text(r, 7, row->fingerprint, sizeof(row->fingerprint));
}

struct each {
	vf_row_fn *fn;
	void *arg;
};

static int each_row(void *arg, const struct store_row *r)
{
	const struct each *each = arg;
	struct vf_row row;

	if (read_row(r, &row))
		each->fn(each->arg, &row);
	else
		log_error("store: what is kept of the VFs of %s makes no sense: left alone",
			store_row_text(r, 0));
	return 0;
}

int vf_row_each(struct store *s, vf_row_fn *fn, void *arg, struct err *e)
{
	static const char sql[] = "SELECT pf, kept, count, wanted, probes, boot, mark, fingerprint "
				  "FROM sriov ORDER BY pf";
	struct each each = {fn, arg};

	return store_run(s, sql, STORE_NO_BIND, each_row, &each, e);
}

static int load_row(void *arg, const struct store_row *r)
{
	struct vf_row *row = arg;

	if (!read_row(r, row))
		row->kept = VF_NONE;
	return 1;
}

int vf_row_load(struct store *s, const char *pf, struct vf_row *row, struct err *e)
{
	static const char sql[] = "SELECT pf, kept, count, wanted, probes, boot, mark, fingerprint "
				  "FROM sriov WHERE pf = ?";

	*row = (struct vf_row){.kept = VF_NONE};
	return store_run(s, sql, STORE_BIND(STORE_TEXT(pf)), load_row, row, e);
}

int vf_row_keep(struct store *s, const struct vf_row *row, struct err *e)
{
	static const char sql[] =
		"INSERT OR REPLACE INTO sriov (pf, kept, count, wanted, probes, boot, mark,"
		" fingerprint) VALUES (?, ?, ?, ?, ?, ?, ?, ?)";

	return store_run(s, sql,
		STORE_BIND(STORE_TEXT(row->pf), STORE_INT(row->kept), STORE_INT(row->count),
			STORE_INT(row->wanted), STORE_INT(row->probes), STORE_TEXT(row->boot),
			STORE_INT(row->mark), STORE_TEXT(row->fingerprint)),
		NULL, NULL, e);
}

static int forget_rows(struct store *s, const char *pf, struct err *e)
{
	static const char settings[] = "DELETE FROM vf_setting WHERE pf = ?";
	static const char row[] = "DELETE FROM sriov WHERE pf = ?";

	return store_run(s, settings, STORE_BIND(STORE_TEXT(pf)), NULL, NULL, e) < 0
		       ? -1
		       : store_run(s, row, STORE_BIND(STORE_TEXT(pf)), NULL, NULL, e);
}

int vf_row_forget(struct store *s, const char *pf, struct err *e)
{
	if (store_begin(s, e) < 0)
		return -1;
	if (forget_rows(s, pf, e) == 0)
		return store_commit(s, e);
	store_rollback(s);
	return -1;
}

/* --- settings --------------------------------------------------------------------------------- */

struct setting_query {
	struct vf_setting_row *row;
	bool found;
};

static int load_setting(void *arg, const struct store_row *r)
{
	struct setting_query *q = arg;
	struct vf_setting_row *row = q->row;
	const char *kept = store_row_text(r, 3), *wanted = store_row_text(r, 4);
	const char *before = store_row_text(r, 5);

	q->found = read_text(r, 0, row->vf, sizeof(row->vf)) &&
		   read_text(r, 1, row->pf, sizeof(row->pf)) && read_count(r, 2, &row->index) &&
		   kept && vf_settings_read(kept, &row->kept, NULL) == 0 && wanted &&
		   vf_settings_read(wanted, &row->wanted, NULL) == 0 && before &&
		   vf_settings_read(before, &row->before, NULL) == 0;
	return 1;
}

int vf_setting_load(
	struct store *s, const char *vf, struct vf_setting_row *row, bool *found, struct err *e)
{
	static const char sql[] =
		"SELECT vf, pf, number, kept, wanted, before FROM vf_setting WHERE vf = ?";
	struct setting_query q = {.row = row};
	int rc = store_run(s, sql, STORE_BIND(STORE_TEXT(vf)), load_setting, &q, e);

	*found = q.found;
	return rc;
}

int vf_setting_next(struct store *s, const char *pf, uint32_t from, struct vf_setting_row *row,
	bool *found, struct err *e)
{
	static const char sql[] = "SELECT vf, pf, number, kept, wanted, before FROM vf_setting"
				  " WHERE pf = ? AND number >= ? ORDER BY number";
	struct setting_query q = {.row = row};
	int rc =
		store_run(s, sql, STORE_BIND(STORE_TEXT(pf), STORE_INT(from)), load_setting, &q, e);

	*found = q.found;
	return rc;
}

int vf_setting_keep(struct store *s, const struct vf_setting_row *row, struct err *e)
{
	static const char sql[] =
		"INSERT OR REPLACE INTO vf_setting (vf, pf, number, kept, wanted, before)"
		" VALUES (?, ?, ?, ?, ?, ?)";
	char kept[VF_SETTINGS_TEXT], wanted[VF_SETTINGS_TEXT], before[VF_SETTINGS_TEXT];

	vf_settings_write(&row->kept, kept);
	vf_settings_write(&row->wanted, wanted);
	vf_settings_write(&row->before, before);
	return store_run(s, sql,
		STORE_BIND(STORE_TEXT(row->vf), STORE_TEXT(row->pf), STORE_INT(row->index),
			STORE_TEXT(kept), STORE_TEXT(wanted), STORE_TEXT(before)),
		NULL, NULL, e);
}

int vf_setting_forget(struct store *s, const char *vf, struct err *e)
{
	static const char sql[] = "DELETE FROM vf_setting WHERE vf = ?";

	return store_run(s, sql, STORE_BIND(STORE_TEXT(vf)), NULL, NULL, e);
}
