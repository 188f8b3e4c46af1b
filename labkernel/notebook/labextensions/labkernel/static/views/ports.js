// %ports: where containers can be reached.
//
// data.ports: [{host, url, container, container_port, protocol, image, state}]; url null where no link is possible;
// data.unpublished: [{container, image, state}], containers that were asked for and publish nothing.

import { element, flash, keep, setText } from "./elements.js";

const LEAVING = 700; // milliseconds that a row takes to go

// A link of ours, and nothing but HTTP. "localhost" is where the page comes from, when that is another machine.
function link(url) {
  const found = new URL(url);
  if (found.protocol !== "http:") return null;
  const here = globalThis.location?.hostname;
  const isLocal = !here || ["localhost", "127.0.0.1", "[::1]"].includes(here);
  if (found.hostname === "localhost" && !isLocal) found.hostname = here;
  return found.href.replace(/\/$/, "");
}

function makeRow() {
  const container = element("span", "lk-port-box lk-container", element("b"), element("span"));
  const state = element("span", "lk-state", element("span", "lk-dot"), element("span"));
  return element(
    "div",
    "lk-port",
    element("span", "lk-port-box lk-machine", element("a")),
    element("span", "lk-wire"),
    container,
    state,
    element("span", "lk-image lk-muted"),
  );
}

function drawRow(row, port) {
  const [machine, wire, container, state, image] = row.children;
  const anchor = machine.firstElementChild;
  const url = port.url && link(port.url);
  if (url) {
    anchor.href = url;
    anchor.target = "_blank";
    anchor.rel = "noopener";
  } else {
    anchor.removeAttribute("href");
  }
  setText(anchor, url ?? port.host ?? "no port");
  wire.classList.toggle("lk-flows", Boolean(port.host) && port.state === "running");
  wire.classList.toggle("lk-cut", !port.host);
  setText(container.firstElementChild, port.container);
  setText(container.lastElementChild, port.host ? `:${port.container_port}/${port.protocol}` : "");
  const changed = state.lastElementChild.textContent && setText(state.lastElementChild, port.state);
  setText(state.lastElementChild, port.state);
  state.firstElementChild.className = `lk-dot lk-is-${port.state}`;
  setText(image, port.image);
  if (changed) flash(row);
}

export function create({ node }) {
  const rows = element("div", "lk-ports-rows");
  const empty = element("div", "lk-muted", "no container publishes a port; ", element("code", "", "-p 8080:80"), " does");
  node.append(rows, empty);
  let isFirst = true;
  return {
    update(data) {
      const all = [...data.ports, ...data.unpublished];
      const names = new Set();
      const old = new Set([...rows.children].map((row) => row.dataset.key));
      const key = (port) => `${port.container} ${port.protocol ?? ""} ${port.port ?? ""} ${port.container_port ?? ""}`;
      for (const port of all) names.add(key(port));
      // Rows that go are seen going.
      const leaving = [...rows.children].filter((row) => !names.has(row.dataset.key));
      keep(rows, all, key, makeRow, drawRow);
      for (const row of leaving) {
        delete row.dataset.key;
        row.classList.add("lk-leaving");
        rows.append(row);
        setTimeout(() => {
          row.remove();
          empty.hidden = rows.children.length > 0;
        }, LEAVING);
      }
      if (!isFirst) {
        for (const row of rows.children) if (row.dataset.key && !old.has(row.dataset.key)) flash(row);
      }
      isFirst = false;
      empty.hidden = rows.children.length > 0;
    },
  };
}
