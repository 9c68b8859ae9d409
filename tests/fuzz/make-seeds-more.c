// SPDX-License-Identifier: GPL-2.0-or-later
#include <linux/genetlink.h>
#include <linux/netlink.h>
#include <stdio.h>

#include "any-message.h"
#include "fuzz-tls.h"
#include "make-seeds.h"
#include "uapi/handshake.h"

static GByteArray *handshake(unsigned int what, unsigned int chunk, unsigned int more)
{
	GByteArray *out = g_byte_array_new();

	put_u8(out, what);
	put_u8(out, chunk);
	put_u8(out, more);
	return out;
}

static void change(GByteArray *to, enum change how, unsigned int which, unsigned int where,
		   const void *bytes, size_t len)
{
	put_u8(to, how);
	put_u8(to, which);
	put_u16(to, where);
	put_u8(to, (unsigned int)len);
	put(to, bytes, len);
}

static void write_both(const char *name, GByteArray *bytes)
{
	seed("server", name, bytes);
	seed("client", name, bytes);
	g_byte_array_unref(bytes);
}

/* Every choice of the first three bytes that leads somewhere, with nothing changed. */
static void plain_handshakes(void)
{
	char name[32];

	for (unsigned int what = 0; what < 0x80; what++) {
		/* Each cipher and the group once for each wish is enough. */
		if ((what & 0x70) && (what & 0x0c))
			continue;
		snprintf(name, sizeof(name), "plain-%02x", what);
		write_both(name, handshake(what, what & 4 ? 200 : 0, what & 8 ? 8 : 0));
	}
	for (unsigned int wish = 0; wish < 4; wish++) {
		for (unsigned int bit = 1; bit < 0x80; bit <<= 1) {
			snprintf(name, sizeof(name), "more-%u-%02x", wish, bit);
			write_both(name, handshake(wish, 0, bit));
		}
	}
}

/* Each kind of change at the first messages and records. */
static void changed_handshakes(void)
{
	static const uint8_t bytes[] = { 0xff, 0x00, 0x18, 0x03 };
	char name[32];

	for (unsigned int how = 0; how < N_CHANGES; how++) {
		for (unsigned int which = 0; which < 6; which++) {
			GByteArray *out = handshake(which & 1 ? WISH_PSK : WISH_X509, 0, 0);

			change(out, how, which, 1 + 7 * which, bytes, sizeof(bytes));
			snprintf(name, sizeof(name), "change-%u-%u", how, which);
			write_both(name, out);
		}
	}
}

static void no_tls(void)
{
	static const char http[] = "GET / HTTP/1.0\r\n\r\n", ssh[] = "SSH-2.0-x\r\n";
	static const uint8_t alert[] = { 21, 3, 1, 0, 2, 2, 40 };
	GByteArray *out = handshake(0x80, 0, 8);

	put(out, http, sizeof(http) - 1);
	write_both("http", out);
	out = handshake(0x80, 1, 0);
	put(out, ssh, sizeof(ssh) - 1);
	write_both("ssh", out);
	out = handshake(0x80, 0, 8);
	put(out, alert, sizeof(alert));
	write_both("alert", out);
	write_both("silence", handshake(0x80, 0, 0));
	write_both("end", handshake(0x82, 0, 8));
}

/* --- netlink, without libnl: the numbers are those of the kernel's headers --- */

#define FAMILY 27

static void put_u32(GByteArray *to, uint32_t value)
{
	put_u16(to, value & 0xffff);
	put_u16(to, value >> 16);
}

static void put_attr(GByteArray *to, unsigned int type, const void *bytes, size_t len)
{
	static const uint8_t zero[4];

	put_u16(to, (unsigned int)(NLA_HDRLEN + len));
	put_u16(to, type);
	put(to, bytes, len);
	put(to, zero, (4 - len % 4) % 4);
}

static void put_attr_u32(GByteArray *to, unsigned int type, uint32_t value)
{
	put_attr(to, type, &value, sizeof(value));
}

/* @content, which is freed, as one attribute. */
static void put_nest(GByteArray *to, unsigned int type, GByteArray *content)
{
	put_attr(to, type | NLA_F_NESTED, content->data, content->len);
	g_byte_array_unref(content);
}

/* A datagram of one message, an answer; @attrs is freed. */
static void put_message(GByteArray *to, unsigned int type, unsigned int flags, unsigned int cmd,
			GByteArray *attrs)
{
	unsigned int len = NLMSG_HDRLEN + GENL_HDRLEN + attrs->len;

	put_u8(to, 1);
	put_u16(to, len);
	put_u32(to, len);
	put_u16(to, type);
	put_u16(to, flags);
	put_u32(to, 0);
	put_u32(to, 0);
	put_u8(to, cmd);
	put_u8(to, 1);
	put_u16(to, 0);
	put(to, attrs->data, attrs->len);
	g_byte_array_unref(attrs);
}

static void put_error(GByteArray *to, int error)
{
	put_u8(to, 1);
	put_u16(to, 36);
	put_u32(to, 36);
	put_u16(to, NLMSG_ERROR);
	put_u16(to, 0);
	put_u32(to, 0);
	put_u32(to, 0);
	put_u32(to, (uint32_t)error);
	for (unsigned int i = 0; i < 4; i++)
		put_u32(to, 0);
}

static GByteArray *request(uint32_t type, uint32_t mode)
{
	GByteArray *out = g_byte_array_new();

	put_attr_u32(out, HANDSHAKE_A_ACCEPT_SOCKFD, 9);
	put_attr_u32(out, HANDSHAKE_A_ACCEPT_MESSAGE_TYPE, type);
	put_attr_u32(out, HANDSHAKE_A_ACCEPT_AUTH_MODE, mode);
	return out;
}

static GByteArray *whole_request(void)
{
	GByteArray *out = request(HANDSHAKE_MSG_TYPE_CLIENTHELLO, HANDSHAKE_AUTH_X509);
	GByteArray *cert = g_byte_array_new();

	put_attr_u32(out, HANDSHAKE_A_ACCEPT_TIMEOUT, 1000);
	put_attr(out, HANDSHAKE_A_ACCEPT_PEERNAME, "nfs.example.com", 16);
	for (uint32_t i = 0; i < 7; i++)
		put_attr_u32(out, HANDSHAKE_A_ACCEPT_PEER_IDENTITY, 77 + i);
	put_attr_u32(out, HANDSHAKE_A_ACCEPT_KEYRING, 78);
	put_attr_u32(cert, HANDSHAKE_A_X509_CERT, 79);
	put_attr_u32(cert, HANDSHAKE_A_X509_PRIVKEY, 80);
	put_nest(out, HANDSHAKE_A_ACCEPT_CERTIFICATE, cert);
	return out;
}

/* { index: { attribute: { TYPE: type } } } */
static void put_policy(GByteArray *to, unsigned int attribute, uint32_t type)
{
	GByteArray *description = g_byte_array_new(), *policy = g_byte_array_new();
	GByteArray *all = g_byte_array_new(), *message = g_byte_array_new();

	put_attr_u32(description, NL_POLICY_TYPE_ATTR_TYPE, type);
	put_nest(policy, attribute, description);
	put_nest(all, 0, policy);
	put_nest(message, CTRL_ATTR_POLICY, all);
	put_message(to, GENL_ID_CTRL, NLM_F_MULTI, CTRL_CMD_GETPOLICY, message);
}

static void put_operation(GByteArray *to)
{
	GByteArray *op = g_byte_array_new(), *all = g_byte_array_new();
	GByteArray *message = g_byte_array_new();

	put_attr_u32(op, CTRL_ATTR_POLICY_DO, 0);
	put_nest(all, HANDSHAKE_CMD_DONE, op);
	put_nest(message, CTRL_ATTR_OP_POLICY, all);
	put_message(to, GENL_ID_CTRL, NLM_F_MULTI, CTRL_CMD_GETPOLICY, message);
}

static void put_end(GByteArray *to)
{
	put_u8(to, 1);
	put_u16(to, 20);
	put_u32(to, 20);
	put_u16(to, NLMSG_DONE);
	put_u16(to, NLM_F_MULTI);
	for (unsigned int i = 0; i < 3; i++)
		put_u32(to, 0);
}

static void put_family(GByteArray *to, const char *group_name)
{
	GByteArray *group = g_byte_array_new(), *groups = g_byte_array_new();
	GByteArray *message = g_byte_array_new();
	uint16_t id = FAMILY;

	put_attr(message, CTRL_ATTR_FAMILY_ID, &id, sizeof(id));
	put_attr_u32(group, CTRL_ATTR_MCAST_GRP_ID, 6);
	put_attr(group, CTRL_ATTR_MCAST_GRP_NAME, group_name, strlen(group_name) + 1);
	put_nest(groups, 1, group);
	put_nest(message, CTRL_ATTR_MCAST_GROUPS, groups);
	put_message(to, GENL_ID_CTRL, 0, CTRL_CMD_NEWFAMILY, message);
}

static void netlink(void)
{
	GByteArray *out = g_byte_array_new();

	put_u8(out, 1 << 2);
	put_message(out, FAMILY, 0, HANDSHAKE_CMD_ACCEPT, whole_request());
	put_u8(out, 1 << 2);
	put_message(out, FAMILY, 0, HANDSHAKE_CMD_ACCEPT,
		    request(HANDSHAKE_MSG_TYPE_SERVERHELLO, HANDSHAKE_AUTH_PSK));
	put_u8(out, 1 << 2);
	put_error(out, -11);
	put_u8(out, 3 | 1 << 2 | 0x80);
	put_error(out, 0);
	seed("netlink", "accept", out);

	g_byte_array_set_size(out, 0);
	put_u8(out, 1 | 2 << 2);
	put_message(out, FAMILY, 0, HANDSHAKE_CMD_READY, g_byte_array_new());
	put_message(out, GENL_ID_CTRL, 0, CTRL_CMD_NEWFAMILY, g_byte_array_new());
	seed("netlink", "events", out);

	g_byte_array_set_size(out, 0);
	put_u8(out, 2 | 5 << 2);
	put_operation(out);
	put_policy(out, HANDSHAKE_A_DONE_STATUS, NL_ATTR_TYPE_U32);
	put_policy(out, HANDSHAKE_A_DONE_SOCKFD, NL_ATTR_TYPE_S32);
	put_policy(out, HANDSHAKE_A_DONE_REMOTE_AUTH, NL_ATTR_TYPE_U32);
	put_end(out);
	put_u8(out, 3 | 1 << 2 | 0x80);
	put_error(out, -22);
	seed("netlink", "policy", out);

	/* There; without the group; gone, with a DONE that cannot be sent. */
	g_byte_array_set_size(out, 0);
	put_u8(out, 2 | 1 << 2 | 0x20);
	put_family(out, "tlshd");
	put_u8(out, 2 | 1 << 2 | 0x20);
	put_family(out, "other");
	put_u8(out, 2 | 1 << 2 | 0x20);
	put_error(out, -2);
	put_u8(out, 3 | 1 << 2 | 0x80);
	put_error(out, 0);
	seed("netlink", "family", out);
	g_byte_array_unref(out);
}

/* --- sequences of messages for fuzz-monitor --- */

static void say(GByteArray *to, unsigned int who, const struct wire_message *msg)
{
	uint8_t buf[WIRE_MAX];
	int len = wire_encode(msg, buf);

	g_assert_cmpint(len, >, 0);
	put_u8(to, 0);
	put_u8(to, who);
	put_u16(to, (unsigned int)len);
	put(to, buf, (size_t)len);
}

/* A request, and what its worker (and keeper) say about it; patched to be the first one's. */
static GByteArray *served(unsigned int how, unsigned int request, enum hs_outcome outcome)
{
	GByteArray *out = g_byte_array_new();
	struct wire_message ask = { .type = WIRE_ASK }, loaded = { .type = WIRE_KEY_LOADED };
	struct wire_message refused = { .type = WIRE_REFUSED };
	struct wire_message result = { .type = WIRE_RESULT };

	put_u8(out, how);
	put_u8(out, 2);
	put_u8(out, request);
	if (request & 8 || (request & 6) == 2) {
		if ((request & 7) == 3)
			g_strlcpy(ask.ask.identity, "somebody", sizeof(ask.ask.identity));
		say(out, 8 | 2, &ask);
		refused.refused.outcome = HS_KEY_UNUSABLE;
		if (request & 8)
			say(out, 8 | 2 | 1, outcome == HS_OK ? &loaded : &refused);
	}
	result.result.outcome = outcome;
	result.result.peer_verified = outcome == HS_OK && (request & 6) == 4;
	put_u8(out, 7);
	put_u8(out, 7);
	/* The pair that was made last has it; the other must not speak for it. */
	say(out, 8 | (how & 1 ? 0 : 2), &result);
	say(out, 8 | (how & 1 ? 2 : 0), &result);
	put_u8(out, 6);
	return out;
}

static void monitor(void)
{
	struct wire_message log = { .type = WIRE_LOG, .text.priority = 3 };
	struct wire_message ready = { .type = WIRE_READY }, failed = { .type = WIRE_FAILED };
	char name[32];

	for (unsigned int request = 0; request < 16; request++) {
		for (unsigned int how = 0; how < 4; how++) {
			GByteArray *out = served(how, request, how & 1 ? HS_OK : HS_CERT_NAME);

			if (request & 1)
				say(out, how & 1, &log);
			put_u8(out, how + 2);
			put_u8(out, 2);
			g_snprintf(name, sizeof(name), "request-%u-%u", request, how);
			seed("monitor", name, out);
			g_byte_array_unref(out);
		}
	}
	for (unsigned int coming = 0; coming < 3; coming++) {
		GByteArray *out = g_byte_array_new();

		put_u8(out, 8 | (coming ? 4 : 0));
		for (unsigned int who = 0; who < 4; who++)
			say(out, who, &ready);
		say(out, 0, &log);
		failed.failed.passing = coming == 2;
		say(out, 2, coming ? &failed : &ready);
		put_u8(out, 6);
		g_snprintf(name, sizeof(name), "start-%u", coming);
		seed("monitor", name, out);
		g_byte_array_unref(out);
	}
}

/* Keys of jobs given, used, used again, forgotten. */
static void keeper(void)
{
	static const uint8_t events[][24] = {
		{ 2, 1, 0x10, 3, 1, 5, 1, 3, 1, 5, 1 },
		{ 2, 1, 0x15, 3, 1, 8 | 5, 1, 4, 1, 3, 1, 8 | 5, 1 },
		{ 2, 2, 0x0a, 3, 2, 4, 0, 2, 2, 0x0a, 2, 2, 0x0a },
		{ 2, 3, 0x0f, 2, 4, 0x11, 2, 5, 0x1c },
		{ 3, 9, 1, 1, 3, 9, 1, 3, 3, 9, 0, 0, 3, 9, 1, 9, 70, 0, 3, 9, 16, 1 },
		{ 3, 9, 2, 1, 3, 9, 3, 1, 4, 9 },
		/* A handshake that signs with our own key, twice; one forgotten first. */
		{ 5, 9, 1, 3, 9, 1, 1, 3, 9, 1, 1 },
		{ 5, 9, 1, 4, 9, 3, 9, 1, 1 },
		/* A client's key as a server, a server's as a client. */
		{ 2, 1, 0x00, 3, 1, 5, 1, 3, 1, 4, 0 },
		{ 2, 1, 0x10, 3, 1, 4, 0, 3, 1, 5, 1 },
	};
	char name[32];

	for (size_t i = 0; i < G_N_ELEMENTS(events); i++) {
		g_autoptr(GByteArray) out = g_byte_array_new();

		put(out, events[i], sizeof(events[i]));
		g_snprintf(name, sizeof(name), "events-%zu", i);
		seed("keeper", name, out);
	}
	for (enum wire_type type = WIRE_FILE; type < WIRE_N_TYPES; type++) {
		for (unsigned int who = 0; who < 4; who++) {
			g_autoptr(GByteArray) out = g_byte_array_new();
			struct wire_message *msg = g_new0(struct wire_message, 1);
			uint8_t *buf = g_malloc(WIRE_MAX);
			int len;

			any_message(type, msg);
			len = wire_encode(msg, buf);
			put_u8(out, who & 1);
			put_u8(out, who & 2 ? 1 : 0);
			put_u16(out, (unsigned int)len);
			put(out, buf, (size_t)len);
			g_snprintf(name, sizeof(name), "%u-%u", type, who);
			if (len > 0 && len < 1500)
				seed("keeper", name, out);
			g_free(msg);
			g_free(buf);
		}
	}
}

static void psk_key(GByteArray *out, unsigned int how, unsigned int errors, const char *described,
		    size_t size)
{
	put_u8(out, how);
	put_u8(out, errors);
	put_u16(out, (unsigned int)strlen(described));
	put(out, described, strlen(described));
	put_u8(out, (unsigned int)size);
	put(out, "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef0123456789", size);
}

/* One key, or the same twice with another type, and who asks: 0 for a client, 3 for a server. */
static void psk(void)
{
	static const char nqns[] = " nqn.2014-08.org.nvmexpress:uuid:1 nqn.test";
	static const char proc[] = "00000001 I--Q---     1 perm 3f0b0000     0     0 user      x: 32";
	static const struct {
		unsigned int how, errors;
		const char *identity;
		size_t size;
	} keys[] = {
		{ 17, 0, "NVMe0R01", 32 }, { 19, 0, "NVMe0R01", 32 }, { 17, 0, "NVMe0G02", 48 },
		{ 17, 0, "NVMe0R01", 48 }, { 25, 0, "NVMe0R01", 32 }, { 25, 0, "NVMe0R01", 24 },
		{ 81, 0, "NVMe0R01", 32 }, { 81, 0, "some other", 24 },
		{ 49, 0, "NVMe0R01", 32 }, { 21, 0, "NVMe0R01", 32 }, { 17, 0x0a, "NVMe0R01", 32 },
		{ 17, 0x0b, "NVMe0R01", 32 }, { 17, 0xc0, "NVMe0R01", 32 }, { 17, 0xf0, "NVMe0R01", 32 },
		{ 17, 0, "some other", 16 }, { 17, 0, "some other", 64 }, { 17, 0, "some other", 65 },
		{ 17, 0, "some other", 15 }, { 1, 0, "some other", 16 }, { 17, 0, "NVMe2R01", 32 },
		{ 16, 0, "user;0;0;3f0b0000", 32 }, { 16, 0, "user;0;0;3f0b0000;x;y", 32 },
		{ 16, 0, "logon;0;0;3f0b0000;x", 32 }, { 16, 0, ";;;;", 32 },
	};
	char name[32];

	for (size_t i = 0; i < 4 * G_N_ELEMENTS(keys); i++) {
		bool nvme = strncmp(keys[i / 4].identity, "NVMe", 4) == 0;
		g_autofree char *identity = g_strconcat(keys[i / 4].identity, nvme ? nqns : "", NULL);
		const char *wanted = strrchr(identity, ';');
		g_autoptr(GByteArray) out = g_byte_array_new();

		put_u8(out, (i & 1 ? 3 : 0) | (i & 2 ? 4 : 0));
		psk_key(out, keys[i / 4].how, keys[i / 4].errors, identity, keys[i / 4].size);
		if (i & 2)
			psk_key(out, keys[i / 4].how ^ 2, 0, identity, 32);
		wanted = wanted ? wanted + 1 : identity;
		put(out, wanted, strlen(wanted) + 1);
		put(out, proc, sizeof(proc) - 1);
		g_snprintf(name, sizeof(name), "key-%zu", i);
		seed("psk", name, out);
	}
}

void more_seeds(void)
{
	psk();
	keeper();
	monitor();
	netlink();
	plain_handshakes();
	changed_handshakes();
	no_tls();
}
