/*-------------------------------------------------------------------------
 *
 * tap.h
 *	  The little that a unit test needs to report in TAP.
 *
 * Include it in one file of a program; end main with "return tap_done();".
 *
 *-------------------------------------------------------------------------
 */
#ifndef TAP_H
#define TAP_H

#include <math.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>

static int tap_count = 0;
static int tap_failures = 0;

/* Report one test, named as printf does; returns whether it passed. */
__attribute__((format(printf, 2, 3))) static inline bool
ok(bool passed, const char *name, ...)
{
	va_list args;

	tap_count++;
	if (!passed)
		tap_failures++;
	printf("%s %d - ", passed ? "ok" : "not ok", tap_count);
	va_start(args, name);
	vprintf(name, args);
	va_end(args);
	printf("\n");
	fflush(stdout);
	return passed;
}

/* Two numbers agree to an absolute tolerance; infinities agree if equal. */
static inline bool
is_close(double got, double expected, double tolerance, const char *name)
{
	bool passed = got == expected || fabs(got - expected) <= tolerance;

	ok(passed, "%s", name);
	if (!passed)
		printf("# got %.17g, expected %.17g, off by %.3g\n", got, expected,
			   fabs(got - expected));
	return passed;
}

/* Print the plan; the program's exit status. */
static inline int
tap_done(void)
{
	printf("1..%d\n", tap_count);
	return tap_failures > 0 || tap_count == 0;
}

#endif /* TAP_H */
