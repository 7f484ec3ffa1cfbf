// Makes the wizard's forms comfortable; they work without it.
"use strict";

// A place on the step before is none here.
if (location.hash && !document.getElementById(location.hash.slice(1))) history.replaceState(null, "", location.pathname + location.search);

// Rules are added and removed where they stand.
for (const list of document.querySelectorAll("[data-rules]")) {
  const form = list.closest("form"), blank = form.querySelector("template[data-rule]");
  const changed = () => form.dispatchEvent(new Event("input", { bubbles: true }));
  form.querySelector("[data-add]").addEventListener("click", (e) => {
    e.preventDefault();
    const n = Math.max(-1, ...[...list.children].map((r) => Number(r.dataset.n))) + 1;
    const html = blank.innerHTML.replaceAll("__N__", n).replaceAll("__L__", n + 1);
    list.insertAdjacentHTML("beforeend", html);
    list.lastElementChild.querySelector("select").focus();
    changed();
  });
  list.addEventListener("click", (e) => {
    const remove = e.target.closest("[data-remove]");
    if (!remove) return;
    e.preventDefault();
    const rule = remove.closest("li");
    const next = rule.nextElementSibling || rule.previousElementSibling;
    rule.remove();
    (next?.querySelector("[data-remove]") || form.querySelector("[data-add]")).focus();
    changed();
  });
  // What the preview finds wrong is marked at its rule.
  const preview = document.querySelector(form.dataset.previewInto);
  new MutationObserver(() => {
    const wrong = new Set([...preview.querySelectorAll("[data-rule-wrong]")].map((v) => Number(v.dataset.ruleWrong)));
    [...list.children].forEach((rule, i) => {
      rule.classList.toggle("bad", wrong.has(i + 1));
      rule.querySelector(":scope > ul.wrong")?.remove();
    });
  }).observe(preview, { childList: true });
}

// What was typed and not saved outlives a reload: it is offered again on the page that it was typed on.
for (const form of document.querySelectorAll("form[data-keep]")) {
  const key = "typed:" + location.pathname;
  const typed = () => JSON.stringify([...new FormData(form)].filter(([, v]) => typeof v === "string"));
  const shown = typed();
  let kept = null;
  try { kept = sessionStorage.getItem(key); } catch { /* not offered then */ }
  const forget = () => { try { sessionStorage.removeItem(key); } catch { /* nothing to forget */ } };
  form.addEventListener("input", () => { try { sessionStorage.setItem(key, typed()); } catch { /* not offered then */ } });
  form.addEventListener("submit", forget);
  if (!kept || kept === shown || document.querySelector("main [role=alert]")) { forget(); continue; }
  const offer = document.createElement("div");
  offer.className = "banner warn";
  offer.setAttribute("role", "status");
  offer.innerHTML = "<p>What was typed here before was not saved.</p><div class=\"acts\"><button type=\"button\" class=\"main\">Take it up again</button><button type=\"button\">Forget it</button></div>";
  const [take, drop] = offer.querySelectorAll("button");
  drop.addEventListener("click", () => { forget(); offer.remove(); });
  take.addEventListener("click", () => {
    const again = document.createElement("form");
    again.method = "post";
    again.action = location.pathname + location.search;
    for (const [name, value] of [...JSON.parse(kept), ["act", "show"]]) {
      const input = document.createElement("textarea");
      input.name = name;
      input.value = value;
      again.append(input);
    }
    again.hidden = true;
    document.body.append(again);
    forget();
    again.requestSubmit();
  });
  form.before(offer);
}
