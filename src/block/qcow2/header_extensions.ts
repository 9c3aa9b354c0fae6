/**
 * Header extensions of qcow2 images.
 *
 * Source: "Header extensions" and the sections after it in docs/interop/qcow2.txt of QEMU.
 *
 * @module
 */

/** Types of header extensions. */
export const ExtensionType = {
  END: 0,
  BACKING_FORMAT: 0xe2792aca,
  FEATURE_NAMES: 0x6803f857,
  BITMAPS: 0x23852875,
  ENCRYPTION: 0x0537be77,
  DATA_FILE: 0x44415441,
} as const;

/** An extension as it stands in the image. */
export interface HeaderExtension {
  readonly type: number;
  readonly data: Uint8Array;
}

/** An entry of the feature name table. */
export interface FeatureName {
  readonly type: "incompatible" | "compatible" | "autoclear";
  /** 0..63 */
  readonly bit: number;
  readonly name: string;
}

/** The bitmaps extension. */
export interface BitmapsExtension {
  readonly count: number;
  /** Bytes. */
  readonly directorySize: number;
  /** Byte offset in the image; not checked against anything. */
  readonly directoryOffset: number;
}

/** What the extensions say. */
export interface ParsedExtensions {
  readonly extensions: readonly HeaderExtension[];
  readonly backingFormat: string | undefined;
  readonly dataFile: string | undefined;
  readonly featureNames: readonly FeatureName[];
  readonly bitmaps: BitmapsExtension | undefined;
  readonly hasEncryption: boolean;
}

const FEATURE_TYPES = ["incompatible", "compatible", "autoclear"] as const;
const FEATURE_ENTRY = 48;
const BITMAPS_LENGTH = 24;

/**
 * Decodes the extensions.
 *
 * @param area What follows the header, up to the backing file's name or the end of the cluster.
 * @param image For messages.
 * @throws {Error} naming the extension that does not fit.
 */
export function parseExtensions(area: Uint8Array, image: string): ParsedExtensions {
  const extensions = splitExtensions(area, image);
  const dataOf = (type: number) => extensions.find((extension) => extension.type === type)?.data;
  const text = (type: number, what: string) => {
    const data = dataOf(type);
    return data === undefined ? undefined : decodeString(data, what, image);
  };
  const names = dataOf(ExtensionType.FEATURE_NAMES);
  const bitmaps = dataOf(ExtensionType.BITMAPS);
  return {
    extensions,
    backingFormat: text(ExtensionType.BACKING_FORMAT, "backing format name"),
    dataFile: text(ExtensionType.DATA_FILE, "external data file name"),
    featureNames: names === undefined ? [] : parseFeatureNames(names),
    bitmaps: bitmaps === undefined ? undefined : parseBitmaps(bitmaps, image),
    hasEncryption: dataOf(ExtensionType.ENCRYPTION) !== undefined,
  };
}

function splitExtensions(area: Uint8Array, image: string): HeaderExtension[] {
  const view = new DataView(area.buffer, area.byteOffset, area.byteLength);
  const extensions: HeaderExtension[] = [];
  // Each step goes on by 8 bytes or more. What is left at the end of the area, if the end marker is missing, is no extension.
  for (let at = 0; at + 8 <= area.length;) {
    const type = view.getUint32(at);
    const length = view.getUint32(at + 4);
    if (type === ExtensionType.END) break;
    const name = `0x${type.toString(16)}`;
    if (length > area.length - at - 8) {
      throw new Error(
        `Cannot open ${image}: header extension ${name} of ${length} bytes reaches beyond the header's place`,
      );
    }
    if (extensions.some((extension) => extension.type === type)) {
      throw new Error(`Cannot open ${image}: header extension ${name} is there twice`);
    }
    extensions.push({ type, data: area.slice(at + 8, at + 8 + length) });
    at += 8 + padTo8(length);
  }
  return extensions;
}

function padTo8(length: number): number {
  return Math.ceil(length / 8) * 8;
}

/** Decodes a name that stands in the image. @throws {Error} when it is no text, or has a zero byte in it. */
export function decodeString(bytes: Uint8Array, what: string, image: string): string {
  let text: string | undefined;
  try {
    text = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch {
    // Said below.
  }
  if (text === undefined || text.includes("\0")) {
    throw new Error(`Cannot open ${image}: the ${what} is not UTF-8 text without zero bytes`);
  }
  return text;
}

/** Names serve messages only: an entry that makes no sense is left out. */
function parseFeatureNames(data: Uint8Array): FeatureName[] {
  const names: FeatureName[] = [];
  for (let at = 0; at + FEATURE_ENTRY <= data.length; at += FEATURE_ENTRY) {
    const type = FEATURE_TYPES[data[at]];
    if (type === undefined || data[at + 1] > 63) continue;
    const padded = new TextDecoder().decode(data.subarray(at + 2, at + FEATURE_ENTRY));
    // deno-lint-ignore no-control-regex
    names.push({ type, bit: data[at + 1], name: padded.replace(/\0.*$/s, "").replace(/[\x00-\x1f\x7f-\x9f]/g, "?") });
  }
  return names;
}

function parseBitmaps(data: Uint8Array, image: string): BitmapsExtension {
  if (data.length !== BITMAPS_LENGTH) {
    throw new Error(
      `Cannot open ${image}: the bitmaps extension has ${data.length} bytes instead of ${BITMAPS_LENGTH}`,
    );
  }
  const view = new DataView(data.buffer, data.byteOffset);
  const u64 = (at: number) => view.getUint32(at) * 2 ** 32 + view.getUint32(at + 4);
  return { count: view.getUint32(0), directorySize: u64(8), directoryOffset: u64(16) };
}
