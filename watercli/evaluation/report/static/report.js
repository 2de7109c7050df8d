// What the page can do beyond showing itself: tables that sort and download, and the hydrograph of any catchment.
// Without it, the tables and the static pictures remain. The part after "#" of the address holds the state:
// gauge=ID, from=DATE, to=DATE, log=1, sort=TABLE:COLUMN:asc or desc.
"use strict";
(() => {
  const DAY = 86400000;
  const SVG = "http://www.w3.org/2000/svg";
  const byId = (id) => document.getElementById(id);
  const state = new URLSearchParams(location.hash.slice(1));
  document.documentElement.classList.add("js");

  function remember(changes) {
    for (const [key, value] of Object.entries(changes)) {
      if (value === null) state.delete(key);
      else state.set(key, value);
    }
    history.replaceState(null, "", "#" + state.toString());
  }

  function element(name, attributes = {}, parent = null, text = null) {
    const made = parent && parent.namespaceURI === SVG ? document.createElementNS(SVG, name) : document.createElement(name);
    for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
    if (text !== null) made.textContent = text;
    if (parent) parent.append(made);
    return made;
  }

  function download(name, rows) {
    const quote = (one) => (/[",\n]/.test(one) ? `"${one.replaceAll('"', '""')}"` : one);
    const text = rows.map((row) => row.map((one) => quote(String(one))).join(",")).join("\r\n") + "\r\n";
    const link = element("a", { href: URL.createObjectURL(new Blob([text], { type: "text/csv" })), download: name });
    link.click();
    URL.revokeObjectURL(link.href);
  }

  // Tables ------------------------------------------------------------------------------------------------------

  const plain = (cell) => cell.textContent.trim().replace(/\s+/g, " ").replaceAll("\u2212", "-");

  function valueOf(cell, asText) {
    const text = plain(cell);
    if (text === "" || text === "\u2013") return null;
    return asText ? text : parseFloat(text.replaceAll(",", ""));
  }

  function sortTable(table, column, descending) {
    const heads = [...table.tHead.rows[0].cells];
    if (!heads[column]) return;
    const asText = heads[column].classList.contains("l");
    const rows = [...table.tBodies[0].rows].map((row) => [valueOf(row.cells[column], asText), row]);
    const order = (a, b) => (asText ? a.localeCompare(b, "en", { numeric: true }) : a - b);
    rows.sort(([a], [b]) => {
      if (a === null || b === null) return (a === null) - (b === null); // what is missing stands last, always
      return descending ? order(b, a) : order(a, b);
    });
    table.tBodies[0].append(...rows.map(([, row]) => row));
    heads.forEach((head) => head.removeAttribute("aria-sort"));
    heads[column].setAttribute("aria-sort", descending ? "descending" : "ascending");
  }

  function equip(table) {
    [...table.tHead.rows[0].cells].forEach((head, column) => {
      const button = element("button", { type: "button", class: "sort" });
      button.append(...head.childNodes);
      head.append(button);
      button.addEventListener("click", () => {
        const now = head.getAttribute("aria-sort");
        // Numbers are best looked at from the largest down, words from the first on.
        const descending = now ? now === "ascending" : !head.classList.contains("l");
        sortTable(table, column, descending);
        remember({ sort: `${table.id}:${column}:${descending ? "desc" : "asc"}` });
      });
    });
    const bar = element("p", { class: "bar" });
    table.closest(".scroll").before(bar);
    if (table.dataset.filter) {
      const label = element("label", {}, bar, `${table.dataset.filter} `);
      const field = element("input", { type: "search", id: `${table.id}-filter` }, label);
      field.addEventListener("input", () => {
        const wanted = field.value.trim().toLowerCase();
        for (const row of table.tBodies[0].rows) row.hidden = !plain(row).toLowerCase().includes(wanted);
      });
    }
    const button = element("button", { type: "button" }, bar, "Download as CSV");
    button.addEventListener("click", () => download(`${table.id}.csv`, [...table.rows].map((row) => [...row.cells].map(plain))));
  }

  function sortAsAsked() {
    const [id, column, direction] = (state.get("sort") || "").split(":");
    const table = id && byId(id);
    if (table && table.matches("table.sortable")) {
      sortTable(table, Number(column), direction === "desc");
      if (table.closest("details")) table.closest("details").open = true;
    }
  }

  document.querySelectorAll("table.sortable").forEach(equip);
  sortAsAsked();

  // Hydrographs -------------------------------------------------------------------------------------------------

  const held = byId("series");
  if (!held) return;
  const data = JSON.parse(held.textContent);
  const codes = new Uint16Array(Uint8Array.from(atob(data.values), (one) => one.charCodeAt(0)).buffer);
  const start = Date.parse(data.start);
  const lines = data.series.filter((one) => one.drawn && one.band === null);
  const bands = [...new Set(data.series.filter((one) => one.band !== null).map((one) => one.band))];
  const shown = new Set(data.series.filter((one) => one.shown).map((one) => (one.band === null ? one.key : one.band)));
  const view = { gauge: 0, from: 0, to: data.days - 1, log: false };
  const chart = byId("hydrograph");
  const date = (day) => new Date(start + day * DAY).toISOString().slice(0, 10);
  const short = (value) => (value === null ? "\u2013" : value.toFixed(2).replace("-", "\u2212"));

  /** Values of a series of the chosen catchment; NaN where missing. */
  function values(key) {
    const number = data.series.findIndex((one) => one.key === key);
    const { low, step } = data.gauges[view.gauge];
    const first = (view.gauge * data.series.length + number) * data.days;
    return Float64Array.from(codes.subarray(first, first + data.days), (one) => (one === 65535 ? NaN : low + one * step));
  }

  function efficiency(observed, simulated, from, to) {
    const days = [];
    for (let day = from; day <= to; day++) if (isFinite(observed[day]) && isFinite(simulated[day])) days.push(day);
    const mean = days.reduce((sum, day) => sum + observed[day], 0) / days.length;
    const spread = days.reduce((sum, day) => sum + (observed[day] - mean) ** 2, 0);
    const error = days.reduce((sum, day) => sum + (observed[day] - simulated[day]) ** 2, 0);
    return { days: days.length, nse: spread > 0 ? 1 - error / spread : null };
  }

  function niceTicks(low, high, count) {
    const rough = (high - low) / count;
    const power = 10 ** Math.floor(Math.log10(rough));
    const step = power * [1, 2, 5, 10].find((one) => one * power >= rough);
    const ticks = [];
    for (let tick = Math.ceil(low / step) * step; tick <= high + step / 1e6; tick += step) ticks.push(Number(tick.toPrecision(12)));
    return ticks;
  }

  function logTicks(low, high) {
    const ticks = [];
    for (let power = Math.floor(Math.log10(low)); power <= Math.log10(high); power++)
      for (const one of [1, 2, 5]) if (one * 10 ** power >= low && one * 10 ** power <= high) ticks.push(Number((one * 10 ** power).toPrecision(6)));
    return ticks.length > 7 ? ticks.filter((one) => /^[0.]*10*$/.test(String(one))) : ticks;
  }

  function dateTicks(from, to, width) {
    const months = [1, 2, 3, 6, 12, 24, 60, 120].find((one) => (to - from) / (30.4 * one) <= width / 60) || 240;
    const ticks = [];
    if (to - from < 70) {
      const every = Math.ceil((to - from) / (width / 60));
      for (let day = from; day <= to; day += every) ticks.push([day, date(day).slice(5)]);
      return ticks;
    }
    const first = new Date(start + from * DAY);
    for (let month = first.getUTCFullYear() * 12 + Math.ceil((first.getUTCMonth() + 0.01) / months) * months; ; month += months) {
      const at = Date.UTC(Math.floor(month / 12), month % 12, 1);
      const day = (at - start) / DAY;
      if (day > to) return ticks;
      const name = new Date(at).toLocaleDateString("en-GB", { month: "short", timeZone: "UTC" });
      if (day >= from) ticks.push([day, month % 12 === 0 || months >= 12 ? String(Math.floor(month / 12)) : name]);
    }
  }

  /** An SVG plot with both axes; x and y map values to pixels. */
  function plot(parent, { width, height, xDomain, yDomain, xTicks, yTicks, xLog, yLog, xLabel, yLabel, title }) {
    const margin = { left: 52, right: 12, top: 22, bottom: xLabel ? 40 : 26 };
    const scale = ([low, high], from, to, log) => {
      const f = log ? Math.log : (one) => one;
      return (value) => from + ((f(log ? Math.max(value, low) : value) - f(low)) / (f(high) - f(low) || 1)) * (to - from);
    };
    parent.replaceChildren();
    const svg = document.createElementNS(SVG, "svg");
    for (const [key, value] of Object.entries({ width, height, viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": title }))
      svg.setAttribute(key, value);
    parent.append(svg);
    const x = scale(xDomain, margin.left, width - margin.right, xLog);
    const y = scale(yDomain, height - margin.bottom, margin.top, yLog);
    const clip = `${parent.id}-clip`;
    const box = { x: margin.left, y: margin.top, width: width - margin.left - margin.right, height: height - margin.top - margin.bottom };
    element("rect", box, element("clipPath", { id: clip }, element("defs", {}, svg)));
    for (const tick of yTicks) {
      element("line", { x1: margin.left, x2: width - margin.right, y1: y(tick), y2: y(tick), class: "grid" }, svg);
      element("text", { x: margin.left - 6, y: y(tick) + 4, "text-anchor": "end" }, svg, String(tick));
    }
    for (const [tick, text] of xTicks) {
      element("line", { x1: x(tick), x2: x(tick), y1: margin.top, y2: height - margin.bottom, class: "grid" }, svg);
      element("text", { x: x(tick), y: height - margin.bottom + 16, "text-anchor": "middle" }, svg, text);
    }
    element("text", { x: 4, y: 13 }, svg, yLabel);
    if (xLabel) element("text", { x: width - margin.right, y: height - 6, "text-anchor": "end" }, svg, xLabel);
    return { svg, x, y, box, inside: element("g", { "clip-path": `url(#${clip})` }, svg) };
  }

  function linePath(series, from, to, x, y) {
    let path = "";
    let pen = "M";
    for (let day = from; day <= to; day++) {
      if (isFinite(series[day])) {
        path += `${pen}${x(day).toFixed(1)} ${y(series[day]).toFixed(1)}`;
        // A day between two gaps is a dot.
        if (pen === "M" && !isFinite(series[day + 1])) path += "h1";
        pen = "L";
      } else pen = "M";
    }
    return path;
  }

  function bandPath(low, high, from, to, x, y) {
    let path = "";
    for (let day = from; day <= to; day++) {
      if (!isFinite(low[day]) || !isFinite(high[day])) continue;
      const first = day;
      while (day < to && isFinite(low[day + 1]) && isFinite(high[day + 1])) day++;
      const there = [];
      const back = [];
      for (let one = first; one <= day; one++) {
        there.push(`${x(one).toFixed(1)} ${y(high[one]).toFixed(1)}`);
        back.unshift(`${x(one).toFixed(1)} ${y(low[one]).toFixed(1)}`);
      }
      path += `M${there.join("L")}L${back.join("L")}Z`;
    }
    return path;
  }

  let drawing = null;

  function draw() {
    const gauge = data.gauges[view.gauge];
    const { from, to } = view;
    const drawn = lines.filter((one) => shown.has(one.key)).map((one) => ({ ...one, values: values(one.key) }));
    const edges = bands.filter((one) => shown.has(one)).map((one) => ({ level: one, low: values(`lower${one}`), high: values(`upper${one}`) }));
    let [least, most] = [Infinity, -Infinity];
    for (const series of [...drawn.map((one) => one.values), ...edges.flatMap((one) => [one.low, one.high])])
      for (let day = from; day <= to; day++) {
        if (series[day] > most) most = series[day];
        if (series[day] < least && (!view.log || series[day] > 0)) least = series[day];
      }
    if (!isFinite(most)) [least, most] = [0, 1];
    const yDomain = view.log ? [Math.max(least, most / 1e4, 1e-6), Math.max(most, 1e-5)] : [Math.min(0, least), most * 1.04 || 1];
    const width = Math.max(chart.clientWidth, 280);
    const main = lines.find((one) => one.key === data.main);
    drawing = plot(chart, {
      width, height: width < 600 ? 280 : 340, xDomain: [from, to], yDomain, yLog: view.log,
      xTicks: dateTicks(from, to, width), yTicks: view.log ? logTicks(...yDomain) : niceTicks(...yDomain, 5), yLabel: data.units,
      title: `Hydrograph of ${gauge.id} ${gauge.name}, ${date(from)} to ${date(to)}: ${drawn.map((one) => one.label).join(", ")}`,
    });
    for (const one of edges)
      element("path", { d: bandPath(one.low, one.high, from, to, drawing.x, drawing.y), fill: main.colour, "fill-opacity": 0.16 }, drawing.inside);
    // The observed line lies on top of all but the main method.
    const rank = (one) => (one.key === data.main ? 2 : one.key === "observed" ? 1 : 0);
    for (const one of [...drawn].sort((a, b) => rank(a) - rank(b)))
      element("path", {
        d: linePath(one.values, from, to, drawing.x, drawing.y), fill: "none", stroke: one.colour, "stroke-width": rank(one) === 2 ? 1.8 : 1.3,
        "stroke-dasharray": one.dash, "stroke-linejoin": "round", "data-key": one.key,
      }, drawing.inside);
    drawing.cursor = element("line", { class: "cursor", y1: drawing.box.y, y2: drawing.box.y + drawing.box.height, x1: -9, x2: -9 }, drawing.inside);
    drawing.range = element("rect", { class: "range", y: drawing.box.y, height: drawing.box.height, x: -9, width: 0 }, drawing.inside);
    drawing.series = drawn;
    drawScatter(gauge, main);
    const here = efficiency(values("scored"), values(data.main), from, to);
    byId("in-view").textContent =
      `${date(from)} to ${date(to)}: ${here.days} scored days, NSE of ${main.label} ${short(here.nse)}`;
    byId("about").textContent =
      `${gauge.id} ${gauge.name}${gauge.area ? `, ${Math.round(gauge.area).toLocaleString("en-GB")} km²` : ""}. NSE: ` +
      lines.filter((one) => one.key in gauge.nse && shown.has(one.key)).map((one) => `${one.label} ${short(gauge.nse[one.key])}`).join("; ");
    for (const link of document.querySelectorAll("svg a")) {
      const id = decodeURIComponent((link.href.baseVal || "").replace("#gauge=", ""));
      link.classList.toggle("here", id === gauge.id);
    }
    for (const [name, off] of [["out", from === 0 && to === data.days - 1], ["left", from === 0], ["right", to === data.days - 1], ["in", to - from < 14]])
      byId(name).disabled = off;
  }

  function drawScatter(gauge, main) {
    const parent = byId("pairs");
    const [observed, simulated] = [values("scored"), values(data.main)];
    const days = [];
    for (let day = view.from; day <= view.to; day++) if (isFinite(observed[day]) && isFinite(simulated[day])) days.push(day);
    if (!days.length) return parent.replaceChildren("No scored day in view.");
    const both = days.flatMap((day) => [observed[day], simulated[day]]).filter((one) => one > 0).sort((a, b) => a - b);
    const most = Math.max(both.at(-1) || 1, 1e-3);
    const least = Math.max(both[Math.floor(both.length / 200)] || most / 100, most / 1e4);
    const side = Math.min(Math.max(parent.clientWidth, 260), 380);
    const ticks = logTicks(least, most);
    const { inside, x, y } = plot(parent, {
      width: side, height: side, xDomain: [least, most], yDomain: [least, most], xLog: true, yLog: true,
      xTicks: ticks.map((one) => [one, String(one)]), yTicks: ticks, xLabel: `observed (${data.units})`, yLabel: `${main.label} (${data.units})`,
      title: `Simulated against observed flow of ${gauge.id} ${gauge.name}: ${days.length} days`,
    });
    element("path", { d: `M${x(least)} ${y(least)}L${x(most)} ${y(most)}`, class: "equal" }, inside);
    const dot = "a1.7 1.7 0 1 0 3.4 0a1.7 1.7 0 1 0-3.4 0";
    const dots = days.map((day) => `M${(x(observed[day]) - 1.7).toFixed(1)} ${y(simulated[day]).toFixed(1)}${dot}`).join("");
    element("path", { d: dots, fill: main.colour, "fill-opacity": 0.45, "fill-rule": "nonzero" }, inside);
    return null;
  }

  function zoomTo(from, to) {
    const span = Math.min(Math.max(Math.round(to - from), 6), data.days - 1);
    view.from = Math.min(Math.max(Math.round(from), 0), data.days - 1 - span);
    view.to = view.from + span;
    const all = span === data.days - 1;
    remember({ from: all ? null : date(view.from), to: all ? null : date(view.to) });
    draw();
  }

  const zoomBy = (factor) => {
    const [middle, half] = [(view.from + view.to) / 2, ((view.to - view.from) / 2) * factor];
    zoomTo(middle - half, middle + half);
  };
  const panBy = (share) => {
    const by = (view.to - view.from) * share;
    zoomTo(view.from + by, view.to + by);
  };

  function choose(number) {
    view.gauge = (number + data.gauges.length) % data.gauges.length;
    byId("gauge").value = String(view.gauge);
    remember({ gauge: data.gauges[view.gauge].id });
    draw();
  }

  /** Take the catchment and the days that the address names, if it names any. */
  function follow() {
    const wanted = data.gauges.findIndex((one) => one.id === state.get("gauge"));
    const day = (key, otherwise) => {
      const found = Math.round((Date.parse(state.get(key)) - start) / DAY);
      return found >= 0 && found < data.days ? found : otherwise;
    };
    [view.from, view.to] = [day("from", 0), day("to", data.days - 1)];
    if (view.to - view.from < 6) [view.from, view.to] = [0, data.days - 1];
    view.log = state.get("log") === "1";
    byId("log").checked = view.log;
    if (wanted >= 0) view.gauge = wanted;
    byId("gauge").value = String(view.gauge);
    draw();
    return wanted >= 0;
  }

  data.gauges.forEach((one, number) =>
    element("option", { value: number }, byId("gauge"), `${one.id} ${one.name} (NSE ${short(one.nse[data.main])})`));
  byId("gauge").addEventListener("change", (event) => choose(Number(event.target.value)));
  const last = data.gauges.length - 1;
  for (const [id, act] of Object.entries({
    best: () => choose(0), median: () => choose(Math.floor(last / 2)), worst: () => choose(last),
    previous: () => choose(view.gauge - 1), next: () => choose(view.gauge + 1),
    in: () => zoomBy(0.5), out: () => zoomTo(0, data.days - 1), left: () => panBy(-0.5), right: () => panBy(0.5),
    save: () => {
      const columns = data.series.map((one) => [one.key, values(one.key)]);
      const rows = Array.from({ length: data.days }, (_, day) => [date(day), ...columns.map(([, series]) => (isFinite(series[day]) ? Number(series[day].toPrecision(5)) : ""))]);
      download(`${data.gauges[view.gauge].id}.csv`, [["date", ...columns.map(([key]) => key)], ...rows]);
    },
  })) byId(id).addEventListener("click", act);
  byId("log").addEventListener("change", (event) => {
    view.log = event.target.checked;
    remember({ log: view.log ? "1" : null });
    draw();
  });

  const boxes = byId("shown");
  const addBox = (key, label, colour, dash, band) => {
    const line = element("label", {}, boxes);
    const box = element("input", { type: "checkbox" }, line);
    box.checked = shown.has(key);
    const sample = document.createElementNS(SVG, "svg");
    for (const [name, value] of Object.entries({ width: 26, height: 10, "aria-hidden": "true" })) sample.setAttribute(name, value);
    line.append(sample);
    if (band) element("rect", { width: 26, height: 10, fill: colour, "fill-opacity": 0.3 }, sample);
    else element("path", { d: "M0 5H26", stroke: colour, "stroke-width": 2.4, "stroke-dasharray": dash }, sample);
    element("span", { class: "name" }, line, label);
    box.addEventListener("change", () => {
      if (box.checked) shown.add(key);
      else shown.delete(key);
      draw();
    });
  };
  lines.forEach((one) => addBox(one.key, one.label, one.colour, one.dash, false));
  bands.forEach((one) => addBox(one, `${Math.round(100 * one)} % interval`, lines.find((line) => line.key === data.main).colour, "", true));

  // Mouse and finger: a drag to either side zooms to what it passes, a tap reads the day.
  const dayAt = (event) => {
    const { box } = drawing;
    const share = (event.clientX - chart.getBoundingClientRect().left - box.x) / box.width;
    return Math.round(view.from + Math.min(Math.max(share, 0), 1) * (view.to - view.from));
  };
  let grabbed = null;
  const readOut = (day) => {
    drawing.cursor.setAttribute("x1", drawing.x(day));
    drawing.cursor.setAttribute("x2", drawing.x(day));
    const told = drawing.series.filter((one) => isFinite(one.values[day])).map((one) => `${one.label} ${one.values[day].toFixed(2)}`);
    byId("readout").textContent = `${date(day)}: ${told.join("; ") || "nothing observed"}`;
  };
  chart.addEventListener("pointerdown", (event) => {
    grabbed = dayAt(event);
    chart.setPointerCapture(event.pointerId);
  });
  chart.addEventListener("pointermove", (event) => {
    const day = dayAt(event);
    readOut(day);
    if (grabbed === null) return;
    const ends = [grabbed, day].sort((a, b) => a - b).map(drawing.x);
    drawing.range.setAttribute("x", ends[0]);
    drawing.range.setAttribute("width", ends[1] - ends[0]);
  });
  chart.addEventListener("pointerup", (event) => {
    const ends = [grabbed, dayAt(event)].sort((a, b) => a - b);
    grabbed = null;
    if (drawing.x(ends[1]) - drawing.x(ends[0]) > 8) zoomTo(...ends);
  });
  chart.addEventListener("pointercancel", () => {
    grabbed = null;
    drawing.range.setAttribute("width", 0);
  });
  chart.addEventListener("dblclick", () => zoomTo(0, data.days - 1));
  chart.addEventListener("keydown", (event) => {
    const act = {
      ArrowLeft: () => panBy(-0.25), ArrowRight: () => panBy(0.25), "+": () => zoomBy(0.5), "=": () => zoomBy(0.5),
      "-": () => zoomBy(2), Home: () => zoomTo(0, data.days - 1),
    }[event.key];
    if (!act || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    act();
  });
  window.addEventListener("hashchange", () => {
    const now = new URLSearchParams(location.hash.slice(1));
    for (const key of ["gauge", "from", "to", "log", "sort"]) if (now.has(key)) state.set(key, now.get(key));
    sortAsAsked();
    if (now.has("gauge") && follow()) {
      byId("explorer").scrollIntoView({ block: "start" });
      remember({});
    }
  });
  let redraw = null;
  window.addEventListener("resize", () => {
    clearTimeout(redraw);
    redraw = setTimeout(draw, 150);
  });
  byId("explorer").hidden = false;
  follow();
})();
