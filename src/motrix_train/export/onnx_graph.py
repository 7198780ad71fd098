"""A policy as an ONNX graph: from the arrays of a checkpoint, the same way for Torch and for JAX."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper

from motrix_train.config import from_json
from motrix_train.export.actuation import Affine
from motrix_train.learning.policy import CLIP_THRESHOLD, EPSILON, center_and_half, layers
from motrix_train.learning.symmetry import NetworkSymmetry, SignedPermutation
from motrix_train.storage.checkpoint import Checkpoint

OPSET, IR_VERSION = 17, 8  # of 2022: old enough for the runtimes that are in use
_ACTIVATIONS = {"elu": "Elu", "relu": "Relu", "tanh": "Tanh"}


def policy_model(
    checkpoint: Checkpoint,
    control: Affine | None,
    description: str,
    metadata: Mapping[str, str],
) -> onnx.ModelProto:
    """A policy from the raw observation to the action, in float32, for any number of environments.

    Args:
        checkpoint: The policy.
        control: From an action to the actuator signals, None if they are no affine function of it.
        description: Of the policy, for people.
        metadata: Of the policy, for programs.

    Returns:
        The input ``observation`` (N, k), the outputs ``action`` (N, m), clipped, and with `control` ``ctrl`` (N, nu).
    """
    graph = _Graph()
    outputs = {"action": checkpoint.action_shape[0]}
    mean = _mean_action(graph, checkpoint, _normalized(graph, checkpoint, "observation"))
    if checkpoint.is_squashed:
        mean = _within_bounds(graph, checkpoint, mean)
    raised = graph.add("Max", mean, graph.constant("action_low", checkpoint.action_low))
    graph.add("Min", raised, graph.constant("action_high", checkpoint.action_high), output="action")
    if control is not None:
        outputs["ctrl"] = len(control.offset)
        gain, offset = graph.constant("ctrl_gain", control.gain), graph.constant("ctrl_offset", control.offset)
        graph.add("Gemm", "action", gain, offset, output="ctrl", transB=1)
    proto = helper.make_graph(
        graph.nodes,
        "policy",
        [_tensor("observation", checkpoint.observation_shape[0])],
        [_tensor(name, width) for name, width in outputs.items()],
        graph.constants,
    )
    model = helper.make_model(
        proto,
        opset_imports=[helper.make_opsetid("", OPSET)],
        ir_version=IR_VERSION,
        producer_name="motrix-train",
        producer_version=importlib.metadata.version("motrix-gym"),
        doc_string=description,
    )
    helper.set_model_props(model, dict(metadata))
    onnx.checker.check_model(model, full_check=True)
    return model


@dataclass(frozen=True)
class _Graph:
    """Operations in the order in which they are computed, and constants."""

    nodes: list[onnx.NodeProto] = field(default_factory=list)
    constants: list[onnx.TensorProto] = field(default_factory=list)

    def constant(self, name: str, values: Any) -> str:
        """A float32 constant, or one of integers as it is; returns its name."""
        array = np.asarray(values)
        array = array if array.dtype == np.int64 else array.astype(np.float32)
        self.constants.append(numpy_helper.from_array(np.ascontiguousarray(array), name))
        return name

    def add(self, operator: str, *inputs: str, output: str | None = None, **attributes: Any) -> str:
        """An operation with one output; returns the output's name."""
        output = output or f"{operator.lower()}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(operator, inputs, [output], name=output, **attributes))
        return output

    def halves(self, batch: str) -> tuple[str, str]:
        """The upper and the lower half of the batch."""
        upper, lower = f"{batch}_upper", f"{batch}_lower"
        self.nodes.append(helper.make_node("Split", [batch], [upper, lower], name=f"{batch}_halves", axis=0))
        return upper, lower


def _normalized(graph: _Graph, checkpoint: Checkpoint, observation: str) -> str:
    """The observation, normalized as by SKRL's RunningStandardScaler, term by term in float32."""
    saved = checkpoint.state["observation_normalizer"]
    deviation = np.sqrt(np.float32(saved["variance"])) + np.float32(EPSILON)
    centred = graph.add("Sub", observation, graph.constant("observation_mean", saved["mean"]))
    scaled = graph.add("Div", centred, graph.constant("observation_deviation", deviation))
    limits = graph.constant("least", -CLIP_THRESHOLD), graph.constant("greatest", CLIP_THRESHOLD)
    return graph.add("Clip", scaled, *limits)


def _mean_action(graph: _Graph, checkpoint: Checkpoint, observation: str) -> str:
    """The mean of the policy's Gaussian, for SAC before its tanh; with a mirror ``(f(o) + M_a f(M_o o)) / 2``."""
    if from_json(checkpoint.config).mirror == "none":
        return _perceptron(graph, checkpoint, observation)
    symmetry = NetworkSymmetry.from_arrays(checkpoint.state["mirror"])
    image = _mirrored(graph, symmetry.observation, observation, "observation_mirror")
    both = graph.add("Concat", observation, image, axis=0)
    own, image = graph.halves(_perceptron(graph, checkpoint, both))
    total = graph.add("Add", own, _mirrored(graph, symmetry.action, image, "action_mirror"))
    return graph.add("Div", total, graph.constant("two", 2.0))


def _within_bounds(graph: _Graph, checkpoint: Checkpoint, u: str) -> str:
    """``center + half * tanh(u)``."""
    center, half = center_and_half(checkpoint.action_low, checkpoint.action_high)
    swung = graph.add("Mul", graph.add("Tanh", u), graph.constant("action_half", half))
    return graph.add("Add", swung, graph.constant("action_center", center))


def _mirrored(graph: _Graph, mirror: SignedPermutation, vectors: str, name: str) -> str:
    permuted = graph.add("Gather", vectors, graph.constant(f"{name}_index", np.int64(mirror.index)), axis=1)
    return graph.add("Mul", permuted, graph.constant(f"{name}_sign", mirror.sign))


def _perceptron(graph: _Graph, checkpoint: Checkpoint, x: str) -> str:
    """Hidden layers with their nonlinearity, and the linear head of the means."""
    cfg = from_json(checkpoint.config)
    *hidden, head = layers(checkpoint.state["policy"], len(cfg.policy_hidden_layer_sizes))
    for i, (weight, bias) in enumerate(hidden):
        x = graph.add("Gemm", x, graph.constant(f"weight_{i}", weight), graph.constant(f"bias_{i}", bias))
        x = graph.add(_ACTIVATIONS[cfg.activation], x)
    weight, bias = (part[..., : checkpoint.action_shape[0]] for part in head)
    return graph.add("Gemm", x, graph.constant("head_weight", weight), graph.constant("head_bias", bias))


def _tensor(name: str, width: int) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, ["N", width])
