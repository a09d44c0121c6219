"""The command `xsoil`: the demo, the table of pedotransfer functions, a look at a file, and `upscale` for pipelines.

Only click is imported here; a command imports what it needs when it runs.
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import click

import xsoil
from xsoil.errors import SoilError

if TYPE_CHECKING:
    import xarray as xr

ENDINGS = {
    ".zarr": "Zarr store",
    ".tif": "cloud-optimised GeoTIFF",
    ".tiff": "cloud-optimised GeoTIFF",
    ".nc": "netCDF",
}


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(xsoil.__version__, prog_name="xsoil")
def main() -> None:
    """Soil maps to soil moisture at continental scale.

    The whole of xsoil is a Python library; these commands are its demo, a look at a file, and the change of grid for
    pipelines. They end with 0, with 1 where something is wrong with the data, with 2 where the call is.
    """


@main.command()
@click.option("--out", type=click.Path(path_type=Path), default=Path("demo-output"), show_default=True)
@click.option("--cells-per-degree", type=click.IntRange(1), default=60, show_default=True, help="Of the soil map.")
@click.option("--grid", default="EASE2_M09km", show_default=True, help="Of parameters and soil moisture.")
@click.option("--seed", type=int, default=0, show_default=True, help="Of the continent and its weather.")
def demo(out: Path, cells_per_degree: int, grid: str, seed: int) -> None:
    """Soil map to soil moisture on a synthetic continent, in a minute."""
    with errors_as_messages():
        from xsoil.demo import run

        run(out, cells_per_degree=cells_per_degree, grid=grid, seed=seed, say=click.echo)


@main.command("list-ptfs")
@click.option("--csv", "as_csv", is_flag=True, help="The whole table (units, validity, options) as CSV.")
def list_ptfs(as_csv: bool) -> None:
    """List the pedotransfer functions: inputs, outputs, source."""
    table = xsoil.list_ptfs()
    if as_csv:
        click.echo(table.to_csv(), nl=False)
        return
    width = max(map(len, table.index))
    for name, row in table.iterrows():
        optional = f" [{row['optional']}]" if row["optional"] else ""
        click.echo(f"{name:<{width}}  {row['inputs']}{optional} -> {row['outputs']}")
        source = f", doi:{row['doi']}" if row["doi"] else ""
        click.echo(f"{'':<{width}}  {row['title']}{source}")


@main.command()
@click.argument("file")
def info(file: str) -> None:
    """Show what FILE holds and what xsoil can do with it.

    FILE is a GeoTIFF, netCDF, HDF5 or Zarr store, or a file of a product (SMAP, SoilGrids, SOLUS100, CHIRPS, MODIS,
    USCRN) under its own name, or a quoted pattern of such files. Shown are the grid and its CRS, each variable with its
    units and chunks, the pedotransfer functions and verbs whose inputs are complete, and for what is missing the
    line that mends it. No data are read.
    """
    with errors_as_messages():
        from xsoil.data.files import open_file
        from xsoil.file_info import describe

        click.echo(describe(open_file(file), file))


@main.command()
@click.argument("source", metavar="IN")
@click.argument("out", metavar="OUT", type=click.Path(path_type=Path))
@click.option("--to", required=True, help="Grid: an EASE-Grid 2.0 name (EASE2_M09km), or a file on the grid.")
@click.option(
    "--how", default="mean", show_default=True,
    help="Operator of all variables (mean, median, mode, geometric, default ...), or k_sat=geometric,sand=mean.",
)  # fmt: skip
@click.option("--variable", "variables", multiple=True, help="Only this one; may be given several times.")
@click.option("--region", help="Part of a named grid: conus, or WEST,SOUTH,EAST,NORTH in degrees.")
@click.option("--min-valid", type=click.FloatRange(0, 1), help="Least valid share of a cell.  [default: 0.5, sum 0]")
@click.option("--q", type=click.FloatRange(0, 1), help="For --how quantile.")
@click.option("--p", type=float, help="For --how power.")
@click.option("--overwrite", is_flag=True, help="Replace OUT.")
@click.option("--progress/--no-progress", default=None, help="A bar on stderr.  [default: where that is a terminal]")
def upscale(
    source: str,
    out: Path,
    to: str,
    how: str,
    variables: tuple[str, ...],
    region: str | None,
    min_valid: float | None,
    q: float | None,
    p: float | None,
    overwrite: bool,
    progress: bool | None,
) -> None:
    """Bring the maps of IN to another grid by exact overlap areas, into OUT.

    IN is any file that `xsoil info` opens. The ending of OUT says what is written: .zarr, .tif (cloud-optimised GeoTIFF
    of one variable) or .nc. Work goes block by block, so that rasters larger than memory will do.

    \b
    xsoil upscale k_sat.tif k_sat_9km.zarr --to EASE2_M09km --how geometric
    xsoil upscale soil.nc soil_36km.nc --to EASE2_M36km --region conus --how k_sat=geometric,sand=mean
    """
    if out.suffix.lower() not in ENDINGS:
        raise click.BadParameter(f"{out.name!r} ends in none of {', '.join(ENDINGS)}", param_hint="OUT")
    operators, box = _operators(how), _region(region)
    with errors_as_messages():
        _refuse(out, overwrite)
        from xsoil.data.files import open_file
        from xsoil.outputs.progress import progress_bar

        ds = open_file(source).ds
        if variables:
            ds = _chosen(ds, variables)
        target = open_file(to).ds if Path(to).exists() else to
        result = xsoil.upscale(ds, target, operators, region=box, min_valid=min_valid, q=q, p=p)
        with progress_bar(sys.stderr, shown=sys.stderr.isatty() if progress is None else progress):
            _write(result, out, overwrite)
        rows, columns = xsoil.grid_of(result).shape
        click.echo(f"{out}: {', '.join(map(str, result.data_vars))} on {rows} x {columns} cells", err=True)


def _operators(text: str) -> Any:
    """One operator, or a dict from `name=operator,...`."""
    if "=" not in text:
        return text
    found: dict[str, str] = {}
    for part in text.split(","):
        name, equals, operator = (piece.strip() for piece in part.partition("="))
        if not (name and equals and operator) or name in found:
            raise click.BadParameter(f"{part!r} in {text!r}; expected k_sat=geometric,sand=mean", param_hint="--how")
        found[name] = operator
    return found


def _region(text: str | None) -> Any:
    if text is None or "," not in text:
        return text
    try:
        west, south, east, north = (float(part) for part in text.split(","))
    except ValueError:
        raise click.BadParameter(
            f"{text!r}; expected a name such as conus, or WEST,SOUTH,EAST,NORTH such as -105,30,-95,40",
            param_hint="--region",
        ) from None
    return west, south, east, north


def _refuse(out: Path, overwrite: bool) -> None:
    if out.exists() and not overwrite:
        _fail(f"{out} exists already; --overwrite replaces it")


def _chosen(ds: xr.Dataset, names: tuple[str, ...]) -> xr.Dataset:
    scalars = [name for name, array in ds.data_vars.items() if not array.ndim]  # the grid mapping may be one
    for name in names:
        if name not in ds.data_vars:
            there = ", ".join(str(other) for other in ds.data_vars if other not in scalars)
            _fail(f"no variable {name!r} in the file, which has {there}")
    return ds[[*names, *(name for name in scalars if name not in names)]]


def _write(result: xr.Dataset, out: Path, overwrite: bool) -> None:
    suffix = out.suffix.lower()
    if suffix == ".zarr":
        result.soil.to_zarr(out, overwrite=overwrite, progress=False)
    elif suffix == ".nc":
        from xsoil.outputs.netcdf import to_netcdf

        to_netcdf(result, out, overwrite=overwrite, progress=False)
    else:
        from xsoil.grids.geobox import has_grid

        maps = [str(name) for name, array in result.data_vars.items() if has_grid(array)]
        if len(maps) > 1:
            _fail(f"{out.name} holds one variable; choose it with --variable (there are {', '.join(maps)})")
        result.soil.to_cog(out, overwrite=overwrite, progress=False)


@contextmanager
def errors_as_messages() -> Iterator[None]:
    """Faults of data and files as a line on stderr and the exit code 1; warnings of xsoil as notes on stderr."""

    def note(message: Warning | str, category: type[Warning], *_: Any, **__: Any) -> None:
        if issubclass(category, UserWarning):
            click.echo(f"note: {message}", err=True)

    with warnings.catch_warnings():
        warnings.showwarning = note
        try:
            yield
        except BrokenPipeError:  # of `xsoil info file | head`: click knows what to do
            raise
        except (SoilError, ImportError, OSError) as error:
            _fail(str(error))


def _fail(message: str) -> NoReturn:
    click.echo(f"error: {message}", err=True)
    raise SystemExit(1)
