/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * iovd-nbd: an NBD volume as a file.
 *
 * Theory of operation. A worker may die at any instant, and what it had under way must be proven over
 * before it is done again. For a file the proof is the worker's ring, which the keeper has: a
 * completion for each submission. So an NBD volume becomes a file, and the connection, which libnbd
 * keeps in memory, is in this process, which does not die with the worker:
 *
 *	guest <-> worker <-> ring (the keeper's) <-> FUSE <-> iovd-nbd <-> NBD server
 *
 * A request is completed in the ring when the server has answered it, and fails there when the
 * connection is lost. Nothing is connected to anew, and nothing sent twice: what the server was sent
 * and has not answered it may do yet, so whoever wants to go on on this volume must know that it is
 * over, which we cannot know (VOLUME_END says so to him, and a new process of ours is the new
 * connection). For the same reason our own death is taken as the worst of that.
 *
 * We keep no byte: a write is answered when the server has answered it, a flush is the server's flush.
 */
#include <errno.h>
#include <linux/falloc.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "daemon/nbd_volume.h"
#include "daemon/worker_sandbox.h"
#include "lib/backends/blk_nbd.h"
#include "lib/backends/fuse_file.h"
#include "lib/backends/volume.h"
#include "lib/cleanup.h"
#include "lib/fdio.h"
#include "lib/log.h"
#include "lib/nbd_uri.h"

#define CONNECT_MS 5000
#define USER       "nobody"

/* One request on its way: of the file, and of the server. */
struct pass {
	struct blk_nbd_request rq;
	struct fuse_op *op;
	struct list_node node; /* idle */
};

struct relay {
	const char *uri;
	struct blk_nbd *nbd;
	struct blk_nbd_facts facts;
	struct fuse_file *file;
	struct pass passes[FUSE_FILE_MOST];
	struct list_node idle;
	unsigned int under_way;
	bool told;           /* that it is lost */
	bool is_late;        /* a change was sent that nobody answered */
	struct fuse_op *end; /* that somebody waits for */
	uint64_t end_ms;     /* when it is given up */
	bool ended;
};

/* --- the end ---------------------------------------------------------------------------------- */

static void relay_end(struct relay *r, struct fuse_op *op)
{
	uint32_t patience_ms;

	if (op->len != sizeof(patience_ms) || strcmp(op->name, VOLUME_END) != 0 || r->end) {
		fuse_file_answer(r->file, op, r->end ? EBUSY : EINVAL);
		return;
	}
	memcpy(&patience_ms, op->data, sizeof(patience_ms));
	r->end = op;
	r->end_ms = now_ms() + patience_ms;
	r->ended = true;
}

/* Milliseconds until it is to be looked at again; -1: no need. */
static int relay_look(struct relay *r)
{
	uint64_t now = now_ms();

	if (blk_nbd_is_lost(r->nbd) && !r->told) {
		r->told = true;
		log_warning("%s: lost: %s", r->uri, blk_nbd_why_lost(r->nbd));
	}
	if (!r->end)
		return -1;
	if (r->under_way == 0) {
		r->told = true;
		blk_nbd_hang_up(r->nbd);
		fuse_file_answer(r->file, steal_ptr(&r->end), r->is_late ? ECONNABORTED : 0);
		return -1;
	}
	if (now < r->end_ms)
		return (int)(r->end_ms - now);
	blk_nbd_drop(r->nbd, "its requests did not end in time");
	return -1;
}

/* --- requests --------------------------------------------------------------------------------- */

static bool changes_bytes(const struct pass *p)
{
	return p->op->kind == FUSE_FILE_WRITE || p->op->kind == FUSE_FILE_ALLOCATE;
}

static void pass_done(void *arg, struct blk_nbd_request *rq)
{
	struct pass *p = container_of(rq, struct pass, rq);
	struct relay *r = arg;

	if (rq->unanswered && changes_bytes(p))
		r->is_late = true;
	fuse_file_answer(r->file, p->op, rq->error);
	list_append(&r->idle, &p->node);
	r->under_way--;
}

static enum blk_nbd_command command_of(const struct fuse_op *op)
{
	switch (op->kind) {
	case FUSE_FILE_READ:
		return BLK_NBD_READ;
	case FUSE_FILE_WRITE:
		return BLK_NBD_WRITE;
	case FUSE_FILE_ALLOCATE:
		return op->mode & FALLOC_FL_PUNCH_HOLE ? BLK_NBD_DISCARD : BLK_NBD_ZERO;
	case FUSE_FILE_SYNC:
	case FUSE_FILE_SET:
		break;
	}
	return BLK_NBD_FLUSH;
}

static bool is_known_mode(const struct fuse_op *op)
{
	const uint32_t way = op->mode & ~(uint32_t)FALLOC_FL_KEEP_SIZE;

	return op->kind != FUSE_FILE_ALLOCATE || way == FALLOC_FL_PUNCH_HOLE ||
	       way == FALLOC_FL_ZERO_RANGE;
}

static bool is_inside(const struct relay *r, const struct fuse_op *op)
{
	return op->kind == FUSE_FILE_SYNC ||
	       (op->offset <= r->facts.size_bytes && op->len <= r->facts.size_bytes - op->offset);
}

static void relay_start(void *arg, struct fuse_op *op)
{
	struct relay *r = arg;
	struct pass *p;

	if (op->kind == FUSE_FILE_SET) {
		relay_end(r, op);
		return;
	}
	if (r->ended || !is_known_mode(op) || !is_inside(r, op)) {
		fuse_file_answer(r->file, op,
			r->ended             ? ENOTCONN
			: !is_known_mode(op) ? EOPNOTSUPP
					     : EINVAL);
		return;
	}
	assert(!list_is_empty(&r->idle)); /* as many as the file has ops */
	p = list_entry(r->idle.next, struct pass, node);
	list_remove(&p->node);
	p->op = op;
	p->rq = (struct blk_nbd_request){
		.command = command_of(op),
		.durable = op->durable,
		.may_unmap = !(op->mode & FALLOC_FL_KEEP_SIZE),
		.offset = op->offset,
		.len = op->len,
		.data = op->data,
	};
	r->under_way++;
	blk_nbd_submit(r->nbd, &p->rq);
}

static ssize_t relay_get(void *arg, const char *name, void *value, size_t size)
{
	const struct relay *r = arg;
	const struct volume_facts facts = {
		.version = VOLUME_VERSION,
		.block_size = r->facts.block_size,
		.physical_block_size = r->facts.physical_block_size,
	};

	if (strcmp(name, VOLUME_FACTS) != 0)
		return -ENODATA;
	assert(sizeof(facts) <= size);
	memcpy(value, &facts, sizeof(facts));
	return sizeof(facts);
}

static const struct fuse_file_ops relay_ops = {.start = relay_start, .get = relay_get};

/* --- working ---------------------------------------------------------------------------------- */

static int relay_wait(struct relay *r, struct pollfd fds[1 + BLK_NBD_CONNECTIONS], struct err *e)
{
	int timeout = relay_look(r);
	unsigned int count = blk_nbd_prepare(r->nbd, fds + 1);

	fds[0] = (struct pollfd){
		.fd = fuse_file_has_room(r->file) ? fuse_file_fd(r->file) : -1, .events = POLLIN};
	if (poll(fds, 1 + count, timeout) < 0 && errno != EINTR)
		return err_sys(e, errno, "wait");
	blk_nbd_react(r->nbd, fds + 1, count);
	return 0;
}

/* 0 when nobody has the file any more. */
static int relay_run(struct relay *r, struct err *e)
{
	struct pollfd fds[1 + BLK_NBD_CONNECTIONS];
	int rc = 1;

	while (rc > 0) {
		memset(fds, 0, sizeof(fds));
		if (relay_wait(r, fds, e) < 0)
			return -1;
		if (fds[0].revents)
			rc = fuse_file_work(r->file, e);
		blk_nbd_settle(r->nbd);
	}
	return rc;
}

/* --- birth ------------------------------------------------------------------------------------ */

static int relay_connect(struct relay *r, bool readonly, struct err *e)
{
	struct nbd_uri uri;
	const struct blk_nbd_target target = {.socket = uri.socket,
		.host = uri.host,
		.port = uri.port,
		.export = uri.export,
		.readonly = readonly};

	if (nbd_uri_parse(r->uri, &uri, e) < 0)
		return -1;
	r->nbd = blk_nbd_new(&target, now_ms() + CONNECT_MS, &r->facts, pass_done, r, e);
	if (!r->nbd)
		return -1;
	if (readonly || !r->facts.readonly)
		return 0;
	err_set(e, ERR_REFUSED, "DEV-READONLY", "%s cannot be written to", r->uri);
	err_evidence(e, "the server says so");
	return err_fix(e, "attach it with --readonly");
}

static int relay_open(struct relay *r, bool readonly, int *mount_fd, struct err *e)
{
	struct fuse_file_config config = {.readonly = readonly, .ops = &relay_ops, .arg = r};

	list_init(&r->idle);
	for (unsigned int i = 0; i < ARRAY_SIZE(r->passes); i++)
		list_append(&r->idle, &r->passes[i].node);
	if (relay_connect(r, readonly, e) < 0)
		return -1;
	config.size_bytes = r->facts.size_bytes;
	config.max_io = r->facts.max_io;
	r->file = fuse_file_new(&config, mount_fd, e);
	return r->file ? 0 : -1;
}

/* From then on the one who asked may go: the file alone keeps us. */
static int relay_answer(int sock, const struct err *e, int mount_fd)
{
	struct nbd_answer answer = {.e = *e};

	prctl(PR_SET_PDEATHSIG, 0);
	return fdio_send(sock, &answer, sizeof(answer), &mount_fd, mount_fd >= 0 ? 1 : 0);
}

int main(int argc, char **argv)
{
	static struct relay r;
	struct err e = ERR_INIT;
	uint64_t sock;
	int mount_fd = -1;

	log_open(NBD_PROGRAM);
	if (argc != 4 || parse_u64(argv[1], 1023, &sock) < 0) {
		fprintf(stderr, NBD_PROGRAM " is started by iovd only\n");
		return 2;
	}
	signal(SIGPIPE, SIG_IGN);
	r.uri = argv[2];
	if (relay_open(&r, strcmp(argv[3], "ro") == 0, &mount_fd, &e) < 0) {
		relay_answer((int)sock, &e, -1);
		return 1;
	}
	if (relay_answer((int)sock, &e, mount_fd) < 0)
		return 1;
	close(mount_fd);
	close((int)sock);
	if (worker_sandbox_enter(USER, WORKER_SANDBOX_DISK, false, &e) < 0 ||
		relay_run(&r, &e) < 0) {
		log_error("%s: %s", r.uri, e.msg);
		return 1;
	}
	blk_nbd_free(r.nbd);
	return 0;
}
