"""The documentation agrees with the tree: links, paths, commands, the import law; the README stays short."""

import re
from pathlib import Path

import pytest
from test_architecture import LAWS

from lama.verbs import VERBS

ROOT = Path(__file__).resolve().parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
HISTORY = {"changelog.md", "log.md", "findings.md"}  # name files and commands of earlier commits


def headings(page):
    """The anchors of a page, as GitHub makes them."""
    text = re.sub(r"^```.*?^```", "", page.read_text(), flags=re.DOTALL | re.MULTILINE)
    titles = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.relative_to(ROOT).as_posix())
def test_links_lead_somewhere(page):
    for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text()):
        if "://" in target:
            continue
        file, _, anchor = target.partition("#")
        path = (page.parent / file) if file else page
        assert path.exists(), target
        assert not anchor or anchor in headings(path), target


@pytest.mark.parametrize("page", [p for p in PAGES if p.name not in HISTORY], ids=lambda p: p.name)
def test_files_that_are_named_exist(page):
    text = page.read_text()
    for name in re.findall(r"\b(?:lama|tests|bin|configs)/[\w\-/]+\.(?:py|yaml|cpp|txt)\b", text):
        made_up = Path(name).stem in {"NAME", "VERB", "edges"}  # in examples
        assert made_up or (ROOT / name).is_file(), name


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.relative_to(ROOT).as_posix())
def test_verbs_that_are_named_exist(page):
    text = page.read_text()
    typed = re.findall(r"^(?:srun |until )?lama ([a-z-]+)|`lama ([a-z][a-z-]*)", text, re.MULTILINE)
    assert {first or second for first, second in typed} <= set(VERBS)


def test_every_page_is_in_the_index():
    index = (ROOT / "docs" / "README.md").read_text()
    for page in PAGES[1:]:
        name = page.relative_to(ROOT / "docs").as_posix()
        assert name == "README.md" or f"({name}" in index, name


def test_the_import_law_in_the_documentation_is_the_one_that_is_tested():
    text = (ROOT / "docs" / "architecture.md").read_text()
    rows = re.findall(r"^\| `(\w+)` \| (.+?) \| (.+?) \|$", text.split("## The import law")[1], re.MULTILINE)
    documented = [(room, set(may.split(", ")) - {"-"}) for room, may, _ in rows if room in LAWS]
    packages = {room: set(re.findall(r"\w+", others.split(";")[0])) for room, _, others in rows}
    expected = [(room, rooms) for room, (rooms, _) in LAWS.items()]
    table = "\n".join(
        f"| `{room}` | {', '.join(sorted(rooms, key=list(LAWS).index)) or '-'} | {', '.join(sorted(others)) or '-'} |"
        for room, (rooms, others) in LAWS.items()
    )
    assert documented == expected, f"docs/architecture.md should say:\n{table}"
    assert packages == {room: others for room, (_, others) in LAWS.items()}, f"docs/architecture.md:\n{table}"


def test_every_room_is_described_and_drawn():
    text = (ROOT / "docs" / "architecture.md").read_text()
    described, drawn = text.split("## The import law")[0], text.split("```text")[1].split("```")[0]
    floors = [line.split()[1:] for line in drawn.strip().splitlines()][::-1]
    floor = {room: number for number, rooms in enumerate(floors) for room in rooms}
    assert set(floor) == set(LAWS)
    assert all(floor[below] < floor[room] for room, (rooms, _) in LAWS.items() for below in rooms)
    assert all(f"| `{room}` | " in described for room in LAWS)


def test_the_readme_stays_short():
    assert len((ROOT / "README.md").read_text().splitlines()) <= 110
