// Which tokens lie at a point or inside a box of the picture.

const MOST_NAMED = 3; // tokens of one spot
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

// The nearest token within reach, of equally near ones that of the largest D, and which others lie under it.
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
  return { row: nearest, others: near.filter((row) => row !== nearest && isSameSpot(state, row, nearest)) };
}

// Nearer than a pixel nobody tells two points apart.
function isSameSpot({ px, py }, row, other) {
  return Math.abs(px[row] - px[other]) < 1 && Math.abs(py[row] - py[other]) < 1;
}

// The lit and the picked tokens on the spot of a row, that row first: what a label there has to name. Grey ones are not
// looked for: at a frequency of 0 there may be many thousands.
function listNamedOnSpot(state, row) {
  state.grid ??= buildGrid(state);
  const { columns, lines, starts, rows } = state.grid;
  const picked = state.pickedRows.filter((other) => isInView(state, other) && isSameSpot(state, other, row));
  const found = new Set([row, ...picked]);
  const clip = (cell, most) => Math.max(0, Math.min(most, Math.floor(cell / REACH)));
  const [x, y] = [state.px[row], state.py[row]];
  for (let line = clip(y - 1, lines - 1); line <= clip(y + 1, lines - 1); line += 1) {
    for (let column = clip(x - 1, columns - 1); column <= clip(x + 1, columns - 1); column += 1) {
      const cell = line * columns + column;
      for (let place = starts[cell]; place < starts[cell + 1]; place += 1) {
        const other = rows[place];
        // Rows of a cell rise, so without a mask nothing that follows is lit.
        if (!state.litMask && other >= state.litRows) break;
        if (isLit(state, other) && isSameSpot(state, other, row)) found.add(other);
      }
    }
  }
  return [...found];
}

// Up to three tokens by name, of more the first and how many others there are.
function nameTokens({ tokens }, rows, most = Infinity) {
  const names = rows.slice(0, MOST_NAMED).map((row) => {
    const label = tokens.labels[row];
    return label.length > most ? `${label.slice(0, most - 1)}…` : label;
  });
  return rows.length > MOST_NAMED ? `${names[0]} and ${formatWhole(rows.length - 1)} more` : names.join(", ");
}

// Rows are sorted by D, so the first of these are those with the largest D.
function listInside(state, box) {
  return state.inView.filter((row) => state.px[row] >= box.left && state.px[row] <= box.right
    && state.py[row] >= box.top && state.py[row] <= box.bottom);
}
