"""Start a package of your own: a loss, a mask, a metric and a generator, with their YAMLs and tests.

lama new my_project                # docs/plugins.md
"""

import shlex
from pathlib import Path

from lama.verbs import parser, typed


def main(arguments: list[str]) -> None:
    expected = parser("new", str(__doc__))
    expected.add_argument("folder", help="a new folder; the package gets its name")
    options = expected.parse_args(arguments)
    from lama.project import new_project

    written = new_project(options.folder)
    folder = Path(options.folder)
    print("\n".join(str(path) for path in written))
    print(f"next:\n  cd {shlex.quote(str(folder))}\n  python -m pytest -q tests")
    print(f"  {typed('train')} -cn {folder.name} --config-dir configs")
