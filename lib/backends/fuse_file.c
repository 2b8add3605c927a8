/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Theory of operation. The root of the file system is the file itself, so there are no names to look
 * up. The new mount (fsmount) is attached to no folder: descriptors alone lead to it, nobody can
 * meet it by chance, a crash leaves nothing behind, and with the last descriptor the kernel ends the
 * connection, which we read as ENODEV.
 *
 * Every open is answered with DIRECT_IO: no byte of it is ever cached, written later or read ahead.
 * With ASYNC_DIO what io_uring submits with O_DIRECT does not hold a kernel thread each while it is
 * under way. NOFLUSH: close() asks us nothing, so it waits for nobody.
 *
 * What may wait is handed out as an op, with a buffer of its own; everything else is answered at
 * once. The kernel's word is trusted in what it says of lengths (it is the kernel), but nothing is
 * read past the end of what it sent.
 */
#include "lib/backends/fuse_file.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/fuse.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#include "lib/cleanup.h"

#define PAGE         4096u
#define MAX_IO       (1u << 20)
#define HEADER_ROOM  PAGE /* for what is in front of written bytes */
#define ATTR_SECONDS 1000000u
#define VALUE_ROOM   256u
#define GREET_MS     5000

/* Not in every kernel's headers that we are built with. */
#ifndef FOPEN_NOFLUSH
#define FOPEN_NOFLUSH (1 << 5)
#endif
#ifndef FOPEN_PARALLEL_DIRECT_WRITES
#define FOPEN_PARALLEL_DIRECT_WRITES (1 << 6)
#endif

struct fuse_file {
	struct fuse_file_config config;
	int fd;
	struct list_node idle; /* ops */
	unsigned int idle_count, made;
	bool greeted;
};

/* What is read from the kernel: a header, and what its request says. */
struct message {
	struct fuse_in_header head;
	const char *body;
	size_t len;
};

/* --- the mount -------------------------------------------------------------------------------- */

static int mount_option(int fs, const char *key, const char *fmt, int value)
{
	char text[16];

	snprintf(text, sizeof(text), fmt, value);
	return fsconfig(fs, FSCONFIG_SET_STRING, key, text, 0);
}

static int mount_nowhere(const struct fuse_file *f, struct err *e)
{
	auto_close int fs = fsopen("fuse", FSOPEN_CLOEXEC);
	int mount_fd;

	if (fs < 0)
		return err_sys(e, errno, "a FUSE file system");
	if (mount_option(fs, "fd", "%d", f->fd) < 0 ||
		mount_option(fs, "rootmode", "%o", S_IFREG | 0600) < 0 ||
		mount_option(fs, "user_id", "%d", 0) < 0 ||
		mount_option(fs, "group_id", "%d", 0) < 0 ||
		fsconfig(fs, FSCONFIG_SET_STRING, "source", "iovd", 0) < 0 ||
		fsconfig(fs, FSCONFIG_SET_FLAG, "allow_other", NULL, 0) < 0 ||
		fsconfig(fs, FSCONFIG_CMD_CREATE, NULL, NULL, 0) < 0)
		return err_sys(e, errno, "make a FUSE file system");
	mount_fd = fsmount(
		fs, FSMOUNT_CLOEXEC, MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC);
	return mount_fd < 0 ? err_sys(e, errno, "mount a FUSE file system") : mount_fd;
}

/*
 * The first request, before we give up our privileges: how many may be under way at a time is the
 * kernel's to say to others, and it says very few.
 */
static int greet(struct fuse_file *f, struct err *e)
{
	struct pollfd p = {.fd = f->fd, .events = POLLIN};

	if (poll(&p, 1, GREET_MS) < 0)
		return err_sys(e, errno, "wait for /dev/fuse");
	if (fuse_file_work(f, e) < 0)
		return -1;
	return f->greeted ? 0 : err_sys(e, EPROTO, "FUSE does not begin");
}

struct fuse_file *fuse_file_new(const struct fuse_file_config *config, int *mount_fd, struct err *e)
{
	struct fuse_file *f = calloc(1, sizeof(*f));

	if (!f) {
		err_sys(e, ENOMEM, "serve a file");
		return NULL;
	}
	f->config = *config;
	f->config.max_io = MIN(MAX_IO, config->max_io & ~(PAGE - 1));
	assert(f->config.max_io);
	list_init(&f->idle);
	f->fd = open("/dev/fuse", O_RDWR | O_CLOEXEC | O_NONBLOCK);
	if (f->fd < 0)
		err_sys(e, errno, "open /dev/fuse");
	*mount_fd = f->fd < 0 ? -1 : mount_nowhere(f, e);
	if (*mount_fd >= 0 && greet(f, e) == 0)
		return f;
	close_fd(mount_fd);
	close_fd(&f->fd);
	free(f);
	return NULL;
}

int fuse_file_fd(const struct fuse_file *f)
{
	return f->fd;
}

/* --- answers ---------------------------------------------------------------------------------- */

static void reply(
	const struct fuse_file *f, uint64_t unique, int error, const void *data, size_t len)
{
	struct fuse_out_header head = {
		.len = (uint32_t)(sizeof(head) + len), .error = -error, .unique = unique};
	struct iovec iov[] = {{&head, sizeof(head)}, {(void *)data, len}};

	/* ENOENT: nobody waits for it any more. */
	if (writev(f->fd, iov, len ? 2 : 1) < 0 && errno != ENOENT && errno != ENODEV) {
		head.len = sizeof(head);
		head.error = -EIO;
		if (write(f->fd, &head, sizeof(head)) < 0)
			return; /* the kernel has lost interest */
	}
}

static void op_retire(struct fuse_file *f, struct fuse_op *op)
{
	list_append(&f->idle, &op->node);
	f->idle_count++;
}

void fuse_file_answer(struct fuse_file *f, struct fuse_op *op, int error)
{
	const struct fuse_write_out written = {.size = (uint32_t)op->len};

	if (error)
		reply(f, op->unique, error, NULL, 0);
	else if (op->kind == FUSE_FILE_READ)
		reply(f, op->unique, 0, op->data, op->len);
	else if (op->kind == FUSE_FILE_WRITE)
		reply(f, op->unique, 0, &written, sizeof(written));
	else
		reply(f, op->unique, 0, NULL, 0);
	op_retire(f, op);
}

/* --- what is answered at once ----------------------------------------------------------------- */

static void answer_init(struct fuse_file *f, const struct message *m)
{
	const uint32_t wanted = FUSE_ASYNC_READ | FUSE_BIG_WRITES | FUSE_ASYNC_DIO | FUSE_MAX_PAGES;
	const struct fuse_init_in *in = (const struct fuse_init_in *)m->body;
	const struct fuse_init_out out = {
		.major = FUSE_KERNEL_VERSION,
		.minor = MIN(in->minor, (uint32_t)FUSE_KERNEL_MINOR_VERSION),
		.flags = in->flags & wanted,
		.max_background = FUSE_FILE_MOST * 3 / 4,
		.congestion_threshold = FUSE_FILE_MOST / 2,
		.max_write = f->config.max_io,
		.time_gran = 1,
		.max_pages = (uint16_t)(f->config.max_io / PAGE),
	};

	reply(f, m->head.unique, 0, &out, sizeof(out));
	f->greeted = true;
}

static void answer_attributes(struct fuse_file *f, const struct message *m)
{
	const struct fuse_attr_out out = {
		.attr_valid = ATTR_SECONDS,
		.attr = {.ino = FUSE_ROOT_ID,
			.size = f->config.size_bytes,
			.blocks = f->config.size_bytes / 512,
			.mode = S_IFREG | 0600,
			.nlink = 1,
			.blksize = PAGE},
	};

	reply(f, m->head.unique, 0, &out, sizeof(out));
}

static void answer_open(struct fuse_file *f, const struct message *m)
{
	const struct fuse_open_in *in = (const struct fuse_open_in *)m->body;
	const struct fuse_open_out out = {
		.open_flags = FOPEN_DIRECT_IO | FOPEN_NOFLUSH | FOPEN_PARALLEL_DIRECT_WRITES,
	};

	if (f->config.readonly && (in->flags & O_ACCMODE) != O_RDONLY)
		reply(f, m->head.unique, EROFS, NULL, 0);
	else
		reply(f, m->head.unique, 0, &out, sizeof(out));
}

static void answer_statfs(struct fuse_file *f, const struct message *m)
{
	const struct fuse_statfs_out out = {.st = {.bsize = PAGE, .frsize = PAGE, .namelen = 1}};

	reply(f, m->head.unique, 0, &out, sizeof(out));
}

/* The name that begins there, if it ends in the message. */
static const char *name_at(const struct message *m, size_t at)
{
	return at < m->len && memchr(m->body + at, '\0', m->len - at) ? m->body + at : NULL;
}

static void answer_get(struct fuse_file *f, const struct message *m)
{
	const struct fuse_getxattr_in *in = (const struct fuse_getxattr_in *)m->body;
	const char *name = name_at(m, sizeof(*in));
	char value[VALUE_ROOM];
	ssize_t len =
		name ? f->config.ops->get(f->config.arg, name, value, sizeof(value)) : -EINVAL;
	const struct fuse_getxattr_out out = {.size = (uint32_t)len};

	if (len < 0)
		reply(f, m->head.unique, (int)-len, NULL, 0);
	else if (in->size == 0)
		reply(f, m->head.unique, 0, &out, sizeof(out));
	else if ((size_t)len > in->size)
		reply(f, m->head.unique, ERANGE, NULL, 0);
	else
		reply(f, m->head.unique, 0, value, (size_t)len);
}

static void answer_done(struct fuse_file *f, const struct message *m)
{
	reply(f, m->head.unique, 0, NULL, 0);
}

static void answer_denied(struct fuse_file *f, const struct message *m)
{
	reply(f, m->head.unique, EPERM, NULL, 0);
}

static void answer_nothing(struct fuse_file *f, const struct message *m)
{
	(void)f, (void)m;
}

/* --- what is handed out ----------------------------------------------------------------------- */

static bool fill_read(struct fuse_file *f, const struct message *m, struct fuse_op *op)
{
	const struct fuse_read_in *in = (const struct fuse_read_in *)m->body;

	op->kind = FUSE_FILE_READ;
	op->offset = in->offset;
	op->len = in->size;
	op->data = op->buffer; /* what it said is not needed any more */
	return op->len <= f->config.max_io;
}

static bool fill_write(struct fuse_file *f, const struct message *m, struct fuse_op *op)
{
	const struct fuse_write_in *in = (const struct fuse_write_in *)m->body;

	op->kind = FUSE_FILE_WRITE;
	op->offset = in->offset;
	op->len = in->size;
	op->durable = in->flags & (O_DSYNC | O_SYNC);
	op->data = (char *)m->body + sizeof(*in);
	return op->len <= m->len - sizeof(*in) && !f->config.readonly;
}

static bool fill_sync(struct fuse_file *f, const struct message *m, struct fuse_op *op)
{
	(void)f, (void)m;
	op->kind = FUSE_FILE_SYNC;
	return true;
}

static bool fill_allocate(struct fuse_file *f, const struct message *m, struct fuse_op *op)
{
	const struct fuse_fallocate_in *in = (const struct fuse_fallocate_in *)m->body;

	op->kind = FUSE_FILE_ALLOCATE;
	op->mode = in->mode;
	op->offset = in->offset;
	op->len = in->length;
	return !f->config.readonly;
}

static bool fill_set(struct fuse_file *f, const struct message *m, struct fuse_op *op)
{
	/* the tail of the structure came later, and is sent by nobody who was not asked to */
	const size_t value_at = FUSE_COMPAT_SETXATTR_IN_SIZE;
	const struct fuse_setxattr_in *in = (const struct fuse_setxattr_in *)m->body;
	const char *name = name_at(m, value_at);

	(void)f;
	if (!name)
		return false;
	op->kind = FUSE_FILE_SET;
	op->name = name;
	op->data = (char *)name + strlen(name) + 1;
	op->len = in->size;
	return op->len <= (size_t)(m->body + m->len - op->data);
}

/* --- requests --------------------------------------------------------------------------------- */

/* What the kernel may ask: answered, or filled into an op that is handed out. */
static const struct request {
	size_t least; /* bytes of body */
	void (*answer)(struct fuse_file *f, const struct message *m);
	bool (*fill)(struct fuse_file *f, const struct message *m, struct fuse_op *op);
} requests[] = {
	[FUSE_INIT] = {offsetof(struct fuse_init_in, flags2), .answer = answer_init},
	[FUSE_GETATTR] = {0, .answer = answer_attributes},
	[FUSE_SETATTR] = {0, .answer = answer_denied},
	[FUSE_OPEN] = {sizeof(struct fuse_open_in), .answer = answer_open},
	[FUSE_RELEASE] = {0, .answer = answer_done},
	[FUSE_STATFS] = {0, .answer = answer_statfs},
	[FUSE_GETXATTR] = {sizeof(struct fuse_getxattr_in), .answer = answer_get},
	[FUSE_FORGET] = {0, .answer = answer_nothing},
	[FUSE_BATCH_FORGET] = {0, .answer = answer_nothing},
	[FUSE_INTERRUPT] = {0, .answer = answer_nothing}, /* it ends when it ends */
	[FUSE_DESTROY] = {0, .answer = answer_done},

	[FUSE_READ] = {sizeof(struct fuse_read_in), .fill = fill_read},
	[FUSE_WRITE] = {sizeof(struct fuse_write_in), .fill = fill_write},
	[FUSE_FSYNC] = {0, .fill = fill_sync},
	[FUSE_FALLOCATE] = {sizeof(struct fuse_fallocate_in), .fill = fill_allocate},
	[FUSE_SETXATTR] = {FUSE_COMPAT_SETXATTR_IN_SIZE, .fill = fill_set},
};

static const struct request *find_request(const struct message *m)
{
	if (m->head.opcode >= ARRAY_SIZE(requests))
		return NULL;
	if (!requests[m->head.opcode].answer && !requests[m->head.opcode].fill)
		return NULL;
	return &requests[m->head.opcode];
}

/* True if the op was handed out. */
static bool take_message(struct fuse_file *f, const struct message *m, struct fuse_op *op)
{
	const struct request *request = find_request(m);

	if (!request) {
		reply(f, m->head.unique, ENOSYS, NULL, 0);
		return false;
	}
	if (m->len < request->least) {
		reply(f, m->head.unique, EINVAL, NULL, 0);
		return false;
	}
	if (request->answer) {
		request->answer(f, m);
		return false;
	}
	op->durable = false;
	op->unique = m->head.unique;
	if (!request->fill(f, m, op)) {
		reply(f, m->head.unique, EINVAL, NULL, 0);
		return false;
	}
	f->config.ops->start(f->config.arg, op);
	return true;
}

bool fuse_file_has_room(const struct fuse_file *f)
{
	return f->idle_count > 0 || f->made < FUSE_FILE_MOST;
}

static struct fuse_op *op_take(struct fuse_file *f)
{
	struct fuse_op *op;

	if (f->idle_count) {
		op = list_entry(f->idle.prev, struct fuse_op, node); /* whose pages are there */
		list_remove(&op->node);
		f->idle_count--;
		return op;
	}
	op = calloc(1, sizeof(*op));
	if (!op ||
		posix_memalign((void **)&op->buffer, PAGE, f->config.max_io + HEADER_ROOM) != 0) {
		free(op);
		return NULL;
	}
	f->made++;
	return op;
}

/* 1: a request was there; 0: none, and *over says whether there will be more; -1. */
static int work_once(struct fuse_file *f, bool *over, struct err *e)
{
	struct fuse_op *op = op_take(f);
	struct message m;
	ssize_t len;

	if (!op)
		return err_sys(e, ENOMEM, "a buffer");
	len = read(f->fd, op->buffer, f->config.max_io + HEADER_ROOM);
	if (len >= (ssize_t)sizeof(m.head)) {
		memcpy(&m.head, op->buffer, sizeof(m.head));
		m.body = op->buffer + sizeof(m.head);
		m.len = (size_t)len - sizeof(m.head);
		if (!take_message(f, &m, op))
			op_retire(f, op);
		return 1;
	}
	op_retire(f, op);
	*over = len < 0 && errno == ENODEV;
	/* ENOENT: it was taken back just then */
	if (*over || (len < 0 && (errno == EAGAIN || errno == EINTR || errno == ENOENT)))
		return 0;
	return err_sys(e, len < 0 ? errno : EPROTO, "read /dev/fuse");
}

int fuse_file_work(struct fuse_file *f, struct err *e)
{
	bool over = false;
	int rc = 1;

	while (rc > 0 && fuse_file_has_room(f))
		rc = work_once(f, &over, e);
	return rc < 0 ? -1 : !over;
}
