"""Print where a number comes from: the evaluation, its weights, their training, its data.

lama trace OUT/metrics.json        # or a run folder, or a file of weights in one
"""

from lama.config import printable
from lama.verbs import parser


def main(arguments: list[str]) -> None:
    expected = parser("trace", str(__doc__))
    expected.add_argument("place", help="metrics.json of an evaluation or its folder, a run, or weights in a run")
    options = expected.parse_args(arguments)
    from lama.runs.trace import trace

    for line in trace(options.place):
        print(printable(line))
