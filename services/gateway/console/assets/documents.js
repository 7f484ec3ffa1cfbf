// What is wrong in documents is found by a click: the line is selected where it was typed.
"use strict";

const documents = document.getElementById("documents");
for (const link of document.querySelectorAll("a[data-at]")) {
  link.addEventListener("click", (e) => {
    e.preventDefault();
    const lines = documents.value.split("\n"), at = Math.min(Number(link.dataset.at), lines.length) - 1;
    const start = lines.slice(0, at).reduce((n, line) => n + line.length + 1, 0);
    documents.focus();
    documents.setSelectionRange(start, start + lines[at].length);
    documents.scrollTop = documents.scrollHeight * at / lines.length - documents.clientHeight / 2;
  });
}
