"""The packages that `make` installs: one version each in the constraints, the lock and the list of licences."""

import re
import tomllib

import pytest


@pytest.fixture(scope="module")
def constraints(root):
    return dict(re.findall(r"^([\w.-]+)==(\S+)$", (root / ".ci/constraints.txt").read_text(), re.MULTILINE))


@pytest.fixture(scope="module")
def locked(root):
    """{package: (version, its hashes)}."""
    blocks = re.split(r"\n(?=\S)", (root / ".ci/requirements.lock").read_text())
    found = [(re.match(r"([\w.-]+)==(\S+)", block), re.findall(r"sha256:([0-9a-f]{64})\b", block)) for block in blocks]
    return {plain(name[1]): (name[2], hashes) for name, hashes in found}


def plain(name):
    """A name of PyPI as pip compares it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def declared(root):
    """The packages that pyproject.toml needs for the tests."""
    project = tomllib.loads((root / "pyproject.toml").read_text())["project"]
    needed = [*project["dependencies"], *project["optional-dependencies"]["dev"]]
    return {plain(re.match(r"[\w.-]+", line)[0]) for line in needed}


def test_the_lock_has_the_versions_of_the_constraints_each_with_its_hashes(locked, constraints):
    pinned = {plain(name): version for name, version in constraints.items()}
    assert {name: version for name, (version, _) in locked.items() if name in pinned and version != pinned[name]} == {}
    assert all(hashes for _, hashes in locked.values())


def test_every_package_that_is_needed_is_locked_and_its_licence_listed(root, locked):
    listed = {plain(name) for name in re.findall(r"^\| ([\w.-]+) \|", (root / "docs/licences.md").read_text(), re.M)}
    assert declared(root) - set(locked) == {"torch", "torchvision"}  # their files depend on the machine
    assert declared(root) - listed == set()
