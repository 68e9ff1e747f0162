"use strict";
(() => {
  const own = { "X-Holdfast-Page": "1" };
  const state = document.getElementById("state");

  const send = async (method, path, headers, body) => {
    const answer = await fetch(path, {
      method, body, headers: { ...own, ...headers }, credentials: "same-origin", cache: "no-store",
    });
    const text = await answer.text();
    return { answer, text };
  };

  const shown = (text) => {
    try { return JSON.stringify(JSON.parse(text), null, 2); } catch { return text.slice(0, 20000); }
  };

  document.getElementById("session").addEventListener("submit", async (event) => {
    event.preventDefault();
    const token = document.getElementById("token");
    const { answer, text } = await send("POST", "/api/v1/session",
      { "Content-Type": "application/json" }, JSON.stringify({ token: token.value }));
    token.value = "";
    const told = JSON.parse(text);
    state.textContent = answer.ok
      ? `${told.name || told.principal} (${told.role}) until ${told.expires_at}` : told.detail;
  });

  document.getElementById("leave").addEventListener("click", async () => {
    const { answer } = await send("DELETE", "/api/v1/session", {});
    state.textContent = answer.ok ? "no session" : "the session could not be closed";
  });

  const filled = (box) => {
    let path = box.dataset.path;
    const query = new URLSearchParams();
    const headers = {};
    for (const field of box.querySelectorAll("input")) {
      const value = field.value;
      if (field.dataset.in === "path") {
        path = path.replace(`{${field.name}}`, value.split("/").map(encodeURIComponent).join("/"));
      } else if (value && field.dataset.in === "query") {
        query.set(field.name, value);
      } else if (value && field.dataset.in === "header") {
        headers[field.name] = value;
      }
    }
    const tail = query.toString();
    return { path: tail ? `${path}?${tail}` : path, headers };
  };

  for (const box of document.querySelectorAll("details[data-path]")) {
    const button = box.querySelector("button");
    const out = box.querySelector("pre");
    if (!button) continue;
    button.addEventListener("click", async () => {
      const { path, headers } = filled(box);
      const body = box.querySelector("textarea");
      if (body) headers["Content-Type"] = "application/json";
      out.hidden = false;
      out.textContent = "…";
      try {
        const { answer, text } = await send(box.dataset.method, path, headers, body ? body.value : undefined);
        out.textContent = `${answer.status} ${answer.statusText}\n\n${shown(text)}`;
      } catch (error) {
        out.textContent = `nothing was answered: ${error.message}`;
      }
    });
  }
})();
