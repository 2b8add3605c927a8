/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/rules.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "lib/codes.h"

static const struct rule_table *const tables[] = {
	&rules_host,
	&rules_groups,
	&rules_devices,
	&rules_functions,
	&rules_machines,
};

bool rule_says(struct err *e, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(e->msg, sizeof(e->msg), fmt, ap);
	va_end(ap);
	return true;
}

static bool is_known(const struct findings *found, const char *code)
{
	for (size_t i = 0; i < found->count; i++)
		if (strcmp(found->at[i].code, code) == 0)
			return true;
	return false;
}

static void judge(const struct rule *rule, const struct facts *f, struct findings *found)
{
	struct finding *to = &found->at[found->count];
	const struct code_page *page = code_find(rule->code);

	if (found->count == RULES_MAX_FINDINGS)
		return;
	*to = (struct finding){.code = rule->code, .weight = rule->weight};
	if (!rule->applies(f, &to->e))
		return;
	to->e.kind = ERR_REFUSED;
	str_copy(to->e.code, sizeof(to->e.code), rule->code);
	if (!to->e.fix[0] && page)
		str_copy(to->e.fix, sizeof(to->e.fix), page->fix);
	found->count++;
}

void rules_judge(const struct facts *f, unsigned int about, struct findings *found)
{
	for (size_t t = 0; t < ARRAY_SIZE(tables); t++)
		for (size_t i = 0; i < tables[t]->count; i++)
			if (tables[t]->rules[i].about & about)
				judge(&tables[t]->rules[i], f, found);
}

void findings_add(struct findings *found, const struct err *e)
{
	const struct code_page *page = code_find(e->code);

	if (found->count == RULES_MAX_FINDINGS || !page || is_known(found, page->code))
		return;
	found->at[found->count++] =
		(struct finding){.code = page->code, .weight = RULE_CLOSES, .e = *e};
}

bool finding_closes(const struct finding *f)
{
	return f->weight == RULE_CLOSES || f->weight == RULE_REFUSES;
}

bool findings_are_open(const struct findings *found)
{
	for (size_t i = 0; i < found->count; i++)
		if (finding_closes(&found->at[i]))
			return false;
	return true;
}
