// SPDX-License-Identifier: GPL-2.0
/*
 * ACCEPT with lent credentials: io_uring sends with those that it was told to
 * keep, and they must not be changed.
 */
#include <linux/io_uring.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "upcall.h"

/* One entry at a time. */
struct ring {
	int fd;
	struct io_uring_params params;
	size_t size;
	char *rings;
	struct io_uring_sqe *entry;
};

static int ring_open(struct ring *ring)
{
	struct io_uring_params *p = &ring->params;

	memset(ring, 0, sizeof(*ring));
	ring->fd = (int)syscall(SYS_io_uring_setup, 1, p);
	if (ring->fd < 0)
		return -errno;
	ring->size = p->sq_off.array + p->sq_entries * sizeof(uint32_t);
	if (ring->size < p->cq_off.cqes + p->cq_entries * sizeof(struct io_uring_cqe))
		ring->size = p->cq_off.cqes + p->cq_entries * sizeof(struct io_uring_cqe);
	ring->rings = mmap(NULL, ring->size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE,
			   ring->fd, IORING_OFF_SQ_RING);
	ring->entry = mmap(NULL, sizeof(*ring->entry), PROT_READ | PROT_WRITE,
			   MAP_SHARED | MAP_POPULATE, ring->fd, IORING_OFF_SQES);
	if (ring->rings == MAP_FAILED || ring->entry == MAP_FAILED)
		bail_out("no memory of io_uring: %s", strerror(errno));
	return 0;
}

static void ring_close(struct ring *ring)
{
	munmap(ring->entry, sizeof(*ring->entry));
	munmap(ring->rings, ring->size);
	close(ring->fd);
}

static uint32_t *word(struct ring *ring, uint32_t offset)
{
	return (uint32_t *)(ring->rings + offset);
}

/* As sendmsg(), or a negative errno. */
static int ring_sendmsg(struct ring *ring, int fd, const struct msghdr *header,
			uint16_t personality)
{
	const struct io_uring_params *p = &ring->params;
	const struct io_uring_cqe *done = (void *)(ring->rings + p->cq_off.cqes);
	uint32_t head;

	*ring->entry = (struct io_uring_sqe) {
		.opcode = IORING_OP_SENDMSG, .fd = fd, .addr = (uintptr_t)header, .len = 1,
		.personality = personality,
	};
	*word(ring, p->sq_off.array) = 0;
	__atomic_fetch_add(word(ring, p->sq_off.tail), 1, __ATOMIC_RELEASE);
	if (syscall(SYS_io_uring_enter, ring->fd, 1, 1, IORING_ENTER_GETEVENTS, NULL, 0) != 1)
		return -errno;
	head = __atomic_load_n(word(ring, p->cq_off.head), __ATOMIC_ACQUIRE);
	done += head & *word(ring, p->cq_off.ring_mask);
	head = (uint32_t)done->res;
	__atomic_fetch_add(word(ring, p->cq_off.head), 1, __ATOMIC_RELEASE);
	return (int)head;
}

static void lent(struct ring *ring, struct nl *nl, uint16_t personality)
{
	struct iovec part;
	struct msghdr header = { .msg_iov = &part, .msg_iovlen = 1 };
	struct accepted acc;
	struct call call;
	struct msg msg;

	call_open(&call);
	call_start(&call);
	ok(nl_wait_ready(nl, 3000), "lent credentials: READY");
	msg_init(&msg, nl->family, HANDSHAKE_CMD_ACCEPT);
	msg_put_u32(&msg, HANDSHAKE_A_ACCEPT_HANDLER_CLASS, CLASS_TLSHD);
	msg.nl.nlmsg_flags = NLM_F_REQUEST | NLM_F_ACK;
	msg.nl.nlmsg_seq = ++nl->seq;
	part = (struct iovec) { .iov_base = &msg, .iov_len = msg.nl.nlmsg_len };
	is(ring_sendmsg(ring, nl->fd, &header, personality), (long)part.iov_len,
	   "lent credentials: ACCEPT is sent");
	is(nl_answer(nl, NULL), -EPERM, "ACCEPT: lent credentials");
	is(accept_wait(nl, &acc, 3000), 0, "lent credentials: the request goes on");
	is(call_finish(&call, nl, &acc), 0, "lent credentials: and ends well");
}

void test_credentials(void)
{
	struct ring ring;
	struct nl nl;
	long kept;
	int ret;

	if (!ours) {
		skip("with a keyring the kernel would not live on", "ACCEPT: lent credentials");
		return;
	}
	ret = ring_open(&ring);
	if (ret) {
		skip(strerror(-ret), "ACCEPT: lent credentials, by io_uring");
		return;
	}
	if (nl_open(&nl) || nl_listen(&nl))
		bail_out("no netlink socket");
	kept = syscall(SYS_io_uring_register, ring.fd, IORING_REGISTER_PERSONALITY, NULL, 0);
	ok(kept > 0, "io_uring keeps our credentials");
	/* Now ours are others, though the same is in them. */
	ok(!prctl(PR_SET_KEEPCAPS, 0, 0, 0, 0), "our credentials are replaced");
	lent(&ring, &nl, (uint16_t)kept);
	nl_close(&nl);
	ring_close(&ring);
}
