"""Every setting: its type, range, default and meaning. Defaults are SCARLET's S2 at 224 pixels.

`configs/` changes what differs, as ml_collections dictionaries; `check` holds what came out of
files and flags against this. A setting that neither the paper nor its supplementary gives is marked
(ours).
"""

import os
from collections.abc import Mapping
from math import inf, isclose, isnan
from typing import Annotated, Any, Literal, TypeVar

import ml_collections
import pydantic
from pydantic import (
    AfterValidator,
    Field,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)

from scarlet_jax.errors import InputError
from scarlet_jax.files import as_path
from scarlet_jax.space import SCARLET_STRIDES, SCARLET_WIDTHS
from scarlet_jax.train import rules

LARGE = 2**31 - 1  # steps and images are counted by int32
SHOWN = 80  # characters of a value in a message

Natural = Annotated[int, Field(ge=0, le=LARGE)]
Positive = Annotated[int, Field(ge=1, le=LARGE)]
Width = Annotated[int, Field(ge=1, le=2**16)]  # channels
Stride = Annotated[int, Field(ge=1, le=2)]
Images = Annotated[int, Field(ge=1, le=2**17)]  # of a batch
Finite = Annotated[float, Field(ge=-1e38, le=1e38, allow_inf_nan=False)]  # in float32 too
Rate = Annotated[float, Field(ge=0, le=1e38, allow_inf_nan=False)]
Share = Annotated[float, Field(ge=0, le=1)]
Fraction = Annotated[float, Field(ge=0, lt=1)]
Factor = Annotated[float, Field(gt=0, le=1)]


def _number(value: float) -> float:
    if isnan(value):
        raise ValueError("allowed: a number, or inf")
    return value


def _odd(value: int) -> int:
    if value % 2 == 0:
        raise ValueError("allowed: odd numbers")
    return value


def _name(value: str) -> str:
    if not value.isprintable() or not value.strip():
        raise ValueError("allowed: printable text")
    return value


def _path(value: str) -> str:
    """Without `~`. Empty stays empty: there is none."""
    try:
        return os.fspath(as_path(value)) if value else value
    except InputError as error:
        raise ValueError(str(error)) from error


def _rule(value: str) -> str:
    if reason := rules.refuse_name(value):
        raise ValueError(reason)
    return value


def _population(value: int) -> int:
    if value == 1 or not 0 <= value <= 10**5:
        raise ValueError("allowed: integers from 2 to 100,000, or 0 for one that fits the space")
    return value


def _is_plain(value: Any) -> bool:
    """Whether a value can be an argument: JSON keeps it, it equals itself, and fits an int32."""
    if isinstance(value, list | tuple):
        return all(map(_is_plain, value))
    if isinstance(value, int):
        return abs(value) <= LARGE
    return value is None or (isinstance(value, float | str) and value == value)


Bound = Annotated[float, AfterValidator(_number)]  # may be infinite
Kernel = Annotated[int, Field(ge=1, le=99), AfterValidator(_odd)]
Name = Annotated[str, Field(max_length=200), AfterValidator(_name)]
Names = Annotated[tuple[Name, ...], Field(strict=False, max_length=1000)]
LocalPath = Annotated[str, AfterValidator(_path)]
Activation = Literal["hard_swish", "relu", "relu6", "silu"]
Values = Field(strict=False, min_length=1, max_length=1000)  # of a tuple; a list will do


class Section(pydantic.BaseModel):
    """Settings that belong together."""

    model_config = pydantic.ConfigDict(strict=True, extra="forbid", frozen=True)


class Space(Section):
    name: Name = "s2"  # goes into files and messages
    widths: Annotated[tuple[Width, ...], Values] = SCARLET_WIDTHS  # output channels of each layer
    strides: Annotated[tuple[Stride, ...], Values] = SCARLET_STRIDES
    expansions: Annotated[tuple[Annotated[int, Field(ge=1, le=99)], ...], Values] = (3, 6)
    kernels: Annotated[tuple[Kernel, ...], Values] = (3, 5, 7)
    se: Annotated[tuple[bool, ...], Values] = (False, True)  # S1 has (False,) only
    # Of all layers: identity keeps its channels (SCARLET's); downsample is a 1x1 convolution with
    # batch norm where width or stride change (NAS-Bench-Macro's); none.
    skip: Literal["identity", "downsample", "none"] = "identity"
    # The choices by name, such as ("E3K3", "F4K3", "identity"), in place of the product of
    # expansions, kernels and se, and the skip.
    choices: Annotated[tuple[str, ...], Field(strict=False, max_length=1000)] = ()
    # For every layer the names of the choices that it may take, such as ("E3K3", "identity"); ()
    # for one layer, or instead of all: every choice.
    layer_choices: Annotated[tuple[Names, ...], Field(strict=False)] = ()
    stem_width: Width = 32
    stem_stride: Stride = 2
    # Of the separable block after the stem; 0 for none.
    separable_width: Annotated[int, Field(ge=0, le=2**16)] = 16
    head_width: Width = 1280
    activation: Activation = "hard_swish"  # of the blocks
    stem_activation: Activation = "relu6"  # of stem, separable block and head
    se_ratio: Width = 4  # SE squeezes so many channels to one, after expansion
    width_multiplier: Annotated[float, Field(gt=0, le=100)] = 1.0


class Model(Section):
    stabilizer: Literal["els", "none"] = "els"  # what a skip is in the supernet; none: ablation
    dtype: Literal["float32", "bfloat16"] = "float32"  # of the computation
    # How a supernet's layer takes one of its choices: by branches, which suits CPUs, by masks
    # without conditionals, which suits GPUs and TPUs, or as the platform wants it.
    selection: Literal["auto", "branch", "masked"] = "auto"


class Data(Section):
    source: Literal["mnist", "folder", "tfds"] = "folder"  # embedded, class folders, prepared
    path: LocalPath = ""  # folder: holds train/ and test/; tfds: the prepared version's folder
    train_split: Name = "train"
    test_split: Name = "test"
    validation_split: str = ""  # for the search; "" holds them out of the training images
    # So large a share of each class's, without a split (ours). Scores need many: supernets on
    # NAS-Bench-Macro have tau 0.59 by 250 images, 0.70 by 1,000, and 0.76 by 5,000.
    validation: Fraction = 0.1
    # 0 takes what the source says; any other must agree with it.
    num_classes: Annotated[int, Field(ge=0, le=10**6)] = 0
    image_size: Annotated[int, Field(ge=1, le=4096)] = 224  # pixels a side
    channels: Literal[1, 3] = 3  # grey, RGB
    mean: Annotated[tuple[Finite, ...], Values] = (0.485, 0.456, 0.406)  # ImageNet's (ours)
    # Of pixels in [0, 1], as the mean (ours).
    std: Annotated[tuple[Annotated[Finite, Field(ge=1e-6)], ...], Values] = (0.229, 0.224, 0.225)
    crop: Literal["none", "pad", "resized"] = "resized"  # training: pad and crop, or random boxes
    crop_padding: Annotated[int, Field(ge=0, le=4096)] = 4  # pixels a side, for "pad" (ours)
    # Share of the area, least and most, for "resized" (ours).
    crop_scale: Annotated[tuple[Factor, Factor], Field(strict=False)] = (0.08, 1.0)
    # Evaluation: share of the resized side that is kept (ours).
    center_crop: Annotated[float, Field(ge=0.1, le=1)] = 0.875
    flip: bool = True  # horizontally; wrong for digits
    jitter: Share = 0.4  # brightness, contrast, saturation: up to +-40% (ours)
    # Long side over short side; what is longer is left out: resized it would fill memory (ours).
    max_aspect: Annotated[float, Field(ge=1, le=1000)] = 100.0
    threads: Annotated[int, Field(ge=0, le=1024)] = 2  # that read ahead in this process
    # Reader processes; 0 reads in this process.
    workers: Annotated[int, Field(ge=0, le=1024)] = 0

    @model_validator(mode="after")
    def _check(self) -> "Data":
        for name in ("mean", "std"):
            if len(getattr(self, name)) != self.channels:
                raise ValueError(
                    f"{name} is {getattr(self, name)}; allowed: one value for each of the "
                    f"{self.channels} channels"
                )
        if self.crop_scale[0] > self.crop_scale[1]:
            raise ValueError(f"crop_scale is {self.crop_scale}; allowed: the least first")
        return self


class Optimizer(Section):
    """A function of Optax, and what it takes besides learning rate and weight decay; ours."""

    # A function of optax or optax.contrib: sgd, rmsprop, adamw, lion, lamb, muon, ...
    name: Annotated[str, AfterValidator(_rule)] = "sgd"
    # By the names of its parameters: {"b1": 0.9, "b2": 0.99}; the others have Optax's defaults.
    # From a command line as a whole: --config.supernet.optimizer.kwargs="{'b1': 0.8}", or what is
    # there already: ....kwargs.momentum=0.95. This default is sgd's: under another name it is
    # dropped if left as it is and not a parameter there (adamw), and holds if it is one (rmsprop).
    kwargs: Annotated[dict[Any, Any], Field(validate_default=True)] = {"momentum": 0.9}

    @field_validator("kwargs")
    @classmethod
    def _check(cls, value: dict[Any, Any], info: ValidationInfo) -> dict[Any, Any]:
        if not all(map(_is_plain, value.values())):
            raise ValueError(
                "allowed: numbers (integers of 32 bits), text, None, and lists of them"
            )
        name = info.data.get("name")
        if name is None:  # it is not allowed
            return value
        reason = rules.refuse_arguments(name, value)
        if reason and value == cls.model_fields["kwargs"].default:
            return {}
        if reason:
            raise ValueError(reason)
        return value


class Training(Section):
    """What the supernet's and the subnets' training share; all of it ours."""

    steps: Positive = 50_000
    batch_size: Images = 1024  # over all devices
    optimizer: Optimizer = Optimizer()
    learning_rate: Rate = 0.4  # at its peak
    schedule: Literal["cosine", "step"] = "cosine"
    warmup_steps: Natural = 2500  # linear, from 0
    step_factor: Share = 0.1  # for "step": the learning rate is multiplied by it ...
    # ... at these shares of the steps.
    step_milestones: Annotated[tuple[Share, ...], Field(strict=False)] = (0.5, 0.75)
    # On convolution and dense kernels only: decoupled where the optimizer has that (adamw, lion,
    # muon, ...), else added to the gradient (sgd, rmsprop, adam): see train/optimizer.py.
    weight_decay: Rate = 4e-5
    label_smoothing: Fraction = 0.1
    # Images of a class count in the loss by its share of the training images to the power of minus
    # this: with 0 all alike, with 1 all classes alike over an epoch.
    class_balance: Share = 0.0
    clip_norm: Rate = 0.0  # of the whole gradient; 0 does not clip
    # Of weights and statistics for evaluation, less in the first steps; 0 keeps none. On
    # NAS-Bench-Macro a supernet's averages were not seen to rank better: docs/evidence.md.
    ema_decay: Fraction = 0.0
    statistics_rate: Factor = 0.1  # how far running statistics move towards a batch's
    # Batch norm by each device's own images, without collectives in the network, and means of their
    # running statistics: the result depends on the number of devices. False: by all of a batch.
    local_batch_norm: bool = False
    log_every: Positive = 50  # steps
    eval_every: Natural = 2500  # steps, on validation images; 0 only at the end
    checkpoint_every: Positive = 500  # steps
    keep_checkpoints: Positive = 2  # a damaged one is done without, where there are more

    @model_validator(mode="after")
    def _check(self) -> "Training":
        if self.warmup_steps >= self.steps:
            raise ValueError(
                f"warmup_steps is {self.warmup_steps}; allowed: 0 to under steps={self.steps}"
            )
        return self


class Supernet(Training):
    sampler: Literal["strict_fair", "uniform"] = "strict_fair"  # FairNAS's, or one path a step
    shared_gradient: Literal["mean", "sum"] = "mean"  # of stem and head over the paths (ours)
    # Random paths whose mean accuracy is followed (ours).
    eval_paths: Annotated[int, Field(ge=1, le=10**4)] = 8


class Subnet(Training):
    dropout: Fraction = 0.2  # before the classifier (ours)
    # Modules that stay as given weights have them, batch norm's statistics too: stem, blocks,
    # blocks.0, ..., head.convolution, head.bn, head.
    frozen: Names = ()
    ema_decay: Fraction = 0.999  # (ours)


class Objective(Section):
    """What is wanted of a number that every architecture has; all of it ours."""

    goal: Literal["max", "min", "none"] = "none"  # none: its bounds alone count
    weight: Share = 0.0  # in the crowding distance; the weights sum to 1
    min: Bound = -inf  # bounds, which are allowed themselves
    max: Bound = inf


class TableObjective(Objective):
    """A number of the table's unit."""

    # A file of scarlet benchmark --table=..., or by hand: scarlet_jax/latency/table.py.
    table: LocalPath = ""
    device: str = ""  # that the table must be of; "" takes any


class Objectives(Section):
    """Those below, and any other that has a table, such as the latency on a second device."""

    model_config = pydantic.ConfigDict(strict=True, extra="allow", frozen=True)
    __pydantic_extra__: dict[str, TableObjective] = Field(init=False)

    accuracy: Objective = Objective(goal="max", weight=0.5)  # in the supernet, in [0, 1]
    macs: Objective = Objective(goal="min", weight=0.5, max=500_000_000.0)
    params: Objective = Objective()  # MoGA wants more of them: "max"
    latency: TableObjective = TableObjective()
    energy: TableObjective = TableObjective()

    @model_validator(mode="after")
    def _check(self) -> "Objectives":
        for name, objective in (self.__pydantic_extra__ or {}).items():
            if not objective.table:
                known = ", ".join(type(self).model_fields)
                raise ValueError(f"{name} has no table; allowed without: {known}")
        return self


POPULATION = 70  # table 1


class Search(Section):
    """Algorithm 1, with table 1's values where it gives one."""

    objectives: Objectives = Objectives()
    # Of all random draws of the search; -1 takes the run's. With --supernet=DIR another seed, start
    # or setting searches one supernet again, in a work directory of its own.
    seed: Annotated[int, Field(ge=-1, le=LARGE)] = -1
    # What is evaluated first, for a warm start: the work directory of another search, whose front
    # it is, or a JSON file with a list of architectures.
    start: LocalPath = ""
    # 0: as many as an architecture has neighbours (ours), `POPULATION` at most, which it is in S1
    # and S2. On NAS-Bench-Macro, where that is 16: docs/evidence.md.
    population: Annotated[int, AfterValidator(_population)] = 0
    generations: Natural = 20  # (ours)
    crossover: Literal["uniform", "one-point"] = "uniform"  # (ours)
    mutation_ratio: Share = 0.8  # the rest is crossover; table 1
    p_random: Share = 0.2  # p_rm of table 1
    p_reinforced: Share = 0.65  # p_re of table 1
    p_prior: Share = 0.15  # p_pr of table 1
    # p_M of table 1, read by us as: a reinforced mutation is guided by the objectives that need
    # an evaluation (accuracy); with p_K-M = 1 - p_M by those that are computed.
    p_evaluated: Share = 0.7
    reinforced_whole: Share = 0.5  # of reinforced mutants, with every layer decided anew (ours)
    # Evaluations, the latest, that controllers learn from (ours).
    controller_memory: Annotated[int, Field(ge=2, le=LARGE)] = 10_000
    # Rounds of proposals before a constraint is given up (ours).
    max_tries: Annotated[int, Field(ge=1, le=10**4)] = 100
    rare: Share = 0.01  # of proposals that is feasible, below which a warning says why (ours)
    picks: Positive = 5  # K models picked evenly along the front (ours)
    pick_by: str = "macs"  # what they are evenly spaced by; or latency, ... (ours)
    pick_min: Bound = -inf  # the part of the front that is picked from
    pick_max: Bound = inf
    # What batch norm takes in the search (ours). Supernets on NAS-Bench-Macro: tau 0.46 by running
    # statistics, 0.74 by those of a batch of 500, 0.76 by recalibrated ones.
    statistics: Literal["running", "batch", "recalibrated"] = "recalibrated"
    # For "recalibrated" (ours): there, 500 images in all do as well as 8,000.
    calibration_batches: Annotated[int, Field(ge=1, le=10**4)] = 4
    batch_size: Images = 128  # (ours)
    # Architectures a call of the evaluator, over all devices (ours).
    chunk: Annotated[int, Field(ge=1, le=4096)] = 80

    @model_validator(mode="after")
    def _check(self) -> "Search":
        odds = (self.p_random, self.p_reinforced, self.p_prior)
        if not isclose(sum(odds), 1):
            raise ValueError(
                f"p_random + p_reinforced + p_prior is {sum(odds):g} "
                f"({' + '.join(f'{p:g}' for p in odds)}); allowed: 1"
            )
        return self


class Rank(Section):
    """How far a supernet's order of networks can be trusted; all of it ours."""

    # Trained alone, of all sizes; intervals of tau need 8.
    architectures: Annotated[int, Field(ge=2, le=10**4)] = 24
    share: Factor = 0.1  # of subnet.steps and subnet.warmup_steps


class Config(Section):
    # Every random draw of a run derives from it.
    seed: Annotated[int, Field(ge=0, le=2**32 - 1)] = 0
    space: Space = Space()
    model: Model = Model()
    data: Data = Data()
    supernet: Supernet = Supernet()
    subnet: Subnet = Subnet()
    search: Search = Search()
    rank: Rank = Rank()


AnySection = TypeVar("AnySection", bound=Section)


def defaults() -> ml_collections.ConfigDict:
    """All settings as a dictionary to change, by `config.search.picks = 3`."""
    return ml_collections.ConfigDict(Config().model_dump())


def check(config: ml_collections.ConfigDict) -> ml_collections.ConfigDict:
    """The settings with `~` expanded in paths, locked.

    Raises:
      InputError: in one line, naming every setting that is absent, unknown or not allowed, and what
        is.
    """
    checked = check_section(Config, config)
    return ml_collections.ConfigDict(checked.model_dump()).lock()


def check_section(
    kind: type[AnySection], settings: Mapping[str, Any], name: str = ""
) -> AnySection:
    """The settings of one section, such as `config.data`; `name` is how messages call it.

    Raises:
      InputError: as `check`.
    """
    try:
        plain = settings.to_dict() if isinstance(settings, ml_collections.ConfigDict) else settings
        return kind.model_validate(dict(plain))
    except ValidationError as error:
        faults = {fault["loc"]: _describe(kind, fault, name) for fault in error.errors()}
        inner = [
            loc for loc in faults if not any(loc == longer[:-1] for longer in faults if longer)
        ]
        raise InputError("; ".join(faults[loc] for loc in inner)) from error


def _describe(kind: type[Section], fault: Any, name: str) -> str:
    """One fault of pydantic's in our words."""
    path = [key for key in fault["loc"] if isinstance(key, str)]
    parent, field = _schema(kind, path)
    full = ".".join([name, *path] if name else path)
    reason = str(fault["ctx"]["error"]) if fault["type"] == "value_error" else ""
    if reason and "properties" in field:  # of several settings together
        return f"{full}.{reason}"
    if fault["type"] != "missing":
        full += "".join(f"[{key}]" for key in fault["loc"] if isinstance(key, int))
    if fault["type"] == "extra_forbidden":
        return f"there is no setting {full}; allowed: {', '.join(parent['properties'])}"
    text = repr(fault["input"])
    shown = text if len(text) <= SHOWN else f"{text[:SHOWN]}..."
    return f"{full} is {shown}; {reason or f'allowed: {_allowed(field)}'}"


def _schema(kind: type[Section], path: list[str]) -> tuple[dict[str, Any], dict[str, Any]]:
    """The JSON schema of a setting, and of the section around it."""
    root = kind.model_json_schema()
    parent = field = root
    for key in path:
        parent = field
        others = parent.get("additionalProperties") or {}
        field = parent.get("properties", {}).get(key, others)
        if reference := field.get("$ref"):
            field = root["$defs"][reference.rpartition("/")[2]]
    return parent, field


def _allowed(schema: Mapping[str, Any]) -> str:
    """What a JSON schema allows, in words."""
    if "enum" in schema:
        return ", ".join(map(str, schema["enum"]))
    kind = schema.get("type")
    if kind == "array":
        items = schema.get("items") or schema["prefixItems"][0]
        least, most = schema.get("minItems", 0), schema.get("maxItems", inf)
        count = f"{least}" if least == most else f"{least} or more"
        return f"a list of {count}: {_allowed(items)}"
    if kind in ("integer", "number"):
        return f"{'integers' if kind == 'integer' else 'numbers'} {_range(schema)}"
    return {"boolean": "True, False", "string": "text", "object": "a section"}.get(str(kind), "")


def _range(schema: Mapping[str, Any]) -> str:
    low = f"{schema['minimum']:g}" if "minimum" in schema else ""
    high = f"{schema['maximum']:,.12g}" if "maximum" in schema else ""
    if "exclusiveMinimum" in schema:
        low = f"above {schema['exclusiveMinimum']:g}"
    if "exclusiveMaximum" in schema:
        high = f"under {schema['exclusiveMaximum']:g}"
    return f"from {low} to {high}" if low and high else "that are finite"
