/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "lib/util.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

uint64_t now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

uint64_t now_ms(void)
{
	return now_ns() / 1000000u;
}

uint64_t utc_now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_REALTIME, &ts);
	return (uint64_t)ts.tv_sec * 1000 + (uint64_t)ts.tv_nsec / 1000000;
}

char *utc_text(uint64_t ms, char text[UTC_TEXT_SIZE])
{
	time_t seconds = (time_t)(ms / 1000);
	struct tm tm;
	size_t len;

	gmtime_r(&seconds, &tm);
	len = strftime(text, UTC_TEXT_SIZE, "%Y-%m-%dT%H:%M:%S", &tm);
	snprintf(text + len, UTC_TEXT_SIZE - len, ".%03dZ", (int)(ms % 1000));
	return text;
}

char *utc_now_text(char text[UTC_TEXT_SIZE])
{
	return utc_text(utc_now_ms(), text);
}

int parse_u64(const char *s, uint64_t max, uint64_t *value)
{
	int base = strncmp(s, "0x", 2) == 0 ? 16 : 10;
	unsigned long long n;
	char *end;

	/* strtoull() would take a sign, leading blanks and a lone "0x". */
	if (!isdigit((unsigned char)s[0]) || (base == 16 && !isxdigit((unsigned char)s[2])))
		return -1;
	errno = 0;
	n = strtoull(s, &end, base);
	if (errno || *end || n > max)
		return -1;
	*value = n;
	return 0;
}

bool name_is_valid(const char *name)
{
	static const char allowed[] =
		"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-";
	size_t len = strlen(name);

	return len >= 1 && len <= 32 && name[0] != '.' && strspn(name, allowed) == len;
}

bool str_copy(char *dst, size_t size, const char *src)
{
	size_t len = strlen(src);
	size_t n = MIN(len, size - 1);

	memcpy(dst, src, n);
	dst[n] = '\0';
	return n == len;
}
