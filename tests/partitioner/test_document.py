"""docs/operators.md says what the rules say."""

from pathlib import Path

from furiosa_ep.graph import Graph
from furiosa_ep.partitioner.document import document
from furiosa_ep.partitioner.plugins import build_registry
from furiosa_ep.partitioner.support import DeclineCode, NodeUnit, constraint

from .graphs import registry_of

ROOT = Path(__file__).resolve().parents[2]


def test_the_document_of_operators_is_up_to_date() -> None:
    written = (ROOT / "docs" / "operators.md").read_text(encoding="utf-8")
    assert written == document(build_registry({})), (
        "run: python -m furiosa_ep.partitioner.document > docs/operators.md"
    )


def test_each_requirement_stands_with_its_code_and_operators() -> None:
    @constraint(DeclineCode.RANK)
    def flat(unit: NodeUnit, graph: Graph) -> str | None:
        """The rank must be 1."""
        return None

    text = document(registry_of("Tanh", "Chain", constraints=(flat,)))
    assert "- The rank must be 1. (`rank`)" in text
    assert "For Tanh, elementwise chain:" in text
    assert "| Tanh | 1 and later | [2](#requirements-2) |" in text
    assert "| elementwise chain | any | [2](#requirements-2) |" in text
    assert "For DequantizeLinear, QuantizeLinear:\n\n- None." in text
