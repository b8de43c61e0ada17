"""POST …/infer: hidden_states in, reduced vectors out, in JSON or as bytes behind it."""

from __future__ import annotations

from functools import lru_cache, partial

from app.api.answer import Answer, Headers
from app.api.asgi import Receive, Scope
from app.api.edge import Edge, is_long_to_decode, is_long_to_encode, stamp_headers
from app.api.inference.payload import HEADER_LENGTH, choose_encoding, compress, read_payload
from app.api.inference.statistics import Timing
from app.api.inference.versions import parse_version
from app.api.negotiation import JSON
from app.api.routes.reduce import parse_options
from app.codecs import Buffer
from app.codecs.inference import InferRequest
from app.errors import Unacceptable
from app.service import NO_OPTIONS, ReduceOptions, Ticket
from app.types import Json, Reduced, Stamp

OCTETS = "application/octet-stream"
_OPTIONS = frozenset({"version", "require_version", "normalize", "dimensions", "branch"})
_PINNED_PARTS = 7  # of /v2/models/{model}/versions/{version}/infer


async def infer(edge: Edge, model: str, scope: Scope, receive: Receive) -> Answer:
    """Reduces one tensor of hidden_states with one version of the weights, and says which.

    `Inference-Header-Content-Length` says where the JSON part ends and the binary tensor begins;
    without it all is JSON, and with 0 all is the tensor (rows of FP32). The media type does not
    matter. `normalize`, `dimensions`, `branch`, `version` and `require_version` may stand in
    `parameters`; others mean nothing here. The body may be compressed, and the answer is if
    Accept-Encoding asks for it.
    """
    live = edge.service.live(model)
    body, header_length = await read_payload(scope, receive, edge.settings)
    with Timing(edge.inference.statistics.of(live.name)) as timing:
        input_size, takes_ids = live.config.input_size, live.takes_ids
        request = await _decode(edge, body, header_length, input_size, takes_ids=takes_ids)
        options = _options(request.parameters, scope["path"])
        timing.lap()
        reduced = await _reduce(edge, model, request, options, scope["ticket"])
        timing.lap()
        timing.num_rows = reduced.array.size // reduced.array.shape[-1]
        edge.metrics.add_rows(model, "reduce", timing.num_rows)
        return await _answer(edge, reduced, request, scope)


async def _decode(
    edge: Edge, body: Buffer, header_length: int | None, input_size: int, *, takes_ids: bool
) -> InferRequest:
    decode = partial(
        edge.inference.codec.decode,
        body,
        header_length,
        input_size=input_size,
        max_rows=edge.settings.max_rows,
        takes_ids=takes_ids,
    )
    is_long = is_long_to_decode(body, is_json=header_length is None)
    return await edge.service.aside(decode) if is_long else decode()


async def _reduce(
    edge: Edge, model: str, request: InferRequest, options: ReduceOptions, ticket: Ticket
) -> Reduced:
    hidden_states = request.hidden_states
    if not hidden_states.size:
        return await edge.service.reductions.reduce_nothing(model, hidden_states, options)
    return await edge.service.reduce(model, hidden_states, options, ticket=ticket)


def _options(parameters: Json, path: str) -> ReduceOptions:
    """What the request asks for, and the version in its path."""
    asked = {name: value for name, value in parameters.items() if name in _OPTIONS}
    parts = path.split("/")
    if len(parts) != _PINNED_PARTS:
        return _checked(asked) if asked else NO_OPTIONS
    pinned = parse_version(parts[5])
    if asked.setdefault("version", pinned) != pinned:
        raise Unacceptable(
            "out_of_range",
            "expected one version, got one in the path and another in the parameters",
            pointer="/parameters/version",
        )
    return _checked(asked)


def _checked(asked: Json) -> ReduceOptions:
    parameters = parse_options(asked)
    return ReduceOptions(**parameters.model_dump(exclude={"encoding"}))


async def _answer(edge: Edge, reduced: Reduced, request: InferRequest, scope: Scope) -> Answer:
    encode = partial(edge.inference.codec.encode, reduced, request)
    is_long = is_long_to_encode(reduced, is_text=not request.is_binary)
    body, header_length = await edge.service.aside(encode) if is_long else encode()
    encoding = choose_encoding(scope, is_binary=header_length is not None)
    if encoding is not None:
        body = await compress(body, encoding)
    return Answer(body, _headers(reduced.stamp, header_length, encoding))


# A version answers many requests, most of them of one shape.
@lru_cache(maxsize=256)
def _headers(stamp: Stamp, header_length: int | None, encoding: str | None) -> Headers:
    if header_length is None:
        headers = dict(stamp_headers(JSON, stamp))
    else:
        headers = {**stamp_headers(OCTETS, stamp), HEADER_LENGTH: str(header_length)}
    if encoding is not None:
        headers["content-encoding"] = encoding
    return Headers(headers)
