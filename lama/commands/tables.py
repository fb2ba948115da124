"""Rebuild tables 1 to 4 of the paper from evaluations, with the published numbers next to ours.

    lama tables runs=RUNS out=OUT          # RUNS/lama-fourier/random_thick_512/metrics.json, ...
    lama tables runs=RUNS out=OUT metrics=[psnr_hole,lpips_squeeze] size=256

RUNS/NAME/SET is the outdir= of a lama evaluate: NAME as in configs/training, SET as in configs/data_gen; with several
seeds RUNS/NAME/seed0/SET. docs/evaluation.md lists the evaluation of each cell.
"""

from omegaconf import OmegaConf

from lama.config import read


def main(arguments: list[str]) -> None:
    plain = OmegaConf.to_container(read(arguments, str(__doc__), "tables"), throw_on_missing=True)
    assert isinstance(plain, dict)
    from lama.paper.tables import make_tables

    tables, unplaced = make_tables(str(plain["runs"]), str(plain["out"]), plain["metrics"], plain["size"])
    for table in tables:
        cells = [cell for row in (*table.rows, *table.others) for cell in row.cells if cell.ours is not None]
        measured = sum(cell.ours.mean is not None for cell in cells if cell.ours)
        print(f"table {table.paper.number}: {measured} numbers of ours, {len(cells) - measured} n/a")
    for name in unplaced:
        print(f"fits no cell: {name}")
    print(f"written to {plain['out']}: tables.html, .md, .tex, .json; .png where rows compare")
