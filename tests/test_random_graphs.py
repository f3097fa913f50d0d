"""Random QDQ models give the CPU provider's bits; tests.random_graphs runs many more."""

import pytest

import furiosa_ep
from tests.programs import captured_programs, difference_from_reference
from tests.random_graphs import NPU, compare, random_model, session

BATCH = 25


@pytest.mark.parametrize("first", range(0, 400, BATCH))
def test_random_models_equal_the_cpu_provider(first: int) -> None:
    furiosa_ep.register()
    found = [compare(seed) for seed in range(first, first + BATCH)]
    assert not any(found), "\n".join(filter(None, found))


@pytest.mark.parametrize("first", range(0, 200, BATCH))
def test_random_int8_models_equal_the_reference(
    first: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    furiosa_ep.register()
    programs = captured_programs(monkeypatch)
    for seed in range(first, first + BATCH):
        model, _ = random_model(seed, signed=None)
        session(model, NPU)  # compiles, as all shapes are fixed
        found = [difference_from_reference(program, seed) for program in programs]
        assert not any(found), f"seed {seed}: {found}"
        programs.clear()
