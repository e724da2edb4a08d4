r"""SCARLET-A, B or C, or any other path of S2, on your own class folders, from given weights.

scarlet train_subnet --config=finetune --workdir=runs/mine --arch=scarlet-a \
    --weights=DIR --config.data.path=IMAGES

IMAGES holds train/CLASS/ and test/CLASS/ with PNG or JPEG files. DIR is what scarlet convert made
of the authors' checkpoint, or a trained subnet; without --weights training starts from random ones,
which wants a higher learning rate and more steps. Meant for one GPU. Hours and accuracy: not
measured. The recipe is ours.
"""

from ml_collections import ConfigDict

from scarlet_jax.configs import base


def get_config() -> ConfigDict:
    config = base.get_config()
    config.data.crop_scale = (0.25, 1.0)
    config.data.jitter = 0.2

    config.subnet.batch_size = 64
    config.subnet.steps = 2000
    config.subnet.learning_rate = 0.02
    config.subnet.warmup_steps = 100
    config.subnet.statistics_rate = 0.05  # running statistics start from good ones
    config.subnet.log_every = 20
    config.subnet.eval_every = 200
    config.subnet.checkpoint_every = 200
    config.supernet.batch_size = 64  # devices must divide it too
    return config
