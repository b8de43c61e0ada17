from __future__ import annotations

from app.access import WrongKeys


def test_a_peer_with_too_many_wrong_keys_is_to_wait_and_others_are_not() -> None:
    wrong = WrongKeys()
    waits = [wrong.count("a") for _ in range(300)]
    assert waits[:100] == [0] * 100
    assert all(wait in (0, 1) for wait in waits)
    assert sum(waits) > 100  # what refills meanwhile is ten a second
    assert wrong.count("b") == 0


def test_the_table_of_peers_is_bounded() -> None:
    wrong = WrongKeys()
    for number in range(10_000):
        wrong.count(str(number))
    assert len(wrong) == 4096
