// Turns the slides by keys and two buttons. The number is counted here too, so that keys pressed faster than the server
// answers are not lost: each sends the slide it means, never "one further".

const FORWARD = new Set(["ArrowRight", "ArrowDown", "PageDown", " "]);
const BACK = new Set(["ArrowLeft", "ArrowUp", "PageUp"]);
// On a slide that is higher than the screen these move the page first, as everywhere else.
const SCROLLS = { ArrowDown: 40, ArrowUp: -40, " ": 0.85 };

function makeButton(parent, label, name) {
  const button = document.createElement("button");
  button.type = "button";
  button.textContent = label;
  button.setAttribute("aria-label", name);
  parent.append(button);
  return button;
}

function getPage() {
  return document.querySelector('[data-testid="stMain"]');
}

// Whether the key moved the page instead; what of it is still to be seen comes before the next slide.
function scroll(key) {
  const page = getPage();
  const step = SCROLLS[key];
  if (!page || step === undefined) return false;
  const room = step > 0 ? page.scrollHeight - page.clientHeight - page.scrollTop : page.scrollTop;
  if (room <= 1) return false;
  page.scrollBy(0, key === " " ? step * page.clientHeight : step);
  return true;
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
  const parts = { back, next, number, slide: 0, wanted: null, data: null, send: null };
  parts.onKey = (event) => takeKey(parts, event);
  back.onclick = () => turn(parts, parts.slide - 1);
  next.onclick = () => turn(parts, parts.slide + 1);
  leave.onclick = () => parts.send("leave", true);
  return parts;
}

function show(parts) {
  parts.number.textContent = `${parts.slide} of ${parts.data.total}`;
  parts.back.disabled = parts.slide <= 1;
  parts.next.disabled = parts.slide >= parts.data.total;
}

function turn(parts, asked) {
  const bounded = Math.min(Math.max(asked, 1), parts.data.total);
  if (bounded === parts.slide) return;
  parts.slide = bounded;
  // The slide that the server last told of needs no answer.
  parts.wanted = bounded === parts.data.slide ? null : bounded;
  show(parts);
  parts.send("turn", bounded);
}

function takeKey(parts, event) {
  if (event.defaultPrevented || event.altKey || event.ctrlKey || event.metaKey) return;
  const pressed = event.composedPath()[0];
  if (pressed.closest?.("input, textarea, select, [contenteditable=true]")) return;
  const { key } = event;
  const onButton = pressed.closest?.("button") && key === " "; // a button's own key
  if (onButton) return;
  if (key === "Escape") parts.send("leave", true);
  else if (scroll(key)) event.preventDefault();
  else if (event.repeat && key in SCROLLS) return; // a key held down to scroll stops at the end of the slide
  else if (FORWARD.has(key)) turn(parts, parts.slide + 1);
  else if (BACK.has(key)) turn(parts, parts.slide - 1);
  else if (key === "Home") turn(parts, 1);
  else if (key === "End") turn(parts, parts.data.total);
  else return;
  event.preventDefault();
}

export default function (component) {
  const { parentElement, data, setTriggerValue } = component;
  // Streamlit calls this again after every answer, and what it returns only once, at the end: what was built, the
  // slide and the one listener are kept with the element.
  const parts = (parentElement.presenterParts ??= build(parentElement));
  if (parts.data && parts.data.slide !== data.slide) getPage()?.scrollTo(0, 0);
  parts.data = data;
  parts.send = setTriggerValue;
  // An answer to an earlier key says nothing while a later one is on its way.
  if (parts.wanted === null || parts.wanted === data.slide || parts.wanted > data.total) {
    parts.wanted = null;
    parts.slide = data.slide;
  }
  show(parts);
  document.addEventListener("keydown", parts.onKey, true); // the same function again is not added twice
  return () => document.removeEventListener("keydown", parts.onKey, true);
}
