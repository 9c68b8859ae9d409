/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What this kernel can do for us. Trying it takes a TCP connection to ourselves, which the
 * confined daemon may not make: its unit runs "tlshd --probe=FILE" first, outside of the
 * confinement, and the daemon reads what that found.
 */
#ifndef TLSHD_MONITOR_PROBE_H
#define TLSHD_MONITOR_PROBE_H

#include <stdbool.h>
#include <stdint.h>

#include "common/log.h"

/* Below $RUNTIME_DIRECTORY, which systemd sets (RuntimeDirectory=). */
#define PROBE_FILE "kernel"

/*
 * The ciphers the kernel's TLS has, as a mask of 1 << enum ktls_cipher; also makes the kernel
 * load its modules (ktls_probe()). Where no connection may be made (-EAFNOSUPPORT) the answer is
 * that of probe_main(), from $RUNTIME_DIRECTORY. Returns 0 or a negative errno.
 */
int probe_ciphers(uint32_t *ret_mask);

/* Is @error, of probe_ciphers(), one that says nothing of the kernel and will pass? */
bool probe_is_shortage(int error);

/* The file of probe_main(): "ciphers=AES-128-GCM,AES-256-GCM". Pure, for both; -EBADMSG. */
void probe_format(uint32_t mask, char *buf, size_t size);
int probe_parse(const char *text, uint32_t *ret_mask);

/*
 * tlshd --probe: says on standard output what the kernel has, and writes it for the daemon to @path
 * (NULL: nowhere), by rename. Returns EX_OK; EX_UNAVAILABLE when something is missing, which is
 * written all the same; EX_TEMPFAIL for a shortage, which is written, too, as well as that can be;
 * another of sysexits.h with an error on @log.
 */
int probe_main(const char *path, const struct log *log);

#endif
