"""Parameters of one curve from those of another (plain operators): Brooks-Corey, Campbell, van Genuchten, Gardner."""

from __future__ import annotations

from typing import Any

__all__ = [
    "brooks_corey_of_campbell",
    "brooks_corey_of_van_genuchten",
    "brooks_corey_of_van_genuchten_lenhard",
    "brooks_corey_of_van_genuchten_morel_seytoux",
    "gardner_of_brooks_corey",
    "van_genuchten_of_brooks_corey",
    "van_genuchten_of_brooks_corey_morel_seytoux",
]


def brooks_corey_of_campbell(b: Any) -> Any:
    """Pore-size index of Brooks & Corey for Campbell's exponent: 1 / b, with theta_r = 0 and the same psi_s."""
    return 1 / b


def brooks_corey_of_van_genuchten(alpha: Any, n: Any) -> Any:
    """psi_s [cm] and lambda with the same dry end: -1 / alpha, n - 1 (for m = 1 - 1/n).

    Parameters
    ----------
    alpha, n : number or array
        [cm-1], [1].

    Returns
    -------
    psi_s, lambda_ : number or array
        [cm, negative], [1].

    Examples
    --------
    >>> from xsoil.physics.conversion import brooks_corey_of_van_genuchten
    >>> brooks_corey_of_van_genuchten(0.02, 1.5)
    (-50.0, 0.5)
    """
    return -1 / alpha, n - 1


def brooks_corey_of_van_genuchten_lenhard(alpha: Any, n: Any, exp: Any) -> Any:
    """psi_s [cm] and lambda by Lenhard et al., who match the curves at half saturation.

    Parameters
    ----------
    alpha, n : number or array
        [cm-1], [1]; m = 1 - 1/n.
    exp : callable
        Elementwise exponential of the runtime.

    Returns
    -------
    psi_s, lambda_ : number or array
        [cm, negative], [1].

    References
    ----------
    Lenhard, Parker & Mishra (1989), J. Irrig. Drain. Eng. 115, 744.
    """
    m = 1 - 1 / n
    lambda_ = m / (1 - m) * (1 - 0.5 ** (1 / m))
    matched = 0.72 - 0.35 * exp(-(n**4))
    return -(matched ** (1 / lambda_)) / alpha * (matched ** (-1 / m) - 1) ** (1 - m), lambda_


def van_genuchten_of_brooks_corey(psi_s: Any, lambda_: Any) -> Any:
    """alpha [cm-1] and n with the same dry end: -1 / psi_s, lambda + 1.

    Parameters
    ----------
    psi_s, lambda_ : number or array
        [cm, negative], [1].

    Returns
    -------
    alpha, n : number or array
        [cm-1], [1]; m = 1 - 1/n.

    Examples
    --------
    >>> from xsoil.physics.conversion import van_genuchten_of_brooks_corey
    >>> van_genuchten_of_brooks_corey(-50.0, 0.5)
    (0.02, 1.5)
    """
    return -1 / psi_s, lambda_ + 1


def van_genuchten_of_brooks_corey_morel_seytoux(psi_s: Any, lambda_: Any) -> Any:
    """alpha [cm-1] and n that keep the exponent of K and (to 1 %) the capillary drive.

    Parameters
    ----------
    psi_s, lambda_ : number or array
        [cm, negative], [1].

    Returns
    -------
    alpha, n : number or array
        [cm-1], [1]; m = 1 - 1/n.

    References
    ----------
    Morel-Seytoux et al. (1996), Water Resour. Res. 32, 1251.
    """
    p = 3 + 2 / lambda_
    return -_drive(p) / psi_s, 1 / (1 - 2 / (p - 1))


def brooks_corey_of_van_genuchten_morel_seytoux(alpha: Any, n: Any) -> Any:
    """psi_s [cm] and lambda: the inverse of `van_genuchten_of_brooks_corey_morel_seytoux`.

    Parameters
    ----------
    alpha, n : number or array
        [cm-1], [1]; m = 1 - 1/n.

    Returns
    -------
    psi_s, lambda_ : number or array
        [cm, negative], [1]; lambda is n - 1.
    """
    return -_drive(3 + 2 / (n - 1)) / alpha, n - 1


def _drive(p: Any) -> Any:
    """-alpha psi_s at which both curves have one capillary drive; K is in proportion to S^p."""
    return (p + 3) / (2 * p * (p - 1)) * (147.8 + 8.1 * p + 0.092 * p**2) / (55.6 + 7.4 * p + p**2)


def gardner_of_brooks_corey(psi_s: Any, lambda_: Any) -> Any:
    """alpha [cm-1] of Gardner with the same capillary drive, the integral of K / k_sat over all suctions.

    Parameters
    ----------
    psi_s, lambda_ : number or array
        [cm, negative], [1].

    Returns
    -------
    number or array
        alpha [cm-1]: -(1 + 3 lambda) / ((2 + 3 lambda) psi_s).

    Examples
    --------
    >>> from xsoil.physics.conversion import gardner_of_brooks_corey
    >>> gardner_of_brooks_corey(-20.0, 1.0)
    0.04
    """
    return -(1 + 3 * lambda_) / ((2 + 3 * lambda_) * psi_s)
