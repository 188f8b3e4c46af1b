// %layers: what images and containers are made of. A row unfolds to the files of its layer; the same layer in
// another image of the picture is marked while the mouse is over it.
//
// data.stacks: [{name, container, summary, writable, layers}], layers newest first;
// layer: {id, instruction, size, settings, shared, files}, id null for an instruction without a layer;
// files: {added, changed, deleted, paths: [[kind, path, size]]} or null while not known.

import { element, flash, keep, setText } from "./elements.js";

const SIGNS = { added: "+", changed: "~", deleted: "−" };

// 1234567 -> "1.23MB", as docker has it.
function bytes(count) {
  const units = ["B", "kB", "MB", "GB", "TB"];
  let step = 0;
  for (; count >= 1000 && step < units.length - 1; step++) count /= 1000;
  return `${Number(count.toPrecision(3))}${units[step]}`;
}

function counts(node, files, note) {
  const kinds = files ? Object.keys(SIGNS).filter((kind) => files[kind]) : [];
  const number = (kind) => files[kind].toLocaleString("en");
  const entries = kinds.map((kind) => [kind, `${SIGNS[kind]}${number(kind)}`, `${number(kind)} files ${kind}`]);
  keep(
    node,
    note ? [["note", note, ""]] : entries,
    ([kind]) => kind,
    ([kind]) => element("span", `lk-${kind}`),
    (span, [, text, title]) => {
      setText(span, text);
      span.title = title;
    },
  );
}

function paths(node, files) {
  const all = files?.paths ?? [];
  keep(
    node,
    all,
    ([, path]) => path,
    () => element("div", "lk-path", element("span"), element("span", "lk-path-name"), element("span", "lk-size")),
    (line, [kind, path, size]) => {
      const [sign, name, weight] = line.children;
      sign.className = `lk-sign lk-${kind}`;
      setText(sign, SIGNS[kind]);
      setText(name, `/${path}`);
      setText(weight, size ? bytes(size) : "");
    },
  );
}

function makeRow() {
  const row = element(
    "summary",
    "lk-layer-row",
    element("span", "lk-bar"),
    element("span", "lk-instruction"),
    element("span", "lk-counts"),
    element("span", "lk-shared"),
    element("span", "lk-size"),
  );
  const layer = element("details", "lk-layer", row, element("div", "lk-paths"));
  // A row without files has nothing to unfold.
  row.addEventListener("click", (event) => layer.classList.contains("lk-closed") && event.preventDefault());
  return layer;
}

function drawRow(layer, { title, kind, size, share, files, shared, note }) {
  const [row, list] = layer.children;
  const [bar, instruction, changes, sharing, weight] = row.children;
  layer.className = `lk-layer lk-${kind}`;
  layer.classList.toggle("lk-closed", !files?.paths.length);
  bar.style.width = `${kind === "settings" ? 0 : Math.max(1, 100 * Math.min(1, share))}%`;
  setText(instruction, title);
  instruction.title = title;
  counts(changes, files, note);
  const others = shared?.length > 2 ? `${shared.slice(0, 2).join(", ")} +${shared.length - 2}` : shared?.join(", ");
  setText(sharing, others ? `in ${others}` : "");
  sharing.title = others ? `the same layer, stored once, is in ${shared.join(", ")}` : "";
  const changed = weight.textContent && setText(weight, size);
  setText(weight, size);
  if (changed) flash(row);
  paths(list, files);
}

function rows(stack, counting) {
  const largest = Math.max(1, ...stack.layers.map((layer) => layer.size));
  const found = stack.layers.map((layer, index) => ({
    key: `${stack.layers.length - index} ${layer.instruction}`,
    id: layer.id,
    title: layer.instruction,
    kind: layer.id ? (layer.shared.length ? "layer-shared" : "layer-own") : "settings",
    size: layer.id ? bytes(layer.size) : "",
    share: layer.size / largest,
    files: layer.files,
    shared: layer.shared,
    note: layer.id && !layer.files && counting ? "counting files …" : "",
  }));
  const writable = stack.writable;
  if (!writable) return found;
  const top = {
    key: "writable",
    title: "writable layer",
    kind: "layer-writable",
    size: bytes(writable.size),
    share: writable.size / largest,
    files: writable,
  };
  return [top, ...found];
}

function legend(hasWritable) {
  const entry = (kind, text) => element("span", `lk-key lk-${kind}`, element("span", "lk-square"), text);
  return [
    ...(hasWritable ? [entry("layer-writable", "written by the container")] : []),
    entry("layer-own", "its own"),
    entry("layer-shared", "shared with another image"),
  ];
}

export function create({ node }) {
  const stacks = element("div");
  const keys = element("div", "lk-legend");
  node.append(stacks, keys);

  // Mark the layer under the mouse wherever it is.
  const mark = (id) => {
    for (const layer of stacks.querySelectorAll(".lk-layer")) {
      layer.classList.toggle("lk-same", Boolean(id) && layer.dataset.id === id);
    }
  };
  stacks.addEventListener("mouseover", (event) => mark(event.target.closest(".lk-layer")?.dataset.id));
  stacks.addEventListener("mouseleave", () => mark(null));

  return {
    update(data) {
      keep(
        stacks,
        data.stacks.map((stack, index) => ({ ...stack, index })),
        (stack) => `${stack.index} ${stack.container ?? ""} ${stack.name}`,
        (stack) => {
          const what = stack.container ? ["container ", element("b", "", stack.container), " on "] : [];
          const title = element("span", "lk-title", ...what, "image ", element("b", "", stack.name));
          const head = element("div", "lk-head", title, element("span", "lk-muted"));
          return element("div", "lk-stack", head, element("div", "lk-layers-box"));
        },
        (made, stack) => {
          const [head, box] = made.children;
          setText(head.lastElementChild, stack.summary);
          keep(
            box,
            rows(stack, data.counting),
            (row) => row.key,
            makeRow,
            (layer, row) => {
              drawRow(layer, row);
              layer.dataset.id = row.id ?? "";
            },
          );
        },
      );
      keys.replaceChildren(...legend(data.stacks.some((stack) => stack.writable)));
    },
  };
}
