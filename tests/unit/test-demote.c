// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * demote() cannot be taken back, so each case runs in a child that changes
 * itself, looks at itself, and reports by its exit status and one line of text.
 */
#include <errno.h>
#include <fcntl.h>
#include <glib.h>
#include <grp.h>
#include <keyutils.h>
#include <linux/capability.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/demote.h"
#include "common/secret.h"

#define USER 54321
#define GROUP 54320
#define FAR_FD 200

static bool not_root(void)
{
	if (geteuid() == 0)
		return false;
	g_test_skip("only root has something to give up");
	return true;
}

/* In the child: what is wrong goes to descriptor 2, which the parent reads. */
#define CHECK(cond) do {						\
	if (!(cond)) {							\
		dprintf(2, "line %d: %s (errno %d)", __LINE__, #cond, errno);	\
		_exit(1);						\
	}								\
} while (0)

/* Runs @body in a child whose only descriptors are 0 to 4 and FAR_FD. */
static void run(void (*body)(void))
{
	g_autofree char *text = g_malloc0(1024);
	size_t len = 0;
	int fds[2], status;
	ssize_t n;
	pid_t pid;

	g_assert_no_errno(pipe(fds));
	pid = fork();
	g_assert_no_errno(pid);
	if (pid == 0) {
		alarm(20);
		dup2(fds[1], 2);
		for (int fd = 3; fd < FAR_FD + 1; fd++)
			close(fd);
		dup2(0, CHILD_FD_MONITOR);
		dup2(0, CHILD_FD_PEER);
		dup2(0, CHILD_FD_END);
		dup2(0, FAR_FD);
		body();
		_exit(0);
	}
	close(fds[1]);
	while ((n = read(fds[0], text + len, 1023 - len)) > 0)
		len += (size_t)n;
	close(fds[0]);
	g_assert_no_errno(waitpid(pid, &status, 0));
	g_assert_cmpstr(text, ==, "");
	g_assert_true(WIFEXITED(status));
	g_assert_cmpint(WEXITSTATUS(status), ==, 0);
}

static void demoted(enum demote_flags flags)
{
	const char *step = "none";

	if (demote(USER, GROUP, flags, &step) < 0) {
		dprintf(2, "demote: %s: errno %d", step, errno);
		_exit(1);
	}
}

/* A number of /proc/self/status; @base 10 or 16. */
static unsigned long long status_of(const char *name, int base)
{
	FILE *f = fopen("/proc/self/status", "re");
	unsigned long long value = 0;
	char line[256];
	bool found = false;

	CHECK(f);
	while (!found && fgets(line, sizeof(line), f)) {
		found = !strncmp(line, name, strlen(name)) && line[strlen(name)] == ':';
		if (found)
			value = strtoull(line + strlen(name) + 1, NULL, base);
	}
	fclose(f);
	CHECK(found);
	return value;
}

static void body_ids(void)
{
	gid_t many[] = { 0, 4, 10 }, groups[8];
	gid_t rg, eg, sg;
	uid_t ru, eu, su;

	CHECK(setgroups(3, many) == 0);
	demoted(0);
	CHECK(getresuid(&ru, &eu, &su) == 0);
	CHECK(ru == USER && eu == USER && su == USER);
	CHECK(getresgid(&rg, &eg, &sg) == 0);
	CHECK(rg == GROUP && eg == GROUP && sg == GROUP);
	CHECK(getgroups(8, groups) == 0);
	CHECK(setuid(0) < 0 && errno == EPERM);
	CHECK(setresuid(0, 0, 0) < 0);
	CHECK(setgid(0) < 0);
	CHECK(setgroups(3, many) < 0);
}

static void test_ids(void)
{
	if (!not_root())
		run(body_ids);
}

static void body_capabilities(void)
{
	struct __user_cap_header_struct head = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct have[_LINUX_CAPABILITY_U32S_3];
	char *const argv[] = { NULL };

	CHECK(status_of("CapEff", 16) != 0);	/* else there is nothing to see */
	demoted(0);
	CHECK(syscall(SYS_capget, &head, have) == 0);
	for (unsigned int i = 0; i < _LINUX_CAPABILITY_U32S_3; i++) {
		CHECK(have[i].effective == 0);
		CHECK(have[i].permitted == 0);
		CHECK(have[i].inheritable == 0);
	}
	CHECK(status_of("CapBnd", 16) == 0);
	CHECK(status_of("CapAmb", 16) == 0);
	CHECK(prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) == 1);
	CHECK(prctl(PR_SET_NO_NEW_PRIVS, 0, 0, 0, 0) < 0);
	CHECK(chroot("/") < 0 && errno == EPERM);
	CHECK(execv("/nonexistent", argv) < 0);
}

static void test_capabilities(void)
{
	if (!not_root())
		run(body_capabilities);
}

static void body_process(void)
{
	struct rlimit core;

	CHECK(prctl(PR_SET_DUMPABLE, 1, 0, 0, 0) == 0);
	demoted(0);
	CHECK(prctl(PR_GET_DUMPABLE, 0, 0, 0, 0) == 0);
	CHECK(getrlimit(RLIMIT_CORE, &core) == 0);
	CHECK(core.rlim_cur == 0 && core.rlim_max == 0);
	core.rlim_cur = core.rlim_max = 1;
	CHECK(setrlimit(RLIMIT_CORE, &core) < 0);
}

static void test_process(void)
{
	if (!not_root())
		run(body_process);
}

static void body_nice(void)
{
	CHECK(setpriority(PRIO_PROCESS, 0, -10) == 0);
	demoted(0);
	errno = 0;
	CHECK(getpriority(PRIO_PROCESS, 0) == 0 && errno == 0);
	CHECK(sched_getscheduler(0) == SCHED_OTHER);
	CHECK(setpriority(PRIO_PROCESS, 0, -1) < 0);
}

static void body_realtime(void)
{
	struct sched_param param = { .sched_priority = 10 };

	CHECK(sched_setscheduler(0, SCHED_FIFO, &param) == 0);
	demoted(0);
	CHECK(sched_getscheduler(0) == SCHED_OTHER);
	CHECK(sched_setscheduler(0, SCHED_FIFO, &param) < 0);
}

/* One that was made to wait for others goes on doing so. */
static void body_polite(void)
{
	CHECK(setpriority(PRIO_PROCESS, 0, 5) == 0);
	demoted(0);
	CHECK(getpriority(PRIO_PROCESS, 0) == 5);
}

static bool can_be_realtime(void)
{
	struct sched_param param = { .sched_priority = 10 };
	int status;
	pid_t pid = fork();

	if (pid == 0)
		_exit(sched_setscheduler(0, SCHED_FIFO, &param) < 0);
	g_assert_no_errno(waitpid(pid, &status, 0));
	return status == 0;
}

static void test_priority(void)
{
	if (not_root())
		return;
	run(body_nice);
	run(body_polite);
	if (can_be_realtime())
		run(body_realtime);
	else
		g_test_skip("SCHED_FIFO is not allowed here; nice values were seen");
}

static void body_descriptors(void)
{
	CHECK(fcntl(CHILD_FD_END, F_GETFD) >= 0);
	CHECK(fcntl(FAR_FD, F_GETFD) >= 0);
	demoted(0);
	for (int fd = 0; fd < CHILD_FD_END; fd++)
		CHECK(fcntl(fd, F_GETFD) >= 0);
	for (int fd = CHILD_FD_END; fd < 2 * FAR_FD; fd++)
		CHECK(fcntl(fd, F_GETFD) < 0 && errno == EBADF);
}

static void test_descriptors(void)
{
	run(body_descriptors);
}

static void body_keyring(void)
{
	key_serial_t before = keyctl_join_session_keyring(NULL), key, after;

	CHECK(before > 0);
	key = add_key("user", "tlshd-test", "secret", 6, KEY_SPEC_SESSION_KEYRING);
	CHECK(key > 0);
	CHECK(keyctl_search(KEY_SPEC_SESSION_KEYRING, "user", "tlshd-test", 0) == key);
	demoted(0);
	after = keyctl_get_keyring_ID(KEY_SPEC_SESSION_KEYRING, 0);
	CHECK(after > 0 && after != before);
	CHECK(keyctl_search(KEY_SPEC_SESSION_KEYRING, "user", "tlshd-test", 0) < 0);
	CHECK(request_key("user", "tlshd-test", NULL, 0) < 0);
}

static bool no_keyrings(void)
{
	if (keyctl_get_keyring_ID(KEY_SPEC_SESSION_KEYRING, 0) > 0)
		return false;
	g_test_skip("this kernel has no keyrings, or they are denied here");
	return true;
}

static void test_keyring(void)
{
	if (!not_root() && !no_keyrings())
		run(body_keyring);
}

#ifndef __SANITIZE_ADDRESS__
static void body_locked(void)
{
	struct rlimit all = { RLIM_INFINITY, RLIM_INFINITY }, now;
	void *later;

	all.rlim_cur = 64 << 10;	/* to be raised again */
	CHECK(setrlimit(RLIMIT_MEMLOCK, &all) == 0);
	demoted(DEMOTE_LOCK_MEMORY);
	CHECK(status_of("VmLck", 10) > 0);
	/* What is mapped but not used does not take memory. */
	CHECK(status_of("VmRSS", 10) < status_of("VmLck", 10) * 3 / 4);
	CHECK(getrlimit(RLIMIT_MEMLOCK, &now) == 0);
	CHECK(now.rlim_cur == RLIM_INFINITY);
	/* What is mapped later is locked, too, without root's right to. */
	later = malloc(1 << 20);
	CHECK(later);
	CHECK(status_of("VmLck", 10) > 1 << 10);
	free(later);
}

/* Enough for what is there, not for what comes: refused now, not found out then. */
static void body_tight(void)
{
	struct __user_cap_header_struct head = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct have[_LINUX_CAPABILITY_U32S_3];
	struct rlimit tight = { SECRET_ROOM, SECRET_ROOM };
	const char *step = NULL;

	CHECK(setrlimit(RLIMIT_MEMLOCK, &tight) == 0);
	/* Without the right to raise it again. */
	CHECK(syscall(SYS_capget, &head, have) == 0);
	have[CAP_TO_INDEX(CAP_SYS_RESOURCE)].permitted &= ~CAP_TO_MASK(CAP_SYS_RESOURCE);
	have[CAP_TO_INDEX(CAP_SYS_RESOURCE)].effective &= ~CAP_TO_MASK(CAP_SYS_RESOURCE);
	CHECK(syscall(SYS_capset, &head, have) == 0);
	CHECK(demote(USER, GROUP, DEMOTE_LOCK_MEMORY, &step) == -ENOMEM);
	CHECK(strstr(step, "LimitMEMLOCK="));
}

/* May this process lock as much as it likes? A container may forbid it even to root. */
static bool can_raise_limit(void)
{
	struct rlimit l, all = { RLIM_INFINITY, RLIM_INFINITY };

	return getrlimit(RLIMIT_MEMLOCK, &l) == 0 && setrlimit(RLIMIT_MEMLOCK, &all) == 0 &&
	       setrlimit(RLIMIT_MEMLOCK, &l) == 0;
}

#endif

static void body_unlocked(void)
{
	demoted(0);
	CHECK(status_of("VmLck", 10) == 0);
}

static void test_lock_memory(void)
{
	if (not_root())
		return;
	run(body_unlocked);
#ifdef __SANITIZE_ADDRESS__
	g_test_skip("the address sanitizer turns mlockall() into nothing");
#else
	if (can_raise_limit()) {
		run(body_locked);
		run(body_tight);
	} else {
		g_test_skip("this host does not let root raise the limit on locked memory");
	}
#endif
}

static void body_death_signal(void)
{
	int signal_number = 0;

	demoted(0);
	CHECK(prctl(PR_GET_PDEATHSIG, &signal_number, 0, 0, 0) == 0);
	CHECK(signal_number == SIGKILL);
}

/* The monitor dies, and with it its child, which holds the pipe's end until then. */
static void test_death(void)
{
	int fds[2], ready[2];
	char byte;
	pid_t pid;

	if (not_root())
		return;
	run(body_death_signal);
	alarm(20);
	g_assert_no_errno(pipe(fds));
	g_assert_no_errno(pipe(ready));
	pid = fork();
	g_assert_no_errno(pid);
	if (pid == 0) {
		if (fork() == 0) {
			dup2(fds[1], CHILD_FD_MONITOR);
			dup2(ready[1], CHILD_FD_PEER);
			demoted(0);
			if (write(CHILD_FD_PEER, "r", 1) == 1)
				pause();
			_exit(0);
		}
		close(ready[1]);
		_exit(read(ready[0], &byte, 1) == 1 ? 0 : 1);
	}
	close(fds[1]);
	close(ready[1]);
	g_assert_no_errno(waitpid(pid, NULL, 0));
	/* Its end, not a byte. */
	g_assert_cmpint(read(fds[0], &byte, 1), ==, 0);
	close(fds[0]);
	close(ready[0]);
	alarm(0);
}

/* A developer's test run: the user stays, all else is done. */
static void body_not_root(void)
{
	struct rlimit core;

	if (geteuid() == 0)
		CHECK(setresgid(12345, 12345, 12345) == 0 && setresuid(12345, 12345, 12345) == 0);
	demoted(0);
	CHECK(getuid() != USER && geteuid() == getuid());
	CHECK(prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) == 1);
	CHECK(prctl(PR_GET_DUMPABLE, 0, 0, 0, 0) == 0);
	CHECK(status_of("CapEff", 16) == 0);
	CHECK(getrlimit(RLIMIT_CORE, &core) == 0 && core.rlim_max == 0);
	CHECK(fcntl(FAR_FD, F_GETFD) < 0);
}

static void test_not_root(void)
{
	run(body_not_root);
}

static void write_to(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY);

	CHECK(fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text));
	close(fd);
}

/* Root of a user namespace that may not change its groups: demote() must fail, and say where. */
static void body_step(void)
{
	const char *step = NULL;

	CHECK(unshare(CLONE_NEWUSER) == 0);
	write_to("/proc/self/uid_map", "0 0 1");
	write_to("/proc/self/setgroups", "deny");
	write_to("/proc/self/gid_map", "0 0 1");
	CHECK(geteuid() == 0);
	CHECK(demote(USER, GROUP, 0, &step) == -EPERM);
	CHECK(!strcmp(step, "setgroups(0, NULL)"));
}

static bool no_user_namespaces(void)
{
	int status;
	pid_t pid = fork();

	if (pid == 0)
		_exit(unshare(CLONE_NEWUSER) < 0);
	g_assert_no_errno(waitpid(pid, &status, 0));
	if (status == 0)
		return false;
	g_test_skip("user namespaces are not allowed here");
	return true;
}

static void test_step(void)
{
	if (!not_root() && !no_user_namespaces())
		run(body_step);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/demote/ids", test_ids);
	g_test_add_func("/demote/capabilities", test_capabilities);
	g_test_add_func("/demote/process", test_process);
	g_test_add_func("/demote/priority", test_priority);
	g_test_add_func("/demote/descriptors", test_descriptors);
	g_test_add_func("/demote/keyring", test_keyring);
	g_test_add_func("/demote/lock-memory", test_lock_memory);
	g_test_add_func("/demote/death", test_death);
	g_test_add_func("/demote/not-root", test_not_root);
	g_test_add_func("/demote/step", test_step);
	return g_test_run();
}
