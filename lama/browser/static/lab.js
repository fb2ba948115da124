// sRGB in 8 bits to CIE Lab with white D65 and back, as lama/detail/colour.py: three planes, L from 0 to 100.

const WHITE = [0.950456, 1, 1.088754];
const TO_XYZ = [0.412453, 0.35758, 0.180423, 0.212671, 0.71516, 0.072169, 0.019334, 0.119193, 0.950227];
const TO_RGB = [3.240479, -1.53715, -0.498535, -0.969256, 1.875991, 0.041556, 0.055648, -0.204043, 1.057311];
const DARK = 0.008856; // of white: below it the curve is a line
const LINEAR = Float32Array.from({ length: 256 }, (_, i) => i / 255 <= 0.04045 ? i / 255 / 12.92 : ((i / 255 + 0.055) / 1.055) ** 2.4);

const curve = (t) => t > DARK ? Math.cbrt(t) : 7.787 * t + 16 / 116;
const uncurve = (f) => f > 0.206893 ? f * f * f : (f - 16 / 116) / 7.787;
const gamma = (v) => v <= 0.0031308 ? 12.92 * v : 1.055 * v ** (1 / 2.4) - 0.055;

// The window {top, bottom, left, right} of RGBA pixels ``stride`` wide.
export function toLab(data, stride, { top, bottom, left, right }) {
  const width = right - left;
  const planes = [0, 1, 2].map(() => new Float32Array((bottom - top) * width));
  for (let y = top, i = 0; y < bottom; y++) {
    for (let at = 4 * (y * stride + left), end = at + 4 * width; at < end; at += 4, i++) {
      const [r, g, b] = [LINEAR[data[at]], LINEAR[data[at + 1]], LINEAR[data[at + 2]]];
      const x = curve((TO_XYZ[0] * r + TO_XYZ[1] * g + TO_XYZ[2] * b) / WHITE[0]);
      const luminance = TO_XYZ[3] * r + TO_XYZ[4] * g + TO_XYZ[5] * b;
      const middle = curve(luminance);
      const z = curve((TO_XYZ[6] * r + TO_XYZ[7] * g + TO_XYZ[8] * b) / WHITE[2]);
      planes[0][i] = luminance > DARK ? 116 * middle - 16 : 903.3 * luminance;
      planes[1][i] = 500 * (x - middle);
      planes[2][i] = 200 * (middle - z);
    }
  }
  return planes;
}

// Write pixel ``i`` of the planes as RGB at ``data[at]``.
export function writeRgb(planes, i, data, at) {
  const middle = (planes[0][i] + 16) / 116;
  const [x, z] = [uncurve(middle + planes[1][i] / 500) * WHITE[0], uncurve(middle - planes[2][i] / 200) * WHITE[2]];
  const y = planes[0][i] <= 903.3 * DARK ? planes[0][i] / 903.3 : middle ** 3;
  for (let c = 0; c < 3; c++) {
    const value = gamma(Math.max(TO_RGB[3 * c] * x + TO_RGB[3 * c + 1] * y + TO_RGB[3 * c + 2] * z, 0));
    data[at + c] = Math.round(255 * Math.min(value, 1));
  }
}
