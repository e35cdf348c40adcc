// The axes as vectors, on the page and in the file, and the picture as an SVG or PNG file.

const SAVED_RATIO = 3; // pixels of a saved picture for each CSS pixel
const MARGIN = { left: 72, right: 16, top: 10, bottom: 54 };

function escapeText(text) {
  return String(text).replace(/[&<>"]/g, (sign) => ({ "&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;" })[sign]);
}

// Tick lines, numbers and captions; colours stand in the markup, so that it looks the same outside the page.
function writeAxes(state) {
  const { axes, view, size, colours } = state;
  const right = MARGIN.left + size.width;
  const bottom = MARGIN.top + size.height;
  const parts = [];
  const line = (x1, y1, x2, y2, extra = "") => parts.push(
    `<line x1="${x1}" y1="${y1}" x2="${x2}" y2="${y2}" stroke="${colours.grid}" stroke-width="1"${extra}/>`,
  );
  const text = (x, y, content, extra) => parts.push(
    `<text x="${x}" y="${y}" fill="${colours.text}" ${extra}>${escapeText(content)}</text>`,
  );
  for (const tick of listTicks(axes.x, view.x0, view.x1, Math.max(2, Math.floor(size.width / 90)))) {
    const x = round(MARGIN.left + ((tick.place - view.x0) / (view.x1 - view.x0)) * size.width);
    line(x, MARGIN.top, x, bottom);
    text(x, bottom + 18, tick.text, 'font-size="12" text-anchor="middle"');
  }
  for (const tick of listTicks(axes.y, view.y0, view.y1, Math.max(2, Math.floor(size.height / 55)))) {
    const y = round(MARGIN.top + ((view.y1 - tick.place) / (view.y1 - view.y0)) * size.height);
    line(MARGIN.left, y, right, y);
    text(MARGIN.left - 8, y + 4, tick.text, 'font-size="12" text-anchor="end"');
  }
  if (axes.x.zeroPlace !== null) {
    const between = (axes.x.zeroPlace + axes.x.least) / 2;
    const x = round(MARGIN.left + ((between - view.x0) / (view.x1 - view.x0)) * size.width);
    if (x > MARGIN.left && x < right) line(x, MARGIN.top, x, bottom, ' stroke-dasharray="4 4"');
  }
  const middle = MARGIN.top + size.height / 2;
  text(MARGIN.left + size.width / 2, bottom + 42, axes.x.title, 'font-size="13" text-anchor="middle"');
  text(0, 0, axes.y.title, `font-size="13" text-anchor="middle" transform="translate(16 ${middle}) rotate(-90)"`);
  return parts.join("");
}

function round(value) {
  return Math.round(value * 10) / 10;
}

function writeLabels(state) {
  return state.labelled.map(({ x, y, text, anchor }) => (
    `<text x="${round(x)}" y="${round(y)}" fill="${state.colours.text}" font-size="12" text-anchor="${anchor}" `
    + `stroke="${writeColour(state.colours.ground)}" stroke-width="3" paint-order="stroke">${escapeText(text)}</text>`
  )).join("");
}

function writeLegend(state, y) {
  const parts = [
    [state.colours.winner, `Winners: ${formatWhole(state.litShown)}${state.rule ? ` (${state.rule})` : ""}`],
    [state.colours.neutral, `Other tokens: ${formatWhole(state.drawn - state.litShown)}`],
  ];
  let x = MARGIN.left;
  const written = parts.map(([colour, content]) => {
    const mark = `<circle cx="${x + 5}" cy="${y - 4}" r="5" fill="${colour}"/>`
      + `<text x="${x + 16}" y="${y}" fill="${state.colours.text}" font-size="13">${escapeText(content)}</text>`;
    x += 40 + 7.2 * content.length;
    return mark;
  });
  if (state.dense) {
    const content = `Shading: tokens in a spot, 1 to ${formatWhole(state.mostInSpot)}, log scale`;
    written.push(`<text x="${x}" y="${y}" fill="${state.colours.text}" font-size="13">${content}</text>`);
  }
  return written.join("");
}

// Both layers painted anew, sharp at three times the size on the page.
function paintSharply(state) {
  const sharp = { ...state, ratio: SAVED_RATIO };
  const createLayer = () => {
    const canvas = document.createElement("canvas");
    canvas.width = Math.round(state.size.width * SAVED_RATIO);
    canvas.height = Math.round(state.size.height * SAVED_RATIO);
    return { canvas, context: canvas.getContext("2d") };
  };
  sharp.greyLayer = createLayer();
  sharp.litLayer = createLayer();
  sharp.litSprite = drawSprite(LIT_RADIUS, SAVED_RATIO, state.colours.winner, writeColour(state.colours.ground));
  paintGrey(sharp);
  paintLit(sharp);
  return [sharp.greyLayer.canvas, sharp.litLayer.canvas];
}

function writeSvg(state) {
  const width = MARGIN.left + state.size.width + MARGIN.right;
  const height = MARGIN.top + state.size.height + MARGIN.bottom;
  const head = 28;
  const image = (canvas) => `<image x="${MARGIN.left}" y="${MARGIN.top}" width="${state.size.width}" `
    + `height="${state.size.height}" href="${canvas.toDataURL("image/png")}"/>`;
  return `<svg xmlns="http://www.w3.org/2000/svg" width="${width}" height="${height + head}" `
    + `viewBox="0 0 ${width} ${height + head}" font-family="${escapeText(state.colours.font)}">`
    + `<title>${escapeText(state.axes.y.title)} against ${escapeText(state.axes.x.title)}</title>`
    + `<rect width="100%" height="100%" fill="${writeColour(state.colours.ground)}"/>${writeLegend(state, 20)}`
    + `<g transform="translate(0 ${head})">${writeAxes(state)}`
    + `${paintSharply(state).map(image).join("")}${writeLabels(state)}</g></svg>`;
}

function saveFile(blob, name) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(blob);
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10000);
}

function saveSvg(state) {
  saveFile(new Blob([writeSvg(state)], { type: "image/svg+xml" }), "token_map.svg");
}

async function savePng(state) {
  const picture = new Image();
  const url = URL.createObjectURL(new Blob([writeSvg(state)], { type: "image/svg+xml" }));
  try {
    picture.src = url;
    await picture.decode();
    const canvas = document.createElement("canvas");
    canvas.width = picture.naturalWidth * SAVED_RATIO;
    canvas.height = picture.naturalHeight * SAVED_RATIO;
    canvas.getContext("2d").drawImage(picture, 0, 0, canvas.width, canvas.height);
    saveFile(await new Promise((resolve) => { canvas.toBlob(resolve, "image/png"); }), "token_map.png");
  } finally {
    URL.revokeObjectURL(url);
  }
}
