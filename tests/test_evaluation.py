import jax
import numpy as np
import pytest
from jax.sharding import Mesh
from searches import every_path
from small import config

from scarlet_jax import devices, evaluation, subnet, supernet
from scarlet_jax import space as spaces
from scarlet_jax.errors import InputError
from scarlet_jax.nn import functional
from scarlet_jax.nn.layers import BatchStatistics
from scarlet_jax.run.setup import make_space

EVERY_PATH = every_path(np.ones((4, 2), bool))  # int32[16, 4]: of the small space


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return config(tmp_path_factory.mktemp("unused")).data


@pytest.fixture(scope="module")
def space(tmp_path_factory):
    return make_space(config(tmp_path_factory.mktemp("unused")))


@pytest.fixture(scope="module")
def network(space):
    return supernet.create(space, num_classes=5, channels=1, seed=2)


def make_batches(seed, sizes, padded_to=8):
    rng = np.random.default_rng(seed)
    for size in sizes:
        level = rng.integers(0, 200, (padded_to, 1, 1, 1), np.uint8)  # so that scores differ
        yield {
            "image": level + rng.integers(0, 56, (padded_to, 8, 8, 1), np.uint8),
            "label": rng.integers(0, 5, padded_to).astype(np.int32),
            "weight": (np.arange(padded_to) < size).astype(np.float32),
        }


def real_images(batches):
    keep = [batch["weight"] > 0 for batch in batches]
    return [{k: v[real] for k, v in b.items()} for b, real in zip(batches, keep, strict=True)]


def logits_of(network, space, path, batch, norm=None):
    """Through the extracted network: other code than the evaluator's."""
    alone = subnet.extract(space, network, path)
    images = devices.normalise(jax.numpy.asarray(batch["image"]), (0.5,), (0.25,))
    return functional.apply(*alone, images, norm)


@pytest.mark.parametrize("statistics", evaluation.STATISTICS)
def test_each_path_gets_right_what_it_does_alone(network, space, data, statistics):
    batches = list(make_batches(0, [8, 8, 3]))  # 19 images, the last batch padded
    calibration = list(make_batches(1, [8, 5]))
    population = EVERY_PATH[[0, 5, 10, 15, 10]]
    scores = []
    for count in (1, 8):
        mesh = Mesh(np.array(jax.devices()[:count]), (devices.DATA,))
        evaluator = evaluation.PopulationEvaluator(
            network.graphdef,
            data,
            mesh,
            statistics=statistics,
            chunk=3,
        )
        weights = devices.replicate(mesh, (network.params, network.stats))
        used = calibration if statistics == "recalibrated" else []
        scores.append(evaluator(*weights, population, batches, used))
    np.testing.assert_array_equal(*scores)

    expected = []
    for path in population:
        if statistics == "recalibrated":
            moments = [
                logits_of(network, space, path, batch, BatchStatistics(rate=1.0))[1]
                for batch in real_images(calibration)
            ]
            mean = jax.tree.map(lambda *leaves: sum(leaves) / len(leaves), *moments)
        right = []
        for batch in real_images(batches):
            if statistics == "recalibrated":
                alone = subnet.extract(space, network, path)._replace(stats=mean)
                images = devices.normalise(jax.numpy.asarray(batch["image"]), (0.5,), (0.25,))
                logits, _ = functional.apply(*alone, images)
            else:
                norm = BatchStatistics(rate=0.0) if statistics == "batch" else None
                logits, _ = logits_of(network, space, path, batch, norm)
            right.extend((np.argmax(logits, -1) == batch["label"]).tolist())
        expected.append(right)
    np.testing.assert_array_equal(scores[0], expected)
    assert len(set(map(tuple, expected))) > 1  # else a constant would pass


def recalibrating_evaluator(network, data, mesh):
    return evaluation.PopulationEvaluator(
        network.graphdef, data, mesh, statistics="recalibrated", chunk=8
    )


def test_populations_never_recompile(network, space, data, compilations):
    mesh = devices.make_mesh()
    evaluator = recalibrating_evaluator(network, data, mesh)
    weights = devices.replicate(mesh, (network.params, network.stats))
    batches, calibration = (list(make_batches(s, [8])) for s in (0, 1))
    evaluator(*weights, EVERY_PATH[:1], batches, calibration)
    before = compilations()
    assert before > 0  # it does count
    for count in (1, 2, 3, 8):
        evaluator(*weights, np.roll(EVERY_PATH, count, 0)[:count], batches, calibration)
    evaluator(*weights, EVERY_PATH[:12], batches, calibration)  # two chunks
    assert compilations() == before


def test_no_batch_is_told(network, data):
    mesh = devices.make_mesh()
    evaluator = recalibrating_evaluator(network, data, mesh)
    weights = devices.replicate(mesh, (network.params, network.stats))
    with pytest.raises(InputError, match="no image of this split can be read"):
        evaluator(*weights, EVERY_PATH[:1], [], [])


def test_network_scores_count_every_image_once(network, space, data):
    alone = subnet.extract(space, network, np.array([0, 1, 0, 1]))
    batches = list(make_batches(0, [8, 3]))
    mesh = devices.make_mesh()
    evaluate = evaluation.network_evaluator(alone.graphdef, data, mesh)
    scores = evaluate(*devices.replicate(mesh, (alone.params, alone.stats)), batches)
    assert scores["images"] == 11
    images = np.concatenate([b["image"] for b in real_images(batches)])
    labels = np.concatenate([b["label"] for b in real_images(batches)])
    pixels = devices.normalise(jax.numpy.asarray(images), (0.5,), (0.25,))
    logits = np.asarray(functional.apply(*alone, pixels)[0], np.float64)
    log_sums = np.log(np.exp(logits).sum(-1))
    assert scores["loss"] == pytest.approx((log_sums - logits[range(11), labels]).mean(), rel=1e-5)
    assert scores["accuracy"] == pytest.approx((logits.argmax(-1) == labels).mean())
    assert scores["top5_accuracy"] == 1.0  # of five classes


def test_nothing_to_score(network, space, data):
    mesh = devices.make_mesh()
    alone = subnet.extract(space, network, np.array([1, 1, 1, 1]))
    evaluate = evaluation.network_evaluator(alone.graphdef, data, mesh)
    with pytest.raises(InputError, match="no image of this split can be read"):
        evaluate(alone.params, alone.stats, [])


def test_unknown_statistics(network, data):
    with pytest.raises(InputError, match="statistics 'moving'; allowed: running, batch, recalib"):
        evaluation.PopulationEvaluator(
            network.graphdef, data, devices.make_mesh(), statistics="moving", chunk=1
        )


def test_paths_of_the_space_are_what_is_scored(space):
    assert spaces.choice_names(space) == ["E2K3", "identity"]
