"""Figures for a paper: results side by side, curves over seeds, metrics against the area of the hole."""

from lama.figures.area import area_figure
from lama.figures.comparison import comparison_figure
from lama.figures.curves import curves_figure

__all__ = ["area_figure", "comparison_figure", "curves_figure"]
