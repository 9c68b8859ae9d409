// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Handshakes in which one allocation fails, whichever: of our code or of a
 * library. A peer that must be refused is never taken for good by it, and two
 * ends that both succeed have the same keys. A library may give up (SIGABRT,
 * or worse): then the worker dies, which is answered; it is counted here.
 *
 * Each try is a process of its own. TLSHD_MALLOC_STRIDE=1 tries every
 * allocation, the default one in STRIDE.
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "fail-malloc.h"
#include "tls-pair.h"

#define STRIDE 23
#define MANY 1000000

enum verdict {
	BOTH_OK,
	REFUSED,	/* by one end at least */
	WRONG,		/* accepted by the end that must not */
	NOT_HIT,	/* there are fewer allocations */
	ABORTED,	/* by a library */
	CRASHED,
};

/* Who has to refuse; HS_N_ROLES: nobody. */
struct scene {
	const char *name;
	enum hs_role judge;
	bool bad_name;
};

static const struct scene scenes[] = {
	{ "good", HS_N_ROLES, false },
	{ "untrusted-server", HS_CLIENT, false },
	{ "wrong-name", HS_CLIENT, true },
	{ "untrusted-client", HS_SERVER, false },
};

static enum verdict run_once(const struct scene *scene, struct pair *p, unsigned long n)
{
	bool hit;

	pair_start(p);
	fail_malloc_begin(n, FAIL_ONCE);
	while (pair_step(p, HS_CLIENT) || pair_step(p, HS_SERVER))
		;
	hit = fail_malloc_end();
	if (scene->judge < HS_N_ROLES && p->status[scene->judge] == SESSION_ENDED &&
	    p->result[scene->judge].outcome == HS_OK)
		return WRONG;
	if (!hit)
		return NOT_HIT;
	for (unsigned int i = 0; i < HS_N_ROLES; i++) {
		if (p->status[i] != SESSION_ENDED || p->result[i].outcome != HS_OK)
			return REFUSED;
	}
	assert_keys_agree(p);
	return BOTH_OK;
}

static enum verdict try_one(const struct scene *scene, struct side *client, struct side *server,
			    unsigned long n)
{
	struct pair p;
	int status;
	pid_t pid;

	pair_open(&p, client, server);
	if (scene->bad_name)
		g_strlcpy(p.job[HS_CLIENT].peername, "other.example", HS_NAME_MAX);
	pid = fork();
	g_assert_cmpint(pid, >=, 0);
	if (!pid) {
		const struct rlimit none = { 0, 0 };

		setrlimit(RLIMIT_CORE, &none);
		alarm(30);
		if (!freopen("/dev/null", "w", stderr) || !freopen("/dev/null", "w", stdout))
			_exit(CRASHED);
		_exit(run_once(scene, &p, n));
	}
	g_assert_cmpint(waitpid(pid, &status, 0), ==, pid);
	pair_close(&p);
	/* A hang is no answer. */
	g_assert_false(WIFSIGNALED(status) && WTERMSIG(status) == SIGALRM);
	if (WIFSIGNALED(status))
		return WTERMSIG(status) == SIGABRT ? ABORTED : CRASHED;
	return (enum verdict)WEXITSTATUS(status);
}

static void test_scene(gconstpointer data)
{
	const struct scene *scene = data;
	struct side client = plain_client(), server = plain_server();
	const char *text = getenv("TLSHD_MALLOC_STRIDE");
	unsigned long stride = text ? strtoul(text, NULL, 10) : STRIDE, n;
	unsigned int seen[CRASHED + 1] = { 0 }, tried = 0;
	enum verdict v = REFUSED;

	if (scene->judge == HS_CLIENT && !scene->bad_name)
		client.trust = other_ca->pem;
	if (scene->judge == HS_SERVER)
		server.trust = other_ca->pem;
	client.chain = client_cert->pem;
	client.key = client_cert;
	make_engine(&client);
	make_engine(&server);
	for (n = 1; v != NOT_HIT && n < MANY; n += stride) {
		v = try_one(scene, &client, &server, n);
		if (v == WRONG)
			g_error("accepted when allocation %lu failed", n);
		seen[v]++;
		tried++;
	}
	g_test_message("%s: %lu allocations, tried %u; both succeed %u, refused %u, aborted %u, crashed %u",
		       scene->name, n - stride, tried - 1, seen[BOTH_OK], seen[REFUSED],
		       seen[ABORTED], seen[CRASHED]);
	g_assert_cmpuint(seen[NOT_HIT], ==, 1);
	g_assert_cmpuint(seen[REFUSED], >, 0);
	if (scene->judge < HS_N_ROLES)
		g_assert_cmpuint(seen[BOTH_OK], ==, 0);
	drop_engine(&client);
	drop_engine(&server);
}

int main(int argc, char **argv)
{
	int r;

	g_test_init(&argc, &argv, NULL);
	pair_pki_new();
	for (size_t i = 0; i < G_N_ELEMENTS(scenes); i++) {
		g_autofree char *path = g_strconcat("/session-memory/", scenes[i].name, NULL);

		g_test_add_data_func(path, &scenes[i], test_scene);
	}
	r = g_test_run();
	pair_pki_free();
	return r;
}
