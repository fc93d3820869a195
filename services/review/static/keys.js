// Answers by the keyboard and swaps in the next question. Without this script the same forms work.
"use strict";
let busy = false; // while a form is on its way, another press must not answer the next question

async function send(form, button) {
  busy = true;
  try {
    const body = new URLSearchParams(new FormData(form, button));
    const answer = await fetch(form.action, { method: "POST", body });
    if (!answer.ok) throw new Error(answer.statusText);
    const next = new DOMParser().parseFromString(await answer.text(), "text/html");
    if (!next.querySelector(".prompt")) throw new Error("no question"); // that page refreshes itself
    document.body.replaceWith(next.body);
    history.replaceState(null, "", "/");
  } catch {
    location.assign("/");
    return;
  }
  busy = false;
}

document.addEventListener("submit", (event) => {
  if (!/\/(answer|skip|undo)$/.test(event.target.action)) return;
  event.preventDefault();
  if (!busy) send(event.target, event.submitter);
});

document.addEventListener("keydown", (event) => {
  if (event.repeat || event.ctrlKey || event.altKey || event.metaKey) return;
  if (event.target instanceof HTMLInputElement) return;
  const skip = document.getElementById("skip");
  const key = event.key.toLowerCase();
  if (skip && key === "s") {
    skip.open = !skip.open;
  } else if (skip && key === "escape") {
    skip.open = false;
  } else if (key === "u") {
    document.querySelector("#undo button")?.click();
  } else if (/^[0-9]$/.test(key)) {
    const kind = skip?.open ? "skip" : "key";
    document.querySelector(`[data-${kind}="${key}"]`)?.click();
  } else {
    return;
  }
  event.preventDefault();
});
