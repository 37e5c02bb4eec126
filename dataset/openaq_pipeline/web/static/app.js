// The one script of the pages. Everything it shows is there without it, but for zooming and the map.
// Names may be anything: they are only ever set as text, never as markup.
"use strict";

const $ = (selector, within = document) => within.querySelector(selector);
const $$ = (selector, within = document) => [...within.querySelectorAll(selector)];
const made = (name, text, className) => Object.assign(document.createElement(name), { textContent: text ?? "", className: className ?? "" });
const ink = (name) => getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();
const dark = matchMedia("(prefers-color-scheme: dark)");
const clamp = (value, low, high) => Math.min(Math.max(value, low), high);

// A measured value with three digits that count, or all in front of the point: just as `wording.number` writes it.
function figure(value) {
  if (value === null || value === undefined) return "–";
  const [mantissa, exponent] = value.toExponential(2).split("e"), power = Number(exponent);
  if (power < -6 || power >= 7) return `${mantissa}e${power}`.replaceAll("-", "−");
  const [whole, ...rest] = value.toFixed(Number.isInteger(value) ? 0 : Math.max(0, 2 - power)).split(".");
  return [whole.replace(/\B(?=(\d{3})+$)/g, ","), ...rest].join(".").replace("-", "−");
}

function tick(value) {
  const size = Math.abs(value);
  return size >= 1e7 || (size && size < 1e-6) ? figure(value) : value.toLocaleString("en", { maximumSignificantDigits: 6 }).replace("-", "−");
}

async function asked(address, what) {
  const answer = await fetch(address, { cache: "no-cache" });
  if (answer.ok) return answer;
  const page = new DOMParser().parseFromString(await answer.text(), "text/html");
  throw new Error($("h1", page)?.textContent || `${what} could not be had (${answer.status})`);
}

function complain(message) {
  let note = $("#trouble");
  if (!message) return note?.remove();
  if (!note) {
    note = made("p", "", "note is-bad");
    note.id = "trouble";
    note.setAttribute("role", "alert");
    $("main").prepend(note);
  }
  note.textContent = message;
}

// A page that refreshes itself: what is marked `data-live` is exchanged where it has changed.

const EVERY_MS = 30_000;

function live() {
  const pause = $("#pause"), find = $("#find");
  let paused = false, tag = null, latest = 0;

  async function refresh(address = location.href) {
    const mine = ++latest;
    try {
      const answer = await asked(address, "The page");
      const found = answer.headers.get("ETag");
      if (mine !== latest) return;
      if (!found || found !== tag || address !== location.href) exchange(new DOMParser().parseFromString(await answer.text(), "text/html"));
      tag = found;
      complain();
    } catch (error) {
      const since = $("[data-live=asof] time")?.textContent;
      complain(`This page could not be refreshed${since ? `; it is as of ${since}` : ""}. Is the server running?`);
    }
  }

  pause?.addEventListener("click", () => {
    paused = !paused;
    pause.setAttribute("aria-pressed", paused);
    pause.textContent = paused ? "Paused" : "Pause";
    if (!paused) refresh();
  });
  setInterval(() => paused || document.hidden || refresh(), EVERY_MS);
  document.addEventListener("visibilitychange", () => paused || document.hidden || refresh());

  let typed;
  const search = () => {
    const given = new URLSearchParams([...new FormData(find)].filter(([, value]) => value));
    const address = new URL(`/${`${given}` ? `?${given}` : ""}`, location.href).href;
    if (address === location.href) return;
    history.replaceState(null, "", address);
    tag = null;
    refresh(address);
  };
  find?.addEventListener("input", () => { clearTimeout(typed); typed = setTimeout(search, 250); });
  find?.addEventListener("submit", (event) => { event.preventDefault(); clearTimeout(typed); search(); });
}

function exchange(page) {
  const before = $("[data-status]")?.dataset.status, held = focused();
  const fresh = new Map($$("[data-live]", page).map((each) => [each.dataset.live, each]));
  const picked = getSelection().isCollapsed ? null : getSelection().anchorNode;
  let previous = null;
  for (const [name, element] of fresh) {
    const old = $(`[data-live="${name}"]`);
    const next = document.importNode(element, true);
    if (!old && previous) previous.after(next);
    else if (old && old.innerHTML !== element.innerHTML && !old.contains(picked)) old.replaceWith(next);
    previous = $(`[data-live="${name}"]`);
  }
  for (const old of $$("[data-live]")) if (!fresh.has(old.dataset.live)) old.remove();
  document.title = page.title;
  held?.();
  const after = $("[data-status]")?.dataset.status, said = $("#said");
  if (said && before !== after) said.textContent = $("h1").textContent;
}

// Returns how to give the focus back to what stands for the focused element then.
function focused() {
  const active = document.activeElement;
  if (!active?.closest("[data-live]")) return null;
  const same = () => $$(active.id ? `#${CSS.escape(active.id)}` : active.localName).filter((each) => each.getAttribute("href") === active.getAttribute("href"));
  const place = same().indexOf(active);
  return () => active.isConnected || (same()[place] ?? same()[0])?.focus({ preventScroll: true });
}

// The series of a location.

const LEAST_SECONDS = 7200, MARK = 4.5;

function charts() {
  const home = $("#series"), path = `/locations/${home.dataset.location}`, box = $("#charts"), zone = home.dataset.timezone;
  const plots = new Map();
  const first = new URLSearchParams(location.search);
  const usual = first.has("datetime_from") || first.has("datetime_to") ? first : new URLSearchParams({ range: first.get("range") ?? "week" });
  let shown = null, latest = 0;

  const clock = (options) => new Intl.DateTimeFormat("en-GB", { timeZone: zone, hourCycle: "h23", ...options });
  const printed = clock({ day: "numeric", month: "short", year: "numeric", hour: "2-digit", minute: "2-digit" });
  const sorted = clock({ year: "numeric", month: "2-digit", day: "2-digit", hour: "2-digit", minute: "2-digit" });
  const field = (seconds) => {
    const part = Object.fromEntries(sorted.formatToParts(seconds * 1000).map(({ type, value }) => [type, value]));
    return `${part.year.padStart(4, "0")}-${part.month}-${part.day}T${part.hour}:${part.minute}`;
  };
  const iso = (seconds) => new Date(seconds * 1000).toISOString().replace(".000", "");

  async function load(query, keep = true) {
    const mine = ++latest, points = clamp(Math.round(box.clientWidth * 1.5), 300, 4000);
    home.setAttribute("aria-busy", "true");
    try {
      const data = await (await asked(`${path}/series.json?${query}&most_points=${points}`, "The series")).json();
      if (mine !== latest) return;
      complain();
      shown = data;
      draw(data);
      if (keep) history.replaceState(null, "", `${path}?${query}`);
      for (const link of $$("[data-range]")) link.dataset.range === query.get("range") ? link.setAttribute("aria-current", "true") : link.removeAttribute("aria-current");
    } catch (error) {
      if (mine === latest) complain(error.message);
    } finally {
      if (mine === latest) home.removeAttribute("aria-busy");
    }
  }

  function draw(data) {
    const ids = new Set(data.series.map((each) => String(each.sensors_id)));
    const held = document.activeElement;
    for (const old of $$(".chart")) if (!ids.has(old.dataset.sensor)) { plots.get(old.dataset.sensor)?.destroy(); plots.delete(old.dataset.sensor); old.remove(); }
    $(".none", box)?.remove();
    if (held?.isConnected === false) box.focus({ preventScroll: true }); // it hears the keys as the chart did that is gone
    if (!data.series.length) box.append(made("p", "No row is stored from then.", "none"));
    for (const each of data.series) one(each);
    list(data.series);
    if (data.first !== null) {
      $("[name=datetime_from]").value = field(data.first);
      $("[name=datetime_to]").value = field(data.last + 59); // rounded up: the newest row may be seconds past the minute
      for (const link of $$("[data-format]")) link.href = `/api/v1${path}/measurements?${new URLSearchParams({ format: link.dataset.format, datetime_from: iso(data.first), datetime_to: iso(data.last) })}`;
      $("#said").textContent = `Shown: ${printed.format(data.first * 1000)} to ${printed.format(data.last * 1000)}`;
    }
  }

  function one(each) {
    const id = String(each.sensors_id);
    let place = $(`.chart[data-sensor="${id}"]`);
    if (!place) {
      place = made("figure", "", "chart");
      place.dataset.sensor = id;
      const caption = made("figcaption"), head = made("h3", `${each.title} `);
      head.append(made("span", each.unit, "unit"));
      caption.append(head, made("span", "", "small soft summary"));
      place.append(caption, made("div", "", "plot"));
      box.append(place);
    }
    const values = each.values.filter((value) => value !== null), plot = $(".plot", place);
    const span = values.length ? `, ${figure(values.reduce((a, b) => Math.min(a, b)))} to ${figure(values.reduce((a, b) => Math.max(a, b)))}` : "";
    const summary = $(".summary", place), words = `${each.rows.toLocaleString("en")} row${each.rows === 1 ? "" : "s"}${span}`;
    summary.textContent = words + (each.odd_rows ? ", " : "");
    if (each.odd_rows) summary.append(made("span", `▲ ${each.odd_rows.toLocaleString("en")} odd`, "is-warning"));
    plot.setAttribute("role", "group");
    plot.setAttribute("aria-roledescription", "chart");
    plot.setAttribute("aria-label", `${each.title} over time: ${words} ${each.unit}`);
    plot.tabIndex = 0;
    const drawn = plots.get(id);
    if (drawn) {
      drawn.told = each;
      return drawn.setData([each.times, each.values]);
    }
    plot.replaceChildren();
    const made_ = new uPlot(options(each, plot), [each.times, each.values], plot);
    made_.told = each;
    plots.set(id, made_);
  }

  function options(each, plot) {
    const tip = made("div", "", "tip");
    tip.hidden = true;
    const axis = { stroke: ink("soft"), font: "12px " + getComputedStyle(document.body).fontFamily, grid: { stroke: ink("line"), width: 1 }, ticks: { stroke: ink("line"), width: 1, size: 5 } };
    const day = "\n{D} {MMM}", none = [null, null, null, null, null, 1];
    return {
      width: plot.clientWidth, height: plot.clientHeight, legend: { show: false },
      tzDate: (seconds) => uPlot.tzDate(new Date(seconds * 1000), zone),
      scales: { x: { range: (_, low, high) => shown.first === null ? [low, high] : [shown.first, shown.last] } },
      cursor: { sync: { key: "time" }, drag: { x: true, y: false, setScale: false }, points: { size: 7 }, bind: { dblclick: () => () => { load(usual); return null; } } },
      axes: [
        { ...axis, space: 70, values: [[31536e3, "{YYYY}", ...[null, ...none]], [2419200, "{MMM}", "\n{YYYY}", ...none], [86400, "{D} {MMM}", "\n{YYYY}", ...none], [60, "{HH}:{mm}", day + " {YYYY}", null, day, null, null, null, 1], [1, "{HH}:{mm}:{ss}", day, null, day, null, null, null, 1]] },
        { ...axis, size: 56, space: 34, values: (_, ticks) => ticks.map(tick) },
      ],
      series: [{}, { stroke: ink("series"), width: 1.5, spanGaps: false, points: { size: 4, fill: ink("series") } }],
      hooks: {
        init: [(u) => u.over.append(tip)],
        setSelect: [(u) => {
          if (u.select.width < 4) return;
          const from = u.posToVal(u.select.left, "x"), to = u.posToVal(u.select.left + u.select.width, "x");
          u.setSelect({ left: 0, top: 0, width: 0, height: 0 }, false);
          zoom(from, to);
        }],
        setCursor: [(u) => {
          const at = u.cursor.idx, value = at === null || at === undefined ? null : u.data[1][at];
          tip.hidden = value === null || value === undefined || u.cursor.left < 0;
          if (tip.hidden) return;
          tip.textContent = `${figure(value)} ${u.told.unit} · ${printed.format(u.data[0][at] * 1000)}`;
          const left = u.valToPos(u.data[0][at], "x");
          tip.style.left = `${clamp(left + 12, 0, Math.max(0, u.over.clientWidth - tip.offsetWidth))}px`;
          tip.style.top = `${clamp(u.valToPos(value, "y") - 34, 0, u.over.clientHeight - 26)}px`;
        }],
        draw: [marks],
      },
    };
  }

  function marks(u) {
    const { ctx, bbox } = u, size = MARK * devicePixelRatio;
    ctx.save();
    ctx.fillStyle = ink("warn");
    ctx.strokeStyle = ink("paper");
    for (const [at, value] of u.told?.odd ?? []) {
      const x = u.valToPos(at, "x", true);
      if (x < bbox.left || x > bbox.left + bbox.width) continue;
      const y = value === null ? bbox.top + bbox.height - size : clamp(u.valToPos(value, "y", true), bbox.top + size, bbox.top + bbox.height - size);
      ctx.beginPath();
      ctx.moveTo(x, y - size);
      ctx.lineTo(x + size, y + size);
      ctx.lineTo(x - size, y + size);
      ctx.closePath();
      ctx.fill();
      ctx.stroke();
    }
    ctx.restore();
  }

  function list(series) {
    const rows = series.flatMap((each) => each.odd.map(([at, value, issues]) => [at, each, value, issues])).sort((a, b) => b[0] - a[0]).slice(0, 200);
    $("#odd").hidden = !rows.length;
    $("#odd tbody").replaceChildren(...rows.map(([at, each, value, issues]) => {
      const row = made("tr"), head = made("th", field(at).replace("T", " ")), amount = made("td", `${figure(value)} `, "num nowrap");
      head.scope = "row";
      amount.append(made("span", each.unit, "unit"));
      row.append(head, made("td", each.title), amount, made("td", issues.join(", ").replaceAll("_", " ")));
      return row;
    }));
  }

  function zoom(from, to) {
    const middle = (from + to) / 2, half = Math.max(to - from, LEAST_SECONDS) / 2;
    const now = Date.now() / 1000 + 86400 * 400;
    const minute = (seconds, round) => iso(round(seconds / 60) * 60);
    load(new URLSearchParams({ datetime_from: minute(Math.max(0, middle - half), Math.floor), datetime_to: minute(Math.min(now, middle + half), Math.ceil) }));
  }

  function move(how) {
    if (how === "reset") return load(usual);
    if (!shown || shown.first === null) return;
    const length = shown.last - shown.first, step = length / 2;
    if (how === "earlier") zoom(shown.first - step, shown.last - step);
    if (how === "later") zoom(shown.first + step, shown.last + step);
    if (how === "in") zoom(shown.first + length / 4, shown.last - length / 4);
    if (how === "out") zoom(shown.first - step, shown.last + step);
  }

  const keys = { ArrowLeft: "earlier", ArrowRight: "later", "+": "in", "=": "in", "-": "out", 0: "reset" };
  box.addEventListener("keydown", (event) => {
    const how = event.ctrlKey || event.metaKey || event.altKey ? null : keys[event.key];
    if (how) { event.preventDefault(); move(how); }
  });
  for (const button of $$("[data-move]")) button.addEventListener("click", () => move(button.dataset.move));
  for (const link of $$("[data-range]")) link.addEventListener("click", (event) => { event.preventDefault(); load(new URLSearchParams({ range: link.dataset.range })); });
  $("#range").addEventListener("submit", (event) => {
    event.preventDefault();
    load(new URLSearchParams([...new FormData(event.target)].filter(([, value]) => value)));
  });
  new ResizeObserver(() => { for (const u of plots.values()) { const to = u.root.parentElement; if (to.clientWidth !== u.width) u.setSize({ width: to.clientWidth, height: to.clientHeight }); } }).observe(box);
  dark.addEventListener("change", () => { for (const u of plots.values()) u.destroy(); plots.clear(); if (shown) draw(shown); });
  load(usual, false);
}

function calendars() {
  const home = $(".calendars");
  if (!home) return;
  const start = new Date(`${home.dataset.first}T00:00Z`), weekday = (start.getUTCDay() + 6) % 7;
  const words = Object.fromEntries([...$$(".legend li")].map((each) => [$("rect", each).classList[0].slice(2), each.textContent]));
  const tip = made("div", "", "tip");
  for (const calendar of $$(".calendar")) {
    const held = calendar.dataset.held.split(" "), due = calendar.dataset.due.split(" "), drawn = $("svg", calendar);
    drawn.addEventListener("pointermove", (event) => {
      const area = drawn.getBoundingClientRect(), ratio = drawn.viewBox.baseVal.width / area.width;
      const row = Math.floor(((event.clientY - area.top) * ratio - 14) / 11);
      const day = Math.floor(((event.clientX - area.left) * ratio - 26) / 11) * 7 + row - weekday;
      const kind = event.target.localName === "path" && held[day] !== undefined ? event.target.classList[0].slice(2) : null;
      if (!kind) return tip.remove();
      const date = new Date(start.getTime() + day * 864e5).toISOString().slice(0, 10);
      tip.textContent = `${date}: ${words[kind].toLowerCase()}${held[day] >= 0 && due[day] >= 0 ? `, ${held[day]} of ${due[day]} rows` : ""}`;
      calendar.append(tip);
      const box = calendar.getBoundingClientRect();
      tip.style.left = `${clamp(event.clientX - box.left - tip.offsetWidth / 2, 0, Math.max(0, box.width - tip.offsetWidth))}px`;
      tip.style.top = `${event.clientY - box.top - 38}px`;
    });
    drawn.addEventListener("pointerleave", () => tip.remove());
  }
}

for (const each of $$("[data-script]")) each.hidden = false;
for (const each of $$("[data-plain]")) each.hidden = true;
const page = document.body.dataset.page;
if (page === "status" || page === "live") live();
if (page === "location") { charts(); calendars(); }
