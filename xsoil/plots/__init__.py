"""Pictures of results. matplotlib (the extra `plot`) is imported when one is drawn."""

from xsoil.plots.explore import explore
from xsoil.plots.hydraulic_curves import hydraulic_curves
from xsoil.plots.metric_boxplots import metric_boxplots
from xsoil.plots.moisture_map import moisture_animation, moisture_map
from xsoil.plots.parameter_map import parameter_map
from xsoil.plots.scaling_matrix import scaling_matrix
from xsoil.plots.scatter_density import scatter_density
from xsoil.plots.site_series import site_series
from xsoil.plots.texture_triangle import texture_triangle
from xsoil.plots.training_curves import training_curves

__all__ = [
    "explore",
    "hydraulic_curves",
    "metric_boxplots",
    "moisture_animation",
    "moisture_map",
    "parameter_map",
    "scaling_matrix",
    "scatter_density",
    "site_series",
    "texture_triangle",
    "training_curves",
]
