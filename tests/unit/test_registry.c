/* SPDX-License-Identifier: GPL-2.0-or-later */
/* daemon/registry: states along their edges only; what is kept comes back; ids are never reused. */
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "daemon/iostate.h"
#include "daemon/registry.h"
#include "lib/cleanup.h"
#include "tests/unit/iostate_sample.h"
#include "tests/unit/unit.h"

/*
 * The oracle, in other words than the table: what each edge is for. Everything not named here must
 * not be.
 */
static const struct {
	enum attachment_state from, to;
	const char *because;
} oracle[] = {
	{ATTACHMENT_PREPARING, ATTACHMENT_READY, "attached"},
	{ATTACHMENT_PREPARING, ATTACHMENT_ACTIVE, "attached, and its VMM was faster"},
	{ATTACHMENT_PREPARING, ATTACHMENT_RECOVERING, "its worker died just then"},
	{ATTACHMENT_PREPARING, ATTACHMENT_INCOMING, "it is restored"},
	{ATTACHMENT_PREPARING, ATTACHMENT_HELD, "attached, and its disk fails at once"},
	{ATTACHMENT_PREPARING, ATTACHMENT_FAILED, "attached, and the worker says so at once"},
	{ATTACHMENT_READY, ATTACHMENT_AWAY, "the baton has left"},
	{ATTACHMENT_ACTIVE, ATTACHMENT_AWAY, "the baton has left"},
	{ATTACHMENT_QUIESCED, ATTACHMENT_AWAY, "never, but the store says so"},
	{ATTACHMENT_HELD, ATTACHMENT_AWAY, "the hold had ended"},
	{ATTACHMENT_RECOVERING, ATTACHMENT_AWAY, "an idle worker serves"},
	{ATTACHMENT_INCOMING, ATTACHMENT_AWAY, "the baton goes on at once"},
	{ATTACHMENT_FAILED, ATTACHMENT_AWAY, "it serves after all, idle"},
	{ATTACHMENT_AWAY, ATTACHMENT_READY, "the baton came back, and the VMM has gone"},
	{ATTACHMENT_AWAY, ATTACHMENT_ACTIVE, "the baton came back"},
	{ATTACHMENT_AWAY, ATTACHMENT_QUIESCED, "never, but the store says so"},
	{ATTACHMENT_AWAY, ATTACHMENT_HELD, "its disk fails as soon as the baton is back"},
	{ATTACHMENT_AWAY, ATTACHMENT_INCOMING, "never, but the worker says so"},
	{ATTACHMENT_AWAY, ATTACHMENT_RECOVERING, "its idle worker died"},
	{ATTACHMENT_AWAY, ATTACHMENT_FAILED, "the worker says so"},
	{ATTACHMENT_AWAY, ATTACHMENT_DETACHING, "it lives there now"},
	{ATTACHMENT_INCOMING, ATTACHMENT_ACTIVE, "all of its rings have arrived"},
	{ATTACHMENT_INCOMING, ATTACHMENT_READY, "they have, and the VMM has gone"},
	{ATTACHMENT_INCOMING, ATTACHMENT_QUIESCED, "asked for"},
	{ATTACHMENT_INCOMING, ATTACHMENT_RECOVERING, "its worker died"},
	{ATTACHMENT_INCOMING, ATTACHMENT_FAILED, "the worker says so"},
	{ATTACHMENT_INCOMING, ATTACHMENT_DETACHING, "asked for"},
	{ATTACHMENT_INCOMING, ATTACHMENT_HELD, "its disk fails"},
	{ATTACHMENT_QUIESCED, ATTACHMENT_INCOMING, "resumed before it has arrived"},
	{ATTACHMENT_HELD, ATTACHMENT_INCOMING, "recovered before it has arrived"},
	{ATTACHMENT_READY, ATTACHMENT_INCOMING, "never, but the worker says so"},
	{ATTACHMENT_ACTIVE, ATTACHMENT_INCOMING, "never, but the worker says so"},
	{ATTACHMENT_RECOVERING, ATTACHMENT_INCOMING, "a new worker waits as the old one did"},
	{ATTACHMENT_FAILED, ATTACHMENT_INCOMING, "it serves after all"},
	{ATTACHMENT_READY, ATTACHMENT_ACTIVE, "the VMM came"},
	{ATTACHMENT_ACTIVE, ATTACHMENT_READY, "the VMM went"},
	{ATTACHMENT_READY, ATTACHMENT_QUIESCED, "asked for"},
	{ATTACHMENT_ACTIVE, ATTACHMENT_QUIESCED, "asked for"},
	{ATTACHMENT_RECOVERING, ATTACHMENT_QUIESCED, "a new worker serves, and was quiesced"},
	{ATTACHMENT_FAILED, ATTACHMENT_QUIESCED, "it serves after all, and was quiesced"},
	{ATTACHMENT_QUIESCED, ATTACHMENT_READY, "resumed"},
	{ATTACHMENT_QUIESCED, ATTACHMENT_ACTIVE, "resumed"},
	{ATTACHMENT_QUIESCED, ATTACHMENT_RECOVERING, "its worker died"},
	{ATTACHMENT_QUIESCED, ATTACHMENT_FAILED, "the worker says so"},
	{ATTACHMENT_QUIESCED, ATTACHMENT_DETACHING, "asked for"},
	{ATTACHMENT_READY, ATTACHMENT_HELD, "its disk fails"},
	{ATTACHMENT_ACTIVE, ATTACHMENT_HELD, "its disk fails"},
	{ATTACHMENT_QUIESCED, ATTACHMENT_HELD, "its disk fails as soon as it is resumed"},
	{ATTACHMENT_RECOVERING, ATTACHMENT_HELD, "a new worker serves, and holds"},
	{ATTACHMENT_FAILED, ATTACHMENT_HELD, "it serves after all, and holds"},
	{ATTACHMENT_HELD, ATTACHMENT_READY, "recovered, and the VMM went"},
	{ATTACHMENT_HELD, ATTACHMENT_ACTIVE, "recovered"},
	{ATTACHMENT_HELD, ATTACHMENT_QUIESCED, "recovered, and was quiesced"},
	{ATTACHMENT_HELD, ATTACHMENT_RECOVERING, "its worker died"},
	{ATTACHMENT_HELD, ATTACHMENT_FAILED, "the worker says so"},
	{ATTACHMENT_HELD, ATTACHMENT_DETACHING, "asked for"},
	{ATTACHMENT_READY, ATTACHMENT_RECOVERING, "its worker died"},
	{ATTACHMENT_ACTIVE, ATTACHMENT_RECOVERING, "its worker died"},
	{ATTACHMENT_FAILED, ATTACHMENT_RECOVERING, "tried again"},
	{ATTACHMENT_RECOVERING, ATTACHMENT_READY, "a new worker serves"},
	{ATTACHMENT_RECOVERING, ATTACHMENT_ACTIVE, "a new worker serves"},
	{ATTACHMENT_FAILED, ATTACHMENT_READY, "it serves after all"},
	{ATTACHMENT_FAILED, ATTACHMENT_ACTIVE, "it serves after all"},
	{ATTACHMENT_READY, ATTACHMENT_FAILED, "the worker says so"},
	{ATTACHMENT_ACTIVE, ATTACHMENT_FAILED, "the worker says so"},
	{ATTACHMENT_RECOVERING, ATTACHMENT_FAILED, "no worker comes to serve"},
	{ATTACHMENT_READY, ATTACHMENT_DETACHING, "asked for"},
	{ATTACHMENT_ACTIVE, ATTACHMENT_DETACHING, "asked for"},
	{ATTACHMENT_RECOVERING, ATTACHMENT_DETACHING, "asked for"},
	{ATTACHMENT_FAILED, ATTACHMENT_DETACHING, "asked for"},
};

static char dir[64], path[80];
static struct store *store;
static struct registry *registry;
static struct err e;

static void open_all(void)
{
	char *aside;

	store = store_open(path, &registry_schema, &aside, &e);
	ck_assert_msg(store, "%s", e.msg);
	registry = registry_new(store, NULL, dir, &e);
	ck_assert_ptr_nonnull(registry);
}

static void close_all(void)
{
	registry_free(registry);
	store_close(store);
}

static void begin(void)
{
	unit_path(dir, sizeof(dir), "registry");
	ck_assert(mkdtemp(dir));
	snprintf(path, sizeof(path), "%s/x.db", dir);
	open_all();
}

static void end(void)
{
	char cmd[96];

	close_all();
	snprintf(cmd, sizeof(cmd), "rm -r '%s'", dir);
	ck_assert_int_eq(system(cmd), 0);
}

static struct attachment_spec spec(const char *vm, const char *name)
{
	struct attachment_spec s = {.queues = 4, .cache = ATTACHMENT_CACHE_WRITEBACK};

	registry_next_id(registry, s.id);
	str_copy(s.vm, sizeof(s.vm), vm);
	str_copy(s.name, sizeof(s.name), name);
	snprintf(s.device, sizeof(s.device), "/srv/%s-%s.img", vm, name);
	snprintf(s.node, sizeof(s.node), "/srv/%s-%s.img", vm, name);
	str_copy(s.owner, sizeof(s.owner), "root");
	return s;
}

static struct attachment *add(const char *vm, const char *name)
{
	struct attachment_spec s = spec(vm, name);
	struct attachment *a = registry_add(registry, &s, &e);

	ck_assert_ptr_nonnull(a);
	ck_assert_msg(registry_keep(registry, a, &e) == 0, "%s", e.msg);
	return a;
}

/* A function that is passed through with its companion, kept. */
static struct attachment_spec function(const char *vm, const char *name)
{
	struct attachment_spec s = spec(vm, name);
	struct attachment *a;

	s.path = ATTACHMENT_PASSTHROUGH;
	memset(s.device, 0, sizeof(s.device)); /* all of it is compared */
	memset(s.node, 0, sizeof(s.node));
	str_copy(s.device, sizeof(s.device), "0000:0a:01.0");
	s.on_error = ON_ERROR_HOLD;
	str_copy(s.fingerprint, sizeof(s.fingerprint), "f1");
	s.passthrough = (struct attachment_passthrough){.companions = {"0000:0a:02.0"},
		.companion_count = 1,
		.group_type = "identity",
		.no_reset_boot = "b1"};
	a = registry_add(registry, &s, &e);
	ck_assert_ptr_nonnull(a);
	ck_assert_msg(registry_keep(registry, a, &e) == 0, "%s", e.msg);
	return s;
}

START_TEST(edges_are_those_of_the_oracle)
{
	for (unsigned int from = 0; from < ATTACHMENT_STATES; from++) {
		for (unsigned int to = 0; to < ATTACHMENT_STATES; to++) {
			bool named = false;

			for (size_t i = 0; i < ARRAY_SIZE(oracle); i++)
				named |= oracle[i].from == from && oracle[i].to == to;
			ck_assert_msg(attachment_edge(from, to) == named, "%s to %s",
				attachment_state_names[from], attachment_state_names[to]);
		}
	}
}
END_TEST

START_TEST(state_changes_along_edges)
{
	struct attachment *a;

	begin();
	a = add("vm", "disk");
	ck_assert_int_eq(a->state, ATTACHMENT_PREPARING);
	registry_set_state(registry, a, ATTACHMENT_READY, NULL);
	registry_set_state(registry, a, ATTACHMENT_READY, NULL); /* already so */
	registry_set_state(registry, a, ATTACHMENT_FAILED, "for a reason");
	ck_assert_str_eq(a->reason, "for a reason");
	registry_set_state(registry, a, ATTACHMENT_RECOVERING, NULL);
	ck_assert_str_eq(a->reason, "");
	end();
}
END_TEST

START_TEST(what_is_kept_comes_back)
{
	struct attachment_spec before, passed;
	struct attachment *a;

	begin();
	a = add("vm", "disk");
	before = a->spec;
	ck_assert_int_eq(registry_keep_as(registry, a, KEPT_ATTACHED, &e), 0);
	add("vm", "half");
	a = add("vm", "leaving");
	ck_assert_int_eq(registry_keep_as(registry, a, KEPT_DETACHING, &e), 0);
	a = add("vm", "gone");
	ck_assert_int_eq(registry_unkeep(registry, a, &e), 0);
	passed = function("vm", "pci");
	close_all();
	open_all();
	ck_assert_int_eq(registry_load(registry, &e), 0);
	a = registry_by_name(registry, "vm", "disk");
	ck_assert_ptr_nonnull(a);
	ck_assert_mem_eq(&a->spec, &before, sizeof(before));
	ck_assert_int_eq(a->state, ATTACHMENT_RECOVERING);
	ck_assert_int_eq(registry_by_name(registry, "vm", "half")->kept, KEPT_PREPARING);
	ck_assert_int_eq(registry_by_name(registry, "vm", "leaving")->state, ATTACHMENT_DETACHING);
	ck_assert_ptr_null(registry_by_name(registry, "vm", "gone"));
	a = registry_by_name(registry, "vm", "pci");
	ck_assert_mem_eq(&a->spec, &passed, sizeof(passed));
	/* its companions go with it, and can be another's then */
	ck_assert_int_eq(registry_unkeep(registry, a, &e), 0);
	registry_remove(registry, a);
	function("other", "pci");
	end();
}
END_TEST

/* From where it is incoming is kept until it has arrived. */
START_TEST(incoming_is_kept_until_it_has_arrived)
{
	auto_iostate struct iostate *s = iostate_sample(5);
	char id[KEEPER_ID_SIZE];
	struct attachment *a;

	begin();
	a = add("vm", "disk");
	str_copy(id, sizeof(id), a->spec.id);
	ck_assert_int_eq(registry_unkeep(registry, a, &e), 0);
	a->incoming = incoming_new(s, 0, &e);
	ck_assert_int_eq(registry_keep(registry, a, &e), 0);
	for (int arrived = 0; arrived < 2; arrived++) {
		close_all();
		open_all();
		ck_assert_int_eq(registry_load(registry, &e), 0);
		a = registry_by_id(registry, id);
		ck_assert_ptr_nonnull(a);
		if (arrived)
			break;
		ck_assert_ptr_nonnull(a->incoming);
		ck_assert_uint_eq(
			a->incoming->taken.request_count, s->attachments[0].request_count);
		ck_assert_int_eq(registry_keep_arrived(registry, a, &e), 0);
	}
	ck_assert_ptr_null(a->incoming);
	end();
}
END_TEST

/* A database of the first version: what it has is paravirtual, as all was then. */
START_TEST(older_store_is_brought_up_to_date)
{
	struct store_schema first = registry_schema;
	char *aside;

	begin();
	close_all();
	ck_assert_int_eq(unlink(path), 0);
	first.count = 1;
	store = store_open(path, &first, &aside, &e);
	ck_assert_msg(store, "%s", e.msg);
	ck_assert_int_eq(store_run(store,
				 "INSERT INTO attachment VALUES (7, 'vm', 'disk', '/srv/a.img', "
				 "'/srv/a.img', 'root', 1, 2, 0, 1)",
				 STORE_NO_BIND, NULL, NULL, &e),
		0);
	store_close(store);
	open_all();
	ck_assert_msg(registry_load(registry, &e) == 0, "%s", e.msg);
	ck_assert_int_eq(registry_by_id(registry, "a7")->spec.path, ATTACHMENT_PARAVIRT);
	ck_assert_int_eq(registry_by_id(registry, "a7")->kept, KEPT_ATTACHED);
	end();
}
END_TEST

START_TEST(ids_are_never_used_again)
{
	struct attachment *a;
	char id[KEEPER_ID_SIZE];

	begin();
	add("vm", "one");
	a = add("vm", "two");
	ck_assert_str_eq(a->spec.id, "a2");
	ck_assert_int_eq(registry_unkeep(registry, a, &e), 0);
	registry_remove(registry, a);
	registry_next_id(registry, id);
	ck_assert_str_eq(id, "a3");
	close_all();
	open_all();
	ck_assert_int_eq(registry_load(registry, &e), 0);
	registry_next_id(registry, id);
	ck_assert_str_eq(id, "a3");
	end();
}
END_TEST

START_TEST(store_refuses_what_cannot_be)
{
	struct attachment_spec s;
	struct attachment *a;

	begin();
	add("vm", "disk");
	s = spec("vm", "disk"); /* the same name */
	a = registry_add(registry, &s, &e);
	ck_assert_int_eq(registry_keep(registry, a, &e), -1);
	s = spec("other", "disk"); /* the same device */
	str_copy(s.device, sizeof(s.device), "/srv/vm-disk.img");
	a = registry_add(registry, &s, &e);
	ck_assert_int_eq(registry_keep(registry, a, &e), -1);
	end();
}
END_TEST

START_TEST(found_by_any_name)
{
	struct attachment *a, *b;

	begin();
	a = add("vm1", "disk0");
	b = add("vm2", "disk0");
	add("vm2", "data");
	ck_assert_ptr_eq(registry_find(registry, "a1", &e), a);
	ck_assert_ptr_eq(registry_find(registry, "vm2/disk0", &e), b);
	ck_assert_str_eq(registry_find(registry, "data", &e)->spec.id, "a3");
	ck_assert_ptr_null(registry_find(registry, "disk0", &e));
	ck_assert_int_eq(e.kind, ERR_USAGE);
	ck_assert_ptr_nonnull(strstr(e.evidence, "vm1/disk0"));
	ck_assert_ptr_null(registry_find(registry, "vm1/data", &e));
	ck_assert_int_eq(e.kind, ERR_NOT_FOUND);
	ck_assert(registry_has_vm(registry, "vm1"));
	ck_assert(!registry_has_vm(registry, "vm3"));
	end();
}
END_TEST

START_TEST(list_is_by_number)
{
	struct attachment_spec s;
	unsigned int n = 0;

	begin();
	for (int number = 11; number > 0; number -= 5) {
		s = spec("vm", "x");
		snprintf(s.id, sizeof(s.id), "a%d", number);
		snprintf(s.name, sizeof(s.name), "n%d", number);
		registry_add(registry, &s, &e);
	}
	list_for_each (node, registry_list(registry)) {
		static const char *const want[] = {"a1", "a6", "a11"};

		ck_assert_uint_lt(n, ARRAY_SIZE(want));
		ck_assert_str_eq(list_entry(node, struct attachment, node)->spec.id, want[n++]);
	}
	ck_assert_uint_eq(n, 3);
	end();
}
END_TEST

START_TEST(socket_path_has_a_limit)
{
	struct attachment_spec s;
	char out[PATH_MAX], run[96];
	struct registry *r;

	begin();
	s = spec("vm", "disk0");
	memset(run, 'r', sizeof(run));
	/* RUN/vm/vm/disk0.sock: 107 bytes fit, 108 do not. */
	for (unsigned int len = 90; len <= 91; len++) {
		run[0] = '/';
		run[90] = 'r';
		run[len] = '\0';
		r = registry_new(store, NULL, run, &e);
		ck_assert_int_eq(attachment_socket_path(r, &s, out, sizeof(out)), len == 90);
		ck_assert_uint_eq(strlen(out), len + 17);
		registry_free(r);
	}
	end();
}
END_TEST

static struct attachment *describe(const char *text)
{
	char file[160];
	int fd;

	snprintf(file, sizeof(file), "%s/keeper", dir);
	mkdir(file, 0700);
	snprintf(file, sizeof(file), "%s/keeper/a1.json", dir);
	if (!text)
		return add("vm", "disk");
	fd = open(file, O_WRONLY | O_CREAT | O_TRUNC, 0600);
	ck_assert_int_eq(write(fd, text, strlen(text)), (ssize_t)strlen(text));
	close(fd);
	return NULL;
}

START_TEST(description_comes_back)
{
	struct attachment_disk disk;
	struct attachment_spec back;
	struct attachment *a;

	begin();
	a = describe(NULL);
	a->spec.readonly = true;
	str_copy(a->spec.device, sizeof(a->spec.device), "/srv/odd \"name\"\n\xc3\xa4.img");
	a->disk = (struct attachment_disk){UINT64_MAX, 7, 0};
	ck_assert_msg(attachment_describe(registry, a, &e) == 0, "%s", e.msg);
	ck_assert_msg(
		attachment_read_description(registry, "a1", &back, &disk, &e) == 0, "%s", e.msg);
	ck_assert_mem_eq(&a->spec, &back, sizeof(back));
	ck_assert_mem_eq(&a->disk, &disk, sizeof(disk));
	attachment_drop_description(registry, "a1");
	ck_assert_int_eq(attachment_read_description(registry, "a1", &back, &disk, &e), -1);
	end();
}
END_TEST

START_TEST(description_that_makes_no_sense_is_refused)
{
	static const char good[] =
		"{\"schema\":\"iovd.description/1\",\"id\":\"%s\",\"vm\":\"vm\",\"name\":\"%s\","
		"\"device\":\"/d\",\"node\":\"%s\",\"owner\":\"root\",\"cache\":\"%s\","
		"\"queues\":%s,\"readonly\":false,\"disk_fs\":\"0x1\",\"disk_inode\":\"0x2\","
		"\"disk_number\":\"0x0\"}";
	static const struct {
		const char *id, *name, *node, *cache, *queues;
		bool ok;
	} tries[] = {
		{"a1", "disk", "/d", "none", "1", true},
		{"a1", "disk", "/d", "none", "64", true},
		{"a1", "disk", "/d", "none", "65", false},
		{"a1", "disk", "/d", "none", "0", false},
		{"a1", "disk", "/d", "none", "-1", false},
		{"a1", "disk", "/d", "lots", "1", false},
		{"a1", "disk", "d", "none", "1", false},
		{"a1", "../x", "/d", "none", "1", false},
		{"a2", "disk", "/d", "none", "1", false},
		{"a1", "disk", "/d", "none", "1,\"queues\":2", false},
		{"a1", "disk", "/d", "none", "1,\"more\":2", false},
	};
	struct attachment_disk disk;
	struct attachment_spec s;
	char text[512];

	begin();
	for (size_t i = 0; i < ARRAY_SIZE(tries); i++) {
		snprintf(text, sizeof(text), good, tries[i].id, tries[i].name, tries[i].node,
			tries[i].cache, tries[i].queues);
		describe(text);
		ck_assert_msg((attachment_read_description(registry, "a1", &s, &disk, &e) == 0) ==
				      tries[i].ok,
			"%s", text);
	}
	end();
}
END_TEST

UNIT_MAIN(edges_are_those_of_the_oracle, state_changes_along_edges, what_is_kept_comes_back,
	incoming_is_kept_until_it_has_arrived, older_store_is_brought_up_to_date,
	ids_are_never_used_again, store_refuses_what_cannot_be, found_by_any_name,
	list_is_by_number, socket_path_has_a_limit, description_comes_back,
	description_that_makes_no_sense_is_refused)
