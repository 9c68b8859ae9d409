/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Tests of the handshake upcall: an agent without a security protocol, and
 * consumers whose handshakes it pretends to make.
 *
 * Functions return 0 or a negative errno, where nothing else is said.
 */
#ifndef UPCALL_H
#define UPCALL_H

#include <errno.h>
#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <linux/genetlink.h>
#include <linux/handshake.h>
#include <linux/netlink.h>
#include <sys/types.h>

#include "hs_consumer.h"

#define ARRAY_SIZE(a)	(sizeof(a) / sizeof((a)[0]))
#define CLASS_TLSHD	HANDSHAKE_HANDLER_CLASS_TLSHD

/* What a consumer waits for where the test does not expect it to wait. */
#define LONG_MS		20000
/* ... where it is to give up, but not before something else has happened. */
#define PATIENCE_MS	4000

/**
 * struct options - of the command line
 * @seed: of all random numbers
 * @fuzz_s: seconds of fuzzing
 * @count: handshakes of the section `load`
 * @races: rounds of the section `races`
 * @handshake_ko: path of the module, or NULL
 * @consumer_ko: path of the test consumer, or NULL
 */
struct options {
	uint64_t seed;
	unsigned int fuzz_s;
	unsigned int count;
	unsigned int races;
	const char *handshake_ko;
	const char *consumer_ko;
};

/* The upcall is ours, of a module or of a patched kernel, and not upstream's. */
extern bool ours;
extern struct options options;

/* ---- tap.c ---- */

#define PRINTF(a, b)	__attribute__((format(printf, a, b)))

void note(const char *format, ...) PRINTF(1, 2);
bool ok(bool good, const char *format, ...) PRINTF(2, 3);
bool is(long got, long wanted, const char *format, ...) PRINTF(3, 4);
void skip(const char *why, const char *format, ...) PRINTF(2, 3);
void bail_out(const char *format, ...) PRINTF(1, 2) __attribute__((noreturn));
int tap_end(void);

/* ---- netlink.c ---- */

/**
 * struct nl - a generic netlink socket
 * @fd: its descriptor
 * @family: number of the family "handshake"
 * @group: number of its multicast group for us
 * @seq: of the last message
 * @readies: READY messages that came in between
 * @overruns: how often the kernel had no room for a message
 */
struct nl {
	int fd;
	uint16_t family;
	uint32_t group;
	uint32_t seq;
	unsigned int readies;
	unsigned int overruns;
};

/* A message that grows. */
struct msg {
	union {
		struct nlmsghdr nl;
		char bytes[1024];
	};
};

/**
 * struct accepted - what an ACCEPT was answered with
 * @fd: the caller's, -1 when there was none
 * @has: bit 1 << n for each attribute n that came
 * @twice: the same for those that came more than once
 */
struct accepted {
	int fd;
	uint32_t has;
	uint32_t twice;
	uint32_t type;
	uint32_t auth;
	uint32_t timeout;
	uint32_t keyring;
	unsigned int n_peerids;
	uint32_t peerids[8];
	unsigned int n_certs;
	int32_t cert;
	int32_t privkey;
	char peername[HS_CONSUMER_MAX_NAME];
};

int nl_open(struct nl *nl);
int nl_listen(struct nl *nl);
void nl_close(struct nl *nl);
int nl_send(struct nl *nl, struct msg *msg, uint16_t flags);
int nl_answer(struct nl *nl, struct msg *reply);
int nl_talk(struct nl *nl, struct msg *msg, struct msg *reply);
unsigned int nl_drain(struct nl *nl);
unsigned int nl_wait_ready(struct nl *nl, unsigned int ms);
void nl_fill(struct nl *nl);

void msg_init(struct msg *msg, uint16_t family, uint8_t cmd);
void msg_put(struct msg *msg, uint16_t type, const void *data, size_t len);
void msg_put_u32(struct msg *msg, uint16_t type, uint32_t value);
void msg_parse_accept(const struct msg *msg, struct accepted *acc);

int accept_try(struct nl *nl, struct accepted *acc);
int accept_wait(struct nl *nl, struct accepted *acc, unsigned int ms);
int done(struct nl *nl, int fd, uint32_t status);
int done_auth(struct nl *nl, int fd, unsigned int n, const uint32_t *auth);

/* ---- consumer.c ---- */

/**
 * struct call - a consumer with a socket, which waits in a thread of its own
 * @hs: what it asks for; after call_end() what came back
 * @sock: its socket
 * @peer: the other end
 * @error: of the ioctl
 * @over: the ioctl has returned
 */
struct call {
	struct hs_consumer_handshake hs;
	int sock;
	int peer;
	int error;
	_Atomic bool over;
	bool running;
	pthread_t thread;
};

int consumer_open(void);
void consumer_close(void);
bool consumer_stray(uint32_t *stray);
int consumer_tls_close(int fd);

void call_open(struct call *call);
void call_run(struct call *call);
void call_start(struct call *call);
bool call_queue(struct call *call, struct nl *nl);
bool call_over(struct call *call, unsigned int ms);
int call_end(struct call *call);
void call_close(struct call *call);
void call_begin(struct call *call, struct nl *nl, struct accepted *acc);
int call_finish(struct call *call, struct nl *nl, struct accepted *acc);

/* ---- util.c ---- */

/**
 * struct child - a process that does something with its parent
 * @pid: its number
 * @shared: memory of both
 * @stage: how far it is
 * @go: how far it may go
 * @ret: how it went
 */
struct child {
	pid_t pid;
	struct child_shared {
		_Atomic int stage;
		_Atomic int go;
		_Atomic int ret;
	} *shared;
};

void child_start(struct child *child, void (*run)(struct child *));
void child_stage(struct child *child, int stage);
bool child_wait_stage(struct child *child, int stage, unsigned int ms);
void child_go(struct child *child, int go);
void child_wait_go(struct child *child, int go);
int child_end(struct child *child, int signal);

int in_child(int (*fn)(void *), void *arg);
uint64_t now_ms(void);
void pause_ms(unsigned int ms);
unsigned int random_below(unsigned int n);
void random_restart(uint64_t seed);
unsigned int count_fds(void);
long count_sockets(void);
void no_more_sockets(long before);

/* ---- the sections ---- */

void test_accept(void);
void test_keyring(void);
void test_credentials(void);
void test_done(void);
void test_submit(void);
void test_cancel(void);
void test_agents(void);
void test_alerts(void);
void test_death(void);
void test_netns(void);
void test_ready(void);
void test_memory(void);
void test_load(void);
void test_storm(void);
void test_races(void);
void test_fuzz(void);
void test_modules(void);

#endif /* UPCALL_H */
