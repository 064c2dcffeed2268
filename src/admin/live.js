"use strict";

// Every event has the text of the elements that name it in data-live. Without this script the page shows the texts of
// its loading.
const places = document.querySelectorAll("[data-live]");
if (places.length > 0) {
  const events = new EventSource("/live");
  for (const place of places) {
    events.addEventListener(place.dataset.live, (event) => { place.textContent = event.data; });
  }
  addEventListener("pagehide", () => events.close());
}
