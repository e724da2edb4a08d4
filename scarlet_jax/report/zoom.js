// A part of a figure's axes in place of the whole: marks, names and lines keep their size.
"use strict";

// Of the group of the axes, and of `data`: box, ticks and anchors, as explorer.py gives them.
function makeZoom(axes, data) {
  const [left, top, right, bottom] = data.box;
  const clip = [...axes.getElementsByTagName("path")]
    .map((path) => path.getAttribute("clip-path")).find((url) => url);
  const drawn = [...axes.children].filter((part) => !/patch|axis/.test(part.id));
  const marks = drawn.flatMap((part) => [...part.getElementsByTagName("use")])
    .map((mark) => [mark, Number(mark.getAttribute("x")), Number(mark.getAttribute("y"))]);
  const lines = [];  // and images, which are drawn of very many points, with their own transforms
  const names = [];  // with the points that they belong to
  for (const part of drawn) {
    const number = /-(name|arrow)-(\d+)$/.exec(part.id);
    if (number) {
      names.push([part, ...data.anchors[number[2]]]);
      continue;
    }
    for (const line of part.tagName === "image" ? [part] : part.children) {
      if (line.tagName !== "path" && line.tagName !== "image") continue;
      const frame = axes.cloneNode(false);  // clips, and is not transformed itself
      frame.removeAttribute("id");
      frame.setAttribute("clip-path", clip);
      line.removeAttribute("clip-path");
      line.setAttribute("vector-effect", "non-scaling-stroke");
      line.before(frame);
      frame.append(line);
      lines.push([line, line.getAttribute("transform") || ""]);
    }
  }
  const tickers = [...axes.children].filter((part) => part.id.includes("axis"));
  const ticks = tickers.map((axis) => [...axis.children].filter((part) => /tick/.test(part.id)));
  let finer = [];  // copies of them
  let view = data.box;

  function place(x, y) {
    const [x0, y0, x1, y1] = view;
    return [
      left + ((x - x0) * (right - left)) / (x1 - x0),
      top + ((y - y0) * (bottom - top)) / (y1 - y0)];
  }

  function isInside([x, y]) {
    return x >= left && x <= right && y >= top && y <= bottom;
  }

  function drawTicks(number, scale) {
    const levels = data.ticks[number];
    const level = Math.min(Math.floor(Math.log2(scale) + 0.01), levels.length - 1);
    const [model] = ticks[number];
    if (!model) return;
    const [mark] = model.getElementsByTagName("use");
    const along = Number(mark.getAttribute(number ? "y" : "x"));
    for (const [position, label] of levels[level]) {
      const point = number ? place(view[0], position) : place(position, view[1]);
      if (!isInside(point)) continue;
      const tick = model.cloneNode(true);
      const shift = point[number] - along;
      tick.setAttribute("transform", number ? `translate(0 ${shift})` : `translate(${shift} 0)`);
      tick.removeAttribute("visibility");
      tick.getElementsByTagName("text")[0].textContent = label;
      for (const part of [tick, ...tick.getElementsByTagName("*")]) part.removeAttribute("id");
      tickers[number].append(tick);
      finer.push(tick);
    }
  }

  function draw() {
    const scales = [(right - left) / (view[2] - view[0]), (bottom - top) / (view[3] - view[1])];
    for (const [mark, x, y] of marks) {
      const [newX, newY] = place(x, y);
      mark.setAttribute("x", newX);
      mark.setAttribute("y", newY);
    }
    const matrix = `matrix(${scales[0]} 0 0 ${scales[1]} ${place(0, 0).join(" ")})`;
    for (const [line, own] of lines) line.setAttribute("transform", `${matrix} ${own}`);
    for (const [name, x, y] of names) {
      const point = place(x, y);
      name.setAttribute("transform", `translate(${point[0] - x} ${point[1] - y})`);
      name.setAttribute("visibility", isInside(point) ? "visible" : "hidden");
    }
    finer.forEach((tick) => tick.remove());
    finer = [];
    const whole = view === data.box;
    for (const tick of ticks.flat()) tick.setAttribute("visibility", whole ? "visible" : "hidden");
    if (!whole) scales.forEach((scale, number) => drawTicks(number, scale));
  }

  return {
    place,
    isInside,
    isWhole: () => view === data.box,
    all() {
      view = data.box;
      draw();
    },
    // Shows what is seen between two corners, as far as that is in the axes and has ticks.
    into(from, to) {
      const [x0, y0, x1, y1] = view;
      const back = ([x, y]) => [
        x0 + ((x - left) * (x1 - x0)) / (right - left),
        y0 + ((y - top) * (y1 - y0)) / (bottom - top)];
      const corners = [back(from), back(to)];
      const ends = [0, 1].map((axis) => {
        const [least, most] = [data.box[axis], data.box[axis + 2]];
        const span = (most - least) / 2 ** (data.ticks[axis].length - 1);
        const [low, high] = corners.map((corner) => corner[axis]).sort((a, b) => a - b);
        const length = Math.min(Math.max(high - low, span), most - least);
        const begin = Math.min(Math.max((low + high - length) / 2, least), most - length);
        return [begin, begin + length];
      });
      view = [ends[0][0], ends[1][0], ends[0][1], ends[1][1]];
      if (view.every((end, i) => Math.abs(end - data.box[i]) < 1e-6)) view = data.box;
      draw();
    },
  };
}
