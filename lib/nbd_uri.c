/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "lib/nbd_uri.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>

#define DEFAULT_PORT "10809"

static const char plain[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._~/";

static size_t scheme_len(const char *name)
{
	size_t len = strspn(name, "abcdefghijklmnopqrstuvwxyz+");

	return strncmp(name, "nbd", 3) == 0 && strncmp(name + len, "://", 3) == 0 ? len : 0;
}

bool nbd_uri_is(const char *name)
{
	return scheme_len(name) > 0;
}

static int refuse(struct err *e, const char *text, const char *what)
{
	err_set(e, ERR_USAGE, "NBD-URI", "%.200s: %s", text, what);
	return err_fix(e, "nbd://HOST[:PORT]/EXPORT or nbd+unix:///EXPORT?socket=PATH");
}

/* --- escapes ---------------------------------------------------------------------------------- */

static int hex_digit(char c)
{
	static const char digits[] = "0123456789abcdef";
	const char *at = c ? strchr(digits, tolower((unsigned char)c)) : NULL;

	return at ? (int)(at - digits) : -1;
}

/* One character of the text; *s moves past it. -1: not a character that may be there. */
static int take_char(const char **s)
{
	int c = (unsigned char)*(*s)++;

	if (c == '%') {
		int high = hex_digit((*s)[0]);
		int low = high < 0 ? -1 : hex_digit((*s)[1]);

		if (low < 0)
			return -1;
		*s += 2;
		c = high << 4 | low;
	}
	return c < 0x20 || c == 0x7f ? -1 : c;
}

/* `len` bytes of `s`, escapes resolved. False if they are wrong or too many. */
static bool unescape(const char *s, size_t len, char *out, size_t size)
{
	const char *end = s + len;
	size_t n = 0;

	while (s < end) {
		int c = take_char(&s);

		if (c < 0 || s > end || n + 1 >= size)
			return false;
		out[n++] = (char)c;
	}
	out[n] = '\0';
	return true;
}

static size_t escape(const char *s, char *out)
{
	size_t n = 0;

	for (; *s; s++) {
		if (strchr(plain, *s))
			out[n++] = *s;
		else
			n += (size_t)sprintf(out + n, "%%%02X", (unsigned char)*s);
	}
	out[n] = '\0';
	return n;
}

/* --- parts ------------------------------------------------------------------------------------ */

static bool take_port(const char *s, size_t len, char port[6])
{
	uint64_t number;

	if (len == 0 || len > 5 || strspn(s, "0123456789") < len)
		return false;
	memcpy(port, s, len);
	port[len] = '\0';
	if (parse_u64(port, 65535, &number) < 0 || number == 0)
		return false;
	sprintf(port, "%u", (unsigned int)number & 0xffff);
	return true;
}

/* HOST, 1.2.3.4 or [1:2::3], and :PORT. */
static bool take_authority(const char *s, size_t len, struct nbd_uri *uri)
{
	bool is_v6 = *s == '[';
	const char *chars =
		is_v6 ? "0123456789abcdefABCDEF:."
		      : "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._";
	size_t host_len = strspn(s + is_v6, chars);
	const char *rest = s + host_len + (is_v6 ? 2 : 0);

	if (host_len == 0 || host_len >= sizeof(uri->host) || s[is_v6] == '-' ||
		(is_v6 && s[host_len + 1] != ']') || rest > s + len)
		return false;
	for (size_t i = 0; i < host_len; i++)
		uri->host[i] = (char)tolower((unsigned char)s[is_v6 + i]);
	strcpy(uri->port, DEFAULT_PORT);
	if (rest == s + len)
		return true;
	return *rest == ':' && take_port(rest + 1, (size_t)(s + len - rest) - 1, uri->port);
}

static int take_socket(const char *text, const char *query, struct nbd_uri *uri, struct err *e)
{
	if (strncmp(query, "?socket=", 8) != 0 || strpbrk(query + 1, "&?"))
		return refuse(e, text, "its only parameter is socket=PATH");
	query += 8;
	if (!unescape(query, strlen(query), uri->socket, sizeof(uri->socket)) ||
		uri->socket[0] != '/')
		return refuse(e, text, "the socket is an absolute path of at most 107 bytes");
	return 0;
}

int nbd_uri_parse(const char *text, struct nbd_uri *uri, struct err *e)
{
	size_t scheme = scheme_len(text), len;
	bool is_unix = scheme == 8 && strncmp(text, "nbd+unix", 8) == 0;
	const char *s = text + scheme + 3;

	memset(uri, 0, sizeof(*uri));
	if (scheme == 0 || (scheme != 3 && !is_unix))
		return refuse(e, text, "iovd speaks NBD over TCP and UNIX sockets, without TLS");
	if (strlen(text) >= NBD_URI_MAX || strchr(s, '#'))
		return refuse(e, text, "too long, or with a fragment");
	len = strcspn(s, "/?");
	if (is_unix ? len > 0 : !take_authority(s, len, uri))
		return refuse(e, text, is_unix ? "a host, and a socket" : "no host and port");
	s += len;
	len = strcspn(s, "?");
	if (len && !unescape(s + 1, len - 1, uri->export, sizeof(uri->export)))
		return refuse(
			e, text, "no name of an export (at most 256 bytes, no control bytes)");
	s += len;
	if (is_unix)
		return take_socket(text, s, uri, e);
	return *s ? refuse(e, text, "a parameter, where none is known") : 0;
}

bool nbd_uri_is_local(const struct nbd_uri *uri)
{
	return !uri->host[0] || strcmp(uri->host, "localhost") == 0 ||
	       strncmp(uri->host, "127.", 4) == 0 || strcmp(uri->host, "::1") == 0 ||
	       strcmp(uri->host, "[::1]") == 0;
}

void nbd_uri_format(const struct nbd_uri *uri, char text[static NBD_URI_MAX])
{
	bool is_v6 = strchr(uri->host, ':');
	bool has_port = uri->host[0] && strcmp(uri->port, DEFAULT_PORT) != 0;
	size_t n = (size_t)sprintf(text, "%s://%s%s%s%s%s/", uri->socket[0] ? "nbd+unix" : "nbd",
		is_v6 ? "[" : "", uri->host, is_v6 ? "]" : "", has_port ? ":" : "",
		has_port ? uri->port : "");

	n += escape(uri->export, text + n);
	if (uri->socket[0]) {
		n += (size_t)sprintf(text + n, "?socket=");
		escape(uri->socket, text + n);
	}
}
