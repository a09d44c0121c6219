"""Costs of many simulated series against the observed series of their cells, all columns of a tile at once.

A column is summed from its first to its last observation, whatever stands beside it.
"""

from __future__ import annotations

import math

import numpy as np

from xsoil.jit import kernel

__all__ = ["OBJECTIVES", "costs"]

OBJECTIVES = ("mse", "nse", "kge", "ubrmse")
"""mse: mean square; nse: 1 - NSE; kge: 1 - KGE (2009; correlation 0 where the simulation is constant); ubrmse."""

MSE, NSE, KGE, UBRMSE = range(len(OBJECTIVES))

# Columns that are summed together.
TILE = 64


@kernel
def _line(mean_s, mean_d, var_s, covariance, low_a, high_a, low_b, high_b):
    """Scale and bias within their bounds that bring s nearest to d."""
    a = covariance / var_s if var_s > 0 else 1.0
    b = mean_d - a * mean_s
    if low_a <= a <= high_a and low_b <= b <= high_b:
        return a, b
    least, best_a, best_b = np.inf, low_a, low_b
    for side in range(4):  # the minimum lies on the rim: try its four sides
        if side < 2:
            a = low_a if side == 0 else high_a
            b = min(max(mean_d - a * mean_s, low_b), high_b)
        else:
            b = low_b if side == 2 else high_b
            square = var_s + mean_s * mean_s
            a = (covariance + mean_s * (mean_d - b)) / square if square > 0 else low_a
            a = min(max(a, low_a), high_a)
        off = mean_d - a * mean_s - b
        cost = a * (a * var_s - 2 * covariance) + off * off
        if cost < least:
            least, best_a, best_b = cost, a, b
    return best_a, best_b


@kernel
def costs(first, last, objective, simulated, cells, observed, linear, box, out, line):
    """Fill `out` and, where `linear`, the rows scale and bias of `line` for the columns `first` to `last`.

    `box` (4, all cells) holds the bounds of scale and bias; not finite observations are left out; a column that is not
    finite where there is an observation gives inf.
    """
    count, mean_s, mean_d = np.empty(TILE), np.empty(TILE), np.empty(TILE)
    var_s, var_d, joint, square = np.empty(TILE), np.empty(TILE), np.empty(TILE), np.empty(TILE)
    moments = linear or objective != MSE
    owner = np.empty(TILE, np.uint64)
    for start in range(first, last, TILE):
        width = min(TILE, last - start)
        for i in range(TILE):
            count[i] = mean_s[i] = mean_d[i] = var_s[i] = var_d[i] = joint[i] = square[i] = 0.0
        for i in range(width):
            owner[i] = cells[start + i]
        for o in range(simulated.shape[0]):
            row, seen = simulated[o, start : start + width], observed[o]
            for i in range(width):
                d, s = seen[owner[i]], row[i]
                known = abs(d) < np.inf
                off = s - d if known else 0.0
                square[i] += off * off
                count[i] += 1.0 if known else 0.0
                mean_s[i] += s if known else 0.0
                mean_d[i] += d if known else 0.0
        for i in range(width):
            mean_s[i] /= count[i]
            mean_d[i] /= count[i]
            square[i] /= count[i]
        if moments:
            for o in range(simulated.shape[0]):
                row, seen = simulated[o, start : start + width], observed[o]
                for i in range(width):
                    d, s = seen[owner[i]], row[i]
                    known = abs(d) < np.inf
                    of_s = s - mean_s[i] if known else 0.0
                    of_d = d - mean_d[i] if known else 0.0
                    var_s[i] += of_s * of_s
                    var_d[i] += of_d * of_d
                    joint[i] += of_s * of_d
        for i in range(width):
            n = count[i]
            s, d, ss, dd, sd, mse = mean_s[i], mean_d[i], var_s[i] / n, var_d[i] / n, joint[i] / n, square[i]
            if linear:
                c = cells[start + i]
                a, b = _line(s, d, ss, sd, box[0, c], box[1, c], box[2, c], box[3, c])
                line[0, start + i], line[1, start + i] = a, b
                off = a * s + b - d
                s, ss, sd = a * s + b, a * a * ss, a * sd
                mse = max(ss - 2 * sd + dd, 0.0) + off * off
            if objective == MSE:
                cost = mse
            elif objective == NSE:
                cost = mse / dd
            elif objective == KGE:
                r = sd / math.sqrt(ss * dd) if ss > 0 else 0.0
                cost = math.sqrt((r - 1) ** 2 + (math.sqrt(ss / dd) - 1) ** 2 + (s / d - 1) ** 2)
            else:
                cost = math.sqrt(max(ss - 2 * sd + dd, 0.0))
            out[start + i] = cost if cost < np.inf else np.inf
