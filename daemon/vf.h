/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Virtual functions (VFs): making, removing and setting them, by stages (lib/migrate/stages.h), and
 * what is remembered of those that iovd made. Asked for by clients (daemon/do_vf.c), and gone on
 * with at the start (daemon/reconcile.c).
 */
#pragma once

#include "lib/iommu/sriov.h"
#include "lib/migrate/stages.h"
#include "lib/store.h"
#include "lib/vf_settings.h"

struct daemon;
struct json_out;
struct request;

extern const struct stages_table vf_create_table, vf_remove_table, vf_set_table;

/* --- vf_store.c: what is remembered ----------------------------------------------------------- */

enum vf_kept {
	VF_NONE,     /* nothing of this PF */
	VF_MADE,     /* its VFs are ours, in this boot or an earlier one */
	VF_CHANGING, /* from `count` to `wanted` */
	VF_REMAKING, /* `wanted` again, after the host was started anew */
	VF_REMOVING,
	VF_KEPT_STATES
};

/* Of a PF. */
struct vf_row {
	char pf[PCI_ADDR_MAX];
	enum vf_kept kept;
	uint32_t count, wanted;
	char fingerprint[33]; /* of the PF */
	bool probes;          /* of the PF as it was before: to be restored */
	char boot[40];        /* of the birth of these VFs, */
	uint64_t mark;        /* as struct sriov_facts has it */
};

/* Of a VF that was set, or is being set. */
struct vf_setting_row {
	char vf[PCI_ADDR_MAX], pf[PCI_ADDR_MAX];
	uint32_t index;
	struct vf_settings kept;           /* what it is to have, when it is made again, too */
	struct vf_settings wanted, before; /* while it is being set; else nothing */
};

/* As part of the store's schema. */
#define VF_SCHEMA                                                                                  \
	"CREATE TABLE sriov ("                                                                     \
	"	pf TEXT PRIMARY KEY,"                                                                    \
	"	kept INTEGER NOT NULL,"                                                                  \
	"	fingerprint TEXT NOT NULL,"                                                              \
	"	count INTEGER NOT NULL,"                                                                 \
	"	wanted INTEGER NOT NULL,"                                                                \
	"	probes INTEGER NOT NULL,"                                                                \
	"	boot TEXT NOT NULL,"                                                                     \
	"	mark INTEGER NOT NULL);"                                                                 \
	"CREATE TABLE vf_setting ("                                                                \
	"	vf TEXT PRIMARY KEY,"                                                                    \
	"	pf TEXT NOT NULL,"                                                                       \
	"	number INTEGER NOT NULL,"                                                                \
	"	kept TEXT NOT NULL,"                                                                     \
	"	wanted TEXT NOT NULL,"                                                                   \
	"	before TEXT NOT NULL);"

/* kept is VF_NONE if there is none. 0 or -1. */
int vf_row_load(struct store *s, const char *pf, struct vf_row *row, struct err *e);
int vf_row_keep(struct store *s, const struct vf_row *row, struct err *e);

/* Forgets the PF, and the settings of its VFs. */
int vf_row_forget(struct store *s, const char *pf, struct err *e);

typedef void vf_row_fn(void *arg, const struct vf_row *row);
int vf_row_each(struct store *s, vf_row_fn *fn, void *arg, struct err *e);

/* False in *found if nothing is remembered of it. 0 or -1. */
int vf_setting_load(
	struct store *s, const char *vf, struct vf_setting_row *row, bool *found, struct err *e);
int vf_setting_keep(struct store *s, const struct vf_setting_row *row, struct err *e);
int vf_setting_forget(struct store *s, const char *vf, struct err *e);

/* The VF of `pf` with the smallest index >= from that was set. */
int vf_setting_next(struct store *s, const char *pf, uint32_t from, struct vf_setting_row *row,
	bool *found, struct err *e);

/* Whether the VFs of these facts are those that the row is about. */
bool vf_row_is_of(const struct vf_row *row, const struct sriov_facts *facts);

/* --- vf_works.c: by hands --------------------------------------------------------------------- */

int vf_work_look(char **words, void *result, int *fd, struct err *e);   /* ROOT PF */
int vf_work_count(char **words, void *result, int *fd, struct err *e);  /* ROOT PF "FROM TO MARK" */
int vf_work_probes(char **words, void *result, int *fd, struct err *e); /* ROOT PF on|off */
int vf_work_share(char **words, void *result, int *fd, struct err *e);  /* ROOT PF "VFS RESET" */
int vf_work_online(char **words, void *result, int *fd, struct err *e); /* ROOT PF VFS */
int vf_work_get(char **words, void *result, int *fd, struct err *e);    /* INTERFACE INDEX */
int vf_work_set(char **words, void *result, int *fd, struct err *e);    /* INTERFACE INDEX TEXT */

int vf_work_fit(char **words, void *result, int *fd, struct err *e); /* INTERFACE INDEX TEXT */

/* done() gets the result, or e. */
typedef void vf_facts_fn(void *arg, const struct sriov_facts *facts, const struct err *e);
typedef void vf_settings_fn(void *arg, const struct vf_settings *s, const struct err *e);

int vf_look(struct daemon *d, const char *pf, vf_facts_fn *done, void *arg, struct err *e);
int vf_count(struct daemon *d, const char *pf, uint32_t from, uint32_t to, uint64_t mark,
	vf_facts_fn *done, void *arg, struct err *e);
int vf_probes(
	struct daemon *d, const char *pf, bool on, vf_facts_fn *done, void *arg, struct err *e);

/* nvme_virt_share(), nvme_virt_online(). */
int vf_share(struct daemon *d, const char *pf, uint32_t vfs, bool may_reset, vf_facts_fn *done,
	void *arg, struct err *e);
int vf_online(struct daemon *d, const char *pf, uint32_t vfs, vf_facts_fn *done, void *arg,
	struct err *e);

/* `settings` NULL: only asks. The settings that are brought are all that the VF has then. */
int vf_settings_do(struct daemon *d, const char *pf, uint32_t index,
	const struct vf_settings *settings, vf_settings_fn *done, void *arg, struct err *e);

/*
 * Sets what differs from `settings`, which may be all of them. A MAC of zeros that the driver does not
 * take is a random one.
 */
int vf_fit(struct daemon *d, const char *pf, uint32_t index, const struct vf_settings *settings,
	vf_settings_fn *done, void *arg, struct err *e);

/* --- vf.c: changing --------------------------------------------------------------------------- */

/* How it ended, as stages_done_fn. */
typedef void vf_done_fn(void *arg, const struct err *e);

struct vf_caller {
	vf_done_fn *done;
	void (*progress)(void *arg, const char *stage, unsigned int percent); /* may be NULL */
	void *arg;
};

/* From what `now` says to `to` VFs. The VFs there are must be ours, and unused. */
int vf_change_count(struct daemon *d, const char *pf, const struct sriov_facts *now, uint32_t to,
	const struct vf_caller *caller, struct err *e);

/* Sets what row->wanted has on row->vf; row->before is what it is now. */
int vf_change_settings(struct daemon *d, const struct vf_setting_row *row,
	const struct vf_caller *caller, struct err *e);

/*
 * What the journal has open, if it is ours. 1: it goes on, and done() will be called; 0: it is not
 * ours, or nothing was begun; -1.
 */
int vf_resume(struct daemon *d, const struct journal_op *op, const struct vf_caller *caller,
	struct err *e);

/* Goes from what the store wishes since an earlier boot to what it says: as vf_change_count(). */
int vf_change_again(struct daemon *d, const struct vf_row *row, const struct sriov_facts *now,
	const struct vf_caller *caller, struct err *e);

/* --- vf_show.c, do_vf.c: showing -------------------------------------------------------------- */

/*
 * If the name is of a VF that has settings, asks for them and calls then() later, for whose time the
 * inventory shows them: true.
 */
bool vf_look_first(
	struct request *rq, const char *name, void (*then)(struct request *rq, const char *name));

/* The settings as members of an open object; null where there is none. */
void vf_settings_put(const struct vf_settings *s, struct json_out *o);

/* --- vf_begin.c: after the host was started anew ---------------------------------------------- */

/* Makes again what it had before, now or when the PF and its driver appear. */
void vf_begin(struct daemon *d);

/* Something about this PCI function has changed. */
void vf_news(struct daemon *d, const char *id);

/* Forgets what is still waited for. */
void vf_end(void);
