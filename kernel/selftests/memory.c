// SPDX-License-Identifier: GPL-2.0
/*
 * No memory: each allocation that the kernel makes for a submission, an ACCEPT
 * or a DONE fails in its turn. Only where the kernel can be made to do so
 * (CONFIG_FAILSLAB, Documentation/fault-injection/fault-injection.rst).
 */
#include <fcntl.h>
#include <linux/keyctl.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <unistd.h>

#include "upcall.h"

#define FAILSLAB	"/sys/kernel/debug/failslab/"
/* None of the three comes near it. */
#define MOST		200
/* An acknowledgment can be lost, too. */
#define REPLY_US	300000

static _Atomic bool over;

/* For this thread; see fault_armed(). */
static __thread int fail_nth = -1;

static bool write_word(const char *path, const char *word)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC);
	bool good = fd >= 0 && write(fd, word, strlen(word)) > 0;

	if (fd >= 0)
		close(fd);
	return good;
}

static bool can_fail(void)
{
	return write_word(FAILSLAB "ignore-gfp-wait", "N") && write_word(FAILSLAB "verbose", "0");
}

/* The @n-th allocation for this thread from now on fails; none where it is 0. */
static void fault_set(unsigned int n)
{
	char word[16];
	int len = snprintf(word, sizeof(word), "%u", n);

	if (fail_nth < 0)
		fail_nth = open("/proc/thread-self/fail-nth", O_RDWR | O_CLOEXEC);
	if (fail_nth < 0 || pwrite(fail_nth, word, (size_t)len, 0) != len)
		bail_out("no fail-nth: %s", strerror(errno));
}

/* The fault has not happened. It does not any more. */
static bool fault_armed(void)
{
	char word[16] = "";
	bool armed;

	if (pread(fail_nth, word, sizeof(word) - 1, 0) <= 0)
		bail_out("fail-nth cannot be read: %s", strerror(errno));
	armed = word[0] != '0';
	fault_set(0);
	return armed;
}

static void fault_close(void)
{
	if (fail_nth >= 0)
		close(fail_nth);
	fail_nth = -1;
}

/* As the daemon does it: an announcement without room does not end a request. */
static void agent_open(struct nl *nl)
{
	const struct timeval limit = { .tv_usec = REPLY_US };
	const int on = 1;

	if (nl_open(nl) || nl_listen(nl))
		bail_out("no netlink socket");
	setsockopt(nl->fd, SOL_NETLINK, NETLINK_BROADCAST_ERROR, &on, sizeof(on));
	setsockopt(nl->fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
}

static int32_t make_keyring(void)
{
	return (int32_t)syscall(SYS_add_key, "keyring", "upcall-memory", NULL, 0,
				KEY_SPEC_THREAD_KEYRING);
}

/* Returns whether the link was there. */
static bool unlink_key(int32_t key, int32_t keyring)
{
	return !syscall(SYS_keyctl, KEYCTL_UNLINK, (unsigned long)key, (unsigned long)keyring);
}

/* With all that can be asked for. */
static void open_whole(struct call *call, int32_t keyring)
{
	call_open(call);
	call->hs.auth = HS_CONSUMER_X509;
	call->hs.timeout_ms = 12345;
	call->hs.cert = 0x1234;
	call->hs.privkey = 0x5678;
	call->hs.keyring = keyring;
	memset(call->hs.peername, 'n', 255);
}

/* ---- ACCEPT ---- */

/* Returns whether the fault has happened. */
static bool accept_with_fault(struct nl *nl, int32_t keyring, unsigned int n,
			      unsigned int *wrong)
{
	struct accepted acc;
	struct call call;
	bool happened;
	int ret, again;

	open_whole(&call, keyring);
	if (!call_queue(&call, nl))
		bail_out("no READY");
	fault_set(n);
	ret = accept_try(nl, &acc);
	happened = !fault_armed();
	/* the descriptor is there, and perhaps only its acknowledgment is not */
	if (acc.fd < 0) {
		again = accept_wait(nl, &acc, 3000);
		if (!(ret == -ENOMEM || ret == -ENOBUFS) || again) {
			note("allocation %u of ACCEPT: %d, then %d", n, ret, again);
			(*wrong)++;
		}
	}
	ret = call_finish(&call, nl, &acc);
	if (ret) {
		note("allocation %u of ACCEPT: the consumer is told %d", n, ret);
		(*wrong)++;
	}
	if (!unlink_key(keyring, KEY_SPEC_PROCESS_KEYRING)) {
		note("allocation %u of ACCEPT: there is no link", n);
		(*wrong)++;
	}
	unlink_key(keyring, KEY_SPEC_THREAD_KEYRING);
	return happened;
}

static void accepts(void)
{
	unsigned int n = 0, wrong = 0;
	int32_t keyring;
	struct nl nl;

	agent_open(&nl);
	/* The agent has its process keyring, as the daemon does. */
	syscall(SYS_keyctl, KEYCTL_GET_KEYRING_ID, (unsigned long)KEY_SPEC_PROCESS_KEYRING, 1UL);
	do {
		/* A new one each time: its link is one of the allocations. */
		keyring = make_keyring();
		n++;
	} while (n < MOST && accept_with_fault(&nl, keyring, n, &wrong));
	ok(n > 3 && n < MOST, "ACCEPT: each of its %u allocations has failed once", n - 1);
	is((long)wrong, 0, "ACCEPT: the request stays, and is served later");
	nl_close(&nl);
}

/* ---- DONE ---- */

static bool done_with_fault(struct nl *nl, unsigned int n, unsigned int *wrong)
{
	int32_t auth = 4711;
	struct accepted acc;
	struct call call;
	bool happened;
	int ret, again = 0;

	call_begin(&call, nl, &acc);
	fault_set(n);
	ret = done_auth(nl, acc.fd, 1, (const uint32_t *)&auth);
	happened = !fault_armed();
	/* not sent, or not acknowledged */
	if (ret)
		again = done_auth(nl, acc.fd, 1, (const uint32_t *)&auth);
	close(acc.fd);
	if (ret == -ETIME ? again != -EBUSY : again || (ret && ret != -ENOBUFS && ret != -ENOMEM)) {
		note("allocation %u of DONE: %d, then %d", n, ret, again);
		(*wrong)++;
	}
	ret = call_end(&call);
	if (ret || call.hs.remote_peerid != auth || call.hs.callbacks != 1) {
		note("allocation %u of DONE: the consumer is told %d", n, ret);
		(*wrong)++;
	}
	call_close(&call);
	return happened;
}

static void dones(void)
{
	unsigned int n = 0, wrong = 0;
	struct nl nl;

	agent_open(&nl);
	do
		n++;
	while (n < MOST && done_with_fault(&nl, n, &wrong));
	ok(n > 1 && n < MOST, "DONE: each of its %u allocations has failed once", n - 1);
	is((long)wrong, 0, "DONE: the consumer is told once, by it or by the next");
	nl_close(&nl);
}

/* ---- submission ---- */

static void *agent_thread(void *arg)
{
	struct nl *nl = arg;
	struct accepted acc;

	while (!over) {
		nl_wait_ready(nl, 20);
		while (!accept_try(nl, &acc)) {
			done(nl, acc.fd, 0);
			close(acc.fd);
		}
	}
	return NULL;
}

static bool submit_with_fault(unsigned int n, unsigned int *refused, unsigned int *wrong)
{
	struct call call;
	bool happened;
	int ret;

	call_open(&call);
	fault_set(n);
	call_run(&call);
	happened = !fault_armed();
	ret = call_end(&call);
	if (ret == -ENOMEM) {
		(*refused)++;
	} else if (ret || call.hs.callbacks != 1) {
		note("allocation %u of a submission: the consumer is told %d", n, ret);
		(*wrong)++;
	}
	call_close(&call);
	return happened;
}

static void submissions(void)
{
	unsigned int n = 0, refused = 0, wrong = 0;
	pthread_t agent;
	struct nl nl;

	agent_open(&nl);
	over = false;
	pthread_create(&agent, NULL, agent_thread, &nl);
	do
		n++;
	while (n < MOST && submit_with_fault(n, &refused, &wrong));
	over = true;
	pthread_join(agent, NULL);
	ok(n > 2 && n < MOST, "submission: each of its %u allocations has failed once", n - 1);
	is((long)wrong, 0, "submission: it is refused at once, or served");
	ok(refused > 0, "submission: ENOMEM %u times", refused);
	nl_close(&nl);
}

void test_memory(void)
{
	long sockets = count_sockets();

	if (!can_fail()) {
		skip("the kernel has no CONFIG_FAILSLAB", "allocations that fail");
		return;
	}
	accepts();
	dones();
	submissions();
	fault_close();
	no_more_sockets(sockets);
}
