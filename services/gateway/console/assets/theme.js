// Before the first paint: what the reader chose, if anything, over what the system says.
try { const t = localStorage.getItem("theme"); if (t) document.documentElement.dataset.theme = t; } catch { /* the system's then */ }
