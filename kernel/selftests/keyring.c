// SPDX-License-Identifier: GPL-2.0
/*
 * Requests that name a keyring: ACCEPT links it into the process keyring of
 * the agent, or ends the request.
 */
#include <fcntl.h>
#include <linux/keyctl.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "upcall.h"

static struct nl nl;

static long keyctl(int operation, unsigned long a, unsigned long b, unsigned long c)
{
	return syscall(SYS_keyctl, operation, a, b, c, 0);
}

static int32_t make_keyring(const char *name)
{
	return (int32_t)syscall(SYS_add_key, "keyring", name, NULL, 0,
				KEY_SPEC_THREAD_KEYRING);
}

static bool is_linked(int32_t serial)
{
	int32_t members[64];
	long i, len;

	len = keyctl(KEYCTL_READ, (unsigned long)KEY_SPEC_PROCESS_KEYRING,
		     (unsigned long)members, sizeof(members));
	for (i = 0; i < len / (long)sizeof(*members) && i < 64; i++)
		if (members[i] == serial)
			return true;
	return false;
}

static void begin(struct call *call, int32_t keyring)
{
	call_open(call);
	call->hs.auth = HS_CONSUMER_X509;
	call->hs.keyring = keyring;
	call_start(call);
}

static void refused(int32_t keyring, int error, const char *what)
{
	struct accepted acc;
	struct call call;

	begin(&call, keyring);
	is(accept_wait(&nl, &acc, 3000), error, "ACCEPT: %s", what);
	is(acc.fd, -1, "%s: the agent is given no descriptor", what);
	is(call_end(&call), -EIO, "%s: the request ends", what);
	call_close(&call);
}

static void linked(void)
{
	int32_t keyring = make_keyring("upcall-good");
	struct accepted acc;
	struct call call;

	begin(&call, keyring);
	is(accept_wait(&nl, &acc, 3000), 0, "a keyring");
	ok(is_linked(keyring), "a keyring: the agent's process keyring has a link to it");
	if (acc.has & 1U << HANDSHAKE_A_ACCEPT_KEYRING || ours)
		is((long)acc.keyring, keyring, "a keyring: its serial is told");
	else
		skip("the kernel is older than 6.17", "a keyring: its serial is told");
	is(call_finish(&call, &nl, &acc), 0, "a keyring: the end");
	ok(is_linked(keyring), "a keyring: the link is the agent's to take away");
	ok(!keyctl(KEYCTL_UNLINK, (unsigned long)keyring,
		   (unsigned long)KEY_SPEC_PROCESS_KEYRING, 0), "a keyring: it may do so");
	keyctl(KEYCTL_UNLINK, (unsigned long)keyring,
	       (unsigned long)KEY_SPEC_THREAD_KEYRING, 0);
}

/* The quota of root, who is the owner of the agent's process keyring. */
static bool set_quota(const char *bytes, char *before, size_t size)
{
	int fd = open("/proc/sys/kernel/keys/root_maxbytes", O_RDWR | O_CLOEXEC);
	ssize_t len = -1, written = -1;

	if (fd >= 0 && before)
		len = pread(fd, before, size - 1, 0);
	if (len > 0)
		before[len] = 0;
	if (fd >= 0 && (!before || len > 0))
		written = pwrite(fd, bytes, strlen(bytes), 0);
	if (fd >= 0)
		close(fd);
	return written > 0;
}

static void no_quota(void)
{
	int32_t keyring = make_keyring("upcall-quota");
	struct accepted acc, acc_other;
	struct call call, other;
	int ret, ret_other;
	char before[32];

	begin(&call, keyring);
	pause_ms(100);
	begin(&other, 0);
	pause_ms(100);
	if (!set_quota("1", before, sizeof(before)))
		bail_out("the quota of keys cannot be set");
	ret = accept_wait(&nl, &acc, 3000);
	ret_other = accept_wait(&nl, &acc_other, 3000);
	set_quota(before, NULL, 0);
	is(ret, -EDQUOT, "ACCEPT: no quota for the link");
	is(acc.fd, -1, "no quota: the agent is given no descriptor");
	is(ret_other, 0, "no quota: the next request needs none");
	is(call_finish(&other, &nl, &acc_other), 0, "no quota: that one is served");
	if (!ours) {
		is(call_end(&call), -EIO, "no quota: the request ends");
		call_close(&call);
		return;
	}
	ok(!call_over(&call, 200), "no quota: the request stays queued");
	is(accept_wait(&nl, &acc, 3000), 0, "no quota: later it is accepted");
	ok(is_linked(keyring), "no quota: with its link");
	is(call_finish(&call, &nl, &acc), 0, "no quota: later it is served");
	keyctl(KEYCTL_UNLINK, (unsigned long)keyring,
	       (unsigned long)KEY_SPEC_PROCESS_KEYRING, 0);
}

void test_keyring(void)
{
	int32_t keyring;

	if (nl_open(&nl) || nl_listen(&nl))
		bail_out("no netlink socket");
	if (keyctl(KEYCTL_GET_KEYRING_ID, (unsigned long)KEY_SPEC_PROCESS_KEYRING, 1, 0) < 0) {
		skip("the kernel has no keys", "requests with a keyring");
		nl_close(&nl);
		return;
	}
	linked();
	no_quota();
	refused(0x7ffffff1, -ENOKEY, "a keyring that does not exist");

	keyring = make_keyring("upcall-denied");
	keyctl(KEYCTL_SETPERM, (unsigned long)keyring, 0, 0);
	refused(keyring, -EACCES, "a keyring nobody may link");

	keyring = make_keyring("upcall-expired");
	keyctl(KEYCTL_SET_TIMEOUT, (unsigned long)keyring, 1, 0);
	pause_ms(2100);
	refused(keyring, -EKEYEXPIRED, "a keyring that has expired");

	keyring = make_keyring("upcall-revoked");
	keyctl(KEYCTL_REVOKE, (unsigned long)keyring, 0, 0);
	refused(keyring, -EKEYREVOKED, "a keyring that is revoked");
	nl_close(&nl);
}
