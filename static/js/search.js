// A box whose words became filters loses them, unless somebody typed on meanwhile.
document.addEventListener("htmx:after:swap", () => {
  const box = document.querySelector("[data-sent]");
  if (box && box.value === box.dataset.sent) box.value = box.getAttribute("value");
});
