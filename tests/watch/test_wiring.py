"""Collectors are made with what their constructors ask for, in the order in which they are listed."""

from __future__ import annotations

import pytest

from traindx.watch.runtime.wiring import wired


class First:
    def __init__(self, second: Second, number: int) -> None:
        self.second, self.number = second, number


class Second:
    def __init__(self, number: int) -> None:
        self.number = number


class Left:
    def __init__(self, right: Right) -> None: ...


class Right:
    def __init__(self, left: Left) -> None: ...


def test_the_order_is_kept_though_the_second_is_made_first() -> None:
    first, second = wired([First, Second], {int: 7})
    assert isinstance(first, First)
    assert first.second is second
    assert (first.number, second.number) == (7, 7)


def test_a_circle_is_named() -> None:
    with pytest.raises(TypeError, match="circle: Left -> Right -> Left"):
        wired([Left, Right], {})


def test_what_is_not_listed_is_named() -> None:
    with pytest.raises(TypeError, match="First -> Second: Second is used, but it is neither listed nor given"):
        wired([First], {int: 7})
