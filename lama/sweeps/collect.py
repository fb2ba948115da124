"""Evaluate finished trainings, and make the paper's tables from the results."""

import logging
import time
from collections.abc import Sequence

from tqdm import tqdm

from lama.paper.tables import NothingFitsError, make_own_table, make_tables
from lama.sweeps.plan import Sweep, Work
from lama.sweeps.start import begin
from lama.sweeps.state import DONE, FAILED, QUEUED, RUNNING, UNFINISHED, states
from lama.verbs import typed

logger = logging.getLogger(__name__)


def collect(sweep: Sweep, seconds: float = 5) -> None:
    """Evaluate every finished training on every set, as jobs, wait for them, and write tables/.

    Finished evaluations are kept. ``seconds`` is the time between two looks at the jobs. Raises ValueError if no
    training has finished or an evaluation has failed.
    """
    trained = states(sweep, sweep.trainings())
    finished = [one.work for one in trained if one.state == DONE]
    if not finished:
        raise ValueError(f"{sweep.dir}: no training has finished yet; {typed('sweep')} status {sweep.dir}")
    if len(finished) < len(trained):
        missing = ", ".join(f"{one.work.title} ({one.state})" for one in trained if one.state != DONE)
        logger.warning("not in the tables: %s", missing)
    works = [Work("evaluate", one.row, one.seed, name) for one in finished for name in sweep.sets()]
    begin(sweep, works, (*UNFINISHED, FAILED))
    _wait(sweep, works, seconds)
    failed = [one for one in states(sweep, works) if one.state != DONE]
    if failed:
        raise ValueError(f"{len(failed)} of {len(works)} evaluations failed, first {failed[0].work.title}: "
                         f"{failed[0].note}; collect again tries them again")  # fmt: skip
    _write_tables(sweep, list(dict.fromkeys(one.row for one in finished)))
    logger.info("tables of %d trainings: %s", len(finished), sweep.folder / "tables" / "tables.html")


def _write_tables(sweep: Sweep, rows: Sequence[str]) -> None:
    """The paper's tables or, for other rows and sets, one table with differences to the first row."""
    runs, out, metrics = sweep.folder / "evaluations", sweep.folder / "tables", sweep.evaluation["metrics"]
    try:
        _, remarks = make_tables(runs, out, metrics, sweep.evaluation["size"])
        what = "in no cell of the tables: %s"
    except NothingFitsError:
        baseline = rows[0] if len(rows) > 1 else None
        _, remarks = make_own_table(out, rows, runs, sweep.sets(), metrics, baseline, sweep.name)
        what = "warning: %s"
    for remark in remarks:
        logger.info(what, remark)


def _wait(sweep: Sweep, works: Sequence[Work], seconds: float) -> None:
    """Wait until no evaluation is queued or running; an interruption here does not stop them."""
    with tqdm(total=len(works), desc="evaluations", unit="job", delay=seconds) as progress:
        while True:
            pending = sum(one.state in (QUEUED, RUNNING) for one in states(sweep, works))
            progress.update(len(works) - pending - progress.n)
            if not pending:
                return
            time.sleep(seconds)
