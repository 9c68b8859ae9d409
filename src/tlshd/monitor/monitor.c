// SPDX-License-Identifier: GPL-2.0-or-later
#include "tlshd/monitor/monitor.h"

#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/param.h>
#include <sys/resource.h>
#include <sysexits.h>
#include <systemd/sd-daemon.h>
#include <systemd/sd-event.h>
#include <time.h>
#include <unistd.h>

#include "build-config.h"
#include "common/cleanup.h"
#include "common/event-loop.h"
#include "common/ktls.h"
#include "common/passing.h"
#include "common/secret.h"
#include "tlshd/monitor/config.h"
#include "tlshd/monitor/netlink.h"
#include "tlshd/monitor/orphans.h"
#include "tlshd/monitor/pool.h"
#include "tlshd/monitor/privileges.h"
#include "tlshd/monitor/probe.h"
#include "tlshd/monitor/reload.h"
#include "tlshd/monitor/request.h"

#define USEC_PER_SEC UINT64_C(1000000)
#define STOP_LIMIT (5 * USEC_PER_SEC)	/* for handshakes under way when we are to stop */
#define REJOIN_AFTER (1 * USEC_PER_SEC)	/* a failure to join the kernel's group, or its end */
#define EXTEND_EVERY (20 * USEC_PER_SEC)
#define ALL_CIPHERS ((1u << KTLS_N_CIPHERS) - 1)
#define NO_KTLS \
	"this kernel cannot encrypt TLS 1.3 records: it needs CONFIG_TLS and the module \"tls\" (modprobe tls)"
/*
 * For everything but requests: files of the present generation, a coming one and
 * POOL_FORMER_MAX, and the channels, pipes and processes of their pairs.
 */
#define DESCRIPTORS_KEPT(workers) (128 + 6 * 6 * (workers))

struct monitor {
	const struct monitor_options *options;
	struct log *log;
	sd_event *event;
	struct reload *reload;		/* has the configuration */
	struct netlink *netlink;
	struct requests *requests;
	struct pool *pool;
	struct orphans *orphans;	/* NULL where another process is the first */
	bool joined;			/* in the multicast group */
	bool serving;			/* READY=1 was sent */
	bool stopping;
	bool rejoining;			/* it failed, was said, and is tried again */
	sd_event_source *extend, *post, *stop_limit, *rejoin;
};

static int fatal(struct monitor *m, int status)
{
	sd_event_exit(m->event, status);
	return status;
}

/* --- the kernel --- */

static void explain_no_family(struct monitor *m, int priority, const char *what_now)
{
	log_msg(m->log, priority,
		"this kernel has no handshake upcall: it needs Linux 6.4 or later with CONFIG_NET_HANDSHAKE=y (and CONFIG_TLS), or on 6.1 the module handshake; %s",
		what_now);
}

/* Both the group and the workers are there: from now on we answer. */
static void serve(struct monitor *m)
{
	const struct config *config = reload_config(m->reload);

	if (!m->joined || !config || m->stopping)
		return;
	if (!m->serving) {
		m->serving = true;
		m->extend = sd_event_source_disable_unref(m->extend);
		if (TLSHD_HOSTILE_WORKER)
			log_error(m->log, "THIS IS A TEST BUILD WHOSE WORKERS ATTACK THIS MACHINE "
				  "(-Dhostile_worker=true): do not use it");
		log_notice(m->log, "tlshd " TLSHD_VERSION " is ready: %u workers, configuration %s",
			   config->workers, config->path ? config->path : "built-in");
		sd_notifyf(false, "READY=1\nSTATUS=Ready, %u workers.", config->workers);
	}
	if (requests_accept(m->requests) == -EPERM) {
		log_error(m->log, "the kernel lets only CAP_NET_ADMIN of the initial user namespace accept handshakes: run tlshd as root, outside of user namespaces");
		fatal(m, EX_NOPERM);
	}
}

static int on_extend(sd_event_source *source, uint64_t usec, void *ctx)
{
	sd_notifyf(false, "EXTEND_TIMEOUT_USEC=%" PRIu64 "\nSTATUS=Waiting for the kernel's handshake upcall (CONFIG_NET_HANDSHAKE).",
		   3 * EXTEND_EVERY);
	sd_event_source_set_time_relative(source, EXTEND_EVERY);
	sd_event_source_set_enabled(source, SD_EVENT_ONESHOT);
	return 0;
}

static void rejoin_later(struct monitor *m)
{
	sd_event_source_set_time_relative(m->rejoin, REJOIN_AFTER);
	sd_event_source_set_enabled(m->rejoin, SD_EVENT_ONESHOT);
}

/* Returns an exit status, EX_OK to go on. */
static int join(struct monitor *m)
{
	enum netlink_join joined = NETLINK_NO_FAMILY;
	uint32_t ciphers = 0;
	bool had = m->joined;
	int r = netlink_join(m->netlink, &joined);

	if (r < 0) {
		log_msg(m->log, m->rejoining ? LOG_DEBUG : LOG_ERR,
			"cannot join the kernel's handshake group: %s; trying again each second",
			strerror(-r));
		m->rejoining = true;
		rejoin_later(m);
		return had || m->options->wait ? EX_OK : EX_OSERR;
	}
	m->rejoining = false;
	m->joined = joined == NETLINK_JOINED;
	/* It came while we waited: what the start could not do, load the kernel's TLS, is due now. */
	if (m->joined && m->extend && probe_ciphers(&ciphers) == 0 && !ciphers)
		log_error(m->log, NO_KTLS);
	/* Nothing to say where it was said before. */
	if (m->joined || (!had && (m->extend || m->serving)))
		return EX_OK;
	if (had) {
		log_warn(m->log, "the kernel's handshake upcall has gone; waiting for its return");
		sd_notify(false, "STATUS=The kernel's handshake upcall has gone; waiting for its return.");
		return EX_OK;
	}
	if (!m->options->wait) {
		explain_no_family(m, LOG_ERR, "start with --wait to stay until it appears");
		return EX_UNAVAILABLE;
	}
	explain_no_family(m, LOG_NOTICE, "waiting for it, as --wait asks");
	r = sd_event_add_time_relative(m->event, &m->extend, CLOCK_MONOTONIC, 0, 0, on_extend, m);
	return r < 0 ? EX_OSERR : EX_OK;
}

/* The news that the family is there come once: what was short then must not keep us out for good. */
static int on_rejoin(sd_event_source *source, uint64_t usec, void *ctx)
{
	join(ctx);
	serve(ctx);
	return 0;
}

static int on_netlink(sd_event_source *source, int fd, uint32_t revents, void *ctx)
{
	struct monitor *m = ctx;
	enum netlink_events events = netlink_events(m->netlink);

	if (events & NETLINK_FAMILY)
		join(m);
	if (events)
		serve(m);
	return 0;
}

/*
 * Which ciphers the kernel can do. This also loads the modules, once, here,
 * where a handshake does not wait for it.
 */
static int learn_ciphers(struct monitor *m, uint32_t *ret)
{
	uint32_t mask = 0;
	int r = probe_ciphers(&mask);

	if (probe_is_shortage(r)) {
		log_error(m->log, "cannot find out what the kernel's TLS can do: %s", strerror(-r));
		return EX_TEMPFAIL;
	}
	if (r < 0) {
		log_warn(m->log, "cannot find out what the kernel's TLS can do (%s): assuming that it has every cipher",
			 strerror(-r));
		*ret = ALL_CIPHERS;
		return EX_OK;
	}
	/* What brings the upcall may bring this, too; until then it could only be guessed. */
	if (!mask && !m->joined) {
		*ret = ALL_CIPHERS;
		return EX_OK;
	}
	if (!mask) {
		log_error(m->log, NO_KTLS);
		return EX_UNAVAILABLE;
	}
	for (unsigned int i = 0; i < KTLS_N_CIPHERS; i++) {
		if (!(mask & 1u << i))
			log_notice(m->log, "this kernel does not have %s for TLS: it is not offered",
				   ktls_cipher_name(i));
	}
	*ret = mask;
	return EX_OK;
}

/* --- configuration --- */

static void adopt(void *ctx, const struct config *config)
{
	struct monitor *m = ctx;
	struct rlimit nofile = { .rlim_cur = 2 * REQUESTS_MAX };
	struct requests_limits limits;
	unsigned int kept;

	m->log->level = config->log_level;
	requests_set_keyrings(m->requests, (const char *const *)config->keyrings);
	netlink_set_debug(config->netlink_debug);
	getrlimit(RLIMIT_NOFILE, &nofile);
	kept = DESCRIPTORS_KEPT(config->workers);
	limits.room = nofile.rlim_cur < 2 * kept ? kept :
		      (unsigned int)MIN(nofile.rlim_cur - kept, REQUESTS_MAX);
	/* An eighth is for those that are refused, which have their sockets until they are told. */
	limits.max = MIN(config->max_handshakes, limits.room - limits.room / 8);
	limits.max_per_peer = MIN(config->max_handshakes_per_peer, limits.max - limits.max / 4);
	limits.delay_done = config->delay_done;
	if (limits.max < config->max_handshakes)
		log_notice(m->log, "max_handshakes is lowered to %u: the limit on open files (LimitNOFILE=) allows no more",
			   limits.max);
	requests_set_limits(m->requests, &limits);
}

static bool crowded(void *ctx)
{
	struct monitor *m = ctx;

	return pool_crowded(m->pool);
}

static int begin(void *ctx, const struct config *config, struct material *material, bool no_worse)
{
	struct monitor *m = ctx;

	return pool_reload(m->pool, config, material, no_worse);
}

/*
 * READY=1 ends what RELOADING=1 began, and does no harm where nothing did. But while we wait for
 * the kernel it would be taken for the first.
 */
static void report(void *ctx, enum reload_report what)
{
	struct monitor *m = ctx;
	const char *ready = m->serving ? "READY=1\n" : "";

	switch (what) {
	case RELOAD_TAKEN:
		if (m->serving)
			sd_notifyf(false, "READY=1\nSTATUS=Ready, %u workers.",
				   reload_config(m->reload)->workers);
		break;
	case RELOAD_REFUSED:
		sd_notifyf(false, "%sSTATUS=The last reload failed; the former configuration stays in force.",
			   ready);
		break;
	case RELOAD_WAITS:
		sd_notify(false, "STATUS=The new configuration waits for handshakes with former ones.");
		break;
	}
}

static const struct reload_callbacks reload_callbacks = {
	.crowded = crowded, .begin = begin, .adopt = adopt, .report = report,
};

static void on_reloaded(void *ctx, int error, const char *reason)
{
	struct monitor *m = ctx;
	bool first = !reload_config(m->reload);

	if (m->stopping)
		return;
	if (first && error < 0) {
		log_error(m->log, "%s", reason);
		/* Only what would be the same next time keeps systemd from trying again. */
		fatal(m, error == -EINVAL ? EX_CONFIG : EX_TEMPFAIL);
		return;
	}
	if (m->options->test_config) {
		fatal(m, EX_OK);
		return;
	}
	reload_tried(m->reload, error, reason);
	if (first)
		serve(m);
}

static int on_hup(sd_event_source *source, const struct signalfd_siginfo *si, void *ctx)
{
	struct monitor *m = ctx;
	struct timespec ts;

	if (m->stopping || !m->reload)
		return 0;
	clock_gettime(CLOCK_MONOTONIC, &ts);
	/* Before the first READY=1 we are starting, which says it all. */
	if (m->serving)
		sd_notifyf(false, "RELOADING=1\nMONOTONIC_USEC=%" PRIu64,
			   (uint64_t)ts.tv_sec * USEC_PER_SEC + ts.tv_nsec / 1000);
	reload_ask(m->reload);
	return 0;
}

/* --- the end --- */

static int on_post(sd_event_source *source, void *ctx)
{
	struct monitor *m = ctx;

	return requests_count(m->requests) ? 0 : sd_event_exit(m->event, EX_OK);
}

static int on_stop_limit(sd_event_source *source, uint64_t usec, void *ctx)
{
	struct monitor *m = ctx;

	requests_shutdown(m->requests);
	return sd_event_exit(m->event, EX_OK);
}

static int on_stop(sd_event_source *source, const struct signalfd_siginfo *si, void *ctx)
{
	struct monitor *m = ctx;

	/* Who asked must not take silence for consent. */
	if (m->options->test_config) {
		log_error(m->log, "interrupted: it is not known whether the configuration is right");
		return sd_event_exit(m->event, EX_TEMPFAIL);
	}
	if (m->stopping || !m->requests || !requests_count(m->requests))
		return sd_event_exit(m->event, EX_OK);
	/* What is queued in the kernel waits there for our successor. */
	m->stopping = true;
	reload_stop(m->reload);
	requests_close(m->requests);
	sd_notify(false, "STOPPING=1\nSTATUS=Finishing the handshakes under way.");
	log_notice(m->log, "stopping; handshakes under way: %u", requests_count(m->requests));
	if (sd_event_add_time_relative(m->event, &m->stop_limit, CLOCK_MONOTONIC, STOP_LIMIT, 0,
				       on_stop_limit, m) < 0 ||
	    sd_event_add_post(m->event, &m->post, on_post, m) < 0)
		return sd_event_exit(m->event, EX_OK);
	return 0;
}

/* --- the beginning --- */

static const struct pool_callbacks callbacks;

static int setup_events(struct monitor *m)
{
	sigset_t mask;
	int r;

	sigemptyset(&mask);
	sigaddset(&mask, SIGTERM);
	sigaddset(&mask, SIGINT);
	sigaddset(&mask, SIGHUP);
	sigaddset(&mask, SIGCHLD);
	sigprocmask(SIG_BLOCK, &mask, NULL);
	signal(SIGPIPE, SIG_IGN);
	/* Under a limit on the size of files a copy of one is to fail: it is no reason to end. */
	signal(SIGXFSZ, SIG_IGN);
	/* Who started us may ignore its own children's ends, which lasts: ours would tell us nothing. */
	signal(SIGCHLD, SIG_DFL);

	r = sd_event_new(&m->event);
	if (r >= 0)
		r = sd_event_add_signal(m->event, NULL, SIGTERM, on_stop, m);
	if (r >= 0)
		r = sd_event_add_signal(m->event, NULL, SIGINT, on_stop, m);
	if (r >= 0)
		r = sd_event_add_signal(m->event, NULL, SIGHUP, on_hup, m);
	if (r >= 0)
		r = sd_event_set_watchdog(m->event, true);
	return r;
}

static void raise_descriptor_limit(void)
{
	struct rlimit l;

	if (getrlimit(RLIMIT_NOFILE, &l) < 0)
		return;
	l.rlim_cur = l.rlim_max;
	setrlimit(RLIMIT_NOFILE, &l);
}

/* Returns an exit status, EX_OK to go on. */
static int setup_kernel(struct monitor *m, const struct config *config, uint32_t *ret_ciphers)
{
	sd_event_source *source;
	int r, status;

	*ret_ciphers = ALL_CIPHERS;
	if (m->options->test_config)
		return EX_OK;
	r = netlink_open(&m->netlink, m->log);
	/* What the kernel can do is learnt now, before the configuration is in force. */
	m->log->level = config->log_level;
	if (r >= 0)
		netlink_set_debug(config->netlink_debug);
	if (r >= 0)
		r = sd_event_add_time(m->event, &m->rejoin, CLOCK_MONOTONIC, 0, 0, on_rejoin, m);
	if (r >= 0)
		r = sd_event_source_set_enabled(m->rejoin, SD_EVENT_OFF);
	if (r >= 0)
		r = sd_event_add_io(m->event, &source, netlink_fd(m->netlink), EPOLLIN,
				    on_netlink, m);
	if (r < 0) {
		log_error(m->log, "cannot open generic netlink: %s", strerror(-r));
		return EX_OSERR;
	}
	/* The kernel's queue is short: it comes before everything else. */
	sd_event_source_set_priority(source, SD_EVENT_PRIORITY_IMPORTANT);
	sd_event_source_set_floating(source, true);
	sd_event_source_unref(source);
	status = join(m);
	return status == EX_OK ? learn_ciphers(m, ret_ciphers) : status;
}

static bool is_ours(void *ctx, pid_t pid)
{
	struct monitor *m = ctx;

	return pool_has_process(m->pool, pid);
}

/* Returns an exit status, EX_OK to go on. */
static int setup_pool(struct monitor *m, uint32_t ciphers)
{
	char reason[LOG_TEXT_MAX];
	int r;

	r = requests_new(&m->requests, m->event, m->log, m->netlink);
	if (r < 0) {
		log_error(m->log, "out of memory");
		return EX_OSERR;
	}
	r = pool_new(&m->pool, m->event, m->log, ciphers, &callbacks, m, reason, sizeof(reason));
	if (r < 0) {
		log_error(m->log, "%s", reason);
		return r == -ENOENT || r == -EPERM ? EX_NOUSER :
		       is_passing(r) ? EX_TEMPFAIL : EX_OSERR;
	}
	requests_set_pool(m->requests, m->pool);
	if (getpid() == 1 && orphans_new(&m->orphans, m->event, is_ours, m) < 0)
		log_warn(m->log, "cannot wait for the processes of this container");
	r = reload_begin_first(m->reload);
	if (r < 0) {
		log_error(m->log, "cannot start the workers: %s", strerror(-r));
		return is_passing(r) ? EX_TEMPFAIL : EX_OSERR;
	}
	return EX_OK;
}

static int setup(struct monitor *m)
{
	const struct config *config;
	char reason[LOG_TEXT_MAX];
	const char *step;
	uint32_t ciphers;
	int r, status;

	raise_descriptor_limit();
	r = setup_events(m);
	if (r < 0) {
		log_error(m->log, "cannot set up the event loop: %s", strerror(-r));
		return EX_OSERR;
	}
	if (geteuid() != 0) {
		log_error(m->log, "tlshd must be started as root: the kernel gives handshakes to CAP_NET_ADMIN only");
		return EX_NOPERM;
	}
	/* Limits while there is the right to raise them; then the memory, for which they count. */
	secret_raise_limit();
	r = privileges_reduce(&step);
	if (r < 0) {
		log_error(m->log, "cannot give up privileges: %s: %s", step, strerror(-r));
		return EX_OSERR;
	}
	/* Keys of requests pass through here, also through buffers that are not theirs alone. */
	r = secret_lock_all();
	if (r < 0) {
		log_error(m->log, "cannot lock the memory that keys pass through: %s (" SECRET_LIMIT_HINT ")",
			  strerror(-r));
		return EX_OSERR;
	}
	r = reload_new(&m->reload, m->event, m->log, m->options->config_path,
		       !m->options->test_config, &reload_callbacks, m);
	if (r < 0) {
		log_error(m->log, "out of memory");
		return EX_OSERR;
	}
	r = reload_read_first(m->reload, &config, reason, sizeof(reason));
	if (r < 0) {
		log_error(m->log, "%s", reason);
		return is_passing(r) ? EX_TEMPFAIL : EX_CONFIG;
	}
	status = setup_kernel(m, config, &ciphers);
	return status == EX_OK ? setup_pool(m, ciphers) : status;
}

static enum pool_verdict on_result(void *ctx, struct pair *pair, const struct hs_result *result)
{
	struct monitor *m = ctx;

	return requests_result(m->requests, pair, result);
}

static enum pool_verdict on_keys(void *ctx, struct pair *pair, const struct wire_message *msg)
{
	struct monitor *m = ctx;

	return requests_keys(m->requests, pair, msg);
}

static void on_died(void *ctx, struct pair *pair, const char *why)
{
	struct monitor *m = ctx;

	requests_pair_died(m->requests, pair, why);
}

static void on_writable(void *ctx)
{
	struct monitor *m = ctx;

	requests_dispatch(m->requests);
}

static void on_gone(void *ctx)
{
	struct monitor *m = ctx;

	reload_room(m->reload);
}

static const struct pool_callbacks callbacks = {
	.result = on_result,
	.keys = on_keys,
	.died = on_died,
	.writable = on_writable,
	.reloaded = on_reloaded,
	.gone = on_gone,
};

static void teardown(struct monitor *m)
{
	/*
	 * The requests first: they tell the pool that they are answered. The pool last: that takes
	 * time, and who asks meanwhile is to hear that there is no agent.
	 */
	requests_free(m->requests);
	orphans_free(m->orphans);
	netlink_close(m->netlink);
	pool_free(m->pool);
	reload_free(m->reload);
	sd_event_source_disable_unref(m->extend);
	sd_event_source_disable_unref(m->post);
	sd_event_source_disable_unref(m->rejoin);
	sd_event_source_disable_unref(m->stop_limit);
	sd_event_unref(m->event);
}

int monitor_run(const struct monitor_options *options, struct log *log)
{
	struct monitor m = { .options = options, .log = log };
	uint64_t ok = 0, failed = 0;
	int status = setup(&m);

	if (status == EX_OK)
		status = event_loop(m.event);
	if (status < 0) {
		log_error(log, "the event loop failed: %s", strerror(-status));
		status = EX_OSERR;
	}
	if (m.serving) {
		requests_shutdown(m.requests);
		requests_totals(m.requests, &ok, &failed);
		log_notice(log, "stopped after %" PRIu64 " handshakes, %" PRIu64 " of them failed",
			   ok + failed, failed);
	}
	teardown(&m);
	return status;
}
