/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "lib/fault.h"

#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib/fdio.h"
#include "lib/log.h"

void fault_point(const char *fmt, ...)
{
	const char *file = getenv("IOVD_FAULT");
	char name[96], wanted[96];
	va_list ap;

	if (!file || fdio_read_file(AT_FDCWD, file, wanted, sizeof(wanted)) < 0)
		return;
	va_start(ap, fmt);
	vsnprintf(name, sizeof(name), fmt, ap);
	va_end(ap);
	if (strcmp(wanted, "list") == 0)
		log_info("fault point: %s", name);
	if (strcmp(wanted, name) != 0)
		return;
	unlink(file);
	raise(SIGKILL);
}
