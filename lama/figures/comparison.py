"""Results side by side: the masked image, one column for each method, the truth, and a patch of each enlarged."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
from matplotlib.patches import Rectangle

from lama.figures.choosing import check_names, most_different
from lama.figures.labels import labels_of
from lama.figures.patches import Box, box_of
from lama.figures.sources import read_all, results
from lama.figures.style import STYLE, check, save
from lama.interfaces import ImageArray
from lama.pages import with_hole

GAP, TITLE = 0.03, 0.2  # inches between images; above the first row
FRAME = "#00C853"  # rare in photographs


@dataclass
class Shown:
    """One row: the images from left to right, all of one size, and the part that is enlarged below them."""

    images: list[ImageArray]
    box: Box | None


def comparison_figure(
    folders: Sequence[str],  # of ``lama evaluate``
    out: str | Path,
    names: Sequence[str] | None = None,  # of the methods; None: of their folders
    images: Sequence[str] | None = None,  # None: those where the first two methods differ most
    rows: int = 3,  # the number of such images
    metric: str | None = None,  # by which they differ; None: the most telling one that all have
    zoom: Any = "auto",  # "auto", None, or [x, y, width] in pixels
    width: float = 6.9,  # inches
    device: str = "auto",
    say: Callable[[str], None] = print,
) -> None:
    """Write the figure as PDF, SVG or PNG; its labels stay text.

    Predictions are read from the folder that was evaluated, or computed again by the model. The image is the truth of
    an evaluation set and stands in the last column only. Raises ValueError or FileNotFoundError for evaluations of
    different sets, an unknown image or metric, a patch outside an image.
    """
    path = check(out, width)
    evaluations = read_all(folders)
    labels = labels_of(folders, names)
    chosen = check_names(evaluations, images)
    if chosen is None:
        chosen = most_different(evaluations, labels, metric, rows, say)
    shown = []
    for pair, completed in results(evaluations, chosen, device):
        box = box_of(zoom, completed, pair.mask, pair.name)
        shown.append(Shown([with_hole(pair.image, pair.mask), *completed, pair.truth], box))
    _draw(shown, ["Masked", *labels, "Truth"], width, path)


def _draw(shown: Sequence[Shown], titles: Sequence[str], width: float, out: Path) -> None:
    cell = (width - GAP * (len(titles) - 1)) / len(titles)
    heights = [cell * row.images[0].shape[0] / row.images[0].shape[1] for row in shown]
    strips = [0.0 if row.box is None else cell * row.box.height / row.box.width + GAP for row in shown]
    total = TITLE + sum(heights) + sum(strips) + 2 * GAP * (len(shown) - 1)
    with plt.rc_context({**STYLE, "axes.grid": False}):
        figure = plt.figure(figsize=(width, total))

        def place(image: ImageArray, column: int, top: float, height: float) -> Any:
            left = column * (cell + GAP)
            axis = figure.add_axes((left / width, 1 - (top + height) / total, cell / width, height / total))
            axis.imshow(image, interpolation="none", aspect="auto")
            axis.set(xticks=[], yticks=[])
            axis.spines[:].set_visible(False)
            return axis

        top = TITLE
        for row, height, strip in zip(shown, heights, strips, strict=True):
            for column, image in enumerate(row.images):
                axis = place(image, column, top, height)
                if top == TITLE:
                    axis.set_title(titles[column], pad=3)
                if row.box is not None:
                    corner = (row.box.left - 0.5, row.box.top - 0.5)
                    axis.add_patch(
                        Rectangle(corner, row.box.width, row.box.height, fill=False, color=FRAME, linewidth=1)
                    )
                    below = place(row.box.cut(image), column, top + height + GAP, strip - GAP)
                    below.spines[:].set(visible=True, color=FRAME, linewidth=1)
            top += height + strip + 2 * GAP
        save(figure, out)
