"""The benchmark's table, and what it makes of a search and of a supernet's scores."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from scipy import stats

from benchmarks import record, search_peers
from benchmarks.intervals import difference, interval, with_width
from benchmarks.nas_bench_macro import __main__ as command_line
from benchmarks.nas_bench_macro import (
    picks,
    precision,
    ranking,
    recipes,
    retrained,
    search,
    summary,
    supernet,
)
from benchmarks.nas_bench_macro import table as tables
from benchmarks.nas_bench_macro.processes import side_by_side
from benchmarks.search_tasks import Task
from scarlet_jax import cost, settings
from scarlet_jax import space as spaces
from scarlet_jax.configs import nas_bench_macro
from scarlet_jax.errors import InputError
from scarlet_jax.machine import processor
from scarlet_jax.run import search as runs
from scarlet_jax.run.setup import Setup

PUBLISHED = Path(__file__).parents[2] / "shared" / "reference" / "nas-bench-macro_cifar10.json"


def decoded(*encodings):
    return np.array([list(map(int, encoding)) for encoding in encodings], np.int32)


@pytest.fixture(scope="module")
def published(tmp_path_factory):
    """A file in the published form: our counts, and accuracies that grow with the MACs."""
    space = tables.macro_space()
    every = tables.all_encodings(space)
    own = tables.canonical(space, every)
    counts = cost.costs(space, every, tables.SIZE)
    noise = np.random.default_rng(0).normal(scale=0.2, size=(3, 3**8))
    rows = {}
    for network, encoding, (macs, params) in zip(own, every, counts, strict=True):
        index = int("".join(map(str, network)), 3)
        runs = (80 + macs / 1e7 + noise[:, index]).tolist()
        name = "".join(map(str, encoding))
        rows[name] = {"test_acc": runs, "flops": int(macs), "params": int(params)}
    path = tmp_path_factory.mktemp("table") / "macro.json"
    path.write_text(json.dumps(rows))
    return path, rows


@pytest.fixture(scope="module")
def table(published):
    return tables.load(published[0])


def test_identities_go_to_the_end_of_a_stages_equal_layers():
    """The first layer of a stage is of another shape: what stands there is another network."""
    space = tables.macro_space()
    found = tables.canonical(space, decoded("01001012", "00100001", "10212000"))
    np.testing.assert_array_equal(found, decoded("01010012", "00100010", "10212000"))
    assert len(tables.distinct_networks(space)) == 3969  # (3 * 3) * (3 * 7) * (3 * 7)


def test_a_table_has_each_network_once(table, published):
    _, rows = published
    assert table.networks.shape == (3969, 8)
    np.testing.assert_array_equal(table.index(table.networks), np.arange(3969))
    one, other = table.index(decoded("00101000", "00110000"))
    assert one == other
    assert table.accuracies[one].tolist() == rows["00110000"]["test_acc"]
    assert table.macs[one] == rows["00110000"]["flops"]
    assert table.depth[one] == 2


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda rows: rows.pop("00000000"), "has 6,560 networks; allowed: NAS-Bench-Macro's 6,561"),
        (
            lambda rows: rows["00000001"].update(params=5),
            "5 parameters for 00000001; allowed: NAS-",
        ),
        (lambda rows: rows["00000001"].pop("flops"), "is no table of NAS-Bench-Macro: 'flops'"),
    ],
)
def test_another_table_is_refused(published, tmp_path, change, message):
    rows = json.loads(published[0].read_text())
    change(rows)
    path = tmp_path / "other.json"
    path.write_text(json.dumps(rows))
    with pytest.raises(InputError, match=message):
        tables.load(path)


def test_a_file_that_is_absent_is_told(tmp_path):
    with pytest.raises(InputError, match="no table of NAS-Bench-Macro"):
        tables.load(tmp_path / "nothing.json")


def test_a_search_that_sees_the_front_first_has_found_all(table):
    front = table.networks[table.front]
    measured = search.measure(table, np.concatenate([front, table.networks]))
    assert measured.shape == (len(search.BUDGETS), len(search.MEASURES))
    shares = measured[:, search.MEASURES.index("share of the front")]
    np.testing.assert_allclose(shares, np.minimum(np.divide(search.BUDGETS, len(front)), 1))
    np.testing.assert_allclose(measured[-1], [1, 1, 1, 0])


def test_encodings_of_a_known_network_cost_nothing(table):
    one, other = decoded("00101000", "00110000")
    rest = table.networks[::40]
    once, twice = ([one, *rest], [one, other, *rest])
    np.testing.assert_array_equal(
        search.measure(table, np.stack(once)), search.measure(table, np.stack(twice))
    )


@pytest.mark.parametrize(("share", "asked"), [(1, 1), (3, 2), (1500, 6)])
def test_a_search_asks_until_it_has_seen_enough(table, share, asked):
    """One new network in `share` encodings; what sees hardly any ends all the same."""
    counts = []

    def run(task, seed, count):
        counts.append(count)
        return np.repeat(table.networks[: count // share], share, axis=0)

    found = search.asked(table, search.make_task(table), run, seed=0)
    assert counts == [search.ENCODINGS << doubled for doubled in range(asked)]
    assert len(found) == counts[-1]


@pytest.mark.parametrize(
    "run", [search_peers.local_search, search_peers.aging_evolution, search_peers.engine]
)
def test_searches_find_more_of_the_front_than_chance(table, run):
    task = search.make_task(table)
    found = search.measure(table, run(task, 0, 600))
    by_chance = search.measure(table, search_peers.random(task, 0, 600))
    budget = search.BUDGETS.index(400)
    share = search.MEASURES.index("share of the front")
    assert found[budget, share] > by_chance[budget, share]
    assert len(np.unique(run(task, 1, 60), axis=0)) > 40


def test_local_search_evaluates_nothing_twice_and_goes_on_when_all_is_explored():
    def score(architectures):
        return np.abs(architectures - 1).sum(axis=1, keepdims=True).astype(float)

    tiny = Task("tiny", 3, 3, score, (), np.zeros((1, 1)))
    found = search_peers.local_search(tiny, 0, 27, start=2)
    assert len(np.unique(found, axis=0)) == 27
    best = int(np.argmin(score(found)))
    assert best < 2 + 3 * 6  # three steps at most, of six neighbours each


def test_ranks_are_those_of_hand():
    accuracy = np.array([1.0, 2.0, 3.0, 4.0])
    found = ranking.rank([1, 3, 2, 4], accuracy)
    assert found.tau == pytest.approx((5 - 1) / 6)  # one pair of six the other way round
    assert found.spearman == pytest.approx(1 - 6 * 2 / (4 * 15))
    assert found.tau_top == 1  # 3 and 4
    assert ranking.rank(-accuracy, accuracy).tau == -1


def test_baselines_know_the_tables_own_order(table):
    found = ranking.baselines(table, np.arange(len(table.networks)))
    macs = found["MACs"]["tau"]
    assert macs > 0.85  # accuracies grow with them here
    assert found["layers that are no identity"]["tau"] < macs < 1
    assert 0.8 < found[ranking.PUBLISHED]["tau"] < 1
    some = tables.sample(len(table.networks))
    assert len(np.unique(some)) == tables.SAMPLE
    assert ranking.baselines(table, some)["MACs"]["tau"] == pytest.approx(macs, abs=0.02)


def test_a_search_by_the_truth_finds_the_front(table):
    own = picks.searched(table, table.accuracy / 100, seed=0)
    assert len(own.picks) == 5
    assert set(own.picks.tolist()) <= set(own.front.tolist()) <= set(own.evaluated.tolist())
    assert len(np.unique(own.front)) == len(own.front)
    assert (np.diff(table.macs[own.picks]) > 0).all()
    hypervolume = search.MEASURES.index("hypervolume")
    assert search.reached(table, own.front)[hypervolume] > 0.97
    found = picks.found(table, table.accuracy / 100, seed=0)
    assert found["evaluated"] == len(own.evaluated) > len(own.front) == len(found["front"])
    macs, scores, accuracy = np.array(found["front"]).T
    assert macs.tolist() == sorted(table.macs[own.front].tolist())
    np.testing.assert_allclose(scores, accuracy / 100, atol=1e-4)
    by_chance = picks.found(table, np.random.default_rng(0).random(len(table.macs)), 0)
    assert by_chance["reached"]["hypervolume"] < 0.9 < found["reached"]["hypervolume"]


def test_what_is_retrained_is_a_network_and_its_equal(table):
    picked = picks.searched(table, table.accuracy / 100, seed=0).picks
    chosen = retrained.chosen(table, picked, seed=0)
    assert chosen["largest"] == table.macs.argmax()
    pairs = [name for name in chosen if name.startswith("picked")]
    assert len(chosen) == 2 * len(pairs) + 1 >= 9
    for name in pairs:
        row, other = chosen[name], chosen[name.replace("picked", "random")]
        assert row != other
        assert abs(table.macs[row] - table.macs[other]) <= 0.05 * table.macs[row]


def test_each_supernets_networks_are_trained_with_its_seed(table, tmp_path):
    seeds = [{"largest": 5, "picked-1": 6}, {"largest": 5, "picked-1": 7}]
    paths = {row: table.networks[row].tolist() for row in (5, 6, 7, 8)}
    other = {"processor": "another", "macs": 3, "accuracy": 0.25}
    known = [
        {"name": "largest", "seed": 1, "architecture": paths[5], **other},
        {"name": "picked-1", "seed": 0, "architecture": paths[8], **other},
    ]
    commands = retrained.commands(table, seeds, known, tmp_path / "data", tmp_path)
    assert len(commands) == 3
    own = commands[tmp_path / "retrained" / "picked-1" / "1"]
    architecture = ",".join(map(str, table.networks[7].tolist()))
    assert {f"--arch={architecture}", "--name=picked-1", "--config.seed=1"} < set(own)
    config = nas_bench_macro.get_config()
    config.update_from_flattened_dict(dict(retrained.RECIPE))
    settings.check(config)
    for directory in (*commands, tmp_path / "retrained" / "earlier" / "0"):
        folder = directory / "subnets" / directory.parent.name
        folder.mkdir(parents=True)
        row = seeds[int(directory.name)].get(folder.name, 8)
        result = {"architecture": paths[row], "macs": row, "test_accuracy": 0.5}
        (folder / "result.json").write_text(json.dumps(result))
    found = retrained.results(table, seeds, known, tmp_path)
    assert [(run["name"], run["seed"], run["macs"], run["accuracy"]) for run in found] == [
        ("largest", 0, 5, 0.5),
        ("largest", 1, 3, 0.25),
        ("picked-1", 0, 6, 0.5),  # another network was known by this name
        ("picked-1", 1, 7, 0.5),
    ]
    assert [run["architecture"] for run in found] == [paths[5], paths[5], paths[6], paths[7]]
    assert [run["processor"] == "another" for run in found] == [False, True, False, False]
    stale = retrained.results(table, [{"picked-1": 7}], known, tmp_path / "elsewhere")
    assert stale == known[:1]


def test_intervals_are_students():
    mean, width = interval([0.6, 0.7, 0.8])
    assert mean == pytest.approx(0.7)
    assert width == pytest.approx(4.3027 * 0.1 / 3**0.5, rel=1e-4)
    assert np.isnan(interval([0.5])[1])
    assert with_width(interval([0.5])) == "0.500"
    assert with_width((0.71, 0.19), 1, "+") == "+0.7 ± 0.2"


def test_differences_are_welchs():
    values, others = np.random.default_rng(0).normal(size=9), np.arange(4.0)
    bounds = stats.ttest_ind(values, others, equal_var=False).confidence_interval(0.95)
    mean, width = difference(values, others)
    assert (mean - width, mean + width) == pytest.approx((bounds.low, bounds.high))
    # The one's mean has an error of 1, with one degree of freedom; the other's has none.
    assert difference([1.0, 3.0], [5.0, 5.0, 5.0]) == pytest.approx((-3, 12.706), rel=1e-4)
    assert difference([1.0, 1.0], [2.0, 2.0]) == (-1.0, 0.0)


@pytest.mark.skipif(not PUBLISHED.exists(), reason="needs ../shared/reference")
def test_the_published_table():
    """3,969 networks, and the ceiling that its authors' runs set."""
    table = tables.load(PUBLISHED)
    assert table.front.sum() == 35
    found = ranking.baselines(table, np.arange(len(table.networks)))
    assert found[ranking.PUBLISHED]["tau"] == pytest.approx(0.895, abs=1e-3)
    assert found["layers that are no identity"]["tau"] == pytest.approx(0.679, abs=1e-3)
    assert spaces.to_names(table.space, table.networks[0])[0] == "identity"


@pytest.mark.parametrize("name", recipes.RECIPES)
def test_every_recipe_is_a_configuration(name, tmp_path):
    config = nas_bench_macro.get_config()
    config.update_from_flattened_dict({**recipes.BASE, **recipes.RECIPES[name]})
    settings.check(config)
    command = recipes.command("supernet", name, 3, tmp_path / "run", tmp_path)
    assert {"--config.seed=3", f"--config.data.path={tmp_path}"} < set(command)


def test_all_seeds_are_run_and_a_failure_is_an_error(tmp_path, monkeypatch):
    def command(job, name, seed, directory, data, sample):
        fails = "1 / 0" if name == "els" else "pass"
        code = f"print({name!r}, {seed}); open('scores.npy', 'w').close(); {fails}"
        return ["sh", "-c", f'cd "{directory}" && "{sys.executable}" -c "{code}"']

    monkeypatch.setattr(recipes, "command", command)
    commands = recipes.commands("supernet", ["base", "none"], 2, tmp_path / "data", tmp_path)
    side_by_side(commands, jobs=2)
    done = [(name, seed) for name, seed, _ in recipes.scored(tmp_path)]
    assert done == [("base", 0), ("base", 1), ("none", 0), ("none", 1)]
    assert (tmp_path / "none" / "1" / "log.txt").read_text() == "none 1\n"
    commands = recipes.commands("supernet", ["els"], 1, tmp_path / "data", tmp_path)
    with pytest.raises(InputError, match=r"ended with code 1; .*els/0/log.txt says why"):
        side_by_side(commands, jobs=1)


def test_what_runs_side_by_side_shares_the_cores(tmp_path):
    code = "import os; print(*os.sched_getaffinity(0))"
    cores = os.sched_getaffinity(0)
    for jobs in {1, len(cores)}:
        folders = [tmp_path / str(jobs) / str(number) for number in range(jobs)]
        side_by_side({folder: [sys.executable, "-c", code] for folder in folders}, jobs)
        for folder in folders:
            own = {int(core) for core in (folder / "log.txt").read_text().split()}
            assert own <= cores
            assert len(own) in (len(cores) // jobs, -(-len(cores) // jobs))


def test_scores_are_those_of_all_networks_and_kept_by_chunks(tmp_path, monkeypatch):
    space = tables.macro_space()
    config = nas_bench_macro.get_config()
    config.search.chunk = 1000
    asked = []

    def scorer(setup, network):
        def score(architectures):
            if len(asked) == 2:
                raise KeyboardInterrupt
            asked.append(len(architectures))
            return architectures.sum(axis=1) / 16

        return score

    monkeypatch.setattr(
        supernet.common,
        "prepare",
        lambda: SimpleNamespace(
            workdir=tmp_path, supernet_workdir=tmp_path, space=space, config=config
        ),
    )
    monkeypatch.setattr(supernet, "train_supernet", lambda setup: None)
    monkeypatch.setattr(runs, "path_scorer", scorer)
    monkeypatch.setattr(supernet, "score_context", lambda setup, network: {})
    monkeypatch.setattr(supernet, "choice_similarity", lambda setup, network: np.zeros(2))
    monkeypatch.setattr(supernet, "FLAGS", SimpleNamespace(sample=False))
    with pytest.raises(KeyboardInterrupt):
        supernet.main()
    asked.clear()
    supernet.main()
    assert asked == [1000, 969]  # the first two thousand were kept
    origin = json.loads((tmp_path / recipes.ORIGIN).read_text())
    assert origin["processor"] == processor()
    assert set(origin) == {"processor", "jax", "code"}
    scores = np.load(tmp_path / recipes.SCORES)
    np.testing.assert_array_equal(scores, tables.distinct_networks(space).sum(axis=1) / 16)
    (tmp_path / recipes.ORIGIN).write_text("{}")
    monkeypatch.setattr(supernet, "FLAGS", SimpleNamespace(sample=True))
    supernet.main()
    assert len(asked) == 2  # a sample is known with the whole
    np.testing.assert_array_equal(np.load(tmp_path / recipes.SCORES), scores)
    assert (tmp_path / recipes.ORIGIN).read_text() == "{}"  # it was trained before
    (tmp_path / recipes.SCORES).unlink()
    supernet.main()
    some = np.load(tmp_path / recipes.SCORES)
    known = tables.sample(len(scores))
    np.testing.assert_array_equal(some[known], scores[known])
    assert np.isnan(np.delete(some, known)).all()


def test_precision_is_tau_in_the_mean_of_disjoint_sets_of_images(tmp_path, monkeypatch):
    """The last thousand of 5,000 images turn the order round."""
    setup = Setup(
        nas_bench_macro.get_config(), tmp_path, tmp_path, tables.macro_space(), *[None] * 5
    )
    images = np.arange(precision.IMAGES[-1])
    accuracy = np.random.default_rng(0).permutation(precision.NETWORKS) % 20
    asked = []

    def right_images(setup, network):
        section = setup.config.search
        asked.append((section.statistics, section.calibration_batches))
        hits = images % 20 < accuracy[:, None]
        return lambda networks: hits ^ (images >= 4000)

    monkeypatch.setattr(precision.common, "prepare", lambda: setup)
    monkeypatch.setattr(precision, "load_supernet", lambda setup: None)
    monkeypatch.setattr(precision, "right_images", right_images)
    precision.main()
    assert tuple(asked) == precision.STATISTICS
    found = precision.taus(np.load(tmp_path / recipes.PRECISION), accuracy.astype(float))
    expected = {250: 0.6, 500: 0.6, 1000: 0.6, 2500: 1, 5000: 1}  # of 20, 10, 5, 2 and 1 set
    assert tuple(expected) == precision.IMAGES
    np.testing.assert_allclose(found, [list(expected.values())] * len(asked))


def test_what_is_known_of_supernets_is_read_from_their_folders(table, tmp_path):
    with pytest.raises(InputError, match=r"no supernet base has scored all networks, in "):
        summary.ranked(table, tmp_path, {})
    scores = table.accuracy / 100
    some = np.full(len(scores), np.nan)
    chosen = tables.sample(len(scores))
    some[chosen] = scores[chosen]
    for name, own in (("base", scores), ("els", some)):
        directory = tmp_path / name / "0"
        (directory / "supernet").mkdir(parents=True)
        np.save(directory / recipes.SCORES, own)
        np.save(directory / recipes.SIMILARITY, np.full((8, 3), 0.5))
        origin = {"processor": "P", "jax": "jax 0", "code": "new"}
        (directory / recipes.ORIGIN).write_text(json.dumps(origin))
        record = {"step": 50, "loss": 1.5}
        (directory / "supernet" / "metrics.jsonl").write_text(json.dumps(record) + "\n")
    packed = np.zeros((len(precision.STATISTICS), precision.NETWORKS, precision.IMAGES[-1] // 8))
    packed[:, :, 0] = np.arange(precision.NETWORKS) % 2  # an image that every other one gets right
    np.save(tmp_path / "base" / "0" / recipes.PRECISION, packed.astype(np.uint8))
    found = json.loads(json.dumps(summary.ranked(table, tmp_path, {})))
    (base,), (els,) = (found["recipes"][name]["runs"] for name in ("base", "els"))
    assert base["all"]["tau"] == base["sample"]["tau"] == els["sample"]["tau"] == 1
    assert base["loss"] == [[50, 1.5]]
    assert (base["seed"], base["processor"], base["code"]) == (0, "P", "new")
    assert np.shape(base["precision"]) == (len(precision.STATISTICS), len(precision.IMAGES))
    assert not {"all", "found", "precision"} & set(els)
    picked = table.index(np.array(base["found"]["picks"], np.int32))
    assert table.macs[picked].tolist() == sorted(table.macs[picked].tolist())
    shutil.rmtree(tmp_path / "base")
    known = found["recipes"]
    assert json.loads(json.dumps(summary.ranked(table, tmp_path, known))) == found

    def merged(*runs):
        els = {"settings": recipes.RECIPES["els"], "runs": runs}
        found = summary.ranked(table, tmp_path, known | {"els": els})
        return json.loads(json.dumps(found["recipes"]["els"]["runs"]))

    others = [{**els, "processor": "Q"}, {**els, "code": "old"}, {**els, "seed": 1}]
    richer = {**els, "all": base["all"]}
    assert merged(richer, *others) == [richer, *others]
    assert merged({**richer, "loss": [[50, 1.4]]}) == [els]  # another training, which is gone
    assert found["choices"] == ["identity", "E3K3", "E6K5"]
    assert found["reshapes"] == [True, False, True, False, False, True, False, False]
    assert len(found["front"]) == table.front.sum()
    assert set(found["found by"]) == {*ranking.known(table)} - {"MACs"}
    macs, accuracy = np.array(found["front"]).T
    assert (np.diff(macs) > 0).all()
    assert (np.diff(accuracy) >= 0).all()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--only=base,x", "--train"], "--only has x; allowed: base, els, none"),
        (["--train", "--data=nowhere"], "--data is 'nowhere'; allowed: a folder with train/CLASS"),
        ([], "give one or more of --search, --train, --precision, --score, --retrain"),
        (["--score"], "error: nothing.json is no table of NAS-Bench-Macro"),
        (["--train", "--only="], "--only has no recipe; allowed: base, els"),
    ],
)
def test_bad_arguments_end_in_one_line(arguments, message, tmp_path):
    command = [sys.executable, "-m", "benchmarks.nas_bench_macro", "--table=nothing.json"]
    done = subprocess.run(
        [*command, *arguments, f"--out={tmp_path}"],
        cwd=Path(__file__).parents[1],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1
    assert done.stderr.startswith(message)
    assert done.stderr.count("\n") == 1


CHANGED = {"settings": {"space.skip": "none"}, "runs": []}
CHANGES = [
    ({"base": {}}, "has results of another base: {}; allowed: "),
    ({"recipes": {}}, "no picks of seed 0 of base"),
    ({"recipes": {"eighth": CHANGED}}, "the results have eighth with other settings; allowed: "),
    ({"recipes": {"gone": CHANGED}}, "the results have gone with other settings; allowed: "),
]


@pytest.mark.parametrize(("change", "message"), CHANGES)
def test_earlier_results_are_those_of_the_same_settings(
    table, tmp_path, monkeypatch, change, message
):
    path = tmp_path / "ranking.json"
    monkeypatch.setattr(record, "file", lambda name: path)
    runs = [{"seed": 0, "found": {"picks": table.networks[[3, 5]].tolist()}}, {"seed": 0}]
    found = {
        "base": recipes.BASE,
        "recipes": {"base": {"settings": {}, "runs": runs}},
    }
    path.write_text(json.dumps(found))
    assert command_line.picks_of_base(table, 0).tolist() == [3, 5]
    path.write_text(json.dumps(found | change))
    with pytest.raises(InputError, match=message):
        command_line.picks_of_base(table, 0)
