// API page, generated from openapi.json.

import { examples } from "./examples.js";
import { ask, byId, element, showLinks } from "./page.js";

function fieldsOf(operation, schemas) {
  const form = operation.requestBody?.content["multipart/form-data"]?.schema;
  if (!form) return (operation.parameters ?? []).map((one) => [one.name, one.schema, one.description]);
  const schema = schemas[(form.$ref ?? form.allOf[0].$ref).split("/").at(-1)];
  return Object.entries(schema.properties).map(([name, one]) => [name, one, one.description]);
}

function kind(schema) {
  const kinds = (schema.anyOf ?? [schema]).map((one) => (one.contentMediaType || one.format === "binary" ? "file" : one.type)).filter((one) => one !== "null");
  return `${kinds.join(" or ")}${schema.default === undefined || schema.default === null ? "" : `, ${schema.default} by default`}`;
}

function section(method, address, operation, schemas) {
  const fields = fieldsOf(operation, schemas);
  const refusals = Object.entries(operation.responses).filter(([status]) => Number(status) >= 400);
  const list = (rows) => element("dl", {}, ...rows.flatMap(([name, note, text]) => [element("dt", {}, element("code", { textContent: name }), note ? ` ${note}` : ""), element("dd", { textContent: text ?? "" })]));
  return element("section", { className: "card" },
    element("h2", {}, element("code", { textContent: `${method.toUpperCase()} ${address}` })),
    element("p", { textContent: operation.summary }),
    ...(operation.description ?? "").split("\n\n").filter(Boolean).map((text) => element("p", { className: "small", textContent: text.replaceAll("`", "") })),
    fields.length ? list(fields.map(([name, schema, text]) => [name, kind(schema), text])) : null,
    refusals.length ? element("h3", { textContent: "Errors" }) : null,
    refusals.length ? list(refusals.map(([status, one]) => [status, "", one.description])) : null);
}

function show({ paths, components }) {
  const sections = Object.entries(paths).flatMap(([address, methods]) => Object.entries(methods).map(([method, operation]) => section(method, address, operation, components?.schemas ?? {})));
  byId("paths").replaceChildren(...sections);
}

byId("examples").replaceChildren(...examples(new URL("predict", location.href)).map(([title, text], place) =>
  element("details", { open: place === 0 }, element("summary", { textContent: title }), element("pre", { tabIndex: 0, textContent: text }))));
ask("openapi.json").then(show).catch((error) => { byId("paths").textContent = error.message; });
showLinks().catch(() => {});
