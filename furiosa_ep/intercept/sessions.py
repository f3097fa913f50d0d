"""Wrap ONNX Runtime's Python API so that every session has FuriosaProvider first.

Classes are changed in place, never replaced, so it makes no difference how and when a program got
hold of them.
"""

import atexit
import functools
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import onnxruntime as ort

import furiosa_ep
from furiosa_ep.comparison import differences, input_shapes
from furiosa_ep.intercept.providers import put_first
from furiosa_ep.intercept.record import ProcessRecord, SessionRecord
from furiosa_ep.intercept.settings import Settings
from furiosa_ep.provider.custom_ops import register_custom_ops
from furiosa_ep.provider.library import EP_NAME
from furiosa_ep.verification import CPU, RECORD_ASSIGNMENT, STOP_SPINNING, node_counts

WRITES_FILES = frozenset({"enable_profiling", "optimized_model_filepath", "profile_file_prefix"})
"""Session options that the session for comparison must not have as well."""


def install() -> None:
    """Register FuriosaProvider and wrap InferenceSession and SessionOptions; once a process.

    Raises what `furiosa_ep.register` raises: a program under ``furiosa run`` does not go on
    silently without the NPU.
    """
    settings = Settings.from_environment()
    furiosa_ep.register()
    process = ProcessRecord()
    atexit.register(process.finish, settings.report, sys.stderr.write)
    _Interceptor(settings, process).wrap()


class _Interceptor:
    """The wrapped methods, which call the `_original` ones."""

    def __init__(self, settings: Settings, process: ProcessRecord) -> None:
        self._settings = settings
        self._process = process
        self._select_by_policy = ort.SessionOptions.set_provider_selection_policy

    def wrap(self) -> None:
        session, options = ort.InferenceSession, ort.SessionOptions
        _wrap(session, "__init__", self._create)
        _wrap(session, "set_providers", self._set_providers)
        _wrap(session, "run", self._run)
        for name in ("run_with_ort_values", "run_with_iobinding", "run_async"):
            _wrap(session, name, self._timed)
        _wrap(options, "add_provider", self._add_provider)
        _wrap(options, "add_provider_for_devices", self._add_devices)
        for name in ("set_provider_selection_policy", "set_provider_selection_policy_delegate"):
            _wrap(options, name, self._set_policy)

    def _create(
        self,
        original: Callable[..., None],
        session: Any,
        path_or_bytes: Any,
        sess_options: Any = None,
        providers: Any = None,
        provider_options: Any = None,
        **kwargs: Any,
    ) -> None:
        if sess_options is None:
            sess_options = ort.SessionOptions()
        chosen = (providers, provider_options)
        if providers or not sess_options.has_providers():
            chosen = put_first(
                providers or ort.get_available_providers(), provider_options, self._settings.options
            )
        _set_config(sess_options, RECORD_ASSIGNMENT)
        if self._settings.verify:
            _set_config(sess_options, STOP_SPINNING)
        original(session, path_or_bytes, sess_options, *chosen, **kwargs)
        record = SessionRecord(_model_name(path_or_bytes), Counter(node_counts(session)))
        self._process.sessions.append(record)
        session._furiosa_record = record
        session._furiosa_twin = None
        if self._settings.verify:
            session._furiosa_twin = self._twin(original, path_or_bytes, sess_options, record)

    def _twin(
        self, create: Callable[..., None], path_or_bytes: Any, options: Any, record: SessionRecord
    ) -> Any:
        """The same session on the CPU provider alone; None, and a problem, where it fails."""
        twin = object.__new__(ort.InferenceSession)
        try:
            create(twin, path_or_bytes, _copy(options), [CPU])
        except Exception as error:  # onnxruntime's exceptions have no common base
            record.problem = f"not compared: the CPU provider cannot load the model: {error}"
            return None
        return twin

    def _set_providers(
        self,
        original: Callable[..., None],
        session: Any,
        providers: Any = None,
        provider_options: Any = None,
    ) -> None:
        providers = providers or ort.get_available_providers()
        original(session, *put_first(providers, provider_options, self._settings.options))
        if (record := _record(session)) is not None:
            record.nodes = Counter(node_counts(session))

    def _run(
        self,
        original: Callable[..., Any],
        session: Any,
        output_names: Any,
        input_feed: Any,
        run_options: Any = None,
    ) -> Any:
        record, twin = _record(session), getattr(session, "_furiosa_twin", None)
        if record is None:
            return original(session, output_names, input_feed, run_options)
        start = time.perf_counter()
        outputs = original(session, output_names, input_feed, run_options)
        seconds, cpu_seconds = time.perf_counter() - start, 0.0
        if twin is not None:
            start = time.perf_counter()
            expected = original(twin, output_names, input_feed, run_options)
            cpu_seconds = time.perf_counter() - start
            names = output_names or [output.name for output in session.get_outputs()]
            found = differences(names, expected, outputs)
            record.compare(len(names), [str(difference) for difference in found])
        record.count(input_shapes(input_feed), seconds, cpu_seconds)
        return outputs

    def _timed(self, original: Callable[..., Any], session: Any, *args: Any, **kwargs: Any) -> Any:
        start = time.perf_counter()
        result = original(session, *args, **kwargs)
        if (record := _record(session)) is not None:
            record.count(original.__name__, time.perf_counter() - start)
            if self._settings.verify:
                record.problem = f"runs by {original.__name__} are not compared"
        return result

    def _add_provider(
        self, original: Callable[..., None], options: Any, name: str, values: Any = None
    ) -> None:
        own = dict(self._settings.options)
        if name == EP_NAME:
            own = {**(values or {}), **own}
        if not options.has_providers():
            original(options, EP_NAME, own)
            if name == EP_NAME:
                return
        original(options, name, values or {})

    def _add_devices(
        self, original: Callable[..., None], options: Any, devices: Sequence[Any], values: Any
    ) -> None:
        if not options.has_providers() and devices[0].ep_name != EP_NAME:
            ort.SessionOptions.add_provider(options, EP_NAME, {})
        original(options, devices, values)

    def _set_policy(self, _original: Callable[..., None], options: Any, _policy: Any) -> None:
        for key, value in self._settings.options.items():
            options.add_session_config_entry(f"ep.{EP_NAME.lower()}.{key}", value)
        self._select_by_policy(options, ort.OrtExecutionProviderDevicePolicy.PREFER_NPU)


def _wrap(owner: Any, name: str, wrapper: Callable[..., Any]) -> None:
    """Let the method `name` be `wrapper`, which gets the original method first.

    Calls from this package stay as they were: the compiler evaluates operators with ONNX Runtime.
    """
    original = getattr(owner, name, None)
    if original is None:  # this onnxruntime has no such method
        return

    @functools.wraps(original)
    def method(*args: Any, **kwargs: Any) -> Any:
        caller = sys._getframe(1).f_globals.get("__name__", "")
        if caller.startswith("furiosa_ep."):
            return original(*args, **kwargs)
        return wrapper(original, *args, **kwargs)

    setattr(owner, name, method)


def _record(session: Any) -> SessionRecord | None:
    return getattr(session, "_furiosa_record", None)


def _set_config(options: Any, key: str) -> None:
    try:
        options.get_session_config_entry(key)
    except RuntimeError:  # not set
        options.add_session_config_entry(key, "1")


def _copy(options: Any) -> Any:
    """Session options with the same values, without providers and config entries."""
    copy = ort.SessionOptions()
    for name, member in vars(ort.SessionOptions).items():
        if isinstance(member, property) and name not in WRITES_FILES:
            setattr(copy, name, getattr(options, name))
    _set_config(copy, STOP_SPINNING)
    register_custom_ops(copy)
    return copy


def _model_name(path_or_bytes: Any) -> str:
    if isinstance(path_or_bytes, bytes):
        return f"model of {len(path_or_bytes):,} bytes"
    return Path(path_or_bytes).name
