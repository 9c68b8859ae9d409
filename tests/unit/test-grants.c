// SPDX-License-Identifier: GPL-2.0-or-later
/* Which signatures are due, by themselves: the processes around them are in test-keeper. */
#include <errno.h>
#include <glib.h>

#include "tlshd/keeper/grants.h"

#define ROUNDS 20000
#define JOBS 12		/* few, so that they meet */

static enum grant_verdict take(struct grants *g, uint64_t job, enum hs_role role,
			       enum hs_identity identity)
{
	struct wire_sign sign = { .job = job, .role = role, .identity = identity };
	struct key *key = NULL;
	enum grant_verdict verdict = grants_take(g, &sign, &key);

	g_assert_null(key);
	return verdict;
}

static void test_once(void)
{
	struct grants g = { 0 };

	g_assert_cmpint(take(&g, 1, HS_SERVER, HS_IDENTITY_X509), ==, GRANT_NEVER);
	g_assert_cmpint(grants_add(&g, 1, HS_SERVER), ==, 0);
	g_assert_cmpint(grants_add(&g, 1, HS_SERVER), ==, -EEXIST);
	g_assert_cmpint(take(&g, 1, HS_CLIENT, HS_IDENTITY_X509), ==, GRANT_NEVER);
	g_assert_cmpint(take(&g, 1, HS_SERVER, HS_IDENTITY_JOB), ==, GRANT_NEVER);
	g_assert_cmpint(take(&g, 2, HS_SERVER, HS_IDENTITY_X509), ==, GRANT_NEVER);
	g_assert_cmpint(take(&g, 1, HS_SERVER, HS_IDENTITY_X509_PQ), ==, GRANT_GIVEN);
	g_assert_cmpint(take(&g, 1, HS_SERVER, HS_IDENTITY_X509), ==, GRANT_NEVER);
	g_assert_cmpuint(g.n, ==, 0);
	grants_clear(&g);
}

/* No more is forgiven than there was. */
static void test_ended(void)
{
	struct grants g = { 0 };

	grants_end(&g, 7);
	g_assert_cmpint(take(&g, 7, HS_CLIENT, HS_IDENTITY_X509), ==, GRANT_NEVER);
	for (uint64_t job = 1; job <= 3; job++)
		g_assert_cmpint(grants_add(&g, job, HS_CLIENT), ==, 0);
	grants_end(&g, 1);
	grants_end(&g, 1);
	grants_end(&g, 2);
	g_assert_cmpint(take(&g, 1, HS_CLIENT, HS_IDENTITY_X509), ==, GRANT_ENDED);
	g_assert_cmpint(take(&g, 2, HS_CLIENT, HS_IDENTITY_X509), ==, GRANT_ENDED);
	g_assert_cmpint(take(&g, 2, HS_CLIENT, HS_IDENTITY_X509), ==, GRANT_NEVER);
	g_assert_cmpint(take(&g, 3, HS_CLIENT, HS_IDENTITY_X509), ==, GRANT_GIVEN);
	/* What was used has not ended unused. */
	grants_end(&g, 3);
	g_assert_cmpint(take(&g, 3, HS_CLIENT, HS_IDENTITY_X509), ==, GRANT_NEVER);
}

static void test_full(void)
{
	struct grants g = { 0 };
	uint64_t job;

	for (job = 1; job <= GRANTS_MAX; job++)
		g_assert_cmpint(grants_add(&g, job, HS_SERVER), ==, 0);
	g_assert_cmpint(grants_add(&g, job, HS_SERVER), ==, -ENOSPC);
	/* Its worker keeps the rules and is refused, no more. */
	g_assert_cmpint(take(&g, job, HS_SERVER, HS_IDENTITY_X509), ==, GRANT_ENDED);
	grants_end(&g, GRANTS_MAX / 2);
	g_assert_cmpint(grants_add(&g, job, HS_SERVER), ==, 0);
	g_assert_cmpint(take(&g, job, HS_SERVER, HS_IDENTITY_X509), ==, GRANT_GIVEN);
	g_assert_cmpuint(g.n, ==, GRANTS_MAX - 1);
	grants_clear(&g);
	g_assert_cmpuint(g.n, ==, 0);
}

/* Against a model: never more signatures than grants, of the right role only. */
static void test_random(void)
{
	struct grants g = { 0 };
	int role_of[JOBS];	/* -1: not granted */
	unsigned int granted = 0, given = 0, unused = 0;

	for (unsigned int i = 0; i < JOBS; i++)
		role_of[i] = -1;
	for (unsigned int round = 0; round < ROUNDS; round++) {
		unsigned int i = (unsigned int)g_test_rand_int_range(0, JOBS);
		uint64_t job = (uint64_t)i * GRANT_BUCKETS + (i & 1);	/* chains, too */
		enum hs_role role = (enum hs_role)g_test_rand_int_range(0, HS_N_ROLES);

		switch (g_test_rand_int_range(0, 3)) {
		case 0:
			g_assert_cmpint(grants_add(&g, job, role), ==,
					role_of[i] < 0 ? 0 : -EEXIST);
			if (role_of[i] < 0) {
				role_of[i] = (int)role;
				granted++;
			}
			break;
		case 1:
			grants_end(&g, job);
			unused += role_of[i] >= 0;
			role_of[i] = -1;
			break;
		default:
			switch (take(&g, job, role, HS_IDENTITY_X509)) {
			case GRANT_GIVEN:
				g_assert_cmpint(role_of[i], ==, (int)role);
				role_of[i] = -1;
				given++;
				break;
			case GRANT_ENDED:
				g_assert_cmpint(role_of[i], ==, -1);
				g_assert_cmpuint(unused, >, 0);
				unused--;
				break;
			case GRANT_NEVER:
				g_assert_true(role_of[i] >= 0 ? role_of[i] != (int)role :
					      unused == 0);
				break;
			}
		}
	}
	g_assert_cmpuint(given, >, 0);
	g_assert_cmpuint(given, <=, granted);
	g_test_message("%u grants, %u signatures (limit %u)", granted, given, granted);
	grants_clear(&g);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/grants/once", test_once);
	g_test_add_func("/grants/ended", test_ended);
	g_test_add_func("/grants/full", test_full);
	g_test_add_func("/grants/random", test_random);
	return g_test_run();
}
