// Building the page. Text goes in as text nodes only: what cameras and models say is never read as HTML.

const SVG = "http://www.w3.org/2000/svg";

export const byId = (id) => document.getElementById(id);

function fill(node, properties, children) {
  for (const [name, value] of Object.entries(properties ?? {})) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else node.setAttribute(name, value === true ? "" : String(value));
  }
  node.append(...children.flat().filter((child) => child !== null && child !== undefined && child !== false));
  return node;
}

/** An HTML element; strings among the children become text nodes. */
export const el = (tag, properties, ...children) => fill(document.createElement(tag), properties, children);

/** An SVG element. */
export const svg = (tag, properties, ...children) => fill(document.createElementNS(SVG, tag), properties, children);

/** Replace a text only when it changed, so that screen readers are not told the same twice. */
export function say(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

/** Calls `act` at most once per `pause_ms`, the last call never lost. */
export function atMostEvery(pause_ms, act) {
  let timer = null;
  let last = -Infinity;
  return () => {
    if (timer !== null) return;
    timer = setTimeout(() => {
      timer = null;
      last = performance.now();
      act();
    }, Math.max(0, last + pause_ms - performance.now()));
  };
}
