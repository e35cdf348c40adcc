// Painting. The grey layer (points, or shading where points would choke) is painted when the view changes; the lit
// layer is painted anew whenever the threshold moves, and must be quick at a quarter of a million tokens.

const MOST_POINTS = 20000; // more tokens in view than this are shaded by their number
const MOST_DISCS = 1500; // more winners than this are painted pixel by pixel, from a map of ranks
const BLOCK = 4; // side of a shaded spot, in CSS pixels
const GREY_RADIUS = 2;
const LIT_RADIUS = 4;
const MANY_RADIUS = 3;

function readColour(text) {
  const probe = new OffscreenCanvas(1, 1).getContext("2d", { willReadFrequently: true });
  probe.fillStyle = text;
  probe.fillRect(0, 0, 1, 1);
  return [...probe.getImageData(0, 0, 1, 1).data.slice(0, 3)];
}

function mixColours(ground, ink, share) {
  return ground.map((value, channel) => Math.round(value + (ink[channel] - value) * share));
}

// From a light grey to nearly the colour of text: more tokens are darker on a light page, lighter on a dark one.
function shade(colours, share) {
  return mixColours(colours.ground, colours.ink, 0.2 + 0.7 * share);
}

// As a pixel of an image buffer: on every machine a browser runs on, red is the lowest byte.
function packColour([red, green, blue]) {
  return (0xff000000 | (blue << 16) | (green << 8) | red) >>> 0;
}

function writeColour(colour) {
  return `rgb(${colour.join(", ")})`;
}

function drawSprite(radius, ratio, fill, ring) {
  const side = Math.ceil(2 * (radius + 1.5) * ratio);
  const sprite = new OffscreenCanvas(side, side);
  const context = sprite.getContext("2d");
  if (ring) {
    context.beginPath();
    context.arc(side / 2, side / 2, (radius + 1) * ratio, 0, 2 * Math.PI);
    context.fillStyle = ring;
    context.fill();
  }
  context.beginPath();
  context.arc(side / 2, side / 2, radius * ratio, 0, 2 * Math.PI);
  context.fillStyle = fill;
  context.fill();
  return sprite;
}

// Where each row lies on the picture, in CSS pixels; rows that are not drawn, or lie outside, come in no list.
function placeRows(state) {
  const { tokens, axes, view, size } = state;
  const horizontal = size.width / (view.x1 - view.x0);
  const vertical = size.height / (view.y1 - view.y0);
  const inView = new Int32Array(tokens.rows);
  let count = 0;
  for (let row = 0; row < tokens.rows; row += 1) {
    if (state.shown && !state.shown[row]) continue;
    const x = (axes.x.places[row] - view.x0) * horizontal;
    const y = (view.y1 - axes.y.places[row]) * vertical;
    state.px[row] = x;
    state.py[row] = y;
    if (x >= 0 && x <= size.width && y >= 0 && y <= size.height) inView[count++] = row;
  }
  state.inView = inView.subarray(0, count);
  state.grid = null;
  state.ranks = null;
}

function paintGrey(state) {
  const { context } = state.greyLayer;
  context.clearRect(0, 0, state.greyLayer.canvas.width, state.greyLayer.canvas.height);
  state.dense = state.inView.length > MOST_POINTS;
  state.mostInSpot = 0;
  if (state.dense) paintShading(state, context);
  else paintPoints(state, context);
}

function paintPoints(state, context) {
  const sprite = drawSprite(GREY_RADIUS, state.ratio, state.colours.neutral);
  const half = sprite.width / 2;
  context.globalAlpha = 0.6;
  for (const row of state.inView) {
    context.drawImage(sprite, state.px[row] * state.ratio - half, state.py[row] * state.ratio - half);
  }
  context.globalAlpha = 1;
}

function paintShading(state, context) {
  const columns = Math.ceil(state.size.width / BLOCK);
  const lines = Math.ceil(state.size.height / BLOCK);
  const amounts = new Uint32Array(columns * lines);
  for (const row of state.inView) {
    const column = Math.min(columns - 1, Math.floor(state.px[row] / BLOCK));
    const line = Math.min(lines - 1, Math.floor(state.py[row] / BLOCK));
    amounts[line * columns + column] += 1;
  }
  state.mostInSpot = amounts.reduce((most, amount) => Math.max(most, amount), 0);
  const image = new ImageData(columns, lines);
  const whole = Math.log(Math.max(state.mostInSpot, 2));
  amounts.forEach((amount, spot) => {
    if (amount) image.data.set([...shade(state.colours, Math.log(amount) / whole), 255], 4 * spot);
  });
  const small = new OffscreenCanvas(columns, lines);
  small.getContext("2d").putImageData(image, 0, 0);
  context.imageSmoothingEnabled = false;
  context.drawImage(small, 0, 0, columns * BLOCK * state.ratio, lines * BLOCK * state.ratio);
}

function paintLit(state) {
  const { context, canvas } = state.litLayer;
  context.clearRect(0, 0, canvas.width, canvas.height);
  const lit = listLitInView(state);
  if (lit.count > MOST_DISCS) paintManyLit(state, context, lit);
  else paintFewLit(state, context, lit);
  paintPicked(state, context);
}

// `inView` is sorted by row, so the winners among the first rows of all are the first in view.
function listLitInView(state) {
  if (state.litMask) {
    const rows = state.inView.filter((row) => state.litMask[row]);
    return { rows, count: rows.length, limit: state.tokens.rows };
  }
  let low = 0;
  let high = state.inView.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (state.inView[middle] < state.litRows) low = middle + 1;
    else high = middle;
  }
  return { rows: state.inView, count: low, limit: state.litRows };
}

function paintFewLit(state, context, { rows, count }) {
  const sprite = state.litSprite;
  const half = sprite.width / 2;
  for (let position = count - 1; position >= 0; position -= 1) {
    const row = rows[position];
    context.drawImage(sprite, state.px[row] * state.ratio - half, state.py[row] * state.ratio - half);
  }
}

// For every pixel the first row whose disc covers it: painting the winners is then one pass over the pixels, whatever
// their number, and a pixel is lit when its first row wins. CSS pixels are fine enough where so many lie together.
function paintManyLit(state, context, { rows, limit }) {
  if (!state.litMask) state.ranks ??= rankPixels(state, rows);
  const ranks = state.litMask ? rankPixels(state, rows) : state.ranks;
  const { width, height } = measurePixels(state);
  if (state.litImage?.width !== width || state.litImage.height !== height) {
    state.litImage = new ImageData(width, height);
    state.litSmall = new OffscreenCanvas(width, height);
  }
  const pixels = new Uint32Array(state.litImage.data.buffer);
  const lit = state.colours.winnerPixel;
  for (let place = 0; place < pixels.length; place += 1) pixels[place] = ranks[place] < limit ? lit : 0;
  state.litSmall.getContext("2d").putImageData(state.litImage, 0, 0);
  context.drawImage(state.litSmall, 0, 0, width * state.ratio, height * state.ratio);
}

function measurePixels({ size }) {
  return { width: Math.ceil(size.width), height: Math.ceil(size.height) };
}

function rankPixels(state, rows) {
  const { width, height } = measurePixels(state);
  const ranks = new Int32Array(width * height).fill(0x7fffffff);
  const reach = Math.floor(MANY_RADIUS);
  const halves = [];
  for (let line = -reach; line <= reach; line += 1) halves.push(Math.floor(Math.sqrt(MANY_RADIUS ** 2 - line ** 2)));
  // From the last row to the first: what is written last stays.
  for (let position = rows.length - 1; position >= 0; position -= 1) {
    const row = rows[position];
    const x = Math.floor(state.px[row]);
    const y = Math.floor(state.py[row]);
    for (let line = Math.max(-reach, -y); line <= Math.min(reach, height - 1 - y); line += 1) {
      const start = (y + line) * width;
      const half = halves[line + reach];
      const last = Math.min(width - 1, x + half);
      for (let column = Math.max(0, x - half); column <= last; column += 1) ranks[start + column] = row;
    }
  }
  return ranks;
}

function paintPicked(state, context) {
  context.lineWidth = 2 * state.ratio;
  context.strokeStyle = state.colours.mark;
  for (const row of state.pickedRows) {
    if (!isInView(state, row)) continue;
    context.beginPath();
    context.arc(state.px[row] * state.ratio, state.py[row] * state.ratio, 7 * state.ratio, 0, 2 * Math.PI);
    context.stroke();
  }
}

function isInView(state, row) {
  if (state.shown && !state.shown[row]) return false;
  const { px, py, size } = state;
  return px[row] >= 0 && px[row] <= size.width && py[row] >= 0 && py[row] <= size.height;
}
