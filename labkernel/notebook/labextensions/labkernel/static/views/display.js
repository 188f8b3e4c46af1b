// %display: a virtual screen. Pictures come from the server over a websocket, pointer and keys go back; what is said
// on it is written down in labkernel/jupyter/display_socket.py.

import { element, setText } from "./elements.js";

const GONE = 4404; // the server's word for: there is no such screen
const PATIENCE = 5000; // ms between two tries to reach the server, at the most
const NOTCH = 50; // CSS pixels of scrolling that count as a step of the wheel

const style = element("link");
style.rel = "stylesheet";
style.href = new URL("display.css", import.meta.url);
document.head.append(style);

export function create({ node, load, app, other }) {
  const canvas = element("canvas");
  canvas.tabIndex = 0;
  canvas.setAttribute("data-lm-suppress-shortcuts", "true"); // JupyterLab leaves the keys to us
  const left = element("span"), right = element("span");
  const box = element("div", "lk-screen", canvas, element("div", "lk-screen-bar", left, right));
  node.append(box);
  const context = canvas.getContext("2d");

  let data; // as it came from the kernel
  let socket = null;
  let state = "connecting"; // then "open"; "lost": the server does not answer; "gone": it has no such screen
  let isLive = false; // whether the kernel still sends pictures
  let attempts = 0;
  let timer = null;
  let isDisposed = false;
  let drawing = Promise.resolve(); // pictures are drawn in the order in which they came
  let drawnAt = null; // when the last one was

  function say() {
    // The kernel may be on another machine than the server: it sends pictures all the same.
    box.dataset.state = state === "gone" && isLive ? "still" : state;
    setText(left, `display :${data.number} · ${data.width}×${data.height}`);
    const asOf = `as of ${(drawnAt ?? new Date(data.taken)).toLocaleString()}`;
    const words = {
      connecting: "connecting …",
      open: document.activeElement === canvas ? "Shift+Esc lets go of the keyboard" : "click to type here",
      lost: `the server does not answer; ${asOf}`,
      still: `a picture every few seconds; ${asOf}`,
      gone: data.note ? asOf : `this screen is not there any more; ${asOf}`,
    };
    setText(right, words[box.dataset.state]);
  }

  function send(message) {
    if (socket?.readyState === WebSocket.OPEN) socket.send(JSON.stringify(message));
  }

  async function connect() {
    timer = null;
    const { URLExt } = await load("@jupyterlab/coreutils");
    if (isDisposed) return;
    const { wsUrl, token, appendToken } = app.serviceManager.serverSettings;
    const query = new URLSearchParams({ screen: data.screen, ...(appendToken && token ? { token } : {}) });
    const mine = new WebSocket(`${URLExt.join(wsUrl, "labkernel/display", String(data.number))}?${query}`);
    mine.binaryType = "arraybuffer";
    socket = mine;
    mine.onmessage = ({ data: message }) => {
      if (typeof message === "string") {
        attempts = 0;
        state = "open";
        look();
        say();
      } else {
        drawing = drawing.then(() => draw(message, mine));
      }
    };
    mine.onclose = ({ code }) => {
      if (isDisposed || mine !== socket) return;
      socket = null;
      state = code === GONE ? "gone" : "lost";
      attempts += 1;
      if (state === "lost") timer = setTimeout(connect, Math.min(PATIENCE, 250 * 2 ** attempts));
      void drawing.then(still);
      say();
    };
  }

  // x, y, width, height (16 bits each), then a picture of that part as PNG or JPEG.
  async function draw(message, from) {
    const header = new DataView(message, 0, 8);
    try {
      const part = await createImageBitmap(new Blob([new Uint8Array(message, 8)]));
      context.drawImage(part, header.getUint16(0, true), header.getUint16(2, true));
      part.close();
      drawnAt = new Date();
      canvas.dataset.frames = Number(canvas.dataset.frames ?? 0) + 1;
    } finally {
      if (from.readyState === WebSocket.OPEN) from.send('{"kind":"seen"}');
    }
  }

  // The picture that the kernel has put beside the data, where there is no newer one from the server.
  async function still() {
    const png = other("image/png");
    const taken = new Date(data.taken);
    if (!png || state === "open" || isDisposed || drawnAt > taken) return;
    const picture = new Image();
    picture.src = `data:image/png;base64,${[png].flat().join("").replace(/\s/g, "")}`;
    await picture.decode();
    if (state === "open") return;
    context.drawImage(picture, 0, 0);
    drawnAt = taken;
    say();
  }

  // Pictures come only while somebody looks.
  let isInView = true;
  const look = () => send({ kind: "look", visible: isInView && document.visibilityState === "visible" });
  const observer = new IntersectionObserver((entries) => {
    isInView = entries.at(-1).isIntersecting;
    look();
  });
  observer.observe(canvas);
  document.addEventListener("visibilitychange", look);

  const stopListening = listen(canvas, send, say);

  return {
    update(newer) {
      const isFirst = !data;
      data = newer;
      if (isFirst) {
        canvas.width = data.width;
        canvas.height = data.height;
        canvas.setAttribute("aria-label", `display :${data.number}`);
        void connect();
      }
      if (state !== "open") void still();
      say();
    },
    setLive(live) {
      isLive = live;
      say();
    },
    dispose() {
      isDisposed = true;
      clearTimeout(timer);
      observer.disconnect();
      document.removeEventListener("visibilitychange", look);
      stopListening();
      socket?.close();
    },
  };
}

// Pass on the pointer, and the keys while the canvas has the focus. Returns what ends that.
function listen(canvas, send, focusChanged) {
  const place = (event) => {
    const area = canvas.getBoundingClientRect();
    return {
      x: Math.floor(((event.clientX - area.left) * canvas.width) / area.width),
      y: Math.floor(((event.clientY - area.top) * canvas.height) / area.height),
    };
  };

  let moved = null; // where to, since the last picture of the page
  function move() {
    if (moved) send({ kind: "move", ...moved });
    moved = null;
  }
  canvas.addEventListener("pointermove", (event) => {
    if (!moved) requestAnimationFrame(move);
    moved = place(event);
  });

  function press(event, pressed) {
    moved = null;
    send({ kind: "button", button: event.button + 1, pressed, ...place(event) });
  }
  // The event goes on: the notebook makes our cell the active one, and would take the focus for another else.
  canvas.addEventListener("pointerdown", (event) => {
    canvas.focus({ preventScroll: true });
    canvas.setPointerCapture(event.pointerId);
    press(event, true);
  });
  canvas.addEventListener("pointerup", (event) => press(event, false));
  canvas.addEventListener("contextmenu", (event) => {
    event.preventDefault();
    event.stopPropagation();
  });

  let across = 0, down = 0;
  canvas.addEventListener(
    "wheel",
    (event) => {
      if (document.activeElement !== canvas) return; // the page scrolls
      event.preventDefault();
      const step = event.deltaMode === WheelEvent.DOM_DELTA_PIXEL ? NOTCH : 1;
      across += event.deltaX / step;
      down += event.deltaY / step;
      for (; Math.abs(down) >= 1; down -= Math.sign(down)) turn(down < 0 ? 4 : 5, event);
      for (; Math.abs(across) >= 1; across -= Math.sign(across)) turn(across < 0 ? 6 : 7, event);
    },
    { passive: false },
  );
  function turn(button, event) {
    for (const pressed of [true, false]) send({ kind: "button", button, pressed, ...place(event) });
  }

  function key(event, pressed) {
    event.preventDefault();
    event.stopPropagation();
    if (event.key === "Escape" && event.shiftKey) {
      // To the cell, if we are in one: the notebook's own keys work there.
      const around = canvas.parentElement.closest("[tabindex]");
      if (pressed && around) around.focus({ preventScroll: true });
      else if (pressed) canvas.blur();
    } else if (!event.isComposing) {
      send({ kind: "key", key: event.key, code: event.code || event.key, pressed });
    }
  }
  canvas.addEventListener("keydown", (event) => key(event, true));
  canvas.addEventListener("keyup", (event) => key(event, false));
  canvas.addEventListener("focus", focusChanged);
  const blur = () => {
    send({ kind: "release" });
    focusChanged();
  };
  canvas.addEventListener("blur", blur);
  return () => canvas.removeEventListener("blur", blur);
}
