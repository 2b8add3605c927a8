/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/worker_args.h"

#include <getopt.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/backends/vu_wire.h"

#define DEFAULT_DRAIN_MS 10000
#define DEFAULT_POLL_US  32
#define MAX_DRAIN_MS     600000
#define MAX_POLL_US      1000
#define MIN_MTU          68 /* of IP */

static const char help_text[] =
	"Usage: iov-worker blk --blk-file=PATH (--socket-path=PATH | --fd=N) [OPTIONS]\n"
	"       iov-worker blk --null=SIZE (--socket-path=PATH | --fd=N) [OPTIONS]\n"
	"       iov-worker net --tap=NAME (--socket-path=PATH | --fd=N) [OPTIONS]\n"
	"       iov-worker net --tap-fd=N[,N]... (--socket-path=PATH | --fd=N) [OPTIONS]\n"
	"       iov-worker [net] --print-capabilities\n"
	"Serves one disk, or one network device, to one virtual machine over vhost-user,\n"
	"without privileges.\n"
	"\n"
	"  --blk-file=PATH          the disk: an image file or a block device\n"
	"  --null=SIZE              a disk without bytes, for measurements (1g, 512m, ...)\n"
	"  --socket-path=PATH       listen there\n"
	"  --fd=N                   use this socket, listening or connected\n"
	"  --tap=NAME               the tap or macvtap that the guest's frames go through\n"
	"  --tap-fd=N[,N]...        the same by its queues, opened, with a vnet header\n"
	"  --mac=ADDRESS            the address that the guest is told\n"
	"  --mtu=N                  the greatest that the guest may set\n"
	"  --only-mac               no frames with another source or receiver than --mac\n"
	"  --no-vlan                nor any from the guest with a VLAN tag\n"
	"  --read-only              the guest cannot write\n"
	"  --num-queues=N           request queues, 1 to 64 (1); of a network device, pairs of\n"
	"                           queues, 1 to 32\n"
	"  --cache=none|writeback   past the host's page cache, or through it (none)\n"
	"  --serial=TEXT            what the disk answers when asked for its name\n"
	"  --drain-timeout-ms=N     how long a stop may wait for requests (10000)\n"
	"  --poll-us=N              look this long for work before sleeping (32)\n"
	"  --user=NAME              become this user, when started as root\n"
	"  --print-capabilities     what this program can do, in JSON\n"
	"  --version\n"
	"  --help\n"
	"\n"
	"SIGHUP: look at the disk's size again. SIGTERM: finish what is in flight, end.\n";

void worker_args_help(void)
{
	fputs(help_text, stdout);
}

enum option_id {
	OPT_BLK_FILE = 1,
	OPT_NULL,
	OPT_SOCKET_PATH,
	OPT_FD,
	OPT_TAP,
	OPT_TAP_FD,
	OPT_MAC,
	OPT_MTU,
	OPT_ONLY_MAC,
	OPT_NO_VLAN,
	OPT_READ_ONLY,
	OPT_NUM_QUEUES,
	OPT_CACHE,
	OPT_SERIAL,
	OPT_DRAIN_TIMEOUT_MS,
	OPT_POLL_US,
	OPT_USER,
	OPT_CONTROL_FD,
	OPT_RING_FD,
	OPT_OLD_RING_FD,
	OPT_BACKING_FD,
	OPT_HOLD,
	OPT_IO_TIMEOUT_MS,
	OPT_IDLE,
	OPT_PRINT_CAPABILITIES,
	OPT_VERSION,
	OPT_HELP,
};

static const struct option options[] = {
	{"blk-file", required_argument, NULL, OPT_BLK_FILE},
	{"null", required_argument, NULL, OPT_NULL},
	{"socket-path", required_argument, NULL, OPT_SOCKET_PATH},
	{"fd", required_argument, NULL, OPT_FD},
	{"tap", required_argument, NULL, OPT_TAP},
	{"tap-fd", required_argument, NULL, OPT_TAP_FD},
	{"mac", required_argument, NULL, OPT_MAC},
	{"mtu", required_argument, NULL, OPT_MTU},
	{"only-mac", no_argument, NULL, OPT_ONLY_MAC},
	{"no-vlan", no_argument, NULL, OPT_NO_VLAN},
	{"read-only", no_argument, NULL, OPT_READ_ONLY},
	{"num-queues", required_argument, NULL, OPT_NUM_QUEUES},
	{"cache", required_argument, NULL, OPT_CACHE},
	{"serial", required_argument, NULL, OPT_SERIAL},
	{"drain-timeout-ms", required_argument, NULL, OPT_DRAIN_TIMEOUT_MS},
	{"poll-us", required_argument, NULL, OPT_POLL_US},
	{"user", required_argument, NULL, OPT_USER},
	{"control-fd", required_argument, NULL, OPT_CONTROL_FD},
	{"ring-fd", required_argument, NULL, OPT_RING_FD},
	{"old-ring-fd", required_argument, NULL, OPT_OLD_RING_FD},
	{"backing-fd", required_argument, NULL, OPT_BACKING_FD},
	{"hold", no_argument, NULL, OPT_HOLD},
	{"io-timeout-ms", required_argument, NULL, OPT_IO_TIMEOUT_MS},
	{"idle", no_argument, NULL, OPT_IDLE},
	{"print-capabilities", no_argument, NULL, OPT_PRINT_CAPABILITIES},
	{"version", no_argument, NULL, OPT_VERSION},
	{"help", no_argument, NULL, OPT_HELP},
	{NULL, 0, NULL, 0},
};

static int usage(struct err *e, const char *option, const char *value)
{
	err_set(e, ERR_USAGE, "USAGE", "--%s: '%s' is not possible", option, value);
	return err_fix(e, "see iov-worker --help");
}

static int parse_cache(enum worker_cache *cache, const char *word)
{
	if (strcmp(word, "none") == 0)
		*cache = WORKER_CACHE_NONE;
	else if (strcmp(word, "writeback") == 0)
		*cache = WORKER_CACHE_WRITEBACK;
	else
		return -1;
	return 0;
}

/* Digits, then nothing or one of k, m, g, t. */
static int parse_size(const char *word, uint64_t *size)
{
	static const char units[] = "kmgt";
	char digits[24];
	size_t len = strlen(word);
	const char *unit = len ? strchr(units, word[len - 1] | 0x20) : NULL;
	uint64_t factor = unit ? 1ull << (10 * (unit - units + 1)) : 1;

	if (!len || len >= sizeof(digits))
		return -1;
	memcpy(digits, word, len);
	digits[unit ? len - 1 : len] = '\0';
	if (parse_u64(digits, UINT64_MAX, size) < 0 || !*size)
		return -1;
	return u64_mul(*size, factor, size) ? 0 : -1;
}

static int parse_fd(int *fd, const char *word)
{
	uint64_t n;

	if (parse_u64(word, INT_MAX, &n) < 0)
		return -1;
	*fd = (int)n;
	return 0;
}

static int parse_queues(uint16_t *queues, const char *word)
{
	uint64_t n;

	if (parse_u64(word, VU_MAX_QUEUES, &n) < 0 || !n)
		return -1;
	*queues = (uint16_t)n;
	return 0;
}

/* Numbers with commas between them. */
static int parse_tap_fds(struct worker_args *a, const char *words)
{
	char one[16];

	while (a->tap_fd_count < ARRAY_SIZE(a->tap_fds)) {
		size_t len = strcspn(words, ",");

		if (len >= sizeof(one))
			return -1;
		memcpy(one, words, len);
		one[len] = '\0';
		if (parse_fd(&a->tap_fds[a->tap_fd_count++], one) < 0)
			return -1;
		if (!words[len])
			return 0;
		words += len + 1;
	}
	return -1;
}

/* Of one interface: no group's. */
static int parse_mac(struct worker_args *a, const char *word)
{
	uint8_t *m = a->mac;
	int len = 0;

	a->has_mac = sscanf(word, "%2hhx:%2hhx:%2hhx:%2hhx:%2hhx:%2hhx%n", &m[0], &m[1], &m[2],
			     &m[3], &m[4], &m[5], &len) == 6;
	return a->has_mac && len == 17 && !word[len] && !(m[0] & 1) ? 0 : -1;
}

static int parse_mtu(uint16_t *mtu, const char *word)
{
	uint64_t n;

	if (parse_u64(word, UINT16_MAX, &n) < 0 || n < MIN_MTU)
		return -1;
	*mtu = (uint16_t)n;
	return 0;
}

/* Those of a network device alone. */
static int take_net_option(struct worker_args *a, enum option_id id, const char *word)
{
	if (id == OPT_TAP)
		a->tap = word;
	else if (id == OPT_TAP_FD)
		return parse_tap_fds(a, word);
	else if (id == OPT_MAC)
		return parse_mac(a, word);
	else if (id == OPT_MTU)
		return parse_mtu(&a->mtu, word);
	else if (id == OPT_ONLY_MAC)
		a->only_mac = true;
	else
		a->no_vlan = true;
	return 0;
}

static int take_option(struct worker_args *a, enum option_id id, const char *word)
{
	switch (id) {
	case OPT_BLK_FILE:
		a->blk_file = word;
		return 0;
	case OPT_NULL:
		return parse_size(word, &a->null_size);
	case OPT_SOCKET_PATH:
		a->socket_path = word;
		return 0;
	case OPT_FD:
		return parse_fd(&a->fd, word);
	case OPT_TAP:
	case OPT_TAP_FD:
	case OPT_MAC:
	case OPT_MTU:
	case OPT_ONLY_MAC:
	case OPT_NO_VLAN:
		return take_net_option(a, id, word);
	case OPT_READ_ONLY:
		a->read_only = true;
		return 0;
	case OPT_NUM_QUEUES:
		return parse_queues(&a->queues, word);
	case OPT_CACHE:
		return parse_cache(&a->cache, word);
	case OPT_SERIAL:
		a->serial = word;
		return 0;
	case OPT_DRAIN_TIMEOUT_MS:
		return parse_u64(word, MAX_DRAIN_MS, &a->drain_timeout_ms);
	case OPT_POLL_US:
		return parse_u64(word, MAX_POLL_US, &a->poll_us);
	case OPT_USER:
		a->user = word;
		return 0;
	case OPT_CONTROL_FD:
		return parse_fd(&a->control_fd, word);
	case OPT_RING_FD:
		return parse_fd(&a->ring_fd, word);
	case OPT_OLD_RING_FD:
		return parse_fd(&a->old_ring_fd, word);
	case OPT_BACKING_FD:
		return parse_fd(&a->backing_fd, word);
	case OPT_IO_TIMEOUT_MS:
		return parse_u64(word, INT64_MAX, &a->io_timeout_ms);
	case OPT_HOLD:
		a->hold = true;
		return 0;
	case OPT_IDLE:
		a->idle = true;
		return 0;
	case OPT_PRINT_CAPABILITIES:
		a->print_capabilities = true;
		return 0;
	case OPT_VERSION:
		a->version = true;
		return 0;
	case OPT_HELP:
		a->help = true;
		return 0;
	}
	return -1;
}

bool worker_args_is_net(const struct worker_args *args)
{
	return args->type && strcmp(args->type, "net") == 0;
}

static int check_net(struct worker_args *a, struct err *e)
{
	if (a->blk_file || a->null_size || a->hold)
		return err_set(e, ERR_USAGE, "USAGE", "a disk's option for a network device");
	if (a->control_fd < 0 && !a->tap == !a->tap_fd_count)
		return err_set(e, ERR_USAGE, "USAGE", "one device: --tap or --tap-fd");
	if (a->tap_fd_count)
		a->queues = a->tap_fd_count;
	if (a->queues > ARRAY_SIZE(a->tap_fds))
		return err_set(e, ERR_USAGE, "USAGE", "at most %zu pairs of queues",
			ARRAY_SIZE(a->tap_fds));
	if (a->only_mac && !a->has_mac)
		return err_set(e, ERR_USAGE, "USAGE", "--only-mac needs --mac");
	return 0;
}

static int check_blk(const struct worker_args *a, struct err *e)
{
	bool kept = a->control_fd >= 0;

	if (a->tap || a->tap_fd_count || a->has_mac || a->mtu || a->only_mac || a->no_vlan)
		return err_set(e, ERR_USAGE, "USAGE", "a network device's option for a disk");
	if (kept ? a->backing_fd < 0 && !a->null_size : !a->blk_file == !a->null_size)
		return err_set(e, ERR_USAGE, "USAGE", "one disk: --blk-file or --null");
	return 0;
}

static int check_together(struct worker_args *a, struct err *e)
{
	bool kept = a->control_fd >= 0;

	if (a->print_capabilities || a->version || a->help)
		return 0;
	if (!a->type || (strcmp(a->type, "blk") != 0 && !worker_args_is_net(a)))
		return err_set(
			e, ERR_USAGE, "USAGE", "the first word is what to serve: blk or net");
	if (kept && a->ring_fd < 0)
		return err_set(e, ERR_USAGE, "USAGE", "--control-fd needs --ring-fd");
	if (!kept && a->hold) /* who would release it? */
		return err_set(e, ERR_USAGE, "USAGE", "--hold needs --control-fd");
	if (!kept && a->idle)
		return err_set(e, ERR_USAGE, "USAGE", "--idle needs --control-fd");
	if (!kept && !a->socket_path == (a->fd < 0))
		return err_set(e, ERR_USAGE, "USAGE", "one socket: --socket-path or --fd");
	return worker_args_is_net(a) ? check_net(a, e) : check_blk(a, e);
}

int worker_args_parse(struct worker_args *args, int argc, char **argv, struct err *e)
{
	int id, at;

	*args = (struct worker_args){
		.drain_timeout_ms = DEFAULT_DRAIN_MS,
		.poll_us = DEFAULT_POLL_US,
		.queues = 1,
		.fd = -1,
		.control_fd = -1,
		.ring_fd = -1,
		.old_ring_fd = -1,
		.backing_fd = -1,
	};
	opterr = 0;
	while ((id = getopt_long(argc, argv, "", options, &at)) != -1) {
		if (id == '?') {
			err_set(e, ERR_USAGE, "USAGE", "%s is not an option, or lacks its value",
				argv[optind - 1]);
			return err_fix(e, "see iov-worker --help");
		}
		if (take_option(args, (enum option_id)id, optarg) < 0)
			return usage(e, options[at].name, optarg);
	}
	if (optind < argc)
		args->type = argv[optind++];
	if (optind < argc)
		return err_set(e, ERR_USAGE, "USAGE", "'%s' is one word too many", argv[optind]);
	if (check_together(args, e) < 0)
		return err_fix(e, "see iov-worker --help");
	return 0;
}
