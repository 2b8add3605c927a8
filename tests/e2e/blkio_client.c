// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * An independent vhost-user-blk client: libblkio's driver "virtio-blk-vhost-user" behind a few
 *jobs.
 *
 *	blkio_client SOCKET [key=value]...
 *
 *	job=verify	writes a pattern, flushes, reads it back and compares; then write-zeroes,
 * which must read as zeroes, and discard. With readonly=1: only reads, and compares what an earlier
 * run left (keep=1 leaves out what destroys the pattern). job=load	random 4 KiB reads (write=1:
 *writes) for seconds=N; the fallback of the bench.
 *	wait=		block (sleep for completions), loop (busy loop on a queue), poll (driver's
 * poll queue) depth= size= bs= queues= queue_size= seed=
 *
 * Theory of operation
 *
 * Every job is a stream of requests on one or more queues, each queue with `depth` slots. A slot
 * owns a buffer in the memory region shared with the server and at most one request. Offsets run
 * through all blocks in a scattered order, so that requests of one batch are neither adjacent nor in
 *order, and every block is visited once. Each 8-byte word of a block is a function of seed, block
 * and place: a block that lands elsewhere, an old one, or a torn one does not pass for the right
 *one.
 *
 * Prints one JSON line; exit status 0 only when every request succeeded and every byte was right.
 */
#include <blkio.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdlib.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define MAX_QUEUES 16
#define MAX_DEPTH  256

enum wait_mode { WAIT_BLOCK, WAIT_LOOP, WAIT_POLL };
enum op { OP_READ, OP_WRITE, OP_ZERO, OP_DISCARD };

struct options {
	const char *job;
	const char *out;
	enum wait_mode wait;
	uint64_t depth, size, bs, queues, queue_size, seed, seconds;
	uint64_t readonly, keep, write;
};

struct slot {
	char *buf;
	uint64_t block;
};

struct queue {
	struct blkioq *q;
	struct slot slots[MAX_DEPTH];
	struct slot *idle[MAX_DEPTH];
	unsigned int nidle;
};

struct client {
	struct options opt;
	struct blkio *b;
	struct queue queues[MAX_QUEUES];
	uint64_t blocks;
	uint64_t stride;
	uint64_t done;
	int out_fd;
};

/* What a job does with each block; `check` looks at the data of a read. */
struct job {
	const char *name;
	enum op op;
	bool (*check)(const struct client *c, const struct slot *s);
	uint64_t count;
	uint64_t deadline_ns;
};

static void __attribute__((format(printf, 1, 2), noreturn)) die(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	fputs("blkio_client: ", stderr);
	vfprintf(stderr, fmt, ap);
	fputc('\n', stderr);
	va_end(ap);
	exit(1);
}

static void must(int ret, const char *what)
{
	if (ret < 0)
		die("%s: %s (%s)", what, blkio_get_error_msg(), strerror(-ret));
}

static uint64_t now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * UINT64_C(1000000000) + ts.tv_nsec;
}

static uint64_t mix(uint64_t x)
{
	x = (x ^ (x >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
	x = (x ^ (x >> 27)) * UINT64_C(0x94d049bb133111eb);
	return x ^ (x >> 31);
}

static uint64_t pattern_word(const struct client *c, uint64_t block, uint64_t i)
{
	return mix(c->opt.seed + (block << 20) + i);
}

static void pattern_fill(const struct client *c, struct slot *s)
{
	uint64_t *words = (uint64_t *)s->buf;

	for (uint64_t i = 0; i < c->opt.bs / 8; i++)
		words[i] = pattern_word(c, s->block, i);
}

static bool pattern_check(const struct client *c, const struct slot *s)
{
	const uint64_t *words = (const uint64_t *)s->buf;

	for (uint64_t i = 0; i < c->opt.bs / 8; i++)
		if (words[i] != pattern_word(c, s->block, i))
			return false;
	return true;
}

static bool zero_check(const struct client *c, const struct slot *s)
{
	const uint64_t *words = (const uint64_t *)s->buf;

	for (uint64_t i = 0; i < c->opt.bs / 8; i++)
		if (words[i])
			return false;
	return true;
}

/* Not a check at all, but what to do with the data of a read that is wanted elsewhere. */
static bool dump_block(const struct client *c, const struct slot *s)
{
	return pwrite(c->out_fd, s->buf, c->opt.bs, s->block * c->opt.bs) == (ssize_t)c->opt.bs;
}

/* The n-th block of the walk. The stride has no factor in common with the number of blocks, so the
 * walk visits each block once before it begins again. */
static uint64_t nth_block(const struct client *c, uint64_t n)
{
	return (n % c->blocks) * c->stride % c->blocks;
}

static uint64_t gcd(uint64_t a, uint64_t b)
{
	return b ? gcd(b, a % b) : a;
}

static uint64_t pick_stride(uint64_t blocks)
{
	uint64_t stride = blocks * 5 / 8 + 1;

	while (gcd(stride, blocks) != 1)
		stride++;
	return stride;
}

static void submit(struct client *c, struct queue *q, const struct job *job, uint64_t n)
{
	struct slot *s = q->idle[--q->nidle];
	uint64_t start;

	s->block = nth_block(c, n);
	start = s->block * c->opt.bs;
	switch (job->op) {
	case OP_READ:
		blkioq_read(q->q, start, s->buf, c->opt.bs, s, 0);
		break;
	case OP_WRITE:
		if (!job->deadline_ns) /* a load is about speed, not about content */
			pattern_fill(c, s);
		blkioq_write(q->q, start, s->buf, c->opt.bs, s, 0);
		break;
	case OP_ZERO:
		blkioq_write_zeroes(q->q, start, c->opt.bs, s, 0);
		break;
	case OP_DISCARD:
		blkioq_discard(q->q, start, c->opt.bs, s, 0);
		break;
	}
}

/* Takes at least `min` completions (none is enough when the caller polls by itself). */
static void reap(struct client *c, struct queue *q, const struct job *job, int min)
{
	struct blkio_completion done[MAX_DEPTH];
	int n = blkioq_do_io(q->q, done, c->opt.wait == WAIT_LOOP ? 0 : min, MAX_DEPTH, NULL);

	must(n, "blkioq_do_io");
	for (int i = 0; i < n; i++) {
		struct slot *s = done[i].user_data;

		if (done[i].ret)
			die("%s of block %" PRIu64 ": %s", job->name, s->block,
				strerror(-done[i].ret));
		if (job->check && !job->check(c, s))
			die("%s: block %" PRIu64 " has wrong content", job->name, s->block);
		q->idle[q->nidle++] = s;
		c->done++;
	}
}

static bool more(const struct job *job, uint64_t submitted)
{
	return job->deadline_ns ? now_ns() < job->deadline_ns : submitted < job->count;
}

/* Runs a job on all queues in turn. */
static void run(struct client *c, const struct job *job)
{
	unsigned int depth = c->opt.depth;
	uint64_t submitted = 0;
	uint64_t busy;

	do {
		busy = 0;
		for (uint64_t i = 0; i < c->opt.queues; i++) {
			struct queue *q = &c->queues[i];

			while (q->nidle && more(job, submitted))
				submit(c, q, job, submitted++);
			if (q->nidle < depth)
				reap(c, q, job, 1);
			busy += depth - q->nidle;
		}
	} while (busy || more(job, submitted));
}

static void flush(struct client *c)
{
	struct blkio_completion done;
	int n;

	blkioq_flush(c->queues[0].q, NULL, 0);
	do {
		n = blkioq_do_io(c->queues[0].q, &done, c->opt.wait == WAIT_LOOP ? 0 : 1, 1, NULL);
	} while (n == 0);
	must(n, "flush");
	if (done.ret)
		die("flush: %s", strerror(-done.ret));
}

static void verify(struct client *c)
{
	uint64_t n = c->blocks;

	if (!c->opt.readonly) {
		run(c, &(struct job){.name = "write", .op = OP_WRITE, .count = n});
		flush(c);
	}
	run(c, &(struct job){.name = "read", .op = OP_READ, .check = pattern_check, .count = n});
	if (c->opt.readonly || c->opt.keep)
		return;
	run(c, &(struct job){.name = "write zeroes", .op = OP_ZERO, .count = n});
	run(c, &(struct job){
		       .name = "read of zeroes", .op = OP_READ, .check = zero_check, .count = n});
	run(c, &(struct job){.name = "discard", .op = OP_DISCARD, .count = n});
	flush(c);
}

static void dump(struct client *c)
{
	if (!c->opt.out)
		die("job=dump needs out=PATH");
	c->out_fd = open(c->opt.out, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	if (c->out_fd < 0)
		die("%s: %s", c->opt.out, strerror(errno));
	run(c, &(struct job){
		       .name = "dump", .op = OP_READ, .check = dump_block, .count = c->blocks});
	close(c->out_fd);
}

static void load(struct client *c)
{
	run(c, &(struct job){.name = "load",
		       .op = c->opt.write ? OP_WRITE : OP_READ,
		       .deadline_ns = now_ns() + c->opt.seconds * UINT64_C(1000000000)});
}

static void connect_device(struct client *c, const char *path)
{
	const char *kind = c->opt.wait == WAIT_POLL ? "num-poll-queues" : "num-queues";
	const char *other = c->opt.wait == WAIT_POLL ? "num-queues" : "num-poll-queues";

	must(blkio_create("virtio-blk-vhost-user", &c->b), "create");
	must(blkio_set_str(c->b, "path", path), "path");
	must(blkio_set_bool(c->b, "read-only", c->opt.readonly), "read-only");
	must(blkio_connect(c->b), "connect");
	must(blkio_set_int(c->b, "queue-size", c->opt.queue_size), "queue-size");
	must(blkio_set_int(c->b, kind, c->opt.queues), kind);
	must(blkio_set_int(c->b, other, 0), other);
	must(blkio_start(c->b), "start");
}

static void prepare_queues(struct client *c)
{
	struct blkio_mem_region mem;
	char *buf;

	must(blkio_alloc_mem_region(c->b, &mem, c->opt.queues * c->opt.depth * c->opt.bs),
		"memory");
	must(blkio_map_mem_region(c->b, &mem), "map memory");
	buf = mem.addr;
	for (uint64_t i = 0; i < c->opt.queues; i++) {
		struct queue *q = &c->queues[i];

		q->q = c->opt.wait == WAIT_POLL ? blkio_get_poll_queue(c->b, i)
						: blkio_get_queue(c->b, i);
		for (uint64_t k = 0; k < c->opt.depth; k++, buf += c->opt.bs) {
			q->slots[k].buf = buf;
			q->idle[q->nidle++] = &q->slots[k];
		}
	}
}

static void prepare_size(struct client *c)
{
	uint64_t capacity;

	must(blkio_get_uint64(c->b, "capacity", &capacity), "capacity");
	if (!c->opt.size || c->opt.size > capacity)
		c->opt.size = capacity;
	c->blocks = c->opt.size / c->opt.bs;
	if (!c->blocks || c->blocks > UINT32_MAX)
		die("%" PRIu64 " bytes are no number of blocks that this can walk", c->opt.size);
	c->stride = pick_stride(c->blocks);
}

static enum wait_mode parse_wait(const char *word)
{
	static const char *const names[] = {"block", "loop", "poll"};

	for (unsigned int i = 0; i < sizeof(names) / sizeof(*names); i++)
		if (!strcmp(word, names[i]))
			return i;
	die("wait=%s: not one of block, loop, poll", word);
}

static void parse_number(struct options *o, const char *key, const char *value)
{
	const struct {
		const char *key;
		uint64_t *to;
		uint64_t max;
	} numbers[] = {
		{"depth", &o->depth, MAX_DEPTH},
		{"queues", &o->queues, MAX_QUEUES},
		{"size", &o->size, UINT64_MAX},
		{"bs", &o->bs, 1 << 20},
		{"queue_size", &o->queue_size, 32768},
		{"seed", &o->seed, UINT64_MAX},
		{"seconds", &o->seconds, 3600},
		{"readonly", &o->readonly, 1},
		{"keep", &o->keep, 1},
		{"write", &o->write, 1},
	};
	char *end;

	for (unsigned int i = 0; i < sizeof(numbers) / sizeof(*numbers); i++) {
		if (strcmp(key, numbers[i].key))
			continue;
		errno = 0;
		*numbers[i].to = strtoull(value, &end, 0);
		if (errno || end == value || *end || *numbers[i].to > numbers[i].max)
			die("%s=%s: not a number up to %" PRIu64, key, value, numbers[i].max);
		return;
	}
	die("unknown option %s", key);
}

static void parse(struct options *o, int argc, char **argv)
{
	*o = (struct options){.job = "verify",
		.depth = 32,
		.bs = 4096,
		.queues = 1,
		.queue_size = 256,
		.seconds = 3};
	for (int i = 2; i < argc; i++) {
		char *value = strchr(argv[i], '=');

		if (!value)
			die("%s: not key=value", argv[i]);
		*value++ = '\0';
		if (!strcmp(argv[i], "job"))
			o->job = value;
		else if (!strcmp(argv[i], "out"))
			o->out = value;
		else if (!strcmp(argv[i], "wait"))
			o->wait = parse_wait(value);
		else
			parse_number(o, argv[i], value);
	}
	if (!o->depth || !o->queues || o->bs < 512 || o->bs % 512)
		die("depth and queues must be at least 1, bs a multiple of 512");
}

int main(int argc, char **argv)
{
	static struct client c;
	uint64_t begin;
	double seconds;

	if (argc < 2)
		die("usage: blkio_client SOCKET [key=value]...");
	parse(&c.opt, argc, argv);
	connect_device(&c, argv[1]);
	prepare_size(&c);
	prepare_queues(&c);
	begin = now_ns();
	if (!strcmp(c.opt.job, "verify"))
		verify(&c);
	else if (!strcmp(c.opt.job, "dump"))
		dump(&c);
	else if (!strcmp(c.opt.job, "load"))
		load(&c);
	else
		die("unknown job %s", c.opt.job);
	seconds = (now_ns() - begin) / 1e9;
	printf("{\"job\": \"%s\", \"requests\": %" PRIu64
	       ", \"seconds\": %.3f, \"iops\": %.0f, \"bytes\": %" PRIu64 "}\n",
		c.opt.job, c.done, seconds, c.done / seconds, c.opt.size);
	blkio_destroy(&c.b);
	return 0;
}
