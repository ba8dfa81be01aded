// Single angles that vectors don't reduce well enough: their reduction takes many bits of pi. Whatever
// asks for them gets the same bits. Uses VectorLanes.

/// An angle as `quadrant pi/2 + high + low`, the sum at most pi/4, good to 2^-100 of itself.
///
/// Payne and Hanek's method ("Radian reduction for trigonometric functions", SIGNUM Newsletter 18,
/// 1983). With `x = m 2^e` for a whole `m`, bits of 2/pi that contribute multiples of 4 to `x 2/pi`
/// are left out, and of the rest 192 are enough: the product's fraction has 190 bits, of which 2^-137
/// is wrong, and no double is closer to a multiple of pi/2 than 2^-62.
struct LargeAngle {
  let quadrant: Int64
  let high: Double
  let low: Double

  /// What is smaller needs no reduction.
  static let smallest = 0.5

  /// 64 zeros, then the bits of 2/pi behind the binary point, by mpmath with 3,000 bits. The last bit
  /// that an exponent of 1,023 asks for is number 1,161.
  private static let twoOverPi: [UInt64] = [
    0,
    0xA2F9_836E_4E44_1529, 0xFC27_57D1_F534_DDC0, 0xDB62_9599_3C43_9041,
    0xFE51_63AB_DEBB_C561, 0xB724_6E3A_424D_D2E0, 0x0649_2EEA_09D1_921C,
    0xFE1D_EB1C_B129_A73E, 0xE882_35F5_2EBB_4484, 0xE99C_7026_B45F_7E41,
    0x3991_D639_8353_39F4, 0x9C84_5F8B_BDF9_283B, 0x1FF8_97FF_DE05_980F,
    0xEF2F_118B_5A0A_6D1F, 0x6D36_7ECF_27CB_09B7, 0x4F46_3F66_9E5F_EA2D,
    0x7527_BAC7_EBE5_F17B, 0x3D07_39F7_8A52_92EA, 0x6BFB_5FB1_1F8D_5D08,
    0x5603_3046_FC7B_6BAB,
  ]
  /// The leading 128 bits of pi/2, from mpmath as well.
  private static let halfPi: (UInt64, UInt64) = (0xC90F_DAA2_2168_C234, 0xC4C6_628B_80DC_1CD1)

  init(quadrant: Int64, high: Double, low: Double) {
    (self.quadrant, self.high, self.low) = (quadrant, high, low)
  }

  /// - Parameter x: finite, `smallest` at least.
  init(_ x: Double) {
    // 1. The bits of 2/pi that count: the first of them times m's lowest bit is 2.
    let m = x.significandBitPattern | 1 << 52
    let (word, shift) = (Int(x.exponent) - 52 - 2 + 64).quotientAndRemainder(dividingBy: 64)
    func bits(_ i: Int) -> UInt64 {
      let pair = (Self.twoOverPi[word + i], Self.twoOverPi[word + i + 1])
      return shift == 0 ? pair.0 : pair.0 << UInt64(shift) | pair.1 >> UInt64(64 - shift)
    }
    // 2. Their product with m modulo 2^192: x 2/pi modulo 4, in units of 2^-190.
    let third = m.multipliedFullWidth(by: bits(2))
    let second = m.multipliedFullWidth(by: bits(1))
    let (middle, carry) = second.low.addingReportingOverflow(third.high)
    let top = m &* bits(0) &+ second.high &+ (carry ? 1 : 0)
    // 3. The quadrant, and the distance from the nearest multiple.
    var quadrant = Int64(top >> 62)
    var f = (top << 2 | middle >> 62, middle << 2 | third.low >> 62, third.low << 2)
    let isBelow = f.0 >> 63 != 0
    if isBelow {
      quadrant += 1
      f = (~f.0, ~f.1, ~f.2)
    }
    // 4. Its leading 128 bits times pi/2.
    var exponent = -63
    if f.0 == 0 {
      f = (f.1, f.2, 0)
      exponent -= 64
    }
    let zeros = UInt64(f.0.leadingZeroBitCount)
    if zeros > 0 {
      f.0 = f.0 << zeros | f.1 >> (64 - zeros)
      f.1 = f.1 << zeros | f.2 >> (64 - zeros)
    }
    exponent -= Int(zeros)
    let product = f.0.multipliedFullWidth(by: Self.halfPi.0)
    let cross = f.0.multipliedFullWidth(by: Self.halfPi.1).high
    let (sum, over) = cross.addingReportingOverflow(f.1.multipliedFullWidth(by: Self.halfPi.0).high)
    let (rest, more) = product.low.addingReportingOverflow(sum)
    let leading = product.high &+ (over ? 1 : 0) &+ (more ? 1 : 0)
    // 5. 53 bits and the next 64 as two doubles that don't overlap.
    let most = Double(leading & ~0x7FF)
    let least = Double((leading & 0x7FF) << 53 | rest >> 11) * 0x1p-53
    let high = most + least
    let low = least - (high - most)
    let scale = Double(sign: isBelow ? .minus : .plus, exponent: exponent, significand: 1)
    self.init(quadrant: quadrant, high: high * scale, low: low * scale)
  }

  /// The sine of `a + quadrants pi/2` for a positive `a`, or NaN, at most 1 ULP.
  static func sine(_ a: Double, quadrants: Int64) -> Double {
    if !a.isFinite { return .nan }
    let angle = LargeAngle(ofAny: a)
    let lanes = WideLanes<TwoRoundings>()
    return lanes.quadrantSine(
      lanes.bits(angle.quadrant &+ quadrants), lanes.number(angle.high), lanes.number(angle.low))[0]
  }

  /// The tangent of a positive `a`, or NaN, at most 1.5 ULP.
  static func tangent(_ a: Double) -> Double {
    if !a.isFinite { return .nan }
    let angle = LargeAngle(ofAny: a)
    let lanes = WideLanes<TwoRoundings>()
    return lanes.quadrantTangent(
      isOdd: lanes.isOdd(lanes.bits(angle.quadrant)), lanes.number(angle.high),
      lanes.number(angle.low))[0]
  }

  /// - Parameter a: finite and positive.
  private init(ofAny a: Double) {
    self = a < Self.smallest ? LargeAngle(quadrant: 0, high: a, low: 0) : LargeAngle(a)
  }
}
