/* SPDX-License-Identifier: GPL-2.0-or-later */
/* save and restore: the file is read and written here, with the caller's rights. */
#include <stdio.h>

#include "cli/out.h"
#include "lib/cleanup.h"
#include "lib/migrate/iostate_file.h"
#include "proto/base64.h"

/* --- save ------------------------------------------------------------------------------------- */

static int save_print(const struct cli *cli, const char *vm, const char *path, size_t bytes,
	const struct json *attachments, struct err *e)
{
	auto_json_out struct json_out o;
	auto_free char *text = NULL;
	size_t len;

	if (cli->form == OUT_TABLE)
		printf("%s: the I/O state of %zu attachment%s is in %s\n", vm,
			json_count(attachments), json_count(attachments) == 1 ? "" : "s", path);
	else if (cli->form == OUT_PLAIN)
		printf("%s\t%s\n", vm, path);
	if (!out_is_json(cli))
		return 0;
	json_out_init(&o);
	json_out_object(&o, NULL);
	json_out_str(&o, "schema", "iovd.saved/1");
	json_out_str(&o, "vm", vm);
	json_out_str(&o, "file", path);
	json_out_u64(&o, "bytes", bytes);
	json_out_value(&o, "attachments", attachments);
	json_out_end(&o);
	text = json_out_finish(&o, &len);
	if (!text)
		return err_set(e, ERR_FAILED, "MEMORY", "no memory for the document");
	puts(text);
	return 0;
}

/* Written only when it can be read: a reply that was cut must not replace a good file. */
static int save_write(const char *path, const char *text, size_t *len, struct err *e)
{
	auto_iostate struct iostate *s = NULL;
	struct buf bytes;
	int rc = -1;

	buf_init(&bytes, IOSTATE_MAX_BYTES);
	if (!text || base64_decode(text, &bytes) < 0)
		err_set(e, ERR_FAILED, "REPLY", "the daemon's answer has no state");
	else
		s = iostate_decode(bytes.data, bytes.len, e);
	if (s)
		rc = iostate_file_write(path, bytes.data, bytes.len, e);
	*len = bytes.len;
	buf_release(&bytes);
	return rc;
}

/* What is carried is in the file now: the VMM may stop the machine. */
static int save_tell(struct cli *cli, const char *vm, const char *receipt, struct err *e)
{
	struct json_out o;

	if (!receipt)
		return 0;
	json_out_init(&o);
	json_out_object(&o, NULL);
	json_out_str(&o, "vm", vm);
	json_out_str(&o, "receipt", receipt);
	json_out_end(&o);
	if (call_with(cli, "Stored", &o, false, e) == 0)
		return 0;
	return err_wrap(e, "the file is written, but the VMM cannot stop the machine");
}

static int save_run(
	struct cli *cli, const struct cmd *cmd, const struct cmd_args *args, struct err *e)
{
	const char *path = args_option(cmd, args, "-f");
	auto_json struct json *reply = NULL;
	size_t len;

	if (!path)
		return err_set(e, ERR_USAGE, "USAGE", "save needs -f FILE");
	if (call_daemon(cli, "Save", cmd, args, false, e) < 0)
		return -1;
	reply = out_parse(cli, e);
	if (!reply)
		return -1;
	if (save_write(path, json_member_str(reply, "state"), &len, e) < 0 ||
		save_tell(cli, args->words[0], json_member_str(reply, "receipt"), e) < 0)
		return err_wrap(e, "save %s", args->words[0]);
	return save_print(cli, args->words[0], path, len, json_member(reply, "attachments"), e);
}

extern const struct cmd cmd_save, cmd_restore;
const struct cmd cmd_save = {
	.name = "save",
	.summary = "Writes the I/O state of a quiesced virtual machine to a file.",
	.words = {{"VM", "vm"}},
	.options = {{"-f", NULL, CMD_TEXT, "FILE", .help = "where to; what is there is replaced"}},
	.run = save_run,
};

/* --- restore ---------------------------------------------------------------------------------- */

static const struct out_view restore_view = {
	"attachments", {{"ID", "id"}, {"DEVICE", "device"}, {"VM", "vm"}, {"NAME", "name"},
			       {"STATE", "state"}, {"SOCKET", "socket"}}};

static void restore_print_words(const struct json *list)
{
	puts("\nStart the VM from its saved memory, with these words on its VMM's command line:");
	for (size_t i = 0; i < json_count(list); i++) {
		fputs("  ", stdout);
		out_words(json_member(json_item(list, i), "vmm_args"), " \\\n  ");
		putchar('\n');
	}
}

static int restore_call(struct cli *cli, const struct cmd *cmd, const struct cmd_args *args,
	const struct buf *bytes, struct err *e)
{
	auto_free char *text = base64_encode(bytes->data, bytes->len);
	struct json_out o;

	if (!text)
		return err_set(e, ERR_FAILED, "MEMORY", "no memory for a call");
	json_out_init(&o);
	json_out_object(&o, NULL);
	args_put(cmd, args, &o);
	json_out_str(&o, "state", text);
	json_out_end(&o);
	return call_with(cli, "Restore", &o, false, e);
}

/* Looked at here first: what is wrong with a file is said with its name, daemon or not. */
static int restore_send(
	struct cli *cli, const struct cmd *cmd, const struct cmd_args *args, struct err *e)
{
	const char *path = args->words[0];
	auto_iostate struct iostate *s = NULL;
	struct buf bytes;
	int rc;

	buf_init(&bytes, IOSTATE_MAX_BYTES);
	rc = iostate_file_load(path, &bytes, e);
	if (rc == 0) {
		s = iostate_decode(bytes.data, bytes.len, e);
		rc = s ? restore_call(cli, cmd, args, &bytes, e) : err_wrap(e, "%s", path);
	}
	buf_release(&bytes);
	return rc;
}

static int restore_run(
	struct cli *cli, const struct cmd *cmd, const struct cmd_args *args, struct err *e)
{
	auto_json struct json *reply = NULL;

	if (restore_send(cli, cmd, args, e) < 0 || out_list(cli, &restore_view, e) < 0)
		return -1;
	if (cli->form != OUT_TABLE)
		return 0;
	reply = out_parse(cli, e);
	if (!reply)
		return -1;
	restore_print_words(json_member(reply, "attachments"));
	return 0;
}

const struct cmd cmd_restore = {
	.name = "restore",
	.summary = "Gives a virtual machine what an I/O state file says it had.",
	.words = {{"FILE", NULL}},
	.options =
		{
			{"--vm", "vm", CMD_TEXT, "VM", .help = "what it is called here"},
			{"--map", "map", CMD_PAIRS, "OLD=NEW",
				.help = "another device for one of the file; may be repeated"},
			{"--allow", "allow", CMD_TEXT, "CODE,...",
				.help = "STATE-FENCE: run the file's command here; of spares: "
					"STALE-SPARE, LATE-WRITE"},
		},
	.run = restore_run,
};
