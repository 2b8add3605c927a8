/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "lib/fault.h"

#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/log.h"

void fault_point(const char *fmt, ...)
{
	static unsigned int passed;
	const char *wanted = getenv("IOVD_FAULT");
	size_t len = wanted ? strcspn(wanted, ":") : 0;
	char name[96];
	va_list ap;

	if (!wanted)
		return;
	va_start(ap, fmt);
	vsnprintf(name, sizeof(name), fmt, ap);
	va_end(ap);
	if (strcmp(wanted, "list") == 0)
		log_info("fault point %s", name);
	if (strlen(name) != len || strncmp(name, wanted, len) != 0)
		return;
	if (++passed >= (wanted[len] ? strtoul(wanted + len + 1, NULL, 10) : 1))
		raise(SIGKILL);
}
