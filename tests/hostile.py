"""Files made to harm who opens them, and the opening of each in a process of bounded memory.

``python tests/hostile.py FOLDER`` makes them in FOLDER, opens one after the other and prints what came of it as JSON.
"""

from __future__ import annotations

import hashlib
import json
import os
import resource
import struct
import sys
import time
import zlib
from base64 import b64encode
from pathlib import Path

import numpy as np
import xarray as xr
from affine import Affine
from hostile_checkpoints import CHECKPOINTS
from hostile_checkpoints import saved as checkpoint
from hostile_models import EVIL, MODELS, forest, model
from odc.geo.geobox import GeoBox

import xsoil
from xsoil.errors import SoilError
from xsoil.evaluation.splits import Split

ROOM = 2**30
"""Bytes of address space that opening may take beyond what the libraries took."""

SOURCE = GeoBox((4, 6), Affine(1.0, 0, -100.0, 0, -1.0, 40.0), "EPSG:4326")
TARGET = GeoBox((2, 3), Affine(2.0, 0, -100.0, 0, -2.0, 40.0), "EPSG:4326")
# Maps: Zarr stores within a model's folder.

INVERSION = {
    "strategy": "inverse", "model": "water_balance", "model_options": {"substeps": 24},
    "targets": [["k_sat", {"low": 1.0, "high": 1000.0, "log": True}]], "fixed": {}, "fixed_maps": [], "ends": [],
    "seed": 0, "warmup": 0, "outputs": {"soil_moisture": "theta"}, "optimizer": "ies", "inference": None,
    "units": {"k_sat": "cm d-1"}, "history": {"attrs": {}, "coords": {}, "data": {}}, "maps": ["params"],
}  # fmt: skip


def inversion(folder, **entries):
    folder.mkdir(parents=True)
    whole = {"format": "xsoil learned parameters", "version": 1, "description": {"learned": INVERSION | entries}}
    (folder / "description.json").write_text(json.dumps(whole))
    return folder


def old_zarr(store, **entries):
    """Format 2, which may name pickle as a codec."""
    (store / "k_sat").mkdir(parents=True)
    (store / ".zgroup").write_text('{"zarr_format": 2}')
    array = {
        "zarr_format": 2, "shape": [1], "chunks": [1], "dtype": "|O", "fill_value": None, "order": "C",
        "compressor": None, "filters": [{"id": "vlen-utf8"}, {"id": "pickle", "protocol": 5}],
    }  # fmt: skip
    (store / "k_sat" / ".zarray").write_text(json.dumps(array | entries))
    (store / "k_sat" / ".zattrs").write_text('{"_ARRAY_DIMENSIONS": ["x"]}')
    (store / "k_sat" / "0").write_bytes(EVIL)
    return store


def new_zarr(store, shape, chunk, name="k_sat", codecs=({"name": "bytes", "configuration": {"endian": "little"}},)):
    (store / name).mkdir(parents=True)
    (store / "zarr.json").write_text('{"zarr_format": 3, "node_type": "group", "attributes": {}}')
    array = {
        "zarr_format": 3, "node_type": "array", "shape": shape, "data_type": "float32", "fill_value": 0.0,
        "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": chunk}}, "codecs": list(codecs),
        "chunk_key_encoding": {"name": "default", "configuration": {"separator": "/"}}, "attributes": {},
        "dimension_names": [*"xyz"][: len(shape)],
    }  # fmt: skip
    (store / name / "zarr.json").write_text(json.dumps(array))
    return store


def with_map(make):
    def made(folder):
        make(inversion(folder) / "params.zarr")
        return folder

    return made


def garbled(store):
    store.mkdir()
    (store / "zarr.json").write_bytes(b"\x00" * 100)


def compressed(store):
    """A chunk that says it is a hundred times as long as it is declared."""
    new_zarr(store, [10], [10], codecs=[{"name": "bytes"}, {"name": "gzip", "configuration": {"level": 1}}])
    chunk = store / "k_sat" / "c"
    chunk.mkdir()
    import gzip

    (chunk / "0").write_bytes(gzip.compress(bytes(4000)))


MAPS = {
    "a map is pickled": (with_map(old_zarr), "as a Zarr store of format 3"),
    "a map's compressor is pickle": (
        with_map(lambda s: old_zarr(s, filters=None, compressor={"id": "pickle"})), "as a Zarr store of format 3"
    ),
    "a map of 10^12 cells": (with_map(lambda s: new_zarr(s, [10**6, 10**6], [100, 100])), "declares arrays of"),
    "a coordinate of 10^12": (with_map(lambda s: new_zarr(s, [10**12], [100], "x")), "declares arrays of"),
    "a map whose size overflows": (with_map(lambda s: new_zarr(s, [2**62, 2**62], [1, 1])), "declares arrays of"),
    "a chunk of 10^12": (with_map(lambda s: new_zarr(s, [10], [10**12])), "declares arrays of"),
    "a chunk longer than declared": (with_map(compressed), "cannot be read"),
    "an unknown codec": (with_map(lambda s: new_zarr(s, [1], [1], codecs=[{"name": "evil"}])), "as a Zarr store"),
    "a map of zeros": (with_map(garbled), "as a Zarr store of format 3"),
    "a map is missing": (lambda f: inversion(f), "lacks params.zarr"),
    "a map's name is a path": (lambda f: inversion(f, maps=["../../outside"]), "'maps' is"),
    "a model's name is a path": (lambda f: inversion(f, model="os.system"), "unknown|os.system"),
}  # fmt: skip


# Weights of a remapping: netCDF.

SOUND = {"row": np.arange(1, 7), "col": np.array([1, 3, 5, 13, 15, 17]), "S": np.ones(6)}


def weights(path, **arrays):
    xr.Dataset({name: ("n_s" if a.ndim == 1 else ("a", "b"), a) for name, a in (SOUND | arrays).items()}).to_netcdf(
        path
    )
    return path


def declared(path, size, coordinate=False):
    """Variables of a size of which the file holds nothing."""
    import netCDF4

    with netCDF4.Dataset(path, "w") as file:
        file.createDimension("n_s", size)
        for name in (*SOUND, *(["n_s"] if coordinate else [])):
            file.createVariable(name, "f8", ("n_s",), chunksizes=(1000,), zlib=True)
    return path


def old_header(path, size):
    """netCDF 3: a header alone that says there are so many weights."""
    xr.Dataset({name: ("n_s", a) for name, a in SOUND.items()}).to_netcdf(path, engine="scipy")
    content = path.read_bytes().replace(struct.pack(">I", 6), struct.pack(">I", size), 1)
    path.write_bytes(content)
    return path


def cut(path, keep=0.6):
    content = weights(path).read_bytes()
    path.write_bytes(content[: int(keep * len(content))])
    return path


def grids(**changes):
    return {"src_grid_dims": np.array([6, 4]), "dst_grid_dims": np.array([3, 2])} | changes


def dims(path, **changes):
    ds = xr.Dataset({n: ("n_s", a) for n, a in SOUND.items()} | {n: ("rank", a) for n, a in grids(**changes).items()})
    ds.to_netcdf(path)
    return path


def bytes_at(path, content):
    path.write_bytes(content)
    return path


def pipe(path):
    os.mkfifo(path)
    return path


def at(value, dtype=np.int64):
    return np.array([value, 2, 3, 4, 5, 6], dtype)


WEIGHTS = {
    "10^12 weights declared": (lambda p: declared(p, 10**12), "declares arrays of"),
    "10^9 weights declared": (lambda p: declared(p, 10**9), "declares arrays of"),
    "an index of 10^10 declared": (lambda p: declared(p, 10**10, coordinate=True), "declares arrays of"),
    "a header that says 2^31 - 1 weights": (lambda p: old_header(p, 2**31 - 1), "cannot be read|declares|damaged"),
    "a header that says 2^20 weights": (lambda p: old_header(p, 2**20), "cannot be read|damaged|names its cell|finite"),
    "index 0": (lambda p: weights(p, row=at(0)), "start at 0"),
    "index -2^62": (lambda p: weights(p, col=at(-(2**62))), "start at"),
    "index beyond the grid": (lambda p: weights(p, row=at(7)), "names its cell 7"),
    "index 2^62": (lambda p: weights(p, col=at(2**62)), "names its cell"),
    "index is no number": (lambda p: weights(p, row=at(np.nan, float)), "expected whole numbers"),
    "index is infinite": (lambda p: weights(p, row=at(np.inf, float)), "names its cell|whole numbers"),
    "index is a text": (lambda p: weights(p, row=np.array([*"abcdef"])), "whole numbers"),
    "weights are texts": (lambda p: weights(p, S=np.array([*"abcdef"])), "numbers"),
    "weights are no numbers": (lambda p: weights(p, S=at(np.nan, float)), "not finite"),
    "weights have two dims": (lambda p: weights(p, S=np.ones((6, 3))), "gradients"),
    "weights of two lengths": (
        lambda p: xr.Dataset({"row": ("r", np.arange(1, 3)), "col": ("n_s", SOUND["col"]), "S": ("n_s", SOUND["S"])})
        .to_netcdf(p) or p, "do not agree"
    ),
    "a grid of 2^62 cells": (lambda p: dims(p, dst_grid_dims=np.array([2**31, 2**31])), "another target"),
    "a grid of negative size": (lambda p: dims(p, src_grid_dims=np.array([-6, -4])), "another source"),
    "a grid of no numbers": (lambda p: dims(p, src_grid_dims=np.array([np.nan, 4])), "expected integers"),
    "a weight file is a pickle": (lambda p: bytes_at(p, EVIL), "cannot be read as netCDF"),
    "a weight file is empty": (lambda p: bytes_at(p, b""), "cannot be read as netCDF"),
    "a weight file is cut short": (cut, "cannot be read|damaged"),
    "a weight file is a pipe": (pipe, "no weight file"),
    "a weight file is a folder": (lambda p: p.mkdir() or p, "no weight file"),
}  # fmt: skip


# Splits: JSON.


def split(path, **entries):
    """With the checksum that fits."""
    content = {
        "format": "xsoil split", "version": 1, "dims": ["x"], "shape": [8],
        "coordinates": {"x": {"dtype": "<i8", "values": [*range(8)]}},
        "train": b64encode(zlib.compress(b"\x0f")).decode(), "test": b64encode(zlib.compress(b"\xf0")).decode(),
    } | entries  # fmt: skip
    content["sha256"] = hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
    path.write_text(json.dumps(content))
    return path


BOMB = b64encode(zlib.compress(bytes(10**8), 9)).decode()

SPLITS = {
    "a split 10^5 deep": (lambda p: bytes_at(p, b"[" * 10**5), "cannot be read as a split"),
    "a split is a pickle": (lambda p: bytes_at(p, EVIL), "cannot be read as a split"),
    "a split is a pipe": (pipe, "cannot be read as a split"),
    "a mask unpacks to 10^8 bytes": (lambda p: split(p, train=BOMB), "damaged"),
    "a mask of 2^80 cells": (lambda p: split(p, shape=[2**40, 2**40]), "damaged"),
    "a mask of negative size": (lambda p: split(p, shape=[-8]), "damaged"),
    "labels of 10^9 bytes each": (
        lambda p: split(p, coordinates={"x": {"dtype": "V1000000000", "values": [*range(8)]}}), "damaged"
    ),
    "labels are objects": (
        lambda p: split(p, coordinates={"x": {"dtype": "O", "values": [*range(8)]}}), "damaged"
    ),
}  # fmt: skip


def load_weights(path):
    field = xr.Dataset(
        {"sand": (("latitude", "longitude"), np.ones((4, 6)), {"units": "percent"})},
        {"latitude": 39.5 - np.arange(4.0), "longitude": -99.5 + np.arange(6.0)},
    )
    return xsoil.apply_weights(field, path, TARGET)


def read_pickled(path):
    from xsoil.data.files import open_file

    return open_file(str(path))


READ = {
    "soil maps are pickled": (lambda p: old_zarr(p.with_suffix(".zarr")), "are pickles"),
}


def read_checkpoint(path):
    from xsoil.networks import checkpoints

    return checkpoints.read(path)


KINDS = (
    (MODELS, xsoil.load_model, ""),
    (MAPS, xsoil.load_model, ""),
    (WEIGHTS, load_weights, ".nc"),
    (SPLITS, Split.load, ".json"),
    (READ, read_pickled, ""),
    (CHECKPOINTS, read_checkpoint, ".ckpt"),
)
CASES = {name: (make, load, suffix, says) for rows, load, suffix in KINDS for name, (make, says) in rows.items()}


def opened(load, path):
    """Class of the error, its message, whether it is one of xsoil's, seconds."""
    begin = time.perf_counter()
    try:
        load(path)
        found = ("nothing", "", False)
    except (Exception, MemoryError) as error:
        found = (type(error).__name__, str(error)[:500], isinstance(error, SoilError))
    return *found, time.perf_counter() - begin


def limited():
    """No more memory than now, and ROOM."""
    now = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (now + ROOM, now + ROOM))


def main(folder):
    os.chdir(folder)
    paths = {name: make(folder / f"{n}{CASES[name][2]}") for n, (name, (make, *_)) in enumerate(CASES.items())}
    # What is sound opens, and loads all that opening needs.
    xsoil.load_model(model(folder / "sound"))
    xsoil.load_model(forest(folder / "forest"))
    load_weights(weights(folder / "sound.nc"))
    Split.load(split(folder / "sound.json"))
    read_checkpoint(checkpoint(folder / "sound.ckpt"))
    opened(xsoil.load_model, paths["a map is missing"])
    limited()
    found = {name: opened(CASES[name][1], path) for name, path in paths.items()}
    print(json.dumps({"found": found, "pwned": (folder / "pwned").exists()}))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
