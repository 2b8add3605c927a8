/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What rules found, for people: code and sentence, what was seen, what to do. */
#include <stdio.h>
#include <string.h>

#include "cli/out.h"
#include "lib/cleanup.h"

static void print_field(
	const char *label, const struct json *finding, const char *key, unsigned int indent)
{
	const char *text = json_member_str(finding, key);

	if (text && text[0])
		out_paragraph(label, indent, text);
}

static const char *remark_of(const char *weight)
{
	return strcmp(weight, "warns") == 0   ? " (warning)"
	       : strcmp(weight, "notes") == 0 ? " (note)"
					      : "";
}

static void print_finding(const struct json *finding, unsigned int indent, bool fixes)
{
	const char *weight = json_member_str(finding, "weight") ?: "";
	auto_free char *line = NULL;
	char label[64];

	if (asprintf(&line, "%s%s: %s", json_member_str(finding, "code") ?: "?", remark_of(weight),
		    json_member_str(finding, "what") ?: "") < 0)
		return;
	snprintf(label, sizeof(label), "%*s", (int)indent, "");
	out_paragraph(label, indent, line);
	snprintf(label, sizeof(label), "%*ssaw ", (int)indent + 2, "");
	print_field(label, finding, "evidence", indent + 6);
	snprintf(label, sizeof(label), "%*sfix ", (int)indent + 2, "");
	if (fixes || strcmp(weight, "closes") == 0)
		print_field(label, finding, "fix", indent + 6);
}

static bool has_weight(const struct json *finding, const char *weight)
{
	const char *has = json_member_str(finding, "weight");

	return !weight || (has && strcmp(has, weight) == 0);
}

void out_findings(const struct json *findings, const char *weight, unsigned int indent, bool fixes)
{
	for (size_t i = 0; i < json_count(findings); i++)
		if (has_weight(json_item(findings, i), weight))
			print_finding(json_item(findings, i), indent, fixes);
}

bool out_first_finding(const struct json *findings)
{
	const struct json *first = json_item(findings, 0);

	if (!first || !has_weight(first, "closes"))
		return false;
	out_safe(stdout, json_member_str(first, "code") ?: "?");
	fputs(": ", stdout);
	out_safe(stdout, json_member_str(first, "what") ?: "");
	return true;
}
