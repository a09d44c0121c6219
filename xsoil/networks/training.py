"""Training on lightning: early stopping, best checkpoint, and a resume that continues bit for bit."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import signal
import tempfile
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import lightning.pytorch as pl
import numpy as np
import torch
from lightning.fabric.plugins.environments.lightning import LightningEnvironment
from lightning.pytorch.callbacks import EarlyStopping, ModelCheckpoint
from numpy.typing import NDArray

from xsoil.choices import require_choice
from xsoil.errors import ArgumentError, SoilError
from xsoil.networks.batches import Batches, fingerprint, finite_values
from xsoil.networks.checkpoints import BEST, LAST, CheckpointFiles, best_state, finite, read, refused, rows_of
from xsoil.networks.learning import Learner
from xsoil.networks.loop import SCHEDULES, Loop
from xsoil.networks.samples import Cells, CellSource, InMemorySource, held

__all__ = ["History", "fit"]

# Products of a batch (cells x places or days x weights) below which threads would wait for each other most of the time.
_WORTH_THREADS = 1e9

# Share of the budget that the validation cells may keep.
_FOR_VALIDATION = 0.25


@dataclass(frozen=True)
class History:
    """How a training went.

    Parameters
    ----------
    train, validation : list of float
        Loss of each epoch; without validation cells the second is that of the training.
    learning_rate, seconds : list of float
        Of each epoch.
    best_epoch : int
        Whose weights the learner has now, counted from 0.
    stopped : str
        "epochs" (all done), "patience" (no better for so many epochs) or "not finite" (the loss was not a number).
    excluded : (n,) array of int
        Training and validation cells that were left out, because they have no (or too few) observations.
    """

    train: list[float]
    validation: list[float]
    learning_rate: list[float]
    seconds: list[float]
    best_epoch: int
    stopped: str
    excluded: NDArray[np.intp] = field(repr=False)

    def __len__(self) -> int:
        return len(self.train)

    @property
    def best(self) -> float:
        """Loss of the best epoch."""
        return self.validation[self.best_epoch]


def fit(
    learner: Learner,
    source: CellSource,
    train_cells: Cells,
    validation_cells: Cells = (),  # type: ignore[assignment]
    *,
    epochs: int = 200,
    batch_cells: int = 256,
    learning_rate: float = 0.01,
    schedule: Literal["plateau", "one_cycle", "constant"] = "plateau",
    patience: int | None = None,
    directory: str | os.PathLike[str] | None = None,
    resume: bool = False,
    progress: bool = True,
    seed: int = 0,
    accelerator: str = "cpu",
    memory_budget: float = 2e9,
) -> History:
    """Train the learner; it then holds the weights of the best epoch.

    Adam, with gradients of norm 1 at the most. The same arguments give the same bits on the CPU. Cells are read once
    where they fit into the memory budget, else in every epoch, and shuffled by groups (see `Batches`), so that
    the order then depends on the budget.

    Parameters
    ----------
    learner : Learner
    source : CellSource
    train_cells, validation_cells : (n,) array of int
        Cells of the source. Without validation cells the training loss decides.
    epochs : int
        In all, those before a resume included.
    batch_cells : int
        Cells of a mini-batch.
    learning_rate : float
        The largest.
    schedule : str
        How the learning rate goes: "plateau", halved after a quarter of the patience without a better validation loss;
        "one_cycle", up for 30 % of all epochs, then down to nothing (Smith & Topin 2019); or "constant".
    patience : int, optional
        Epochs without a better validation loss after which the training stops; 20 by default, with "one_cycle" none.
    directory : path, optional
        Where checkpoints go, "last.ckpt" after each epoch and "best.ckpt"; a temporary folder if not given.
    resume : bool
        Continue from `directory`, exactly as if there had been no interruption; begin anew if it holds nothing. The
        data must be the same too.
    progress : bool
        Show a bar of epochs.
    seed : int
        Of shuffles and dropout.
    accelerator : str
        Of lightning: "cpu", "gpu", "auto" ...
    memory_budget : float
        For cells [bytes].

    Returns
    -------
    History

    Raises
    ------
    ArgumentError
        No cell with observations, a checkpoint of another training, or a loss that was never a number.
    """
    _check(epochs, learning_rate, schedule, patience, resume, directory, seed, accelerator)
    if patience is None:
        patience = epochs if schedule == "one_cycle" else 20
    train, validation = (np.unique(np.asarray(cells, np.intp)) for cells in (train_cells, validation_cells))
    both = np.intersect1d(train, validation)
    if both.size:
        raise ArgumentError(f"{both.size} cells are for training and for validation, the first is {both[0]}")
    source = held(source, np.concatenate([train, validation]), memory_budget)
    train, validation, excluded = _with_observations(learner, source, train, validation)
    apart = held(source, validation, memory_budget * _FOR_VALIDATION) if validation.size else source
    # Only checkpoints that stay may be continued, and with other data they must not be.
    data = "" if directory is None else fingerprint(source, np.concatenate([train, validation]))
    settings = _settings(
        learner, train, validation, data=data, seed=seed, batch_cells=batch_cells, learning_rate=learning_rate,
        schedule=schedule,
        **({"epochs": epochs} if schedule == "one_cycle" else {"patience": patience}),
        **({} if isinstance(source, InMemorySource) else {"memory_budget": memory_budget}),
    )  # fmt: skip
    threads = _threads(learner, source, train, batch_cells)
    with tempfile.TemporaryDirectory(prefix="xsoil-") as scratch, _quiet(), _own_settings(threads):
        folder = Path(directory) if directory is not None else Path(scratch)
        folder.mkdir(parents=True, exist_ok=True)
        loop = Loop(
            learner, learning_rate, schedule, max(1, patience // 4), seed, settings, validated=bool(validation.size),
            progress=progress,
        )  # fmt: skip
        stopping = EarlyStopping("validation", patience=patience, check_on_train_epoch_end=True, verbose=False)
        options: dict[str, Any] = {
            "dirpath": folder, "save_on_train_epoch_end": True, "enable_version_counter": False, "verbose": False,
        }  # fmt: skip
        best = ModelCheckpoint(filename="best", monitor="validation", save_top_k=1, **options)
        last = ModelCheckpoint(filename="last", save_top_k=1, every_n_epochs=1, **options)
        before = folder / LAST if resume and (folder / LAST).exists() else None
        if not resume:
            for old in (BEST, LAST):
                _discard(folder / old)
        finished = before is not None and _finished(before, settings, epochs, patience, loop)
        if not finished:
            device = torch.cuda.is_available() or torch.backends.mps.is_available()
            on_cpu = accelerator == "cpu" or (accelerator == "auto" and not device)
            files = CheckpointFiles(loop, [stopping, best, last])
            trainer = pl.Trainer(
                accelerator=accelerator, devices=1, max_epochs=epochs, callbacks=[stopping, best, last],
                plugins=[files, LightningEnvironment()],  # a batch system's environment is not asked for ranks
                logger=False, enable_progress_bar=False, enable_model_summary=False, num_sanity_val_steps=0,
                default_root_dir=folder, deterministic=on_cpu, gradient_clip_val=1.0,
                use_distributed_sampler=False,
            )  # fmt: skip
            share = memory_budget * (1 - _FOR_VALIDATION) if validation.size else memory_budget
            batches = Batches(
                source, train, batch_cells, memory_budget=share, seed=seed, epoch=lambda: trainer.current_epoch
            )
            watched = Batches(apart, validation, batch_cells, memory_budget=memory_budget * _FOR_VALIDATION)
            try:
                trainer.fit(loop, batches, watched if validation.size else None, ckpt_path=before)
            except Exception as error:
                if before is None or loop.began or isinstance(error, SoilError):
                    raise
                raise refused(before, f"{type(error).__name__}: {error}") from error
        return _closed(learner, loop, folder, patience, excluded)


def _check(
    epochs: int, learning_rate: float, schedule: str, patience: int | None, resume: bool,
    directory: str | os.PathLike[str] | None, seed: int, accelerator: str,
) -> None:  # fmt: skip
    there = {
        "cpu": True, "auto": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(),
    }  # fmt: skip
    there["gpu"] = there["cuda"] or there["mps"]
    require_choice("accelerator", accelerator, there)
    if not there[accelerator]:
        raise ArgumentError(f"accelerator={accelerator!r}, but torch finds no such device here; take 'cpu' or 'auto'")
    if epochs < 1 or (patience is not None and patience < 1):
        raise ArgumentError(f"epochs={epochs}, patience={patience}; expected 1 or more of both")
    require_choice("schedule", schedule, SCHEDULES)
    if not 0 < learning_rate < np.inf:
        raise ArgumentError(f"learning_rate={learning_rate}; expected a number above 0")
    if seed < 0:
        raise ArgumentError(f"seed={seed}; expected 0 or more")
    if resume and directory is None:
        raise ArgumentError("resume=True without a directory; name the one of the training to continue")


def _with_observations(
    learner: Learner, source: CellSource, train: Cells, validation: Cells
) -> tuple[Cells, Cells, Cells]:
    """The cells that there is something to learn from, and those there is not."""
    cells = np.concatenate([train, validation])
    counts = finite_values(source, cells, learner.learns_from)
    enough = np.zeros(cells.size, bool)
    for name, count in counts.items():
        if needed := learner.enough(name):
            enough |= count >= needed
    kept = cells[enough]
    new_train, new_validation = train[np.isin(train, kept)], validation[np.isin(validation, kept)]
    what = "observations" if learner.learns_from == "observed" else "parameters to learn from"
    what = f"{what} (of {sorted(counts)})"
    for name, before, after in (("training", train, new_train), ("validation", validation, new_validation)):
        if not after.size and (before.size or name == "training"):
            raise ArgumentError(f"none of the {before.size} {name} cells has enough {what}; look at masks and times")
    return new_train, new_validation, cells[~enough]


def _settings(learner: Learner, train: Cells, validation: Cells, **arguments: float | str) -> str:
    """What must be the same for a training to be continued."""
    digest = hashlib.sha256(train.tobytes() + b"|" + validation.tobytes()).hexdigest()
    shapes = {name: list(tensor.shape) for name, tensor in learner.state_dict().items()}
    return json.dumps({"learner": learner.describe(), "tensors": shapes, "cells": digest} | arguments, sort_keys=True)


def _finished(before: Path, settings: str, epochs: int, patience: int, loop: Loop) -> bool:
    """Whether the training of this checkpoint has nothing left to do; its rows then go into `loop`."""
    rows = rows_of(read(before), before, settings)
    if not (before.parent / BEST).is_file():
        raise ArgumentError(f"no {BEST} beside {before}; bring it back, or take resume=False to begin anew")
    if len(rows["train"]) < epochs and _stopped(rows["validation"], patience) == "epochs":
        return False
    loop.rows = rows
    return True


def _discard(file: Path) -> None:
    if file.is_dir() and not file.is_symlink():
        raise ArgumentError(
            f"{file} is a folder; expected a checkpoint of a training, or nothing. Take another directory"
        )
    file.unlink(missing_ok=True)


def _stopped(validation: list[float], patience: int) -> str:
    """Why a training with these losses is over; "epochs" if nothing but their number ends it."""
    if not np.isfinite(validation[-1]):
        return "not finite"
    since = len(validation) - 1 - int(np.argmin(validation))
    return "patience" if since >= patience else "epochs"


def _closed(learner: Learner, loop: Loop, folder: Path, patience: int, excluded: Cells) -> History:
    """Bring the best weights back and tell how it went."""
    validation = loop.rows["validation"]
    losses = finite(validation)
    if not np.isfinite(losses).any():
        raise ArgumentError(
            f"the loss was {validation[0]} in the first epoch: the model gave no number, or the observations define no "
            "loss (constant ones have neither NSE nor KGE); look at them, at the inputs (forcing, known parameters, "
            "predictors) and bounds, or lower learning_rate"
        )
    learner.to("cpu").load_state_dict(best_state(folder / BEST, loop.settings, loop.rows, learner))
    stopped = _stopped(validation, patience)
    return History(**loop.rows, best_epoch=int(np.argmin(losses)), stopped=stopped, excluded=excluded)


def _threads(learner: Learner, source: CellSource, train: Cells, batch_cells: int) -> int:
    """Threads of tensor operations: one for small networks. The physics has its own."""
    places = learner.places(source.read(train[:1]))
    size = sum(parameter.numel() for parameter in learner.parameters())
    return torch.get_num_threads() if min(batch_cells, train.size) * places * size > _WORTH_THREADS else 1


@contextmanager
def _own_settings(threads: int) -> Iterator[None]:
    """The caller's random numbers, determinism and threads are as before afterwards."""
    deterministic, before = torch.are_deterministic_algorithms_enabled(), torch.get_num_threads()
    filled = torch.utils.deterministic.fill_uninitialized_memory  # type: ignore[attr-defined]
    torch.set_num_threads(threads)
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    try:
        with torch.random.fork_rng():
            yield
    finally:
        torch.set_num_threads(before)
        torch.utils.deterministic.fill_uninitialized_memory = filled  # type: ignore[attr-defined]
        torch.use_deterministic_algorithms(deterministic)


@contextmanager
def _quiet() -> Iterator[None]:
    """No advice from lightning to its developers; Ctrl-C stays a KeyboardInterrupt, and works afterwards."""
    loggers = [logging.getLogger(name) for name in ("lightning.pytorch", "lightning.fabric", "lightning")]
    levels = [logger.level for logger in loggers]
    in_main = threading.current_thread() is threading.main_thread()
    handler = signal.getsignal(signal.SIGINT) if in_main else None
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", module=r"lightning\..*")
            yield
    except SystemExit as error:  # what lightning makes of a KeyboardInterrupt
        raise KeyboardInterrupt from error
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
        if in_main:
            signal.signal(signal.SIGINT, handler)
