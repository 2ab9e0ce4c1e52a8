// Mouse, pen and finger.

/** Where an event is, from 0 to 1 on each axis of an element. */
function within(element, event) {
  const box = element.getBoundingClientRect();
  return [(event.clientX - box.left) / box.width, (event.clientY - box.top) / box.height];
}

/** Calls back with places in a unit square, while a mouse or finger is down. */
export function drag(element, { start, moved, done }) {
  element.addEventListener("pointerdown", (event) => {
    if (event.button) return;
    element.setPointerCapture(event.pointerId);
    start(within(element, event));
    moved(within(element, event));
  });
  element.addEventListener("pointermove", (event) => {
    if (!element.hasPointerCapture(event.pointerId)) return;
    const points = event.getCoalescedEvents?.() ?? [];
    for (const point of points.length ? points : [event]) moved(within(element, point));
  });
  // A finger that the browser took for something else has ended as well.
  for (const end of ["pointerup", "pointercancel"])
    element.addEventListener(end, (event) => {
      if (element.hasPointerCapture(event.pointerId)) done(event);
    });
}
