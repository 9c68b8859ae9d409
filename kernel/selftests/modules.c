// SPDX-License-Identifier: GPL-2.0
/*
 * Loading and unloading, while agents and consumers do what they do. Only where
 * the upcall is a module.
 */
#include <fcntl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "upcall.h"

#define ROUNDS		15
#define CONSUMERS	3

static _Atomic bool over, away;
static _Atomic unsigned int served, misses;

static int unload(const char *name)
{
	return syscall(SYS_delete_module, name, O_NONBLOCK) ? -errno : 0;
}

static int load(const char *path)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC), ret;

	if (fd < 0)
		return -errno;
	ret = syscall(SYS_finit_module, fd, "", 0) ? -errno : 0;
	close(fd);
	return ret;
}

/* It is in use for a moment after the last use that one sees. */
static int unload_soon(const char *name)
{
	uint64_t end = now_ms() + 5000;
	int ret;

	for (;;) {
		ret = unload(name);
		if (ret != -EAGAIN || now_ms() > end)
			return ret;
		pause_ms(5);
	}
}

/* Serves what there is, and goes on when the family goes and comes again. */
static void *agent_thread(void *arg)
{
	struct accepted acc;
	struct nl nl = { .fd = -1 };
	int ret;

	while (!over) {
		if (nl.fd < 0 && (nl_open(&nl) || nl_listen(&nl))) {
			nl_close(&nl);
			misses++;
			continue;
		}
		ret = accept_try(&nl, &acc);
		if (!ret) {
			done(&nl, acc.fd, 0);
			close(acc.fd);
		} else if (ret != -EAGAIN) {
			nl_close(&nl);
		}
	}
	nl_close(&nl);
	return NULL;
}

static void *consumer_thread(void *arg)
{
	struct call call;

	while (!away) {
		call_open(&call);
		call.hs.wait_ms = 1000;
		call.hs.retry_ms = 1000;
		call_run(&call);
		if (!call_end(&call))
			served++;
		call_close(&call);
	}
	return NULL;
}

static void in_use(void)
{
	struct accepted acc;
	struct call call;
	struct nl nl;

	if (nl_open(&nl) || nl_listen(&nl))
		bail_out("no netlink socket");
	is(unload("handshake"), -EAGAIN, "the module cannot go while a consumer is loaded");
	call_begin(&call, &nl, &acc);
	is(unload("hs_consumer"), -EAGAIN, "the consumer cannot go while it waits");
	is(unload("handshake"), -EAGAIN, "the module cannot go while a request is accepted");
	is(call_finish(&call, &nl, &acc), 0, "that ends well");
	nl_close(&nl);
}

/* Returns the first error. */
static int round_of(void)
{
	pthread_t consumers[CONSUMERS];
	int i, ret;

	away = false;
	ret = consumer_open();
	if (ret)
		return ret;
	for (i = 0; i < CONSUMERS; i++)
		pthread_create(&consumers[i], NULL, consumer_thread, NULL);
	for (i = 0; i < 20; i++) {
		if (unload("handshake") != -EAGAIN)
			return -EPROTO;
		pause_ms(5);
	}
	away = true;
	for (i = 0; i < CONSUMERS; i++)
		pthread_join(consumers[i], NULL);
	consumer_close();
	return unload_soon("hs_consumer") ?: unload_soon("handshake") ?:
	       load(options.handshake_ko) ?: load(options.consumer_ko);
}

/* The device is made by the kernel, with the module. */
static int open_again(void)
{
	uint64_t end = now_ms() + 5000;
	int ret;

	while ((ret = consumer_open()) && now_ms() < end)
		pause_ms(5);
	return ret;
}

static void again_and_again(void)
{
	pthread_t agents[2];
	int i, ret = 0;

	over = false;
	consumer_close();
	for (i = 0; i < 2; i++)
		pthread_create(&agents[i], NULL, agent_thread, NULL);
	for (i = 0; i < ROUNDS && !ret; i++)
		ret = round_of();
	over = true;
	is(ret, 0, "unloaded and loaded %d times", ROUNDS);
	for (i = 0; i < 2; i++)
		pthread_join(agents[i], NULL);
	ok(served >= ROUNDS, "%u handshakes went on in between", served);
	note("agents found no family %u times", misses);
	is(open_again(), 0, "the consumer is there again");
}

void test_modules(void)
{
	if (access("/sys/module/handshake", F_OK)) {
		skip("the upcall is no module", "loading and unloading");
		return;
	}
	in_use();
	if (options.handshake_ko && options.consumer_ko)
		again_and_again();
	else
		skip("no --handshake-ko and --consumer-ko", "unloaded and loaded");
}
