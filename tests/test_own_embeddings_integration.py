"""Vectors that Portal makes itself, with the extra `knowledge` and no backend at all."""

import base64
import math
import struct

import pytest

from tests.conftest import StartPortal

pytestmark = pytest.mark.integration
NAME = "portal/wordllama-256"


def test_auto_embeds_without_any_backend_and_near_texts_are_near(start_portal: StartPortal) -> None:
    portal = start_portal()
    texts = ["The cat sleeps on the sofa.", "A kitten naps on a couch.", "Rates rose again."]
    answer = portal.client.post("/v1/embeddings", json={"model": "auto", "input": texts})
    body = answer.json()
    assert (answer.status_code, body["model"]) == (200, NAME)
    cat, kitten, rates = (each["embedding"] for each in body["data"])
    assert len(cat) == 256
    assert math.isclose(math.hypot(*cat), 1, abs_tol=1e-3)
    assert _dot(cat, kitten) > _dot(cat, rates) + 0.1


def test_its_own_name_works_in_base64_and_refuses_another_length(start_portal: StartPortal) -> None:
    portal = start_portal()
    body = {"model": NAME, "input": "hello", "encoding_format": "base64"}
    found = portal.client.post("/v1/embeddings", json=body).json()["data"][0]["embedding"]
    assert len(struct.unpack("<256f", base64.b64decode(found))) == 256
    refused = portal.client.post("/v1/embeddings", json={**body, "dimensions": 64})
    assert refused.status_code == 400
    assert "256 numbers, not 64" in refused.json()["error"]["message"]


def _dot(one: list[float], other: list[float]) -> float:
    return sum(a * b for a, b in zip(one, other, strict=True))
