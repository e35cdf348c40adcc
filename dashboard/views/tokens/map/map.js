// The map of all tokens. The tokens come as bytes that stay the same while alpha moves; the settings come apart from
// them, on the window.

const MOST_LABELS = 14;
const LONGEST_LABEL = 18; // characters of one token
const HEIGHT = 460;
const PREPARE_WAIT = 150; // milliseconds without a new view
const maps = new WeakMap();

class TokenMap {
  constructor(parent) {
    this.parts = makeParts({
      setMode: (mode) => this.setMode(mode),
      zoom: (factor) => this.zoom(factor),
      reset: () => this.reset(),
      saveSvg: () => saveSvg(this.state),
      savePng: () => savePng(this.state),
    });
    this.state = { tokens: null, pickedRows: [], labelled: [], focusRow: -1, litRows: 0, drawn: 0, litShown: 0 };
    this.frame = 0;
    this.threshold = null;
    this.parts.stage.style.height = `${HEIGHT}px`;
    parent.append(this.parts.root);
    this.setMode("select");
    this.takeThreshold = (event) => {
      this.threshold = event.detail;
      this.frame ||= requestAnimationFrame(() => { this.frame = 0; this.light(); });
    };
    this.takeNews = () => this.takeSettings();
    window.addEventListener("kslottery:threshold", this.takeThreshold);
    window.addEventListener("kslottery:token-map", this.takeNews);
    this.observer = new ResizeObserver(() => this.layOut());
    this.observer.observe(this.parts.stage);
    followPointer(this);
    followKeys(this);
  }

  destroy() {
    window.removeEventListener("kslottery:threshold", this.takeThreshold);
    window.removeEventListener("kslottery:token-map", this.takeNews);
    this.observer.disconnect();
    cancelAnimationFrame(this.frame);
    clearTimeout(this.preparing);
    this.parts.root.remove();
  }

  takeTokens(bytes, send) {
    this.send = send;
    const { signature } = readHeader(bytes);
    if (this.state.tokens?.signature !== signature) {
      this.state.tokens = unpackTokens(bytes);
      this.state.px = new Float32Array(this.state.tokens.rows).fill(NaN);
      this.state.py = new Float32Array(this.state.tokens.rows).fill(NaN);
      this.state.axes = null;
      this.settled = null;
      this.takeSettings();
    } else if (this.readColours()) {
      this.layOut();
    }
  }

  // Settings may come before the tokens that they speak of, or again with nothing new.
  takeSettings() {
    const { state } = this;
    const settings = window.kslotteryTokenMap;
    if (!settings || settings.signature !== state.tokens?.signature) return;
    const text = JSON.stringify(settings);
    if (text === this.settled) return;
    const before = this.settled ? JSON.parse(this.settled) : {};
    this.settled = text;
    this.settings = settings;
    this.threshold = null;
    this.readColours();
    const { tokens } = state;
    const axesText = JSON.stringify([settings.x, settings.y]);
    if (!state.axes || axesText !== JSON.stringify([before.x, before.y])) {
      state.axes = {
        x: { ...createAxis(tokens, settings.x, false), label: settings.x.label },
        y: { ...createAxis(tokens, settings.y, true), label: settings.y.label },
      };
      state.view = this.wholeView();
      state.shown = undefined;
    }
    if (state.shown === undefined || before.shown !== settings.shown) {
      state.shown = settings.shown === null ? null : unpackMask(settings.shown, tokens.rows);
      state.drawnBefore = countDrawn(state);
      state.drawn = state.drawnBefore[tokens.rows];
      state.focusRow = -1;
    }
    state.pickedRows = settings.picked.map((id) => tokens.rowOfId[id] ?? -1).filter((row) => row >= 0);
    this.layOut();
  }

  readColours() {
    const style = getComputedStyle(this.parts.root);
    const read = (name, otherwise) => style.getPropertyValue(name).trim() || otherwise;
    const key = ["--st-text-color", "--st-background-color", "--st-font"].map((name) => read(name, "")).join();
    if (this.state.colours?.key === key || !this.settings) return false;
    const text = read("--st-text-color", "#1b1f27");
    const [ink, ground] = [readColour(text), readColour(read("--st-background-color", "#ffffff"))];
    const { winner, neutral, mark } = this.settings.colours;
    this.state.colours = {
      key, text, ink, ground, winner, neutral, mark, winnerPixel: packColour(readColour(winner)),
      grid: writeColour(mixColours(ground, ink, 0.13)), font: read("--st-font", "sans-serif"),
    };
    for (const [name, colour] of Object.entries({ winner, neutral, mark })) {
      this.parts.root.style.setProperty(`--${name}`, colour);
    }
    return true;
  }

  wholeView() {
    const { x, y } = this.state.axes;
    return { x0: x.low, x1: x.high, y0: y.low, y1: y.high };
  }

  // Everything anew: after a change of size, axes, filter, colours or view.
  layOut() {
    const { state, parts } = this;
    if (!state.axes || !state.colours) return;
    const width = parts.stage.clientWidth - MARGIN.left - MARGIN.right;
    if (width < 40) return;
    state.size = { width, height: HEIGHT - MARGIN.top - MARGIN.bottom };
    state.ratio = Math.min(window.devicePixelRatio || 1, 2);
    state.greyLayer = fitCanvas(parts.grey, state);
    state.litLayer = fitCanvas(parts.lit, state);
    state.litSprite = drawSprite(LIT_RADIUS, state.ratio, state.colours.winner, writeColour(state.colours.ground));
    placeRows(state);
    paintGrey(state);
    parts.axes.innerHTML = writeAxes(state);
    this.light();
    this.prepare();
  }

  // What the first move of the handle would otherwise wait for is done while nothing happens.
  prepare() {
    clearTimeout(this.preparing);
    this.preparing = setTimeout(() => {
      if (this.state.inView.length > MOST_DISCS) this.state.ranks ??= rankPixels(this.state, this.state.inView);
    }, PREPARE_WAIT);
  }

  // Only the winners anew: what happens at every move of alpha's handle.
  light() {
    const { state, parts, settings } = this;
    if (!state.litLayer) return;
    if (this.threshold) {
      // Of tokens of equal D the k largest may take only some: the first rows then, as many as the ticket's size.
      const { leastCount, size } = this.threshold;
      state.litMask = null;
      state.litRows = leastCount === null ? 0 : Math.min(countRowsFrom(state.tokens, leastCount), size ?? Infinity);
      state.rule = this.threshold.label;
    } else {
      state.litMask = settings.lit_mask === null ? null : unpackMask(settings.lit_mask, state.tokens.rows);
      state.litRows = settings.lit;
      state.rule = settings.rule;
    }
    state.litShown = countLit(state);
    paintLit(state);
    state.labelled = chooseLabels(state);
    fillLegend(parts, state);
    this.drawOverlay();
    this.describe();
  }

  describe() {
    const { state, parts } = this;
    Object.assign(parts.root.dataset, {
      drawnCount: state.drawn, litCount: state.litShown, totalCount: state.tokens.rows,
      painting: state.dense ? "shading" : "points", view: JSON.stringify(state.view),
      plot: JSON.stringify({ left: MARGIN.left, top: MARGIN.top, ...state.size }),
    });
    const text = `${formatWhole(state.drawn)} tokens. Up: ${state.axes.y.title}. Across: ${state.axes.x.title}. `
      + `${formatWhole(state.litShown)} winners are lit. Arrow keys go through the winners from the largest D down, `
      + "Enter picks one, Shift and Enter adds it, plus and minus zoom, "
      + "Shift and an arrow key move the picture, 0 shows the whole of it. "
      + "The table of tokens on this page holds the same tokens.";
    if (parts.description.textContent !== text) parts.description.textContent = text;
  }

  drawOverlay() {
    const { state, parts, box } = this;
    const marks = [writeLabels(state)];
    if (box) {
      marks.push(`<rect class="box" x="${MARGIN.left + box.left}" y="${MARGIN.top + box.top}" `
        + `width="${box.right - box.left}" height="${box.bottom - box.top}"/>`);
    }
    if (state.focusRow >= 0 && isInView(state, state.focusRow)) {
      marks.push(`<circle class="focus" cx="${MARGIN.left + state.px[state.focusRow]}" `
        + `cy="${MARGIN.top + state.py[state.focusRow]}" r="9"/>`);
    }
    parts.overlay.innerHTML = marks.join("");
  }

  setMode(mode) {
    this.mode = mode;
    this.parts.select.setAttribute("aria-pressed", mode === "select");
    this.parts.move.setAttribute("aria-pressed", mode === "move");
    this.parts.root.dataset.mode = mode;
  }

  show(found) {
    const { state, parts } = this;
    const row = found ? found.row : -1;
    const named = Boolean(found?.named);
    if (row === state.focusRow && !parts.tip.hidden === Boolean(found) && named === this.named) return;
    state.focusRow = row;
    this.named = named;
    if (found) fillTip(parts, state, found);
    else parts.tip.hidden = true;
    this.drawOverlay();
  }

  // What is picked goes to the server once; of more than it shows, those with the largest D.
  pick(rows, add) {
    const ids = this.state.tokens.values.token_id;
    const most = this.settings.most_picked;
    const chosen = Array.from(rows.slice(0, most), (row) => ids[row]);
    this.send("picked", { token_ids: chosen, inside: rows.length, add });
    const all = Math.min(most, add ? new Set([...this.settings.picked, ...chosen]).size : chosen.length);
    this.announce(`${formatWhole(all)} ${all === 1 ? "token" : "tokens"} picked.`);
  }

  announce(text) {
    this.parts.live.textContent = text;
  }

  setView(view) {
    const whole = this.wholeView();
    const least = 1e-6;
    if (view.x1 - view.x0 < least * (whole.x1 - whole.x0) || view.y1 - view.y0 < least * (whole.y1 - whole.y0)) return;
    this.state.view = view.x1 - view.x0 > 3 * (whole.x1 - whole.x0) ? whole : view;
    this.show(null);
    this.layOut();
  }

  // About a point of the picture, in shares of its width and height from the lower left; the middle if none is given.
  zoom(factor, right = 0.5, up = 0.5) {
    const { x0, x1, y0, y1 } = this.state.view;
    const [x, y] = [x0 + right * (x1 - x0), y0 + up * (y1 - y0)];
    this.setView({
      x0: x + (x0 - x) * factor, x1: x + (x1 - x) * factor, y0: y + (y0 - y) * factor, y1: y + (y1 - y) * factor,
    });
  }

  reset() {
    this.setView(this.wholeView());
  }
}

function fitCanvas(canvas, { size, ratio }) {
  const [width, height] = [Math.round(size.width * ratio), Math.round(size.height * ratio)];
  if (canvas.width !== width || canvas.height !== height) Object.assign(canvas, { width, height });
  Object.assign(canvas.style, {
    left: `${MARGIN.left}px`, top: `${MARGIN.top}px`, width: `${size.width}px`, height: `${size.height}px`,
  });
  return { canvas, context: canvas.getContext("2d") };
}

// How many tokens are drawn before each row: the winners drawn are then known without counting them.
function countDrawn({ tokens, axes, shown }) {
  const before = new Int32Array(tokens.rows + 1);
  for (let row = 0; row < tokens.rows; row += 1) {
    const drawn = (!shown || shown[row]) && !Number.isNaN(axes.x.places[row]) && !Number.isNaN(axes.y.places[row]);
    before[row + 1] = before[row] + (drawn ? 1 : 0);
  }
  return before;
}

function countLit({ litMask, litRows, drawnBefore }) {
  if (!litMask) return drawnBefore[litRows];
  return litMask.reduce((sum, lit, row) => sum + (lit ? drawnBefore[row + 1] - drawnBefore[row] : 0), 0);
}

// Picked tokens, then the first winners, as far as their labels do not run into each other; a spot is named once, with
// all that are picked or win there.
function chooseLabels(state) {
  const lit = listLitInView(state);
  const rows = [...new Set([...state.pickedRows.slice(0, MOST_LABELS), ...lit.rows.subarray(0, Math.min(lit.count, 12))])];
  const labelled = [];
  const named = new Set();
  for (const row of rows) {
    if (labelled.length === MOST_LABELS || named.has(row) || !isInView(state, row)) continue;
    const here = listNamedOnSpot(state, row);
    for (const other of here) named.add(other);
    const text = nameTokens(state, here, LONGEST_LABEL);
    const width = 8 + 7.5 * text.length;
    const end = state.px[row] > state.size.width / 2 && state.px[row] > state.size.width - Math.max(120, 9 + width);
    const x = MARGIN.left + state.px[row] + (end ? -9 : 9);
    const y = Math.max(MARGIN.top + 12, MARGIN.top + state.py[row] + 4);
    const left = end ? x - width : x;
    const clear = labelled.every((other) => Math.abs(other.y - y) >= 14
      || other.left > left + width || left > other.left + other.width);
    if (clear) labelled.push({ x, y, text, left, width, anchor: end ? "end" : "start" });
  }
  return labelled;
}

export default function mount({ data, parentElement, setTriggerValue }) {
  if (!maps.has(parentElement)) maps.set(parentElement, new TokenMap(parentElement));
  const map = maps.get(parentElement);
  map.takeTokens(data, setTriggerValue);
  return () => {
    map.destroy();
    maps.delete(parentElement);
  };
}
