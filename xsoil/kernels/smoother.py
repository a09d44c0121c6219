"""The iterative ensemble smoother of many cells: everything between two runs of the model.

A cell holds one slot of each array. Members lie last and are padded to whole vectors; sums over members are made in
eight lanes and joined in one order, so that a result does not depend on the machine's threads or on other cells.
"""

from __future__ import annotations

import math

import numpy as np

from xsoil.jit import kernel
from xsoil.kernels import elementary
from xsoil.kernels.draws import normals, stream
from xsoil.physics.bounded import bounded
from xsoil.physics.elementary import Elementary

__all__ = [
    "BUDGET", "CONVERGED", "FAILED", "RUNNING", "STALLED", "assess", "begin", "condense", "linearise", "misfit",
    "natural", "propose", "share_value",
]  # fmt: skip

RUNNING, CONVERGED, BUDGET, STALLED, FAILED = range(5)
"""States of a slot."""

# Columns of the whole numbers of a slot.
STATE, ITERATION, REJECTED, ACCEPTED, REDRAWN, FAILURES, RUNS, FIRST = range(8)

LANES = 8
REDRAWS = 3
REJECTIONS = 5
JITTER = 1e-10
LEAST_DAMPING, MOST_DAMPING = 1e-3, 1e6
# Logits beyond are the bound to 1e-9 of the interval: observations out of reach would drive them on for ever.
FARTHEST = 20.0

_functions = Elementary(
    elementary.exp, elementary.expm1, elementary.log, elementary.log1p, elementary.where, kernel
)  # fmt: skip
_, share_value, _, _natural = bounded(_functions)


@kernel
def _cholesky(a, n):
    """The lower factor of `a` in place; pivots that rounding made negative become small."""
    for k in range(n):
        pivot = a[k, k]
        least = 1e-14 * abs(pivot) + 1e-300
        for i in range(k):
            pivot -= a[k, i] * a[k, i]
        a[k, k] = math.sqrt(max(pivot, least))
        for j in range(k + 1, n):
            value = a[j, k]
            for i in range(k):
                value -= a[j, i] * a[k, i]
            a[j, k] = value / a[k, k]


@kernel
def _forward(factor, x, n):
    """x <- L^-1 x for all columns."""
    for k in range(n):
        for i in range(k):
            for j in range(x.shape[1]):
                x[k, j] -= factor[k, i] * x[i, j]
        for j in range(x.shape[1]):
            x[k, j] /= factor[k, k]


@kernel
def _backward(factor, x, n):
    """x <- L'^-1 x for all columns."""
    for k in range(n - 1, -1, -1):
        for i in range(k + 1, n):
            for j in range(x.shape[1]):
                x[k, j] -= factor[i, k] * x[i, j]
        for j in range(x.shape[1]):
            x[k, j] /= factor[k, k]


@kernel
def _dot(a, b):
    """Sum of products of two rows of whole vectors, in lanes."""
    lanes = np.zeros(LANES)
    for first in range(0, a.size, LANES):
        for lane in range(LANES):
            lanes[lane] += a[first + lane] * b[first + lane]
    return ((lanes[0] + lanes[1]) + (lanes[2] + lanes[3])) + ((lanes[4] + lanes[5]) + (lanes[6] + lanes[7]))


@kernel
def begin(
    first, last, slots, owner, seed, keys, members, mean, deviation, observed, error, z, trial, start, noise, target,
    weight, live, numbers,
):  # fmt: skip
    """Draw the prior ensemble and the perturbations of the observations of fresh slots.

    The ensemble has exactly the mean and the covariance it is drawn from, the perturbations have mean 0. `error` is
    (1 or observations, 1 or cells).
    """
    n, width = z.shape[1], z.shape[2]
    for item in range(first, last):
        s = slots[item]
        c = owner[s]
        drawn = z[s]
        drawn[:] = 0
        factor = np.empty((n, n))
        for p in range(n):
            row = drawn[p]
            normals(stream(seed, keys[c], 0), p * members, row[:members])
            middle = 0.0
            for j in range(members):
                middle += row[j]
            for j in range(members):
                row[j] -= middle / members
        for p in range(n):
            for q in range(n):
                factor[p, q] = _dot(drawn[p], drawn[q]) / (members - 1)
        _cholesky(factor, n)
        _forward(factor, drawn, n)
        for p in range(n):
            for j in range(members):
                drawn[p, j] = mean[p, c] + deviation[p, c] * drawn[p, j]
        trial[s] = drawn
        start[s] = drawn
        for o in range(noise.shape[1]):
            d, sigma = observed[o, c], error[min(o, error.shape[0] - 1), min(c, error.shape[1] - 1)]
            seen = abs(d) < np.inf and sigma > 0 and sigma < np.inf
            target[s, o], weight[s, o] = (d, 1.0 / sigma) if seen else (0.0, 0.0)
            if seen:
                row = noise[s, o]
                normals(stream(seed, keys[c], 1), o * members, row[:members])
                middle = 0.0
                for j in range(members):
                    middle += row[j]
                for j in range(members):
                    row[j] -= middle / members
        for j in range(width):
            live[s, j] = j < members
        numbers[s] = 0
        numbers[s, FIRST] = 1


@kernel
def natural(first, last, slots, owner, members, z, low, high, logarithmic, out):
    """The ensembles of slots in the units of their parameters, one column a member."""
    for item in range(first, last):
        s = slots[item]
        c = owner[s]
        for p in range(z.shape[1]):
            for j in range(members):
                out[p, item * members + j] = _natural(z[s, p, j], low[p, c], high[p, c], logarithmic[p])


@kernel
def linearise(scaled, rows, noise, kept, live, z, inverse, gram, pull):
    """Sensitivities of the `rows` first rows of `scaled` (simulated less observed, per error) to z.

    Fills, with C the covariance of the ensemble and G = dD dX^+ per error: `inverse` = C^-1, `gram` = G'G and `pull` =
    G' (g(x_j) - d_j), from which any damping makes a step. The anomalies of the simulations enter through their product
    with those of the parameters only, which projects them onto the space of the parameters.
    """
    n, width = z.shape
    count = 0
    for j in range(width):
        count += live[j]
    spread = np.zeros((n, width))
    for p in range(n):
        middle = 0.0
        for j in range(width):
            if live[j]:
                middle += z[p, j]
        middle /= count
        for j in range(width):
            spread[p, j] = z[p, j] - middle if live[j] else 0.0
    factor = np.empty((n, n))
    for p in range(n):
        for q in range(n):
            factor[p, q] = _dot(spread[p], spread[q]) / (count - 1)
        factor[p, p] += JITTER
    _cholesky(factor, n)
    inverse[:] = 0
    for p in range(n):
        inverse[p, p] = 1.0
    _forward(factor, inverse, n)
    _backward(factor, inverse, n)
    product = np.zeros((n, n))
    moved = np.zeros((n, width))
    joint = np.empty(n)
    for r in range(rows):
        row, perturbed = scaled[r], noise[kept[r]]
        for p in range(n):
            joint[p] = _dot(row, spread[p]) / (count - 1)
        for p in range(n):
            for q in range(p + 1):
                product[p, q] += joint[p] * joint[q]
            to, by = moved[p], joint[p]
            for j in range(width):
                to[j] += by * (row[j] - perturbed[j])
    for p in range(n):
        for q in range(p):
            product[q, p] = product[p, q]
    half = np.empty((n, n))
    for p in range(n):
        for q in range(n):
            value = 0.0
            for i in range(n):
                value += inverse[p, i] * product[i, q]
            half[p, q] = value
    for p in range(n):
        for q in range(n):
            value = 0.0
            for i in range(n):
                value += half[p, i] * inverse[i, q]
            gram[p, q] = value
        for j in range(width):
            pull[p, j] = 0.0
        for i in range(n):
            for j in range(width):
                pull[p, j] += inverse[p, i] * moved[i, j]


@kernel
def propose(z, start, deviation, inverse, gram, pull, damping, trial):
    """The next ensemble: one step of Levenberg and Marquardt from `z` with what `linearise` found."""
    n, width = z.shape
    factor = np.empty((n, n))
    for p in range(n):
        for q in range(n):
            factor[p, q] = (1.0 + damping) * inverse[p, q] + gram[p, q]
        for j in range(width):
            trial[p, j] = (z[p, j] - start[p, j]) / (deviation[p] * deviation[p]) + pull[p, j]
    _cholesky(factor, n)
    _forward(factor, trial, n)
    _backward(factor, trial, n)
    for p in range(n):
        for j in range(width):
            trial[p, j] = min(max(z[p, j] - trial[p, j], -FARTHEST), FARTHEST)


@kernel
def assess(
    first, last, slots, owner, seed, keys, members, mean, deviation, simulated, tolerance, iterations, z, trial, start,
    noise, target, weight, live, numbers, damping, cost, inverse, gram, pull,
):  # fmt: skip
    """Take or reject the ensembles that were run, and propose the next ones."""
    n, width = z.shape[1], z.shape[2]
    scaled = np.zeros((target.shape[1], width))
    kept = np.empty(target.shape[1], np.int64)
    found = np.empty(width)
    for item in range(first, last):
        s = slots[item]
        c = owner[s]
        count = numbers[s]
        own = deviation[:, c].copy()
        for j in range(width):
            found[j] = 0.0
            for p in range(n):
                off = (trial[s, p, j] - start[s, p, j]) / own[p]
                found[j] += off * off
        rows = 0
        for o in range(target.shape[1]):
            if weight[s, o] > 0:
                kept[rows] = o
                to, perturbed = scaled[rows], noise[s, o]
                row = simulated[o, item * members : (item + 1) * members]
                d, w = target[s, o], weight[s, o]
                for j in range(members):
                    value = (row[j] - d) * w
                    to[j] = value
                    value -= perturbed[j]
                    found[j] += value * value
                rows += 1
        count[RUNS] += members
        good, before, after = 0, 0.0, 0.0
        for j in range(members):
            if live[s, j] and found[j] < np.inf:
                good += 1
                before += cost[s, j]
                after += found[j]
            elif live[s, j]:
                count[FAILURES] += 1
        enough = good >= max(n + 2, (members + 1) // 2)
        if count[FIRST]:
            if good < members and count[REDRAWN] < REDRAWS:
                count[REDRAWN] += 1
                for j in range(members):
                    if not found[j] < np.inf:
                        fresh = np.empty(n)
                        normals(stream(seed, keys[c], 2 + count[REDRAWN]), j * n, fresh)
                        for p in range(n):
                            z[s, p, j] = mean[p, c] + own[p] * fresh[p]
                            trial[s, p, j] = start[s, p, j] = z[s, p, j]
                continue
            if not enough:
                count[STATE] = FAILED
                continue
            count[FIRST] = 0
            ratio = after / good / (2 * rows)
            exact = 10.0 ** math.floor(math.log10(ratio)) if ratio > 0 else 0.0
            damping[s] = min(max(exact, LEAST_DAMPING), MOST_DAMPING)
            taken = True
        else:
            count[ITERATION] += 1
            taken = enough and after < before
            if taken:
                if (before - after) < tolerance * before and (damping[s] <= 1 or count[REJECTED] > 0):
                    count[STATE] = CONVERGED
                damping[s] = max(damping[s] / 10, LEAST_DAMPING)
                count[ACCEPTED] += 1
                count[REJECTED] = 0
            else:
                damping[s] *= 10
                count[REJECTED] += 1
                if count[REJECTED] == REJECTIONS:
                    count[STATE] = CONVERGED if count[ACCEPTED] > 0 else STALLED
            if count[STATE] == RUNNING and count[ITERATION] >= iterations:
                count[STATE] = BUDGET
        if taken:
            for j in range(members):
                live[s, j] = live[s, j] and found[j] < np.inf
                cost[s, j] = found[j]
                if live[s, j]:
                    for p in range(n):
                        z[s, p, j] = trial[s, p, j]
                else:
                    for r in range(rows):
                        scaled[r, j] = 0.0
            if count[STATE] == RUNNING:
                linearise(scaled, rows, noise[s], kept, live[s], z[s], inverse[s], gram[s], pull[s])
        if count[STATE] == RUNNING:
            propose(z[s], start[s], own, inverse[s], gram[s], pull[s], damping[s], trial[s])
            for j in range(width):
                if not live[s, j]:
                    for p in range(n):
                        trial[s, p, j] = z[s, p, j]


@kernel
def condense(first, last, slots, owner, members, z, live, low, high, logarithmic, centre, spread, draws):
    """Per cell of finished slots: the ensemble's mean, brought back between the bounds, its deviation, its draws."""
    for item in range(first, last):
        s = slots[item]
        c = owner[s]
        for p in range(z.shape[1]):
            count, middle, mean = 0, 0.0, 0.0
            values = np.full(members, np.nan)
            for j in range(members):
                if live[s, j]:
                    values[j] = _natural(z[s, p, j], low[p, c], high[p, c], logarithmic[p])
                    count += 1
                    middle += z[s, p, j]
                    mean += values[j]
            centre[c, p] = _natural(middle / count, low[p, c], high[p, c], logarithmic[p])
            mean /= count
            square = 0.0
            for j in range(members):
                if live[s, j]:
                    square += (values[j] - mean) ** 2
            spread[c, p] = math.sqrt(square / (count - 1))
            if draws.size:
                draws[c, p] = values


@kernel
def misfit(first, last, simulated, cells, observed, error, out):
    """Mean square of simulated less observed per error; one column of `simulated` for each of `cells`."""
    for item in range(first, last):
        c = cells[item]
        count, total = 0, 0.0
        for o in range(simulated.shape[0]):
            d, sigma = observed[o, c], error[min(o, error.shape[0] - 1), min(c, error.shape[1] - 1)]
            if abs(d) < np.inf and sigma > 0 and sigma < np.inf:
                value = (simulated[o, item] - d) / sigma
                total += value * value
                count += 1
        out[c] = total / count if count else np.nan
