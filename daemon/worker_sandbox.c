/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/worker_sandbox.h"

#include <cap-ng.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/fs.h>
#include <linux/if_tun.h>
#include <pwd.h>
#include <seccomp.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

#include "config.h"
#include "lib/util.h"

/* Allowed whatever their arguments. */
static const int plain_calls[] = {
	/* the disk, eventfds, sockets that were handed in */
	SCMP_SYS(read),
	SCMP_SYS(write),
	SCMP_SYS(readv),
	SCMP_SYS(writev),
	SCMP_SYS(pread64),
	SCMP_SYS(pwrite64),
	SCMP_SYS(preadv),
	SCMP_SYS(pwritev),
	SCMP_SYS(preadv2),
	SCMP_SYS(pwritev2),
	SCMP_SYS(fallocate),
	SCMP_SYS(fdatasync),
	SCMP_SYS(fsync),
	SCMP_SYS(recvmsg),
	SCMP_SYS(recvfrom),
	SCMP_SYS(sendmsg),
	SCMP_SYS(sendto),
	SCMP_SYS(accept4),
	SCMP_SYS(getsockopt),
	SCMP_SYS(setsockopt),
	SCMP_SYS(shutdown),
	SCMP_SYS(close),
	SCMP_SYS(fstat),
	SCMP_SYS(fstatfs),
	SCMP_SYS(lseek),
	SCMP_SYS(fcntl),
	/* its own memory files */
	SCMP_SYS(memfd_create),
	SCMP_SYS(ftruncate),
	/* qsort() asks once how much memory there is, when it sorts what a predecessor had in flight */
	SCMP_SYS(sysinfo),
	/* the ring, which has its own restrictions */
	SCMP_SYS(io_uring_enter),
	SCMP_SYS(io_uring_register),
	/* waiting */
	SCMP_SYS(epoll_wait),
	SCMP_SYS(epoll_pwait),
	SCMP_SYS(epoll_ctl),
	SCMP_SYS(poll),
	SCMP_SYS(ppoll),
	SCMP_SYS(clock_gettime),
	SCMP_SYS(clock_nanosleep),
	SCMP_SYS(restart_syscall),
	SCMP_SYS(futex),
	/* memory, signals, the end */
	SCMP_SYS(munmap),
	SCMP_SYS(madvise),
	SCMP_SYS(brk),
	SCMP_SYS(rt_sigaction),
	SCMP_SYS(rt_sigprocmask),
	SCMP_SYS(rt_sigreturn),
	SCMP_SYS(getpid),
	SCMP_SYS(gettid),
	SCMP_SYS(getrandom),
	SCMP_SYS(sysinfo), /* qsort() of more than a kilobyte looks how much memory there is */
	SCMP_SYS(exit),
	SCMP_SYS(exit_group),
#ifdef IOVD_SANITIZERS
	/* what the sanitizers' runtimes do to watch us, and to report */
	SCMP_SYS(sigaltstack),
	SCMP_SYS(mremap),
	SCMP_SYS(sched_yield),
	SCMP_SYS(readlink),
	SCMP_SYS(getrlimit),
	SCMP_SYS(prlimit64),
	SCMP_SYS(openat),
	SCMP_SYS(open),
	SCMP_SYS(newfstatat),
	SCMP_SYS(getdents),
	SCMP_SYS(getdents64),
	SCMP_SYS(clone),
	SCMP_SYS(clone3),
	SCMP_SYS(wait4),
	SCMP_SYS(prctl),
	SCMP_SYS(arch_prctl),
	SCMP_SYS(ptrace),
	SCMP_SYS(set_robust_list),
	SCMP_SYS(rseq),
	SCMP_SYS(pipe2),
	SCMP_SYS(dup2),
	SCMP_SYS(getppid),
	SCMP_SYS(getuid),
	SCMP_SYS(process_vm_readv),
	SCMP_SYS(uname),
#endif
};

struct ruled_call {
	int call;
	struct scmp_arg_cmp rule;
};

/* Allowed for some arguments only: argument `arg`, masked, equals `value`. */
static const struct ruled_call ruled_calls[] = {
	{SCMP_SYS(mmap), {2, SCMP_CMP_MASKED_EQ, PROT_EXEC, 0}},
	{SCMP_SYS(mprotect), {2, SCMP_CMP_MASKED_EQ, PROT_EXEC, 0}},
	/* fstat() of some C libraries: of a descriptor, never of a path */
	{SCMP_SYS(newfstatat), {3, SCMP_CMP_EQ, AT_EMPTY_PATH, 0}},
#ifdef IOVD_SANITIZERS
	{SCMP_SYS(ioctl), {1, SCMP_CMP_EQ, TCGETS, 0}}, /* before a report: may it be coloured? */
#endif
};

/* Beside these, of what it has: a disk's size, and how frames come by a tap's queue. */
static const struct ruled_call disk_calls[] = {
	{SCMP_SYS(ioctl), {1, SCMP_CMP_EQ, BLKGETSIZE64, 0}},
};

static const struct ruled_call tap_calls[] = {
	{SCMP_SYS(ioctl), {1, SCMP_CMP_EQ, TUNSETOFFLOAD, 0}},
	{SCMP_SYS(ioctl), {1, SCMP_CMP_EQ, TUNSETQUEUE, 0}},
	{SCMP_SYS(ioctl), {1, SCMP_CMP_EQ, TUNSETTXFILTER, 0}},
	{SCMP_SYS(ioctl), {1, SCMP_CMP_EQ, TUNSETVNETHDRSZ, 0}},
};

static int drop_user(const char *user, struct err *e)
{
	const struct passwd *pw;

	if (!user || geteuid() != 0)
		return 0;
	errno = 0;
	pw = getpwnam(user);
	if (!pw)
		return err_set(e, ERR_NOT_FOUND, "USER", "there is no user %s", user);
	if (setgroups(0, NULL) < 0 || setresgid(pw->pw_gid, pw->pw_gid, pw->pw_gid) < 0 ||
		setresuid(pw->pw_uid, pw->pw_uid, pw->pw_uid) < 0)
		return err_sys(e, errno, "become user %s", user);
	return 0;
}

/* Nobody of the same user looks into a worker's memory, but the leak checker at its end. */
#ifdef IOVD_SANITIZERS
#define DUMPABLE 1
#else
#define DUMPABLE 0
#endif

static int drop_privileges(struct err *e)
{
	capng_clear(CAPNG_SELECT_BOTH);
	if (capng_apply(CAPNG_SELECT_CAPS) < 0)
		return err_sys(e, errno ? errno : EPERM, "drop capabilities");
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
		return err_sys(e, errno, "give up new privileges");
	if (prctl(PR_SET_DUMPABLE, DUMPABLE, 0, 0, 0) < 0)
		return err_sys(e, errno, "forbid looking into memory");
	return 0;
}

static int add_ruled(scmp_filter_ctx ctx, const struct ruled_call *calls, size_t count)
{
	int rc = 0;

	for (size_t i = 0; i < count && rc == 0; i++)
		rc = seccomp_rule_add_array(ctx, SCMP_ACT_ALLOW, calls[i].call, 1, &calls[i].rule);
	return rc;
}

static int add_rules(scmp_filter_ctx ctx, enum worker_sandbox_for what)
{
	int rc;

	for (size_t i = 0; i < ARRAY_SIZE(plain_calls); i++) {
		rc = seccomp_rule_add(ctx, SCMP_ACT_ALLOW, plain_calls[i], 0);
		if (rc < 0)
			return rc;
	}
	rc = add_ruled(ctx, ruled_calls, ARRAY_SIZE(ruled_calls));
	if (rc == 0 && what == WORKER_SANDBOX_TAP)
		rc = add_ruled(ctx, tap_calls, ARRAY_SIZE(tap_calls));
	else if (rc == 0)
		rc = add_ruled(ctx, disk_calls, ARRAY_SIZE(disk_calls));
	if (rc < 0)
		return rc;
	/* abort() signals its own process, and nobody else */
	return seccomp_rule_add(ctx, SCMP_ACT_ALLOW, SCMP_SYS(tgkill), 1,
		SCMP_A0(SCMP_CMP_EQ, (scmp_datum_t)getpid()));
}

static int filter_calls(enum worker_sandbox_for what, bool forgive, struct err *e)
{
	scmp_filter_ctx ctx = seccomp_init(forgive ? SCMP_ACT_ERRNO(EPERM) : SCMP_ACT_KILL_PROCESS);
	int rc;

	if (!ctx)
		return err_sys(e, ENOMEM, "system call filter");
	rc = seccomp_attr_set(ctx, SCMP_FLTATR_CTL_LOG, 1);
	if (rc == 0)
		rc = add_rules(ctx, what);
	if (rc == 0)
		rc = seccomp_load(ctx);
	seccomp_release(ctx);
	return rc < 0 ? err_sys(e, -rc, "system call filter") : 0;
}

int worker_sandbox_enter(
	const char *user, enum worker_sandbox_for what, bool forgive, struct err *e)
{
	if (drop_user(user, e) < 0 || drop_privileges(e) < 0 || filter_calls(what, forgive, e) < 0)
		return err_wrap(e, "enter the sandbox");
	return 0;
}
