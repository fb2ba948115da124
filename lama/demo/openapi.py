"""The OpenAPI document of the endpoint, made from the table of request fields that checks them."""

from collections.abc import Mapping
from typing import Any

from lama.demo import fields

Schema = dict[str, Any]
STATUSES = {
    400: "not a JSON object, or a Host header that is not accepted", 401: "missing or wrong token",
    408: "the request arrived too slowly", 413: "the request, or its image, is too large",
    415: "not Content-Type: application/json", 422: "a missing, unknown or wrong field, or an unreadable image",
    503: "the queue is full; the header Retry-After says when to try again",
}  # fmt: skip
FETCHING = {502: "the network is not on the server's machine and could not be fetched"}
TYPES = {str: "string", int: "integer", bool: "boolean"}
TEXT, WHOLE, NUMBER, YES_OR_NO = ({"type": kind} for kind in ("string", "integer", "number", "boolean"))
TEXTS = {"type": "array", "items": TEXT}
FILE = {"type": "string", "contentEncoding": "base64"}
IMAGE = {"image": FILE, "format": TEXT, "width": WHOLE, "height": WHOLE, "notes": TEXTS}
JOB = {"seconds": NUMBER, "before": WHOLE, "what": TEXT, "done": WHOLE, "of": WHOLE}
HEALTH = {"version": TEXT, "models": TEXTS, "jobs": WHOLE, "computing": WHOLE, "most_jobs": WHOLE, "max_mb": NUMBER,
          "max_megapixels": NUMBER}  # fmt: skip
RELEASED = {"name": TEXT, "megabytes": {"type": ["integer", "null"]}, "here": YES_OR_NO, "licence": TEXT}


def document(token: bool) -> Schema:
    """The document, for a server with or without a ``token``; its addresses are relative to its own."""
    named = {"name": "name", "in": "path", "required": True, "schema": TEXT}
    posts = {
        "/api/inpaint": ("Fill the hole of an image.", fields.INPAINT, _answer(
            IMAGE | {"seconds": NUMBER}, {"preview": FILE, "guide": FILE})),
        "/api/open": ("The properties of an image or a mask, and a preview.", fields.OPEN, _answer(
            {"format": TEXT, "width": WHOLE, "height": WHOLE, "bits": WHOLE, "alpha": YES_OR_NO, "notes": TEXTS,
             "preview": FILE})),
        "/api/convert": ("An image in the format and with the metadata of another.", fields.CONVERT, _answer(IMAGE)),
    }  # fmt: skip
    paths: dict[str, Schema] = {
        path: {"post": {
            "summary": summary, "requestBody": {"required": True, "content": _json(_request(table))},
            "responses": _responses(answer, *STATUSES),
        }}
        for path, (summary, table, answer) in posts.items()
    }  # fmt: skip
    paths |= {
        "/api/jobs/{name}": {"parameters": [named], "get": {
            "summary": "The progress of the request with that job.",
            "responses": _responses(_answer({"state": TEXT}, JOB), 401)}},
        "/api/released": {"get": {
            "summary": "The released networks that are not loaded.",
            "responses": _responses({"type": "array", "items": _answer(RELEASED)}, 401)}},
        "/api/released/{name}": {"parameters": [named], "post": {
            "summary": "Load a released network, fetched before if it is not on the server's machine.",
            "responses": _responses(_answer({"models": TEXTS}), 401, 422, *FETCHING)}},
        "/health": {"get": {
            "summary": "What runs here; without the token of a server that has one, only that it runs.",
            "security": [{}, {"token": []}],
            "responses": _responses(_answer({"status": TEXT, "token": YES_OR_NO}, HEALTH))}},
    }  # fmt: skip
    return {
        "openapi": "3.1.0",
        "info": {"title": "LaMa: the endpoint", "version": "1", "description": "The page /api explains it."},
        "servers": [{"url": "."}],
        "security": [{"token": []}] if token else [],
        "paths": paths,
        "components": {"securitySchemes": {"token": {"type": "http", "scheme": "bearer"}}},
    }


def _request(table: Mapping[str, fields.Field]) -> Schema:
    required = [name for name, field in table.items() if field.default is fields.REQUIRED]
    described = {name: _field(field) for name, field in table.items()}
    return {"type": "object", "required": required, "additionalProperties": False, "properties": described}


def _field(field: fields.Field) -> Schema:
    kind = TYPES[field.kind]
    if field.default is fields.REQUIRED:
        return {"type": kind, "description": field.meaning}
    schema: Schema = {"type": [kind, "null"], "description": field.meaning, "default": field.default}
    if field.range is not None:
        schema["minimum"], schema["maximum"] = field.range
    return schema


def _answer(always: Schema, sometimes: Schema | None = None) -> Schema:
    properties = {**always, **(sometimes or {})}
    return {"type": "object", "required": list(always), "additionalProperties": False, "properties": properties}


def _json(schema: Schema) -> Schema:
    return {"application/json": {"schema": schema}}


def _responses(answer: Schema, *refusals: int) -> Schema:
    refused = _json(_answer({"error": TEXT}))
    good = {"200": {"description": "the answer", "content": _json(answer)}}
    words = STATUSES | FETCHING
    return good | {str(status): {"description": words[status], "content": refused} for status in refusals}
