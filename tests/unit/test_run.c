/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * HandOver over a real socket: descriptors arrive with the reply, or nowhere, and none is left in
 * the daemon on any way that this can end. The nodes are stood in for by a file that hands of this
 * program open: it has its own table of their works.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "daemon/conf.h"
#include "daemon/daemon.h"
#include "daemon/events.h"
#include "daemon/handover.h"
#include "daemon/hands.h"
#include "daemon/inventory.h"
#include "daemon/jobs.h"
#include "daemon/loop.h"
#include "daemon/passthrough.h"
#include "daemon/registry.h"
#include "daemon/server.h"
#include "lib/cleanup.h"
#include "proto/client.h"
#include "tests/unit/tree.h"
#include "tests/unit/unit.h"

#define ID      "0000:41:00.0"
#define NODE    "IOVD_TEST_NODE"    /* the file */
#define FAIL_AT "IOVD_TEST_FAIL_AT" /* a node that does not open */
#define HAND_OVER                                                                                  \
	"{\"method\":\"org.iovd.Manager.HandOver\",\"parameters\":{\"attachment\":\"a1\","         \
	"\"user\":\"nobody\",\"first_fd\":20,\"memory_bytes\":1048576}}"
#define LIST_VMS "{\"method\":\"org.iovd.Manager.ListVms\"}"

/* --- hands ------------------------------------------------------------------------------------ */

static const char *node(void)
{
	return getenv(NODE) ?: "";
}

static int work_open(char **words, void *result, int *fd, struct err *e)
{
	const char *bad = getenv(FAIL_AT);

	(void)result;
	if (bad && strcmp(bad, words[0]) == 0)
		return err_sys(e, EBUSY, "open %s", words[0]);
	*fd = open(node(), O_RDWR | O_CLOEXEC);
	return *fd < 0 ? err_sys(e, errno, "open %s", words[0]) : 0;
}

const struct hand_work hand_works[] = {{HANDOVER_WORK_OPEN, 0, work_open}};
const unsigned int hand_work_count = ARRAY_SIZE(hand_works);

/* --- the scene -------------------------------------------------------------------------------- */

static struct daemon d;
static struct conf conf;
static struct err e;
static char path[PATH_MAX + 8];
static struct attachment *attachment;
static struct watch *timer;

static void make_tree(void)
{
	tree_run("dev=$root/sys/bus/pci/devices/" ID "; mkdir -p $dev/vfio-dev/vfio3 "
		 "$root/sys/bus/pci/drivers/vfio-pci $root/sys/kernel/iommu_groups/12 "
		 "$root/proc/self $root/proc/net && "
		 "ln -s ../../drivers/vfio-pci $dev/driver && "
		 "ln -s ../../../../kernel/iommu_groups/12 $dev/iommu_group && "
		 "echo 0x1234 >$dev/vendor && echo 0x11e8 >$dev/device && "
		 "echo 0x00ff00 >$dev/class && echo 250:0 >$dev/vfio-dev/vfio3/dev && "
		 "touch $root/proc/self/mountinfo $root/proc/swaps $root/proc/net/route");
}

static void add_attachment(void)
{
	struct attachment_spec spec = {.path = ATTACHMENT_PASSTHROUGH, .queues = 1};

	str_copy(spec.id, sizeof(spec.id), "a1");
	str_copy(spec.vm, sizeof(spec.vm), "vm1");
	str_copy(spec.name, sizeof(spec.name), "edu");
	str_copy(spec.device, sizeof(spec.device), ID);
	str_copy(spec.owner, sizeof(spec.owner), "root");
	attachment = registry_add(d.registry, &spec, &e);
	ck_assert_ptr_nonnull(attachment);
	attachment->kept = KEPT_ATTACHED;
	attachment->has_cdev = true;
	registry_set_state(d.registry, attachment, ATTACHMENT_READY, NULL);
}

static void begin(void)
{
	auto_free char *aside = NULL;
	int fd;

	make_tree();
	tree_text("node", "");
	snprintf(path, sizeof(path), "%s/node", tree_root);
	setenv(NODE, path, 1);
	str_copy(conf.sysroot, sizeof(conf.sysroot), tree_root);
	snprintf(path, sizeof(path), "%s/db", tree_root);
	d = (struct daemon){.conf = &conf, .loop = loop_new(&e)};
	d.store = store_open(path, &registry_schema, &aside, &e);
	d.events = events_new(&e);
	d.jobs = jobs_new(d.loop, d.events, &e);
	d.hands = hands_new(d.loop, &e);
	ck_assert_int_eq(inventory_new(tree_root, NULL, &d.inventory, &e), 0);
	d.registry = registry_new(d.store, d.events, tree_root, &e);
	d.passthrough = passthrough_new(&d, &e);
	snprintf(path, sizeof(path), "%s/sock", tree_root);
	fd = server_listen(path, NULL, &e);
	ck_assert_msg(fd >= 0, "%s", e.msg);
	d.server = server_new(&d, fd, NULL, &server_default_limits, &e);
	ck_assert_ptr_nonnull(d.server);
	add_attachment();
}

static void end(void)
{
	d.loop->ops->remove(timer);
	server_free(d.server);
	passthrough_free(d.passthrough);
	hands_free(d.hands);
	registry_free(d.registry);
	inventory_free(d.inventory);
	jobs_free(d.jobs);
	events_free(d.events);
	store_close(d.store);
	loop_free(d.loop);
}

static void stop_loop(void *arg, unsigned int events)
{
	(void)arg;
	(void)events;
	loop_stop(d.loop);
}

static void run_for(uint64_t ms)
{
	if (timer)
		d.loop->ops->set_timer(timer, ms);
	else
		timer = d.loop->ops->add_timer(d.loop, ms, stop_loop, NULL, &e);
	ck_assert_int_eq(loop_run(d.loop, &e), 0);
}

#define RUN_UNTIL(condition)                                                                       \
	do {                                                                                       \
		uint64_t end_ = now_ms() + 20000;                                                  \
		while (!(condition)) {                                                             \
			ck_assert_msg(now_ms() < end_, "never: %s", #condition);                   \
			run_for(1);                                                                \
		}                                                                                  \
	} while (0)

static int dial(void)
{
	struct sockaddr_un addr = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	str_copy(addr.sun_path, sizeof(addr.sun_path), path);
	ck_assert_int_eq(connect(fd, (struct sockaddr *)&addr, sizeof(addr)), 0);
	return fd;
}

static void ask(int fd, const char *text)
{
	ck_assert_int_eq(send(fd, text, strlen(text) + 1, MSG_NOSIGNAL), (int)strlen(text) + 1);
}

static unsigned int open_fds(void)
{
	DIR *dir = opendir("/proc/self/fd");
	unsigned int count = 0;

	while (readdir(dir))
		count++;
	closedir(dir);
	return count;
}

/* How many of them hands brought. */
static unsigned int open_nodes(void)
{
	char link[64], target[PATH_MAX];
	unsigned int count = 0;

	for (int fd = 3; fd < 256; fd++) {
		ssize_t len;

		snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
		len = readlink(link, target, sizeof(target) - 1);
		target[len < 0 ? 0 : len] = '\0';
		count += strcmp(target, node()) == 0;
	}
	return count;
}

/* One whole message, and the descriptors that came with it. */
static char message[16384];
static struct fdio_msg got;

static bool receive(int fd)
{
	if (fdio_recv(fd, message, sizeof(message) - 1, MSG_DONTWAIT, &got) < 0)
		return false;
	message[got.len] = '\0';
	return true;
}

/* --- the tests -------------------------------------------------------------------------------- */

START_TEST(descriptors_come_with_the_words)
{
	unsigned int before;
	int fd;

	begin();
	fd = dial();
	run_for(10);
	before = open_fds();
	ask(fd, HAND_OVER);
	RUN_UNTIL(receive(fd));
	ck_assert_msg(got.fd_count == 2, "%u descriptors: %s", got.fd_count, message);
	ck_assert_ptr_nonnull(strstr(message, "\"iommufd,id=iovd-a1,fd=20\""));
	ck_assert_ptr_nonnull(strstr(message, "\"vfio-pci,fd=21,iommufd=iovd-a1\""));
	ck_assert_ptr_nonnull(strstr(message, "\"fds\":2"));
	ck_assert_uint_eq(open_nodes(), 2); /* ours: the daemon has kept none */
	fdio_msg_close(&got);
	RUN_UNTIL(open_fds() == before); /* the hand's go when it has ended */
	ck_assert(!attachment->busy);
	close(fd);
	end();
}
END_TEST

START_TEST(calls_behind_it_wait_and_come_alone)
{
	int fd;

	begin();
	fd = dial();
	ask(fd, LIST_VMS);
	ask(fd, HAND_OVER);
	ask(fd, LIST_VMS);
	RUN_UNTIL(receive(fd));
	ck_assert_uint_eq(got.fd_count, 0);
	ck_assert_ptr_nonnull(strstr(message, "iovd.vms/1"));
	RUN_UNTIL(receive(fd));
	ck_assert_uint_eq(got.fd_count, 2);
	ck_assert_ptr_nonnull(strstr(message, "iovd.handover/1"));
	fdio_msg_close(&got);
	RUN_UNTIL(receive(fd));
	ck_assert_uint_eq(got.fd_count, 0);
	ck_assert_ptr_nonnull(strstr(message, "iovd.vms/1"));
	close(fd);
	end();
}
END_TEST

START_TEST(client_that_takes_none_gets_the_words)
{
	int fd;

	begin();
	fd = dial();
	ask(fd, HAND_OVER);
	RUN_UNTIL(recv(fd, message, sizeof(message), MSG_DONTWAIT) > 0);
	ck_assert_ptr_nonnull(strstr(message, "iovd.handover/1"));
	ck_assert_uint_eq(open_nodes(), 0);
	ask(fd, LIST_VMS);
	RUN_UNTIL(recv(fd, message, sizeof(message), MSG_DONTWAIT) > 0);
	ck_assert_ptr_nonnull(strstr(message, "iovd.vms/1"));
	close(fd);
	end();
}
END_TEST

START_TEST(nothing_is_handed_over_in_part)
{
	int fd;

	begin();
	fd = dial();
	setenv(FAIL_AT, "/dev/vfio/devices/vfio3", 1); /* the second */
	ask(fd, HAND_OVER);
	RUN_UNTIL(receive(fd));
	ck_assert_uint_eq(got.fd_count, 0);
	ck_assert_ptr_nonnull(strstr(message, "org.iovd.Failed"));
	ck_assert_ptr_nonnull(strstr(message, "vfio3"));
	ck_assert_uint_eq(open_nodes(), 0);
	ck_assert(!attachment->busy);
	unsetenv(FAIL_AT);
	ask(fd, HAND_OVER);
	RUN_UNTIL(receive(fd));
	ck_assert_uint_eq(got.fd_count, 2);
	fdio_msg_close(&got);
	close(fd);
	end();
}
END_TEST

START_TEST(client_that_goes_away_leaves_none)
{
	int fd;

	begin();
	for (unsigned int ms = 0; ms < 12; ms++) { /* before the first, between them, after them */
		fd = dial();
		ask(fd, HAND_OVER);
		run_for(ms);
		close(fd);
		RUN_UNTIL(server_client_count(d.server) == 0 && !attachment->busy);
		ck_assert_uint_eq(open_nodes(), 0);
	}
	end();
}
END_TEST

START_TEST(only_what_is_ready_is_handed_over)
{
	int fd;

	begin();
	fd = dial();
	attachment->busy = true;
	ask(fd, HAND_OVER);
	RUN_UNTIL(receive(fd));
	ck_assert_ptr_nonnull(strstr(message, "org.iovd.Busy"));
	attachment->busy = false;
	registry_set_state(d.registry, attachment, ATTACHMENT_FAILED, "it is broken");
	ask(fd, HAND_OVER);
	RUN_UNTIL(receive(fd));
	ck_assert_ptr_nonnull(strstr(message, "NOT-READY"));
	ck_assert_ptr_nonnull(strstr(message, "it is broken"));
	/* without nodes of its own it is for its owner only */
	registry_set_state(d.registry, attachment, ATTACHMENT_RECOVERING, NULL);
	registry_set_state(d.registry, attachment, ATTACHMENT_READY, NULL);
	attachment->has_cdev = false;
	ask(fd, HAND_OVER);
	RUN_UNTIL(receive(fd));
	ck_assert_ptr_nonnull(strstr(message, "OWNER"));
	close(fd);
	end();
}
END_TEST

#define TESTS                                                                                      \
	descriptors_come_with_the_words, calls_behind_it_wait_and_come_alone,                      \
		client_that_takes_none_gets_the_words, nothing_is_handed_over_in_part,             \
		client_that_goes_away_leaves_none, only_what_is_ready_is_handed_over

int main(int argc, char **argv)
{
	const TTest *const tests[] = {TESTS};

	if (strcmp(argv[0], HAND_NAME) == 0)
		return hand_main(argc, argv);
	return unit_run(__FILE__, tests, ARRAY_SIZE(tests));
}
