"""Put FuriosaProvider first in the providers that a program asks for."""

from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

from furiosa_ep.provider.library import EP_NAME

Provider: TypeAlias = str | tuple[str, Mapping[Any, Any]]
Providers: TypeAlias = Sequence[Provider]
ProviderOptions: TypeAlias = Sequence[Mapping[Any, Any]]


def put_first(
    providers: Providers, provider_options: ProviderOptions | None, options: Mapping[str, str]
) -> tuple[list[Provider], list[Mapping[Any, Any]] | None]:
    """The arguments of InferenceSession with FuriosaProvider first, the rest as it was.

    Where the program names FuriosaProvider itself, its own options stay and `options` override
    them. Arguments that ONNX Runtime refuses stay such that it refuses them still.
    """
    own: dict[Any, Any] = {}
    rest: list[Provider] = []
    rest_options = None if provider_options is None else list(provider_options)
    for index, provider in enumerate(providers):
        if provider != EP_NAME and not (isinstance(provider, tuple) and provider[0] == EP_NAME):
            rest.append(provider)
            continue
        own.update(provider[1] if isinstance(provider, tuple) else {})
        if rest_options is not None and index < len(provider_options or ()):
            own.update(rest_options.pop(len(rest)))
    own.update(options)
    if rest_options is not None:
        return [EP_NAME, *rest], [own, *rest_options]
    return [(EP_NAME, own) if own else EP_NAME, *rest], None
