"""xsoil: soil maps to soil moisture at continental scale, as the xarray accessor `ds.soil`."""

__version__ = "0.1.0"
