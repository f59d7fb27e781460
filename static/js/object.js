// "Turn it freely": fetches <model-viewer> when it is asked for and puts it in place of the still views.
const HINT = "Arrow keys turn it, Page Up comes closer, Page Down goes back.";
const UNABLE = "This browser cannot show it. The views and the downloads are still there.";
const FAILED = "It could not be fetched. Load the page again.";

document.addEventListener("click", async ({ target }) => {
  const button = target.closest("[data-viewer]");
  if (!button || button.ariaDisabled === "true") return;
  const place = button.closest(".object");
  const says = place.querySelector("[role=status]");
  const picture = place.querySelector(".pic > img");
  const viewer = document.createElement("model-viewer");
  const sorry = (words) => {
    viewer.replaceWith(picture); // does nothing where it stands nowhere yet
    button.hidden = false;
    button.ariaDisabled = null;
    says.textContent = words;
  };
  if (!document.createElement("canvas").getContext("webgl2")) return sorry(UNABLE);
  button.ariaDisabled = "true";
  says.textContent = "Fetching the viewer";

  viewer.addEventListener("error", ({ detail }) => sorry(detail.type === "loadfailure" ? FAILED : UNABLE), { once: true });
  viewer.addEventListener("poster-dismissed", () => {
    says.textContent = HINT;
    if (document.activeElement === button) viewer.shadowRoot.querySelector("[tabindex]").focus();
    button.hidden = true;
  });
  const { viewer: script, object: src, alt } = button.dataset;
  const set = { src, alt, "camera-controls": "", "interaction-prompt": "none", "touch-action": "pan-y", "shadow-intensity": "0.6" };
  for (const [name, value] of Object.entries(set)) viewer.setAttribute(name, value);
  const { WebAssembly } = globalThis;
  try {
    // its decoders of packed files would compile code, which the policy forbids; ours are not packed
    globalThis.WebAssembly = undefined;
    await import(script);
    picture.replaceWith(viewer);
  } catch {
    sorry(FAILED);
  } finally {
    globalThis.WebAssembly = WebAssembly;
  }
});
