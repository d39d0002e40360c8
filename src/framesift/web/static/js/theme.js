"use strict";

// Before the first paint, so that a page never flashes in the other theme: what the system says, until the button is used.
(() => {
  const root = document.documentElement;
  const prefersDark = matchMedia("(prefers-color-scheme: dark)");
  const isDark = () => (root.dataset.theme ? root.dataset.theme === "dark" : prefersDark.matches);
  try {
    const kept = localStorage.getItem("framesift-theme");
    if (kept === "dark" || kept === "light") root.dataset.theme = kept;
  } catch {
    // no storage: the choice lasts as long as the page
  }
  addEventListener("DOMContentLoaded", () => {
    const button = document.getElementById("theme");
    const nameButton = () => {
      button.textContent = isDark() ? "Light theme" : "Dark theme";
    };
    nameButton();
    prefersDark.addEventListener("change", nameButton);
    button.addEventListener("click", () => {
      root.dataset.theme = isDark() ? "light" : "dark";
      nameButton();
      try {
        localStorage.setItem("framesift-theme", root.dataset.theme);
      } catch {
        // as above
      }
    });
  });
})();
