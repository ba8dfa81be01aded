// Sine and cosine as vector operations of a loop: the methods and coefficients of
// Kernels/Elementary32Trig.swift and Elementary64Trig.swift with fused multiply-adds. Writes into
// LoopBody.

extension LoopBody {
  mutating func sine(_ x: Value, isCosine: Bool) -> Value {
    let type = lane(x)
    let single = type == .f32
    let a = magnitude(x)
    let angle = single ? reducedAngle32(a) : reducedAngle64(a)
    let bits: LoopLane = single ? .i32 : .i64
    let quadrant = isCosine ? binary(.add, angle.k, integer(bits, 1), as: bits) : angle.k
    var result =
      single
      ? quadrantSine32(quadrant, angle.high, angle.low)
      : quadrantSine64(quadrant, angle.high, angle.low)
    if !isCosine { result = xor(result, sign(x)) }
    let help = LoopHelp(opcode: isCosine ? .cos : .sin, type: single ? .float32 : .float64)
    return self.help(help, where: not(angle.isGood), x, Self.none, fast: result)
  }

  private typealias Angle = (k: Value, high: Value, low: Value, isGood: Value)

  /// The quadrant's number stands in the low bits of the sum with the rounding constant. The angle
  /// is reduced in double precision: it may be next to a multiple of pi/2.
  private mutating func reducedAngle32(_ a: Value) -> Angle {
    let shift = number(.f32, 12_582_912)
    let shifted = fma(a, number(.f32, 0.63661975), shift)
    let k = convert(sub(shifted, shift), to: .f64)
    let high = fnma(k, number(.f64, 1.57079632673412561417), convert(a, to: .f64))
    let r = fnma(k, number(.f64, 6.07710050650619224932e-11), high)
    let most = convert(r, to: .f32)
    let rest = convert(sub(r, convert(most, to: .f64)), to: .f32)
    return (shifted, most, rest, compare(.lessEqual, a, number(.f32, 1e5)))
  }

  /// With one rounding for product and difference, pi/2 in two pieces of 53 bits leaves an exact first
  /// difference and a second one whose error is known.
  private mutating func reducedAngle64(_ a: Value) -> Angle {
    let shift = number(.f64, 6_755_399_441_055_744)
    let shifted = fma(a, number(.f64, 0.6366197723675814), shift)
    let k = sub(shifted, shift)
    let first = fnma(k, number(.f64, 1.5707963267948966), a)
    let small = number(.f64, 6.123233995736766e-17)
    let high = fnma(k, small, first)
    let low = fnma(k, small, sub(first, high))
    let isNear = compare(.lessEqual, a, number(.f64, 1e6))
    let isLong = compare(.lessEqual, mul(a, number(.f64, 0x1p-30)), magnitude(high))
    return (shifted, high, low, and(isNear, isLong))
  }

  private mutating func quadrantSine32(_ k: Value, _ high: Value, _ low: Value) -> Value {
    let z = mul(high, high)
    let one = number(.f32, 1)
    let half = number(.f32, 0.5)
    let s = polynomial(z, [-1.9506604e-4, 0.008332101, -0.16666654])
    let sine = add(high, fma(mul(high, z), s, low))
    let c = polynomial(z, [2.443067e-5, -0.0013887301, 0.041666646])
    let most = fnma(z, half, one)
    let cosine = add(most, fma(mul(z, z), c, fnma(z, half, sub(one, most))))
    return oriented(.i32, k, sine, cosine)
  }

  private mutating func quadrantSine64(_ k: Value, _ high: Value, _ low: Value) -> Value {
    let z = mul(high, high)
    let cube = mul(z, high)
    let one = number(.f64, 1)
    let half = number(.f64, 0.5)
    let s = polynomial(
      z,
      [
        1.589688647504889e-10, -2.5050759890218664e-08, 2.755731370507332e-06,
        -0.0001984126982985339, 0.008333333333322486,
      ])
    let tail = fms(z, fnma(cube, s, mul(half, low)), low)
    let sine = sub(high, fnma(cube, number(.f64, -0.16666666666666632), tail))
    let c = polynomial(
      z,
      [
        -1.135991735862497e-11, 2.087572899354335e-09, -2.755731439925887e-07,
        2.4801587289666895e-05, -0.001388888888887447, 0.0416666666666666,
      ])
    let most = fnma(z, half, one)
    let rest = fnma(high, low, fnma(z, half, sub(one, most)))
    let cosine = add(most, fma(mul(z, z), c, rest))
    return oriented(.i64, k, sine, cosine)
  }

  /// The sine or the cosine with the sign of quadrant `k`.
  private mutating func oriented(
    _ type: LoopLane, _ k: Value, _ sine: Value, _ cosine: Value
  ) -> Value {
    let parity = binary(.and, k, integer(type, 1), as: type)
    let half = binary(.and, k, integer(type, 2), as: type)
    let isEven = compare(.equal, parity, integer(type, 0))
    let flip = shift(.shiftLeft, half, type == .i32 ? 30 : 62)
    return xor(select(isEven, sine, cosine), flip)
  }
}
