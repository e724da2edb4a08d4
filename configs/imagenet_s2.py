r"""SCARLET's S2 on ImageNet, prepared by TensorFlow Datasets.

scarlet pipeline --config=imagenet_s2 --workdir=runs/imagenet_s2 \
    --config.data.path=DIR/imagenet2012/5.1.0

The preparation may be in array_record or TFRECORD form. Meant for one host with several GPUs
or TPU chips, which share the batch. Hours and accuracy: not measured. The recipe is ours; the
paper's was not published.
"""

from ml_collections import ConfigDict

from scarlet_jax.configs import base


def get_config() -> ConfigDict:
    config = base.get_config()
    config.model.dtype = "bfloat16"

    config.data.source = "tfds"
    config.data.num_classes = 1000
    config.data.test_split = "validation"  # the official one: neither trained nor searched on
    config.data.validation = 0.008  # 10 images a class, which stay in memory during the search
    config.data.workers = 8

    for training in (config.supernet, config.subnet):
        training.batch_size = 1024  # 1.27 million images are 1241 steps an epoch
        training.learning_rate = 0.4
        training.warmup_steps = 6205
    config.supernet.sampler = "strict_fair"
    config.supernet.steps = 49_640  # 40 epochs, in each of them 13 paths an image
    config.subnet.steps = 310_250  # 250 epochs
    config.subnet.ema_decay = 0.9999
    return config
