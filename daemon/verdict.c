/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Theory of operation: what is in the way of a move is asked of two. What cannot leave (a device that is
 * passed through, one that is just busy) is known here, and its state cannot even be described; all
 * others are described to the destination, which goes on to the next one whatever it finds. Their
 * answers become one document. Nothing is changed on either side, so that nothing has to be undone.
 */
#include "daemon/verdict.h"

#include <stdlib.h>
#include <string.h>

#include "daemon/baton_priv.h"
#include "daemon/conf.h"
#include "daemon/explain.h"
#include "daemon/iostate.h"
#include "lib/cleanup.h"

bool problems_add(struct problems *p, int rc, struct err *e)
{
	if (rc == 0)
		return false;
	if (p->count < PROBLEMS_MAX)
		p->each[p->count++] = *e;
	*e = (struct err)ERR_INIT;
	return true;
}

void verdict_put_device(
	struct json_out *o, const char *name, const char *device, const struct problems *p)
{
	json_out_object(o, NULL);
	json_out_str(o, "name", name);
	json_out_str(o, "device", device);
	json_out_bool(o, "ok", p->count == 0);
	json_out_array(o, "problems");
	for (unsigned int i = 0; i < p->count; i++) {
		json_out_object(o, NULL);
		json_out_str(o, "code", p->each[i].code);
		json_out_str(o, "what", p->each[i].msg);
		json_out_str(o, "evidence", p->each[i].evidence);
		json_out_str(o, "fix", p->each[i].fix);
		json_out_end(o);
	}
	json_out_end(o);
	json_out_end(o);
}

/* --- what cannot leave ------------------------------------------------------------------------ */

struct staying {
	char name[REGISTRY_NAME_MAX];
	char device[PATH_MAX];
	struct problems problems;
};

struct verdict {
	struct daemon *d;
	char vm[REGISTRY_NAME_MAX];
	struct staying *staying;
	size_t count;
	bool no_memory;
	struct channel *channel;
	baton_done_fn *done;
	void *arg;
};

static void verdict_free(struct verdict *v)
{
	if (!v)
		return;
	channel_close(v->channel);
	free(v->staying);
	free(v);
}

static void stays(void *arg, const struct attachment *a, const struct err *why)
{
	struct verdict *v = arg;
	struct staying *all = reallocarray(v->staying, v->count + 1, sizeof(*all));
	struct err e = ERR_INIT;

	if (!all) {
		v->no_memory = true;
		return;
	}
	v->staying = all;
	all += v->count++;
	*all = (struct staying){0};
	str_copy(all->name, sizeof(all->name), a->spec.name);
	str_copy(all->device, sizeof(all->device), a->spec.device);
	problems_add(&all->problems, explain_refuse_move_of(v->d, a, &e), &e);
	e = *why;
	problems_add(&all->problems, -1, &e);
}

/* --- the answer ------------------------------------------------------------------------------- */

/* `there`: what the destination says of all others; NULL: there are none. */
static char *put_verdict(const struct verdict *v, const struct json *there, size_t *len)
{
	const struct json *devices = json_member(there, "devices");
	struct json_out o;

	json_out_init(&o);
	json_out_object(&o, NULL);
	json_out_str(&o, "schema", "iovd.verdict/1");
	json_out_str(&o, "vm", v->vm);
	json_out_array(&o, "devices");
	for (size_t i = 0; i < json_count(devices); i++)
		json_out_value(&o, NULL, json_item(devices, i));
	for (size_t i = 0; i < v->count; i++) {
		const struct staying *one = &v->staying[i];

		verdict_put_device(&o, one->name, one->device, &one->problems);
	}
	json_out_end(&o);
	json_out_bool(&o, "ok", !v->count && json_is_true(json_member(there, "ok")));
	json_out_end(&o);
	return json_out_finish(&o, len);
}

static void judged(void *arg, const struct json *there, const struct err *e)
{
	struct verdict *v = arg;
	auto_free char *text = NULL;
	struct err own = ERR_INIT;
	size_t len = 0;

	if (!e) {
		text = put_verdict(v, there, &len);
		if (!text || v->no_memory) {
			err_set(&own, ERR_FAILED, "MEMORY", "no memory for the verdict");
			e = &own;
		}
	}
	v->done(v->arg, e ? NULL : text, e ? 0 : len, e);
	verdict_free(v);
}

/* --- the question ----------------------------------------------------------------------------- */

static int ask_there(struct verdict *v, struct baton *b, const char *state, struct err *e)
{
	struct daemon *d = v->d;
	struct json_out o;

	v->channel = channel_open(d->loop, b->peer, d->conf->ssh, e);
	if (!v->channel)
		return -1;
	baton_put_description(b, state, &o);
	json_out_end(&o);
	return channel_call(v->channel, "CheckMove", &o, BATON_CHECK_MS, judged, v, e);
}

/* A baton that is there for its words only. */
static int ask(struct verdict *v, const char *uri, const struct json *map, const struct iostate *s,
	struct err *e)
{
	auto_free char *state = iostate_to_text(s);
	char move[BATON_MOVE_SIZE];
	struct baton *b;
	int rc;

	if (!state)
		return err_set(e, ERR_FAILED, "MEMORY", "no memory for a description");
	if (channel_check_uri(uri, e) < 0 || baton_name_move(move, e) < 0)
		return -1;
	b = baton_new(v->d, move, v->vm, uri, BATON_REFUSED, e);
	if (!b)
		return -1;
	b->map = json_share(map);
	rc = ask_there(v, b, state, e);
	baton_free(b);
	return rc;
}

int verdict_ask(struct daemon *d, const char *vm, const char *uri, const struct json *map,
	baton_done_fn *done, void *arg, struct err *e)
{
	struct verdict *v = calloc(1, sizeof(*v));
	auto_iostate struct iostate *s = NULL;

	if (!v)
		return err_set(e, ERR_FAILED, "MEMORY", "no memory for a verdict");
	*v = (struct verdict){.d = d, .done = done, .arg = arg};
	str_copy(v->vm, sizeof(v->vm), vm);
	s = iostate_describe_fit(d, vm, stays, v, e);
	if (!s || (s->attachment_count && ask(v, uri, map, s, e) < 0)) {
		verdict_free(v);
		return -1;
	}
	if (!s->attachment_count)
		judged(v, NULL, NULL);
	return 0;
}
