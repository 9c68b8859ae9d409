// SPDX-License-Identifier: GPL-2.0-or-later
/* One program, three roles: by default the monitor, which starts it again as worker and keeper. */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>
#include <unistd.h>

#include "build-config.h"
#include "common/cleanup.h"
#include "common/demote.h"
#include "tlshd/keeper/keeper.h"
#include "tlshd/monitor/monitor.h"
#include "tlshd/monitor/probe.h"
#include "tlshd/worker/worker.h"

static void usage(FILE *out)
{
	fprintf(out,
		"Usage: tlshd [OPTIONS]\n"
		"Runs TLS 1.3 handshakes for sockets of the kernel: NFS (xprtsec=), NVMe/TCP and others.\n"
		"\n"
		"  -c, --config FILE   read FILE instead of %s/tlshd.conf\n"
		"                      (or, where that is missing, %s/tlshd/config)\n"
		"  -s, --stderr        write messages to standard error instead of the journal\n"
		"  -t, --test-config   load the configuration and all it names, say whether it is\n"
		"                      right, and exit\n"
		"  -p, --probe[=FILE]  load the kernel's TLS modules, say what this kernel can do (and write\n"
		"                      it to FILE, for a daemon that may not try), and exit\n"
		"  -w, --wait          where the kernel has no handshake upcall, wait for it instead\n"
		"                      of exiting with status %d\n"
		"  -h, --help          print this and exit\n"
		"  -v, --version       print the version and exit\n"
		"\n"
		"SIGHUP reloads the configuration and all files it names, and so does a change of\n"
		"them; SIGTERM stops.\n"
		"See tlshd(8) and tlshd.conf(5).\n",
		TLSHD_SYSCONFDIR, TLSHD_SYSCONFDIR, EX_UNAVAILABLE);
}

/* Started by hand, not by systemd: what goes wrong is shown where the person looks. */
static void log_sink_by_hand(void *ctx, int priority, const char *text,
			     const struct log_field *fields, size_t n_fields)
{
	log_sink_journal(ctx, priority, text, fields, n_fields);
	if (priority <= LOG_ERR)
		log_sink_stderr(ctx, priority, text, fields, n_fields);
}

/* Where memory is short, the kernel ends one of these, which is replaced, not the monitor. */
static void end_before_others(void)
{
	static const char points[] = "500";	/* of 1000, proc(5) */
	CLEANUP_FD int fd = open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC);

	/* Without it the choice may be another one: no reason not to serve. */
	if (fd < 0 || write(fd, points, strlen(points)) < 0)
		return;
}

/* "--role=worker UID GID", as the monitor's spawn_child() writes it. */
static int child(int argc, char **argv)
{
	uid_t uid;
	gid_t gid;

	if (argc != 4 || fcntl(CHILD_FD_MONITOR, F_GETFD) < 0 ||
	    fcntl(CHILD_FD_PEER, F_GETFD) < 0) {
		fprintf(stderr, "tlshd: --role is for tlshd's own use\n");
		return EX_USAGE;
	}
	end_before_others();
	uid = strtoul(argv[2], NULL, 10);
	gid = strtoul(argv[3], NULL, 10);
	if (!strcmp(argv[1], "--role=worker"))
		return worker_main(uid, gid);
	if (!strcmp(argv[1], "--role=keeper"))
		return keeper_main(uid, gid);
	return EX_USAGE;
}

/* What to do instead of running. */
enum action { RUN, PROBE, HELP, VERSION };

static int refuse(const char *argument)
{
	fprintf(stderr, "tlshd: unexpected argument '%s'\nTry 'tlshd --help'.\n", argument);
	return EX_USAGE;
}

static int print(enum action action)
{
	if (action == HELP)
		usage(stdout);
	else
		printf("tlshd %s\n", TLSHD_VERSION);
	return EX_OK;
}

static const struct option options[] = {
	{ "config", required_argument, NULL, 'c' },
	{ "stderr", no_argument, NULL, 's' },
	{ "test-config", no_argument, NULL, 't' },
	{ "probe", optional_argument, NULL, 'p' },
	{ "wait", no_argument, NULL, 'w' },
	{ "help", no_argument, NULL, 'h' },
	{ "version", no_argument, NULL, 'v' },
	{ }
};

int main(int argc, char **argv)
{
	struct monitor_options mo = { 0 };
	struct log_state log_state = LOG_STATE_INIT;
	/* systemd sets it where standard error is the journal anyhow. */
	struct log log = {
		.level = LOG_INFO,
		.sink = getenv("JOURNAL_STREAM") ? log_sink_journal : log_sink_by_hand,
		.ctx = &log_state,
	};
	enum action action = RUN;
	const char *probe_path = NULL;
	int c, status;

	if (argc > 1 && !strncmp(argv[1], "--role=", 7))
		return child(argc, argv);
	while ((c = getopt_long(argc, argv, "c:stp::whv", options, NULL)) >= 0) {
		switch (c) {
		case 'c':
			mo.config_path = optarg;
			break;
		case 's':
			log.sink = log_sink_stderr;
			break;
		case 't':
			mo.test_config = true;
			log.sink = log_sink_stderr;
			break;
		case 'p':
			action = PROBE;
			probe_path = optarg;
			break;
		case 'w':
			mo.wait = true;
			break;
		case 'h':
			action = HELP;
			break;
		case 'v':
			action = VERSION;
			break;
		default:
			fprintf(stderr, "Try 'tlshd --help'.\n");
			return EX_USAGE;
		}
	}
	if (optind < argc)
		return refuse(argv[optind]);
	if (action == PROBE)
		return probe_main(probe_path, &log);
	if (action != RUN)
		return print(action);
	status = monitor_run(&mo, &log);
	log_state_close(&log_state);
	if (mo.test_config && status == EX_OK)
		printf("The configuration is right.\n");
	return status;
}
