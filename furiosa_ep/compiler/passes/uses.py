"""What passes ask about a graph."""

from dataclasses import dataclass

from furiosa_ep.graph import DeviceGraph, DeviceValue, Operation


@dataclass
class Uses:
    """Producers and numbers of uses of a graph's values, as they were when this was made."""

    producers: dict[DeviceValue, Operation]
    counts: dict[DeviceValue, int]
    """How often a value is read, as an output of the graph too."""

    @classmethod
    def of(cls, graph: DeviceGraph) -> "Uses":
        """The uses in `graph`."""
        counts: dict[DeviceValue, int] = {}
        for operation in graph.operations:
            for value in operation.inputs:
                if value is not None:
                    counts[value] = counts.get(value, 0) + 1
        for value in graph.outputs:
            counts[value] = counts.get(value, 0) + 1
        return cls(dict(graph.producers()), counts)

    def count(self, value: DeviceValue) -> int:
        """How often a value is read."""
        return self.counts.get(value, 0)

    def only_producer(self, value: DeviceValue) -> Operation | None:
        """The producer of a value that is read exactly once; None for any other value."""
        return self.producers.get(value) if self.counts.get(value) == 1 else None


def joined_name(first: Operation, second: Operation) -> str:
    """The name of two operations that became one; of many, the first and the last."""
    if first.name == second.name:
        return first.name
    beginning, more, _ = first.name.partition(" + ")
    return f"{beginning} + ... + {second.name}" if more else f"{beginning} + {second.name}"
