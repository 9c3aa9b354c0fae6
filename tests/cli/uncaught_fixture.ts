/**
 * A program whose error nobody catches.
 *
 * @module
 */
import { reportUncaught } from "../../src/cli/report.ts";

reportUncaught();
Promise.reject(new TypeError("no such register", { cause: new Error("offset 0x100") }));
