// A time of a transcript moves the player beside it to that moment, instead of opening its address.
document.addEventListener("click", (event) => {
  const link = event.target.closest("a[data-player]");
  const player = link && document.getElementById(link.dataset.player);
  if (!player || event.button || event.ctrlKey || event.metaKey || event.shiftKey) return;
  event.preventDefault();
  player.currentTime = Number(new URLSearchParams(link.search).get("at"));
  player.play();
});
