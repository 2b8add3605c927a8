// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The history checker: random reads, writes and flushes at a disk that is being tortured, every one
 * of them checked against what the requests before it allow.
 *
 *	history_client DISK [key=value]...
 *
 *	DISK		a vhost-user socket; or, as in a guest, a block device
 *	until=PATH	goes on until that file exists; then all is read and checked once more
 *	image=PATH	afterwards the file itself is read and checked as well
 *	bad=FIRST+COUNT	requests to these blocks must fail with EIO, and no others may
 *	slow=MS		a line "slow MS" on standard error for each request that takes longer
 *	journal=PATH	what must be there after a power cut is kept in that file; and if there was
 *			one, all blocks are looked at first (it then says so)
 *	tell=PATH	each time what is in the journal goes there, too, as a line: to somebody who is
 *			not cut off from power (history_journal.h)
 *	first=N		generations begin after this one: higher than any before the cut
 *	depth= blocks= bs= queues= seed=
 *
 * Theory of operation
 *
 * Each write has a sequence number, its generation. Each 512-byte sector of it carries where it
 * belongs, the generation, and a checksum over both and the rest of its bytes, which are a function
 * of them: a sector that is torn, old, or of somewhere else shows itself.
 *
 * Time is a counter of submissions and completions, as this program sees them. A read of a sector
 * may yield write W exactly if
 *
 *	W was submitted before the read completed, and
 *	no other write to the block both began after W had completed
 *				    and completed before the read was submitted.
 *
 * So an acknowledged write that is lost shows (an older one is read), and so does one that lands
 * after a later one (an older one is read again), also after the worker that carried it is long
 * dead. For each block the writes are kept that a read may still yield ("candidates"); one that was
 * overwritten is kept with the time since when it is not allowed, until no read is under way that
 * began before.
 *
 * One write is in flight at a block at a time, and any number of reads: what two writes at once make
 * of a sector, and what a read sees of one just being written, is nobody's promise. So a sector may
 * be torn if a write to its block was under way during the read ("raced"), and only then.
 *
 * Prints one JSON line; exit status 0 only when every request ended as it should and was right.
 */
#include <blkio.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "tests/e2e/history_journal.h"
#include "tests/e2e/history_sector.h"

#define MAX_QUEUES     16
#define MAX_DEPTH      256
#define MAX_CANDIDATES (2 * MAX_QUEUES * MAX_DEPTH)
#define LOOK_EVERY     64 /* requests between two looks for the end */
#define NEVER          UINT64_MAX

enum op { OP_READ, OP_WRITE, OP_FLUSH };

struct options {
	const char *until, *image, *journal, *tell;
	uint64_t depth, blocks, bs, queues, seed, slow, first;
	uint64_t bad_first, bad_count; /* blocks */
};

/* A write that reads of its block may yield. */
struct candidate {
	uint64_t generation; /* 0: what was there before: zeroes */
	uint64_t begin, end; /* end: NEVER while it is in flight */
	uint64_t dead;       /* not allowed to reads that begin later; NEVER: allowed */
};

struct block {
	struct candidate *list;
	unsigned int count, room;
	unsigned int reads; /* in flight */
	uint64_t oldest;    /* when the oldest of them may have begun */
	bool writing;       /* a write is in flight, */
	uint64_t written;   /* or when the last one ended */
};

struct slot {
	char *buf;
	enum op op;
	uint64_t block, generation, begin, begin_ns;
	uint64_t *promise; /* of a flush */
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
	struct block *blocks;
	struct journal journal;
	bool promises;     /* there is a journal, or one who is told */
	bool looking_back; /* at what a power cut has left */
	uint64_t now, generation, random;
	uint64_t done, failed, reads, sectors, raced, longest_ns;
};

static void __attribute__((format(printf, 1, 2), noreturn)) die(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	fputs("history_client: ", stderr);
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

static uint64_t draw(struct client *c)
{
	c->random += UINT64_C(0x9e3779b97f4a7c15);
	return mix(c->random);
}

/* --- what is allowed ------------------------------------------------------------------------- */

static struct candidate *add_candidate(struct block *b)
{
	if (b->count == b->room) {
		b->room = b->room ? 2 * b->room : 4;
		if (b->room > MAX_CANDIDATES)
			die("too many writes that a read may yield");
		b->list = realloc(b->list, b->room * sizeof(b->list[0]));
		if (!b->list)
			die("no memory");
	}
	return &b->list[b->count++];
}

/* Forgets what no read can yield any more. */
static void prune(struct block *b)
{
	unsigned int kept = 0;

	for (unsigned int i = 0; i < b->count; i++)
		if (b->list[i].dead == NEVER || (b->reads && b->list[i].dead > b->oldest))
			b->list[kept++] = b->list[i];
	b->count = kept;
}

/* A write is acknowledged: all that had completed before it began is over. */
static void write_done(struct client *c, const struct slot *s)
{
	struct block *b = &c->blocks[s->block];

	for (unsigned int i = 0; i < b->count; i++) {
		struct candidate *w = &b->list[i];

		if (w->generation == s->generation)
			w->end = c->now;
		else if (w->end < s->begin && w->dead == NEVER)
			w->dead = c->now;
	}
	b->writing = false;
	b->written = c->now;
	if (c->promises)
		c->journal.acked[s->block] = s->generation;
	prune(b);
}

static void check_sector(const struct client *c, uint64_t block, uint64_t sector,
	uint64_t generation, uint64_t begin)
{
	const struct block *b = &c->blocks[block];

	for (unsigned int i = 0; i < b->count; i++)
		if (b->list[i].generation == generation && b->list[i].dead > begin)
			return;
	fprintf(stderr, "block %" PRIu64 " may have", block);
	for (unsigned int i = 0; i < b->count; i++)
		if (b->list[i].dead > begin)
			fprintf(stderr, " %" PRIu64, b->list[i].generation);
	fputc('\n', stderr);
	die("sector %" PRIu64 " has generation %" PRIu64 ", which was overwritten by then", sector,
		generation);
}

/* What a power cut has left in a block: whatever is not older than what was flushed. */
static void adopt_sector(struct client *c, uint64_t block, uint64_t sector, uint64_t generation)
{
	struct block *b = &c->blocks[block];
	uint64_t stable = c->journal.file.stable[block];

	if (generation < stable)
		die("sector %" PRIu64 " has generation %" PRIu64 ", and %" PRIu64 " was flushed",
			sector, generation, stable);
	for (unsigned int i = 0; i < b->count; i++)
		if (b->list[i].generation == generation)
			return;
	*add_candidate(b) = (struct candidate){.generation = generation, .dead = NEVER};
}

static void check_block(struct client *c, const char *data, uint64_t block, uint64_t begin)
{
	const struct block *b = &c->blocks[block];
	uint64_t first = block * c->opt.bs / SECTOR, generation;

	for (uint64_t i = 0; i < c->opt.bs / SECTOR; i++) {
		if (read_sector(c->opt.seed, data + i * SECTOR, first + i, &generation)) {
			if (c->looking_back)
				adopt_sector(c, block, first + i, generation);
			else
				check_sector(c, block, first + i, generation, begin);
			c->sectors++;
		} else if (b->writing || b->written > begin) {
			c->raced++;
		} else {
			die("sector %" PRIu64 " is torn or of somewhere else (it says generation "
			    "%" PRIu64 ")",
				first + i, generation);
		}
	}
}

/* Nothing is known of the data of a bad block, nor asked. */
static bool is_bad(const struct client *c, uint64_t block)
{
	return block >= c->opt.bad_first && block - c->opt.bad_first < c->opt.bad_count;
}

static void read_done(struct client *c, const struct slot *s)
{
	struct block *b = &c->blocks[s->block];

	if (!is_bad(c, s->block)) {
		check_block(c, s->buf, s->block, s->begin);
		c->reads++;
	}
	b->reads--;
	if (!b->reads)
		b->oldest = NEVER;
	prune(b);
}

/* --- requests -------------------------------------------------------------------------------- */

static void submit_write(struct client *c, struct queue *q, struct slot *s)
{
	uint64_t first = s->block * c->opt.bs / SECTOR;

	s->generation = ++c->generation;
	c->blocks[s->block].writing = true;
	for (uint64_t i = 0; i < c->opt.bs / SECTOR; i++)
		write_sector(c->opt.seed, s->buf + i * SECTOR, first + i, s->generation);
	*add_candidate(&c->blocks[s->block]) = (struct candidate){
		.generation = s->generation, .begin = s->begin, .end = NEVER, .dead = NEVER};
	blkioq_write(q->q, s->block * c->opt.bs, s->buf, c->opt.bs, s, 0);
}

static void submit_read(struct client *c, struct queue *q, struct slot *s)
{
	struct block *b = &c->blocks[s->block];

	if (!b->reads++)
		b->oldest = s->begin;
	blkioq_read(q->q, s->block * c->opt.bs, s->buf, c->opt.bs, s, 0);
}

static void submit(struct client *c, struct queue *q, enum op op, uint64_t block)
{
	struct slot *s = q->idle[--q->nidle];

	s->op = op;
	s->block = block;
	s->begin = c->now++;
	s->begin_ns = now_ns();
	switch (op) {
	case OP_READ:
		submit_read(c, q, s);
		break;
	case OP_WRITE:
		submit_write(c, q, s);
		break;
	case OP_FLUSH:
		s->promise = c->promises ? journal_snapshot(&c->journal) : NULL;
		blkioq_flush(q->q, s, 0);
		break;
	}
}

/* What ended as it has to: with an error, where the disk is bad. */
static void judge(struct client *c, const struct slot *s, int ret)
{
	static const char *const names[] = {"read", "write", "flush"};
	bool fails = s->op != OP_FLUSH && is_bad(c, s->block);

	if (ret != (fails ? -EIO : 0))
		die("%s of block %" PRIu64 "%s: %s", names[s->op], s->block,
			fails ? ", which is bad" : "", strerror(-ret));
	c->failed += fails;
}

static void completed(struct client *c, struct queue *q, struct slot *s, int ret)
{
	uint64_t took = now_ns() - s->begin_ns;

	judge(c, s, ret);
	if (took > c->longest_ns)
		c->longest_ns = took;
	if (c->opt.slow && took > c->opt.slow * 1000000)
		fprintf(stderr, "slow %.1f\n", took / 1e6);
	c->now++;
	c->done++;
	switch (s->op) {
	case OP_READ:
		read_done(c, s);
		break;
	case OP_WRITE:
		write_done(c, s);
		break;
	case OP_FLUSH:
		if (s->promise && journal_flushed(&c->journal, s->promise, c->done) < 0)
			die("what is promised cannot be kept: %s", strerror(errno));
		break;
	}
	q->idle[q->nidle++] = s;
}

static void reap(struct client *c, struct queue *q, int min)
{
	struct blkio_completion done[MAX_DEPTH];
	int n = blkioq_do_io(q->q, done, min, MAX_DEPTH, NULL);

	must(n, "blkioq_do_io");
	for (int i = 0; i < n; i++)
		completed(c, q, done[i].user_data, done[i].ret);
}

/* Half of them go to a few blocks, so that requests meet. */
static uint64_t draw_block(struct client *c)
{
	uint64_t r = draw(c);

	return (r >> 1) % (r & 1 && c->opt.blocks > 8 ? 8 : c->opt.blocks);
}

static enum op draw_op(struct client *c, uint64_t block)
{
	uint64_t r = draw(c) % 100;

	if (r < 2)
		return OP_FLUSH;
	return r < 40 || c->blocks[block].writing ? OP_READ : OP_WRITE;
}

static bool is_over(const struct client *c)
{
	return access(c->opt.until, F_OK) == 0;
}

static void torture(struct client *c)
{
	uint64_t n = 0, busy, block;
	bool over = false;

	do {
		busy = 0;
		for (uint64_t i = 0; i < c->opt.queues; i++) {
			struct queue *q = &c->queues[i];

			while (q->nidle && !over) {
				block = draw_block(c);
				submit(c, q, draw_op(c, block), block);
				if (++n % LOOK_EVERY == 0)
					over = is_over(c);
			}
			if (q->nidle < c->opt.depth)
				reap(c, q, 1);
			busy += c->opt.depth - q->nidle;
		}
	} while (busy || !over);
}

static void read_all(struct client *c)
{
	struct queue *q = &c->queues[0];

	for (uint64_t block = 0; block < c->opt.blocks; block++) {
		while (!q->nidle)
			reap(c, q, 1);
		submit(c, q, OP_READ, block);
	}
	while (q->nidle < c->opt.depth)
		reap(c, q, 1);
}

static void flush_all(struct client *c)
{
	struct queue *q = &c->queues[0];

	submit(c, q, OP_FLUSH, 0);
	while (q->nidle < c->opt.depth)
		reap(c, q, 1);
}

static void look_back(struct client *c)
{
	for (uint64_t i = 0; i < c->opt.blocks; i++)
		c->blocks[i].count = 0;
	c->looking_back = true;
	read_all(c);
	c->looking_back = false;
	puts("looked back");
	fflush(stdout);
}

static void check_image(struct client *c)
{
	char *buf = malloc(c->opt.bs);
	int fd = open(c->opt.image, O_RDONLY | O_CLOEXEC);

	if (!buf || fd < 0)
		die("%s: %s", c->opt.image, strerror(errno));
	for (uint64_t block = 0; block < c->opt.blocks; block++) {
		if (is_bad(c, block))
			continue;
		if (pread(fd, buf, c->opt.bs, (off_t)(block * c->opt.bs)) != (ssize_t)c->opt.bs)
			die("%s: block %" PRIu64 " cannot be read", c->opt.image, block);
		check_block(c, buf, block, c->now);
	}
	close(fd);
	free(buf);
}

/* --- set up ---------------------------------------------------------------------------------- */

static void connect_device(struct client *c, const char *path)
{
	struct stat st;
	bool is_disk = stat(path, &st) == 0 && S_ISBLK(st.st_mode);

	must(blkio_create(is_disk ? "io_uring" : "virtio-blk-vhost-user", &c->b), "create");
	must(blkio_set_str(c->b, "path", path), "path");
	if (is_disk)
		must(blkio_set_bool(c->b, "direct", true), "direct");
	must(blkio_connect(c->b), "connect");
	must(blkio_set_int(c->b, "num-queues", (int)c->opt.queues), "num-queues");
	must(blkio_start(c->b), "start");
}

static void prepare(struct client *c)
{
	struct blkio_mem_region mem;
	uint64_t capacity;
	char *buf;

	must(blkio_get_uint64(c->b, "capacity", &capacity), "capacity");
	if (capacity / c->opt.bs < c->opt.blocks)
		c->opt.blocks = capacity / c->opt.bs;
	c->blocks = calloc(c->opt.blocks, sizeof(c->blocks[0]));
	if (!c->opt.blocks || !c->blocks)
		die("no blocks");
	for (uint64_t i = 0; i < c->opt.blocks; i++) {
		c->blocks[i].oldest = NEVER;
		*add_candidate(&c->blocks[i]) = (struct candidate){.dead = NEVER};
	}
	c->now = 1;
	must(blkio_alloc_mem_region(c->b, &mem, c->opt.queues * c->opt.depth * c->opt.bs),
		"memory");
	must(blkio_map_mem_region(c->b, &mem), "map memory");
	buf = mem.addr;
	for (uint64_t i = 0; i < c->opt.queues; i++) {
		struct queue *q = &c->queues[i];

		q->q = blkio_get_queue(c->b, (int)i);
		for (uint64_t k = 0; k < c->opt.depth; k++, buf += c->opt.bs) {
			q->slots[k].buf = buf;
			q->idle[q->nidle++] = &q->slots[k];
		}
	}
}

static void parse_bad(struct options *o, const char *value)
{
	char extra;

	if (sscanf(value, "%" SCNu64 "+%" SCNu64 "%c", &o->bad_first, &o->bad_count, &extra) != 2)
		die("bad=%s: not FIRST+COUNT", value);
}

static void parse_one(struct options *o, const char *key, const char *value)
{
	const struct {
		const char *key;
		const char **text;
		uint64_t *to, max;
	} known[] = {
		{"until", .text = &o->until},
		{"image", .text = &o->image},
		{"journal", .text = &o->journal},
		{"tell", .text = &o->tell},
		{"depth", .to = &o->depth, .max = MAX_DEPTH},
		{"queues", .to = &o->queues, .max = MAX_QUEUES},
		{"blocks", .to = &o->blocks, .max = 1 << 20},
		{"bs", .to = &o->bs, .max = 1 << 20},
		{"seed", .to = &o->seed, .max = UINT64_MAX},
		{"slow", .to = &o->slow, .max = 1 << 20},
		{"first", .to = &o->first, .max = UINT64_MAX},
	};
	unsigned int i = 0, count = sizeof(known) / sizeof(*known);
	char *end;

	while (i < count && strcmp(key, known[i].key) != 0)
		i++;
	if (i == count)
		die("unknown option %s", key);
	if (known[i].text) {
		*known[i].text = value;
		return;
	}
	errno = 0;
	*known[i].to = strtoull(value, &end, 0);
	if (errno || end == value || *end || *known[i].to > known[i].max)
		die("%s=%s: not a number up to %" PRIu64, key, value, known[i].max);
}

static void parse(struct options *o, int argc, char **argv)
{
	*o = (struct options){.depth = 32, .blocks = 256, .bs = 4096, .queues = 1, .seed = 1};
	for (int i = 2; i < argc; i++) {
		char *value = strchr(argv[i], '=');

		if (!value)
			die("%s: not key=value", argv[i]);
		*value++ = '\0';
		if (strcmp(argv[i], "bad") == 0)
			parse_bad(o, value);
		else
			parse_one(o, argv[i], value);
	}
	if (!o->depth || !o->queues || o->bs < SECTOR || o->bs % SECTOR || !o->until)
		die("depth and queues must be at least 1, bs a multiple of 512; until= is needed");
}

int main(int argc, char **argv)
{
	static struct client c;
	uint64_t begin;

	if (argc < 2)
		die("usage: history_client DISK until=PATH [key=value]...");
	parse(&c.opt, argc, argv);
	c.random = c.opt.seed ^ c.opt.first;
	c.generation = c.opt.first;
	connect_device(&c, argv[1]);
	prepare(&c);
	begin = now_ns();
	if (journal_open(&c.journal, c.opt.journal, c.opt.tell, c.opt.blocks) < 0)
		die("the journal: %s", strerror(errno));
	c.promises = c.opt.journal || c.opt.tell;
	if (c.opt.journal)
		look_back(&c);
	torture(&c);
	flush_all(&c);
	read_all(&c);
	if (c.opt.image)
		check_image(&c);
	printf("{\"requests\": %" PRIu64 ", \"failed\": %" PRIu64 ", \"reads_checked\": %" PRIu64
	       ", \"sectors_checked\": %" PRIu64 ", \"sectors_raced\": %" PRIu64
	       ", \"longest_ms\": %.1f, \"seconds\": %.2f}\n",
		c.done, c.failed, c.reads, c.sectors, c.raced, c.longest_ns / 1e6,
		(now_ns() - begin) / 1e9);
	blkio_destroy(&c.b);
	return 0;
}
