// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * A peer that ends the connection in good order in the midst of a handshake, by the closure alerts
 * of RFC 8446 6.1: that passes, as a connection that breaks does, and no alert answers it.
 */
#include "hostile-world.h"

#define CLOSE_NOTIFY "\x01\x00"
#define USER_CANCELED "\x01\x5a"

/* When the alerts come. */
enum when {
	AT_ONCE,	/* before our first step */
	WAITED_FOR,	/* a client's hello is sent, a server has seen that there is nothing yet */
	ENCRYPTED,	/* after the hellos */
	IN_CLEAR,	/* the same, by an end that has no keys yet */
	N_WHEN,
};

static const char *const whens[] = { "at-once", "waited-for", "encrypted", "in-clear" };
_Static_assert(G_N_ELEMENTS(whens) == N_WHEN, "a time without a name");

static const struct closure {
	const char *name;
	const char *alerts[2];
	const char *reason;		/* of the last that is read */
	const char *first_reason;	/* where the first is the last that is read */
} closures[] = {
	{ "close-notify", { CLOSE_NOTIFY }, "close_notify(0)", "close_notify(0)" },
	/* RFC 8446 6: the level means nothing. */
	{ "fatal", { "\x02\x00" }, "close_notify(0)", "close_notify(0)" },
	{ "canceled", { USER_CANCELED, CLOSE_NOTIFY }, "close_notify(0)", "user_canceled(90)" },
};

static void say(struct hostile *h, const struct closure *c)
{
	forged_hold(&h->peer);
	for (unsigned int i = 0; i < G_N_ELEMENTS(c->alerts) && c->alerts[i]; i++)
		g_assert_true(forged_send(&h->peer, FP_ALERT, c->alerts[i], 2));
	g_assert_true(forged_release(&h->peer));
}

static void close_by(const struct closure *c, enum hs_role ours, enum when when)
{
	struct hostile h;

	hostile_open(&h, ours, NULL);
	if (when == WAITED_FOR)
		g_assert_false(hostile_settle(&h));
	if (when == ENCRYPTED || when == IN_CLEAR)
		hostile_greet(&h);
	if (when == IN_CLEAR)
		h.peer.mine.on = false;
	say(&h, c);
	g_assert_true(hostile_settle(&h));
	g_test_message("%s, %s: %s: %s; alert %d", hs_role_name(ours), whens[when],
		       hs_outcome_name(h.pair.result[ours].outcome), h.pair.result[ours].reason,
		       h.peer.alert);
	assert_outcome(&h.pair, ours, HS_CLOSED);
	assert_reason(&h.pair, ours, "closed the connection during the handshake");
	if (!strstr(h.pair.result[ours].reason, c->reason))
		assert_reason(&h.pair, ours, c->first_reason);
	assert_no_keys(&h.pair, ours);
	g_assert_cmpint(h.peer.alert, ==, -1);
	hostile_close(&h);
}

static void test_closed(gconstpointer data)
{
	for (unsigned int ours = 0; ours < HS_N_ROLES; ours++)
		for (unsigned int when = 0; when < N_WHEN; when++)
			close_by(data, ours, when);
}

int main(int argc, char **argv)
{
	char path[128];
	int r;

	g_test_init(&argc, &argv, NULL);
	pair_pki_new();
	for (size_t i = 0; i < G_N_ELEMENTS(closures); i++) {
		g_snprintf(path, sizeof(path), "/session-closed/%s", closures[i].name);
		g_test_add_data_func(path, &closures[i], test_closed);
	}
	r = g_test_run();
	pair_pki_free();
	return r;
}
