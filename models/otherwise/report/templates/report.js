// Steps along the path and blends with the original. Without it the page still shows every image.
(() => {
  const frames = [...document.querySelectorAll(".film li")];
  const viewer = document.querySelector(".viewer");
  if (frames.length < 2) return;

  const stack = viewer.querySelector(".stack");
  const panel = frames[0].querySelector(".panel").cloneNode(true);
  const shown = panel.querySelector("img");
  const original = shown.cloneNode();
  original.className = "original";
  original.alt = "";
  shown.after(original);
  stack.append(panel);

  const position = document.getElementById("position");
  const blend = document.getElementById("blend");
  const reading = document.getElementById("reading");
  const plot = document.querySelector(".plot");
  const line = plot.querySelector("#step");
  const places = plot.dataset.positions.split(" ").map(Number);

  const update = () => {
    const index = Number(position.value);
    const frame = frames[index];
    const image = frame.querySelector("img");
    shown.src = image.src;
    shown.alt = image.alt;
    reading.textContent = `strength ${frame.querySelector(".strength").textContent}: ${frame.querySelector(".says").textContent}`;
    position.setAttribute("aria-valuetext", reading.textContent);
    original.style.opacity = blend.checked ? 0.5 : 0;
    if (line) line.setAttribute("transform", `translate(${places[index] - places[0]} 0)`);
    frames.forEach((each, place) => each.classList.toggle("current", place === index));
  };
  position.addEventListener("input", update);
  blend.addEventListener("change", update);
  frames.forEach((frame, index) => frame.addEventListener("click", () => { position.value = index; update(); }));

  const firstFlipped = frames.findIndex((frame) => frame.classList.contains("flipped"));
  position.value = firstFlipped < 0 ? frames.length - 1 : firstFlipped;
  viewer.hidden = false;
  update();
})();
