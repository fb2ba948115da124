"""Make tables from evaluations: tables 1 to 4 of the paper with our numbers, or one of your own rows and sets.

    lama tables runs=RUNS out=OUT          # RUNS/lama-fourier/random_thick_512/metrics.json, ...
    lama tables runs=RUNS out=OUT metrics=[psnr_hole,lpips_squeeze] size=256
    lama tables layout=own rows=[OUT_A,OUT_B] "names=[Base,'Ours (gradient)']" baseline=Base out=OUT
    lama tables layout=own runs=RUNS rows=[base,thin] sets=[faces,streets] metrics=[psnr_hole,fid] baseline=base out=OUT

RUNS/NAME/SET is the outdir= of a lama evaluate; with several seeds RUNS/NAME/seed0/SET. For the paper's tables NAME is
as in configs/training and SET as in configs/data_gen: docs/evaluation.md lists the evaluation of each cell.
"""

import sys
from typing import Any

from omegaconf import OmegaConf

from lama.config import read

ONLY_OWN = ("rows", "names", "sets", "baseline", "title")


def main(arguments: list[str]) -> None:
    plain = OmegaConf.to_container(read(arguments, str(__doc__), "tables"), throw_on_missing=True)
    assert isinstance(plain, dict)
    layout = plain.pop("layout")
    del plain["plugins"]  # imported by ``read``
    if layout not in ("paper", "own"):
        raise ValueError(f"layout={layout}: expected paper or own")
    odd = [key for key in (("size",) if layout == "own" else ONLY_OWN) if plain[key] is not None]
    if odd:
        raise ValueError(f"{odd[0]}={plain[odd[0]]}: only of layout={'paper' if layout == 'own' else 'own'}")
    (_own if layout == "own" else _paper)(plain)
    print(f"written to {plain['out']}: tables.html, .md, .tex, .json, .csv; .png where rows compare")


def _own(plain: dict[Any, Any]) -> None:
    from lama.paper.tables import make_own_table

    if plain["title"] is None:
        del plain["title"]
    _, warnings = make_own_table(**{key: value for key, value in plain.items() if key != "size"})
    for warning in warnings:
        print(f"warning: {warning}", file=sys.stderr)


def _paper(plain: dict[Any, Any]) -> None:
    from lama.paper.tables import make_tables

    if plain["runs"] is None:
        raise ValueError("runs: a value is required; set runs=FOLDER, or layout=own and rows=[OUT_A,OUT_B]")
    tables, unplaced = make_tables(str(plain["runs"]), str(plain["out"]), plain["metrics"], plain["size"])
    for table in tables:
        cells = [cell for row in (*table.rows, *table.others) for cell in row.cells if cell.ours is not None]
        measured = sum(cell.ours.mean is not None for cell in cells if cell.ours)
        print(f"table {table.layout.number}: {measured} numbers of ours, {len(cells) - measured} n/a")
    for name in unplaced:
        print(f"fits no cell: {name}")
