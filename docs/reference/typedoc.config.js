/** Every entry of the package's exports map is a module of the reference, under the name by which it is imported. */
import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { Converter } from "typedoc";

const root = new URL("../../", import.meta.url);
const { exports } = JSON.parse(readFileSync(new URL("package.json", root), "utf8"));

/** By source file, the entry's name. */
const entries = new Map(
  Object.entries(exports)
    .map(([name, { "sluice-source": source }]) => [name, source])
    .filter(([, source]) => source !== undefined)
    .map(([name, source]) => [fileURLToPath(new URL(source, root)), name.replace(/^\./, "sluice")]),
);
if (entries.size === 0) throw new Error("package.json exports nothing by the condition sluice-source");

function nameModules(app) {
  app.converter.on(Converter.EVENT_CREATE_DECLARATION, (context, reflection) => {
    if (!reflection.parent?.isProject()) return;
    const [declaration] = context.getSymbolFromReflection(reflection)?.declarations ?? [];
    reflection.name = entries.get(declaration?.getSourceFile().fileName) ?? reflection.name;
  });
}

// biome-ignore lint/style/noDefaultExport: typedoc asks for it
export default {
  name: "Sluice",
  entryPoints: [...entries.keys()],
  out: "html",
  plugin: [nameModules],
  readme: fileURLToPath(new URL("docs/README.md", root)),
  tsconfig: fileURLToPath(new URL("tsconfig.json", import.meta.url)),
  disableSources: true,
  includeVersion: true,
  excludeInternal: true,
  excludePrivate: true,
  excludeExternals: true,
  sort: ["source-order"],
  // What helps types along and is not exported has no page. That all else is documented a test holds.
  validation: { notExported: false, invalidLink: true, notDocumented: false },
  treatWarningsAsErrors: true,
};
