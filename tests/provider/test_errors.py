"""Errors reach whoever creates or runs the session, with their reason."""

import gc
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnxruntime as ort
import pytest
from onnxruntime.capi.onnxruntime_pybind11_state import InvalidArgument

from tests.provider.fake_driver import Behaviour
from tests.provider.models import chain, mixed

PROVIDERS = ["FuriosaProvider", "CPUExecutionProvider"]
X = np.arange(6, dtype=np.float32).reshape(2, 3)


def create(options: dict[str, str], model: bytes = b"") -> ort.InferenceSession:
    providers = [("FuriosaProvider", options), "CPUExecutionProvider"]
    return ort.InferenceSession(model or chain(), providers=providers)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"claim": "ALL"}, "'claim'='ALL': expected one of profitable, all"),
        ({"target": "renegade"}, "'target'='renegade': expected one of warboy, warboy-2pe"),
        ({"clame": "all"}, "'clame'='all': no such option of FuriosaProvider, expected one of cl"),
        ({"claim": "some"}, "'claim'='some': expected one of profitable, all"),
        ({"program_cache_size": "0"}, "expected an integer from 1 to 1000000"),
        ({"summary": "loud"}, "expected one of warning, info, off"),
        ({"disabled_ops": "Conv;Add"}, "operator types separated by commas"),
    ],
)
def test_an_invalid_option_raises(driver: Behaviour, options: dict[str, str], message: str) -> None:
    with pytest.raises(InvalidArgument, match=message):
        create(options)


def test_an_invalid_option_raises_where_nothing_would_be_claimed(driver: Behaviour) -> None:
    with pytest.raises(InvalidArgument, match="no such option"):
        create({"disabled_ops": "Neg,Add", "clame": "all"})


def test_options_arrive(driver: Behaviour) -> None:
    create({"claim": "all", "disabled_ops": "Conv, Softmax", "program_cache_size": "5"})
    assert driver.options[0].claim == "all"
    assert driver.options[0].disabled_ops == {"Conv", "Softmax"}
    assert driver.options[0].program_cache_size == 5


def test_options_arrive_from_the_session_config(driver: Behaviour) -> None:
    options = ort.SessionOptions()
    options.add_session_config_entry("ep.furiosaprovider.claim", "all")
    ort.InferenceSession(chain(), options, providers=PROVIDERS)
    assert driver.options[0].claim == "all"


def test_the_device_id_is_left_to_onnxruntime(driver: Behaviour) -> None:
    session = create({"device_id": "0"})
    assert session.get_providers() == PROVIDERS


@pytest.mark.parametrize("stage", ["partition", "compile", "program"])
def test_a_compiler_that_raises_fails_the_session(driver: Behaviour, stage: str) -> None:
    driver.fail_at = stage
    with pytest.raises(InvalidArgument, match=f"RuntimeError: planned failure in {stage}"):
        ort.InferenceSession(mixed(), providers=PROVIDERS)
    driver.fail_at = ""
    session = ort.InferenceSession(mixed(), providers=PROVIDERS)
    np.testing.assert_array_equal(session.run(None, {"x": X})[0], np.floor(-X))


def test_a_compiler_that_raises_at_a_new_shape_fails_that_run(driver: Behaviour) -> None:
    session = ort.InferenceSession(chain(["N", 3]), providers=PROVIDERS)
    driver.fail_at = "program"
    for _ in range(2):
        with pytest.raises(InvalidArgument, match=r"for 'x' 2x3: RuntimeError: planned failure"):
            session.run(None, {"x": X})
    driver.fail_at = ""
    session.run(None, {"x": X})
    assert session.get_providers() == PROVIDERS


@pytest.fixture
def nothing_shared() -> None:
    """No session of an earlier test is left, whose Programs sessions for equal models share."""
    gc.collect()


@pytest.mark.usefixtures("nothing_shared")
def test_a_damaged_program_is_refused(driver: Behaviour) -> None:
    driver.fail_at = "bytes"
    with pytest.raises(InvalidArgument, match="checksum"):
        ort.InferenceSession(chain(), providers=PROVIDERS)
    session = ort.InferenceSession(chain(["N", 3]), providers=PROVIDERS)
    with pytest.raises(InvalidArgument, match="checksum"):
        session.run(None, {"x": X})


@pytest.mark.usefixtures("nothing_shared")
def test_a_program_of_other_names_is_refused(driver: Behaviour) -> None:
    driver.rename = "other"
    with pytest.raises(InvalidArgument, match="input 'other' of type f32 is none of the part"):
        ort.InferenceSession(chain(), providers=PROVIDERS)


def test_context_models_are_refused(driver: Behaviour, tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(chain())
    options = ort.SessionOptions()
    options.add_session_config_entry("ep.context_enable", "1")
    with pytest.raises(Exception, match=r"FuriosaProvider does not write EPContext models"):
        ort.InferenceSession(path, options, providers=PROVIDERS)


@pytest.fixture
def severity() -> Iterator[None]:
    """Leaves the severity of ONNX Runtime's default log as it is by default."""
    yield
    ort.set_default_logger_severity(2)


@pytest.mark.usefixtures("severity")
@pytest.mark.parametrize(
    ("level", "severity_of_log", "shown"),
    [("warning", 2, 1), ("warning", 3, 0), ("info", 2, 0), ("info", 1, 1), ("off", 0, 0)],
)
def test_the_summary_is_logged_once(
    driver: Behaviour,
    capfd: pytest.CaptureFixture[str],
    level: str,
    severity_of_log: int,
    shown: int,
) -> None:
    ort.set_default_logger_severity(severity_of_log)
    for model in (chain(), mixed()):
        create({"summary": level}, model)
        assert capfd.readouterr().err.count("2 nodes in 1 partition") == shown


@pytest.mark.parametrize(("severity_of_session", "shown"), [(2, 1), (3, 0)])
def test_a_session_by_device_logs_at_its_own_level(
    driver: Behaviour, capfd: pytest.CaptureFixture[str], severity_of_session: int, shown: int
) -> None:
    options = ort.SessionOptions()
    options.log_severity_level = severity_of_session
    options.set_provider_selection_policy(ort.OrtExecutionProviderDevicePolicy.PREFER_NPU)
    ort.InferenceSession(chain(), options)
    assert capfd.readouterr().err.count("2 nodes in 1 partition") == shown


def test_the_summary_is_logged_where_nothing_is_claimed(
    driver: Behaviour, capfd: pytest.CaptureFixture[str]
) -> None:
    create({"disabled_ops": "Add,Neg"})
    assert capfd.readouterr().err.count("fake: 0 of 2 nodes in 0 partitions") == 1


def test_quantization_that_onnxruntime_undoes_is_pointed_out(
    driver: Behaviour, capfd: pytest.CaptureFixture[str]
) -> None:
    options = ort.SessionOptions()
    options.add_session_config_entry("session.disable_quant_qdq", "1")
    ort.InferenceSession(chain(), options, providers=PROVIDERS)
    assert "session.disable_quant_qdq=1 turns the quantized operators" in capfd.readouterr().err
