/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Virtual functions of network interfaces that are attached: set as was asked for before their VM
 * gets them, set as they were when they come back, and told of when their PF loses its link.
 */
#pragma once

#include "daemon/attach.h"

/* As part of the store's schema. */
#define VF_GIVEN_SCHEMA                                                                            \
	"CREATE TABLE attachment_vf ("                                                             \
	"	number INTEGER PRIMARY KEY,"                                                             \
	"	pool TEXT NOT NULL,"                                                                     \
	"	settings TEXT NOT NULL,"                                                                 \
	"	before TEXT NOT NULL);"

/* What is kept of spec->vf: with the attachment, in a transaction of the caller's; nothing where there
 * is nothing. */
int vf_given_keep(struct store *s, const struct attachment_spec *spec, struct err *e);
int vf_given_unkeep(struct store *s, int64_t number, struct err *e);
/* Fills it in for all attachments of the registry. */
int vf_given_load(struct store *s, struct registry *r, struct err *e);

/*
 * Refused where `device` has no such settings as the wish has, or cannot have its standby: VF-NONE,
 * VF-NOT-NET, VM-UNMANAGED, STANDBY. With a standby it gets a MAC, if the wish has none.
 */
int vf_given_choose(const struct device *device, struct attach_wish *w, struct err *e);

/* ERR_REFUSED (VF-DRIVER) if the driver of `pf` knows not all of `wanted`: `now` is what it shows. */
int vf_given_check_known(const char *pf, const struct vf_settings *wanted,
	const struct vf_settings *now, struct err *e);

/* Stages: it is as wanted; it is as it was before it was given. */
stage_fn vf_given_set, vf_given_restore;

/* Whether the interface of this VF's PF has a link. */
bool vf_given_has_link(struct daemon *d, const struct device *vf);
/* Something about a device has changed: links are looked at again, soon. */
void vf_given_news(struct daemon *d);
/* The link of its PF, or of its bridge, is looked at now. */
void vf_given_look(struct daemon *d, struct attachment *a);
void vf_given_end(struct daemon *d);
