// SPDX-License-Identifier: GPL-2.0
/*
 * Test points. For one thread, and not for children.
 */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "upcall.h"

static unsigned int points, failed, skipped;

void note(const char *format, ...)
{
	va_list args;

	va_start(args, format);
	fputs("# ", stdout);
	vprintf(format, args);
	putchar('\n');
	fflush(stdout);
	va_end(args);
}

static void PRINTF(2, 0) point(bool good, const char *format, va_list args, const char *skip_why)
{
	points++;
	if (!good)
		failed++;
	if (skip_why)
		skipped++;
	printf("%s %u - ", good ? "ok" : "not ok", points);
	vprintf(format, args);
	if (skip_why)
		printf(" # SKIP %s", skip_why);
	putchar('\n');
	fflush(stdout);
}

bool ok(bool good, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	point(good, format, args, NULL);
	va_end(args);
	return good;
}

static const char *meaning(long value)
{
	return value < 0 && value >= -4095 ? strerror((int)-value) : "no error";
}

/* Of numbers; negative ones are taken for an errno when they are explained. */
bool is(long got, long wanted, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	point(got == wanted, format, args, NULL);
	va_end(args);
	if (got != wanted)
		note("got %ld (%s), wanted %ld (%s)", got, meaning(got), wanted, meaning(wanted));
	return got == wanted;
}

void skip(const char *why, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	point(true, format, args, why);
	va_end(args);
}

void bail_out(const char *format, ...)
{
	va_list args;

	va_start(args, format);
	fputs("Bail out! ", stdout);
	vprintf(format, args);
	putchar('\n');
	fflush(stdout);
	va_end(args);
	_Exit(1);
}

int tap_end(void)
{
	printf("1..%u\n", points);
	note("%u passed, %u failed, %u skipped", points - failed - skipped, failed, skipped);
	return failed ? 1 : 0;
}
