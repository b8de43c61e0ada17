from __future__ import annotations

import pytest

from app.access import ANYONE, NOBODY, Caller, KeyScope

READ, TRAIN, ADMIN = KeyScope


@pytest.mark.parametrize(
    ("held", "allowed"),
    [(READ, {READ}), (TRAIN, {READ, TRAIN}), (ADMIN, {READ, TRAIN, ADMIN}), (None, set())],
)
def test_each_scope_includes_the_ones_before_it(
    held: KeyScope | None, allowed: set[KeyScope]
) -> None:
    caller = Caller("id", held, ("*",))
    assert {scope for scope in KeyScope if caller.may(scope)} == allowed


@pytest.mark.parametrize(
    ("globs", "model", "is_seen"),
    [
        (("*",), "news", True),
        (("news",), "news", True),
        (("news",), "news-2", False),
        (("news",), "old-news", False),
        (("news*",), "news-2", True),
        (("a", "news-?"), "news-2", True),
        (("a", "news-?"), "news-22", False),
        (("news",), "news\n", False),
        (("n.ws",), "news", False),
        ((), "news", False),
        ((), "", False),
    ],
)
def test_a_model_is_there_for_a_caller_whose_globs_fit_all_of_its_name(
    globs: tuple[str, ...], model: str, is_seen: bool
) -> None:
    assert Caller("id", READ, globs).sees(model) is is_seen


def test_without_keys_everybody_may_everything_and_nobody_may_nothing() -> None:
    assert (ANYONE.id, ANYONE.may(ADMIN), ANYONE.sees("any")) == ("", True, True)
    assert (NOBODY.id, NOBODY.may(READ), NOBODY.sees("any")) == ("", False, False)
