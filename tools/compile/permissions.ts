/**
 * Turns a permission set of `deno.json` into command-line flags.
 *
 * The executable runs without a configuration file, so the set that `deno run -P=splitvm` would load is put into it as flags.
 *
 * @module
 */

/** The permissions that a set may grant, each of which has flags `--allow-…` and `--deny-…`. */
const PERMISSIONS = ["read", "write", "import", "env", "net", "run", "ffi", "sys"];

/** Permissions that name paths. */
const PATH_PERMISSIONS = ["read", "write", "ffi"];

function grantFlags(rule: "allow" | "deny", permission: string, grant: unknown): string[] {
  const flag = `--${rule}-${permission}`;
  if (typeof grant === "boolean") return grant ? [flag] : [];
  if (!Array.isArray(grant) || !grant.every((name) => typeof name === "string" && name !== "" && !name.includes(","))) {
    throw new TypeError(`${flag}: expected true, false or a list of names, not ${JSON.stringify(grant)}`);
  }
  // In a configuration file a path is relative to that file; in a flag it would be to the caller's working directory.
  const relative = grant.find((name) => PATH_PERMISSIONS.includes(permission) && !name.startsWith("/"));
  if (relative !== undefined) {
    throw new TypeError(`${flag}: expected an absolute path, not ${JSON.stringify(relative)}`);
  }
  return grant.length > 0 ? [`${flag}=${grant.join(",")}`] : [];
}

/**
 * The flags that grant what a permission set grants.
 *
 * @param set The value of `permissions.<name>` in `deno.json`.
 * @throws {TypeError} naming a permission or a grant that cannot be put into flags. `all` is one: nothing here needs it.
 */
export function permissionFlags(set: Readonly<Record<string, unknown>>): string[] {
  return Object.entries(set).flatMap(([name, value]) => {
    if (!PERMISSIONS.includes(name)) throw new TypeError(`The permission ${JSON.stringify(name)} is not known`);
    if (typeof value !== "object" || value === null || Array.isArray(value)) {
      return grantFlags("allow", name, value);
    }
    const { allow = false, deny = false, ...others } = value as Record<string, unknown>;
    if (Object.keys(others).length > 0) {
      throw new TypeError(`The permission ${name} has unknown rules: ${Object.keys(others)}`);
    }
    return [...grantFlags("allow", name, allow), ...grantFlags("deny", name, deny)];
  });
}

/**
 * Reads a permission set from a configuration file.
 *
 * @param path Path of a `deno.json`.
 * @throws {Error} if the file cannot be read or has no such set.
 */
export async function readPermissionSet(path: string | URL, name: string): Promise<Record<string, unknown>> {
  const config = JSON.parse(await Deno.readTextFile(path));
  const set = config.permissions?.[name];
  if (typeof set !== "object" || set === null) throw new Error(`${path} has no permission set ${JSON.stringify(name)}`);
  return set;
}
