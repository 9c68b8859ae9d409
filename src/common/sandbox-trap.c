// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The handler runs where a system call was refused. All it uses is on its own stack,
 * but for the call's name, which libseccomp returns in a block of malloc()'s: if it was
 * malloc() that asked, its state may be broken. Therefore the number is sent first
 * there, and a second refusal inside of the handler ends the process anyhow.
 */
#include "common/sandbox-trap.h"

#include <errno.h>
#include <seccomp.h>
#include <signal.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/syscall.h>
#include <ucontext.h>
#include <unistd.h>

#include "common/channel.h"
#include "common/child.h"
#include "common/demote.h"
#include "common/text.h"

/* System call arguments 0 to 3, as the kernel got them. */
static void arguments(const ucontext_t *uc, uint64_t ret[4])
{
#if defined(__x86_64__)
	static const int reg[4] = { REG_RDI, REG_RSI, REG_RDX, REG_R10 };

	for (unsigned int i = 0; i < 4; i++)
		ret[i] = (uint64_t)uc->uc_mcontext.gregs[reg[i]];
#elif defined(__aarch64__)
	for (unsigned int i = 0; i < 4; i++)
		ret[i] = uc->uc_mcontext.regs[i];
#else
	for (unsigned int i = 0; i < 4; i++)
		ret[i] = 0;
#endif
}

static void tell(const char *name, const siginfo_t *si, const uint64_t arg[4])
{
	struct wire_message msg = { .type = WIRE_LOG, .text.priority = LOG_ERR };

	snprintf(msg.text.text, sizeof(msg.text.text),
		 "the sandbox forbids %s, system call %d (%#llx, %#llx, %#llx, %#llx), at %p", name,
		 si->si_syscall, (unsigned long long)arg[0], (unsigned long long)arg[1],
		 (unsigned long long)arg[2], (unsigned long long)arg[3], si->si_call_addr);
	child_send(CHILD_FD_MONITOR, &msg);
}

static bool malloc_uses(int nr)
{
	switch (nr) {
	case SYS_brk:
	case SYS_mmap:
	case SYS_mremap:
	case SYS_munmap:
	case SYS_mprotect:
	case SYS_madvise:
		return true;
	default:
		return false;
	}
}

static void on_sigsys(int signal_number, siginfo_t *si, void *ctx)
{
	char *name = NULL;
	uint64_t arg[4];

	arguments(ctx, arg);
	if (malloc_uses(si->si_syscall))
		tell("a call that malloc() uses", si, arg);
	name = seccomp_syscall_resolve_num_arch(si->si_arch, si->si_syscall);
	tell(name ? name : "an unknown call", si, arg);
	/* Blocked here, it comes again on return, and is the end then. */
	signal(SIGSYS, SIG_DFL);
	syscall(SYS_tgkill, getpid(), gettid(), SIGSYS);
}

int sandbox_trap(void)
{
	struct sigaction sa = { .sa_sigaction = on_sigsys, .sa_flags = SA_SIGINFO };

	return sigaction(SIGSYS, &sa, NULL) < 0 ? -errno : 0;
}
