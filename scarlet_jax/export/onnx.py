"""ONNX: one node for each operation, written with the format's own library.

The graph is the usual one, images and feature maps `[N, C, H, W]`, so that a runtime recognises
and fuses what it knows.
"""

import json
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
from google.protobuf.message import DecodeError
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from onnxruntime import quantization
from onnxruntime.transformers import float16

from scarlet_jax.blocks.base import Exportable, Weights
from scarlet_jax.errors import InputError
from scarlet_jax.export import program
from scarlet_jax.export.common import Description, Runner, in_batches

# As old as the operations allow, so that older runtimes take the file: HardSwish came with 14.
OPSET, IR_VERSION = 14, 8
INPUT, OUTPUT = "image", "logits"


class Graph:
    """Carries operations out by adding nodes; a feature map is the name of its tensor."""

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []

    def node(self, kind: str, *inputs: str, output: str | None = None, **attributes: Any) -> str:
        name = output or f"{kind.lower()}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, inputs, [name], name=name, **attributes))
        return name

    def constant(self, values: Any, dtype: Any = np.float32) -> str:
        name = f"constant_{len(self.constants)}"
        array = np.ascontiguousarray(values, dtype)
        self.constants.append(numpy_helper.from_array(array, name))
        return name

    def activated(self, x: str, activation: str) -> str:
        if activation == "none":
            return x
        if activation == "relu6":
            return self.node("Clip", x, self.constant(0.0), self.constant(6.0))
        if activation == "hard_sigmoid":
            return self.node("HardSigmoid", x, alpha=1 / 6, beta=0.5)
        if activation == "silu":
            return self.node("Mul", x, self.node("Sigmoid", x))
        return self.node({"relu": "Relu", "hard_swish": "HardSwish"}[activation], x)

    def convolution(
        self,
        x: str,
        kernel: Weights,
        bias: Weights,
        stride: int,
        activation: str,
        groups: int = 1,
    ) -> str:
        size = kernel.shape[0]
        x = self.node(
            "Conv",
            x,
            self.constant(kernel.transpose(3, 2, 0, 1)),  # [D, C, k, k]
            self.constant(bias),
            kernel_shape=(size, size),
            strides=(stride, stride),
            pads=(size // 2,) * 4,
            group=groups,
        )
        return self.activated(x, activation)

    def depthwise(
        self, x: str, kernel: Weights, bias: Weights, stride: int, activation: str
    ) -> str:
        groups = kernel.shape[-1]
        return self.convolution(x, kernel[:, :, None], bias, stride, activation, groups)

    def subsample(self, x: str, stride: int) -> str:
        numbers = ([0, 0], [np.iinfo(np.int64).max] * 2, [2, 3], [stride, stride])
        return self.node("Slice", x, *(self.constant(part, np.int64) for part in numbers))

    def mean(self, x: str) -> str:
        return self.node("GlobalAveragePool", x)

    def multiply(self, x: str, gate: str) -> str:
        return self.node("Mul", x, gate)

    def add(self, x: str, y: str) -> str:
        return self.node("Add", x, y)

    def classify(self, x: str, kernel: Weights, bias: Weights) -> str:
        flat = self.node("Flatten", x)
        return self.node("Gemm", flat, self.constant(kernel), self.constant(bias), output=OUTPUT)


def check_opset(opset: int) -> None:
    """Raises `InputError` for one that lacks operations, or that the package does not know."""
    newest = onnx.defs.onnx_opset_version()
    if not OPSET <= opset <= newest:
        raise InputError(f"opset is {opset}; allowed: {OPSET} to {newest}")


def convert(
    module: Exportable, shape: tuple[int | None, ...], path: Path, opset: int = OPSET
) -> None:
    """Writes the graph for images of a shape `[B, H, W, C]`, whose batch may be None for any."""
    graph = Graph()
    output = module.export(graph, INPUT)
    batch, height, width, channels = shape
    batch_name: Any = "batch" if batch is None else batch
    image = (batch_name, channels, height, width)
    *sides, out = program.output_shape(module, shape)
    proto = helper.make_graph(
        graph.nodes,
        "scarlet",
        [helper.make_tensor_value_info(INPUT, TensorProto.FLOAT, image)],
        [helper.make_tensor_value_info(output, TensorProto.FLOAT, (batch_name, out, *sides))],
        graph.constants,
    )
    model = helper.make_model(
        proto,
        opset_imports=[(own := helper.make_opsetid("", opset))],
        ir_version=max(IR_VERSION, helper.find_min_ir_version_for([own])),
        producer_name="scarlet_jax",
    )
    onnx.checker.check_model(model, full_check=True)
    onnx.save(model, path)


def describe(path: Path, description: Description) -> None:
    """Adds what the file says of itself to its metadata, a JSON value for each name."""
    model = onnx.load(path)
    helper.set_model_props(model, {name: json.dumps(value) for name, value in description.items()})
    onnx.save(model, path)


def described(path: Path) -> Description:
    """What `describe` has added. Raises `InputError` where there is nothing."""
    try:
        properties = onnx.load(path).metadata_props
        description = {entry.key: json.loads(entry.value) for entry in properties}
        return {name: description[name] for name in ("preprocessing", "class_names")}
    except (DecodeError, ValueError, KeyError) as error:
        raise InputError(f"{path} says nothing of its model: {error}") from error


def load(path: Path, threads: int | None = None) -> Runner:
    """The file's function, in ONNX Runtime on the CPU; on all cores without `threads`.

    Raises:
      InputError: for a file that is not of this format.
    """
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads or 0
    try:
        session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # its errors have no class of their own in common
        raise InputError(f"{path} cannot be read as ONNX: {error}") from error
    batch = session.get_inputs()[0].shape[0]

    def logits(images: NDArray[np.float32]) -> NDArray[np.float32]:
        return session.run(None, {INPUT: _planes(images)})[0]

    return in_batches(logits, batch if isinstance(batch, int) else None)


def halve(path: Path, target: Path) -> None:
    """Writes the graph with weights and activations in float16; images and logits stay float32."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of weights too small for float16
        model = float16.convert_float_to_float16(onnx.load(path), keep_io_types=True)
    onnx.save(model, target)


def quantize(path: Path, calibration: Sequence[NDArray[np.float32]], target: Path) -> None:
    """Writes the graph with 8-bit weights, by channel, and activations.

    Args:
      path: of the float32 file; a prepared one is left beside it.
      calibration: images, each `float32[1, H, W, C]`, which the activations' ranges are taken of.
      target: where it goes.
    """

    class Reader(quantization.CalibrationDataReader):
        def __init__(self) -> None:
            self.images = iter(calibration)

        def get_next(self) -> dict[str, Any] | None:
            image = next(self.images, None)
            return None if image is None else {INPUT: _planes(image)}

    prepared = path.with_suffix(".prepared")
    quantization.quant_pre_process(path, prepared, skip_optimization=True, skip_symbolic_shape=True)
    quantization.quantize_static(
        prepared,
        target,
        Reader(),
        quant_format=quantization.QuantFormat.QDQ,
        per_channel=True,
        activation_type=quantization.QuantType.QInt8,
        weight_type=quantization.QuantType.QInt8,
        # Ranges averaged over images, as LiteRT's are. By their extremes, which a few images set, a
        # network of 48% on CIFAR-10 kept 18%, and 46% by the averages.
        extra_options={"CalibMovingAverage": True},
    )


def _planes(images: NDArray[np.float32]) -> NDArray[np.float32]:
    return np.ascontiguousarray(images.transpose(0, 3, 1, 2))
