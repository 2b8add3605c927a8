/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * `iovctl run`: becomes the VMM. Theory of operation:
 *
 *	which attachments the command names (@ID@ or @NAME@)	before anything is asked for
 *	the words and descriptors of each, by HandOver		descriptors get the numbers 3, 4, ...
 *	what it may lock, who it is, what else is open		cli/become.c
 *	exec							the process id stays: the daemon knows
 *								its VMM by it
 *
 * What goes wrong on the way, up to exec itself, ends the process and closes the descriptors, which
 * is to the daemon a VMM that has ended.
 */
#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/become.h"
#include "cli/out.h"
#include "lib/cleanup.h"

/* What is on its way to exec. */
struct run {
	struct cli *cli;
	const char *vm;
	char **cmd; /* as it was given; NULL at the end */
	struct become become;
	const struct json *attachments; /* of the VM */
	uint64_t memory_bytes;          /* of the guest; 0: the command does not say */
	char **argv;                    /* as it is executed; NULL at the end */
	size_t argc;
	bool has_paravirt;
};

/* --- the command line ------------------------------------------------------------------------- */

/* The "disk0" of "@disk0@", to be freed; NULL if the word is none of these. */
static char *reference_of(const char *word)
{
	size_t len = strlen(word);
	auto_free char *name = len > 2 && word[0] == '@' && word[len - 1] == '@'
				       ? strndup(word + 1, len - 2)
				       : NULL;

	return name && name_is_valid(name) ? steal_ptr(&name) : NULL;
}

static bool is_called(const struct json *attachment, const char *name)
{
	return strcmp(json_member_str(attachment, "id"), name) == 0 ||
	       strcmp(json_member_str(attachment, "name"), name) == 0;
}

static const struct json *find_attachment(const struct run *r, const char *name)
{
	for (size_t i = 0; i < json_count(r->attachments); i++)
		if (is_called(json_item(r->attachments, i), name))
			return json_item(r->attachments, i);
	return NULL;
}

static bool is_named(const struct run *r, const struct json *attachment)
{
	for (char **word = r->cmd; *word; word++) {
		auto_free char *name = reference_of(*word);

		if (name && is_called(attachment, name))
			return true;
	}
	return false;
}

static int refuse_unknown(const struct run *r, const char *name, struct err *e)
{
	size_t len = 0;

	err_set(e, ERR_NOT_FOUND, "NO-SUCH", "%s has no attachment %s", r->vm, name);
	for (size_t i = 0; i < json_count(r->attachments) && len < sizeof(e->evidence); i++) {
		const struct json *a = json_item(r->attachments, i);

		len += (size_t)snprintf(e->evidence + len, sizeof(e->evidence) - len, "%s%s (%s)",
			i ? ", " : "it has ", json_member_str(a, "name"), json_member_str(a, "id"));
	}
	return -1;
}

/* All names must be known; an attachment that is not named may be meant so. */
static int check_names(const struct run *r, struct err *e)
{
	for (char **word = r->cmd; *word; word++) {
		auto_free char *name = reference_of(*word);

		if (name && !find_attachment(r, name))
			return refuse_unknown(r, name, e);
	}
	for (size_t i = 0; i < json_count(r->attachments); i++) {
		const struct json *a = json_item(r->attachments, i);

		if (!is_named(r, a))
			fprintf(stderr, "iovctl: %s has %s, and the command is without @%s@\n",
				r->vm, json_member_str(a, "device"), json_member_str(a, "name"));
	}
	return 0;
}

static bool says(const struct run *r, const char *text)
{
	for (char **word = r->cmd; *word; word++)
		if (strstr(*word, text))
			return true;
	return false;
}

/* "512", "1G", "size=2048M,slots=2": QEMU's -m, in MiB without a unit. 0 if it is none. */
static uint64_t memory_of(const char *value)
{
	static const char units[] = "kmgt";
	const char *unit;
	char *end;
	uint64_t n, factor = 1 << 20;

	if (strncmp(value, "size=", 5) == 0)
		value += 5;
	if (!isdigit((unsigned char)*value))
		return 0;
	n = strtoull(value, &end, 10);
	unit = *end ? strchr(units, tolower((unsigned char)*end)) : NULL;
	if (unit) {
		factor = UINT64_C(1) << 10 * (unit - units + 1);
		end++;
	}
	return (*end == '\0' || *end == ',') && u64_mul(n, factor, &n) ? n : 0;
}

static uint64_t find_memory(const struct run *r)
{
	for (char **word = r->cmd; *word; word++)
		if (strcmp(*word, "-m") == 0 && word[1])
			return memory_of(word[1]);
	return 0;
}

/* --- what is executed ------------------------------------------------------------------------- */

static int add_word(struct run *r, const char *word, struct err *e)
{
	char **more = reallocarray(r->argv, r->argc + 2, sizeof(*more));

	if (more)
		r->argv = more;
	if (!more || !(more[r->argc] = strdup(word)))
		return err_set(e, ERR_FAILED, "MEMORY", "no memory for a command");
	more[++r->argc] = NULL;
	return 0;
}

/* The descriptors of the latest reply, which must be as many as it says. */
static int take_fds(struct run *r, const struct json *reply, struct err *e)
{
	uint64_t wanted = 0;
	int fds[FDIO_MAX_FDS];
	unsigned int count = client_take_fds(r->cli->client, fds);
	int rc = become_add_fds(&r->become, fds, count, e);

	json_u64(json_member(reply, "fds"), &wanted);
	if (rc == 0 && count != wanted)
		return err_set(e, ERR_FAILED, "REPLY", "%u of %llu descriptors arrived", count,
			(unsigned long long)wanted);
	return rc;
}

/* All that the daemon said of one attachment. */
static int take_answer(struct run *r, struct err *e)
{
	auto_json struct json *reply = out_parse(r->cli, e);
	const struct json *words = json_member(reply, "words");
	uint64_t locked = 0;

	if (!reply || take_fds(r, reply, e) < 0)
		return -1;
	if (become_as(&r->become, json_member_str(reply, "user"), e) < 0)
		return -1;
	if (!json_u64(json_member(reply, "memlock_bytes"), &locked) ||
		!u64_add(r->become.locked_bytes, locked, &r->become.locked_bytes))
		r->become.locked_bytes = UINT64_MAX;
	for (size_t i = 0; i < json_count(words); i++)
		if (add_word(r, json_str(json_item(words, i)) ?: "", e) < 0)
			return -1;
	return 0;
}

static int hand_over(struct run *r, const struct json *attachment, struct err *e)
{
	struct json_out o;

	json_out_init(&o);
	json_out_object(&o, NULL);
	json_out_str(&o, "attachment", json_member_str(attachment, "id"));
	if (r->become.user[0])
		json_out_str(&o, "user", r->become.user);
	json_out_u64(&o, "first_fd", BECOME_FIRST_FD + r->become.fd_count);
	if (r->memory_bytes)
		json_out_u64(&o, "memory_bytes", r->memory_bytes);
	json_out_end(&o);
	if (call_with(r->cli, "HandOver", &o, false, e) < 0)
		return -1;
	r->has_paravirt |= strcmp(json_member_str(attachment, "path"), "paravirt") == 0;
	return take_answer(r, e);
}

static int make_argv(struct run *r, struct err *e)
{
	for (char **word = r->cmd; *word; word++) {
		auto_free char *name = reference_of(*word);
		int rc = name ? hand_over(r, find_attachment(r, name), e) : add_word(r, *word, e);

		if (rc < 0)
			return -1;
	}
	return 0;
}

/* What a person would look for long, if it were missing. */
static void tell(const struct run *r)
{
	if (r->has_paravirt && !says(r, "share=on"))
		fputs("iovctl: the guest's memory is not shared, so its disks will not work: add\n"
		      "  -object memory-backend-memfd,id=mem,size=...,share=on -machine "
		      "memory-backend=mem\n",
			stderr);
	if (r->become.locked_bytes == UINT64_MAX)
		fputs("iovctl: locked memory: no limit, as the command does not say how much the "
		      "guest has (-m)\n",
			stderr);
	else if (r->become.locked_bytes)
		fprintf(stderr, "iovctl: locked memory: up to %llu MiB\n",
			(unsigned long long)(r->become.locked_bytes >> 20));
}

/* --- the verb --------------------------------------------------------------------------------- */

static struct json *list_attachments(struct run *r, struct err *e)
{
	struct json_out o;

	json_out_init(&o);
	json_out_object(&o, NULL);
	json_out_str(&o, "vm", r->vm);
	json_out_end(&o);
	return call_with(r->cli, "ListAttachments", &o, false, e) < 0 ? NULL : out_parse(r->cli, e);
}

static int run_exec(struct run *r, struct err *e)
{
	tell(r);
	if (fflush(stdout) == EOF || become_do(&r->become, e) < 0)
		return -1;
	execvp(r->argv[0], r->argv);
	return err_sys(e, errno, "start %s", r->argv[0]);
}

static int run_all(struct run *r, struct err *e)
{
	auto_json struct json *reply = list_attachments(r, e);

	if (!reply)
		return -1;
	r->attachments = json_member(reply, "attachments");
	if (!json_count(r->attachments)) {
		err_set(e, ERR_NOT_FOUND, "NO-SUCH", "%s has no attachments", r->vm);
		return err_fix(e, "iovctl attach DEVICE %s", r->vm);
	}
	r->memory_bytes = find_memory(r);
	if (check_names(r, e) < 0 || make_argv(r, e) < 0)
		return -1;
	return run_exec(r, e);
}

static void run_release(struct run *r)
{
	become_release(&r->become);
	for (size_t i = 0; i < r->argc; i++)
		free(r->argv[i]);
	free(r->argv);
}

static int run_run(
	struct cli *cli, const struct cmd *cmd, const struct cmd_args *args, struct err *e)
{
	struct run r = {.cli = cli, .vm = args->words[0], .cmd = args->rest};
	const char *user = args_option(cmd, args, "--user");
	int rc = user ? become_as(&r.become, user, e) : 0;

	if (rc == 0)
		rc = run_all(&r, e);
	run_release(&r);
	return rc;
}

extern const struct cmd cmd_run;
const struct cmd cmd_run = {
	.name = "run",
	.summary = "Starts a VMM with the machine's devices handed over, without privileges.",
	.words = {{"VM"}},
	.rest = "-- CMD...",
	.options =
		{
			{"--user", NULL, CMD_TEXT, "USER",
				.help = "who it runs as, without it the owner of what it has"},
		},
	.run = run_run,
};
