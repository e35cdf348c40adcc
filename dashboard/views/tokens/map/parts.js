// The elements of the map, made once; the map fills and moves them.

function make(name, attributes = {}, ...children) {
  const element = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  element.append(...children);
  return element;
}

function makeVector(className) {
  const vector = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  vector.setAttribute("class", className);
  vector.setAttribute("aria-hidden", "true");
  return vector;
}

function makeButton(text, name, act) {
  const button = make("button", { type: "button", "aria-label": name, title: name }, text);
  button.addEventListener("click", act);
  return button;
}

function makeParts(actions) {
  const parts = {
    select: makeButton("Box select", "Box select: dragging picks the tokens inside", () => actions.setMode("select")),
    move: makeButton("Move and zoom", "Move and zoom: dragging moves the picture", () => actions.setMode("move")),
    axes: makeVector("axes"),
    grey: make("canvas", { class: "grey", "aria-hidden": "true" }),
    lit: make("canvas", {
      class: "lit", tabindex: "0", role: "application", "aria-label": "Map of all tokens",
      "aria-roledescription": "scatter plot", "aria-describedby": "description",
    }),
    overlay: makeVector("overlay"),
    tip: make("div", { class: "tip", hidden: "" }),
    legend: make("div", { class: "legend" }),
    description: make("p", { class: "unseen", id: "description" }),
    live: make("p", { class: "unseen", "aria-live": "polite", role: "status" }),
  };
  const group = (name, ...buttons) => make("div", { class: "group", role: "group", "aria-label": name }, ...buttons);
  const bar = make(
    "div",
    { class: "bar" },
    group("What dragging does", parts.select, parts.move),
    group(
      "View",
      makeButton("+", "Zoom in", () => actions.zoom(0.6)),
      makeButton("−", "Zoom out", () => actions.zoom(1 / 0.6)),
      makeButton("Show all", "Show all: the whole picture", () => actions.reset()),
    ),
    group(
      "Download",
      makeButton("SVG", "Download the map as SVG", () => actions.saveSvg()),
      makeButton("PNG", "Download the map as PNG", () => actions.savePng()),
    ),
  );
  parts.stage = make("div", { class: "stage" }, parts.axes, parts.grey, parts.lit, parts.overlay, parts.tip);
  parts.root = make("div", { class: "map" }, bar, parts.legend, parts.stage, parts.description, parts.live);
  return parts;
}

function fillLegend(parts, state) {
  const entry = (kind, text) => make("span", { class: "entry" }, make("i", { class: kind }), text);
  const rule = state.rule ? ` (${state.rule})` : "";
  const entries = [
    entry("winner", `Winners: ${formatWhole(state.litShown)}${rule}`),
    entry("other", `Other tokens: ${formatWhole(state.drawn - state.litShown)}`),
  ];
  if (state.pickedRows.length) entries.push(entry("picked", `Picked: ${formatWhole(state.pickedRows.length)}`));
  if (state.dense) {
    const scale = make("i", { class: "scale" });
    scale.style.background = `linear-gradient(to right, ${writeColour(shade(state.colours, 0))}, `
      + `${writeColour(shade(state.colours, 1))})`;
    const most = formatWhole(state.mostInSpot);
    entries.push(make("span", { class: "entry" }, "Shading is the number of tokens in a spot: 1", scale,
      `${most} (log scale)`));
  }
  parts.legend.replaceChildren(...entries);
}

function fillTip(parts, state, { row, others, named }) {
  const { tokens, axes } = state;
  const count = tokens.values.count[row];
  const lines = [
    `Token id ${tokens.values.token_id[row]}, ${isLit(state, row) ? "winner" : "not a winner"}`,
    `D: ${formatValue("statistic", count / tokens.width)} `
      + `(${formatWhole(count)} of ${formatWhole(tokens.width)} coordinates)`,
  ];
  for (const axis of [axes.x, axes.y]) {
    if (axis.name !== "statistic" && axis.name !== "token_id") {
      lines.push(`${axis.label}: ${formatValue(axis.name, readValue(tokens, axis.name, row))}`);
    }
  }
  if (others.length) {
    // By keyboard only what a label names is counted: what else lies there is told by the pointer.
    const kind = named ? "winners or picked tokens" : "tokens";
    lines.unshift(`${formatWhole(others.length + 1)} ${kind} on this spot; the numbers of ${tokens.labels[row]}:`);
  }
  parts.tip.replaceChildren(make("strong", {}, nameTokens(state, [row, ...others])), ...lines.map((line) => make("span", {}, line)));
  parts.tip.hidden = false;
  const x = MARGIN.left + state.px[row];
  const y = MARGIN.top + state.py[row];
  const { offsetWidth, offsetHeight } = parts.tip;
  const fits = x + 14 + offsetWidth <= parts.stage.clientWidth;
  parts.tip.style.left = `${fits ? x + 14 : Math.max(0, x - 14 - offsetWidth)}px`;
  parts.tip.style.top = `${Math.max(0, Math.min(y - 10, parts.stage.clientHeight - offsetHeight))}px`;
  return lines;
}

function isLit(state, row) {
  return state.litMask ? state.litMask[row] === 1 : row < state.litRows;
}
