/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <stdio.h>
#include <string.h>

#include "cli/bar.h"
#include "cli/out.h"
#include "lib/cleanup.h"

static const struct out_view migrate_view = {
	"attachments", {{"ID", "id"}, {"DEVICE", "device"}, {"VM", "vm"}, {"NAME", "name"},
			       {"STATE", "state"}, {"SOCKET", "socket"}}};

/* --- the verdict ------------------------------------------------------------------------------ */

static void problem_print(const struct cli *cli, const char *name, const struct json *problem)
{
	auto_free char *code = out_text(json_member(problem, "code"));
	auto_free char *what = out_text(json_member(problem, "what"));
	auto_free char *evidence = out_text(json_member(problem, "evidence"));
	auto_free char *fix = out_text(json_member(problem, "fix"));
	const char *words[] = {name ? name : "-", code ? code : "-", what ? what : "-",
		evidence ? evidence : "-", fix ? fix : "-"};

	if (cli->form == OUT_PLAIN) {
		printf("%s\t%s\t%s\t%s\t%s\n", words[0], words[1], words[2], words[3], words[4]);
		return;
	}
	printf("%s: cannot move [%s]: %s: %s\n", words[0], words[1], words[2], words[3]);
	if (words[4][0] && strcmp(words[4], "-") != 0)
		printf("  fix: %s\n", words[4]);
}

static void verdict_print_one(const struct cli *cli, const struct json *device)
{
	auto_free char *name = out_text(json_member(device, "name"));
	const struct json *problems = json_member(device, "problems");

	if (!json_count(problems))
		printf(cli->form == OUT_PLAIN ? "%s\tok\n" : "%s: can move\n", name ? name : "-");
	for (size_t i = 0; i < json_count(problems); i++)
		problem_print(cli, name, json_item(problems, i));
}

/* A verdict that says no is an answer, and a refusal. */
static int verdict_run(struct cli *cli, struct err *e)
{
	auto_json struct json *reply = out_parse(cli, e);
	const struct json *devices = json_member(reply, "devices");

	if (!reply)
		return -1;
	if (out_is_json(cli))
		out_raw(cli);
	else
		for (size_t i = 0; i < json_count(devices); i++)
			verdict_print_one(cli, json_item(devices, i));
	if (json_is_true(json_member(reply, "ok")))
		return 0;
	if (out_is_json(cli)) { /* one document */
		e->kind = ERR_REFUSED;
		return -1;
	}
	err_set(e, ERR_REFUSED, "MIG-VERDICT", "the VM cannot move there");
	return err_fix(e, "nothing was changed; what is in the way is above");
}

/* --- steps ------------------------------------------------------------------------------------ */

static const char *const step_names[] = {"check", "begin", "end", "abort"};

/* Exactly one, or none: NULL. */
static int choose_step(const struct cmd_args *args, const char **step, struct err *e)
{
	*step = NULL;
	for (unsigned int i = 0; i < ARRAY_SIZE(step_names); i++) {
		if (!args->options[i])
			continue;
		if (*step)
			return err_set(e, ERR_USAGE, "USAGE", "--%s or --%s, not both", *step,
				step_names[i]);
		*step = step_names[i];
	}
	return 0;
}

static void print_words(const struct json *list)
{
	puts("\nStart the VMM there, waiting for the VM, with these words on its command line:");
	for (size_t i = 0; i < json_count(list); i++) {
		fputs("  ", stdout);
		out_words(json_member(json_item(list, i), "vmm_args"), " \\\n  ");
		putchar('\n');
	}
}

static int begin_run(struct cli *cli, struct err *e)
{
	auto_json struct json *reply = NULL;

	if (out_list(cli, &migrate_view, e) < 0)
		return -1;
	if (cli->form != OUT_TABLE)
		return 0;
	reply = out_parse(cli, e);
	if (!reply)
		return -1;
	print_words(json_member(reply, "attachments"));
	return 0;
}

/* --- a whole domain --------------------------------------------------------------------------- */

static int move_run(struct cli *cli, const struct cmd_args *args, struct json_out *o, struct err *e)
{
	auto_json struct json *reply = NULL;
	auto_free char *total = NULL, *still = NULL;
	char object[64];
	int rc;

	snprintf(object, sizeof(object), "vm:%s", args->words[0]);
	if (bar_call(cli, "Migrate", o, "migrate", object, e) < 0)
		return -1;
	rc = out_reply(cli, &reply, e);
	if (rc <= 0)
		return rc;
	total = out_text(json_member(reply, "total_ms"));
	still = out_text(json_member(reply, "downtime_ms"));
	printf(cli->form == OUT_PLAIN ? "%s\t%s\t%s\n"
				      : "%s has moved in %s ms, and stood still for %s ms.\n",
		args->words[0], total ? total : "?", still ? still : "?");
	return 0;
}

static int migrate_run(
	struct cli *cli, const struct cmd *cmd, const struct cmd_args *args, struct err *e)
{
	struct json_out o;
	const char *step;

	if (choose_step(args, &step, e) < 0)
		return -1;
	json_out_init(&o);
	json_out_object(&o, NULL);
	args_put(cmd, args, &o);
	if (step)
		json_out_str(&o, "step", step);
	json_out_end(&o);
	if (!step)
		return move_run(cli, args, &o, e);
	if (call_with(cli, "Migrate", &o, false, e) < 0)
		return -1;
	if (step == step_names[0])
		return verdict_run(cli, e);
	if (step == step_names[1])
		return begin_run(cli, e);
	if (out_is_json(cli))
		out_raw(cli);
	return 0;
}

extern const struct cmd cmd_migrate;
const struct cmd cmd_migrate = {
	.name = "migrate",
	.summary = "Moves a virtual machine to another host, with its I/O.",
	.words = {{"VM", "vm"}, {"DESTINATION", "destination"}},
	.options =
		{
			{"--check", NULL, CMD_FLAG, .help = "only say whether it could"},
			{"--begin", NULL, CMD_FLAG,
				.help = "reserve there; the VMM may move the machine from then on"},
			{"--end", NULL, CMD_FLAG,
				.help = "wait until it runs there, and take away what is here"},
			{"--abort", NULL, CMD_FLAG,
				.help = "take all back, if it does not run there"},
			{"--map", "map", CMD_PAIRS, "OLD=NEW",
				.help = "what a device is called there; may be repeated"},
			{"--iovd", "iovd", CMD_TEXT, "URI",
				.help = "where the iovd there is, if DESTINATION does not say"},
			{"--address", "address", CMD_TEXT, "URI",
				.help = "where the memory is sent, tcp://HOST; else libvirt knows"},
			{"--timeout", "timeout_ms", CMD_NUMBER, "MS",
				.help = "give it up after so long; a domain only"},
			{"--carry", "carry_ms", CMD_NUMBER, "MS",
				.help = "what does not end in so long is done there, if it can be"},
		},
	.run = migrate_run,
};
