/*
 * support.c
 *	  See support.h.
 */
#include "support.h"

#include <dirent.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void **pieces = NULL;
static int	  piece_count = 0;

static void *
allocate(void *context, size_t size)
{
	void *piece = aligned_alloc(64, (size + 63) / 64 * 64 + 64);

	/* not a number where nothing was written: nobody may count on zeros */
	(void) context;
	memset(piece, 0xff, size);
	pieces = realloc(pieces, sizeof(void *) * (size_t) (piece_count + 1));
	pieces[piece_count++] = piece;
	return piece;
}

void
test_host(KernelHost *host)
{
	*host = (KernelHost){allocate, NULL, NULL, 65536, 256 << 20};
}

void
free_all(void)
{
	for (int i = 0; i < piece_count; i++)
		free(pieces[i]);
	free(pieces);
	pieces = NULL;
	piece_count = 0;
}

/* Tests run in a build folder; the runner says where the data is. */
static void
reference_path(char *path, size_t size, const char *name)
{
	const char *folder = getenv("FA_REFERENCE");

	snprintf(path, size, "%s/%s", folder ? folder : "test/reference", name);
}

JsonValue
read_reference(const KernelHost *host, const char *name)
{
	static KernelProblems problems;
	char				  path[4096];
	char				 *text;
	size_t				  length;
	JsonValue			  value;
	FILE				 *file;

	reference_path(path, sizeof(path), name);
	file = fopen(path, "rb");
	if (file == NULL)
	{
		printf("Bail out! cannot read %s\n", path);
		exit(2);
	}
	fseek(file, 0, SEEK_END);
	length = (size_t) ftell(file);
	rewind(file);
	text = malloc(length + 1);
	if (fread(text, 1, length, file) != length)
		exit(2);
	fclose(file);
	problems.count = 0;
	if (json_parse(host, text, length, &value, &problems) != KERNEL_OK)
	{
		printf("Bail out! %s: %s\n", path, problems.items[0].message);
		exit(2);
	}
	free(text);
	return value;
}

static int
compare_names(const void *a, const void *b)
{
	return strcmp(*(char *const *) a, *(char *const *) b);
}

char **
reference_files(const char *folder, int *count)
{
	char		   path[4096];
	char		 **names = NULL;
	struct dirent *entry;
	DIR			  *directory;

	reference_path(path, sizeof(path), folder);
	directory = opendir(path);
	*count = 0;
	while (directory != NULL && (entry = readdir(directory)) != NULL)
	{
		if (strstr(entry->d_name, ".json") == NULL)
			continue;
		names = realloc(names, sizeof(char *) * (size_t) (*count + 1));
		names[*count] = malloc(strlen(folder) + strlen(entry->d_name) + 2);
		sprintf(names[(*count)++], "%s/%s", folder, entry->d_name);
	}
	if (directory != NULL)
		closedir(directory);
	if (*count > 1)
		qsort(names, (size_t) *count, sizeof(char *), compare_names);
	return names;
}

int
count_numbers(const JsonValue *value)
{
	int count = 0;

	if (value->kind != JSON_ARRAY)
		return 1;
	for (int i = 0; i < value->count; i++)
		count += count_numbers(&value->as.elements[i]);
	return count;
}

int
flatten(const JsonValue *value, double *out)
{
	int count = 0;

	if (value->kind != JSON_ARRAY)
	{
		*out = value->kind == JSON_NUMBER ? value->as.number : NAN;
		return 1;
	}
	for (int i = 0; i < value->count; i++)
		count += flatten(&value->as.elements[i], out + count);
	return count;
}

int
flatten_ints(const JsonValue *value, int32_t *out)
{
	for (int i = 0; i < value->count; i++)
		out[i] = (int32_t) value->as.elements[i].as.number;
	return value->count;
}

double
difference(const double *got, const JsonValue *expected, int count)
{
	double *numbers =
		malloc(sizeof(double) * (size_t) (count_numbers(expected) + 1));
	double worst = flatten(expected, numbers) == count ? 0.0 : INFINITY;

	for (int i = 0; i < count && worst < INFINITY; i++)
	{
		double off = fabs(got[i] - numbers[i]);

		worst = off > worst || isnan(off) ? off : worst;
	}
	free(numbers);
	return worst;
}
