/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Theory of operation. The live log gives one record for each read(), or EPIPE where the next one was
 * overwritten meanwhile (the one after that is then its oldest). That of a recorded tree is a file
 * or a FIFO, whose reads end anywhere: so what was read is kept until its line is whole. A line that
 * does not end within the buffer is dropped with it.
 */
#include "lib/kmsg.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define BUFFER_BYTES 8192 /* the longest record of any kernel; a shorter buffer is EINVAL */

struct kmsg {
	int fd;
	bool is_live;
	size_t at, len; /* what is in the buffer and not yet told */
	char buf[BUFFER_BYTES];
};

/* --- codec ------------------------------------------------------------------------------------ */

static bool read_number(const char **at, const char *end, char after, uint64_t *value)
{
	const char *p = *at;

	*value = 0;
	while (p < end && *p >= '0' && *p <= '9') {
		if (!u64_mul(*value, 10, value) || !u64_add(*value, (uint64_t)(*p - '0'), value))
			return false;
		p++;
	}
	if (p == *at || p == end || *p != after)
		return false;
	*at = p + 1;
	return true;
}

static int hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	return -1;
}

/* "\x09": what the kernel makes of bytes that would be no text. */
static bool is_escaped(const char *p, const char *end)
{
	return end - p >= 4 && p[0] == '\\' && p[1] == 'x' && hex_digit(p[2]) >= 0 &&
	       hex_digit(p[3]) >= 0;
}

static void copy_text(const char *p, const char *end, char text[static KMSG_TEXT_MAX])
{
	size_t len = 0;

	while (p < end && len < KMSG_TEXT_MAX - 1) {
		char c = *p;

		if (is_escaped(p, end)) {
			c = (char)(hex_digit(p[2]) << 4 | hex_digit(p[3]));
			p += 3;
		}
		text[len++] = c && c != '\n' ? c : ' ';
		p++;
	}
	text[len] = '\0';
}

bool kmsg_parse(const char *line, size_t len, struct kmsg_record *record)
{
	const char *at = line, *end = line + len;
	const char *text = memchr(line, ';', len);
	uint64_t priority;

	if (!text || !read_number(&at, text, ',', &priority) || priority > UINT32_MAX ||
		!read_number(&at, text, ',', &record->number) ||
		!read_number(&at, text, ',', &record->time_us))
		return false;
	record->level = (unsigned int)(priority & 7);
	record->facility = (unsigned int)(priority >> 3);
	copy_text(text + 1, end, record->text);
	return true;
}

/* --- reading ---------------------------------------------------------------------------------- */

int kmsg_open(const struct sysroot *root, struct kmsg **out, struct err *e)
{
	int fd = sysroot_open_stream(root, "dev/kmsg");
	struct kmsg *k;
	struct stat st;

	if (fd < 0) {
		err_set(e, ERR_FAILED, "FAULT-BLIND", "the kernel's log cannot be read");
		return err_evidence(e, "%s/dev/kmsg: %s", sysroot_path(root), strerror(-fd));
	}
	k = calloc(1, sizeof(*k));
	if (!k) {
		close(fd);
		return err_sys(e, ENOMEM, "read the kernel's log");
	}
	k->fd = fd;
	k->is_live = fstat(fd, &st) == 0 && !S_ISREG(st.st_mode);
	*out = k;
	return 0;
}

void kmsg_close(struct kmsg *k)
{
	if (!k)
		return;
	close(k->fd);
	free(k);
}

int kmsg_fd(const struct kmsg *k)
{
	return k->fd;
}

bool kmsg_is_live(const struct kmsg *k)
{
	return k->is_live;
}

/* The next whole line in the buffer, or NULL. */
static const char *take_line(struct kmsg *k, size_t *len)
{
	const char *line = k->buf + k->at;
	const char *end = memchr(line, '\n', k->len - k->at);

	if (!end)
		return NULL;
	*len = (size_t)(end - line);
	k->at += *len + 1;
	return line;
}

/* As read(): more of the log in the buffer, or 0, or -errno. */
static ssize_t fill(struct kmsg *k)
{
	ssize_t n;

	memmove(k->buf, k->buf + k->at, k->len - k->at);
	k->len -= k->at;
	k->at = 0;
	if (k->len == sizeof(k->buf))
		k->len = 0;
	do {
		n = read(k->fd, k->buf + k->len, sizeof(k->buf) - k->len);
	} while (n < 0 && (errno == EINTR || errno == EPIPE));
	if (n < 0)
		return errno == EAGAIN ? 0 : -errno;
	k->len += (size_t)n;
	return n;
}

int kmsg_next(struct kmsg *k, struct kmsg_record *record, struct err *e)
{
	for (;;) {
		const char *line;
		size_t len;
		ssize_t n;

		while ((line = take_line(k, &len)))
			if (*line != ' ' && kmsg_parse(line, len, record))
				return 1;
		n = fill(k);
		if (n == 0)
			return 0;
		if (n < 0) {
			err_set(e, ERR_FAILED, "FAULT-BLIND", "the kernel's log cannot be read");
			return err_evidence(e, "/dev/kmsg: %s", strerror((int)-n));
		}
	}
}
