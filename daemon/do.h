/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the handler files (daemon/do_*.c) give to the table in daemon/dispatch.c, which is the only
 * one to call them: for each method the function, and what its parameters are.
 */
#pragma once

#include "proto/json.h"

struct request;

/* do_service.c: what every Varlink service answers about itself */
void do_get_info(struct request *rq, const void *args);
void do_get_interface(struct request *rq, const void *args);
extern const struct json_params do_get_interface_params;

/* do_inventory.c, do_show.c: devices, and anything by its name */
void do_list_devices(struct request *rq, const void *args);
void do_show(struct request *rq, const void *args);
void do_show_host(struct request *rq, const void *args); /* do_host.c */
extern const struct json_params do_list_devices_params;
extern const struct json_params do_show_params;

/* do_group.c: IOMMU groups */
void do_list_groups(struct request *rq, const void *args);
void do_show_group(struct request *rq, const void *args);
void do_set_group(struct request *rq, const void *args);
extern const struct json_params do_show_group_params;
extern const struct json_params do_set_group_params;

/* do_explain.c */
void do_explain(struct request *rq, const void *args);
void do_doctor(struct request *rq, const void *args);
extern const struct json_params do_explain_params;

/* do_attachment.c: attachments and the VMs that have them */
void do_list_attachments(struct request *rq, const void *args);
void do_list_vms(struct request *rq, const void *args);
extern const struct json_params do_list_attachments_params;

/* do_attach.c */
void do_attach(struct request *rq, const void *args);
void do_detach(struct request *rq, const void *args);
extern const struct json_params do_attach_params;
extern const struct json_params do_detach_params;

/* do_quiesce.c */
void do_quiesce(struct request *rq, const void *args);
void do_resume(struct request *rq, const void *args);
extern const struct json_params do_quiesce_params;
extern const struct json_params do_resume_params;

/* do_save.c, do_restore.c */
void do_save(struct request *rq, const void *args);
void do_stored(struct request *rq, const void *args);
void do_restore(struct request *rq, const void *args);
void do_reserve(struct request *rq, const void *args);
void do_check_move(struct request *rq, const void *args);
extern const struct json_params do_save_params;
extern const struct json_params do_stored_params;
extern const struct json_params do_restore_params;
extern const struct json_params do_reserve_params;
extern const struct json_params do_check_move_params;

/* do_migrate.c */
void do_migrate(struct request *rq, const void *args);
void do_store(struct request *rq, const void *args);
void do_grant(struct request *rq, const void *args);
void do_revoke(struct request *rq, const void *args);
void do_end_move(struct request *rq, const void *args);
void do_show_move(struct request *rq, const void *args);
extern const struct json_params do_migrate_params;
extern const struct json_params do_store_params;
extern const struct json_params do_grant_params;
extern const struct json_params do_revoke_params;
extern const struct json_params do_move_params;

/* do_hook.c: what libvirt is about to do with a domain */
void do_hook(struct request *rq, const void *args);
extern const struct json_params do_hook_params;

/* do_bind.c: drivers of PCI functions, for good */
void do_bind(struct request *rq, const void *args);
void do_release(struct request *rq, const void *args);
extern const struct json_params do_bind_params;
extern const struct json_params do_release_params;

/* do_recover.c */
void do_recover(struct request *rq, const void *args);
extern const struct json_params do_recover_params;

/* do_faults.c: what the hardware reported */
void do_list_faults(struct request *rq, const void *args);
extern const struct json_params do_list_faults_params;

/* do_job.c: jobs and events */
void do_list_jobs(struct request *rq, const void *args);
void do_show_job(struct request *rq, const void *args);
void do_wait_job(struct request *rq, const void *args);
void do_cancel_job(struct request *rq, const void *args);
void do_watch(struct request *rq, const void *args);
extern const struct json_params do_show_job_params;
extern const struct json_params do_wait_job_params;
extern const struct json_params do_cancel_job_params;
extern const struct json_params do_watch_params;

/* do_vf.c: virtual functions */
void do_create_vfs(struct request *rq, const void *args);
void do_set_vf(struct request *rq, const void *args);
extern const struct json_params do_create_vfs_params;
extern const struct json_params do_set_vf_params;

/* do_run.c: the devices of a VMM, for who becomes it */
void do_hand_over(struct request *rq, const void *args);
extern const struct json_params do_hand_over_params;
