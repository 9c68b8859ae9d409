// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * An installation that comes from another agent keeps its file, and that agent
 * reads it with GLib's GKeyFile. So GKeyFile decides here, too, what a line, an
 * escape or a list is. It does not tell on which line something was, though,
 * and it forgets a key that is written twice; so it is given one line at a
 * time, and the group is kept here. Blanks at the end of a value, which
 * GKeyFile keeps, are taken away: nobody means them.
 *
 * The file is taken as a whole or not at all. What it says wrongly is an error
 * (a trust store that is silently not used is worse than no service); what it
 * says beyond our knowledge is a warning, so that a file can be shared between
 * versions.
 */
#include "tlshd/monitor/config.h"

#include <glib.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "build-config.h"
#include "common/file.h"
#include "common/text.h"
#include "common/wire.h"
#include "tlshd/monitor/config-table.h"
#include "tlshd/monitor/reserve.h"

#define FILE_MAX (1u << 20)	/* bytes of a configuration file */
#define LINE_MAX_BYTES 8192
#define WARNINGS_MAX 20		/* for one file, so that a wrong one does not fill the log */
#define SHOWN 256		/* bytes of a name or value in a message */
#define CPUS_MAX 8		/* workers by default, however many CPUs there are */
#define LINE_GROUP "line"	/* GKeyFile wants a group above every key */

struct parser {
	struct config *config;
	const struct log *log;
	char name[WIRE_PATH_MAX];	/* of the file, quoted */
	unsigned int line;		/* from 1 */
	char *group;			/* NULL: none yet */
	bool group_known;
	unsigned int *seen;		/* line of each key of config_keys[]; 0: not there */
	unsigned int n_warnings;
	char *reason;
	size_t reason_size;
};

static int fail(struct parser *p, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
static int fail(struct parser *p, const char *fmt, ...)
{
	char text[LOG_TEXT_MAX];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	snprintf(p->reason, p->reason_size, "%s:%u: %s", p->name, p->line, text);
	return -EINVAL;
}

static void warn(struct parser *p, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
static void warn(struct parser *p, const char *fmt, ...)
{
	char text[LOG_TEXT_MAX];
	va_list ap;

	if (++p->n_warnings > WARNINGS_MAX)
		return;
	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	log_warn(p->log, "%s:%u: %s", p->name, p->line, text);
	if (p->n_warnings == WARNINGS_MAX)
		log_warn(p->log, "%s: further warnings are left out", p->name);
}

int config_is_url(const char *path)
{
	static const char *const schemes[] = { "pkcs11:", "tpmkey:", "system:" };
	size_t i;

	for (i = 0; i < ARRAY_SIZE(schemes); i++)
		if (!g_ascii_strncasecmp(path, schemes[i], strlen(schemes[i])))
			return 1;
	return 0;
}

static unsigned int default_of(const struct config_key *key)
{
	long cpus;

	if (key->def != CONFIG_DEFAULT_CPUS)
		return key->def;
	cpus = sysconf(_SC_NPROCESSORS_ONLN);
	return (unsigned int)CLAMP(cpus, (long)key->min, CPUS_MAX);
}

static void *field_of(struct config *config, const struct config_key *key)
{
	return (char *)config + key->offset;
}

static void store_number(struct config *config, const struct config_key *key, unsigned int value)
{
	if (key->type == CONFIG_LOG_LEVEL)
		*(int *)field_of(config, key) = value == 0 ? LOG_INFO : LOG_DEBUG;
	else
		*(unsigned int *)field_of(config, key) = value;
}

static int parse_number(struct parser *p, const struct config_key *key, GKeyFile *line)
{
	g_autoptr(GError) error = NULL;
	gint64 value;

	value = g_key_file_get_int64(line, LINE_GROUP, key->key, &error);
	if (!error && key->type != CONFIG_NUMBER && value > key->max) {
		warn(p, "%s is at most %u; taken as that", key->key, key->max);
		value = key->max;
	}
	if (error || value < key->min || value > key->max)
		return fail(p, "%s must be a whole number from %u to %u", key->key, key->min,
			    key->max);
	store_number(p->config, key, (unsigned int)value);
	return 0;
}

/* What is wrong with the text of a value, in words of ours. */
static int bad_text(struct parser *p, const struct config_key *key, const GError *error)
{
	if (g_error_matches(error, G_KEY_FILE_ERROR, G_KEY_FILE_ERROR_UNKNOWN_ENCODING))
		return fail(p, "%s is not valid UTF-8; save the file as UTF-8", key->key);
	return fail(p, "%s has a backslash that begins no escape; write \\\\ for a backslash",
		    key->key);
}

static int check_path(struct parser *p, const struct config_key *key, const char *path)
{
	bool private = key->type == CONFIG_PATH_PRIVATE;
	char shown[SHOWN];

	/* Behind the question mark of a URL may be a PIN (RFC 7512 2.4). */
	text_quote(shown, sizeof(shown), path,
		   config_is_url(path) ? strcspn(path, "?") : strlen(path));
	if (!path[0])
		return fail(p, "%s is empty; name a file, or take the line out for the default",
			    key->key);
	if (strlen(path) >= WIRE_PATH_MAX)
		return fail(p, "%s is longer than %d bytes; use a shorter path (a symbolic link)",
			    key->key, WIRE_PATH_MAX - 1);
	if (private && config_is_url(path))
		return 0;
	if (config_is_url(path))
		return fail(p, "%s must be an absolute path, not \"%s\": only a private key may "
			    "be a URL", key->key, shown);
	if (path[0] != '/')
		return fail(p, "%s must be absolute%s, not \"%s\": begin it with /", key->key,
			    private ? " (or a pkcs11: or tpmkey: URL)" : "",
			    shown);
	return 0;
}

static int parse_path(struct parser *p, const struct config_key *key, GKeyFile *line)
{
	struct config_file *file = field_of(p->config, key);
	g_autoptr(GError) error = NULL;
	g_autofree char *path = NULL;
	int r;

	path = g_key_file_get_string(line, LINE_GROUP, key->key, &error);
	if (error || !path)	/* for a bad escape GKeyFile gives both */
		return bad_text(p, key, error);
	r = check_path(p, key, path);
	if (r < 0)
		return r;
	g_free(file->path);
	file->path = g_steal_pointer(&path);
	file->line = p->line;
	return 0;
}

static int parse_list(struct parser *p, const struct config_key *key, GKeyFile *line)
{
	char ***list = field_of(p->config, key);
	g_autoptr(GError) error = NULL;
	g_auto(GStrv) items = NULL;
	size_t i, n = 0;

	items = g_key_file_get_string_list(line, LINE_GROUP, key->key, NULL, &error);
	if (error || !items)
		return bad_text(p, key, error);
	for (i = 0; items[i]; i++) {
		g_strstrip(items[i]);
		if (items[i][0])
			items[n++] = items[i];
		else
			g_free(items[i]);
	}
	items[n] = NULL;
	g_strfreev(*list);
	*list = g_steal_pointer(&items);
	return 0;
}

static int parse_value(struct parser *p, const struct config_key *key, GKeyFile *line)
{
	unsigned int *seen = &p->seen[key - config_keys];

	if (*seen)
		warn(p, "%s in [%s] stands on line %u already; this one counts", key->key,
		     key->group, *seen);
	*seen = p->line;

	switch (key->type) {
	case CONFIG_NUMBER:
	case CONFIG_DEBUG:
	case CONFIG_LOG_LEVEL:
		return parse_number(p, key, line);
	case CONFIG_PATH_PUBLIC:
	case CONFIG_PATH_PRIVATE:
		return parse_path(p, key, line);
	case CONFIG_LIST:
		return parse_list(p, key, line);
	}
	return fail(p, "%s has a type without a parser", key->key);
}

static int parse_key(struct parser *p, const char *name, GKeyFile *line)
{
	char shown[SHOWN], group[SHOWN], hint[SHOWN];
	const struct config_key *key;

	text_quote(shown, sizeof(shown), name, strlen(name));
	if (!p->group)
		return fail(p, "\"%s\" stands above the first [group]; put it below one", shown);
	if (!p->group_known)
		return 0;
	key = config_key_find(p->group, name);
	if (key)
		return parse_value(p, key, line);
	text_quote(group, sizeof(group), p->group, strlen(p->group));
	config_hint(p->group, name, hint, sizeof(hint));
	warn(p, "unknown key \"%s\" in [%s] is ignored%s", shown, group, hint);
	return 0;
}

static int parse_group(struct parser *p, const char *text)
{
	g_autoptr(GKeyFile) line = g_key_file_new();
	char shown[SHOWN], hint[SHOWN];

	if (!g_key_file_load_from_data(line, text, strlen(text), G_KEY_FILE_NONE, NULL)) {
		text_quote(shown, sizeof(shown), text, strlen(text));
		return fail(p, "\"%s\" is not a group; write [name] and nothing else", shown);
	}
	g_free(p->group);
	p->group = g_key_file_get_start_group(line);
	p->group_known = config_group_known(p->group);
	if (!p->group_known) {
		text_quote(shown, sizeof(shown), p->group, strlen(p->group));
		config_hint(p->group, NULL, hint, sizeof(hint));
		warn(p, "unknown group [%s] is ignored with all its keys%s", shown, hint);
	}
	return 0;
}

/* @text is one line without its end and without blanks around it. */
static int parse_line(struct parser *p, const char *text)
{
	g_autoptr(GKeyFile) line = g_key_file_new();
	g_autofree char *data = NULL;
	g_auto(GStrv) keys = NULL;
	char shown[SHOWN];

	if (!text[0] || text[0] == '#')
		return 0;
	if (text[0] == '[')
		return parse_group(p, text);
	data = g_strconcat("[" LINE_GROUP "]\n", text, NULL);
	/* Without the flag "key[xx]" is dropped without a word when xx is not our language. */
	if (g_key_file_load_from_data(line, data, strlen(data), G_KEY_FILE_KEEP_TRANSLATIONS, NULL))
		keys = g_key_file_get_keys(line, LINE_GROUP, NULL, NULL);
	if (!keys || !keys[0]) {
		text_quote(shown, sizeof(shown), text, strlen(text));
		return fail(p, "\"%s\" is neither [group] nor key = value; begin a comment with #",
			    shown);
	}
	return parse_key(p, keys[0], line);
}

static int check_line(struct parser *p, const char *text, size_t len)
{
	if (len > LINE_MAX_BYTES)
		return fail(p, "the line is longer than %d bytes", LINE_MAX_BYTES);
	if (memchr(text, '\0', len))
		return fail(p, "there is a NUL byte; save the file as UTF-8");
	/* Or a file with line ends of this kind only would be one long comment. */
	if (memchr(text, '\r', len))
		return fail(p, "there is a carriage return inside the line; end lines with a "
			    "newline");
	return 0;
}

static int parse_lines(struct parser *p, const char *text, size_t len)
{
	static const char bom[] = "\xef\xbb\xbf";
	const char *end, *newline;
	size_t n;
	int r;

	if (len >= strlen(bom) && !memcmp(text, bom, strlen(bom))) {
		text += strlen(bom);
		len -= strlen(bom);
	}
	for (end = text + len; text < end; text = newline + 1) {
		g_autofree char *line = NULL;

		p->line++;
		newline = memchr(text, '\n', (size_t)(end - text));
		if (!newline)
			newline = end;
		n = (size_t)(newline - text);
		if (n > 0 && text[n - 1] == '\r')
			n--;
		r = check_line(p, text, n);
		if (r < 0)
			return r;
		line = g_strndup(text, n);
		r = parse_line(p, g_strstrip(line));
		if (r < 0)
			return r;
		if (newline == end)
			break;
	}
	return 0;
}

/* A certificate is of use with its key only, and a key with its certificate. */
static int check_pairs(struct parser *p)
{
	static const char *const names[HS_N_IDENTITIES][2] = {
		[HS_IDENTITY_X509] = { "x509.certificate", "x509.private_key" },
		[HS_IDENTITY_X509_PQ] = { "x509.pq.certificate", "x509.pq.private_key" },
	};
	const struct config_file *cert, *key;
	unsigned int role, i;

	for (role = 0; role < HS_N_ROLES; role++) {
		for (i = 0; i < HS_N_IDENTITIES; i++) {
			cert = &p->config->role[role].certificate[i];
			key = &p->config->role[role].private_key[i];
			if (!cert->path == !key->path)
				continue;
			p->line = cert->path ? cert->line : key->line;
			return fail(p, "%s needs %s in the same group [authenticate.%s]",
				    names[i][!cert->path], names[i][!!cert->path],
				    hs_role_name((enum hs_role)role));
		}
	}
	return 0;
}

static struct config *config_new(const char *path)
{
	struct config *config = g_new0(struct config, 1);
	const struct config_key *key;

	config->path = g_strdup(path);
	for (key = config_keys; key < config_keys + config_n_keys; key++) {
		switch (key->type) {
		case CONFIG_NUMBER:
		case CONFIG_DEBUG:
		case CONFIG_LOG_LEVEL:
			store_number(config, key, default_of(key));
			break;
		case CONFIG_LIST:
			*(char ***)field_of(config, key) = g_new0(char *, 1);
			break;
		case CONFIG_PATH_PUBLIC:
		case CONFIG_PATH_PRIVATE:
			break;
		}
	}
	return config;
}

void config_free(struct config *config)
{
	const struct config_key *key;

	if (!config)
		return;
	for (key = config_keys; key < config_keys + config_n_keys; key++) {
		if (key->type == CONFIG_LIST)
			g_strfreev(*(char ***)field_of(config, key));
		else if (key->type == CONFIG_PATH_PUBLIC || key->type == CONFIG_PATH_PRIVATE)
			g_free(((struct config_file *)field_of(config, key))->path);
	}
	g_free(config->path);
	g_free(config->digest);
	g_free(config);
}

bool config_same(const struct config *a, const struct config *b)
{
	return g_strcmp0(a->path, b->path) == 0 && g_strcmp0(a->digest, b->digest) == 0;
}

int config_parse(struct config **ret, const char *text, size_t len, const char *name,
		 const struct log *log, char *reason, size_t reason_size)
{
	CLEANUP(config_freep) struct config *config = config_new(name);
	g_autofree unsigned int *seen = g_new0(unsigned int, config_n_keys);
	struct parser p = { .config = config, .log = log, .seen = seen,
			    .reason = reason, .reason_size = reason_size };
	int r;

	text_quote(p.name, sizeof(p.name), name, strlen(name));
	if (len > FILE_MAX) {
		snprintf(reason, reason_size, "%s: longer than %u bytes; is it the right file?",
			 p.name, FILE_MAX);
		return -EFBIG;
	}
	config->empty = len == 0;
	config->digest = g_compute_checksum_for_data(G_CHECKSUM_SHA256, (const guchar *)text, len);
	r = parse_lines(&p, text, len);
	g_free(p.group);
	if (r == 0)
		r = check_pairs(&p);
	if (r < 0)
		return r;
	*ret = TAKE_PTR(config);
	return 0;
}

static ssize_t read_all(int fd, char *buf, size_t size)
{
	size_t len = 0;
	ssize_t n;

	while (len < size) {
		n = read(fd, buf + len, size - len);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		if (n == 0)
			break;
		len += (size_t)n;
	}
	return (ssize_t)len;
}

static int load_file(struct config **ret, const char *path, const struct log *log,
		     char *reason, size_t reason_size)
{
	CLEANUP_FREE char *text = malloc(FILE_MAX + 1);
	CLEANUP_FD int fd = -1;
	char shown[SHOWN];
	ssize_t len;

	if (!text || !reserve_memory()) {
		snprintf(reason, reason_size, "no memory to read the configuration");
		return -ENOMEM;
	}
	fd = file_open(path, FILE_PUBLIC, reason, reason_size);
	if (fd < 0)
		return fd;
	/* One byte more than is parsed, so that config_parse() sees a file that is too long. */
	len = read_all(fd, text, FILE_MAX + 1);
	if (len < 0) {
		text_quote(shown, sizeof(shown), path, strlen(path));
		snprintf(reason, reason_size, "%s cannot be read: %s", shown, strerror((int)-len));
		return (int)len;
	}
	return config_parse(ret, text, (size_t)len, path, log, reason, reason_size);
}

/* A symbolic link that leads nowhere is there: it is an error, not a reason to look elsewhere. */
static bool is_there(const char *path)
{
	struct stat st;

	return lstat(path, &st) == 0 || (errno != ENOENT && errno != ENOTDIR);
}

int config_load(struct config **ret, const char *path, const struct log *log,
		char *reason, size_t reason_size)
{
	static const char first[] = TLSHD_SYSCONFDIR "/" CONFIG_PATH;
	static const char second[] = TLSHD_SYSCONFDIR "/" CONFIG_PATH_COMPAT;

	if (path)
		return load_file(ret, path, log, reason, reason_size);
	if (is_there(first)) {
		if (is_there(second))
			log_warn(log, "%s is read; %s is there, too, and is not", first, second);
		return load_file(ret, first, log, reason, reason_size);
	}
	if (is_there(second))
		return load_file(ret, second, log, reason, reason_size);
	if (!reserve_memory()) {
		snprintf(reason, reason_size, "no memory for a configuration");
		return -ENOMEM;
	}
	log_notice(log, "neither %s nor %s is there: everything has its default", first, second);
	*ret = config_new(NULL);
	return 0;
}
