// Which tokens lie at a point or inside a box of the picture.

const REACH = 8; // how near a pointer has to be, in CSS pixels; also the side of a cell of the grid

function buildGrid(state) {
  const columns = Math.ceil(state.size.width / REACH) + 1;
  const lines = Math.ceil(state.size.height / REACH) + 1;
  const starts = new Int32Array(columns * lines + 1);
  const cellOf = (row) => Math.floor(state.py[row] / REACH) * columns + Math.floor(state.px[row] / REACH);
  for (const row of state.inView) starts[cellOf(row) + 1] += 1;
  for (let cell = 0; cell < columns * lines; cell += 1) starts[cell + 1] += starts[cell];
  const rows = new Int32Array(state.inView.length);
  const filled = starts.slice();
  for (const row of state.inView) rows[filled[cellOf(row)]++] = row;
  return { columns, lines, starts, rows };
}

// The nearest token within reach, of equally near ones that of the largest D, and how many others lie under it.
function findNearest(state, x, y) {
  state.grid ??= buildGrid(state);
  const { columns, lines, starts, rows } = state.grid;
  let nearest = -1;
  let least = REACH * REACH;
  const near = [];
  const column = Math.floor(x / REACH);
  const line = Math.floor(y / REACH);
  for (let down = Math.max(0, line - 1); down <= Math.min(lines - 1, line + 1); down += 1) {
    for (let right = Math.max(0, column - 1); right <= Math.min(columns - 1, column + 1); right += 1) {
      const cell = down * columns + right;
      for (let place = starts[cell]; place < starts[cell + 1]; place += 1) {
        const row = rows[place];
        const distance = (state.px[row] - x) ** 2 + (state.py[row] - y) ** 2;
        near.push(row);
        if (distance < least || (distance === least && nearest >= 0 && row < nearest)) {
          least = distance;
          nearest = row;
        }
      }
    }
  }
  if (nearest < 0) return null;
  const under = near.filter((row) => row !== nearest
    && Math.abs(state.px[row] - state.px[nearest]) < 1 && Math.abs(state.py[row] - state.py[nearest]) < 1);
  return { row: nearest, others: under.length };
}

// Rows are sorted by D, so the first of these are those of largest D.
function listInside(state, box) {
  return state.inView.filter((row) => state.px[row] >= box.left && state.px[row] <= box.right
    && state.py[row] >= box.top && state.py[row] <= box.bottom);
}
