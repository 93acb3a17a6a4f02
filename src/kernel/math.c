/*
 * math.c
 *		The few functions of numbers that everything else is made of.
 *
 * Formulas: README.md, section "Numbers".
 *
 * They are here, and not where they are used, because inference, planning,
 * learning and the compiler must agree on them to the last bit: a logarithm
 * with another floor would make two formulas of the same quantity differ.
 */
#include "kernel.h"

#include <math.h>
#include <string.h>

/*
 * L(x) = ln max(x, eps), pymdp's log_stable: an impossible event costs 36
 * nats, never infinitely many, so that one impossible observation cannot end a
 * belief.
 *
 * NaN gives L(0): a comparison with NaN is false.
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
 * Small arguments are moved up to 10 by psi(x + 1) = psi(x) + 1/x, from where
 * the asymptotic series (Abramowitz and Stegun 6.3.18) is good to 1e-16.
 * Taking the logarithm away by name, not by subtraction, keeps all digits for
 * the large counts (1e16) by which people freeze a parameter.
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

/*
 * The digamma function psi(x) for x > 0, from psi(x + 1) = psi(x) + 1/x.
 * Nothing is promised for other x.
 */
double
kernel_digamma(double x)
{
	return digamma_remainder(x) + log(x) - 1.0 / x;
}

/*
 * The weight of parameter information gain for one column of Dirichlet counts
 * a [rows] (Friston et al.  2017, appendix):
 *
 * 	W = -[ln a0 - ln a + psi(a + 1) - psi(a0 + 1)],  a0 the sum of the column
 *
 * which is -KL[Dir(a + e_i) || Dir(a)] for row i; gain [rows] gets it, and 0
 * where a is 0.  W is the difference of two remainders psi(x + 1) - ln x, and
 * no logarithms are subtracted.  Counts below the log floor are taken as the
 * floor, in the sum of the column too, as pymdp does.
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

/*
 * Gives the host a chance to interrupt, in a loop over columns or states, at
 * every 64th of them.
 */
static void
poll_at(const KernelHost *host, int64_t index)
{
	if (host->poll != NULL && index % 64 == 0)
		host->poll(host->context);
}

/*
 * reach [states][states]: 1 at [s][s'] where some action takes s to s' with
 * more than the threshold, else 0.  Columns of dense_B are [action][state
 * before], so a column's number modulo states is the state it starts from.
 */
static void
reachable(const KernelHost *host, const double *dense_B, int32_t states,
		  int64_t columns, double threshold, double *reach)
{
	memset(reach, 0, sizeof(double) * (size_t) states * (size_t) states);
	for (int64_t c = 0; c < columns; c++)
	{
		const double *column = dense_B + c * states;
		double		 *row = reach + (c % states) * states;

		poll_at(host, c);
		for (int32_t s = 0; s < states; s++)
		{
			if (column[s] > threshold)
				row[s] = 1.0;
		}
	}
}

/*
 * Backward reachability from the goal, pymdp's generate_I_matrix (Friston et
 * al., "Active inference and intentional behaviour", 2025): I[0] = H; I[i][s]
 * = 1 where some s' that s can reach in one move has I[i-1][s'], else 0.
 *
 * H is [states] of 0 and 1, dense_B has columns of states rows, scratch is
 * [states * states], I [depth][states].  For factors that depend on themselves
 * alone; the compiler has made sure of it.
 */
void
kernel_inductive(const KernelHost *host, const double *H, int32_t states,
				 int64_t columns, const double *dense_B, double threshold,
				 int32_t depth, double *scratch, double *I)
{
	reachable(host, dense_B, states, columns, threshold, scratch);
	memcpy(I, H, sizeof(double) * (size_t) states);
	for (int32_t i = 1; i < depth; i++)
	{
		const double *last = I + (int64_t) (i - 1) * states;
		double		 *row = I + (int64_t) i * states;

		for (int32_t s = 0; s < states; s++)
		{
			const double *reach = scratch + (int64_t) s * states;

			poll_at(host, s);
			row[s] = 0.0;
			for (int32_t next = 0; next < states && row[s] == 0.0; next++)
			{
				if (reach[next] > 0.0 && last[next] > 0.0)
					row[s] = 1.0;
			}
		}
	}
}
