"""What lightning runs: steps and epochs of a training, with a bar."""

from __future__ import annotations

import time
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import numpy as np
import torch
from tqdm.auto import tqdm

from xsoil.networks.checkpoints import ROWS, require_like
from xsoil.networks.learning import Learner
from xsoil.networks.samples import Sample

__all__ = ["SCHEDULES", "Loop"]

Tensor = torch.Tensor

SCHEDULES = ("plateau", "one_cycle", "constant")


class Loop(pl.LightningModule):
    """The training of a learner.

    Everything that an epoch depends on is in the checkpoint of the epoch before (weights, optimiser, learning rate)
    or a function of the seed and its number (shuffles, dropout).

    Parameters
    ----------
    learner : Learner
    learning_rate : float
    schedule : str
        Of `SCHEDULES`.
    slow_after : int
        Epochs without a better loss after which "plateau" halves the learning rate.
    seed : int
    settings : str
        What a checkpoint must agree with to be continued.
    validated : bool
        There are validation cells.
    progress : bool
        Show a bar of epochs.
    """

    def __init__(
        self, learner: Learner, learning_rate: float, schedule: str, slow_after: int, seed: int,
        settings: str, *, validated: bool, progress: bool,
    ) -> None:  # fmt: skip
        super().__init__()
        self.learner = learner
        self.learning_rate, self.kind, self.slow_after = learning_rate, schedule, slow_after
        self.seed, self.settings, self.validated, self.progress = seed, settings, validated, progress
        self.rows: dict[str, list[float]] = {name: [] for name in ROWS}
        self.began = False
        self._sums: dict[bool, dict[str, list[Tensor]]] = {True: {}, False: {}}

    def configure_optimizers(self) -> torch.optim.Optimizer:
        optimizer = torch.optim.Adam(self.learner.parameters(), lr=self.learning_rate)
        # Stepped here and not by lightning, which would do so after the checkpoint of the epoch is written.
        schedules = torch.optim.lr_scheduler
        self.schedule: Any = None
        if self.kind == "plateau":
            self.schedule = schedules.ReduceLROnPlateau(optimizer, factor=0.5, patience=self.slow_after)
        elif self.kind == "one_cycle":
            steps = int(self.trainer.estimated_stepping_batches)
            self.schedule = schedules.OneCycleLR(optimizer, self.learning_rate, steps, cycle_momentum=False)
        return optimizer

    def transfer_batch_to_device(self, batch: Sample, device: torch.device, dataloader_idx: int) -> Sample:
        return batch if device.type == "cpu" else batch.tensors(device)

    def on_train_epoch_start(self) -> None:
        self._start = time.perf_counter()
        self._sums[True].clear()
        torch.manual_seed((self.seed * 1_000_003 + self.trainer.current_epoch) % 2**63)

    def on_validation_epoch_start(self) -> None:
        self._sums[False].clear()

    def training_step(self, batch: Sample, batch_idx: int) -> Tensor | None:
        return self._step(batch, True)

    def validation_step(self, batch: Sample, batch_idx: int) -> None:
        self._step(batch, False)

    def _step(self, batch: Sample, training: bool) -> Tensor | None:
        means = {}
        for name, (cost, counts) in self.learner.costs(batch).items():
            total, count = cost.sum(), counts.sum()
            sums = self._sums[training].setdefault(name, [])
            sums.append(torch.stack([total.detach().double().cpu(), count.double().cpu()]))
            if count > 0:
                means[name] = total / count
        if not means or not self.learner.total(dict.fromkeys(means, 1.0)):
            return None
        loss: Tensor = self.learner.total(means)
        return loss

    def on_train_batch_end(self, *_: Any) -> None:
        if self.kind == "one_cycle" and self.schedule.last_epoch + 1 < self.schedule.total_steps:
            with warnings.catch_warnings():  # where the first batch has no observations to step for
                warnings.simplefilter("ignore")
                self.schedule.step()

    def _mean(self, training: bool) -> float:
        """Loss of the epoch: each variable's mean over all cells that count."""
        means = {}
        for name, sums in self._sums[training].items():
            total, count = torch.stack(sums).sum(dim=0).tolist()
            if count > 0:
                means[name] = total / count
        return float(self.learner.total(means)) if means else float("nan")

    def on_train_epoch_end(self) -> None:
        train = self._mean(True)
        validation = self._mean(False) if self.validated else train
        values = train, validation, self.trainer.optimizers[0].param_groups[0]["lr"], time.perf_counter() - self._start
        for name, value in zip(ROWS, values, strict=True):
            # In single precision, as lightning compares them.
            self.rows[name].append(float(np.float32(value)))
        if self.kind == "plateau":
            self.schedule.step(validation)
        self.log("train", train)
        self.log("validation", validation)
        self._bar.set_postfix(
            train=f"{train:.4g}", validation=f"{validation:.4g}", best=f"{min(self.rows['validation']):.4g}"
        )
        self._bar.update()

    def teardown(self, stage: str) -> None:
        if hasattr(self, "_bar"):
            self._bar.close()

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        checkpoint["xsoil"] = {
            "settings": self.settings,
            "rows": {name: list(row) for name, row in self.rows.items()},
            "schedule": None if self.schedule is None else self.schedule.state_dict(),
        }

    def on_load_checkpoint(self, checkpoint: Mapping[str, Any]) -> None:
        self.rows = {name: list(row) for name, row in checkpoint["xsoil"]["rows"].items()}
        self._schedule_state = checkpoint["xsoil"]["schedule"]

    def on_train_start(self) -> None:
        self._bar = tqdm(
            total=self.trainer.max_epochs, initial=self.trainer.current_epoch, desc="training", unit="epoch",
            disable=not self.progress, dynamic_ncols=True,
        )  # fmt: skip
        if hasattr(self, "_schedule_state"):
            state = None if self.schedule is None else self.schedule.state_dict()
            require_like(self._schedule_state, state, "learning rate", Path(self.trainer.ckpt_path or ""))
            if state is not None:
                self.schedule.load_state_dict(self._schedule_state)
        self.began = True
