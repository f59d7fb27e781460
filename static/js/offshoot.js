// Polls rest in a hidden tab and back off 1, 2, 5 s after errors; focus lands where the page
// changed; a[data-dialog] opens that dialog, not the page that asks the same; .copy copies.
(() => {
  const on = (name, act) => document.addEventListener(name, (event) => act(event, event.detail?.ctx));
  const polls = (ctx) => ctx?.sourceEvent?.type === "every";
  const rests = new WeakMap();
  const rest = (elt) => {
    const times = (rests.get(elt)?.times ?? 0) + 1;
    rests.set(elt, { times, until: Date.now() + [1000, 2000, 5000][Math.min(times, 3) - 1] });
  };

  on("htmx:before:request", (event, ctx) => {
    if (!polls(ctx)) ctx.target?.setAttribute?.("aria-busy", true);
    else if (document.hidden || Date.now() < rests.get(ctx.sourceElement)?.until) event.preventDefault();
  });
  on("htmx:before:response", (event, ctx) => {
    if (!polls(ctx)) return;
    if (ctx.response.status < 429) return rests.delete(ctx.sourceElement);
    rest(ctx.sourceElement);
    event.preventDefault();
  });
  on("htmx:error", (event, ctx) => polls(ctx) && rest(ctx.sourceElement));
  on("htmx:finally:request", (event, ctx) => ctx.target?.removeAttribute?.("aria-busy"));

  // after a swap: to the first thing to mend, or what the server marked
  on("htmx:after:swap", (event, ctx) => {
    if (!ctx || polls(ctx)) return;
    const first = document.querySelector(ctx.response?.status === 422 ? "[aria-invalid=true]" : "[data-focus]");
    first?.focus();
    first?.removeAttribute("data-focus");
  });

  on("click", (event) => {
    const copy = event.target.closest(".copy");
    if (copy) {
      getSelection().selectAllChildren(copy.previousElementSibling);
      copy.textContent = document.execCommand("copy") ? "Copied" : "Press Ctrl+C";
    }
    const link = event.target.closest("a[data-dialog]");
    const dialog = link && document.getElementById(link.dataset.dialog);
    if (!dialog || event.button || event.ctrlKey || event.metaKey || event.shiftKey) return;
    event.preventDefault();
    dialog.showModal();
  });
})();
