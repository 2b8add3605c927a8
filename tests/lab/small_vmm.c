/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * As much of a VMM as QEMU's edu needs: small_vmm BDF MEBIBYTES opens the function into an address
 * space with so much memory, says "running" on standard output after its first DMA, and has it
 * write into that memory, page after page, without a pause or an end. It is there to be killed.
 */
#include <stdio.h>

#include "lib/iommu/dma_map.h"
#include "tests/lab/edu.h"

static int write_for_ever(struct edu *edu, const struct dma_buffer *memory, struct err *e)
{
	for (uint64_t at = 0;; at = (at + EDU_BUFFER_BYTES) % memory->len_bytes) {
		if (edu_store(edu, memory->iova + at, EDU_BUFFER_BYTES, e) < 0)
			return -1;
		if (at == 0) {
			puts("running");
			fflush(stdout);
		}
	}
}

/* What it opens is for the end of the process to close. */
static int run(const char *bdf, uint64_t len_bytes, struct err *e)
{
	struct sysroot *root;
	struct iommu_space *space;
	struct dma_buffer memory;
	struct pci_addr addr;
	struct edu edu;
	enum iommu_api api;

	if (!pci_addr_parse(bdf, &addr))
		return err_set(e, ERR_USAGE, "USAGE", "%s is no PCI function", bdf);
	if (sysroot_open("/", &root, e) < 0 || iommu_probe(root, &addr, &api, e) < 0 ||
		iommu_space_new(api, &space, e) < 0 || edu_open(root, space, &addr, &edu, e) < 0)
		return -1;
	if (dma_buffer_new(space, len_bytes, DMA_PAGES_ANY, iova_mask(64), IOMMU_READ_WRITE,
		    &memory, e) < 0 ||
		vfio_set_bus_master(edu.dev, true, e) < 0)
		return -1;
	return write_for_ever(&edu, &memory, e);
}

int main(int argc, char **argv)
{
	struct err e = ERR_INIT;
	uint64_t mebibytes;

	if (argc != 3 || parse_u64(argv[2], 1 << 20, &mebibytes) < 0) {
		fputs("Usage: small_vmm BDF MEBIBYTES\n", stderr);
		return 2;
	}
	run(argv[1], mebibytes << 20, &e);
	fprintf(stderr, "small_vmm: %s [%s] %s\n", e.msg, e.code, e.evidence);
	return err_kind_info(e.kind)->exit_status;
}
