// Saves the Plotly picture that stands in the same container. Streamlit keeps Plotly to itself, so the picture's own
// camera button is pressed after its format was set: what is saved is what is on the screen, theme and zoom included.

const FORMATS = [
  ["svg", "SVG", "lines and letters that stay sharp at any size"],
  ["png", "PNG", "an image of pixels"],
];

function findPicture(parentElement) {
  const host = parentElement.host ?? parentElement;
  const container = host.closest('[class*="st-key-picture_"]');
  return container?.querySelector(".js-plotly-plot") ?? null;
}

function save(parentElement, format, data, problem) {
  problem.textContent = "";
  const picture = findPicture(parentElement);
  const options = picture?._context?.toImageButtonOptions;
  const camera = picture?.querySelector('.modebar-btn[data-attr="toimage"], .modebar-btn[data-title^="Download plot"]');
  if (!options || !camera) {
    problem.textContent = "The picture is not drawn yet; try again in a moment.";
    return;
  }
  Object.assign(options, { format, filename: data.name, scale: format === "png" ? data.scale : 1 });
  camera.click();
}

export default function (component) {
  const { parentElement, data } = component;
  let bar = parentElement.querySelector(".bar");
  if (!bar) {
    bar = document.createElement("div");
    bar.className = "bar";
    const problem = document.createElement("span");
    problem.className = "problem";
    problem.setAttribute("role", "status");
    bar.append(problem);
    for (const [format, label, meaning] of FORMATS) {
      const button = document.createElement("button");
      button.type = "button";
      button.textContent = label;
      button.dataset.format = format;
      button.title = `Save as ${label}: ${meaning}`;
      bar.append(button);
    }
    parentElement.append(bar);
  }
  const problem = bar.querySelector(".problem");
  for (const button of bar.querySelectorAll("button")) {
    button.setAttribute("aria-label", `Save the picture as ${button.textContent}: ${data.picture}`);
    button.onclick = () => save(parentElement, button.dataset.format, data, problem);
  }
}
