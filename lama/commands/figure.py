"""Draw figures for a paper: results side by side, curves of trainings, metrics against the area of the hole.

lama figure OUT_A OUT_B [OUT_C ...] out=figure.pdf         # folders that lama evaluate has written, on one set
lama figure OUT_A OUT_B "names=[LaMa,Ours]" "images=[a_mask000,b_mask000]" "zoom=[40,60,100]"
lama figure curves RUN_A RUN_B out=curves.pdf "metrics=[psnr_hole]"   # runs, or folders of seed0, seed1, ...
lama figure area OUT_A OUT_B out=area.pdf
"""

from typing import Any

from omegaconf import OmegaConf

from lama.config import read

KINDS = ("curves", "area")


def main(arguments: list[str]) -> None:
    places = [one for one in arguments if "=" not in one and not one.startswith("-")]
    settings: Any = OmegaConf.to_container(read([a for a in arguments if a not in places], str(__doc__), "figure"))
    kind = places.pop(0) if places and places[0] in KINDS else "comparison"
    if not places:
        raise ValueError("expected evaluations or runs: figure OUT_A OUT_B, figure curves RUN, figure area OUT_A OUT_B")
    from lama.figures import area_figure, comparison_figure, curves_figure

    shared = {key: settings[key] for key in ("out", "names", "width")}
    if kind == "comparison":
        own = {key: settings[key] for key in ("images", "rows", "metric", "zoom", "device")}
        comparison_figure(places, **shared, **own)
    else:
        (curves_figure if kind == "curves" else area_figure)(places, **shared, metrics=settings["metrics"])
    print(f"written to {settings['out']}")
