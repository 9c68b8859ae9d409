// SPDX-License-Identifier: GPL-2.0-or-later
#include "pool-world.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "fds.h"
#include "common/channel.h"
#include "pool-child.h"

struct world *world;

/* --- what the program under test calls --- */

int __real_sd_event_now(sd_event *event, clockid_t clock, uint64_t *usec);
int __wrap_sd_event_now(sd_event *event, clockid_t clock, uint64_t *usec);
int __wrap_sd_event_now(sd_event *event, clockid_t clock, uint64_t *usec)
{
	int r = __real_sd_event_now(event, clock, usec);

	*usec += world->later;
	return r;
}

int __real_sd_event_add_time_relative(sd_event *event, sd_event_source **source, clockid_t clock,
				      uint64_t usec, uint64_t accuracy,
				      sd_event_time_handler_t handler, void *ctx);
int __wrap_sd_event_add_time_relative(sd_event *event, sd_event_source **source, clockid_t clock,
				      uint64_t usec, uint64_t accuracy,
				      sd_event_time_handler_t handler, void *ctx);
int __wrap_sd_event_add_time_relative(sd_event *event, sd_event_source **source, clockid_t clock,
				      uint64_t usec, uint64_t accuracy,
				      sd_event_time_handler_t handler, void *ctx)
{
	unsigned int speed = usec >= world->fast_from ? world->speed : 1;

	g_array_append_val(world->delays, usec);
	return __real_sd_event_add_time_relative(event, source, clock, usec / speed,
						 speed == 1 ? accuracy : 1, handler, ctx);
}

int __real_sd_event_source_set_time_relative(sd_event_source *source, uint64_t usec);
int __wrap_sd_event_source_set_time_relative(sd_event_source *source, uint64_t usec);
int __wrap_sd_event_source_set_time_relative(sd_event_source *source, uint64_t usec)
{
	/* The pool looks for the ends of its children every now and then: nothing waits for that. */
	if (sd_event_source_get_userdata(source) == world->pool)
		return __real_sd_event_source_set_time_relative(source, usec);
	g_array_append_val(world->delays, usec);
	return __real_sd_event_source_set_time_relative(
		source, usec / (usec >= world->fast_from ? world->speed : 1));
}

int __real_channel_send(int channel, const struct wire_message *msg, int fd);
int __wrap_channel_send(int channel, const struct wire_message *msg, int fd);
int __wrap_channel_send(int channel, const struct wire_message *msg, int fd)
{
	void (*before)(void) = world->before_drain;

	if (before && msg->type == WIRE_DRAIN) {
		world->before_drain = NULL;
		before();
	}
	if (world->send_faults) {
		world->send_faults--;
		return world->send_error;
	}
	return __real_channel_send(channel, msg, fd);
}

const char *spawn_kind_name(enum child_kind kind)
{
	return kind == CHILD_WORKER ? "worker" : "keeper";
}

int spawn_find_user(enum child_kind kind, struct spawn_user *ret, char *reason, size_t reason_size)
{
	if (world->spawn_faults) {
		g_snprintf(reason, reason_size, "nobody is there");
		return world->spawn_error;
	}
	ret->uid = 1000 + kind;
	ret->gid = 2000 + kind;
	return 0;
}

pid_t spawn_child(enum child_kind kind, const struct spawn_user *user, int monitor_fd, int peer_fd,
		  int stderr_fd)
{
	pid_t pid;

	g_assert_cmpuint(user->uid, ==, 1000 + kind);
	g_assert_cmpuint(user->gid, ==, 2000 + kind);
	if (world->spawn_faults && !world->spawn_after--) {
		world->spawn_after = 0;
		world->spawn_faults--;
		return world->spawn_error;
	}
	fflush(NULL);
	pid = fork();
	g_assert_cmpint(pid, >=, 0);
	if (!pid) {
		world->send_faults = 0;
		g_assert_no_errno(dup2(stderr_fd, STDERR_FILENO));
		pool_child(kind, GPOINTER_TO_INT(g_queue_pop_head(world->plans[kind])),
			   monitor_fd, peer_fd);
	}
	g_queue_pop_head(world->plans[kind]);
	g_array_append_val(world->pids[kind], pid);
	return pid;
}

/* --- what it says --- */

static struct task *task_of(uint64_t id)
{
	g_assert_cmpuint(id, >, 0);
	g_assert_cmpuint(id, <=, world->tasks->len);
	return g_ptr_array_index(world->tasks, id - 1);
}

static bool is_ask(const struct task *task, const char *kind)
{
	return g_str_has_prefix(task->peername, "ask") && strstr(task->peername, kind);
}

/* As the request table does it: a grant or a key may be left with the keeper. */
static void give_back(struct task *task, bool cancel)
{
	struct pair *pair = task->pair;

	task->pair = NULL;
	pool_forget(world->pool, pair, task->id, cancel,
		    task->with_keeper || !g_str_has_prefix(task->peername, "ask"));
}

static enum pool_verdict on_result(void *ctx, struct pair *pair, const struct hs_result *result)
{
	struct task *task;

	/* "its id is not checked yet": the world's workers make some up. */
	if (result->id == POOL_CHILD_NO_ID)
		return POOL_LATE;
	task = task_of(result->id);
	if (!task->pair)
		return POOL_LATE;
	if (task->pair != pair)
		return POOL_VIOLATION;
	task->n_results++;
	task->outcome = result->outcome;
	task->pid = atoi(result->reason);
	give_back(task, false);
	return task->denied ? POOL_EXCUSED : POOL_FINE;
}

static void compose(const struct task *task, struct wire_message *msg)
{
	memset(msg, 0, sizeof(*msg));
	msg->type = task->due;
	switch (task->due) {
	case WIRE_PSK:
		msg->psk.job = task->id;
		g_strlcpy(msg->psk.identity, task->peername, sizeof(msg->psk.identity));
		msg->psk.len = (uint16_t)g_strlcpy((char *)msg->psk.key, "shared",
						   sizeof(msg->psk.key));
		break;
	case WIRE_KEY:
		msg->key.job = task->id;
		g_strlcpy(msg->key.label, task->peername, sizeof(msg->key.label));
		msg->key.len = (uint16_t)g_strlcpy((char *)msg->key.data, "private",
						   sizeof(msg->key.data));
		break;
	case WIRE_CERTIFICATE:
		msg->certificate.job = task->id;
		g_strlcpy(msg->certificate.label, "its certificate",
			  sizeof(msg->certificate.label));
		break;
	case WIRE_REFUSED:
		msg->refused.job = task->id;
		msg->refused.outcome = task->refusal;
		break;
	default:
		g_assert_not_reached();
	}
}

int tell(struct task *task)
{
	bool with_fd = task->due == WIRE_KEY || task->due == WIRE_CERTIFICATE;
	enum pool_receiver who = task->due == WIRE_KEY ? POOL_KEEPER : POOL_WORKER;
	struct wire_message msg;
	int r;

	compose(task, &msg);
	r = pool_tell(world->pool, task->pair, who, &msg, with_fd ? world->certificate : -1);
	if (r == 0) {
		task->with_keeper = task->with_keeper || who == POOL_KEEPER;
		task->denied = task->due == WIRE_REFUSED && !task->with_keeper;
		task->due = 0;
	} else if (r != -EAGAIN) {
		g_assert_cmpint(r, ==, -EPIPE);
	}
	return r;
}

static enum pool_verdict on_keys(void *ctx, struct pair *pair, const struct wire_message *msg)
{
	uint64_t id = msg->type == WIRE_ASK ? msg->ask.job :
		      msg->type == WIRE_REFUSED ? msg->refused.job : msg->key_loaded;
	struct task *task = id == POOL_CHILD_NO_ID ? NULL : task_of(id);

	world->n_keys++;
	if (world->forbids)
		return POOL_VIOLATION;
	if (!task || !task->pair)
		return POOL_LATE;
	g_assert_true(task->pair == pair);
	g_assert_true(task->due == 0 || world->repeats);
	g_assert_true(task->with_keeper == (msg->type != WIRE_ASK));
	if (msg->type == WIRE_ASK) {
		g_assert_cmpstr(msg->ask.identity, ==, task->peername);
		task->due = strstr(task->peername, "psk") ? WIRE_PSK :
			    strstr(task->peername, "none") ? WIRE_REFUSED : WIRE_KEY;
		task->refusal = HS_BUSY;
	} else if (msg->type == WIRE_REFUSED) {
		g_assert_cmpstr(msg->refused.reason, ==, "it is a test");
		task->refusal = msg->refused.outcome;
		task->due = WIRE_REFUSED;
	} else {
		g_assert_cmpint(msg->type, ==, WIRE_KEY_LOADED);
		task->due = WIRE_CERTIFICATE;
	}
	world->depth++;
	world->deepest = MAX(world->deepest, world->depth);
	if (world->answers)
		tell(task);
	world->depth--;
	return POOL_FINE;
}

static void on_died(void *ctx, struct pair *pair, const char *why)
{
	const struct wire_message msg = { .type = WIRE_CANCEL, .cancel = 1 };
	unsigned int n = 0;

	/* Nobody can be told anything any more, by whomever this is called. */
	for (unsigned int i = 0; i < 2; i++)
		g_assert_cmpint(pool_tell(world->pool, pair, i ? POOL_WORKER : POOL_KEEPER, &msg,
					  -1), ==, -EPIPE);
	world->n_died++;
	g_free(world->why);
	world->why = g_strdup(why);
	for (unsigned int i = 0; i < world->tasks->len; i++) {
		struct task *task = g_ptr_array_index(world->tasks, i);

		if (task->pair != pair)
			continue;
		n++;
		task->n_deaths++;
		give_back(task, true);
	}
	/* Only pairs that had something, and never twice. */
	g_assert_cmpuint(n, >, 0);
}

static void on_writable(void *ctx)
{
	world->n_writable++;
	for (unsigned int i = 0; world->answers && i < world->tasks->len; i++) {
		struct task *task = g_ptr_array_index(world->tasks, i);

		if (task->due && task->pair)
			tell(task);
	}
}

static void on_gone(void *ctx)
{
	world->n_gone++;
}

static void on_reloaded(void *ctx, int error, const char *reason)
{
	world->n_reloaded++;
	world->error = error;
	g_free(world->reason);
	world->reason = g_strdup(reason);
}

static void sink(void *ctx, int priority, const char *text, const struct log_field *fields,
		 size_t n_fields)
{
	unsigned int id;
	int pid;

	if (sscanf(text, "worker[%d]: job %u", &pid, &id) == 2)
		task_of(id)->pid = pid;
	g_string_append_printf(world->text, "<%d>%s\n", priority, text);
}

/* --- the world --- */

void set_up(struct world *w, gconstpointer unused)
{
	static const struct pool_callbacks callbacks = {
		.result = on_result, .keys = on_keys, .died = on_died,
		.writable = on_writable, .reloaded = on_reloaded, .gone = on_gone,
	};
	char reason[128];

	alarm(60);
	world = w;
	w->n_fds = count_fds();
	w->certificate = memfd_create("certificate", MFD_CLOEXEC);
	g_assert_cmpint(write(w->certificate, "c", 1), ==, 1);
	w->log = (struct log){ LOG_DEBUG, sink, NULL };
	w->n_workers = 2;
	w->speed = 1;
	/* With fewer messages than there can be of a worker in a minute, much would not be seen. */
	w->config = g_strdup("[debug]\nloglevel = 2\n");
	w->tasks = g_ptr_array_new_with_free_func(g_free);
	w->text = g_string_new("");
	w->delays = g_array_new(FALSE, FALSE, sizeof(uint64_t));
	for (unsigned int i = 0; i < N_CHILDREN; i++) {
		w->pids[i] = g_array_new(FALSE, FALSE, sizeof(pid_t));
		w->plans[i] = g_queue_new();
	}
	g_assert_cmpint(sd_event_new(&w->event), >=, 0);
	g_assert_cmpint(pool_new(&w->pool, w->event, &w->log, 0x0f, &callbacks, w, reason,
				 sizeof(reason)), ==, 0);
}

void tear_down(struct world *w, gconstpointer unused)
{
	unsigned int n_died = w->n_died;

	for (unsigned int i = 0; i < w->tasks->len; i++) {
		struct task *task = g_ptr_array_index(w->tasks, i);

		g_assert_cmpuint(task->n_results + task->n_deaths + !!task->pair, <=, 1);
	}
	pool_free(w->pool);
	/* Whoever frees the pool has answered its requests before. */
	g_assert_cmpuint(w->n_died, ==, n_died);
	g_assert_cmpint(waitpid(-1, NULL, 0), ==, -1);
	g_assert_cmpint(errno, ==, ECHILD);
	sd_event_unref(w->event);
	close(w->certificate);
	g_assert_cmpuint(count_fds(), ==, w->n_fds);
	for (unsigned int i = 0; i < N_CHILDREN; i++) {
		g_array_unref(w->pids[i]);
		g_queue_free(w->plans[i]);
	}
	g_array_unref(w->delays);
	g_string_free(w->text, TRUE);
	g_ptr_array_unref(w->tasks);
	g_free(w->config);
	g_free(w->reason);
	g_free(w->why);
	alarm(0);
}

void plan(enum child_kind kind, enum start s)
{
	g_queue_push_tail(world->plans[kind], GINT_TO_POINTER(s));
}

int reload(void)
{
	g_autofree char *text = g_strdup_printf("[daemon]\nworkers = %u\n%s", world->n_workers,
						world->config);
	CLEANUP(config_freep) struct config *config = NULL;
	struct material *material = NULL;
	char reason[512] = "";
	int r;

	r = config_parse(&config, text, strlen(text), "/test.conf", &world->log, reason,
			 sizeof(reason));
	if (!r)
		r = material_open(&material, config, reason, sizeof(reason));
	g_assert_cmpstr(reason, ==, "");
	g_assert_cmpint(r, ==, 0);
	return pool_reload(world->pool, config, material, world->no_worse);
}

void start(unsigned int n_workers)
{
	unsigned int before = world->n_reloaded;

	world->n_workers = n_workers;
	g_assert_cmpint(reload(), ==, 0);
	g_assert_cmpuint(world->n_reloaded, ==, before);	/* never from within */
	WAIT(world->n_reloaded > before);
	g_assert_cmpint(world->error, ==, 0);
}

void run_for(unsigned int ms)
{
	gint64 end = g_get_monotonic_time() + ms * 1000;
	gint64 left;

	while ((left = end - g_get_monotonic_time()) > 0)
		g_assert_cmpint(sd_event_run(world->event, (uint64_t)left), >=, 0);
}

/* --- its jobs --- */

struct task *give(const char *peername)
{
	struct hs_job job = {
		.id = world->tasks->len + 1, .role = HS_SERVER, .auth = HS_AUTH_X509,
		.timeout_ms = 5000,
	};
	struct pair *pair = NULL;
	struct task *task;
	int r;

	g_snprintf(job.peername, sizeof(job.peername), "%s", peername);
	task = g_new0(struct task, 1);
	task->id = job.id;
	task->peername = peername;
	job.auth = is_ask(task, "psk") ? HS_AUTH_PSK : HS_AUTH_X509;
	job.own_identity = is_ask(task, "") && job.auth == HS_AUTH_X509;
	r = pool_dispatch(world->pool, &job, STDIN_FILENO, &pair);
	if (r == -EAGAIN) {
		g_free(task);
		return NULL;
	}
	g_assert_cmpint(r, ==, 0);
	g_assert_nonnull(pair);
	task->pair = pair;
	g_ptr_array_add(world->tasks, task);
	return task;
}

struct task *give_for_sure(const char *peername)
{
	struct task *task = give(peername);

	g_assert_nonnull(task);
	return task;
}

void forget(struct task *task)
{
	task->n_cancels++;
	give_back(task, true);
}

void stop(pid_t pid)
{
	int status;

	g_assert_no_errno(kill(pid, SIGSTOP));
	g_assert_cmpint(waitpid(pid, &status, WUNTRACED), ==, pid);
	g_assert_true(WIFSTOPPED(status));
}

void wait_for_end(pid_t pid)
{
	g_assert_no_errno(waitid(P_PID, (id_t)pid, &(siginfo_t){ 0 }, WEXITED | WNOWAIT));
}

struct task *give_and_stop(void)
{
	struct task *task = give_for_sure("hold");

	WAIT(task->pid);
	stop(task->pid);
	return task;
}

void fill(const struct task *stopped)
{
	unsigned int n = 0, n_there = 1, first = world->tasks->len;

	/* It is full when the others get job after job. */
	for (unsigned int elsewhere = 0; elsewhere < 3 * world->n_workers; n++) {
		const struct task *task = give_for_sure("hold");

		g_assert_cmpuint(n, <, 20000);
		n_there += task->pair == stopped->pair;
		elsewhere = task->pair == stopped->pair ? 0 : elsewhere + 1;
		/* The others read theirs. */
		run_for(n % 20 ? 0 : 10);
	}
	g_assert_cmpuint(n_there, >, 10);
	g_assert_cmpuint(world->tasks->len, >, first);
}

bool done(const struct task *task)
{
	return task->n_results + task->n_deaths + task->n_cancels > 0;
}

bool all_done(void)
{
	for (unsigned int i = 0; i < world->tasks->len; i++) {
		if (!done(g_ptr_array_index(world->tasks, i)))
			return false;
	}
	return true;
}

pid_t keeper_of(pid_t pid)
{
	for (unsigned int i = 0; i < world->pids[CHILD_WORKER]->len; i++) {
		if (g_array_index(world->pids[CHILD_WORKER], pid_t, i) == pid)
			return g_array_index(world->pids[CHILD_KEEPER], pid_t, i);
	}
	g_assert_not_reached();
}

unsigned int n_alive(void)
{
	unsigned int n = 0;

	for (unsigned int kind = 0; kind < N_CHILDREN; kind++) {
		for (unsigned int i = 0; i < world->pids[kind]->len; i++)
			n += kill(g_array_index(world->pids[kind], pid_t, i), 0) == 0;
	}
	return n;
}

bool logged(const char *text)
{
	return strstr(world->text->str, text);
}

void clear_log(void)
{
	g_string_truncate(world->text, 0);
}
