// The dial: one handle over the stops at which the ticket changes. While it moves, everything is redrawn here and told
// to the window (`kslottery:threshold`); where it comes to rest is sent to Python once.

const SETTLED_AFTER = 250; // milliseconds without a key before a place reached by keys is sent
let dials = 0;

class Dial {
  constructor(root) {
    this.root = root;
    this.name = `alpha-dial-${++dials}`;
    this.build();
    this.observer = new ResizeObserver(() => this.resize());
    this.observer.observe(this.root);
  }

  build() {
    this.root.innerHTML = `
      <div class="numbers"><span data-part="rule"></span><span data-part="size"></span><span data-part="from"></span>
        <span data-part="cost"></span><span class="save"></span></div>
      <div class="words" data-part="words"></div>`;
    this.parts = Object.fromEntries([...this.root.querySelectorAll("[data-part]")].map((e) => [e.dataset.part, e]));
    for (const format of ["svg", "png"]) {
      const button = document.createElement("button");
      button.type = "button";
      button.textContent = format.toUpperCase();
      button.title = button.ariaLabel = `Save the picture as ${button.textContent}: ticket size and threshold of D`;
      button.onclick = () => savePicture(this.svg, this.describe(), format, this.root);
      this.root.querySelector(".save").append(button);
    }
    this.svg = make("svg", { role: "group", "aria-label": "Ticket size, with a handle that sets it" });
    const defs = make("defs", {}, this.svg);
    this.clips = ["under", "above"].map((side) => {
      const clip = make("clipPath", { id: `${this.name}-${side}` }, defs);
      return make("rect", {}, clip);
    });
    this.layer = make("g", { "aria-hidden": "true" }, this.svg);
    this.threshold = make("line", { class: "threshold" }, this.svg);
    this.thresholdText = make("text", { class: "place", "aria-hidden": "true" }, this.svg);
    this.track = make("rect", { class: "track" }, this.svg);
    const slider = { role: "slider", tabindex: 0, "aria-orientation": "horizontal" };
    this.handle = make("g", { class: "handle", ...slider }, this.svg);
    this.line = make("line", { x1: 0, x2: 0 }, this.handle);
    this.point = make("circle", { class: "point", r: 6 }, this.handle);
    this.grip = make("circle", { class: "grip", r: 10 }, this.handle);
    this.placeText = make("text", { class: "place", "aria-hidden": "true" }, this.svg);
    this.root.insertBefore(this.svg, this.parts.words);
    for (const target of [this.track, this.handle]) {
      target.addEventListener("pointerdown", (event) => this.grab(event));
      target.addEventListener("pointermove", (event) => this.drag(event));
      target.addEventListener("pointerup", () => this.release());
      target.addEventListener("pointercancel", () => this.giveUp());
    }
    this.handle.addEventListener("keydown", (event) => this.press(event));
    this.handle.addEventListener("blur", () => this.timer && this.settle());
  }

  // Python's word: drawn unless it is the one drawn last, or a person is just moving the handle.
  receive(data, send) {
    this.send = send;
    const given = [data.signature, data.mode, data.alpha, data.topK, data.compact].join(" ");
    if (given === this.given) return;
    this.given = given;
    this.waiting = data;
    if (!this.held && !this.timer) this.take();
  }

  take() {
    if (!this.waiting) return;
    const data = this.waiting;
    this.waiting = null;
    for (const [name, colour] of Object.entries(data.colours)) this.root.style.setProperty(`--dial-${name}`, colour);
    const known = this.table?.signature === data.signature;
    if (!known) this.table = new Table(data);
    const redrawn = !known || this.data.mode !== data.mode || this.data.compact !== data.compact;
    this.data = data;
    this.byAlpha = data.mode === "alpha";
    this.value = this.givenValue = this.byAlpha ? data.alpha : Math.min(data.topK, this.table.moved);
    if (redrawn) this.draw();
    this.redraw();
  }

  resize() {
    const width = Math.round(this.root.clientWidth);
    if (!this.data || width === this.width || width < 200) return;
    this.draw();
    this.redraw();
  }

  draw() {
    this.width = Math.max(200, Math.round(this.root.clientWidth) || 700);
    const layout = layOut(this.width, this.data.compact);
    const { curve, histogram } = layout;
    this.counts = this.table.countDrawn(this.getTicket());
    this.svg.setAttribute("viewBox", `0 0 ${layout.width} ${layout.height}`);
    this.layer.replaceChildren();
    const drawLeft = this.byAlpha ? drawCurve : drawRanks;
    this.scale = drawLeft(this.layer, `${this.name}-under`, curve, this.table, this.data.compact);
    this.histogram = histogram
      ? drawHistogram(this.layer, `${this.name}-above`, histogram, this.table, this.counts)
      : null;
    this.panels = { curve, histogram };
    const bottom = curve.y + curve.height;
    const set = (element, attributes) => {
      for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
    };
    set(this.clips[0], { x: curve.x - 2, y: curve.y - 8, height: curve.height + 8 });
    set(this.track, { x: curve.x - 12, y: curve.y, width: curve.width + 24, height: curve.height + 14 });
    set(this.line, { y1: curve.y, y2: bottom });
    set(this.grip, { cy: bottom });
    for (const element of [this.threshold, this.thresholdText]) element.style.display = histogram ? "" : "none";
    if (histogram) {
      set(this.clips[1], { y: histogram.y - 8, height: histogram.height + 8 });
      set(this.threshold, { y1: histogram.y, y2: histogram.y + histogram.height });
    }
    const { stops, moved } = this.table;
    set(this.handle, {
      "aria-label": this.byAlpha ? "α, the significance level" : "Number of tokens in the ticket",
      "aria-valuemin": this.byAlpha ? 0 : 1,
      "aria-valuemax": this.byAlpha ? stops.length - 1 : moved,
    });
  }

  get rule() {
    return nameRule(this.byAlpha, this.value);
  }

  getTicket() {
    return this.byAlpha ? this.table.getTicketAtAlpha(this.value) : this.table.getTopTicket(this.value);
  }

  // Everything that follows the handle; of a size that does not depend on the tables. Only a threshold beyond every
  // token's D needs a longer axis, and the whole drawn anew.
  redraw() {
    const ticket = this.getTicket();
    if (this.panels.histogram && this.table.countDrawn(ticket) !== this.counts) this.draw();
    const { table, panels } = this;
    const from = ticket.leastCount === null ? null : formatStatistic(ticket.leastCount, table.width);
    const x = this.scale.x(this.value);
    this.clips[0].setAttribute("width", Math.max(0, x - panels.curve.x + 2));
    this.handle.setAttribute("transform", `translate(${x} 0)`);
    this.point.setAttribute("cy", this.scale.y(ticket));
    const words = this.byAlpha
      ? `${this.rule}: ${formatNoun(ticket.size, "token")}`
      : `${formatNoun(ticket.size, "token")}, D from ${from}`;
    this.setPlace(this.placeText, panels.curve, x, words);
    if (panels.histogram) {
      const right = panels.histogram.x + panels.histogram.width;
      const at = ticket.leastCount === null ? right : this.histogram.x(ticket.leastCount);
      this.clips[1].setAttribute("x", at);
      this.clips[1].setAttribute("width", right - at + 1);
      this.threshold.style.display = ticket.leastCount === null ? "none" : "";
      this.threshold.setAttribute("x1", at);
      this.threshold.setAttribute("x2", at);
      this.setPlace(this.thresholdText, panels.histogram, at, from === null ? "no D wins" : `wins from D = ${from}`);
    }
    this.handle.setAttribute("aria-valuenow", this.byAlpha ? table.findStop(this.value) : this.value);
    this.handle.setAttribute("aria-valuetext", words);
    this.setNumbers(ticket, from);
  }

  setPlace(element, panel, x, words) {
    const isRight = x > panel.x + panel.width / 2;
    element.setAttribute("x", x + (isRight ? -8 : 8));
    element.setAttribute("y", panel.y + 10);
    element.setAttribute("text-anchor", isRight ? "end" : "start");
    element.textContent = words;
  }

  setNumbers(ticket, from) {
    for (const [part, [before, strong, after]] of Object.entries(listNumbers(this.table, ticket, this.rule, from))) {
      const number = document.createElement("b");
      number.textContent = strong;
      this.parts[part].replaceChildren(before, number, after);
    }
    const stands = this.byAlpha && this.table.stops.length === 1;
    this.parts.words.textContent = stands ? NO_OTHER_STOP : describeTies(ticket, from, this.histogram !== null);
    this.parts.words.hidden = !this.parts.words.textContent;
  }

  describe() {
    return ["rule", "size", "from", "cost"].map((part) => this.parts[part].textContent.trim()).join("   ·   ");
  }

  move(value) {
    if (value === this.value) return;
    this.value = value;
    this.redraw();
    const { size, leastCount } = this.getTicket();
    // The rule as Python tells it at rest: what listens shows the same words before and after the handle is left.
    const label = this.byAlpha ? `${this.rule}${this.data.extras}` : this.rule;
    window.dispatchEvent(new CustomEvent("kslottery:threshold", { detail: { leastCount, size, label } }));
  }

  // Python is told once, and only what it does not know.
  commit() {
    const moved = this.value !== this.givenValue;
    if (this.waiting && moved) this.takeQuietly();
    else this.take();
    if (this.value === this.givenValue) return;
    this.givenValue = this.value;
    this.send(this.byAlpha ? { alpha: this.value } : { top_k: this.value });
  }

  // What Python said meanwhile is older than what the person has just done, unless it is of another table.
  takeQuietly() {
    const { value, byAlpha, table } = this;
    this.take();
    if (this.byAlpha !== byAlpha || this.table !== table) return;
    this.value = value;
    this.redraw();
  }

  grab(event) {
    if (event.button !== 0) return;
    event.preventDefault();
    if (this.timer) this.settle();
    this.held = true;
    this.handle.classList.add("held");
    event.currentTarget.setPointerCapture(event.pointerId);
    this.handle.focus({ preventScroll: true });
    this.bounds = this.svg.getBoundingClientRect();
    this.drag(event);
  }

  drag(event) {
    if (!this.held) return;
    const { curve } = this.panels;
    const x = ((event.clientX - this.bounds.left) * this.width) / this.bounds.width;
    this.move(this.findValue(Math.min(1, Math.max(0, (x - curve.x) / curve.width))));
  }

  // The stop nearest to a share of the axis.
  findValue(share) {
    const { stops, moved } = this.table;
    if (!this.byAlpha) {
      const k = Math.exp(share * Math.log(Math.max(moved, 2)));
      return Math.min(moved, Math.max(1, Math.round(k < 1000 ? k : Number(k.toPrecision(3)))));
    }
    const above = findFirst(stops.length, (place) => this.table.findShare(stops[place].level) > share);
    const gap = (place) => Math.abs(this.table.findShare(stops[place].level) - share);
    const nearest = above === stops.length || (above > 0 && gap(above - 1) <= gap(above)) ? above - 1 : above;
    return this.table.getStopLevel(nearest);
  }

  release() {
    if (!this.held) return;
    this.held = false;
    this.handle.classList.remove("held");
    this.commit();
  }

  giveUp() {
    if (!this.held) return;
    this.held = false;
    this.handle.classList.remove("held");
    clearTimeout(this.timer);
    this.timer = null;
    this.move(this.givenValue);
    this.take();
  }

  press(event) {
    const { stops, moved } = this.table;
    const [first, last] = this.byAlpha ? [0, stops.length - 1] : [1, moved];
    const now = this.byAlpha ? this.table.findStop(this.value) : this.value;
    const wanted = findKeyPlace(event.key, now, first, last, this.byAlpha);
    if (event.key === "Escape" && (this.held || this.timer)) {
      this.held = true;
      this.giveUp();
    }
    if (wanted === undefined || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    const place = Math.min(last, Math.max(first, wanted));
    // An alpha that was typed may lie beyond its stop: the end of the dial has no effect then, so nothing is sent.
    if (place !== now) this.move(this.byAlpha ? this.table.getStopLevel(place) : place);
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.settle(), SETTLED_AFTER);
  }

  settle() {
    clearTimeout(this.timer);
    this.timer = null;
    if (!this.held) this.commit();
  }

  remove() {
    clearTimeout(this.timer);
    this.observer.disconnect();
  }
}

const opened = new WeakMap(); // by the element that Streamlit gives: a rerun calls again, and finds its dial

export default function (component) {
  const { parentElement, data, setTriggerValue } = component;
  const root = parentElement.querySelector(".dial");
  if (!opened.has(root)) opened.set(root, new Dial(root));
  opened.get(root).receive(data, (chosen) => setTriggerValue("chosen", chosen));
  return () => {
    opened.get(root)?.remove();
    opened.delete(root);
  };
}
