// What on a page stands in the way of those who do not see it, or hardly: a list of texts.
(() => {
  const found = new Set();
  const count = (selector) => document.querySelectorAll(selector).length;
  if (!document.documentElement.lang) found.add("the page does not say its language");
  if (!document.title.trim()) found.add("the page has no title");
  if (count("main") !== 1) found.add(`the page has ${count("main")} main parts`);
  if (count("h1") !== 1) found.add(`the page has ${count("h1")} headings of the first level`);
  if (document.documentElement.scrollWidth > innerWidth) found.add(`the page is ${document.documentElement.scrollWidth} pixels wide`);
  const ids = [...document.querySelectorAll("[id]")].map((e) => e.id);
  for (const id of ids) if (ids.indexOf(id) !== ids.lastIndexOf(id)) found.add(`the id ${id} is there more than once`);
  for (const th of document.querySelectorAll("th:not([scope])")) found.add(`the heading ${th.textContent.trim()} of a table does not say of what`);

  // Contrast, as WCAG 2.2 has it (1.4.3). A pixel of a canvas reads any colour that CSS can say.
  const pixel = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
  const over = (colour, ground) => {
    for (const c of [`rgb(${ground})`, colour]) {
      pixel.fillStyle = c;
      pixel.fillRect(0, 0, 1, 1);
    }
    return [...pixel.getImageData(0, 0, 1, 1).data].slice(0, 3);
  };
  const grounds = new Map();
  const groundOf = (e) => {
    if (!e) return [255, 255, 255];
    if (!grounds.has(e)) grounds.set(e, over(getComputedStyle(e).backgroundColor, groundOf(e.parentElement)));
    return grounds.get(e);
  };
  const light = (rgb) => {
    const [r, g, b] = rgb.map((v) => (v / 255 <= 0.04045 ? v / 255 / 12.92 : ((v / 255 + 0.055) / 1.055) ** 2.4));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (texts.nextNode()) {
    const text = texts.currentNode.data.trim(), e = texts.currentNode.parentElement;
    if (!text || e instanceof SVGElement || !e.checkVisibility({ visibilityProperty: true })) continue;
    if (e.closest(".skip, option, :disabled, [aria-disabled=true], [aria-busy=true], [aria-hidden=true]")) continue;
    const style = getComputedStyle(e), ground = groundOf(e);
    const [a, b] = [light(over(style.color, ground)), light(ground)];
    const contrast = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    const size = parseFloat(style.fontSize), large = size >= 24 || (size >= 18.66 && style.fontWeight >= 700);
    if (contrast < (large ? 3 : 4.5)) found.add(`the text ${text.slice(0, 40)} stands out by ${contrast.toFixed(2)} only`);
  }
  return [...found];
})()
