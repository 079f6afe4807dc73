// The API, drawn from /openapi.json by this page itself: nothing is loaded from elsewhere.

import { json } from "./api.js";
import { byId, el } from "./dom.js";
import { sentence } from "./words.js";

const typeOf = (schema = {}) => {
  if (schema.enum) return schema.enum.map((value) => JSON.stringify(value)).join(" | ");
  if (schema.const !== undefined) return JSON.stringify(schema.const);
  if (schema.anyOf) return schema.anyOf.map(typeOf).filter((name) => name !== "null").join(" | ");
  if (schema.type === "array") return `${typeOf(schema.items)}[]`;
  return schema.format ?? schema.type ?? "any";
};

const boundsOf = (schema = {}) => {
  const inner = schema.anyOf?.find((one) => one.type !== "null") ?? schema;
  return [
    inner.exclusiveMinimum !== undefined ? `> ${inner.exclusiveMinimum}` : null,
    inner.minimum !== undefined ? `\u2265 ${inner.minimum}` : null,
    inner.maximum !== undefined ? `\u2264 ${inner.maximum}` : null,
    schema.default !== undefined && schema.default !== null ? `default ${JSON.stringify(schema.default)}` : null,
  ]
    .filter(Boolean)
    .join(", ");
};

const row = (name, schema, required, where, note) =>
  el("tr", {}, el("th", {}, el("code", {}, name), required ? " *" : null), el("td", { class: "muted" }, where), el("td", {}, el("code", {}, typeOf(schema))), el("td", { class: "muted" }, [note, boundsOf(schema)].filter(Boolean).join("; ")));

function rowsOf(route) {
  const parameters = (route.parameters ?? []).map((one) => row(one.name, one.schema, one.required, one.in, one.description));
  const body = route.requestBody?.content?.["application/json"]?.schema;
  const fields = Object.entries(body?.properties ?? {}).map(([name, schema]) => row(name, schema, body.required?.includes(name), "body", schema.description));
  return [...parameters, ...fields];
}

function example(method, path, route) {
  const body = route.requestBody?.content?.["application/json"]?.schema;
  if (!body?.properties) return null;
  const sample = body.properties.messages
    ? { model: "CAMERA", messages: [{ role: "user", content: "What is there?" }], stream: true }
    : { question: "What is there?" };
  return el("pre", {}, `curl -N ${location.origin}${path.replace("{camera}", "CAMERA")} -H 'Content-Type: application/json' \\\n  -d '${JSON.stringify(sample)}'`);
}

const paragraph = (text) => (text ? el("p", {}, text.replaceAll("`", "")) : null);

function drawn(method, path, route) {
  const rows = rowsOf(route);
  const ofBody = route.requestBody?.content?.["application/json"]?.schema?.description;
  return el(
    "details",
    { class: "route" },
    el("summary", {}, el("span", { class: `method ${method}` }, method.toUpperCase()), el("code", {}, path), el("span", { class: "muted" }, route.summary ?? "")),
    el("div", { class: "inside" }, paragraph(route.description), paragraph(ofBody), rows.length ? el("table", {}, el("tbody", {}, ...rows)) : null, example(method, path, route)),
  );
}

try {
  const api = await json("/openapi.json");
  byId("about").textContent = api.info.description.replaceAll("`", "");
  const groups = new Map();
  for (const [path, methods] of Object.entries(api.paths)) {
    for (const [method, route] of Object.entries(methods)) {
      const tag = route.tags?.[0] ?? "other";
      groups.set(tag, [...(groups.get(tag) ?? []), drawn(method, path, route)]);
    }
  }
  byId("routes").append(...[...groups].map(([tag, routes]) => el("section", {}, el("h2", {}, tag), ...routes)));
} catch (error) {
  byId("routes").append(el("p", { class: "notice bad", role: "alert" }, sentence(error)));
}
