// The elementary functions as vector operations of a loop: the methods and coefficients of
// Kernels/Elementary32.swift and Elementary64.swift, where the mathematics is told, with fused
// multiply-adds. Writes into LoopBody.

extension LoopBody {
  /// A polynomial by Horner's rule, the highest coefficient first.
  mutating func polynomial(_ x: Value, _ coefficients: [Double]) -> Value {
    let type = lane(x)
    var p = number(type, coefficients[0])
    for c in coefficients.dropFirst() { p = fma(p, x, number(type, c)) }
    return p
  }

  mutating func magnitude(_ x: Value) -> Value {
    lane(x) == .f32
      ? and(x, constant(.f32, bits: 0x7FFF_FFFF)) : and(x, constant(.f64, bits: .max >> 1))
  }

  /// The sign bit alone.
  mutating func sign(_ x: Value) -> Value {
    lane(x) == .f32
      ? and(x, constant(.f32, bits: 0x8000_0000)) : and(x, constant(.f64, bits: 1 << 63))
  }

  /// `x` with the sign bit of `y` switched on.
  fileprivate mutating func withSign(_ x: Value, of y: Value) -> Value { or(x, sign(y)) }

  mutating func negated(_ x: Value) -> Value {
    lane(x) == .f32
      ? xor(x, constant(.f32, bits: 0x8000_0000)) : xor(x, constant(.f64, bits: 1 << 63))
  }

  /// NaN stays: the processor's minimum gives its second operand where the two aren't ordered.
  fileprivate mutating func atMost(_ x: Value, _ limit: Double) -> Value {
    binary(.min, number(lane(x), limit), x)
  }
  fileprivate mutating func atLeast(_ x: Value, _ limit: Double) -> Value {
    binary(.max, number(lane(x), limit), x)
  }

  // MARK: Exponentials

  /// `x` as `k ln 2 + r`: `k`, and `e^r - 1` as a sum `high + low` of which `low` is small.
  fileprivate mutating func reducedExp(_ x: Value) -> (k: Value, high: Value, low: Value) {
    let type = lane(x)
    let k = round(mul(x, number(type, type == .f32 ? 1.442695 : 1.4426950408889634)), down: false)
    let single = type == .f32
    let high = fnma(k, number(type, single ? 0.693359375 : 6.93147180369123816490e-01), x)
    let low = number(type, single ? -2.1219444e-4 : 1.90821492927058770002e-10)
    let lo = mul(k, low)
    let r = sub(high, lo)
    let q = polynomial(
      r,
      single
        ? [0.001384039, 0.008369349, 0.041668084, 0.16666515, 0.49999994]
        : [
          2.082698350306029e-09, 2.511204161770591e-08, 2.755758052976643e-07,
          2.7557234846699143e-06, 2.480158692848493e-05, 0.0001984126989640121,
          0.0013888888889114408, 0.008333333333317025, 0.041666666666666095, 0.16666666666666682,
          0.5,
        ])
    return (k, high, fms(mul(r, r), q, lo))
  }

  /// `2^k` for whole `k` in the range of normal numbers.
  fileprivate mutating func power2(_ k: Value) -> Value {
    if lane(k) == .f32 {
      let biased = add(k, number(.f32, 12_582_912 + 127))
      return shift(.shiftLeft, biased, 23)
    }
    return shift(.shiftLeft, add(k, number(.f64, 6_755_399_441_055_744 + 1023)), 52)
  }

  /// `x * 2^k` with one rounding, down to denormal numbers.
  ///
  /// Without an instruction for it: `k` and twice the exponents' bias become an integer at the place
  /// of exponents. Half of it, rounded down, and the rest are the bits of two powers whose product is
  /// `2^k`; the first product of the two with `x` is exact.
  fileprivate mutating func scaled(_ x: Value, _ k: Value) -> Value {
    if hasMasks { return binary(.scale, x, k) }
    let type = lane(k)
    let single = type == .f32
    let (bias, place): (Double, Int32) =
      single ? (12_582_912 + 2 * 127, 23) : (6_755_399_441_055_744 + 2 * 1023, 52)
    let exponents = shift(.shiftLeft, add(k, number(type, bias)), place)
    let bits: UInt64 = single ? 0x7F80_0000 : 0x7FF0_0000_0000_0000
    let half = and(shift(.shiftRight, exponents, 1), constant(type, bits: bits))
    let rest = binary(.sub, exponents, half, as: single ? .i32 : .i64)
    return binary(.mul, mul(x, half), rest, as: type)
  }

  mutating func exp(_ x: Value) -> Value {
    let type = lane(x)
    let single = type == .f32
    let (k, high, low) = reducedExp(atMost(atLeast(x, single ? -104 : -746), single ? 89 : 710))
    return scaled(add(add(high, low), number(type, 1)), k)
  }

  mutating func expm1(_ x: Value) -> Value {
    let type = lane(x)
    let single = type == .f32
    let (k, high, low) = reducedExp(atMost(atLeast(x, single ? -20 : -40), single ? 89 : 710))
    let scale = power2(sub(k, number(type, 1)))
    let half = fma(scale, low, fma(scale, high, sub(scale, number(type, 0.5))))
    let isNear = compare(.equal, k, number(type, 0))
    return withSign(select(isNear, add(high, low), add(half, half)), of: x)
  }

  mutating func tanh(_ x: Value) -> Value {
    let type = lane(x)
    let single = type == .f32
    let a = atMost(magnitude(x), single ? 10 : 20)
    let z = mul(a, a)
    let p = polynomial(
      z,
      single
        ? [-0.0056806705, 0.020619594, -0.05373456, 0.13331392, -0.3333328]
        : [
          -1.6065183407439666e-05, 7.713296532959381e-05, -0.00022855777709767576,
          0.0005863153353336482, -0.0014549591884027704, 0.0035919893843827104,
          -0.008863221050141114, 0.021869487581628873, -0.05396825393160848, 0.13333333333263087,
          -0.33333333333332865,
        ])
    let near = fma(a, mul(z, p), a)
    let (k, high, low) = reducedExp(add(a, a))
    let one = number(type, 1)
    let scale = power2(k)
    let far = sub(one, div(number(type, 2), fma(scale, add(high, low), add(scale, one))))
    let isNear = compare(.less, a, number(type, 0.625))
    return withSign(select(isNear, near, far), of: x)
  }

  mutating func sigmoid(_ x: Value) -> Value {
    let type = lane(x)
    let one = number(type, 1)
    let zero = number(type, 0)
    let single = type == .f32
    let below = or(x, single ? constant(type, bits: 0x8000_0000) : constant(type, bits: 1 << 63))
    let (k, high, low) = reducedExp(atLeast(below, single ? -104 : -746))
    let m = add(high, low)
    let scale = scaled(one, k)
    let e = mul(scale, add(m, one))
    let rest = fma(scale, m, sub(scale, e))
    let sum = add(e, one)
    let error = add(add(sub(one, sum), e), rest)
    let isPositive = compare(.lessEqual, zero, x)
    let quotient = div(select(isPositive, one, e), sum)
    let missing = fnma(quotient, error, select(isPositive, zero, rest))
    return fma(missing, fnma(e, number(type, 0.5), one), quotient)
  }

  // MARK: Logarithms

  /// `u` as `2^k (1 + f)`; `u` positive and normal.
  fileprivate mutating func split(_ u: Value) -> (k: Value, f: Value) {
    if lane(u) == .f32 {
      let root = integer(.i32, 0x3F35_04F3)
      let shifted = binary(.add, u, integer(.i32, 0x3F80_0000 - 0x3F35_04F3), as: .i32)
      let k = convert(shift(.shiftRightSigned, shifted, 23), to: .f32)
      let m = add(and(shifted, integer(.i32, 0x007F_FFFF)), root)
      return (sub(k, number(.f32, 127)), binary(.sub, m, number(.f32, 1), as: .f32))
    }
    let root = integer(.i64, 0x3FE6_A09E_667F_3BCD)
    let offset = integer(.i64, 0x3FF0_0000_0000_0000 - 0x3FE6_A09E_667F_3BCD)
    let shifted = binary(.add, u, offset, as: .i64)
    let exponent = or(shift(.shiftRight, shifted, 52), integer(.i64, 0x4330_0000_0000_0000))
    let k = binary(.sub, exponent, number(.f64, 0x1p52 + 1023), as: .f64)
    let m = add(and(shifted, integer(.i64, 0x000F_FFFF_FFFF_FFFF)), root)
    return (k, binary(.sub, m, number(.f64, 1), as: .f64))
  }

  /// `k ln2High + log(1 + f) + low`.
  fileprivate mutating func logSum(_ k: Value, _ f: Value, _ low: Value) -> Value {
    let type = lane(f)
    if type == .f32 {
      let p = polynomial(
        f,
        [
          0.06623586, -0.11583784, 0.118988946, -0.12424182, 0.14220239, -0.16666761, 0.20002052,
          -0.25000036, 0.33333313,
        ])
      let small = mul(mul(f, f), fms(p, f, number(type, 0.5)))
      let high = mul(k, number(type, 0.693359375))
      let sum = add(high, f)
      let rest = add(sub(high, sum), f)
      return add(sum, add(small, add(rest, low)))
    }
    let s = div(f, add(f, number(type, 2)))
    let z = mul(s, s)
    let p = polynomial(
      z,
      [
        0.14798254355874008, 0.15313832761378274, 0.18183572327162073, 0.22222198429548629,
        0.28571428743681315, 0.3999999999940937, 0.6666666666666735,
      ])
    let square = mul(mul(f, number(type, 0.5)), f)
    let tail = sub(square, fma(s, fma(z, p, square), low))
    return fms(k, number(type, 6.93147180369123816490e-01), sub(tail, f))
  }

  fileprivate mutating func lowProduct(_ k: Value) -> Value {
    mul(k, number(lane(k), lane(k) == .f32 ? -2.1219444e-4 : 1.90821492927058770002e-10))
  }

  fileprivate mutating func withLogSpecials(
    _ result: Value, _ x: Value, zero: Double
  ) -> Value {
    let type = lane(x)
    let infinity = number(type, .infinity)
    var y = select(compare(.equal, x, number(type, zero)), number(type, -.infinity), result)
    y = select(compare(.less, x, number(type, zero)), number(type, .nan), y)
    y = select(compare(.equal, x, infinity), x, y)
    return select(compare(.unordered, x, x), x, y)
  }

  mutating func log(_ x: Value) -> Value {
    let type = lane(x)
    let single = type == .f32
    let smallest =
      single ? Double(Float.leastNormalMagnitude) : Double.leastNormalMagnitude
    let isTiny = compare(.less, x, number(type, smallest))
    let u = select(isTiny, mul(x, number(type, single ? 0x1p23 : 0x1p54)), x)
    let (scaled, f) = split(u)
    let k = sub(scaled, select(isTiny, number(type, single ? 23 : 54), number(type, 0)))
    return withLogSpecials(logSum(k, f, lowProduct(k)), x, zero: 0)
  }

  mutating func log1p(_ x: Value) -> Value {
    let type = lane(x)
    let one = number(type, 1)
    let zero = number(type, 0)
    let u = add(x, one)
    let isLarge = compare(.lessEqual, one, x)
    let error = select(isLarge, sub(one, sub(u, x)), sub(x, sub(u, one)))
    let (k, fu) = split(u)
    let isNear = compare(.equal, k, zero)
    let f = select(isNear, x, fu)
    let correction = select(isNear, zero, div(error, u))
    let sum = logSum(k, f, add(lowProduct(k), correction))
    return withLogSpecials(withSign(sum, of: x), x, zero: -1)
  }

  // MARK: Error function and powers

  mutating func erf(_ x: Value) -> Value {
    let type = lane(x)
    let one = number(type, 1)
    if type == .f32 {
      let a = atMost(magnitude(x), 3.95)
      let z = mul(a, a)
      let p = polynomial(
        z,
        [
          7.920304e-5, -8.0307503e-4, 0.0051907334, -0.026855126, 0.11283618, -0.3761263,
          0.12837917,
        ])
      let near = fma(a, p, a)
      let g = polynomial(
        a,
        [
          1.8796789e-4, -0.0029639741, 0.021906368, -0.10325601, -0.6379652, -1.1272022,
          -3.1250349e-4,
        ])
      let (k, high, low) = reducedExp(g)
      let far = fnma(add(add(high, low), one), power2(k), one)
      return withSign(select(compare(.less, a, one), near, far), of: x)
    }
    let a = atMost(magnitude(x), 6)
    let z = mul(a, a)
    let p = polynomial(
      z,
      [
        1.634200659368824e-10, -1.7609269169293968e-09, 1.62983459619935e-08,
        -1.6597636923930035e-07, 1.6484674770357287e-06, -1.4927092076190329e-05,
        0.00012055394242585424, -0.0008548328733610603, 0.0052239776556675084,
        -0.026866170648280275, 0.11283791670972064, -0.3761263890318411, 0.1283791670955126,
      ])
    let near = fma(a, p, a)
    let two = number(type, 2)
    let h = polynomial(
      div(sub(a, two), add(a, two)),
      [
        -1.1959799050474521e-05, -2.5814180247141926e-05, 2.78992141839782e-05,
        0.00017427435840475084, 4.350854242462059e-05, -0.0009819806965891936,
        -0.0008471421193755734, 0.00699746194093891, 0.0037328924032330253, -0.07897858101766606,
        0.24165819424239252, -0.4271858474139556, 0.25539567631050586,
      ])
    let (k, high, low) = reducedExp(negated(z))
    let whole = mul(h, power2(k))
    let far = sub(one, fma(whole, add(high, low), whole))
    return withSign(select(compare(.less, a, number(type, 0.93)), near, far), of: x)
  }

  /// Any power: the caller computes every lane.
  mutating func slowPower(_ x: Value, _ y: Value, _ type: ScalarType) -> Value {
    help(
      LoopHelp(opcode: .pow, type: type), where: Self.none, x, y,
      fast: binary(.or, x, integer(lane(x), 0)))
  }

  mutating func power32(_ x: Value, _ y: Value) -> Value {
    let a = magnitude(x)
    let b = magnitude(y)
    let infinity = number(.f32, .infinity)
    let zero = integer(.i32, 0)
    let power = positivePower(convert(a, to: .f64), convert(y, to: .f64))
    let isNegative = compare(.less, x, zero, of: .i32)
    let isPlain = and(compare(.equal, x, x), compare(.less, b, infinity))
    let shift = number(.f32, 12_582_912)
    let shifted = add(b, shift)
    let isWhole = compare(.equal, sub(shifted, shift), b)
    let parity = self.shift(.shiftLeft, shifted, 31, as: .f32)
    let signed = or(power, select(and(isNegative, isWhole), parity, number(.f32, 0)))
    let isFinite = compare(.less, a, infinity)
    let isBelow = and(compare(.less, x, number(.f32, 0)), isFinite)
    let isUndefined = and(isBelow, not(isWhole))
    let result = select(isUndefined, number(.f32, .nan), signed)
    let isShort = compare(.lessEqual, b, number(.f32, 0x1p22))
    let isFast = and(isPlain, or(not(isNegative), isShort))
    return help(LoopHelp(opcode: .pow, type: .float32), where: not(isFast), x, y, fast: result)
  }

  /// `x^y` for `x >= 0` and finite `y`, in double precision, rounded once.
  private mutating func positivePower(_ x: Value, _ y: Value) -> Value {
    let zero = number(.f64, 0)
    let infinity = number(.f64, .infinity)
    let (k, f) = split(x)
    let s = div(f, add(f, number(.f64, 2)))
    let z = mul(s, s)
    let p = polynomial(
      z,
      [
        0.19585536786641003, 0.221760984907639, 0.28572111163060526, 0.3999999560449164,
        0.6666666667584686,
      ])
    let tail = mul(s, fma(z, p, number(.f64, 2)))
    var log2 = fma(tail, number(.f64, 1.4426950408889634), k)
    log2 = select(compare(.equal, x, zero), number(.f64, -.infinity), log2)
    log2 = select(compare(.equal, x, infinity), infinity, log2)
    let product = select(compare(.equal, y, zero), zero, mul(y, log2))
    let t = atMost(atLeast(product, -300), 300)
    let n = round(t, down: false)
    let r = sub(t, n)
    let q = polynomial(
      r,
      [
        1.335995676745536e-05, 0.00015461391244587285, 0.0013341953880636923,
        0.009618056861158852, 0.05550400367534373, 0.24022650921039576, 0.6931471838204887,
      ])
    return convert(mul(fma(r, q, number(.f64, 1)), power2(n)), to: .f32)
  }
}
