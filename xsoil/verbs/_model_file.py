"""The folder of a learned model: a description (JSON), weights (safetensors) and maps (Zarr)."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

import xarray as xr

from xsoil.errors import ArgumentError, SoilError
from xsoil.outputs.zarr import to_zarr
from xsoil.physics.bounded import Bounded
from xsoil.verbs._infer import Inference
from xsoil.verbs._learnable import learnable
from xsoil.verbs._learned import LearnedParams, Setting
from xsoil.verbs._training import require_torch
from xsoil.vocabulary import VARIABLES

if TYPE_CHECKING:
    from xsoil.networks.learner import ParameterLearner

__all__ = ["read_model", "write_model"]

FORMAT, VERSION = "xsoil learned parameters", 1
"""Those of `xsoil.networks.storage`, which writes the same description beside weights."""
DESCRIPTION = "description.json"
LONGEST = 16 * 2**20
KEYS = (
    "strategy", "model", "model_options", "targets", "fixed", "fixed_maps", "seed", "warmup", "outputs", "optimizer",
    "inference", "units", "history", "maps",
)  # fmt: skip
INFERENCE = ("predictors", "series", "factor", "ring", "affine", "crs", "order")


def write_model(learned: LearnedParams, path: str | PathLike[str]) -> None:
    """Write a learned model to a folder; one that is already there is replaced."""
    folder = Path(path)
    description = _described(learned)
    if learned.learner is not None:
        from xsoil.networks import storage

        whole = {"learner": learned.learner.describe(), "learned": description}
        storage.save(folder, learned.learner.state_dict(), whole)
    else:
        ours = folder.is_dir() and ((folder / DESCRIPTION).is_file() or not any(folder.iterdir()))
        if folder.exists() and not ours:
            raise ArgumentError(f"{folder} exists and holds no model of xsoil; choose another path")
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        plain: dict[str, Any] = {"format": FORMAT, "version": VERSION, "description": {"learned": description}}
        (folder / DESCRIPTION).write_text(json.dumps(plain, indent=1, allow_nan=False) + "\n", encoding="utf-8")
    for name, ds in _maps(learned).items():
        to_zarr(ds, folder / f"{name}.zarr", progress=False)


def _maps(learned: LearnedParams) -> dict[str, xr.Dataset]:
    found = {"params": learned.params}
    if learned.inverse is not None:
        found["inverse"] = learned.inverse
    given = {n: v for n, v in learned.setting.fixed.items() if isinstance(v, xr.DataArray)}
    if given:
        found["given"] = xr.Dataset(given)
    return found


def _described(learned: LearnedParams) -> dict[str, Any]:
    setting, inference = learned.setting, learned.setting.inference
    numbers = {n: float(v) for n, v in setting.fixed.items() if not isinstance(v, xr.DataArray)}
    maps = [n for n, v in setting.fixed.items() if isinstance(v, xr.DataArray)]
    record = learned.history
    history: dict[str, Any] = {"attrs": dict(record.attrs)}
    for kind, names in (("coords", record.coords), ("data", record.data_vars)):
        variables = {str(name): record[name] for name in names}
        history[kind] = {n: [[str(d) for d in v.dims], v.values.tolist(), dict(v.attrs)] for n, v in variables.items()}
    return {
        "strategy": setting.strategy,
        "model": setting.model,
        "model_options": dict(setting.model_options),
        "targets": {
            n: {"low": float(b.low), "high": float(b.high), "log": bool(b.log)}  # type: ignore[arg-type]
            for n, b in setting.targets.items()
        },
        "fixed": numbers,
        "fixed_maps": maps,
        "seed": setting.seed,
        "warmup": setting.warmup,
        "outputs": dict(setting.outputs),
        "optimizer": setting.optimizer,
        "inference": None if inference is None else {name: _plain(getattr(inference, name)) for name in INFERENCE},
        "units": {name: VARIABLES[name].units for name in (*setting.targets, *setting.fixed)},
        "history": history,
        "maps": list(_maps(learned)),
    }


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return dict(value)
    return list(value) if isinstance(value, tuple) else value


def read_model(path: str | PathLike[str], network: Any = None) -> LearnedParams:
    """Read what `write_model` wrote; refuses what it does not understand."""
    folder = Path(path)
    whole = _json(folder)
    learner: ParameterLearner | None = None
    if "weights" in whole:
        require_torch()
        from xsoil.networks import storage
        from xsoil.networks.learner import ParameterLearner

        tensors, description = storage.load(folder)
        _keys(description, ("learner", "learned"), folder)
        learner = ParameterLearner.rebuilt(description["learner"], tensors, network)
        learner.eval()
    else:
        if whole.get("format") != FORMAT:
            raise ArgumentError(f"{folder} is of format {whole.get('format')!r}; expected {FORMAT!r}")
        if whole.get("version") != VERSION:
            raise ArgumentError(
                f"{folder} is of version {whole.get('version')!r}; this xsoil reads version {VERSION}: update it, or "
                "learn anew"
            )
        _keys(whole, ("format", "version", "description"), folder)
        description = whole["description"]
        _keys(description, ("learned",), folder)
        if network is not None:
            raise ArgumentError(f"{folder} holds an inversion, which has no network; leave out network=")
    return _rebuilt(description["learned"], folder, learner)


def _rebuilt(found: Any, folder: Path, learner: ParameterLearner | None) -> LearnedParams:
    _keys(found, KEYS, folder)
    try:
        row = learnable(found["model"], **found["model_options"])
        targets = {name: Bounded(b["low"], b["high"], bool(b["log"])) for name, b in found["targets"].items()}
        for name, units in found["units"].items():
            if name not in row.names or units != VARIABLES[name].units:
                raise ArgumentError(f"{folder} was learned with {name!r} in {units!r}, which this xsoil does not know")
        inference = None
        if found["inference"] is not None:
            _keys(found["inference"], INFERENCE, folder)
            inference = Inference(**{n: _tupled(v) for n, v in found["inference"].items()})
        if (inference is None) != (learner is None):
            raise ArgumentError(f"{folder} is damaged: a network without its inputs, or the other way round")
        maps = {name: _map(folder, str(name)) for name in found["maps"]}
        given = maps.get("given", xr.Dataset())
        fixed: dict[str, Any] = {name: float(value) for name, value in found["fixed"].items()}
        fixed |= {name: given[name] for name in found["fixed_maps"]}
        setting = Setting(
            found["strategy"], found["model"], found["model_options"], targets, fixed, found["seed"], found["warmup"],
            found["outputs"], found["optimizer"], inference,
        )  # fmt: skip
        history = found["history"]
        record = xr.Dataset(
            {n: (dims, values, attrs) for n, (dims, values, attrs) in history["data"].items()},
            {n: (dims, values, attrs) for n, (dims, values, attrs) in history["coords"].items()},
            history["attrs"],
        )
        return LearnedParams(maps["params"], record, setting, maps.get("inverse"), learner)
    except SoilError:
        raise
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise ArgumentError(f"{folder} is damaged: {type(error).__name__}: {error}; take another copy") from error


def _json(folder: Path) -> dict[str, Any]:
    file = folder / DESCRIPTION
    if not file.is_file():
        raise ArgumentError(f"no model of xsoil at {folder}; expected a folder that LearnedParams.save wrote")
    if file.stat().st_size > LONGEST:
        raise ArgumentError(f"{file} has {file.stat().st_size} bytes; no description of a model is so long")
    try:
        whole = json.loads(file.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise ArgumentError(f"{file} is no description of a model: {error}") from error
    if not isinstance(whole, dict):
        raise ArgumentError(f"{file} is no description of a model: expected a table, found {type(whole).__name__}")
    return whole


def _keys(table: Any, expected: tuple[str, ...], folder: Path) -> None:
    if not isinstance(table, dict) or set(table) != set(expected):
        found = sorted(table) if isinstance(table, dict) else table
        raise ArgumentError(f"{folder / DESCRIPTION} has the keys {found}; expected {sorted(expected)}")


def _tupled(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


def _map(folder: Path, name: str) -> xr.Dataset:
    path = folder / f"{name}.zarr"
    if name not in ("params", "inverse", "given") or not path.is_dir():
        raise ArgumentError(f"{folder} lacks {path.name}; take a whole copy of the folder")
    try:
        found: xr.Dataset = xr.open_zarr(path, chunks=None, decode_coords="all").load()
    except Exception as error:
        raise ArgumentError(f"{path} cannot be read ({type(error).__name__}: {error}); take another copy") from error
    return found
