"""The report's section on a search: its numbers, its geometry, and what the script is given."""

import json
import re
import shutil
import subprocess
from collections.abc import Iterable
from importlib import resources
from itertools import pairwise
from xml.etree import ElementTree

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from test_report import (
    EMPTY,
    SEARCH,
    SPACE,
    UNTRAINED,
    Reader,
    make_model,
    make_search,
    render,
    replace,
)

from scarlet_jax import space as spaces
from scarlet_jax.errors import InputError
from scarlet_jax.report import (
    Report,
    Search,
    contents,
    diagram,
    explorer,
    figures,
    front,
    heatmap,
    page,
    retrained,
    search,
    tallies,
)
from scarlet_jax.report.tallies import Fate

SCRIPT = "".join(
    resources.files("scarlet_jax.report").joinpath(name).read_text(encoding="utf-8")
    for name in ("zoom.js", "explorer.js")
)
SVG = "{http://www.w3.org/2000/svg}"


def make_report(searched: Search | None, **fields: object) -> Report:
    return replace(EMPTY, search=searched, **fields)


def rows(*indices: Iterable[int]) -> list[spaces.Array]:
    return [np.array(list(row), np.int32) for row in indices]


@pytest.fixture(scope="module")
def by_hand() -> Search:
    """Two finished generations of 4 and 3, and 1 of the next; 0 to 3 are the initial ones."""
    count = 8
    return Search(
        architectures=np.array(
            [[0] * 4, [0, 0, 0, 1], [0, 0, 1, 1], [0, 1, 1, 1]] + [[12, 1, 2, 3]] * 4, np.int32
        ),
        columns={
            "accuracy": np.array([0.5, 0.4, 0.3, 0.2, 0.9, np.nan, 0.6, 0.7]),
            "macs": np.array([1e6, 2e6, 3e6, 4e6, 5e6, 6e6, 7e6, 4e6]),
        },
        axes=("macs", "accuracy"),
        maximize=(False, True),
        feasible=np.arange(count) != 5,
        born=np.array([0, 0, 0, 0, 1, 1, 1, 2], np.int32),
        origin=["initial"] * 4 + ["crossover", "random", "crossover", "prior"],
        generations=rows([0, 1, 2, 3], [4, 0, 1]),
        front=np.array([0, 7, 4], np.int32),
        hypervolume=np.array([0.1, 0.1, 0.1, 0.1, 0.4, 0.4, 0.4, 0.5]),
    )


def data_of(text: str) -> dict:
    found = re.search(r'<script type="application/json" id="explorer-data">(.*?)</script>', text)
    assert found
    return json.loads(found[1])


def uses(svg: str, group: str) -> np.ndarray:
    """Where the marks of a group of the SVG lie, `[n, 2]`."""
    groups = ElementTree.fromstring(svg).iter(f"{SVG}g")
    (found,) = [g for g in groups if g.attrib.get("id") == group]
    return np.array([[float(u.attrib["x"]), float(u.attrib["y"])] for u in found.iter(f"{SVG}use")])


def test_fates_by_hand(by_hand: Search) -> None:
    # 4 and 6 were crossed, of which 4 survived; 7's generation has not finished.
    assert tallies.fates(by_hand) == [
        Fate("crossover", offspring=2, survived=1, on_front=1),
        Fate("random", offspring=1, survived=0, on_front=0),
        Fate("prior", offspring=0, survived=0, on_front=1),
    ]
    text = render(make_report(by_hand))
    assert "<td>2</td><td>1</td><td>50.00%</td>" in text
    assert "<td>0</td><td>0</td><td>–</td>" in text
    assert "From the initial population, 1 is on the final front." in text


def test_choice_shares_by_hand(by_hand: Search) -> None:
    shares = tallies.choice_shares(by_hand, np.array([0, 1]), SPACE.num_choices)
    assert shares.shape == (2, 4, 13)
    np.testing.assert_allclose(shares[0, :, 0], [1, 0.75, 0.5, 0.25])
    np.testing.assert_allclose(shares[0, :, 1], [0, 0.25, 0.5, 0.75])
    np.testing.assert_allclose(shares[1, 0, [0, 12]], [2 / 3, 1 / 3])
    np.testing.assert_allclose(shares.sum(axis=-1), 1)
    nobody = replace(by_hand, generations=rows([]))
    assert not tallies.choice_shares(nobody, np.array([0]), 13).any()


def test_newcomers_by_hand(by_hand: Search) -> None:
    new = tallies.newcomers(replace(by_hand, generations=rows([0, 2], [2, 4, 0], [4, 7])))
    assert [row.tolist() for row in new] == [[0, 2], [4], [7]]


@given(
    st.lists(st.tuples(st.integers(1, 6), st.integers(0, 6)), max_size=12),
    st.tuples(st.booleans(), st.booleans()),
)
def test_non_dominated_by_brute_force(
    pairs: list[tuple[int, int]], maximize: tuple[bool, bool]
) -> None:
    def no_worse(p: tuple[int, int], q: tuple[int, int]) -> bool:
        return all(a >= b if more else a <= b for a, b, more in zip(p, q, maximize, strict=True))

    points = np.array([*pairs, (np.nan, 9)], np.float64)
    expected = {p for p in pairs if not any(no_worse(q, p) and q != p for q in pairs)}
    found = [tuple(point) for point in tallies.non_dominated(points, maximize).tolist()]
    assert found == sorted(expected)


def test_notable_is_all_that_was_measured_or_the_front_and_the_latest(by_hand: Search) -> None:
    assert tallies.notable(by_hand, 7).tolist() == [0, 1, 2, 3, 4, 6, 7]
    # The front is 0, 7, 4; of the last generation 1 is left, then 2 of the one before.
    assert tallies.notable(by_hand, 4).tolist() == [0, 1, 4, 7]
    assert tallies.notable(by_hand, 5).tolist() == [0, 1, 2, 4, 7]
    assert tallies.notable(by_hand, 2).tolist() == [0, 4]


@pytest.mark.parametrize(("count", "limit"), [(0, 5), (1, 5), (5, 5), (100, 7)])
def test_spread_is_even_and_has_both_ends(count: int, limit: int) -> None:
    found = tallies.spread(count, limit)
    assert len(found) == min(count, limit)
    if count:
        assert (found[0], found[-1]) == (0, count - 1)
    if count > 1:
        assert np.ptp(np.diff(found)) <= 1


def test_positions_are_those_of_the_marks() -> None:
    drawn = front.front_figure(SEARCH, [])
    np.testing.assert_allclose(
        uses(drawn.svg, "front-members"), drawn.positions[SEARCH.front], atol=1e-4
    )
    np.testing.assert_allclose(uses(drawn.svg, "front-feasible"), drawn.positions, atol=1e-4)
    survivors = np.concatenate(tallies.newcomers(SEARCH))
    np.testing.assert_allclose(
        uses(drawn.svg, "front-survivors"), drawn.positions[survivors], atol=1e-4
    )
    view = ElementTree.fromstring(drawn.svg).attrib["viewBox"]
    np.testing.assert_allclose([float(length) for length in view.split()], [0, 0, *drawn.size])
    higher = SEARCH.columns["accuracy"][0] > SEARCH.columns["accuracy"][1]
    assert (drawn.positions[0, 1] < drawn.positions[1, 1]) == higher  # y is from the top


def test_axes_fit_what_is_feasible_and_what_is_named(by_hand: Search) -> None:
    columns = {
        **by_hand.columns,
        "macs": by_hand.columns["macs"] * np.where(np.arange(8) > 4, 9, 1),
    }
    far = replace(by_hand, columns=columns, feasible=np.arange(8) < 5, front=np.array([0, 4]))
    drawn = front.front_figure(far, [])
    width, _ = drawn.size
    assert np.isfinite(drawn.positions).all(axis=1).tolist() == [True] * 5 + [False] * 3
    assert np.ptp(drawn.positions[:5, 0]) > 0.6 * width
    text = render(make_report(far))
    assert "Outside of the picture: 2 that break a constraint." in text  # one is not measured
    assert "Crosses: the 1 that" in text
    assert data_of(text)["number"] == [1, 2, 3, 4, 5]
    named = make_model("a", index=6, architecture=(12, 1, 2, 3))
    seen = front.front_figure(far, [named]).positions
    assert np.isfinite(seen).all(axis=1).tolist() == [True] * 5 + [False, True, True]


def test_retrained_models_are_the_first_picture_with_the_front_behind(by_hand: Search) -> None:
    values = [("a", 0, 1e6, 0.5, 0.7), ("b", 7, 4e6, 0.7, 0.9), ("c", None, 7e6, np.nan, 0.8)]
    models = [
        make_model(
            name,
            architecture=[0] * 4 if index == 0 else (12, 1, 2, 3),
            index=index,
            values={"accuracy": score, "macs": macs},
            validation_accuracy=retrained,
        )
        for name, index, macs, score, retrained in values
    ]
    new = make_model("new", index=4, architecture=(12, 1, 2, 3), **UNTRAINED)
    text = render(make_report(by_hand, models=[*models, new]))
    first, second = re.findall(r"<svg class=.plot.*?</svg>", text)[:2]
    assert "3 retrained models: validation accuracy against MACs" in first
    assert "Scatter plot of accuracy on the supernet" in second
    texts = [e.text for e in ElementTree.fromstring(first).iter(f"{SVG}text")]
    assert {"a", "b", "c"} < set(texts)
    assert "new" not in texts
    behind = uses(first, "retrained-supernet")  # 0, 7 and 4, of 50, 70 and 90%
    marks = [uses(first, f"retrained-mark-{number}")[0] for number in range(3)]
    up = behind[0, 1] - behind[1, 1]
    np.testing.assert_allclose(np.diff(behind[:, 1]), [-up, -up], atol=1e-4)
    np.testing.assert_allclose(marks[0], behind[0] - (0, up), atol=1e-4)  # at 70%
    np.testing.assert_allclose(marks[1], behind[1] - (0, up), atol=1e-4)
    np.testing.assert_allclose(marks[2][0] - marks[0][0], 6 / 4 * np.ptp(behind[:, 0]), atol=1e-4)


def test_without_a_search_retrained_models_are_by_macs() -> None:
    text = render(replace(EMPTY, models=[make_model("a", curve=())]))
    assert "1 retrained model: validation accuracy against MACs" in text
    unknown = replace(SEARCH, axes=("latency", "accuracy"))
    models = [make_model("a", curve=())]
    assert retrained.retrained_figure(unknown, models, "validation_accuracy") == ""
    assert '<svg class="plot' not in render(replace(EMPTY, models=[make_model("a", **UNTRAINED)]))


def test_other_axes_are_named_with_their_units() -> None:
    columns = SEARCH.columns | {"robustness": SEARCH.columns["accuracy"] * 3}
    order = np.argsort(columns["robustness"][SEARCH.front])
    other = replace(
        SEARCH,
        columns=columns,
        axes=("robustness", "latency"),
        maximize=(True, False),
        front=SEARCH.front[order],
    )
    contents.check(make_report(other))
    drawn = front.front_figure(other, [])
    assert ">robustness<" in drawn.svg
    assert ">latency (ms)<" in drawn.svg
    facts = dict(explorer.explorer_data(SPACE, other, [], drawn)["facts"])
    assert facts["latency"][0] == f"{columns['latency'][0]:.3g}\u202fms"
    assert facts["robustness"][0] == f"{columns['robustness'][0]:.4g}"


def test_data_are_the_history(by_hand: Search) -> None:
    picked = make_model("a</script>b", index=4, architecture=(12, 1, 2, 3))
    data = data_of(render(make_report(by_hand, models=[picked])))
    drawn = front.front_figure(by_hand, [picked])
    measured = [0, 1, 2, 3, 4, 6, 7]  # 5 is not
    assert data["number"] == [index + 1 for index in measured]
    np.testing.assert_allclose(data["x"], drawn.positions[measured, 0], atol=0.006)
    np.testing.assert_allclose(data["y"], drawn.positions[measured, 1], atol=0.006)
    assert data["size"] == [432, 338.4]
    assert data["architecture"][2] == "0,0,1,1"
    assert data["facts"][0] == [
        "accuracy on the supernet",
        ["50.00%", "40.00%", "30.00%", "20.00%", "90.00%", "60.00%", "70.00%"],
    ]
    assert data["facts"][1][1][4] == "5\u202fM"
    assert [data["origins"][code] for code in data["origin"]][3:] == [
        "initial population",
        "crossover",
        "crossover",
        "prior-regulated mutation",
    ]
    waiting = explorer._statuses(replace(by_hand, front=rows([0])[0]))[7]
    assert explorer.STATUSES[waiting] == "not selected from yet"
    assert [data["statuses"][code] for code in data["status"]] == [
        "on the final front",
        *["survived"] * 3,
        "on the final front",
        "did not survive",
        "on the final front",
    ]
    assert data["front"] == [0, 6, 4]
    assert data["names"] == {"4": "a</script>b"}
    assert data["choices"] == spaces.choice_names(SPACE)


def test_models_of_one_architecture_share_its_position(by_hand: Search) -> None:
    same = {"index": 4, "architecture": (12, 1, 2, 3)}
    unmeasured = make_model("unmeasured", index=5, architecture=(12, 1, 2, 3))
    models = [make_model("a", **same), make_model("b", **same), unmeasured, make_model("outside")]
    text = render(make_report(by_hand, models=models))
    assert data_of(text)["names"] == {"4": "a, b"}
    svg = re.findall(r"<svg class=.plot.*?</svg>", text)[1]
    texts = [e.text for e in ElementTree.fromstring(svg).iter(f"{SVG}text")]
    assert {"a", "b"} < set(texts)
    assert not {"unmeasured", "outside"} & set(texts)
    listing = text[text.index("<details") : text.index("</details>")]
    (row,) = re.findall(r'<th scope="row">5 (.*?)</th>', listing)
    assert re.sub("<.*?>", "", row) == "● a ■ b"


def parts(root: ElementTree.Element, shift: float = 0) -> list[tuple]:
    """All shapes below an element as (tag, class, text, coordinates), moved right by `shift`."""
    found = []
    for element in root:
        moved = shift
        if "transform" in element.attrib:
            moved += float(re.findall(r"[\d.]+", element.attrib["transform"])[0])
        if element.tag in ("g", "svg"):
            found += parts(element, moved)
        elif element.tag in ("rect", "line", "text"):
            where = [
                round(float(value) + (moved if key.startswith("x") else 0), 1)
                for key, value in sorted(element.attrib.items())
                if key not in ("class", "rx")
            ]
            found.append((element.tag, element.attrib["class"], element.text or "", where))
    return sorted(found)


@given(st.lists(st.integers(0, SPACE.num_choices - 1), min_size=4, max_size=4))
def test_blank_diagram_can_become_any_block_diagram(architecture: list[int]) -> None:
    blank = ElementTree.fromstring(diagram.blank_diagram(SPACE))
    (drawings,) = blank.iter("defs")
    layers = [g for g in blank.iter("g") if g.attrib.get("class") == "layer"]
    assert (len(drawings), len(layers)) == (13, 4)
    for layer, choice in zip(layers, architecture, strict=True):
        layer.extend(drawings[choice])  # what the script does
    expected = ElementTree.fromstring(diagram.block_diagram(SPACE, architecture, "model"))
    for ours, theirs in zip(parts(blank), parts(expected), strict=True):
        assert ours[:3] == theirs[:3]
        np.testing.assert_allclose(ours[3], theirs[3], atol=0.11)  # both ends are rounded


def test_panels_show_every_share() -> None:
    shares = np.random.default_rng(0).dirichlet(np.full(13, 0.3), size=(5, 4))
    shares[2, :] = np.eye(13)[12]
    panels = heatmap.panels(SPACE, shares, np.arange(5))
    assert len(panels) == 4
    for layer, panel in enumerate(panels):
        levels = np.zeros((13, 5))
        for opacity, path in re.findall(r'<path fill-opacity="([\d.]+)" d="(.*?)"/>', panel):
            for x, y, length in re.findall(r"M(\d+) (\d+)h(\d+)v1h-\d+z", path):
                levels[int(y), int(x) : int(x) + int(length)] += float(opacity)
        np.testing.assert_allclose(levels, np.ceil(shares[:, layer].T * 10) / 10, atol=1e-9)
        best = int(shares[-1, layer].argmax())
        name = f"{spaces.choice_names(SPACE)[best]} {shares[-1, layer, best]:.0%}"
        assert f">layer {layer + 1}</text>" in panel
        assert f">{name}</text>" in panel
        assert f"survivors of generation 4: {name}" in panel
        texts = [e.text for e in ElementTree.fromstring(panel).iter("text")]
        assert set(spaces.choice_names(SPACE)) < set(texts)


def test_a_panel_has_its_layers_own_choices() -> None:
    layers = (replace(SPACE.layers[0], choices=(1, 12)), *SPACE.layers[1:])
    shares = np.zeros((2, 4, 13))
    shares[:, 0, [1, 12]] = shares[:, 1:, [0, 5]] = [0.8, 0.2]
    first, second, *_ = heatmap.panels(replace(SPACE, layers=layers), shares, np.arange(2))
    for panel, names in ((first, {"E3K5", "identity"}), (second, set(spaces.choice_names(SPACE)))):
        texts = {e.text for e in ElementTree.fromstring(panel).iter("text")}
        assert texts & set(spaces.choice_names(SPACE)) == names
    assert "generation 1: E3K5 80%, identity 20%" in first
    assert re.findall(r'<path fill-opacity="0.8" d="(.*?)"/>', first) == ["M0 0h2v1h-2z"]
    assert re.findall(r'<path fill-opacity="0.2" d="(.*?)"/>', first) == ["M0 1h2v1h-2z"]


def test_hypervolume_rises_where_it_rose(by_hand: Search) -> None:
    svg = figures.hypervolume_figure(by_hand.hypervolume, np.array([4, 7]))
    assert "8 evaluations: from 0.100 to 0.500" in svg
    groups = {g.attrib.get("id"): g for g in ElementTree.fromstring(svg).iter(f"{SVG}g")}
    (path,) = groups["hypervolume-curve"].iter(f"{SVG}path")
    points = np.array(re.findall(r"[ML] ([\d.]+) ([\d.]+)", path.attrib["d"]), float)
    # From evaluation 1 to 5, up by 0.3, on to 8, up by 0.1.
    across, up = np.abs(np.diff(points[[0, -1]], axis=0))[0]
    steps = np.abs(np.diff(points, axis=0))
    np.testing.assert_allclose(steps[:, 0] / across, [4 / 7, 0, 3 / 7, 0], atol=1e-4)
    np.testing.assert_allclose(steps[:, 1] / up, [0, 3 / 4, 0, 1 / 4], atol=1e-4)
    assert render(make_report(by_hand)).count("the ends of generations") == 1


def test_front_is_listed_without_a_script(by_hand: Search) -> None:
    picked = make_model("a<b", index=4, architecture=(12, 1, 2, 3))
    text = render(make_report(by_hand, models=[picked]))
    listing = text[text.index("<details") : text.index("</details>")]
    assert "The final front: 3 architectures" in listing
    assert re.findall(r">([\d,]+)</code>", listing) == ["0,0,0,0", "12,1,2,3", "12,1,2,3"]
    assert '<code title="E3K3, E3K3, E3K3, E3K3">' in listing
    assert "5 <span" in listing
    assert "a&lt;b</th><td>90.00%</td><td>5\u202fM</td><td>1</td><td>crossover</td>" in listing


def test_large_searches_stay_small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(search, "FRONT_ROWS", 3)
    monkeypatch.setattr(search, "COLUMNS", 20)
    large = make_search(generations=150, size=front.RASTERIZE_ABOVE // 100)
    text = render(make_report(large))
    data = data_of(text)
    assert "data:image/png;base64," in text
    assert len(data["x"]) <= explorer.EXPLORABLE < len(large.born)
    assert len(data["front"]) == len(large.front) > 3
    assert "can be pointed at" in text
    assert f"the front of {front.LINES} generations" in text
    assert "The members of 3 of the final front" in text
    assert "20 of 150 are shown" in text
    assert f"the ends of {search.BOUNDARIES} of the 149 generations" in text
    assert len(text) < 1_000_000


def first(count: int) -> Search:
    """The first evaluations of a search that has not finished a generation."""
    return replace(
        SEARCH,
        architectures=SEARCH.architectures[:count],
        columns={name: column[:count] for name, column in SEARCH.columns.items()},
        **{name: getattr(SEARCH, name)[:count] for name in ("feasible", "born", "hypervolume")},
        origin=SEARCH.origin[:count],
        generations=[],
        front=np.arange(min(count, 1), dtype=np.int32),
    )


@pytest.mark.parametrize(
    ("searched", "sentences"),
    [
        (None, ["No search has been run yet."]),
        (first(0), ["No search has been run yet."]),
        (
            first(1),
            [
                "The final front: 1 architecture<",
                "No generation has been finished yet.",
                "No offspring has been through selection yet.",
            ],
        ),
        (
            replace(
                first(3),
                columns={"accuracy": np.full(3, np.nan), "macs": np.ones(3)},
                feasible=np.zeros(3, bool),
                front=np.zeros(0, np.int32),
                hypervolume=np.zeros(3),
                generations=rows([]),
            ),
            ["No feasible architecture has been found yet.", "the 3 that break a constraint"],
        ),
    ],
)
def test_unfinished_searches(searched: Search | None, sentences: list[str]) -> None:
    report = make_report(searched)
    contents.check(report)
    text = render(report)
    assert not Reader(text).open
    for sentence in sentences:
        assert sentence in text
    assert ("<svg" in text) == (searched is not None and len(searched.born) > 0)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"architectures": SEARCH.architectures[:, :2]}, r"shape \[30, 2\]"),
        ({"born": SEARCH.born[1:]}, r"born has shape \[29\]; allowed: \[30\]"),
        ({"origin": ["initial"]}, r"origin has shape \[1\]"),
        ({"columns": SEARCH.columns | {"mine": np.zeros((30, 1))}}, r"column mine has shape"),
        ({"columns": SEARCH.columns | {"accuracy": np.full(30, 97.5)}}, "accuracy from 97.5 to"),
        ({"hypervolume": np.full(30, -0.5)}, "hypervolume from -0.5 to -0.5; allowed: 0 to 1"),
        ({"axes": ("watts", "accuracy")}, "axis 'watts' is no column; there are: accuracy, macs"),
        ({"generations": rows([0], [30])}, r"generation 1 is \[30\]; allowed: indices into the 30"),
        ({"front": np.array([-1])}, r"front is \[-1\]"),
        ({"front": np.array([0.5])}, r"front is \[0.5\]"),
        ({"front": SEARCH.front[::-1]}, "front is not in the order of its macs"),
    ],
)
def test_bad_searches_are_refused(fields: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        contents.check(make_report(replace(SEARCH, **fields)))


# What the script needs of a browser: elements that remember what was done to them.
BROWSER = """
const element = (extra) => ({
  style: {}, listeners: {}, attributes: {}, hidden: true, children: [],
  addEventListener(kind, act) { this.listeners[kind] = act; },
  setAttribute(key, value) { this.attributes[key] = String(value); },
  append(...parts) { this.children.push(...parts); },
  replaceChildren(...parts) { this.children = parts; },
  ...extra,
});
class Part {  // of the figure's SVG
  constructor({ tagName, attributes, textContent, children }) {
    Object.assign(this, { tagName, attributes: { ...attributes }, textContent, children: [] });
    children.forEach((child) => this.append(new Part(child)));
  }
  get id() { return this.attributes.id || ""; }
  getAttribute(name) { return this.attributes[name] ?? null; }
  setAttribute(name, value) { this.attributes[name] = String(value); }
  removeAttribute(name) { delete this.attributes[name]; }
  getElementsByTagName(name) {
    return this.children.flatMap((child) => [
      ...(["*", child.tagName].includes(name) ? [child] : []),
      ...child.getElementsByTagName(name)]);
  }
  cloneNode(deep) { return new Part(deep ? this : { ...this, children: [] }); }
  remove() { this.parent?.children.splice(this.parent.children.indexOf(this), 1); }
  append(child) {
    child.remove();
    child.parent = this;
    this.children.push(child);
  }
  before(other) {
    other.parent = this.parent;
    this.parent.children.splice(this.parent.children.indexOf(this), 0, other);
  }
  toJSON() {
    return { ...this, parent: undefined };
  }
}
const axes = new Part(AXES);
const named = (name) => Object.assign(element(), { name });
const layers = LAYERS.map(() => element());
const drawings = CHOICES.map((name) => ({ cloneNode: () => ({ childNodes: [name] }) }));
const inside = { svg: element(), header: element(), code: element() };
const elements = {
  data: { textContent: DATA },
  hint: element(),
  pointer: element({
    getBoundingClientRect: () => ({ left: 100, top: 50, width: 864, height: 676.8 }),  // doubled
    matches: () => true,
    setPointerCapture() {},
  }),
  ring: element(),
  frame: element(),
  whole: element(),
  tip: element({ offsetWidth: 200, offsetHeight: 100 }),
  shown: element({
    querySelectorAll: (what) => (what === ".layer" ? layers : drawings),
    querySelector: (what) => inside[what],
    scrollIntoView() {},
  }),
};
const document = {
  getElementById: (id) => (id === "front-axes_1" ? axes : elements[id.replace("explorer-", "")]),
  createElement: () => element(),
};
"""
START = """
const { pointer, ring, tip, shown, hint, whole } = elements;
const data = JSON.parse(DATA);
const at = (i, right = 0) => ({
  clientX: 100 + 2 * data.x[i] + right, clientY: 50 + 2 * data.y[i], pointerType: "mouse",
});
const press = (key) => pointer.listeners.keydown({ key, preventDefault() {} });
const results = [];
const note = () => results.push({
  value: pointer.attributes["aria-valuenow"], text: pointer.attributes["aria-valuetext"],
  ring: !ring.hidden, tip: !tip.hidden, shown: !shown.hidden, code: inside.code.textContent,
  layers: layers.map((layer) => layer.children[0]), at: [ring.style.left, ring.style.top],
});
"""
POINT = """
results.push([pointer.hidden, hint.hidden]);
pointer.listeners.pointermove(at(2, 3)); note();
pointer.listeners.pointermove({ clientX: 0, clientY: 0 }); note();
pointer.listeners.focus(); note();
press("ArrowRight"); note();
press("ArrowRight"); press("ArrowRight"); note();
press("Enter"); note();
pointer.listeners.pointerleave({ pointerType: "mouse" }); note();
console.log(JSON.stringify(results));
"""
ZOOM = """
const look = () => results.push(JSON.parse(JSON.stringify({ axes, whole: !whole.hidden })));
const drag = (from, to) => {
  const event = ([x, y]) => ({
    clientX: 100 + 2 * x, clientY: 50 + 2 * y, pointerType: "mouse", button: 0, pointerId: 1,
  });
  pointer.listeners.pointerdown(event(from));
  pointer.listeners.pointermove(event(to));
  pointer.listeners.pointerup(event(to));
  pointer.listeners.click(event(to));
};
look();
drag([101, 61], [102, 62]); look();  // a click of an unsteady hand
drag([300, 180], [200, 80]); look();
pointer.listeners.pointermove(at(0)); note();  // where it was, and is no more
press("Escape");
pointer.listeners.dblclick(); look();
drag([200, 80], [207, 87]); look();  // closer than there are ticks
whole.listeners.click(); look();
press("End"); press("+"); look();
press("-"); look();
console.log(JSON.stringify(results));
"""


def part(element: ElementTree.Element) -> dict:
    return {
        "tagName": element.tag.removeprefix(SVG),
        "attributes": element.attrib,
        "textContent": element.text or "",
        "children": [part(child) for child in element],
    }


def play(report: Report, acts: str) -> tuple[dict, list]:
    """What the script was given, and what came of what a reader does."""
    text = page.render(report)
    data = data_of(text)
    svg = ElementTree.fromstring(re.findall(r"<svg class=.plot.*?</svg>", text, re.DOTALL)[0])
    (axes,) = [g for g in svg.iter(f"{SVG}g") if g.attrib.get("id") == "front-axes_1"]
    values = {"LAYERS": [0] * 4, "CHOICES": data["choices"], "AXES": part(axes)}
    browser = BROWSER
    for name, value in values.items():
        browser = browser.replace(name, json.dumps(value))
    script = "\n".join([browser, SCRIPT, START, acts])
    script = script.replace("DATA", json.dumps(json.dumps(data)))
    run = subprocess.run(["node", "-"], input=script, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    return data, json.loads(run.stdout)


@pytest.mark.skipif(shutil.which("node") is None, reason="node is not installed")
def test_script_points_shows_and_walks_the_front(by_hand: Search) -> None:
    data, results = play(make_report(by_hand), POINT)
    hidden, pointed, away, focused, walked, last, shown, left = results
    assert hidden == [False, False]
    # Number 3 of the history, 3 pixels off; it is not on the front.
    assert pointed["text"].startswith("architecture 3, accuracy on the supernet, 30.00%, MACs, 3")
    assert "generation 0, initial population, survived" in pointed["text"]
    assert pointed["ring"]
    assert pointed["tip"]
    percents = [float(length.rstrip("%")) for length in pointed["at"]]
    np.testing.assert_allclose(percents, [data["x"][2] / 4.32, data["y"][2] / 3.384], atol=1e-6)
    assert not away["tip"]
    assert not away["ring"]
    assert (focused["value"], walked["value"], last["value"]) == ("1", "2", "3")
    assert walked["text"].startswith("architecture 8, accuracy on the supernet, 70.00%")
    assert last["text"].startswith("architecture 5, ")
    assert not last["shown"]
    assert shown["shown"]
    assert shown["code"] == "12,1,2,3"
    assert shown["layers"] == spaces.to_names(SPACE, [12, 1, 2, 3])
    assert (left["tip"], left["ring"]) == (False, True)  # what is shown stays marked


def inside(tree: dict, name: str) -> list[dict]:
    """All parts below that are of a tag, or whose id has the name in it."""
    found = []
    for child in tree["children"]:
        own = child["tagName"] == name or name in child["attributes"].get("id", "")
        found += ([child] if own else []) + inside(child, name)
    return found


def marks_of(view: dict, group: str) -> np.ndarray:
    (found,) = inside(view["axes"], group)
    return np.array([[float(u["attributes"][k]) for k in "xy"] for u in inside(found, "use")])


def ticks_of(view: dict) -> list[str]:
    """Labels of the ticks that are seen."""
    axes = inside(view["axes"], "matplotlib.axis")
    ticks = [t for axis in axes for t in axis["children"] if inside(t, "use")]
    seen = [t for t in ticks if t["attributes"].get("visibility") != "hidden"]
    return [text["textContent"] for tick in seen for text in inside(tick, "text")[-1:]]


@pytest.mark.skipif(shutil.which("node") is None, reason="node is not installed")
def test_script_zooms_into_what_was_framed_and_out_again(by_hand: Search) -> None:
    picked = make_model("a", index=4, architecture=(12, 1, 2, 3), **UNTRAINED)
    data, results = play(make_report(by_hand, models=[picked]), ZOOM)
    start, clicked, zoomed, pointed, out, closest, again, around, back = results
    box = np.array(data["box"])
    for view in (clicked, out, again, back):
        np.testing.assert_allclose(
            marks_of(view, "front-feasible"), marks_of(start, "front-feasible"), atol=1e-6
        )
        assert ticks_of(view) == ticks_of(start)
        assert not view["whole"]
    # The frame is from (200, 80) to (300, 180): marks move, and keep their size.
    moved = (marks_of(start, "front-members") - (200, 80)) * (box[2:] - box[:2]) / 100 + box[:2]
    np.testing.assert_allclose(marks_of(zoomed, "front-members"), moved, atol=1e-6)
    assert zoomed["whole"]
    assert not pointed["tip"]
    scales = (box[2:] - box[:2]) / 100
    (line,) = inside(inside(zoomed["axes"], "front-line2d")[-1], "path")
    assert line["attributes"]["transform"].startswith(f"matrix({scales[0]:.6g}"[:11])
    assert line["attributes"]["vector-effect"] == "non-scaling-stroke"
    assert "clip-path" not in line["attributes"]
    levels = [dict(map(reversed, axis[1])) for axis in data["ticks"]]  # about 3 times as close
    for number, axis in enumerate(levels):
        low, high = (200, 300) if number == 0 else (80, 180)
        labels = [label for label, where in axis.items() if low <= where <= high]
        assert len(labels) > 1
        assert set(labels) <= set(ticks_of(zoomed))
    (name,) = inside(zoomed["axes"], "front-name-0")
    (anchor,) = data["anchors"]
    assert name["attributes"]["visibility"] == "hidden"
    (name,) = inside(around["axes"], "front-name-0")
    assert name["attributes"]["visibility"] == "visible"
    shift = np.array(re.findall(r"-?[\d.]+", name["attributes"]["transform"]), float)
    np.testing.assert_allclose(anchor + shift, marks_of(around, "front-mark-0")[0], atol=0.02)
    spans = [np.ptp(marks_of(view, "front-feasible"), axis=0) for view in (closest, start)]
    np.testing.assert_allclose(spans[0] / spans[1], 2 ** (front.ZOOM_LEVELS - 1))


def test_ticks_are_those_of_the_axes_and_finer_ones() -> None:
    drawn = front.front_figure(SEARCH, [])
    texts = [e.text for e in ElementTree.fromstring(drawn.svg).iter(f"{SVG}text")]
    points = SEARCH.points()
    for levels in drawn.ticks:
        assert len(levels) == front.ZOOM_LEVELS
        assert {label for _, label in levels[0]} <= set(texts)
        counts = [len(level) for level in levels]
        assert all(2 * few * 0.6 < many for few, many in pairwise(counts))
    (where, label), *_ = drawn.ticks[1][0]  # as 20%
    slope, offset = np.polyfit(points[:, 1], drawn.positions[:, 1], 1)
    assert float(label.rstrip("%")) / 100 * slope + offset == pytest.approx(where, abs=0.01)


def test_script_takes_text_as_text_and_loads_nothing() -> None:
    for word in ("innerHTML", "outerHTML", "insertAdjacent", "eval", "fetch", "http", "import"):
        assert word not in SCRIPT
    assert "</" not in SCRIPT
