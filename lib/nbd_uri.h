/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The names of NBD volumes: nbd://HOST[:PORT][/EXPORT] and nbd+unix:///EXPORT?socket=PATH. Of what
 * the NBD URI specification has besides (TLS, users, other parameters) nothing is taken: it is
 * refused in words, never passed on.
 */
#pragma once

#include "lib/err.h"

#define NBD_URI_MAX 1536 /* of the longest, all escaped, with its NUL */

struct nbd_uri {
	char host[256]; /* in lower case; "" where it is a socket */
	char port[6];
	char socket[108]; /* absolute; "" where it is a host */
	char export[257];
};

/* Whether it is meant to be one: a scheme that begins with nbd. */
bool nbd_uri_is(const char *name);

/* 0, or -1 with e set (code NBD-URI). */
int nbd_uri_parse(const char *text, struct nbd_uri *uri, struct err *e);

/* Whether it means another server on each host: a socket, or the host itself. */
bool nbd_uri_is_local(const struct nbd_uri *uri);

/* The one way to write it: names of one export compare equal. */
void nbd_uri_format(const struct nbd_uri *uri, char text[static NBD_URI_MAX]);
