// Every text to copy has a button that does it, also on a page that was opened as a file.
"use strict";
for (const text of document.querySelectorAll(".copy")) {
  const button = document.createElement("button");
  button.type = "button";
  button.className = "copy-button";
  button.textContent = "copy";
  button.addEventListener("click", () => {
    getSelection().selectAllChildren(text);
    // Old, but it works wherever the page lies; the selection stays where it does not.
    button.textContent = document.execCommand("copy") ? "copied" : "selected";
    setTimeout(() => { button.textContent = "copy"; }, 2000);  // milliseconds
  });
  text.before(button);
}
