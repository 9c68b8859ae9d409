// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The kernel's crypto_info structures differ only in the sizes of their
 * parts, and always follow in the order header, iv, key, salt, rec_seq. So one
 * table of sizes and one function lay out all ciphers.
 */
#include "common/ktls.h"

#include <arpa/inet.h>
#include <assert.h>
#include <errno.h>
#include <linux/tls.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stddef.h>
#include <string.h>

#include "common/cleanup.h"
#include "common/event-loop.h"
#include "common/passing.h"

#define CRYPTO_INFO_MAX sizeof(struct tls12_crypto_info_aes_gcm_256)

#define PROBE_TRIES 3		/* of a connection to probe one cipher on */
#define BACKLOG 128		/* others' connections, which any local user can make */
#define CONNECT_LIMIT 1500000	/* us; 1 s until TCP sends again what had no room in the queue */

static_assert(sizeof(struct tls12_crypto_info_chacha20_poly1305) <= CRYPTO_INFO_MAX, "");

struct cipher {
	const char *name;
	uint16_t id;		/* linux/tls.h */
	uint8_t key, salt, iv;	/* bytes; salt + iv are the nonce */
	uint8_t info;		/* sizeof the structure */
};

static const struct cipher ciphers[KTLS_N_CIPHERS] = {
	[KTLS_AES_128_GCM] = {
		"AES-128-GCM", TLS_CIPHER_AES_GCM_128, 16, 4, 8,
		sizeof(struct tls12_crypto_info_aes_gcm_128),
	},
	[KTLS_AES_256_GCM] = {
		"AES-256-GCM", TLS_CIPHER_AES_GCM_256, 32, 4, 8,
		sizeof(struct tls12_crypto_info_aes_gcm_256),
	},
	[KTLS_AES_128_CCM] = {
		"AES-128-CCM", TLS_CIPHER_AES_CCM_128, 16, 4, 8,
		sizeof(struct tls12_crypto_info_aes_ccm_128),
	},
	[KTLS_CHACHA20_POLY1305] = {
		"CHACHA20-POLY1305", TLS_CIPHER_CHACHA20_POLY1305, 32, 0, 12,
		sizeof(struct tls12_crypto_info_chacha20_poly1305),
	},
};

unsigned int ktls_key_len(enum ktls_cipher cipher)
{
	return ciphers[cipher].key;
}

const char *ktls_cipher_name(enum ktls_cipher cipher)
{
	return (unsigned int)cipher < KTLS_N_CIPHERS ? ciphers[cipher].name : "unknown";
}

/* The kernel's crypto_info for one direction. Returns its length. */
static socklen_t lay_out(const struct cipher *c, const struct ktls_keys *keys, uint8_t *buf)
{
	struct tls_crypto_info head = { .version = TLS_1_3_VERSION, .cipher_type = c->id };
	uint8_t *p = buf;

	p = mempcpy(p, &head, sizeof(head));
	p = mempcpy(p, keys->nonce + c->salt, c->iv);
	p = mempcpy(p, keys->key, c->key);
	p = mempcpy(p, keys->nonce, c->salt);
	for (int shift = 56; shift >= 0; shift -= 8)
		*p++ = keys->seq >> shift;	/* network byte order */
	assert(p - buf == c->info);
	return c->info;
}

static int set_keys(int fd, int direction, const struct cipher *c, const struct ktls_keys *keys,
		    ktls_setsockopt_fn set)
{
	uint8_t info[CRYPTO_INFO_MAX];
	socklen_t len = lay_out(c, keys, info);
	int r = set(fd, SOL_TLS, direction, info, len) < 0 ? -errno : 0;

	explicit_bzero(info, sizeof(info));
	return r;
}

/*
 * An option the kernel does not know is an outcome, not an error; so is a
 * cipher (ENOENT: no such algorithm, EINVAL: no such cipher type).
 */
static int classify(int r, enum ktls_result missing, enum ktls_result *ret_result)
{
	if (r != -ENOENT && r != -ENOPROTOOPT && r != -EINVAL && r != -EOPNOTSUPP)
		return r;
	*ret_result = missing;
	return 0;
}

int ktls_install(int fd, const struct ktls_session *s, ktls_setsockopt_fn set,
		 enum ktls_result *ret_result, const char **ret_step)
{
	static const char ulp[] = "tls";
	const struct cipher *c = &ciphers[s->cipher];
	int r;

	*ret_step = "TCP_ULP";
	if (set(fd, IPPROTO_TCP, TCP_ULP, ulp, sizeof(ulp) - 1) < 0)
		return classify(-errno, KTLS_NO_ULP, ret_result);

	if (s->record_limit < KTLS_RECORD_MAX) {
		uint16_t limit = s->record_limit;

		*ret_step = "TLS_TX_MAX_PAYLOAD_LEN";
		if (set(fd, SOL_TLS, TLS_TX_MAX_PAYLOAD_LEN, &limit, sizeof(limit)) < 0)
			return classify(-errno, KTLS_NO_RECORD_LIMIT, ret_result);
	}

	*ret_step = "TLS_TX";
	r = set_keys(fd, TLS_TX, c, &s->tx, set);
	if (r < 0)
		return classify(r, KTLS_NO_CIPHER, ret_result);
	*ret_step = "TLS_RX";
	r = set_keys(fd, TLS_RX, c, &s->rx, set);
	if (r < 0)
		return classify(r, KTLS_NO_CIPHER, ret_result);
	*ret_result = KTLS_OK;
	return 0;
}

static int socket_error(int fd)
{
	int error = 0;
	socklen_t len = sizeof(error);

	return getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &len) < 0 ? -errno : -error;
}

/* Takes one connection. Returns -EAGAIN when it was another's than that of @own, or has gone. */
static int accept_own(int listener, const struct sockaddr_in *own)
{
	struct sockaddr_in addr = { 0 };
	socklen_t len = sizeof(addr);
	CLEANUP_FD int peer = accept4(listener, (struct sockaddr *)&addr, &len, SOCK_CLOEXEC);

	if (peer < 0)
		return errno == ECONNABORTED || errno == EINTR ? -EAGAIN : -errno;
	if (addr.sin_port != own->sin_port || addr.sin_addr.s_addr != own->sin_addr.s_addr)
		return -EAGAIN;
	return TAKE_FD(peer);
}

/*
 * Any user may connect to @listener before @fd does, and may fill its queue: those that are not
 * @fd's are taken out until it has had its turn.
 */
static int await_own(int listener, int fd)
{
	struct pollfd fds[] = { { .fd = listener, .events = POLLIN }, { .fd = fd } };
	uint64_t end = clock_now() + CONNECT_LIMIT, t;
	struct sockaddr_in own = { 0 };
	socklen_t len = sizeof(own);

	if (getsockname(fd, (struct sockaddr *)&own, &len) < 0)
		return -errno;
	while ((t = clock_now()) < end) {
		int r = poll(fds, ARRAY_SIZE(fds), (int)((end - t) / 1000) + 1);

		if (r < 0 && errno != EINTR)
			return -errno;
		if (r <= 0)
			continue;
		if (fds[0].revents) {
			r = accept_own(listener, &own);
			if (r != -EAGAIN)
				return r;
		} else {
			r = socket_error(fd);
			return r < 0 ? r : -ECONNREFUSED;
		}
	}
	return -ETIMEDOUT;
}

/* An established connection to ourselves; both ends the caller's. */
static int loopback(int *ret_fd, int *ret_peer)
{
	struct sockaddr_in addr = {
		.sin_family = AF_INET,
		.sin_addr.s_addr = htonl(INADDR_LOOPBACK),
	};
	socklen_t len = sizeof(addr);
	int type = SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK;
	CLEANUP_FD int listener = socket(AF_INET, type, 0);
	CLEANUP_FD int fd = socket(AF_INET, type, 0);
	int peer;

	if (listener < 0 || fd < 0 ||
	    bind(listener, (struct sockaddr *)&addr, len) < 0 || listen(listener, BACKLOG) < 0 ||
	    getsockname(listener, (struct sockaddr *)&addr, &len) < 0 ||
	    (connect(fd, (struct sockaddr *)&addr, len) < 0 && errno != EINPROGRESS))
		return -errno;
	/* Not accepted it would be reset together with the listener. */
	peer = await_own(listener, fd);
	if (peer < 0)
		return peer;
	*ret_fd = TAKE_FD(fd);
	*ret_peer = peer;
	return 0;
}

static int probe_one(enum ktls_cipher cipher, enum ktls_result *ret_result)
{
	struct ktls_session s = { .cipher = cipher, .record_limit = KTLS_RECORD_MAX };
	CLEANUP_FD int fd = -1, peer = -1;
	const char *step;
	int r = loopback(&fd, &peer);

	if (r < 0)
		return r;
	r = ktls_install(fd, &s, setsockopt, ret_result, &step);
	/* Neither short of something nor reset: what is wrong is this cipher. */
	if (r < 0 && !is_passing(r) && r != -ENOBUFS && r != -ENOTCONN) {
		*ret_result = KTLS_NO_CIPHER;
		return 0;
	}
	return r;
}

int ktls_probe(uint32_t *ret_mask)
{
	uint32_t mask = 0;

	for (unsigned int i = 0; i < KTLS_N_CIPHERS; i++) {
		enum ktls_result result = KTLS_NO_ULP;
		int r = -EAGAIN;

		/* What failed is not missing: a cipher that is taken for that is so for good. */
		for (unsigned int n = 0; r < 0 && r != -ETIMEDOUT && n < PROBE_TRIES; n++)
			r = probe_one(i, &result);
		if (r < 0)
			return r;
		if (result == KTLS_OK)
			mask |= 1u << i;
	}
	*ret_mask = mask;
	return 0;
}
