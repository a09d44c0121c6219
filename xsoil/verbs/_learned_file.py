"""The folder of learned parameters: a description (JSON), weights of a network (safetensors) and maps (Zarr)."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

import xarray as xr

from xsoil.data._hostile import declared_bytes, require_backed, stored_bytes
from xsoil.errors import ArgumentError, SoilError
from xsoil.networks.description import DESCRIPTION, require_format, require_keys, require_room, text_of
from xsoil.outputs.zarr import to_zarr
from xsoil.physics.bounded import Bounded
from xsoil.verbs._infer import Inference
from xsoil.verbs._learnable import learnable
from xsoil.verbs._learned import LearnedParams, Setting
from xsoil.verbs._learned_checks import INFERENCE, KEYS, MAPS, require_entries, require_learner, require_maps
from xsoil.verbs._results import carry_grid_mapping, coordinates
from xsoil.verbs._training import require_torch
from xsoil.vocabulary import VARIABLES

if TYPE_CHECKING:
    from xsoil.networks.learner import ParameterLearner

__all__ = ["FORMAT", "read_learned", "write_learned"]

FORMAT, VERSION = "xsoil learned parameters", 1


def write_learned(learned: LearnedParams, path: str | PathLike[str]) -> None:
    """Write a learned model to a folder; one that is already there is replaced."""
    folder = Path(path)
    description = _described(learned)
    if learned.learner is not None:
        from xsoil.networks import storage

        whole = {"learner": learned.learner.describe(), "learned": description}
        storage.save(folder, learned.learner.state_dict(), whole, format=FORMAT, version=VERSION)
    else:
        require_room(folder)
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        plain: dict[str, Any] = {"format": FORMAT, "version": VERSION, "description": {"learned": description}}
        (folder / DESCRIPTION).write_text(text_of(plain), encoding="utf-8")
    for name, ds in _maps(learned).items():
        to_zarr(ds, folder / f"{name}.zarr", progress=False)


def _maps(learned: LearnedParams) -> dict[str, xr.Dataset]:
    found = {"params": learned.params}
    if learned.inverse is not None:
        found["inverse"] = learned.inverse
    if learned.draws is not None:
        found["draws"] = learned.draws
    maps = {**learned.setting.fixed, **learned.setting.ends}
    given = {n: v for n, v in maps.items() if isinstance(v, xr.DataArray)}
    if given:  # all on the cells of the result, whose coordinates and grid mapping they take
        dims = learned.params["status"].dims
        data = {n: xr.Variable(v.dims, v.data, v.attrs) for n, v in given.items()}
        bare = coordinates((learned.params, dims)).assign(data)
        found["given"] = carry_grid_mapping(bare, learned.params)
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
        # Pairs: a table whose entries were sorted by some tool would swap the columns of the network.
        "targets": [
            [n, {"low": float(b.low), "high": float(b.high), "log": bool(b.log)}]  # type: ignore[arg-type]
            for n, b in setting.targets.items()
        ],
        "fixed": numbers,
        "fixed_maps": maps,
        "seed": setting.seed,
        "warmup": setting.warmup,
        "outputs": dict(setting.outputs),
        "optimizer": setting.optimizer,
        "inference": None if inference is None else {name: _plain(getattr(inference, name)) for name in INFERENCE},
        "units": {name: VARIABLES[name].units for name in (*setting.targets, *setting.fixed)},
        "ends": list(setting.ends),
        "history": history,
        "maps": list(_maps(learned)),
    }


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):  # of predictors, whose order is that of the network's channels
        return [[name, units] for name, units in value.items()]
    return list(value) if isinstance(value, tuple) else value


def read_learned(folder: Path, whole: dict[str, Any], network: Any = None) -> LearnedParams:
    """Read what `write_learned` wrote, given its description; refuses what it does not understand."""
    learner: ParameterLearner | None = None
    if "weights" in whole:
        require_torch()
        from xsoil.networks import storage
        from xsoil.networks.learner import ParameterLearner

        tensors, description = storage.load(folder, format=FORMAT, version=VERSION, whole=whole)
        require_keys(description, ("learner", "learned"), folder / DESCRIPTION)
        try:
            learner = ParameterLearner.rebuilt(description["learner"], tensors, network)
        except SoilError:
            raise
        except ValueError as error:
            raise ArgumentError(f"{folder} is damaged: {error}; take another copy") from error
        learner.eval()
    else:
        require_format(whole, folder, FORMAT, VERSION)
        require_keys(whole, ("format", "version", "description"), folder / DESCRIPTION)
        description = whole["description"]
        require_keys(description, ("learned",), folder / DESCRIPTION)
        if network is not None:
            raise ArgumentError(f"{folder} holds an inversion, which has no network; leave out network=")
    return _rebuilt(description["learned"], folder, learner, description.get("learner"))


def _rebuilt(found: Any, folder: Path, learner: ParameterLearner | None, network: Any) -> LearnedParams:
    require_entries(found, KEYS, folder / DESCRIPTION)
    found = {**found, "targets": dict(found["targets"])}
    if found["inference"] is not None:
        require_entries(found["inference"], INFERENCE, folder / DESCRIPTION)
    if (found["inference"] is None) != (learner is None):
        raise ArgumentError(f"{folder} is damaged: a network without its inputs, or the other way round")
    try:
        row = learnable(found["model"], **found["model_options"])
        targets = {name: Bounded(b["low"], b["high"], b["log"]) for name, b in found["targets"].items()}
        maps = {name: _map(folder, name) for name in found["maps"]}
        require_maps(found, row, maps, folder)
        inference = None
        if learner is not None:
            require_learner(found, learner, network, folder)
            tables = {name: dict(found["inference"][name]) for name in ("predictors", "series")}
            inference = Inference(**{n: _tupled(v) for n, v in (found["inference"] | tables).items()})
        given = maps.get("given", xr.Dataset())
        fixed: dict[str, Any] = {name: float(value) for name, value in found["fixed"].items()}
        fixed |= {name: given[name] for name in found["fixed_maps"]}
        setting = Setting(
            found["strategy"], found["model"], found["model_options"], targets, fixed, found["seed"], found["warmup"],
            found["outputs"], found["optimizer"], inference, {name: given[name] for name in found["ends"]},
        )  # fmt: skip
        history = found["history"]
        record = xr.Dataset(
            {n: (dims, values, attrs) for n, (dims, values, attrs) in history["data"].items()},
            {n: (dims, values, attrs) for n, (dims, values, attrs) in history["coords"].items()},
            history["attrs"],
        )
        return LearnedParams(maps["params"], record, setting, maps.get("inverse"), maps.get("draws"), None, learner)
    except SoilError:
        raise
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise ArgumentError(f"{folder} is damaged: {type(error).__name__}: {error}; take another copy") from error


def _tupled(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


def _map(folder: Path, name: str) -> xr.Dataset:
    path = folder / f"{name}.zarr"
    if name not in MAPS or not path.is_dir():
        raise ArgumentError(f"{folder} lacks {path.name}; take a whole copy of the folder")
    require_backed(declared_bytes(path), stored_bytes(path), path)
    try:
        found: xr.Dataset = xr.open_zarr(path, chunks=None, decode_coords="all", zarr_format=3).load()
    except Exception as error:
        raise ArgumentError(f"{path} cannot be read ({type(error).__name__}: {error}); take another copy") from error
    return found
