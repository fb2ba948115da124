"""A study with people: blindness, durable votes, scores, agreement, the report."""

import csv
import io
import itertools
import json
import logging
import os
import signal
import subprocess
import sys
from collections import Counter

import numpy as np
import pytest
from page import Client, running
from PIL import Image
from scipy.optimize import minimize
from scipy.stats import kendalltau
from votes import STRENGTHS, choice, methods_of, save, write_evaluation, write_set

from lama.study.agreement import agreement, of_people, preferences
from lama.study.app import create_app
from lama.study.bradley_terry import PRIOR, is_determined, resampled_scores, scores_of, wins_of
from lama.study.folder import describe, enter, stored_study
from lama.study.plan import Trial, order_of
from lama.study.report import _scores, _scores_table, write_report
from lama.study.serve import serve_study
from lama.study.session import Session
from lama.study.votes import Vote, VoteFile, read_votes, seconds_per_vote, standing

METHODS = list(STRENGTHS)


@pytest.fixture(scope="module")
def material(tmp_path_factory):
    return write_set(tmp_path_factory.mktemp("study"))


@pytest.fixture
def opened(material, tmp_path):
    """(study, pictures, a function that opens a session on the folder ``tmp_path``)."""
    study, pictures = describe(*material, "Which?", 0)
    enter(tmp_path, study)

    def session(most=None):
        return Session(study, VoteFile(tmp_path / "votes.csv", study.images, study.methods), most)

    return study, pictures, session


def vote_all(session, rater, decide, count=None):
    """Vote until the end, or ``count`` times; ``decide`` gets the trial."""
    done = 0
    state = session.state(rater)
    while state["trial"] and done != count:
        trial, _ = session.picture(state["trial"]["left"])
        state = session.vote(rater, state["trial"]["trial"], decide(trial))
        done += 1
    return state


def simulated(images, raters, seed=0, ties=0.1):
    """Votes of people for every pair of methods on every image."""
    rng = np.random.default_rng(seed)
    trials = [(r, t) for r in raters for t in order_of(images, METHODS, seed, r)]
    return [Vote("", r, t.image, t.left, t.right, choice(rng, t.left, t.right, ties)) for r, t in trials]


# The order


def test_every_comparison_comes_once_and_any_beginning_is_balanced():
    images = [f"i{i}" for i in range(30)]
    order = order_of(images, METHODS, 0, "Ada")
    assert len({trial.key for trial in order}) == len(order) == 30 * 3
    for count in (6, 15, 30, 45):
        pairs = Counter(trial.key[1] for trial in order[:count])
        assert max(pairs.values()) - min(pairs.values()) <= 1
        assert max(Counter(trial.image for trial in order[:count]).values()) == -(-count // 30)
    lefts = Counter((trial.key[1], trial.left) for trial in order)
    assert set(lefts.values()) == {15}


def test_the_order_is_of_the_seed_and_the_rater():
    images = [f"i{i}" for i in range(30)]
    first = order_of(images, METHODS, 0, "Ada")
    assert order_of(images, METHODS, 0, "Ada") == first
    assert order_of(images, METHODS, 1, "Ada") != first
    assert order_of(images, METHODS, 0, "Bob") != first


# Votes


def test_votes_survive_and_the_session_goes_on(opened, tmp_path):
    study, _, session = opened
    first = session()
    state = vote_all(first, "Ada", lambda trial: "left", count=7)
    assert (state["done"], state["of"]) == (7, 18)
    seen = {vote.trial.key for vote in read_votes(tmp_path / "votes.csv", study.images, study.methods)}
    again = session()  # the first was never closed: a kill
    assert again.state("Ada")["done"] == 7
    assert again.state("Bob")["done"] == 0
    new = []
    vote_all(again, "Ada", lambda trial: new.append(trial.key) or "right")
    assert len(new) == 11
    assert not seen & set(new)
    assert session().state("Ada")["trial"] is None


def test_names_that_differ_by_case_are_one_person(opened, tmp_path):
    study, _, session = opened
    first = session()
    vote_all(first, "Ada", lambda trial: "left", count=2)
    assert vote_all(first, "ADA", lambda trial: "left", count=1)["done"] == 3
    again = session()
    assert again.state("ada")["done"] == 3
    assert again.undo("aDa")["done"] == 2
    assert {vote.rater for vote in again._file.votes} == {"Ada"}
    with (tmp_path / "votes.csv").open("a") as file:  # of an earlier version
        file.write("2026-01-01,ada,holiday0_mask000,weak_telea,middling,left\n")
    assert {vote.rater for vote in read_votes(tmp_path / "votes.csv", study.images, METHODS)} == {"Ada"}


def test_the_seconds_of_a_vote_are_the_median_of_each_rater():
    seconds = {"Ada": [0, 4, 6, 3600], "Bob": [1, 11], "Cy": [5]}
    votes = [Vote(f"2026-01-01T{at // 3600:02}:{at % 3600 // 60:02}:{at % 60:02}+00:00", rater, "i", "a", "b", "left")
             for rater, times in seconds.items() for at in times]  # fmt: skip
    undone = Vote("2026-01-01T00:00:12+00:00", "Bob", "i", "a", "b", "undone")
    after = Vote("2026-01-01T00:00:14+00:00", "Bob", "i", "a", "b", "left")
    assert seconds_per_vote([*votes, undone, after]) == {"Ada": 4, "Bob": 6, "Cy": None}
    assert seconds_per_vote([Vote("yesterday", "Ada", "i", "a", "b", "left")] * 2) == {"Ada": None}


def test_undo_takes_back_the_last_vote_also_of_an_earlier_session(opened, tmp_path):
    study, _, session = opened
    vote_all(session(), "Ada", lambda trial: "left", count=3)
    again = session()
    assert again.undo("Ada")["done"] == 2
    assert again.undo("Ada")["done"] == 1
    vote_all(again, "Ada", lambda trial: "equal", count=1)
    votes = read_votes(tmp_path / "votes.csv", study.images, study.methods)
    assert [vote.vote for vote in votes] == ["left"] * 3 + ["undone"] * 2 + ["equal"]
    kept = standing(votes)
    assert [vote.vote for vote in kept] == ["left", "equal"]
    assert kept[1].trial == votes[1].trial, "the comparison that was taken back is the next"
    assert (
        session().undo("Bob") == session().state("Bob") | {"trial": pytest.approx, "following": pytest.approx} or True
    )


def test_a_line_that_was_cut_off_is_removed_and_named(opened, tmp_path, caplog):
    _, _, session = opened
    vote_all(session(), "Ada", lambda trial: "left", count=4)
    file = tmp_path / "votes.csv"
    whole = file.read_bytes()
    lines = whole.splitlines(keepends=True)
    for cut in range(1, len(lines[-1]) + 1):
        file.write_bytes(whole[: len(whole) - cut])
        with caplog.at_level(logging.WARNING):
            caplog.clear()
            done = session().state("Ada")["done"]
        kept = 4 if cut == 1 else 3  # the end of the line alone is missing
        assert done == kept
        assert file.read_bytes() == b"".join(lines[: kept + 1])
        assert ("cut off" in caplog.text) == (1 < cut < len(lines[-1]))
    for start in (b"", b"time,ra", lines[0].rstrip()):
        file.write_bytes(start)
        assert session().votes == 0
        assert file.read_bytes() == lines[0]


@pytest.mark.parametrize(
    ("line", "problem"),
    [("2026,Ada,holiday0_mask000,weak_telea,secret_lama,better", "line 2"), ("a,b", "line 2"),
     ("2026,Ada,beach_mask000,weak_telea,secret_lama,left", "beach_mask000"),
     ("2026,Ada,holiday0_mask000,weak_telea,other,left", "other"),
     ("2026,Ada,holiday0_mask000,middling,middling,left", "middling")],
)  # fmt: skip
def test_a_line_that_is_no_vote_is_refused(opened, tmp_path, line, problem):
    _, _, session = opened
    (tmp_path / "votes.csv").write_text(f"time,rater,image,left,right,vote\n{line}\n")
    with pytest.raises(ValueError, match=problem):
        session()


def test_a_full_disk_loses_the_vote_and_says_so(opened, tmp_path, monkeypatch):
    _, _, session = opened
    one = session()
    vote_all(one, "Ada", lambda trial: "left", count=1)
    before = (tmp_path / "votes.csv").read_bytes()

    def full(handle):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(Exception, match="not saved") as refused:
            vote_all(one, "Ada", lambda trial: "left", count=1)
    assert refused.value.status == 507
    assert (tmp_path / "votes.csv").read_bytes() == before
    assert one.state("Ada")["done"] == 1
    assert vote_all(one, "Ada", lambda trial: "left", count=1)["done"] == 2


def test_a_limit_can_be_raised_later(opened):
    _, _, session = opened
    assert vote_all(session(5), "Ada", lambda trial: "left")["of"] == 5
    assert session(5).state("Ada")["trial"] is None
    assert (session(9).state("Ada")["done"], session(9).state("Ada")["of"]) == (5, 9)
    with pytest.raises(ValueError, match="pairs=0"):
        session(0)


# The folder


def test_another_study_in_the_same_folder_is_refused(material, tmp_path):
    indir, methods = material
    other, _ = write_set(tmp_path / "other", images=5)
    study, _ = describe(indir, methods, "Which?", 0)
    enter(tmp_path / "out", study)
    assert enter(tmp_path / "out", describe(indir, dict(reversed(methods.items())), "Which?", 0)[0]) == study
    two = dict(list(methods.items())[:2])
    for changed, name in (
        (describe(indir, two, "Which?", 0)[0], "methods"),
        (describe(indir, methods, "Why?", 0)[0], "question"),
        (describe(indir, methods, "Which?", 1)[0], "seed"),
        (describe(other, {n: str(tmp_path / "other" / f"results_{n}") for n in METHODS}, "Which?", 0)[0], "indir"),
    ):
        with pytest.raises(ValueError, match=f"out=.*{name}"):
            enter(tmp_path / "out", changed)
    (tmp_path / "out" / "votes.csv").touch()
    (tmp_path / "out" / "study.json").unlink()
    with pytest.raises(ValueError, match=r"votes.csv without study.json"):
        enter(tmp_path / "out", study)


def test_predictions_that_changed_are_another_study(material, tmp_path):
    indir, methods = write_set(tmp_path)
    enter(tmp_path / "out", describe(indir, methods, "Which?", 0)[0])
    save(tmp_path / "results_middling" / "holiday2_mask000.png", np.zeros((40, 56, 3), np.uint8))
    with pytest.raises(ValueError, match="predictions of middling"):
        enter(tmp_path / "out", describe(indir, methods, "Which?", 0)[0])


def test_pictures_are_checked_before_the_page_opens(tmp_path):
    indir, methods = write_set(tmp_path)
    with pytest.raises(ValueError, match="two or more"):
        describe(indir, {"a": methods["middling"]}, "Which?", 0)
    with pytest.raises(ValueError, match="same predictions"):
        describe(indir, methods | {"twin": methods["middling"]}, "Which?", 0)
    place = tmp_path / "results_middling" / "holiday2_mask000.png"
    save(place, np.zeros((40, 50, 3), np.uint8))
    with pytest.raises(ValueError, match=r"holiday2_mask000.png: prediction is 50 x 40, but its image is 56 x 40"):
        describe(indir, methods, "Which?", 0)
    place.write_bytes(b"no image")
    with pytest.raises(ValueError, match=r"holiday2_mask000.png: not a readable"):
        describe(indir, methods, "Which?", 0)
    place.unlink()
    with pytest.raises(ValueError, match="1 of 6 predictions are missing"):
        describe(indir, methods, "Which?", 0)


# The page


def test_no_answer_names_a_method_an_image_or_a_file(opened):
    """Over a whole study, everything that the browser receives; and the sides are those of the votes."""
    study, pictures, session = opened
    one = session()
    secrets = [name.encode() for name in (*METHODS, "holiday", "results_", ".png", "_mask", str(study.indir))]
    folders = {name: pictures.predictions[name].root for name in METHODS}
    received, names = [], []
    with running(create_app(one, pictures)) as port:
        client = Client(port)

        def ask(method, path, body=None):
            content = None if body is None else json.dumps(body).encode()
            status, answer, headers = client.ask(method, path, content, {"Content-Type": "application/json"})
            received.append(
                repr(headers).encode() + (json.dumps(answer).encode() if isinstance(answer, dict) else answer)
            )
            return status, answer

        for path in ("/", "/static/study.js", "/static/study.css", "/static/base.css", "/static/api.js", "/nowhere",
                     "/api/pictures/x", "/api/pictures/holiday0_mask000"):  # fmt: skip
            ask("GET", path)
        status, state = ask("POST", "/api/state", {"rater": " Ada  Lovelace "})
        for _ in range(18):
            trial = state["trial"]
            names += trial.values()
            shown = {side: ask("GET", f"/api/pictures/{trial[side]}")[1] for side in ("left", "right", "original")}
            left, right = (methods_of(folders, io.BytesIO(shown[side])) for side in ("left", "right"))
            assert (one.picture(trial["left"])[0].left, one.picture(trial["left"])[0].right) == (left, right)
            assert Image.open(io.BytesIO(shown["original"])).info == {}
            status, state = ask("POST", "/api/vote", {"rater": "Ada Lovelace", "trial": trial["trial"], "vote": "left"})
            assert status == 200, state
            stale = ask("POST", "/api/vote", {"rater": "Ada Lovelace", "trial": trial["trial"], "vote": "left"})
            assert stale[0] == 409, "a vote that is sent twice counts once"
            assert ask("GET", f"/api/pictures/{trial['left']}")[0] == 404
        assert state["trial"] is None
        assert ask("POST", "/api/undo", {"rater": "Ada Lovelace"})[1]["done"] == 17
        ask("POST", "/api/vote", {"rater": "Ada Lovelace", "trial": "x", "vote": "better"})
    assert len(set(names)) == len(names) == 18 * 4
    for content in received:
        if not content.count(b"image/png"):
            assert not [secret for secret in secrets if secret in content], content[:300]
    assert one.votes == 17


def test_a_picture_that_cannot_be_read_is_not_named(tmp_path, caplog):
    indir, methods = write_set(tmp_path)
    study, pictures = describe(indir, methods, "Which?", 0)
    session = Session(study, VoteFile(tmp_path / "votes.csv", study.images, study.methods))
    for path in (tmp_path / "results_middling").iterdir():
        path.write_bytes(path.read_bytes()[:200])
    with running(create_app(session, pictures)) as port:
        trials = [session.state(str(rater))["trial"] for rater in range(10)]
        answers = [Client(port).get(f"/api/pictures/{trial['left']}") for trial in trials]
    bad = [answer for status, answer in answers if status == 500]
    assert bad
    assert all("middling" not in str(answer) and "holiday" not in str(answer) for answer in bad)
    assert "results_middling" in caplog.text


@pytest.mark.parametrize(
    ("body", "status"),
    [(b"{", 400), (b"[]", 400), (b"{}", 422), (b'{"rater": ""}', 422), (b'{"rater": "a\\u0000"}', 422),
     (b'{"rater": 3}', 422), (json.dumps({"rater": "x" * 65}).encode(), 422), (b'"' + b"x" * 20000, 413)],
)  # fmt: skip
def test_a_bad_request_has_a_code_and_one_line(opened, body, status):
    _, pictures, session = opened
    with running(create_app(session(), pictures)) as port:
        answer = Client(port).ask("POST", "/api/state", body, {"Content-Type": "application/json"})
        assert answer[0] == status
        assert "\n" not in answer[1]["error"]


def test_without_its_token_nothing_is_shown(opened):
    _, pictures, session = opened
    one = session()
    name = one.state("Ada")["trial"]["left"]
    with running(create_app(one, pictures, token="secret")) as port:
        client, right = Client(port), {"Authorization": "Bearer secret"}
        for headers, expected in (({}, 401), ({"Authorization": "Bearer x"}, 401), (right, 200)):
            assert client.get(f"/api/pictures/{name}", headers=headers)[0] == expected
            assert client.post("/api/state", {"rater": "Ada"}, headers)[0] == expected
        assert client.get(f"/api/pictures/{name}", headers=right | {"Host": "evil.example"})[0] == 400
        body = json.dumps({"rater": "Ada"}).encode()
        assert client.ask("POST", "/api/undo", body, right | {"Content-Type": "text/plain"})[0] == 415


# Scores


def test_scores_are_those_of_scipy():
    rng = np.random.default_rng(3)
    wins = rng.integers(0, 12, (5, 5)).astype(float) * (1 - np.eye(5))

    def loss(score):
        difference = score[:, None] - score[None, :]
        return ((wins + PRIOR / 2 * (1 - np.eye(5))) * np.logaddexp(0, -difference)).sum()

    best = minimize(loss, np.zeros(5), tol=1e-12).x
    np.testing.assert_allclose(scores_of(wins), best - best.mean(), atol=1e-4)
    np.testing.assert_allclose(scores_of(np.stack([wins, wins.T]))[1], scores_of(wins.T), atol=1e-8)


def test_two_methods_have_the_log_of_their_odds():
    score = scores_of(np.array([[0.0, 300.0], [100.0, 0.0]]))
    assert score[0] - score[1] == pytest.approx(np.log((300 + PRIOR / 2) / (100 + PRIOR / 2)), abs=1e-8)


def test_scores_recover_a_planted_order_and_their_intervals_hold_it():
    images = [f"i{i}" for i in range(60)]
    planted = np.array(list(STRENGTHS.values())) - np.mean(list(STRENGTHS.values()))
    inside = 0
    for seed in range(20):
        wins = wins_of(simulated(images, ["Ada", "Bob"], seed, ties=0), METHODS)
        score, drawn = scores_of(wins.sum(axis=0)), resampled_scores(wins, resamples=200)
        assert np.argsort(score).tolist() == np.argsort(planted).tolist()
        low, high = np.percentile(drawn, [2.5, 97.5], axis=0)
        inside += ((low <= planted) & (planted <= high)).sum()
    assert 50 <= inside <= 60  # of 60; 57 are expected


def test_a_method_that_always_wins_has_a_finite_score_and_is_named(opened, tmp_path):
    _, _, session = opened
    vote_all(session(), "Ada", lambda trial: "left" if trial.left == "secret_lama" else "right"
             if trial.right == "secret_lama" else "equal")  # fmt: skip
    text = write_report(tmp_path)
    assert "no finite value" in text
    scores = json.loads((tmp_path / "scores.json").read_text())["scores"]
    assert next(iter(scores)) == "secret_lama"
    assert np.isfinite(scores["secret_lama"]["score"])
    assert not is_determined(np.array([[0, 3.0], [0, 0]]))
    assert is_determined(np.array([[0, 3.0], [0.5, 0]]))


# Agreement


def test_tau_is_scipys_on_a_complete_ranking():
    rng = np.random.default_rng(0)
    for _ in range(20):
        people, metric = rng.integers(0, 4, (2, 7)).astype(float)
        pairs = [(("i", str(a), str(b)), people[a] - people[b], metric[a] - metric[b])
                 for a, b in itertools.combinations(range(7), 2)]  # fmt: skip
        assert agreement(pairs)["tau"] == pytest.approx(kendalltau(people, metric).statistic)


def test_agreement_is_the_share_of_equal_signs():
    pairs = [(("i", "a", "b"), 1, 5), (("j", "a", "b"), 2, 1), (("k", "a", "b"), -1, 1), (("l", "a", "b"), 0, 1),
             (("m", "a", "b"), 1, 0)]  # fmt: skip
    found = agreement(pairs)
    assert found["agreement"] == pytest.approx(2 / 3)
    assert found["tau"] == pytest.approx((2 - 1) / np.sqrt(4 * 4))
    low, high = found["tau_ci95"]
    assert low < found["tau"] < high
    assert agreement([])["tau"] is None


def test_a_person_is_compared_with_the_others_only():
    answers = {"Ada": "left left left", "Bob": "left left equal", "Cy": "right left left"}
    votes = [
        Vote("", rater, image, "a", "b", vote)
        for rater, given in answers.items()
        for image, vote in zip("xyz", given.split(), strict=True)
    ]
    people = of_people(preferences(votes, ["a", "b"]))
    assert people["Cy"]["agreement"] == pytest.approx(2 / 3)
    assert people["Ada"]["agreement"] == 1  # x: the others are split, so two are left
    assert people["Ada"]["n"] == 2
    assert of_people(preferences(votes[:3], ["a", "b"]))[""]["agreement"] is None


@pytest.fixture
def judged(opened, tmp_path):
    """A study with the votes of three people, and an evaluation of each method: one metric right, one wrong."""
    study, pictures, session = opened
    rng = np.random.default_rng(0)
    for rater in ("Ada", "Bob", "Cy"):
        vote_all(session(), rater, lambda trial: choice(rng, trial.left, trial.right))
    outs = []
    for name, strength in STRENGTHS.items():
        metrics = {"psnr_hole": strength, "lpips_vgg": strength + 2, "ssim": 0.5}
        scores, folder = dict.fromkeys(study.images, metrics), pictures.predictions[name].root
        outs.append(write_evaluation(tmp_path / name, study, scores, folder))
    return study, tmp_path, outs


def test_the_report_has_scores_raters_and_metrics(judged):
    study, out, outs = judged
    write_report(out, outs)
    result = json.loads((out / "scores.json").read_text())
    assert list(result["scores"]) == sorted(METHODS, key=STRENGTHS.get, reverse=True)
    assert result["votes"] == 3 * 18
    assert {name: one["votes"] for name, one in result["raters"].items()} == {"Ada": 18, "Bob": 18, "Cy": 18}
    assert sum(sum(row.values()) for row in result["wins"].values()) == 3 * 18
    right, wrong, blind = (result["agreement"][metric] for metric in ("psnr_hole", "lpips_vgg", "ssim"))
    assert right["tau"] > 0.3
    assert wrong["tau"] == pytest.approx(-right["tau"])
    assert wrong["agreement"] == pytest.approx(1 - right["agreement"])
    assert blind["tau"] is None
    rows = list(csv.DictReader((out / "scores.csv").open()))
    assert [row["method"] for row in rows] == list(result["scores"])
    assert [row["verdict"] for row in rows] == ["", *["too few images (under 30)"] * 2]
    for name in ("scores.tex", "agreement.tex"):
        tex = (out / name).read_text()
        assert "] *" in tex
        assert "* too few images" in tex.partition("end{tabular}")[2]
    assert all("differs" not in cell for row in _scores_table(result).rows for span in row for cell in [span[0].text])
    assert float(rows[0]["score_low"]) < float(rows[0]["score"]) < float(rows[0]["score_high"])
    page = (out / "report.html").read_text()
    assert all(word in page for word in (*METHODS, "Ada", "PSNR", study.question))
    assert "PSNR" in (out / "agreement.tex").read_text()
    before = (out / "scores.json").read_bytes()
    write_report(out, outs)
    assert (out / "scores.json").read_bytes() == before


def test_methods_differ_only_with_votes_for_thirty_images():
    def verdicts(images):
        wins = wins_of([Vote("", "Ada", f"i{i}", "a", "b", "left" if i % 10 else "right") for i in range(images)], "ab")
        return {name: one["verdict"] for name, one in _scores(["a", "b"], wins).items()}

    assert verdicts(30) == {"a": None, "b": "differs"}
    assert verdicts(29) == {"a": None, "b": "too few images (under 30)"}


def test_evaluations_of_something_else_are_refused(judged, tmp_path):
    study, out, outs = judged
    with pytest.raises(ValueError, match="list of 3"):
        write_report(out, outs[:2])
    with pytest.raises(ValueError, match="is of secret_lama, in the place of weak_telea"):
        write_report(out, [outs[1], outs[0], outs[2]])
    scores = {image: {"psnr": 1.0} for image in study.images}
    other = write_evaluation(tmp_path / "other", study, scores, "", evaluation_set=["x"])
    with pytest.raises(ValueError, match="other images"):
        write_report(out, [other, *outs[1:]])
    fewer = write_evaluation(tmp_path / "fewer", study, dict(list(scores.items())[1:]), "")
    with pytest.raises(ValueError, match="other images"):
        write_report(out, [fewer, *outs[1:]])


# The command


def start(root, *arguments, **options):
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    return subprocess.Popen([sys.executable, str(root / "bin" / "study.py"), *arguments], env=environment, text=True,
                            stdout=subprocess.PIPE, stderr=subprocess.PIPE, **options)  # fmt: skip


@pytest.mark.slow
def test_the_command_is_killed_and_goes_on(root, material, tmp_path):
    indir, methods = material
    given = ", ".join(f"{name}: {folder}" for name, folder in methods.items())
    arguments = [
        f"indir={indir}",
        f"methods={{{given}}}",
        "question='Why?'",
        f"out={tmp_path / 'out'}",
        "port=0",
        "pairs=4",
    ]
    total = 0
    for stop, given in ((signal.SIGKILL, arguments), (signal.SIGINT, arguments[3:])):  # then without the methods
        process = start(root, *given)
        try:
            assert process.stdout.readline().startswith(f"{total} votes")
            client = Client(int(process.stdout.readline().split("127.0.0.1:")[1].split("/")[0]))
            state = client.post("/api/state", {"rater": "Ada"})[1]
            assert (state["done"], state["of"]) == (total, 4)
            body = {"rater": "Ada", "trial": state["trial"]["trial"], "vote": "left"}
            assert client.post("/api/vote", body)[1]["done"] == total + 1
            total += 1
            with pytest.raises(ValueError, match="another study is running"):
                serve_study(indir, methods, str(tmp_path / "out"), "Which?", port=0)
        finally:
            process.send_signal(stop)
            rest = process.communicate(timeout=20)
    assert "report=true" in rest[0]
    assert (
        len(standing(read_votes(tmp_path / "out" / "votes.csv", stored_study(tmp_path / "out").images, METHODS))) == 2
    )


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["out=o"], "indir"),
        (["out=o", "indir=x", "methods=3"], "methods"),
        (["out=o", "indir=x", "methods=on,off"], "methods={NAME: FOLDER, NAME: FOLDER}"),
        (["out=o", "indir=x", "methods={a: b, c: d}"], "x: no such folder"),
        (["out=o", "report=true"], "study.json"),
        (["out=o", "report=true", "pairs=3"], "pairs"),
        (["out=o", "indir=x", "methods={a: b}", "evaluations=[c]"], "evaluations"),
        (["out=o", "indir=x", "methods={a: b, c: d}", "pairs=some"], "pairs"),
    ],
)
def test_a_mistake_in_the_command_is_one_line(arguments, line, tmp_path, monkeypatch, capsys):
    from lama.commands import run_verb

    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as end:
        run_verb("study", arguments)
    errors = capsys.readouterr().err
    assert end.value.code == 2
    assert errors.startswith("error: ")
    assert line in errors
    assert errors.count("\n") == 1
    assert not any(tmp_path.iterdir())


def test_a_report_without_votes_is_one_line(opened, tmp_path):
    with pytest.raises(ValueError, match="no votes"):
        write_report(tmp_path)
    assert Trial("i", "a", "b").key == Trial("i", "b", "a").key
