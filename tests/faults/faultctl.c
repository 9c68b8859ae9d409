// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * faultctl new                              makes the file
 * faultctl set ROLE CALL every|once N ERRNO fails each N-th call, or the N-th from now
 * faultctl clear                            nothing fails any more
 * faultctl show                             ROLE CALL CALLS FAILED, of those that were called
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "faults.h"

static const char *const roles[N_ROLES] = { "monitor", "worker", "keeper" };
static const char *const calls[N_CALLS] = {
	"malloc", "socket", "send", "recv", "spawn", "open", "mmap", "epoll", "write",
};
static const struct {
	const char *name;
	unsigned int error;
} errors[] = {
	{ "ENOMEM", ENOMEM }, { "ENOBUFS", ENOBUFS }, { "EAGAIN", EAGAIN }, { "EMFILE", EMFILE },
	{ "ENFILE", ENFILE }, { "ENOSPC", ENOSPC }, { "EPIPE", EPIPE }, { "EINTR", EINTR },
};

static unsigned int find(const char *const *names, unsigned int n, const char *name)
{
	for (unsigned int i = 0; i < n; i++) {
		if (!strcmp(names[i], name))
			return i;
	}
	fprintf(stderr, "faultctl: what is %s?\n", name);
	exit(2);
}

static unsigned int find_error(const char *name)
{
	for (size_t i = 0; i < sizeof(errors) / sizeof(errors[0]); i++) {
		if (!strcmp(errors[i].name, name))
			return errors[i].error;
	}
	fprintf(stderr, "faultctl: what is %s?\n", name);
	exit(2);
}

static void set(struct faults *f, char **argv)
{
	unsigned int role = find(roles, N_ROLES, argv[0]), call = find(calls, N_CALLS, argv[1]);
	struct fault_plan *plan = &f->plan[role][call];
	unsigned int n = (unsigned int)strtoul(argv[3], NULL, 10);

	plan->error = find_error(argv[4]);
	plan->calls = plan->failed = 0;
	plan->once = strcmp(argv[2], "once") ? 0 : n;
	plan->every = strcmp(argv[2], "every") ? 0 : n;
}

static void clear(struct faults *f)
{
	for (unsigned int r = 0; r < N_ROLES; r++) {
		for (unsigned int c = 0; c < N_CALLS; c++)
			f->plan[r][c].every = f->plan[r][c].once = 0;
	}
}

static void show(const struct faults *f)
{
	for (unsigned int r = 0; r < N_ROLES; r++) {
		for (unsigned int c = 0; c < N_CALLS; c++) {
			const struct fault_plan *plan = &f->plan[r][c];

			if (plan->calls)
				printf("%s %s %u %u\n", roles[r], calls[c], plan->calls,
				       plan->failed);
		}
	}
}

int main(int argc, char **argv)
{
	const char *what = argc > 1 ? argv[1] : "";
	int fd = open(FAULTS_FILE, O_RDWR | O_CREAT | O_CLOEXEC, 0666);
	struct faults *f;

	if (fd < 0 || ftruncate(fd, sizeof(*f)) < 0) {
		perror(FAULTS_FILE);
		return 1;
	}
	f = mmap(NULL, sizeof(*f), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (f == MAP_FAILED) {
		perror("mmap");
		return 1;
	}
	if (!strcmp(what, "set") && argc == 7)
		set(f, argv + 2);
	else if (!strcmp(what, "clear"))
		clear(f);
	else if (!strcmp(what, "show"))
		show(f);
	else if (strcmp(what, "new"))
		return 2;
	return 0;
}
