// Answers by the keyboard. Without this script the same buttons are there to be clicked.
"use strict";
const skip = document.getElementById("skip");
let sent = false;

function press(button) {
  if (!button || sent) return;
  sent = true; // a second press must not answer the next question
  button.click();
}

document.addEventListener("keydown", (event) => {
  if (event.repeat || event.ctrlKey || event.altKey || event.metaKey) return;
  if (event.target instanceof HTMLInputElement) return;
  const key = event.key.toLowerCase();
  if (skip && key === "s") {
    skip.open = !skip.open;
  } else if (skip && key === "escape") {
    skip.open = false;
  } else if (key === "u") {
    press(document.querySelector("#undo button"));
  } else if (/^[0-9]$/.test(key)) {
    const kind = skip && skip.open ? "skip" : "key";
    press(document.querySelector(`[data-${kind}="${key}"]`));
  } else {
    return;
  }
  event.preventDefault();
});

window.addEventListener("pageshow", () => { sent = false; });
