"""Trained subnets as model files, and training from one."""

import dataclasses
import json
import shutil

import jax
import numpy as np
import pytest
import small

from scarlet_jax import data, derived, files, models
from scarlet_jax.errors import InputError
from scarlet_jax.export import images as exported_images
from scarlet_jax.run import subnet as subnets
from scarlet_jax.run.setup import prepare
from scarlet_jax.run.subnet import evaluate_subnet, train_subnet
from scarlet_jax.train import step as steps

PATH = np.array([0, 1, 0, 1], np.int32)  # blocks, and a skip before the head


@pytest.fixture(scope="module")
def trained(image_folder, tmp_path_factory):
    setup = prepare(small.config(image_folder), tmp_path_factory.mktemp("trained"))
    result = train_subnet(setup, PATH, "first")
    return setup, result, setup.workdir / "subnets" / "first"


def test_the_model_file_scores_as_the_job_said(trained):
    setup, result, directory = trained
    model = models.load(directory)
    assert model.class_names == small.CLASSES
    assert model.preprocessing == models.Preprocessing(8, 1, (0.5,), (0.25,), 1.0)
    section = exported_images.fitted(setup.config.data, model)
    assert section.to_dict() == setup.config.data.to_dict()
    read = exported_images.read(setup.splits.test, section, 0, 4, data.Unreadable())
    right = sum(int((model(pixels).argmax(1) == labels).sum()) for pixels, labels in read)
    assert right / result["test_images"] == pytest.approx(result["test_accuracy"])


def spy_on_start(monkeypatch):
    """The weights that training starts from."""
    seen = []
    original = steps.init_state

    def init(network, task):
        seen.append(network)
        return original(network, task)

    monkeypatch.setattr(steps, "init_state", init)
    return seen


def test_training_starts_from_given_weights(trained, image_folder, tmp_path, monkeypatch):
    model, seen = models.load(trained[2]), spy_on_start(monkeypatch)
    setup = prepare(small.config(image_folder), tmp_path)
    result = train_subnet(setup, PATH, "second", model)
    assert jax.tree.all(jax.tree.map(np.array_equal, seen[0][1:], model.network[1:]))
    assert len(result["weights"]) == 64
    scores = evaluate_subnet(setup, "second")
    assert scores["accuracy"] == pytest.approx(result["test_accuracy"])
    with pytest.raises(InputError, match=r"is of another configuration or other data: weights"):
        train_subnet(setup, PATH, "second")
    # A supernet's statistics are recalibrated anew, on another device to other bits.
    recalibrated = jax.tree.map(lambda leaf: leaf * 1.0001, model.network.stats)
    network = model.network._replace(stats=recalibrated)
    again = train_subnet(setup, PATH, "second", dataclasses.replace(model, network=network))
    assert again == result


def test_the_best_by_validation_is_kept_beside_the_last(image_folder, tmp_path, monkeypatch):
    config = small.config(image_folder)
    config.subnet.eval_every = 2
    accuracies = iter([0.5, 0.75, 0.75, 0.75])  # at the steps 2, 4 and 6, and once more at the end
    original = subnets.evaluation.network_evaluator

    def scored(*args):
        score = original(*args)
        return lambda params, stats, batches: (
            score(params, stats, batches)
            | ({"accuracy": found} if (found := next(accuracies, None)) else {})
        )

    monkeypatch.setattr(subnets.evaluation, "network_evaluator", scored)
    setup = prepare(config, tmp_path)
    train_subnet(setup, PATH, "own")
    directory = tmp_path / "subnets" / "own"
    assert files.read_signed(directory / "best.json")["step"] == 4
    best, last = models.load(directory / "best.safetensors"), models.load(directory)
    assert not jax.tree.all(jax.tree.map(np.array_equal, best.network[1:], last.network[1:]))
    # Of other settings, nothing is better or worse.
    record = {"step": 1, "validation_accuracy": 0.1, "settings": {"seed": 1}}
    subnets._keep_best(directory, record, lambda: last)
    assert files.read_signed(directory / "best.json")["step"] == 1


def test_classes_of_unequal_size_are_balanced_if_asked(image_folder, tmp_path, monkeypatch):
    """By hand: 12 and 6 images, so weights of 1/12 and 1/6, times 9: 1 in the mean of all."""
    shutil.copytree(image_folder, tmp_path / "images")
    for number in range(8):
        (tmp_path / "images/train/light" / f"{number:02}.png").unlink()
    config = small.config(tmp_path / "images")
    config.subnet.class_balance = 1.0
    seen = []

    def init(network, task):
        seen.append(task.class_weights)
        raise KeyboardInterrupt

    monkeypatch.setattr(steps, "init_state", init)
    with pytest.raises(KeyboardInterrupt):
        train_subnet(prepare(config, tmp_path / "run"), PATH, "balanced")
    np.testing.assert_allclose(seen[0], [0.75, 1.5])


def test_modules_are_frozen_by_name(trained, image_folder, tmp_path):
    model, config = models.load(trained[2]), small.config(image_folder)
    config.subnet.update({"frozen": ("stem", "blocks"), "ema_decay": 0.0})
    train_subnet(prepare(config, tmp_path), PATH, "frozen", model)
    after = models.load(tmp_path / "subnets" / "frozen").network
    for part in ("stem", "blocks"):
        assert jax.tree.all(
            jax.tree.map(np.array_equal, after.params[part], model.network.params[part])
        )
    kernel = after.params["head"]["classifier"]["kernel"]
    assert not np.array_equal(kernel, model.network.params["head"]["classifier"]["kernel"])
    with pytest.raises(InputError, match=r"subnet.frozen is stem, blocks, without weights to star"):
        train_subnet(prepare(config, tmp_path), PATH, "other")
    config.subnet.frozen = ("head",)
    other = dataclasses.replace(model, class_names=("cat", "dog", "owl"))
    with pytest.raises(
        InputError, match=r"subnet.frozen has head, whose classifier is new, as the"
    ):
        train_subnet(prepare(config, tmp_path), PATH, "other", other)
    config.subnet.frozen = ("blocks.4",)
    with pytest.raises(InputError, match=r"has 'blocks.4'; allowed: stem, .* blocks.0 to blocks.3"):
        prepare(config, tmp_path)


@pytest.mark.parametrize("skip", ["els", "folded"])
def test_a_path_of_a_supernet_is_trained_as_what_it_is(skip, trained, image_folder, tmp_path):
    setup = prepare(small.config(image_folder), tmp_path)
    model = models.create(
        setup.space, PATH, small.CLASSES, models.load(trained[2]).preprocessing, skip=skip
    )
    result = train_subnet(setup, PATH, "path", model)
    assert result["skip"] == skip
    assert skip in derived.SKIPS
    again = models.load(tmp_path / "subnets" / "path")
    assert again.skip == skip
    params = sum(leaf.size for leaf in jax.tree.leaves(again.network.params))
    assert result["params"] == params
    assert evaluate_subnet(setup, "path")["accuracy"] == pytest.approx(result["test_accuracy"])


def test_other_classes_get_a_new_classifier(trained, image_folder, tmp_path, monkeypatch, capsys):
    model, seen = models.load(trained[2]), spy_on_start(monkeypatch)
    other = models.replace_classifier(model, ["a", "b", "c"])
    setup = prepare(small.config(image_folder), tmp_path)
    train_subnet(setup, PATH, "third", other)
    assert "a new classifier: 3 classes before, 2 others now" in capsys.readouterr().out
    start = seen[0].params
    np.testing.assert_array_equal(
        start["head"]["convolution"]["kernel"],
        model.network.params["head"]["convolution"]["kernel"],
    )
    assert start["head"]["classifier"]["kernel"].shape == (16, 2)


@pytest.mark.parametrize("by", ["name", "number"])
def test_the_same_classes_in_another_order_keep_their_outputs(
    by, trained, image_folder, tmp_path, monkeypatch, capsys
):
    model, seen = models.load(trained[2]), spy_on_start(monkeypatch)
    other = models.arrange_classifier(model, model.class_names[::-1])
    if by == "number":
        other = dataclasses.replace(model, class_names=models.number_names(2))
    setup = prepare(small.config(image_folder), tmp_path)
    train_subnet(setup, PATH, "fourth", other)
    assert f"in the order of the data's classes, matched by {by}\n" in capsys.readouterr().out
    assert jax.tree.all(jax.tree.map(np.array_equal, seen[0][1:], model.network[1:]))
    assert models.load(tmp_path / "subnets" / "fourth").class_names == small.CLASSES


def test_weights_of_another_network_are_refused(trained, image_folder, tmp_path):
    setup, model = prepare(small.config(image_folder), tmp_path), models.load(trained[2])
    with pytest.raises(
        InputError, match="the initial model is 0,1,0,1 of space 'small', not 0,0,0,0 of"
    ):
        train_subnet(setup, np.zeros(4, np.int32), "x", model)
    coloured = models.create(setup.space, PATH, small.CLASSES, models.Preprocessing(image_size=8))
    with pytest.raises(InputError, match=r"takes images of 3 channels, data\.channels is 1"):
        train_subnet(setup, PATH, "x", coloured)
    assert not (tmp_path / "subnets").exists()


def test_images_under_the_stride_are_refused(image_folder, tmp_path):
    config = small.config(image_folder)
    config.data.image_size = 3
    with pytest.raises(
        InputError, match="image_size is 3; space 'small' has a stride of 4, so all"
    ):
        prepare(config, tmp_path)


def test_results_are_json(trained):
    _, result, directory = trained
    assert files.read_signed(directory / "result.json") == json.loads(json.dumps(result))
