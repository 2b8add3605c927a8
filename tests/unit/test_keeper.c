/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * iovd-keeper, run as it is, in a folder where `iovd` and `iov-worker` are stand-ins: this very
 * program under other names. The daemon's stand-in sends its channel to the test, which then speaks
 * with the keeper as the daemon does. The worker's stand-in follows keeper_proto.h, does no I/O,
 * and writes what it sees into its session page, which the test maps.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/pidfd.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "daemon/keeper_api.h"
#include "daemon/keeper_proto.h"
#include "daemon/loop.h"
#include "lib/backends/vault.h"
#include "lib/cleanup.h"
#include "lib/fdio.h"
#include "tests/unit/keeper_standin.h"
#include "tests/unit/unit.h"

#define WAIT_MS 15000

/* --- a keeper under test ---------------------------------------------------------------------- */

static char dir[64], run_dir[80], disk_path[80], socket_path[80];
static int listener = -1;
static struct watch_loop *loop;
static struct keeper_link *link_;
static pid_t keeper_pid, daemon_pid;
static struct standin_page *page;
static int page_fd, disk_fd;

/* The last fact about a1, and how often one came. */
static struct keeper_item item;
static char failure[KEEPER_TEXT_SIZE];
static unsigned int items;
static bool link_is_lost;

static void on_item(void *arg, const char *id, const struct keeper_item *it, const char *text)
{
	(void)arg;
	ck_assert_str_eq(id, "a1");
	item = *it;
	items++;
	str_copy(failure, sizeof(failure), text);
}

static void on_lost(void *arg)
{
	(void)arg;
	link_is_lost = true;
}

static const struct keeper_link_ops link_ops = {.item = on_item, .lost = on_lost};

static void copy_program(const char *from, const char *name)
{
	char to[128], cmd[PATH_MAX + 160];

	snprintf(to, sizeof(to), "%s/%s", dir, name);
	snprintf(cmd, sizeof(cmd), "cp '%s' '%s'", from, to);
	ck_assert_int_eq(system(cmd), 0);
}

static pid_t keeper_start(const char *option)
{
	char program[128], runtime[128];
	pid_t pid;

	snprintf(program, sizeof(program), "%s/iovd-keeper", dir);
	snprintf(runtime, sizeof(runtime), "--runtime-dir=%s", run_dir);
	pid = fork();
	if (pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		execl(program, "iovd-keeper", runtime, option, NULL);
		_exit(9);
	}
	return pid;
}

/* A zombie that nobody reaps is dead too. */
static bool is_alive(pid_t pid)
{
	auto_close int pidfd = pidfd_open(pid, 0);
	struct pollfd p = {.fd = pidfd, .events = POLLIN};

	return pidfd >= 0 && poll(&p, 1, 0) == 0;
}

static int keeper_wait(pid_t pid)
{
	int status = -1;

	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	return WIFEXITED(status) ? WEXITSTATUS(status) : 1000 + WTERMSIG(status);
}

/* The next daemon's channel becomes ours. */
static void daemon_accept(void)
{
	struct pollfd p = {.fd = listener, .events = POLLIN};
	struct fdio_msg in;
	struct err e = ERR_INIT;
	int sock;

	ck_assert_int_eq(poll(&p, 1, WAIT_MS), 1);
	sock = accept(listener, NULL, NULL);
	ck_assert_int_eq(fdio_recv(sock, &daemon_pid, sizeof(daemon_pid), 0, &in), 0);
	ck_assert_uint_eq(in.fd_count, 1);
	close(sock);
	keeper_link_free(link_);
	link_is_lost = false;
	link_ = keeper_link_new(loop, in.fds[0], &link_ops, NULL, &e);
	ck_assert_msg(link_, "%s", e.msg);
}

static void setup(void)
{
	struct sockaddr_un addr = {.sun_family = AF_UNIX};
	struct err e = ERR_INIT;
	char self[PATH_MAX], keeper[PATH_MAX];

	prctl(PR_SET_CHILD_SUBREAPER, 1); /* workers whose keeper ended */
	unit_path(dir, sizeof(dir), "keeper");
	ck_assert(mkdtemp(dir));
	snprintf(run_dir, sizeof(run_dir), "%s/run", dir);
	snprintf(disk_path, sizeof(disk_path), "%s/disk", dir);
	snprintf(socket_path, sizeof(socket_path), "%s/test.sock", dir);
	ck_assert(realpath("/proc/self/exe", self));
	snprintf(keeper, sizeof(keeper), "%s/iovd-keeper", getenv("IOVD_BUILD") ?: ".");
	copy_program(keeper, "iovd-keeper");
	copy_program(self, "iovd");
	copy_program(self, "iov-worker");
	listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	str_copy(addr.sun_path, sizeof(addr.sun_path), socket_path);
	ck_assert_int_eq(bind(listener, (struct sockaddr *)&addr, sizeof(addr)), 0);
	ck_assert_int_eq(listen(listener, 4), 0);
	setenv(STANDIN_SOCKET, socket_path, 1);
	loop = loop_new(&e);
	disk_fd = open(disk_path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	ck_assert_int_eq(ftruncate(disk_fd, 1 << 20), 0);
	page_fd = fdio_sealed_memfd("page", STANDIN_PAGE_SIZE, &e);
	page = mmap(NULL, STANDIN_PAGE_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, page_fd, 0);
	ck_assert(page != MAP_FAILED);
}

static void begin(void)
{
	setup();
	keeper_pid = keeper_start(NULL);
	daemon_accept();
}

/* --stop-all is also the tear-down: it ends keeper, daemon and workers. */
static void end(void)
{
	char cmd[128];
	pid_t pid;

	keeper_link_free(link_);
	link_ = NULL;
	pid = keeper_start("--stop-all");
	ck_assert_int_eq(keeper_wait(pid), 0);
	if (keeper_pid)
		ck_assert_int_eq(keeper_wait(keeper_pid), 0);
	while (waitpid(-1, NULL, WNOHANG) > 0)
		;
	loop_free(loop);
	snprintf(cmd, sizeof(cmd), "rm -r '%s'", dir);
	ck_assert_int_eq(system(cmd), 0);
}

/* Runs the loop until the condition holds; fails the test when it never does. */
static void look(void *arg, unsigned int events)
{
	(void)arg, (void)events;
	loop_stop(loop);
}

static void turn(void)
{
	struct err e = ERR_INIT;
	struct watch *timer = loop->ops->add_timer(loop, 2, look, NULL, &e);

	ck_assert_int_eq(loop_run(loop, &e), 0);
	loop->ops->remove(timer);
}

#define AWAIT(condition)                                                                           \
	do {                                                                                       \
		uint64_t until_ = now_ms() + WAIT_MS;                                              \
		while (!(condition)) {                                                             \
			ck_assert_msg(now_ms() < until_, "never came: %s", #condition);            \
			turn();                                                                    \
		}                                                                                  \
	} while (0)

#define OK(call)                                                                                   \
	do {                                                                                       \
		struct err e_ = ERR_INIT;                                                          \
		struct err *e = &e_;                                                               \
		ck_assert_msg((call) >= 0, "%s: %s", #call, e_.msg);                               \
	} while (0)

static void fill(void)
{
	OK(keeper_link_fill(link_, "a1", VAULT_PAGE, page_fd, e));
	OK(keeper_link_fill(link_, "a1", VAULT_BACKING, disk_fd, e));
}

static void spawn(unsigned int entries)
{
	static const char *const words[] = {"null", "--color=blue", "two words", NULL};

	OK(keeper_link_spawn(link_, "a1", 0, entries, words, e));
}

static void spawn_ready(unsigned int entries)
{
	spawn(entries);
	AWAIT(item.ready && item.pid > 0);
}

static void order(enum standin_order code, uint64_t value)
{
	page->last_done = 0;
	OK(keeper_link_tell(link_, "a1", code, value, e));
	AWAIT(page->last_done == code);
}

static void kill_worker(void)
{
	OK(keeper_link_kill(link_, "a1", SIGKILL, e));
	AWAIT(item.pid == 0);
}

static bool slot_is_filled(unsigned int slot)
{
	struct err e = ERR_INIT;
	int fd = keeper_link_fetch(link_, "a1", slot, &e);

	ck_assert(fd >= 0 || e.kind == ERR_NOT_FOUND);
	close_fd(&fd);
	return fd >= 0 || e.kind == ERR_NONE;
}

/* How many rings the keeper holds. */
static unsigned int keeper_rings(void)
{
	char path[64], name[64];
	unsigned int count = 0;
	struct dirent *entry;
	DIR *fds;

	snprintf(path, sizeof(path), "/proc/%d/fd", (int)keeper_pid);
	fds = opendir(path);
	ck_assert(fds);
	while ((entry = readdir(fds))) {
		ssize_t len = readlinkat(dirfd(fds), entry->d_name, name, sizeof(name) - 1);

		name[MAX(len, 0)] = '\0';
		count += strcmp(name, "anon_inode:[io_uring]") == 0;
	}
	closedir(fds);
	return count;
}

/* --- tests ------------------------------------------------------------------------------------ */

START_TEST(worker_is_born_with_what_it_needs_and_no_more)
{
	begin();
	fill();
	spawn_ready(8);
	ck_assert_uint_eq(page->generation, 1);
	ck_assert_uint_eq(item.generation, 1);
	ck_assert_uint_eq(page->entries, 8);
	ck_assert_uint_eq(page->filled_slots, 3); /* page, disk, and the adoption socket */
	/* 0, 1, 2; control, ring, no old ring, disk; nothing else */
	ck_assert_uint_eq(page->open_fds, 0x5f);
	ck_assert_uint_eq(page->more_fds, 0);
	ck_assert_str_eq(page->words,
		"null --control-fd=3 --ring-fd=4 --backing-fd=6 --color=blue two words ");
	end();
}
END_TEST

START_TEST(vault_outlives_worker)
{
	begin();
	fill();
	spawn_ready(8);
	order(ORDER_PUT, VAULT_CONN);
	order(ORDER_PUT, VAULT_TAP0 - 1);
	order(ORDER_PUT, VAULT_MEM0);
	ck_assert(slot_is_filled(VAULT_CONN));
	order(ORDER_DROP, VAULT_MEM0);
	kill_worker();
	ck_assert_int_eq(item.exit_status, SIGKILL);
	ck_assert(slot_is_filled(VAULT_CONN));
	ck_assert(slot_is_filled(VAULT_TAP0 - 1));
	ck_assert(!slot_is_filled(VAULT_MEM0));
	spawn_ready(16);
	ck_assert_uint_eq(page->generation, 2);
	ck_assert_uint_eq(page->filled_slots, 5);
	end();
}
END_TEST

START_TEST(a_full_vault_is_handed_on_whole)
{
	begin();
	fill();
	for (unsigned int slot = VAULT_MEM0; slot < VAULT_SLOTS; slot++)
		OK(keeper_link_fill(link_, "a1", slot, disk_fd, e));
	spawn_ready(8);
	ck_assert_uint_eq(page->filled_slots, VAULT_SLOTS - VAULT_MEM0 + 3);
	end();
}
END_TEST

START_TEST(old_ring_is_kept_until_drained)
{
	begin();
	fill();
	spawn_ready(8);
	kill_worker();
	spawn_ready(16);
	ck_assert_uint_eq(page->old_entries, 8);
	ck_assert_uint_eq(page->open_fds, 0x7f);
	ck_assert_uint_eq(keeper_rings(), 2);
	/* Dies before it drained: the successor gets the same one. */
	kill_worker();
	spawn_ready(32);
	ck_assert_uint_eq(page->old_entries, 8);
	order(ORDER_DRAINED, 0);
	order(ORDER_PUT, VAULT_LOG); /* is answered behind it */
	ck_assert_uint_eq(keeper_rings(), 1);
	/* Dies after: its own ring is the old one. */
	kill_worker();
	spawn_ready(64);
	ck_assert_uint_eq(page->old_entries, 32);
	end();
}
END_TEST

START_TEST(what_breaks_the_protocol_is_killed)
{
	begin();
	fill();
	spawn_ready(8);
	OK(keeper_link_tell(link_, "a1", ORDER_NONSENSE, 0, e));
	AWAIT(item.pid == 0);
	ck_assert_int_eq(item.exit_status, SIGKILL);
	end();
}
END_TEST

START_TEST(slots_of_the_daemon_are_not_the_workers)
{
	static const enum vault_slot theirs[] = {
		VAULT_PAGE, VAULT_LISTEN, VAULT_BACKING, VAULT_ADOPT, VAULT_TAP0};

	begin();
	fill();
	for (size_t i = 0; i < ARRAY_SIZE(theirs); i++) {
		spawn_ready(8);
		OK(keeper_link_tell(link_, "a1", ORDER_PUT, theirs[i], e));
		AWAIT(item.pid == 0);
		ck_assert_int_eq(item.exit_status, SIGKILL);
		spawn_ready(8);
		OK(keeper_link_tell(link_, "a1", ORDER_DROP, theirs[i], e));
		AWAIT(item.pid == 0);
	}
	end();
}
END_TEST

START_TEST(notes_are_counted)
{
	begin();
	fill();
	spawn_ready(8);
	order(ORDER_NOTE, 0);
	order(ORDER_NOTE, 0);
	AWAIT(item.notes == 2);
	end();
}
END_TEST

START_TEST(a_start_that_fails_says_why)
{
	static const char *const words[] = {"null", NULL};
	int folder;

	begin();
	fill();
	folder = open(dir, O_RDONLY | O_CLOEXEC); /* which cannot be opened for writing */
	OK(keeper_link_fill(link_, "a1", VAULT_BACKING, folder, e));
	OK(keeper_link_spawn(link_, "a1", KEEPER_SPAWN_DIRECT, 8, words, e));
	AWAIT(item.generation == 1 && item.pid == 0);
	ck_assert(!item.ready);
	ck_assert_str_ne(failure, "");
	ck_assert_int_eq(item.exit_status, 1 << 8);
	/* And the next one can. */
	OK(keeper_link_fill(link_, "a1", VAULT_BACKING, disk_fd, e));
	spawn_ready(8);
	ck_assert_str_eq(failure, "");
	end();
}
END_TEST

START_TEST(requests_that_make_no_sense_are_refused)
{
	static const char *const words[] = {"null", NULL};
	struct err e = ERR_INIT;

	begin();
	ck_assert_int_eq(keeper_link_spawn(link_, "a1", 0, 8, words, &e), -1);
	ck_assert_int_eq(e.kind, ERR_NOT_FOUND);
	ck_assert_int_eq(keeper_link_fill(link_, "../a", VAULT_PAGE, page_fd, &e), -1);
	ck_assert_int_eq(keeper_link_fill(link_, "a1", VAULT_SLOTS, page_fd, &e), -1);
	ck_assert_int_eq(keeper_link_fill(link_, "a1", VAULT_PAGE, page_fd, &e), 0);
	ck_assert_int_eq(keeper_link_spawn(link_, "a1", 0, 8, words, &e), -1); /* no disk */
	fill();
	ck_assert_int_eq(keeper_link_spawn(link_, "a1", 0, 0, words, &e), -1);
	spawn_ready(8);
	ck_assert_int_eq(keeper_link_spawn(link_, "a1", 0, 8, words, &e), -1);
	ck_assert_int_eq(e.kind, ERR_BUSY);
	ck_assert_int_eq(keeper_link_forget(link_, "a1", &e), -1);
	ck_assert_int_eq(e.kind, ERR_BUSY);
	kill_worker();
	ck_assert_int_eq(keeper_link_forget(link_, "a1", &e), 0);
	ck_assert_int_eq(keeper_link_forget(link_, "a1", &e), 0);
	ck_assert_uint_eq(keeper_rings(), 0);
	end();
}
END_TEST

START_TEST(daemon_is_started_again_and_finds_all)
{
	pid_t worker, before;

	begin();
	fill();
	OK(keeper_link_up(link_, e));
	spawn_ready(8);
	worker = item.pid;
	before = daemon_pid;
	kill(daemon_pid, SIGKILL);
	daemon_accept();
	ck_assert_int_ne(daemon_pid, before);
	memset(&item, 0, sizeof(item));
	OK(keeper_link_list(link_, e));
	ck_assert_int_eq(item.pid, worker);
	ck_assert_uint_eq(item.generation, 1);
	ck_assert(item.ready);
	end();
}
END_TEST

static void kill_and_wait(pid_t pid)
{
	struct pollfd end = {.fd = pidfd_open(pid, 0), .events = POLLIN};

	ck_assert_int_ge(end.fd, 0);
	ck_assert_int_eq(kill(pid, SIGKILL), 0);
	ck_assert_int_eq(poll(&end, 1, WAIT_MS), 1);
	close(end.fd);
}

/* Nobody orders the second one, nor the third; each gets the ring of the one before. */
START_TEST(worker_that_dies_without_a_daemon_goes_on)
{
	begin();
	fill();
	OK(keeper_link_up(link_, e));
	spawn_ready(8);
	for (uint64_t generation = 2; generation <= 3; generation++) {
		OK(keeper_link_up(link_, e));
		kill_and_wait(generation == 2 ? daemon_pid : item.pid);
		kill_and_wait(generation == 2 ? item.pid : daemon_pid);
		daemon_accept();
		memset(&item, 0, sizeof(item));
		OK(keeper_link_list(link_, e));
		AWAIT(item.generation == generation && item.ready && item.pid > 0);
		ck_assert_uint_eq(page->old_entries, 8);
	}
	kill_worker();
	spawn_ready(16);
	ck_assert_uint_eq(page->old_entries, 8);
	end();
}
END_TEST

/* The daemon may have been about to give it another disk. */
START_TEST(worker_that_was_told_to_end_stays_dead)
{
	begin();
	fill();
	OK(keeper_link_up(link_, e));
	spawn_ready(8);
	kill(item.pid, SIGSTOP);
	OK(keeper_link_kill(link_, "a1", SIGTERM, e));
	kill(daemon_pid, SIGKILL);
	daemon_accept();
	kill(daemon_pid, SIGKILL);
	kill(item.pid, SIGKILL);
	daemon_accept();
	memset(&item, 0, sizeof(item));
	OK(keeper_link_list(link_, e));
	AWAIT(item.generation == 1 && item.pid == 0);
	spawn_ready(16);
	end();
}
END_TEST

/* The daemon knew of it, and was about to do something else than to start it again as it was. */
START_TEST(worker_that_the_daemon_is_at_stays_dead)
{
	for (int fills = 0; fills <= 1; fills++) {
		begin();
		fill();
		OK(keeper_link_list(link_, e));
		OK(keeper_link_up(link_, e));
		spawn_ready(8);
		kill(item.pid, SIGKILL);
		AWAIT(item.pid == 0);
		if (fills)
			fill();
		else
			OK(keeper_link_kill(link_, "a1", 0, e));
		kill(daemon_pid, SIGKILL);
		daemon_accept();
		OK(keeper_link_list(link_, e));
		ck_assert_int_eq(item.pid, 0);
		ck_assert_uint_eq(item.generation, 1);
		end();
	}
}
END_TEST

START_TEST(daemon_that_never_came_up_ends_the_keeper)
{
	setup();
	setenv(STANDIN_STATUS, "3", 1);
	ck_assert_int_eq(keeper_wait(keeper_start(NULL)), 3);
	unsetenv(STANDIN_STATUS);
	end();
}
END_TEST

START_TEST(second_keeper_is_refused)
{
	begin();
	ck_assert_int_eq(keeper_wait(keeper_start(NULL)), 1);
	OK(keeper_link_list(link_, e));
	end();
}
END_TEST

static void keeper_replace(int sig)
{
	kill(keeper_pid, sig);
	keeper_wait(keeper_pid);
	AWAIT(link_is_lost);
	keeper_pid = keeper_start(NULL);
	daemon_accept();
	memset(&item, 0, sizeof(item));
	OK(keeper_link_list(link_, e));
}

static void new_keeper_adopts(int sig)
{
	pid_t worker;

	begin();
	fill();
	spawn_ready(8);
	order(ORDER_PUT, VAULT_CONN);
	worker = item.pid;
	keeper_replace(sig);
	ck_assert_int_eq(item.pid, worker);
	ck_assert_uint_eq(item.generation, 1);
	ck_assert(item.ready);
	ck_assert(slot_is_filled(VAULT_CONN));
	ck_assert(slot_is_filled(VAULT_PAGE));
	ck_assert_uint_eq(keeper_rings(), 1);
	order(ORDER_NOTE, 0);
	kill_worker();
	spawn_ready(16);
	ck_assert_uint_eq(page->generation, 2);
	ck_assert_uint_eq(page->old_entries, 8);
	end();
}

START_TEST(new_keeper_adopts_after_sigterm)
{
	new_keeper_adopts(SIGTERM);
}
END_TEST

START_TEST(new_keeper_adopts_after_sigkill)
{
	new_keeper_adopts(SIGKILL);
}
END_TEST

START_TEST(new_keeper_forgets_dead_workers)
{
	begin();
	fill();
	spawn_ready(8);
	kill_worker();
	keeper_replace(SIGTERM);
	ck_assert_uint_eq(item.generation, 0); /* nothing was listed */
	end();
}
END_TEST

START_TEST(stop_all_ends_workers_with_and_without_a_keeper)
{
	pid_t worker;

	begin();
	fill();
	spawn_ready(8);
	worker = item.pid;
	kill(keeper_pid, SIGTERM);
	ck_assert_int_eq(keeper_wait(keeper_pid), 0);
	ck_assert(is_alive(worker));
	ck_assert_int_eq(keeper_wait(keeper_start("--stop-all")), 0);
	ck_assert(!is_alive(worker));

	keeper_pid = keeper_start(NULL);
	daemon_accept();
	fill();
	spawn_ready(8);
	worker = item.pid;
	ck_assert_int_eq(keeper_wait(keeper_start("--stop-all")), 0);
	ck_assert_int_eq(keeper_wait(keeper_pid), 0);
	ck_assert(!is_alive(worker));
	keeper_pid = 0;
	end();
}
END_TEST

/* Somebody's I/O of an older generation is still there, and no ring answers for it. */
START_TEST(fresh_worker_waits_for_older_io)
{
	struct flock lock = {.l_type = F_RDLCK,
		.l_whence = SEEK_SET,
		.l_start = KEEPER_LOCK_BASE + 7,
		.l_len = 1};
	int other;

	begin();
	other = open(disk_path, O_RDONLY | O_CLOEXEC);
	ck_assert_int_eq(fcntl(other, F_OFD_SETLK, &lock), 0);
	fill();
	spawn(8);
	AWAIT(item.pid > 0);
	for (int i = 0; i < 50; i++)
		turn();
	ck_assert(!item.ready);
	close(other);
	AWAIT(item.ready);
	end();
}
END_TEST

START_TEST(live_worker_holds_its_generation_lock)
{
	struct flock lock = {.l_type = F_WRLCK,
		.l_whence = SEEK_SET,
		.l_start = KEEPER_LOCK_BASE + 1,
		.l_len = 1};

	begin();
	fill();
	spawn_ready(8);
	ck_assert_int_eq(fcntl(disk_fd, F_OFD_GETLK, &lock), 0);
	ck_assert_int_eq(lock.l_type, F_RDLCK);
	kill_worker();
	/* The keeper's ring still holds it: nobody else can think that its I/O is over. */
	lock.l_type = F_WRLCK;
	lock.l_pid = 0;
	ck_assert_int_eq(fcntl(disk_fd, F_OFD_GETLK, &lock), 0);
	ck_assert_int_eq(lock.l_type, F_RDLCK);
	end();
}
END_TEST

int main(int argc, char **argv)
{
	const TTest *const tests[] = {worker_is_born_with_what_it_needs_and_no_more,
		vault_outlives_worker, a_full_vault_is_handed_on_whole,
		old_ring_is_kept_until_drained, what_breaks_the_protocol_is_killed,
		slots_of_the_daemon_are_not_the_workers, notes_are_counted,
		a_start_that_fails_says_why, requests_that_make_no_sense_are_refused,
		daemon_is_started_again_and_finds_all, worker_that_dies_without_a_daemon_goes_on,
		worker_that_was_told_to_end_stays_dead, worker_that_the_daemon_is_at_stays_dead,
		daemon_that_never_came_up_ends_the_keeper, second_keeper_is_refused,
		new_keeper_adopts_after_sigterm, new_keeper_adopts_after_sigkill,
		new_keeper_forgets_dead_workers, stop_all_ends_workers_with_and_without_a_keeper,
		fresh_worker_waits_for_older_io, live_worker_holds_its_generation_lock};
	const char *name = strrchr(argv[0], '/');

	name = name ? name + 1 : argv[0];
	if (strcmp(name, "iov-worker") == 0)
		return standin_worker(argc, argv);
	if (strcmp(name, "iovd") == 0)
		return standin_daemon(argc, argv);
	if (geteuid() != 0) {
		puts("SKIP: the keeper runs as root");
		return 77;
	}
	return unit_run(__FILE__, tests, ARRAY_SIZE(tests));
}
