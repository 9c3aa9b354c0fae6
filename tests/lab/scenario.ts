/**
 * Scenarios of the lab as tests. Those of a file share a lab, one after another.
 *
 * @module
 */
import { assertEquals } from "@std/assert";
import { basename } from "@std/path";
import { unexpectedComplaints } from "./complaints.ts";
import { type GuestResult, type GuestRun, runGuest, type StepResult } from "./guest.ts";
import { Lab, type LabOptions } from "./lab.ts";
import { prepareParts } from "./parts.ts";

let lab: Lab | undefined;

Deno.test.afterAll(() => lab?.stop());

/** The lab of this file, named after it. @param options Those of the first call count. */
async function ownLab(options: Omit<LabOptions, "name">): Promise<Lab> {
  return lab ??= new Lab(await prepareParts(), { name: basename(Deno.mainModule, "_test.ts"), ...options });
}

/** What a scenario does. */
type ScenarioBody = (test: Deno.TestContext, lab: Lab) => Promise<void>;

/** Registers a test that has the lab of its file. The lab outlives it, with its process and its pipes. */
export function scenario(name: string, body: ScenarioBody, options: Omit<LabOptions, "name"> = {}): void {
  Deno.test({
    name: `lab: ${name}`,
    sanitizeOps: false,
    sanitizeResources: false,
    fn: async (test) => await body(test, await ownLab(options)),
  });
}

/** Registers a guest as a test, each of its steps as a step of the test: all succeed, and the guest ends without complaints. */
export function guestScenario(name: string, run: GuestRun): void {
  scenario(name, async (test, lab) => {
    const result = await runGuest(lab, run);
    await reportSteps(test, result);
    await reportEnd(test, result);
  });
}

/** Reports the steps of a guest as steps of the test: each was reached and succeeded. */
export async function reportSteps(test: Deno.TestContext, { run, steps, folder }: GuestResult): Promise<void> {
  for (const name of Object.keys(run.steps)) {
    const last: StepResult | undefined = steps.findLast((step) => step.name === name);
    await test.step(name, () => assertEquals(last?.status, 0, `${last?.output ?? "not reached"}\nlogs: ${folder}`));
  }
}

/** Reports the end as steps of the test: the guest switched the machine off, and nobody complained. */
export async function reportEnd(test: Deno.TestContext, result: GuestResult): Promise<void> {
  const logs = `logs: ${result.folder}`;
  await test.step("the guest's kernel complains of nothing", () => {
    assertEquals(unexpectedComplaints(result.complaints), [], logs);
  });
  await test.step("the guest powers off, and the VMM ends with status 0, without a message", () => {
    assertEquals({ status: result.status, stderr: result.stderr }, { status: 0, stderr: "" }, logs);
  });
}
