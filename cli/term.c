/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "cli/term.h"

#include <langinfo.h>
#include <locale.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "proto/utf8.h"

static bool get_size(struct winsize *ws)
{
	return isatty(STDOUT_FILENO) && ioctl(STDOUT_FILENO, TIOCGWINSZ, ws) == 0;
}

unsigned int term_columns(void)
{
	struct winsize ws;

	return get_size(&ws) ? ws.ws_col : 0;
}

unsigned int term_rows(void)
{
	struct winsize ws;

	return get_size(&ws) ? ws.ws_row : 0;
}

bool term_has_style(void)
{
	const char *term = getenv("TERM");

	return isatty(STDOUT_FILENO) && !getenv("NO_COLOR") && term && strcmp(term, "dumb") != 0;
}

bool term_is_utf8(void)
{
	static int is_utf8 = -1;

	if (is_utf8 < 0) {
		setlocale(LC_CTYPE, "");
		is_utf8 = strcmp(nl_langinfo(CODESET), "UTF-8") == 0;
	}
	return is_utf8;
}

static bool is_first_byte(char c)
{
	return ((unsigned char)c & 0xc0) != 0x80;
}

unsigned int term_width(const char *text)
{
	unsigned int width = 0;

	for (; *text; text++)
		width += is_first_byte(*text);
	return width;
}

/* The bytes of the character that begins here. */
static size_t char_len(const char *s)
{
	size_t len = 1;

	while (s[len] && !is_first_byte(s[len]))
		len++;
	return len;
}

/*
 * Control characters are those of ASCII, and C1, which in UTF-8 are 0xc2 0x80..0x9f. Half a character is what
 * may be left of one at the end of a short buffer.
 */
static void put_char(const char *s, size_t len)
{
	unsigned char c = (unsigned char)s[0], next = (unsigned char)s[1];

	if (c < ' ' || c == 0x7f || (c >= 0x80 && (!term_is_utf8() || !utf8_step(s, len))) ||
		(c == 0xc2 && next >= 0x80 && next <= 0x9f))
		putchar('?');
	else
		fwrite(s, 1, len, stdout);
}

void term_put(const char *text, unsigned int width)
{
	const char *ellipsis = term_is_utf8() ? "\xe2\x80\xa6" : "...";
	unsigned int full = term_width(text), dots = term_width(ellipsis), n = 0;
	bool cut = width && full > width && width > dots;

	for (; *text; text += char_len(text), n++) {
		if (width && n == (cut ? width - dots : width))
			break;
		put_char(text, char_len(text));
	}
	if (cut)
		fputs(ellipsis, stdout);
	if (width > full)
		printf("%*s", (int)(width - full), "");
}
