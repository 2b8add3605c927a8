/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The IDs by which IOMMUs know the host's functions, all at once. */
#include <stdlib.h>

#include "daemon/inventory_model.h"
#include "lib/cleanup.h"
#include "lib/iommu/stream.h"

void inventory_each_stream(struct inventory *inv, inventory_stream_fn *fn, void *arg)
{
	auto_free struct pci_path *path = malloc(sizeof(*path));

	for (size_t i = inv_first(inv, DEVICE_PCI); path && i < inv->node_count; i++) {
		const struct device *d = inv->nodes[i]->dev;
		struct streams s;

		if (d->class != DEVICE_PCI)
			break;
		if (pci_path_read(inv->root, d->id, inv_config_of, inv, path, NULL) < 0)
			continue;
		streams_read(inv->root, path, &s);
		for (size_t n = 0; n < s.count; n++)
			fn(arg, d, &path->at[0].addr, &s.at[n]);
	}
}
