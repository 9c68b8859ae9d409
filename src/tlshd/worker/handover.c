// SPDX-License-Identifier: GPL-2.0-or-later
/* From the library to the kernel: the traffic keys of a finished handshake. */
#include "tlshd/worker/engine-private.h"

#include <string.h>

#include "common/text.h"

static bool find_cipher(gnutls_session_t tls, enum ktls_cipher *ret)
{
	switch (gnutls_cipher_get(tls)) {
	case GNUTLS_CIPHER_AES_128_GCM:
		*ret = KTLS_AES_128_GCM;
		return true;
	case GNUTLS_CIPHER_AES_256_GCM:
		*ret = KTLS_AES_256_GCM;
		return true;
	case GNUTLS_CIPHER_AES_128_CCM:
		*ret = KTLS_AES_128_CCM;
		return true;
	case GNUTLS_CIPHER_CHACHA20_POLY1305:
		*ret = KTLS_CHACHA20_POLY1305;
		return true;
	default:
		return false;
	}
}

static bool export_keys(struct session *s, bool receive, enum ktls_cipher cipher,
			struct ktls_keys *ret)
{
	gnutls_datum_t iv, key;	/* the library's own memory */
	uint8_t seq[8];
	unsigned int i;

	if (gnutls_record_get_state(s->tls, receive, NULL, &iv, &key, seq) < 0 ||
	    key.size != ktls_key_len(cipher) || iv.size != sizeof(ret->nonce))
		return false;
	memcpy(ret->key, key.data, key.size);
	memcpy(ret->nonce, iv.data, iv.size);
	ret->seq = 0;
	for (i = 0; i < sizeof(seq); i++)
		ret->seq = ret->seq << 8 | seq[i];
	return true;
}

static void refused_by_kernel(struct session *s, enum ktls_result result, const char *step,
			      enum ktls_cipher cipher)
{
	switch (result) {
	case KTLS_NO_ULP:
		verdict_set(&s->verdict, HS_KTLS, GNUTLS_A_INTERNAL_ERROR,
			    "the kernel has no kTLS for this socket: is module \"tls\" loaded, and is "
			    "it a TCP connection?");
		break;
	case KTLS_NO_RECORD_LIMIT:
		verdict_set(&s->verdict, HS_KTLS, GNUTLS_A_INTERNAL_ERROR,
			    "the %s takes records of at most %u bytes, which this kernel cannot "
			    "promise", session_peer_word(s), s->record_limit);
		break;
	default:
		verdict_set(&s->verdict, HS_KTLS, GNUTLS_A_INTERNAL_ERROR,
			    "the kernel's kTLS does not take the cipher %s (%s)",
			    ktls_cipher_name(cipher), step);
	}
	/* Only before a key is installed can we still speak for ourselves. */
	if (result == KTLS_NO_ULP || result == KTLS_NO_RECORD_LIMIT)
		gnutls_alert_send(s->tls, GNUTLS_AL_FATAL, s->verdict.alert);
}

void session_hand_over(struct session *s, struct hs_result *result)
{
	struct ktls_session keys = { .record_limit = s->record_limit };
	enum ktls_result ktls = KTLS_OK;
	const char *step = "";
	int r;

	if (!find_cipher(s->tls, &keys.cipher) ||
	    !export_keys(s, false, keys.cipher, &keys.tx) ||
	    !export_keys(s, true, keys.cipher, &keys.rx)) {
		verdict_set(&s->verdict, HS_INTERNAL, 0, "the TLS library does not give the keys");
	} else {
		text_copy(result->cipher, sizeof(result->cipher), ktls_cipher_name(keys.cipher));
		r = ktls_install(s->fd, &keys, s->engine->setsockopt_fn, &ktls, &step);
		if (r == -ENOTCONN)
			session_peer_gone(s);
		else if (r < 0)
			verdict_set(&s->verdict, hs_is_shortage(r) ? HS_BUSY : HS_KTLS, 0,
				    "the kernel did not take the keys: %s: %s", step, strerror(-r));
		else if (ktls != KTLS_OK)
			refused_by_kernel(s, ktls, step, keys.cipher);
	}
	gnutls_memset(&keys, 0, sizeof(keys));
}
