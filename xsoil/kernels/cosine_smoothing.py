"""DCT penalised least squares in several dimensions, for fields with gaps."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from xsoil.kernels.gaps import BISQUARE, GOLDEN, ROUNDS

__all__ = ["smooth_field"]

Wide = NDArray[np.float64]

# Powers of ten of the smoothing parameter that are searched, and how well fields are solved meanwhile and in the end.
LOWEST, HIGHEST = -4.0, 6.0
ROUGH, FINE, MOST = 1e-3, 1e-8, 500


def smooth_field(
    field: NDArray[Any], *, penalty: float | None = None, order: int = 2, robust: bool = False
) -> tuple[Wide, float]:
    """Smooth a field by penalised least squares over all of its dimensions (Garcia 2010; Wang et al. 2012).

    The z that minimises sum w (y - z)^2 + s |L z|^2, where L is the sum of the second differences along the axes with
    mirrored ends, which the discrete cosine transform makes diagonal. Missing values have the weight 0. Solved by
    conjugate gradients; the transform of the same problem with the mean weight everywhere is their preconditioner.

    Parameters
    ----------
    field : array
        What is not finite is missing.
    penalty : float, optional
        Smoothing parameter s; by default the best one by generalised cross-validation. The trace of the hat matrix is
        that of one random probe (Girard 1989; always the same): Garcia's closed form holds without gaps, and smooths
        too little with them.
    order : int
        2: bends cost, |L z|^2 (Garcia 2010); 1: slopes cost, z'Lz.
    robust : bool
        Bisquare weights in three rounds, so that outliers do not count.

    Returns
    -------
    values : array
        Of the shape of `field`, NaN where nothing is observed at all.
    penalty : float
        That was used.
    """
    seen = np.isfinite(field)
    if not seen.any():
        return np.full(field.shape, np.nan), float("nan")
    mean = float(np.mean(field[seen], dtype=float))
    target = np.where(seen, field, mean).astype(float) - mean
    weight = seen.astype(float)
    powers = _eigenvalues(field.shape) ** order
    guess = np.zeros(field.shape)
    used = penalty
    for round in range(ROUNDS + 1 if robust else 1):
        if penalty is None:
            used, guess = _best(target, weight, powers, guess)
        guess = _solved(target, weight, powers, float(used or 0.0), guess, FINE)
        if robust and round < ROUNDS:
            weight = _bisquare(target - guess, seen, _leverage(weight, powers, float(used or 0.0)))
    return guess + mean, float(used or 0.0)


def _eigenvalues(shape: tuple[int, ...]) -> Wide:
    total = np.zeros(shape)
    for axis, n in enumerate(shape):
        along = 2.0 - 2.0 * np.cos(np.pi * np.arange(n) / n)
        total += along.reshape([-1 if k == axis else 1 for k in range(len(shape))])
    return total


def _leverage(weight: Wide, powers: Wide, penalty: float) -> float:
    """Mean over the observations of the diagonal of the hat matrix, (W + s L'L)^-1 W, estimated."""
    probe = np.where(weight > 0, np.random.default_rng(0).choice([-1.0, 1.0], weight.shape), 0.0)
    found = _solved(probe, weight, powers, penalty, np.zeros(weight.shape), ROUGH)
    return float(np.clip(np.vdot(probe, found) / (weight > 0).sum(), 1e-12, 1.0 - 1e-6))


def _solved(target: Wide, weight: Wide, powers: Wide, penalty: float, start: Wide, within: float) -> Wide:
    """Preconditioned conjugate gradients for (W + s L'L) z = W y."""
    from scipy.fft import dctn, idctn

    def penalised(z: Wide) -> Wide:
        rough: Wide = idctn(penalty * powers * dctn(z, norm="ortho"), norm="ortho")
        return weight * z + rough

    def conditioned(r: Wide) -> Wide:
        out: Wide = idctn(dctn(r, norm="ortho") / (weight.mean() + penalty * powers), norm="ortho")
        return out

    right = weight * target
    z = start.copy()
    residual = right - penalised(z)
    step = conditioned(residual)
    direction, power = step, float(np.vdot(residual, step))
    enough = within**2 * float(np.vdot(right, conditioned(right)))
    for _ in range(MOST):
        if power <= enough:
            break
        image = penalised(direction)
        length = power / float(np.vdot(direction, image))
        z += length * direction
        residual -= length * image
        step = conditioned(residual)
        before, power = power, float(np.vdot(residual, step))
        direction = step + power / before * direction
    return z


def _best(target: Wide, weight: Wide, powers: Wide, start: Wide) -> tuple[float, Wide]:
    """The penalty with the best generalised cross-validation: on a grid from the smoothest, then by golden section."""
    count = float((weight > 0).sum())

    def tried(power: float, near: Wide) -> tuple[float, float, Wide]:
        z = _solved(target, weight, powers, 10.0**power, near, ROUGH)
        squares = float((weight * (target - z) ** 2).sum()) / count
        return squares / (1.0 - _leverage(weight, powers, 10.0**power)) ** 2, power, z

    best = now = tried(HIGHEST, start)
    for power in np.arange(HIGHEST - 1.0, LOWEST - 0.5, -1.0):
        now = tried(float(power), now[2])
        best = min(best, now, key=lambda found: found[0])
    a, b = max(best[1] - 1.0, LOWEST), min(best[1] + 1.0, HIGHEST)
    x, y = tried(b - GOLDEN * (b - a), best[2]), tried(a + GOLDEN * (b - a), best[2])
    for _ in range(6):
        if x[0] <= y[0]:
            b, y = y[1], x
            x = tried(b - GOLDEN * (b - a), y[2])
        else:
            a, x = x[1], y
            y = tried(a + GOLDEN * (b - a), x[2])
    return 10.0 ** ((a + b) / 2.0), x[2]


def _bisquare(residual: Wide, seen: NDArray[np.bool_], leverage: float) -> Wide:
    scale = BISQUARE * 1.4826 * float(np.median(np.abs(residual[seen]))) * np.sqrt(1.0 - leverage)
    ratio = np.abs(residual) / scale if scale > 0 else np.zeros(residual.shape)
    return np.where(seen & (ratio < 1.0), (1.0 - np.minimum(ratio, 1.0) ** 2) ** 2, 0.0)
