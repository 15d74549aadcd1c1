// Says below a figure what its points are: the nearest one under a finger or mouse, or one after the other by arrow keys.
const REACH = 24; // pixels of the screen

for (const box of document.querySelectorAll(".points")) {
  const svg = box.querySelector("svg");
  const line = box.closest("figure").nextElementSibling.querySelector("output");
  const points = [...svg.querySelectorAll("circle")];
  let shown = -1;

  const show = (index) => {
    points[shown]?.classList.remove("shown");
    points[index]?.classList.add("shown");
    line.textContent = points[index]?.textContent ?? "";
    shown = index;
  };

  const nearest = (event) => {
    const found = points.map((point, index) => {
      const { x, y, width, height } = point.getBoundingClientRect();
      return [Math.hypot(x + width / 2 - event.clientX, y + height / 2 - event.clientY), index];
    });
    const [distance, index] = found.reduce((one, other) => (other[0] < one[0] ? other : one));
    if (distance < REACH) show(index);
  };

  const step = (event) => {
    const way = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
    if (!way) return;
    event.preventDefault(); // of the page, which would scroll
    show((shown + way + points.length) % points.length);
  };

  line.textContent = "Point at or tap a point, or use the arrow keys, to read what it is.";
  svg.removeAttribute("aria-hidden");
  svg.setAttribute("role", "img");
  svg.setAttribute("aria-label", "Points of the figure. Arrow keys go from one to the next.");
  svg.tabIndex = 0;
  box.addEventListener("pointermove", nearest);
  box.addEventListener("pointerdown", nearest);
  svg.addEventListener("keydown", step);
}
