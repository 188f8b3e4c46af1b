// Colours %%dockerfile cells as Dockerfiles and %%docker cells as shell scripts.
//
// JupyterLab loads this file as a "module federation container", the form a bundler writes. It is written by
// hand: an object with init(), which is given what the page shares, and get(), which returns the module.
(() => {
  "use strict";

  const LANGUAGES = [
    [/^%%dockerfile\b/, "text/x-dockerfile"],
    [/^%%docker\b/, "text/x-sh"],
  ];
  const OURS = new Set(LANGUAGES.map(([, type]) => type));

  let shared;

  async function load(name) {
    const [version] = Object.values(shared[name]);
    const factory = await version.get();
    return factory();
  }

  function typeFor(source) {
    const found = LANGUAGES.find(([magic]) => magic.test(source));
    return found ? found[1] : null;
  }

  // Give the cell the type of its first line; give it back its own type when the magic is gone.
  function colour(cell, languages) {
    const model = cell.model;
    let own = model.mimeType;
    const update = async () => {
      if (!OURS.has(model.mimeType)) own = model.mimeType;
      // The editor loads the parts of a language in its own time, and the last to arrive wins: let those of
      // the present type arrive before another is asked for.
      await languages.getLanguage(model.mimeType);
      if (cell.isDisposed) return;
      const type = typeFor(model.sharedModel.getSource()) || own;
      if (model.mimeType !== type) model.mimeType = type;
    };
    model.contentChanged.connect(update);
    // The notebook sets the kernel's language whenever that becomes known.
    model.mimeTypeChanged.connect(update);
    void update();
  }

  async function watch(panel, languages, seen) {
    await panel.context.ready;
    const colourNew = () => {
      for (const cell of panel.content.widgets) {
        if (cell.model.type === "code" && !seen.has(cell)) {
          seen.add(cell);
          colour(cell, languages);
        }
      }
    };
    colourNew();
    // The list of cells changes before their widgets do.
    panel.content.model.cells.changed.connect(() => setTimeout(colourNew, 0));
  }

  async function extension() {
    const { INotebookTracker } = await load("@jupyterlab/notebook");
    const { IEditorLanguageRegistry } = await load("@jupyterlab/codemirror");
    const plugin = {
      id: "labkernel:colours",
      description: "Colours Dockerfiles and docker commands in notebook cells.",
      autoStart: true,
      requires: [INotebookTracker, IEditorLanguageRegistry],
      activate: (app, tracker, languages) => {
        const seen = new WeakSet();
        tracker.forEach((panel) => void watch(panel, languages, seen));
        tracker.widgetAdded.connect((_, panel) => void watch(panel, languages, seen));
      },
    };
    return () => ({ __esModule: true, default: plugin });
  }

  globalThis._JUPYTERLAB = globalThis._JUPYTERLAB || {};
  globalThis._JUPYTERLAB.labkernel = {
    init: (scope) => {
      shared = scope;
    },
    get: extension,
  };
})();
