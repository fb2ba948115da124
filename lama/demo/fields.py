"""The fields of requests: one table that checks them and is shown in the documentation."""

import difflib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from lama.serving.refused import RefusedError

REQUIRED = object()


@dataclass(frozen=True)
class Field:
    """One field of a request. Values without ``range`` are checked where they are used."""

    kind: type
    default: Any  # REQUIRED: no default
    meaning: str
    range: tuple[int, int] | None = None  # smallest and largest value


IMAGE = Field(str, REQUIRED, "the image: the bytes of a JPEG, PNG, WebP, TIFF or BMP file in base64")
FORMAT = Field(str, "same", "format of the result: same (as the image), jpg, png, webp, tif or bmp")
QUALITY = Field(int, 95, "quality of jpg and webp; webp is lossless at 100", (1, 100))
PREVIEW = Field(int, 0, "longest side in pixels of an additional preview (PNG of 8 bits); 0: none", (0, 8192))
MASK_FIELDS = {
    "invert": Field(bool, False, "the black pixels are the hole, not the white ones"),
    "threshold": Field(
        int, 0, "pixels brighter than this (of 255) are the hole; 0: every pixel that is not black", (0, 254)
    ),
    "dilate": Field(int, 0, "pixels by which the hole grows", (0, 10_000)),
    "resize": Field(bool, False, "scale a mask of another size to the image"),
}
OPTION_FIELDS = {
    "precision": Field(str, "fp32", "fp32, or bf16 or tf32 (GPU): faster, less exact"),
    "strategy": Field(str, "auto", "auto, full, crop or tile: how a large image is computed"),
    "feather": Field(int, 0, "width in pixels, inside the hole, over which a step at its edge is smoothed", (0, 256)),
    "detail": Field(
        str, "auto", "auto, on or off: fill the hole with texture from the image, in the network's colours"
    ),
    "scale": Field(
        int,
        None,
        "longer side in pixels at which the network sees a hole; default: 512, or 256 for small and networks from it",
        (64, 10_000),
    ),
    "refine": Field(bool, False, "multi-scale refinement, for large holes in large images: minutes on a CPU"),
}
INPAINT = {
    "image": IMAGE,
    "mask": Field(str, REQUIRED, "a file in base64, of the size of the upright image; pixels not black are the hole"),
    "ignore": Field(
        str, "", "a mask file in base64: pixels not black are hidden from the network, and stay as they are"
    ),
    "model": Field(str, None, "one of the models of /health; default: the first"),
    **MASK_FIELDS,
    **OPTION_FIELDS,
    "format": FORMAT,
    "quality": QUALITY,
    "preview": PREVIEW,
    "job": Field(str, "", "a name of your choice, for GET /api/jobs/NAME"),
}
OPEN = {
    "image": IMAGE,
    "mask": Field(bool, False, "the file is a mask: the preview shows its hole in white, the notes are about it"),
    "preview": Field(int, 2048, "longest side of the preview in pixels", (1, 8192)),
}
CONVERT = {
    "image": IMAGE,
    "like": Field(str, REQUIRED, "the file that gives the result its metadata, and its format if format is same"),
    "format": FORMAT,
    "quality": QUALITY,
}


def parse(body: bytes, fields: Mapping[str, Field]) -> dict[str, Any]:
    """The values of all ``fields``. Raises RefusedError if ``body`` is no JSON object, ValueError for a wrong field."""
    try:
        given = json.loads(body)
    except (ValueError, RecursionError):
        given = None
    if not isinstance(given, dict):
        raise RefusedError(400, 'expected a JSON object, such as {"image": "...", "mask": "..."}; see /api')
    for key in given:
        if key not in fields:
            near = difflib.get_close_matches(key, fields, 1)
            raise ValueError(f"{key[:40]}: unknown field{f'; did you mean {near[0]}?' if near else ''}; see /api")
    return {key: _value(key, field, given) for key, field in fields.items()}


def _value(key: str, field: Field, given: Mapping[str, Any]) -> Any:
    value = given.get(key)
    if value is None:
        if field.default is REQUIRED:
            raise ValueError(f"{key}: missing; expected {field.meaning}")
        return field.default
    if type(value) is not field.kind:  # True is an int in Python, but not here
        kinds = {str: "a string", int: "a whole number", bool: "true or false"}
        raise ValueError(f"{key}: expected {kinds[field.kind]}, got {json.dumps(value)[:40]}")
    if isinstance(value, int) and field.range is not None and not field.range[0] <= value <= field.range[1]:
        raise ValueError(f"{key}: expected {field.range[0]} to {field.range[1]}, got {value}")
    return value
