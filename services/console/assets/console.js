// Keeps a page up with the console. Without it every page is whole, and as it was when it was loaded.
"use strict";
(() => {
  const live = document.getElementById("live");
  const said = document.getElementById("said");

  const parsed = async (address) => {
    const answer = await fetch(address, { headers: { accept: "text/html" }, credentials: "same-origin" });
    if (!answer.ok) throw new Error(String(answer.status));
    return new DOMParser().parseFromString(await answer.text(), "text/html");
  };

  // What somebody is at work in stays as it is.
  const busy = (part) =>
    part.contains(document.activeElement) && document.activeElement.matches("input, textarea, select");

  const replace = (part, other) => {
    if (!other || part.innerHTML === other.innerHTML || busy(part)) return;
    const open = new Set([...part.querySelectorAll("details[open] > summary")].map((it) => it.textContent));
    const places = [...part.querySelectorAll(".scroll")].map((it) => it.scrollLeft);
    const focused = part.contains(document.activeElement) && document.activeElement.getAttribute("href");
    part.replaceChildren(...other.childNodes);
    part.querySelectorAll("details > summary").forEach((it) => {
      if (open.has(it.textContent)) it.parentElement.open = true;
    });
    part.querySelectorAll(".scroll").forEach((it, place) => { it.scrollLeft = places[place] ?? 0; });
    if (focused) [...part.querySelectorAll("a")].find((it) => it.getAttribute("href") === focused)?.focus();
  };

  // Parts that change have a name.
  const parts = ["counts", "list", "head", "story", "why", "notes", "before", "timeline", "members", "gaps", "process"];

  let loading = false;
  let again = false;
  const refresh = async () => {
    if (loading) { again = true; return; }
    loading = true;
    try {
      const fresh = await parsed(location.href);
      for (const name of parts) {
        const part = document.getElementById(name);
        const loaded = part?.querySelector("[data-loaded]");
        if (part) replace(part, fresh.getElementById(name));
        const slot = part?.querySelector("[data-load]");
        if (loaded && slot) slot.replaceWith(loaded);
      }
      const count = document.getElementById("open-count");
      const now = fresh.getElementById("open-count")?.textContent;
      if (count && now && count.textContent !== now) {
        count.textContent = now;
        said.textContent = `${now} incidents are open`;
      }
    } catch {
      live?.classList.add("lost");
    }
    loading = false;
    if (again) { again = false; setTimeout(refresh, 1000); }
  };

  if (live) {
    const source = new EventSource(live.dataset.from);
    const well = (is) => {
      live.hidden = false;
      live.classList.toggle("lost", !is);
      live.textContent = is ? "live" : "reconnecting";
    };
    let before = null;
    source.addEventListener("hello", (word) => {
      well(true);
      if (before !== null && before !== word.data) refresh();
      before = word.data;
    });
    for (const name of ["change", "tick"]) {
      source.addEventListener(name, (word) => {
        before = word.data;
        if (!document.hidden) refresh(); else again = true;
      });
    }
    source.addEventListener("error", () => well(false));
    document.addEventListener("visibilitychange", () => {
      if (!document.hidden && again) { again = false; refresh(); }
    });
    addEventListener("pagehide", () => source.close());
  }

  // What takes longer comes after the page.
  for (const slot of document.querySelectorAll("[data-load]")) {
    parsed(slot.dataset.load).then((page) => {
      const loaded = page.getElementById(slot.id);
      if (!loaded) return;
      loaded.dataset.loaded = "";
      slot.replaceWith(loaded);
    }).catch(() => {});
  }

  // j and k go from incident to incident, / to the search.
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.target.matches("input, textarea, select")) return;
    const titles = [...document.querySelectorAll("table.incidents a.title")];
    const at = titles.indexOf(document.activeElement);
    if (event.key === "j" && titles.length) titles[Math.min(at + 1, titles.length - 1)].focus();
    else if (event.key === "k" && titles.length) titles[Math.max(at - 1, 0)].focus();
    else if (event.key === "/") { document.querySelector("input[type=search]")?.focus(); event.preventDefault(); }
  });
})();
