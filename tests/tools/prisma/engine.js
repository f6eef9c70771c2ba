#!/usr/bin/env node
// Prisma's query engine for LiteLLM, from npm: engine.js -p PORT | --version
//
// LiteLLM's Prisma client starts a native engine and speaks GraphQL to it over HTTP. The native one
// is no package; what is one is the same engine of the same version, built for WebAssembly, which
// takes JSON. This program is the door between them. From its environment it takes
// PRISMA_DML_PATH (the schema) and DATABASE_URL.
"use strict";
const fs = require("node:fs");
const http = require("node:http");

const VERSION = "393aa359c9ad4a4bb28630fb5613f9c281cde053"; // what Prisma calls 5.17.0
if (process.argv.includes("--version")) {
  console.log(`query-engine ${VERSION}`);
  process.exit(0);
}

const { PrismaPg } = require("@prisma/adapter-pg");
const { bindAdapter } = require("@prisma/driver-adapter-utils");
const { parse } = require("graphql");
const { Pool, Query } = require("pg");
const runtime = "@prisma/client/runtime/query_engine_bg.postgresql";
const wasm = require(`${runtime}.js`);

const ACTIONS = [
  "findUniqueOrThrow", "findUnique", "findFirstOrThrow", "findFirst", "findMany", "createMany",
  "createOne", "updateMany", "updateOne", "upsertOne", "deleteMany", "deleteOne", "aggregate",
  "groupBy", "executeRaw", "queryRaw",
];
const schema = fs.readFileSync(process.env.PRISMA_DML_PATH, "utf8");
const jsonFieldsOf = new Map(
  [...schema.matchAll(/^model (\w+) \{(.*?)^\}/gms)].map(([, model, fields]) => [
    model,
    new Set([...fields.matchAll(/^\s*(\w+)\s+Json\b/gm)].map(([, name]) => name)),
  ]),
);
const NULLS = ["DbNull", "JsonNull", "AnyNull"];

// PostgreSQL's own tables hold `name` and `name[]`, which the adapter does not know: as text.
const asText = new Map([
  [19, 25],
  [1003, 1009],
]);
const describe = Query.prototype.handleRowDescription;
Query.prototype.handleRowDescription = function (message) {
  for (const each of message.fields) each.dataTypeID = asText.get(each.dataTypeID) ?? each.dataTypeID;
  return describe.call(this, message);
};

// A string is a time, a number or a text as the schema says; JSON alone has to be marked as such.
function toValue(node, field, jsonFields) {
  const isJson = jsonFields.has(field);
  switch (node.kind) {
    case "ObjectValue":
      return toArguments(node.fields, jsonFields, isJson ? field : undefined);
    case "ListValue":
      return node.values.map((each) => toValue(each, field, jsonFields));
    case "IntValue":
    case "FloatValue":
      return Number(node.value);
    case "NullValue":
      return null;
    case "StringValue":
      return isJson ? { $type: "Json", value: node.value } : node.value;
    case "EnumValue":
      return NULLS.includes(node.value) ? { $type: "Enum", value: node.value } : node.value;
    default:
      return node.value; // true or false
  }
}

// Below a JSON field `equals` and `set` take JSON, too; `path` and others take texts.
const toArguments = (fields, jsonFields, outer) =>
  Object.fromEntries(
    fields.map(({ name: { value: name }, value }) => {
      const field = outer && ["equals", "not", "set"].includes(name) ? outer : name;
      return [name, toValue(value, field, jsonFields)];
    }),
  );

const toQuery = (field, jsonFields) => ({
  arguments: toArguments(field.arguments, jsonFields),
  selection: Object.fromEntries(
    (field.selectionSet?.selections ?? []).map((inner) => [
      inner.name.value,
      inner.selectionSet || inner.arguments.length ? toQuery(inner, jsonFields) : true,
    ]),
  ),
});

// `{ result: findManyUser(take: 1) { id } }` as [["result", the engine's JSON request]].
function toRequests(text) {
  const fields = parse(text, { noLocation: true }).definitions[0].selectionSet.selections;
  return fields.map((field) => {
    const action = ACTIONS.find((each) => field.name.value.startsWith(each));
    const modelName = field.name.value.slice(action.length);
    const query = toQuery(field, jsonFieldsOf.get(modelName) ?? new Set());
    return [
      (field.alias ?? field.name).value,
      { ...(modelName && { modelName }), action, query },
    ];
  });
}

// The JSON answers name the type of a time, a big number or JSON; GraphQL's are plain.
function plain(value) {
  if (Array.isArray(value)) return value.map(plain);
  if (value === null || typeof value !== "object") return value;
  if ("$type" in value) return value.value;
  return Object.fromEntries(Object.entries(value).map(([key, inner]) => [key, plain(inner)]));
}

async function ask(engine, requests, transaction) {
  const data = {};
  for (const [name, request] of requests) {
    const answer = JSON.parse(await engine.query(JSON.stringify(request), "{}", transaction));
    if (answer.errors) return { errors: answer.errors };
    const [found] = Object.values(answer.data);
    data[name] = request.action === "queryRaw" ? found : plain(found);
  }
  return { data };
}

async function respond(engine, request, body) {
  const step = /^\/transaction\/(?:start|([^/]+)\/(commit|rollback))$/.exec(request.url);
  if (request.method === "GET") return { status: "ok" };
  if (step?.[2]) return JSON.parse(await engine[`${step[2]}Transaction`](step[1], "{}"));
  if (step) return JSON.parse(await engine.startTransaction(body, "{}"));
  const asked = JSON.parse(body);
  const transaction = request.headers["x-transaction-id"];
  if (!asked.batch) return ask(engine, toRequests(asked.query), transaction);
  const batchResult = [];
  const limits = JSON.stringify({ max_wait: 5000, timeout: 30000 });
  const own = transaction ?? JSON.parse(await engine.startTransaction(limits, "{}")).id;
  for (const each of asked.batch) batchResult.push(await ask(engine, toRequests(each.query), own));
  const failed = batchResult.find((each) => each.errors);
  if (!transaction) await engine[failed ? "rollbackTransaction" : "commitTransaction"](own, "{}");
  return failed ?? { batchResult };
}

async function main(port) {
  const code = new WebAssembly.Module(fs.readFileSync(require.resolve(`${runtime}.wasm`)));
  const { exports } = new WebAssembly.Instance(code, { "./query_engine_bg.js": wasm });
  wasm.__wbg_set_wasm(exports);
  const url = new URL(process.env.DATABASE_URL);
  const pool = new Pool({ connectionString: url.href.slice(0, -url.search.length || undefined) });
  const options = {
    datamodel: schema,
    configDir: "",
    engineProtocol: "json",
    env: {},
    ignoreEnvVarErrors: true,
    logLevel: "error",
    logQueries: false,
  };
  const say = (line) => console.error(line);
  const engine = new wasm.QueryEngine(options, say, bindAdapter(new PrismaPg(pool)));
  await engine.connect("{}");
  const server = http.createServer(async (request, response) => {
    let body = "";
    for await (const part of request) body += part;
    let answer;
    try {
      answer = await respond(engine, request, body);
    } catch (failure) {
      answer = { errors: [{ error: String(failure) }] };
    }
    if (answer.errors) console.error(`engine: ${JSON.stringify(answer.errors)}`);
    response.writeHead(200, { "content-type": "application/json" });
    response.end(JSON.stringify(answer));
  });
  server.listen(port, "localhost");
}

// It ends with the program that started it, which may be killed.
const parent = process.ppid;
setInterval(() => process.ppid === parent || process.exit(0), 1000).unref();
for (const signal of ["SIGINT", "SIGTERM"]) process.on(signal, () => process.exit(0));
main(Number(process.argv[process.argv.indexOf("-p") + 1]));
