/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A handshake of ours in memory, against a peer of the TLS library's own whose
 * messages the input changes: before they are hashed and encrypted, so that both
 * sides agree on them; after that but inside of the encryption; or outside of
 * it. Or against no peer: then the input is all that one would have sent.
 *
 * Time stands still, and random numbers are the same for each input, so that an
 * input always does the same.
 *
 * Needs -Wl,--wrap=recv,--wrap=sendmsg,--wrap=getpeername,--wrap=time.
 */
#ifndef TLSHD_TESTS_FUZZ_TLS_H
#define TLSHD_TESTS_FUZZ_TLS_H

#include "common/handshake.h"
#include "fuzz.h"

/* Time, randomness. To be called first in each run; does what is done once only once. */
void fuzz_tls_reset(void);

/*
 * One handshake of @role as the input says:
 *
 *   byte 0	bits 0-1 what is asked for (enum wish), 2-3 the peer's certificate (enum
 *		shown), 4-5 its cipher, 6 its first group is one we do not take, 7 no peer
 *   byte 1	bytes we get in one read, 0: all there are
 *   byte 2	bits 0-1 what keys are answered with (enum answer), 2 the kernel says that
 *		the connection has gone, 3 the peer closes when it is done, 4 our
 *		certificate is Ed25519, 5 it is for another host, 6 writes are short
 *
 * then, with a peer, up to 8 changes: how (enum change), which message or record
 * of the peer (u8), where in it (u16), number of bytes (u8), bytes.
 */
void fuzz_handshake(enum hs_role role, const uint8_t *data, size_t size);

enum wish { WISH_X509, WISH_UNAUTH, WISH_PSK, WISH_OWN };
enum shown { SHOWN_GOOD, SHOWN_OTHER_KEY, SHOWN_STRANGER, SHOWN_NONE };
enum answer { ANSWER_GOOD, ANSWER_OTHER, ANSWER_REFUSED, ANSWER_NONE };

enum change {
	CHANGE_MESSAGE,		/* before it is hashed: bytes in place */
	CHANGE_MESSAGE_XOR,
	CHANGE_INSIDE,		/* a record, inside of its encryption: bytes in place */
	CHANGE_INSERT,
	CHANGE_DELETE,		/* as many bytes */
	CHANGE_OUTSIDE,		/* a record as it is sent: bytes in place */
	CHANGE_BEFORE,		/* bytes before it */
	CHANGE_END,		/* the connection ends before it, or in it */
	N_CHANGES,
};

#endif
