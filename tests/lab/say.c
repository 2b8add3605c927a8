/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Writes records into the kernel's log, so many a second, for so many seconds: say RATE SECONDS. They look
 * like faults, and are no kernel's: that is found out record by record. Prints how many there were, and how
 * long that took, in milliseconds.
 */
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "lib/cleanup.h"
#include "lib/util.h"

static bool say_one(int fd, uint64_t number)
{
	char line[160];
	int len = snprintf(line, sizeof(line),
		"<7>DMAR: [DMA Write NO_PASID] Request device [05:00.0] fault addr 0x%" PRIx64
		" [fault reason 0x05] PTE Write access is not set",
		number << 12);

	return write(fd, line, (size_t)len) == len;
}

static int say(int fd, uint64_t rate, uint64_t duration_ms)
{
	uint64_t begin = now_ms(), passed, said = 0;

	while ((passed = now_ms() - begin) < duration_ms) {
		while (said < passed * rate / 1000)
			if (!say_one(fd, said++))
				return EXIT_FAILURE;
		poll(NULL, 0, 1);
	}
	printf("%" PRIu64 " %" PRIu64 "\n", said, now_ms() - begin);
	return EXIT_SUCCESS;
}

int main(int argc, char **argv)
{
	auto_close int fd = open("/dev/kmsg", O_WRONLY | O_CLOEXEC);
	uint64_t rate, seconds;

	if (fd < 0 || argc != 3 || parse_u64(argv[1], 1000000, &rate) < 0 ||
		parse_u64(argv[2], 3600, &seconds) < 0)
		return EXIT_FAILURE;
	return say(fd, rate, seconds * 1000);
}
