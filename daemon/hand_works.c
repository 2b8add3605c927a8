/* SPDX-License-Identifier: GPL-2.0-or-later */
/* All that hands can do, each by the module whose business it is. */
#include "daemon/backing.h"
#include "daemon/binding_works.h"
#include "daemon/config_reader.h"
#include "daemon/faults_hand.h"
#include "daemon/fence.h"
#include "daemon/file_look.h"
#include "daemon/group_type.h"
#include "daemon/handover.h"
#include "daemon/hands.h"
#include "daemon/lease.h"
#include "daemon/nbd_volume.h"
#include "daemon/passthrough.h"
#include "daemon/vf.h"

const struct hand_work hand_works[] = {
	{"config", sizeof(struct config_batch), config_work_read},
	{FAULTS_WORK_BLOCK, sizeof(struct faults_blocked), faults_work_block},
	{FAULTS_WORK_ANSWER, sizeof(struct faults_answer), faults_work_answer},
	{FENCE_WORK, 0, fence_work_run},
	{"group-type", 0, group_type_work},
	{NBD_WORK_END, sizeof(struct nbd_end), nbd_work_end},
	{BACKING_WORK_IDLE, 0, backing_work_idle},
	{LEASE_WORK_OPEN, sizeof(struct lease_seen), lease_work_open},
	{"lease-look", sizeof(struct lease_seen), lease_work_look},
	{"lease-sync", sizeof(struct lease_seen), lease_work_sync},
	{"lease-pass", sizeof(struct lease_seen), lease_work_pass},
	{"lease-take", sizeof(struct lease_seen), lease_work_take},
	{"lease-arrive", sizeof(struct lease_seen), lease_work_arrive},
	{"open", sizeof(struct backing_facts), backing_work_open},
	{FILE_LOOK_WORK, sizeof(struct inventory_look), file_look_work},
	{BINDING_WORK_LOOK, sizeof(struct binding_look), binding_work_look},
	{BINDING_WORK_MAKE, 0, binding_work_make},
	{"vfio-reset", sizeof(struct passthrough_identity), passthrough_work_reset},
	{HANDOVER_WORK_OPEN, 0, handover_work_open},
	{"sync", 0, backing_work_sync},
	{"vf-look", sizeof(struct sriov_facts), vf_work_look},
	{"vf-count", sizeof(struct sriov_facts), vf_work_count},
	{"vf-probes", sizeof(struct sriov_facts), vf_work_probes},
	{"vf-share", sizeof(struct sriov_facts), vf_work_share},
	{"vf-online", sizeof(struct sriov_facts), vf_work_online},
	{"vf-get", sizeof(struct vf_settings), vf_work_get},
	{"vf-set", sizeof(struct vf_settings), vf_work_set},
	{"vf-fit", sizeof(struct vf_settings), vf_work_fit},
};
const unsigned int hand_work_count = ARRAY_SIZE(hand_works);
