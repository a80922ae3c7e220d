"""The OpenAPI 3.1 page of the API, made of the table of endpoints and the types on the wire."""

from __future__ import annotations

import http
from typing import Any, Final

import msgspec

import node
from node.gateway import schema
from node.gateway.endpoints import ENDPOINTS, EVENTS, Endpoint
from node.gateway.http_signature import COMPONENTS, COVERED_FIELDS, TAG
from node.gateway.problems import Problem
from node.web.app import PROBLEM_TYPE

_TEMPLATE: Final = "#/components/schemas/{name}"
_PROBLEMS: Final = (400, 401, 403, 404, 409, 413, 415, 421, 422, 429, 502, 503, 504)
_DESCRIPTION: Final = f"""\
Records digests of documents on a permissioned chain and gives receipts that anybody can verify
offline, years later. Every request is made over a connection with a certificate of this gateway,
or signed by HTTP Message Signatures (RFC 9421) with a key registered here: Ed25519 or P-256, over
{", ".join(COMPONENTS)} and those of {", ".join(COVERED_FIELDS)} that it has, with the parameters
created, keyid, nonce and tag="{TAG}".
"""


def build_page() -> bytes:
    """Return the page, JSON, the same bytes for the same code."""
    wire = [each.gives for each in ENDPOINTS if isinstance(each.gives, type)]
    wire += [each.takes for each in ENDPOINTS if isinstance(each.takes, type)]
    wire += [Problem, schema.BlockEvent, schema.TransactionEvent, schema.GovernanceEvent]
    _, components = msgspec.json.schema_components(
        list(dict.fromkeys(wire)), ref_template=_TEMPLATE
    )
    paths: dict[str, dict[str, Any]] = {}
    for endpoint in ENDPOINTS:
        paths.setdefault(endpoint.path, {})[endpoint.method.lower()] = _operation(endpoint)
    page = {
        "openapi": "3.1.0",
        "info": {
            "title": "govchain gateway",
            "version": node.__version__,
            "description": _DESCRIPTION,
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "security": [{"certificate": []}, {"signature": []}],
        "paths": paths,
        "components": {
            "schemas": components,
            "securitySchemes": {
                "certificate": {
                    "type": "mutualTLS",
                    "description": "A certificate that govchain gateway app add made.",
                },
                "signature": {
                    "type": "http",
                    "scheme": "signature",
                    "description": "HTTP Message Signatures, RFC 9421.",
                },
            },
            "responses": {
                "problem": {
                    "description": "Why it was refused (RFC 9457).",
                    "content": {PROBLEM_TYPE: {"schema": {"$ref": _ref("Problem")}}},
                }
            },
        },
    }
    return msgspec.json.format(msgspec.json.encode(page), indent=1) + b"\n"


def _operation(endpoint: Endpoint) -> dict[str, Any]:
    answers: dict[str, Any] = {
        str(endpoint.status): {
            "description": http.HTTPStatus(endpoint.status).phrase,
            "content": _content(endpoint.gives),
        }
    }
    answers |= {str(status): {"$ref": "#/components/responses/problem"} for status in _PROBLEMS}
    found: dict[str, Any] = {
        "operationId": endpoint.name,
        "summary": endpoint.summary,
        "description": f"Needs the right `{endpoint.right}`.",
        "parameters": [
            *_parameters(endpoint.path_parameters, "path"),
            *_parameters(endpoint.query, "query"),
            *_fields(endpoint),
        ],
        "responses": answers,
    }
    if endpoint.takes is not None:
        found["requestBody"] = {"required": True, "content": _content(endpoint.takes)}
    return found


def _content(kind: type | str) -> dict[str, Any]:
    if isinstance(kind, str):
        shape = {"type": "string"}
        if not kind.startswith("text/"):
            shape["format"] = "binary"
        return {kind: {"schema": shape}}
    return {"application/json": {"schema": {"$ref": _ref(kind.__name__)}}}


def _parameters(kind: type, place: str) -> list[dict[str, Any]]:
    _, components = msgspec.json.schema_components([kind], ref_template=_TEMPLATE)
    described = components[kind.__name__]
    required = described.get("required", [])
    found = []
    for name, told in described["properties"].items():
        shape = {each: value for each, value in told.items() if each != "default"}
        if "anyOf" in shape:  # a parameter that is absent is none, never null
            (shape,) = [each for each in shape["anyOf"] if each != {"type": "null"}]
        elif isinstance(shape.get("type"), list):
            shape["type"] = next(each for each in shape["type"] if each != "null")
        found.append({"name": name, "in": place, "required": name in required, "schema": shape})
    return found


KEY_PATTERN: Final = r'^("[ !#-\[\]-~]{1,128}"|[!#-\[\]-~]([ !#-\[\]-~]{0,126}[!#-\[\]-~])?)$'
"""Of idempotency keys, as `api.py` takes them: with quotation marks around, or without."""


def _fields(endpoint: Endpoint) -> list[dict[str, Any]]:
    if endpoint.is_idempotent_by_key:
        told = "New for each request, the same to repeat one: it is carried out once in a day."
        shape = {"type": "string", "minLength": 1, "maxLength": 130, "pattern": KEY_PATTERN}
        return [_field("Idempotency-Key", told, shape, required=True)]
    if endpoint is EVENTS:
        told = "Id of the last event that was seen; what follows it is sent."
        shape = {"type": "string", "pattern": "^[0-9]{1,18}[.][0-9]{1,9}$"}
        return [_field("Last-Event-ID", told, shape, required=False)]
    return []


def _field(name: str, told: str, shape: dict[str, Any], *, required: bool) -> dict[str, Any]:
    return {
        "name": name,
        "in": "header",
        "required": required,
        "description": told,
        "schema": shape,
    }


def _ref(name: str) -> str:
    return _TEMPLATE.format(name=name)
