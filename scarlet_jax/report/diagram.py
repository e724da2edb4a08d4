"""Architectures as block diagrams: kernel as height, expansion as width, identity as a gap."""

from collections.abc import Sequence
from dataclasses import replace
from html import escape
from itertools import groupby

from scarlet_jax import space as spaces
from scarlet_jax.blocks import Drawing
from scarlet_jax.report.palette import KERNEL_SHADES
from scarlet_jax.space import Space

# Lengths are in CSS pixels.
WIDTH = 860  # the layers share it ...
SLOT = (28, 58)  # ... each within these bounds
BLOCK = (0.76, 78)  # the largest block: a share of its slot, and its height
MIDDLE = 92  # of all blocks, from the top
END = 44  # for "stem" and "head" at the two ends
HEIGHT = 202


def block_diagram(space: Space, architecture: Sequence[int], name: str) -> str:
    """The SVG of an architecture `int32[L]`, one slot for each layer.

    Raises:
      InputError: if the architecture is not of the space.
    """
    indices = spaces.validate(space, architecture)
    slot = _slot_width(space)
    blocks = []
    for i, (layer, index) in enumerate(zip(space.layers, indices, strict=True)):
        choice = space.choices[index]
        hint = f"layer {i + 1}: {choice.name}, {layer.width} channels, stride {layer.stride}"
        drawing = _slot(space, choice.drawing(), END + i * slot, slot)
        blocks.append(f"<g><title>{escape(hint)}</title>{drawing}</g>")
    label = f"Block diagram of {name}: {', '.join(spaces.to_names(space, indices))}"
    return _network(space, label, "".join(blocks))


def blank_diagram(space: Space) -> str:
    """The SVG of no architecture, which a script can turn into that of any.

    In it are a group for each choice, in `<defs>`, which are not shown, and an empty group of
    class `layer` for each layer, both in order: a choice's shapes, copied there, show the block.
    (Not by `<use>`: what that shows is out of reach of style rules such as `.diagram text`.)
    """
    slot = _slot_width(space)
    choices = "".join(
        f"<g>{_slot(space, choice.drawing(), 0, slot)}</g>" for choice in space.choices
    )
    layers = "".join(
        f'<g class="layer" transform="translate({END + i * slot:.2f} 0)"></g>'
        for i in range(space.depth)
    )
    return _network(space, "Block diagram", f"<defs>{choices}</defs>{layers}")


def legend(space: Space) -> list[tuple[str, str]]:
    """Small SVGs and what they mean, for the heights, widths and marks of a space's blocks."""
    drawings = [drawing for choice in space.choices if (drawing := choice.drawing())]
    largest = _largest(space)
    entries: dict[str, Drawing | None] = {}
    for height in sorted({drawing.height for drawing in drawings}):
        entries[f"kernel {height} × {height}"] = Drawing(largest.width, height, ("", ""))
    for width in sorted({drawing.width for drawing in drawings}):
        least = min(drawing.height for drawing in drawings)
        entries[f"expansion {width}"] = Drawing(width, least, ("", ""))
    for drawing in drawings:
        if drawing.mark:
            entries.setdefault(drawing.meaning, replace(drawing, labels=("", "")))
    if any(choice.keeps_width for choice in space.choices):
        entries["identity: no block, input channels kept"] = None
    elif any(choice.drawing() is None for choice in space.choices):
        entries["identity: no block, or what changes width and stride"] = None
    slot = SLOT[1]
    drawn = []
    for meaning, entry in entries.items():
        line = _line(0, MIDDLE, slot, MIDDLE, "flow")
        tall = BLOCK[1] * entry.height / largest.height if entry else 12.0
        tall += 30 if entry and entry.mark else 2
        block = line + _slot(space, entry, 0, slot)
        drawn.append((_svg(slot, tall, meaning, block, MIDDLE - tall / 2), meaning))
    if any(layer.stride == 2 for layer in space.layers):
        mark = _line(16, 0, 16, 30, "stride") + _text(19, 19, "↓2", "stride")
        drawn.append((_svg(44, 30, "stride 2", mark), "stride 2: half the resolution"))
    return drawn


def _largest(space: Space) -> Drawing:
    """The width and height that all blocks of a space fit into."""
    drawings = [drawing for choice in space.choices if (drawing := choice.drawing())]
    width = max((drawing.width for drawing in drawings), default=1)
    return Drawing(width, max((drawing.height for drawing in drawings), default=1), ("", ""))


def _slot(space: Space, drawing: Drawing | None, left: float, slot: float) -> str:
    """One layer: its rectangle and labels, or the gap of an identity."""
    center = left + slot / 2
    if drawing is None:
        gap = _line(left + 3, MIDDLE, left + slot - 3, MIDDLE, "gap")
        return gap + _text(center, 152, "–", "muted")
    largest = _largest(space)
    heights = sorted({d.height for choice in space.choices if (d := choice.drawing())})
    width = BLOCK[0] * slot * drawing.width / largest.width
    height = BLOCK[1] * drawing.height / largest.height
    shade = min(heights.index(drawing.height), KERNEL_SHADES - 1)
    top = MIDDLE - height / 2
    parts = [_rectangle(center - width / 2, top, width, height, f"block k{shade}")]
    if drawing.mark:
        parts.append(_rectangle(center - 10, top - 15, 20, 12, "se"))
        parts.append(_text(center, top - 5.5, drawing.mark, "se"))
    for y, text in zip((152, 165), drawing.labels, strict=True):
        parts += [_text(center, y, text)] if text else []
    return "".join(parts)


def _slot_width(space: Space) -> float:
    return min(max(WIDTH / space.depth, SLOT[0]), SLOT[1])


def _network(space: Space, label: str, blocks: str) -> str:
    """The SVG of the blocks between stem and head, with the layers' numbers, strides and widths."""
    slot = _slot_width(space)
    right = END + slot * space.depth
    parts = [
        _line(END - 8, MIDDLE, right + 8, MIDDLE, "flow"),
        _text(END / 2 - 4, MIDDLE + 4, "stem", "muted"),
        _text(right + END / 2 + 4, MIDDLE + 4, "head", "muted"),
        blocks,
    ]
    for i, layer in enumerate(space.layers):
        left = END + i * slot
        parts.append(_text(left + slot / 2, 12, str(i + 1), "muted"))
        if layer.stride == 2:
            parts.append(_line(left, 20, left, HEIGHT - 20, "stride"))
            parts.append(_text(left + 3, 27, "↓2", "stride"))
    parts.append(_stages(space, slot))
    return _svg(right + END, HEIGHT, label, "".join(parts))


def _stages(space: Space, slot: float) -> str:
    """A bracket with the channels below each run of layers of equal width."""
    parts, first = [], 0
    for width, layers in groupby(layer.width for layer in space.layers):
        count = len(list(layers))
        left, right = END + first * slot + 4, END + (first + count) * slot - 4
        parts.append(_line(left, 177, right, 177, "stage"))
        parts.append(_text((left + right) / 2, 192, str(width)))
        first += count
    return "".join(parts) + _text(END / 2 - 4, 192, "width", "muted")


def _svg(width: float, height: float, label: str, body: str, top: float = 0) -> str:
    return (
        f'<svg class="diagram" role="img" aria-label="{escape(label)}" width="{width:g}" '
        f'height="{height:g}" viewBox="0 {top:g} {width:g} {height:g}">{body}</svg>'
    )


def _rectangle(x: float, y: float, width: float, height: float, kind: str) -> str:
    return (
        f'<rect class="{kind}" x="{x:.2f}" y="{y:.2f}" width="{width:.2f}" '
        f'height="{height:.2f}" rx="2"/>'
    )


def _line(x1: float, y1: float, x2: float, y2: float, kind: str) -> str:
    return f'<line class="{kind}" x1="{x1:.2f}" y1="{y1:.2f}" x2="{x2:.2f}" y2="{y2:.2f}"/>'


def _text(x: float, y: float, text: str, kind: str = "name") -> str:
    return f'<text class="{kind}" x="{x:.2f}" y="{y:.2f}">{escape(text)}</text>'
