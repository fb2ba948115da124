"""Rebuild Tables 1 to 4 of the paper from evaluations, the published numbers beside ours.

    python bin/make_tables.py runs=RUNS out=OUT          # RUNS/lama-fourier/random_thick_512/metrics.json, ...
    python bin/make_tables.py runs=RUNS out=OUT metrics=[psnr_hole,lpips_squeeze] size=256

RUNS/NAME/SET is the outdir= of a bin/evaluate.py: NAME as in configs/training, SET as in configs/data_gen; with several
seeds RUNS/NAME/seed0/SET. docs/evaluation.md says which cell is whose.
"""

from omegaconf import DictConfig, OmegaConf

from lama.config import run
from lama.paper.tables import make_tables


def main(config: DictConfig) -> None:
    plain = OmegaConf.to_container(config, throw_on_missing=True)
    assert isinstance(plain, dict)
    tables, unplaced = make_tables(str(plain["runs"]), str(plain["out"]), plain["metrics"], plain["size"])
    for table in tables:
        cells = [cell for row in (*table.rows, *table.others) for cell in row.cells if cell.ours is not None]
        measured = sum(cell.ours.mean is not None for cell in cells if cell.ours)
        print(f"table {table.paper.number}: {measured} numbers of ours, {len(cells) - measured} n/a")
    for name in unplaced:
        print(f"fits no cell: {name}")
    print(f"written to {plain['out']}: tables.html, .md, .tex, .json; .png where rows compare")


if __name__ == "__main__":
    run(main, "tables", "default")
