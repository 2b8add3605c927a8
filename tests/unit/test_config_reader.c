/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * daemon/config_reader: configuration spaces are read by hands, and one that cannot be read costs
 * the others nothing. The inventory and the work are stand-ins, so that one of them can hang; hands
 * exec this test, under their name.
 */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "daemon/conf.h"
#include "daemon/config_reader.h"
#include "daemon/daemon.h"
#include "daemon/hands.h"
#include "daemon/inventory.h"
#include "daemon/loop.h"
#include "tests/unit/unit.h"

#define FUNCTIONS 40 /* two batches */
#define HANGS     "0000:00:1e.0"

static struct daemon d;
static struct conf conf;
static char ids[FUNCTIONS][24];
static unsigned int asked, answered, unreadable, when_told;
static uint8_t seen[FUNCTIONS];

/* --- stand-ins -------------------------------------------------------------------------------- */

size_t inventory_unread_configs(struct inventory *inv, const char **out, size_t max)
{
	size_t count = 0;

	(void)inv;
	while (asked < FUNCTIONS && count < max)
		out[count++] = ids[asked++];
	return count;
}

void inventory_put_config(struct inventory *inv, const char *id, const struct pci_config *c)
{
	(void)inv;
	for (unsigned int i = 0; i < FUNCTIONS; i++) {
		if (strcmp(ids[i], id) != 0)
			continue;
		answered++;
		seen[i] = c ? c->secondary : 0;
		unreadable += !c;
	}
	if (answered == FUNCTIONS)
		loop_stop(d.loop);
}

/* Each one's number is its bus. */
static int work_config(char **words, void *result, int *fd, struct err *e)
{
	struct config_batch *batch = result;
	char *rest = words[1];
	const char *id;

	(void)fd;
	(void)e;
	for (unsigned int i = 0; i < CONFIG_BATCH && (id = strsep(&rest, ",")); i++) {
		if (strcmp(words[0], "/hang") == 0 && strcmp(id, HANGS) == 0)
			pause();
		batch->configs[i].secondary = (uint8_t)strtoul(id + 8, NULL, 16);
	}
	return 0;
}

const struct hand_work hand_works[] = {{"config", sizeof(struct config_batch), work_config}};
const unsigned int hand_work_count = ARRAY_SIZE(hand_works);

/* --- tests ------------------------------------------------------------------------------------ */

static void ready(void *arg)
{
	(void)arg;
	when_told = answered;
}

static void read_all(const char *sysroot)
{
	const struct config_reader_limits limits = {
		.batch_ms = 3000, .single_ms = 1500, .patience_ms = 2000};
	struct err e = ERR_INIT;
	struct config_reader *r;

	asked = answered = unreadable = 0;
	when_told = FUNCTIONS + 1;
	memset(seen, 0, sizeof(seen));
	for (unsigned int i = 0; i < FUNCTIONS; i++)
		snprintf(ids[i], sizeof(ids[i]), "0000:00:%02x.0", i + 1);
	str_copy(conf.sysroot, sizeof(conf.sysroot), sysroot);
	d = (struct daemon){.conf = &conf, .loop = loop_new(&e)};
	d.hands = hands_new(d.loop, &e);
	r = config_reader_new(&d, &limits, &e);
	config_reader_look(r); /* nothing before it has begun */
	ck_assert_uint_eq(asked, 0);
	ck_assert_int_eq(config_reader_begin(r, ready, NULL, &e), 0);
	ck_assert_int_eq(loop_run(d.loop, &e), 0);
	config_reader_look(r); /* all is read */
	ck_assert_uint_eq(answered, FUNCTIONS);
	config_reader_free(r);
	hands_free(d.hands);
	loop_free(d.loop);
}

START_TEST(all_are_read_in_batches)
{
	read_all("/tmp");
	ck_assert_uint_eq(unreadable, 0);
	for (unsigned int i = 0; i < FUNCTIONS; i++)
		ck_assert_uint_eq(seen[i], i + 1);
}
END_TEST

START_TEST(one_that_hangs_costs_the_others_nothing)
{
	read_all("/hang");
	ck_assert_uint_eq(unreadable, 1);
	for (unsigned int i = 0; i < FUNCTIONS; i++)
		ck_assert_uint_eq(seen[i], strcmp(ids[i], HANGS) == 0 ? 0 : i + 1);
	ck_assert_uint_lt(when_told, FUNCTIONS); /* nobody waits for that one */
}
END_TEST

int main(int argc, char **argv)
{
	const TTest *const tests[] = {
		all_are_read_in_batches, one_that_hangs_costs_the_others_nothing};

	if (strcmp(argv[0], HAND_NAME) == 0)
		return hand_main(argc, argv);
	return unit_run(__FILE__, tests, ARRAY_SIZE(tests));
}
