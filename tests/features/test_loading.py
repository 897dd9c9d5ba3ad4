"""The loader thread: order, how far it may run ahead, and errors."""

import threading

import pytest

from promptseg.features.encode import AHEAD, read_ahead


def test_items_come_in_order_from_another_thread_a_few_ahead() -> None:
    loaded: list[int] = []

    def load(item: int) -> tuple[int, str]:
        loaded.append(item)
        return item, threading.current_thread().name

    seen = []
    for item, thread in read_ahead(map(load, range(20))):
        seen.append(item)
        assert thread != threading.current_thread().name
        assert len(loaded) <= len(seen) + AHEAD
    assert seen == list(range(20))


def test_the_next_item_is_read_while_this_one_is_at_work() -> None:
    second_read = threading.Event()

    def load(item: int) -> int:
        if item == 1:
            second_read.set()
        return item

    assert next(read_ahead(map(load, range(3)))) == 0
    assert second_read.wait(10)


def test_an_error_comes_where_its_item_would() -> None:
    def load(item: int) -> float:
        return 1 / (item - 2)

    results = read_ahead(map(load, range(5)))
    assert [next(results), next(results)] == [-0.5, -1.0]
    with pytest.raises(ZeroDivisionError):
        next(results)
