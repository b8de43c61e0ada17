"""POST /v1/embeddings with vectors as input: reduced as they are, in OpenAI's form."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tests.contract.openai_wire import PATH, assert_refused, embed, vectors_of
from tests.contract.wire import reduced_of, some_rows
from tests.server import RunningServer

ROW = [0.5] * 8


def reduced(server: RunningServer, **body: Any) -> np.ndarray[Any, Any]:
    return reduced_of(server.http.post("/models/small/reduce", json=body))


@pytest.mark.parametrize("path", [PATH, "/embeddings"])
def test_vectors_are_reduced_and_made_unit_length(server: RunningServer, path: str) -> None:
    rows = some_rows(3, 8).tolist()
    answer = server.http.post(path, json={"model": "small", "input": rows})
    expected = reduced(server, hidden_states=rows, normalize=True)
    assert vectors_of(answer).tobytes() == expected.tobytes()


def test_an_answer_is_whole_and_stamped(server: RunningServer) -> None:
    answer = embed(server, input=ROW)
    digest = answer.headers["model-digest"]
    row = vectors_of(answer)[0].tolist()
    body = answer.json()
    assert body.pop("data")[0].keys() == {"object", "index", "embedding"}
    assert len(row) == 3
    usage = {"prompt_tokens": 0, "total_tokens": 0}
    stamps = {"model": "small@1", "version": 1, "digest": digest}
    assert body == {"object": "list", "usage": usage, **stamps}
    assert (answer.headers["model-name"], answer.headers["model-version"]) == ("small", "1")


def test_base64_equals_float_bit_for_bit(server: RunningServer) -> None:
    rows = (some_rows(50, 384) * np.float32(1e-3)).tolist()
    floats = embed(server, model="wide", input=rows, normalize=False)
    octets = embed(server, model="wide", input=rows, normalize=False, encoding_format="base64")
    assert vectors_of(octets).tobytes() == vectors_of(floats).tobytes()
    assert isinstance(octets.json()["data"][0]["embedding"], str)


def test_one_vector_alone_is_a_list_of_one(server: RunningServer) -> None:
    alone, listed = embed(server, input=ROW), embed(server, input=[ROW])
    assert vectors_of(alone).tobytes() == vectors_of(listed).tobytes()


def test_normalize_false_gives_the_product_itself(server: RunningServer) -> None:
    answer = embed(server, input=[ROW], normalize=False)
    assert vectors_of(answer).tobytes() == reduced(server, hidden_states=[ROW]).tobytes()


@pytest.mark.parametrize(
    "rows", [[[1] * 7 + [0.5], [0] * 8], [[0.0] * 8], [[1, 2, 3, 4, 5, 6, 7, 8e0]]]
)
def test_a_list_with_any_number_that_is_no_integer_holds_vectors(
    server: RunningServer, rows: list[list[float]]
) -> None:
    assert vectors_of(embed(server, input=rows)).shape == (len(rows), 3)


def test_integers_are_a_vector_where_the_request_says_so(server: RunningServer) -> None:
    integers = list(range(8))
    answer = embed(server, input=integers, input_type="vector")
    expected = reduced(server, hidden_states=[integers], normalize=True)
    assert vectors_of(answer).tobytes() == expected.tobytes()


@pytest.mark.parametrize(
    ("model", "dimensions", "width"), [("small", 3, 3), ("nested", 3, 3), ("nested", 2, 2)]
)
def test_dimensions_is_what_the_model_has_or_a_prefix_of_a_nested_one(
    server: RunningServer, model: str, dimensions: int, width: int
) -> None:
    found = vectors_of(embed(server, model=model, input=ROW, dimensions=dimensions))
    assert found.shape == (1, width)
    np.testing.assert_allclose(np.linalg.norm(found), 1, rtol=1e-6)


@pytest.mark.parametrize("name", ["small", "small@1", "small@live", "any-upstream+small@1", None])
def test_a_model_is_named_in_any_of_its_forms(server: RunningServer, name: str | None) -> None:
    answer = embed(server, model=name, input=ROW)
    assert answer.json()["model"] == "small@1"  # which is also the default


def test_null_and_unknown_fields_are_as_if_left_out(server: RunningServer) -> None:
    ignored = {"dimensions": None, "encoding_format": None, "user": None, "truncate": ["END"]}
    assert vectors_of(embed(server, input=ROW, **ignored)).shape == (1, 3)


_BOTH = "'float' or 'base64'"


@pytest.mark.parametrize(
    ("body", "status", "code", "param", "says"),
    [
        ({}, 400, "missing_field", "input", "texts, or vectors"),
        ({"input": None}, 400, "wrong_type", "input", "null"),
        ({"input": {"a": 1}}, 400, "wrong_type", "input", "an object"),
        ({"input": True}, 400, "wrong_type", "input", "a boolean"),
        ({"input": 0.5}, 400, "wrong_type", "input", "a number"),
        ({"input": []}, 400, "empty_input", "input", ""),
        ({"input": [[]]}, 400, "empty_input", "input", ""),
        ({"input": ""}, 400, "empty_input", "input", ""),
        ({"input": ["a", ""]}, 400, "empty_input", "input", ""),
        ({"input": ["a", 1]}, 400, "wrong_type", "input", ""),
        ({"input": [1, "a"]}, 400, "wrong_type", "input", ""),
        ({"input": [[1], 2]}, 400, "wrong_type", "input", ""),
        ({"input": [[[1]]]}, 400, "wrong_type", "input", ""),
        ({"input": ["a"] * 2049}, 400, "out_of_range", "input", "2048"),
        ({"input": [[1]] * 2049}, 400, "out_of_range", "input", "2048"),
        ({"input": [[[0.5] * 8]]}, 400, "wrong_type", "input", "nested deeper"),
        ({"input": [0.5] * 7}, 400, "shape_mismatch", "input", "expected width 8"),
        ({"input": [ROW, [0.5]]}, 400, "ragged_rows", "input", ""),
        ({"input": [ROW, [*ROW[:7], [0.5]]]}, 400, "ragged_rows", "input", ""),
        ({"input": [ROW] * 131_073}, 413, "too_many_rows", "input", ""),
        ({"input": ROW, "encoding_format": "hex"}, 400, "out_of_range", "encoding_format", _BOTH),
        ({"input": ROW, "encoding_format": []}, 400, "wrong_type", "encoding_format", ""),
        ({"input": ROW, "dimensions": 2}, 400, "dimensions_unsupported", "dimensions", "3"),
        ({"input": ROW, "dimensions": 0}, 400, "out_of_range", "dimensions", "at least 1"),
        (
            {"input": ROW, "dimensions": 4, "model": "nested"},
            400, "dimensions_unsupported", "dimensions", "from 1 to 3",
        ),
        ({"input": ROW, "model": "ada"}, 404, "model_not_found", "model", "GET /v1/models"),
        ({"input": ROW, "model": "Ada 2"}, 404, "model_not_found", "model", ""),
        ({"input": ROW, "model": "small@9"}, 404, "version_not_retained", None, ""),
        ({"input": "text"}, 501, "upstream_not_set", None, "SLIMVEC_UPSTREAM_URL"),
        ({"input": [1, 2, 3]}, 501, "upstream_not_set", None, 'input_type": "vector'),
    ],
)  # fmt: skip
def test_what_cannot_be_is_refused_in_openais_form(
    server: RunningServer,
    body: dict[str, Any],
    status: int,
    code: str,
    param: str | None,
    says: str,
) -> None:
    assert_refused(embed(server, **body), status, code, param=param, says=says)


def test_who_the_customers_user_is_no_refusal_repeats(server: RunningServer) -> None:
    answer = embed(server, input=ROW, user="ada@example.org" * 100)
    assert_refused(answer, 400, "out_of_range", param="user", says="at most 1024 characters")
    assert "ada" not in answer.text


@pytest.mark.parametrize(
    ("content", "media_type", "status", "code"),
    [
        (b"", "application/json", 400, "empty_body"),
        (b"{", "application/json", 400, "malformed_json"),
        (b'{"input": "a", "input": "b"}', "application/json", 400, "duplicate_key"),
        (b'{"input": "\\ud800"}', "application/json", 400, "malformed_json"),
        (b'{"input": [1e999]}', "application/json", 400, "non_finite_input"),
        (b"[]", "application/json", 400, "wrong_type"),
        (b"{}", "text/plain", 415, "unsupported_media_type"),
    ],
)
def test_a_body_that_is_not_json_is_refused_in_openais_form(
    server: RunningServer, content: bytes, media_type: str, status: int, code: str
) -> None:
    answer = server.http.post(PATH, content=content, headers={"content-type": media_type})
    assert_refused(answer, status, code)


@pytest.mark.parametrize("path", ["/v1/nothing", "/v1/models/a/b"])
def test_the_names_of_models_are_listed_with_their_versions(
    server: RunningServer, path: str
) -> None:
    listed = server.http.get("/v1/models").json()
    assert listed["object"] == "list"
    names = [model["id"] for model in listed["data"]]
    assert [name for name in names if name.startswith("small")] == ["small", "small@1"]
    for model in listed["data"]:
        assert server.http.get(f"/v1/models/{model['id']}").json() == model
        assert (model["object"], model["owned_by"]) == ("model", "slimvec")
        assert model["created"] > 1_700_000_000
    assert server.http.get(path).status_code == 404


@pytest.mark.parametrize("name", ["ada", "small@9", "Small", "small@"])
def test_a_name_that_no_model_has_is_not_found(server: RunningServer, name: str) -> None:
    assert_refused(server.http.get(f"/v1/models/{name}"), 404, "model_not_found", param="model")
