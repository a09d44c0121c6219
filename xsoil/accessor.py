"""The accessor `ds.soil`: one thin, stateless method per verb."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from datetime import timedelta
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import xarray as xr

from xsoil import plots, verbs
from xsoil.evaluation.splits import Split
from xsoil.outputs.cog import Overview
from xsoil.outputs.zarr import Resume
from xsoil.ptfs.ptf import PTF
from xsoil.verbs._curves import Curve, Heads
from xsoil.verbs._gap_model import GapModel
from xsoil.verbs._learned import LearnedParams
from xsoil.verbs._moisture_model import MoistureModel
from xsoil.verbs._silt_limit import SILT_LIMIT
from xsoil.verbs.compare_scaling import FRAMEWORKS
from xsoil.verbs.convert_curve import Method as Conversion
from xsoil.verbs.convert_texture import Method as Texture
from xsoil.verbs.downscale import Method
from xsoil.verbs.fill_gaps import Method as Filling
from xsoil.verbs.ptf import CoarseFragments
from xsoil.verbs.upscale import How
from xsoil.verbs.water_limits import Method as Limits

if TYPE_CHECKING:
    import panel as pn


@xr.register_dataarray_accessor("soil")  # type: ignore[no-untyped-call]
@xr.register_dataset_accessor("soil")  # type: ignore[no-untyped-call]
class SoilAccessor:
    """Soil operations on a dataset or a named array; each method is the function of that name in `xsoil`."""

    def __init__(self, ds: xr.Dataset | xr.DataArray) -> None:
        self._ds = ds  # nothing else: xarray caches this object, so other state would go stale

    def __repr__(self) -> str:
        return f"<xsoil: {', '.join(name for name in dir(self) if not name.startswith('_'))}>"

    def ptf(
        self,
        method: str | PTF = "cosby1984",
        *,
        outputs: str | Sequence[str] | None = None,
        quality: bool = False,
        coarse_fragments: CoarseFragments | None = None,
        organic: Literal["flag", "letts2000"] = "flag",
    ) -> xr.Dataset:
        """Estimate hydraulic parameters from soil maps; see `xsoil.ptf`."""
        return verbs.ptf(
            self._ds, method, outputs=outputs, quality=quality, coarse_fragments=coarse_fragments, organic=organic
        )

    def convert_texture(
        self, to_limit: float = SILT_LIMIT, *, from_limit: float | None = None, method: Texture = "loglinear"
    ) -> xr.Dataset:
        """Sand and silt with another particle-size limit between them; see `xsoil.convert_texture`."""
        return verbs.convert_texture(self._ds, to_limit, from_limit=from_limit, method=method)

    def draw_soil(
        self, draws: int = 100, *, seed: int = 0, correlated: Hashable | Sequence[Hashable] | None = None
    ) -> xr.Dataset:
        """Random soils between the quantiles of a map; see `xsoil.draw_soil`."""
        return verbs.draw_soil(self._ds, draws, seed=seed, correlated=correlated)

    def texture_class(self) -> xr.DataArray:
        """USDA texture class; see `xsoil.texture_class`."""
        return verbs.texture_class(self._ds)

    def depth_mean(self, top: float, bottom: float, *, units: str = "m") -> xr.Dataset:
        """Mean between two depths; see `xsoil.depth_mean`."""
        return verbs.depth_mean(self._ds, top, bottom, units=units)

    def water_limits(
        self,
        method: Limits = "retention",
        *,
        curve: Curve | None = None,
        field_capacity: float | xr.DataArray | None = None,
        wilting_point: float | xr.DataArray | None = None,
    ) -> xr.Dataset:
        """Add field capacity and wilting point; see `xsoil.water_limits`."""
        return verbs.water_limits(
            self._ds, method, curve=curve, field_capacity=field_capacity, wilting_point=wilting_point
        )

    def retention(self, h: Heads, *, curve: Curve | None = None, quality: bool = False) -> xr.Dataset:
        """Water content at pressure heads; see `xsoil.retention`."""
        return verbs.retention(self._ds, h, curve=curve, quality=quality)

    def conductivity(
        self,
        h: Heads,
        *,
        curve: Curve | None = None,
        matching: Literal["k_sat", "k_0"] | None = None,
        quality: bool = False,
    ) -> xr.Dataset:
        """Hydraulic conductivity at pressure heads; see `xsoil.conductivity`."""
        return verbs.conductivity(self._ds, h, curve=curve, matching=matching, quality=quality)

    def convert_curve(
        self, to: Curve, *, method: Conversion | None = None, curve: Curve | None = None, quality: bool = False
    ) -> xr.Dataset:
        """Turn the parameters of one hydraulic curve into those of another; see `xsoil.convert_curve`."""
        return verbs.convert_curve(self._ds, to, method=method, curve=curve, quality=quality)

    def fit_fredlund_xing_wang(
        self,
        *,
        curve: Curve | None = None,
        h: Heads | None = None,
        bounds: Mapping[str, tuple[float, float]] | None = None,
        quality: bool = False,
    ) -> xr.Dataset:
        """Fit the Fredlund-Xing-Wang curve to another; see `xsoil.fit_fredlund_xing_wang`."""
        return verbs.fit_fredlund_xing_wang(self._ds, curve=curve, h=h, bounds=bounds, quality=quality)

    def upscale(
        self,
        to: object,
        how: How | Mapping[str, How] = "mean",
        *,
        region: object = None,
        min_valid: float | None = None,
        q: float | None = None,
        p: float | None = None,
        engine: Literal["exact", "gdal", "xesmf"] = "exact",
        chunks: int | tuple[int, int] | None = None,
        valid_fraction: bool = False,
    ) -> xr.Dataset:
        """Bring maps to a coarser grid by exact overlap areas; see `xsoil.upscale`."""
        return verbs.upscale(
            self._ds, to, how, region=region, min_valid=min_valid, q=q, p=p, engine=engine, chunks=chunks,
            valid_fraction=valid_fraction,
        )  # fmt: skip

    def downscale(
        self,
        to: object,
        method: Method | Mapping[str, Method] | MoistureModel = "bilinear",
        *,
        covariates: xr.Dataset | xr.DataArray | Sequence[xr.Dataset | xr.DataArray] | None = None,
        conserve: bool | str = False,
        mask: xr.Dataset | xr.DataArray | None = None,
        sampling: Literal["nearest", "bilinear", "cubic"] = "nearest",
        members: bool = False,
        region: object = None,
        min_valid: float | None = None,
        chunks: int | tuple[int, int] | None = None,
    ) -> xr.Dataset:
        """Bring maps to a finer grid; see `xsoil.downscale`."""
        return verbs.downscale(
            self._ds, to, method, covariates=covariates, conserve=conserve, mask=mask, sampling=sampling,
            members=members, region=region, min_valid=min_valid, chunks=chunks,
        )  # fmt: skip

    def apply_weights(
        self,
        path: str | PathLike[str],
        to: object,
        *,
        region: object = None,
        min_valid: float | None = None,
        chunks: int | tuple[int, int] | None = None,
        valid_fraction: bool = False,
    ) -> xr.Dataset:
        """Bring maps to another grid by a weight file of ESMF or SCRIP; see `xsoil.apply_weights`."""
        return verbs.apply_weights(
            self._ds, path, to, region=region, min_valid=min_valid, chunks=chunks, valid_fraction=valid_fraction
        )

    def compare_scaling(
        self,
        to: object,
        *,
        ptfs: str | PTF | Sequence[str | PTF] = ("li2024_cb1", "li2024_cb2"),
        hows: str | Sequence[str | tuple[str, float]] = "li2024",
        frameworks: str | Sequence[str] = FRAMEWORKS,
        via: object = None,
        variable: str = "k_sat",
        region: object = None,
        min_valid: float | None = None,
        chunks: int | tuple[int, int] | None = None,
    ) -> xr.Dataset:
        """Derive a parameter on a coarser grid in every way, and compare; see `xsoil.compare_scaling`."""
        return verbs.compare_scaling(
            self._ds, to, ptfs=ptfs, hows=hows, frameworks=frameworks, via=via, variable=variable, region=region,
            min_valid=min_valid, chunks=chunks,
        )  # fmt: skip

    def simulate(
        self,
        forcing: xr.Dataset,
        model: Literal["water_balance", "richards"] = "water_balance",
        *,
        initial: float | xr.DataArray | xr.Dataset | Mapping[str, float | xr.DataArray] | None = None,
        warmup: int = 0,
        outputs: str | Sequence[str] = ("theta",),
        substeps: int = 24,
        curve: str | None = None,
        depths: float | Sequence[float] | None = None,
        column_depth: float = 0.5,
        widths: Sequence[float] | None = None,
        top: Literal["atmospheric", "flux", "head"] = "atmospheric",
        bottom: Literal["free_drainage", "head", "zero_flux", "water_table"] = "free_drainage",
        uptake: Literal["s_shaped", "feddes", "none"] = "s_shaped",
        frost: Literal["snow"] | None = None,
        **fixed: float | xr.DataArray,
    ) -> xr.Dataset:
        """Simulate daily soil moisture; see `xsoil.simulate`."""
        return verbs.simulate(
            self._ds, forcing, model, initial=initial, warmup=warmup, outputs=outputs, substeps=substeps, curve=curve,
            depths=depths, column_depth=column_depth, widths=widths, top=top, bottom=bottom, uptake=uptake,
            frost=frost, **fixed,
        )  # fmt: skip

    def learn_params(
        self,
        observations: xr.Dataset | xr.DataArray,
        forcing: xr.Dataset,
        *,
        strategy: Literal["end_to_end", "two_step", "inverse"] = "end_to_end",
        network: Any = "cnn",
        model: str = "water_balance",
        physics: Literal["direct", "surrogate"] = "direct",
        targets: Mapping[str, Any] | Sequence[str] | str | None = None,
        split: Split | None = None,
        seed: int = 0,
        optimizer: Literal["ies", "sce_ua"] = "ies",
        loss: Any = "mse",
        weights: Mapping[str, float] | None = None,
        mask: xr.DataArray | None = None,
        ring: int = 0,
        history: xr.Dataset | None = None,
        warmup: int = 0,
        substeps: int = 24,
        curve: str = "van_genuchten",
        depth: float = 0.05,
        column_depth: float = 0.5,
        surrogate: Any = None,
        network_options: Mapping[str, Any] | None = None,
        validation: float = 0.1,
        epochs: int = 200,
        batch_cells: int = 256,
        learning_rate: float = 0.01,
        patience: int | None = None,
        schedule: Literal["plateau", "one_cycle", "constant"] = "plateau",
        accelerator: str = "cpu",
        error_std: float | Mapping[str, float] = 0.02,
        members: int = 64,
        iterations: int = 20,
        draws: bool = False,
        evaluations: int = 3000,
        memory_budget: float = 4e9,
        directory: str | PathLike[str] | None = None,
        resume: bool = False,
        progress: bool = True,
        **fixed: float | xr.DataArray,
    ) -> LearnedParams:
        """Learn parameters from observed soil moisture, through the model; see `xsoil.learn_params`."""
        return verbs.learn_params(
            self._ds, observations, forcing, strategy=strategy, network=network, model=model, physics=physics,
            targets=targets, split=split, seed=seed, optimizer=optimizer, loss=loss, weights=weights, mask=mask,
            ring=ring, history=history, warmup=warmup, substeps=substeps, curve=curve, depth=depth,
            column_depth=column_depth, surrogate=surrogate, network_options=network_options, validation=validation,
            epochs=epochs, batch_cells=batch_cells, learning_rate=learning_rate, patience=patience, schedule=schedule,
            accelerator=accelerator, error_std=error_std, members=members, iterations=iterations, draws=draws,
            evaluations=evaluations, memory_budget=memory_budget, directory=directory, resume=resume,
            progress=progress, **fixed,
        )  # fmt: skip

    def fit_moisture_model(
        self,
        *,
        kind: str,
        target: str | Sequence[str] = "soil_moisture",
        predictors: Sequence[str],
        split: Split | None = None,
        weights: str | Sequence[str | None] | None = None,
        seed: int = 0,
        ensemble: Literal["balanced", "per_class"] = "balanced",
        categorical: Sequence[str] = (),
        missing: Literal["indicator", "nan"] = "indicator",
        validation: Any = 0.15,
        members: int = 1,
        options: Mapping[str, Any] | None = None,
        progress: bool = True,
    ) -> MoistureModel:
        """Learn soil moisture at stations from what is known everywhere; see `xsoil.fit_moisture_model`."""
        return verbs.fit_moisture_model(
            self._ds, kind=kind, target=target, predictors=predictors, split=split, weights=weights, seed=seed,
            ensemble=ensemble, categorical=categorical, missing=missing, validation=validation, members=members,
            options=options, progress=progress,
        )  # fmt: skip

    def rootzone(
        self,
        *,
        T: float | xr.DataArray,
        variable: str | None = None,
        initial: xr.Dataset | None = None,
    ) -> xr.Dataset:
        """Estimate root-zone soil moisture from the surface's; see `xsoil.rootzone`."""
        return verbs.rootzone(self._ds, T=T, variable=variable, initial=initial)

    def final_state(self) -> xr.Dataset:
        """The end state of a simulation, to go on from; see `xsoil.final_state`."""
        return verbs.final_state(self._ds)

    def fill_gaps(
        self,
        method: Filling = "linear",
        *,
        model: GapModel | None = None,
        variable: str | Sequence[str] | None = None,
        max_gap: float | timedelta | np.timedelta64 | None = None,
        extrapolate: bool = False,
        dims: str | Sequence[Hashable] = "time",
        smoothness: float | None = None,
        order: Literal[1, 2] = 2,
        robust: bool = False,
        valid_range: Literal["physical"] | tuple[float, float] | None = None,
        std: bool = False,
        seed: int = 0,
    ) -> xr.Dataset:
        """Fill missing times, with a mask of what was filled; see `xsoil.fill_gaps`."""
        return verbs.fill_gaps(
            self._ds, method, model=model, variable=variable, max_gap=max_gap, extrapolate=extrapolate, dims=dims,
            smoothness=smoothness, order=order, robust=robust, valid_range=valid_range, std=std, seed=seed,
        )  # fmt: skip

    def evaluate(
        self,
        reference: xr.Dataset | xr.DataArray,
        *,
        variable: str | tuple[str, str] | None = None,
        by: Hashable | xr.DataArray | tuple[Hashable | xr.DataArray, Sequence[float]] | None = None,
        dims: Hashable | Sequence[Hashable] = "time",
    ) -> xr.Dataset:
        """Compare with observations; see `xsoil.evaluate`."""
        return verbs.evaluate(self._ds, reference, variable=variable, by=by, dims=dims)

    def explore(
        self,
        variable: str | None = None,
        *,
        scale: Literal["linear", "log"] | None = None,
        cmap: str | None = None,
        vmin: float | None = None,
        vmax: float | None = None,
        coast: bool = True,
        cells: int = 500,
        width: int = 640,
    ) -> pn.Column:
        """Look at maps with the mouse, through time; see `xsoil.explore`."""
        return plots.explore(
            self._ds, variable, scale=scale, cmap=cmap, vmin=vmin, vmax=vmax, coast=coast, cells=cells, width=width
        )

    def to_zarr(
        self,
        path: str | PathLike[str],
        *,
        chunks: Mapping[Hashable, int] | None = None,
        shards: Mapping[Hashable, int] | None = None,
        resume: Resume = True,
        overwrite: bool = False,
        progress: bool = True,
    ) -> Path | str:
        """Write a Zarr store; see `xsoil.to_zarr`."""
        return verbs.to_zarr(
            self._ds, path, chunks=chunks, shards=shards, resume=resume, overwrite=overwrite, progress=progress
        )

    def to_cog(
        self,
        path: str | PathLike[str],
        *,
        variable: str | None = None,
        overview: Overview | None = None,
        nodata: float | None = None,
        compress: Literal["deflate", "zstd", "lzw", "none"] = "deflate",
        overwrite: bool = False,
        progress: bool = True,
    ) -> Path:
        """Write cloud-optimised GeoTIFFs; see `xsoil.to_cog`."""
        return verbs.to_cog(
            self._ds, path, variable=variable, overview=overview, nodata=nodata, compress=compress,
            overwrite=overwrite, progress=progress,
        )  # fmt: skip
