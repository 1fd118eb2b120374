// What a reader of a sweep's page chooses: series, a statistic and an axis, the order of the table, two points to compare.
// Without it the page has all its figures and its table.
(function () {
  "use strict";
  const data = JSON.parse(document.getElementById("data").textContent);
  const off = new Set();
  const byId = (id) => document.getElementById(id);
  const NAMESPACE = "http://www.w3.org/2000/svg";

  function digits(value) {
    const size = Math.abs(value);
    const places = size >= 100 || value === 0 ? 0 : size >= 10 ? 1 : size >= 0.1 ? 2 : 4;
    return value.toLocaleString("en-US", { minimumFractionDigits: places, maximumFractionDigits: places });
  }

  function plain(value) {
    return value === null || value === undefined ? "null" : typeof value === "number" ? value.toLocaleString("en-US") : String(value);
  }

  function element(name, attributes, text) {
    const made = document.createElement(name);
    for (const key in attributes) made.setAttribute(key, attributes[key]);
    if (text !== undefined) made.textContent = text;
    return made;
  }

  function shape(name, attributes, text) {
    const made = document.createElementNS(NAMESPACE, name);
    for (const key in attributes) made.setAttribute(key, attributes[key]);
    if (text !== undefined) made.textContent = text;
    return made;
  }

  function fill(select, entries, chosen) {
    for (const [value, text] of entries) select.append(element("option", { value }, text));
    select.value = chosen;
  }

  function valueOf(point, statistic) {
    const [mean, half] = point.m[statistic];
    return { mean, half: half || 0 };
  }

  // Series of the chart: the page's own over its own axis, else points that differ in nothing but the axis.
  function lines(axis) {
    const found = new Map();
    data.points.forEach((point, index) => {
      if (off.has(point.s)) return;
      const x = axis === data.axis ? point.x : point.v[axis];
      const others = Object.entries(point.v).filter(([key]) => key !== axis && !key.endsWith(".name"));
      const rest = axis === data.axis ? "" : others.map(([key, value]) => key + "=" + plain(value)).join(" ");
      const name = data.series[point.s] + (axis === data.axis ? "" : " " + data.axis + "=" + plain(point.x));
      const key = axis === data.axis ? String(point.s) : point.s + " " + rest + " " + point.x;
      if (!found.has(key)) found.set(key, { name, kind: data.kinds[point.s], points: [] });
      found.get(key).points.push({ x, index });
    });
    for (const line of found.values()) line.points.sort((one, other) => one.x - other.x);
    return [...found.values()];
  }

  function ticks(highest, count) {
    const raw = Math.max(highest, 1e-9) / count;
    const power = Math.pow(10, Math.floor(Math.log10(raw)));
    const step = [1, 2, 5, 10].map((factor) => factor * power).find((each) => each >= raw * (1 - 1e-9));
    const found = [];
    for (let tick = 0; tick < highest + step * (1 - 1e-9); tick += step) found.push(tick);
    return found;
  }

  let marks = [];
  let current = -1;

  function draw() {
    const statistic = data.statistics.findIndex((each) => each.name === byId("statistic").value);
    const axis = byId("axis").value;
    const about = data.statistics[statistic];
    const drawn = lines(axis);
    const chart = byId("chart");
    const width = Math.max(320, chart.clientWidth);
    const height = width > 600 ? 420 : 300;
    const [left, right, top, bottom] = [64, 16, 36, 48];
    const svg = shape("svg", { viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": `${about.label} over ${data.axes[axis]}` });
    chart.replaceChildren(svg);
    marks = [];
    current = -1;
    const values = drawn.flatMap((line) => line.points.map((each) => valueOf(data.points[each.index], statistic)));
    if (!values.length) {
      svg.append(shape("text", { x: left, y: top + 20 }, "no series is switched on"));
      return;
    }
    const xs = [...new Set(drawn.flatMap((line) => line.points.map((each) => each.x)))].sort((one, other) => one - other);
    const logarithmic = byId("logarithmic").checked && xs[0] > 0;
    const position = (x) => (logarithmic ? Math.log2(x) : x);
    const [low, high] = [position(xs[0]), position(xs[xs.length - 1])];
    const toX = (x) => left + (width - left - right) * (high > low ? (position(x) - low) / (high - low) : 0.5);
    const grid = ticks(Math.max(...values.map((each) => each.mean + each.half)), height > 300 ? 6 : 4);
    const toY = (y) => height - bottom - ((height - bottom - top) * y) / grid[grid.length - 1];
    svg.append(shape("text", { x: 0, y: 14, class: "title" }, about.unit ? `${about.label} (${about.unit})` : about.label));
    for (const tick of grid) {
      svg.append(shape("path", { d: `M${left},${toY(tick)}L${width - right},${toY(tick)}`, class: tick ? "grid" : "base" }));
      svg.append(shape("text", { x: left - 6, y: toY(tick) + 4, "text-anchor": "end", class: "tick" }, digits(tick)));
    }
    let free = -Infinity;
    for (const x of xs) {
      svg.append(shape("path", { d: `M${toX(x)},${height - bottom}v4`, class: "base" }));
      const text = plain(x);
      if (toX(x) - text.length * 3.4 < free) continue;
      svg.append(shape("text", { x: toX(x), y: height - bottom + 18, "text-anchor": "middle", class: "tick" }, text));
      free = toX(x) + text.length * 3.4 + 8;
    }
    svg.append(shape("text", { x: (left + width - right) / 2, y: height - 8, "text-anchor": "middle", class: "axis" }, data.axes[axis]));
    for (const line of drawn) {
      const path = line.points.map((each) => `${toX(each.x)},${toY(valueOf(data.points[each.index], statistic).mean)}`);
      svg.append(shape("path", { d: "M" + path.join("L"), class: `line ${line.kind}` }));
      for (const each of line.points) {
        const value = valueOf(data.points[each.index], statistic);
        const [x, y] = [toX(each.x), toY(value.mean)];
        if (value.half) {
          const ends = [toY(value.mean + value.half), toY(Math.max(0, value.mean - value.half))];
          svg.append(shape("path", { d: `M${x},${ends[0]}L${x},${ends[1]}`, class: "whisker" }));
        }
        const mark = shape("circle", { cx: x, cy: y, r: 4, class: `mark ${line.kind}` });
        svg.append(mark);
        const half = value.half ? ` ± ${digits(value.half)}` : "";
        const text = `${line.name}, ${data.axes[axis]} ${plain(each.x)}: ${digits(value.mean)}${half} ${about.unit}`;
        marks.push({ x, y, mark, text });
      }
    }
  }

  function show(index) {
    if (current >= 0 && marks[current]) marks[current].mark.setAttribute("r", 4);
    current = index;
    byId("hover").textContent = index >= 0 ? marks[index].text : "";
    if (index >= 0) marks[index].mark.setAttribute("r", 7);
  }

  function nearest(event) {
    const svg = byId("chart").firstElementChild;
    const box = svg.getBoundingClientRect();
    const scale = svg.viewBox.baseVal.width / box.width;
    const [x, y] = [(event.clientX - box.left) * scale, (event.clientY - box.top) * scale];
    let best = -1;
    marks.forEach((each, index) => {
      const distance = (each.x - x) ** 2 + (each.y - y) ** 2;
      if (best < 0 || distance < (marks[best].x - x) ** 2 + (marks[best].y - y) ** 2) best = index;
    });
    return best;
  }

  function toggle(box) {
    const series = Number(box.dataset.series);
    if (box.checked) off.delete(series);
    else off.add(series);
    for (const each of document.querySelectorAll(".of-" + series)) each.classList.toggle("off", !box.checked);
    draw();
  }

  function sortBy(table, column, header) {
    const rising = header.getAttribute("aria-sort") !== "ascending";
    for (const each of table.tHead.rows[0].cells) each.removeAttribute("aria-sort");
    header.setAttribute("aria-sort", rising ? "ascending" : "descending");
    const rows = [...table.tBodies[0].rows];
    const key = (row) => row.cells[column].dataset.value;
    const numbers = rows.every((row) => key(row) !== "" && !isNaN(key(row)));
    rows.sort((one, other) => (numbers ? key(one) - key(other) : key(one).localeCompare(key(other))) * (rising ? 1 : -1));
    table.tBodies[0].append(...rows);
  }

  function pointName(point) {
    const place = data.named ? `${plain(point.x)} ${data.axes[data.axis]}` : `${data.axis}=${plain(point.x)}`;
    return `${data.series[point.s]} at ${place}`;
  }

  function table(headings, rows) {
    const made = element("table");
    const head = made.createTHead().insertRow();
    for (const heading of headings) head.append(element("th", { scope: "col" }, heading));
    const body = made.createTBody();
    for (const [name, ...cells] of rows) {
      const row = body.insertRow();
      row.append(element("th", { scope: "row" }, name));
      for (const cell of cells) row.append(element("td", {}, cell));
    }
    return made;
  }

  function signed(value) {
    return (value > 0 ? "+" : value < 0 ? "−" : "") + digits(Math.abs(value));
  }

  function section(title, made) {
    const around = element("div");
    const scroll = element("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": title });
    scroll.append(made);
    around.append(element("h3", {}, title), scroll);
    return around;
  }

  function differences(one, other, part) {
    const names = [...new Set([...Object.keys(one[part]), ...Object.keys(other[part])])];
    const rows = names.map((name) => [name, one[part][name] || 0, other[part][name] || 0]);
    rows.sort((a, b) => Math.abs(b[2] - b[1]) - Math.abs(a[2] - a[1]));
    return rows.filter((row) => row[1] || row[2]);
  }

  function compare() {
    const [one, other] = [data.points[byId("one").value], data.points[byId("other").value]];
    const main = data.statistics.findIndex((each) => each.name === data.main);
    const about = data.statistics[main];
    const [first, second] = [valueOf(one, main).mean, valueOf(other, main).mean];
    const cycles = differences(one, other, "c");
    const busy = cycles.filter((row) => row[0] !== "idle");
    const change = first ? `${signed((100 * (second - first)) / first)} %` : "";
    const largest = busy.length && Math.abs(busy[0][2] - busy[0][1]) > 0 ? busy[0] : null;
    const most = largest ? ` The largest difference in cycles per KB is ${largest[0].replaceAll("_", " ")}, ${signed(largest[2] - largest[1])}.` : "";
    byId("told").textContent = `${about.label}: ${digits(first)} and ${digits(second)} ${about.unit} (${change}).${most}`;
    const keys = Object.keys(one.v).filter((key) => plain(one.v[key]) !== plain(other.v[key]));
    const named = [pointName(one), pointName(other)];
    const configuration = table(["key", ...named], keys.map((key) => [key, plain(one.v[key]), plain(other.v[key])]));
    const amounts = (rows) => rows.map((row) => [row[0].replaceAll("_", " "), digits(row[1]), digits(row[2]), signed(row[2] - row[1])]);
    const statistics = data.statistics.map((each, index) => {
      const [a, b] = [valueOf(one, index).mean, valueOf(other, index).mean];
      return [each.unit ? `${each.label} (${each.unit})` : each.label, digits(a), digits(b), signed(b - a)];
    });
    byId("sides").replaceChildren(
      section("What differs in the configuration", configuration),
      section("Cycles per KB", table(["what", ...named, "difference"], amounts(cycles))),
      section("L2 misses per KB", table(["what", ...named, "difference"], amounts(differences(one, other, "w")))),
      section("Statistics", table(["what", ...named, "difference"], statistics.filter((row) => row[1] !== row[2])))
    );
  }

  fill(byId("statistic"), data.statistics.map((each) => [each.name, each.unit ? `${each.label} (${each.unit})` : each.label]), data.main);
  fill(byId("axis"), Object.entries(data.axes), data.axis);
  const names = data.points.map((point, index) => [index, pointName(point)]);
  const main = data.statistics.findIndex((each) => each.name === data.main);
  const order = names.map(([index]) => index).sort((a, b) => data.points[b].m[main][0] - data.points[a].m[main][0]);
  const rival = order.find((index) => data.points[index].x === data.points[order[0]].x && data.points[index].s !== data.points[order[0]].s);
  fill(byId("one"), names, String(order[0]));
  fill(byId("other"), names, String(rival === undefined ? order[order.length - 1] : rival));
  const xs = data.points.map((point) => point.x);
  byId("logarithmic").checked = Math.min(...xs) > 0 && Math.max(...xs) > 4 * Math.min(...xs);
  for (const each of document.querySelectorAll(".scripted")) each.hidden = false;
  for (const id of ["statistic", "axis", "logarithmic"]) byId(id).addEventListener("change", draw);
  for (const id of ["one", "other"]) byId(id).addEventListener("change", compare);
  for (const box of document.querySelectorAll("[data-series]")) box.addEventListener("change", () => toggle(box));
  for (const sorted of document.querySelectorAll("table.sorted")) {
    [...sorted.tHead.rows[0].cells].forEach((header, column) => {
      const button = element("button", { type: "button" }, header.textContent);
      header.replaceChildren(button);
      button.addEventListener("click", () => sortBy(sorted, column, header));
    });
  }
  const chart = byId("chart");
  chart.addEventListener("pointermove", (event) => show(nearest(event)));
  chart.addEventListener("pointerleave", () => show(-1));
  chart.addEventListener("keydown", (event) => {
    const step = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
    if (!step || !marks.length) return;
    event.preventDefault();
    show((current + step + marks.length) % marks.length);
  });
  addEventListener("resize", draw);
  draw();
  compare();
})();
