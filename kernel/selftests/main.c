// SPDX-License-Identifier: GPL-2.0
/*
 * Runs the sections that are named, or all.
 */
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include "upcall.h"

/* A section that takes longer hangs, or has been asked for more. */
#define SECTION_S	240
#define RACES_PER_S	100

/* Of many consumers at a time, with two sockets each, and their agent. */
#define FILES		16384

bool ours;
struct options options = { .fuzz_s = 60, .count = 2000, .races = 20000 };

static const struct section {
	const char *name;
	void (*run)(void);
	const char *what;
} sections[] = {
	{ "accept",	test_accept,	"errors of ACCEPT, and what it carries" },
	{ "keyring",	test_keyring,	"ACCEPT of requests with a keyring" },
	{ "credentials", test_credentials, "ACCEPT with lent credentials" },
	{ "done",	test_done,	"DONE" },
	{ "submit",	test_submit,	"what a consumer is told at once" },
	{ "cancel",	test_cancel,	"consumers that do not wait any longer" },
	{ "alerts",	test_alerts,	"the end of a session" },
	{ "agents",	test_agents,	"agents of several threads and processes" },
	{ "death",	test_death,	"agents that end before the handshake does" },
	{ "netns",	test_netns,	"network namespaces" },
	{ "ready",	test_ready,	"messages that are lost" },
	{ "memory",	test_memory,	"allocations that fail" },
	{ "load",	test_load,	"many handshakes by several agents" },
	{ "storm",	test_storm,	"cancels, ends and deaths against each other" },
	{ "races",	test_races,	"cancels in softirq context against all that agents do" },
	{ "fuzz",	test_fuzz,	"messages that nobody means" },
	{ "modules",	test_modules,	"loading and unloading" },
};

static void usage(FILE *to)
{
	size_t i;

	fputs("usage: upcall [OPTION...] [SECTION...]\n"
	      "  --seed N             of the random numbers\n"
	      "  --fuzz SECONDS       how long messages are made up [60]\n"
	      "  --count N            handshakes of the section load [2000]\n"
	      "  --races N            rounds of the section races [20000]\n"
	      "  --handshake-ko FILE  the module, where the upcall is one\n"
	      "  --consumer-ko FILE   the module of the test consumer\n"
	      "Needs root and /dev/" HS_CONSUMER_DEVICE ". Sections:\n", to);
	for (i = 0; i < ARRAY_SIZE(sections); i++)
		fprintf(to, "  %-12s %s\n", sections[i].name, sections[i].what);
}

static int parse_options(int argc, char **argv)
{
	static const struct option known[] = {
		{ "seed", required_argument, NULL, 's' },
		{ "fuzz", required_argument, NULL, 'f' },
		{ "count", required_argument, NULL, 'n' },
		{ "races", required_argument, NULL, 'r' },
		{ "handshake-ko", required_argument, NULL, 'h' },
		{ "consumer-ko", required_argument, NULL, 'c' },
		{ NULL, 0, NULL, 0 },
	};
	int option;

	options.seed = (uint64_t)time(NULL);
	while ((option = getopt_long(argc, argv, "", known, NULL)) != -1) {
		switch (option) {
		case 's':
			options.seed = strtoull(optarg, NULL, 0);
			break;
		case 'f':
			options.fuzz_s = (unsigned int)strtoul(optarg, NULL, 0);
			break;
		case 'n':
			options.count = (unsigned int)strtoul(optarg, NULL, 0);
			break;
		case 'r':
			options.races = (unsigned int)strtoul(optarg, NULL, 0);
			break;
		case 'h':
			options.handshake_ko = optarg;
			break;
		case 'c':
			options.consumer_ko = optarg;
			break;
		default:
			return -EINVAL;
		}
	}
	return 0;
}

static void too_long(int sig)
{
	static const char text[] = "Bail out! the section hangs\n";
	ssize_t written;

	written = write(STDOUT_FILENO, text, sizeof(text) - 1);
	_exit(written < 0 ? 2 : 1);
}

static void run_section(const struct section *section)
{
	unsigned int fds = count_fds();
	uint32_t stray = 1;

	note("section %s: %s", section->name, section->what);
	alarm(SECTION_S + options.fuzz_s + options.races / RACES_PER_S);
	section->run();
	alarm(0);
	is((long)count_fds(), (long)fds, "%s: no descriptor is left", section->name);
	ok(consumer_stray(&stray) && !stray, "%s: no callback came twice or late",
	   section->name);
}

static bool known_section(const char *name)
{
	size_t i;

	for (i = 0; i < ARRAY_SIZE(sections); i++)
		if (!strcmp(sections[i].name, name))
			return true;
	return false;
}

/* Ours counts the remote-auth of a DONE before it looks at anything else. */
static bool is_ours(struct nl *nl)
{
	const uint32_t auth[6] = { 0 };

	return done_auth(nl, -1, ARRAY_SIZE(auth), auth) == -EINVAL;
}

static void prepare(void)
{
	struct rlimit files;
	struct nl nl;
	int ret;

	signal(SIGALRM, too_long);
	signal(SIGPIPE, SIG_IGN);
	if (!getrlimit(RLIMIT_NOFILE, &files)) {
		if (files.rlim_max < FILES)
			files.rlim_max = FILES;
		files.rlim_cur = files.rlim_max;
		setrlimit(RLIMIT_NOFILE, &files);
	}
	ret = consumer_open();
	if (ret)
		bail_out("no /dev/" HS_CONSUMER_DEVICE ": %s", strerror(-ret));
	ret = nl_open(&nl);
	if (ret)
		bail_out("no family " HANDSHAKE_FAMILY_NAME ": %s", strerror(-ret));
	ours = is_ours(&nl);
	nl_close(&nl);
	note("%s, seed %llu", ours ? "our upcall" : "upstream's upcall",
	     (unsigned long long)options.seed);
}

int main(int argc, char **argv)
{
	size_t i;
	int arg;

	if (parse_options(argc, argv)) {
		usage(stderr);
		return 2;
	}
	for (arg = optind; arg < argc; arg++) {
		if (!known_section(argv[arg])) {
			fprintf(stderr, "upcall: there is no section '%s'\n", argv[arg]);
			usage(stderr);
			return 2;
		}
	}
	prepare();
	for (i = 0; i < ARRAY_SIZE(sections); i++) {
		for (arg = optind; arg < argc; arg++)
			if (!strcmp(argv[arg], sections[i].name))
				break;
		if (optind == argc || arg < argc)
			run_section(&sections[i]);
	}
	return tap_end();
}
