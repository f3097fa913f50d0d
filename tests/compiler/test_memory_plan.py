import time
from dataclasses import dataclass

import numpy as np

from furiosa_ep.compiler.memory_plan import plan_memory


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
        size = plan_memory(lives, 50)
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
    assert plan_memory(lives, 101) == 2 * 1024


def test_unused_and_empty_buffers_take_nothing() -> None:
    assert plan_memory([Life(100, -1, -1), Life(0, 0, 1)], 2) == 0


def test_a_long_chain_is_planned_in_little_time() -> None:
    start = time.perf_counter()
    lives = [Life(64 + i % 7 * 64, i, i + 2) for i in range(10_000)]
    lives.append(Life(64, 0, 10_001))
    plan_memory(lives, 10_002)
    assert time.perf_counter() - start < 3
