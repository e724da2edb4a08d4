"""Colours, marks and the style sheet, shared by the figures and the page.

The palettes stay apart under the common colour-vision deficiencies: Okabe and Ito's colours,
extended, each with a mark of its own so that colour is never the only cue.
"""

# For each model in turn: colour, Matplotlib's marker, and the same mark as a character.
MARKS = (
    ("#0072b2", "o", "●"),
    ("#d55e00", "s", "■"),
    ("#009e73", "^", "▲"),
    ("#cc79a7", "D", "◆"),
    ("#e69f00", "v", "▼"),
    ("#56b4e9", "P", "✚"),
    ("#b03060", "X", "✖"),
    ("#999933", "<", "◀"),
    ("#7f7f7f", ">", "▶"),
    ("#7b68c8", "*", "★"),
)
KERNEL_SHADES = 5  # of the blocks, k0 to k4 below: the darker, the larger the kernel

# Colours that follow the page's light or dark scheme: in a figure's SVG each stands for the
# style sheet's variable of that name.
THEME = {
    "ink": "#1d2127",
    "muted": "#636b76",
    "faint": "#a9b0ba",
    "grid": "#e4e7eb",
    "page": "#fdfdfc",
}

STYLE = """
:root {
  color-scheme: light dark;
  --ink: #1d2127; --muted: #636b76; --faint: #a9b0ba; --grid: #e4e7eb; --page: #fdfdfc;
  --panel: #f4f5f6; --accent: #0b62a8; --se: #b85000; --on-se: #fff;
  --k0: #8ec1e6; --k1: #4a90cf; --k2: #2563a8; --k3: #174a84; --k4: #0d335f;
}
@media (prefers-color-scheme: dark) {
  :root {
    --ink: #e6e8eb; --muted: #9aa3af; --faint: #6a727d; --grid: #2b3038; --page: #14171b;
    --panel: #1c2026; --accent: #6cb2ee; --se: #f0a35c; --on-se: #14171b;
    --k0: #c3e0f4; --k1: #86bdea; --k2: #5299d6; --k3: #3378b8; --k4: #255c93;
  }
}
* { box-sizing: border-box; }
body {
  margin: 0; background: var(--page); color: var(--ink);
  font: 16px/1.55 system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", sans-serif;
}
main { max-width: 1064px; margin: 0 auto; padding: 40px 32px 72px; }
h1 { font-size: 1.7rem; line-height: 1.25; margin: 0 0 .3rem; letter-spacing: -.015em; }
h2 {
  font-size: 1.2rem; margin: 3.2rem 0 .5rem; padding-top: 1.1rem; border-top: 1px solid var(--grid);
}
h3 { font-size: 1rem; margin: 0; }
p { margin: .4rem 0 .9rem; max-width: 46rem; }
.lead { font-size: 1.05rem; }
.muted, figcaption, .empty { color: var(--muted); }
.empty { font-style: italic; }
.tiles { display: flex; flex-wrap: wrap; gap: 12px 32px; margin: 1.5rem 0 .9rem; }
.tiles div { display: flex; flex-direction: column-reverse; }
.tiles dt { color: var(--muted); font-size: .85rem; }
.tiles dd {
  margin: 0; font-size: 2rem; line-height: 1.2; font-weight: 600; letter-spacing: -.02em;
}
figure { margin: 1rem 0; }
figcaption { font-size: .88rem; max-width: 46rem; margin-top: .3rem; }
.scroll { overflow-x: auto; }
.pair {
  display: grid; gap: 8px 28px;
  grid-template-columns: repeat(auto-fit, minmax(min(100%, 340px), 1fr));
}
.pair figure { margin: .4rem 0; }
svg { display: block; }
svg.plot { width: 100%; height: auto; }
svg.plot text { font-family: inherit !important; }
.wide svg.plot, .explorer { max-width: 740px; }
.explorer { position: relative; }
#explorer-pointer {
  position: absolute; inset: 0; cursor: crosshair; touch-action: pan-y pinch-zoom;
}
#explorer-ring {
  position: absolute; width: 16px; height: 16px; margin: -8px; border-radius: 50%;
  border: 2px solid var(--accent);
}
#explorer-tip {
  position: absolute; z-index: 1; width: max-content; max-width: min(100%, 21rem);
  padding: 7px 11px; pointer-events: none; background: var(--page); border: 1px solid var(--faint);
  border-radius: 6px; font-size: .8rem; line-height: 1.45; color: var(--muted);
}
#explorer-tip b { color: var(--ink); font-weight: 600; }
#explorer-tip code { display: block; color: var(--ink); }
.listing table { font-size: .8rem; }
.listing code { font-size: .72rem; }
.listing thead th { white-space: normal; }
.listing th, .listing td { padding-right: 12px; }
.listing td:last-child, .listing thead th:last-child { text-align: left; }
.panels {
  display: grid; gap: 14px 22px; grid-template-columns: repeat(auto-fill, minmax(150px, 1fr));
}
.scale { display: flex; align-items: center; gap: 8px; font-size: .88rem; }
svg.heat path { fill: var(--accent); }
.panels svg.heat { width: 100%; height: auto; }
.heat rect.ground { fill: var(--panel); }
.heat text { font-size: 9px; fill: var(--muted); }
.heat text.title { font-size: 10px; font-weight: 600; fill: var(--ink); }
.bar { display: block; width: 120px; height: 9px; background: var(--panel); }
.bar span { display: block; height: 100%; background: var(--accent); }
section > h3 { margin: 2rem 0 .3rem; }
.legend {
  display: flex; flex-wrap: wrap; align-items: center; gap: 6px 24px; list-style: none;
  margin: .7rem 0; padding: 0; font-size: .88rem;
}
.legend li { display: flex; align-items: center; gap: 7px; }
.mark { font-size: .95em; }
.model { margin: 1.1rem 0; padding: 14px 18px 16px; background: var(--panel); border-radius: 8px; }
.model header {
  display: flex; flex-wrap: wrap; gap: 2px 18px; align-items: baseline; margin-bottom: 8px;
}
.model header span { font-size: .9rem; color: var(--muted); }
.model header b { color: var(--ink); font-weight: 600; }
.diagram text { font-size: 11px; text-anchor: middle; fill: var(--ink); }
.diagram text.muted { fill: var(--muted); font-size: 10px; }
.diagram text.se { fill: var(--on-se); font-size: 9px; font-weight: 700; }
.diagram text.stride { fill: var(--accent); font-weight: 600; text-anchor: start; }
.diagram line { stroke: var(--faint); stroke-width: 1.5; }
.diagram line.gap { stroke: var(--panel); stroke-width: 4; stroke-dasharray: 4 4; }
.legend .diagram line.gap { stroke: var(--page); }
.diagram line.stride { stroke: var(--accent); stroke-width: 1; stroke-dasharray: 2 3; }
.diagram line.stage { stroke: var(--muted); stroke-width: 1; }
.diagram rect.se { fill: var(--se); }
.k0 { fill: var(--k0); }
.k1 { fill: var(--k1); }
.k2 { fill: var(--k2); }
.k3 { fill: var(--k3); }
.k4 { fill: var(--k4); }
table { border-collapse: collapse; font-size: .93rem; font-variant-numeric: tabular-nums; }
caption { text-align: left; color: var(--muted); font-size: .88rem; padding-bottom: .4rem; }
th, td {
  padding: 6px 22px 6px 0; border-bottom: 1px solid var(--grid); text-align: right;
  white-space: nowrap;
}
th:first-child { text-align: left; }
thead th { color: var(--muted); font-weight: 500; vertical-align: bottom; }
tbody th { font-weight: 500; }
tr.best th, tr.best td { font-weight: 700; }
table.facts th { vertical-align: top; color: var(--muted); }
table.facts td { text-align: left; white-space: pre-wrap; overflow-wrap: anywhere; }
code, pre { font: .86rem/1.5 ui-monospace, SFMono-Regular, Menlo, Consolas, monospace; }
code.copy {
  display: block; margin-top: 10px; padding: 7px 10px; background: var(--page); border-radius: 5px;
  border: 1px solid var(--grid); user-select: all; white-space: nowrap; overflow-x: auto;
}
pre { background: var(--panel); padding: 14px 18px; border-radius: 8px; overflow-x: auto; }
pre.copy { user-select: all; }
summary { cursor: pointer; }
@media (max-width: 600px) {
  main { padding: 24px 16px 48px; }
  .tiles dd { font-size: 1.6rem; }
  .model { margin-inline: -6px; padding: 12px; }
}
@media print { .scroll { overflow: visible; } }
"""


def marks(count: int) -> list[tuple[str, str, str]]:
    """Colour, Matplotlib marker and character of the first `count` models.

    The next ten have the same colours with other marks, and so on: 100 are all different.
    """
    turns = [divmod(i, len(MARKS)) for i in range(count)]
    return [(MARKS[i][0], *MARKS[(i + turn) % len(MARKS)][1:]) for turn, i in turns]
