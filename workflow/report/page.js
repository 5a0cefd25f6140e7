"use strict";
(() => {
  const element = (id) => document.getElementById(id);
  const specs = {}, drawn = {};

  // --- figures: drawn from the JSON beside them
  const config = (spec) => ({responsive: true, displaylogo: false,
    modeBarButtons: [["toImage", spec.layout.scene ? "resetCameraDefault3d" : "resetScale2d"]]});
  for (const place of document.querySelectorAll("[data-figure]")) {
    const spec = specs[place.id] = JSON.parse(element(place.dataset.figure).textContent);
    drawn[place.id] = Plotly.newPlot(place, spec.data, spec.layout, config(spec))
      .catch((error) => { place.dataset.failed = "yes"; place.textContent = "This figure could not be drawn here (" + error.message + "); its numbers are in the files."; });
  }

  // --- structures: one colour choice, one camera, arrow keys
  const scenes = [...document.querySelectorAll(".plot[id^='scene-']")];
  const solid = [...document.querySelectorAll(".plot")].filter((place) => specs[place.id].layout.scene);
  const shown = (place) => !place.dataset.failed;
  element("colour").addEventListener("change", (event) => {
    for (const place of scenes.filter(shown)) Plotly.restyle(place, {"marker.color": [specs[place.id].colours[event.target.value]]}, [specs[place.id].atoms_trace]);
  });
  if (element("window")) element("window").addEventListener("change", (event) => {
    for (const place of scenes.filter((other) => shown(other) && specs[other.id].windows)) {
      const ranges = specs[place.id].windows[event.target.value];
      Plotly.relayout(place, Object.fromEntries(["x", "y", "z"].map((name, k) => ["scene." + name + "axis.range", ranges[k]])));
    }
  });
  let following = false;
  for (const place of scenes) drawn[place.id].then(() => place.on && place.on("plotly_relayout", (change) => {
    if (following || !change["scene.camera"]) return;
    following = true;
    Promise.all(scenes.filter((other) => other !== place && shown(other)).map((other) => Plotly.relayout(other, {"scene.camera": change["scene.camera"]})))
      .finally(() => { following = false; });
  }));
  const turns = {ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1]};
  for (const place of solid) {
    place.tabIndex = 0;
    place.setAttribute("role", "application");
    place.setAttribute("aria-roledescription", "drawing that the arrow keys turn");
    place.addEventListener("keydown", (event) => {
      const turn = turns[event.key];
      if (!turn || !shown(place)) return;
      event.preventDefault();
      const camera = place._fullLayout.scene.camera, {x, y, z} = camera.eye, size = Math.hypot(x, y, z);
      const azimuth = Math.atan2(y, x) + 0.2 * turn[0];
      const height = Math.max(-1.4, Math.min(1.4, Math.asin(z / size) + 0.2 * turn[1]));
      const eye = {x: size * Math.cos(height) * Math.cos(azimuth), y: size * Math.cos(height) * Math.sin(azimuth), z: size * Math.sin(height)};
      Plotly.relayout(place, {"scene.camera": {...camera, eye}});
    });
  }

  // --- the mode: atoms and bonds follow positions + amplitude sin(phase) vector
  const stage = element("animation"), amplitude = element("amplitude");
  if (stage && amplitude) {
    const {positions, vector, pairs} = specs.animation.motion, period = 1500;
    let playing = false, phase = Math.PI / 2, last = 0;
    const frame = () => {
      if (!shown(stage)) return Promise.resolve();
      const size = amplitude.value * Math.sin(phase);
      const moved = positions.map((p, i) => p.map((x, k) => x + size * vector[i][k]));
      const axes = ["x", "y", "z"];
      const atoms = Object.fromEntries(axes.map((name, k) => [name, moved.map((p) => p[k])]));
      const bonds = Object.fromEntries(axes.map((name, k) => [name, pairs.flatMap(([i, j]) => [moved[i][k], moved[j][k], null])]));
      return Plotly.restyle(stage, Object.fromEntries(axes.map((name) => [name, [bonds[name], atoms[name]]])), [0, 1]);
    };
    const turn = (now) => {
      if (!playing) return;
      phase += 2 * Math.PI * Math.min(now - last, 100) / period;
      last = now;
      frame().then(() => requestAnimationFrame(turn), () => { playing = false; });
    };
    element("play").addEventListener("click", () => {
      if (playing) return;
      playing = true;
      drawn.animation.then(() => requestAnimationFrame((now) => { last = now; turn(now); }));
    });
    element("pause").addEventListener("click", () => { playing = false; phase = Math.PI / 2; drawn.animation.then(frame); });
    drawn.animation.then(frame);
    amplitude.addEventListener("input", () => {
      element("amplitude-value").textContent = Number(amplitude.value).toFixed(1) + " ×";
      if (!playing) drawn.animation.then(frame);
    });
  }

  // --- the Landau potential at one temperature
  const slider = element("temperature");
  if (slider) {
    const show = () => {
      const found = specs["landau-well"].wells[slider.value], text = found.temperature_K + " K";
      element("temperature-value").textContent = text;
      slider.setAttribute("aria-valuetext", text);
      return drawn["landau-well"].then(() => shown(element("landau-well")) && Plotly.restyle("landau-well", {x: [specs["landau-well"].data[0].x, found.q_minima], y: [found.G, found.G_minima]}, [0, 1]));
    };
    slider.addEventListener("input", show);
    show();
  }

  // --- the range of the spectra
  for (const button of document.querySelectorAll(".zoom")) button.addEventListener("click", () => {
    const [low, high] = specs.spectra.layout.xaxis.range;
    drawn.spectra.then(() => Plotly.relayout("spectra", {"xaxis.range": [low, Number(button.dataset.top) || high]}));
  });

  // --- the table of modes: sorted by a column, filtered by state, irrep, wavenumber
  const table = element("mode-table");
  const rows = [...table.tBodies[0].rows], heads = [...table.tHead.rows[0].cells];
  const text = (row, column) => row.cells[column].textContent.replace("−", "-");
  const value = (row, column) => { const shown = text(row, column), found = Number(shown); return shown === "" || Number.isNaN(found) ? shown : found; };
  heads.forEach((head, column) => head.firstElementChild.addEventListener("click", () => {
    const sign = head.getAttribute("aria-sort") === "ascending" ? -1 : 1;
    for (const other of heads) other.setAttribute("aria-sort", "none");
    head.setAttribute("aria-sort", sign > 0 ? "ascending" : "descending");
    const order = (a, b) => typeof a === "number" && typeof b === "number" ? a - b : String(a).localeCompare(String(b));
    table.tBodies[0].append(...rows.sort((a, b) => sign * order(value(a, column), value(b, column))));
  }));
  const filters = {state: element("mode-state"), irrep: element("mode-irrep"), top: element("mode-top")};
  const filter = () => {
    let count = 0;
    for (const row of rows) {
      row.hidden = (filters.state.value !== "" && text(row, 0) !== filters.state.value)
        || (filters.irrep.value !== "" && text(row, 3) !== filters.irrep.value)
        || (filters.top.value !== "" && value(row, 2) > Number(filters.top.value));
      count += !row.hidden;
    }
    element("mode-count").textContent = count + " of " + rows.length + " modes";
  };
  for (const control of Object.values(filters)) control.addEventListener("input", filter);
  filter();

  // --- copying
  for (const button of document.querySelectorAll(".copy")) button.addEventListener("click", () => {
    const range = document.createRange();
    range.selectNodeContents(element(button.dataset.copy));
    getSelection().removeAllRanges();
    getSelection().addRange(range);
    button.nextElementSibling.textContent = document.execCommand("copy") ? "Copied." : "Selected; press Ctrl+C.";
  });
})();
