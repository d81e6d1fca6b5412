// A plugin for Stryker: what an error says to people is not changed; its code is.
import { declareValuePlugin, PluginKind } from "@stryker-mutator/api/plugin"

/** The arguments of `new ValiseError` after the code: the text, and the options with the hint. */
const shouldIgnore = (path) => {
  const call = path.parentPath
  const isText =
    call?.isNewExpression() &&
    call.get("callee").isIdentifier({ name: "ValiseError" }) &&
    path.listKey === "arguments" &&
    path.key > 0
  return isText ? "a text for people" : undefined
}

export const strykerPlugins = [declareValuePlugin(PluginKind.Ignore, "texts", { shouldIgnore })]
