"""Graphs: the ONNX graph that comes in, and the device graph that it is lowered to."""

from furiosa_ep.graph.device import DeviceGraph, DeviceValue, Operation, Residual, Table
from furiosa_ep.graph.element_type import ElementType
from furiosa_ep.graph.graph import Graph
from furiosa_ep.graph.node import Node, TensorType
from furiosa_ep.graph.quantization import QuantParams

__all__ = [
    "DeviceGraph",
    "DeviceValue",
    "ElementType",
    "Graph",
    "Node",
    "Operation",
    "QuantParams",
    "Residual",
    "Table",
    "TensorType",
]
