// The door through which JupyterLab loads this extension, and nothing else: what it does is in the files beside.
//
// It is a "module federation container", the form a bundler writes, written by hand: an object with init(),
// which is given what the page shares, and get(), which returns the module. There is no build.
(() => {
  "use strict";

  const PARTS = ["colours.js", "views.js"];

  const here = document.currentScript.src;
  let shared;

  // A package that the page shares, such as "@lumino/widgets".
  async function load(name) {
    const [version] = Object.values(shared[name]);
    const factory = await version.get();
    return factory();
  }

  async function plugins() {
    const loaded = await Promise.allSettled(
      PARTS.map(async (part) => (await import(new URL(part, here))).plugin(load)),
    );
    for (const { reason } of loaded) if (reason) console.error("labkernel:", reason);
    return loaded.flatMap(({ value }) => value ?? []);
  }

  globalThis._JUPYTERLAB = globalThis._JUPYTERLAB || {};
  globalThis._JUPYTERLAB.labkernel = {
    init: (scope) => {
      shared = scope;
    },
    get: async () => {
      const found = await plugins();
      return () => ({ __esModule: true, default: found });
    },
  };
})();
