// %logs: what containers write. The reader can pause, search, and let the end be followed or not.
//
// data.sources: [{name, state, status}]; data.lines: [[number, source, stream, milliseconds, text]], the last
// ones. Lines that came before stay here, up to KEPT of them.

import { element, keep, setText } from "./elements.js";

const KEPT = 5000;
const COLOURS = 6;

function clock(milliseconds) {
  const at = new Date(milliseconds);
  const two = (number) => String(number).padStart(2, "0");
  return `${two(at.getHours())}:${two(at.getMinutes())}:${two(at.getSeconds())}.${String(at.getMilliseconds()).padStart(3, "0")}`;
}

function button(className, text, title) {
  const made = element("button", `lk-button ${className}`, text);
  made.type = "button";
  made.title = title;
  return made;
}

export function create({ node }) {
  const sources = element("span", "lk-sources");
  const search = element("input", "lk-search");
  search.type = "search";
  search.placeholder = "search";
  search.spellcheck = false;
  search.dataset.lmSuppressShortcuts = "true"; // a letter is a letter here, not a command of the notebook
  const matches = element("span", "lk-matches lk-muted");
  const previous = button("lk-icon lk-previous", "↑", "previous match (Shift+Enter)");
  const next = button("lk-icon lk-next", "↓", "next match (Enter)");
  const times = button("lk-times", "times", "show when each line was written");
  const follow = button("lk-follow", "follow", "keep the end in view");
  const pause = button("lk-pause", "pause", "let the lines stand still; new ones are kept");
  const tools = element("div", "lk-tools", search, matches, previous, next, times, follow, pause);
  const box = element("div", "lk-lines");
  box.tabIndex = 0;
  const empty = element("div", "lk-muted lk-nothing", "nothing written yet");
  node.append(element("div", "lk-logs-head", sources, tools), box);
  box.append(empty);

  let view = null; // whose lines these are
  let last = 0; // the number of the last line that was taken
  let names = [];
  let held = []; // lines that wait while paused
  let isPaused = false;
  let isFollowing = true;
  let found = []; // the marks of all matches
  let current = -1; // the one that the reader is at

  // Put the text into the element, with what was searched for marked.
  function write(text, words) {
    const parts = [];
    const wanted = search.value.toLowerCase();
    const lower = words.toLowerCase();
    let from = 0;
    // A letter may have another length in lower case; then nothing can be marked by its position.
    if (wanted && lower.length === words.length) {
      for (let at = lower.indexOf(wanted); at >= 0; at = lower.indexOf(wanted, from)) {
        parts.push(words.slice(from, at), element("mark", "", words.slice(at, at + wanted.length)));
        from = at + wanted.length;
      }
    }
    parts.push(words.slice(from));
    text.replaceChildren(...parts.filter(Boolean));
  }

  function line([, source, stream, milliseconds, words]) {
    const text = element("span", "lk-text");
    write(text, words);
    const made = element("div", `lk-line lk-${stream}`, element("span", "lk-time", clock(milliseconds)));
    if (names.length > 1 && stream !== "note") {
      made.append(element("span", `lk-source lk-colour-${source % COLOURS}`, names[source]));
    }
    made.append(text);
    if (stream === "err") made.title = "written to standard error";
    return made;
  }

  function append(lines) {
    if (!lines.length) return;
    empty.remove();
    const above = box.scrollHeight - box.scrollTop;
    box.append(...lines.map(line));
    let dropped = false;
    while (box.childElementCount > KEPT) {
      box.firstElementChild.remove();
      dropped = true;
    }
    // Lines that fall off at the top must not move what is being read.
    if (dropped && !isFollowing) box.scrollTop = Math.max(0, box.scrollHeight - above);
    if (search.value) count();
    if (isFollowing) toEnd();
  }

  function toEnd() {
    box.scrollTop = box.scrollHeight;
  }

  function count() {
    const mark = found[current];
    found = [...box.querySelectorAll("mark")];
    current = found.indexOf(mark);
    show();
  }

  function show() {
    for (const mark of found) mark.classList.toggle("lk-current", mark === found[current]);
    const position = current >= 0 ? `${current + 1} of ` : "";
    const plural = found.length === 1 ? "match" : "matches";
    setText(matches, search.value ? `${position}${found.length || "no"} ${plural}` : "");
    previous.disabled = next.disabled = !found.length;
  }

  function go(step) {
    if (!found.length) return;
    setFollowing(false);
    current = current < 0 ? (step > 0 ? 0 : found.length - 1) : (current + step + found.length) % found.length;
    show();
    // Only the box scrolls, not the page.
    const at = found[current].getBoundingClientRect();
    const around = box.getBoundingClientRect();
    if (at.top < around.top || at.bottom > around.bottom) {
      box.scrollTop += at.top - around.top - around.height / 2;
    }
  }

  function setFollowing(value) {
    isFollowing = value;
    follow.classList.toggle("lk-on", value);
    follow.setAttribute("aria-pressed", value);
  }

  function setPaused(value) {
    isPaused = value;
    pause.classList.toggle("lk-on", value);
    pause.setAttribute("aria-pressed", value);
    if (!value) {
      append(held);
      held = [];
    }
    label();
  }

  function label() {
    setText(pause, isPaused ? `resume${held.length ? ` (${held.length} new)` : ""}` : "pause");
  }

  search.addEventListener("input", () => {
    for (const text of box.querySelectorAll(".lk-text")) write(text, text.textContent);
    current = -1;
    count();
  });
  search.addEventListener("keydown", (event) => {
    if (event.key === "Enter") go(event.shiftKey ? -1 : 1);
    if (event.key === "Escape") {
      search.value = "";
      search.dispatchEvent(new Event("input"));
    }
    event.stopPropagation();
  });
  previous.addEventListener("click", () => go(-1));
  next.addEventListener("click", () => go(1));
  times.addEventListener("click", () => times.classList.toggle("lk-on", box.classList.toggle("lk-with-times")));
  follow.addEventListener("click", () => {
    setFollowing(!isFollowing);
    if (isFollowing) toEnd();
  });
  pause.addEventListener("click", () => setPaused(!isPaused));
  // Who scrolls up wants to read there; who scrolls to the end wants to follow.
  box.addEventListener("wheel", () => requestAnimationFrame(atScroll), { passive: true });
  box.addEventListener("pointerup", () => atScroll());
  box.addEventListener("keyup", () => atScroll());
  function atScroll() {
    setFollowing(box.scrollHeight - box.scrollTop - box.clientHeight < 8);
  }

  setFollowing(true);
  show();

  return {
    update(data) {
      if (data.view !== view) {
        view = data.view;
        last = 0;
        held = [];
        box.replaceChildren(empty);
      }
      names = data.sources.map((source) => source.name);
      keep(
        sources,
        data.sources,
        (source) => source.name,
        () => element("span", "lk-source-head", element("span"), element("b"), element("span", "lk-muted")),
        (head, source) => {
          head.firstElementChild.className = `lk-dot lk-is-${source.state}`;
          setText(head.children[1], source.name);
          setText(head.lastElementChild, source.status);
        },
      );
      const fresh = data.lines.filter(([number]) => number > last);
      if (last && fresh.length && fresh[0][0] > last + 1) {
        const missed = fresh[0][0] - last - 1;
        fresh.unshift([0, 0, "note", fresh[0][3], `… ${missed} lines came too fast to be shown …`]);
      }
      if (fresh.length) last = fresh[fresh.length - 1][0];
      if (isPaused) {
        held = [...held, ...fresh].slice(-KEPT);
        label();
      } else {
        append(fresh);
      }
    },
    setLive(live) {
      pause.hidden = follow.hidden = !live;
    },
  };
}
