"""Serve the page of a study."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from lama.files import check_writable
from lama.machine.lock import only_one
from lama.serving.address import needs_server, reserve, run
from lama.study.folder import VOTES, describe, enter
from lama.verbs import setting, typed


def serve_study(
    indir: str,  # an evaluation set
    methods: Mapping[str, str],  # {name: folder of predictions, named after the masks}
    out: str,  # the folder of the study
    question: str,  # that the page asks
    pairs: int | None = None,  # the most comparisons of a rater; None: all
    seed: int = 0,  # of the order and the sides
    host: str = "127.0.0.1",
    port: int = 7860,  # 0: any free port
    token: str | int | None = None,  # None: generated if other machines have access, else none
    hosts: Sequence[str] = (),  # further names of this server, behind a proxy
    say: Callable[[str], None] = print,
) -> None:
    """Serve until Ctrl-C; a second start goes on with the votes in ``out``.

    Raises FileNotFoundError or ValueError for images, methods or an address that cannot be used, for another study in
    ``out``, and if the extra ``demo`` is missing.
    """
    try:
        import uvicorn  # noqa: F401

        from lama.study.app import create_app
        from lama.study.session import Session
    except ModuleNotFoundError as error:
        raise needs_server(error, typed("study")) from None
    from lama.study.votes import VoteFile

    folder = Path(out).expanduser()
    check_writable(folder, "out")
    study, pictures = describe(indir, methods, question, seed)
    address = reserve(host, port, token, hosts, "see the pictures and vote")
    folder.mkdir(parents=True, exist_ok=True)
    with only_one(folder, "out", "study"):
        study = enter(folder, study)
        session = Session(study, VoteFile(folder / VOTES, study.images, study.methods), pairs)
        if address.warning:
            say(address.warning)
        say(f"{session.votes} votes so far in {folder / VOTES}")
        say(f"open {address.url} in a browser; Ctrl-C stops, and the same command goes on")

        def stopping() -> None:
            say(f"{session.votes} votes. The report: {typed('study')} {setting('out', out)} report=true")

        run(create_app(session, pictures, address.token, address.hosts), address, stopping)
