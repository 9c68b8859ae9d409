// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * A netcat whose connections get their TLS from the kernel's handshake upcall.
 *
 * It makes a TCP connection, hands it to /dev/hs_consumer, which asks the agent for the handshake
 * as NFS or NVMe/TCP would, and then copies standard input and output over the kTLS socket.  With
 * it any TLS program can talk to the agent, and every answer of the agent is an exit status.
 *
 * Both directions are copied until both have ended: standard input, which sends close_notify and
 * a FIN, and the peer's.  Everything is polled and nothing is sent or received with waiting, so
 * that two of these cannot block each other with full buffers.
 */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <netdb.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "hs_consumer.h"
#include "hsnc-ktls.h"

/* Exit status: 0, the errno of the handshake (all are below 120 or become EXIT_OTHER), or */
enum {
	EXIT_OTHER	= 121,
	EXIT_UPCALL	= 122,
	EXIT_NO_KTLS	= 123,
	EXIT_DATA	= 124,
	EXIT_SETUP	= 125,
};

struct options {
	const char	*host;
	const char	*port;
	const char	*port_file;
	int		family;
	bool		listening;
	bool		nonblock;
	bool		recv_only;
	bool		keep_open;
	bool		handshake_only;
	struct hs_consumer_handshake hs;
};

/* One direction's pending bytes and how far it has come. */
struct copy {
	int		fd;
	uint8_t		out[16384];
	size_t		out_len;
	size_t		out_done;
	bool		recv_only;
	bool		keep_open;
	bool		in_ended;
	bool		sent_end;
	bool		peer_ended;
	unsigned long long sent;
	unsigned long long received;
	const char	*end;
};

static const char usage_text[] =
"Usage: hsnc [OPTIONS] HOST PORT --auth unauth|x509|psk\n"
"\n"
"Connects by TCP, has the kernel ask the TLS agent for a handshake (module hs_consumer), then\n"
"copies standard input to the connection and the connection to standard output.\n"
"\n"
"  -l, --listen          accept one connection on HOST PORT; role server\n"
"  -4, -6                IPv4 or IPv6 only\n"
"      --auth MODE       unauth (client only), x509 or psk\n"
"      --role ROLE       client or server, whatever the TCP side\n"
"      --peername NAME   name of the server that the client's agent checks\n"
"      --timeout MS      timeout told to the agent  [none]\n"
"      --wait MS         cancel the request after this time  [30000]\n"
"      --retry MS        repeat a submission that meets EAGAIN for this time  [5000]\n"
"      --psk SERIAL      pre-shared key, up to 5 times\n"
"      --cert SERIAL     key with the certificate  [the agent's own]\n"
"      --key SERIAL      key with its private key\n"
"      --keyring SERIAL  keyring the agent may read during the handshake\n"
"      --nonblock        set O_NONBLOCK on the socket, as SunRPC does\n"
"      --recv-only       do not read standard input; end when the peer ends\n"
"      --keep-open       send no close_notify before the peer has ended: for peers that take\n"
"                        it for the end of both directions, such as openssl s_client\n"
"      --handshake-only  copy nothing\n"
"      --port-file FILE  with -l: write the port there once connections are accepted\n"
"  -h, --help\n"
"\n"
"Serials are decimal or 0x hexadecimal.  PORT 0 listens on a free port.  On standard error:\n"
"  hsnc: listening on ADDRESS port PORT\n"
"  hsnc: status=0 remote-id=0 callbacks=1 us=12345 retries=0 stray=0 [error=NAME] [cancelled]\n"
"  hsnc: ktls=1.3 tx=CIPHER rx=CIPHER\n"
"  hsnc: sent=BYTES received=BYTES end=close_notify|eof\n"
"\n"
"Exit status: 0; the errno of the handshake; 121 the handshake failed with an errno above 120;\n"
"122 not exactly one callback; 123 status 0 without TLS 1.3 on the socket; 124 the copying\n"
"failed; 125 wrong usage, no connection, or no /dev/hs_consumer.\n";

__attribute__((format(printf, 1, 2), noreturn))
static void die_setup(const char *format, ...)
{
	va_list args;

	fputs("hsnc: ", stderr);
	va_start(args, format);
	vfprintf(stderr, format, args);
	va_end(args);
	fputc('\n', stderr);
	exit(EXIT_SETUP);
}

/* ---- command line ---- */

static long long parse_number(const char *option, const char *text, long long min, long long max)
{
	long long value;
	char *end;

	errno = 0;
	value = strtoll(text, &end, 0);
	if (errno || end == text || *end || value < min || value > max)
		die_setup("--%s wants a number from %lld to %lld, not '%s'", option, min, max, text);
	return value;
}

static uint32_t parse_ms(const char *option, const char *text)
{
	return (uint32_t)parse_number(option, text, 1, 3600 * 1000);
}

static int32_t parse_serial(const char *option, const char *text)
{
	return (int32_t)parse_number(option, text, INT32_MIN, INT32_MAX);
}

static uint32_t parse_auth(const char *text)
{
	if (strcmp(text, "unauth") == 0)
		return HS_CONSUMER_UNAUTH;
	if (strcmp(text, "psk") == 0)
		return HS_CONSUMER_PSK;
	if (strcmp(text, "x509") == 0)
		return HS_CONSUMER_X509;
	die_setup("--auth wants unauth, x509 or psk, not '%s'", text);
}

static uint32_t parse_role(const char *text)
{
	if (strcmp(text, "client") == 0)
		return HS_CONSUMER_CLIENT;
	if (strcmp(text, "server") == 0)
		return HS_CONSUMER_SERVER;
	die_setup("--role wants client or server, not '%s'", text);
}

static void add_peerid(struct hs_consumer_handshake *hs, const char *text)
{
	if (hs->num_peerids == HS_CONSUMER_MAX_PEERIDS)
		die_setup("at most %d times --psk", HS_CONSUMER_MAX_PEERIDS);
	hs->peerids[hs->num_peerids++] = parse_serial("psk", text);
}

static void set_peername(struct hs_consumer_handshake *hs, const char *text)
{
	if (strlen(text) >= sizeof(hs->peername))
		die_setup("--peername has more than %zu characters", sizeof(hs->peername) - 1);
	strcpy(hs->peername, text);
}

enum {
	OPT_AUTH = 256, OPT_ROLE, OPT_PEERNAME, OPT_TIMEOUT, OPT_WAIT, OPT_RETRY, OPT_PSK, OPT_CERT,
	OPT_KEY, OPT_KEYRING, OPT_NONBLOCK, OPT_RECV_ONLY, OPT_KEEP_OPEN, OPT_HANDSHAKE_ONLY,
	OPT_PORT_FILE,
};

static const struct option long_options[] = {
	{ "listen",		no_argument,		NULL, 'l' },
	{ "auth",		required_argument,	NULL, OPT_AUTH },
	{ "role",		required_argument,	NULL, OPT_ROLE },
	{ "peername",		required_argument,	NULL, OPT_PEERNAME },
	{ "timeout",		required_argument,	NULL, OPT_TIMEOUT },
	{ "wait",		required_argument,	NULL, OPT_WAIT },
	{ "retry",		required_argument,	NULL, OPT_RETRY },
	{ "psk",		required_argument,	NULL, OPT_PSK },
	{ "cert",		required_argument,	NULL, OPT_CERT },
	{ "key",		required_argument,	NULL, OPT_KEY },
	{ "keyring",		required_argument,	NULL, OPT_KEYRING },
	{ "nonblock",		no_argument,		NULL, OPT_NONBLOCK },
	{ "recv-only",		no_argument,		NULL, OPT_RECV_ONLY },
	{ "keep-open",		no_argument,		NULL, OPT_KEEP_OPEN },
	{ "handshake-only",	no_argument,		NULL, OPT_HANDSHAKE_ONLY },
	{ "port-file",		required_argument,	NULL, OPT_PORT_FILE },
	{ "help",		no_argument,		NULL, 'h' },
	{ NULL, 0, NULL, 0 },
};

static void parse_flag(struct options *o, int opt)
{
	switch (opt) {
	case 'l':		 o->listening = true; break;
	case '4':		 o->family = AF_INET; break;
	case '6':		 o->family = AF_INET6; break;
	case OPT_NONBLOCK:	 o->nonblock = true; break;
	case OPT_RECV_ONLY:	 o->recv_only = true; break;
	case OPT_KEEP_OPEN:	 o->keep_open = true; break;
	case OPT_HANDSHAKE_ONLY: o->handshake_only = true; break;
	case 'h':
		fputs(usage_text, stdout);
		exit(0);
	default:
		die_setup("see hsnc --help");
	}
}

static void parse_option(struct options *o, int opt, const char *arg)
{
	switch (opt) {
	case OPT_AUTH:		o->hs.auth = parse_auth(arg); break;
	case OPT_ROLE:		o->hs.role = parse_role(arg); break;
	case OPT_PEERNAME:	set_peername(&o->hs, arg); break;
	case OPT_TIMEOUT:	o->hs.timeout_ms = parse_ms("timeout", arg); break;
	case OPT_WAIT:		o->hs.wait_ms = parse_ms("wait", arg); break;
	case OPT_RETRY:		o->hs.retry_ms = parse_ms("retry", arg); break;
	case OPT_PSK:		add_peerid(&o->hs, arg); break;
	case OPT_CERT:		o->hs.cert = parse_serial("cert", arg); break;
	case OPT_KEY:		o->hs.privkey = parse_serial("key", arg); break;
	case OPT_KEYRING:	o->hs.keyring = parse_serial("keyring", arg); break;
	case OPT_PORT_FILE:	o->port_file = arg; break;
	default:		parse_flag(o, opt);
	}
}

static void parse_command_line(struct options *o, int argc, char **argv)
{
	int opt;

	while ((opt = getopt_long(argc, argv, "l46h", long_options, NULL)) != -1)
		parse_option(o, opt, optarg);

	if (argc - optind != 2)
		die_setup("HOST and PORT are wanted, see hsnc --help");
	o->host = argv[optind];
	o->port = argv[optind + 1];
	if (!o->hs.role)
		o->hs.role = o->listening ? HS_CONSUMER_SERVER : HS_CONSUMER_CLIENT;
	if (!o->hs.auth)
		die_setup("--auth is wanted");
	if (o->hs.role == HS_CONSUMER_SERVER && o->hs.auth == HS_CONSUMER_UNAUTH)
		die_setup("the kernel knows no server without authentication: --auth x509 or psk");
	if (o->port_file && !o->listening)
		die_setup("--port-file goes with --listen");
}

/* ---- TCP ---- */

static struct addrinfo *resolve(const struct options *o)
{
	const struct addrinfo hints = {
		.ai_family = o->family,
		.ai_socktype = SOCK_STREAM,
		.ai_flags = o->listening ? AI_PASSIVE : 0,
	};
	struct addrinfo *list;
	int ret;

	ret = getaddrinfo(o->host, o->port, &hints, &list);
	if (ret)
		die_setup("%s port %s: %s", o->host, o->port, gai_strerror(ret));
	return list;
}

static int tcp_connect(const struct options *o, const struct addrinfo *list)
{
	const struct addrinfo *ai;
	int fd, error = 0;

	for (ai = list; ai; ai = ai->ai_next) {
		fd = socket(ai->ai_family, ai->ai_socktype | SOCK_CLOEXEC, ai->ai_protocol);
		if (fd >= 0 && connect(fd, ai->ai_addr, ai->ai_addrlen) == 0)
			return fd;
		error = errno;
		if (fd >= 0)
			close(fd);
	}
	die_setup("cannot connect to %s port %s: %s", o->host, o->port, strerror(error));
}

/* Whoever waits for the file must not see it half written. */
static void write_port_file(const char *name, const char *port)
{
	char *temp;
	FILE *file;

	if (asprintf(&temp, "%s.new", name) < 0)
		die_setup("no memory");
	file = fopen(temp, "we");
	if (!file || fprintf(file, "%s\n", port) < 0 || fclose(file) != 0 ||
	    rename(temp, name) < 0)
		die_setup("cannot write %s: %s", name, strerror(errno));
	free(temp);
}

static void announce(const struct options *o, int fd)
{
	struct sockaddr_storage address;
	socklen_t len = sizeof(address);
	char host[NI_MAXHOST], port[NI_MAXSERV];

	if (getsockname(fd, (struct sockaddr *)&address, &len) < 0 ||
	    getnameinfo((struct sockaddr *)&address, len, host, sizeof(host), port, sizeof(port),
			NI_NUMERICHOST | NI_NUMERICSERV) != 0)
		die_setup("cannot learn the port");
	fprintf(stderr, "hsnc: listening on %s port %s\n", host, port);
	if (o->port_file)
		write_port_file(o->port_file, port);
}

static int tcp_accept(const struct options *o, const struct addrinfo *ai)
{
	const int one = 1;
	int listener, fd;

	listener = socket(ai->ai_family, ai->ai_socktype | SOCK_CLOEXEC, ai->ai_protocol);
	if (listener < 0 ||
	    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one)) < 0 ||
	    bind(listener, ai->ai_addr, ai->ai_addrlen) < 0 || listen(listener, 1) < 0)
		die_setup("cannot listen on %s port %s: %s", o->host, o->port, strerror(errno));
	announce(o, listener);
	do {
		fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
	} while (fd < 0 && (errno == EINTR || errno == ECONNABORTED));
	if (fd < 0)
		die_setup("accept: %s", strerror(errno));
	close(listener);
	return fd;
}

static int tcp_open(const struct options *o)
{
	struct addrinfo *list = resolve(o);
	int fd = o->listening ? tcp_accept(o, list) : tcp_connect(o, list);

	freeaddrinfo(list);
	if (o->nonblock && fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK) < 0)
		die_setup("cannot set O_NONBLOCK: %s", strerror(errno));
	return fd;
}

/* ---- handshake ---- */

static void on_signal(__attribute__((unused)) int signo)
{
	/* only there to end the ioctl: it cancels the request and reports that */
}

static void report(const struct hs_consumer_handshake *hs)
{
	fprintf(stderr, "hsnc: status=%d remote-id=%d callbacks=%u us=%llu retries=%u stray=%u",
		hs->status, hs->remote_peerid, hs->callbacks, (unsigned long long)hs->elapsed_us,
		hs->retries, hs->stray);
	if (hs->status) {
		const char *name = strerrorname_np(-hs->status);

		fprintf(stderr, " error=%s", name ? name : "?");
	}
	if (hs->flags & HS_CONSUMER_CANCELLED)
		fputs(" cancelled", stderr);
	fputc('\n', stderr);
}

static int judge(const struct hs_consumer_handshake *hs)
{
	unsigned int expected = 0;

	if ((hs->flags & HS_CONSUMER_SUBMITTED) && !(hs->flags & HS_CONSUMER_CANCELLED))
		expected = 1;
	if (hs->callbacks != expected || hs->stray)
		return EXIT_UPCALL;
	if (!hs->status)
		return 0;
	return hs->status < 0 && hs->status > -120 ? -hs->status : EXIT_OTHER;
}

/* Returns an exit status. */
static int handshake(struct hs_consumer_handshake *hs, int device, int fd)
{
	struct sigaction action = { .sa_handler = on_signal }, old_int, old_term;
	int ret;

	hs->sockfd = fd;
	sigaction(SIGINT, &action, &old_int);
	sigaction(SIGTERM, &action, &old_term);
	ret = ioctl(device, HS_CONSUMER_HANDSHAKE, hs);
	if (ret < 0)
		die_setup("ioctl of /dev/" HS_CONSUMER_DEVICE ": %s", strerror(errno));
	sigaction(SIGINT, &old_int, NULL);
	sigaction(SIGTERM, &old_term, NULL);
	report(hs);
	return judge(hs);
}

static int check_ktls(int fd)
{
	char text[80];
	int ret = hsnc_ktls_describe(fd, text, sizeof(text));

	if (ret) {
		fprintf(stderr, "hsnc: no TLS 1.3 on the socket: %s\n", strerror(-ret));
		return EXIT_NO_KTLS;
	}
	fprintf(stderr, "hsnc: ktls=%s\n", text);
	return 0;
}

/* ---- data ---- */

static int fail_data(const char *what, int error)
{
	fprintf(stderr, "hsnc: %s: %s\n", what, strerror(-error));
	return EXIT_DATA;
}

static int write_all(int fd, const uint8_t *buf, size_t len)
{
	while (len) {
		ssize_t n = write(fd, buf, len);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		buf += n;
		len -= (size_t)n;
	}
	return 0;
}

static int receive(struct copy *c)
{
	uint8_t buf[16384];
	size_t len = 0;
	int ret;

	ret = hsnc_ktls_recv(c->fd, buf, sizeof(buf), &len);
	switch (ret) {
	case HSNC_RECV_DATA:
		c->received += len;
		ret = write_all(STDOUT_FILENO, buf, len);
		return ret ? fail_data("writing standard output", ret) : 0;
	case HSNC_RECV_CLOSE_NOTIFY:
	case HSNC_RECV_EOF:
		c->peer_ended = true;
		c->in_ended |= c->recv_only;
		c->end = ret == HSNC_RECV_EOF ? "eof" : "close_notify";
		return 0;
	case HSNC_RECV_ALERT:
		fprintf(stderr, "hsnc: the peer sent alert %zu\n", len);
		return EXIT_DATA;
	case HSNC_RECV_SKIP:
	case HSNC_RECV_AGAIN:
		return 0;
	default:
		return fail_data("receiving", ret);
	}
}

static int read_input(struct copy *c)
{
	ssize_t len = read(STDIN_FILENO, c->out, sizeof(c->out));

	if (len < 0 && (errno == EINTR || errno == EAGAIN))
		return 0;
	if (len < 0)
		return fail_data("reading standard input", -errno);
	c->out_done = 0;
	c->out_len = (size_t)len;
	c->in_ended = len == 0;
	return 0;
}

static int send_output(struct copy *c)
{
	ssize_t n;
	int ret;

	if (c->out_done < c->out_len) {
		n = send(c->fd, c->out + c->out_done, c->out_len - c->out_done,
			 MSG_DONTWAIT | MSG_NOSIGNAL);
		if (n < 0)
			return errno == EAGAIN || errno == EINTR ? 0 : fail_data("sending", -errno);
		c->out_done += (size_t)n;
		c->sent += (size_t)n;
	} else if (c->in_ended && !c->sent_end) {
		ret = hsnc_ktls_close_notify(c->fd);
		if (ret == -EAGAIN)
			return 0;
		c->sent_end = true;
		/* a peer that is gone already does not care */
		if (ret && !(c->peer_ended && (ret == -EPIPE || ret == -ECONNRESET)))
			return fail_data("sending close_notify", ret);
	}
	return 0;
}

static bool wants_to_send(const struct copy *c)
{
	if (c->out_done < c->out_len)
		return true;
	return c->in_ended && !c->sent_end && (c->peer_ended || !c->keep_open);
}

static int copy_step(struct copy *c)
{
	bool sending = wants_to_send(c);
	struct pollfd fds[2] = {
		{ .fd = sending || c->in_ended || c->recv_only ? -1 : STDIN_FILENO,
		  .events = POLLIN },
		{ .fd = c->fd, .events = (short)((c->peer_ended ? 0 : POLLIN) |
						 (sending ? POLLOUT : 0)) },
	};
	int ret;

	/* nothing more to ask of the socket: a hang-up would wake poll for ever */
	if (!fds[1].events)
		fds[1].fd = -1;
	ret = poll(fds, 2, -1);
	if (ret < 0)
		return errno == EINTR ? 0 : fail_data("poll", -errno);
	ret = 0;
	if (fds[1].revents && !c->peer_ended)
		ret = receive(c);
	if (!ret && sending && (fds[1].revents & (POLLOUT | POLLERR | POLLHUP)))
		ret = send_output(c);
	if (!ret && fds[0].revents)
		ret = read_input(c);
	return ret;
}

static int copy_data(int fd, const struct options *o)
{
	struct copy c = {
		.fd = fd,
		.recv_only = o->recv_only,
		.keep_open = o->keep_open,
		.end = "none",
	};
	int ret = 0;

	while (!ret && !(c.peer_ended && c.sent_end))
		ret = copy_step(&c);
	fprintf(stderr, "hsnc: sent=%llu received=%llu end=%s\n", c.sent, c.received, c.end);
	return ret;
}

int main(int argc, char **argv)
{
	struct options o = { .family = AF_UNSPEC };
	int device, fd, ret;

	/* whole lines, also when several of these write to one log */
	setvbuf(stderr, NULL, _IOLBF, 0);
	parse_command_line(&o, argc, argv);
	device = open("/dev/" HS_CONSUMER_DEVICE, O_RDWR | O_CLOEXEC);
	if (device < 0)
		die_setup("/dev/" HS_CONSUMER_DEVICE ": %s (insmod hs_consumer.ko)", strerror(errno));
	fd = tcp_open(&o);
	ret = handshake(&o.hs, device, fd);
	if (!ret)
		ret = check_ktls(fd);
	if (!ret && !o.handshake_only)
		ret = copy_data(fd, &o);
	close(fd);
	close(device);
	return ret;
}
