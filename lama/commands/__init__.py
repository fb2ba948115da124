"""The verbs of ``lama VERB`` and ``python bin/SCRIPT.py``: each module parses, calls and sets the exit code.

``main`` chooses the verb; ``run_verb`` runs one and turns a user's mistake into one line. Torch is imported by the verb
that needs it, after its arguments are checked.
"""

import importlib
import logging
import os
import sys

from lama.verbs import VERBS

__all__: list[str] = []  # no YAML names a command


def main() -> None:
    """The console command ``lama``."""
    import lama

    verb, *arguments = sys.argv[1:] or ["--help"]
    if verb in ("-h", "--help"):
        print("usage: lama VERB [ARGUMENTS]; lama VERB --help explains one\n")
        print("\n".join(f"  {name:17} {one.summary}" for name, one in VERBS.items()))
    elif verb == "--version":
        print(f"lama {lama.__version__}")
    elif verb in VERBS:
        run_verb(verb, arguments)
    else:
        from lama.config.wording import nearest

        _fail(f"{verb}: unknown verb{nearest(verb, VERBS)}; known: {', '.join(VERBS)}")


def run_verb(verb: str, arguments: list[str] | None = None) -> None:
    """Run one verb on ``arguments``, by default ``sys.argv[1:]``.

    A user's mistake prints one line and exits with 2; any other error is a traceback, and so is every error if the
    environment has HYDRA_FULL_ERROR=1.
    """
    # OpenMP reads this when torch is imported. By default its threads spin while they wait for each other: two programs
    # on the same cores then slow each other down ten times and more.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    logging.basicConfig(format="%(message)s", level=logging.INFO)
    logging.getLogger("torch").setLevel(logging.WARNING)  # as torch does, but at the end of its import
    full = os.environ.get("HYDRA_FULL_ERROR") == "1"
    try:
        from tqdm.contrib.logging import logging_redirect_tqdm

        module = importlib.import_module(f"lama.commands.{verb.replace('-', '_')}")
        with logging_redirect_tqdm():  # log lines stand above a progress bar, not in it
            module.main(sys.argv[1:] if arguments is None else arguments)
        sys.stdout.flush()
    except KeyboardInterrupt:
        if full:
            raise
        print("\ninterrupted", file=sys.stderr)
        sys.exit(130)
    except BrokenPipeError:  # ``lama train --help | head`` has read enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # or Python complains at exit
        sys.exit(1)
    except Exception as error:
        if isinstance(error, ModuleNotFoundError) and not full and _torch_is_missing():
            advice = (
                "commands need pip install '.' in the clone; without torch, in Python: from lama.onnx import Inpainter"
            )
            _fail(f"{error.name} is not installed: {advice}")
        from lama.config import is_user_error, one_line, printable
        from lama.files import DISK_ERRORS

        unwritable = isinstance(error, OSError) and error.errno in DISK_ERRORS
        if full or not (unwritable or is_user_error(error)):
            raise
        _fail(printable(one_line(error)), getattr(error, "exit_code", 2))


def _torch_is_missing() -> bool:
    try:
        import torch  # noqa: F401
    except ImportError:
        return True
    return False


def _fail(message: str, code: int = 2) -> None:
    print(f"error: {message}", file=sys.stderr)
    sys.exit(code)
