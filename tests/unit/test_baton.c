/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * daemon/baton at the source: what the one who waits for the end of a move is told. The row of a move
 * that is on its way is in the store; the destination is this test, which answers as a table says;
 * what libvirt says of the VMM here is said here, too (--wrap, in Makefile.am). And what is known of
 * the lease on a volume, when there is another one in its place.
 */
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "daemon/attach.h"
#include "daemon/baton_priv.h"
#include "daemon/conf.h"
#include "daemon/events.h"
#include "daemon/lease.h"
#include "daemon/loop.h"
#include "lib/cleanup.h"
#include "tests/unit/unit.h"

#define MOVE    "0123456789abcdef0123456789abcdef"
#define UUID    "d0d0d0d0-0000-4000-8000-00000000d0d0"
#define LONG_MS 60000 /* more than any wait for a VM that is nowhere */

static const struct {
	const char *method, *answer;
} answers[] = {
	{"Grant", "{\"granted\":false,\"why\":\"the move is over\"}"},
	{"ShowMove", "{\"running\":false,\"gone\":true}"},
	{"EndMove", "{}"},
	{"Revoke", "{\"back\":false}"},
};

static char dir[64], path[80], peer[128];
static struct conf conf;
static struct daemon d;
static struct err e;
static int listener, talker = -1;
static struct watch *listening, *talking;
static bool has_no_vmm;
static unsigned int detached;

/* What the waiting one was told. */
static unsigned int told;
static char reply_text[256];
static struct err reply_err;

bool __wrap_baton_has_no_vmm(struct baton *b);

bool __wrap_baton_has_no_vmm(struct baton *b)
{
	(void)b;
	return has_no_vmm;
}

int __wrap_detach_start(struct daemon *where, struct attachment *a,
	const struct attach_caller *caller, struct err *why);

int __wrap_detach_start(struct daemon *where, struct attachment *a,
	const struct attach_caller *caller, struct err *why)
{
	(void)where, (void)a, (void)caller, (void)why;
	detached++;
	return 0;
}

/* --- the destination -------------------------------------------------------------------------- */

static void on_call(void *arg, unsigned int events)
{
	char text[4096], out[256];
	ssize_t len = read(talker, text, sizeof(text) - 1);

	(void)arg, (void)events;
	if (len <= 0) {
		d.loop->ops->remove(talking);
		talking = NULL;
		close_fd(&talker);
		return;
	}
	ck_assert_int_eq(text[len - 1], '\0'); /* all of it, and no more than one */
	for (size_t i = 0; i < ARRAY_SIZE(answers); i++) {
		char method[64];

		snprintf(method, sizeof(method), ".%s\"", answers[i].method);
		if (!strstr(text, method))
			continue;
		snprintf(out, sizeof(out), "{\"parameters\":%s}", answers[i].answer);
		ck_assert_int_eq(write(talker, out, strlen(out) + 1), (int)strlen(out) + 1);
		return;
	}
	ck_abort_msg("nobody answers %s", text);
}

static void on_connection(void *arg, unsigned int events)
{
	(void)arg, (void)events;
	ck_assert_int_eq(talker, -1);
	talker = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
	talking = d.loop->ops->add_fd(d.loop, talker, WATCH_READ, on_call, NULL, &e);
	ck_assert_ptr_nonnull(talking);
}

static void listen_there(void)
{
	struct sockaddr_un at = {.sun_family = AF_UNIX};

	snprintf(at.sun_path, sizeof(at.sun_path), "%s/there", dir);
	snprintf(peer, sizeof(peer), "unix://%s", at.sun_path);
	listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	ck_assert_int_eq(bind(listener, (struct sockaddr *)&at, sizeof(at)), 0);
	ck_assert_int_eq(listen(listener, 4), 0);
	listening = d.loop->ops->add_fd(d.loop, listener, WATCH_READ, on_connection, NULL, &e);
	ck_assert_ptr_nonnull(listening);
}

/* --- the source ------------------------------------------------------------------------------- */

static void begin(void)
{
	char *aside;

	unit_path(dir, sizeof(dir), "baton");
	ck_assert(mkdtemp(dir));
	snprintf(path, sizeof(path), "%s/x.db", dir);
	conf_init(&conf);
	d = (struct daemon){.conf = &conf, .loop = loop_new(&e), .events = events_new(&e)};
	d.store = store_open(path, &registry_schema, &aside, &e);
	ck_assert_msg(d.store, "%s", e.msg);
	d.registry = registry_new(d.store, d.events, dir, &e);
	d.batons = batons_new(&d, &e);
	listen_there();
}

static void end(void)
{
	char cmd[96];

	batons_free(d.batons);
	d.loop->ops->remove(talking);
	d.loop->ops->remove(listening);
	close_fd(&talker);
	close(listener);
	registry_free(d.registry);
	events_free(d.events);
	store_close(d.store);
	loop_free(d.loop);
	snprintf(cmd, sizeof(cmd), "rm -r '%s'", dir);
	ck_assert_int_eq(system(cmd), 0);
}

static void tick(void *arg, unsigned int events)
{
	(void)events;
	loop_stop(arg);
}

static void until(bool (*is_so)(void))
{
	const uint64_t deadline_ms = now_ms() + LONG_MS;

	while (!is_so()) {
		struct watch *watch = d.loop->ops->add_timer(d.loop, 20, tick, d.loop, &e);

		ck_assert_int_eq(loop_run(d.loop, &e), 0);
		d.loop->ops->remove(watch);
		ck_assert_uint_lt(now_ms(), deadline_ms);
	}
}

/* As the store of a daemon that was killed has it. */
static struct baton *load(enum baton_state state, const char *to)
{
	struct baton row = {.d = &d, .move = MOVE, .vm = "web1"};

	str_copy(row.peer, sizeof(row.peer), to);
	ck_assert_int_eq(baton_keep(&row, state, 3, "", &e), 0);
	ck_assert_int_eq(batons_load(&d, &e), 0);
	return baton_by_vm(&d, "web1");
}

static void done(void *arg, const char *reply, size_t len, const struct err *why)
{
	(void)arg;
	told++;
	snprintf(reply_text, sizeof(reply_text), "%.*s", (int)len, reply ? reply : "");
	reply_err = why ? *why : (struct err)ERR_INIT;
}

static bool is_told(void)
{
	return told > 0;
}

static bool is_over(void)
{
	return !baton_by_move(&d, MOVE);
}

START_TEST(refused_grant_is_not_told_as_a_move)
{
	begin();
	load(BATON_LEFT, peer);
	ck_assert_int_eq(baton_finish(&d, "web1", done, NULL, &e), 0);
	until(is_over);
	ck_assert_uint_eq(told, 1);
	ck_assert_str_eq(reply_text, "");
	ck_assert_str_eq(reply_err.code, "MIG-REFUSED");
	ck_assert_ptr_nonnull(strstr(reply_err.evidence, "the move is over"));
	end();
}
END_TEST

START_TEST(move_of_which_nothing_is_left_is_told_as_one)
{
	begin();
	load(BATON_TAKEN, peer);
	ck_assert_int_eq(baton_finish(&d, "web1", done, NULL, &e), 0);
	until(is_over);
	ck_assert_uint_eq(told, 1);
	ck_assert_int_eq(reply_err.kind, ERR_NONE);
	ck_assert_ptr_nonnull(strstr(reply_text, "\"attachments\":[]"));
	end();
}
END_TEST

/* --- a domain that is nowhere ----------------------------------------------------------------- */

/* A reader's: it is never written to, so that it has no lease. */
static void add_attachment(void)
{
	struct attachment_spec s = {
		.queues = 1, .readonly = true, .vm = "web1", .name = "disk", .domain = UUID};

	registry_next_id(d.registry, s.id);
	ck_assert_ptr_nonnull(registry_add(d.registry, &s, &e));
}

static void expect_lost(enum baton_state state, const char *to)
{
	struct baton *b;

	begin();
	has_no_vmm = true;
	add_attachment();
	b = load(state, to);
	b->nowhere_ms = now_ms() - LONG_MS;
	ck_assert_int_eq(baton_finish(&d, "web1", done, NULL, &e), 0);
	until(is_told);
	ck_assert_str_eq(reply_err.code, "MIG-LOST");
	ck_assert_int_eq(b->wish, WISH_ABORT);
	end();
}

START_TEST(vm_that_is_nowhere_is_told_as_lost)
{
	expect_lost(BATON_TAKEN, peer);
}
END_TEST

START_TEST(vm_that_is_nowhere_is_told_as_lost_where_it_moves_by_lease)
{
	expect_lost(BATON_LEFT, BATON_PEER_LEASE);
}
END_TEST

static bool is_detached(void)
{
	return detached > 0;
}

/* Where it does not come back from, since it ran there, it has not been lost. */
START_TEST(vm_that_ran_there_and_has_ended_has_moved)
{
	begin();
	has_no_vmm = true;
	add_attachment();
	load(BATON_TAKEN, peer)->nowhere_ms = now_ms() - LONG_MS;
	baton_step(baton_by_vm(&d, "web1"));
	until(is_detached);
	ck_assert_int_eq(baton_by_vm(&d, "web1")->state, BATON_TAKEN); /* until all are */
	end();
}
END_TEST

/* --- the lease on a volume in place of which there is another one now ------------------------- */

/* Away, so that nothing is done but to forget. */
static struct attachment *add_file(const struct attachment_disk *disk)
{
	struct attachment_spec s = {.queues = 1, .vm = "web1", .name = "disk", .domain = UUID};
	struct attachment *a;

	registry_next_id(d.registry, s.id);
	a = registry_add(d.registry, &s, &e);
	ck_assert_ptr_nonnull(a);
	a->kept = KEPT_ATTACHED;
	a->worker.generation = 1;
	a->baton = BATON_AWAY;
	a->disk = *disk;
	return a;
}

START_TEST(volume_that_can_hold_none_is_forgotten_with_it)
{
	struct attachment *a;

	begin();
	a = add_file(&(struct attachment_disk){.fs = 1, .inode = 2});
	a->lease.asked = a->disk;
	a->lease.is_none = true;
	lease_keep_up(&d, a);
	ck_assert(a->lease.is_none); /* the same is not asked again */
	a->disk.inode = 3;
	lease_keep_up(&d, a);
	ck_assert(!a->lease.is_none);
	end();
}
END_TEST

START_TEST(lease_is_forgotten_where_there_can_be_none)
{
	struct attachment *a;

	begin();
	a = add_file(&(struct attachment_disk){.number = 7}); /* a block device */
	a->lease.fd = dup(listener);
	a->lease.is_ours = true;
	lease_keep_up(&d, a);
	ck_assert(!a->lease.is_ours);
	ck_assert_int_eq(a->lease.fd, -1);
	end();
}
END_TEST

UNIT_MAIN(refused_grant_is_not_told_as_a_move, move_of_which_nothing_is_left_is_told_as_one,
	vm_that_is_nowhere_is_told_as_lost,
	vm_that_is_nowhere_is_told_as_lost_where_it_moves_by_lease,
	vm_that_ran_there_and_has_ended_has_moved, volume_that_can_hold_none_is_forgotten_with_it,
	lease_is_forgotten_where_there_can_be_none)
