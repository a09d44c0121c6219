"""`explore`: what is read and drawn as sliders and view change; the page in a browser."""

from __future__ import annotations

import asyncio
import socket
import sys

import dask.array as da
import numpy as np
import pytest
import xarray as xr
from browser import Browser, chromium
from odc.geo.geobox import GeoBox
from odc.geo.xr import xr_coords

import xsoil
from xsoil.errors import ArgumentError, AxisError, UnknownNameError

pytest.importorskip("panel")
hv = pytest.importorskip("holoviews")
param = pytest.importorskip("param")

GRID = GeoBox.from_bbox((-104, 33, -94, 41), "EPSG:4326", resolution=0.05)
STEPS = 6


class Reader:
    """A lazy series whose value is the day, plus the row / 1000; it notes which blocks are computed."""

    def __init__(self) -> None:
        self.read: list[tuple[int, int, int]] = []

    def block(self, block_info=None) -> np.ndarray:
        place = block_info[None]["array-location"]
        self.read.append(tuple(low for low, _ in place))
        (t0, t1), (y0, y1), (x0, x1) = place
        day, row = np.arange(t0, t1)[:, None, None], np.arange(y0, y1)[:, None] / 1000
        return np.broadcast_to(day * 0.05 + row, (t1 - t0, y1 - y0, x1 - x0)).astype("f4")

    def series(self) -> xr.Dataset:
        rows, columns = GRID.shape
        chunks = ((1,) * STEPS, (80,) * (rows // 80), (100,) * (columns // 100))
        theta = da.map_blocks(self.block, chunks=chunks, dtype="f4", meta=np.empty((0, 0, 0), "f4"))
        time = np.datetime64("2015-06-01", "ns") + np.arange(STEPS) * np.timedelta64(1, "D")
        attrs = {"units": "m3 m-3", "long_name": "volumetric soil moisture"}
        array = xr.DataArray(theta, dims=("time", "latitude", "longitude"), attrs=attrs)
        return array.assign_coords(xr_coords(GRID) | {"time": time}).to_dataset(name="theta")


@pytest.fixture
def reader() -> Reader:
    return Reader()


def parts(view):
    """The time slider and the map."""
    *sliders, pane = view[-1]
    return sliders, pane.object


def image(drawn) -> hv.Image:
    return next(iter(drawn[()].traverse(lambda element: element, [hv.Image])))


def test_a_step_is_read_when_it_is_seen(reader, no_compute):
    ds = reader.series()
    with np.errstate(all="raise"):
        view = xsoil.explore(ds, cells=40)
    assert reader.read == []
    (slider,), _ = parts(view)
    assert list(slider.options) == [f"2015-06-0{k}" for k in range(1, 7)]


def test_titles_of_the_widgets(reader, recwarn):
    """Without the names that panel is about to drop."""
    ds = reader.series()
    view = xsoil.explore(ds.assign(other=ds.theta), cells=40)
    assert not [str(warning.message) for warning in recwarn if "Widget.name" in str(warning.message)]
    titles = {widget.label for widget in view.select() if hasattr(widget, "options")}
    assert titles >= {"variable", "time"}


def test_sliders_and_zoom_choose_what_is_read(reader):
    (slider,), drawn = parts(reader.series().soil.explore(cells=40))
    first = image(drawn)
    assert first.bounds.lbrt() == (-104, 33, -94, 41)
    assert first.dimension_values(2, flat=False).shape == (32, 40)
    np.testing.assert_allclose(first.dimension_values(2, flat=False)[::-1, 0], np.arange(2, 160, 5) / 1000, rtol=1e-6)
    assert {place[0] for place in reader.read} == {0}
    reader.read.clear()

    with param.edit_constant(slider):  # as the browser does when the mouse lets go
        slider.param.update(value=4, value_throttled=4)
    np.testing.assert_allclose(
        image(drawn).dimension_values(2, flat=False)[::-1, 0], 0.2 + np.arange(2, 160, 5) / 1000, rtol=1e-6
    )
    assert {place[0] for place in reader.read} == {4}
    reader.read.clear()

    maps = [drawn]
    for found in maps:
        maps += [d for d in getattr(found.callback, "inputs", []) if isinstance(d, hv.DynamicMap)]
    seen = next(stream for found in maps for stream in found.streams if isinstance(stream, hv.streams.RangeXY))
    seen.event(x_range=(-103.9, -102.0), y_range=(33.1, 35.0))
    near = image(drawn)
    assert near.dimension_values(2, flat=False).shape == (38, 38)  # 0.05 degrees: all cells of the part in view
    assert near.bounds.lbrt() == pytest.approx((-103.9, 33.1, -102.0, 35.0), abs=0.051)
    assert set(reader.read) == {(4, 80, 0)}


def test_each_picture_is_read_once_and_thinned_before(reader, monkeypatch):
    import xsoil.plots._raster as module

    sizes = []
    monkeypatch.setattr(module, "numbers", lambda array, of=module.numbers: (sizes.append(array.shape), of(array))[1])
    view = reader.series().rename(theta="ph").soil.explore(cells=40)  # no scale of its own: from the first step
    blocks = list(reader.read)
    hv.render(parts(view)[1], backend="bokeh")
    assert sizes == [(32, 40)]
    assert reader.read == blocks


def test_colours_hold_for_all_steps_and_follow_the_vocabulary():
    coords = xr_coords(GRID[:20, :20])
    dims = ("latitude", "longitude")
    k = xr.DataArray(np.geomspace(1, 1e4, 400).reshape(20, 20), coords, dims, attrs={"units": "cm d-1"})
    classes = xr.DataArray(
        np.arange(400, dtype="i1").reshape(20, 20) % 3, coords, dims,
        attrs={"flag_values": np.array([0, 1, 2], "i1"), "flag_meanings": "bog fen_wood sand"},
    )  # fmt: skip
    view = xsoil.explore(xr.Dataset({"k_sat": k, "kind": classes}))
    menu = view[0]
    assert menu.options == ["k_sat", "kind"]
    plot = hv.render(parts(view)[1], backend="bokeh")
    (bar,) = [r for r in plot.right if type(r).__name__ == "ColorBar"]
    assert type(bar.color_mapper).__name__ == "LogColorMapper"
    assert bar.title == "saturated hydraulic conductivity [cm d⁻¹]"
    menu.value = "kind"
    plot = hv.render(parts(view)[1], backend="bokeh")
    (bar,) = [r for r in plot.right if type(r).__name__ == "ColorBar"]
    assert bar.major_label_overrides == {0: "bog", 1: "fen wood", 2: "sand"}


def test_faults(reader, monkeypatch):
    ds = reader.series()
    with pytest.raises(UnknownNameError, match="did you mean 'theta'"):
        xsoil.explore(ds, "thta")
    with pytest.raises(AxisError, match="nothing to show"):
        xsoil.explore(ds.isel(latitude=0))
    with pytest.raises(ArgumentError, match="100 pixels"):
        xsoil.explore(ds, width=5)
    monkeypatch.setitem(sys.modules, "panel", None)
    with pytest.raises(ImportError, match=r'pip install "xsoil\[explore\]"'):
        xsoil.explore(ds)


@pytest.mark.skipif(chromium() is None, reason="no Chromium")
def test_in_a_browser(reader, tmp_path):
    """Served live: the slider's key draws the next day, the wheel reads the part in view with more detail."""
    import panel as pn

    ds = reader.series()
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = free.getsockname()[1]
    server = pn.serve(lambda: xsoil.explore(ds, cells=40), port=port, threaded=True, show=False, verbose=False)
    ready = "typeof Bokeh !== 'undefined' && Bokeh.documents.length > 0 && Bokeh.documents[0].is_idle"
    glyph = "[...Bokeh.documents[0]._all_models.values()].find(m => m.type == 'Image')"
    source = "[...Bokeh.documents[0]._all_models.values()].find(m => m.type == 'ColumnDataSource' && m.data.image)"

    async def look() -> None:
        async with Browser(tmp_path) as page:
            await page.open(f"http://localhost:{port}/")
            await page.wait(f"{ready} && !!{glyph}")
            value = f"{source}.data.image[0].get(0)"
            await page.wait(f"{value} > 0.15 && {value} < 0.2")
            await page.screenshot(tmp_path / "first.png")
            assert {place[0] for place in reader.read} == {0}

            await page.call("Runtime.evaluate", expression=FOCUS)
            await page.press("ArrowRight")
            await page.wait(f"{value} > 0.2")
            await page.screenshot(tmp_path / "second.png")
            assert {place[0] for place in reader.read} == {0, 1}

            for _ in range(8):
                await page.wheel(300, 350, -200)
            await page.wait(f"{source}.data.dw[0] < 5")
            await page.screenshot(tmp_path / "near.png")

    try:
        asyncio.run(look())
    finally:
        server.stop()
    pictures = [np.asarray(read_png(tmp_path / name)) for name in ("first.png", "second.png", "near.png")]
    for a, b in zip(pictures, pictures[1:]):
        assert a.shape == b.shape
        assert (a != b).any(axis=-1).mean() > 0.2
    assert len(np.unique(pictures[0].reshape(-1, pictures[0].shape[-1]), axis=0)) > 50


FOCUS = """(() => {
    const within = root => [...root.querySelectorAll('*')]
        .flatMap(element => [element, ...(element.shadowRoot ? within(element.shadowRoot) : [])]);
    within(document).find(element => element.classList.contains('noUi-handle')).focus();
})()"""


def read_png(path):
    from PIL import Image

    return Image.open(path).convert("RGB")


def test_classes_have_a_colour_each():
    coords = xr_coords(GRID[:20, :20])
    for flags in ([1, 2, 10], list(range(17))):
        values = np.resize(np.array([*flags, 99], "i2"), (20, 20))  # 99 is no class
        attrs = {"flag_values": np.array(flags, "i2"), "flag_meanings": " ".join(f"c{k}" for k in flags)}
        kind = xr.DataArray(values, coords, ("latitude", "longitude"), attrs=attrs).to_dataset(name="kind")
        _, drawn = parts(xsoil.explore(kind, coast=False))
        plot = hv.render(drawn, backend="bokeh")
        (bar,) = [r for r in plot.right if type(r).__name__ == "ColorBar"]
        mapper = bar.color_mapper
        width = (mapper.high - mapper.low) / len(mapper.palette)
        colours = [mapper.palette[int((flag - mapper.low) / width)] for flag in flags]
        assert len(set(colours)) == len(flags)
        shown = image(drawn).dimension_values("value")
        assert set(shown[np.isfinite(shown)]) == set(flags)
