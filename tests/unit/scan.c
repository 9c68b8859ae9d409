// SPDX-License-Identifier: GPL-2.0-or-later
#include "scan.h"

#include <errno.h>
#include <fcntl.h>
#include <glib.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static int scan_range(int mem, off_t start, size_t size, const void *needle, size_t len,
		      const char *line)
{
	g_autofree char *copy = g_malloc(size);
	size_t got = 0;
	int n = 0;

	while (got < size) {
		ssize_t r = pread(mem, copy + got, size - got, start + (off_t)got);

		if (r <= 0)
			break;	/* beyond the end of a file, or the kernel's own */
		got += (size_t)r;
	}
	for (char *at = copy; (at = memmem(at, got - (size_t)(at - copy), needle, len)); at++) {
		g_test_message("found at %lx in %s", (unsigned long)(start + (at - copy)), line);
		n++;
	}
	return n;
}

int scan_process(pid_t pid, const void *needle, size_t len)
{
	g_autofree char *maps_path = g_strdup_printf("/proc/%d/maps", pid);
	g_autofree char *mem_path = g_strdup_printf("/proc/%d/mem", pid);
	unsigned long start, end;
	char line[512], read_flag;
	FILE *maps = fopen(maps_path, "re");
	int mem = open(mem_path, O_RDONLY | O_CLOEXEC), n = 0;

	if (!maps || mem < 0) {
		n = -errno;
	} else {
		while (fgets(line, sizeof(line), maps)) {
			g_strchomp(line);
			if (sscanf(line, "%lx-%lx %c", &start, &end, &read_flag) == 3 &&
			    read_flag == 'r' && !strstr(line, "[v"))
				n += scan_range(mem, (off_t)start, end - start, needle, len, line);
		}
	}
	if (maps)
		fclose(maps);
	if (mem >= 0)
		close(mem);
	return n;
}
