/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <stdio.h>

#include "cli/cmd.h"
#include "lib/cleanup.h"

int call_next(struct cli *cli, struct err *e)
{
	if (client_next(cli->client, &cli->reply, e) < 0)
		return -1;
	if (!cli->reply.error[0])
		return 0;
	varlink_get_error(&cli->reply, e, cli->job, sizeof(cli->job));
	return -1;
}

int call_send(struct cli *cli, const char *method, struct json_out *o, bool more, struct err *e)
{
	char name[VARLINK_MAX_NAME];
	auto_free char *parameters = NULL;
	size_t len;

	parameters = json_out_finish(o, &len);
	if (!parameters)
		return err_set(e, ERR_FAILED, "MEMORY", "no memory for a call");
	if (!cli->client)
		cli->client = client_connect(cli->socket, e);
	if (!cli->client)
		return -1;
	snprintf(name, sizeof(name), IOVD_INTERFACE ".%s", method);
	return client_call(cli->client, name, parameters, more, e);
}

int call_with(struct cli *cli, const char *method, struct json_out *o, bool more, struct err *e)
{
	return call_send(cli, method, o, more, e) < 0 ? -1 : call_next(cli, e);
}

int call_daemon(struct cli *cli, const char *method, const struct cmd *cmd,
	const struct cmd_args *args, bool more, struct err *e)
{
	struct json_out o;

	json_out_init(&o);
	json_out_object(&o, NULL);
	if (args)
		args_put(cmd, args, &o);
	json_out_end(&o);
	return call_with(cli, method, &o, more, e);
}
