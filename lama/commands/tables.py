"""Make tables from evaluations: tables 1 to 4 of the paper with our numbers, a protocol's, or one of your own rows.

    lama tables runs=RUNS out=OUT          # RUNS/lama-fourier/random_thick_512/metrics.json, ...
    lama tables runs=RUNS out=OUT metrics=[psnr_hole,lpips_squeeze] size=256
    lama tables layout=own rows=[OUT_A,OUT_B] "names=[Base,'Ours (gradient)']" baseline=Base out=OUT
    lama tables protocol=removalbench rows=[OUT_A,OUT_B] out=OUT      # its published rows, and yours below them

RUNS/NAME/SET is the outdir= of a lama evaluate; with several seeds RUNS/NAME/seed0/SET. For the paper's tables NAME is
as in configs/training and SET as in configs/data_gen: docs/evaluation.md lists the evaluation of each cell.
"""

import sys
from collections.abc import Mapping
from typing import Any

from omegaconf import OmegaConf

from lama.config import load_protocol, read

ONLY_OWN = ("rows", "names", "sets", "baseline", "title")
REFUSED = {"paper": (ONLY_OWN, "only of layout=own"), "own": (("size",), "only of layout=paper"),
           "protocol": (("metrics", "size", "sets", "baseline", "title"), "not beside protocol=")}  # fmt: skip


def main(arguments: list[str]) -> None:
    plain: Any = OmegaConf.to_container(read(arguments, str(__doc__), "tables"), throw_on_missing=True)
    layout = plain["layout"] if plain["protocol"] is None else "protocol"
    if plain["layout"] not in ("paper", "own"):
        raise ValueError(f"layout={layout}: expected paper or own")
    keys, why = REFUSED[layout]
    odd = next((key for key in keys if plain[key] is not None), None)
    if odd:
        raise ValueError(f"{odd}={plain[odd]}: {why}")
    {"paper": _paper, "own": _own, "protocol": _protocol}[layout](plain)
    print(f"written to {plain['out']}: tables.html, .md, .tex, .json, .csv; .png where rows compare")


def _paper(plain: Mapping[str, Any]) -> None:
    from lama.paper.tables import make_tables, summary

    if plain["runs"] is None:
        raise ValueError("runs: a value is required; set runs=FOLDER, or layout=own and rows=[OUT_A,OUT_B]")
    print(summary(*make_tables(str(plain["runs"]), str(plain["out"]), plain["metrics"], plain["size"])))


def _own(plain: Mapping[str, Any]) -> None:
    from lama.paper.tables import make_own_table

    given = {key: plain[key] for key in (*ONLY_OWN, "runs", "metrics", "out") if plain[key] is not None}
    for warning in make_own_table(**{"rows": None, **given})[1]:
        print(f"warning: {warning}", file=sys.stderr)


def _protocol(plain: Mapping[str, Any]) -> None:
    from lama.paper.benchmark_table import make_benchmark_table

    rows = {key: plain[key] for key in ("out", "rows", "runs", "names")}
    print(make_benchmark_table(load_protocol(str(plain["protocol"])), **rows))
