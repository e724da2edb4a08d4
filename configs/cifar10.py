r"""S2's choices on 32-pixel images: CIFAR-10 from class folders.

scarlet pipeline --config=cifar10 --workdir=runs/cifar10 \
    --config.data.path=DIR

DIR holds train/CLASS/*.png and test/CLASS/*.png (or .jpg), one folder for each of the ten
classes. Meant for one GPU or TPU chip: on 2 CPU cores a training step along one path takes 1.06 s,
and a strict-fair step of 13 paths 10.3 times as long as one (S2's; docs/figures.md), so that the
supernet's 17,600 would take 53 hours. Accuracy and hours of a whole run: not measured.
"""

from ml_collections import ConfigDict

from scarlet_jax.configs import base


def get_config() -> ConfigDict:
    config = base.get_config()
    config.space.name = "cifar10"
    config.space.stem_stride = 1
    # S2 without the first of its strides: feature maps of 32, 16, 8 and 4 pixels.
    config.space.strides = (1, *config.space.strides[1:])

    config.data.num_classes = 10
    config.data.image_size = 32
    config.data.mean = (0.491, 0.482, 0.447)
    config.data.std = (0.247, 0.243, 0.262)
    config.data.crop = "pad"
    config.data.center_crop = 1.0
    config.data.jitter = 0.0
    config.data.threads = 0  # small images come faster without: 8,900 a second on a core, not 6,200

    for training in (config.supernet, config.subnet):
        training.batch_size = 128  # 45,000 images are 352 steps an epoch
        training.learning_rate = 0.1
        training.warmup_steps = 1760
        training.weight_decay = 3e-4
        training.eval_every = 1760
    config.supernet.steps = 17_600  # 50 epochs, in each of them 13 paths an image
    config.subnet.steps = 105_600  # 300 epochs

    config.search.objectives.macs.max = 120_000_000.0  # the space spans 2 to 176 million
    return config
