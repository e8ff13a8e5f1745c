// Shows the description of the API: every route with what it takes and what it answers.

import { byId, h } from "../dom.mjs";

const METHODS = ["get", "post", "put", "patch", "delete"];
const DEPTH_MAX = 6;

/** Returns a schema in short: `{"id": uuid, "name"?: string}`. */
export function shape(schema, all, depth = 0) {
  if (!schema || depth > DEPTH_MAX) return "…";
  if (schema.$ref) return shape(all[schema.$ref.split("/").pop()], all, depth);
  const some = schema.oneOf ?? schema.anyOf;
  if (some) return [...new Set(some.map((one) => shape(one, all, depth)))].join(" | ");
  if (schema.allOf) {
    const parts = schema.allOf.map((one) => (one.$ref ? all[one.$ref.split("/").pop()] : one));
    const properties = Object.assign({}, ...parts.map((part) => part.properties));
    const required = parts.flatMap((part) => part.required ?? []);
    return shape({ type: "object", properties, required }, all, depth);
  }
  const types = [schema.type ?? "any"].flat();
  const words = types.map((type) => {
    if (type === "array") return `[${shape(schema.items, all, depth + 1)}]`;
    if (type === "object" && schema.properties) return fields(schema, all, depth + 1);
    return type === "string" ? (schema.format ?? type) : type;
  });
  return words.join(" | ");
}

function fields({ properties, required = [] }, all, depth) {
  const indent = "  ".repeat(depth);
  const lines = Object.entries(properties).map(
    ([name, schema]) => `${indent}"${name}"${required.includes(name) ? "" : "?"}: ${shape(schema, all, depth)}`,
  );
  return `{\n${lines.join(",\n")}\n${"  ".repeat(depth - 1)}}`;
}

function operation(method, path, { summary, description, parameters = [], requestBody, responses, security }, all) {
  const parts = [];
  const part = (name, ...content) => parts.push(h("dt", { text: name }), h("dd", {}, ...content));
  if (description) part("", description);
  if (security) part("Token", "none is needed");
  for (const { name, in: place, schema } of parameters)
    part(place, h("code", { text: `${name}: ${shape(schema, all)}` }));
  const body = requestBody?.content["application/json"]?.schema;
  if (body) part("Body", h("pre", { text: shape(body, all) }));
  for (const [status, { description: text, content }] of Object.entries(responses)) {
    const schema = content?.["application/json"]?.schema;
    const isGood = status < 300;
    part(status, ...(isGood && schema ? [h("pre", { text: shape(schema, all) })] : [text]));
  }
  const [name, route] = [h("b", { text: method.toUpperCase() }), h("code", { text: path })];
  const head = h("summary", {}, name, route, h("span", { text: words(summary) }));
  return h("details", {}, head, h("dl", { class: "parts" }, ...parts));
}

// A summary begins with the route, which stands beside it, or with that of a second name of it.
function words(summary = "") {
  return summary.replace(/^(`[^`]*`,? ?)*:? ?/, "");
}

async function show() {
  const response = await fetch("../api/v1/openapi.json");
  const api = await response.json();
  const all = api.components?.schemas ?? {};
  byId("title").textContent = `${api.info.title} API`;
  byId("about").textContent = `${api.info.description} Base: ${api.servers[0].url}`;
  const sections = new Map();
  for (const [path, item] of Object.entries(api.paths))
    for (const method of METHODS.filter((name) => item[name])) {
      const tag = item[method].tags?.[0] ?? "other";
      if (!sections.has(tag)) sections.set(tag, h("section", { id: tag }, h("h2", { text: tag })));
      sections.get(tag).append(operation(method, path, item[method], all));
    }
  byId("contents").replaceChildren(...[...sections.keys()].map((tag) => h("a", { href: `#${tag}`, text: tag })));
  byId("operations").replaceChildren(...sections.values());
}

if (globalThis.document) show();
