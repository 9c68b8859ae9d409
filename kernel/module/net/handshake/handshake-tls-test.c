// SPDX-License-Identifier: GPL-2.0
/*
 * KUnit tests of what consumers of TLS call: the request that is made of their
 * arguments, and alerts.
 */
#include <kunit/test.h>
#include <linux/bvec.h>
#include <linux/net.h>
#include <linux/socket.h>
#include <linux/string.h>
#include <linux/uio.h>
#include <net/handshake.h>
#include <net/netlink.h>
/* Before net/tls.h, which in older kernels has a macro for one of its names. */
#include <net/tls_prot.h>
#include <net/tls.h>

#include "handshake.h"

/* ---- requests ---- */

static bool contains(const struct sk_buff *msg, const char *text)
{
	size_t i, len = strlen(text);

	for (i = 0; i + len <= msg->len; i++)
		if (!memcmp(msg->data + i, text, len))
			return true;
	return false;
}

/* The name is the consumer's, and may be gone when the agent asks. */
static void test_peername(struct kunit *test)
{
	char name[] = "server.example.org";
	struct tls_handshake_args args = { .ta_peername = name };
	struct handshake_req *req;
	struct sk_buff *msg;

	msg = nlmsg_new(NLMSG_DEFAULT_SIZE, GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, msg);
	req = tls_request_alloc(&args, HANDSHAKE_MSG_TYPE_CLIENTHELLO,
				HANDSHAKE_AUTH_UNAUTH, 0, GFP_KERNEL);
	KUNIT_ASSERT_NOT_ERR_OR_NULL(test, req);
	memset(name, 'x', sizeof(name) - 1);
	KUNIT_EXPECT_EQ(test, 0, req->ops->accept(req, msg));
	KUNIT_EXPECT_TRUE(test, contains(msg, "server.example.org"));
	KUNIT_EXPECT_FALSE(test, contains(msg, "xxxx"));
	handshake_req_put(req);
	nlmsg_free(msg);
}

/* ---- the type of a record ---- */

static u8 type_of(int level, int type, u8 record)
{
	union {
		struct cmsghdr hdr;
		u8 space[CMSG_SPACE(sizeof(u8))];
	} control = {
		.hdr = {
			.cmsg_len = CMSG_LEN(sizeof(u8)),
			.cmsg_level = level,
			.cmsg_type = type,
		},
	};

	*(u8 *)CMSG_DATA(&control.hdr) = record;
	return tls_get_record_type(NULL, &control.hdr);
}

static void test_record_type(struct kunit *test)
{
	KUNIT_EXPECT_EQ(test, TLS_RECORD_TYPE_ALERT,
			type_of(SOL_TLS, TLS_GET_RECORD_TYPE,
				TLS_RECORD_TYPE_ALERT));
	KUNIT_EXPECT_EQ(test, TLS_RECORD_TYPE_DATA,
			type_of(SOL_TLS, TLS_GET_RECORD_TYPE,
				TLS_RECORD_TYPE_DATA));
	KUNIT_EXPECT_EQ(test, 255, type_of(SOL_TLS, TLS_GET_RECORD_TYPE, 255));
}

static void test_no_record_type(struct kunit *test)
{
	KUNIT_EXPECT_EQ(test, 0, type_of(SOL_SOCKET, TLS_GET_RECORD_TYPE,
					 TLS_RECORD_TYPE_ALERT));
	KUNIT_EXPECT_EQ(test, 0, type_of(SOL_TLS, TLS_SET_RECORD_TYPE,
					 TLS_RECORD_TYPE_ALERT));
	KUNIT_EXPECT_EQ(test, 0, type_of(0, 0, TLS_RECORD_TYPE_ALERT));
}

/* ---- alerts ---- */

/* Nothing else is at its place. */
#define LEVEL		TLS_ALERT_LEVEL_WARNING
#define DESCRIPTION	TLS_ALERT_DESC_CERTIFICATE_EXPIRED

/* Is it understood as that? The iterator stays where it is. */
static void expect_alert(struct kunit *test, const struct msghdr *msg, u8 level,
			 u8 description)
{
	size_t count = iov_iter_count(&msg->msg_iter);
	size_t offset = msg->msg_iter.iov_offset;
	u8 got_level = 77, got_description = 77;

	tls_alert_recv(NULL, msg, &got_level, &got_description);
	KUNIT_EXPECT_EQ(test, got_level, level);
	KUNIT_EXPECT_EQ(test, got_description, description);
	KUNIT_EXPECT_EQ(test, iov_iter_count(&msg->msg_iter), count);
	KUNIT_EXPECT_EQ(test, msg->msg_iter.iov_offset, offset);
}

static void expect_no_alert(struct kunit *test, const struct msghdr *msg)
{
	expect_alert(test, msg, TLS_ALERT_LEVEL_FATAL,
		     TLS_ALERT_DESC_INTERNAL_ERROR);
}

static void test_alert(struct kunit *test)
{
	u8 bytes[2] = { LEVEL, DESCRIPTION };
	struct kvec kvec = { bytes, sizeof(bytes) };
	struct msghdr msg = { };

	iov_iter_kvec(&msg.msg_iter, READ, &kvec, 1, sizeof(bytes));
	expect_alert(test, &msg, LEVEL, DESCRIPTION);
	/* as recvmsg leaves it, and back */
	iov_iter_advance(&msg.msg_iter, sizeof(bytes));
	expect_no_alert(test, &msg);
	iov_iter_revert(&msg.msg_iter, sizeof(bytes));
	expect_alert(test, &msg, LEVEL, DESCRIPTION);
}

/* Where there is room for more, the iterator stays behind what was received. */
static void test_alert_not_reverted(struct kunit *test)
{
	u8 bytes[8] = { LEVEL, DESCRIPTION, 9, 9, 9, 9, 9, 9 };
	struct kvec kvec = { bytes, sizeof(bytes) };
	struct msghdr msg = { };

	iov_iter_kvec(&msg.msg_iter, READ, &kvec, 1, sizeof(bytes));
	iov_iter_advance(&msg.msg_iter, 2);
	expect_alert(test, &msg, LEVEL, DESCRIPTION);
	iov_iter_advance(&msg.msg_iter, 5);
	expect_alert(test, &msg, LEVEL, DESCRIPTION);
	iov_iter_advance(&msg.msg_iter, 1);
	expect_no_alert(test, &msg);
}

static void test_alert_second_kvec(struct kunit *test)
{
	u8 bytes[8] = { 9, 9, LEVEL, DESCRIPTION, 9, 9, 9, 9 };
	struct kvec kvecs[2] = { { bytes, 2 }, { bytes + 2, 6 } };
	struct msghdr msg = { };

	iov_iter_kvec(&msg.msg_iter, READ, kvecs, 2, sizeof(bytes));
	iov_iter_advance(&msg.msg_iter, 3);
	expect_alert(test, &msg, LEVEL, DESCRIPTION);
}

/* What is behind it is not taken for the rest. */
static void test_alert_cut(struct kunit *test)
{
	u8 bytes[2] = { LEVEL, DESCRIPTION };
	struct kvec one = { bytes, 1 };
	struct kvec two[2] = { { bytes, 1 }, { bytes + 1, 1 } };
	struct msghdr msg = { };

	iov_iter_kvec(&msg.msg_iter, READ, &one, 1, 1);
	expect_no_alert(test, &msg);
	one.iov_len = sizeof(bytes);
	iov_iter_kvec(&msg.msg_iter, READ, &one, 1, 1);
	expect_no_alert(test, &msg);
	iov_iter_kvec(&msg.msg_iter, READ, &one, 1, 0);
	expect_no_alert(test, &msg);
	iov_iter_kvec(&msg.msg_iter, READ, two, 2, sizeof(bytes));
	expect_no_alert(test, &msg);
}

static void test_alert_no_kvec(struct kunit *test)
{
	struct bio_vec bvec = { };
	struct msghdr msg = { };

	iov_iter_bvec(&msg.msg_iter, READ, &bvec, 1, 2);
	expect_no_alert(test, &msg);
	iov_iter_discard(&msg.msg_iter, READ, 2);
	expect_no_alert(test, &msg);
}

static struct kunit_case cases[] = {
	KUNIT_CASE(test_peername),
	KUNIT_CASE(test_record_type),
	KUNIT_CASE(test_no_record_type),
	KUNIT_CASE(test_alert),
	KUNIT_CASE(test_alert_not_reverted),
	KUNIT_CASE(test_alert_second_kvec),
	KUNIT_CASE(test_alert_cut),
	KUNIT_CASE(test_alert_no_kvec),
	{}
};

static struct kunit_suite suite = {
	.name		= "handshake-tls",
	.test_cases	= cases,
};

kunit_test_suites(&suite);
