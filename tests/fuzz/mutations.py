"""Seeded damage to files, and small sound files of every kind to damage."""

import csv
import io
import json
import zipfile

import numpy as np
import tifffile
import torch
from page import file_of
from PIL import Image

from lama.checkpoints import save_generator
from lama.data.manifest import write_manifest
from lama.models import FFCResNetGenerator
from lama.pictures.encode import encode
from lama.pictures.reading import ImageFile


def damaged(content: bytes, rng: np.random.Generator) -> bytes:
    """``content`` with one to four mutations: bytes flipped, cut, zeroed, inserted, doubled, the head changed."""
    data = bytearray(content)
    for _ in range(int(rng.integers(1, 5))):
        kind, at = int(rng.integers(7)), int(rng.integers(len(data))) if data else 0
        length = int(rng.integers(1, 65))
        if kind == 0 and data:
            data[at] ^= 1 << int(rng.integers(8))
        elif kind == 1:
            del data[at:]
        elif kind == 2:
            del data[at : at + length]
        elif kind == 3:
            data[at : at + length] = bytes(len(data[at : at + length]))
        elif kind == 4:
            data[at:at] = rng.integers(0, 256, length, np.uint8).tobytes()
        elif kind == 5:
            data[at:at] = data[at : at + length]
        else:
            for position in rng.integers(0, max(1, min(len(data), 128)), 4).tolist():
                data[position : position + 1] = bytes([int(rng.integers(256))])
    return bytes(data)


def images() -> dict[str, bytes]:
    """Twelve kinds of image files, 24 x 20 pixels."""
    rgb = np.random.default_rng(0).integers(0, 256, (20, 24, 3), np.uint8)
    alpha = np.arange(480, dtype=np.uint8).reshape(20, 24)
    deep = rgb.astype(np.uint16) * 257
    exif = Image.Exif()
    exif[0x0112], exif[0x010F] = 6, "Maker"

    def saved(image: Image.Image, kind: str, **options: object) -> bytes:
        file = io.BytesIO()
        image.save(file, kind, **options)
        return file.getvalue()

    def tiff(array: np.ndarray, **options: object) -> bytes:
        file = io.BytesIO()
        tifffile.imwrite(file, array, **options)
        return file.getvalue()

    photo = Image.fromarray(rgb)
    return {
        "png": saved(photo, "PNG"),
        "png of 16 bits": encode(ImageFile(deep), ".png"),
        "png with a palette": saved(photo.convert("P"), "PNG", transparency=3),
        "png with alpha": saved(Image.fromarray(np.dstack([rgb, alpha])), "PNG"),
        "jpeg with exif": saved(photo, "JPEG", exif=exif),
        "jpeg of cmyk": saved(photo.convert("CMYK"), "JPEG"),
        "webp": saved(photo, "WEBP"),
        "bmp": saved(photo, "BMP"),
        "tiff": tiff(rgb, photometric="rgb"),
        "tiff with lzw": saved(photo, "TIFF", compression="tiff_lzw"),
        "tiff of 16 bits": tiff(deep, photometric="rgb"),
        "tiff of 1 bit": saved(Image.fromarray(alpha > 99), "TIFF", compression="group4"),
    }


def checkpoints(folder) -> dict[str, tuple[str, bytes]]:
    """{kind: (suffix, content)} of one small network."""
    torch.manual_seed(0)
    generator = FFCResNetGenerator(ngf=2, n_blocks=1).eval()
    save_generator(folder / "a.safetensors", generator)
    torch.save({"state_dict": {f"generator.{k}": v for k, v in generator.state_dict().items()}}, folder / "a.ckpt")
    torch.jit.save(torch.jit.trace(generator, torch.rand(1, 4, 32, 32)), folder / "a.pt")
    suffixes = {"safetensors": ".safetensors", "archive": ".ckpt", "torchscript": ".pt"}
    return {kind: (suffix, (folder / f"a{suffix}").read_bytes()) for kind, suffix in suffixes.items()}


def inside(content: bytes, rng: np.random.Generator) -> bytes:
    """The zip archive ``content`` with its pickle damaged and a right checksum, which plain damage would not have."""
    file = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(content)) as before, zipfile.ZipFile(file, "w") as after:
        for entry in before.infolist():
            data = before.read(entry)
            after.writestr(entry.filename, damaged(data, rng) if entry.filename.endswith("data.pkl") else data)
    return file.getvalue()


def table() -> bytes:
    file = io.StringIO()
    rows = [["image", "mask", "out"], ["a.png", "m.png", "o.png"], ["b.png", "m.png", "p.png"]]
    csv.writer(file).writerows(rows)
    return file.getvalue().encode()


def manifest(folder) -> bytes:
    write_manifest(folder, {"seed": 1}, {"a.png": "0" * 64, "a_mask000.png": "1" * 64}, {"b": "too small"})
    content = (folder / "manifest.json").read_bytes()
    (folder / "manifest.json").unlink()
    return content


def body() -> bytes:
    image = np.zeros((8, 8, 3), np.uint8)
    return json.dumps({"image": file_of(image), "mask": file_of(image[..., 0]), "threshold": 3, "feather": 2,
                       "invert": True, "format": "png", "quality": 90, "preview": 16, "job": "x"}).encode()  # fmt: skip


CONFIG = b"""generator:
  kind: ffc_resnet
  input_nc: 4
  output_nc: 3
  ngf: 2
  n_downsampling: 3
  n_blocks: 1
  add_out_act: sigmoid
  init_conv_kwargs: {ratio_gin: 0, ratio_gout: 0, enable_lfu: false}
  downsample_conv_kwargs: {ratio_gin: 0, ratio_gout: 0, enable_lfu: false}
  resnet_conv_kwargs: {ratio_gin: 0.75, ratio_gout: 0.75, enable_lfu: false}
"""
