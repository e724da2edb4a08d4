r"""SCARLET's S1, which has no squeeze-and-excitation, on ImageNet prepared by TensorFlow Datasets.

scarlet pipeline --config=imagenet_s1 --workdir=runs/imagenet_s1 \
    --config.data.path=DIR/imagenet2012/5.1.0

All else is as in configs/imagenet_s2.py, with 7 paths a step instead of 13. Hours and accuracy:
not measured.
"""

from ml_collections import ConfigDict

from scarlet_jax.configs import imagenet_s2


def get_config() -> ConfigDict:
    config = imagenet_s2.get_config()
    config.space.name = "s1"
    config.space.se = (False,)
    return config
