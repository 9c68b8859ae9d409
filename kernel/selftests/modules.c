// SPDX-License-Identifier: GPL-2.0
/*
 * Loading and unloading, while agents and consumers do what they do. Only where
 * the upcall is a module.
 */
#include <fcntl.h>
#include <sched.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "upcall.h"

#define ROUNDS		40
#define CONSUMERS	3

static _Atomic bool over, away;
static _Atomic unsigned int served, cancelled, misses, deaths, namespaces;

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

/* Agents that end with a request, whose death the kernel hears of later. */
static int accept_and_end(void *arg)
{
	struct accepted acc;
	struct nl nl;

	if (nl_open(&nl) || nl_listen(&nl))
		return -ENOENT;
	return accept_wait(&nl, &acc, 50);
}

static void *mortal_thread(void *arg)
{
	while (!over)
		deaths += in_child(accept_and_end, NULL) == 0;
	return NULL;
}

/* Namespaces, which the kernel takes down some time after their last process. */
static int come_and_go(void *arg)
{
	struct nl nl;

	if (unshare(CLONE_NEWNET))
		return -errno;
	return nl_open(&nl) ?: nl_listen(&nl);
}

static void *namespace_thread(void *arg)
{
	while (!over)
		namespaces += in_child(come_and_go, NULL) == 0;
	return NULL;
}

/* Some of them lose patience. */
static void *consumer_thread(void *arg)
{
	struct call call;

	while (!away) {
		call_open(&call);
		call.hs.wait_ms = random_below(3) ? 1000 : 1 + random_below(20);
		call.hs.retry_ms = 1000;
		call_run(&call);
		if (!call_end(&call))
			served++;
		cancelled += !!(call.hs.flags & HS_CONSUMER_CANCELLED);
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
	is(unload("hs_consumer"), -EAGAIN, "the consumer cannot go while its device is open");
	is(call_finish(&call, &nl, &acc), 0, "that ends well");
	nl_close(&nl);
}

/* Returns the first error. */
static int round_of(void)
{
	pthread_t consumers[CONSUMERS];
	int i, ret, refused = -EAGAIN;

	away = false;
	ret = consumer_open();
	if (ret)
		return ret;
	for (i = 0; i < CONSUMERS; i++)
		pthread_create(&consumers[i], NULL, consumer_thread, NULL);
	for (i = 0; i < 20 && refused == -EAGAIN; i++) {
		refused = unload("handshake");
		pause_ms(5);
	}
	away = true;
	for (i = 0; i < CONSUMERS; i++)
		pthread_join(consumers[i], NULL);
	consumer_close();
	if (refused != -EAGAIN)
		return -EPROTO;
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
	void *(*const others[])(void *) = { agent_thread, agent_thread, mortal_thread,
					    namespace_thread };
	pthread_t threads[ARRAY_SIZE(others)];
	unsigned int i;
	int ret = 0;

	over = false;
	consumer_close();
	for (i = 0; i < ARRAY_SIZE(others); i++)
		pthread_create(&threads[i], NULL, others[i], NULL);
	for (i = 0; i < ROUNDS && !ret; i++)
		ret = round_of();
	over = true;
	is(ret, 0, "unloaded and loaded %d times", ROUNDS);
	for (i = 0; i < ARRAY_SIZE(others); i++)
		pthread_join(threads[i], NULL);
	ok(served >= ROUNDS, "%u handshakes went on in between", served);
	ok(cancelled > 0, "%u were cancelled", cancelled);
	ok(deaths > 0, "%u agents ended with one", deaths);
	ok(namespaces > 0, "%u network namespaces came and went", namespaces);
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
