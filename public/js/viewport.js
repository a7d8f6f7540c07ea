/**
 * Keeps the page as tall as what can be seen. Where the on-screen keyboard lies over the page instead of
 * shrinking it (iOS), `100dvh` alone would leave the composer underneath.
 */
export function followViewport() {
  const view = window.visualViewport;
  if (!view) return;
  const fit = () => {
    if (view.scale !== 1) return; // someone zoomed in to read: leave the page alone
    document.documentElement.style.setProperty("--view-height", `${view.height}px`);
    window.scrollTo(0, 0);
  };
  view.addEventListener("resize", fit);
}
