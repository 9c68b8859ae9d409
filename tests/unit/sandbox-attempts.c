// SPDX-License-Identifier: GPL-2.0-or-later
#include "sandbox-attempts.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/tls.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/timerfd.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "common/channel.h"
#include "common/demote.h"
#include "common/ktls.h"

/* ---- what must be refused ----------------------------------------------------------------- */

static long try_open(const struct have *h)
{
	return open("/etc/passwd", O_RDONLY);
}

static long try_open_nothing(const struct have *h)
{
	return open("/proc/nonexistent", O_RDONLY | O_CREAT | O_EXCL, 0600);	/* nobody can */
}

static long try_stat(const struct have *h)
{
	struct stat st;

	return stat("/etc/passwd", &st);
}

static long try_readlink(const struct have *h)
{
	char buf[64];

	return readlink("/proc/self/exe", buf, sizeof(buf));
}

static long try_socket(const struct have *h)
{
	return socket(AF_INET, SOCK_STREAM, 0);
}

static long try_socketpair(const struct have *h)
{
	int fds[2];

	return socketpair(AF_UNIX, SOCK_STREAM, 0, fds);
}

static long try_connect(const struct have *h)
{
	struct sockaddr_in addr = {
		.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
	};

	return connect(h->tcp, (struct sockaddr *)&addr, sizeof(addr));
}

static long try_bind(const struct have *h)
{
	struct sockaddr_in addr = { .sin_family = AF_INET };

	return bind(h->tcp, (struct sockaddr *)&addr, sizeof(addr));
}

static long try_listen(const struct have *h)
{
	return listen(h->tcp, 1);
}

static long try_sendto(const struct have *h)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX, .sun_path = "/nonexistent" };

	return sendto(h->unix_socket, "x", 1, 0, (struct sockaddr *)&addr, sizeof(addr));
}

/* A connection that the peer has ended might be opened anew so, to another address. */
static long try_fastopen(const struct have *h)
{
	struct iovec iov = { .iov_base = (void *)(uintptr_t)"x", .iov_len = 1 };
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1 };

	return sendmsg(h->tcp, &msg, MSG_FASTOPEN | MSG_DONTWAIT | MSG_NOSIGNAL);
}

static long try_send_oob(const struct have *h)
{
	struct iovec iov = { .iov_base = (void *)(uintptr_t)"x", .iov_len = 1 };
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1 };

	return sendmsg(h->tcp, &msg, MSG_OOB | MSG_DONTWAIT | MSG_NOSIGNAL);
}

static long try_recvmsg_peek(const struct have *h)
{
	char byte;
	struct iovec iov = { .iov_base = &byte, .iov_len = 1 };
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1 };

	return recvmsg(h->tcp, &msg, MSG_PEEK | MSG_DONTWAIT);
}

static long try_recvfrom_all(const struct have *h)
{
	char byte;

	return recv(h->tcp, &byte, 1, MSG_WAITALL | MSG_DONTWAIT);
}

static long try_recvfrom_address(const struct have *h)
{
	struct sockaddr_storage addr;
	socklen_t len = sizeof(addr);
	char byte;

	return recvfrom(h->tcp, &byte, 1, MSG_DONTWAIT, (struct sockaddr *)&addr, &len);
}

static long try_reuseaddr(const struct have *h)
{
	int one = 1;

	return setsockopt(h->tcp, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
}

/* Level and name are each in the list, not the pair. */
static long try_mixed_option(const struct have *h)
{
	int one = 1;

	return setsockopt(h->tcp, SOL_TLS, TCP_ULP, &one, sizeof(one));
}

/* One at a level where it is another's: TCP_MAXSEG, TCP_KEEPINTVL. */
static long try_rx_of_tcp(const struct have *h)
{
	int value = 1000;

	return setsockopt(h->tcp, IPPROTO_TCP, TLS_RX, &value, sizeof(value));
}

static long try_payload_of_tcp(const struct have *h)
{
	int value = 10;

	return setsockopt(h->tcp, IPPROTO_TCP, TLS_TX_MAX_PAYLOAD_LEN, &value, sizeof(value));
}

static long try_nodelay(const struct have *h)
{
	int one = 1;

	return setsockopt(h->tcp, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
}

static long try_getsockopt(const struct have *h)
{
	int value;
	socklen_t len = sizeof(value);

	return getsockopt(h->tcp, SOL_SOCKET, SO_TYPE, &value, &len);
}

static long try_shutdown(const struct have *h)
{
	return shutdown(h->tcp, SHUT_RDWR);
}

static long try_execve(const struct have *h)
{
	char *const none[] = { NULL };

	return execve("/nonexistent", none, none);
}

static long try_execveat(const struct have *h)
{
	char *const none[] = { NULL };

	return syscall(SYS_execveat, h->memfd, "", none, none, AT_EMPTY_PATH);
}

static long try_fork(const struct have *h)
{
	pid_t pid = fork();

	if (pid == 0)
		_exit(0);
	return pid;
}

static long try_clone(const struct have *h)
{
	long pid = syscall(SYS_clone, SIGCHLD, NULL, NULL, NULL, NULL);

	if (pid == 0)
		_exit(0);
	return pid;
}

static long try_clone3(const struct have *h)
{
	return syscall(SYS_clone3, NULL, 0);
}

static long try_unshare(const struct have *h)
{
	return unshare(CLONE_NEWUSER);
}

static long try_ptrace(const struct have *h)
{
	return ptrace(PTRACE_SEIZE, h->other, NULL, NULL);
}

static long try_vm_readv(const struct have *h)
{
	char buf[8];
	struct iovec local = { .iov_base = buf, .iov_len = sizeof(buf) };
	struct iovec remote = { .iov_base = (void *)(uintptr_t)h->page, .iov_len = sizeof(buf) };

	return process_vm_readv(h->other, &local, 1, &remote, 1, 0);
}

static long try_vm_writev(const struct have *h)
{
	char buf[8] = "";
	struct iovec local = { .iov_base = buf, .iov_len = sizeof(buf) };
	struct iovec remote = { .iov_base = (void *)(uintptr_t)h->page, .iov_len = sizeof(buf) };

	return process_vm_writev(h->other, &local, 1, &remote, 1, 0);
}

static long try_pidfd(const struct have *h)
{
	return syscall(SYS_pidfd_open, h->other, 0);
}

static long try_kill(const struct have *h)
{
	return kill(h->other, SIGWINCH);
}

static long try_tgkill_other(const struct have *h)
{
	return syscall(SYS_tgkill, h->other, h->other, SIGABRT);
}

static long try_tgkill_thread(const struct have *h)
{
	return syscall(SYS_tgkill, getpid(), h->other, SIGABRT);
}

static long try_tgkill_group(const struct have *h)
{
	return syscall(SYS_tgkill, h->other, getpid(), SIGABRT);
}

static long try_tgkill_usr1(const struct have *h)
{
	signal(SIGUSR1, SIG_IGN);
	return raise(SIGUSR1);
}

static long try_mmap_exec(const struct have *h)
{
	return mmap(NULL, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) ==
	       MAP_FAILED ? -1 : 0;
}

static long try_mprotect_exec(const struct have *h)
{
	void *map = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	return mprotect(map, 4096, PROT_READ | PROT_EXEC);
}

static long try_mmap_shared(const struct have *h)
{
	return mmap(NULL, 4096, PROT_READ, MAP_SHARED, h->memfd, 0) == MAP_FAILED ? -1 : 0;
}

static long try_memfd(const struct have *h)
{
	return memfd_create("x", 0);
}

static long try_keyctl(const struct have *h)
{
	return syscall(SYS_keyctl, 0, -3, 0);
}

static long try_add_key(const struct have *h)
{
	return syscall(SYS_add_key, "user", "x", "y", 1, -2);
}

static long try_ioctl(const struct have *h)
{
	int n;

	return ioctl(h->tcp, FIONREAD, &n);
}

static long try_fcntl(const struct have *h)
{
	return fcntl(h->tcp, F_SETFL, O_NONBLOCK);
}

static long try_dup(const struct have *h)
{
	return dup2(h->memfd, STDERR_FILENO);
}

static long try_dumpable(const struct have *h)
{
	return prctl(PR_SET_DUMPABLE, 1, 0, 0, 0);
}

static long try_pdeathsig(const struct have *h)
{
	return prctl(PR_SET_PDEATHSIG, 0, 0, 0, 0);
}

static long try_setrlimit(const struct have *h)
{
	struct rlimit l;

	return getrlimit(RLIMIT_NOFILE, &l) < 0 ? -1 : setrlimit(RLIMIT_NOFILE, &l);
}

static long try_setuid(const struct have *h)
{
	return setresuid((uid_t)-1, (uid_t)-1, (uid_t)-1);
}

static long try_write_elsewhere(const struct have *h)
{
	return write(h->memfd, "x", 1);
}

static long try_writev_elsewhere(const struct have *h)
{
	struct iovec iov = { .iov_base = (void *)(uintptr_t)"x", .iov_len = 1 };

	return writev(h->memfd, &iov, 1);
}

static long try_io_uring(const struct have *h)
{
	return syscall(SYS_io_uring_setup, 0, NULL);
}

static long try_bpf(const struct have *h)
{
	return syscall(SYS_bpf, -1, NULL, 0);
}

static long try_userfaultfd(const struct have *h)
{
	return syscall(SYS_userfaultfd, -1);
}

const struct attempt sandbox_refused[] = {
	{ "open", try_open, "open" },
	{ "create", try_open_nothing, "open" },
	{ "stat", try_stat, "stat" },
	{ "readlink", try_readlink, "readlink" },
	{ "socket", try_socket, "socket" },
	{ "socketpair", try_socketpair, "socketpair" },
	{ "connect", try_connect, "connect" },
	{ "bind", try_bind, "bind" },
	{ "listen", try_listen, "listen" },
	{ "sendto-address", try_sendto, "sendto" },
	{ "sendmsg-fastopen", try_fastopen, "sendmsg" },
	{ "sendmsg-oob", try_send_oob, "sendmsg" },
	{ "recvmsg-peek", try_recvmsg_peek, "recvmsg" },
	{ "recvfrom-waitall", try_recvfrom_all, "recvfrom" },
	{ "recvfrom-address", try_recvfrom_address, "recvfrom" },
	{ "setsockopt-reuseaddr", try_reuseaddr, "setsockopt" },
	{ "setsockopt-mixed", try_mixed_option, "setsockopt" },
	{ "setsockopt-maxseg", try_rx_of_tcp, "setsockopt" },
	{ "setsockopt-keepintvl", try_payload_of_tcp, "setsockopt" },
	{ "setsockopt-nodelay", try_nodelay, "setsockopt" },
	{ "getsockopt", try_getsockopt, "getsockopt" },
	{ "shutdown", try_shutdown, "shutdown" },
	{ "execve", try_execve, "execve" },
	{ "execveat", try_execveat, "execveat" },
	{ "fork", try_fork, "clone" },
	{ "clone", try_clone, "clone" },
	{ "clone3", try_clone3, "clone3" },
	{ "unshare", try_unshare, "unshare" },
	{ "ptrace", try_ptrace, "ptrace" },
	{ "process_vm_readv", try_vm_readv, "process_vm_readv" },
	{ "process_vm_writev", try_vm_writev, "process_vm_writev" },
	{ "pidfd_open", try_pidfd, "pidfd_open" },
	{ "kill", try_kill, "kill" },
	{ "tgkill-other", try_tgkill_other, "tgkill" },
	{ "tgkill-thread", try_tgkill_thread, "tgkill" },
	{ "tgkill-group", try_tgkill_group, "tgkill" },
	{ "tgkill-usr1", try_tgkill_usr1, "tgkill" },
	{ "mmap-exec", try_mmap_exec, "mmap" },
	{ "mprotect-exec", try_mprotect_exec, "mprotect" },
	{ "mmap-shared", try_mmap_shared, "mmap" },
	{ "memfd_create", try_memfd, "memfd_create" },
	{ "keyctl", try_keyctl, "keyctl" },
	{ "add_key", try_add_key, "add_key" },
	{ "ioctl", try_ioctl, "ioctl" },
	{ "fcntl", try_fcntl, "fcntl" },
	{ "dup2", try_dup, "dup" },
	{ "prctl-dumpable", try_dumpable, "prctl" },
	{ "prctl-pdeathsig", try_pdeathsig, "prctl" },
	{ "setrlimit", try_setrlimit, "rlimit" },
	{ "setresuid", try_setuid, "setresuid" },
	{ "write-elsewhere", try_write_elsewhere, "write" },
	{ "writev-elsewhere", try_writev_elsewhere, "writev" },
	{ "io_uring_setup", try_io_uring, "io_uring_setup" },
	{ "bpf", try_bpf, "bpf" },
	{ "userfaultfd", try_userfaultfd, "userfaultfd" },
	{ NULL, NULL, NULL }
};

/* ---- what must go ------------------------------------------------------------------------- */

static long do_memory(const struct have *h)
{
	char *block = malloc(1 << 20), *more;

	if (!block)
		return -1;
	memset(block, 1, 1 << 20);
	more = realloc(block, 8 << 20);		/* mremap() */
	free(more ? more : block);
	block = mmap(NULL, 4096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (!more || block == MAP_FAILED || mprotect(block, 4096, PROT_READ | PROT_WRITE) < 0 ||
	    madvise(block, 4096, MADV_DONTDUMP) < 0)
		return -1;
	return munmap(block, 4096);
}

static long do_certificate(const struct have *h)
{
	off_t size = lseek(h->memfd, 0, SEEK_END);
	void *map = mmap(NULL, (size_t)size, PROT_READ, MAP_PRIVATE, h->memfd, 0);

	return map == MAP_FAILED || memcmp(map, "content", 7) != 0 ? -1 : close(h->memfd);
}

static long do_random(const struct have *h)
{
	char buf[32];

	return getrandom(buf, sizeof(buf), 0) == sizeof(buf) ? 0 : -1;
}

static long do_channel(const struct have *h)
{
	struct wire_message msg = { .type = WIRE_CANCEL, .cancel = 1 }, got;
	int fd = -1;

	return channel_send(CHILD_FD_PEER, &msg, h->memfd) < 0 ||
	       channel_wait(CHILD_FD_MONITOR, 1000) != -ETIMEDOUT ||
	       channel_recv(CHILD_FD_MONITOR, &got, &fd) != -EAGAIN ? -1 : 0;
}

static long do_events(const struct have *h)
{
	struct itimerspec when = { .it_value.tv_nsec = 1000 };
	struct epoll_event event = { .events = EPOLLIN };
	uint64_t ticks;

	if (epoll_ctl(h->epoll, EPOLL_CTL_ADD, h->timer, &event) < 0 ||
	    timerfd_settime(h->timer, 0, &when, NULL) < 0 ||
	    epoll_wait(h->epoll, &event, 1, 10000) != 1 ||
	    read(h->timer, &ticks, sizeof(ticks)) != sizeof(ticks))
		return -1;
	return epoll_ctl(h->epoll, EPOLL_CTL_DEL, h->timer, NULL);
}

static long do_clock(const struct have *h)
{
	struct timespec now;

	return syscall(SYS_clock_gettime, CLOCK_MONOTONIC, &now);
}

static long do_stream(const struct have *h)
{
	struct iovec iov = { .iov_base = (void *)(uintptr_t)"x", .iov_len = 1 };
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1 };
	struct sockaddr_storage addr;
	socklen_t len = sizeof(addr);
	char byte;

	if (sendmsg(h->tcp, &msg, MSG_DONTWAIT | MSG_NOSIGNAL) != 1 ||
	    recv(h->tcp, &byte, 1, MSG_DONTWAIT) != -1 || errno != EAGAIN ||
	    recv(h->tcp, &byte, 1, MSG_DONTWAIT | MSG_PEEK) != -1 || errno != EAGAIN)
		return -1;
	return getpeername(h->tcp, (struct sockaddr *)&addr, &len);
}

/* Whether the kernel has kTLS does not matter: that it is asked does. */
static long do_options(const struct have *h)
{
	char zeros[64] = "";

	setsockopt(h->tcp, IPPROTO_TCP, TCP_ULP, "tls", 3);
	setsockopt(h->tcp, SOL_TLS, TLS_TX_MAX_PAYLOAD_LEN, zeros, 2);
	setsockopt(h->tcp, SOL_TLS, TLS_TX, zeros, 40);
	setsockopt(h->tcp, SOL_TLS, TLS_RX, zeros, 40);
	return 0;
}

static long do_stderr(const struct have *h)
{
	return write(STDERR_FILENO, "a last word", 11) == 11 ? 0 : -1;
}

const struct attempt sandbox_possible[] = {
	{ "memory", do_memory, NULL },
	{ "certificate", do_certificate, NULL },
	{ "random", do_random, NULL },
	{ "channel", do_channel, NULL },
	{ "clock", do_clock, NULL },
	{ "events", do_events, "timerfd_settime" },
	{ "stream", do_stream, "recvfrom" },
	{ "socket-options", do_options, "setsockopt" },
	{ "stderr", do_stderr, NULL },
	{ NULL, NULL, NULL }
};
