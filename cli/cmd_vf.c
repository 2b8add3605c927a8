/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <stdio.h>
#include <string.h>

#include "cli/out.h"
#include "lib/cleanup.h"

/* --- create ----------------------------------------------------------------------------------- */

static const struct out_view vfs_view = {
	"vfs",
	{{"DEVICE", "device"}, {"INDEX", "index"}, {"DRIVER", "driver"}, {"GROUP", "iommu_group"}},
};

static void create_print(const struct json *reply)
{
	auto_free char *pf = out_text(json_member(reply, "pf"));
	auto_free char *count = out_text(json_member(reply, "count"));
	bool ours = json_is_true(json_member(reply, "ours"));
	bool none = count && strcmp(count, "0") == 0;

	printf("%s: %s%s virtual functions%s\n", pf ? pf : "?",
		json_is_true(json_member(reply, "already")) ? "has already " : "has ",
		count ? count : "?", ours || none ? "" : ", made by somebody else");
	if (!none)
		putchar('\n');
}

static int vf_create(struct cli *cli, const struct cmd_args *args, struct err *e)
{
	auto_json struct json *reply = NULL;
	struct json_out o;
	uint64_t count;

	if (args->rest_count != 1 || parse_u64(args->rest[0], INT32_MAX, &count) < 0)
		return err_set(e, ERR_USAGE, "USAGE", "vf create takes a PF and a number");
	json_out_init(&o);
	json_out_object(&o, NULL);
	json_out_str(&o, "pf", args->words[1]);
	json_out_u64(&o, "count", count);
	json_out_end(&o);
	if (call_with(cli, "CreateVfs", &o, false, e) < 0)
		return -1;
	reply = out_parse(cli, e);
	if (!reply)
		return -1;
	if (cli->form == OUT_TABLE)
		create_print(reply);
	return cli->form == OUT_TABLE && !json_count(json_member(reply, "vfs"))
		       ? 0
		       : out_list(cli, &vfs_view, e);
}

/* --- set -------------------------------------------------------------------------------------- */

/* "vlan=10" as a member. */
static int set_put(struct json_out *o, const char *word, struct err *e)
{
	size_t len = strcspn(word, "=");
	char key[32];

	if (!word[len] || len >= sizeof(key))
		return err_set(e, ERR_USAGE, "USAGE", "'%s' is no key=value", word);
	memcpy(key, word, len);
	key[len] = '\0';
	json_out_str(o, key, word + len + 1);
	return 0;
}

static int vf_set(struct cli *cli, const struct cmd_args *args, struct err *e)
{
	struct json_out o;

	json_out_init(&o);
	json_out_object(&o, NULL);
	json_out_str(&o, "vf", args->words[1]);
	for (int i = 0; i < args->rest_count; i++) {
		if (set_put(&o, args->rest[i], e) < 0) {
			json_out_release(&o);
			return -1;
		}
	}
	json_out_end(&o);
	if (call_with(cli, "SetVf", &o, false, e) < 0)
		return -1;
	return out_object(cli, "vf", e);
}

/* --- the verb --------------------------------------------------------------------------------- */

static int vf_run(
	struct cli *cli, const struct cmd *cmd, const struct cmd_args *args, struct err *e)
{
	(void)cmd;
	return strcmp(args->words[0], "create") == 0 ? vf_create(cli, args, e)
						     : vf_set(cli, args, e);
}

extern const struct cmd cmd_vf;
const struct cmd cmd_vf = {
	.name = "vf",
	.summary = "Makes the virtual functions of a device, or sets one of them.",
	.words = {{"ACTION", .choices = "create|set"}, {"DEVICE"}},
	.rest = "COUNT|KEY=VALUE...",
	.run = vf_run,
};
