// A field above each `.searchable` table that shows the rows with all of its words, and columns that sort.
document.addEventListener("DOMContentLoaded", () => {
  for (const box of document.querySelectorAll(".searchable")) {
    const table = box.querySelector("table");
    const rows = [...table.tBodies[0].rows];
    const field = document.createElement("input");
    field.type = "search";
    field.placeholder = "search, such as: timm resnet 224";
    field.setAttribute("aria-label", "Search the table");
    const count = document.createElement("output");
    const show = () => {
      const words = field.value.toLowerCase().split(/\s+/);
      let shown = 0;
      for (const row of rows) {
        const text = row.textContent.toLowerCase();
        row.hidden = !words.every((word) => text.includes(word));
        shown += row.hidden ? 0 : 1;
      }
      count.textContent = `${shown} of ${rows.length}`;
    };
    field.addEventListener("input", show);
    const bar = document.createElement("p");
    bar.className = "search-bar";
    bar.append(field, count);
    box.before(bar);
    show();
    [...table.tHead.rows[0].cells].forEach((head, column) => {
      const button = document.createElement("button");
      button.textContent = head.textContent;
      head.replaceChildren(button);
      button.addEventListener("click", () => sort(table, rows, head, column));
    });
  }
});

function sort(table, rows, head, column) {
  const down = head.getAttribute("aria-sort") === "ascending";
  for (const other of table.tHead.rows[0].cells) other.removeAttribute("aria-sort");
  head.setAttribute("aria-sort", down ? "descending" : "ascending");
  const value = (row) => row.cells[column].dataset.value ?? row.cells[column].textContent;
  const empty = (row) => value(row) === "";
  rows.sort((a, b) => {
    if (empty(a) || empty(b)) return empty(a) - empty(b); // always last
    const order = value(a).localeCompare(value(b), undefined, { numeric: true });
    return down ? -order : order;
  });
  table.tBodies[0].append(...rows);
}

// A line above what is wider than the screen.
document.addEventListener("DOMContentLoaded", () => {
  const wide = document.querySelectorAll(".bd-article table.table, .scrolls");
  const hint = (box) => {
    const line = document.createElement("p");
    line.className = "hint";
    line.textContent = "This is wider than the screen: it scrolls sideways →";
    box.before(line);
    const show = () => (line.hidden = box.scrollWidth <= box.clientWidth + 1);
    new ResizeObserver(show).observe(box); // calls it once at first
  };
  wide.forEach(hint);
});
