"""FuriosaProvider comes first, whatever the program asks for."""

from typing import Any

import pytest

from furiosa_ep.intercept.providers import put_first

NPU, CPU = "FuriosaProvider", "CPUExecutionProvider"


@pytest.mark.parametrize(
    ("providers", "provider_options", "expected"),
    [
        ([CPU], None, ([NPU, CPU], None)),
        ((CPU,), None, ([NPU, CPU], None)),
        ([CPU, NPU], None, ([NPU, CPU], None)),
        ([(CPU, {"a": 1})], None, ([NPU, (CPU, {"a": 1})], None)),
        ([(NPU, {"claim": "all"}), CPU], None, ([(NPU, {"claim": "all"}), CPU], None)),
        ([CPU], [{"a": 1}], ([NPU, CPU], [{}, {"a": 1}])),
        ([CPU, NPU], [{"a": 1}, {"b": 2}], ([NPU, CPU], [{"b": 2}, {"a": 1}])),
    ],
)
def test_first_and_the_rest_as_it_was(
    providers: Any, provider_options: Any, expected: tuple[Any, Any]
) -> None:
    assert put_first(providers, provider_options, {}) == expected


def test_options_of_the_command_line_override_the_programs() -> None:
    providers, _ = put_first([(NPU, {"claim": "all", "x": "1"})], None, {"claim": "profitable"})
    assert providers == [(NPU, {"claim": "profitable", "x": "1"})]
    assert put_first([CPU], [{}], {"x": "1"}) == ([NPU, CPU], [{"x": "1"}, {}])


def test_what_onnx_runtime_refuses_is_passed_on() -> None:
    assert put_first([CPU, 7], None, {}) == ([NPU, CPU, 7], None)  # type: ignore[list-item]
    assert put_first([CPU], [{}, {}], {}) == ([NPU, CPU], [{}, {}, {}])
