"""A mixture of sources: exact shares, every image of a part in turn, the same samples however a training is cut."""

import tarfile
from collections import Counter

import numpy as np
import pytest
import torch
from comparing import assert_equal, everything
from composing import composed
from PIL import Image
from trainings import BOXES, make_module, run_into

from lama.config import build, check_plan, compose
from lama.data import Distortions, InpaintingDataModule, Mixture
from lama.data.mixture import mixed_passes
from lama.data.sampler import EpochSampler
from lama.data.sources import Subset
from lama.runs import callbacks
from lama.runs.config_changes import Request, compare


@pytest.fixture(scope="module")
def places(tmp_path_factory):
    """A folder of 3 images, a list of 5 and a tar file of 4; the value of a pixel is the number of its image."""
    root = tmp_path_factory.mktemp("mixed")
    for place, first, count in (("faces", 0, 3), ("streets", 100, 5), ("packed", 200, 4)):
        (root / place).mkdir()
        for i in range(count):
            Image.new("RGB", (40, 36), (first + i,) * 3).save(root / place / f"{i}.png")
    (root / "streets.txt").write_text("".join(f"streets/{i}.png\n" for i in range(5)))
    (root / "tars").mkdir()
    with tarfile.open(root / "tars" / "packed.tar", "w") as archive:
        for i in range(4):
            archive.add(root / "packed" / f"{i}.png", f"{i}.png")
    return root


def parts_of(root, **weights):
    where = {"faces": "faces", "streets": "streets.txt", "packed": "tars"}
    return {name: {"path": str(root / where[name]), "weight": weight} for name, weight in weights.items()}


def test_a_mixture_has_the_images_of_all_parts(places):
    mixture = Mixture(parts_of(places, faces=3, streets=1, packed=1))
    assert [image[0, 0, 0] for _, image in mixture] == [0, 1, 2, 100, 101, 102, 103, 104, 200, 201, 202, 203]
    names = [name for name, _ in mixture]
    assert names == mixture.names
    assert len(set(names)) == 12
    assert names[0] == "faces/0"
    assert [mixture.part_of(i) for i in (0, 2, 3, 7, 8, 11)] == [0, 0, 1, 1, 2, 2]
    assert [name for name, _ in Mixture(str(places / "faces"))] == ["0", "1", "2"]  # to validate on


def test_every_cycle_has_exact_shares_and_every_part_is_passed_through(places):
    mixture = Mixture(parts_of(places, faces=3, streets=1, packed=6))
    order = mixed_passes(mixture, seed=4)
    drawn = [order(position) for position in range(2000)]
    for cycle in (drawn[:1000], drawn[1000:]):
        assert Counter(mixture.part_of(index) for _, index in cycle) == {0: 300, 1: 100, 2: 600}
    assert len({mixture.part_of(index) for _, index in drawn[:20]}) == 3  # not one part after the other
    for part, images in enumerate((3, 5, 4)):
        own = [one for one in drawn if mixture.part_of(one[1]) == part]
        assert [pass_ for pass_, _ in own[: 2 * images]] == [0] * images + [1] * images
        assert len({index for _, index in own[:images]}) == images
    assert [mixed_passes(mixture, 4)(position) for position in (1999, 3, 1000)] == [drawn[1999], drawn[3], drawn[1000]]
    assert [mixed_passes(mixture, 5)(position) for position in range(50)] != drawn[:50]


def test_a_subset_keeps_the_weights(places):
    mixture = Mixture(parts_of(places, faces=1, streets=1))
    kept = [0, 2, 3, 4, 6]
    order = mixed_passes(Subset(mixture, kept), 0)
    drawn = Counter(kept[order(position)[1]] for position in range(1000))
    assert set(drawn) == set(kept)
    assert drawn[0] == drawn[2] == 250
    assert sorted(drawn[i] for i in (3, 4, 6)) == [166, 167, 167]
    with pytest.raises(ValueError, match=r"data\.path\.streets.*val_path"):
        mixed_passes(Subset(mixture, [0, 1]), 0)


@pytest.mark.parametrize("world", [1, 3])
def test_a_resumed_epoch_goes_on_with_the_same_samples(places, monkeypatch, world):
    def samples(rank, start=(0, 0)):
        monkeypatch.setattr("lama.data.sampler.rank_and_world", lambda: (rank, world))
        sampler = EpochSampler(12, 1500, 0, order=mixed_passes(Mixture(parts_of(places, faces=2, packed=1)), 0))
        sampler.start_at(*start)
        return list(sampler)

    whole = [samples(rank) for rank in range(world)]
    order = mixed_passes(Mixture(parts_of(places, faces=2, packed=1)), 0)
    assert [one for row in zip(*whole, strict=True) for one in row] == [(*order(i), i) for i in range(1500)]
    for rank in range(world):
        assert samples(rank, (0, 400 // world)) == whole[rank][400 // world :]
    assert samples(0, (1, 0)) != whole[0]


def data_of(root, workers=0, **settings):
    settings = {"epoch_size": 8, "batch_size": 2, "val_size": 32, "num_workers": workers} | settings
    parts = parts_of(root, faces=1, streets=2)
    return InpaintingDataModule(Mixture, parts, BOXES, Distortions(32), BOXES, **settings)


def test_a_training_on_a_mixture_resumes_bit_for_bit(places, tmp_path, monkeypatch):
    monkeypatch.setattr(callbacks, "draw_curves", lambda *_: None)
    torch.set_num_threads(1)

    def start(name, epochs, workers):
        data = data_of(places, workers)
        trainer = {"max_epochs": epochs}
        return run_into(tmp_path / name, make_module(), data=data, trainer=trainer, resume="auto")

    whole = start("whole", 2, 0)
    start("cut", 1, 2)
    assert_equal(everything(start("cut", 2, 0)), everything(whole))
    assert "(33.3 % faces, 66.7 % streets)" in (whole / "train.log").read_text()


def test_the_configuration_describes_a_mixture(places):
    faces, streets = places / "faces", places / "streets.txt"
    chosen = f"data.path={{faces: {{path: {faces}, weight: 3}}, streets: {{path: {streets}, weight: 1}}}}"
    config = composed("demo", "data=mixture", chosen, "data.path.streets.weight=2", f"data.val_path={faces}")
    check_plan(config)
    data = build(config.data, "data")
    assert data.sampler.order.text == "60 % faces, 40 % streets"
    assert len(data.fingerprint) == 64
    assert data.train_set[0, 0]["image"].shape == (3, 128, 128)


def test_a_part_without_a_weight_takes_one(places):
    parts = f"data.path={{big: {{path: {places / 'faces'}}}, small: {{path: {places / 'streets'}}}}}"
    config = compose("training", "demo", ["data=mixture", parts, "data.path.small.weight=3"])
    assert build(config.data, "data").sampler.order.text == "25 % big, 75 % small"
    for words, message in (
        (["data=mixture", parts], r"data\.path\.smal\.weight: .*did you mean small\?; known: big, small"),
        (["data=folder", "data.path=faces"], r"data\.path\.smal\.weight: .*data=mixture"),
    ):
        with pytest.raises(ValueError, match=message):
            compose("training", "demo", [*words, "data.path.smal.weight=3"])


def test_a_part_may_move_and_another_weight_is_refused():
    def run(place, weight):
        part = {"path": place, "weight": weight}
        return Request(f"data: {{path: {{faces: {part}}}}}", "lama train")

    changes = compare(run("a", 1), run("b", 1))
    assert (len(changes.moved), changes.refused) == (1, [])
    assert compare(run("a", 1), run("a", 2)).refused == ["data.path.faces.weight=1 (now: 2)"]


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ({}, r"data\.path"),
        ({"a": "faces"}, r"data\.path\.a=faces"),
        ({"a": {"path": "faces", "wieght": 2}}, r"^data\.path\.a\.wieght: unknown key"),
        ({"a": {"path": "faces", "weight": 0.5}}, r"data\.path\.a\.weight=0\.5"),
        ({"a": {"path": "faces", "weight": 0}}, r"data\.path\.a\.weight=0"),
        ({"a": {"path": "faces", "weight": True}}, r"data\.path\.a\.weight=True"),
        ({"a": {"path": "nowhere"}}, "nowhere"),
    ],
)
def test_wrong_mixtures_are_one_line(places, monkeypatch, path, message):
    monkeypatch.chdir(places)
    with pytest.raises((ValueError, FileNotFoundError), match=message) as caught:
        Mixture(path)
    assert "\n" not in str(caught.value)


def test_missing_parts_are_named_before_anything_is_opened(places):
    for words, message in (
        (["data=mixture", "data.path={a: {path: /no/where}}"], r"data\.path\.a\.path.*/no/where"),
        (["data=folder", "data.path={a: {path: /no/where}}"], r"data\.path.*data=mixture"),
        (["data=folder", "data.path=[docs,tests]"], r"data\.path=\['docs', 'tests'\].*data=mixture"),
        (["data=mixture", "data.path=[docs,tests]"], r"data\.path=\['docs', 'tests'\].*a mapping"),
        (["data=mixture", "data.path=docs"], r"data\.path=docs: .*expects a mapping.*data=folder"),
    ):
        with pytest.raises((ValueError, FileNotFoundError), match=message):
            check_plan(composed("demo", *words))


def test_samples_of_two_parts_never_share_their_randomness(places):
    """Crops and masks are a function of (seed, pass, image), and the images of all parts have numbers of their own."""
    order = mixed_passes(Mixture(parts_of(places, faces=1, streets=1)), 0)
    drawn = [order(position) for position in range(400)]
    assert len(set(drawn)) == len(drawn)
    assert np.isin([index for _, index in drawn], range(8)).all()
