"""Shuffled complex evolution of many cells: everything between two runs of the model.

A cell holds one slot of each array. Each of its complexes waits for the cost of one candidate at a time and then makes
the next one, until all of them have taken their steps and are shuffled. Points are shares of the intervals, 0 to 1.
"""

from __future__ import annotations

import math

import numpy as np

from xsoil.jit import kernel
from xsoil.kernels.draws import stream, uniform
from xsoil.kernels.smoother import share_value

__all__ = ["BUDGET", "CONVERGED", "FAILED", "IDLE", "RUNNING", "advance", "begin", "condense", "place"]

RUNNING, CONVERGED, BUDGET, FAILED = range(4)
"""States of a slot."""

# Columns of the whole numbers of a slot.
STATE, SHUFFLES, RUNS, FAILURES = range(4)

INITIAL, REFLECTION, CONTRACTION, RANDOM, IDLE = range(5)
"""What the candidate of a complex is; idle complexes have none."""


@kernel
def begin(first, last, slots, owner, seed, keys, candidate, kind, step, drawn, best_value, numbers):
    """Draw the first point of every complex of fresh slots."""
    for item in range(first, last):
        s = slots[item]
        best_value[s] = np.inf
        numbers[s] = 0
        for c in range(kind.shape[1]):
            kind[s, c] = INITIAL
            step[s, c] = 0
            drawn[s, c] = 0
            own = stream(seed, keys[owner[s]], c)
            for p in range(candidate.shape[2]):
                candidate[s, c, p] = uniform(own, drawn[s, c])
                drawn[s, c] += 1


@kernel
def place(first, last, slots, owner, column, candidate, low, high, logarithmic, parameters, cells):
    """Write the candidates that have a column there, in the units of the parameters."""
    for item in range(first, last):
        s = slots[item]
        cell = owner[s]
        for c in range(column.shape[1]):
            to = column[item, c]
            if to >= 0:
                cells[to] = cell
                for p in range(candidate.shape[2]):
                    parameters[p, to] = share_value(candidate[s, c, p], low[p, cell], high[p, cell], logarithmic[p])


@kernel
def condense(first, last, slots, owner, best, low, high, logarithmic, found):
    """The best points of finished slots, in the units of the parameters, to their cells' columns of `found`."""
    for item in range(first, last):
        s = slots[item]
        c = owner[s]
        for p in range(best.shape[1]):
            found[p, c] = share_value(best[s, p], low[p, c], high[p, c], logarithmic[p])


@kernel
def _random(points, own, drawn, out):
    """A point of the smallest box that holds all `points`; returns how many numbers were drawn so far."""
    for p in range(out.size):
        low = high = points[0, p]
        for i in range(1, points.shape[0]):
            low, high = min(low, points[i, p]), max(high, points[i, p])
        out[p] = min(max(low + (high - low) * uniform(own, drawn), low), high)
        drawn += 1
    return drawn


@kernel
def _reflect(points, own, drawn, chosen, out):
    """Choose a simplex, better points more often, and reflect its worst one through the others' centre."""
    m, q = points.shape[0], chosen.size
    count = 0
    while count < q:
        # Point i of m (from 0) with probability 2 (m - i) / (m (m + 1)).
        u = uniform(own, drawn)
        drawn += 1
        i = math.floor(m + 0.5 - math.sqrt((m + 0.5) ** 2 - m * (m + 1) * u))
        i = min(max(i, 0), m - 1)
        place = count
        fresh = True
        for k in range(count):
            if chosen[k] == i:
                fresh = False
        if fresh:
            while place > 0 and chosen[place - 1] > i:
                chosen[place] = chosen[place - 1]
                place -= 1
            chosen[place] = i
            count += 1
    inside = True
    for p in range(out.size):
        centre = 0.0
        for k in range(q - 1):
            centre += points[chosen[k], p]
        centre /= q - 1
        out[p] = 2 * centre - points[chosen[q - 1], p]
        inside = inside and 0.0 <= out[p] <= 1.0
    return drawn if inside else _random(points, own, drawn, out)


@kernel
def _contract(points, chosen, out):
    """Half way from the worst point of the simplex to the centre of the others."""
    q = chosen.size
    for p in range(out.size):
        centre = 0.0
        for k in range(q - 1):
            centre += points[chosen[k], p]
        out[p] = (centre / (q - 1) + points[chosen[q - 1], p]) / 2


@kernel
def _replace(points, values, index, point, value):
    """Put `point` in the place of point `index` and keep the order."""
    i = index
    while i > 0 and values[i - 1] > value:
        points[i] = points[i - 1]
        values[i] = values[i - 1]
        i -= 1
    while i < values.size - 1 and values[i + 1] < value:
        points[i] = points[i + 1]
        values[i] = values[i + 1]
        i += 1
    points[i] = point
    values[i] = value


@kernel
def _shuffle(points, values):
    """Sort all points and deal them out to the complexes, one after the other."""
    p, m, n = points.shape
    flat, costs = points.reshape((p * m, n)).copy(), values.reshape(p * m).copy()
    order = np.arange(p * m)
    for i in range(1, order.size):
        rank = i
        while rank > 0 and costs[order[rank - 1]] > costs[i]:
            order[rank] = order[rank - 1]
            rank -= 1
        order[rank] = i
    for rank in range(order.size):
        points[rank % p, rank // p] = flat[order[rank]]
        values[rank % p, rank // p] = costs[order[rank]]


@kernel
def _extent(points):
    """Geometric mean of the ranges of all points."""
    p, m, n = points.shape
    total = 0.0
    for k in range(n):
        low, high = 1.0, 0.0
        for c in range(p):
            for i in range(m):
                low, high = min(low, points[c, i, k]), max(high, points[c, i, k])
        total += math.log(high - low)
    return math.exp(total / n)


@kernel
def _verdict(points, values, history, shuffles, change, extent):
    """Whether the search has ended, after shuffle number `shuffles`."""
    if not values[0, 0] < np.inf:
        return FAILED
    span = history.size
    history[shuffles % span] = values[0, 0]
    if _extent(points) < extent:
        return CONVERGED
    if shuffles >= span - 1:
        mean = 0.0
        for k in range(span):
            mean += abs(history[k]) / span
        if history[(shuffles + 1) % span] - values[0, 0] <= change * mean:
            return CONVERGED
    return RUNNING


@kernel
def advance(
    first, last, slots, owner, column, cost, line, seed, keys, evaluations, steps, change, extent, points, values,
    candidate, kind, step, chosen, drawn, history, best, best_value, best_line, numbers,
):  # fmt: skip
    """Take or reject the candidates that were run, and make the next ones."""
    for item in range(first, last):
        s = slots[item]
        count = numbers[s]
        idle = 0
        for c in range(kind.shape[1]):
            to = column[item, c]
            if to >= 0:
                own = stream(seed, keys[owner[s]], c)
                value, point = cost[to], candidate[s, c]
                count[RUNS] += 1
                if not value < np.inf:
                    count[FAILURES] += 1
                if value < best_value[s]:
                    best_value[s] = value
                    best[s] = point
                    for k in range(2):
                        best_line[s, k] = line[k, to]
                if kind[s, c] == INITIAL:
                    points[s, c, step[s, c]] = point
                    values[s, c, step[s, c]] = value
                    step[s, c] += 1
                    if step[s, c] == points.shape[2]:
                        kind[s, c] = IDLE
                    else:
                        for p in range(point.size):
                            point[p] = uniform(own, drawn[s, c])
                            drawn[s, c] += 1
                else:
                    worst = chosen[s, c, chosen.shape[2] - 1]
                    if kind[s, c] == RANDOM or value < values[s, c, worst]:
                        _replace(points[s, c], values[s, c], worst, point, value)
                        step[s, c] += 1
                        if step[s, c] == steps:
                            kind[s, c] = IDLE
                        else:
                            kind[s, c] = REFLECTION
                            drawn[s, c] = _reflect(points[s, c], own, drawn[s, c], chosen[s, c], point)
                    elif kind[s, c] == REFLECTION:
                        kind[s, c] = CONTRACTION
                        _contract(points[s, c], chosen[s, c], point)
                    else:
                        kind[s, c] = RANDOM
                        drawn[s, c] = _random(points[s, c], own, drawn[s, c], point)
            if kind[s, c] == IDLE:
                idle += 1
        if idle == kind.shape[1]:
            _shuffle(points[s], values[s])
            count[STATE] = _verdict(points[s], values[s], history[s], count[SHUFFLES], change, extent)
            count[SHUFFLES] += 1
            for c in range(kind.shape[1]):
                step[s, c] = 0
                kind[s, c] = REFLECTION
                own = stream(seed, keys[owner[s]], c)
                drawn[s, c] = _reflect(points[s, c], own, drawn[s, c], chosen[s, c], candidate[s, c])
        if count[STATE] == RUNNING and count[RUNS] >= evaluations:
            count[STATE] = BUDGET if best_value[s] < np.inf else FAILED
