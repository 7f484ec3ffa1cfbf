// What keeps pages live. Pages work without it, by loading anew.
"use strict";

const one = (s, in_ = document) => in_.querySelector(s);
const all = (s, in_ = document) => in_.querySelectorAll(s);

// Light or dark.
one("[data-theme-toggle]")?.addEventListener("click", () => {
  const root = document.documentElement;
  const dark = root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
  root.dataset.theme = dark ? "light" : "dark";
  try { localStorage.setItem("theme", root.dataset.theme); } catch { /* for this page only */ }
});

// The word of what was done is told once.
if (one("[data-done]")) {
  const u = new URL(location.href);
  u.searchParams.delete("done");
  history.replaceState(null, "", u);
}

// Instants as a distance from now; the exact one is their title.
const steps = [[60, "second"], [3600, "minute", 60], [86400, "hour", 3600], [2592000, "day", 86400], [31536000, "month", 2592000], [Infinity, "year", 31536000]];
const relative = new Intl.RelativeTimeFormat("en", { numeric: "auto" });
function tell(in_) {
  for (const t of all("time[datetime]", in_)) {
    const s = (Date.parse(t.dateTime) - Date.now()) / 1000;
    const [, unit, of = 1] = steps.find(([most]) => Math.abs(s) < most);
    t.textContent = relative.format(Math.round(s / of), unit);
  }
}
tell(document);
setInterval(() => tell(document), 15000);

// announce says to who listens, in the page's status, what the parts with data-tell say now, once it is something else.
const told = () => [...all("[data-tell]")].map((t) => t.textContent.replace(/\s+/g, " ").trim()).join(", ");
let saidLast = told();
function announce() {
  const now = told();
  if (now === saidLast) return;
  saidLast = now;
  one("[data-said]").textContent = now;
}

// put shows HTML of this origin in an element, and leaves the focus and wide tables where they were and open what was opened.
function put(into, html) {
  const at = into.contains(document.activeElement) ? document.activeElement : null;
  const id = at && (at.matches("summary") ? at.parentElement.id : at.id), href = at?.getAttribute("href");
  const opened = [...all("details[open][id]", into)].map((d) => d.id);
  const scrolled = [...all(".scroll", into)].map((s) => s.scrollLeft);
  into.innerHTML = html;
  tell(into);
  announce();
  for (const id of opened) document.getElementById(id)?.setAttribute("open", "");
  all(".scroll", into).forEach((s, i) => { s.scrollLeft = scrolled[i] || 0; });
  const to = (id && document.getElementById(id)) || (href && [...all("a[href]", into)].find((a) => a.getAttribute("href") === href));
  if (to) (to.matches("details") ? one("summary", to) : to).focus({ preventScroll: true });
}

// Live parts: data-live is the address of a stream of events. An event named like a data-part within is its new content;
// without such a part the whole is replaced. After "end" the page is loaded anew if data-live-end says so. A tab that nobody
// looks at has no stream: a browser has few connections to a host. Each stream begins with all that its page shows.
const lost = one("[data-lost]");
function live(el) {
  const soon = 3000, late = 60000;
  let source = null, again, pause = soon, over = false;
  const stop = () => { clearTimeout(again); source?.close(); source = null; };
  const begin = () => {
    stop();
    if (over || document.hidden) return;
    source = new EventSource(el.dataset.live);
    const show = (into) => (e) => { lost.hidden = true; pause = soon; put(into, e.data); };
    source.addEventListener("whole", show(el));
    for (const part of all("[data-part]", el)) source.addEventListener(part.dataset.part, show(part));
    source.addEventListener("end", () => { over = true; stop(); if (el.dataset.liveEnd === "reload") location.reload(); });
    source.onopen = () => { lost.hidden = true; };
    source.onerror = () => {
      lost.hidden = false;
      if (source.readyState !== EventSource.CLOSED) return; // the browser asks again
      again = setTimeout(retry, pause);
      pause = Math.min(2 * pause, late);
    };
  };
  // What is gone is told by the page itself, loaded anew. Otherwise the page stays, with what is typed in it.
  const retry = async () => {
    const asked = new AbortController();
    const res = await fetch(el.dataset.live, { signal: asked.signal }).catch(() => null);
    asked.abort();
    if (res?.status === 404) location.reload();
    else begin();
  };
  document.addEventListener("visibilitychange", () => { if (document.hidden) stop(); else begin(); });
  addEventListener("pagehide", stop);
  begin();
}
all("[data-live]").forEach(live);
addEventListener("offline", () => { lost.hidden = false; });
addEventListener("online", () => { lost.hidden = true; });
addEventListener("pageshow", (e) => { if (e.persisted) location.reload(); });

// Acts that should be meant: data-confirm is the question.
const dialog = one("[data-confirm-dialog]");
document.addEventListener("submit", (e) => {
  const form = e.target, by = e.submitter, question = by?.dataset.confirm || form.dataset.confirm;
  if (question && form.dataset.sure !== "yes") {
    e.preventDefault();
    if (dialog.open) return;
    one("#confirm-text").textContent = question;
    dialog.returnValue = ""; // Escape leaves it as it was
    dialog.showModal();
    dialog.addEventListener("close", () => {
      if (dialog.returnValue !== "yes") return;
      if (!form.isConnected) { location.reload(); return; } // what was asked about is no more
      form.dataset.sure = "yes";
      form.requestSubmit(by);
    }, { once: true });
    return;
  }
  delete form.dataset.sure;
  if (form.method === "post" && !form.hasAttribute("data-preview")) {
    setTimeout(() => all("button", form).forEach((b) => { b.disabled = true; }));
    form.setAttribute("aria-busy", "true");
  }
});

// Previews: a form with data-preview sends what is typed there, and shows the answer in data-preview-into.
for (const form of all("form[data-preview]")) {
  const into = one(form.dataset.previewInto);
  let wait, asked;
  const ask = async () => {
    asked?.abort();
    asked = new AbortController();
    into.setAttribute("aria-busy", "true");
    try {
      const res = await fetch(form.dataset.preview, { method: "POST", body: new URLSearchParams(new FormData(form)), signal: asked.signal });
      if (res.status >= 500 || res.status === 429) throw new Error(res.statusText);
      if (res.ok) put(into, await res.text());
      else into.textContent = "This can not be previewed; show it by the form's buttons to see why.";
      lost.hidden = true;
    } catch (e) {
      if (e.name === "AbortError") return;
      lost.hidden = false;
      wait = setTimeout(ask, 3000);
    }
    into.removeAttribute("aria-busy");
  };
  form.addEventListener("input", () => { clearTimeout(wait); wait = setTimeout(ask, 400); });
  if (form.dataset.previewAtOnce !== undefined) ask();
}
