// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * What workers and keepers say to the monitor, in sequences: the pool and the
 * request table are the real ones; the kernel, the keys and the other ends of
 * the channels are the test's. An input is a list of events:
 *
 *   byte 0-1	a message: who (enum of bits, below), u16 length, bytes
 *   2		the kernel has a request (bit 0 role, 1-2 auth, 3 it names its keys,
 *		4-5 what its keys are)
 *   3		the deadline of a request
 *   4		a process has ended
 *   5		a pair more
 *   6		the event loop
 *   7		the other ends read, or stop reading
 *
 * What must hold whatever they say: each request is answered once; with success
 * only if the worker that has it says so, and the keys it needs were given.
 */
#include <fcntl.h>
#include <sys/mman.h>

#include "fuzz.h"
#include "tlshd/monitor/keyring.h"
#include "tlshd/monitor/keys.h"
#include "tlshd/monitor/request-private.h"
#include "tlshd/monitor/pair.c"

#define PAIRS_MAX 4
#define ASKS_MAX 32
#define EVENTS_MAX 200
#define KEY_SERIAL 42

/* Of a message: bit 0 the keeper, 1-2 the pair; */
#define WHO_PATCH 8	/* its id becomes that of the request with the number of bits 5-7 */
#define WHO_FD 16	/* it has a descriptor */

struct ask {
	int fd;
	enum hs_role role;
	enum hs_auth auth;
	bool named;
	unsigned int keys;
	bool told;		/* keys were read for it */
	unsigned int n_done;
};

struct world {
	sd_event *event;
	struct pool *pool;
	struct generation *gen;
	struct requests *table;
	struct pair *pairs[PAIRS_MAX];	/* NULL: none, or freed */
	int ends[PAIRS_MAX][N_CHILDREN];
	struct ask asks[ASKS_MAX];
	unsigned int n_asks, n_accepted;
	bool deaf;			/* the other ends do not read */
	/* What the pool is passing on at the moment. */
	const struct hs_result *saying;
	const struct pair *saying_pair;
};

static struct world w;
static int null_fd = -1, memory_fd = -1;

/* --- the kernel --- */

static struct ask *ask_of(int fd)
{
	for (unsigned int i = 0; i < w.n_asks; i++)
		if (w.asks[i].fd == fd && !w.asks[i].n_done)
			return &w.asks[i];
	g_assert_not_reached();
}

int netlink_accept(struct netlink *nl, struct netlink_request *ret)
{
	struct ask *a = &w.asks[w.n_accepted];

	if (w.n_accepted == w.n_asks)
		return -EAGAIN;
	w.n_accepted++;
	a->fd = fcntl(null_fd, F_DUPFD_CLOEXEC, 0);
	g_assert_cmpint(a->fd, >=, 0);
	*ret = (struct netlink_request){
		.fd = a->fd, .role = a->role, .auth = a->auth, .peername = "nfs.example.com",
		.n_peer_ids = 1, .peer_ids = { 7 }, .timeout_ms = 1000,
	};
	if (a->named)
		ret->certificate = ret->private_key = 17;
	return 0;
}

static const struct request *request_of(int fd)
{
	for (unsigned int i = 0; i < REQUESTS_MAX; i++)
		if (w.table->slots[i] && w.table->slots[i]->nl.fd == fd)
			return w.table->slots[i];
	g_assert_not_reached();
}

/* Its worker says so now, or said so before a delay. */
static void check_success(const struct ask *a, const struct request *req, uint32_t remote_auth)
{
	const struct hs_result *said = req->delayed ? req->delayed : w.saying;

	if (!said)
		g_error("a success that nobody reports");
	g_assert_cmpuint(said->id, ==, req->id);
	g_assert_cmpint(said->outcome, ==, HS_OK);
	if (!req->delayed)
		g_assert_true(w.saying_pair == req->pair);
	if (a->auth == HS_AUTH_PSK || (a->auth == HS_AUTH_X509 && a->named))
		g_assert_true(a->told);
	if (a->auth == HS_AUTH_PSK)
		g_assert_cmpuint(remote_auth, ==, KEY_SERIAL);
	else
		g_assert_true(!remote_auth || (said->peer_verified && a->auth == HS_AUTH_X509));
}

int netlink_done(struct netlink *nl, int fd, unsigned int status, uint32_t remote_auth)
{
	struct ask *a = ask_of(fd);

	g_assert_cmpuint(status, <, 4096);
	if (status == 0)
		check_success(a, request_of(fd), remote_auth);
	else
		g_assert_cmpuint(remote_auth, ==, 0);
	a->n_done++;
	return 0;
}

/* --- keys --- */

void keys_answer(struct keys_answer *ret, const struct netlink_request *nl, uint64_t job,
		 const char *identity, const char *const *keyrings, const struct log *log)
{
	struct ask *a = ask_of(nl->fd);

	*ret = (struct keys_answer){ .fd = -1, .msg.type = WIRE_REFUSED };
	g_assert_true(keys_needed(nl));
	if (a->keys == 3) {
		ret->msg.refused = (struct wire_refused){ .job = job, .outcome = HS_KEY_MISSING };
		return;
	}
	a->told = true;
	if (nl->auth == HS_AUTH_PSK) {
		ret->msg = (struct wire_message){ .type = WIRE_PSK, .psk.job = job, .psk.len = 32 };
		ret->serial = KEY_SERIAL;
		return;
	}
	ret->msg = (struct wire_message){ .type = WIRE_KEY, .key.job = job, .key.len = 100 };
	ret->fd = fcntl(memory_fd, F_DUPFD_CLOEXEC, 0);
}

void keys_clear(struct keys_answer *answer)
{
	answer->fd = fd_close(answer->fd);
}

void keyring_drop_links(void)
{
}

/* --- processes: there are none --- */

int spawn_find_user(enum child_kind kind, struct spawn_user *ret, char *reason, size_t reason_size)
{
	*ret = (struct spawn_user){ 1, 1 };
	return 0;
}

pid_t spawn_child(enum child_kind kind, const struct spawn_user *user, int monitor_fd, int peer_fd,
		  int stderr_fd)
{
	return -EAGAIN;
}

const char *spawn_kind_name(enum child_kind kind)
{
	return kind == CHILD_WORKER ? "worker" : "keeper";
}

int material_send(const struct material *material, enum material_receiver receiver, int channel)
{
	return 0;
}

void material_free(struct material *material)
{
}

/* --- between pool and table, as in monitor.c --- */

static enum pool_verdict on_result(void *ctx, struct pair *pair,
				   const struct hs_result *result)
{
	enum pool_verdict verdict;

	const struct request *req = request_find(w.table, result->id);
	bool waits = req && (req->pair != pair || req->delayed), delayed = req && req->delayed;

	w.saying = result;
	w.saying_pair = pair;
	verdict = requests_result(w.table, pair, result);
	w.saying = NULL;
	/* Nobody but the worker that has it, and nobody twice, says anything about a request. */
	g_assert_true(!waits || request_find(w.table, result->id) == req);
	g_assert_true(!waits || !req->delayed == !delayed);
	return verdict;
}

static enum pool_verdict on_keys(void *ctx, struct pair *pair, const struct wire_message *msg)
{
	return requests_keys(w.table, pair, msg);
}

static void on_died(void *ctx, struct pair *pair, const char *why)
{
	requests_pair_died(w.table, pair, why);
}

static void on_writable(void *ctx)
{
	requests_dispatch(w.table);
}

static void on_reloaded(void *ctx, int error, const char *reason)
{
}

static void on_gone(void *ctx)
{
}

static const struct pool_callbacks callbacks = {
	.result = on_result, .keys = on_keys, .died = on_died, .writable = on_writable,
	.reloaded = on_reloaded, .gone = on_gone,
};

/* --- events --- */

static void new_pair(bool ready)
{
	struct pair *pair;
	unsigned int at = 0;

	while (at < PAIRS_MAX && w.pairs[at])
		at++;
	if (at == PAIRS_MAX || !w.gen)
		return;
	pair = calloc(1, sizeof(*pair));
	if (!pair)
		g_error("out of memory");
	pair->gen = w.gen;
	pair->next = w.gen->pairs;
	w.gen->pairs = w.pairs[at] = pair;
	for (unsigned int i = 0; i < N_CHILDREN; i++) {
		struct child *c = &pair->child[i];
		int fds[2];

		g_assert_cmpint(channel_pair(fds), ==, 0);
		*c = (struct child){ .pair = pair, .kind = i, .channel = fds[0],
				     .ready = ready, .err = -1 };
		w.ends[at][i] = fds[1];
		g_assert_cmpint(sd_event_add_io(w.event, &c->io, fds[0], EPOLLIN, on_io, c), >=, 0);
	}
	requests_dispatch(w.table);
}

/* A pair that is out of the generation's list is no more. */
static void forget_pairs(void)
{
	/* One that was given up goes with its last pair; there is no other. */
	if (!w.pool->generations)
		w.gen = NULL;
	for (unsigned int i = 0; i < PAIRS_MAX; i++) {
		const struct pair *p = w.gen ? w.gen->pairs : NULL;

		while (p && p != w.pairs[i])
			p = p->next;
		if (p || !w.pairs[i])
			continue;
		w.pairs[i] = NULL;
		for (unsigned int k = 0; k < N_CHILDREN; k++)
			w.ends[i][k] = fd_close(w.ends[i][k]);
	}
}

static uint64_t *id_of(struct wire_message *msg)
{
	switch (msg->type) {
	case WIRE_RESULT:
		return &msg->result.id;
	case WIRE_ASK:
		return &msg->ask.job;
	case WIRE_REFUSED:
		return &msg->refused.job;
	case WIRE_KEY_LOADED:
		return &msg->key_loaded;
	default:
		return NULL;
	}
}

static struct request *nth_request(unsigned int n)
{
	for (unsigned int i = 0; i < ASKS_MAX; i++)
		if (w.table->slots[i] && n-- == 0)
			return w.table->slots[i];
	return NULL;
}

static size_t patch(uint8_t *buf, size_t len, unsigned int n)
{
	static struct wire_message msg;
	struct request *req = nth_request(n);

	if (!req || wire_decode(buf, len, &msg) < 0 || !id_of(&msg))
		return len;
	*id_of(&msg) = req->id;
	return (size_t)wire_encode(&msg, buf);
}

static void message(struct input *in)
{
	static uint8_t buf[WIRE_MAX + 8];
	uint8_t who = take_u8(in);
	unsigned int at = who >> 1 & 3, kind = who & 1 ? CHILD_KEEPER : CHILD_WORKER;
	struct pair *pair = w.pairs[at];
	size_t len;
	const uint8_t *bytes = take_bytes(in, take_u16(in) % sizeof(buf), &len);

	if (len)
		memcpy(buf, bytes, len);
	if (who & WHO_PATCH)
		len = patch(buf, len, who >> 5);
	if (!pair || pair->dying || !pair->child[kind].io)
		return;
	say_bytes(w.ends[at][kind], buf, len, who & WHO_FD ? null_fd : -1);
	on_io(pair->child[kind].io, pair->child[kind].channel, EPOLLIN, &pair->child[kind]);
}

static void ask(struct input *in)
{
	uint8_t what = take_u8(in);

	if (w.n_asks == ASKS_MAX)
		return;
	w.asks[w.n_asks++] = (struct ask){
		.fd = -1, .role = what & 1, .auth = (what >> 1 & 3) % HS_N_AUTHS, .named = what & 8,
		.keys = what >> 4 & 3,
	};
	g_assert_cmpint(requests_accept(w.table), ==, 0);
}

static void deadline(struct input *in)
{
	struct request *req = nth_request(take_u8(in) & 7);

	if (!req || !req->timer)
		return;
	sd_event_source_set_time_relative(req->timer, 0);
	sd_event_run(w.event, 0);
}

static void end_process(struct input *in)
{
	uint8_t what = take_u8(in);
	struct pair *pair = w.pairs[what >> 1 & 3];
	siginfo_t si = { .si_code = what & 8 ? CLD_KILLED : CLD_EXITED };

	if (!pair)
		return;
	si.si_status = what & 8 ? SIGKILL : what >> 4;
	on_exit_of(NULL, &si, &pair->child[what & 1 ? CHILD_KEEPER : CHILD_WORKER]);
}

/* What the monitor said must decode, and be meant for whom it was sent to. */
static void hear(unsigned int at, unsigned int kind)
{
	static struct wire_message msg;
	CLEANUP_FD int fd = -1;

	while (w.ends[at][kind] >= 0) {
		int r;

		fd = fd_close(fd);
		r = channel_recv(w.ends[at][kind], &msg, &fd);
		if (r == -EAGAIN || r == -EPIPE)
			return;
		g_assert_cmpint(r, ==, 0);
		if (msg.type == WIRE_JOB || msg.type == WIRE_CERTIFICATE || msg.type == WIRE_KEY)
			g_assert_cmpint(fd, >=, 0);
		else
			g_assert_cmpint(fd, ==, -1);
		/* A private key is nothing for a worker, and all else nothing for a keeper. */
		if (kind == CHILD_KEEPER)
			g_assert_true(msg.type == WIRE_KEY || msg.type == WIRE_CANCEL ||
				      msg.type == WIRE_GRANT);
		else
			g_assert_true(msg.type != WIRE_KEY && msg.type != WIRE_GRANT);
	}
}

static void check(void)
{
	unsigned int waiting = 0;

	for (unsigned int i = 0; i < PAIRS_MAX; i++) {
		unsigned int n = 0;

		for (unsigned int k = 0; k < ASKS_MAX && w.pairs[i]; k++)
			n += w.table->slots[k] && w.table->slots[k]->pair == w.pairs[i];
		if (w.pairs[i])
			g_assert_cmpuint(w.pairs[i]->in_flight, ==, n);
		for (unsigned int kind = 0; kind < N_CHILDREN && !w.deaf; kind++)
			hear(i, kind);
	}
	for (unsigned int i = 0; i < w.n_accepted; i++)
		waiting += !w.asks[i].n_done;
	g_assert_cmpuint(requests_count(w.table), ==, waiting);
}

static void one_event(struct input *in)
{
	switch (take_u8(in) & 7) {
	case 0:
	case 1:
		message(in);
		break;
	case 2:
		ask(in);
		break;
	case 3:
		deadline(in);
		break;
	case 4:
		end_process(in);
		break;
	case 5:
		new_pair(true);
		break;
	case 6:
		for (unsigned int i = 0; i < 4; i++)
			sd_event_run(w.event, 0);
		break;
	default:
		w.deaf = !w.deaf;
	}
	forget_pairs();
	check();
}

static void set_up(uint8_t how)
{
	char reason[LOG_TEXT_MAX];

	w = (struct world){ 0 };
	memset(w.ends, 0xff, sizeof(w.ends));
	g_assert_cmpint(sd_event_new(&w.event), >=, 0);
	g_assert_cmpint(requests_new(&w.table, w.event, &fuzz_log, NULL), ==, 0);
	g_assert_cmpint(pool_new(&w.pool, w.event, &fuzz_log, 1, &callbacks, NULL, reason,
				 sizeof(reason)), ==, 0);
	requests_set_pool(w.table, w.pool);
	requests_set_limits(w.table, &(struct requests_limits){
		.max = how & 1 ? 4 : 100, .max_per_peer = how & 1 ? 2 : 100, .room = 200,
		.delay_done = how & 2 ? 3600 : 0 });
	w.gen = calloc(1, sizeof(*w.gen));
	if (!w.gen)
		g_error("out of memory");
	w.gen->pool = w.pool;
	w.gen->state = how & 4 ? GEN_COMING : GEN_CURRENT;
	w.gen->n_wanted = 2;
	w.pool->generations = w.gen;
	new_pair(!(how & 8));
	new_pair(!(how & 8));
}

static void tear_down(void)
{
	requests_shutdown(w.table);
	for (unsigned int i = 0; i < w.n_asks; i++)
		g_assert_cmpuint(w.asks[i].n_done, ==, i < w.n_accepted);
	requests_free(w.table);
	pool_free(w.pool);
	for (unsigned int i = 0; i < PAIRS_MAX; i++)
		for (unsigned int k = 0; k < N_CHILDREN; k++)
			fd_close(w.ends[i][k]);
	sd_event_unref(w.event);
}

/* The number that the next descriptor gets: the same again when none was left open. */
static int next_fd(void)
{
	int fd;

	if (null_fd < 0)
		null_fd = open("/dev/null", O_RDWR | O_CLOEXEC);
	if (memory_fd < 0)
		memory_fd = memfd_create("certificate", MFD_CLOEXEC);
	fd = fcntl(null_fd, F_DUPFD_CLOEXEC, 0);
	close(fd);
	return fd;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct input in = { data, size };
	uint8_t how = take_u8(&in);
	int before = next_fd();

	set_up(how);
	for (unsigned int i = 0; i < EVENTS_MAX && in.left; i++)
		one_event(&in);
	tear_down();
	g_assert_cmpint(next_fd(), ==, before);
	return 0;
}
