"""What is measured: each job runs what users run, in an empty folder, and gives JSON values."""

import json
import re
import shlex
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from scipy import stats

from scarlet_jax import export, models
from scarlet_jax import space as spaces
from scarlet_jax.export import images
from scarlet_jax.space import S2

Found = dict[str, Any]
CLASSES, PIXELS = 10, 224  # of the exported model
CALIBRATION = 8  # images, of noise: what int8 costs in time does not depend on them
REPEATS = 50  # timed calls of an exported file
FORMATS = ("stablehlo float32", "onnx float32", "litert float32", "onnx int8", "litert int8")
THREADS = (1, 2)
MAIN = "pipeline --config=mnist --workdir=mnist"
NETWORKS = "benchmark --repeats=30 " + " ".join(
    f"--arch={name}" for name in ("scarlet-a", "scarlet-b", "scarlet-c", "all-identity", "all-k7e6")
)
TABLES = ("--space=s2", "--config=mnist")
BLOCKS = {"litert": ".tflite", "onnx": ".onnx"}  # formats and their files
ROUNDS = 5  # over all files
DIGITS = (28, 28, 1)  # of configs/mnist.py
COMPILED = "compile_check --topology=v5e:4x4 --config=imagenet_s2"


def scarlet(command: str, folder: Path) -> str:
    """What a command of the package prints, run in a folder."""
    print(f"scarlet {command}", flush=True)
    words = [sys.executable, "-m", "scarlet_jax.launch", *shlex.split(command)]
    done = subprocess.run(words, cwd=folder, check=True, stdout=subprocess.PIPE, text=True)
    return done.stdout


def main_job(folder: Path) -> Found:
    """README's first command, without setting up, and its best model in 8 bits."""
    begin = time.monotonic()
    scarlet(MAIN, folder)
    seconds = time.monotonic() - begin
    front = json.loads((folder / "mnist" / "front.json").read_text())
    paths = sorted((folder / "mnist" / "subnets").glob("*/result.json"))
    results = [json.loads(path.read_text()) for path in paths]
    best = max(results, key=lambda result: (result["validation_accuracy"], -result["macs"]))
    weights = f"--weights=mnist/subnets/{best['name']}"
    return {
        "seconds": seconds,
        "evaluations": front["evaluations"],
        "supernet_accuracy": max(model["accuracy"] for model in front["front"]),
        "best": {name: best[name] for name in ("name", "macs", "test_accuracy", "test_images")},
        "models": len(results),
        "tau": {score: tau(front["front"], results, score) for score in ("validation", "test")},
        "int8": {name: quantised(name, weights, folder) for name in ("onnx", "litert")},
    }


def tau(front: list[Found], results: list[Found], score: str) -> float:
    """Kendall's tau-b of the supernet's scores and the accuracies of what was trained alone."""
    scores = {tuple(model["architecture"]): model["accuracy"] for model in front}
    own = [scores[tuple(result["architecture"])] for result in results]
    accuracies = [result[f"{score}_accuracy"] for result in results]
    return float(stats.kendalltau(own, accuracies).statistic)


def quantised(name: str, weights: str, folder: Path) -> Found:
    """Percent of the test images that a model gets right in 8 bits, and in JAX."""
    command = f"export {weights} --format={name} --precision=int8 --out={name}.int8 --config=mnist"
    printed = scarlet(command, folder)
    line = re.search(r"accuracy on these test images: (.+)%, in JAX (.+)%", printed)
    if line is None:
        raise ValueError(f"scarlet {command} printed no accuracy")
    return {"file": float(line[1]), "JAX": float(line[2])}


def networks(folder: Path) -> Found:
    """Latency, throughput and memory of networks with random weights."""
    scarlet(f"{NETWORKS} --json=networks.json", folder)
    found: Found = json.loads((folder / "networks.json").read_text())
    return found


def tables(folder: Path) -> Found:
    """How latency tables agree with networks that they were not made of."""
    found = {}
    for number, space in enumerate(TABLES):
        begin = time.monotonic()
        scarlet(f"benchmark {space} --table={number}.json", folder)
        seconds = time.monotonic() - begin
        found[space] = {"seconds": seconds, **agreement(folder / f"{number}.json")}
    return found


def agreement(table: Path) -> Found:
    """How the sums of a table agree with networks that it was not made of."""
    check = json.loads(table.read_text())["check"]
    return {name: check[name] for name in ("median_error", "worst_error", "kendall_tau")}


def blocks(folder: Path) -> Found:
    """The same of tables out of files, whose runtimes here stand for a phone's tool."""
    found = {}
    for name, suffix in BLOCKS.items():
        scarlet(f"export --config=mnist --blocks={name} --format={name}", folder)
        files = sorted((folder / name).glob(f"*{suffix}"))
        module = export.check(name, folder / f"{name}{suffix}", 1)
        runners = {file: module.load(file, 1) for file in files}
        times: dict[Path, list[float]] = {file: [] for file in files}
        for _ in range(ROUNDS):
            for file, run in runners.items():
                own = re.search(r"-(\d+)x(\d+)x(\d+)", file.stem)  # networks have no shape
                shape = tuple(map(int, own.groups())) if own else DIGITS
                times[file].append(float(np.median(export.latency_ms(run, (1, *shape), REPEATS))))
        for file, rounds in times.items():
            file.with_suffix(".txt").write_text(f"{np.median(rounds)}")
        table = folder / name / "table.json"
        record = json.loads(table.read_text())
        table.write_text(json.dumps(record | {"device": {"kind": name}}))
        scarlet(f"benchmark --config=mnist --blocks={name} --table={name}.json --force", folder)
        found[name] = {"files": len(files), **agreement(folder / f"{name}.json")}
    return found


def exported(folder: Path) -> Found:
    """Size, and milliseconds for one image by threads, of SCARLET-A as files of other runtimes."""
    names = models.number_names(CLASSES)
    path = spaces.parse(S2, "scarlet-a")
    model = models.create(S2, path, names, models.Preprocessing(image_size=PIXELS))
    shape = (1, PIXELS, PIXELS, model.preprocessing.channels)
    found = {}
    for kind in FORMATS:
        print(kind, flush=True)
        name, precision = kind.split()
        file = folder / kind.replace(" ", ".")
        module = export.check(name, file, 1, precision)
        noise = images.random(model, CALIBRATION)
        calibration = [image[None] for image in next(images.random(model, CALIBRATION))[0]]
        result = export.export(
            model, name, file, noise, batch_size=1, precision=precision, calibration=calibration
        )
        threads = THREADS if name != "stablehlo" else (None,)  # JAX takes what there is
        times = [export.latency_ms(module.load(file, own), shape, REPEATS) for own in threads]
        found[kind] = {"bytes": result.size, "ms": [float(np.median(own)) for own in times]}
    return found


def compiled(folder: Path) -> Found:
    """What a TPU's compiler says of the supernet's programs, as the command prints it."""
    lines = scarlet(COMPILED, folder).splitlines()
    return {"table": [line for line in lines if line.startswith("|")]}


JOBS: Mapping[str, Callable[[Path], Found]] = {
    "main": main_job,
    "networks": networks,
    "tables": tables,
    "blocks": blocks,
    "exported": exported,
    "compiled": compiled,
}
