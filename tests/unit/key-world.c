// SPDX-License-Identifier: GPL-2.0-or-later
#include "key-world.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/cleanup.h"

#define LINKS_MAX 64
#define OTHERS 50	/* keys that others may make meanwhile; the loops go 1000 times and more */

/* A process for each keyring elsewhere: it hangs in that one's session keyring. */
struct elsewhere {
	pid_t pid;
	int32_t serial;
};

static GArray *everywhere;

bool key_world_open(const char **ret_why)
{
	if (geteuid() != 0) {
		*ret_why = "needs root, for keyrings must belong to uid 0";
		return false;
	}
	if (keyctl_join_session_keyring(NULL) < 0) {
		*ret_why = "no session keyring can be made here";
		return false;
	}
	return true;
}

__attribute__((noreturn))
static void hold(const char *name, uint32_t uid, int report, pid_t parent)
{
	key_perm_t perm = (KEY_POS_ALL & ~KEY_POS_SETATTR) | (KEY_USR_ALL & ~KEY_USR_SETATTR);
	int32_t serial = -1;

	if (uid && (setresgid(uid, uid, uid) < 0 || setresuid(uid, uid, uid) < 0))
		_exit(1);
	/* After the change of user, which takes it back. */
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (getppid() != parent)
		_exit(1);
	if (keyctl_join_session_keyring(NULL) >= 0)
		serial = add_key("keyring", name, NULL, 0, KEY_SPEC_SESSION_KEYRING);
	/* Of another user's everybody may see it: it is meant to be taken for root's. */
	if (serial < 0 || keyctl_setperm(serial, uid ? perm | KEY_OTH_ALL : perm) < 0 ||
	    write(report, &serial, sizeof(serial)) != sizeof(serial))
		_exit(1);
	for (;;)
		pause();
}

int32_t keyring_elsewhere(const char *name, uint32_t uid)
{
	struct elsewhere e = { 0 };
	pid_t parent = getpid();
	int ends[2];

	g_assert_no_errno(pipe(ends));
	e.pid = fork();
	g_assert_cmpint(e.pid, >=, 0);
	if (e.pid == 0)
		hold(name, uid, ends[1], parent);
	close(ends[1]);
	g_assert_cmpint(read(ends[0], &e.serial, sizeof(e.serial)), ==, sizeof(e.serial));
	close(ends[0]);
	if (!everywhere)
		everywhere = g_array_new(FALSE, FALSE, sizeof(e));
	g_array_append_val(everywhere, e);
	return e.serial;
}

void key_world_drop(int32_t keyring)
{
	for (unsigned int i = 0; i < everywhere->len; i++) {
		struct elsewhere e = g_array_index(everywhere, struct elsewhere, i);

		if (e.serial != keyring)
			continue;
		kill(e.pid, SIGKILL);
		g_assert_cmpint(waitpid(e.pid, NULL, 0), ==, e.pid);
		g_array_remove_index(everywhere, i);
		if (!everywhere->len)
			g_clear_pointer(&everywhere, g_array_unref);
		return;
	}
	g_assert_not_reached();
}

int32_t user_key(const char *description, const void *data, size_t len, int32_t keyring)
{
	int32_t serial = add_key("user", description, data, len, keyring);

	if (serial < 0)
		g_error("add_key: %s", strerror(errno));
	return serial;
}

char *unique_name(const char *word)
{
	static unsigned int n;

	/* What a test before had may still be on its way out. */
	return g_strdup_printf("tlshd-test-%d-%u-%s", getpid(), n++, word);
}

unsigned int count_keys(void)
{
	g_autofree char *text = NULL;
	unsigned int n = 0;

	g_assert_true(g_file_get_contents("/proc/keys", &text, NULL, NULL));
	for (const char *p = text; (p = strchr(p, '\n')); p++)
		n++;
	return n;
}

void assert_no_growth(unsigned int before)
{
	unsigned int n = count_keys();

	for (unsigned int i = 0; n > before + OTHERS && i < 200; i++) {
		usleep(20000);
		n = count_keys();
	}
	g_assert_cmpuint(n, <=, before + OTHERS);
}

static unsigned int links(int32_t *ret)
{
	long n = keyctl_read(KEY_SPEC_PROCESS_KEYRING, (char *)ret, LINKS_MAX * sizeof(*ret));

	if (n < 0) {
		g_assert_cmpint(errno, ==, ENOKEY);
		return 0;
	}
	g_assert_cmpuint((size_t)n, <=, LINKS_MAX * sizeof(*ret));
	return (unsigned int)((size_t)n / sizeof(*ret));
}

unsigned int count_links(void)
{
	int32_t serials[LINKS_MAX];

	return links(serials);
}

bool is_linked(int32_t keyring)
{
	int32_t serials[LINKS_MAX];
	unsigned int n = links(serials);

	for (unsigned int i = 0; i < n; i++) {
		if (serials[i] == keyring)
			return true;
	}
	return false;
}

void add(const char *path, GTestFunc test, const char *why_not)
{
	if (why_not)
		g_test_add_data_func(path, why_not, (GTestDataFunc)g_test_skip);
	else
		g_test_add_func(path, test);
}
