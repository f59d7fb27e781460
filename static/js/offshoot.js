// Polls rest in a hidden tab and back off 1, 2, 5 s after errors; focus lands where the page changed;
// a link with data-dialog opens that dialog instead of the page that asks the same.
(() => {
  const waits = [1000, 2000, 5000];
  const polls = (ctx) => ctx.sourceEvent?.type === "every";
  const rest = new WeakMap();
  const later = (elt) => {
    const failures = (rest.get(elt)?.failures ?? 0) + 1;
    rest.set(elt, { failures, until: Date.now() + waits[Math.min(failures, 3) - 1] });
  };

  document.addEventListener("htmx:before:request", (event) => {
    const { ctx } = event.detail;
    if (!polls(ctx)) return;
    const wait = rest.get(ctx.sourceElement);
    if (document.hidden || (wait && Date.now() < wait.until)) event.preventDefault();
  });
  document.addEventListener("htmx:before:response", (event) => {
    const { ctx } = event.detail;
    if (!polls(ctx)) return;
    if (ctx.response.status >= 429) {
      later(ctx.sourceElement);
      event.preventDefault();
    } else rest.delete(ctx.sourceElement);
  });
  document.addEventListener("htmx:error", (event) => {
    const { ctx } = event.detail;
    if (ctx && polls(ctx)) later(ctx.sourceElement);
  });

  document.addEventListener("click", (event) => {
    const link = event.target.closest("a[data-dialog]");
    const dialog = link && document.getElementById(link.dataset.dialog);
    if (!dialog || event.button || event.ctrlKey || event.metaKey || event.shiftKey) return;
    event.preventDefault();
    dialog.showModal();
  });

  // what a request changes is busy meanwhile
  for (const [name, busy] of [["before", true], ["finally", false]])
    document.addEventListener(`htmx:${name}:request`, (event) => {
      const { target, sourceEvent } = event.detail.ctx;
      if (sourceEvent?.type !== "every") target?.setAttribute?.("aria-busy", busy);
    });

  // after a swap: to the first thing to mend, or to what the server marked
  document.addEventListener("htmx:after:swap", (event) => {
    const { ctx } = event.detail;
    if (!ctx || polls(ctx)) return;
    const first = document.querySelector(ctx.response?.status === 422 ? "[aria-invalid=true]" : "[data-focus]");
    first?.focus();
    first?.removeAttribute("data-focus");
  });
})();
