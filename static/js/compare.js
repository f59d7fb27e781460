// The slider between two pictures: its value is where the left one ends.
document.addEventListener("input", ({ target }) => {
  if (target.matches(".slide")) target.closest(".contrast").style.setProperty("--at", `${target.value}%`);
});
