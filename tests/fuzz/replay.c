/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The main() of a fuzz harness that was built without libFuzzer: it replays a corpus, and what is
 * near to it: every prefix of each input, and each byte of it changed in a few ways. Small enough
 * to run with every test, and the sanitizers see an input that ends where its allocation ends.
 *
 *	tests/fuzz/fuzz_NAME [FILE|FOLDER]...	(default: tests/corpus/NAME of the source tree)
 */
#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "lib/cleanup.h"
#include "lib/util.h"
#include "tests/fuzz/fuzz.h"

#define INPUT_BYTES_MOST   65536
#define PREFIX_BYTES_MOST  4096 /* larger inputs are cut in larger steps */
#define VARIANT_BYTES_MOST 512  /* of larger inputs, only the beginning is changed */

struct tally {
	size_t inputs;
	size_t runs;
};

static void run_copy(const uint8_t *data, size_t len, struct tally *tally)
{
	/* Exactly len bytes, so that reading one more is seen. */
	uint8_t *copy = malloc(len ? len : 1);

	if (!copy)
		abort();
	if (len)
		memcpy(copy, data, len);
	LLVMFuzzerTestOneInput(copy, len);
	free(copy);
	tally->runs++;
}

static void run_neighbours(uint8_t *data, size_t len, struct tally *tally)
{
	static const uint8_t flips[] = {0x01, 0x80, 0xff};
	size_t step = 1 + len / PREFIX_BYTES_MOST;

	for (size_t end = 0; end <= len; end += step)
		run_copy(data, end, tally);
	for (size_t at = 0; at < MIN(len, VARIANT_BYTES_MOST); at++) {
		uint8_t kept = data[at];

		for (size_t i = 0; i < ARRAY_SIZE(flips); i++) {
			data[at] = kept ^ flips[i];
			run_copy(data, len, tally);
		}
		data[at] = 0;
		run_copy(data, len, tally);
		data[at] = kept;
	}
}

static int replay_file(const char *path, struct tally *tally)
{
	static uint8_t data[INPUT_BYTES_MOST];
	auto_fclose FILE *file = fopen(path, "rbe");
	size_t len;

	if (!file) {
		fprintf(stderr, "%s: %s\n", path, strerror(errno));
		return -1;
	}
	len = fread(data, 1, sizeof(data), file);
	if (ferror(file) || !feof(file)) {
		fprintf(stderr, "%s: cannot be read, or is over %d bytes\n", path,
			INPUT_BYTES_MOST);
		return -1;
	}
	printf("%s (%zu bytes)\n", path, len);
	fflush(stdout); /* if the harness aborts, this is the input */
	run_copy(data, len, tally);
	run_neighbours(data, len, tally);
	tally->inputs++;
	return 0;
}

static int replay_folder(const char *path, struct tally *tally)
{
	struct dirent **names;
	int count = scandir(path, &names, NULL, alphasort), failed = 0;

	if (count < 0) {
		fprintf(stderr, "%s: %s\n", path, strerror(errno));
		return -1;
	}
	for (int i = 0; i < count; i++) {
		char file[PATH_MAX];

		snprintf(file, sizeof(file), "%s/%s", path, names[i]->d_name);
		if (names[i]->d_name[0] != '.' && replay_file(file, tally) < 0)
			failed = -1;
		free(names[i]);
	}
	free(names);
	return failed;
}

static int replay(const char *path, struct tally *tally)
{
	struct stat st;

	if (stat(path, &st) == 0 && S_ISDIR(st.st_mode))
		return replay_folder(path, tally);
	return replay_file(path, tally);
}

/* The corpus of this harness: tests/corpus/NAME for a program called fuzz_NAME. */
static int replay_own_corpus(const char *program, struct tally *tally)
{
	const char *src = getenv("IOVD_SRC"), *name = strstr(program, "fuzz_");
	char path[PATH_MAX];

	while (name && strstr(name + 1, "fuzz_"))
		name = strstr(name + 1, "fuzz_");
	if (!src || !name) {
		fprintf(stderr, "usage: %s FILE|FOLDER...\n", program);
		return -1;
	}
	snprintf(path, sizeof(path), "%s/tests/corpus/%s", src, name + strlen("fuzz_"));
	return replay(path, tally);
}

int main(int argc, char **argv)
{
	struct tally tally = {0};
	int failed = 0;

	if (argc < 2)
		failed = replay_own_corpus(argv[0], &tally);
	for (int i = 1; i < argc; i++)
		if (replay(argv[i], &tally) < 0)
			failed = -1;
	printf("%zu inputs, %zu runs\n", tally.inputs, tally.runs);
	return failed < 0 || !tally.inputs ? EXIT_FAILURE : EXIT_SUCCESS;
}
