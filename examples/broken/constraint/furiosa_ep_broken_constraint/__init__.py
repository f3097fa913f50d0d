"""A plugin with a constraint that raises."""

from furiosa_ep.plugin import (
    DeclineCode,
    Graph,
    NodeUnit,
    OperatorSupport,
    PluginInfo,
    Schema,
    constraint,
    hookimpl,
    kernel_lowering,
)


@hookimpl
def furiosa_plugin() -> PluginInfo:
    """What this plugin is."""
    return PluginInfo("broken-constraint", "0.1.0", api_version=1)


@hookimpl
def furiosa_schemas() -> list[Schema]:
    """The operator: on the CPU it gives its input."""
    return [
        Schema(
            "Same", "broken_constraint", "x:float -> y:float", compute=lambda inputs, _: inputs[0]
        )
    ]


@constraint(DeclineCode.SHAPE)
def anything(unit: NodeUnit, graph: Graph) -> str | None:
    """There must be something."""
    return str(1 / 0)


@hookimpl
def furiosa_operators() -> list[OperatorSupport]:
    """The operator."""
    return [OperatorSupport("Same", kernel_lowering("NONE"), (anything,), "broken_constraint")]
