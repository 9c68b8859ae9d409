/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Keys and keyrings of the kernel (keyrings(7), keyctl(2)). The only user of
 * libkeyutils in the monitor; a failure is a negative errno:
 *
 *   -ENOKEY		there is none, or it is gone
 *   -EKEYEXPIRED, -EKEYREVOKED	there is one, and its time is over
 *   -EKEYREJECTED	it was never given a content
 *   -EACCES		its permissions do not let us
 *
 * Serials are those of real keys; the negative ones, which stand for a keyring
 * of the caller (KEY_SPEC_*), are -ENOKEY everywhere.
 */
#ifndef TLSHD_MONITOR_KEYRING_H
#define TLSHD_MONITOR_KEYRING_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/handshake.h"
#include "common/secret.h"

/*
 * Is @line (without its newline) of /proc/keys a keyring of exactly this @name
 * that belongs to uid 0 and is not revoked, dead, expired or negative? Pure. A
 * description may hold a newline and so make up a line of its own: what is
 * found here has to be confirmed by key_describe().
 */
bool keyring_parse_line(const char *line, const char *name, int32_t *ret_serial);

/*
 * The keyring called @name that belongs to uid 0, wherever it hangs; of several
 * the one with the lowest serial. Returns 0; -ENOKEY: there is none now; or the
 * error of opening /proc/keys.
 */
int keyring_find(const char *name, int32_t *ret_serial);

struct keyring_use {
	const char *name;	/* borrowed; NULL: the request's keyring */
	int32_t serial;		/* 0: there is no such keyring now */
	bool linked;		/* by us, so it is ours to unlink */
	int error;		/* negative: it could not be linked; it may be usable all the same */
};

/* Keyrings whose content this process possesses for a while. All zero: closed. */
struct keyring_scope {
	struct keyring_use *uses;	/* in the order given, the request's first */
	unsigned int n;
};

/*
 * Looks up the keyrings called @names (NULL-terminated, or NULL; borrowed while
 * the scope is open) as they are now (what the process keyring has of that name
 * and uid 0, else as keyring_find()), and links them and @keyring (a serial; 0:
 * none) into the process keyring: permissions of a possessor hold until
 * keyring_scope_close(). What is there already, by ACCEPT or by another scope,
 * is left as it is. That a keyring is not there or cannot be linked is noted in
 * its struct keyring_use. Returns 0, or -ENOMEM, -EMFILE or -ENFILE, with nothing
 * linked, when it could not look: no key is missing for that.
 */
int keyring_scope_open(struct keyring_scope *scope, const char *const *names, int32_t keyring);

/* The outcome and the reason for what keyring_scope_open() returned. */
enum hs_outcome keyring_scope_fault(int error, char *reason, size_t reason_size);

/*
 * Adds to @reason, why a key was not found or may not be read, that a keyring of
 * @scope is there but could not be linked, if so, and what to do about that.
 */
void keyring_scope_explain(const struct keyring_scope *scope, char *reason, size_t reason_size);

/* Unlinks what it linked. May be called again, and on a scope never opened but zeroed. */
void keyring_scope_close(struct keyring_scope *scope);

/* @own, then @configured (both NULL-terminated, or NULL): one list, to be freed; NULL: no memory. */
const char **keyring_names(const char *const *own, const char *const *configured);

/*
 * Takes all links out of the process keyring: those ACCEPT makes pile up
 * otherwise. Not while a scope is open.
 */
void keyring_drop_links(void);

#define KEYRING_LOOKED_AT 2000	/* keys at most in one search, at up to 6 us each */

/* A key that stands in the way of another's being found. */
struct keyring_suspect {
	int32_t serial;		/* the first of them; 0: there is none, or it cannot be told which */
	int error;		/* -EKEYEXPIRED, -EKEYREVOKED, -EACCES; -E2BIG: too many to look at */
	unsigned int n;		/* how many there are */
};

/*
 * Looks in @keyring and the keyrings in it for a key of this @type and exactly this @description.
 * Returns 0 or a negative errno; an expired, revoked or denied key is reported only when there is
 * no good one. @suspect is filled in always: after one of these three errors it is the key that
 * has it; after -ENOKEY it is dead keys, one of which may be the one that was meant: with type
 * "psk" that cannot be told. Strangers cause this: the time it takes depends on what is in
 * @keyring, with a limit, and never on the keys of the system.
 */
int keyring_search(int32_t keyring, const char *type, const char *description,
		   int32_t *ret_serial, struct keyring_suspect *suspect);

#define KEY_TYPE_MAX 32			/* include/linux/key-type.h: add_key(2) takes 31 bytes and a NUL */
#define KEY_DESCRIPTION_MAX 4096	/* NUL included; add_key(2) */

struct key_info {
	char type[KEY_TYPE_MAX];
	uint32_t uid;
	uint32_t perm;		/* KEY_POS_VIEW ... KEY_OTH_SETATTR, keyctl_setperm(3) */
	char description[KEY_DESCRIPTION_MAX];	/* any byte but NUL */
};

/* Whole or an error: -EMSGSIZE when a field does not fit, -EBADMSG when there is one too few. */
int key_describe(int32_t serial, struct key_info *ret);

/* The bytes a key has at the moment, without reading them; or a negative errno. */
int key_length(int32_t serial);

/*
 * Reads a key into a new locked buffer, @max bytes at most. Returns 0; -EFBIG:
 * it is longer; -EOPNOTSUPP: a type that cannot be read; secret_new()'s errors.
 */
int key_read(int32_t serial, size_t max, struct secret **ret);

/*
 * What @error, of one of the calls above, means for a handshake. @what and
 * @serial name the key in the sentence written to @reason, which also says what
 * to do: "pre-shared key 0x1a2b3c4d has expired; ...". @what is "pre-shared",
 * "private" or the like.
 */
enum hs_outcome key_fault(const char *what, int32_t serial, int error, char *reason,
			  size_t reason_size);

static inline void keyring_scope_closep(struct keyring_scope *scope)
{
	keyring_scope_close(scope);
}

#endif
