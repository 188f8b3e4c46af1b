// Draws the outputs of type application/vnd.labkernel.view+json: %layers, %ports, %logs, %display.
//
// The kernel sends the whole picture each time something has changed, as data:
//   kind      which module draws it
//   view      an id; the same for all pictures of one output
//   session   the kernel's session: known here while that very kernel runs
//   revision  counts the pictures of a view
//   live      whether more may follow
//   at        when the picture was made (ISO 8601)
//   note      what has happened to it ("the engine has stopped answering"), or ""
//   ...       what the kind needs
//
// A kind's module (views/KIND.js) exports create(host):
//   host.node       the element to fill; it belongs to the module
//   host.load       gives a package that the page shares: await host.load("@jupyterlab/services")
//   host.app        the JupyterLab application
//   host.other      gives another form of the output, by its type: host.other("image/png")
// It returns an object with
//   update(data)    draw this now, in place: what the reader has set (pause, search, scroll) stays
//   setLive(live)   optional: whether the kernel behind it still sends pictures
//   dispose()       optional: the output is gone
// Data is not trusted: it goes into the page by textContent and attributes that cannot run, never as HTML.
// Where a module fails, the HTML or PNG beside the data in the output is shown, as it is without this file.

export const MIME = "application/vnd.labkernel.view+json";

const KINDS = {
  layers: () => import("./views/layers.js"),
  ports: () => import("./views/ports.js"),
  logs: () => import("./views/logs.js"),
  display: () => import("./views/display.js"),
};

const GONE = new Set(["restarting", "autorestarting", "terminating", "dead", "unknown"]);

export async function plugin(load) {
  const { Widget } = await load("@lumino/widgets");
  const { IRenderMimeRegistry } = await load("@jupyterlab/rendermime");
  const { INotebookTracker } = await load("@jupyterlab/notebook");
  const { IConsoleTracker } = await load("@jupyterlab/console");

  const shown = new Set(); // the views in the page
  const sessions = new Map(); // panel -> the session of the kernel that it hears

  let app, registry;

  class View extends Widget {
    constructor() {
      super();
      this.addClass("lk-view");
      this.body = this.node.appendChild(document.createElement("div"));
      this.body.className = "lk-body";
      this.foot = this.node.appendChild(document.createElement("div"));
      this.foot.className = "lk-foot";
      this.drawing = null; // what the module returned
      this.data = null;
      shown.add(this);
    }

    // Called by JupyterLab, again for each update of the output.
    async renderModel(model) {
      this.forms = model;
      this.heard = null; // the forms of an update that JupyterLab does not pass on
      if (this.plain) return this.plain.renderModel(model);
      const data = model.data[MIME];
      try {
        this.made ??= this.make(data.kind); // once, though updates come while the module is loaded
        this.drawing = await this.made;
      } catch (error) {
        return this.fallBack(error);
      }
      return this.show(data);
    }

    async make(kind) {
      const { create } = await KINDS[kind]();
      this.addClass(`lk-${kind}`);
      return create({ node: this.body, load, app, other: (type) => (this.heard ?? this.forms.data)[type] });
    }

    // Draw the data, unless it is older than what is there.
    show(data) {
      if (this.isDisposed || this.plain) return undefined;
      if (this.data?.view === data.view && this.data.revision >= data.revision) return undefined;
      this.data = data;
      try {
        this.drawing.update(data);
        this.refresh();
      } catch (error) {
        return this.fallBack(error);
      }
      return undefined;
    }

    // Say what the picture is worth: a kernel that is not there any more leaves the last one.
    refresh() {
      if (!this.data) return;
      const { session, live, at, note } = this.data;
      const isLive = Boolean(live && session && [...sessions.values()].includes(session));
      this.toggleClass("lk-still", !isLive);
      const time = isLive || !at ? "" : `as of ${new Date(at).toLocaleString()}`;
      this.foot.textContent = [note, time].filter(Boolean).join(" · ");
      this.drawing?.setLive?.(isLive);
    }

    async fallBack(error) {
      console.error("labkernel: a view is shown as it is without the extension:", error);
      this.drawing?.dispose?.();
      this.drawing = null;
      const type = ["text/html", "image/png"].find((type) => type in this.forms.data) ?? "text/plain";
      this.plain = registry.createRenderer(type);
      await this.plain.renderModel(this.forms);
      this.body.replaceChildren();
      Widget.attach(this.plain, this.body);
    }

    dispose() {
      shown.delete(this);
      this.drawing?.dispose?.();
      this.plain?.dispose();
      super.dispose();
    }
  }

  function hear(panel) {
    const context = panel.sessionContext;
    const set = (session) => {
      if (sessions.get(panel) === session) return;
      if (session) sessions.set(panel, session);
      else sessions.delete(panel);
      for (const view of shown) view.refresh();
    };
    context.iopubMessage.connect((_, message) => {
      set(message.header.session);
      // Lab passes updates on to outputs of cells that ran since the page was opened. The others get them here.
      const data = message.header.msg_type === "update_display_data" && message.content.data[MIME];
      if (!data) return;
      for (const view of shown) {
        if (!view.drawing || view.data?.view !== data.view) continue;
        view.heard = message.content.data;
        void view.show(data);
      }
    });
    context.statusChanged.connect((_, status) => GONE.has(status) && set(null));
    context.kernelChanged.connect(() => set(null));
    panel.disposed.connect(() => set(null));
  }

  const style = document.createElement("link");
  style.rel = "stylesheet";
  style.href = new URL("views.css", import.meta.url);
  document.head.append(style);

  return {
    id: "labkernel:views",
    description: "Draws labkernel's live views of layers, ports, logs and screens.",
    autoStart: true,
    requires: [IRenderMimeRegistry],
    optional: [INotebookTracker, IConsoleTracker],
    activate: (application, rendermime, ...trackers) => {
      app = application;
      registry = rendermime;
      // Ranks: HTML has 50, and the lowest is preferred.
      registry.addFactory({ safe: true, mimeTypes: [MIME], createRenderer: () => new View() }, 20);
      for (const tracker of trackers) {
        tracker?.forEach(hear);
        tracker?.widgetAdded.connect((_, panel) => hear(panel));
      }
    },
  };
}
