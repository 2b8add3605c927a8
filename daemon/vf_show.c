/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What a VF is set to is the driver's knowledge, and asking may take as long as it likes: so a hand
 * asks before the device is shown. Without an answer the device is shown without.
 */
#include <stdlib.h>
#include <string.h>

#include "daemon/daemon.h"
#include "daemon/dispatch.h"
#include "daemon/inventory.h"
#include "daemon/vf.h"
#include "lib/log.h"

struct vf_looking {
	struct daemon *d;
	struct request *rq; /* NULL: the client has gone */
	const char *name;   /* of the request */
	char vf[PCI_ADDR_MAX];
	void (*then)(struct request *rq, const char *name);
};

static void looked(void *arg, const struct vf_settings *s, const struct err *e)
{
	struct vf_looking *l = arg;

	if (e)
		log_debug("ctl", "%s: %s", l->vf, e->msg);
	if (l->rq) {
		inventory_set_vf_settings(l->d->inventory, l->vf, s);
		request_on_gone(l->rq, NULL, NULL);
		l->then(l->rq, l->name);
		inventory_set_vf_settings(l->d->inventory, NULL, NULL);
	}
	free(l);
}

static void gone(void *arg)
{
	((struct vf_looking *)arg)->rq = NULL;
}

bool vf_look_first(
	struct request *rq, const char *name, void (*then)(struct request *rq, const char *name))
{
	struct daemon *d = request_daemon(rq);
	const struct sysroot *root = inventory_sysroot(d->inventory);
	const struct device *vf = inventory_resolve(d->inventory, name, NULL);
	int index = vf && vf->class == DEVICE_PCI && vf->pci.physfn[0]
			    ? sriov_index(root, vf->pci.physfn, vf->id)
			    : -1;
	struct vf_looking *l = index < 0 ? NULL : malloc(sizeof(*l));

	if (!l)
		return false;
	*l = (struct vf_looking){.d = d, .rq = rq, .name = name, .then = then};
	str_copy(l->vf, sizeof(l->vf), vf->id);
	if (vf_settings_do(d, vf->pci.physfn, (uint32_t)index, NULL, looked, l, NULL) == 0) {
		request_on_gone(rq, gone, l);
		return true;
	}
	free(l);
	return false;
}
