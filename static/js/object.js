// "Turn it freely": fetches <model-viewer> when it is asked for and puts it in place of the still views.
const HINT = "Arrow keys turn it, Page Up comes closer, Page Down goes back.";
const SORRY = "This browser cannot show it. The views and the downloads are still there.";

document.addEventListener("click", async ({ target }) => {
  const button = target.closest("[data-viewer]");
  if (!button) return;
  const place = button.closest(".object");
  const says = place.querySelector("[role=status]");
  const picture = place.querySelector(".pic > img");
  button.hidden = true;
  says.textContent = "Fetching the viewer";

  const viewer = document.createElement("model-viewer");
  const sorry = () => {
    viewer.replaceWith(picture);
    says.textContent = SORRY;
  };
  viewer.addEventListener("error", sorry, { once: true });
  viewer.addEventListener("poster-dismissed", () => {
    says.textContent = HINT;
    viewer.shadowRoot.querySelector("[tabindex]").focus();
  });
  const { viewer: script, object: src, alt } = button.dataset;
  const set = { src, alt, "camera-controls": "", "interaction-prompt": "none", "touch-action": "pan-y", "shadow-intensity": "0.6" };
  for (const [name, value] of Object.entries(set)) viewer.setAttribute(name, value);
  try {
    // its decoders of packed files would compile code, which the policy forbids; ours are not packed
    globalThis.WebAssembly = undefined;
    await import(script);
    picture.replaceWith(viewer);
  } catch {
    sorry();
  }
});
