"""Run the tests that compare a number with its reference, and write the errors seen into docs/precision.md.

python tests/precision.py            # make precision: the slow tests too, some minutes
python tests/precision.py -m "not slow"
"""

import json
import os
import platform
import re
import subprocess
import sys
import tempfile
from pathlib import Path

from budget import GROUPS, NOTES, OF_1, Budget

HERE = Path(__file__).resolve().parent
DOCS = HERE.parent / "docs/precision.md"
HEAD = "| number | allowed | seen | compared with | test |\n|---|---|---|---|---|"


def row(key: str, budget: Budget) -> str:
    """The beginning of the line of a number in the table."""
    unit = "" if budget.of == OF_1 else " x"
    return f"| {key} | {budget.most:.2g}{unit} |"


def tables(seen: dict[str, tuple[float, str]]) -> str:
    parts = []
    for title, group in GROUPS.items():
        lines = [f"## {title}", "", HEAD]
        for key, budget in group.items():
            error, test = seen.get(key, (None, ""))
            shown = "not run" if error is None else f"{error:.2g}"
            lines.append(f"{row(key, budget)} {shown} | {budget.reference} | {f'`{test}`' if test else ''} |")
        parts.append("\n".join(lines))
    return "\n\n".join(parts) + "\n"


def measured(arguments: list[str]) -> tuple[int, dict[str, tuple[float, str]]]:
    """pytest's exit code, and for each number the largest error with the test that saw it."""
    files = sorted(str(file) for file in HERE.glob("test_*.py") if "within(" in file.read_text(encoding="utf-8"))
    seen: dict[str, tuple[float, str]] = {}
    with tempfile.TemporaryDirectory() as folder:
        notes = Path(folder) / "notes"
        notes.touch()
        command = [sys.executable, "-m", "pytest", "-q", "-n", "2", *(arguments or ["-m", "slow or not slow"]), *files]
        code = subprocess.run(command, cwd=HERE.parent, env=os.environ | {NOTES: str(notes)}).returncode
        for line in notes.read_text(encoding="utf-8").splitlines():
            note = json.loads(line)
            test = re.sub(r"\[.*", "", note["test"]).removeprefix("tests/")
            if note["key"] not in seen or not note["error"] <= seen[note["key"]][0]:
                seen[note["key"]] = note["error"], test
    return code, seen


def main() -> None:
    code, seen = measured(sys.argv[1:])
    import torch

    text = DOCS.read_text(encoding="utf-8")
    start = text.index(f"## {next(iter(GROUPS))}")
    machine = (
        f"Python {platform.python_version()}, PyTorch {torch.__version__}, {torch.backends.cpu.get_cpu_capability()}"
    )
    intro = re.sub(r"Last run: .*", f"Last run: {machine}.", text[:start])
    DOCS.write_text(intro + tables(seen), encoding="utf-8")
    print(f"{len(seen)} of {sum(map(len, GROUPS.values()))} numbers measured; {DOCS}")
    sys.exit(code)


if __name__ == "__main__":
    main()
