// SPDX-License-Identifier: GPL-2.0-or-later
/* What a worker does with the answers of its keeper, which may be in a stranger's hands. */
#include <errno.h>
#include <glib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <sysexits.h>
#include <unistd.h>

#include "common/channel.h"
#include "common/wire.h"
#include "tlshd/worker/signer.h"

#define JOB 7
#define UNTOUCHED 0x5c
#define SIGNED_ERROR 10		/* where it stands in the message */

static int keeper = -1;		/* its end */
static uint64_t clock_us;
static unsigned int stale_every_ms;

uint64_t __wrap_clock_now(void);
int __wrap_channel_wait(int channel, int timeout_ms);
int __real_channel_wait(int channel, int timeout_ms);

uint64_t __wrap_clock_now(void)
{
	return clock_us;
}

static void answer(uint64_t job, uint32_t error, uint16_t len)
{
	struct wire_message m = {
		.type = WIRE_SIGNED, .signed_ = { .job = job, .error = error, .len = len },
	};

	memset(m.signed_.signature, 's', len);
	g_assert_cmpint(channel_send(keeper, &m, -1), ==, 0);
}

/* Time passes here only: with an answer that nobody waits for, or as it was given. */
int __wrap_channel_wait(int channel, int timeout_ms)
{
	g_assert_cmpint(timeout_ms, >, 0);
	if (!stale_every_ms)
		return __real_channel_wait(channel, 0);
	if ((unsigned int)timeout_ms <= stale_every_ms) {
		clock_us += (uint64_t)timeout_ms * 1000;
		return -ETIMEDOUT;
	}
	clock_us += stale_every_ms * UINT64_C(1000);
	answer(JOB + 1, 0, 1);
	return __real_channel_wait(channel, 0);
}

static int sign(int worker, uint8_t *out, size_t size)
{
	struct log log = { .level = 0 };
	struct signer signer = { .keeper = worker, .log = &log };

	memset(out, UNTOUCHED, size);
	return signer_sign(&signer, JOB, HS_SERVER, HS_IDENTITY_X509, "a", "data", 4, out, size);
}

static void channel(int *worker)
{
	int fds[2];

	g_assert_no_errno(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK, 0, fds));
	keeper = fds[0];
	*worker = fds[1];
}

/* The status with which a worker ends that has this in its channel; with 0 it did not. */
static int end_of_worker(int worker)
{
	uint8_t out[64];
	pid_t pid = fork();
	int status;

	g_assert_cmpint(pid, >=, 0);
	if (pid == 0) {
		alarm(60);
		sign(worker, out, sizeof(out));
		_exit(0);
	}
	g_assert_cmpint(waitpid(pid, &status, 0), ==, pid);
	g_assert_true(WIFEXITED(status));
	return WEXITSTATUS(status);
}

static void test_answers(void)
{
	static const int errors[] = { EIO, ENOMEM, ECANCELED, 1, WIRE_ERRNO_MAX };
	uint8_t out[64];
	int worker;

	channel(&worker);
	answer(JOB - 1, EIO, 0);
	answer(JOB, 0, 3);
	g_assert_cmpint(sign(worker, out, sizeof(out)), ==, 3);
	g_assert_cmpmem(out, 3, "sss", 3);
	g_assert_cmphex(out[3], ==, UNTOUCHED);
	for (size_t i = 0; i < G_N_ELEMENTS(errors); i++) {
		answer(JOB, (uint32_t)errors[i], 0);
		g_assert_cmpint(sign(worker, out, sizeof(out)), ==, -errors[i]);
		g_assert_cmphex(out[0], ==, UNTOUCHED);
	}
	answer(JOB, 0, sizeof(out) + 1);
	g_assert_cmpint(sign(worker, out, sizeof(out)), ==, -EMSGSIZE);
	answer(JOB, 0, 0);
	g_assert_cmpint(sign(worker, out, sizeof(out)), ==, 0);
	close(worker);
	close(keeper);
}

/*
 * An error whose negative would be a length: as many bytes of the stack would go to the peer. And
 * one with a signature.
 */
static void test_lies(void)
{
	static const uint32_t errors[] = {
		0xffffe000, UINT32_MAX, 0x80000000, 0x10000, WIRE_ERRNO_MAX + 1, EIO,
	};
	struct wire_message m = { .type = WIRE_SIGNED, .signed_.job = JOB };
	uint8_t buf[WIRE_MAX];
	ssize_t len;
	int worker;

	for (size_t i = 0; i < G_N_ELEMENTS(errors); i++) {
		m.signed_.len = errors[i] == EIO;
		len = wire_encode(&m, buf);
		g_assert_cmpint(len, >, 0);
		channel(&worker);
		for (unsigned int j = 0; j < 4; j++)
			buf[SIGNED_ERROR + j] = (uint8_t)(errors[i] >> 8 * j);
		g_assert_cmpint(send(keeper, buf, (size_t)len, 0), ==, len);
		g_assert_cmpint(end_of_worker(worker), ==, EX_IOERR);
		close(worker);
		close(keeper);
	}
}

/* However many answers to others come: all handshakes of this worker stand still meanwhile. */
static void test_stale(void)
{
	static const unsigned int every[] = { 1, 999, 3999, 4000 };
	int worker;

	for (size_t i = 0; i < G_N_ELEMENTS(every); i++) {
		channel(&worker);
		stale_every_ms = every[i];
		g_assert_cmpint(end_of_worker(worker), ==, EX_TEMPFAIL);
		stale_every_ms = 0;
		close(worker);
		close(keeper);
	}
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/signer/answers", test_answers);
	g_test_add_func("/signer/lies", test_lies);
	g_test_add_func("/signer/stale", test_stale);
	return g_test_run();
}
