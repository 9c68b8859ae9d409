/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The other end: the TLS library's, with what the input changes in what it says. */
#ifndef TLSHD_TESTS_FUZZ_PEER_H
#define TLSHD_TESTS_FUZZ_PEER_H

#include "fuzz-tls.h"

#define FUZZ_PSK "a key of thirty-two bytes, a PSK"
#define FUZZ_PSK_IDENTITY "somebody"

struct peer_config {
	bool server, psk;
	enum shown shown;
	unsigned int cipher;
	bool odd_group;
	bool closes;
};

struct peer;

/* Takes its changes from @in, which has to stay. */
struct peer *peer_new(const struct peer_config *config, struct input *in);
/* Goes on as far as it can. Returns whether anything moved. */
bool peer_step(struct peer *peer);
/* NULL is fine. */
void peer_free(struct peer *peer);

#endif
