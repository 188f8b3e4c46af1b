// Elements of the page, made and kept without HTML.

// element("span", "lk-name", "text"), or with other elements as content.
export function element(tag, className = "", ...content) {
  const made = document.createElement(tag);
  if (className) made.className = className;
  made.append(...content);
  return made;
}

// Make the children of `parent` those of `entries`, in order: one for each key, kept from one time to the next.
// `make(entry)` returns a new element, `draw(element, entry)` brings it up to date.
export function keep(parent, entries, key, make, draw) {
  const old = new Map([...parent.children].map((child) => [child.dataset.key, child]));
  let before = parent.firstElementChild;
  for (const entry of entries) {
    const name = String(key(entry));
    let child = old.get(name);
    old.delete(name);
    if (!child) {
      child = make(entry);
      child.dataset.key = name;
    }
    draw(child, entry);
    if (child === before) before = before.nextElementSibling;
    else parent.insertBefore(child, before);
  }
  for (const child of old.values()) child.remove();
}

// Set a text only where it differs, so that what a reader has selected stays so. Returns whether it did.
export function setText(node, text) {
  if (node.textContent === text) return false;
  node.textContent = text;
  return true;
}

// A brief mark on something that has changed.
export function flash(node) {
  node.classList.remove("lk-flash");
  void node.offsetWidth; // begin the animation again
  node.classList.add("lk-flash");
}
