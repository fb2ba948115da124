"""Notice a machine that has gone. Without power or network it closes no connection: others would wait for it for long.

Rank 0 keeps a board, a small server, on which every rank counts, every two seconds, and reads the counts of the others.
A rank whose count stands still for a minute has gone; so has rank 0 if its board does not answer for a minute. No
calendar clock is read, and only rounds that this process has made itself are counted: a job that SLURM suspends is not
taken for dead when it continues. A rank that ends because of an error leaves a note on the board.
"""

import atexit
import json
import logging
import socket
import socketserver
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from typing import Any, NamedTuple

logger = logging.getLogger(__name__)

OVER = -1  # in place of the count of a rank that has ended


class Note(NamedTuple):
    """Why the first rank that ended by itself has ended."""

    line: str
    code: int  # of its exit


class Board(socketserver.ThreadingTCPServer):
    """The counts of ``world`` ranks and the first note; a server on a free port of all addresses of this machine."""

    daemon_threads = True

    def __init__(self, world: int) -> None:
        super().__init__(("", 0), _Answers, bind_and_activate=False)
        self.socket.close()
        both = socket.has_dualstack_ipv6()
        family = socket.AF_INET6 if both else socket.AF_INET
        self.socket = socket.create_server(("", 0), family=family, dualstack_ipv6=both, backlog=world)
        self.port: int = self.socket.getsockname()[1]
        self.counts = [0] * world
        self.note: list[Any] | None = None

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A connection that breaks is no error here."""


class _Answers(socketserver.StreamRequestHandler):
    """Each line is [rank, count, note or null]; the answer to it is [counts, note or null]."""

    def handle(self) -> None:
        board: Any = self.server
        for line in self.rfile:
            rank, count, note = json.loads(line)
            board.counts[rank] = count
            board.note = board.note or note
            self.wfile.write(json.dumps([board.counts, board.note]).encode() + b"\n")


class Heartbeat(threading.Thread):
    """Counts for ``rank`` and watches the counts of the others. ``ranks`` names them: "rank 1 on host1 (10.0.0.2)"."""

    EVERY = 2.0  # seconds between two rounds
    PATIENCE = 60.0  # seconds; TCP bridges a break of 20 seconds after 26, and one of 50 seconds after 51
    ANSWER = 5.0  # seconds to wait for the board

    def __init__(self, ranks: Sequence[str], rank: int, address: tuple[str, int], board: Board | None = None) -> None:
        super().__init__(daemon=True)
        self.ranks = ranks
        self.rank = rank
        self.address = address  # of the board
        self.board = board  # of rank 0
        self.ended = threading.Event()
        self.rounds = 0  # that have been completed
        self.noticed = 0  # rounds at the latest call of ``gone``
        self.idle = 0  # calls of ``gone`` in a row without a new round
        self.warned = False  # that the board cannot be reached at all
        self.counts = [0] * len(ranks)
        self.still = [0] * len(ranks)  # rounds without a change of the count
        self.note: Note | None = None
        self.connection: Any = None

    def run(self) -> None:
        if self.board is not None:
            threading.Thread(target=self.board.serve_forever, daemon=True).start()
        while not self.ended.wait(self.EVERY):
            self._round()
        self._ask(OVER)
        if self.board is not None and self.board.note is None:
            self.board.shutdown()
            self.board.server_close()

    def _round(self) -> None:
        counts = self._ask(self.rounds + 1)
        if counts is None:
            return
        for rank, (before, now) in enumerate(zip(self.counts, counts, strict=True)):
            self.still[rank] = self.still[rank] + 1 if before == now != OVER and rank != self.rank else 0
        self.counts = counts
        self.rounds += 1

    def _ask(self, count: int) -> list[int] | None:
        """Write ``count`` on the board; its counts, or None where it does not answer."""
        try:
            self.connection = self.connection or _connected(self.address, self.ANSWER)
            counts, note = _exchange(self.connection, [self.rank, count, None])
        except (OSError, ValueError):
            self.connection = None
            return None
        self.note = self.note if note is None else Note(*note)
        return list(counts)

    def gone(self, every: float) -> str | None:
        """The reason to end the training: a rank that does not answer. Call it every ``every`` seconds."""
        self.idle = self.idle + 1 if self.rounds == self.noticed else 0
        self.noticed = self.rounds
        silent = next((rank for rank, rounds in enumerate(self.still) if rounds * self.EVERY >= self.PATIENCE), None)
        if silent is None and self.idle * every >= self.PATIENCE and self.counts[0] != OVER:
            silent = 0
        if silent == 0 and self.rounds == 0:  # not because of the network between the ranks, which have connected
            if not self.warned:
                port, host = self.address[1], self.address[0]
                logger.warning("no connection to port %d of %s: a machine that goes is noticed late", port, host)
            self.warned = True
            return None
        return None if silent is None else f"{self.ranks[silent]} has not answered for {self.PATIENCE:.0f} seconds"

    def leave_note(self, note: Note) -> None:
        """Tell the other ranks why this one ends; the first note stays."""
        with suppress(OSError, ValueError):
            _exchange(_connected(self.address, self.ANSWER), [self.rank, OVER, note])

    def find_note(self) -> Note | None:
        """The note on the board. Raises OSError where it does not answer and no note has been read before."""
        try:
            _, note = _exchange(_connected(self.address, self.ANSWER), [self.rank, self.rounds, None])
        except (OSError, ValueError) as error:
            if self.note is None:
                raise ConnectionError(f"no answer from {self.ranks[0]}") from error
        else:
            self.note = None if note is None else Note(*note)
        return self.note

    def end(self) -> None:
        """Tell the others that this rank is through. A board with a note is kept until they have read it."""
        self.ended.set()
        self.join(self.EVERY)
        if self.board is not None and self.board.note is not None:
            atexit.register(self.linger)  # after this rank has printed its own line

    def linger(self) -> None:
        """Wait before the board ends with this process."""
        if self.board is not None:
            time.sleep(2 * self.EVERY)


def _connected(address: tuple[str, int], seconds: float) -> Any:
    return socket.create_connection(address, timeout=seconds).makefile("rwb")


def _exchange(connection: Any, line: list[Any]) -> Any:
    connection.write(json.dumps(line).encode() + b"\n")
    connection.flush()
    return json.loads(connection.readline())
