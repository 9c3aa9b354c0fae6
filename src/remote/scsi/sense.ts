/**
 * Sense data: why a command ended with CHECK CONDITION (SPC-4, section 4.5).
 *
 * @module
 */

/** Sense keys (SPC-4, section 4.5). */
export const SenseKey = {
  NO_SENSE: 0x0,
  NOT_READY: 0x2,
  MEDIUM_ERROR: 0x3,
  HARDWARE_ERROR: 0x4,
  ILLEGAL_REQUEST: 0x5,
  UNIT_ATTENTION: 0x6,
  DATA_PROTECT: 0x7,
  ABORTED_COMMAND: 0xb,
  MISCOMPARE: 0xe,
} as const;

/** Which byte, and in it which bit, of the CDB or of the parameter list was wrong (SPC-4, section 4.5). */
export interface FieldPointer {
  readonly where: "cdb" | "data";
  /** Offset of the field's first byte. */
  readonly byte: number;
  /** Most significant bit of the field in that byte, for fields smaller than a byte. */
  readonly bit?: number;
}

/** One report: sense key, additional sense code and qualifier, and what belongs to them. */
export interface Sense {
  readonly key: number;
  readonly asc: number;
  readonly ascq: number;
  /** The INFORMATION field: for a direct access device, the LBA at which the command stopped. */
  readonly information?: number;
  /** The sense-key specific field pointer, for ILLEGAL REQUEST. */
  readonly field?: FieldPointer;
}

function code(key: number, asc: number, ascq: number): Sense {
  return { key, asc, ascq };
}

/** The reports that this implementation makes (codes from SPC-4, annex F). */
export const SenseCode = {
  NO_SENSE: code(SenseKey.NO_SENSE, 0x00, 0x00),
  INITIALIZING_COMMAND_REQUIRED: code(SenseKey.NOT_READY, 0x04, 0x02),
  MEDIUM_NOT_PRESENT: code(SenseKey.NOT_READY, 0x3a, 0x00),
  WRITE_ERROR: code(SenseKey.MEDIUM_ERROR, 0x0c, 0x00),
  UNRECOVERED_READ_ERROR: code(SenseKey.MEDIUM_ERROR, 0x11, 0x00),
  INTERNAL_TARGET_FAILURE: code(SenseKey.HARDWARE_ERROR, 0x44, 0x00),
  PARAMETER_LIST_LENGTH_ERROR: code(SenseKey.ILLEGAL_REQUEST, 0x1a, 0x00),
  INVALID_COMMAND_OPERATION_CODE: code(SenseKey.ILLEGAL_REQUEST, 0x20, 0x00),
  LBA_OUT_OF_RANGE: code(SenseKey.ILLEGAL_REQUEST, 0x21, 0x00),
  INVALID_FIELD_IN_CDB: code(SenseKey.ILLEGAL_REQUEST, 0x24, 0x00),
  LOGICAL_UNIT_NOT_SUPPORTED: code(SenseKey.ILLEGAL_REQUEST, 0x25, 0x00),
  INVALID_FIELD_IN_PARAMETER_LIST: code(SenseKey.ILLEGAL_REQUEST, 0x26, 0x00),
  SAVING_PARAMETERS_NOT_SUPPORTED: code(SenseKey.ILLEGAL_REQUEST, 0x39, 0x00),
  RESET_OCCURRED: code(SenseKey.UNIT_ATTENTION, 0x29, 0x00),
  MODE_PARAMETERS_CHANGED: code(SenseKey.UNIT_ATTENTION, 0x2a, 0x01),
  CAPACITY_DATA_CHANGED: code(SenseKey.UNIT_ATTENTION, 0x2a, 0x09),
  REPORTED_LUNS_CHANGED: code(SenseKey.UNIT_ATTENTION, 0x3f, 0x0e),
  WRITE_PROTECTED: code(SenseKey.DATA_PROTECT, 0x27, 0x00),
  SPACE_ALLOCATION_FAILED: code(SenseKey.DATA_PROTECT, 0x27, 0x07),
  IO_PROCESS_TERMINATED: code(SenseKey.ABORTED_COMMAND, 0x00, 0x06),
  MISCOMPARE_DURING_VERIFY: code(SenseKey.MISCOMPARE, 0x1d, 0x00),
} as const;

/** INVALID FIELD IN CDB, pointing at the field. */
export function invalidCdbField(byte: number, bit?: number): Sense {
  return { ...SenseCode.INVALID_FIELD_IN_CDB, field: { where: "cdb", byte, bit } };
}

/** INVALID FIELD IN PARAMETER LIST, pointing at the field. */
export function invalidParameter(byte: number, bit?: number): Sense {
  return { ...SenseCode.INVALID_FIELD_IN_PARAMETER_LIST, field: { where: "data", byte, bit } };
}

/** The three sense-key specific bytes; all zero (SKSV clear) without a field pointer. */
function senseKeySpecific(field: FieldPointer | undefined): [number, number, number] {
  if (field === undefined) return [0, 0, 0];
  const flags = 0x80 | (field.where === "cdb" ? 0x40 : 0) | (field.bit === undefined ? 0 : 0x08 | field.bit);
  return [flags, field.byte >> 8, field.byte & 0xff];
}

/** Fixed format sense data, current error (SPC-4, section 4.5.3): 18 bytes. */
function fixedFormat(sense: Sense): Uint8Array {
  const data = new Uint8Array(18);
  data[0] = 0x70;
  data[2] = sense.key;
  data[7] = data.length - 8;
  data[12] = sense.asc;
  data[13] = sense.ascq;
  data.set(senseKeySpecific(sense.field), 15);
  // The four-byte field cannot hold larger LBAs; VALID then stays clear.
  if (sense.information !== undefined && sense.information <= 0xffffffff) {
    data[0] |= 0x80;
    new DataView(data.buffer).setUint32(3, sense.information);
  }
  return data;
}

/** Descriptor format sense data, current error (SPC-4, section 4.5.2): 8 bytes and a descriptor for each extra. */
function descriptorFormat(sense: Sense): Uint8Array {
  const descriptors: number[] = [];
  if (sense.information !== undefined) {
    const value = new DataView(new ArrayBuffer(8));
    value.setBigUint64(0, BigInt(sense.information));
    descriptors.push(0x00, 0x0a, 0x80, 0, ...new Uint8Array(value.buffer));
  }
  if (sense.field !== undefined) descriptors.push(0x02, 0x06, 0, 0, ...senseKeySpecific(sense.field), 0);
  return Uint8Array.of(0x72, sense.key, sense.asc, sense.ascq, 0, 0, 0, descriptors.length, ...descriptors);
}

/** Sense data as REQUEST SENSE returns them. */
export function encodeSense(sense: Sense, format: "fixed" | "descriptor"): Uint8Array {
  return format === "fixed" ? fixedFormat(sense) : descriptorFormat(sense);
}
