/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/conf.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <stdio.h>
#include <string.h>

#include "lib/fdio.h"
#include "lib/log.h"

#define CONF_MAX_FILE ((size_t)64 << 10)

void conf_init(struct conf *c)
{
	*c = (struct conf){
		.state_dir = IOVD_STATE_DIR,
		.runtime_dir = IOVD_RUNTIME_DIR,
		.config = IOVD_SYSCONF_DIR "/iovd.conf",
		.keeper_fd = -1,
		.socket_group = "iovd",
		.worker_user = "iovd-worker",
		.libvirt = "qemu:///system",
		.ssh = "ssh",
	};
}

/* --- the file --------------------------------------------------------------------------------- */

static const struct conf_key {
	const char *name;
	size_t offset, size;
} conf_keys[] = {
	{"socket_group", offsetof(struct conf, socket_group),
		sizeof(((struct conf *)0)->socket_group)},
	{"libvirt", offsetof(struct conf, libvirt), sizeof(((struct conf *)0)->libvirt)},
	{"worker_user", offsetof(struct conf, worker_user),
		sizeof(((struct conf *)0)->worker_user)},
	{"ssh", offsetof(struct conf, ssh), sizeof(((struct conf *)0)->ssh)},
	{"address", offsetof(struct conf, address), sizeof(((struct conf *)0)->address)},
};

static const struct conf_key *conf_find_key(const char *name)
{
	for (unsigned int i = 0; i < ARRAY_SIZE(conf_keys); i++)
		if (strcmp(conf_keys[i].name, name) == 0)
			return &conf_keys[i];
	return NULL;
}

/* Cuts blanks from both ends, in place. */
static char *conf_trim(char *s)
{
	size_t len;

	while (isspace((unsigned char)*s))
		s++;
	len = strlen(s);
	while (len && isspace((unsigned char)s[len - 1]))
		s[--len] = '\0';
	return s;
}

static int conf_set(struct conf *c, const char *name, const char *value, struct err *e)
{
	const struct conf_key *key = conf_find_key(name);

	if (!key)
		return err_set(e, ERR_USAGE, "CONFIG", "there is no setting '%s'", name);
	if (!str_copy((char *)c + key->offset, key->size, value))
		return err_set(e, ERR_USAGE, "CONFIG", "the value of '%s' is too long", name);
	return 0;
}

static int conf_parse_line(struct conf *c, char *line, struct err *e)
{
	char *equals;

	line = conf_trim(line);
	if (!*line || *line == '#')
		return 0;
	equals = strchr(line, '=');
	if (!equals)
		return err_set(e, ERR_USAGE, "CONFIG", "'%s' is no 'key = value'", line);
	*equals = '\0';
	return conf_set(c, conf_trim(line), conf_trim(equals + 1), e);
}

int conf_parse_text(struct conf *c, const char *name, char *text, struct err *e)
{
	unsigned int number = 0;
	char *line;

	while ((line = strsep(&text, "\n"))) {
		number++;
		if (conf_parse_line(c, line, e) < 0)
			return err_wrap(e, "%s:%u", name, number);
	}
	return 0;
}

int conf_read_file(struct conf *c, struct err *e)
{
	char text[CONF_MAX_FILE];
	ssize_t len = fdio_read_file(AT_FDCWD, c->config, text, sizeof(text));

	if (len == -ENOENT && !c->config_given)
		return 0;
	if (len < 0)
		return err_sys(e, (int)-len, "read %s", c->config);
	if (strlen(text) != (size_t)len)
		return err_set(e, ERR_USAGE, "CONFIG", "%s is no text: a NUL is in it", c->config);
	return conf_parse_text(c, c->config, text, e);
}

/* --- the command line ------------------------------------------------------------------------- */

enum conf_option {
	OPT_HELP = 'h',
	OPT_VERSION = 'V',
	OPT_STATE_DIR = 256,
	OPT_RUNTIME_DIR,
	OPT_SYSROOT,
	OPT_CONFIG,
	OPT_LIBVIRT,
	OPT_STOP_ALL,
	OPT_APPLY_BINDINGS,
	OPT_DEBUG,
	OPT_KEEPER_FD,
};

static const struct option conf_options[] = {
	{"apply-bindings", no_argument, NULL, OPT_APPLY_BINDINGS},
	{"config", required_argument, NULL, OPT_CONFIG},
	{"debug", required_argument, NULL, OPT_DEBUG},
	{"help", no_argument, NULL, OPT_HELP},
	{"keeper-fd", required_argument, NULL, OPT_KEEPER_FD},
	{"libvirt", required_argument, NULL, OPT_LIBVIRT},
	{"runtime-dir", required_argument, NULL, OPT_RUNTIME_DIR},
	{"state-dir", required_argument, NULL, OPT_STATE_DIR},
	{"stop-all", no_argument, NULL, OPT_STOP_ALL},
	{"sysroot", required_argument, NULL, OPT_SYSROOT},
	{"version", no_argument, NULL, OPT_VERSION},
	{0},
};

static int conf_set_path(char *out, size_t size, const char *path, struct err *e)
{
	if (path[0] != '/')
		return err_set(e, ERR_USAGE, "OPTION", "'%s' is no absolute path", path);
	if (!str_copy(out, size, path))
		return err_set(e, ERR_USAGE, "OPTION", "the path '%s' is too long", path);
	return 0;
}

static int conf_set_keeper_fd(struct conf *c, const char *text, struct err *e)
{
	uint64_t fd;

	c->runs_as_daemon = true;
	if (strcmp(text, "-1") == 0)
		return 0;
	if (parse_u64(text, INT_MAX, &fd) < 0)
		return err_set(e, ERR_USAGE, "OPTION", "'%s' is no file descriptor", text);
	c->keeper_fd = (int)fd;
	return 0;
}

static int conf_set_option(struct conf *c, int option, const char *value, struct err *e)
{
	switch (option) {
	case OPT_HELP:
		c->show_help = true;
		return 0;
	case OPT_VERSION:
		c->show_version = true;
		return 0;
	case OPT_STOP_ALL:
		c->stop_all = true;
		return 0;
	case OPT_APPLY_BINDINGS:
		c->apply_bindings = true;
		return 0;
	case OPT_DEBUG:
		log_set_debug(value);
		return 0;
	case OPT_STATE_DIR:
		return conf_set_path(c->state_dir, sizeof(c->state_dir), value, e);
	case OPT_RUNTIME_DIR:
		return conf_set_path(c->runtime_dir, sizeof(c->runtime_dir), value, e);
	case OPT_SYSROOT:
		return conf_set_path(c->sysroot, sizeof(c->sysroot), value, e);
	case OPT_CONFIG:
		c->config_given = true;
		return conf_set_path(c->config, sizeof(c->config), value, e);
	case OPT_LIBVIRT:
		return str_copy(c->libvirt_given, sizeof(c->libvirt_given), value)
			       ? 0
			       : err_set(e, ERR_USAGE, "OPTION", "the URI is too long");
	case OPT_KEEPER_FD:
		return conf_set_keeper_fd(c, value, e);
	default:
		return err_set(
			e, ERR_USAGE, "OPTION", "there is no such option, or it lacks its value");
	}
}

int conf_parse_args(struct conf *c, int argc, char **argv, struct err *e)
{
	int option;

	optind = 0; /* from the start, however often */
	opterr = 0;
	while ((option = getopt_long(argc, argv, "hV", conf_options, NULL)) != -1)
		if (conf_set_option(c, option, optarg, e) < 0)
			return option == '?' ? err_wrap(e, "%s", argv[optind - 1]) : -1;
	if (optind < argc)
		return err_set(e, ERR_USAGE, "OPTION", "'%s' is no option", argv[optind]);
	return 0;
}
