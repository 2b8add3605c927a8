/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Judging a request of virtio-blk. The header is copied once, judged, and only the copy is used.
 */
#include "lib/backends/blk_priv.h"

#include <string.h>

#define HEADER_LEN sizeof(struct virtio_blk_outhdr)

static_assert(sizeof(struct virtio_blk_outhdr) == 16, "the header as it is in the ring");

static bool in_range(const struct blk *blk, uint64_t sector, uint64_t sectors)
{
	return sector <= blk->saved->capacity && sectors <= blk->saved->capacity - sector;
}

static bool may_write(const struct blk *blk)
{
	return !blk->options.read_only && !blk->saved->flush_error;
}

static uint8_t judge_move(struct blk *blk, struct blk_req *req, uint64_t sector, uint64_t len)
{
	if (len % SECTOR || !in_range(blk, sector, len / SECTOR))
		return VIRTIO_BLK_S_IOERR;
	req->io.offset = sector * SECTOR;
	req->io.len = len;
	return len ? STATUS_PENDING : VIRTIO_BLK_S_OK;
}

/* The device reads a request's header and writes its data and status. */
static uint8_t judge_read(struct blk *blk, struct blk_req *req, uint64_t sector)
{
	struct virtq_chain *chain = req->chain;

	if (chain->out_len != HEADER_LEN)
		return VIRTIO_BLK_S_IOERR;
	req->io.op = BLK_OP_READ;
	req->io.iov = chain->iov + chain->out_count;
	req->io.iov_count = chain->in_count - !req->status_joined;
	return judge_move(blk, req, sector, chain->in_len - 1);
}

/*
 * Passes over the header in the readable entries. They may be changed: nothing looks at them again
 * when the request is over.
 */
static struct iovec *skip_header(struct virtq_chain *chain, unsigned int *count)
{
	struct iovec *iov = chain->iov;
	size_t left = HEADER_LEN;

	*count = chain->out_count;
	while (*count && left >= iov->iov_len) {
		left -= iov->iov_len;
		iov++;
		--*count;
	}
	if (left) {
		iov->iov_base = (char *)iov->iov_base + left;
		iov->iov_len -= left;
	}
	return iov;
}

static uint8_t judge_write(struct blk *blk, struct blk_req *req, uint64_t sector)
{
	struct virtq_chain *chain = req->chain;

	if (chain->in_len != 1 || !may_write(blk))
		return VIRTIO_BLK_S_IOERR;
	req->io.op = BLK_OP_WRITE;
	req->io.iov = skip_header(chain, &req->io.iov_count);
	req->io.durable = blk_is_writethrough(blk);
	return judge_move(blk, req, sector, chain->out_len - HEADER_LEN);
}

static uint8_t judge_flush(struct blk *blk, struct blk_req *req)
{
	req->io.op = BLK_OP_FLUSH;
	if (blk->saved->flush_error)
		return VIRTIO_BLK_S_IOERR;
	return STATUS_PENDING;
}

static uint8_t judge_get_id(struct blk *blk, struct blk_req *req)
{
	struct virtq_chain *chain = req->chain;
	size_t left = MIN(chain->in_len - 1, sizeof(blk->serial)), at = 0;

	for (unsigned int i = chain->out_count; left; i++) {
		size_t part = MIN(left, chain->iov[i].iov_len);

		memcpy(chain->iov[i].iov_base, blk->serial + at, part);
		at += part;
		left -= part;
	}
	return VIRTIO_BLK_S_OK;
}

/* Copies `len` readable bytes from `offset`, however they are cut; false: not that many. */
static bool copy_out(const struct virtq_chain *chain, size_t offset, void *data, size_t len)
{
	char *to = data;

	for (unsigned int i = 0; i < chain->out_count && len; i++) {
		const struct iovec *v = &chain->iov[i];
		size_t part;

		if (offset >= v->iov_len) {
			offset -= v->iov_len;
			continue;
		}
		part = MIN(len, v->iov_len - offset);
		memcpy(to, (const char *)v->iov_base + offset, part);
		to += part;
		len -= part;
		offset = 0;
	}
	return len == 0;
}

/* DISCARD and WRITE_ZEROES: one range, as max_discard_seg and max_write_zeroes_seg say. */
static uint8_t judge_range(struct blk *blk, struct blk_req *req, bool zero)
{
	struct virtio_blk_discard_write_zeroes range;
	uint32_t allowed_flags = zero ? VIRTIO_BLK_WRITE_ZEROES_FLAG_UNMAP : 0;
	uint32_t max = zero ? MAX_WRITE_ZEROES : MAX_DISCARD;

	if (req->chain->in_len != 1 || req->chain->out_len != HEADER_LEN + sizeof(range))
		return VIRTIO_BLK_S_IOERR;
	if (!may_write(blk) || !copy_out(req->chain, HEADER_LEN, &range, sizeof(range)))
		return VIRTIO_BLK_S_IOERR;
	if (range.flags & ~allowed_flags)
		return VIRTIO_BLK_S_UNSUPP;
	if (range.num_sectors > max || !in_range(blk, range.sector, range.num_sectors))
		return VIRTIO_BLK_S_IOERR;
	req->io.op = zero ? BLK_OP_ZERO : BLK_OP_DISCARD;
	req->io.offset = range.sector * SECTOR;
	req->io.len = (uint64_t)range.num_sectors * SECTOR;
	req->io.may_unmap = range.flags & VIRTIO_BLK_WRITE_ZEROES_FLAG_UNMAP;
	req->io.durable = blk_is_writethrough(blk);
	return range.num_sectors ? STATUS_PENDING : VIRTIO_BLK_S_OK;
}

static bool has(const struct blk *blk, unsigned int feature)
{
	return blk->features & blk_bit(feature);
}

static uint8_t judge_by_header(struct blk *blk, struct blk_req *req)
{
	struct virtio_blk_outhdr header;

	if (!copy_out(req->chain, 0, &header, sizeof(header)))
		return VIRTIO_BLK_S_IOERR;
	switch (header.type) {
	case VIRTIO_BLK_T_IN:
		return judge_read(blk, req, header.sector);
	case VIRTIO_BLK_T_OUT:
		return judge_write(blk, req, header.sector);
	case VIRTIO_BLK_T_FLUSH:
		return judge_flush(blk, req);
	case VIRTIO_BLK_T_GET_ID:
		return judge_get_id(blk, req);
	case VIRTIO_BLK_T_DISCARD:
		if (has(blk, VIRTIO_BLK_F_DISCARD))
			return judge_range(blk, req, false);
		break;
	case VIRTIO_BLK_T_WRITE_ZEROES:
		if (has(blk, VIRTIO_BLK_F_WRITE_ZEROES))
			return judge_range(blk, req, true);
		break;
	}
	return VIRTIO_BLK_S_UNSUPP;
}

static void find_status(struct blk_req *req)
{
	struct virtq_chain *chain = req->chain;
	struct iovec *last = &chain->iov[chain->out_count + chain->in_count - 1];

	req->status = NULL;
	req->status_joined = false;
	if (!chain->in_count)
		return;
	req->status = (uint8_t *)last->iov_base + last->iov_len - 1;
	if (last->iov_len > 1) {
		last->iov_len--;
		req->status_joined = true;
	}
}

uint8_t blk_judge(struct blk *blk, struct blk_req *req)
{
	find_status(req);
	if (!req->status)
		return VIRTIO_BLK_S_IOERR; /* nowhere to say so: it is only handed back */
	return judge_by_header(blk, req);
}

void blk_judge_end(struct blk_req *req, uint8_t status)
{
	struct virtq_chain *chain = req->chain;

	if (req->status_joined)
		chain->iov[chain->out_count + chain->in_count - 1].iov_len++;
	if (req->status)
		*req->status = status;
}
