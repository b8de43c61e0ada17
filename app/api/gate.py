"""The gate: whether this request may be asked at all, decided before its body is read."""

from __future__ import annotations

import re

from app.access import ANYONE, NOBODY, Caller, KeyRing, WrongKeys, find_key_id
from app.api.asgi import Scope, headers_of
from app.api.scopes import WEBSOCKET, Needs, ScopeTable
from app.errors import Forbidden, Malformed, Misdirected, NotFound, QueueFull, Unauthorized
from app.settings import Settings

_HOST, _ORIGIN, _AUTHORIZATION = b"host", b"origin", b"authorization"
_HOST_FORM = re.compile(rb"([a-z0-9._-]{1,255}|\[[0-9a-f:.]{2,45}\])(?::[0-9]{1,5})?", re.I)
_LOOPBACK = ("localhost", "127.0.0.1", "[::1]")
_ANY_HOST = "*"
_MAX_REMEMBERED = 256
_BEARER = b"bearer "


class Gate:
    """Host, origin, API key and scope of a request.

    Args:
        settings: names, origins and the default model.
        keys: those that may ask; without any, everybody may.
    """

    def __init__(self, settings: Settings, keys: KeyRing | None = None) -> None:
        self._keys = keys
        self._scopes = ScopeTable(settings.default_model)
        self._wrong_keys = WrongKeys()
        self._hosts = {
            *_LOOPBACK,
            _in_host(settings.host.lower()),
            *_listed(settings.allowed_hosts),
        }
        self._origins = frozenset(name.encode() for name in _listed(settings.allowed_origins))
        self._known_hosts: set[bytes] = set()

    def check(self, scope: Scope) -> None:
        """Let a request pass, or refuse it.

        Sets `scope["caller"]` to who asks, and `scope["sender"]` to the id of the API key.

        Raises:
            Malformed: `bad_host`, `duplicate_header`.
            Misdirected: `host_not_allowed`.
            Forbidden: `origin_not_allowed`, `insufficient_scope`.
            Unauthorized: `api_key_missing`, `api_key_unknown`, `api_key_in_query`.
            NotFound: `model_not_found`: there is no such model for this caller.
            QueueFull: `too_many_wrong_keys`.
        """
        headers = headers_of(scope)
        if len(headers) < len(scope["headers"]):
            _check_single(scope)
        host = headers.get(_HOST)
        if host not in self._known_hosts:
            self._check_host(host, scope)
        if (origin := headers.get(_ORIGIN)) is not None:
            self._check_origin(origin, host)
        keys, authorization = self._keys, headers.get(_AUTHORIZATION)
        caller = ANYONE if keys is None else self._caller(keys, authorization, scope)
        scope["caller"] = caller
        scope["sender"] = caller.id
        if keys is not None:
            self._check_caller(caller, authorization, scope)

    def _check_host(self, host: bytes | None, scope: Scope) -> None:
        match = _HOST_FORM.fullmatch(host or b"")
        if host is None or match is None:
            raise Malformed(
                "bad_host",
                "expected the header Host, with a name and perhaps a port; got another form",
            )
        name = match[1].decode().lower()
        if name in self._hosts or _ANY_HOST in self._hosts:
            if len(self._known_hosts) < _MAX_REMEMBERED:
                self._known_hosts.add(host)
        # No page can be rebound to an address: a Host that is one was typed as one.
        elif name != _in_host(str((scope.get("server") or ("",))[0])):
            raise Misdirected(
                "host_not_allowed",
                "expected a Host that this server answers to; its setting allowed_hosts adds names",
            )

    def _check_origin(self, origin: bytes, host: bytes | None) -> None:
        if origin.partition(b"://")[2] != host and origin.lower() not in self._origins:
            raise Forbidden(
                "origin_not_allowed",
                "expected a request from a program, or from a page of this server; got one from "
                "another page",
            )

    def _caller(self, keys: KeyRing, authorization: bytes | None, scope: Scope) -> Caller:
        if authorization is None:
            return NOBODY
        if authorization[: len(_BEARER)].lower() == _BEARER:
            caller = keys.find(authorization[len(_BEARER) :])
            if caller is not None:
                return caller
        peer = (scope.get("client") or ("",))[0]
        if wait_s := self._wrong_keys.count(peer):
            raise QueueFull(
                "too_many_wrong_keys",
                "expected a known API key, got too many others; wait, then send the right one",
                retry_after_s=wait_s,
            )
        return NOBODY

    def _check_caller(self, caller: Caller, authorization: bytes | None, scope: Scope) -> None:
        if scope["query_string"] and find_key_id(scope["query_string"]) is not None:
            raise Unauthorized(
                "api_key_in_query",
                "expected an API key in Authorization alone, got one in the query, where logs keep "
                "it: revoke it, and send another as Authorization: Bearer",
            )
        needs, model = self._scopes.find(scope.get("method", WEBSOCKET), scope["path"])
        if needs.scope is None:
            return
        if caller is NOBODY:
            raise _unknown(authorization)
        _check_scope(caller, needs)
        if model is not None and not caller.sees(model):
            raise _not_found()


def caller_of(scope: Scope) -> Caller:
    """Who sends this request."""
    caller: Caller = scope["caller"]
    return caller


def _check_single(scope: Scope) -> None:
    given = [name for name, _ in scope["headers"]]
    for name in (_HOST, _ORIGIN, _AUTHORIZATION):
        if given.count(name) > 1:
            raise Malformed("duplicate_header", f"expected one {name.decode()} header, got several")


def _check_scope(caller: Caller, needs: Needs) -> None:
    if needs.scope is not None and not caller.may(needs.scope):
        raise Forbidden(
            "insufficient_scope",
            f"expected an API key of scope {needs.scope.word}, got one of less; use another key",
        )
    if needs.all_models and not caller.sees_all:
        raise Forbidden(
            "insufficient_scope",
            "expected an API key for all models, got one for some; use another key",
        )


def _unknown(authorization: bytes | None) -> Unauthorized:
    if authorization is None:
        return Unauthorized(
            "api_key_missing", "expected the header Authorization: Bearer with an API key, got none"
        )
    return Unauthorized(
        "api_key_unknown",
        "expected Authorization: Bearer with a known API key, got none that is known; it may have "
        "been revoked or have expired",
    )


def _not_found() -> NotFound:
    # The same words as for a model that is nowhere: whether it is, this caller is not to learn.
    return NotFound(
        "model_not_found", "there is no such model; GET /models lists those that are here"
    )


def _listed(names: str) -> set[str]:
    return {name.strip().lower() for name in names.split(",") if name.strip()}


def _in_host(address: str) -> str:
    """An address as it stands in a Host header."""
    return f"[{address}]" if ":" in address else address
