// From the histogram of counts and the p-values, d + 1 numbers each, to steps, stops and tickets. Draws nothing.

function decode(text, Kind) {
  return new Kind(Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0)).buffer);
}

// The first place in 0 .. length at which a test that turns true once holds; length where it never does.
function findFirst(length, holds) {
  let [low, high] = [0, length];
  while (low < high) {
    const middle = (low + high) >> 1;
    if (holds(middle)) high = middle;
    else low = middle + 1;
  }
  return low;
}

// A number with N significant digits that is not below the level.
function roundUp(level, digits) {
  const [mantissa, exponent] = level.toExponential(digits - 1).split("e");
  const nearest = Number(`${mantissa}e${exponent}`);
  if (nearest >= level) return nearest;
  return Number(`${BigInt(mantissa.replace(".", "")) + 1n}e${Number(exponent) - digits + 1}`);
}

class Table {
  constructor(data) {
    this.signature = data.signature;
    this.histogram = decode(data.histogram, Uint32Array);
    this.pValues = decode(data.pValues, Float64Array); // never rise from one count to the next
    this.width = this.histogram.length - 1;
    this.unchanged = data.unchanged;
    this.atLeast = new Float64Array(this.width + 2); // tokens with at least this count
    for (let count = this.width; count >= 0; count--) {
      this.atLeast[count] = this.atLeast[count + 1] + this.histogram[count];
    }
    this.vocabularySize = this.atLeast[0];
    this.moved = this.atLeast[1];
    this.largestCount = findFirst(this.width + 1, (count) => this.atLeast[count] === 0) - 1;
    this.steps = this.listSteps();
    // Below the least alpha nothing can be set, so all that wins there already is one stop, mostly the empty ticket.
    const reached = this.steps.filter((step) => step.level > data.least && step.level <= data.largest);
    this.stops = [{ level: data.least }, ...reached];
    // Where the axis of alpha begins, as a power of ten: nothing happens further left, and room is dear near 1.
    const empty = !this.steps.length || this.steps[0].level > data.least;
    const first = reached.length && empty ? Math.floor(Math.log10(reached[0].level) - 0.3) : -Infinity;
    this.lowest = Math.max(first, Math.round(Math.log10(data.least)));
  }

  // Where an alpha stands on the axis, from 0 to 1; all that lies further left stands at its beginning.
  findShare(alpha) {
    return 1 - Math.max(Math.log10(alpha), this.lowest) / this.lowest;
  }

  // Every alpha below 1 at which the ticket changes, rising.
  listSteps() {
    const steps = [];
    for (let count = this.width; count >= 0 && this.pValues[count] < 1; count--) {
      if (!this.histogram[count]) continue;
      const step = { level: this.pValues[count], size: this.atLeast[count] };
      if (steps.length && steps[steps.length - 1].level === step.level) steps.pop();
      steps.push(step);
    }
    return steps;
  }

  // The alpha that stands for a stop: four digits where they do not reach the next step, more where they would.
  getStopLevel(place) {
    const { level } = this.stops[place];
    const next = this.steps[findFirst(this.steps.length, (step) => this.steps[step].level > level)];
    for (let digits = 4; digits <= 17; digits++) {
      const rounded = roundUp(level, digits);
      if (next === undefined || rounded < next.level) return rounded;
    }
    return level;
  }

  // The stop whose ticket an alpha gives.
  findStop(alpha) {
    return Math.max(0, findFirst(this.stops.length, (place) => this.stops[place].level > alpha) - 1);
  }

  getTicketAtAlpha(alpha) {
    const leastCount = findFirst(this.width + 1, (count) => this.pValues[count] <= alpha);
    const none = leastCount > this.width;
    return { size: none ? 0 : this.atLeast[leastCount], leastCount: none ? null : leastCount, tied: 0, taken: 0 };
  }

  // How many counts, 0 among them, the axis of D has to hold: those of all tokens, and the threshold, if there is one,
  // with some room behind it where it lies beyond them.
  countDrawn({ leastCount }) {
    const present = this.largestCount + 1;
    if (leastCount === null || leastCount < present) return present;
    return Math.min(this.width + 1, Math.ceil(leastCount * 1.1) + 1);
  }

  // The k tokens with the largest D: all above the count of the last of them, and some of those with just that count.
  getTopTicket(k) {
    const leastCount = findFirst(this.width + 1, (count) => this.atLeast[count] < k) - 1;
    const taken = k - this.atLeast[leastCount + 1];
    return { size: k, leastCount, tied: this.histogram[leastCount], taken };
  }
}

function formatLevel(level) {
  return level < 1e-4 ? level.toExponential() : String(level);
}

function formatCount(count) {
  return count.toLocaleString("en-US");
}

function formatNoun(count, noun) {
  return `${formatCount(count)} ${noun}${count === 1 ? "" : "s"}`;
}

function formatStatistic(count, width) {
  return (count / width).toFixed(4);
}

function formatShare(part, whole) {
  const percent = (100 * part) / whole;
  const rounded = Number(percent.toPrecision(part && percent < 0.01 ? 2 : 3));
  return part < whole && rounded >= 100 ? "just under 100 %" : `${rounded} %`;
}
