// Keeps the page live: takes fragments from the event stream, lets ages tick, and says when the stream is lost.
(() => {
  "use strict";
  const page = document.getElementById("page");
  const link = document.getElementById("link");
  const lost = document.getElementById("lost");
  const spoken = document.getElementById("spoken");
  const LOST_AFTER_MS = 12000;

  let skew = Date.parse(document.body.dataset.now) - Date.now(); // the server's clock, not this machine's
  let heard = performance.now();
  let shownAt = document.body.dataset.now;
  let mark = document.body.dataset.mark || "";
  // What passes by itself (ages, the time of the look) is no reason to replace anything.
  const content = (part) => part.outerHTML.replace(/<time data-now[^>]*>[^<]*|(<time [^>]*data-age[^>]*>)[^<]*/g, "$1");
  const sent = new Map([...page.children].map((part) => [part.id, content(part)]));

  const span = (ms) => {
    const s = Math.max(0, Math.floor(ms / 1000));
    if (s < 120) return `${s} s`;
    const m = Math.floor(s / 60);
    if (m < 60) return `${m} min ${String(s % 60).padStart(2, "0")} s`;
    const h = Math.floor(m / 60);
    if (h < 10) return `${h} h ${String(m % 60).padStart(2, "0")} min`;
    return h < 48 ? `${h} h` : `${Math.floor(h / 24)} days`;
  };

  const tick = () => {
    const now = Date.now() + skew;
    for (const time of document.querySelectorAll("time[data-age]")) {
      time.textContent = `${span(now - Date.parse(time.dateTime))} ago`;
    }
    const silent = performance.now() - heard;
    document.body.classList.toggle("cut", silent > LOST_AFTER_MS);
    lost.hidden = silent <= LOST_AFTER_MS;
    if (!lost.hidden) {
      lost.textContent = `This page has lost its server. Shown is the state as of ${shownAt.slice(11, 19)} UTC, ${span(silent)} ago. Trying again.`;
    }
  };

  // Only the parts that changed are replaced: what a person has selected or focused elsewhere stays.
  const show = (html) => {
    const fresh = document.createElement("template");
    fresh.innerHTML = html;
    const parts = [...fresh.content.children];
    const focused = document.activeElement ? document.activeElement.id : "";
    const same = parts.length === page.children.length && parts.every((part, i) => part.id === page.children[i].id);
    if (!same && parts.some((part) => "same" in part.dataset)) return void location.reload();
    parts.forEach((part, i) => {
      if ("same" in part.dataset) return;
      const text = content(part);
      if (same && sent.get(part.id) !== text) page.children[i].replaceWith(part);
      sent.set(part.id, text);
    });
    if (!same) page.replaceChildren(...parts);
    if (focused && document.activeElement !== document.getElementById(focused)) {
      document.getElementById(focused)?.focus({ preventScroll: true });
    }
  };

  const hear = (message) => {
    heard = performance.now();
    skew = Date.parse(message.now) - Date.now();
    shownAt = message.now;
    const time = document.createElement("time");
    time.dateTime = message.now;
    time.textContent = `${message.now.slice(11, 19)} UTC`;
    link.replaceChildren(document.querySelector(".head.away") ? "connected, source away, " : "live, as of ", time);
    for (const present of document.querySelectorAll("time[data-now]")) {
      present.dateTime = message.now;
      present.textContent = time.textContent;
    }
    document.body.classList.add("live");
    tick();
  };

  const listen = () => {
    const stream = new EventSource(`/events?page=${encodeURIComponent(document.body.dataset.page || "/")}&last=${mark}`);
    stream.addEventListener("ping", () => { heard = performance.now(); });
    stream.addEventListener("tick", (event) => hear(JSON.parse(event.data)));
    stream.addEventListener("page", (event) => {
      const message = JSON.parse(event.data);
      const before = document.getElementById("headline")?.textContent;
      show(message.html);
      mark = event.lastEventId;
      document.title = message.title;
      if (before !== document.getElementById("headline")?.textContent) spoken.textContent = message.headline;
      hear(message);
    });
    stream.onerror = () => {
      if (stream.readyState !== EventSource.CLOSED) return; // the browser tries again by itself
      stream.close();
      setTimeout(listen, 2000);
    };
  };

  setInterval(tick, 1000);
  if (document.body.dataset.page) listen();
})();
