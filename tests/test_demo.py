"""The endpoint of the page: answers, refusals, and the state it leaves."""

import asyncio
import base64
import hashlib
import io
import json
import re
import signal
import socket
import time
import zlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch
from mirror import serve as serve_files
from page import Client, Slow, file_of, hole, image_in, photo, request, served
from PIL import Image
from watched import WATCHED, start

import lama
from lama import pretrained
from lama.checkpoints import load_generator, save_generator
from lama.demo import fields
from lama.demo.app import Limits, create_app
from lama.demo.models import Models, names_of
from lama.demo.openapi import document
from lama.demo.serve import serve
from lama.demo.work import CancelledJobError, Job, Worker
from lama.inference import Inpainter, Refiner
from lama.models import FFCResNetGenerator
from lama.pictures.encode import encode
from lama.pictures.reading import ImageFile, read_image_file
from lama.pretrained import ReleasedFile, ReleasedNetwork, networks
from lama.serving import body as arriving
from lama.serving.address import is_local
from lama.serving.refused import RefusedError

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("model") / "tiny.safetensors"
    save_generator(path, FFCResNetGenerator(ngf=4, n_blocks=1).eval())
    return str(path)


@pytest.fixture(scope="module")
def page(model):
    with served(Models([model]), limits=Limits(max_mb=2, max_megapixels=1)) as client:
        yield client


# Answers


def test_health_says_what_runs_here(page):
    status, answer = page.get("/health")
    assert status == 200
    assert (answer["status"], answer["models"], answer["jobs"], answer["token"]) == ("ok", ["tiny"], 0, False)


def test_the_result_is_the_inpainters(page, model):
    status, answer = page.post("/api/inpaint", request())
    assert status == 200, answer
    result = np.asarray(image_in(answer["image"]))
    np.testing.assert_array_equal(result, lama.load(model)(photo(), hole()))
    known = hole() == 0
    np.testing.assert_array_equal(result[known], photo()[known])
    assert (result[~known] != photo()[~known]).any()
    assert (answer["format"], answer["width"], answer["height"], answer["notes"]) == ("png", 80, 60, [])


@pytest.mark.parametrize(
    "option",
    [{"precision": "bf16"}, {"strategy": "crop"}, {"feather": 3}, {"detail": "on"}, {"scale": 64}, {"refine": True}],
)
def test_options_are_those_of_the_inpainter(page, model, option):
    status, answer = page.post("/api/inpaint", request(**option))
    assert status == 200, answer
    known = {"refiner": Refiner()} if option == {"refine": True} else option
    expected = Inpainter(load_generator(model), **known)(photo(), hole())
    difference = np.asarray(image_in(answer["image"])).astype(int) - expected
    assert np.abs(difference).max() <= (2 if "precision" in option else 0)  # bf16 rounds by the number of threads


def test_ignored_pixels_are_hidden_and_kept(page, model):
    ignore = np.zeros_like(hole())
    ignore[:, -20:] = 255
    answers = [page.post("/api/inpaint", request(ignore=file_of(mask))) for mask in (ignore, ignore[::2])]
    result = np.asarray(image_in(answers[0][1]["image"]))
    np.testing.assert_array_equal(result, lama.load(model)(photo(), hole(), ignore=ignore))
    assert answers[1][0] == 422
    assert "ignore" in answers[1][1]["error"]


def test_a_mask_is_read_as_predict_reads_it(page):
    soft = hole() // 2  # 127
    _, all_of_it = page.post("/api/inpaint", request(mask=soft))
    _, nothing = page.post("/api/inpaint", request(mask=soft, threshold=127))
    _, inverted = page.post("/api/inpaint", request(mask=255 - hole(), invert=True))
    _, grown = page.post("/api/inpaint", request(dilate=5))
    _, small = page.post("/api/inpaint", request(mask=hole()[::2, ::2], resize=True))
    images = [np.asarray(image_in(a["image"])) for a in (all_of_it, nothing, inverted, grown, small)]
    changed = [(p != photo()).any(axis=2) for p in images]
    assert changed[0].any()
    assert not changed[1].any()
    assert "removes nothing" in nothing["notes"][0]
    np.testing.assert_array_equal(images[2], images[0])
    assert changed[3][6, 30]  # five pixels above the hole
    assert not changed[3][4, 30]
    assert changed[4].any()


def test_a_file_is_unchanged_outside_the_hole(page):
    """Orientation, colour profile and EXIF of a JPEG, by way of a lossless working copy."""
    exif = Image.Exif()
    exif[0x0112], exif[0x010F] = 6, "maker"
    original = file_of(photo(80, 60), "JPEG", quality=95, exif=exif, icc_profile=b"a profile")
    status, opened = page.post("/api/open", {"image": original})
    assert status == 200, opened
    assert (opened["format"], opened["width"], opened["height"], opened["bits"]) == ("jpg", 80, 60, 8)
    shown = np.asarray(image_in(opened["preview"]))
    _, step = page.post("/api/inpaint", {"image": original, "mask": file_of(hole()), "format": "png", "preview": 2048})
    np.testing.assert_array_equal(np.asarray(image_in(step["image"]))[hole() == 0], shown[hole() == 0])
    np.testing.assert_array_equal(np.asarray(image_in(step["preview"])), np.asarray(image_in(step["image"])))
    _, kept = page.post("/api/convert", {"image": step["image"], "like": original})
    result = image_in(kept["image"])
    assert (result.format, result.size, result.info["icc_profile"]) == ("JPEG", (80, 60), b"a profile")
    assert (result.getexif()[0x010F], result.getexif()[0x0112]) == ("maker", 1)
    assert "jpg changes known pixels" in kept["notes"][0]


def test_sixteen_bits_and_alpha_stay(page):
    deep = photo().astype(np.uint16) * 257 + 3
    alpha = np.full((60, 80), 40000, np.uint16)
    content = base64.b64encode(encode(ImageFile(deep, alpha), ".png")).decode()
    status, answer = page.post("/api/inpaint", {"image": content, "mask": file_of(hole())})
    assert status == 200, answer
    result = read_image_file("result", base64.b64decode(answer["image"]))
    np.testing.assert_array_equal(result.pixels[hole() == 0], deep[hole() == 0])
    np.testing.assert_array_equal(result.alpha, alpha)


@pytest.mark.parametrize("kind", ["jpg", "png", "webp", "tif", "bmp"])
def test_a_format_can_be_asked_for(page, kind):
    status, answer = page.post("/api/inpaint", request(format=kind))
    assert status == 200, answer
    assert image_in(answer["image"]).format == {"jpg": "JPEG", "tif": "TIFF"}.get(kind, kind.upper())
    assert answer["format"] == kind


def test_base64_may_have_lines(page):
    lines = base64.encodebytes(base64.b64decode(file_of(photo()))).decode()
    assert "\n" in lines
    assert page.post("/api/inpaint", request() | {"image": lines})[0] == 200


def test_a_preview_is_no_larger_than_asked(page):
    _, answer = page.post("/api/open", {"image": "data:image/png;base64," + file_of(photo(100, 300)), "preview": 150})
    assert image_in(answer["preview"]).size == (150, 50)
    assert (answer["width"], answer["height"]) == (300, 100)


def test_two_models_answer_by_their_names(model, tmp_path):
    torch.manual_seed(1)
    save_generator(tmp_path / "other.safetensors", FFCResNetGenerator(ngf=4, n_blocks=1).eval())
    with served(Models([model, str(tmp_path / "other.safetensors")])) as client:
        assert client.get("/health")[1]["models"] == ["tiny", "other"]
        answers = [client.post("/api/inpaint", request(model=name))[1]["image"] for name in ("tiny", "other")]
        assert answers[0] != answers[1]
        assert client.post("/api/inpaint", request())[1]["image"] == answers[0]


def test_models_are_named_by_what_tells_them_apart():
    assert list(names_of(["runs/a", "runs/b/models/best.safetensors"])) == ["a", "b"]
    assert list(names_of(["x/runs/a", "y/runs/a"])) == ["x/runs/a", "y/runs/a"]
    with pytest.raises(ValueError, match="a is given twice"):
        names_of(["runs/a", "runs/a"])


def test_built_in_images(page):
    _, names = page.get("/examples")
    status, content = page.get(f"/examples/{names[0]}")
    assert status == 200
    assert Image.open(io.BytesIO(content)).size[1] >= 400


def test_the_documentation_names_every_field_and_status(page):
    _, text = page.get("/api")
    text = text.decode()
    for table in (fields.INPAINT, fields.OPEN, fields.CONVERT):
        assert all(f"<code>{key}</code>" in text for key in table)
    for status in (400, 401, 408, 413, 415, 422, 503):
        assert f"<td>{status}</td>" in text


def schemas(page, path, method="post"):
    """The schemas of the request (None for GET) and of the answer, from the server's OpenAPI document."""
    _, content = page.get("/openapi.json")
    operation = content["paths"][path][method]
    found = [operation.get("requestBody"), operation["responses"]["200"]]
    return [part and part["content"]["application/json"]["schema"] for part in found]


@pytest.mark.parametrize("name", ["inpaint", "open", "convert"])
def test_openapi_has_the_fields_that_the_endpoint_accepts(page, name):
    table = {"inpaint": fields.INPAINT, "open": fields.OPEN, "convert": fields.CONVERT}[name]
    schema, _ = schemas(page, f"/api/{name}")
    assert set(schema["properties"]) == set(table)
    good = {"image": file_of(photo())} | {"inpaint": {"mask": file_of(hole())}, "convert": {"like": file_of(photo())},
                                          "open": {}}[name]  # fmt: skip
    assert set(schema["required"]) == good.keys()
    wrong = {"string": 3, "integer": "x", "boolean": 3}
    for key, field in schema["properties"].items():
        kind, *null = field["type"] if isinstance(field["type"], list) else [field["type"]]
        tried = [(wrong[kind], 422), (None, 200 if null else 422)]
        tried += [(field[edge] + step, 422) for edge, step in (("minimum", -1), ("maximum", 1)) if edge in field]
        tried += [(field["default"], 200)] if field.get("default") is not None else []
        for value, status in tried:
            assert page.post(f"/api/{name}", good | {key: value})[0] == status, (key, value)


def test_answers_are_as_openapi_says(page):
    jsonschema = pytest.importorskip("jsonschema")
    posts = {
        "/api/inpaint": [request(), request(preview=32, detail="on")],
        "/api/open": [{"image": file_of(photo())}, {"image": file_of(hole()), "mask": True}],
        "/api/convert": [{"image": file_of(photo()), "like": file_of(photo())}],
    }
    for path, bodies in posts.items():
        asked, answered = schemas(page, path)
        for body in bodies:
            jsonschema.validate(body, asked)
            status, answer = page.post(path, body)
            assert status == 200, answer
            jsonschema.validate(answer, answered)
    for path in ("/health", "/api/jobs/x", "/api/released"):
        _, schema = schemas(page, path.replace("jobs/x", "jobs/{name}"), "get")
        jsonschema.validate(page.get(path)[1], schema)


def test_openapi_names_every_address_and_whether_a_token_is_needed(model):
    worker = Worker(1)
    app = create_app(Models([model]), worker)
    worker.close()
    ours = [route for route in app.routes if route.path.startswith(("/api/", "/health"))]
    expected = {route.path: {method.lower() for method in route.methods - {"HEAD"}} for route in ours}
    for token in (False, True):
        content = document(token)
        assert {path: methods.keys() - {"parameters"} for path, methods in content["paths"].items()} == expected
        assert bool(content["security"]) == token


@pytest.mark.parametrize("path", ["/", "/api", "/static/base.css", "/static/style.css", "/static/main.js",
                                  "/static/stage.js", "/static/mask.js", "/static/api.js",
                                  "/static/icon.svg"])  # fmt: skip
def test_the_page_loads_nothing_from_other_servers(page, path):
    status, content, headers = page.ask("GET", path)
    assert status == 200
    elsewhere = set(re.findall(rb"(?:https?:)?//[\w.-]+\.\w+", content))
    assert elsewhere <= {b"http://127.0.0.1", b"http://www.w3.org"}
    assert "default-src 'self'" in headers["content-security-policy"]


# Refusals


def bomb():
    """A PNG of 30000 x 30000 pixels in some kilobytes."""

    def chunk(kind, content):
        return len(content).to_bytes(4, "big") + kind + content + zlib.crc32(kind + content).to_bytes(4, "big")

    header = (30000).to_bytes(4, "big") * 2 + bytes([1, 0, 0, 0, 0])
    rows = zlib.compress(b"\0" * 3751 * 3000)
    return base64.b64encode(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", rows)).decode()


BAD = {
    "no JSON": (b"{", 400, "expected a JSON object"),
    "a list": (b"[]", 400, "expected a JSON object"),
    "nested without end": (b"[" * 100000, 400, "expected a JSON object"),
    "no image": ({"mask": "x"}, 422, "image: missing"),
    "no mask": ({"image": "x"}, 422, "mask: missing"),
    "null for a mask": (request(mask=None) | {"mask": None}, 422, "mask: missing"),
    "unknown field": (request(masc=1), 422, "masc: unknown field; did you mean mask?"),
    "a number for a word": (request(model=3), 422, "model: expected a string, got 3"),
    "a word for a number": (request(dilate="3"), 422, 'dilate: expected a whole number, got "3"'),
    "true for a number": (request(dilate=True), 422, "dilate: expected a whole number, got true"),
    "not base64": (request() | {"image": "ä?"}, 422, "image: expected the bytes of a file in base64"),
    "not an image": (request() | {"image": base64.b64encode(b"hello").decode()}, 422, "image: not a readable image"),
    "half an image": (request() | {"image": file_of(photo())[:2000]}, 422, "image: not a readable image"),
    "an image of another kind": (request() | {"image": file_of(photo(), "GIF")}, 422, "image: not a readable image"),
    "a bomb": (request() | {"image": bomb()}, 413, "megapixels"),
    "a bomb for a mask": (request() | {"mask": bomb()}, 413, "megapixels"),
    "more pixels than allowed": (request(np.zeros((1001, 1000), np.uint8)), 413, "1000 x 1001 pixels are more than 1 "),
    "more bytes than allowed": (b'"' + b"x" * 3_000_000, 413, "the request has more than 2 MB"),
    "a mask of another size": (request(mask=hole(30, 40)), 422, "80 x 60 pixels; resize=true"),
    "a mask that is no image": (request() | {"mask": "aGVsbG8="}, 422, "mask: not a readable image"),
    "an unknown model": (request(model="../../etc/passwd"), 422, "model: expected tiny"),
    "an unknown format": (request(format="../x.png"), 422, "format: expected same, jpg"),
    "an unknown precision": (request(precision="fp8"), 422, "precision=fp8"),
    "an unknown strategy": (request(strategy="none"), 422, "strategy"),
    "less than no dilation": (request(dilate=-1), 422, "dilate: expected 0 to 10000, got -1"),
    "less than no preview": (request(preview=-1), 422, "preview: expected 0 to 8192, got -1"),
    "less than no feather": (request(feather=-1), 422, "feather: expected 0 to 256, got -1"),
    "a feather wider than memory": (request(feather=10**9), 422, "feather: expected 0 to 256, got 1000000000"),
    "more dilation than a number of 64 bits": (request(dilate=10**400), 422, "dilate: expected 0 to 10000"),
    "half a character in a name": (request(**{"\ud800": 1}), 422, "\\ud800: unknown field"),
    "half a character in a value": (request(precision="\ud800"), 422, "precision=\\ud800"),
    "lines in a name": (request(**{"a\nb": 1}), 422, "a b: unknown field"),
    "no quality": (request(quality=0), 422, "quality: expected 1 to 100, got 0"),
    "refined in pieces": (request(refine=True, strategy="tile"), 422, "refine=true"),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD)
def test_a_bad_request_gets_a_code_and_one_line(page, name):
    content, expected, line = BAD[name]
    status, answer = page.post("/api/inpaint", content)
    assert status == expected, answer
    assert line in answer["error"]
    assert "\n" not in answer["error"]
    assert page.get("/health")[1]["jobs"] == 0


def test_a_mask_is_shown_as_the_hole_that_it_is(page):
    layer = np.full((60, 80, 4), 255, np.uint8)
    layer[..., 3] = hole(60, 80)
    _, answer = page.post("/api/open", {"image": file_of(layer), "mask": True})
    preview = np.asarray(Image.open(io.BytesIO(base64.b64decode(answer["preview"]))))
    np.testing.assert_array_equal(preview, hole(60, 80))
    assert (answer["width"], answer["alpha"], answer["notes"]) == (80, True, [])
    _, answer = page.post("/api/open", {"image": file_of(255 - 0 * hole(60, 80)), "mask": True})
    assert "80%" in answer["notes"][0]


@pytest.mark.parametrize(("path", "content"), [("/api/open", {"image": "aGVsbG8="}), ("/api/convert", {"image": "x"})])
def test_other_endpoints_answer_a_bad_request_in_one_line(page, path, content):
    status, answer = page.post(path, content)
    assert status == 422
    assert set(answer) == {"error"}


def test_a_result_of_another_size_is_not_converted(page):
    status, answer = page.post("/api/convert", {"image": file_of(photo()), "like": file_of(photo(10, 10))})
    assert (status, answer["error"]) == (422, "like: expected an image of the same size")


@pytest.mark.parametrize("path", ["/static/../app.py", "/static/..%2fapp.py", "/static/%2e%2e/app.py",
                                  "/examples/..%2f..", "/static//etc/passwd", "/static/index.html%00", "/nowhere",
                                  "/api/nowhere"])  # fmt: skip
def test_a_name_in_a_request_is_not_used_as_a_path(page, path):
    status, answer = page.get(path)
    assert status == 404
    assert set(answer) == {"error"}


def test_another_method_or_kind_of_content_is_refused(page):
    assert page.get("/api/inpaint")[0] == 405
    body = json.dumps(request()).encode()
    for kind in ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x"):
        status, answer, _ = page.ask("POST", "/api/inpaint", body, {"Content-Type": kind})
        assert status == 415, "a page elsewhere could send it from the same browser"
        assert "application/json" in answer["error"]


def test_a_name_that_is_not_ours_is_refused(page):
    """A foreign page whose name was made to point at this machine."""
    status, _, _ = page.ask("GET", "/health", headers={"Host": "evil.example"})
    assert status == 400


def test_without_its_token_nothing_is_computed(model):
    with served(Models([model]), token="secret") as client:
        for headers in ({}, {"Authorization": "Bearer wrong"}, {"Authorization": "Bearer sécret"}):
            headers = {k: v.encode("utf-8") for k, v in headers.items()}
            for path in ("/api/inpaint", "/api/open", "/api/convert"):
                status, answer = client.post(path, request(), headers)
                assert status == 401
                assert "Authorization: Bearer TOKEN" in answer["error"]
            assert client.get("/api/jobs/x", headers=headers)[0] == 401
        assert client.post("/api/inpaint", request(), {"Authorization": "Bearer secret"})[0] == 200
        assert client.get("/health")[1] == {"status": "ok", "token": True}  # no version, no names of models
        assert client.get("/health", headers={"Authorization": "Bearer secret"})[1]["models"] == ["tiny"]


# The queue, and clients that disconnect


def half_a_request(port, path="/api/inpaint"):
    """A connection on which 9 of 100 bytes of a body have arrived."""
    connection = socket.create_connection(("127.0.0.1", port), 20)
    connection.sendall(f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
                       'Content-Length: 100\r\n\r\n{"image":'.encode())  # fmt: skip
    return connection


def status_on(connection):
    return int(connection.makefile("rb").readline().split()[1])


def test_clients_that_are_still_sending_keep_nobody_out(model):
    with served(Models([model]), most=2) as client:
        sending = [half_a_request(client.port) for _ in range(2)]
        client.wait_for(lambda: len(client.worker.jobs) == 2)
        assert client.post("/api/inpaint", request())[0] == 200
        sending += [half_a_request(client.port) for _ in range(16)]
        client.wait_for(lambda: len(client.worker.jobs) == 18)
        assert client.post("/api/inpaint", request())[0] == 503
        for connection in sending:
            connection.close()
        client.wait_for(lambda: not client.worker.jobs)


def test_a_body_that_is_too_slow_is_refused_when_its_time_is_over(page, monkeypatch):
    monkeypatch.setattr(arriving, "SECONDS", 1)
    begun = time.monotonic()
    with half_a_request(page.port) as connection:
        assert status_on(connection) == 408
    assert time.monotonic() - begun < 1.9, "the client got its time twice"


def test_an_error_is_short_whatever_it_names(page):
    status, answer = page.post("/api/inpaint", request(precision="x" * 100_000))
    assert status == 422
    assert len(answer["error"]) <= 2000


def test_a_stopped_server_answers_a_client_that_is_still_sending(model):
    with served(Models([model])) as client, half_a_request(client.port) as connection:
        client.wait_for(lambda: client.worker.jobs)
        client.worker.close()  # as a signal does
        assert status_on(connection) == 503


def test_requests_beyond_the_queue_are_refused_and_the_page_stays_usable():
    slow = Slow()
    with served(slow, most=3) as client, ThreadPoolExecutor(3) as clients:
        waiting = [clients.submit(client.post, "/api/inpaint", request(job=f"j{i}")) for i in range(2)]
        client.wait_for(lambda: {job.state for job in client.worker.jobs} == {"computing", "waiting"})
        assert client.post("/api/open", {"image": file_of(photo())})[0] == 200  # the third
        client.wait_for(lambda: any(job.what for job in client.worker.jobs))
        jobs = [client.get(f"/api/jobs/j{i}")[1] for i in range(2)]
        computing, queued = sorted(jobs, key=lambda job: job["before"])
        assert (computing["state"], computing["what"], computing["of"]) == ("computing", "pieces", 6000)
        client.wait_for(lambda: max(client.get(f"/api/jobs/j{i}")[1]["done"] for i in range(2)) > 0)
        assert (queued["state"], queued["before"]) == ("waiting", 1)
        third = clients.submit(client.post, "/api/inpaint", request())
        client.wait_for(lambda: len(client.worker.jobs) == 3)
        status, answer, headers = client.ask("POST", "/api/inpaint", json.dumps(request()).encode(),
                                             {"Content-Type": "application/json"})  # fmt: skip
        assert (status, headers["retry-after"]) == (503, "5")
        assert answer["error"].startswith("busy")
        client.worker.close()
        assert {each.result(10)[0] for each in (*waiting, third)} == {503}


def test_a_job_that_was_read_sooner_counts_before_one_admitted_sooner():
    worker = Worker(3)
    slow_to_read, quick, last = Job(), Job(), Job()
    worker.jobs += [slow_to_read, quick, last]
    quick.enter("computing")
    for job in (last, slow_to_read):
        job.enter("waiting")
        time.sleep(0.001)
    assert [worker.position(job) for job in (last, slow_to_read)] == [1, 2]
    worker.close()


def test_a_host_is_a_name_without_scheme_and_port():
    with pytest.raises(ValueError, match=r"hosts=http://lama.example.org:"):
        serve(lambda: None, port=0, hosts=["http://lama.example.org"])


def test_a_closed_connection_frees_the_worker():
    slow = Slow()
    with served(slow) as client:
        body = json.dumps(request()).encode()
        with socket.create_connection(("127.0.0.1", client.port)) as connection:
            connection.sendall(b"POST /api/inpaint HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
                               + f"Content-Length: {len(body)}\r\n\r\n".encode() + body)  # fmt: skip
            assert slow.begun.wait(10)
        left = time.monotonic()
        client.wait_for(lambda: not client.worker.jobs)
        assert time.monotonic() - left < 5, "a minute was left to compute"
        assert client.get("/api/jobs/any") == (200, {"state": "unknown"})


def test_a_real_network_is_cancelled_between_two_layers(model):
    """Not after the whole forward pass."""
    job, layers = Job(), []
    inpainter = lama.load(model, fast=False)
    for layer in inpainter.generator.modules():
        layer.register_forward_pre_hook(lambda module, inputs: layers.append(module))

    def third(module, inputs):
        if len(layers) == 3:
            job.cancel()

    for layer in inpainter.generator.modules():
        layer.register_forward_pre_hook(third)
    worker = Worker(1)
    with pytest.raises(CancelledJobError):
        asyncio.run(worker.compute(job, lambda: inpainter(photo(), hole())))
    assert len(layers) == 3
    worker.close()


def test_a_stopped_server_answers_running_requests_and_ends():
    slow = Slow()
    with ThreadPoolExecutor(1) as clients, served(slow) as client:
        answer = clients.submit(client.post, "/api/inpaint", request())
        assert slow.begun.wait(10)
        client.worker.close()  # as a signal does
        assert answer.result(5) == (503, {"error": "the server is stopping"})


# The command


def test_the_command_serves_connects_nowhere_and_leaves_nothing(model, tmp_path):
    work, log = tmp_path / "work", tmp_path / "log"
    work.mkdir()
    process = start(str(log), str(ROOT / "bin" / "demo.py"), f"model.path={model}", "port=0", cwd=work, code=WATCHED)
    try:
        line = process.stdout.readline()
        port = int(re.search(r"open http://127\.0\.0\.1:(\d+)/ in a browser", line)[1])
        client = Client(port)
        assert client.post("/api/inpaint", request())[0] == 200
        assert client.post("/api/inpaint", request() | {"image": bomb()})[0] == 413
        assert client.get("/examples/coffee")[0] == 200
    finally:
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=20)
    assert process.returncode == 130
    assert "Traceback" not in errors
    assert list(work.rglob("*")) == []
    seen = log.read_text().splitlines()
    assert [each for each in seen if each.startswith("socket")] == []
    assert [each for each in seen if each.startswith("write") and "/dev/" not in each and "cache" not in each] == []


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["model.path=nowhere"], "error: nowhere: no model there"),
        (["model.path=a (1)"], "error: a (1): no model there"),
        (["model.others=nowhere"], "model.others"),
        (["host=nowhere.example"], "host=nowhere.example: expected 127.0.0.1, 0.0.0.0 or an address"),
        (["host=192.0.2.1"], "host=192.0.2.1 port=0: "),
        (["port=x"], "port"),
        (["port=99999"], "port=99999"),
        (["queue=0"], "queue=0: expected at least 1"),
        (["max_mb=0"], "max_mb"),
        (["tokn=x"], "tokn"),
    ],
)
def test_a_mistake_in_the_command_is_one_line(model, tmp_path, arguments, line):
    process = start(f"model.path={model}", "port=0", *arguments, cwd=tmp_path)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 2, errors
    assert errors.startswith("error: ")
    assert line in errors
    assert errors.count("\n") == 1


def test_a_port_that_is_taken_is_one_line():
    with socket.create_server(("127.0.0.1", 0)) as taken, pytest.raises(ValueError, match="already in use"):
        serve(lambda: pytest.fail("no model is loaded first"), port=taken.getsockname()[1])


def test_a_public_address_needs_a_token_and_a_warning(model, tmp_path):
    process = start(f"model.path={model}", "port=0", "host=0.0.0.0", cwd=tmp_path)
    try:
        assert "0.0.0.0 is open to every machine" in process.stdout.readline()
        port, token = re.search(r"http://127\.0\.0\.1:(\d+)/#token=(\S+)", process.stdout.readline()).groups()
        assert len(token) > 15
        client = Client(int(port))
        assert client.post("/api/inpaint", request())[0] == 401
        assert client.post("/api/inpaint", request(), {"Authorization": f"Bearer {token}"})[0] == 200
    finally:
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=20)


def test_which_addresses_are_this_machine_alone():
    assert is_local("127.0.0.1")
    assert is_local("localhost")
    assert is_local("::1")
    assert not is_local("0.0.0.0")
    assert not is_local("192.168.0.7")


# Long runs


def resident(pid):
    """Bytes of memory that a process holds."""
    return int(re.search(r"VmRSS:\s+(\d+)", Path(f"/proc/{pid}/status").read_text())[1]) * 1024


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="reads /proc")
def test_two_hundred_requests_eight_at_a_time(model, tmp_path):
    """All are answered or refused clearly; memory after warm-up grows by less than 2 %."""
    process = start(f"model.path={model}", "port=0", cwd=tmp_path)
    try:
        port = int(re.search(r":(\d+)/", process.stdout.readline())[1])
        sizes = [(40 + 37 * (i % 11), 60 + 53 * (i % 7)) for i in range(200)]

        def one(i):
            height, width = sizes[i % 200]
            return Client(port).post("/api/inpaint", request(photo(height, width, i), hole(height, width)))[0]

        with ThreadPoolExecutor(8) as clients:
            assert set(clients.map(one, range(100))) <= {200, 503}  # every size, several times
            time.sleep(1)  # where nothing is to be computed, memory is given back
            before = resident(process.pid)
            answers = list(clients.map(one, range(200)))
            time.sleep(1)
        after = resident(process.pid)
        print(f"{answers.count(200)} answered, {answers.count(503)} refused; {before} -> {after} bytes")
        assert set(answers) <= {200, 503}
        assert answers.count(200) > 100
        assert after < 1.02 * before
    finally:
        process.kill()
        process.communicate()


def test_a_released_network_is_listed_and_fetched_when_asked(model, tmp_path, monkeypatch):
    content = Path(model).read_bytes()
    with serve_files() as mirror, served(Models([model])) as client:
        spec = ReleasedFile("a.safetensors", (f"{mirror.url}/a",), hashlib.sha256(content).hexdigest(), len(content))
        monkeypatch.setattr(pretrained, "NETWORKS", table := {"toy": ReleasedNetwork("toy", (spec,), "toys", "MIT")})
        monkeypatch.setattr(networks, "NETWORKS", table)
        monkeypatch.setenv("LAMA_WEIGHTS", str(tmp_path))
        assert client.get("/api/released")[1] == [{"name": "toy", "megabytes": 0, "here": False, "licence": "MIT"}]
        status, answer = client.post("/api/released/toy", {})
        assert status == 502
        assert mirror.url in answer["error"]
        mirror.files["/a"] = content
        assert client.post("/api/released/toy", {}) == (200, {"models": ["tiny", "toy"]})
        assert client.get("/api/released")[1] == []
        assert client.get("/health")[1]["models"] == ["tiny", "toy"]
        status, answer = client.post("/api/released/other", {})
        assert status == 422
        assert "other" in answer["error"]


# Behind a proxy


def test_a_host_that_is_not_known_is_refused_and_named(model):
    with served(Models([model]), hosts=("127.0.0.1", "lama.example.org", "::1")) as page:
        for host in ("lama.example.org", "Lama.Example.org:443", "[::1]:80"):
            assert page.get("/health", headers={"Host": host})[0] == 200
        status, answer = page.get("/health", headers={"Host": "evil.example"})
        assert status == 400
        assert "hosts=[evil.example]" in answer["error"]


def test_the_page_works_below_another_path(page):
    """No address in it begins at the root of the server, so a proxy may serve it at /lama/."""
    for path in ("/", "/api", "/static/main.js", "/static/api.js", "/static/base.css", "/static/style.css"):
        text = page.ask("GET", path)[1].decode()
        assert not re.search(r"""(?:href|src)=["']/|(?:get|post|fetch|url)\(["'`]/|src: [`"']/|from ["']/""", text), (
            path
        )


def test_frames_are_forbidden_unless_allowed(model, page):
    policy = page.ask("GET", "/")[2]["content-security-policy"]
    assert "frame-ancestors 'none'" in policy
    with served(Models([model]), frames="http://localhost:8888") as framed:
        assert "frame-ancestors http://localhost:8888" in framed.ask("GET", "/")[2]["content-security-policy"]


@pytest.mark.parametrize("frames", ["'none'; script-src *", "a\nb", ""])
def test_frames_cannot_change_the_rest_of_the_policy(frames):
    with pytest.raises(ValueError, match="frames="):
        serve(lambda: None, port=0, frames=frames)


def test_the_queue_is_bounded_by_bytes():
    worker = Worker(8, most_mb=1)
    first, second = Job(), Job()
    with worker.admitted(first):
        worker.hold(first, 2_000_000)  # alone, whatever its size
        with worker.admitted(second):
            with pytest.raises(RefusedError) as refused:
                worker.hold(second, 10)
            assert refused.value.status == 503
    with worker.admitted(second):
        worker.hold(second, 10)


def test_a_body_beyond_the_queue_is_refused_while_it_arrives():
    slow = Slow()
    with served(slow, most_mb=0.05) as page, ThreadPoolExecutor(1) as others:
        running = others.submit(page.post, "/api/inpaint", request())
        assert slow.begun.wait(20)
        status, answer = page.post("/api/inpaint", request(image=photo(200, 200)))
        assert status == 503
        assert "MB" in answer["error"]
        for job in page.worker.jobs:
            job.cancel()
        running.result()
