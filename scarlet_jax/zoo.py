"""The published models: SCARLET-A, B and C."""

import dataclasses
import os
from dataclasses import dataclass

from scarlet_jax import models
from scarlet_jax import space as spaces
from scarlet_jax.errors import InputError, check_one_of
from scarlet_jax.models import Model, Preprocessing
from scarlet_jax.space import S2


@dataclass(frozen=True)
class Published:
    """What the paper reports of a model, on ImageNet at 224 pixels; nothing here verifies it.

    Attributes:
      top1, top5: accuracy in percent.
      macs: in millions.
      params: in millions.
    """

    top1: float
    top5: float
    macs: int
    params: float


# SCARLET-NAS (arXiv 1908.06022). Exact counts by our rule: `scarlet_jax.cost`.
PUBLISHED = {
    "scarlet-a": Published(76.9, 93.4, 365, 6.7),
    "scarlet-b": Published(76.3, 93.0, 329, 6.5),
    "scarlet-c": Published(75.6, 92.6, 280, 6.0),
}


def create(
    name: str,
    num_classes: int = 1000,
    image_size: int = 224,
    *,
    weights: str | os.PathLike[str] | None = None,
    seed: int = 0,
) -> Model:
    """A published model, with random weights or those of a model file.

    Args:
      name: "scarlet-a", "scarlet-b" or "scarlet-c".
      num_classes: outputs of the classifier.
      image_size: pixels a side, 32 or more.
      weights: a model file, or the folder of one: of `scarlet convert` or `scarlet train_subnet`.
      seed: of random weights.

    Raises:
      InputError: for an unknown name, an image size under the network's stride, or weights of
        another architecture or number of classes.
    """
    name = name.lower()
    check_one_of("no model is called", name, PUBLISHED)
    architecture = spaces.parse(S2, name)
    preprocessing = Preprocessing(image_size=image_size)
    if weights is None:
        class_names = models.number_names(num_classes)
        return models.create(S2, architecture, class_names, preprocessing, seed=seed)
    model = models.load(weights)
    models.check_architecture(model, S2, architecture, str(weights))
    if (own := model.size.num_classes) != num_classes:
        raise InputError(
            f"{weights} has {own} classes, num_classes is {num_classes}; load it "
            "with its own and give it another classifier by models.replace_classifier"
        )
    models.check_image_size(S2, image_size)
    sized = dataclasses.replace(model.preprocessing, image_size=image_size)
    return dataclasses.replace(model, preprocessing=sized)
