// The dial's picture. What stays the same while the handle moves is drawn once, each kind of it as one path; a move
// changes the edges of two clipping rectangles, the handle's place and a few words, whatever the number of steps.

const SVG = "http://www.w3.org/2000/svg";
const LOW = 0.5; // where log axes of tokens begin: below 1, or a single token would have no height

function make(name, attributes = {}, parent = null) {
  const element = document.createElementNS(SVG, name);
  for (const [attribute, value] of Object.entries(attributes)) element.setAttribute(attribute, value);
  parent?.append(element);
  return element;
}

function write(parent, x, y, text, attributes = {}) {
  const element = make("text", { x, y, ...attributes }, parent);
  element.textContent = text;
  return element;
}

// Where the panels stand: side by side where there is room, otherwise one below the other.
function layOut(width, compact) {
  const [left, top, below] = [56, 30, 52];
  if (compact) return { width, height: 150, curve: { x: left, y: top, width: width - left - 16, height: 68 } };
  const height = 208;
  const beside = width >= 700;
  const whole = beside ? width / 2 : width;
  const panel = { x: left, y: top, width: whole - left - 16, height };
  const second = beside ? { ...panel, x: left + whole } : { ...panel, y: top + height + below + top };
  return { width, height: second.y + height + below, curve: panel, histogram: second };
}

function makeLogScale(panel, most) {
  const [low, high] = [Math.log10(LOW), Math.log10(Math.max(most, 1) * 1.6)];
  return (value) => panel.y + panel.height * (1 - (Math.log10(Math.max(value, LOW)) - low) / (high - low));
}

function drawAxes(layer, panel, { yTitle, xTitle, yTicks, xTicks }) {
  const [right, bottom] = [panel.x + panel.width, panel.y + panel.height];
  for (const [y, label] of yTicks) {
    make("line", { class: "grid", x1: panel.x, x2: right, y1: y, y2: y }, layer);
    write(layer, panel.x - 8, y + 4, label, { class: "tick", "text-anchor": "end" });
  }
  for (const [x, label] of xTicks) {
    make("line", { class: "grid", x1: x, x2: x, y1: panel.y, y2: bottom }, layer);
    write(layer, x, bottom + 25, label, { class: "tick", "text-anchor": "middle" });
  }
  make("line", { class: "axis", x1: panel.x, x2: right, y1: bottom, y2: bottom }, layer);
  write(layer, panel.x - 56, panel.y - 16, yTitle, { class: "title" });
  write(layer, (panel.x + right) / 2, bottom + 45, xTitle, { class: "title", "text-anchor": "middle" });
}

function listPowers(most, scale, low = false) {
  const ticks = [];
  for (let power = 0; 10 ** power <= Math.max(most, 1) * 1.6; power++) ticks.push([scale(10 ** power), 10 ** power]);
  if (ticks.length === 1 && most > 1) ticks.push([scale(most), most]);
  const kept = low && ticks.length > 2 ? ticks.filter((_, place) => place % 2 === 0) : ticks;
  return kept.map(([place, value]) => [place, formatCount(value)]);
}

function writePower(exponent) {
  if (exponent === 0) return "1";
  return `10${[...String(exponent)].map((sign) => (sign === "-" ? "⁻" : "⁰¹²³⁴⁵⁶⁷⁸⁹"[sign])).join("")}`;
}

// A path of steps over points of rising x, at most one of them a half pixel; `fall` is where it begins and ends.
function traceSteps(points, start, end, fall) {
  let path = `M${start.toFixed(1)} ${fall.toFixed(1)}`;
  let drawn = -Infinity;
  for (let place = 0; place < points.length; place++) {
    const [x, y] = points[place];
    if (place + 1 < points.length && points[place + 1][0] - drawn < 0.5) continue;
    drawn = x;
    path += `H${Math.max(x, start).toFixed(1)}V${y.toFixed(1)}`;
  }
  return `${path}H${end.toFixed(1)}`;
}

// Ticket size against alpha. Returns where an alpha stands (x) and where a ticket's size does (y).
function drawCurve(layer, clip, panel, table, compact) {
  const most = table.steps.length ? table.steps[table.steps.length - 1].size : 1;
  const y = makeLogScale(panel, most);
  const x = (alpha) => panel.x + panel.width * table.findShare(alpha);
  const every = table.lowest > -6 ? 1 : panel.width < 420 ? 3 : panel.width < 900 ? 2 : 1;
  const powers = Array.from({ length: 1 - table.lowest }, (_, place) => table.lowest + place);
  const xTicks = powers.filter((power) => power % every === 0).map((power) => [x(10 ** power), writePower(power)]);
  // One or two powers of ten alone would leave most of the axis without a number.
  const between = table.lowest < -2 ? [] : powers.slice(0, -1).flatMap((power) => [2, 5].map((part) => [part, power]));
  for (const [part, power] of between) {
    const level = Number((part * 10 ** power).toPrecision(1));
    xTicks.push([x(level), String(level)]);
  }
  drawAxes(layer, panel, {
    yTitle: "Tokens in the ticket (log scale)",
    xTitle: `α, the significance level (log scale${table.lowest > -12 ? "; no token wins further left" : ""})`,
    yTicks: listPowers(most, y, compact),
    xTicks,
  });
  const points = table.steps.map((step) => [x(step.level), y(step.size)]);
  drawStretch(layer, clip, panel, traceSteps(points, panel.x, panel.x + panel.width, y(0)));
  return { x, y: (ticket) => y(ticket.size) };
}

// D of the token that gets in last, against the number of tokens, on a log axis of that number.
function drawRanks(layer, clip, panel, table) {
  const most = Math.max(table.moved, 2);
  const x = (k) => panel.x + (panel.width * Math.log(k)) / Math.log(most);
  const y = (count) => panel.y + panel.height * (1 - count / (table.largestCount * 1.08));
  const xTicks = [];
  for (let power = 1; power <= most; power *= 10) xTicks.push([x(power), formatCount(power)]);
  const round = 10 ** Math.floor(Math.log10(table.largestCount / table.width));
  const step = [1, 2, 5].map((part) => part * round).find((part) => table.largestCount / table.width / part <= 4);
  const yTicks = [];
  for (let part = 0; part * (step ?? round) <= table.largestCount / table.width; part++) {
    yTicks.push([y(part * (step ?? round) * table.width), String(Number((part * (step ?? round)).toPrecision(3)))]);
  }
  const [yTitle, xTitle] = ["D of the last token in the ticket", "Tokens in the ticket (log scale)"];
  drawAxes(layer, panel, { yTitle, xTitle, yTicks, xTicks });
  const points = [];
  for (let count = table.largestCount; count >= 1; count--) {
    if (table.histogram[count]) points.push([x(table.atLeast[count + 1] + 1), y(count)]);
  }
  drawStretch(layer, clip, panel, traceSteps(points, panel.x, panel.x + panel.width, points[0]?.[1] ?? panel.y));
  return { x, y: (ticket) => y(ticket.leastCount) };
}

function drawStretch(layer, clip, panel, path) {
  const bottom = panel.y + panel.height;
  const area = `${path}V${bottom}H${panel.x}Z`;
  make("path", { class: "line", d: path }, layer);
  make("path", { class: "area", d: area, "clip-path": `url(#${clip})` }, layer);
  make("path", { class: "line won", d: path, "clip-path": `url(#${clip})` }, layer);
}

// Tokens by D, one bar a count while a bar keeps a pixel and a half, on an axis of so many counts (at least those that
// tokens have). Returns where a count stands.
function drawHistogram(layer, clip, panel, table, counts) {
  const group = Math.max(1, Math.ceil((1.5 * counts) / panel.width));
  const bars = [];
  for (let start = 0; start < counts; start += group) {
    let tokens = start === 0 ? -table.unchanged : 0;
    for (let count = start; count < Math.min(start + group, counts); count++) tokens += table.histogram[count];
    bars.push(tokens);
  }
  const most = Math.max(...bars);
  const y = makeLogScale(panel, most);
  const x = (count) => panel.x + (panel.width * count) / (bars.length * group);
  const bottom = panel.y + panel.height;
  const gap = x(group) - x(0) > 4 ? 1 : 0;
  let path = "";
  bars.forEach((tokens, place) => {
    if (tokens < 1) return;
    const [left, right] = [x(place * group), x((place + 1) * group) - gap];
    path += `M${left.toFixed(1)} ${bottom}V${y(tokens).toFixed(1)}H${right.toFixed(1)}V${bottom}Z`;
  });
  const largest = counts / table.width;
  const rough = 10 ** Math.floor(Math.log10(largest));
  const step = [0.2, 0.5, 1].map((part) => part * rough).find((part) => largest / part <= 6) ?? rough;
  const xTicks = [];
  for (let part = 0; part * step <= largest; part++) {
    xTicks.push([x(part * step * table.width), String(Number((part * step).toPrecision(3)))]);
  }
  const left = table.unchanged ? `, ${formatCount(table.unchanged)} unchanged ones left out` : "";
  drawAxes(layer, panel, {
    yTitle: `Tokens (log scale)${left}`,
    xTitle: "D, largest gap between the distributions (0 to 1)",
    yTicks: listPowers(most, y),
    xTicks,
  });
  make("path", { class: "bars", d: path }, layer);
  make("path", { class: "bars won", d: path, "clip-path": `url(#${clip})` }, layer);
  return { x };
}
