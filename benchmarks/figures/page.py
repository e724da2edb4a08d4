"""The text of docs/figures.md, out of what was measured."""

from collections.abc import Callable, Iterable, Iterator, Mapping

from benchmarks import speed
from benchmarks.figures import jobs
from benchmarks.record import Found, source

HEADER = """# Measured
Written by `python -m benchmarks.figures` from the JSON in `benchmarks/results/`, with the command,
machine and commit that gave each figure. On real accuracies, of searches and supernets:
[evidence.md](evidence.md). On a GPU, and what a core's rebuilding cost and gained:
`benchmarks/README.md`. The machine is a virtual one that shares its cores; on some days it is three
times as fast as on others (the main job took from 2.8 to 7.6 minutes), so only what stands in one
table compares.
"""
MAIN = """
## The main job
README's first command, without setting up its environment, on 5,000 digits:
"""
SEARCH = """
## Search
Hypervolume after {evaluations:,} evaluations, in percent of the true front's, which these synthetic
tasks let us know exactly: S2 with its real MACs against utilities that a seed draws, of choices
alone, also of pairs in neighbouring layers, or of pairs alone; and three usual test functions. The
median of {seeds} seeds; `benchmarks/README.md` has what every kind of mutation contributes.
"""
SORTED = """
Ranks and crowding of 2,000 points with 3 objectives take {ours:.2f} ms, pymoo's {peer:.2f};
bookkeeping of 10,000 architectures a generation {least:.1f} to {most:.1f} s."""
TABLES = """
## Latency tables
The table's sum against the whole network's measured latency, of random architectures that the table
was not fitted to:
"""
BLOCKS = """
### By files
`scarlet export --config=mnist --blocks=FOLDER`, for a phone; measured here instead, on one thread,
in rounds over all files. On a phone nobody has measured one.
"""
NETWORKS = """
## Stand-alone networks
In JAX, {image_size} px, {dtype}, random weights: latency of one image, images a second and memory
of batches of {batch_size}.
"""
EXPORTED = """
## Exported files
SCARLET-A of {classes} classes, {pixels} px, one image, p50 in milliseconds. These are an x86
server's kernels; a phone's are others, for int8 above all.
"""
QUANTISED = """
What 8 bits cost its best model, in percent of {images:,} test digits:

"""
SPEED = """
## Speed
The whole S2 at 224 px, batch 16, float32, against PyTorch eager on the same CPU cores. A ratio is
PyTorch's time over ours. PyTorch's own times vary by a third from run to run there;
`benchmarks/README.md` has more runs, how it is measured, and the targets.
"""
COMPILED = """
## A TPU's compiler
Of a slice without one: S2, 224 px, bfloat16, 128 images a chip in training. Its cost model counts a
loop once, of 13 paths for example.
"""

AGREEMENT = ("median error", "worst", "Kendall's tau")


def main_table(own: Found) -> Iterator[str]:
    best, tau = own["best"], own["tau"]
    accuracy = f"{best['test_accuracy']:.1%} of {best['test_images']:,}"
    yield "| | |"
    yield "| --- | --- |"
    yield f"| minutes | {own['seconds'] / 60:.1f} |"
    yield f"| models | {own['models']} |"
    yield f"| test accuracy of the best by validation | {accuracy} |"
    yield f"| its MACs | {best['macs']:,} |"
    yield f"| architectures evaluated | {own['evaluations']:,} |"
    yield f"| best validation accuracy in the supernet | {own['supernet_accuracy']:.2%} |"
    for score, value in tau.items():
        yield f"| Kendall's tau of the models' supernet score and {score} accuracy | {value:.2f} |"


def search_table(own: Found) -> Iterator[str]:
    peers = list(next(iter(own["reached"].values())))
    yield f"| | {' | '.join(peers)} |"
    yield "| --- " * (len(peers) + 1) + "|"
    for task, reached in own["reached"].items():
        yield f"| {task} | {' | '.join(f'{100 * reached[peer]:.1f}' for peer in peers)} |"
    ours, peer = own["sorting"]["ranks and crowding"]
    yield SORTED.format(
        ours=ours, peer=peer, least=min(own["bookkeeping"]), most=max(own["bookkeeping"])
    )


def latency_tables(own: Found) -> Iterator[str]:
    yield f"| `scarlet benchmark --table=FILE` | {' | '.join(AGREEMENT)} | minutes |"
    yield "| --- | --- | --- | --- | --- |"
    for space in jobs.TABLES:
        yield f"| `{space}` | {agreement(own[space])} | {own[space]['seconds'] / 60:.1f} |"


def blocks_table(own: Found) -> Iterator[str]:
    yield f"| | files | {' | '.join(AGREEMENT)} |"
    yield "| --- | --- | --- | --- | --- |"
    for name in jobs.BLOCKS:
        yield f"| {name} | {own[name]['files']} | {agreement(own[name])} |"


def agreement(own: Found) -> str:
    """The cells below `AGREEMENT`."""
    median, worst = own["median_error"], own["worst_error"]
    return f"{median:.1%} | {worst:.1%} | {own['kendall_tau']:.2f}"


def networks_table(own: Found) -> Iterator[str]:
    yield "| | p50, ms | p95, ms | images/s | MB |"
    yield "| --- | --- | --- | --- | --- |"
    for row in own["rows"]:
        cells = [f"{row[name]:.1f}" for name in ("latency_p50_ms", "latency_p95_ms")]
        cells += [f"{row['images_per_second']:.0f}", f"{row['memory_bytes'] / 1e6:.0f}"]
        yield f"| {row['arch']} | {' | '.join(cells)} |"


def exported_table(own: Found) -> Iterator[str]:
    yield f"| | MB | {' | '.join(f'threads: {count}' for count in jobs.THREADS)} |"
    yield "| --- " * (2 + len(jobs.THREADS)) + "|"
    for kind in jobs.FORMATS:
        cells = [f"{ms:.1f}" for ms in own[kind]["ms"]]
        cells = [""] * (len(jobs.THREADS) - len(cells)) + cells  # JAX takes all there are
        yield f"| {kind} | {own[kind]['bytes'] / 1e6:.1f} | {' | '.join(cells)} |"


def quantised_table(own: Found) -> Iterator[str]:
    yield "| | JAX | int8 |"
    yield "| --- | --- | --- |"
    for name, accuracy in own["int8"].items():
        yield f"| {name} | {accuracy['JAX']:.2f} | {accuracy['file']:.2f} |"


# By the name of a record: what is said before it, and its table's lines.
PARTS: Mapping[str, tuple[str, Callable[[Found], Iterable[str]]]] = {
    "main": (MAIN, main_table),
    "search": (SEARCH, search_table),
    "tables": (TABLES, latency_tables),
    "blocks": (BLOCKS, blocks_table),
    "networks": (NETWORKS, networks_table),
    "exported": (EXPORTED, exported_table),
    "speed": (SPEED, lambda own: speed.table(own).splitlines()),
    "compiled": (COMPILED, lambda own: own["table"]),
}


def page(found: Mapping[str, Found]) -> str:
    """The whole page, of the records by name."""
    sizes = {"classes": jobs.CLASSES, "pixels": jobs.PIXELS}
    text = HEADER
    for name, (about, table) in PARTS.items():
        own = found[name]
        text += about.format(**sizes, **own) + f"\n{source(own)}\n\n" + lines(table(own))
        if name == "main":
            text += QUANTISED.format(images=own["best"]["test_images"])
            text += lines(quantised_table(own))
    return text


def lines(rows: Iterable[str]) -> str:
    return "".join(f"{row}\n" for row in rows)
