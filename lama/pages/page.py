"""Render the templates of this folder, and embed images in a page."""

import base64
import io
from typing import Any

import jinja2
import numpy as np
from PIL import Image

from lama.interfaces import ImageArray, MaskArray

PINK = np.array([236, 72, 153], np.uint8)  # a colour that is rare in photographs
_TEMPLATES = jinja2.Environment(
    loader=jinja2.PackageLoader("lama.pages", ""),
    autoescape=True,
    trim_blocks=True,
    lstrip_blocks=True,
    undefined=jinja2.StrictUndefined,
)


def render(name: str, **context: Any) -> str:
    """The template ``name``.html.j2 of this folder, rendered with ``context``."""
    return _TEMPLATES.get_template(f"{name}.html.j2").render(**context)


def data_url(content: bytes, kind: str) -> str:
    """The content of a file as a data URL; ``kind`` is its MIME type."""
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"


def image_url(image: ImageArray, longest: int = 512) -> str:
    """An image (H, W, 3) as a JPEG data URL, reduced to at most ``longest`` pixels on each side."""
    small = Image.fromarray(image)
    small.thumbnail((longest, longest))
    buffer = io.BytesIO()
    small.save(buffer, "JPEG", quality=92)
    return data_url(buffer.getvalue(), "image/jpeg")


def with_hole(image: ImageArray, mask: MaskArray) -> ImageArray:
    """The image (H, W, 3) with its hole in pink."""
    return np.where(mask[..., None], PINK, image)
