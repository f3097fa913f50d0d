"use strict";
// The page is readable without this: links lead to layers. This adds hover, sorting and the filter.
(() => {
  const table = document.getElementById("table");
  const body = table.tBodies[0];
  const bars = document.getElementById("bars");
  const filter = document.getElementById("filter");
  const narrow = window.matchMedia("(max-width: 980px)");
  const numberIn = (hash) => (/^#layer-(\d+)$/.exec(hash) || [])[1];
  let selected = numberIn(location.hash) || body.rows[0].dataset.layer;

  const show = (number) => {
    for (const shown of document.querySelectorAll(".shown")) shown.classList.remove("shown");
    const found = document.querySelectorAll(`[data-layer="${number}"], #layer-${number}`);
    for (const one of found) one.classList.add("shown");
  };
  const select = (number) => {
    selected = number;
    history.replaceState(null, "", `#layer-${number}`);
    show(number);
    if (narrow.matches) document.getElementById(`layer-${number}`).scrollIntoView();
  };

  document.addEventListener("click", (event) => {
    const link = event.target.closest("a[href^='#layer-'], tr[data-layer]");
    if (!link) return;
    event.preventDefault();
    select(link.dataset.layer || numberIn(link.getAttribute("href")));
  });
  bars.addEventListener("mouseover", (event) => {
    if (event.target.dataset.layer) show(event.target.dataset.layer);
  });
  bars.addEventListener("focusin", (event) => show(event.target.dataset.layer));
  bars.addEventListener("mouseleave", () => show(selected));
  bars.addEventListener("keydown", (event) => {
    const step = { ArrowLeft: "previousElementSibling", ArrowRight: "nextElementSibling" }[event.key];
    const next = step && event.target[step];
    if (next) next.focus();
  });

  const valueOf = (row, column, numeric) => {
    const cell = row.cells[column];
    return numeric ? Number(cell.dataset.value) : cell.textContent;
  };
  const sort = (head) => {
    const numeric = head.dataset.kind === "number";
    const falling = head.ariaSort ? head.ariaSort === "ascending" : numeric;
    for (const other of table.tHead.rows[0].cells) other.removeAttribute("aria-sort");
    head.setAttribute("aria-sort", falling ? "descending" : "ascending");
    const column = head.cellIndex;
    const order = (a, b) => {
      const [first, second] = [a, b].map((row) => valueOf(row, column, numeric));
      const found = numeric ? first - second : first.localeCompare(second);
      return falling ? -found : found;
    };
    body.append(...[...body.rows].sort(order));
  };
  for (const head of table.tHead.rows[0].cells) {
    head.tabIndex = 0;
    head.addEventListener("click", () => sort(head));
    head.addEventListener("keydown", (event) => {
      if (event.key === "Enter") sort(head);
    });
  }

  filter.hidden = false;
  filter.addEventListener("input", () => {
    const wanted = filter.value.trim().toLowerCase();
    for (const row of body.rows) row.hidden = !row.textContent.toLowerCase().includes(wanted);
  });

  table.classList.add("sortable");
  document.documentElement.classList.add("js");
  show(selected);
})();
