"""Continuous Recurrent Units: a Kalman filter in continuous time between an encoder and a decoder.

Written from the equations of Schirmer et al. (2022), "Modeling Irregular Time Series with Continuous Recurrent Units",
ICML, PMLR 162, 19388-19405, in the variant called f-CRU there: all basis matrices of the transition share orthogonal
eigenvectors, so that the mean and the covariance between observations have a closed form without matrix exponentials.

Beyond the paper: eigenvalues are negative, so that states decay; inputs that are known at all times (rain) may push the
state; and a backward pass (Bryson and Frazier 1963) lets every time know the observations after it, too.
"""

from __future__ import annotations

import math

import torch
from torch import nn

__all__ = ["ContinuousRecurrentUnit"]

Tensor = torch.Tensor

# Time scales of the states at the start [d].
FASTEST, SLOWEST = 1.0, 300.0
# Least variance of a latent observation, of a decoded value, and least rate [d-1].
LEAST, LEAST_RATE = 1e-4, 1e-4


class ContinuousRecurrentUnit(nn.Module):
    """Distribution of a series at all times, given observations at some of them.

    A latent state z of 2 x `latent` numbers follows dz = A z dt + G dB, its first half is observed: y = H z + noise.
    The encoder gives y and the variance of its noise for an observation, the decoder a mean and a variance for a
    distribution of the state. A is a mean of `basis` matrices with weights that depend on the state.

    Parameters
    ----------
    latent : int
        Size of a latent observation; the state has twice as many numbers.
    basis : int
        Matrices of the locally linear transition.
    hidden : int
        Units of the hidden layers.
    controls : int
        Inputs known at all times.
    smoothing : bool
        Look at the observations after a time, too; without, the filter of the paper.
    """

    def __init__(self, latent: int = 4, basis: int = 5, hidden: int = 16, controls: int = 0, *, smoothing: bool = True):
        super().__init__()
        size = 2 * latent
        self.latent, self.smoothing = latent, smoothing
        self.encoder = nn.Sequential(nn.Linear(1, hidden), nn.Tanh())
        self.observation, self.uncertainty = nn.Linear(hidden + 1, latent), nn.Linear(hidden, latent)
        self.weights = nn.Linear(size, basis)
        scales = torch.logspace(math.log10(FASTEST), math.log10(SLOWEST), size)
        rates = (1.0 / scales).expand(basis, size) * torch.logspace(-0.5, 0.5, basis)[:, None]
        self.rates = nn.Parameter(torch.log(torch.expm1(rates)))  # inverse of softplus
        self.skew = nn.Parameter(0.1 * torch.randn(size, size))
        self.noise = nn.Parameter(torch.log(2.0 / scales))  # so that a state has a variance near 1 in the long run
        self.spread = nn.Parameter(torch.zeros(size))
        self.control = (
            nn.Sequential(nn.Linear(controls, hidden), nn.Tanh(), nn.Linear(hidden, size)) if controls else None
        )
        self.mean = nn.Sequential(nn.Linear(size, hidden), nn.Tanh(), nn.Linear(hidden, 1))
        self.straight = nn.Linear(size, 1)
        self.variance = nn.Sequential(nn.Linear(2 * size, hidden), nn.Tanh(), nn.Linear(hidden, 1))

    def forward(self, x: Tensor, seen: Tensor, steps: Tensor, controls: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Mean and variance of an observation at each time.

        Parameters
        ----------
        x : (series, times) tensor
            Observations; anywhere else any number.
        seen : (series, times) tensor
            1 where there is an observation, else 0.
        steps : (series, times) tensor
            Days since the time before.
        controls : (series, times, controls) tensor, optional

        Returns
        -------
        mean, variance : (series, times) tensor
        """
        vectors = torch.linalg.matrix_exp(self.skew - self.skew.T)  # orthogonal
        # From here on all states are in coordinates of the eigenvectors.
        seeing = vectors[: self.latent]
        means, covariances, passed = self._filter(x, seen, steps, controls, vectors, seeing)
        if self.smoothing:
            means, covariances = self._smooth(means, covariances, passed, seeing)
        state = means @ vectors.T
        spread = torch.einsum("ij,btjk,ik->bti", vectors, covariances, vectors).clamp(min=1e-12).log()
        mean = self.mean(state) + self.straight(state)
        variance = nn.functional.softplus(self.variance(torch.cat([state, spread], dim=-1))) + LEAST
        return mean[..., 0], variance[..., 0]

    def _filter(
        self, x: Tensor, seen: Tensor, steps: Tensor, controls: Tensor | None, vectors: Tensor, seeing: Tensor
    ) -> tuple[Tensor, Tensor, list[tuple[Tensor, ...]]]:
        """Continuous-discrete Kalman filter (eqs. 4 to 8, with the closed forms of f-CRU)."""
        series, times = x.shape
        features = self.encoder(x[..., None])
        observed = self.observation(torch.cat([features, x[..., None]], dim=-1))
        variance = nn.functional.softplus(self.uncertainty(features)) + LEAST
        pushes = None if self.control is None or controls is None else self.control(controls) @ vectors
        rates = -nn.functional.softplus(self.rates) - LEAST_RATE
        noise = vectors.T @ (self.noise.exp()[:, None] * vectors)
        mean = x.new_zeros(series, vectors.shape[0])
        covariance = (vectors.T @ (self.spread.exp()[:, None] * vectors)).expand(series, -1, -1)
        means, covariances = [], []
        passed: list[tuple[Tensor, ...]] = []
        for t in range(times):
            # Locally linear transition: the weights of the basis follow from the state at the last time.
            rate = torch.softmax(self.weights(mean @ vectors.T), dim=-1) @ rates
            kept = torch.exp(rate * steps[:, t, None])
            both = kept[:, :, None] * kept[:, None, :]
            covariance = both * covariance + noise * (both - 1.0) / (rate[:, :, None] + rate[:, None, :])
            mean = kept * mean
            if pushes is not None:
                mean = mean + pushes[:, t]
            there = seen[:, t, None, None]
            projected = covariance @ seeing.T
            factor = torch.linalg.cholesky(seeing @ projected + torch.diag_embed(variance[:, t]))
            # Rows of the inverse covariance of the innovation, and the innovation.
            inverse = torch.cholesky_solve(seeing.expand(series, -1, -1), factor) * there
            error = observed[:, t] - mean @ seeing.T
            gain = covariance @ inverse.mT
            mean = mean + (gain @ error[:, :, None])[:, :, 0]
            covariance = covariance - gain @ projected.mT
            covariance = 0.5 * (covariance + covariance.mT)
            means.append(mean)
            covariances.append(covariance)
            if self.smoothing:
                passed.append((kept, gain, inverse, error))
        return torch.stack(means, dim=1), torch.stack(covariances, dim=1), passed

    def _smooth(
        self, means: Tensor, covariances: Tensor, passed: list[tuple[Tensor, ...]], seeing: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Modified Bryson-Frazier smoother: backwards with the innovations, without an inverse of a covariance.

        The dependence of the transition on the state is that of the forward pass.
        """
        vector, matrix = torch.zeros_like(means[:, 0]), torch.zeros_like(covariances[:, 0])
        unit = torch.eye(matrix.shape[-1], dtype=matrix.dtype, device=matrix.device)
        vectors, matrices = [], []
        for kept, gain, inverse, error in reversed(passed):
            vectors.append(vector)
            matrices.append(matrix)
            rest = unit - gain @ seeing
            told = (inverse.mT @ error[:, :, None])[:, :, 0]
            vector = kept * ((rest.mT @ vector[:, :, None])[:, :, 0] - told)
            matrix = kept[:, :, None] * (rest.mT @ matrix @ rest + inverse.mT @ seeing) * kept[:, None, :]
        vectors.reverse()
        matrices.reverse()
        smoothed = means - (covariances @ torch.stack(vectors, dim=1)[..., None])[..., 0]
        return smoothed, covariances - covariances @ torch.stack(matrices, dim=1) @ covariances
