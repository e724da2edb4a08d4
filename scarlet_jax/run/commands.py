"""What to do next with a work directory and its models, to copy: commands, and Python."""

import shlex
from pathlib import Path


def predict(folder: Path) -> str:
    """Classifies pictures by the model in a folder."""
    return f"scarlet predict {_weights(folder)} --images=FOLDER"


def export(folder: Path) -> str:
    """Writes the model in a folder for another runtime."""
    return f"scarlet export {_weights(folder)} --format=onnx --out=model.onnx"


def load(folder: Path) -> str:
    """Python that loads the model in a folder."""
    return f"""from scarlet_jax import models

model = models.load({str(folder)!r})
print(model.class_names, model.preprocessing)
# logits[1, classes] of a photo, uint8[height, width, channels]:
# model(model.preprocessing(photo)[None])"""


def tensorboard(workdir: Path) -> str:
    """Shows a work directory's trainings and search, while they run and afterwards."""
    return f"tensorboard {shlex.quote(f'--logdir={workdir}')}"


def _weights(folder: Path) -> str:
    return shlex.quote(f"--weights={folder}")
