/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Words of a command line, as a person pastes them into a shell. */
#include <stdio.h>
#include <string.h>

#include "cli/out.h"

/* Quoted if it has anything that a shell would act on. */
static void out_word(const char *word)
{
	static const char plain[] =
		"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-/=,:@%+";

	if (*word && strspn(word, plain) == strlen(word)) {
		fputs(word, stdout);
		return;
	}
	putchar('\'');
	for (const char *p = word; *p; p++) {
		if (*p == '\'')
			fputs("'\\''", stdout);
		else
			out_safe(stdout, (char[]){*p, '\0'});
	}
	putchar('\'');
}

void out_words(const struct json *words, const char *between_options)
{
	for (size_t i = 0; i < json_count(words); i++) {
		const char *word = json_str(json_item(words, i));

		if (!word)
			continue;
		if (i) /* an option and its value stay together */
			fputs(word[0] == '-' ? between_options : " ", stdout);
		out_word(word);
	}
}

void out_plan(const struct json *plan)
{
	puts("Nothing was changed. This would be done:");
	for (size_t i = 0; i < json_count(plan); i++) {
		fputs("  ", stdout);
		out_safe(stdout, json_str(json_item(plan, i)));
		putchar('\n');
	}
}
