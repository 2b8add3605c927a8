/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <stdio.h>
#include <string.h>

#include "cli/cmd.h"
#include "lib/cleanup.h"

static const char *const form_names[] = {
	[OUT_TABLE] = "table",
	[OUT_JSON] = "json",
	[OUT_JSONL] = "jsonl",
	[OUT_PLAIN] = "plain",
};

/* --- help ------------------------------------------------------------------------------------- */

void args_print_usage(void)
{
	printf("Usage: iovctl [-s SOCKET] [-o table|json|jsonl|plain] VERB [ARGS]\n"
	       "Asks iovd about host devices, and gives them to virtual machines.\n\n");
	for (const struct cmd *const *cmd = cmd_all; *cmd; cmd++)
		printf("  %-8s %s\n", (*cmd)->name, (*cmd)->summary);
	printf("\n"
	       "  -s SOCKET      the daemon's socket (" IOVD_RUNTIME_DIR "/iovd.sock)\n"
	       "  -o FORM        how replies look: table, json, jsonl or plain\n"
	       "  -h, --help     this text; after a verb, what the verb takes\n"
	       "  -V, --version  the version\n\n"
	       "Exit status: 0 done; 1 failed; 2 usage or ambiguous name; 3 timed out, a job goes "
	       "on;\n"
	       "4 refused; 5 rolled back; 6 partly done; 7 host changed; 8 no daemon; 9 not "
	       "permitted;\n"
	       "10 no such object.\n");
}

static void args_print_option(const struct cmd_option *o)
{
	char left[48];
	const char *value = o->choices ? o->choices : o->value_name;

	switch (o->kind) {
	case CMD_FLAG:
		snprintf(left, sizeof(left), "%s", o->name);
		break;
	case CMD_TEXT:
	case CMD_NUMBER:
	case CMD_PAIRS:
	case CMD_LIST:
		snprintf(left, sizeof(left), "%s %s", o->name, value);
		break;
	case CMD_MAYBE_NUMBER:
		snprintf(left, sizeof(left), "%s [%s]", o->name, value);
		break;
	}
	printf("  %-28s %s\n", left, o->help);
}

/* Options of the rest are its own: it comes after "--". */
static bool args_rest_is_last(const struct cmd *cmd)
{
	return strncmp(cmd->rest, "--", 2) == 0;
}

void args_print_help(const struct cmd *cmd)
{
	printf("Usage: iovctl %s", cmd->name);
	for (const struct cmd_word *w = cmd->words; w->name; w++)
		printf(" %s", w->choices ? w->choices : w->name);
	if (cmd->rest && !args_rest_is_last(cmd))
		printf(" %s", cmd->rest);
	printf("%s", cmd->options[0].name ? " [OPTION]..." : "");
	if (cmd->rest && args_rest_is_last(cmd))
		printf(" %s", cmd->rest);
	printf("\n%s\n", cmd->summary);
	if (cmd->options[0].name)
		printf("\n");
	for (const struct cmd_option *o = cmd->options; o->name; o++)
		args_print_option(o);
}

/* --- choices ---------------------------------------------------------------------------------- */

static bool args_is_choice(const char *choices, const char *value)
{
	size_t len = strlen(value);

	while (choices) {
		size_t n = strcspn(choices, "|");

		if (n == len && memcmp(choices, value, n) == 0)
			return true;
		choices = choices[n] ? choices + n + 1 : NULL;
	}
	return false;
}

static int args_check_choice(
	const char *what, const char *choices, const char *value, struct err *e)
{
	if (!choices || args_is_choice(choices, value))
		return 0;
	return err_set(e, ERR_USAGE, "USAGE", "%s is one of %s, not '%s'", what, choices, value);
}

static int args_set_form(struct cli *cli, const char *name, struct err *e)
{
	for (unsigned int i = 0; i < ARRAY_SIZE(form_names); i++) {
		if (strcmp(form_names[i], name) == 0) {
			cli->form = (enum out_form)i;
			return 0;
		}
	}
	return err_set(
		e, ERR_USAGE, "USAGE", "-o is one of table, json, jsonl, plain, not '%s'", name);
}

/* --- parsing ---------------------------------------------------------------------------------- */

/* A command line that is read from the front. */
struct args_cursor {
	int count;
	char **at;
};

static char *args_take(struct args_cursor *c)
{
	c->count--;
	return *c->at++;
}

/* The value of "-s VALUE" or "-sVALUE", if `word` is that option; *matched says so. */
static const char *args_short_value(
	struct args_cursor *c, const char *word, char letter, bool *matched)
{
	*matched = word[0] == '-' && word[1] == letter;
	if (!*matched)
		return NULL;
	if (word[2])
		return word + 2;
	return c->count ? args_take(c) : NULL;
}

/* -s and -o, before the verb and after it. 1: it was one of them, 0: it was not, -1: error. */
static int args_take_global(struct cli *cli, struct args_cursor *c, const char *word, struct err *e)
{
	const char *value;
	bool matched;

	value = args_short_value(c, word, 's', &matched);
	if (matched && value) {
		cli->socket = value;
		return 1;
	}
	if (!matched)
		value = args_short_value(c, word, 'o', &matched);
	if (!matched)
		return 0;
	if (!value)
		return err_set(e, ERR_USAGE, "USAGE", "%s needs a value", word);
	return args_set_form(cli, value, e) < 0 ? -1 : 1;
}

static bool args_is_help(const char *word)
{
	return strcmp(word, "-h") == 0 || strcmp(word, "--help") == 0;
}

int args_parse_global(
	struct cli *cli, int *argc, char ***argv, bool *help, bool *version, struct err *e)
{
	struct args_cursor c = {*argc, *argv};

	while (c.count && c.at[0][0] == '-') {
		const char *word = args_take(&c);
		int rc;

		*help |= args_is_help(word);
		*version |= strcmp(word, "-V") == 0 || strcmp(word, "--version") == 0;
		if (*help || *version)
			return 0;
		rc = args_take_global(cli, &c, word, e);
		if (rc < 0)
			return -1;
		if (rc == 0)
			return err_set(e, ERR_USAGE, "USAGE", "there is no option %s", word);
	}
	*argc = c.count;
	*argv = c.at;
	return 0;
}

static int args_check_number(const struct cmd_option *o, const char *value, struct err *e)
{
	uint64_t n;

	if (parse_u64(value, INT64_MAX, &n) < 0)
		return err_set(
			e, ERR_USAGE, "USAGE", "%s takes a number, not '%s'", o->name, value);
	return 0;
}

/* The value of an option that was named, `inline_value` if it came as --name=value. */
static const char *args_take_value(
	struct args_cursor *c, const struct cmd_option *o, const char *inline_value)
{
	uint64_t n;

	if (inline_value)
		return inline_value;
	if (o->kind == CMD_FLAG)
		return "";
	if (o->kind == CMD_MAYBE_NUMBER)
		return c->count && parse_u64(c->at[0], INT64_MAX, &n) == 0 ? args_take(c) : "";
	return c->count ? args_take(c) : NULL;
}

static size_t args_key_len(const char *pair)
{
	return strcspn(pair, "=");
}

static int args_add(
	const struct cmd_option *o, const char *value, struct cmd_args *args, struct err *e)
{
	if (args->pair_count == CMD_MAX_PAIRS)
		return err_set(e, ERR_USAGE, "USAGE", "%s is given more than %d times", o->name,
			CMD_MAX_PAIRS);
	args->pairs[args->pair_count++] = value;
	return 0;
}

static int args_add_pair(
	const struct cmd_option *o, const char *value, struct cmd_args *args, struct err *e)
{
	size_t len = args_key_len(value);

	if (!len || !value[len])
		return err_set(e, ERR_USAGE, "USAGE", "%s takes %s, not '%s'", o->name,
			o->value_name, value);
	for (unsigned int i = 0; i < args->pair_count; i++)
		if (args_key_len(args->pairs[i]) == len && memcmp(args->pairs[i], value, len) == 0)
			return err_set(e, ERR_USAGE, "USAGE", "%s has '%.*s' twice", o->name,
				(int)len, value);
	return args_add(o, value, args, e);
}

static int args_set_option(struct args_cursor *c, const struct cmd_option *o,
	const char *inline_value, const char **slot, struct cmd_args *args, struct err *e)
{
	const char *value = args_take_value(c, o, inline_value);

	if (*slot && o->kind != CMD_PAIRS && o->kind != CMD_LIST)
		return err_set(e, ERR_USAGE, "USAGE", "%s is given twice", o->name);
	if (!value)
		return err_set(e, ERR_USAGE, "USAGE", "%s needs a value", o->name);
	*slot = value;
	switch (o->kind) {
	case CMD_FLAG:
		if (inline_value)
			return err_set(e, ERR_USAGE, "USAGE", "%s takes no value", o->name);
		return 0;
	case CMD_TEXT:
		if (!*value)
			return err_set(e, ERR_USAGE, "USAGE", "%s is empty", o->name);
		return args_check_choice(o->name, o->choices, value, e);
	case CMD_NUMBER:
		return args_check_number(o, value, e);
	case CMD_MAYBE_NUMBER:
		return *value ? args_check_number(o, value, e) : 0;
	case CMD_PAIRS:
		return args_add_pair(o, value, args, e);
	case CMD_LIST:
		if (!*value)
			return err_set(e, ERR_USAGE, "USAGE", "%s is empty", o->name);
		return args_add(o, value, args, e);
	}
	return -1;
}

static int args_parse_option(struct args_cursor *c, const struct cmd *cmd, const char *word,
	struct cmd_args *args, struct err *e)
{
	size_t len = strcspn(word, "=");
	const char *inline_value = word[len] ? word + len + 1 : NULL;

	for (unsigned int i = 0; cmd->options[i].name; i++) {
		const struct cmd_option *o = &cmd->options[i];

		if (strlen(o->name) == len && memcmp(o->name, word, len) == 0)
			return args_set_option(c, o, inline_value, &args->options[i], args, e);
	}
	return err_set(e, ERR_USAGE, "USAGE", "there is no option %s", word);
}

static int args_parse_word(
	const struct cmd *cmd, char *word, bool options_end, struct cmd_args *args, struct err *e)
{
	for (unsigned int i = 0; cmd->words[i].name; i++) {
		if (args->words[i])
			continue;
		if (!*word)
			return err_set(e, ERR_USAGE, "USAGE", "%s is empty", cmd->words[i].name);
		args->words[i] = word;
		return args_check_choice(cmd->words[i].name, cmd->words[i].choices, word, e);
	}
	if (cmd->rest && (options_end || !args_rest_is_last(cmd))) {
		args->rest[args->rest_count++] = word;
		return 0;
	}
	return err_set(e, ERR_USAGE, "USAGE", "'%s' is one word too many", word);
}

static int args_check_complete(const struct cmd *cmd, const struct cmd_args *args, struct err *e)
{
	for (unsigned int i = 0; cmd->words[i].name; i++)
		if (!args->words[i])
			return err_set(e, ERR_USAGE, "USAGE", "%s is missing", cmd->words[i].name);
	if (cmd->rest && !args->rest_count)
		return err_set(e, ERR_USAGE, "USAGE", "%s is missing", cmd->rest);
	return 0;
}

int args_parse(struct cli *cli, const struct cmd *cmd, int argc, char **argv, struct cmd_args *args,
	bool *help, struct err *e)
{
	struct args_cursor c = {argc, argv};
	bool options_end = false;

	*args = (struct cmd_args){.rest = argv}; /* behind what is still to be read */
	while (c.count) {
		char *word = args_take(&c);
		int rc = 0;

		if (!options_end && strcmp(word, "--") == 0) {
			options_end = true;
			continue;
		}
		if (options_end || word[0] != '-' || !word[1]) {
			rc = args_parse_word(cmd, word, options_end, args, e);
		} else if (args_is_help(word)) {
			*help = true;
			return 0;
		} else {
			rc = args_take_global(cli, &c, word, e);
			if (rc == 0)
				rc = args_parse_option(&c, cmd, word, args, e);
		}
		if (rc < 0)
			return -1;
	}
	args->rest[args->rest_count] = NULL;
	return args_check_complete(cmd, args, e);
}

/* --- values ----------------------------------------------------------------------------------- */

const char *args_option(const struct cmd *cmd, const struct cmd_args *args, const char *name)
{
	for (unsigned int i = 0; cmd->options[i].name; i++)
		if (strcmp(cmd->options[i].name, name) == 0)
			return args->options[i];
	return NULL;
}

static void args_put_pairs(const char *key, const struct cmd_args *args, struct json_out *out)
{
	json_out_object(out, key);
	for (unsigned int i = 0; i < args->pair_count; i++) {
		size_t len = args_key_len(args->pairs[i]);
		auto_free char *left = strndup(args->pairs[i], len);

		if (left)
			json_out_str(out, left, args->pairs[i] + len + 1);
	}
	json_out_end(out);
}

static void args_put_option(const struct cmd_option *o, const char *value,
	const struct cmd_args *args, struct json_out *out)
{
	uint64_t n;

	switch (o->kind) {
	case CMD_FLAG:
		json_out_bool(out, o->key, true);
		break;
	case CMD_TEXT:
		json_out_str(out, o->key, value);
		break;
	case CMD_NUMBER:
	case CMD_MAYBE_NUMBER:
		if (parse_u64(value, INT64_MAX, &n) == 0)
			json_out_u64(out, o->key, n);
		break;
	case CMD_PAIRS:
		args_put_pairs(o->key, args, out);
		break;
	case CMD_LIST:
		json_out_array(out, o->key);
		for (unsigned int i = 0; i < args->pair_count; i++)
			json_out_str(out, NULL, args->pairs[i]);
		json_out_end(out);
		break;
	}
}

void args_put(const struct cmd *cmd, const struct cmd_args *args, struct json_out *o)
{
	for (unsigned int i = 0; cmd->words[i].name; i++)
		if (cmd->words[i].key && args->words[i])
			json_out_str(o, cmd->words[i].key, args->words[i]);
	for (unsigned int i = 0; cmd->options[i].name; i++)
		if (cmd->options[i].key && args->options[i])
			args_put_option(&cmd->options[i], args->options[i], args, o);
}
