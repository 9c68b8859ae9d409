// SPDX-License-Identifier: GPL-2.0-or-later
#include "common/child.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "build-config.h"
#include "common/channel.h"
#include "common/cleanup.h"
#include "common/passing.h"
#include "common/text.h"

#define SHORTAGE_RETRY_MS 10
#define SHORTAGE_TRIES 1000	/* 10 s; whoever waits for more has given up by then */

void child_ignore_signals(void)
{
	signal(SIGHUP, SIG_IGN);
	signal(SIGINT, SIG_IGN);
	signal(SIGTERM, SIG_IGN);
	signal(SIGPIPE, SIG_IGN);
	signal(SIGXFSZ, SIG_IGN);
}

int child_send(int channel, const struct wire_message *msg)
{
	struct pollfd p = { .fd = channel, .events = POLLOUT };
	int r;

	for (unsigned int i = 0; i < SHORTAGE_TRIES; i++) {
		while ((r = channel_send(channel, msg, -1)) == -EAGAIN) {
			if (poll(&p, 1, -1) < 0 && errno != EINTR)
				return -errno;
		}
		if (r != -ENOMEM && r != -ENOBUFS)
			break;
		/* Writable or not, the kernel has no memory for it: somebody waits for a result. */
		poll(NULL, 0, SHORTAGE_RETRY_MS);
	}
	return r;
}

void log_sink_channel(void *ctx, int priority, const char *text,
		      const struct log_field *fields, size_t n_fields)
{
	struct wire_message msg = { .type = WIRE_LOG, .text.priority = priority };

	text_copy(msg.text.text, sizeof(msg.text.text), text);
	child_send(*(int *)ctx, &msg);
}

static int map(struct child_file *file)
{
	struct stat st;

	if (file->fd < 0 || file->what.use == WIRE_FILE_PRIVATE_KEY)
		return 0;
	if (fstat(file->fd, &st) < 0)
		return -errno;
	file->size = st.st_size;
	if (!file->size)
		return 0;
	file->data = mmap(NULL, file->size, PROT_READ, MAP_PRIVATE, file->fd, 0);
	if (file->data == MAP_FAILED) {
		file->data = NULL;
		return -errno;
	}
	return 0;
}

static int add(struct child_files *files, const struct wire_file *what, int fd)
{
	struct child_file *file = &files->file[files->n];

	if (files->n == CHILD_FILES_MAX) {
		fd_close(fd);
		return -EBADMSG;
	}
	*file = (struct child_file){ .what = *what, .fd = fd };
	files->n++;
	return map(file);
}

int child_receive_files(int channel, struct child_files *ret)
{
	struct wire_message msg;

	memset(ret, 0, sizeof(*ret));
	for (;;) {
		CLEANUP_FD int fd = -1;
		int r = channel_wait(channel, -1);

		if (!r)
			r = channel_recv(channel, &msg, &fd);
		if (r == -EAGAIN)
			continue;
		if (!r && msg.type == WIRE_START) {
			ret->start = msg.start;
			return 0;
		}
		if (!r)
			r = msg.type == WIRE_FILE ? add(ret, &msg.file, TAKE_FD(fd)) : -EBADMSG;
		explicit_bzero(&msg, sizeof(msg));	/* a key's URL may hold a PIN */
		if (r < 0) {
			child_files_free(ret);
			return r;
		}
	}
}

void child_files_free(struct child_files *files)
{
	for (size_t i = 0; i < files->n; i++) {
		if (files->file[i].data)
			munmap(files->file[i].data, files->file[i].size);
		fd_close(files->file[i].fd);
	}
	explicit_bzero(files, sizeof(*files));
}

int child_report_start(int channel, int error, const char *reason)
{
	struct wire_message msg = { .type = error < 0 ? WIRE_FAILED : WIRE_READY };

	if (error < 0) {
		msg.failed.passing = is_passing(error);
		text_copy(msg.failed.reason, sizeof(msg.failed.reason), reason);
	}
	return child_send(channel, &msg);
}

int child_confine(int channel, const struct log *log, enum sandbox_role role)
{
	char reason[LOG_TEXT_MAX];
	const char *step = "";
	int r;

	if (TLSHD_SANDBOX_OFF)
		log_debug(log, "this build has no sandbox");
	r = sandbox_enter(role, &step);
	if (r >= 0) {
		log_debug(log, "confined, with Landlock %d", r);
		return 0;
	}
	snprintf(reason, sizeof(reason), "a %s could not confine itself: %s: %s",
		 role == SANDBOX_WORKER ? "worker" : "keeper", step, strerror(-r));
	child_report_start(channel, r, reason);
	return r;
}
