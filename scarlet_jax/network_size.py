"""The size of a network: what its costs depend on beside its space and architecture."""

import dataclasses
from dataclasses import dataclass

from scarlet_jax.errors import InputError


@dataclass(frozen=True)
class NetworkSize:
    """What goes into a network and comes out of it; the defaults are the paper's ImageNet.

    Attributes:
      image_size: side of the square input, in pixels.
      num_classes: outputs of the classifier.
      channels: of the images.

    Raises:
      InputError: for one below 1.
    """

    image_size: int = 224
    num_classes: int = 1000
    channels: int = 3

    def __post_init__(self) -> None:
        for name, value in dataclasses.asdict(self).items():
            if value < 1:
                raise InputError(f"{name} is {value}; allowed: 1 or more")


IMAGENET = NetworkSize()
