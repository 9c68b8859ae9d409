// SPDX-License-Identifier: GPL-2.0-or-later
/* What is left of root after privileges_reduce(); each case in a child of its own. */
#include <glib.h>
#include <linux/capability.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tlshd/monitor/privileges.h"

#define BIT(cap) (G_GUINT64_CONSTANT(1) << (cap))
#define USED (BIT(CAP_NET_ADMIN) | BIT(CAP_KILL) | BIT(CAP_DAC_READ_SEARCH) | \
	      BIT(CAP_IPC_LOCK))
#define FOR_CHILDREN (BIT(CAP_SETUID) | BIT(CAP_SETGID) | BIT(CAP_SETPCAP))

/* A number behind @name in /proc/self/status, in hexadecimal. */
static guint64 status(const char *name)
{
	g_autofree char *text = NULL;
	const char *p;

	g_assert_true(g_file_get_contents("/proc/self/status", &text, NULL, NULL));
	p = strstr(text, name);
	g_assert_nonnull(p);
	return g_ascii_strtoull(p + strlen(name), NULL, 16);
}

static void in_child(void (*what)(void))
{
	int how;
	pid_t pid = fork();

	g_assert_cmpint(pid, >=, 0);
	if (pid == 0) {
		what();
		_exit(0);
	}
	g_assert_cmpint(waitpid(pid, &how, 0), ==, pid);
	g_assert_true(WIFEXITED(how));
	g_assert_cmpint(WEXITSTATUS(how), ==, 0);
}

static void reduce(void)
{
	const char *step = "?";
	int r = privileges_reduce(&step);

	if (r < 0)
		g_printerr("# %s: %s\n", step, g_strerror(-r));
	g_assert_cmpint(r, ==, 0);
}

static void sets(void)
{
	guint64 had = status("\nCapPrm:");

	reduce();
	g_assert_cmphex(status("\nCapPrm:"), ==, had & (USED | FOR_CHILDREN));
	g_assert_cmphex(status("\nCapEff:"), ==, had & USED);
	g_assert_cmphex(status("\nCapBnd:") & ~(USED | FOR_CHILDREN), ==, 0);
	g_assert_cmphex(status("\nCapInh:"), ==, 0);
	g_assert_cmphex(status("\nCapAmb:"), ==, 0);
	g_assert_cmphex(status("\nNoNewPrivs:"), ==, 1);
}

static void dumps(void)
{
	struct rlimit l;

	reduce();
	g_assert_cmpint(prctl(PR_GET_DUMPABLE), ==, 0);
	g_assert_cmpint(getrlimit(RLIMIT_CORE, &l), ==, 0);
	g_assert_cmpuint(l.rlim_max, ==, 0);
}

/* By accident it cannot become anybody or do what root does. */
static void denied(void)
{
	reduce();
	g_assert_cmpint(setresuid(1, 1, 1), <, 0);
	g_assert_cmpint(setresgid(1, 1, 1), <, 0);
	g_assert_cmpint(mount("x", "/mnt", "tmpfs", 0, NULL), <, 0);
	g_assert_cmpint(unshare(CLONE_NEWNS), <, 0);
	g_assert_cmpint(prctl(PR_CAPBSET_DROP, CAP_KILL), <, 0);
}

/* A child that is started by exec still can: that is how workers lose what is left. */
static void child_can(void)
{
	int how;

	reduce();
	if (fork() == 0) {
		execl("/bin/sh", "sh", "-c",
		      "exec setpriv --reuid=65534 --regid=65534 --clear-groups true", NULL);
		_exit(127);
	}
	g_assert_cmpint(wait(&how), >, 0);
	g_assert_true(WIFEXITED(how));
	g_assert_cmpint(WEXITSTATUS(how), ==, 0);
}

/* It ends processes of other users. */
static void can_kill(void)
{
	pid_t other;
	int how;

	other = fork();
	if (other == 0) {
		if (setresuid(65534, 65534, 65534) < 0)
			_exit(1);
		pause();
		_exit(0);
	}
	g_usleep(50000);
	reduce();
	g_assert_cmpint(kill(other, SIGKILL), ==, 0);
	g_assert_cmpint(waitpid(other, &how, 0), ==, other);
	g_assert_true(WIFSIGNALED(how));
}

static void twice(void)
{
	reduce();
	reduce();
}

static const struct {
	const char *name;
	void (*what)(void);
} cases[] = {
	{ "/privileges/sets", sets },
	{ "/privileges/dumps", dumps },
	{ "/privileges/denied", denied },
	{ "/privileges/child-can", child_can },
	{ "/privileges/can-kill", can_kill },
	{ "/privileges/twice", twice },
};

static void run(gconstpointer number)
{
	if (geteuid() != 0) {
		g_test_skip("only root has something to give up");
		return;
	}
	in_child(cases[GPOINTER_TO_UINT(number)].what);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	for (unsigned int i = 0; i < G_N_ELEMENTS(cases); i++)
		g_test_add_data_func(cases[i].name, GUINT_TO_POINTER(i), run);
	return g_test_run();
}
