"""A machine that has gone is noticed; one that is slow, suspended or through is not."""

import os
import time

import pytest

from lama.machine import network
from lama.runs.heartbeat import Board, Heartbeat, Note

RANKS = ["rank 0 on a (10.0.0.1)", "rank 1 on b (10.0.0.2)"]
POLL = 0.01


class Quick(Heartbeat):
    EVERY, PATIENCE = 0.05, 0.5


@pytest.fixture
def both():
    """Ranks 0 and 1."""
    board = Board(2)
    beats = [Quick(RANKS, rank, ("127.0.0.1", board.port), board if rank == 0 else None) for rank in range(2)]
    for beat in beats:
        beat.start()
    yield beats
    for beat in beats[::-1]:
        beat.end()
        beat.join(10)
    closed = board.socket.fileno() == -1
    assert closed == (board.note is None)  # the others may not have read a note yet


def said(beat, seconds):
    """The first that ``gone`` returns in this time."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if (line := beat.gone(POLL)) is not None:
            return line
        time.sleep(POLL)
    return None


def test_ranks_that_answer_and_ranks_that_are_through_are_left_alone(both):
    assert said(both[0], 0.8) is None
    both[1].end()
    assert said(both[0], 0.8) is None


def test_a_rank_that_no_longer_counts_has_gone(both, monkeypatch):
    assert said(both[0], 0.3) is None
    monkeypatch.setattr(both[1], "_round", lambda _: None)
    assert said(both[0], 5) == f"{RANKS[1]} has not answered for 0 seconds"


def test_without_the_board_its_machine_has_gone(both, monkeypatch):
    assert said(both[1], 0.3) is None
    monkeypatch.setattr(both[1], "_ask", lambda _: None)
    assert said(both[1], 5) == f"{RANKS[0]} has not answered for 0 seconds"


def test_a_board_that_was_never_reached_ends_nothing(caplog):
    beat = Quick(RANKS, 1, ("127.0.0.1", 1))
    assert said(beat, 0.8) is None
    assert [record.message for record in caplog.records] == [
        "no connection to port 1 of 127.0.0.1: a machine that goes is noticed late"
    ]


def test_a_process_that_was_suspended_itself_finds_the_others_alive(both):
    assert said(both[0], 0.3) is None
    time.sleep(0.8)  # ``gone`` is not called: as if all threads had stood still
    assert said(both[0], 0.3) is None


def test_the_first_note_stays_and_is_known_when_the_board_has_ended(both):
    assert both[0].find_note() is None
    both[1].leave_note(Note("rank 1 has ended: a mistake", 2))
    both[0].leave_note(Note("rank 0 has ended: because of it", 75))
    assert both[1].find_note() == Note("rank 1 has ended: a mistake", 2)
    both[1].end()
    both[1].address = ("127.0.0.1", 1)
    assert both[1].find_note() == Note("rank 1 has ended: a mistake", 2)
    both[1].note = None
    with pytest.raises(OSError, match="rank 0 on a"):
        both[1].find_note()


def test_gloo_listens_where_others_reach_this_machine(monkeypatch):
    monkeypatch.delenv("GLOO_SOCKET_IFNAME", raising=False)
    monkeypatch.setattr(network, "_interfaces", lambda: iter([("lo", "127.0.0.1"), ("ib0", "10.0.0.5")]))
    monkeypatch.setattr(os, "environ", {})  # a later test in this process would look for the interface
    monkeypatch.setattr(network, "_towards", lambda host: "127.0.0.1")  # Debian's own name, and no default route
    assert network.own_address("own-name", machines=1) == "127.0.0.1"
    assert network.own_address("own-name", machines=2) == "10.0.0.5"
    network.let_gloo_use("127.0.0.1")
    assert "GLOO_SOCKET_IFNAME" not in os.environ
    network.let_gloo_use("10.0.0.5")
    assert os.environ["GLOO_SOCKET_IFNAME"] == "ib0"
    monkeypatch.setenv("GLOO_SOCKET_IFNAME", "eth1")
    network.let_gloo_use("10.0.0.5")
    assert os.environ["GLOO_SOCKET_IFNAME"] == "eth1"  # the user's choice
