"""The page of a diagnosis, in a browser."""

import re
from pathlib import Path

import pytest

from furiosa_ep.quantization.diagnosis import Diagnosis, diagnose
from tests.browser import needs_browser, shown

from .test_diagnosis import conv_model, quantized, samples

NAME = "<script>alert('{}')</script>"

pytestmark = needs_browser


@pytest.fixture(scope="module")
def found() -> Diagnosis:
    model = conv_model(names=NAME)
    return diagnose(model, quantized(model, r1=30), samples(2))


def test_scripts_run_without_a_word(found: Diagnosis, tmp_path: Path) -> None:
    document, said = shown(found.to_html("model"), tmp_path)
    assert not said
    assert re.search(r'<html lang="en" class="js">', document)
    worst = found.layers.index(found.worst()[0])
    (panel,) = re.findall(r'<article class="layer[^"]* shown" id="layer-(\d+)">', document)
    assert int(panel) == worst
    assert "<script>alert" not in document


def test_an_error_in_a_script_is_seen(found: Diagnosis, tmp_path: Path) -> None:
    page = found.to_html("model").replace("</body>", "<script>missing()</script></body>")
    _, said = shown(page, tmp_path)
    assert any("missing is not defined" in line for line in said)


def test_columns_are_sorted_and_layers_selected_by_a_click(
    found: Diagnosis, tmp_path: Path
) -> None:
    script = """<script>
      const heads = document.querySelectorAll("th");
      const names = () => [...document.querySelectorAll("tbody tr")].map((r) => r.dataset.layer);
      heads[5].click();
      document.body.dataset.falling = names().join(" ");
      heads[5].click();
      document.body.dataset.rising = names().join(" ");
      document.querySelector("a.bar[data-layer='2']").click();
      document.getElementById("filter").value = "GlobalAverage";
      document.getElementById("filter").dispatchEvent(new Event("input"));
      document.body.dataset.left = document.querySelectorAll("tbody tr:not([hidden])").length;
    </script></body>"""
    document, said = shown(found.to_html("model").replace("</body>", script), tmp_path)
    assert not said
    numbers = range(len(found.layers))
    rising = sorted(numbers, key=lambda number: found.layers[number].accumulated_db)
    assert f'data-rising="{" ".join(map(str, rising))}"' in document
    assert f'data-falling="{" ".join(map(str, reversed(rising)))}"' in document
    assert re.findall(r'<article class="layer[^"]* shown" id="layer-(\d+)">', document) == ["2"]
    assert 'data-left="1"' in document
