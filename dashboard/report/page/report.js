// Draws the pictures of the report and answers its buttons. What the report holds stands in the page as JSON.
"use strict";

const REPORT = JSON.parse(document.getElementById("report-data").textContent);
const PNG_SCALE = 2; // pixels for each pixel on the screen, so that a slide shows it sharp
const PRINT_WIDTH = 680; // what an upright sheet of A4 takes

const TEXT = "#1b1f27";
const LINE = "#d5dae2";
const AXIS = { linecolor: LINE, gridcolor: LINE, zerolinecolor: LINE, title: { font: { size: 13 }, standoff: 12 } };
const TEMPLATE = {
  layout: {
    font: { family: "system-ui, 'Segoe UI', Roboto, 'Noto Sans', sans-serif", size: 13, color: TEXT },
    paper_bgcolor: "#ffffff",
    plot_bgcolor: "#ffffff",
    xaxis: AXIS,
    yaxis: AXIS,
    hoverlabel: { align: "left" },
  },
};

function say(text) {
  document.getElementById("state").textContent = text;
}

function save(blob, name) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(blob);
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10000);
}

function draw(picture) {
  const place = document.getElementById(picture.id);
  const { data, layout } = picture.figure;
  return Plotly.newPlot(place, data, { ...layout, template: TEMPLATE, autosize: true }, {
    responsive: true,
    displaylogo: false,
    modeBarButtonsToRemove: ["toImage", "select2d", "lasso2d"],
    showSendToCloud: false, // on by itself; this file sends nothing anywhere
    plotlyServerURL: "",
  });
}

function makeImage(id, format) {
  const place = document.getElementById(id);
  const { width, height } = place.getBoundingClientRect();
  return Plotly.toImage(place, { format, width, height, scale: format === "png" ? PNG_SCALE : 1 });
}

// A data address as bytes: the page's own rules let it fetch nothing, not even that.
function readBytes(address) {
  const comma = address.indexOf(",");
  const text = address.slice(comma + 1);
  if (!address.slice(0, comma).endsWith(";base64")) return new TextEncoder().encode(decodeURIComponent(text));
  return Uint8Array.from(atob(text), (sign) => sign.charCodeAt(0));
}

async function savePicture(id, format) {
  const { name } = REPORT.pictures.find((picture) => picture.id === id);
  const type = format === "png" ? "image/png" : "image/svg+xml";
  save(new Blob([readBytes(await makeImage(id, format))], { type }), `${name}.${format}`);
}

async function saveAll() {
  const files = [];
  for (const { id, name } of REPORT.pictures) {
    say(`Drawing picture ${files.length + 1} of ${REPORT.pictures.length}…`);
    files.push({ name: `${name}.png`, bytes: readBytes(await makeImage(id, "png")) });
  }
  save(buildZip(files), `${REPORT.name}-pictures.zip`);
  say("");
}

function saveTable(id) {
  const { name, csv } = REPORT.tables.find((table) => table.id === id);
  save(new Blob([csv], { type: "text/csv;charset=utf-8" }), `${name}.csv`);
}

document.addEventListener("click", (event) => {
  const button = event.target.closest("button");
  if (!button) return;
  const { picture, format, table } = button.dataset;
  let work = null;
  if (picture) work = savePicture(picture, format);
  else if (table) saveTable(table);
  else if (button.id === "all-pictures") work = saveAll();
  work?.catch((problem) => say(`The picture could not be saved: ${problem.message ?? problem}`));
});

// Nothing else shows that a table goes on: many systems hide a bar until something is scrolled.
function tellMore() {
  for (const scroll of document.querySelectorAll(".scroll")) {
    scroll.parentElement.querySelector(".more").hidden = scroll.scrollWidth <= scroll.clientWidth + 1;
  }
}

function fitAll(width) {
  for (const { id } of REPORT.pictures) Plotly.relayout(id, width ? { autosize: false, width } : { autosize: true, width: null });
}

if (!REPORT.pictures.length) document.getElementById("all-pictures").hidden = true;
Promise.all(REPORT.pictures.map(draw)).then(
  () => document.body.setAttribute("data-drawn", "yes"),
  (problem) => say(`A picture could not be drawn: ${problem.message ?? problem}`),
);
tellMore();
window.addEventListener("resize", tellMore);
window.addEventListener("beforeprint", () => fitAll(PRINT_WIDTH));
window.addEventListener("afterprint", () => fitAll(null));
