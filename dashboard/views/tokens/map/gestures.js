// The pointer and the keyboard on the map.

const LEAST_DRAG = 4; // CSS pixels: a shorter way is a click
const CLICK_WAIT = 240; // milliseconds in which a second click makes it a double click

function followPointer(map) {
  const canvas = map.parts.lit;
  let start = null;
  let pending = 0;
  const at = (event) => {
    const frame = canvas.getBoundingClientRect();
    return { x: event.clientX - frame.left, y: event.clientY - frame.top };
  };
  const finish = () => { start = null; map.box = null; map.parts.root.classList.remove("dragging"); map.drawOverlay(); };

  canvas.addEventListener("pointerdown", (event) => {
    if (event.button !== 0 || !map.state.size) return;
    start = { ...at(event), view: { ...map.state.view }, moved: false };
    canvas.setPointerCapture(event.pointerId);
  });
  canvas.addEventListener("pointermove", (event) => {
    if (!map.state.size) return;
    const point = at(event);
    if (!start) {
      map.show(findNearest(map.state, point.x, point.y));
      return;
    }
    start.moved ||= Math.hypot(point.x - start.x, point.y - start.y) >= LEAST_DRAG;
    if (!start.moved) return;
    map.show(null);
    map.parts.root.classList.add("dragging");
    if (map.mode === "move") map.setView(shiftView(map.state, start, point));
    else {
      map.box = spanBox(map.state, start, point);
      map.drawOverlay();
    }
  });
  canvas.addEventListener("pointerup", (event) => {
    if (!start) return;
    const [{ moved }, { box }] = [start, map];
    finish();
    if (moved && box) {
      const rows = listInside(map.state, box);
      if (rows.length) map.pick(rows, event.shiftKey);
      else map.announce("The box holds no token.");
    } else if (!moved) {
      const point = at(event);
      const found = findNearest(map.state, point.x, point.y);
      clearTimeout(pending);
      if (found && event.detail < 2) {
        const add = event.shiftKey;
        pending = setTimeout(() => map.pick(Int32Array.of(found.row), add), CLICK_WAIT);
      }
    }
  });
  canvas.addEventListener("pointercancel", finish);
  canvas.addEventListener("pointerleave", () => { if (!start) map.show(null); });
  canvas.addEventListener("dblclick", (event) => {
    event.preventDefault();
    clearTimeout(pending);
    map.reset();
  });
  // Without Control or focus the wheel moves the page, as everywhere else on it.
  canvas.addEventListener("wheel", (event) => {
    if (!map.state.size || !(event.ctrlKey || event.metaKey || canvas.getRootNode().activeElement === canvas)) return;
    event.preventDefault();
    const { x, y } = at(event);
    const { width, height } = map.state.size;
    const step = event.deltaMode === 1 ? 30 * event.deltaY : event.deltaY;
    map.zoom(Math.exp(Math.max(-1, Math.min(1, step * 0.002))), x / width, 1 - y / height);
  }, { passive: false });
  canvas.addEventListener("keydown", (event) => { if (event.key === "Escape" && start) finish(); });
}

function shiftView({ size }, start, point) {
  const { x0, x1, y0, y1 } = start.view;
  const right = ((point.x - start.x) / size.width) * (x1 - x0);
  const up = ((start.y - point.y) / size.height) * (y1 - y0);
  return { x0: x0 - right, x1: x1 - right, y0: y0 - up, y1: y1 - up };
}

function spanBox({ size }, start, point) {
  const across = [start.x, Math.max(0, Math.min(size.width, point.x))].sort((a, b) => a - b);
  const down = [start.y, Math.max(0, Math.min(size.height, point.y))].sort((a, b) => a - b);
  return { left: across[0], right: across[1], top: down[0], bottom: down[1] };
}

// How far Shift and an arrow key move the picture, in shares of its width and height.
const MOVES = { ArrowRight: [0.2, 0], ArrowLeft: [-0.2, 0], ArrowUp: [0, 0.2], ArrowDown: [0, -0.2] };
const STEPS = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 };

function followKeys(map) {
  map.parts.lit.addEventListener("keydown", (event) => {
    const { state } = map;
    if (!state.size || event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.shiftKey && event.key in MOVES) moveView(map, ...MOVES[event.key]);
    else if (event.key in STEPS || event.key === "Home" || event.key === "End") walkWinners(map, event.key);
    else if (event.key === "Enter" && state.focusRow >= 0) map.pick(Int32Array.of(state.focusRow), event.shiftKey);
    else if (event.key === "+" || event.key === "=") map.zoom(0.6);
    else if (event.key === "-") map.zoom(1 / 0.6);
    else if (event.key === "0") map.reset();
    else if (event.key === "Escape") map.show(null);
    else return;
    event.preventDefault();
  });
  map.parts.lit.addEventListener("blur", () => map.show(null));
}

function moveView(map, right, up) {
  const { x0, x1, y0, y1 } = map.state.view;
  const [across, upwards] = [right * (x1 - x0), up * (y1 - y0)];
  map.setView({ x0: x0 + across, x1: x1 + across, y0: y0 + upwards, y1: y1 + upwards });
}

function walkWinners(map, key) {
  const { state } = map;
  const lit = listLitInView(state);
  if (!lit.count) {
    map.announce("No winner is in view.");
    return;
  }
  const present = lit.rows.subarray(0, lit.count).indexOf(state.focusRow);
  let next = key === "End" ? lit.count - 1 : 0;
  if (key in STEPS && present >= 0) next = Math.max(0, Math.min(lit.count - 1, present + STEPS[key]));
  const row = lit.rows[next];
  map.show({ row, others: listNamedOnSpot(state, row).filter((other) => other !== row), named: true });
  const lines = [...map.parts.tip.querySelectorAll("span")].map((line) => line.textContent);
  map.announce(`Winner ${formatWhole(next + 1)} of ${formatWhole(lit.count)} in view: `
    + `${map.parts.tip.querySelector("strong").textContent}, ${lines.join(", ")}.`);
}
