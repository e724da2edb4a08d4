"""LiteRT (TensorFlow Lite) for phones: StableHLO through Google's converter, no TensorFlow.

The converter fuses activations and biases; the file runs in LiteRT and in TensorFlow Lite.
"""

import io
import os
import warnings
from collections.abc import Sequence
from pathlib import Path

os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "0")  # or importing the converter prints of it

import jax
import jax.numpy as jnp
import numpy as np
from ai_edge_litert.interpreter import Interpreter
from ai_edge_quantizer import qtyping, quantizer, recipe, recipe_manager
from litert_converter.mlir import ir, passmanager
from litert_converter.mlir._mlir_libs import converter_api_ext as converter
from numpy.typing import NDArray

from scarlet_jax.blocks.base import Exportable
from scarlet_jax.errors import InputError
from scarlet_jax.export import stablehlo
from scarlet_jax.export.common import Runner, append_description, described, in_batches
from scarlet_jax.progress import quiet

__all__ = ["convert", "describe", "described", "halve", "load", "quantize"]

SIGNATURE, INPUT, OUTPUT = "serving_default", "image", "logits"
# A program for it has native convolutions, which the converter knows; CPUs get sums of shifts.
LOWERED_FOR = "tpu"


def convert(module: Exportable, shape: tuple[int | None, ...], path: Path) -> None:
    """Writes the program for images of a shape `[B, H, W, C]`, all of it known."""
    traced = stablehlo.jitted(module).trace(jax.ShapeDtypeStruct(shape, jnp.float32))
    bytecode = io.BytesIO()
    lowered = traced.lower(lowering_platforms=(LOWERED_FOR,))
    lowered.compiler_ir().operation.write_bytecode(file=bytecode)
    context = ir.Context()
    converter.prepare_mlir_context(context)
    with context:
        parsed = ir.Module.parse(bytecode.getvalue())
        converter.set_signature(
            parsed.operation,
            signature_name=SIGNATURE,
            input_names=[INPUT],
            output_names=[OUTPUT],
        )
        settings = converter.ConvertToTFLConfig()
        settings.model_origin_framework = "JAX"
        converter.run_convert_to_tfl_passes(parsed, passmanager.PassManager(), settings)
        path.write_bytes(converter.export_flatbuffer_to_bytes(parsed.operation))


describe = append_description


def load(path: Path, threads: int | None = None) -> Runner:
    """The file's function, in LiteRT on the CPU; on one core without `threads`.

    Images go through it in batches of the size that the file was made for. What a quantised file
    takes and gives in 8 bits is converted from and to float32.

    Raises:
      InputError: for a file that is not of this format.
    """
    try:
        with quiet():
            interpreter = Interpreter(model_path=str(path), num_threads=threads)
            interpreter.allocate_tensors()
            run = interpreter.get_signature_runner(SIGNATURE)
    except (ValueError, RuntimeError) as error:
        raise InputError(f"{path} cannot be read as LiteRT: {error}") from error
    inputs, outputs = run.get_input_details()[INPUT], run.get_output_details()[OUTPUT]

    def logits(images: NDArray[np.float32]) -> NDArray[np.float32]:
        return _from_file(outputs, run(**{INPUT: _to_file(inputs, images)})[OUTPUT])

    return in_batches(logits, int(inputs["shape"][0]))


def halve(path: Path, target: Path) -> None:
    """Writes the program with weights in float16, which are converted as they are used."""
    manager = recipe_manager.RecipeManager()
    weights = qtyping.TensorQuantizationConfig(16, dtype=qtyping.TensorDataType.FLOAT)
    manager.add_quantization_config(
        regex=".*",
        operation_name=qtyping.TFLOperationName.ALL_SUPPORTED,
        op_config=qtyping.OpQuantizationConfig(
            weight_tensor_config=weights, explicit_dequantize=True
        ),
        algorithm_key=recipe.AlgorithmName.FLOAT_CASTING,
    )
    with quiet():
        worker = quantizer.Quantizer(str(path), manager.get_quantization_recipe())
        worker.quantize().export_model(str(target), overwrite=True)


def quantize(path: Path, calibration: Sequence[NDArray[np.float32]], target: Path) -> None:
    """Writes the program with 8-bit weights, by channel, activations, input and output.

    Args:
      path: of the float32 file, made for one image.
      calibration: images, each `float32[1, H, W, C]`, which the activations' ranges are taken of.
      target: where it goes.
    """
    with quiet(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # calibration keeps all tensors on purpose
        worker = quantizer.Quantizer(str(path), recipe.static_wi8_ai8())
        ranges = worker.calibrate({SIGNATURE: [{INPUT: image} for image in calibration]})
        worker.quantize(ranges).export_model(str(target), overwrite=True)


def _to_file(details: dict, images: NDArray[np.float32]) -> NDArray:
    dtype = details["dtype"]
    if dtype == np.float32:
        return images
    scale, zero = details["quantization"]
    limits = np.iinfo(dtype)
    return np.clip(np.rint(images / scale) + zero, limits.min, limits.max).astype(dtype)


def _from_file(details: dict, values: NDArray) -> NDArray[np.float32]:
    if details["dtype"] == np.float32:
        return values
    scale, zero = details["quantization"]
    return ((values.astype(np.float32) - zero) * scale).astype(np.float32)
