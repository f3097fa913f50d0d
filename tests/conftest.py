from collections.abc import Iterator

import pytest

DEVICE_VARIABLES = ("FURIOSA_EMULATED_DEVICES", "FURIOSA_DEVICES", "NPU_DEVNAME", "FURIOSA_INJECT")


@pytest.fixture(scope="session", autouse=True)
def emulated_host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Devices of this process and its children alone, whatever the user's do meanwhile."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FURIOSA_EMULATED_HOST", str(tmp_path_factory.mktemp("host")))
        for name in DEVICE_VARIABLES:
            patch.delenv(name, raising=False)
        yield


@pytest.fixture
def host(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> str:
    """A host for one test, with one card, in which nothing has happened yet."""
    directory = str(tmp_path_factory.mktemp("host"))
    monkeypatch.setenv("FURIOSA_EMULATED_HOST", directory)
    return directory
