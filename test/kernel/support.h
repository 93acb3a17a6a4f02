/*
 * support.h
 *	  A host for tests without a server, and the reading of reference data.
 */
#ifndef SUPPORT_H
#define SUPPORT_H

#include "kernel.h"

/* An arena of malloc'd pieces; free_all() gives everything back. */
extern void test_host(KernelHost *host);
extern void free_all(void);

/* The JSON of test/reference/NAME; ends the program if it cannot be read. */
extern JsonValue read_reference(const KernelHost *host, const char *name);

/* The names of the files in test/reference/FOLDER, sorted; [*count]. */
extern char **reference_files(const char *folder, int *count);

/* Numbers of a (nested) JSON array into out; returns how many. */
extern int flatten(const JsonValue *value, double *out);
extern int flatten_ints(const JsonValue *value, int32_t *out);
extern int count_numbers(const JsonValue *value);

/* The largest absolute difference of got [count] from a JSON array. */
extern double
difference(const double *got, const JsonValue *expected, int count);

#endif /* SUPPORT_H */
