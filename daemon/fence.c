/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Theory of operation. The command is executed as it is, without a shell: its words are parted by
 * blanks, and no character means anything else. It gets no descriptor but /dev/null and what takes
 * its output, and an environment of its own:
 *
 *	PATH			/usr/sbin:/usr/bin:/sbin:/bin
 *	IOVD_ATTACHMENT		a1
 *	IOVD_VM, IOVD_NAME	web1, disk0
 *	IOVD_DEVICE		the device whose path is to be ended, as `iovctl list devices` has it
 *
 * A hand runs it (daemon/hands.h): it is a process with a deadline, which a daemon that was killed
 * meanwhile ends. Killed with its hand it has proven nothing, and is run again: so it must be one
 * that can be run twice.
 */
#include "daemon/fence.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/close_range.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "daemon/daemon.h"
#include "lib/cleanup.h"
#include "lib/sysfs.h"

#define FENCE_MS        30000
#define FENCE_MAX_WORDS 64
#define OUTPUT_SHOWN    512

/* --- in the hand ------------------------------------------------------------------------------ */

static void fence_exec(char **argv, char **env, int output)
{
	int null = open("/dev/null", O_RDONLY | O_CLOEXEC);
	sigset_t none;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	setpgid(0, 0);
	if (null < 0 || dup2(null, 0) < 0 || dup2(output, 1) < 0 || dup2(output, 2) < 0 ||
		close_range(3, ~0u, 0) < 0)
		_exit(126);
	execve(argv[0], argv, env);
	dprintf(2, "%s: %s\n", argv[0], strerror(errno));
	_exit(127);
}

static int fence_wait(pid_t pid, struct err *e)
{
	int status;

	while (waitpid(pid, &status, 0) < 0)
		if (errno != EINTR)
			return err_sys(e, errno, "wait for process %d", (int)pid);
	if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
		return 0;
	if (WIFEXITED(status))
		return err_set(e, ERR_FAILED, "FENCE",
			"the path is not fenced: the command ended with status %d",
			WEXITSTATUS(status));
	return err_set(e, ERR_FAILED, "FENCE",
		"the path is not fenced: the command was killed by signal %d", WTERMSIG(status));
}

static void fence_quote(int output, struct err *e)
{
	char text[OUTPUT_SHOWN];
	ssize_t n = pread(output, text, sizeof(text) - 1, 0);

	if (n <= 0)
		return;
	text[n] = '\0';
	text_clean(text);
	err_evidence(e, "it said: %s", text);
}

static unsigned int split(char *command, char **argv)
{
	unsigned int count = 0;

	for (char *save, *word = strtok_r(command, " \t", &save); word && count < FENCE_MAX_WORDS;
		word = strtok_r(NULL, " \t", &save))
		argv[count++] = word;
	argv[count] = NULL;
	return count;
}

int fence_work_run(char **words, void *result, int *fd, struct err *e)
{
	static const char *const names[] = {
		"IOVD_ATTACHMENT", "IOVD_VM", "IOVD_NAME", "IOVD_DEVICE"};
	char pairs[ARRAY_SIZE(names)][PATH_MAX + 32], *argv[FENCE_MAX_WORDS + 1];
	char *env[ARRAY_SIZE(names) + 2] = {(char *)"PATH=/usr/sbin:/usr/bin:/sbin:/bin"};
	auto_close int output = memfd_create("fence", MFD_CLOEXEC);
	pid_t pid;

	(void)result, (void)fd;
	for (unsigned int i = 0; i < ARRAY_SIZE(names); i++) {
		snprintf(pairs[i], sizeof(pairs[i]), "%s=%s", names[i], words[i + 1]);
		env[i + 1] = pairs[i];
	}
	if (!split(words[0], argv))
		return err_set(e, ERR_FAILED, "FENCE", "the command has no words");
	pid = output < 0 ? -1 : fork();
	if (pid < 0)
		return err_sys(e, errno, "run %s", argv[0]);
	if (pid == 0)
		fence_exec(argv, env, output);
	if (fence_wait(pid, e) == 0)
		return 0;
	fence_quote(output, e);
	return err_wrap(e, "%.100s", argv[0]);
}

/* --- in the daemon ---------------------------------------------------------------------------- */

struct fencing {
	fence_done_fn *done;
	void *arg;
};

static void fence_ended(void *arg, const void *result, size_t len, int fd, const struct err *e)
{
	struct fencing f = *(struct fencing *)arg;

	(void)result, (void)len, (void)fd;
	free(arg);
	f.done(f.arg, e);
}

int fence_begin(struct daemon *d, const struct attachment_spec *spec, fence_done_fn *done,
	void *arg, struct err *e)
{
	const char *const words[HAND_WORDS] = {
		FENCE_WORK, spec->rescue.fence, spec->id, spec->vm, spec->name, spec->device};
	struct fencing *f = malloc(sizeof(*f));
	char object[KEEPER_ID_SIZE + 8];

	if (!f)
		return err_set(e, ERR_FAILED, "MEMORY", "no memory to fence a path");
	*f = (struct fencing){.done = done, .arg = arg};
	snprintf(object, sizeof(object), "fence:%s", spec->id);
	if (hands_do(d->hands, object, words, FENCE_MS, fence_ended, f, e) == 0)
		return 0;
	free(f);
	return -1;
}
