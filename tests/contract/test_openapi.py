"""The document of the API and its page: whole, true, and without any other host."""

from __future__ import annotations

import re
from collections.abc import Iterator
from json import loads
from typing import Any

import pytest
from fastapi.openapi.models import OpenAPI

from app.api.codes import CODES
from app.api.errors import KINDS
from app.api.forms import form_of
from tests.conftest import MODELS, ModelFactory
from tests.server import RunningServer

HOT = ("/reduce", "/models/{model}/reduce", "/train-step", "/models/{model}/train-step")
LOOKS = ("/evaluate", "/models/{model}/evaluate", "/jvp", "/models/{model}/jvp")
STREAMS = ("/train-stream", "/models/{model}/train-stream")
FITS = ("/fit", "/models/{model}/fit")
OF_MODEL = tuple(f"/v2/models/{{model}}{which}" for which in ("", "/versions/{version}"))
INFERS = tuple(f"{path}/infer" for path in OF_MODEL)
ALIGNMENT = "/models/{model}/versions/{version}/alignment"
RESIDENCE = tuple(f"/v2/repository/models/{{model}}/{verb}" for verb in ("load", "unload"))
EMBEDDINGS = ("/v1/embeddings", "/embeddings")
_EMBEDDED = frozenset({400, 404, 409, 413, 415, 429, 501, 502, 503})
_INFERRED = frozenset({400, 404, 412, 413, 415, 429, 501, 503})
_CONTROLLED = frozenset({400, 404, 412, 413, 415, 422, 429, 503, 507})
# Method and path as the contract's route table has them, with what each answers well and ill.
ROUTES: dict[tuple[str, str], tuple[str, frozenset[int]]] = {
    **{("post", path): ("200", frozenset({400, 404, 413, 415, 422, 429, 503})) for path in HOT},
    **{("post", path): ("200", frozenset({400, 404, 413, 415, 422, 429, 503})) for path in LOOKS},
    **{("post", path): ("200", frozenset({400, 404, 415, 422, 503})) for path in STREAMS},
    **{("post", path): ("200", _CONTROLLED) for path in FITS},
    ("put", "/models/{model}/serving"): ("200", _CONTROLLED),
    ("post", "/models/{model}/rollback"): ("200", _CONTROLLED),
    ("patch", "/models/{model}"): ("200", _CONTROLLED),
    ("get", "/models"): ("200", frozenset()),
    ("get", "/models/{model}"): ("200", frozenset({404, 422, 503})),
    ("get", "/models/{model}/state"): ("200", frozenset({404, 422, 503})),
    ("put", "/models/{model}"): ("201", _CONTROLLED | {409}),
    ("delete", "/models/{model}"): ("204", frozenset({404, 422, 503})),
    ("get", "/models/{model}/versions"): ("200", frozenset({404, 422, 503})),
    ("post", "/models/{model}/versions"): ("201", frozenset({404, 422, 503, 507})),
    ("get", "/models/{model}/versions/{version}"): ("200", frozenset({404, 422, 503})),
    ("get", ALIGNMENT): ("200", frozenset({400, 404, 406, 409, 422, 429, 503})),
    ("get", "/models/{model}/upstream"): ("200", frozenset({404, 409, 422, 503})),
    ("put", "/models/{model}/upstream"): ("200", frozenset({400, 404, 413, 415, 422, 503, 507})),
    **{("post", path): ("200", _EMBEDDED) for path in EMBEDDINGS},
    ("get", "/v1/models"): ("200", frozenset({500, 503})),
    ("get", "/v1/models/{id}"): ("200", frozenset({404, 500, 503})),
    ("get", "/v2"): ("200", frozenset()),
    ("get", "/v2/health/live"): ("200", frozenset()),
    ("get", "/v2/health/ready"): ("200", frozenset({503})),
    ("get", "/v2/models"): ("200", frozenset()),
    ("get", "/v2/models/stats"): ("200", frozenset()),
    **{
        ("get", f"{path}{what}"): ("200", frozenset({400, 404, 503}))
        for path in OF_MODEL
        for what in ("", "/ready", "/config", "/stats")
    },
    **{("post", path): ("200", _INFERRED) for path in INFERS},
    ("post", "/v2/repository/index"): ("200", frozenset({400, 413})),
    **{("post", path): ("200", frozenset({400, 404, 409, 413, 503, 507})) for path in RESIDENCE},
    ("get", "/health/live"): ("200", frozenset()),
    ("get", "/health/ready"): ("200", frozenset()),
    ("get", "/metrics"): ("200", frozenset()),
}
NOT_YET = [
    ("GET", "/models/small/drift"), ("POST", "/models/small/migrate"), ("GET", "/events"),
    ("GET", "/models/small/versions/1/export"),
]  # fmt: skip

CONTROLS = ("ServingRequest", "RollbackRequest", "ConfigureRequest", "FitRequest")
LOOKED = ("EvaluateRequest", "DerivativeRequest")
REDUCE_OPTIONS = ("version", "require_version", "normalize", "dimensions", "encoding", "branch")
TRAIN_FIELDS = (
    *("targets", "positives", "negatives", "labels", "sample_weights", "mask", "loss", "branch"),
)
STAMPS = {"Model-Name", "Model-Version", "Model-Digest"}
KEYED = {"Idempotency-Replayed", "Idempotency-Window"}  # only where a key was sent
EVERYWHERE = {"Request-Id", "Server-Timing"}
_NOT_JSON = {
    ("get", "/metrics"), ("delete", "/models/{model}"),
    *(("post", path) for path in (*STREAMS, *RESIDENCE)),
}  # fmt: skip

_PASSING = ("409", "429", "503")
_MEDIA_TYPES = {"css": "text/css", "js": "text/javascript", "json": "application/json"}


@pytest.fixture(scope="module")
def document(server: RunningServer) -> dict[str, Any]:
    body: dict[str, Any] = server.http.get("/openapi.json").raise_for_status().json()
    return body


def test_the_document_is_valid_openapi(document: dict[str, Any]) -> None:
    OpenAPI.model_validate(document)
    assert document["openapi"].startswith("3.1")
    operations = [operation["operationId"] for _, operation in _operations(document)]
    assert len(set(operations)) == len(operations)


def test_every_reference_leads_somewhere(document: dict[str, Any]) -> None:
    known = {
        f"#/components/{kind}/{name}"
        for kind, members in document["components"].items()
        for name in members
    }
    assert set(_references(document)) <= known


def test_the_document_has_exactly_the_routes_of_the_contract(document: dict[str, Any]) -> None:
    assert {route for route, _ in _operations(document)} == ROUTES.keys()


@pytest.mark.parametrize(("method", "path"), NOT_YET)
def test_what_is_not_built_yet_is_no_route(server: RunningServer, method: str, path: str) -> None:
    assert server.http.request(method, path).status_code == 404


@pytest.mark.parametrize("route", ROUTES, ids="-".join)
def test_every_route_says_what_it_does_answers_and_refuses(
    document: dict[str, Any], route: tuple[str, str]
) -> None:
    operation = dict(_operations(document))[route]
    answer, refusals = ROUTES[route]
    assert operation["summary"]
    assert operation["description"]
    assert {answer, *map(str, refusals)} <= operation["responses"].keys()


def test_every_json_answer_has_a_schema(document: dict[str, Any]) -> None:
    for route, operation in _operations(document):
        answer = operation["responses"][ROUTES[route][0]]
        if route in _NOT_JSON:
            assert "application/json" not in answer.get("content", {})
        else:
            assert answer["content"]["application/json"]["schema"].keys() & {"$ref", "type"}


def test_every_body_has_its_media_types_and_a_json_schema(document: dict[str, Any]) -> None:
    bodies = {
        route: operation["requestBody"]["content"]
        for route, operation in _operations(document)
        if "requestBody" in operation
    }
    streams = {("post", path): bodies.pop(("post", path)) for path in STREAMS}
    assert {frozenset(content) for content in streams.values()} == {
        frozenset({"application/x-ndjson", "application/x-slimvec-frames"})
    }
    assert all(next(iter(content)) == "application/json" for content in bodies.values())
    json = {"application/json"}
    both = json | {"application/x-safetensors"}
    streamed = {"application/x-ndjson", "application/x-slimvec-frames"}
    assert {route: set(content) for route, content in bodies.items()} == {
        ("post", "/reduce"): both | {"application/x-npy"},
        ("post", "/models/{model}/reduce"): both | {"application/x-npy"},
        ("post", "/train-step"): both,
        ("post", "/models/{model}/train-step"): both,
        ("put", "/models/{model}"): both,
        **{("post", path): both for path in LOOKS},
        **{("post", path): both | streamed for path in FITS},
        ("put", "/models/{model}/serving"): json,
        ("put", "/models/{model}/upstream"): json,
        ("post", "/v1/embeddings"): json,
        ("post", "/embeddings"): json,
        **{("post", path): json | {"application/octet-stream"} for path in INFERS},
        **{("post", path): json for path in (*RESIDENCE, "/v2/repository/index")},
        ("post", "/models/{model}/rollback"): json,
        ("patch", "/models/{model}"): json,
    }
    assert all(content["application/json"]["schema"]["$ref"] for content in bodies.values())


def test_every_refusal_is_documented_from_the_table(document: dict[str, Any]) -> None:
    titles = {str(kind.status): kind.title for kind in reversed(KINDS.values())}
    for (_, path), operation in _operations(document):
        for status, response in operation["responses"].items():
            if int(status) < 400 or path == "/health/ready":
                continue
            form = form_of(path)
            content = response["content"][form.media_type]
            assert content["schema"]["$ref"].endswith(f"/{form.schema}"), (path, status)
            title, _, codes = response["description"].partition("; `code` is one of: ")
            assert title == titles[status], (path, status)
            listed = [n for n in CODES if str(form.statuses.get(n, n)) == status]
            told = [code for number in listed for code in CODES[number]]
            assert codes.split(", ") == told, (path, status)


def test_every_field_of_the_bodies_is_described(document: dict[str, Any]) -> None:
    schemas = document["components"]["schemas"]
    for name in ("ReduceRequest", "TrainStepRequest", *LOOKED, "ModelConfig", *CONTROLS):
        for field, schema in schemas[name]["properties"].items():
            assert schema.get("description"), f"{name}.{field}"


def test_no_description_is_indented_into_a_code_block(document: dict[str, Any]) -> None:
    for route, operation in _operations(document):
        assert "\n    " not in operation["description"], route


@pytest.mark.parametrize(("config", "body"), [("config", "base64"), ("small", "lists")])
def test_the_examples_work(
    document: dict[str, Any], server: RunningServer, new_model: ModelFactory, config: str, body: str
) -> None:
    model = new_model(_example(document, "put", "/models/{model}", config))
    for verb in ("reduce", "train-step"):
        example = _example(document, "post", f"/{verb}", body)
        answer = server.http.post(f"/models/{model}/{verb}", json=example)
        assert answer.status_code == 200, answer.text


@pytest.mark.parametrize(
    ("method", "path", "name"),
    [
        ("put", "serving", "pin"),
        ("put", "serving", "live"),
        ("post", "rollback", "back"),
        ("patch", "", "lr"),
        ("post", "fit", "lists"),
        ("post", "evaluate", "lists"),
        ("post", "jvp", "lists"),
        ("post", "train-step", "pairs"),
        ("post", "train-step", "labels"),
    ],
)
def test_the_examples_of_the_controls_work(
    document: dict[str, Any], server: RunningServer, new_model: ModelFactory,
    method: str, path: str, name: str,
) -> None:  # fmt: skip
    model = new_model(_example(document, "put", "/models/{model}", "small"))
    end = f"/{path}" if path else ""
    example = _example(document, method, f"/models/{{model}}{end}", name)
    answer = server.http.request(method, f"/models/{model}{end}", json=example)
    assert answer.status_code == 200, answer.text


def test_the_example_of_an_inference_works(
    document: dict[str, Any], server: RunningServer, new_model: ModelFactory
) -> None:
    model = new_model(_example(document, "put", "/models/{model}", "small"))
    for path in INFERS:
        target = path.format(model=model, version=1)
        answer = server.http.post(target, json=_example(document, "post", path, "json"))
        assert answer.status_code == 200, answer.text


@pytest.mark.parametrize("verb", ["reduce", "train-step", "evaluate", "jvp", "fit"])
def test_the_first_example_of_a_verb_fits_the_demo_model(
    document: dict[str, Any], server: RunningServer, new_model: ModelFactory, verb: str
) -> None:
    model = new_model(MODELS["wide"])
    content = document["paths"][f"/{verb}"]["post"]["requestBody"]["content"]["application/json"]
    first = next(iter(content["examples"].values()))["value"]
    answer = server.http.post(f"/models/{model}/{verb}", json=first)
    assert answer.status_code == 200, answer.text


@pytest.mark.parametrize(("config", "body"), [("config", "base64"), ("small", "lists")])
def test_the_examples_of_the_stream_work(
    document: dict[str, Any], server: RunningServer, new_model: ModelFactory, config: str, body: str
) -> None:
    model = new_model(_example(document, "put", "/models/{model}", config))
    [content, _] = document["paths"]["/train-stream"]["post"]["requestBody"]["content"].values()
    answer = server.http.post(
        f"/models/{model}/train-stream",
        content=content["examples"][body]["value"],
        headers={"content-type": "application/x-ndjson"},
    )
    *_, last = map(loads, answer.text.splitlines())
    assert (last.get("ack"), last.get("version")) == (2, 3), answer.text


@pytest.mark.parametrize("path", STREAMS)
def test_the_page_tells_of_the_websocket(document: dict[str, Any], path: str) -> None:
    assert "WebSocket" in document["paths"][path]["post"]["description"]


@pytest.mark.parametrize(
    ("verb", "schema", "field"),
    [
        *(("reduce", "ReduceRequest", field) for field in REDUCE_OPTIONS),
        *(("train-step", "TrainStepRequest", field) for field in TRAIN_FIELDS),
        *(
            ("evaluate", "EvaluateRequest", field)
            for field in (*TRAIN_FIELDS, "tangents", "version")
        ),
    ],
)
def test_a_field_is_nullable_exactly_where_the_document_says_so(
    document: dict[str, Any], new_model: ModelFactory, server: RunningServer,
    verb: str, schema: str, field: str,
) -> None:  # fmt: skip
    described = document["components"]["schemas"][schema]["properties"][field]
    nullable = {"type": "null"} in described.get("anyOf", ())
    body = {"hidden_states": [[0.5] * 8, [0.25] * 8], field: None}
    answer = server.http.post(f"/models/{new_model()}/{verb}", json=body)
    assert answer.status_code == (200 if nullable else 422)
    assert nullable or described.get("default", ...) is not None


def test_a_refusal_has_no_nulls(document: dict[str, Any], server: RunningServer) -> None:
    schema = document["components"]["schemas"]["Problem"]
    answer = server.http.get("/models/none").json()
    assert schema["required"] == list(answer)
    assert "null" not in str(schema["properties"])


def test_a_query_parameter_is_never_null_or_sent_unasked(document: dict[str, Any]) -> None:
    given = {
        (path, parameter["name"]): parameter["schema"]
        for (_, path), operation in _operations(document)
        for parameter in operation.get("parameters", ())
        if parameter["in"] == "query"
    }
    assert given.keys() == {
        *((path, option) for path in HOT[:2] for option in REDUCE_OPTIONS),
        *((path, name) for path in HOT[2:] + STREAMS for name in ("loss", "branch")),
        *((path, name) for path in LOOKS for name in ("version", "branch")),
        *((path, "loss") for path in LOOKS[:2]),
        *((path, "on_error") for path in STREAMS),
        *((path, "method") for path in FITS),
        (ALIGNMENT, "to"),
    }
    assert "null" not in str(given.values())
    assert "default" not in str(given.values())


@pytest.mark.parametrize("path", HOT)
def test_an_answer_has_the_media_types_and_headers_of_the_document(
    document: dict[str, Any], server: RunningServer, new_model: ModelFactory, path: str
) -> None:
    well = document["paths"][path]["post"]["responses"]["200"]
    target = f"/models/{new_model()}/{path.rpartition('/')[2]}"
    for media_type in well["content"]:
        answer = server.http.post(
            target, json={"hidden_states": [[0.5] * 8]}, headers={"accept": media_type}
        )
        assert answer.headers["content-type"] == media_type
        assert {name.lower() for name in well["headers"].keys() - KEYED} <= answer.headers.keys()
    assert len(well["content"]) == (3 if path.endswith("reduce") else 1)
    keyed = KEYED if path.endswith("train-step") else set()
    assert well["headers"].keys() == STAMPS | EVERYWHERE | keyed


def test_every_answer_documents_its_id_and_clock(document: dict[str, Any]) -> None:
    for route, operation in _operations(document):
        for status, response in operation["responses"].items():
            assert response["headers"].keys() >= EVERYWHERE, (route, status)
            assert ("Retry-After" in response["headers"]) == (status in _PASSING), route


def test_the_page_and_its_script_ask_no_other_host(server: RunningServer) -> None:
    page = server.http.get("/docs")
    start = server.http.get("/docs/start.js")
    for text in (page.text, start.text):
        assert not re.search(r"(https?:)?//[a-z]", text)
    assert "default-src 'none'" in page.headers["content-security-policy"]
    assert "http" not in page.headers["content-security-policy"]


def test_everything_the_page_asks_for_is_served_here(server: RunningServer) -> None:
    page, start = server.http.get("/docs").text, server.http.get("/docs/start.js").text
    wanted = re.findall(r'(?:src|href)="([^"]+)"', page) + re.findall(r'url: "([^"]+)"', start)
    answers = {target: server.http.get(target) for target in wanted}
    assert len(wanted) == 4
    assert {answer.status_code for answer in answers.values()} == {200}
    types = {target: answer.headers["content-type"] for target, answer in answers.items()}
    for target, media_type in types.items():
        assert media_type.startswith(_MEDIA_TYPES[target.rpartition(".")[2]])


def test_the_root_leads_to_the_page(server: RunningServer) -> None:
    answer = server.http.get("/")
    assert (answer.status_code, answer.headers["location"]) == (307, "/docs")


def _example(document: dict[str, Any], method: str, path: str, name: str) -> dict[str, Any]:
    content = document["paths"][path][method]["requestBody"]["content"]["application/json"]
    example: dict[str, Any] = content["examples"][name]["value"]
    return example


def _operations(document: dict[str, Any]) -> Iterator[tuple[tuple[str, str], dict[str, Any]]]:
    for path, item in document["paths"].items():
        for method, operation in item.items():
            yield (method, path), operation


def _references(node: object) -> Iterator[str]:
    if isinstance(node, dict):
        if isinstance(node.get("$ref"), str):
            yield node["$ref"]
        for value in node.values():
            yield from _references(value)
    elif isinstance(node, list):
        for value in node:
            yield from _references(value)
