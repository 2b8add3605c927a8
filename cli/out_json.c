/* SPDX-License-Identifier: GPL-2.0-or-later */
/* JSON on standard output: replies as they came, and errors. */
#include <stdio.h>

#include "cli/out.h"
#include "lib/cleanup.h"

bool out_is_json(const struct cli *cli)
{
	return cli->form == OUT_JSON || cli->form == OUT_JSONL;
}

void out_raw(const struct cli *cli)
{
	struct json_span p = cli->reply.parameters;

	if (p.text)
		fwrite(p.text, 1, p.len, stdout);
	else
		fputs("{}", stdout);
	putchar('\n');
}

struct json *out_parse(const struct cli *cli, struct err *e)
{
	struct json_span p = cli->reply.parameters;

	return p.text ? json_parse(p.text, p.len, e) : json_parse("{}", 2, e);
}

int out_reply(const struct cli *cli, struct json **reply, struct err *e)
{
	if (out_is_json(cli)) {
		out_raw(cli);
		return 0;
	}
	*reply = out_parse(cli, e);
	return *reply ? 1 : -1;
}

static void out_error_document(const struct cli *cli, const struct err *e)
{
	auto_free char *text = NULL;
	struct json_out o;
	size_t len;

	json_out_init(&o);
	json_out_object(&o, NULL);
	json_out_str(&o, "schema", "iovd.error/1");
	json_out_object(&o, "error");
	json_out_str(&o, "kind", err_kind_info(e->kind)->varlink_name);
	json_out_i64(&o, "exit_status", err_kind_info(e->kind)->exit_status);
	json_out_str(&o, "code", e->code);
	json_out_str(&o, "attempted", e->msg);
	json_out_str(&o, "evidence", e->evidence);
	json_out_str(&o, "fix", e->fix);
	json_out_str(&o, "job", cli->job[0] ? cli->job : NULL);
	json_out_end(&o);
	json_out_end(&o);
	text = json_out_finish(&o, &len);
	if (text)
		puts(text);
}

void out_error(const struct cli *cli, const struct err *e)
{
	fputs("iovctl: ", stderr);
	out_safe(stderr, e->msg);
	fprintf(stderr, " [%s]\n", e->code);
	if (e->evidence[0]) {
		fputs("  evidence: ", stderr);
		out_safe(stderr, e->evidence);
		fputc('\n', stderr);
	}
	if (e->fix[0]) {
		fputs("  fix: ", stderr);
		out_safe(stderr, e->fix);
		fputc('\n', stderr);
	}
	if (out_is_json(cli))
		out_error_document(cli, e);
}
