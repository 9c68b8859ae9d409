// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The keys of a connection are the kernel's once it has them: what the worker had them in, and
 * what the library did while it derived them, lies on its stack until something else does.
 */
#include <stdint.h>
#include <string.h>

#include "common/ktls.h"
#include "tls-pair.h"

#define DEPTH (60u << 10)	/* bytes, below whoever asks */
#define KEY_BYTES 16		/* of the 16 or 32 */
#define INFO_KEY 12		/* struct tls12_crypto_info_*: where the key begins, ... */
#define INFO_KEY_CHACHA 16	/* ... behind an IV of 12 bytes */

/* Is @key anywhere on the stack that was in use a moment ago? It is read as it is: by no library. */
__attribute__((noinline, no_sanitize("address", "undefined")))
static bool stack_holds(const unsigned char *key)
{
	volatile unsigned char *end = __builtin_frame_address(0);
	bool found = false;

	for (volatile unsigned char *p = end - DEPTH; p < end - KEY_BYTES && !found; p++) {
		unsigned int n = 0;

		while (n < KEY_BYTES && p[n] == key[n])
			n++;
		found = n == KEY_BYTES;
	}
	return found;
}

/* Leaves it there. */
__attribute__((noinline))
static void use(const unsigned char *key)
{
	volatile unsigned char copy[2048];

	for (unsigned int i = 0; i < sizeof(copy); i++)
		copy[i] = key[i % KEY_BYTES];
}

static void test_control(void)
{
	unsigned char key[KEY_BYTES];

	for (unsigned int i = 0; i < sizeof(key); i++)
		key[i] = (unsigned char)g_test_rand_int();
	g_assert_false(stack_holds(key));
	use(key);
	g_assert_true(stack_holds(key));
}

/* Steps @i until it has ended, as far as that goes now. Returns whether its keys were left by then. */
static bool step(struct pair *p, enum hs_role i, size_t key_at)
{
	const struct kernel *k = &kernels[p->fd[i]];
	bool left = false;

	while (!left && pair_step(p, i) && p->status[i] == SESSION_ENDED)
		/* Nothing may be called in between. */
		left = stack_holds(k->tx + key_at) || stack_holds(k->rx + key_at);
	return left;
}

static void test_keys(gconstpointer data)
{
	enum ktls_cipher cipher = GPOINTER_TO_UINT(data);
	size_t at = cipher == KTLS_CHACHA20_POLY1305 ? INFO_KEY_CHACHA : INFO_KEY;
	struct side client = plain_client(), server = plain_server();
	struct pair p;

	client.ciphers = server.ciphers = 1u << cipher;
	pair_open(&p, &client, &server);
	pair_start(&p);
	while (p.status[HS_CLIENT] != SESSION_ENDED || p.status[HS_SERVER] != SESSION_ENDED)
		for (unsigned int i = 0; i < HS_N_ROLES; i++)
			g_assert_false(step(&p, i, at));
	assert_both_ok(&p);
	assert_keys_agree(&p);
	pair_close(&p);
}

int main(int argc, char **argv)
{
	int r;

	g_test_init(&argc, &argv, NULL);
	pair_pki_new();
	g_test_add_func("/handover/control", test_control);
	for (unsigned int i = 0; i < KTLS_N_CIPHERS; i++) {
		g_autofree char *path = g_strconcat("/handover/", ktls_cipher_name(i), NULL);

		g_test_add_data_func(path, GUINT_TO_POINTER(i), test_keys);
	}
	r = g_test_run();
	pair_pki_free();
	return r;
}
