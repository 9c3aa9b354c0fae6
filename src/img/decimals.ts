/**
 * Decimal fractions as C's printf(3) rounds them.
 *
 * @module
 */

/**
 * C's `%.*f`: a value exactly in the middle between two goes to the one with the even last digit, where JavaScript's `toFixed` goes up.
 *
 * @param value Not negative.
 */
export function toDecimals(value: number, decimals: number): string {
  const power = 10 ** decimals;
  const floor = Math.floor(value * power);
  // In binary, only a multiple of 1 / 2^(decimals + 1) can be in the middle, and its product with the power is exact.
  const isMiddle = Number.isInteger(value * 2 ** (decimals + 1)) && value * power - floor === 0.5;
  return (isMiddle ? (floor + floor % 2) / power : value).toFixed(decimals);
}
