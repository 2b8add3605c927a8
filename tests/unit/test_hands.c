/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * daemon/hands and daemon/backing: a disk that hangs costs a process, not the daemon. Hands exec
 * the program that they are part of: here this test, under their name.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "daemon/backing.h"
#include "daemon/keeper_proto.h"
#include "daemon/loop.h"
#include "lib/cleanup.h"
#include "tests/unit/unit.h"

static char dir[64], path[80];
static struct watch_loop *loop;
static struct hands *hands;
static struct err e;

/* What the last opening came to. */
static struct backing_facts facts;
static struct err failure;
static int disk_fd;
static unsigned int answers;

static void begin(void)
{
	unit_path(dir, sizeof(dir), "hands");
	ck_assert(mkdtemp(dir));
	snprintf(path, sizeof(path), "%s/disk", dir);
	loop = loop_new(&e);
	hands = hands_new(loop, &e);
}

static void end(void)
{
	char cmd[96];

	hands_free(hands);
	loop_free(loop);
	snprintf(cmd, sizeof(cmd), "rm -r '%s'", dir);
	ck_assert_int_eq(system(cmd), 0);
}

static void make_disk(off_t size, mode_t mode)
{
	int fd = open(path, O_RDWR | O_CREAT, 0600);

	ck_assert_int_eq(ftruncate(fd, size), 0);
	fchmod(fd, mode);
	close(fd);
}

static void on_open(void *arg, const struct backing_facts *f, int fd, const struct err *why)
{
	(void)arg;
	disk_fd = fd;
	memset(&failure, 0, sizeof(failure));
	if (why)
		failure = *why;
	else
		facts = *f;
	answers++;
	loop_stop(loop);
}

static void open_disk(bool readonly)
{
	ck_assert_msg(backing_open(hands, path, readonly, on_open, NULL, &e) == 0, "%s", e.msg);
	ck_assert_int_eq(loop_run(loop, &e), 0);
}

START_TEST(opens_and_tells_the_facts)
{
	struct stat st;

	begin();
	make_disk(1 << 20, 0600);
	open_disk(false);
	ck_assert_msg(failure.kind == ERR_NONE, "%s", failure.msg);
	ck_assert_uint_eq(facts.size_bytes, 1 << 20);
	ck_assert(!facts.is_block);
	ck_assert_int_eq(fstat(disk_fd, &st), 0);
	ck_assert_uint_eq(st.st_ino, facts.inode);
	ck_assert(fcntl(disk_fd, F_GETFL) & O_PATH); /* closing it waits for nobody */
	ck_assert_int_eq(fcntl(disk_fd, F_GETFD), FD_CLOEXEC);
	ck_assert_uint_eq(backing_size(disk_fd), 1 << 20);
	close(disk_fd);
	end();
}
END_TEST

static void expect_refused(const char *code)
{
	open_disk(false);
	ck_assert_str_eq(failure.code, code);
	ck_assert_int_eq(disk_fd, -1);
}

START_TEST(unfit_disks_are_refused)
{
	begin();
	make_disk(0, 0600);
	expect_refused("DEV-EMPTY");
	make_disk(511, 0600);
	expect_refused("DEV-EMPTY");
	make_disk(512, 0600);
	open_disk(false);
	ck_assert_int_eq(failure.kind, ERR_NONE);
	close(disk_fd);
	ck_assert_int_eq(unlink(path), 0);
	open_disk(false);
	ck_assert_int_eq(failure.kind, ERR_NOT_FOUND);
	ck_assert_int_eq(mkfifo(path, 0600), 0);
	expect_refused("DEV-KIND");
	ck_assert_int_eq(unlink(path), 0);
	ck_assert_int_eq(mkdir(path, 0700), 0);
	open_disk(true);
	ck_assert_str_eq(failure.code, "DEV-KIND");
	end();
}
END_TEST

START_TEST(disk_that_qemu_uses_is_refused)
{
	struct flock lock = {.l_type = F_RDLCK, .l_whence = SEEK_SET, .l_start = 201, .l_len = 1};
	int qemu;

	begin();
	make_disk(1 << 20, 0600);
	qemu = open(path, O_RDWR);
	ck_assert_int_eq(fcntl(qemu, F_OFD_SETLK, &lock), 0);
	expect_refused("DEV-BUSY");
	close(qemu);
	end();
}
END_TEST

static void on_idle(void *arg, const struct err *why)
{
	(void)arg;
	memset(&failure, 0, sizeof(failure));
	if (why)
		failure = *why;
	loop_stop(loop);
}

static void wait_idle(uint64_t deadline_ms)
{
	ck_assert(backing_wait_idle(hands, path, disk_fd, deadline_ms, on_idle, NULL, &e) == 0);
	ck_assert_int_eq(loop_run(loop, &e), 0);
}

static void let_go(void *arg, unsigned int events)
{
	(void)events;
	close_fd(arg);
}

START_TEST(last_request_is_seen_by_its_lock)
{
	struct flock lock = {.l_type = F_RDLCK,
		.l_whence = SEEK_SET,
		.l_start = KEEPER_LOCK_BASE + 3,
		.l_len = 1};
	struct watch *timer;
	int worker;

	begin();
	make_disk(1 << 20, 0600);
	open_disk(false);
	wait_idle(20000);
	ck_assert_int_eq(failure.kind, ERR_NONE);
	worker = open(path, O_RDWR);
	ck_assert_int_eq(fcntl(worker, F_OFD_SETLK, &lock), 0);
	timer = loop->ops->add_timer(loop, 100, let_go, &worker, &e);
	wait_idle(20000);
	ck_assert_int_eq(failure.kind, ERR_NONE);
	ck_assert_int_eq(worker, -1);
	loop->ops->remove(timer);
	worker = open(path, O_RDWR);
	ck_assert_int_eq(fcntl(worker, F_OFD_SETLK, &lock), 0);
	wait_idle(100);
	ck_assert_str_eq(failure.code, "DEV-WEDGED");
	close(worker);
	close(disk_fd);
	end();
}
END_TEST

/* --- a hand that hangs ------------------------------------------------------------------------ */

static void on_hand(void *arg, const void *result, size_t len, int fd, const struct err *why)
{
	(void)arg, (void)result, (void)len;
	ck_assert_int_eq(fd, -1);
	memset(&failure, 0, sizeof(failure));
	if (why)
		failure = *why;
	answers++;
	loop_stop(loop);
}

static void look(void *arg, unsigned int events)
{
	(void)arg, (void)events;
	loop_stop(loop);
}

START_TEST(stuck_hand_is_given_up_and_its_object_wedged)
{
	static const char *const words[HAND_WORDS] = {"sleep", "x"};
	uint64_t before;

	begin();
	before = now_ms();
	ck_assert_int_eq(hands_do(hands, "disk", words, 100, on_hand, NULL, &e), 0);
	ck_assert_int_eq(loop_run(loop, &e), 0);
	ck_assert_uint_ge(now_ms() - before, 100);
	ck_assert_str_eq(failure.code, "DEV-WEDGED");
	/* It can be killed, unlike one in the kernel, and was: then the object is free again. */
	while (hands_is_wedged(hands, "disk")) {
		struct watch *timer = loop->ops->add_timer(loop, 2, look, NULL, &e);

		ck_assert_int_eq(hands_do(hands, "disk", words, 100, on_hand, NULL, &e), -1);
		ck_assert_str_eq(e.code, "DEV-WEDGED");
		ck_assert_int_eq(loop_run(loop, &e), 0);
		loop->ops->remove(timer);
	}
	ck_assert_uint_eq(answers, 1);
	end();
}
END_TEST

START_TEST(hand_that_dies_is_told)
{
	static const char *const words[HAND_WORDS] = {"crash", "x"};

	begin();
	ck_assert_int_eq(hands_do(hands, "disk", words, 10000, on_hand, NULL, &e), 0);
	ck_assert_int_eq(loop_run(loop, &e), 0);
	ck_assert_str_eq(failure.code, "HAND");
	ck_assert(!hands_is_wedged(hands, "disk"));
	end();
}
END_TEST

START_TEST(hand_has_nothing_of_ours_open)
{
	static const char *const words[HAND_WORDS] = {"count", "x"};
	int extra[20];

	begin();
	for (size_t i = 0; i < ARRAY_SIZE(extra); i++)
		extra[i] = dup(0); /* not close-on-exec */
	ck_assert_int_eq(hands_do(hands, "disk", words, 10000, on_hand, NULL, &e), 0);
	ck_assert_int_eq(loop_run(loop, &e), 0);
	ck_assert_str_eq(failure.msg, "4 descriptors"); /* 0, 1, 2 and its socket */
	for (size_t i = 0; i < ARRAY_SIZE(extra); i++)
		close(extra[i]);
	end();
}
END_TEST

/* --- those of an earlier daemon --------------------------------------------------------------- */

static pid_t seen;
static char seen_at[80], seen_work[80];

static void see(void *arg, pid_t pid, const char *object, const char *work)
{
	(void)arg;
	seen = pid;
	str_copy(seen_at, sizeof(seen_at), object);
	str_copy(seen_work, sizeof(seen_work), work);
}

/* Until a hand of this folder is there. */
static void wait_until_seen(void)
{
	for (seen = 0; !seen;)
		ck_assert_int_eq(hands_each_process(dir, see, NULL, &e), 0);
}

/* What is left of a daemon that was killed: the hand goes on, and has its name. */
START_TEST(hand_of_a_dead_daemon_is_found_and_ended)
{
	static const char *const words[HAND_WORDS] = {"sleep", "1", "2"};
	struct hands *next;

	begin();
	ck_assert_int_eq(hands_adopt(hands, dir, &e), 0);
	ck_assert_int_eq(hands_do(hands, "disk", words, 60000, on_hand, NULL, &e), 0);
	wait_until_seen();
	ck_assert_str_eq(seen_at, "disk");
	ck_assert_str_eq(seen_work, "sleep 1 2");
	next = hands_new(loop, &e);
	ck_assert_int_eq(hands_adopt(next, "/elsewhere", &e), 0);
	ck_assert_int_eq(kill(seen, 0), 0); /* none of theirs */
	ck_assert_int_eq(hands_adopt(next, dir, &e), 0);
	ck_assert(!hands_is_wedged(next, "disk")); /* this one can be killed */
	ck_assert_int_eq(loop_run(loop, &e), 0);
	ck_assert_str_eq(failure.code, "HAND");
	hands_free(next);
	end();
}
END_TEST

START_TEST(hand_without_a_daemon_does_nothing)
{
	static const char *const words[HAND_WORDS] = {"open", "/dev/null", "ro"};
	char *argv[] = {(char *)HAND_NAME, dir, (char *)"x", (char *)words[0], path,
		(char *)words[2], NULL};
	int pair[2];

	begin();
	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, pair), 0);
	close(pair[0]);
	ck_assert_int_eq(dup2(pair[1], 3), 3);
	ck_assert_int_eq(hand_main(ARRAY_SIZE(argv) - 1, argv), 1);
	end();
}
END_TEST

static char told[200];

static void listen_to(void *arg, const char *object, bool wedged)
{
	size_t len = strlen(told);

	(void)arg;
	snprintf(told + len, sizeof(told) - len, "%s %s, ", object, wedged ? "wedged" : "free");
	if (!wedged)
		loop_stop(loop);
}

START_TEST(listener_hears_of_both_ends_of_a_wedge)
{
	static const char *const words[HAND_WORDS] = {"sleep", "x"};
	struct hand_wedge wedge;

	begin();
	hands_set_listener(hands, listen_to, NULL);
	ck_assert(!hands_find_wedge(hands, "disk", &wedge));
	ck_assert_int_eq(hands_do(hands, "disk", words, 50, on_hand, NULL, &e), 0);
	ck_assert_int_eq(loop_run(loop, &e), 0);
	ck_assert_str_eq(failure.code, "DEV-WEDGED");
	ck_assert_ptr_nonnull(strstr(failure.evidence, "(sleep x) does not end"));
	ck_assert_int_eq(loop_run(loop, &e), 0);
	ck_assert_str_eq(told, "disk wedged, disk free, ");
	end();
}
END_TEST

/* Hands of this test, beside the real one. */
static int test_hand(const char *work, int argc, char **argv)
{
	struct {
		struct err e;
		unsigned char result[HAND_RESULT_SIZE];
	} answer = {0};
	unsigned int open_fds = 0;

	prctl(PR_SET_NAME, HAND_NAME);
	if (strcmp(work, "sleep") == 0)
		for (;;)
			pause();
	if (strcmp(work, "crash") == 0)
		raise(SIGKILL);
	if (strcmp(work, "count") != 0)
		return hand_main(argc, argv);
	for (int fd = 0; fd < 1024; fd++)
		open_fds += fcntl(fd, F_GETFD) >= 0;
	err_set(&answer.e, ERR_FAILED, "TEST", "%u descriptors", open_fds);
	return write(3, &answer, sizeof(answer)) == sizeof(answer) ? 0 : 1;
}

int main(int argc, char **argv)
{
	const TTest *const tests[] = {opens_and_tells_the_facts, unfit_disks_are_refused,
		disk_that_qemu_uses_is_refused, last_request_is_seen_by_its_lock,
		stuck_hand_is_given_up_and_its_object_wedged, hand_that_dies_is_told,
		hand_has_nothing_of_ours_open, hand_of_a_dead_daemon_is_found_and_ended,
		hand_without_a_daemon_does_nothing, listener_hears_of_both_ends_of_a_wedge};

	if (strcmp(argv[0], HAND_NAME) == 0 && argc > 3)
		return test_hand(argv[3], argc, argv);
	return unit_run(__FILE__, tests, ARRAY_SIZE(tests));
}
