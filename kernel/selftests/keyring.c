// SPDX-License-Identifier: GPL-2.0
/*
 * Requests that name a keyring: ACCEPT links it into the process keyring of
 * the agent, or ends the request.
 */
#include <linux/keyctl.h>
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
