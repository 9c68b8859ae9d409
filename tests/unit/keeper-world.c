// SPDX-License-Identifier: GPL-2.0-or-later
#include "keeper-world.h"

#include <errno.h>
#include <fcntl.h>
#include <gnutls/abstract.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <sysexits.h>
#include <unistd.h>

#include "tlshd/keeper/keeper.h"
#include "tlshd/monitor/spawn.h"

static const char *const algorithms[PKI_N_KEY_TYPES] = {
	[PKI_P256] = "ECDSA-SECP256R1-SHA256",
	[PKI_P384] = "ECDSA-SECP384R1-SHA384",
	[PKI_P521] = "ECDSA-SECP521R1-SHA512",
	[PKI_ED25519] = "EdDSA-Ed25519",
	[PKI_ED448] = "EdDSA-Ed448",
	[PKI_RSA2048] = "RSA-PSS-RSAE-SHA256",
	[PKI_RSA_PSS] = "RSA-PSS-SHA256",
	[PKI_RSA1024] = "RSA-PSS-RSAE-SHA256",
};

/* --- the keeper's process --- */

void keeper_child(char **argv)
{
	if (strcmp(argv[1], "--role=keeper") != 0)
		_exit(98);
	/* The leak sanitizer cannot look at a process that cannot be traced. */
	_exit(keeper_main((uid_t)atoi(argv[2]), (gid_t)atoi(argv[3])));
}

void start_keeper(struct world *w)
{
	const struct spawn_user user = { 54321, 54320 };
	int monitor[2], worker[2];

	g_assert_cmpint(channel_pair(monitor), ==, 0);
	g_assert_cmpint(channel_pair(worker), ==, 0);
	w->pid = spawn_child(CHILD_KEEPER, &user, monitor[1], worker[1], STDERR_FILENO);
	g_assert_cmpint(w->pid, >, 0);
	close(monitor[1]);
	close(worker[1]);
	w->monitor = monitor[0];
	w->worker = worker[0];
}

static void receive(int channel, struct wire_message *ret)
{
	int fd = -1, r;

	do {
		r = channel_wait(channel, 60000);
		if (!r)
			r = channel_recv(channel, ret, &fd);
		if (!r && ret->type == WIRE_LOG)
			g_test_message("keeper: %s", ret->text.text);
	} while (r == -EAGAIN || (!r && ret->type == WIRE_LOG));
	g_assert_cmpint(r, ==, 0);
	g_assert_cmpint(fd, ==, -1);
}

void begin(struct world *w)
{
	struct wire_message msg = {
		.type = WIRE_START, .start = { .ciphers = 15, .log_level = LOG_INFO },
	};

	g_assert_cmpint(child_send(w->monitor, &msg), ==, 0);
	receive(w->monitor, &msg);
	if (msg.type == WIRE_FAILED)
		g_error("%s", msg.failed.reason);
	g_assert_cmpint(msg.type, ==, WIRE_READY);
}

int wait_end(struct world *w)
{
	int status;

	g_assert_no_errno(waitpid(w->pid, &status, 0));
	w->pid = 0;
	if (WIFSIGNALED(status))
		g_error("the keeper died by signal %d", WTERMSIG(status));
	return WEXITSTATUS(status);
}

void close_channels(struct world *w)
{
	w->monitor = fd_close(w->monitor);
	w->worker = fd_close(w->worker);
}

void end_keeper(struct world *w)
{
	close_channels(w);
	if (w->pid)
		g_assert_cmpint(wait_end(w), ==, EX_OK);
}

void set_up(struct world *w, gconstpointer unused)
{
	start_keeper(w);
	begin(w);
}

void tear_down(struct world *w, gconstpointer unused)
{
	end_keeper(w);
}

/* --- the monitor --- */

int memory(const void *data, size_t len)
{
	int fd = memfd_create("certificate", MFD_CLOEXEC | MFD_ALLOW_SEALING);

	g_assert_no_errno(fd);
	g_assert_cmpint(write(fd, data, len), ==, (gssize)len);
	g_assert_no_errno(fcntl(fd, F_ADD_SEALS, F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW |
				F_SEAL_WRITE));
	return fd;
}

/* Waits while the channel is full; the keeper reads. */
static void send_with(struct world *w, const struct wire_message *msg, int fd)
{
	int r;

	while ((r = channel_send(w->monitor, msg, fd)) == -EAGAIN)
		g_usleep(1000);
	g_assert_cmpint(r, ==, 0);
	close(fd);
}

void send_file(struct world *w, enum wire_file_use use, enum hs_role role, const char *text)
{
	struct wire_message msg = {
		.type = WIRE_FILE, .file = { .role = role, .use = use, .label = "configured" },
	};

	send_with(w, &msg, memory(text, strlen(text)));
}

void send_key(struct world *w, uint64_t job, enum hs_role role, const void *key, size_t len,
	      const void *cert, size_t cert_len)
{
	struct wire_message msg = {
		.type = WIRE_KEY,
		.key = {
			.job = job, .role = role, .label = "private key 0x11",
			.certificate_label = "certificate 0x22", .len = (uint16_t)len,
		},
	};

	g_assert_cmpuint(len, <=, sizeof(msg.key.data));
	memcpy(msg.key.data, key, len);
	send_with(w, &msg, memory(cert, cert_len));
}

void give(struct world *w, uint64_t job, enum hs_role role, const char *key, const char *cert)
{
	send_key(w, job, role, key, strlen(key), cert, strlen(cert));
}

void grant(struct world *w, uint64_t job, enum hs_role role)
{
	const struct wire_message msg = {
		.type = WIRE_GRANT, .grant = { .job = job, .role = role },
	};

	g_assert_cmpint(child_send(w->monitor, &msg), ==, 0);
}

void cancel(struct world *w, uint64_t job)
{
	const struct wire_message msg = { .type = WIRE_CANCEL, .cancel = job };

	g_assert_cmpint(child_send(w->monitor, &msg), ==, 0);
}

void expect_loaded(struct world *w, uint64_t job)
{
	struct wire_message msg;

	receive(w->monitor, &msg);
	if (msg.type == WIRE_REFUSED)
		g_error("job %" G_GUINT64_FORMAT " was refused: %s", job, msg.refused.reason);
	g_assert_cmpint(msg.type, ==, WIRE_KEY_LOADED);
	g_assert_cmpuint(msg.key_loaded, ==, job);
}

void expect_refused(struct world *w, uint64_t job, enum hs_outcome outcome, const char *part)
{
	struct wire_message msg;

	receive(w->monitor, &msg);
	g_assert_cmpint(msg.type, ==, WIRE_REFUSED);
	g_assert_cmpuint(msg.refused.job, ==, job);
	g_assert_cmpint(msg.refused.outcome, ==, outcome);
	g_test_message("%s", msg.refused.reason);
	if (!strstr(msg.refused.reason, part) || !msg.refused.reason[0])
		g_error("\"%s\" lacks \"%s\"", msg.refused.reason, part);
}

/* --- the worker --- */

static void ask(struct world *w, uint64_t job, enum hs_role role, enum hs_identity identity,
		enum pki_key_type type, struct wire_sign *ret_request)
{
	struct wire_message msg = {
		.type = WIRE_SIGN, .sign = { .job = job, .role = role, .identity = identity },
	};
	const char *context = role == HS_SERVER ? "TLS 1.3, server CertificateVerify"
						: "TLS 1.3, client CertificateVerify";
	struct wire_sign *s = &msg.sign;
	size_t len = strlen(context) + 1;

	g_strlcpy(s->algorithm, algorithms[type], sizeof(s->algorithm));
	memset(s->data, ' ', 64);
	memcpy(s->data + 64, context, len);
	for (unsigned int i = 0; i < 32; i++)
		s->data[64 + len + i] = (uint8_t)g_test_rand_int_range(0, 256);
	s->len = (uint16_t)(64 + len + 32);
	*ret_request = *s;
	g_assert_cmpint(child_send(w->worker, &msg), ==, 0);
}

static void sign(struct world *w, uint64_t job, enum hs_role role, enum hs_identity identity,
		 enum pki_key_type type, struct wire_sign *ret_request, struct wire_signed *ret)
{
	struct wire_message msg;

	ask(w, job, role, identity, type, ret_request);
	receive(w->worker, &msg);
	g_assert_cmpint(msg.type, ==, WIRE_SIGNED);
	g_assert_cmpuint(msg.signed_.job, ==, job);
	*ret = msg.signed_;
}

void expect_signature(struct world *w, uint64_t job, enum hs_role role, enum hs_identity identity,
		      const struct pki_cert *cert, enum pki_key_type type)
{
	struct wire_sign request;
	struct wire_signed reply;
	gnutls_datum_t data, signature;
	gnutls_pubkey_t pub;

	sign(w, job, role, identity, type, &request, &reply);
	g_assert_cmpuint(reply.error, ==, 0);
	g_assert_cmpuint(reply.len, >, 0);
	data = (gnutls_datum_t){ request.data, request.len };
	signature = (gnutls_datum_t){ reply.signature, reply.len };
	gnutls_pubkey_init(&pub);
	g_assert_cmpint(gnutls_pubkey_import_x509(pub, cert->crt, 0), ==, 0);
	g_assert_cmpint(gnutls_pubkey_verify_data2(pub, gnutls_sign_get_id(request.algorithm), 0,
						   &data, &signature), >=, 0);
	gnutls_pubkey_deinit(pub);
}

void expect_refused_signature(struct world *w, uint64_t job, enum hs_role role,
			      enum pki_key_type type, unsigned int error)
{
	struct wire_sign request;
	struct wire_signed reply;

	sign(w, job, role, HS_IDENTITY_JOB, type, &request, &reply);
	g_assert_cmpuint(reply.error, ==, error);
	g_assert_cmpuint(reply.len, ==, 0);
}

void expect_violation(struct world *w, uint64_t job, enum hs_role role, enum hs_identity identity,
		      enum pki_key_type type)
{
	struct wire_message msg, last = { 0 };
	struct wire_sign request;
	int fd;

	ask(w, job, role, identity, type, &request);
	g_assert_cmpint(wait_end(w), ==, EX_PROTOCOL);
	/* Not a byte of an answer. */
	g_assert_cmpint(channel_recv(w->worker, &msg, &fd), ==, -EPIPE);
	/* Its last word says why. */
	while (channel_recv(w->monitor, &msg, &fd) == 0) {
		g_assert_cmpint(msg.type, ==, WIRE_LOG);
		last = msg;
	}
	g_assert_nonnull(strstr(last.text.text, "has no handshake"));
	close_channels(w);
	start_keeper(w);
	begin(w);
}
