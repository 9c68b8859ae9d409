/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the monitor keeps of root's privileges, however it was started. */
#ifndef TLSHD_MONITOR_PRIVILEGES_H
#define TLSHD_MONITOR_PRIVILEGES_H

/*
 * Gives up, for good: all capabilities but CAP_NET_ADMIN (handshakes), CAP_KILL (to end its
 * children), CAP_DAC_READ_SEARCH (files of other accounts), CAP_IPC_LOCK (where the limit on locked
 * memory cannot be raised) and those its children need to become what they are, which it keeps
 * without being able to use them itself by accident; gaining any by exec (no_new_privs); and core
 * dumps. The unit leaves fewer. Limits have to be raised before.
 * Capabilities that are missing already are no error. Returns 0, or a negative errno with the
 * failing step in *@ret_step (static text).
 */
int privileges_reduce(const char **ret_step);

#endif
