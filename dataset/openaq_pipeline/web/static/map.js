// The map: all locations by their coordinates, over a built-in outline of the land, in Mercator's projection.
"use strict";

(() => {
  const canvas = $("#canvas"), frame = canvas.parentElement, pen = canvas.getContext("2d"), choice = $("#by"), said = $("#said");
  const STATES = ["current", "silent", "failing", "unknown"], LEVELS = ["#00e400", "#ffff00", "#ff7e00", "#ff0000", "#8f3f97", "#7e0023"];
  const COLOURS = { current: "ok", silent: "warn", failing: "bad", unknown: "idle" };
  const UNITS = { c: "°C", f: "°F" };
  const BREAKS = [50, 100, 150, 200, 300];
  const KM = 40_075, NEAREST = 16, LABELLED = 60;
  const tip = made("div", "", "tip");
  let land = null, points = [], view = { x: 0.5, y: 0.5, scale: 300 }, whole = view, hover = null, range = null;

  const across = (longitude) => longitude / 360 + 0.5;
  const down = (latitude) => 0.5 - Math.log(Math.tan(Math.PI / 4 + (clamp(latitude, -84, 84) * Math.PI) / 360)) / (2 * Math.PI);
  const latitude = (y) => (Math.atan(Math.exp((0.5 - y) * 2 * Math.PI)) * 360) / Math.PI - 90;
  const sx = (x) => (x - view.x) * view.scale + frame.clientWidth / 2;
  const sy = (y) => (y - view.y) * view.scale + frame.clientHeight / 2;
  const most = () => 4e7, least = () => Math.max(frame.clientWidth, 200) * 0.95;

  function fit(some) {
    const xs = some.map((p) => p.x), ys = some.map((p) => p.y);
    const low = (list) => list.reduce((a, b) => Math.min(a, b)), high = (list) => list.reduce((a, b) => Math.max(a, b));
    if (!some.length) return { x: 0.5, y: 0.45, scale: least() };
    const width = Math.max(high(xs) - low(xs), 2e-4), height = Math.max(high(ys) - low(ys), 2e-4);
    const scale = Math.min((frame.clientWidth * 0.72) / width, (frame.clientHeight * 0.72) / height);
    return { x: (low(xs) + high(xs)) / 2, y: (low(ys) + high(ys)) / 2, scale: clamp(scale, least(), most()) };
  }

  function outline(rings) {
    const path = new Path2D();
    for (const ring of rings) {
      let x = 0, y = 0;
      for (let at = 0; at < ring.length; at += 2) {
        x += ring[at]; y += ring[at + 1];
        path[at ? "lineTo" : "moveTo"](across(x / 10), down(y / 10));
      }
      path.closePath();
    }
    return path;
  }

  function paint() {
    const width = frame.clientWidth, height = frame.clientHeight, ratio = devicePixelRatio || 1;
    if (canvas.width !== width * ratio || canvas.height !== height * ratio) { canvas.width = width * ratio; canvas.height = height * ratio; }
    pen.setTransform(ratio, 0, 0, ratio, 0, 0);
    pen.fillStyle = ink("water");
    pen.fillRect(0, 0, width, height);
    if (land) for (const turn of [-1, 0, 1]) ground(land, width / 2, height / 2, view.scale, view.x + turn, view.y, 0.8);
    pen.setTransform(ratio, 0, 0, ratio, 0, 0);
    pen.font = `11px ${getComputedStyle(document.body).fontFamily}`;
    graticule(width, height);
    dots(width, height);
    ruler(height);
    if (view.scale > frame.clientWidth * 8) inset(width, height);
  }

  function ground(path, left, top, scale, x, y, line) {
    pen.save();
    pen.translate(left, top);
    pen.scale(scale, scale);
    pen.translate(-x, -y);
    pen.fillStyle = ink("land");
    pen.fill(path);
    pen.strokeStyle = ink("coast");
    pen.lineWidth = line / scale;
    pen.stroke(path);
    pen.restore();
  }

  function graticule(width, height) {
    const degrees = (110 * 360) / view.scale, step = [30, 15, 10, 5, 2, 1, 0.5, 0.2, 0.1, 0.05, 0.02, 0.01, 0.005, 0.002, 0.001].filter((each) => each >= degrees).pop() ?? 30;
    const digits = Math.max(0, -Math.floor(Math.log10(step) + 1e-9));
    const name = (value, more, less) => `${Math.abs(value).toFixed(digits)}° ${value < -1e-9 ? less : value > 1e-9 ? more : ""}`.trim();
    pen.strokeStyle = ink("grid"); pen.fillStyle = ink("soft"); pen.lineWidth = 1; pen.textBaseline = "top"; pen.textAlign = "left";
    pen.beginPath();
    const west = ((view.x - width / 2 / view.scale) - 0.5) * 360, east = ((view.x + width / 2 / view.scale) - 0.5) * 360;
    for (let at = Math.ceil(Math.max(west, -180) / step) * step; at <= Math.min(east, 180); at += step) {
      const x = Math.round(sx(across(at))) + 0.5;
      pen.moveTo(x, 0); pen.lineTo(x, height);
      if (x > 30 && x < width - 50) pen.fillText(name(at, "E", "W"), x + 4, 5);
    }
    const south = latitude(view.y + height / 2 / view.scale), north = latitude(view.y - height / 2 / view.scale);
    for (let at = Math.ceil(Math.max(south, -80) / step) * step; at <= Math.min(north, 84); at += step) {
      const y = Math.round(sy(down(at))) + 0.5;
      pen.moveTo(0, y); pen.lineTo(width, y);
      if (y > 22 && y < height - 34) pen.fillText(name(at, "N", "S"), 6, y + 4);
    }
    pen.stroke();
  }

  function ruler(height) {
    const km = (KM * Math.cos((latitude(view.y) * Math.PI) / 180)) / view.scale, raw = km * 120, size = 10 ** Math.floor(Math.log10(raw));
    const length = [5, 2, 1].map((each) => each * size).find((each) => each <= raw) ?? size, pixels = length / km;
    pen.strokeStyle = ink("ink"); pen.fillStyle = ink("ink"); pen.lineWidth = 1.5; pen.textBaseline = "bottom";
    pen.beginPath();
    pen.moveTo(14, height - 18); pen.lineTo(14, height - 13); pen.lineTo(14 + pixels, height - 13); pen.lineTo(14 + pixels, height - 18);
    pen.stroke();
    pen.fillText(length >= 1 ? `${length.toLocaleString("en")} km` : `${Math.round(length * 1000)} m`, 18, height - 16);
  }

  // Where on the globe this is, once no coast can be seen any more.
  function inset(width, height) {
    const wide = Math.min(190, width * 0.3), tall = wide * 0.56, left = width - wide - 12, top = height - tall - 12, scale = wide, y = 0.44;
    pen.save();
    pen.beginPath(); pen.rect(left, top, wide, tall); pen.clip();
    pen.fillStyle = ink("water"); pen.fillRect(left, top, wide, tall);
    if (land) for (const turn of [-1, 0, 1]) ground(land, left + wide / 2, top + tall / 2, scale, 0.5 + turn, y, 0.4);
    pen.restore();
    pen.strokeStyle = ink("rule"); pen.lineWidth = 1; pen.strokeRect(left + 0.5, top + 0.5, wide, tall);
    const x = left + wide / 2 + (view.x - 0.5) * scale, at = top + tall / 2 + (view.y - y) * scale;
    pen.strokeStyle = ink("bad"); pen.lineWidth = 1.5;
    pen.beginPath(); pen.arc(x, at, 5, 0, 7); pen.stroke();
  }

  function colour(point) {
    if (!choice.value) return ink(COLOURS[STATES[point.state]]);
    if (point.level !== null) return LEVELS[point.level];
    if (point.value === null || !range) return ink("wash");
    const share = range[1] > range[0] ? clamp((point.value - range[0]) / (range[1] - range[0]), 0, 1) : 0.5;
    return `hsl(${215 - share * 15} ${35 + share * 45}% ${dark.matches ? 30 + share * 45 : 82 - share * 50}%)`;
  }

  function shape(point, x, y, size) {
    pen.beginPath();
    if (point.state === 1) { pen.moveTo(x, y - size * 1.15); pen.lineTo(x + size * 1.1, y + size * 0.85); pen.lineTo(x - size * 1.1, y + size * 0.85); pen.closePath(); }
    else if (point.state === 2) pen.rect(x - size * 0.9, y - size * 0.9, size * 1.8, size * 1.8);
    else pen.arc(x, y, size, 0, 7);
  }

  function dots(width, height) {
    const seen = points.filter((p) => { const x = sx(p.x), y = sy(p.y); return x > -9 && y > -9 && x < width + 9 && y < height + 9; });
    const size = seen.length > 2000 ? 2.5 : seen.length > 300 ? 4 : 6.5;
    const order = choice.value ? (p) => p.level ?? p.value ?? -1 : (p) => [0, 2, 3, 1][p.state];
    for (const p of seen.sort((a, b) => order(a) - order(b))) {
      shape(p, sx(p.x), sy(p.y), size);
      pen.fillStyle = colour(p); pen.fill();
      pen.strokeStyle = p === hover ? ink("ink") : choice.value ? ink("soft") : ink("paper");
      pen.lineWidth = p === hover ? 2.5 : 1.2;
      pen.stroke();
      if (p.state === 3 && !choice.value) { pen.fillStyle = ink("paper"); pen.beginPath(); pen.arc(sx(p.x), sy(p.y), size * 0.45, 0, 7); pen.fill(); }
    }
    if (seen.length <= LABELLED) labels(seen, size, width);
  }

  function labels(seen, size, width) {
    const taken = seen.map((p) => [sx(p.x) - size - 3, sy(p.y) - size, sx(p.x) + size + 3, sy(p.y) + size]);
    pen.font = `600 12px ${getComputedStyle(document.body).fontFamily}`;
    pen.textBaseline = "middle"; pen.textAlign = "left"; pen.lineJoin = "round";
    for (const p of seen) {
      const text = (p.name.length > 32 ? `${p.name.slice(0, 31)}…` : p.name) + (choice.value && p.value !== null ? `  ${figure(p.value)}` : "");
      const long = pen.measureText(text).width, x = sx(p.x), y = sy(p.y);
      const spots = [[x + size + 5, y], [x - size - 5 - long, y], [x - long / 2, y - size - 9], [x - long / 2, y + size + 9]];
      const spot = spots.find(([left, middle]) => left > 2 && left + long < width - 2 && !taken.some((box) => left < box[2] && left + long > box[0] && middle - 7 < box[3] && middle + 7 > box[1]));
      if (!spot) continue;
      taken.push([spot[0], spot[1] - 7, spot[0] + long, spot[1] + 7]);
      pen.strokeStyle = ink("land"); pen.lineWidth = 3; pen.strokeText(text, ...spot);
      pen.fillStyle = ink("ink"); pen.fillText(text, ...spot);
    }
    pen.font = `11px ${getComputedStyle(document.body).fontFamily}`;
  }

  const words = (p) => `${p.name} · ${STATES[p.state] === "unknown" ? "never read" : STATES[p.state]}${choice.value ? (p.value === null ? " · no value of the last day" : ` · ${figure(p.value)} ${p.unit}${p.level === null ? "" : ` · index ${p.index}`}`) : ""}`;

  function point(p, aloud = false) {
    if (p === hover && !aloud) return;
    hover = p;
    canvas.style.cursor = p ? "pointer" : "grab";
    if (p) tip.textContent = words(p);
    if (p && aloud) said.textContent = words(p);
    placeTip();
    again();
  }

  // Puts the tip to its point, if that is in sight.
  function placeTip() {
    const x = hover ? sx(hover.x) : -1, y = hover ? sy(hover.y) : -1;
    if (x < 0 || y < 0 || x > frame.clientWidth || y > frame.clientHeight) return tip.remove();
    frame.append(tip);
    tip.style.left = `${clamp(x - tip.offsetWidth / 2, 4, Math.max(4, frame.clientWidth - tip.offsetWidth - 4))}px`;
    tip.style.top = `${clamp(y - 42, 4, frame.clientHeight - 30)}px`;
  }

  function nearest(x, y, within = NEAREST) {
    let found = null, best = within * within;
    for (const p of points) { const far = (sx(p.x) - x) ** 2 + (sy(p.y) - y) ** 2; if (far < best) { best = far; found = p; } }
    return found;
  }

  let due = 0;
  const again = () => { due ||= requestAnimationFrame(() => { due = 0; paint(); }); };
  const go = (x, y, scale) => { view = { x: clamp(x, 0, 1), y: clamp(y, 0.05, 0.95), scale: clamp(scale, least(), most()) }; placeTip(); again(); };
  const open = (p) => { location.href = `/locations/${p.id}`; };

  function zoom(factor, px = frame.clientWidth / 2, py = frame.clientHeight / 2) {
    const x = view.x + (px - frame.clientWidth / 2) / view.scale, y = view.y + (py - frame.clientHeight / 2) / view.scale, scale = clamp(view.scale * factor, least(), most());
    go(x - (px - frame.clientWidth / 2) / scale, y - (py - frame.clientHeight / 2) / scale, scale);
  }

  const held = new Map();
  let moved = 0;
  const place = (event) => { const box = canvas.getBoundingClientRect(); return [event.clientX - box.left, event.clientY - box.top]; };
  canvas.addEventListener("pointerdown", (event) => { canvas.setPointerCapture(event.pointerId); held.set(event.pointerId, place(event)); if (held.size === 1) moved = 0; });
  canvas.addEventListener("pointermove", (event) => {
    const now = place(event), before = held.get(event.pointerId);
    if (!before) return point(nearest(...now));
    const other = [...held.entries()].find(([id]) => id !== event.pointerId)?.[1];
    if (other) zoom(Math.hypot(now[0] - other[0], now[1] - other[1]) / Math.max(1, Math.hypot(before[0] - other[0], before[1] - other[1])), ...other);
    else if ((moved += Math.hypot(now[0] - before[0], now[1] - before[1])) > 3) go(view.x - (now[0] - before[0]) / view.scale, view.y - (now[1] - before[1]) / view.scale, view.scale);
    held.set(event.pointerId, now);
  });
  canvas.addEventListener("pointerup", (event) => {
    const p = held.size === 1 && moved <= 3 ? nearest(...place(event)) : null;
    held.delete(event.pointerId);
    if (p) open(p);
  });
  canvas.addEventListener("pointercancel", (event) => held.delete(event.pointerId));
  canvas.addEventListener("pointerleave", () => held.size || point(null));
  canvas.addEventListener("wheel", (event) => { event.preventDefault(); zoom(2 ** clamp(-event.deltaY / 240, -1, 1), ...place(event)); }, { passive: false });
  canvas.addEventListener("dblclick", (event) => zoom(2, ...place(event)));

  const step = (by) => {
    const seen = points.filter((p) => sx(p.x) >= 0 && sy(p.y) >= 0 && sx(p.x) <= frame.clientWidth && sy(p.y) <= frame.clientHeight).sort((a, b) => a.x - b.x || a.id - b.id);
    if (seen.length) point(seen[(seen.indexOf(hover) + by + seen.length) % seen.length], true);
  };
  const actions = {
    ArrowLeft: () => go(view.x - 80 / view.scale, view.y, view.scale), ArrowRight: () => go(view.x + 80 / view.scale, view.y, view.scale),
    ArrowUp: () => go(view.x, view.y - 80 / view.scale, view.scale), ArrowDown: () => go(view.x, view.y + 80 / view.scale, view.scale),
    "+": () => zoom(1.6), "=": () => zoom(1.6), "-": () => zoom(1 / 1.6), 0: () => go(whole.x, whole.y, whole.scale),
    n: () => step(1), p: () => step(-1), Enter: () => hover && open(hover), Escape: () => point(null),
  };
  canvas.addEventListener("keydown", (event) => {
    const action = event.ctrlKey || event.metaKey || event.altKey ? null : actions[event.key];
    if (action) { event.preventDefault(); action(); }
  });
  for (const button of $$("[data-map]")) button.addEventListener("click", () => actions[button.dataset.map]());
  choice.addEventListener("change", () => { history.replaceState(null, "", choice.value ? `/map?parameter=${encodeURIComponent(choice.value)}` : "/map"); load(); });

  async function load() {
    const by = choice.value;
    for (const each of $$("[data-legend]")) each.hidden = each.dataset.legend !== (by ? "value" : "state");
    try {
      const data = await (await asked(`/api/v1/map${by ? `?parameter=${encodeURIComponent(by)}` : ""}`, "The map")).json();
      if (by !== choice.value) return;
      const isFirst = !points.length;
      points = data.id.map((id, at) => ({
        id, name: data.name[at] || `Location ${id}`, x: across(data.lon[at]), y: down(data.lat[at]), state: STATES.indexOf(data.status[at]),
        value: data.value[at], unit: UNITS[data.units[at]] ?? data.units[at], index: data.aqi[at], level: data.aqi[at] === null ? null : BREAKS.filter((each) => data.aqi[at] > each).length,
      }));
      const values = points.filter((p) => p.value !== null && p.level === null).map((p) => p.value).sort((a, b) => a - b);
      range = values.length ? [values[Math.floor(values.length * 0.05)], values[Math.ceil(values.length * 0.95) - 1]] : null;
      $("#scale").hidden = !by || !range;
      if (range) { $("#scale-low").textContent = figure(range[0]); $("#scale-high").textContent = `${figure(range[1])} ${points.find((p) => p.value !== null && p.level === null).unit}`; }
      $("#levels").hidden = !by || !points.some((p) => p.level !== null);
      if (isFirst) {
        const at = Number(new URLSearchParams(location.search).get("at")), one = points.find((p) => p.id === at);
        whole = fit(points);
        view = one ? { x: one.x, y: one.y, scale: Math.max(whole.scale, 4e5) } : whole;
        if (one) requestAnimationFrame(() => point(one));
      }
      if (hover) { const same = points.find((p) => p.id === hover.id); hover = null; point(same ?? null, Boolean(same && said.textContent)); }
      again();
      if (data.pending) setTimeout(() => by === choice.value && load(), 300);
      complain();
    } catch (error) { complain(error.message); }
  }

  new ResizeObserver(again).observe(frame);
  dark.addEventListener("change", again);
  fetch("/static/vendor/land.json").then((answer) => answer.json()).then((rings) => { land = outline(rings); again(); });
  load();
})();
