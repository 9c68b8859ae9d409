// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * What all handshakes of a worker share: priorities, trust, our identities.
 * All of it is made once, since parsing the system's trust store alone costs
 * 25 handshakes (5 ms), and because a worker opens no file after its start.
 */
#include "tlshd/worker/engine-private.h"

#include <errno.h>
#include <glib.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include "common/passing.h"
#include "common/text.h"

/*
 * The one variable of this file: the library's log function is global and is
 * told nothing but level and text. Set by the engine that asked for debugging
 * last, cleared when that engine is freed; a worker has one engine.
 */
static const struct log *library_log;

static void library_message(int level, const char *text)
{
	char line[LOG_TEXT_MAX];
	size_t len = strlen(text);

	while (len > 0 && text[len - 1] == '\n')
		len--;
	log_debug(library_log, "gnutls %d: %s", level, text_line(line, sizeof(line), text, len));
}

#define LIBRARY_DEBUG_MAX 8u	/* at 9 the library writes down the keys of each session */

static void library_debug(const struct log *log, unsigned int level)
{
	library_log = log;
	gnutls_global_set_log_function(library_message);
	gnutls_global_set_log_level((int)(level < LIBRARY_DEBUG_MAX ? level : LIBRARY_DEBUG_MAX));
}

static int load_identity(struct engine *engine, enum hs_role role, enum hs_identity id,
			 const struct engine_file *file, char *reason, size_t reason_size)
{
	struct identity *identity = &engine->identity[role][id];
	int r;

	if (!file->data)
		return 0;
	*identity = (struct identity){ .engine = engine, .role = role, .id = id };
	r = credentials_add(engine->credentials[role], identity, file, reason, reason_size);
	engine->has_identity[role] |= r > 0;
	return r < 0 ? r : 0;
}

static int load_role(struct engine *engine, enum hs_role role, const struct engine_role *config,
		     char *reason, size_t reason_size)
{
	unsigned int id;
	int r;

	r = trust_new(&engine->trust[role], config, &engine->system_list, engine->in_use.crl[role],
		      engine->log, reason, reason_size);
	if (r < 0)
		return r;
	engine->dates.crl[role] = trust_until(engine->trust[role]);
	r = credentials_new(&engine->credentials[role]);
	if (r < 0)
		return r;
	for (id = 0; id < HS_N_IDENTITIES; id++) {
		r = load_identity(engine, role, id, &config->certificate[id], reason, reason_size);
		if (r < 0)
			return r;
	}
	return 0;
}

static int load_priority(struct engine *engine, enum policy_keys keys,
			 const struct engine_config *config, char *reason, size_t reason_size)
{
	g_autofree char *text = NULL;
	int r;

	r = policy_build(NULL, keys, config->ciphers, &text, reason, reason_size);
	/* Where a policy has no suite with a hash, only its pre-shared keys are of no use. */
	if (r == -ENOTSUP && keys != POLICY_CERTIFICATES)
		return 0;
	if (r < 0)
		return r;
	log_debug(engine->log, "priorities: %s", text);
	r = gnutls_priority_init(&engine->priority[keys], text, NULL);
	if (r < 0) {
		snprintf(reason, reason_size, "the TLS library does not take the priorities %s: %s",
			 text, gnutls_strerror(r));
		return -EINVAL;
	}
	return 0;
}

static int load(struct engine *engine, const struct engine_config *config, char *reason,
		size_t reason_size)
{
	unsigned int role, keys;
	int r;

	for (keys = 0; keys < N_POLICY_KEYS; keys++) {
		r = load_priority(engine, keys, config, reason, reason_size);
		if (r < 0)
			return r;
	}
	if (gnutls_certificate_allocate_credentials(&engine->anonymous) < 0)
		return -ENOMEM;
	for (role = 0; role < HS_N_ROLES; role++) {
		r = load_role(engine, role, &config->role[role], reason, reason_size);
		if (r < 0)
			return r;
	}
	return 0;
}

int engine_new(struct engine **ret, const struct engine_config *config, char *reason,
	       size_t reason_size)
{
	CLEANUP(engine_freep) struct engine *engine = calloc(1, sizeof(*engine));
	int r;

	snprintf(reason, reason_size, "out of memory");
	if (!engine)
		return -ENOMEM;
	engine->log = config->log;
	engine->sign = config->sign;
	engine->sign_ctx = config->sign_ctx;
	engine->in_use = config->in_use;
	engine->setsockopt_fn = config->setsockopt_fn ? config->setsockopt_fn : setsockopt;
	if (config->debug > 0)
		library_debug(config->log, config->debug);
	tzset();	/* else gmtime_r() opens a file, in the first handshake that names a date */

	errno = 0;
	r = load(engine, config, reason, reason_size);
	if (r < 0)
		return loading_error(r, reason, reason_size);
	*ret = TAKE_PTR(engine);
	return 0;
}

const struct hs_dates *engine_dates(const struct engine *engine)
{
	return &engine->dates;
}

void engine_free(struct engine *engine)
{
	unsigned int role, keys;

	if (!engine)
		return;
	for (role = 0; role < HS_N_ROLES; role++) {
		if (engine->credentials[role])
			gnutls_certificate_free_credentials(engine->credentials[role]);
		trust_free(engine->trust[role]);
	}
	if (engine->anonymous)
		gnutls_certificate_free_credentials(engine->anonymous);
	if (engine->system_list)
		gnutls_x509_trust_list_deinit(engine->system_list, 1);
	for (keys = 0; keys < N_POLICY_KEYS; keys++)
		if (engine->priority[keys])
			gnutls_priority_deinit(engine->priority[keys]);
	if (library_log == engine->log && library_log) {
		gnutls_global_set_log_level(0);
		library_log = NULL;
	}
	free(engine);
}
