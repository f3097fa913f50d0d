from dataclasses import dataclass

import numpy as np
import pytest

from furiosa_ep.compiler.memory_plan import plan_memory
from tests.effort import lines_run


@dataclass(eq=False)
class Life:
    size: int
    first: int
    last: int
    offset: int = -1


def test_buffers_that_live_together_do_not_overlap() -> None:
    random = np.random.default_rng(0)
    for _ in range(30):
        lives = [
            Life(int(random.integers(1, 5000)), int(first), int(first + random.integers(0, 9)))
            for first in random.integers(0, 40, 60)
        ]
        size = plan_memory(lives)
        for i, one in enumerate(lives):
            assert one.offset % 64 == 0
            assert 0 <= one.offset <= size - one.size
            for other in lives[:i]:
                together = one.first <= other.last and other.first <= one.last
                apart = (
                    one.offset + one.size <= other.offset or other.offset + other.size <= one.offset
                )
                assert apart or not together


def test_a_chain_needs_two_buffers() -> None:
    lives = [Life(1000, i, i + 1) for i in range(100)]
    assert plan_memory(lives) == 2 * 1024


def test_unused_and_empty_buffers_take_nothing() -> None:
    assert plan_memory([Life(100, -1, -1), Life(0, 0, 1)]) == 0


def test_the_largest_buffer_goes_first_and_the_smallest_gap_is_taken() -> None:
    wide, left, right, middle = Life(640, 0, 9), Life(320, 0, 3), Life(256, 4, 9), Life(64, 2, 6)
    # Beside `wide`: `left` and later `right` in its place, and `middle` behind the longer of them.
    assert plan_memory([middle, right, left, wide]) == 1024
    assert [one.offset for one in (wide, left, right, middle)] == [0, 640, 640, 960]
    hole, low, small = Life(128, 0, 9), Life(256, 0, 4), Life(64, 5, 9)
    plan_memory([hole, low, small])
    assert (low.offset, hole.offset, small.offset) == (0, 256, 0)


@pytest.mark.parametrize("nested", [False, True])
def test_many_buffers_are_planned_with_little_more_effort_for_each(nested: bool) -> None:
    def effort(count: int) -> int:
        ends = [2 * count - i if nested else i + 2 for i in range(count)]
        buffers = [Life(64 + i % 7 * 64, i, end) for i, end in enumerate(ends)]
        return lines_run(lambda: plan_memory(buffers))

    assert effort(4000) < 6 * effort(1000)
