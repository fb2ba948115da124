"""Look after a sweep that python bin/train.py -m sweep=NAME has begun.

python bin/sweep.py status DIR                # what is done, running, failed and why, and what remains
python bin/sweep.py resubmit DIR              # start what has failed, was lost or never began; nothing else
python bin/sweep.py collect DIR [SETS]        # evaluate what has finished on the frozen sets, make the paper's tables
python bin/sweep.py toy DIR                   # what make sweep-toy needs: images, masks, random encoders
"""

import sys
from dataclasses import replace

from lama.config import one_liner


def main(verb: str = "--help", folder: str = "", *rest: str) -> None:
    if verb in ("--help", "-h"):
        print(__doc__)
        return
    from lama.sweeps.collect import collect
    from lama.sweeps.plan import load, save
    from lama.sweeps.start import only_one, say_next, train_those
    from lama.sweeps.state import FAILED, UNFINISHED, states, table
    from lama.sweeps.toy import make_material

    verbs = ("status", "resubmit", "collect", "toy")
    if verb not in verbs or not folder or (rest and (verb != "collect" or len(rest) > 1)):
        raise ValueError(f"expected python bin/sweep.py {'|'.join(verbs)} DIR, got {' '.join((verb, folder, *rest))}")
    if verb == "toy":
        print(make_material(folder))
        return
    sweep = load(folder)
    if verb == "status":
        print(table(found := states(sweep, sweep.trainings())))
        say_next(sweep, found)
        return
    with only_one(sweep.folder, "dir", "command"):
        if verb == "resubmit":
            train_those(sweep, (FAILED, *UNFINISHED))
            return
        if rest:
            sweep = replace(sweep, evaluation=sweep.evaluation | {"sets": rest[0]})
            sweep.sets()  # that they are there, before it is kept
            save(sweep)
        collect(sweep)


if __name__ == "__main__":
    one_liner(lambda: main(*sys.argv[1:]))
