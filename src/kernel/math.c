/*
 * math.c
 *		The few functions of numbers that everything else is made of.
 *
 * Formulas: README.md, section "Numbers".
 */
#include "kernel.h"

#include <math.h>
#include <string.h>

/*
 * L(x) = ln max(x, eps), pymdp's log_stable: an impossible event costs 36 nats,
 * never infinitely many, so that one impossible observation cannot end a belief.
 */
double
kernel_log(double x)
{
	return log(x > KERNEL_LOG_FLOOR ? x : KERNEL_LOG_FLOOR);
}

/*
 * psi(x + 1) - ln x for x > 0: what is left of the digamma function once its
 * leading logarithm is taken away.
 *
 * Small arguments are moved up to 10 by psi(x + 1) = psi(x) + 1/x, from where the
 * asymptotic series (Abramowitz and Stegun 6.3.18) is good to 1e-16.  Taking the
 * logarithm away by name, not by subtraction, keeps all digits for the large
 * counts (1e16) by which people freeze a parameter.
 */
static double
digamma_remainder(double x)
{
	static const double coefficients[] = {
		1.0 / 12,  -1.0 / 120,	   1.0 / 252, -1.0 / 240,
		1.0 / 132, -691.0 / 32760, 1.0 / 12,  -3617.0 / 8160};
	double shift = 0.0;
	double y = x;
	double power;
	double series = 0.0;

	while (y < 10.0)
	{
		y += 1.0;
		shift += 1.0 / y;
	}
	power = 1.0 / (y * y);
	for (int k = 7; k >= 0; k--)
		series = power * (coefficients[k] + series);

	/* psi(y + 1) = ln y + 1/(2y) - series */
	return 0.5 / y - series - shift + (y == x ? 0.0 : log(y / x));
}

/* psi(x), x > 0. */
double
kernel_digamma(double x)
{
	return digamma_remainder(x) + log(x) - 1.0 / x;
}

/* softmax(x) in place, x [count]; the largest is subtracted first. */
void
kernel_softmax(double *x, int32_t count)
{
	double largest = x[0];
	double sum = 0.0;

	for (int32_t i = 1; i < count; i++)
		largest = x[i] > largest ? x[i] : largest;
	for (int32_t i = 0; i < count; i++)
	{
		x[i] = exp(x[i] - largest);
		sum += x[i];
	}
	for (int32_t i = 0; i < count; i++)
		x[i] /= sum;
}

/*
 * The lowest index whose probability is within a relative 1e-9 of the largest.
 * Exact ties are the rule in these models; without the tolerance the last bit of
 * a sum would choose the action.
 */
int32_t
kernel_argmax(const double *x, int32_t count)
{
	double largest = x[0];

	for (int32_t i = 1; i < count; i++)
		largest = x[i] > largest ? x[i] : largest;
	for (int32_t i = 0; i < count; i++)
	{
		if (x[i] >= largest * (1.0 - KERNEL_TIE))
			return i;
	}
	return 0;
}

/*
 * See kernel.h.  Counts below the log floor are taken as the floor, in the sum of
 * the column too, as pymdp does.
 */
void
kernel_gain_column(const double *counts, int32_t rows, double *gain)
{
	double sum = 0.0;
	double of_sum;

	for (int32_t i = 0; i < rows; i++)
		sum += fmax(counts[i], KERNEL_LOG_FLOOR);
	of_sum = digamma_remainder(sum);
	for (int32_t i = 0; i < rows; i++)
	{
		if (counts[i] > 0.0)
			gain[i] =
				of_sum - digamma_remainder(fmax(counts[i], KERNEL_LOG_FLOOR));
		else
			gain[i] = 0.0;
	}
}

/* reach [s][s']: some action takes s to s' with more than the threshold. */
static void
reachable(const double *dense_B, int32_t states, int64_t columns,
		  double threshold, double *reach)
{
	memset(reach, 0, sizeof(double) * (size_t) states * (size_t) states);
	for (int64_t c = 0; c < columns; c++)
	{
		const double *column = dense_B + c * states;
		double		 *row = reach + (c % states) * states;

		for (int32_t s = 0; s < states; s++)
		{
			if (column[s] > threshold)
				row[s] = 1.0;
		}
	}
}

/*
 * I[0] = H; I[i][s] = 1 where some s' that s can reach in one move has I[i-1][s'].
 * See kernel.h for the shapes.
 */
void
kernel_inductive(const double *H, int32_t states, int64_t columns,
				 const double *dense_B, double threshold, int32_t depth,
				 double *scratch, double *I)
{
	reachable(dense_B, states, columns, threshold, scratch);
	memcpy(I, H, sizeof(double) * (size_t) states);
	for (int32_t i = 1; i < depth; i++)
	{
		const double *last = I + (int64_t) (i - 1) * states;
		double		 *row = I + (int64_t) i * states;

		for (int32_t s = 0; s < states; s++)
		{
			const double *reach = scratch + (int64_t) s * states;

			row[s] = 0.0;
			for (int32_t next = 0; next < states && row[s] == 0.0; next++)
			{
				if (reach[next] > 0.0 && last[next] > 0.0)
					row[s] = 1.0;
			}
		}
	}
}
