"""Checkpoints of a training: they are files in a folder of the user, and are held against the training before use."""

from __future__ import annotations

import json
import os
import pickletools
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning.pytorch.plugins.io import TorchCheckpointIO

from xsoil.errors import ArgumentError

__all__ = ["BEST", "LAST", "ROWS", "CheckpointFiles", "best_state", "read", "refused", "require_like", "rows_of"]

BEST, LAST = "best.ckpt", "last.ckpt"

ROWS = ("train", "validation", "learning_rate", "seconds")
"""What is kept of every epoch."""

_PARTS = {"epoch": int, "state_dict": dict, "loops": dict, "callbacks": dict, "optimizer_states": list, "xsoil": dict}

# What the pickle inside may call. torch allows more to be built without running code, some of it of any size.
_CALLED = {"collections OrderedDict", "torch._utils _rebuild_tensor_v2"} | {
    f"torch {kind}Storage" for kind in ("Float", "Double", "Half", "BFloat16", "Bool", "Byte", "Short", "Int", "Long")
}

_DEEPEST, _MOST = 20, 2_000_000
"""Tables within tables, and entries, of a checkpoint."""

_NUMBER = (int, float)


def read(path: Path) -> dict[str, Any]:
    """The content of a checkpoint that asks for no more memory than it has bytes, and holds data only.

    Raises
    ------
    ArgumentError
        It is no checkpoint of xsoil, or damaged; the message names the file.
    """
    try:
        if not path.is_file():  # a pipe would be waited for
            raise ValueError("no file")
        size = path.stat().st_size
        _require_plain(path, size)
        found = torch.load(path, map_location="cpu", weights_only=True)
        _require_parts(found, size)
    except Exception as error:
        raise refused(path, f"{type(error).__name__}: {error}"[:300]) from error
    return dict(found)


def rows_of(found: Mapping[str, Any], path: Path, settings: str) -> dict[str, list[float]]:
    """The losses of all epochs of a checkpoint of the training that has these settings.

    Raises
    ------
    ArgumentError
        It is of another training.
    """
    other = found["xsoil"]["settings"]
    if other != settings:
        try:
            old, new = json.loads(other), json.loads(settings)
            differing = sorted(name for name in {*old, *new} if old.get(name) != new.get(name))
        except (ValueError, AttributeError, TypeError, RecursionError) as error:
            raise refused(path, f"its settings are no table ({type(error).__name__})") from error
        raise ArgumentError(
            f"{path} is of a training that differs in {differing}; continue with the same arguments, or take another "
            "directory or resume=False"
        )
    return {name: list(found["xsoil"]["rows"][name]) for name in ROWS}


def best_state(path: Path, settings: str, rows: Mapping[str, list[float]], learner: torch.nn.Module) -> dict[str, Any]:
    """The tensors of a learner in its best epoch.

    Raises
    ------
    ArgumentError
        The file is of another training or epoch, or does not fit the learner.
    """
    found = read(path)
    own, best = rows_of(found, path, settings), int(np.argmin(finite(rows["validation"]))) + 1
    for name in ("train", "validation"):
        if not np.array_equal(own[name], rows[name][:best], equal_nan=True):
            raise ArgumentError(
                f"{path} holds epoch {len(own['train'])} of a run; the best of this training is epoch {best}. Bring "
                "the file of this run back, or take resume=False to begin anew"
            )
    state = {str(name).removeprefix("learner."): tensor for name, tensor in found["state_dict"].items()}
    _require_same(state, learner.state_dict(), path)
    for name, _ in learner.named_parameters():
        if not torch.isfinite(state[name]).all():
            raise refused(path, f"its weights {name!r} are no numbers")
    return state


def finite(losses: list[float]) -> Any:
    """Losses with infinity for those that are no numbers."""
    return np.where(np.isfinite(losses), losses, np.inf)


class CheckpointFiles(TorchCheckpointIO):
    """Lightning's files: whole or not there, for a run that is killed leaves no half file; and checked when read.

    Parameters
    ----------
    loop : LightningModule
        The training, whose weights and optimiser a checkpoint must fit.
    callbacks : list of Callback
        Of that training.
    """

    def __init__(self, loop: Any, callbacks: list[Any]) -> None:
        super().__init__()
        self._loop, self._callbacks = loop, callbacks

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any | None = None) -> None:
        unfinished = f"{path}.part"
        super().save_checkpoint(checkpoint, unfinished, storage_options)
        os.replace(unfinished, path)

    def remove_checkpoint(self, path: Any) -> None:
        """Nothing: both files are written anew in place, and a path in a checkpoint is nobody's wish to delete it."""

    def load_checkpoint(self, path: Any, map_location: Any = "cpu", weights_only: bool | None = True) -> dict[str, Any]:
        path = Path(path)
        found = read(path)
        found["state_dict"] = dict(found["state_dict"])  # without what may be attached to a table
        _require_same(found["state_dict"], self._loop.state_dict(), path)
        _require_optimizer(found["optimizer_states"], list(self._loop.parameters()), path)
        _require_counts(found, path)
        found["callbacks"] = {
            callback.state_key: _callback_state(found["callbacks"].get(callback.state_key), callback, path)
            for callback in self._callbacks
        }
        return found


def require_like(found: Any, expected: Any, what: str, path: Path) -> None:
    """Raise where a state is built otherwise than one of a new training: other keys, or values of other types."""
    if not _like(found, expected):
        raise refused(path, f"the state of the {what} is not what a training writes")


def refused(path: Path, why: str) -> ArgumentError:
    """The error for a checkpoint that cannot be used."""
    return ArgumentError(
        f"cannot read the checkpoint {path} ({why}); bring a sound one back, take another directory, or delete it and "
        "take resume=False to begin anew"
    )


def _require_plain(path: Path, size: int) -> None:
    """Raise where the archive would unpack to more than it is, or its pickle calls more than tensors need."""
    with zipfile.ZipFile(path) as archive:
        entries = archive.infolist()
        if any(entry.compress_type != zipfile.ZIP_STORED for entry in entries):
            raise ValueError("compressed entries")
        if sum(entry.file_size for entry in entries) > size:
            raise ValueError("entries that are longer than the file")
        pickles = [entry for entry in entries if entry.filename.rpartition("/")[2] == "data.pkl"]
        if len(pickles) != 1:
            raise ValueError("no archive of torch")
        for operation, argument, _ in pickletools.genops(archive.read(pickles[0])):
            if "GLOBAL" in operation.name and argument not in _CALLED:
                raise ValueError(f"it calls {argument!r}")


def _require_parts(found: Any, size: int) -> None:
    """Raise where parts are missing, or tensors are larger than what is stored."""
    if not isinstance(found, dict):
        raise TypeError(f"expected a table, found {type(found).__name__}")
    for name, kind in _PARTS.items():
        if type(found.get(name)) is not kind and not (kind is dict and isinstance(found.get(name), dict)):
            raise ValueError(f"no {name!r}")
    if found["epoch"] < 0:
        raise ValueError(f"epoch {found['epoch']}")
    for tensor in _tensors(found):
        if max(tensor.numel() * tensor.element_size(), tensor.untyped_storage().nbytes()) > size:
            raise ValueError(f"a tensor of {tensor.numel()} numbers, more than it stores")
    own = found["xsoil"]
    if set(own) != {"settings", "rows", "schedule"} or type(own["settings"]) is not str:
        raise ValueError("no settings")
    rows = own["rows"]
    if not isinstance(rows, dict) or set(rows) != set(ROWS):
        raise ValueError("no losses")
    for name, row in rows.items():
        if type(row) is not list or len(row) != found["epoch"] + 1 or any(type(value) is not float for value in row):
            raise ValueError(f"no {name!r} of {found['epoch'] + 1} epochs")


def _tensors(found: Any) -> Iterator[torch.Tensor]:
    stack: list[tuple[Any, int]] = [(found, 0)]
    count = 0
    while stack:
        item, depth = stack.pop()
        count += 1
        if depth > _DEEPEST or count > _MOST:
            raise ValueError("tables within tables without end")
        if isinstance(item, torch.Tensor):
            yield item
        elif isinstance(item, (dict, list, tuple)):
            stack.extend((value, depth + 1) for value in (item.values() if isinstance(item, dict) else item))


def _require_same(found: Mapping[str, Any], expected: Mapping[str, torch.Tensor], path: Path) -> None:
    """Raise where tensors have other names, shapes or types."""
    if set(found) != set(expected):
        raise refused(path, f"{len(set(found) ^ set(expected))} tensors are missing or foreign")
    for name, tensor in expected.items():
        other = found[name]
        if not isinstance(other, torch.Tensor) or (other.shape, other.dtype) != (tensor.shape, tensor.dtype):
            raise refused(path, f"{name!r} is not of shape {tuple(tensor.shape)} and type {tensor.dtype}")


def _require_optimizer(states: list[Any], parameters: list[torch.Tensor], path: Path) -> None:
    """Raise where the states of Adam do not fit the parameters."""
    expected = torch.optim.Adam([torch.empty(0)]).state_dict()["param_groups"][0]
    try:
        (state,) = states
        (group,) = state["param_groups"]
        more = {name: group[name] for name in group if name not in expected}
        good = all(group.get(name, value) == value for name, value in expected.items() if name not in ("params", "lr"))
        good &= group["params"] == list(range(len(parameters))) and set(state["state"]) <= set(group["params"])
        good &= all(type(value) in _NUMBER and np.isfinite(value) for value in (*more.values(), group["lr"]))
        for number, moments in state["state"].items():
            sizes = {"exp_avg": parameters[number].shape, "exp_avg_sq": parameters[number].shape, "step": ()}
            good &= {name: tuple(tensor.shape) for name, tensor in moments.items()} == {
                name: tuple(size) for name, size in sizes.items()
            }
    except (TypeError, ValueError, KeyError, AttributeError, IndexError) as error:
        raise refused(path, f"no state of an optimiser: {type(error).__name__}") from error
    if not good:
        raise refused(path, "the state of the optimiser does not fit the weights")


def _require_counts(found: Mapping[str, Any], path: Path) -> None:
    """Raise where the epochs that lightning counted are not those of the losses."""
    try:
        counts = found["loops"]["fit_loop"]["epoch_progress"]
        done = {counts[which]["processed"] for which in ("current", "total")}
    except (TypeError, KeyError) as error:
        raise refused(path, f"no count of epochs: {type(error).__name__}") from error
    if done != {found["epoch"] + 1} or not _counts(found["loops"]):
        raise refused(path, f"it counts {sorted(map(str, done))} epochs, and has losses of {found['epoch'] + 1}")


def _counts(table: Any) -> bool:
    """Tables of whole numbers, and truth."""
    if isinstance(table, dict):
        return all(_counts(value) for value in table.values())
    return type(table) is bool or (type(table) is int and 0 <= table < 2**62)


def _callback_state(found: Any, callback: Any, path: Path) -> Any:
    """The state of a callback, with the files of this folder, which may have been moved since."""
    expected = callback.state_dict()
    if isinstance(found, dict) and type(found.get("dirpath")) is str:
        expected["dirpath"] = found["dirpath"]
    require_like(found, expected, type(callback).__name__, path)
    if "best_model_path" not in found:
        return found
    folder, own = callback.dirpath, f"{callback.filename}.ckpt"

    def here(other: str) -> str:
        if other and Path(other).name != own:
            raise refused(path, f"it names the file {other!r}; expected {own}")
        return os.path.join(folder, own) if other else ""

    moved = {name: here(found[name]) for name in ("best_model_path", "kth_best_model_path", "last_model_path")}
    best = {here(str(name)): score for name, score in found["best_k_models"].items()}
    return {**found, **moved, "best_k_models": best, "dirpath": folder}


def _like(found: Any, expected: Any) -> bool:
    """Whether a value is of the kind of another: a table of the same keys, numbers for numbers, the same text."""
    if isinstance(expected, torch.Tensor) or isinstance(found, torch.Tensor):
        # Scores are there or not.
        scalar = isinstance(found, torch.Tensor) and found.ndim == 0 and found.dtype.is_floating_point
        return (scalar or found is None) and (expected is None or isinstance(expected, torch.Tensor))
    if isinstance(expected, Mapping):
        if not isinstance(found, dict):
            return False
        if not expected:  # names of files, and their scores
            return all(type(name) is str and _like(value, torch.tensor(0.0)) for name, value in found.items())
        return set(found) == set(expected) and all(_like(found[name], expected[name]) for name in expected)
    if isinstance(expected, (list, tuple)):
        return (
            type(found) is type(expected)
            and len(found) == len(expected)
            and all(_like(a, b) for a, b in zip(found, expected, strict=True))
        )
    if type(expected) in _NUMBER:
        return type(found) in _NUMBER and not np.isnan(found)
    if expected is None:
        return found is None or type(found) in (str, bool, *_NUMBER)
    return type(found) is type(expected) and (type(found) is not str or found == expected or not expected)
