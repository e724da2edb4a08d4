// The figure of the front answers to mouse, finger and keyboard. After zoom.js.
"use strict";
{
const RADIUS = 24;  // how near the pointer must be to an architecture, in CSS pixels
const DRAGGED = 6;  // from where on it is no click, in CSS pixels
const FRONT_WEIGHT = 0.5;  // of the distance to a member of the front: it goes before others
const element = (name) => document.getElementById("explorer-" + name);
const data = JSON.parse(element("data").textContent);
const [pointer, ring, tip, shown, frame, whole] =
  ["pointer", "ring", "tip", "shown", "frame", "whole"].map(element);
const [width, height] = data.size;
const drawings = shown.querySelectorAll("defs > g");  // of each choice
const onFront = new Set(data.front);
const zoom = makeZoom(document.getElementById("front-axes_1"), data);
let current = null;  // which architecture is pointed at ...
let chosen = null;  // ... and which is shown below
let walker = 0;  // where on the front the keyboard is
let pressed = null;  // where a drag began, which frames what is to be seen ...
let dragged = false;  // ... and whether the next click is its end

function make(tag, text, ...children) {
  const made = document.createElement(tag);
  made.append(text, ...children);
  return made;
}

function title(i) {
  return data.names[i] || "architecture " + data.number[i];
}

function facts(i) {
  return data.facts.map(([label, texts]) => [label, texts[i]]);
}

function story(i) {
  const origin = data.origins[data.origin[i]];
  return `generation ${data.born[i]}, ${origin}, ${data.statuses[data.status[i]]}`;
}

function position(i) {
  return zoom.place(data.x[i], data.y[i]);
}

function inFigure(event) {
  const box = pointer.getBoundingClientRect();
  return [
    ((event.clientX - box.left) * width) / box.width,
    ((event.clientY - box.top) * height) / box.height];
}

function nearest(event) {
  const [left, top] = inFigure(event);
  const pixels = pointer.getBoundingClientRect().width / width;
  let [found, least] = [null, Infinity];
  data.x.forEach((_, i) => {
    const [x, y] = position(i);
    if (!zoom.isInside([x, y])) return;
    const distance = pixels * Math.hypot(x - left, y - top);
    const weighted = onFront.has(i) ? FRONT_WEIGHT * distance : distance;
    if (distance <= RADIUS && weighted < least) [found, least] = [i, weighted];
  });
  return found;
}

function encircle(i) {
  ring.hidden = i === null || !zoom.isInside(position(i));
  if (ring.hidden) return;
  const [x, y] = position(i);
  ring.style.left = (100 * x) / width + "%";
  ring.style.top = (100 * y) / height + "%";
}

function point(i) {
  current = i;
  tip.hidden = i === null;
  encircle(i ?? chosen);
  if (i === null) return;
  tip.replaceChildren(
    make("b", title(i)),
    ...facts(i).map(([label, text]) => make("div", label + " ", make("b", text))),
    make("div", story(i)),
    make("code", data.architecture[i].replaceAll(",", ", ")));
  const box = pointer.getBoundingClientRect();
  const [x, y] = position(i).map((length) => (length * box.width) / width);
  const above = y - tip.offsetHeight - 14;
  tip.style.left = Math.max(0, Math.min(x + 14, box.width - tip.offsetWidth)) + "px";
  tip.style.top = (above < 0 ? y + 14 : above) + "px";
  if (onFront.has(i)) walker = data.front.indexOf(i);
  pointer.setAttribute("aria-valuenow", walker + 1);
  pointer.setAttribute("aria-valuetext", [title(i), ...facts(i).flat(), story(i)].join(", "));
}

function show(i) {
  if (i === null) return;
  chosen = i;
  const choices = data.architecture[i].split(",");
  shown.querySelectorAll(".layer").forEach((layer, l) => {
    layer.replaceChildren(...drawings[choices[l]].cloneNode(true).childNodes);
  });
  const blocks = choices.map((choice) => data.choices[choice]).join(", ");
  shown.querySelector("svg").setAttribute("aria-label", `Block diagram of ${title(i)}: ${blocks}`);
  shown.querySelector("header").replaceChildren(
    make("h3", title(i)),
    ...facts(i).map(([label, text]) => make("span", label + " ", make("b", text))),
    make("span", story(i)));
  shown.querySelector("code").textContent = data.architecture[i];
  shown.hidden = false;
  tip.hidden = true;  // all of it is below
  shown.scrollIntoView({ block: "nearest" });
}

function drawFrame(event) {
  const [x, y] = inFigure(event);
  const [across, down] = [Math.abs(pressed[0] - x), Math.abs(pressed[1] - y)];
  const pixels = pointer.getBoundingClientRect().width / width;
  dragged ||= pixels * Math.min(across, down) > DRAGGED;
  frame.hidden = !dragged;
  frame.style.left = (100 * Math.min(pressed[0], x)) / width + "%";
  frame.style.top = (100 * Math.min(pressed[1], y)) / height + "%";
  frame.style.width = (100 * across) / width + "%";
  frame.style.height = (100 * down) / height + "%";
}

function see(from, to) {
  zoom.into(from, to);
  changed();
}

function seeAll() {
  zoom.all();
  changed();
}

function changed() {
  whole.hidden = zoom.isWhole();
  point(null);
}

// As if seen from so many times further, around what is pointed at.
function seeFrom(times) {
  const [left, top, right, bottom] = data.box;
  const [x, y] = current === null ? [(left + right) / 2, (top + bottom) / 2] : position(current);
  const [across, down] = [((right - left) * times) / 2, ((bottom - top) * times) / 2];
  const kept = current;
  see([x - across, y - down], [x + across, y + down]);
  point(kept);
}

const KEYS = {
  ArrowLeft: () => point(data.front[Math.max(walker - 1, 0)]),
  ArrowRight: () => point(data.front[Math.min(walker + 1, data.front.length - 1)]),
  Home: () => point(data.front[0]),
  End: () => point(data.front[data.front.length - 1]),
  Enter: () => show(current),
  Escape: () => point(null),
  "+": () => seeFrom(1 / 2),
  "-": () => seeFrom(2),
};

pointer.addEventListener("pointerdown", (event) => {
  if (event.pointerType === "touch" || event.button) return;  // a finger scrolls and pinches
  pointer.setPointerCapture(event.pointerId);
  [pressed, dragged] = [inFigure(event), false];
});
pointer.addEventListener("pointermove", (event) => {
  if (pressed) drawFrame(event);
  point(dragged && pressed ? null : nearest(event));
});
pointer.addEventListener("pointerup", (event) => {
  if (pressed && dragged) see(pressed, inFigure(event));
  pressed = null;
  frame.hidden = true;
});
pointer.addEventListener("pointercancel", () => {
  [pressed, dragged, frame.hidden] = [null, false, true];
});
pointer.addEventListener("pointerleave", (event) => {
  if (event.pointerType !== "touch") point(null);  // a finger leaves whenever it is lifted
});
pointer.addEventListener("click", (event) => {
  if (dragged) {
    dragged = false;
    return;
  }
  point(nearest(event));
  show(current);
});
pointer.addEventListener("dblclick", seeAll);
whole.addEventListener("click", seeAll);
pointer.addEventListener("focus", () => {
  if (pointer.matches(":focus-visible") && data.front.length) point(data.front[walker]);
});
pointer.addEventListener("blur", () => point(null));
pointer.addEventListener("keydown", (event) => {
  if (!(event.key in KEYS) || !data.front.length) return;
  event.preventDefault();
  KEYS[event.key]();
});
pointer.hidden = element("hint").hidden = false;
}
