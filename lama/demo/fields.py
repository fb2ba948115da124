"""The fields of a request: a JSON object, checked by one table that the documentation page shows as well."""

import difflib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from lama.demo.refused import RefusedError

REQUIRED = object()


@dataclass(frozen=True)
class Field:
    """One key of a request. What has no range here is checked by what uses it."""

    kind: type
    default: Any  # REQUIRED where there is none
    meaning: str
    range: tuple[int, int] | None = None  # least and most of a number


IMAGE = Field(str, REQUIRED, "the image: the bytes of a JPEG, PNG, WebP, TIFF or BMP file in base64")
FORMAT = Field(str, "same", "of the result: same as the image's, jpg, png, webp, tif or bmp")
QUALITY = Field(int, 95, "of jpg and webp; webp at 100 is lossless", (1, 100))
PREVIEW = Field(int, 0, "also send a PNG of 8 bits with sides of at most so many pixels; 0: none", (0, 8192))
MASK_FIELDS = {
    "invert": Field(bool, False, "remove black in place of white"),
    "threshold": Field(int, 0, "brighter than this (of 255) is removed; 0: every pixel that is not black"),
    "dilate": Field(int, 0, "pixels by which the hole grows"),
    "resize": Field(bool, False, "stretch a mask of another size to the image"),
}
OPTION_FIELDS = {
    "precision": Field(str, "fp32", "or bf16: faster, less exact"),
    "strategy": Field(str, "auto", "auto, full, crop or tile: how a large image is computed"),
    "feather": Field(int, 0, "pixels inside the hole over which a step at the seam is levelled out"),
    "refine": Field(bool, False, "multi-scale refinement, for large holes in large images: minutes on a CPU"),
}
INPAINT = {
    "image": IMAGE,
    "mask": Field(str, REQUIRED, "another file in base64, of the image's size (upright): what is not black goes"),
    "model": Field(str, None, "one of /health's models; without it, the first"),
    **MASK_FIELDS,
    **OPTION_FIELDS,
    "format": FORMAT,
    "quality": QUALITY,
    "preview": PREVIEW,
    "job": Field(str, "", "a name of your own, to ask GET /api/jobs/NAME how far it is"),
}
OPEN = {
    "image": IMAGE,
    "mask": Field(bool, False, "the file is a mask: the preview shows its hole in white, the notes are about it"),
    "preview": Field(int, 2048, "longest side of the preview in pixels", (1, 8192)),
}
CONVERT = {
    "image": IMAGE,
    "like": Field(str, REQUIRED, "the file whose metadata, and format where that is same, the result gets"),
    "format": FORMAT,
    "quality": QUALITY,
}


def parse(body: bytes, fields: Mapping[str, Field]) -> dict[str, Any]:
    """The values of all ``fields``. Raises RefusedError for what is no JSON object, ValueError for a field."""
    try:
        given = json.loads(body)
    except (ValueError, RecursionError):
        given = None
    if not isinstance(given, dict):
        raise RefusedError(400, 'expected a JSON object, such as {"image": "...", "mask": "..."}; see /api')
    for key in given:
        if key not in fields:
            near = difflib.get_close_matches(key, fields, 1)
            raise ValueError(f"{key[:40]}: unknown field{f'; do you mean {near[0]}?' if near else ''}; see /api")
    return {key: _value(key, field, given) for key, field in fields.items()}


def _value(key: str, field: Field, given: Mapping[str, Any]) -> Any:
    value = given.get(key)
    if value is None:
        if field.default is REQUIRED:
            raise ValueError(f"{key}: missing; expected {field.meaning}")
        return field.default
    if type(value) is not field.kind:  # True is no number here
        kinds = {str: "a string", int: "a whole number", bool: "true or false"}
        raise ValueError(f"{key}: expected {kinds[field.kind]}, got {json.dumps(value)[:40]}")
    if isinstance(value, int) and field.range is not None and not field.range[0] <= value <= field.range[1]:
        raise ValueError(f"{key}: expected {field.range[0]} to {field.range[1]}, got {value}")
    return value
