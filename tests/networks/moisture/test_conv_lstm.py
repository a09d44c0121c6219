"""The convolutional LSTM learns maps, and its tiles fit together."""

from __future__ import annotations

import numpy as np
import pytest

from xsoil.errors import ArgumentError, UnitsError, UnknownNameError

pytest.importorskip("lightning", reason="the extra 'learn' is not installed")

from xsoil.networks.moisture.conv_lstm import ConvLstm, ConvLstmOptions
from xsoil.networks.moisture.inputs import Inputs, Predictor, Targets
from xsoil.networks.moisture.kind import Samples

DAYS, ROWS, COLUMNS = 14, 21, 26
PREDICTORS = (Predictor("brightness", "K"), Predictor("rain", "mm d-1"), Predictor("sand", "percent"))
QUICK = {"filters": (8,), "attention": (1,), "window": 5, "dropout": 0.0, "patch": 13, "context": 2, "epochs": 40,
         "batch_tiles": 8, "learning_rate": 0.02}  # fmt: skip


def samples(seed=0, gaps=0.3):
    """Moisture that is the mean of the neighbours' rain of three days, less where there is sand."""
    rng = np.random.default_rng(seed)
    rain = rng.gamma(0.5, 6, (DAYS, ROWS, COLUMNS))
    sand = rng.uniform(10, 90, (ROWS, COLUMNS))
    near = sum(np.roll(rain, (a, b), (1, 2)) for a in (-1, 0, 1) for b in (-1, 0, 1)) / 9
    wet = near + 0.6 * np.roll(near, 1, axis=0) + 0.3 * np.roll(near, 2, axis=0)
    water = 0.1 + wet / 60 - sand / 1500
    brightness = 280 - 100 * water + rng.normal(0, 4, water.shape)
    x = np.stack([brightness, rain, np.broadcast_to(sand, rain.shape)], axis=-1)
    y = water[..., None].copy()
    y[rng.random(y.shape) < gaps] = np.nan
    return Samples(x.astype(np.float32), y.astype(np.float32))


def prepared(given, names=("soil_moisture",)):
    inputs = Inputs.fit(PREDICTORS, given.x, rows=np.isfinite(given.y).any(axis=-1))
    return {"inputs": inputs, "targets": Targets.fit(names, ("m3 m-3",) * len(names), given.y)}


def fitted(given, validation=None, names=("soil_moisture",), seed=0, **options):
    kind = ConvLstm(ConvLstmOptions(**(QUICK | options)))
    return kind.fit(given, validation=validation, seed=seed, **prepared(given, names))


def whole(model, x, what="mean"):
    """The untiled map: beyond it there is nothing."""
    halo = model.halo
    around = ((0, 0), (halo, halo), (halo, halo))
    inside = np.pad(np.ones(x.shape[1:3], bool), around[1:])
    return model.predict(np.pad(x, (*around, (0, 0)), constant_values=np.nan), inside=inside)[what]


@pytest.fixture(scope="module")
def given():
    return samples()


@pytest.fixture(scope="module")
def model(given):
    return fitted(given)


def test_overfits(given, model):
    # 14 maps, of which the look-back leaves 12 x 4 tiles: some fifty samples.
    found = whole(model, given.x)
    assert found.shape == (DAYS - 2, ROWS, COLUMNS, 1)
    error = np.sqrt(np.nanmean((found - given.y[2:]) ** 2))
    assert error < 0.35 * np.nanstd(given.y)
    assert model.record.train[-1] < 0.4 * model.record.train[0]


def test_reads_neighbours_and_the_days_before(given, model):
    x = given.x.copy()
    x[4, 10, 10, 1] += 40
    change = np.abs(whole(model, x) - whole(model, given.x))[..., 0].max(axis=0)
    days = np.abs(whole(model, x) - whole(model, given.x))[..., 0].max(axis=(1, 2))
    assert set(np.flatnonzero(days > 0)) == {2, 3, 4}  # days 4, 5 and 6 of the series
    assert change[9, 11] > 0
    far = np.ones_like(change, bool)
    far[10 - model.halo : 11 + model.halo, max(0, 10 - model.halo) : 11 + model.halo] = False
    assert (change[far] == 0).all()


@pytest.mark.parametrize("options", [{}, {"filters": (4, 6, 4), "attention": (1, 3), "depthwise": True}], ids=str)
def test_tiles_fit_the_untiled_map(options):
    many = samples(2)
    model = fitted(many, epochs=1, **options)
    x = np.tile(many.x[:5], (1, 5, 5, 1))  # some 100 cells, more than run at a time
    halo, back = model.halo, model.look_back - 1
    untiled = whole(model, x)
    inside = np.pad(np.ones(x.shape[1:3], bool), halo)
    padded = np.pad(x, ((0, 0), (halo, halo), (halo, halo), (0, 0)), constant_values=np.nan)
    for rows, columns in (
        (slice(0, 7), slice(0, 130)),
        (slice(30, 90), slice(17, 18)),
        (slice(100, 105), slice(64, 130)),
    ):
        near = slice(rows.start, rows.stop + 2 * halo), slice(columns.start, columns.stop + 2 * halo)
        tile = model.predict(padded[(slice(0, 3 + back), *near)], inside=inside[near])["mean"]
        np.testing.assert_allclose(tile, untiled[:3, rows, columns], rtol=0, atol=2e-6)


def test_what_has_no_target_does_not_matter(given):
    y = given.y.copy()
    y[:, 13:] = np.nan
    x = given.x.copy()
    options = {"epochs": 1}
    first = fitted(Samples(given.x, y), **options)
    x[:, 13 + first.halo :] = 1e6  # beyond what cells with targets look at
    other = ConvLstm(ConvLstmOptions(**(QUICK | options))).fit(
        Samples(x, y), inputs=first.inputs, targets=first.targets
    )
    for name, array in first.arrays().items():
        np.testing.assert_array_equal(other.arrays()[name], array, err_msg=name)
    light = np.where(np.arange(DAYS) < 8, 1, 0).astype(np.float32)
    late = given.y.copy()
    late[8:] = np.nan
    weighted, cut = (
        ConvLstm(ConvLstmOptions(**(QUICK | options))).fit(part, inputs=first.inputs, targets=first.targets)
        for part in (Samples(given.x, given.y, light), Samples(given.x, late))
    )
    for name, array in weighted.arrays().items():
        np.testing.assert_array_equal(cut.arrays()[name], array, err_msg=name)


def test_two_targets_share_an_output(given):
    # The first says how high, the second when: here the first is known on few days, the second is twice as large.
    y = np.concatenate([given.y, 2 * given.y], axis=-1)
    y[1::2, ..., 0] = np.nan
    found = whole(fitted(Samples(given.x, y), names=("model", "satellite")), given.x)
    np.testing.assert_array_equal(found[..., 0], found[..., 1])
    assert np.sqrt(np.nanmean((found[..., 0] - given.y[2:, ..., 0]) ** 2)) < 0.5 * np.nanstd(given.y)


def test_deviations_are_those_of_the_errors(given):
    plain, dropped = (fitted(given, epochs=6, dropout=0.3, mc_members=n) for n in (0, 4))
    found, several = (whole(model, given.x, "std") for model in (plain, dropped))
    error = np.sqrt(np.nanmean((whole(plain, given.x) - given.y[2:]) ** 2))
    np.testing.assert_allclose(found, error, rtol=1e-4)
    np.testing.assert_array_equal(whole(plain, given.x), whole(dropped, given.x))
    # The members' spread differs from place to place; with it the deviation is that of the errors too.
    assert several.std() > 0.02 * several.mean()
    assert np.sqrt((several.astype(float) ** 2)[np.isfinite(given.y[2:])].mean()) == pytest.approx(error, rel=0.02)
    held = samples(3)
    of_held = fitted(given, validation=held, epochs=2)
    error = np.sqrt(np.nanmean((whole(of_held, held.x) - held.y[2:]) ** 2))
    np.testing.assert_allclose(whole(of_held, given.x, "std"), error, rtol=1e-4)


def test_dropped_networks_do_not_show_tiles(given):
    model = fitted(given, epochs=1, dropout=0.3, mc_members=2)
    halo = model.halo
    around = ((0, 0), (halo, halo), (halo, halo))
    padded = np.pad(given.x, (*around, (0, 0)), constant_values=np.nan)
    inside = np.pad(np.ones(given.x.shape[1:3], bool), around[1:])
    near = slice(5, 12 + 2 * halo), slice(9, 20 + 2 * halo)
    tile = model.predict(padded[:, *near], inside=inside[near])["std"]
    np.testing.assert_allclose(tile, whole(model, given.x, "std")[:, 5:12, 9:20], rtol=0, atol=2e-6)


def test_weights_of_the_loss(given):
    # Without the correlation the loss is the error alone.
    model = fitted(given, epochs=3, beta=0.0)
    assert model.record.train[0] < fitted(given, epochs=3).record.train[0]


def test_validation_and_seed(given):
    model = fitted(given, validation=samples(3), epochs=3)
    assert len(model.record.validation) == 3
    assert model.record.validation != model.record.train
    same, other = fitted(given, epochs=1), fitted(given, epochs=1, seed=1)
    np.testing.assert_array_equal(fitted(given, epochs=1).arrays()["last.weight"], same.arrays()["last.weight"])
    assert (other.arrays()["last.weight"] != same.arrays()["last.weight"]).any()


def test_missing_predictors(given, model):
    x = given.x.copy()
    x[5, 3, 4] = np.nan
    found = whole(model, x)
    assert np.isnan(found[3, 3, 4]).all()
    assert np.isnan(found).sum() == 1


def test_kept_bit_for_bit(given, model):
    again = ConvLstm.from_arrays(model.arrays(), model.description(), model.inputs, model.targets)
    for what in ("mean", "std"):
        np.testing.assert_array_equal(whole(again, given.x, what), whole(model, given.x, what))
    with pytest.raises(ArgumentError, match=r"last\.bias"):
        ConvLstm.from_arrays(
            {n: a for n, a in model.arrays().items() if n != "last.bias"}, model.description(), model.inputs,
            model.targets,
        )  # fmt: skip


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"filters": ()}, ArgumentError, "one for each layer"),
        ({"attention": (3,)}, ArgumentError, "layers from 1 to 2"),
        ({"kernel": 4}, ArgumentError, "odd"),
        ({"dropout": -0.1}, ArgumentError, "0 or more"),
        ({"alpha": 0.0}, ArgumentError, "alpha above 0"),
        ({"look_back": 0}, ArgumentError, "1 or more"),
        ({"mc_members": 2, "dropout": 0.0}, ArgumentError, "all would be alike"),
        ({"schedule": "fast"}, UnknownNameError, "one_cycle"),
    ],
)
def test_wrong_options(options, error, message):
    with pytest.raises(error, match=message):
        ConvLstmOptions(**options)


def test_what_does_not_fit(given, model):
    with pytest.raises(ArgumentError, match="days before and"):
        model.predict(given.x[:2])
    both = prepared(given)
    both["targets"] = Targets(("a", "b"), ("m3 m-3", "mm"), (0.0, 0.0), (1.0, 1.0))
    with pytest.raises(UnitsError, match="share one output"):
        ConvLstm(ConvLstmOptions(**QUICK)).fit(given, **both)
    with pytest.raises(ArgumentError, match="look-back"):
        fitted(Samples(given.x[:2], given.y[:2]))
