"""Manage a sweep that lama train -m sweep=NAME has started.

lama sweep status DIR                # the state of every training, or of every shard of the results in DIR
lama sweep resubmit DIR              # start failed, lost and waiting trainings; leave the others alone
lama sweep collect DIR [SETS]        # evaluate finished trainings on the frozen sets, make the paper's tables
lama sweep toy DIR                   # make the images, masks and random encoders that make sweep-toy needs
"""

from dataclasses import replace

from lama.verbs import spelled, typed

ACTIONS = ("status", "resubmit", "collect", "toy")


def main(arguments: list[str]) -> None:
    if not arguments or {"--help", "-h"} & set(arguments):
        print(spelled(str(__doc__)))
        return
    action, folder, *rest = [*arguments, ""]
    rest = rest[:-1]
    if action not in ACTIONS or not folder or (rest and (action != "collect" or len(rest) > 1)):
        raise ValueError(f"expected {typed('sweep')} {'|'.join(ACTIONS)} DIR, got {' '.join(arguments)}")
    if action == "toy":
        from lama.sweeps.toy import make_material

        print(make_material(folder))
        return
    from lama.config import use_plugins
    from lama.sweeps.folder import holds_shards, shards_status
    from lama.sweeps.plan import load, save
    from lama.sweeps.state import FAILED, UNFINISHED, say_next, states, table

    if holds_shards(folder):
        if action == "status":
            print(shards_status(folder))
            return
        raise ValueError(f"{folder}: holds results in shards; their command again starts those that are not finished")
    sweep = load(folder)
    use_plugins(sweep.plugins)
    if action == "status":
        print(table(found := states(sweep, sweep.trainings())))
        say_next(sweep, found)
        return
    from lama.machine.lock import only_one
    from lama.sweeps.collect import collect
    from lama.sweeps.start import train_those

    with only_one(sweep.folder, "dir", "command"):
        if action == "resubmit":
            train_those(sweep, (FAILED, *UNFINISHED))
            return
        if rest:
            sweep = replace(sweep, evaluation=sweep.evaluation | {"sets": rest[0]})
            sweep.sets()  # raises if there are none, before the sweep is saved
            save(sweep)
        collect(sweep)
