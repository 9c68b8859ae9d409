// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * What a worker, in a stranger's hands, and the monitor say to a keeper, in
 * sequences. An input is a list of events:
 *
 *   0-1	bytes from the worker, from the monitor: flags (bit 0 with a descriptor, 1-2
 *		of what), u16 length, bytes
 *   2		the monitor gives a job's key: job, which key and certificate
 *   3		the worker asks for a signature: job, whose, algorithm, what to sign
 *   4		the monitor forgets a job
 *   5		the monitor announces a handshake: job, role
 *
 * What must hold: a signature is made of a CertificateVerify only, with a key
 * that is there for that job and that role, and for a job's key once.
 */
#include <fcntl.h>
#include <sys/mman.h>

#include "fixtures.h"
#include "fuzz-steady.h"
#include "fuzz.h"
#include "tlshd/keeper/keeper.c"

#define EVENTS_MAX 60
#define JOBS 256	/* a job's number is below, in what is checked */
#define CONTENT 130	/* bytes of a CertificateVerify's content, with SHA-256 */

static const struct {
	const char *pem, *cert;
} ours[] = {
	{ PEM_SERVER_KEY, PEM_SERVER_CRT }, { PEM_SERVER_ED_KEY, PEM_SERVER_ED_CRT },
	{ PEM_CLIENT_KEY, PEM_CLIENT_CRT }, { "no key", "no certificate" },
};

struct world {
	struct keeper k;
	int monitor, worker;	/* our ends */
	/* A job's key was given, or a handshake announced, and neither used nor forgotten. */
	bool may[JOBS][HS_N_ROLES], granted[JOBS][HS_N_ROLES];
	bool ended;
};

static struct world w;
static int certs[G_N_ELEMENTS(ours)];
static struct key *own;

static bool is_content(const struct wire_sign *s)
{
	const char *context = s->role == HS_SERVER ? "TLS 1.3, server CertificateVerify" :
						     "TLS 1.3, client CertificateVerify";

	if (s->len < 64 + 34 + 32)
		return false;
	for (unsigned int i = 0; i < 64; i++)
		if (s->data[i] != 0x20)
			return false;
	return memcmp(s->data + 64, context, 34) == 0;
}

static void check_signed(const struct wire_sign *asked, const struct wire_signed *got)
{
	g_assert_cmpuint(got->job, ==, asked->job);
	if (got->error) {
		g_assert_cmpuint(got->len, ==, 0);
		return;
	}
	g_assert_cmpuint(got->len, >, 0);
	g_assert_true(is_content(asked));
	if (asked->identity == HS_IDENTITY_JOB)
		g_assert_true(asked->job < JOBS && w.may[asked->job][asked->role]);
	else
		g_assert_true(asked->role == HS_SERVER && asked->identity == HS_IDENTITY_X509 &&
			      asked->job < JOBS && w.granted[asked->job][asked->role]);
}

/* Returns whether there is an answer. */
static bool read_answer(int end, struct wire_message *msg)
{
	CLEANUP_FD int fd = -1;
	int r = channel_recv(end, msg, &fd);

	if (r == -EAGAIN)
		return false;
	g_assert_cmpint(r, ==, 0);
	g_assert_cmpint(fd, ==, -1);
	return true;
}

static void note_end(void)
{
	int code;

	w.ended = sd_event_get_exit_code(w.k.event, &code) >= 0;
}

static void from_worker(const uint8_t *bytes, size_t len, int fd)
{
	static struct wire_message said, answer;
	int r = wire_decode(bytes, len, &said);

	say_bytes(w.worker, bytes, len, fd);
	on_worker(NULL, w.k.worker, EPOLLIN, &w.k);
	note_end();
	/* Whatever else it says is its end, as are signatures that no good worker asks for. */
	g_assert_true(w.ended || (r == 0 && said.type == WIRE_SIGN && fd < 0));
	if (w.ended)
		return;
	g_assert_true(read_answer(w.worker, &answer));
	g_assert_cmpint(answer.type, ==, WIRE_SIGNED);
	check_signed(&said.sign, &answer.signed_);
	if (said.sign.identity == HS_IDENTITY_JOB && said.sign.job < JOBS)
		w.may[said.sign.job][said.sign.role] = false;
	else if (said.sign.job < JOBS)
		w.granted[said.sign.job][said.sign.role] = false;
}

static void from_monitor(const uint8_t *bytes, size_t len, int fd)
{
	static struct wire_message said, answer;
	int r = wire_decode(bytes, len, &said);

	say_bytes(w.monitor, bytes, len, fd);
	on_monitor(NULL, w.k.monitor, EPOLLIN, &w.k);
	note_end();
	if (r < 0)
		g_assert_true(w.ended);
	while (read_answer(w.monitor, &answer)) {
		g_assert_true(answer.type == WIRE_KEY_LOADED || answer.type == WIRE_REFUSED);
		g_assert_cmpint(said.type, ==, WIRE_KEY);
		if (answer.type == WIRE_KEY_LOADED && said.key.job < JOBS)
			w.may[said.key.job][said.key.role] = true;
	}
	if (r == 0 && said.type == WIRE_GRANT && said.grant.job < JOBS)
		w.granted[said.grant.job][said.grant.role] = true;
	if (r == 0 && said.type == WIRE_CANCEL && said.cancel < JOBS) {
		memset(w.may[said.cancel], 0, sizeof(w.may[0]));
		memset(w.granted[said.cancel], 0, sizeof(w.granted[0]));
	}
}

static void send_encoded(bool worker, const struct wire_message *msg, int fd)
{
	static uint8_t buf[WIRE_MAX];
	int len = wire_encode(msg, buf);

	g_assert_cmpint(len, >, 0);
	if (worker)
		from_worker(buf, (size_t)len, fd);
	else
		from_monitor(buf, (size_t)len, fd);
}

static void give_key(struct input *in)
{
	static struct wire_message msg;
	uint8_t job = take_u8(in), what = take_u8(in);
	const char *pem = ours[what & 3].pem;

	msg = (struct wire_message){ .type = WIRE_KEY };
	msg.key.job = job;
	msg.key.role = what >> 4 & 1;
	msg.key.len = (uint16_t)strlen(pem);
	memcpy(msg.key.data, pem, msg.key.len);
	g_strlcpy(msg.key.label, "private key 0x11", sizeof(msg.key.label));
	send_encoded(false, &msg, certs[what >> 2 & 3]);
}

static void ask_signature(struct input *in)
{
	static const char *const algorithms[] = {
		"ECDSA-SECP256R1-SHA256", "EdDSA-Ed25519", "RSA-PSS-RSAE-SHA256", "RSA-SHA256",
	};
	static const char *const contexts[] = {
		"TLS 1.3, client CertificateVerify", "TLS 1.3, server CertificateVerify",
	};
	static struct wire_message msg;
	uint8_t what, how;

	msg = (struct wire_message){ .type = WIRE_SIGN, .sign.job = take_u8(in) };
	what = take_u8(in);
	how = take_u8(in);
	msg.sign.role = what & 1;
	msg.sign.identity = (what >> 1 & 3) % HS_IDENTITY_END;
	g_strlcpy(msg.sign.algorithm, algorithms[what >> 3 & 3], sizeof(msg.sign.algorithm));
	memset(msg.sign.data, ' ', 64);
	memcpy(msg.sign.data + 64, contexts[how & 1], 34);
	msg.sign.len = how & 2 ? CONTENT + 16 : how & 4 ? take_u8(in) : CONTENT;
	if (how & 8)
		msg.sign.data[take_u8(in)] = take_u8(in);
	send_encoded(true, &msg, -1);
}

static void raw(struct input *in, bool worker)
{
	uint8_t flags = take_u8(in);
	size_t len;
	const uint8_t *bytes = take_bytes(in, take_u16(in), &len);
	int fd = flags & 1 ? certs[flags >> 1 & 3] : -1;

	if (!len)	/* the other end is never closed here, and an empty message means just that */
		return;
	if (worker)
		from_worker(bytes, len, fd);
	else
		from_monitor(bytes, len, fd);
}

static void one_event(struct input *in)
{
	struct wire_message cancel = { .type = WIRE_CANCEL };
	struct wire_message grant = { .type = WIRE_GRANT };
	uint8_t what = take_u8(in) % 6;

	switch (what) {
	case 0:
	case 1:
		raw(in, what == 0);
		break;
	case 2:
		give_key(in);
		break;
	case 3:
		ask_signature(in);
		break;
	case 5:
		grant.grant.job = take_u8(in);
		grant.grant.role = take_u8(in) & 1;
		send_encoded(false, &grant, -1);
		break;
	default:
		cancel.cancel = take_u8(in);
		send_encoded(false, &cancel, -1);
	}
}

static void set_up_once(void)
{
	char reason[LOG_TEXT_MAX];

	if (own)
		return;
	for (size_t i = 0; i < G_N_ELEMENTS(ours); i++) {
		certs[i] = memfd_create("certificate", MFD_CLOEXEC);
		g_assert_cmpint(write(certs[i], ours[i].cert, strlen(ours[i].cert)), >, 0);
	}
	g_assert_cmpint(key_load_memory(&own, PEM_SERVER_KEY, sizeof(PEM_SERVER_KEY) - 1, "key", reason,
					sizeof(reason)), ==, 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct input in = { data, size };
	int monitor[2], worker[2];

	steady_reset();
	set_up_once();
	g_assert_cmpint(channel_pair(monitor), ==, 0);
	g_assert_cmpint(channel_pair(worker), ==, 0);
	w = (struct world){ .monitor = monitor[1], .worker = worker[1] };
	w.k.monitor = monitor[0];
	w.k.worker = worker[0];
	w.k.log = fuzz_log;
	w.k.keys[HS_SERVER][HS_IDENTITY_X509] = own;
	g_assert_cmpint(sd_event_new(&w.k.event), >=, 0);
	for (unsigned int i = 0; i < EVENTS_MAX && in.left && !w.ended; i++)
		one_event(&in);
	grants_clear(&w.k.grants);
	sd_event_unref(w.k.event);
	for (unsigned int i = 0; i < 2; i++) {
		close(monitor[i]);
		close(worker[i]);
	}
	return 0;
}
