// SPDX-License-Identifier: GPL-2.0
/*
 * Children, time, random numbers, and what can leak.
 */
#include <dirent.h>
#include <signal.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "upcall.h"

/* Starts one that ends when @run does. */
void child_start(struct child *child, void (*run)(struct child *))
{
	child->shared = mmap(NULL, sizeof(*child->shared), PROT_READ | PROT_WRITE,
			     MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (child->shared == MAP_FAILED)
		bail_out("no memory");
	child->pid = fork();
	if (child->pid < 0)
		bail_out("no process");
	if (!child->pid) {
		run(child);
		_exit(0);
	}
}

/* For the child: says how far it is. */
void child_stage(struct child *child, int stage)
{
	child->shared->stage = stage;
}

bool child_wait_stage(struct child *child, int stage, unsigned int ms)
{
	uint64_t end = now_ms() + ms;

	while (child->shared->stage < stage && now_ms() < end)
		pause_ms(2);
	return child->shared->stage >= stage;
}

void child_go(struct child *child, int go)
{
	child->shared->go = go;
}

/* For the child: waits until it may go on. */
void child_wait_go(struct child *child, int go)
{
	while (child->shared->go < go)
		pause_ms(2);
}

/* Sends it a signal, unless that is 0, and waits; returns what it left. */
int child_end(struct child *child, int signal)
{
	int ret;

	if (signal)
		kill(child->pid, signal);
	waitpid(child->pid, NULL, 0);
	ret = child->shared->ret;
	munmap(child->shared, sizeof(*child->shared));
	return ret;
}

/* Returns what @fn returned in a child, or -ECHILD when it died. */
int in_child(int (*fn)(void *), void *arg)
{
	int *result, ret = -ECHILD, status;
	pid_t pid;

	result = mmap(NULL, sizeof(*result), PROT_READ | PROT_WRITE,
		      MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (result == MAP_FAILED)
		return -errno;
	pid = fork();
	if (!pid) {
		*result = fn(arg);
		_exit(0);
	}
	if (pid > 0 && waitpid(pid, &status, 0) == pid && status == 0)
		ret = *result;
	munmap(result, sizeof(*result));
	return ret;
}

uint64_t now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

void pause_ms(unsigned int ms)
{
	const struct timespec pause = { .tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000L };

	nanosleep(&pause, NULL);
}

static __thread uint64_t random_state;

/* This thread's sequence follows from @seed alone. */
void random_restart(uint64_t seed)
{
	random_state = seed * 0x9e3779b97f4a7c15ULL | 1;
}

/* One sequence for each thread. */
unsigned int random_below(unsigned int n)
{
	static _Atomic uint64_t threads;
	uint64_t state = random_state;

	if (!state)
		state = (options.seed + ++threads) * 0x9e3779b97f4a7c15ULL | 1;
	state ^= state << 13;
	state ^= state >> 7;
	state ^= state << 17;
	random_state = state;
	return (unsigned int)(state >> 33) % n;
}

unsigned int count_fds(void)
{
	DIR *dir = opendir("/proc/self/fd");
	unsigned int n = 0;

	if (!dir)
		return 0;
	while (readdir(dir))
		n++;
	closedir(dir);
	return n;
}

/* Of the network namespace of the process. */
long count_sockets(void)
{
	FILE *file = fopen("/proc/self/net/sockstat", "r");
	long n = -1;

	if (!file)
		return -1;
	if (fscanf(file, "sockets: used %ld", &n) != 1)
		n = -1;
	fclose(file);
	return n;
}

/* The last reference to a socket may be dropped a little later. */
void no_more_sockets(long before)
{
	uint64_t end = now_ms() + 5000;
	long now = count_sockets();

	while (now > before && now_ms() < end) {
		pause_ms(20);
		now = count_sockets();
	}
	ok(before >= 0 && now >= 0 && now <= before, "no socket is left (%ld, before %ld)", now,
	   before);
}
