// Controls whose words became filters lose them, unless somebody typed on meanwhile.
document.addEventListener("htmx:after:swap", () => {
  for (const control of document.querySelectorAll("[data-sent]"))
    if (control.value === control.dataset.sent) control.value = control.getAttribute("value");
});
