"""Random QDQ models give the CPU provider's bits; tests.random_graphs runs many more."""

import pytest

import furiosa_ep
from tests.random_graphs import compare

BATCH = 25


@pytest.mark.parametrize("first", range(0, 400, BATCH))
def test_random_models_equal_the_cpu_provider(first: int) -> None:
    furiosa_ep.register()
    found = [compare(seed) for seed in range(first, first + BATCH)]
    assert not any(found), "\n".join(filter(None, found))
