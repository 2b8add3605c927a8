/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The rules, on hosts made by tests/trees/rule_trees.py (each code where it applies and where it does
 * not) and tests/trees/real_hosts.py (hosts that people have described).
 */
#include "daemon/explain.h"

#define UNIT_TIMEOUT_SECONDS 400 /* for thousands of small files, on a busy machine */
#include "tests/unit/tree.h"
#include "tests/unit/unit.h"

#define DOMAIN_MAX 65536

/* A rule of which no tree can tell. */
static const char *const untold[] = {
	"DEV-TAKEN",   /* by an attachment: below */
	"DEV-WEDGED",  /* by a hand: below */
	"DRV-VARIANT", /* by the modules of the kernel that runs: below */
};

static const struct {
	const char *name;
	unsigned int about;
} abouts[] = {{"host", RULE_HOST}, {"passthrough", RULE_PASSTHROUGH}, {"paravirt", RULE_PARAVIRT},
	{"vfs", RULE_VFS}, {"move", RULE_MOVE}, {"vm-passthrough", RULE_VM_PASSTHROUGH},
	{"vm-paravirt", RULE_VM_PARAVIRT}};

static unsigned int about_of(const char *name)
{
	for (size_t i = 0; i < ARRAY_SIZE(abouts); i++)
		if (strcmp(abouts[i].name, name) == 0)
			return abouts[i].about;
	ck_abort_msg("nothing is about %s", name);
	return 0;
}

/* One host that is being asked. */
struct asked {
	char tree[64];
	struct inventory *inv;
	struct host_facts host;
	struct device_facts dev;
	struct machine_facts machine;
	struct findings found;
};

static struct asked asked;

static void leave(void)
{
	inventory_free(asked.inv);
	memset(&asked, 0, sizeof(asked));
}

/* Opens the host, unless it is the one that was asked before. */
static void go_to(const char *tree)
{
	auto_free char *xml = NULL;
	struct err e = ERR_INIT;
	char root[PATH_MAX + 64];

	if (asked.inv && strcmp(asked.tree, tree) == 0)
		return;
	leave();
	str_copy(asked.tree, sizeof(asked.tree), tree);
	snprintf(root, sizeof(root), "%s/%s", tree_root, tree);
	ck_assert_msg(inventory_new(root, NULL, &asked.inv, &e) == 0, "%s: %s", root, e.msg);
	host_use_update(asked.inv);
	facts_read_host(asked.inv, &asked.host);
	facts_read_programs(inventory_sysroot(asked.inv), &asked.host);
	if (sysroot_read_file(inventory_sysroot(asked.inv), "domain.xml", DOMAIN_MAX, &xml) < 0)
		xml = strdup("");
	facts_read_machine(xml, true, &asked.machine);
}

static void ask(const char *tree, const char *subject, const char *about)
{
	struct facts facts = {.host = &asked.host, .dev = &asked.dev, .machine = &asked.machine};
	const struct device *dev;
	struct err e = ERR_INIT;

	go_to(tree);
	asked.found.count = 0;
	if (strcmp(subject, "host") != 0) {
		dev = inventory_resolve(asked.inv, subject, &e);
		ck_assert_msg(dev, "%s: %s", tree, e.msg);
		facts_read_device(asked.inv, dev, NULL, &asked.dev);
	}
	rules_judge(&facts, about_of(about), &asked.found);
}

static const struct finding *find(const char *code)
{
	for (size_t i = 0; i < asked.found.count; i++)
		if (strcmp(asked.found.at[i].code, code) == 0)
			return &asked.found.at[i];
	return NULL;
}

static const char *found_codes(void)
{
	static char text[1024];

	text[0] = '\0';
	for (size_t i = 0; i < asked.found.count; i++)
		snprintf(text + strlen(text), sizeof(text) - strlen(text), "%s ",
			asked.found.at[i].code);
	return text;
}

/* What a finding must have: a sentence, what was seen, what to do. */
static void check_words(const char *tree, const struct finding *f)
{
	ck_assert_msg(f->e.msg[0] && f->e.fix[0], "%s: %s: '%s', fix '%s'", tree, f->code, f->e.msg,
		f->e.fix);
	ck_assert_msg(f->e.evidence[0], "%s: %s names nothing that was seen", tree, f->code);
}

/* "HOST SUBJECT ABOUT CODE yes|no" */
static void check_line(const char *tree, const char *subject, const char *about, const char *code,
	const char *answer)
{
	const struct finding *f;

	ask(tree, subject, about);
	f = find(code);
	ck_assert_msg((f != NULL) == (strcmp(answer, "yes") == 0), "%s: %s, %s: %s%s: found %s",
		tree, subject, about, f ? "" : "no ", code, found_codes());
	if (f)
		check_words(tree, f);
}

/* Calls fn for each line of the trees' table; how many there were. */
static unsigned int each_line(void (*fn)(const char *tree, const char *subject, const char *about,
	const char *code, const char *answer))
{
	char path[PATH_MAX + 16], tree[64], subject[64], about[24], code[24], answer[8];
	unsigned int count = 0;
	FILE *f;

	snprintf(path, sizeof(path), "%s/expected", tree_root);
	f = fopen(path, "r");
	ck_assert_ptr_nonnull(f);
	while (fscanf(f, "%63s %63s %23s %23s %7s", tree, subject, about, code, answer) == 5) {
		fn(tree, subject, about, code, answer);
		count++;
	}
	fclose(f);
	return count;
}

static struct {
	char code[24];
	bool yes, no;
} asked_codes[256];

static size_t asked_count;

static void note_line(const char *tree, const char *subject, const char *about, const char *code,
	const char *answer)
{
	size_t i = 0;

	(void)tree;
	(void)subject;
	(void)about;
	while (i < asked_count && strcmp(asked_codes[i].code, code) != 0)
		i++;
	ck_assert_uint_lt(i, ARRAY_SIZE(asked_codes));
	if (i == asked_count)
		str_copy(asked_codes[asked_count++].code, 24, code);
	if (strcmp(answer, "yes") == 0)
		asked_codes[i].yes = true;
	else
		asked_codes[i].no = true;
}

static bool is_untold(const char *code)
{
	for (size_t i = 0; i < ARRAY_SIZE(untold); i++)
		if (strcmp(untold[i], code) == 0)
			return true;
	return false;
}

static void check_rule_is_asked(const struct rule *rule)
{
	for (size_t i = 0; i < asked_count; i++)
		if (strcmp(asked_codes[i].code, rule->code) == 0) {
			ck_assert_msg(asked_codes[i].yes && asked_codes[i].no,
				"%s has not both trees", rule->code);
			return;
		}
	ck_assert_msg(is_untold(rule->code), "%s has no tree", rule->code);
}

START_TEST(each_code_has_its_trees)
{
	static const struct rule_table *const tables[] = {
		&rules_host, &rules_groups, &rules_devices, &rules_functions, &rules_machines};
	unsigned int rules = 0;

	tree_run("python3 \"$top/tests/trees/rule_trees.py\" \"$root\"");
	each_line(note_line);
	for (size_t t = 0; t < ARRAY_SIZE(tables); t++)
		for (size_t i = 0; i < tables[t]->count; i++, rules++)
			check_rule_is_asked(&tables[t]->rules[i]);
	ck_assert_uint_ge(asked_count, 60);
	ck_assert_uint_ge(each_line(check_line), 2 * asked_count);
	leave();
}
END_TEST

/* The host on which all is well: nothing is amiss with it, nor with what it has to give. */
START_TEST(the_well_host_is_well)
{
	static const char *const subjects[][2] = {{"host", "host"}, {"0000:41:00.0", "passthrough"},
		{"0000:43:00.0", "passthrough"}, {"sdb", "paravirt"}, {"0000:41:00.0", "vfs"},
		{"0000:41:00.0", "vm-passthrough"}, {"sdb", "vm-paravirt"}};

	tree_run("python3 \"$top/tests/trees/rule_trees.py\" \"$root\" well");
	for (size_t i = 0; i < ARRAY_SIZE(subjects); i++) {
		ask("well", subjects[i][0], subjects[i][1]);
		ck_assert_msg(
			asked.found.count == 0, "%s: found %s", subjects[i][0], found_codes());
	}
	leave();
}
END_TEST

static unsigned int hosts;

/* The lines of one host follow each other. */
static void count_tree(const char *tree, const char *subject, const char *about, const char *code,
	const char *answer)
{
	static char last[64];

	(void)subject;
	(void)about;
	(void)code;
	(void)answer;
	hosts += strcmp(last, tree) != 0;
	str_copy(last, sizeof(last), tree);
}

static unsigned int count_trees(void)
{
	hosts = 0;
	each_line(count_tree);
	return hosts;
}

START_TEST(hosts_that_people_described)
{
	tree_run("python3 \"$top/tests/trees/real_hosts.py\" \"$root\"");
	ck_assert_uint_ge(count_trees(), 40);
	ck_assert_uint_ge(each_line(check_line), 100);
	leave();
}
END_TEST

static void add_attachment(void *arg, inventory_visit_fn *visit, void *visit_arg)
{
	const struct inventory_attachment a = {.id = "a1", .vm = "web1", .device = "0000:41:00.0"};

	(void)arg;
	visit(visit_arg, &a);
}

/* What iovd itself knows: its attachments, its hands, and the modules of this kernel. */
START_TEST(facts_that_no_tree_has)
{
	struct facts facts = {.host = &asked.host, .dev = &asked.dev};
	const struct device *dev;
	struct err e = ERR_INIT;

	tree_run("python3 \"$top/tests/trees/rule_trees.py\" \"$root\" well");
	ask("well", "host", "host");
	inventory_set_attachments(asked.inv, add_attachment, NULL);
	host_use_update(asked.inv);
	dev = inventory_resolve(asked.inv, "0000:41:00.0", &e);
	facts_read_device(asked.inv, dev, "web1", &asked.dev);
	rules_judge(&facts, RULE_PASSTHROUGH, &asked.found);
	ck_assert_msg(!find("DEV-TAKEN"), "what the machine has itself is in its way");
	facts_read_device(asked.inv, dev, "web2", &asked.dev);
	asked.dev.is_wedged = true;
	asked.dev.wedge = (struct hand_wedge){.pid = 7, .work = "pci-make"};
	str_copy(asked.dev.vfio_driver, sizeof(asked.dev.vfio_driver), "mlx5_vfio_pci");
	rules_judge(&facts, RULE_PASSTHROUGH, &asked.found);
	for (size_t i = 0; i < ARRAY_SIZE(untold); i++) {
		ck_assert_msg(find(untold[i]), "no %s: found %s", untold[i], found_codes());
		check_words("well", find(untold[i]));
	}
	asked.found.count = 0;
	rules_judge(&facts, RULE_MOVE, &asked.found);
	ck_assert_msg(!find("DEV-STAYS"), "a device with a driver that moves it stays");
	leave();
}
END_TEST

UNIT_MAIN(each_code_has_its_trees, the_well_host_is_well, hosts_that_people_described,
	facts_that_no_tree_has)
