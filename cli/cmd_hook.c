/* SPDX-License-Identifier: GPL-2.0-or-later */
/* For libvirt's hook script (systemd/libvirt-hook.in): the domain's XML comes by standard input. */
#include <errno.h>
#include <stdio.h>
#include <unistd.h>

#include "cli/out.h"
#include "lib/buf.h"
#include "lib/cleanup.h"

#define XML_MAX ((size_t)512 << 10)
#define CHUNK   ((size_t)16 << 10)

/* What libvirt is to take for the domain's XML from now on; nothing: it stays. */
static int print_xml(const struct cli *cli, struct err *e)
{
	auto_json struct json *reply = out_parse(cli, e);
	const char *xml = json_member_str(reply, "xml");

	if (xml)
		fputs(xml, stdout);
	return reply ? 0 : -1;
}

/* All of standard input, and a NUL. */
static int read_xml(struct buf *b, struct err *e)
{
	for (;;) {
		char *room = buf_reserve(b, CHUNK);
		ssize_t len;

		if (!room)
			return err_set(e, ERR_USAGE, "USAGE", "the XML is too long");
		len = read(STDIN_FILENO, room, CHUNK - 1);
		if (len < 0 && errno == EINTR)
			continue;
		if (len < 0)
			return err_sys(e, errno, "read the XML");
		room[len] = '\0';
		if (len == 0)
			return 0;
		buf_commit(b, (size_t)len);
	}
}

static int hook_run(
	struct cli *cli, const struct cmd *cmd, const struct cmd_args *args, struct err *e)
{
	struct json_out o;
	struct buf xml;
	int rc;

	buf_init(&xml, XML_MAX + CHUNK);
	rc = read_xml(&xml, e);
	if (rc == 0) {
		json_out_init(&o);
		json_out_object(&o, NULL);
		args_put(cmd, args, &o);
		json_out_str(&o, "xml", xml.data);
		json_out_end(&o);
		rc = call_with(cli, "Hook", &o, false, e);
		if (rc == 0)
			rc = print_xml(cli, e);
	}
	buf_release(&xml);
	return rc;
}

extern const struct cmd cmd_hook;
const struct cmd cmd_hook = {
	.name = "hook",
	.summary = "Tells what libvirt is about to do with a domain; for its hook script.",
	.words = {{"OPERATION", "operation", .choices = "prepare|migrate|release"}},
	.run = hook_run,
};
