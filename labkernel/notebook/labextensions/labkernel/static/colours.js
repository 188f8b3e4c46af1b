// Colours %%dockerfile cells as Dockerfiles and %%docker cells as shell scripts.

const LANGUAGES = [
  [/^%%dockerfile\b/, "text/x-dockerfile"],
  [/^%%docker\b/, "text/x-sh"],
];
const OURS = new Set(LANGUAGES.map(([, type]) => type));

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

export async function plugin(load) {
  const { INotebookTracker } = await load("@jupyterlab/notebook");
  const { IEditorLanguageRegistry } = await load("@jupyterlab/codemirror");
  return {
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
}
