"""The grammar of device specs."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from furiosa_ep.device_emulator.devices.errors import SpecError
from furiosa_ep.device_emulator.devices.spec import Any, DeviceSpec, Mode, Named

u8 = st.integers(0, 255)
cores = st.tuples(u8, u8).map(lambda pair: (min(pair), max(pair)))
items = st.one_of(
    st.builds(Named, u8, st.none() | cores), st.builds(Any, st.integers(1, 255), st.booleans())
)
specs = st.lists(items, min_size=1, max_size=5).map(lambda found: DeviceSpec(tuple(found)))


@given(specs)
def test_a_spec_is_what_its_text_says(spec: DeviceSpec) -> None:
    assert DeviceSpec.parse(str(spec)) == spec


@given(specs)
def test_the_other_spelling_means_the_same(spec: DeviceSpec) -> None:
    text = ",".join(
        str(item).replace("npu", "npu:").replace("pe", ":")
        if isinstance(item, Named)
        else str(item)
        for item in spec.items
    )
    assert DeviceSpec.parse(text) == spec


@given(st.text(alphabet="npuwarboye0129:-*(),x \n\0é", max_size=16))
def test_nonsense_is_refused_where_it_stands(text: str) -> None:
    try:
        spec = DeviceSpec.parse(text)
    except SpecError as error:
        message = str(error)
        place = int(message.split("at character ")[1].split(",")[0])
        assert 1 <= place <= len(text) + 1
        assert "expected" in message
        # Up to there it is the beginning of a spec: nothing before is what is wrong.
        found = message.split(", found ")[1]
        assert found.startswith("its end") == (place == len(text) + 1)
    else:
        assert DeviceSpec.parse(str(spec)) == spec


@pytest.mark.parametrize(
    ("text", "mode"),
    [
        ("npu0", Mode.MULTI_CORE),
        ("npu3pe1", Mode.SINGLE),
        ("npu0pe1-1", Mode.SINGLE),
        ("npu:0:0-1", Mode.FUSION),
        ("npu:7", Mode.MULTI_CORE),
        ("warboy*1", Mode.SINGLE),
        ("warboy(1)*2", Mode.SINGLE),
        ("warboy(2)*1", Mode.FUSION),
        ("warboy(0)*2", Mode.FUSION),
    ],
)
def test_modes(text: str, mode: Mode) -> None:
    assert [item.mode for item in DeviceSpec.parse(text).items] == [mode]


@pytest.mark.parametrize(
    ("text", "place", "expected"),
    [
        ("", 1, "'npu' or 'warboy'"),
        ("npu", 4, "number of a card"),
        ("npu256", 4, "from 0 to 255"),
        ("npu0p", 5, "'pe', ',' or the end"),
        ("npu0 ", 5, "'pe', ',' or the end"),
        ("npu0pe1-0", 9, "a PE from 1 on"),
        ("npu:0:0-1x", 10, "',' or the end"),
        ("warboy", 7, "'*'"),
        ("warboy(2*1", 9, "')'"),
        ("warboy*0", 8, "at least 1"),
        ("npu0,", 6, "'npu' or 'warboy'"),
        ("npu0pe٣", 7, "from 0 to 255"),
    ],
)
def test_the_place_and_what_is_allowed_there(text: str, place: int, expected: str) -> None:
    with pytest.raises(SpecError, match=f"at character {place},") as error:
        DeviceSpec.parse(text)
    assert expected in str(error.value)


def test_a_long_spec_is_not_shown_whole() -> None:
    with pytest.raises(SpecError, match="at character 1,") as error:
        DeviceSpec.parse("n" * 100_000)
    assert len(str(error.value)) < 500


@pytest.mark.parametrize(
    ("text", "pes"), [("npu0", 1), ("npu0pe0,warboy*2", 1), ("npu0pe0-1,warboy(2)*1", 2)]
)
def test_how_many_pes_work_together(text: str, pes: int) -> None:
    assert DeviceSpec.parse(text).pes == pes


def test_kinds_cannot_be_mixed_for_one_program() -> None:
    with pytest.raises(SpecError, match="name devices of one kind"):
        _ = DeviceSpec.parse("npu0pe0,warboy(2)*1").pes
