"""Learned models on the same numbers in single and in double precision; rows of `numerics.cases`."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import pandas as pd
import xarray as xr

import xsoil

KINDS = {
    "dense": {"hidden": (16, 16), "epochs": 40}, "prob": {"hidden": (16,), "epochs": 40},
    "wide_deep": {"hidden": (16,), "epochs": 40}, "random_forest": {"trees": 30},
    "lstm": {"hidden": 8, "epochs": 4}, "convlstm": {"filters": (4, 4), "epochs": 2},
}  # fmt: skip
DAYS, SIDE = 40, 12


def single(ds: xr.Dataset) -> xr.Dataset:
    return ds.astype("f4", keep_attrs=True)


def maps(seed: int = 5) -> xr.Dataset:
    """Daily maps of moisture that follow from rain and sand; numbers that single precision holds."""
    rng = np.random.default_rng(seed)
    rain = rng.gamma(0.5, 6, (DAYS, SIDE, SIDE)).astype("f4").astype("f8")
    sand = rng.uniform(5, 90, (SIDE, SIDE)).astype("f4").astype("f8")
    wet = np.zeros_like(rain)
    for day in range(1, DAYS):
        wet[day] = 0.8 * wet[day - 1] + rain[day] / 100
    moisture = (0.1 + 0.2 * np.tanh(wet) + 0.1 * (1 - sand / 100)).astype("f4").astype("f8")
    dims = ("time", "y", "x")
    made = {
        "soil_moisture": (dims, moisture, {"units": "m3 m-3"}),
        "precipitation": (dims, rain, {"units": "mm d-1"}),
        "sand": (dims[1:], sand, {"units": "percent"}),
    }
    coords = {
        "time": pd.date_range("2001-01-01", periods=DAYS),
        "y": -9e3 * np.arange(SIDE),
        "x": 9e3 * np.arange(SIDE),
    }
    return xr.Dataset(made, coords).rio.write_crs("EPSG:6933")


def cases() -> Iterator[tuple[str, Callable[[bool], xr.Dataset]]]:
    """Predictions; a model is trained once, when its row is asked for."""
    ds = maps()
    narrow = single(ds)

    def predict(kind: str) -> Callable[[bool], xr.Dataset]:
        model: list[xsoil.MoistureModel] = []

        def call(s: bool) -> xr.Dataset:
            if not model:
                samples = ds if kind in ("lstm", "convlstm") else ds.stack(pixel=("y", "x")).reset_index("pixel")
                samples = samples.drop_vars([n for n in ("y", "x", "spatial_ref") if kind not in ("lstm", "convlstm")])
                model.append(
                    samples.soil.fit_moisture_model(
                        kind=kind, predictors=["precipitation", "sand"], options=KINDS[kind], progress=False
                    )
                )
            return model[0].predict((narrow if s else ds).drop_vars("soil_moisture"))

        return call

    for kind in KINDS:
        yield f"predict {kind}", predict(kind)
    gaps = ds[["soil_moisture"]].isel(y=slice(0, 3))
    gaps["soil_moisture"] = gaps.soil_moisture.where(np.random.default_rng(6).random(gaps.soil_moisture.shape) > 0.3)
    filler: list[xsoil.GapModel] = []

    def fill(s: bool) -> xr.Dataset:
        if not filler:
            filler.append(xsoil.fit_gap_model(gaps, epochs=2, latent=4, basis=3, hidden=8, window=DAYS, progress=False))
        return (single(gaps) if s else gaps).soil.fill_gaps("cru", model=filler[0], std=True)

    yield "fill_gaps cru", fill
    learned: list[xsoil.LearnedParams] = []
    weather = xr.Dataset(
        {
            "precipitation": ds.precipitation,
            "pet": ds.precipitation.copy(data=np.full(ds.precipitation.shape, 3.0)),
        }
    )
    fixed = {
        "theta_s": 0.5, "theta_fc": 0.25, "theta_wp": 0.125, "root_depth": 0.5, "depletion_fraction": 0.25,
        "crop_coefficient": 0.75,
    }  # fmt: skip

    def parameters(s: bool) -> xr.Dataset:
        if not learned:
            learned.append(
                xsoil.learn_params(
                    ds[["sand"]], ds[["soil_moisture"]], weather, network="mlp", targets=["k_sat"], epochs=3,
                    network_options={"hidden": 8}, progress=False, **fixed,
                )
            )  # fmt: skip
        return learned[0].predict((narrow if s else ds)[["sand"]])

    yield "learn_params mlp, applied", parameters

    def simulated(s: bool) -> xr.Dataset:
        rain = single(weather) if s else weather
        return parameters(s).soil.simulate(rain, outputs=("theta", "runoff", "drainage"), **fixed)

    yield "learn_params mlp, simulated", simulated
    part = {"y": slice(0, 3), "x": slice(0, 3)}

    def inverted(s: bool) -> xr.Dataset:
        given = [(single(one) if s else one).isel(part) for one in (ds[["sand"]], ds[["soil_moisture"]], weather)]
        found = xsoil.learn_params(
            *given, strategy="inverse", targets=["k_sat"], iterations=4, members=16, progress=False, **fixed
        )
        return found.params[["k_sat"]]

    yield "learn_params inverse (ies)", inverted
