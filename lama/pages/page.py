"""Filling a template of this folder, and images as part of a page."""

import base64
import io
from typing import Any

import jinja2
import numpy as np
from PIL import Image

from lama.interfaces import ImageArray, MaskArray

PINK = np.array([236, 72, 153], np.uint8)  # no photograph has much of it
_TEMPLATES = jinja2.Environment(
    loader=jinja2.PackageLoader("lama.pages", ""),
    autoescape=True,
    trim_blocks=True,
    lstrip_blocks=True,
    undefined=jinja2.StrictUndefined,
)


def render(name: str, **context: Any) -> str:
    """The template ``name``.html.j2 of this folder with its values filled in."""
    return _TEMPLATES.get_template(f"{name}.html.j2").render(**context)


def data_url(content: bytes, kind: str) -> str:
    """A file as an address inside the page; ``kind`` is its MIME type."""
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"


def image_url(image: ImageArray, longest: int = 512) -> str:
    """An image (H, W, 3) for the page, made smaller where a side has more than ``longest`` pixels."""
    small = Image.fromarray(image)
    small.thumbnail((longest, longest))
    buffer = io.BytesIO()
    small.save(buffer, "JPEG", quality=92)
    return data_url(buffer.getvalue(), "image/jpeg")


def with_hole(image: ImageArray, mask: MaskArray) -> ImageArray:
    """The image with its hole in pink."""
    return np.where(mask[..., None], PINK, image)
