// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Is a secret in the memory of a process?
 *
 * All readable mappings of the given processes are searched for the bytes of the given files, in
 * each form in which a program may hold them.  A remnant counts: freed memory keeps most of what
 * was in it, but its first 16 bytes become the allocator's, and a buffer may be overwritten in
 * part.  So it is not the whole secret that is looked for but any 8 bytes of it that stand at an
 * address divisible by 8; every 15 bytes in a row have such.  The place is then compared to both
 * sides, and the length of what was found is shown.  By chance 8 bytes are equal once in 2^64; of
 * text it takes more for that, since memory is full of digits and letters: see `least'.
 *
 * With --hold it is the positive control: it holds one form of a file and does nothing.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define WORD		8	/* bytes */
#define SECRET_MIN	12	/* a nonce of TLS 1.3 */
#define SECRET_MAX	16384
#define NEEDLES_MAX	(32 * N_FORMS)
#define CHUNK		(1 << 20)
#define HASH_BITS	17	/* several times the windows of a few keys */
#define SHOWN_MAX	20	/* places a process and needle */

/* How a file's bytes may stand in memory. */
enum form {
	AS_IS,
	REVERSED,	/* a number of GMP's: least significant limb first, each little-endian */
	XOR_36,		/* the inner and the outer pad of HMAC (RFC 2104) */
	XOR_5C,
	HEX,
	HEX_UPPER,
	BASE64,		/* at each place within 3 bytes, since PEM has all of a key */
	BASE64_1,
	BASE64_2,
	N_FORMS,
};

static const char *const form_names[N_FORMS] = {
	"as-is", "reversed", "xor-36", "xor-5c", "hex", "hex-upper", "base64", "base64+1",
	"base64+2",
};

/* Characters that say as much as 8 bytes, or more. */
static const size_t least[N_FORMS] = {
	[HEX] = 16, [HEX_UPPER] = 16, [BASE64] = 11, [BASE64_1] = 11, [BASE64_2] = 11,
};

struct needle {
	const char	*file;
	enum form	form;
	uint8_t		*bytes;
	size_t		len;
};

struct window {
	struct window	*next;
	const struct needle *needle;
	size_t		offset;
	uint64_t	value;
};

struct search {
	struct needle	needles[NEEDLES_MAX];
	size_t		n_needles;
	struct window	*table[1 << HASH_BITS];
	unsigned long long found, searched;
	unsigned long	shown;
};

static const char usage_text[] =
"Usage: memory-search SECRET-FILE... -- PID...\n"
"       memory-search --core CORE-FILE SECRET-FILE...\n"
"       memory-search --hold FORM SECRET-FILE\n"
"\n"
"Searches the memory of the processes, or a file, for the bytes of the secret files (12 to 16384),\n"
"in all forms: as-is reversed xor-36 xor-5c hex hex-upper base64 base64+1 base64+2.\n"
"A line for each place, then a line of what was searched.  Status 0: none was found; 1: some was;\n"
"2: something could not be searched, and nothing is proved.\n"
"--hold has that form in its memory, says \"holding\" and waits to be killed.\n";

__attribute__((format(printf, 1, 2), noreturn))
static void die(const char *format, ...)
{
	va_list args;

	fputs("memory-search: ", stderr);
	va_start(args, format);
	vfprintf(stderr, format, args);
	va_end(args);
	fputc('\n', stderr);
	exit(2);
}

static void *allocate(size_t len)
{
	void *p = calloc(1, len);

	if (!p)
		die("no memory");
	return p;
}

/* ---- secrets and their forms ---- */

static uint8_t *read_secret(const char *name, size_t *ret_len)
{
	uint8_t *bytes = allocate(SECRET_MAX + 1);
	int fd = open(name, O_RDONLY | O_CLOEXEC);
	ssize_t n;

	if (fd < 0)
		die("%s: %s", name, strerror(errno));
	n = read(fd, bytes, SECRET_MAX + 1);
	close(fd);
	if (n < SECRET_MIN || n > SECRET_MAX)
		die("%s: %d to %d bytes are wanted", name, SECRET_MIN, SECRET_MAX);
	*ret_len = (size_t)n;
	return bytes;
}

static void encode_base64(struct needle *needle, const uint8_t *in, size_t len, size_t skip)
{
	static const char digits[] =
		"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
	size_t i;

	/* Only digits that no byte before or behind has a part in. */
	needle->len = 0;
	for (i = skip; i + 3 <= len; i += 3) {
		uint32_t v = (uint32_t)in[i] << 16 | (uint32_t)in[i + 1] << 8 | in[i + 2];
		int shift;

		for (shift = 18; shift >= 0; shift -= 6)
			needle->bytes[needle->len++] = (uint8_t)digits[v >> shift & 63];
	}
}

static void encode(struct needle *needle, const uint8_t *in, size_t len)
{
	const char *digits = needle->form == HEX ? "0123456789abcdef" : "0123456789ABCDEF";
	size_t i;

	needle->bytes = allocate(2 * len);
	needle->len = len;
	switch (needle->form) {
	case HEX:
	case HEX_UPPER:
		needle->len = 2 * len;
		for (i = 0; i < 2 * len; i++)
			needle->bytes[i] = (uint8_t)digits[in[i / 2] >> (i % 2 ? 0 : 4) & 15];
		return;
	case BASE64:
	case BASE64_1:
	case BASE64_2:
		encode_base64(needle, in, len, (size_t)(needle->form - BASE64));
		return;
	default:
		for (i = 0; i < len; i++)
			needle->bytes[i] = needle->form == REVERSED ? in[len - 1 - i] :
				(uint8_t)(in[i] ^ (needle->form == XOR_36 ? 0x36 :
						   needle->form == XOR_5C ? 0x5c : 0));
	}
}

static uint64_t word_at(const uint8_t *p)
{
	uint64_t value;

	memcpy(&value, p, sizeof(value));
	return value;
}

static struct window **bucket(struct search *s, uint64_t value)
{
	return &s->table[value * UINT64_C(0x9e3779b97f4a7c15) >> (64 - HASH_BITS)];
}

static void add_windows(struct search *s, const struct needle *needle)
{
	size_t i;

	for (i = 0; i + WORD <= needle->len; i++) {
		struct window *w = allocate(sizeof(*w)), **b;

		w->needle = needle;
		w->offset = i;
		w->value = word_at(needle->bytes + i);
		b = bucket(s, w->value);
		w->next = *b;
		*b = w;
	}
}

static void add_secret(struct search *s, const char *file)
{
	size_t len;
	uint8_t *bytes = read_secret(file, &len);
	unsigned int form;

	for (form = 0; form < N_FORMS; form++) {
		struct needle *needle = &s->needles[s->n_needles];

		if (s->n_needles++ == NEEDLES_MAX)
			die("at most %d secrets", NEEDLES_MAX / N_FORMS);
		*needle = (struct needle){ .file = file, .form = (enum form)form };
		encode(needle, bytes, len);
		add_windows(s, needle);
	}
	free(bytes);
}

/* ---- searching ---- */

struct place {
	const char	*where;		/* for a person */
	const uint8_t	*data;
	size_t		len;
	uint64_t	address;	/* of data */
};

/* Shows each run of equal bytes once: at its first aligned word. */
static void hit(struct search *s, const struct window *w, const struct place *p, size_t at)
{
	const struct needle *n = w->needle;
	size_t before = 0, after = WORD;

	while (before < w->offset && before < at &&
	       n->bytes[w->offset - before - 1] == p->data[at - before - 1])
		before++;
	if (before >= WORD)
		return;
	while (w->offset + after < n->len && at + after < p->len &&
	       n->bytes[w->offset + after] == p->data[at + after])
		after++;
	if (before + after < least[n->form])
		return;
	s->found++;
	if (s->shown++ < SHOWN_MAX)
		printf("%s: %s of %s, %zu of %zu bytes from the %zuth on, at %#" PRIx64 "\n",
		       p->where, form_names[n->form], n->file, before + after, n->len,
		       w->offset - before, p->address + at - before);
}

static void search_bytes(struct search *s, const struct place *p)
{
	const struct window *w;
	size_t i;

	for (i = 0; i + WORD <= p->len; i += WORD) {
		uint64_t value = word_at(p->data + i);

		/* most of memory */
		if (!value)
			continue;
		for (w = *bucket(s, value); w; w = w->next)
			if (w->value == value)
				hit(s, w, p, i);
	}
	s->searched += p->len;
}

/*
 * Each chunk begins with the end of the one before, so that a run of bytes across the border is
 * seen whole.  Returns how many bytes could be read.
 */
static uint64_t search_range(struct search *s, int fd, const char *where, uint64_t from,
			     uint64_t to)
{
	static uint8_t buf[CHUNK];
	struct place place = { .where = where, .data = buf };
	uint64_t at = from;

	while (at < to) {
		size_t want = to - at < CHUNK ? (size_t)(to - at) : CHUNK;
		ssize_t n = pread(fd, buf, want, (off_t)at);

		if (n <= 0)
			break;
		place.address = at;
		place.len = (size_t)n;
		search_bytes(s, &place);
		at += (uint64_t)n;
		if (at < to && n > 4096)
			at -= 64;
	}
	return at - from;
}

static void search_process(struct search *s, const char *pid)
{
	char name[64], line[1024], where[1200], perms[8], path[512];
	uint64_t from, to;
	FILE *maps;
	int fd;

	snprintf(name, sizeof(name), "/proc/%.16s/maps", pid);
	maps = fopen(name, "re");
	snprintf(name, sizeof(name), "/proc/%.16s/mem", pid);
	fd = open(name, O_RDONLY | O_CLOEXEC);
	if (!maps || fd < 0)
		die("process %s: %s", pid, strerror(errno));
	while (fgets(line, sizeof(line), maps)) {
		path[0] = '\0';
		if (sscanf(line, "%" SCNx64 "-%" SCNx64 " %7s %*s %*s %*s %511[^\n]", &from, &to,
			   perms, path) < 3)
			die("%s: %s", name, line);
		/* the kernel's; they cannot be read so */
		if (perms[0] != 'r' || !strcmp(path, "[vvar]") || !strcmp(path, "[vsyscall]") ||
		    !strcmp(path, "[vvar_vclock]"))
			continue;
		snprintf(where, sizeof(where), "%s %s %s", pid, perms, path[0] ? path : "anonymous");
		/* behind the end of a mapped file there is nothing */
		if (search_range(s, fd, where, from, to) != to - from && path[0] != '/')
			die("process %s: %s", pid, line);
	}
	if (ferror(maps))
		die("process %s: its mappings cannot be read", pid);
	fclose(maps);
	close(fd);
}

static void search_file(struct search *s, const char *name)
{
	int fd = open(name, O_RDONLY | O_CLOEXEC);
	struct stat st;

	if (fd < 0 || fstat(fd, &st) < 0)
		die("%s: %s", name, strerror(errno));
	if (search_range(s, fd, name, 0, (uint64_t)st.st_size) != (uint64_t)st.st_size)
		die("%s: cannot be read", name);
	close(fd);
}

/* ---- main ---- */

__attribute__((noreturn))
static void hold(const char *form, const char *file)
{
	struct needle needle = { .file = file };
	uint8_t *bytes;
	size_t len;

	while (needle.form < N_FORMS && strcmp(form, form_names[needle.form]) != 0)
		needle.form++;
	if (needle.form == N_FORMS)
		die("no form is called '%s', see --help", form);
	bytes = read_secret(file, &len);
	encode(&needle, bytes, len);
	explicit_bzero(bytes, len);
	free(bytes);
	/* shorter by 16, as a freed block is */
	memset(needle.bytes, 0, 16);
	puts("holding");
	fflush(stdout);
	for (;;)
		pause();
}

static int judge(struct search *s)
{
	if (!s->searched)
		die("nothing was searched");
	printf("%llu places, %llu KB searched\n", s->found, s->searched / 1024);
	return s->found ? 1 : 0;
}

int main(int argc, char **argv)
{
	struct search *s = allocate(sizeof(*s));
	int i = 1;

	if (argc == 2 && !strcmp(argv[1], "--help")) {
		fputs(usage_text, stdout);
		return 0;
	}
	if (argc == 4 && !strcmp(argv[1], "--hold"))
		hold(argv[2], argv[3]);
	if (argc > 3 && !strcmp(argv[1], "--core")) {
		for (i = 3; i < argc; i++)
			add_secret(s, argv[i]);
		search_file(s, argv[2]);
		return judge(s);
	}
	for (; i < argc && strcmp(argv[i], "--") != 0; i++)
		add_secret(s, argv[i]);
	if (!s->n_needles || i + 1 >= argc)
		die("see --help");
	for (i++; i < argc; i++) {
		s->shown = 0;
		search_process(s, argv[i]);
	}
	return judge(s);
}
