/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Two connections: one has the call, the other the events, of which those of its job are drawn. The
 * answer ends it, whatever events are still to be read.
 */
#include "cli/bar.h"

#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "cli/out.h"
#include "lib/cleanup.h"

#define BAR_CELLS  20
#define BAR_TEXT   52 /* with the rest within 80 columns */
#define END_OF_BAR "\r\033[K"

static bool is_of_job(const struct json *data, const char *verb, const char *object)
{
	const struct json *objects = json_member(data, "objects");
	const char *of = json_member_str(data, "verb");

	if (!of || strcmp(of, verb) != 0)
		return false;
	for (size_t i = 0; i < json_count(objects); i++)
		if (strcmp(json_str(json_item(objects, i)) ?: "", object) == 0)
			return true;
	return false;
}

static void draw(const struct json *data)
{
	const char *doing = json_member_str(data, "doing");
	uint64_t percent = 0;
	char cells[BAR_CELLS + 1], text[BAR_TEXT + 1];

	json_u64(json_member(data, "percent"), &percent);
	percent = MIN(percent, 100);
	for (unsigned int i = 0; i < BAR_CELLS; i++)
		cells[i] = i < percent * BAR_CELLS / 100 ? '#' : '.';
	cells[BAR_CELLS] = '\0';
	snprintf(text, sizeof(text), "%s", doing ? doing : "");
	fprintf(stderr, "\r[%s] %3u%% ", cells, (unsigned int)percent);
	out_safe(stderr, text);
	fputs("\033[K", stderr);
	fflush(stderr);
}

/* Where there are no events there is no bar; the call goes its way. */
static void begin(struct client **events, const char *socket)
{
	struct varlink_reply reply;
	struct err e = ERR_INIT;

	if (!isatty(STDERR_FILENO))
		return;
	*events = client_connect(socket, &e);
	if (!*events || (client_call(*events, IOVD_INTERFACE ".Watch", NULL, true, &e) == 0 &&
				client_next(*events, &reply, &e) == 0 && !reply.error[0]))
		return;
	client_close(*events);
	*events = NULL;
}

static bool take_event(struct client *events, const char *verb, const char *object)
{
	struct varlink_reply reply;
	auto_json struct json *event = NULL;
	const struct json *data;
	struct err e = ERR_INIT;

	if (client_next(events, &reply, &e) < 0 || reply.error[0])
		return false;
	event = json_parse(reply.parameters.text, reply.parameters.len, &e);
	data = json_member(event, "data");
	if (is_of_job(data, verb, object))
		draw(data);
	return true;
}

/* Until the answer can be read. */
static void wait_for_answer(
	struct client *call, struct client *events, const char *verb, const char *object)
{
	struct pollfd fds[2] = {{.fd = client_fd(call), .events = POLLIN},
		{.fd = client_fd(events), .events = POLLIN}};

	while (poll(fds, ARRAY_SIZE(fds), -1) >= 0 && !fds[0].revents)
		if (fds[1].revents && !take_event(events, verb, object))
			fds[1].fd = -1;
	fputs(END_OF_BAR, stderr);
}

int bar_call(struct cli *cli, const char *method, struct json_out *o, const char *verb,
	const char *object, struct err *e)
{
	auto_client struct client *events = NULL;

	begin(&events, cli->socket);
	if (call_send(cli, method, o, false, e) < 0)
		return -1;
	if (events)
		wait_for_answer(cli->client, events, verb, object);
	return call_next(cli, e);
}
