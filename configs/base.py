"""Every setting of the project with its default: SCARLET's S2 on 224-pixel images.

The other files here start from this one and change what differs. A setting that neither the
paper nor its supplementary gives is marked (ours).
"""

from math import inf

from ml_collections import ConfigDict

from scarlet_jax import space


def get_config() -> ConfigDict:
    config = ConfigDict()
    config.seed = 0  # every random draw of a run derives from it

    config.space = ConfigDict()
    config.space.name = "s2"  # goes into files and messages
    config.space.widths = space.SCARLET_WIDTHS  # output channels of each layer
    config.space.strides = space.SCARLET_STRIDES
    config.space.expansions = (3, 6)
    config.space.kernels = (3, 5, 7)
    config.space.se = (False, True)  # S1 has (False,) only
    config.space.skip = True  # whether every layer may be skipped
    config.space.stem_width = 32
    config.space.stem_stride = 2
    config.space.separable_width = 16
    config.space.head_width = 1280
    config.space.width_multiplier = 1.0

    config.model = ConfigDict()
    config.model.stabilizer = "els"  # what a skip is in the supernet; "none" is the ablation
    config.model.dtype = "float32"  # of the computation: float32 or bfloat16

    config.data = ConfigDict()
    config.data.source = "folder"  # mnist (embedded), folder (class folders), tfds (prepared)
    config.data.path = ""  # folder: holds train/ and test/; tfds: the prepared version's folder
    config.data.train_split = "train"
    config.data.test_split = "test"
    config.data.validation = 0.1  # (ours) share of each class's training images for the search
    config.data.num_classes = 0  # 0 takes what the source says; any other must agree with it
    config.data.image_size = 224
    config.data.channels = 3
    config.data.mean = (0.485, 0.456, 0.406)  # of ImageNet, in [0, 1] (ours)
    config.data.std = (0.229, 0.224, 0.225)  # (ours)
    config.data.crop = "resized"  # training: none, pad (pad and crop) or resized (random)
    config.data.crop_padding = 4  # pixels a side, for "pad" (ours)
    config.data.crop_scale = (0.08, 1.0)  # share of the area, for "resized" (ours)
    config.data.center_crop = 0.875  # evaluation: share of the resized side kept (ours)
    config.data.flip = True  # horizontally; wrong for digits
    config.data.jitter = 0.4  # brightness, contrast, saturation: up to +-40% (ours)
    config.data.threads = 2  # that read ahead in this process
    config.data.workers = 0  # reader processes; 0 reads in this process

    config.supernet = training()
    config.supernet.sampler = "strict_fair"  # or uniform: one path a step (FairNAS)
    config.supernet.shared_gradient = "mean"  # of stem and head over the paths; or sum (ours)
    config.supernet.eval_paths = 8  # random paths whose mean accuracy is followed (ours)

    config.subnet = training()
    config.subnet.dropout = 0.2  # before the classifier (ours)
    config.subnet.ema_decay = 0.999  # (ours)

    config.search = search()
    return config.lock()


def training() -> ConfigDict:
    """What the supernet's and the subnets' training share; all of it ours."""
    config = ConfigDict()
    config.steps = 50_000
    config.batch_size = 1024  # over all devices
    config.optimizer = "sgd"  # with momentum; or rmsprop
    config.learning_rate = 0.4  # at its peak
    config.momentum = 0.9
    config.rmsprop_decay = 0.9
    config.rmsprop_epsilon = 1e-3
    config.schedule = "cosine"  # or step
    config.warmup_steps = 2500  # linear, from 0
    config.step_factor = 0.1  # for "step": the learning rate is multiplied by it ...
    config.step_milestones = (0.5, 0.75)  # ... at these shares of the steps
    config.weight_decay = 4e-5  # on convolution and dense kernels only
    config.label_smoothing = 0.1
    config.clip_norm = 0.0  # of the whole gradient; 0 does not clip
    config.ema_decay = 0.0  # of weights and statistics for evaluation; 0 keeps none
    config.statistics_rate = 0.1  # how far running statistics move towards a batch's
    config.log_every = 50  # steps
    config.eval_every = 2500  # steps, on validation images; 0 only at the end
    config.checkpoint_every = 500  # steps
    config.keep_checkpoints = 2
    return config


def search() -> ConfigDict:
    """Algorithm 1, with table 1's values where it gives one."""
    config = ConfigDict()
    config.objectives = ConfigDict()
    config.objectives.accuracy = objective("max", 0.5)  # in the supernet, in [0, 1]
    config.objectives.macs = objective("min", 0.5, most=500_000_000.0)
    config.objectives.params = objective("none")  # MoGA wants more of them: "max"
    config.objectives.latency = objective("none")  # milliseconds, by latency_table
    # A file of python -m launch.benchmark --table=..., or of a phone in the same form.
    config.latency_table = ""
    config.latency_device = ""  # the device that the table must be of; "" takes any

    config.population = 70  # table 1
    config.generations = 20  # (ours)
    config.crossover = "uniform"  # or one-point (ours)
    config.mutation_ratio = 0.8  # the rest is crossover; table 1
    config.p_random = 0.2  # p_rm of table 1
    config.p_reinforced = 0.65  # p_re of table 1
    config.p_prior = 0.15  # p_pr of table 1
    # p_M of table 1, read by us as: a reinforced mutation is guided by the objectives that need
    # an evaluation (accuracy); with p_K-M = 1 - p_M by those that are computed.
    config.p_evaluated = 0.7
    config.reinforced_whole = (
        0.5  # share of reinforced mutants with every layer decided anew (ours)
    )
    config.controller_memory = 10_000  # evaluations, the latest, that controllers learn from (ours)
    config.max_tries = 100  # rounds of proposals before a constraint is given up (ours)
    config.rare = 0.01  # share of proposals that is feasible, below which a warning says why (ours)
    config.picks = 5  # K models picked evenly along the front (ours)
    config.pick_by = "macs"  # what they are evenly spaced by; or latency, ... (ours)
    config.pick_min = -inf  # the part of the front that is picked from
    config.pick_max = inf
    config.statistics = "recalibrated"  # batch norm: running, batch or recalibrated (ours)
    config.calibration_batches = 4  # for "recalibrated" (ours)
    config.batch_size = 128  # images (ours)
    config.chunk = 80  # architectures a call of the evaluator, over all devices (ours)
    # On CPUs a block scores so few images at a time that their widest feature map has this size,
    # so that it stays in cache (ours).
    config.cache_bytes = 2_000_000
    return config


def objective(goal: str, weight: float = 0.0, least: float = -inf, most: float = inf) -> ConfigDict:
    """What is wanted of a number that every architecture has; all of it ours."""
    config = ConfigDict()
    config.goal = goal  # max, min, or none: its bounds alone count
    config.weight = weight  # in the crowding distance; the weights sum to 1
    config.min = least  # bounds, which are allowed themselves
    config.max = most
    return config
