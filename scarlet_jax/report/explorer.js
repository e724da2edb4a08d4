// The figure of the front answers to mouse, finger and keyboard.
"use strict";
{
const RADIUS = 24;  // how near the pointer must be to an architecture, in CSS pixels
const FRONT_WEIGHT = 0.5;  // of the distance to a member of the front: it goes before others
const element = (name) => document.getElementById("explorer-" + name);
const data = JSON.parse(element("data").textContent);
const [pointer, ring, tip, shown] = ["pointer", "ring", "tip", "shown"].map(element);
const [width, height] = data.size;
const drawings = shown.querySelectorAll("defs > g");  // of each choice
const onFront = new Set(data.front);
let current = null;  // which architecture is pointed at ...
let chosen = null;  // ... and which is shown below
let walker = 0;  // where on the front the keyboard is

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

function nearest(event) {
  const box = pointer.getBoundingClientRect();
  const [left, top] = [event.clientX - box.left, event.clientY - box.top];
  let [found, least] = [null, Infinity];
  data.x.forEach((x, i) => {
    const distance = Math.hypot(
      (x * box.width) / width - left, (data.y[i] * box.height) / height - top);
    const weighted = onFront.has(i) ? FRONT_WEIGHT * distance : distance;
    if (distance <= RADIUS && weighted < least) [found, least] = [i, weighted];
  });
  return found;
}

function encircle(i) {
  ring.hidden = i === null;
  if (i === null) return;
  ring.style.left = (100 * data.x[i]) / width + "%";
  ring.style.top = (100 * data.y[i]) / height + "%";
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
  const [x, y] = [(data.x[i] * box.width) / width, (data.y[i] * box.height) / height];
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

const KEYS = {
  ArrowLeft: () => point(data.front[Math.max(walker - 1, 0)]),
  ArrowRight: () => point(data.front[Math.min(walker + 1, data.front.length - 1)]),
  Home: () => point(data.front[0]),
  End: () => point(data.front[data.front.length - 1]),
  Enter: () => show(current),
  Escape: () => point(null),
};

pointer.addEventListener("pointermove", (event) => point(nearest(event)));
pointer.addEventListener("pointerleave", (event) => {
  if (event.pointerType !== "touch") point(null);  // a finger leaves whenever it is lifted
});
pointer.addEventListener("click", (event) => {
  point(nearest(event));
  show(current);
});
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
