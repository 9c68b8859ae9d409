// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Handshakes in which one allocation fails, whichever: of our code or of a
 * library. A peer that must be refused is never taken for good by it, and two
 * ends that both succeed have the same keys. An end that says that memory was
 * short is busy, so that its consumer tries again. A library may give up
 * (SIGABRT, or worse): then the worker dies, which is answered; it is counted
 * here. What it takes for another fault, it does.
 *
 * Each try is a process of its own. TLSHD_MALLOC_STRIDE=1 tries every
 * allocation, the default one in STRIDE.
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
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
	BUSY,		/* the same, and memory was said to be short */
	MISTAKEN,	/* it was said, with an outcome that is final */
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
	void (*keys)(struct pair *p, enum hs_role i);	/* both ends ask for theirs; NULL: they do not */
	enum hs_auth auth;
	bool namesake;	/* the server's issuer is revoked, and another of its name is not */
};

/* As the worker does. */
static void keys_given(struct pair *p, enum hs_role i, int r)
{
	if (r >= 0)
		return;
	p->status[i] = SESSION_ENDED;
	p->result[i].outcome = hs_is_shortage(r) ? HS_BUSY : HS_INTERNAL;
	g_strlcpy(p->result[i].reason, strerror(-r), sizeof(p->result[i].reason));
}

static void give_psk(struct pair *p, enum hs_role i)
{
	keys_given(p, i, session_set_psk(p->session[i], HS_PSK_SHA256, "a key",
					 "0123456789abcdefghijklmnopqrstuv", 32));
}

static void give_certificate(struct pair *p, enum hs_role i)
{
	const char *pem = i == HS_CLIENT ? client_cert->pem : server_cert->pem;
	const struct engine_file file = { pem, strlen(pem), "certificate 0x1" };

	keys_given(p, i, session_set_certificate(p->session[i], &file));
}

static const struct scene scenes[] = {
	{ "good", HS_N_ROLES, false, NULL, HS_AUTH_X509, false },
	{ "untrusted-server", HS_CLIENT, false, NULL, HS_AUTH_X509, false },
	{ "wrong-name", HS_CLIENT, true, NULL, HS_AUTH_X509, false },
	{ "revoked-namesake", HS_CLIENT, false, NULL, HS_AUTH_X509, true },
	{ "untrusted-client", HS_SERVER, false, NULL, HS_AUTH_X509, false },
	{ "psk", HS_N_ROLES, false, give_psk, HS_AUTH_PSK, false },
	{ "own-certificates", HS_N_ROLES, false, give_certificate, HS_AUTH_X509, false },
};

/* What both ends ended with, for the parent: its child's output is nobody's. */
struct said {
	struct hs_result result[HS_N_ROLES];
};

static enum verdict judge_refusal(const struct pair *p)
{
	enum verdict v = BOTH_OK;

	for (unsigned int i = 0; i < HS_N_ROLES; i++) {
		const struct hs_result *result = &p->result[i];

		if (p->status[i] != SESSION_ENDED || result->outcome != HS_OK)
			v = MAX(v, REFUSED);
		if (strstr(result->reason, "memory"))
			v = MAX(v, result->outcome == HS_BUSY ? BUSY : MISTAKEN);
	}
	return v;
}

static enum verdict run_once(const struct scene *scene, struct pair *p, unsigned long n)
{
	enum verdict v;
	bool hit;

	pair_start(p);
	fail_malloc_begin(n, FAIL_ONCE);
	while (pair_step(p, HS_CLIENT) || pair_step(p, HS_SERVER))
		;
	hit = fail_malloc_end();
	if (scene->judge < HS_N_ROLES && p->status[scene->judge] == SESSION_ENDED &&
	    p->result[scene->judge].outcome == HS_OK)
		return WRONG;
	v = judge_refusal(p);
	if (!hit)
		return scene->judge < HS_N_ROLES || v == BOTH_OK ? NOT_HIT : MISTAKEN;
	if (v == BOTH_OK)
		assert_keys_agree(p);
	return v;
}

static enum verdict try_one(const struct scene *scene, struct side *client, struct side *server,
			    unsigned long n, struct said *said)
{
	struct pair p;
	enum verdict v;
	int status;
	pid_t pid;

	pair_open(&p, client, server);
	if (scene->bad_name)
		g_strlcpy(p.job[HS_CLIENT].peername, "other.example", HS_NAME_MAX);
	p.keys = scene->keys;
	for (unsigned int i = 0; i < HS_N_ROLES; i++) {
		p.job[i].auth = scene->auth;
		p.job[i].own_identity = scene->keys == give_certificate;
	}
	pid = fork();
	g_assert_cmpint(pid, >=, 0);
	if (!pid) {
		const struct rlimit none = { 0, 0 };

		setrlimit(RLIMIT_CORE, &none);
		alarm(30);
		if (!freopen("/dev/null", "w", stderr) || !freopen("/dev/null", "w", stdout))
			_exit(CRASHED);
		v = run_once(scene, &p, n);
		memcpy(said->result, p.result, sizeof(said->result));
		_exit(v);
	}
	g_assert_cmpint(waitpid(pid, &status, 0), ==, pid);
	pair_close(&p);
	/* A hang is no answer. */
	g_assert_false(WIFSIGNALED(status) && WTERMSIG(status) == SIGALRM);
	if (WIFSIGNALED(status))
		return WTERMSIG(status) == SIGABRT ? ABORTED : CRASHED;
	return (enum verdict)WEXITSTATUS(status);
}

/* Returns the server's certificate, by an authority that is revoked. All are the caller's. */
static struct pki_cert *make_namesakes(char **ret_store, char **ret_crl)
{
	const struct pki_spec authority = { .cn = "inter", .ca = true };
	const struct pki_spec spec = { .dns = { NAME }, .no_authority = true };
	struct pki_cert *fresh = pki_issue(&authority, ca), *old = pki_issue(&authority, ca);
	struct pki_cert *leaf = pki_issue(&spec, old);

	*ret_store = pki_chain(ca, fresh, old, NULL);
	*ret_crl = pki_crl(ca, old, -60, 3600);
	pki_free(fresh);
	pki_free(old);
	return leaf;
}

static void test_scene(gconstpointer data)
{
	const struct scene *scene = data;
	struct side client = plain_client(), server = plain_server();
	const char *text = getenv("TLSHD_MALLOC_STRIDE");
	unsigned long stride = text ? strtoul(text, NULL, 10) : STRIDE, n;
	unsigned int seen[CRASHED + 1] = { 0 }, tried = 0;
	g_autofree char *store = NULL, *crl = NULL;
	struct pki_cert *leaf = NULL;
	enum verdict v = REFUSED;
	struct said *said;

	said = mmap(NULL, sizeof(*said), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	g_assert_true(said != MAP_FAILED);
	if (scene->namesake) {
		server.key = leaf = make_namesakes(&store, &crl);
		server.chain = leaf->pem;
		client.trust = store;
		client.crl = crl;
	} else if (scene->judge == HS_CLIENT && !scene->bad_name) {
		client.trust = other_ca->pem;
	}
	if (scene->judge == HS_SERVER)
		server.trust = other_ca->pem;
	client.chain = client_cert->pem;
	client.key = client_cert;
	if (scene->keys == give_certificate)
		client.signs_as = server.signs_as = HS_IDENTITY_JOB;
	make_engine(&client);
	make_engine(&server);
	for (n = 1; v != NOT_HIT && n < MANY; n += stride) {
		v = try_one(scene, &client, &server, n, said);
		if (v == WRONG)
			g_error("accepted when allocation %lu failed", n);
		if (v == MISTAKEN)
			g_error("allocation %lu failed, and it is final: client %s: %s; server %s: %s", n,
				hs_outcome_name(said->result[HS_CLIENT].outcome),
				said->result[HS_CLIENT].reason,
				hs_outcome_name(said->result[HS_SERVER].outcome),
				said->result[HS_SERVER].reason);
		seen[v]++;
		tried++;
	}
	g_test_message("%s: %lu allocations, tried %u; both succeed %u, busy %u, refused %u, "
		       "aborted %u, crashed %u", scene->name, n - stride, tried - 1, seen[BOTH_OK],
		       seen[BUSY], seen[REFUSED], seen[ABORTED], seen[CRASHED]);
	g_assert_cmpuint(seen[NOT_HIT], ==, 1);
	g_assert_cmpuint(seen[BUSY], >, 0);
	if (scene->judge < HS_N_ROLES)
		g_assert_cmpuint(seen[BOTH_OK], ==, 0);
	drop_engine(&client);
	drop_engine(&server);
	munmap(said, sizeof(*said));
	pki_free(leaf);
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
