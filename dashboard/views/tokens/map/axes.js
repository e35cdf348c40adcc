// Axes: where a value lies, which ticks an axis has, and how numbers are written.

const WHOLE = new Set(["frequency", "rank", "token_id"]);

function formatWhole(value) {
  return Math.round(value).toLocaleString("en");
}

// An id names a token and counts nothing: it has no commas.
function writeWhole(name, value) {
  return name === "token_id" ? String(Math.round(value)) : formatWhole(value);
}

function formatValue(name, value) {
  if (!Number.isFinite(value)) return "not defined";
  if (WHOLE.has(name)) return writeWhole(name, value);
  return name === "statistic" || name === "cosine" ? value.toFixed(4) : String(Number(value.toPrecision(4)));
}

// `places` are where the rows lie before zooming; NaN for a token that has no such value. A log axis gives 0 a place of
// its own, left of the least value; an upright axis of ranks runs downwards, so that the first stands on top.
function createAxis(tokens, { name, title, log }, upright) {
  const places = new Float64Array(tokens.rows);
  const sign = upright && name === "rank" ? -1 : 1;
  let low = Infinity;
  let high = -Infinity;
  let zeros = false;
  for (let row = 0; row < tokens.rows; row += 1) {
    const value = readValue(tokens, name, row);
    const place = log ? (value > 0 ? Math.log10(value) : NaN) : sign * value;
    places[row] = place;
    if (log && value === 0) zeros = true;
    if (place < low) low = place;
    if (place > high) high = place;
  }
  if (!(low <= high)) [low, high] = [0, 1];
  if (low === high) [low, high] = [low - 0.5, high + 0.5];
  const span = high - low;
  let zeroPlace = null;
  if (zeros) {
    zeroPlace = low - Math.max(0.08 * span, 0.15);
    for (let row = 0; row < tokens.rows; row += 1) {
      if (readValue(tokens, name, row) === 0) places[row] = zeroPlace;
    }
  }
  const first = zeroPlace ?? low;
  const margin = 0.03 * (high - first);
  return { name, title, log, sign, places, zeroPlace, least: low, low: first - margin, high: high + margin };
}

function listTicks(axis, low, high, most) {
  const ticks = axis.log ? listLogTicks(axis, low, high, most) : listEvenTicks(axis, low, high, most);
  if (axis.zeroPlace !== null && axis.zeroPlace >= low && axis.zeroPlace <= high) {
    ticks.unshift({ place: axis.zeroPlace, text: "0" });
  }
  return ticks;
}

function listEvenTicks(axis, low, high, most) {
  const rough = (high - low) / Math.max(most, 2);
  const power = 10 ** Math.floor(Math.log10(rough));
  let step = [1, 2, 5, 10].find((factor) => factor * power >= rough) * power;
  if (WHOLE.has(axis.name)) step = Math.max(1, step);
  const digits = Math.max(0, -Math.floor(Math.log10(step) + 1e-9));
  const ticks = [];
  for (let number = Math.ceil(low / step); number * step <= high; number += 1) {
    const place = number * step;
    const value = axis.sign * place;
    if (axis.name === "rank" && value < 1) continue;
    const text = WHOLE.has(axis.name) ? writeWhole(axis.name, value) : writeDecimal(value, digits, step);
    ticks.push({ place, text });
  }
  return ticks;
}

function writeDecimal(value, digits, step) {
  if (Math.abs(value) < step / 1000) return "0";
  return digits > 5 ? value.toExponential(1) : value.toFixed(digits);
}

function listLogTicks(axis, low, high, most) {
  const start = Math.max(low, axis.least - 1e-9);
  if (high - start < 0.7) return listNarrowLogTicks(axis, start, high, most);
  const factors = high - start < 1.7 ? [1, 2, 5] : [1];
  const stride = Math.max(1, Math.ceil((high - start) / Math.max(most, 1)));
  const ticks = [];
  for (let power = Math.floor(start); power <= high; power += 1) {
    if (power % stride) continue;
    for (const factor of factors) {
      const place = power + Math.log10(factor);
      if (place >= start && place <= high) ticks.push({ place, text: writeLogValue(axis, factor * 10 ** power) });
    }
  }
  return ticks;
}

function listNarrowLogTicks(axis, low, high, most) {
  const even = { name: axis.name, sign: 1 };
  return listEvenTicks(even, 10 ** low, 10 ** high, most).filter(({ place }) => place > 0)
    .map(({ place, text }) => ({ place: Math.log10(place), text }));
}

function writeLogValue(axis, value) {
  if (WHOLE.has(axis.name)) return writeWhole(axis.name, value);
  return value >= 0.001 && value < 10000 ? String(Number(value.toPrecision(3))) : value.toExponential(0);
}
