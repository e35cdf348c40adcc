// The dial's picture as a file: a copy of it with its styles written into it, on the page's ground, with its numbers.

const STYLED = [
  ...["fill", "fill-opacity", "stroke", "stroke-width", "stroke-opacity", "stroke-dasharray", "stroke-linejoin"],
  ...["paint-order", "font-family", "font-size", "font-weight"],
];
const PNG_SCALE = 2; // pixels for each pixel on the screen, so that a slide shows it sharp

function copyPicture(svg, words, root) {
  const copy = svg.cloneNode(true);
  const copies = copy.querySelectorAll("*");
  svg.querySelectorAll("*").forEach((element, place) => {
    const style = getComputedStyle(element);
    for (const name of STYLED) copies[place].style.setProperty(name, style.getPropertyValue(name));
    if (style.display === "none") copies[place].style.display = "none";
  });
  const { width, height } = svg.viewBox.baseVal;
  const [header, margin] = [34, 12];
  const box = { width: width + 2 * margin, height: height + header + margin };
  copy.setAttribute("xmlns", SVG);
  copy.setAttribute("viewBox", `${-margin} ${-header} ${box.width} ${box.height}`);
  for (const [name, value] of Object.entries(box)) copy.setAttribute(name, value);
  const style = getComputedStyle(root);
  const ground = make("rect", { x: -margin, y: -header, ...box });
  ground.style.fill = style.getPropertyValue("--st-background-color").trim() || "white";
  copy.prepend(ground);
  const title = write(copy, 0, -12, words);
  title.style.cssText = `fill: ${style.color}; font-family: ${style.fontFamily}; font-size: 14px; font-weight: 600`;
  return { text: new XMLSerializer().serializeToString(copy), ...box };
}

function download(blob, name) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(blob);
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
}

function savePicture(svg, words, format, root) {
  const { text, width, height } = copyPicture(svg, words, root);
  const picture = new Blob([text], { type: "image/svg+xml" });
  if (format === "svg") {
    download(picture, "ticket-size.svg");
    return;
  }
  const image = new Image();
  image.onload = () => {
    const canvas = document.createElement("canvas");
    [canvas.width, canvas.height] = [width * PNG_SCALE, height * PNG_SCALE];
    canvas.getContext("2d").drawImage(image, 0, 0, canvas.width, canvas.height);
    canvas.toBlob((blob) => download(blob, "ticket-size.png"));
    URL.revokeObjectURL(image.src);
  };
  image.src = URL.createObjectURL(picture);
}
