"""The report: its numbers, its diagrams' geometry, and that the page stands on its own."""

import ast
import dataclasses
import fnmatch
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import matplotlib
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from scarlet_jax import space as spaces
from scarlet_jax.errors import InputError
from scarlet_jax.report import (
    Model,
    Report,
    Search,
    contents,
    diagram,
    figures,
    front,
    page,
    palette,
    quantities,
    tallies,
    write_report,
)

ROOT = Path(__file__).parent.parent
SPACE = spaces.make_space(
    name="small", widths=(8, 8, 16, 24), strides=(2, 1, 2, 1), se=(False, True)
)
CURVE = [
    {"step": 10, "loss": 2.0, "accuracy": 0.3},
    {"step": 20, "loss": 1.0, "accuracy": 0.6, "validation_accuracy": 0.55},
]
ORIGINS = ("crossover", "random", "reinforced", "prior")


def make_search(generations: int, size: int) -> Search:
    """A search that keeps the most accurate `size` of parents and offspring; all is feasible."""
    rng = np.random.default_rng(0)
    count = generations * size
    accuracy, macs = rng.uniform(0.2, 0.9, count), rng.uniform(1e6, 5e6, count)
    born = np.repeat(np.arange(generations, dtype=np.int32), size)
    survivors: list[spaces.Array] = []
    for number in range(generations):
        known = np.concatenate([*survivors[-1:], np.flatnonzero(born == number)])
        survivors.append(known[np.argsort(-accuracy[known])[:size]].astype(np.int32))
    best = tallies.non_dominated(np.stack([macs, accuracy], axis=1), (False, True))
    return Search(
        architectures=spaces.sample(SPACE, rng, count),
        columns={"accuracy": accuracy, "macs": macs, "latency": rng.uniform(1, 9, count)},
        axes=("macs", "accuracy"),
        maximize=(False, True),
        feasible=np.ones(count, bool),
        born=born,
        origin=["initial" if b == 0 else ORIGINS[i % 4] for i, b in enumerate(born)],
        generations=survivors,
        front=np.array([np.flatnonzero(macs == x)[0] for x, _ in best], np.int32),
        hypervolume=np.maximum.accumulate(rng.uniform(size=count)),
        units={"latency": "ms"},
    )


SEARCH = make_search(generations=3, size=10)


VALUES = {"accuracy": 0.7, "macs": 1_234_567, "params": 45_678}
UNTRAINED = {"validation_accuracy": None, "test_accuracy": None, "test_images": 0, "curve": ()}


def make_model(name: str, **fields: object) -> Model:
    values = {
        "architecture": (0, 11, 12, 4),
        "index": None,
        "is_picked": True,
        "values": VALUES,
        "validation_accuracy": 0.9,
        "test_accuracy": 0.875,
        "test_images": 1000,
        "curve": CURVE,
    }
    return Model(name=name, **(values | fields))  # type: ignore[arg-type]


def make_models(
    supernet: list[float], test: list[float | None], curve: contents.Curve = ()
) -> list[Model]:
    return [
        make_model(f"model-{i}", values=VALUES | {"accuracy": s}, test_accuracy=t, curve=curve)
        for i, (s, t) in enumerate(zip(supernet, test, strict=True))
    ]


def render(report: Report) -> str:
    """The page, each run of spaces and line ends as one space, and none between tags."""
    return re.sub("[ \n]+", " ", page.render(report)).replace("> <", "><")


PLAIN = contents.Training(label_smoothing=0.0, least_loss=0.0)
EMPTY = Report(
    title="Empty",
    date="",
    space=SPACE,
    supernet_curve=[],
    supernet_training=PLAIN,
    subnet_training=PLAIN,
    search=None,
    models=[],
    ranking=None,
    retrain=[],
    commands=[],
    reproduction={},
    settings=[],
    notes=[],
)


@pytest.fixture(scope="module")
def report() -> Report:
    picked = SEARCH.front[-1]
    models = make_models([0.6, 0.7, 0.8], [0.91, 0.95, 0.93], CURVE)
    pick = {"architecture": SEARCH.architectures[picked].tolist(), "index": int(picked)}
    models[0] = dataclasses.replace(models[0], **pick)
    return replace(
        EMPTY,
        title="A run",
        date="2026-11-27 00:30 UTC",
        supernet_curve=CURVE,
        search=SEARCH,
        models=models,
        commands=[contents.Command("Go on", "scarlet pipeline --workdir='a & b'")],
        reproduction={"command": "scarlet pipeline", "seed": "17"},
        settings=[
            contents.Setting("seed", "17", "0"),
            contents.Setting("space.name", "'s2'", "'s2'"),
        ],
        notes=["2 unreadable images: a.png, b.png"],
    )


@pytest.fixture
def empty() -> Report:
    return EMPTY


@pytest.fixture(scope="module")
def text(report: Report) -> str:
    return render(report)


class Reader(HTMLParser):
    """Collects ids, references and whether every element is closed in order."""

    VOID = ("meta", "br", "wbr")

    def __init__(self, text: str) -> None:
        super().__init__()
        self.ids: list[str] = []
        self.references: list[str] = []
        self.tags: list[str] = []
        self.open: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_startendtag(tag, attrs)
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        for key, value in attrs:
            if key == "id":
                self.ids.append(value or "")
            if key in ("href", "xlink:href", "src", "srcset", "data", "action"):
                self.references.append(value or "")
            self.references += re.findall(r"url\((.*?)\)", value or "")

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_page_counts_the_architectures_of_layers_with_choices_of_their_own(empty: Report) -> None:
    layers = (replace(SPACE.layers[0], choices=(3,)), *SPACE.layers[1:])
    text = page.render(replace(empty, space=replace(SPACE, layers=layers)))
    words = " ".join(text.split())  # a browser makes one space of a line's end
    assert "4 layers of up to 13 choices, 2,197 architectures" in words  # 13^3


def test_page_has_every_number(text: str) -> None:
    for expected in (
        "<h1>A run</h1>",
        "4 layers of 13 choices, 28,561 architectures",  # 13^4
        "model-0",
        "model-1",
        "model-2",
        "95.00%",
        "1,234,567",
        "45,678",
        "1.23\u202fM",
        "45.7\u202fk",
        "0,11,12,4",
        "scarlet pipeline",
        "Results of 2026-11-27 00:30 UTC.",
        "2 unreadable images: a.png, b.png",
        "all 30 architectures evaluated",
    ):
        assert expected in text


def test_headline_is_the_best_by_validation_accuracy() -> None:
    models = [
        make_model("high-test", validation_accuracy=0.90, test_accuracy=0.99),
        make_model("dear", validation_accuracy=0.95, values={"macs": 2e6}, test_accuracy=0.92),
        make_model("cheap", validation_accuracy=0.95, values={"macs": 1e6}, test_accuracy=0.93),
        make_model("untrained", values=VALUES | {"accuracy": 0.99}, **UNTRAINED),
    ]
    best = contents.best_model(models)
    assert best is not None
    assert (best[0].name, best[1]) == ("cheap", "validation_accuracy")
    assert contents.best_model([]) is None


def headline(text: str) -> str:
    return text[text.index("</header>") : text.index("<h2>")]


def test_what_is_not_retrained_is_said_with_the_commands_for_it(empty: Report) -> None:
    models = [
        make_model("new", values=VALUES | {"accuracy": 0.99}, **UNTRAINED),
        make_model("old", values=VALUES | {"accuracy": 0.6}, is_picked=False, curve=()),
    ]
    commands = ["train --arch=1 --name=new", "search 'a & b'"]
    text = render(replace(empty, models=models, retrain=commands))
    assert "<b>old</b> is the only trained model: it scores 60.00% on" in headline(text)
    listed = re.findall(r"not retrained yet: (.*?)\. These commands", text)
    assert [re.sub("<.*?>", "", names) for names in listed] == ["● new"]
    assert ">train --arch=1 --name=new search &#39;a &amp; b&#39;</pre>" in headline(text)
    cards = re.findall(r"<article.*?</header>", text)
    assert ["not retrained yet" in card for card in cards] == [True, False]
    assert [">not picked<" in card for card in cards] == [False, True]
    done = render(replace(empty, models=[make_model("a", curve=()), *models[1:]]))
    assert "<b>a</b> is the best of 2 trained models, chosen by validation accuracy" in done
    assert "retrained yet" not in headline(done)


def test_if_nothing_is_retrained_the_headline_says_so(empty: Report) -> None:
    models = [
        make_model(f"m{i}", values=VALUES | {"accuracy": accuracy}, **UNTRAINED)
        for i, accuracy in enumerate([0.6, 0.8, float("nan")])
    ]
    text = headline(render(replace(empty, models=models)))
    nothing = "None of the picked models has been retrained yet."
    assert f"{nothing} By supernet accuracy, <b>m1</b> is the best of them: it scores 80" in text
    assert "has not been tested on held-out test images yet" in text
    unknown = replace(empty, models=models[2:])
    assert f'<p class="lead">{nothing}</p>' in render(unknown)


def test_every_searched_objective_is_shown_of_every_model(empty: Report) -> None:
    searched = {"accuracy": 0.7, "latency": 3.14159, "a<b": 0.123456, "macs": 1_234_567}
    searched |= {"energy": 41.5}
    models = [
        make_model("both", values=searched, curve=()),
        make_model("outside", values=searched | {"accuracy": np.nan, "a<b": np.nan}, curve=()),
    ]
    search = replace(SEARCH, units={"latency": "ms", "energy": "mJ"})
    text = render(replace(empty, models=models, search=search))
    tiles = dict(re.findall(r"<dt>(.*?)</dt><dd>(.*?)</dd>", text))
    assert tiles == {
        "test accuracy": "87.50%",
        "validation accuracy": "90.00%",
        "accuracy on the supernet": "70.00%",
        "latency": "3.14\u202fms",
        "a&lt;b": "0.1235",
        "MACs": "1.23\u202fM",
        "energy": "41.5\u202fmJ",
    }
    assert "it scores 70.00% on the supernet, runs in 3.14\u202fms, takes 1.23\u202fM" in text
    assert "spends 41.5\u202fmJ an image" in text
    cards = re.findall(r"<article.*?</header>", text)[-2:]  # the first is of the search
    assert [re.findall(r"<span>latency <b>(.*?)</b>", card) for card in cards] == [
        ["3.14\u202fms"]
    ] * 2
    assert "<span>a&lt;b <b>–</b></span>" in cards[1]
    rows = [re.findall(r"<td>(.*?)</td>", row) for row in re.findall(r"<tr.*?</tr>", text)]
    trained, ms, mj = ["87.50%", "1,000", "90.00%"], "3.14\u202fms", "41.5\u202fmJ"
    assert [*trained, "70.00%", ms, "0.1235", "1,234,567", mj] in rows
    assert [*trained, "–", ms, "–", "1,234,567", mj] in rows


def test_marks_of_many_models_are_all_different() -> None:
    assert len(set(palette.marks(100))) == 100
    assert len(palette.marks(250)) == 250


def test_settings_that_are_not_the_defaults_come_first_and_the_others_as_lines(
    report: Report,
) -> None:
    text = page.render(report)
    rows = re.findall(r'<th scope="row">([\w.]+)</th><td><code>(.*?)</code></td>', text)
    assert rows == [("seed", "17")]
    folded = text[text.index("<summary>1 other setting, as by default") :]
    assert "<pre>\nspace.name = &#39;s2&#39;\n</pre></details>" in folded
    assert "<td><code>0</code></td>" in text


def test_commands_are_there_to_be_copied_without_a_script_too(text: str) -> None:
    assert (
        '<h3>Go on</h3><pre class="copy">scarlet pipeline --workdir=&#39;a &amp; b&#39;</pre>'
    ) in text


def test_a_loss_that_stays_high_is_explained(report: Report) -> None:
    smoothed = contents.Training(label_smoothing=0.1, least_loss=0.50029)
    text = render(replace(report, supernet_training=smoothed, subnet_training=PLAIN))
    supernet, subnets = text.split("<h2>Supernet training")[1].split("<h2>Retraining")
    assert "smoothed labels, 0.1 of each" in supernet
    assert "no network gets below 0.500." in supernet
    assert "smoothed" not in subnets


def test_best_row_alone_is_bold(empty: Report) -> None:
    models = [
        make_model(f"m{i}", validation_accuracy=v, curve=()) for i, v in enumerate([0.8, 0.9, 0.7])
    ]
    rows = re.findall(r'<tr class="best">.*?</tr>', render(replace(empty, models=models)))
    assert len(rows) == 1
    assert " m1</th>" in rows[0]


def replace(data: Any, **fields: object) -> Any:
    return dataclasses.replace(data, **fields)


def test_kendall_tau_by_hand(empty: Report) -> None:
    # Pairs of (1, 2, 3, 4) against (1, 3, 2, 4): 5 agree and 1 does not, so tau = (5 - 1) / 6.
    models = make_models([0.1, 0.2, 0.3, 0.4], [0.5, 0.7, 0.6, 0.8])
    tau, count = contents.kendall_tau(models, "test_accuracy")
    assert tau == pytest.approx(4 / 6)
    assert count == 4
    assert "test accuracy: <b>0.667</b> over 4 models" in render(replace(empty, models=models))


@given(
    st.lists(
        st.tuples(*[st.one_of(st.none(), st.integers(0, 5))] * 2),
        min_size=0,
        max_size=8,
    )
)
@settings(deadline=None, max_examples=50)
def test_kendall_tau_is_tau_b_of_the_models_that_have_both(
    scores: list[tuple[int | None, int | None]],
) -> None:
    models = make_models(
        [np.nan if s is None else s / 5 for s, _ in scores],
        [None if t is None else t / 5 for _, t in scores],
    )
    tau, count = contents.kendall_tau(models, "test_accuracy")
    pairs = [(s, t) for s, t in scores if s is not None and t is not None]
    assert count == len(pairs)
    # tau-b from its definition: concordant minus discordant, over the pairs that are not tied.
    signs = [
        (np.sign(a[0] - b[0]), np.sign(a[1] - b[1])) for i, a in enumerate(pairs) for b in pairs[:i]
    ]
    untied = sum(s != 0 for s, _ in signs) * sum(t != 0 for _, t in signs)
    if untied == 0:
        assert tau is None
    else:
        assert tau == pytest.approx(sum(s * t for s, t in signs) / untied**0.5)
        assert tau == pytest.approx(stats.kendalltau(*zip(*pairs, strict=True)).statistic)


@pytest.mark.parametrize(
    ("supernet", "test", "expected"),
    [
        ([0.5], [0.9], "not defined over 1 model (it takes at least two)"),
        ([0.5, 0.6], [None, 0.9], "not defined over 1 model (it takes at least two)"),
        ([0.5, 0.5], [0.8, 0.9], "not defined over 2 models (the scores are constant)"),
    ],
)
def test_kendall_tau_is_said_not_to_be_defined(
    empty: Report, supernet: list[float], test: list[float | None], expected: str
) -> None:
    text = render(replace(empty, models=make_models(supernet, test)))
    assert f"test accuracy: {expected}" in text
    assert "nan" not in text.lower().split("kendall's", 1)[1].split("</p>", 1)[0]


def shapes(svg: str) -> list[ElementTree.Element]:
    return [e for e in ElementTree.fromstring(svg).iter("rect") if "block" in e.attrib["class"]]


@given(st.lists(st.integers(0, SPACE.num_choices - 1), min_size=4, max_size=4))
@settings(deadline=None)
def test_diagram_rectangles_are_the_blocks(architecture: list[int]) -> None:
    svg = diagram.block_diagram(SPACE, architecture, "model-0")
    choices = [SPACE.choices[i] for i in architecture]
    blocks = [choice for choice in choices if not choice.is_skip]
    found = shapes(svg)
    assert len(found) == len(blocks)  # no rectangle for an identity
    for shape, block in zip(found, blocks, strict=True):
        # Coordinates are written with two decimals.
        assert float(shape.attrib["height"]) / diagram.BLOCK[1] == pytest.approx(
            block.kernel / 7, abs=1e-3
        )
        assert float(shape.attrib["width"]) / (diagram.BLOCK[0] * diagram.SLOT[1]) == pytest.approx(
            block.expansion / 6, abs=1e-3
        )
    assert svg.count('<rect class="se"') == sum(block.se for block in blocks)
    assert svg.count('class="gap"') == len(choices) - len(blocks)
    assert svg.count(">↓2<") == 2  # layers 1 and 3
    assert re.findall(r">(\d+)</text>", svg)[-3:] == ["8", "16", "24"]


@pytest.mark.parametrize("depth", [1, 3, 19, 30, 60])
def test_diagram_blocks_stay_apart_and_inside(depth: int) -> None:
    space = spaces.make_space(name="d", widths=(8,) * depth, strides=(1,) * depth)
    svg = diagram.block_diagram(space, [5] * depth, "widest")  # E6K7 everywhere
    left = [float(shape.attrib["x"]) for shape in shapes(svg)]
    right = [x + float(s.attrib["width"]) for x, s in zip(left, shapes(svg), strict=True)]
    assert len(left) == depth
    assert all(r < x for r, x in zip(right[:-1], left[1:], strict=True))
    assert left[0] > 0
    assert right[-1] < float(ElementTree.fromstring(svg).attrib["width"])


def test_diagram_of_a_space_of_identities() -> None:
    space = spaces.make_space(name="only-skip", widths=(8, 8), strides=(1, 1), expansions=())
    assert not shapes(diagram.block_diagram(space, (0, 0), "nothing"))
    assert [meaning for _, meaning in diagram.legend(space)] == [
        "identity: no block, input channels kept"
    ]


def test_legend_covers_the_space() -> None:
    meanings = [meaning for _, meaning in diagram.legend(SPACE)]
    assert meanings == [
        "kernel 3 × 3",
        "kernel 5 × 5",
        "kernel 7 × 7",
        "expansion 3",
        "expansion 6",
        "squeeze-and-excitation",
        "identity: no block, input channels kept",
        "stride 2: half the resolution",
    ]


def test_page_stands_on_its_own(text: str) -> None:
    reader = Reader(text)
    assert not reader.open
    assert len(reader.ids) == len(set(reader.ids)) > 0
    assert reader.references
    for reference in reader.references:
        embedded = reference.startswith("data:image/png;base64,")
        assert embedded or reference.removeprefix("#") in reader.ids
    assert not {"link", "img", "iframe", "object", "base"} & set(reader.tags)
    outside = re.sub(r'xmlns(:xlink)?="http://www\.w3\.org/(2000/svg|1999/xlink)"', "", text)
    assert "http" not in outside
    assert "@import" not in outside
    plots = re.findall(r"<svg class[^>]*>", text)
    assert all('role="img"' in tag and 'aria-label="' in tag for tag in plots)


def test_files_of_the_page_are_installed() -> None:
    setup = ast.walk(ast.parse((ROOT / "setup.py").read_text()))
    (found,) = [n for n in setup if isinstance(n, ast.keyword) and n.arg == "package_data"]
    patterns = ast.literal_eval(found.value)["scarlet_jax.report"]
    names = {p.name for p in (ROOT / "scarlet_jax" / "report").iterdir() if p.is_file()}
    others = {name for name in names if not name.endswith(".py")}
    assert others >= {"page.html", "style.css", "explorer.js"}
    assert others == {name for pattern in patterns for name in fnmatch.filter(names, pattern)}


def test_colours_are_those_of_the_style_sheet(text: str) -> None:
    light, dark = (dict(re.findall(r"--([\w-]+): (#\w+);", part)) for part in text.split("dark)"))
    assert light.keys() == dark.keys() >= set(re.findall(r"var\(--([\w-]+)\)", text))
    assert palette.THEME.items() <= light.items()
    assert [name for name in light if name[0] == "k"] == [
        f"k{i}" for i in range(palette.KERNEL_SHADES)
    ]


def test_front_figure_names_the_models_and_keeps_markup_out() -> None:
    models = [
        make_model("a<b & $x$", index=3),
        make_model("plain", index=4),
        make_model("unplaced"),
    ]
    svg = front.front_figure(SEARCH, models).svg
    texts = [e.text for e in ElementTree.fromstring(svg).iter("{http://www.w3.org/2000/svg}text")]
    assert "a<b & $x$" in texts
    assert "plain" in texts
    assert "unplaced" not in texts
    assert "generation" in texts


def test_text_is_escaped(report: Report) -> None:
    bad = "</script><script>alert('\"&')</script>"
    columns = {bad if name == "latency" else name: c for name, c in SEARCH.columns.items()}
    hostile = replace(SEARCH, columns=columns, origin=[bad] * len(SEARCH.origin))
    picked = {"architecture": SEARCH.architectures[0].tolist(), "index": 0}
    text = render(
        replace(
            report,
            title=bad,
            search=hostile,
            models=[make_model(bad, **picked), make_model("other")],
            reproduction={bad: bad},
            date=bad,
            commands=[contents.Command(bad, bad)],
            settings=[contents.Setting(bad, bad, bad), contents.Setting(bad, bad, "")],
            notes=[bad],
            space=dataclasses.replace(SPACE, name=bad),
        )
    )
    assert "<script>alert" not in text
    assert text.count("<script") == 3  # data, and code
    assert "&lt;script&gt;" in text
    assert not Reader(text).open


def test_empty_states_are_said_in_words(empty: Report) -> None:
    text = render(empty)
    for sentence in (
        "No model has been picked yet.",
        "No search has been run yet.",
        "No curve of the supernet has been recorded yet.",
        "No model has been retrained yet.",
        "Nothing was recorded about how this run was made.",
        "No settings were recorded.",
    ):
        assert sentence in text
    assert "<svg" not in text


def test_partial_runs_are_drawn(report: Report, empty: Report) -> None:
    unfinished = make_model("model-0", **UNTRAINED)
    text = render(
        replace(
            report,
            models=[unfinished],
            supernet_curve=[{"step": 1, "loss": float("nan")}],
        )
    )
    assert "has not been tested on held-out test images yet" in text
    assert "accuracy on the supernet</dt><dd>70.00%" in text
    assert "No accuracy has been recorded." in text
    assert "No model has been retrained yet." in text
    validated = render(replace(empty, models=[make_model("m", test_accuracy=None, curve=())]))
    assert "validation accuracy</dt><dd>90.00%" in validated


def test_series_takes_the_records_that_have_the_metric() -> None:
    np.testing.assert_array_equal(contents.series(CURVE, "loss"), [[10, 2.0], [20, 1.0]])
    np.testing.assert_array_equal(contents.series(CURVE, "validation_accuracy"), [[20, 0.55]])
    assert contents.series(CURVE, "validation_loss").shape == (0, 2)


@pytest.mark.parametrize(
    ("count", "expected"),
    [
        (999, "999"),
        (999_400, "999\u202fk"),
        (999_600, "1\u202fM"),
        (365_307_392, "365\u202fM"),
        (1_200_000_000, "1.2\u202fG"),
    ],
)
def test_short_counts(count: int, expected: str) -> None:
    assert quantities.short(count) == expected


def test_number_of_architectures_is_rounded() -> None:
    assert quantities.scientific(13**5) == "371,293"
    assert quantities.scientific(13**19) == "1.5 × 10<sup>21</sup>"
    assert quantities.scientific(9_999_999) == "1.0 × 10<sup>7</sup>"


def test_output_is_deterministic_and_renamed_into_place(report: Report, tmp_path: Path) -> None:
    path = tmp_path / "report.html"
    path.write_text("old")
    write_report(report, path)
    assert path.read_text(encoding="utf-8") == page.render(report)
    assert list(tmp_path.iterdir()) == [path]


def test_figures_leave_global_settings_alone(report: Report) -> None:
    before = dict(matplotlib.rcParams)
    front.front_figure(SEARCH, report.models)
    figures.hypervolume_figure(SEARCH.hypervolume, np.array([10]))
    assert dict(matplotlib.rcParams) == before


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"models": [make_model("bad", architecture=(0, 1))]}, r"shape \[2\]"),
        ({"models": [make_model("bad", test_accuracy=97.5)]}, r"bad has accuracy 97.5; allowed"),
        ({"models": [make_model("bad", values={"accuracy": 1.5})]}, r"bad has accuracy 1.5; all"),
        ({"models": [make_model("bad", index=30)]}, r"bad's index is \[30\]; .* the 30 evaluated"),
        ({"models": [make_model("bad", index=2)]}, "bad is not number 2 of the history"),
        ({"models": [make_model("bad", index=2)], "search": None}, "the 0 evaluated"),
    ],
)
def test_bad_data_is_refused_before_anything_is_written(
    report: Report, tmp_path: Path, fields: dict[str, object], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        write_report(replace(report, **fields), tmp_path / "report.html")
    assert not list(tmp_path.iterdir())
