"""A short soak in every run of the tests, and the long one (`make soak` draws it)."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
from soak import faults, soak

pytestmark = pytest.mark.skipif(not Path("/proc/self/io").exists(), reason="reads /proc")


@pytest.mark.slow
def test_a_hundred_requests_sixteen_at_a_time(tmp_path):
    report = soak(tmp_path, 100, rounds=1, stalled=0, photos=9)
    assert faults(report) == []
    assert report["count"] == 100
    assert report["kinds"]["inpaint"]["statuses"]["200"] > 10


@pytest.mark.slow
def test_five_thousand_requests_sixteen_at_a_time(tmp_path):
    report = soak(tmp_path, 5000, seed=1)
    assert faults(report) == []
    kinds = report["kinds"]
    assert kinds["inpaint"]["statuses"]["200"] > 1000
    assert "503" in kinds["flood"]["statuses"]
    assert "408" in kinds["stalled"]["statuses"]
