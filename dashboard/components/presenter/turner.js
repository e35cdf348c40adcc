// Turns the slides by keys and two buttons. The number is counted here too, so that keys pressed faster than the server
// answers are not lost: each sends the slide it means, never "one further".

const FORWARD = new Set(["ArrowRight", "ArrowDown", "PageDown", " "]);
const BACK = new Set(["ArrowLeft", "ArrowUp", "PageUp"]);

function makeButton(parent, label, name) {
  const button = document.createElement("button");
  button.type = "button";
  button.textContent = label;
  button.setAttribute("aria-label", name);
  parent.append(button);
  return button;
}

function build(parentElement) {
  const bar = document.createElement("div");
  bar.className = "bar";
  bar.setAttribute("role", "group");
  bar.setAttribute("aria-label", "Slides");
  const back = makeButton(bar, "‹ Back", "Previous slide");
  const middle = document.createElement("span");
  middle.className = "middle";
  const number = document.createElement("span");
  number.setAttribute("role", "status");
  middle.append(number);
  const leave = makeButton(middle, "Leave", "Leave the presentation");
  bar.append(middle);
  const next = makeButton(bar, "Next ›", "Next slide");
  parentElement.append(bar);
  return { bar, back, next, leave, number };
}

export default function (component) {
  const { parentElement, data, setTriggerValue } = component;
  // Streamlit calls this again after every answer; what was built is kept with the element.
  const parts = (parentElement.presenterParts ??= build(parentElement));
  let slide = data.slide;

  function show() {
    parts.number.textContent = `${slide} of ${data.total}`;
    parts.back.disabled = slide <= 1;
    parts.next.disabled = slide >= data.total;
  }

  function turn(wanted) {
    const bounded = Math.min(Math.max(wanted, 1), data.total);
    if (bounded === slide) return;
    slide = bounded;
    show();
    setTriggerValue("turn", slide);
  }

  function onKey(event) {
    if (event.defaultPrevented || event.altKey || event.ctrlKey || event.metaKey) return;
    const pressed = event.composedPath()[0];
    if (pressed.closest?.("input, textarea, select, [contenteditable=true]")) return;
    const onButton = pressed.closest?.("button") && event.key === " "; // a button's own key
    if (event.key === "Escape") setTriggerValue("leave", true);
    else if (FORWARD.has(event.key) && !onButton) turn(slide + 1);
    else if (BACK.has(event.key)) turn(slide - 1);
    else if (event.key === "Home") turn(1);
    else if (event.key === "End") turn(data.total);
    else return;
    event.preventDefault();
  }

  parts.back.onclick = () => turn(slide - 1);
  parts.next.onclick = () => turn(slide + 1);
  parts.leave.onclick = () => setTriggerValue("leave", true);
  document.addEventListener("keydown", onKey, true);
  show();
  return () => document.removeEventListener("keydown", onKey, true);
}
