// The elementwise operations of the graph as vector operations of a loop, with the results of the
// tile kernels (Kernels/Tile*.swift) bit for bit where no elementary function is involved. Writes
// into LoopBody.

extension ScalarType {
  /// The lanes that values of this type have in registers: bools are masks, bytes 32-bit lanes without a
  /// sign, float16 and bfloat16 float32, whose conversion goes with the way from and to memory.
  var lane: LoopLane {
    switch self {
    case .bool: .mask32
    case .uint8, .int32: .i32
    case .int64: .i64
    case .float32, .float16, .bfloat16: .f32
    case .float64: .f64
    }
  }
}

extension LoopBody {
  /// Whether the caller computes a cast where there are no conversions between floats and 64-bit integers,
  /// and only the one to doubles is worth composing.
  static func needsHelp(casting source: ScalarType, to target: ScalarType) -> Bool {
    source == .int64 && target.computing == .float32 || source.isFloating && target == .int64
  }

  mutating func tile(
    _ opcode: Opcode, _ type: ScalarType, _ result: ScalarType, _ a: Value, _ b: Value, _ c: Value
  ) -> Value {
    switch opcode {
    case .copy: return a
    case .cast: return cast(a, type, result)
    case .select:
      let mask = type.size == 8 ? wide(a) : a
      if type == .bool { return or(and(mask, b), binary(.andNot, mask, c)) }
      return select(mask, b, c)
    case .equal, .notEqual, .less, .lessEqual, .greater, .greaterEqual:
      return comparison(opcode, type, a, b)
    case .logicalAnd: return and(truth(a, type), truth(b, type))
    case .logicalOr: return or(truth(a, type), truth(b, type))
    case .logicalNot: return not(truth(a, type))
    case .isNaN: return type.isFloating ? narrow(compare(.unordered, a, a)) : never()
    default: break
    }
    switch type {
    case .float32, .float64: return float(opcode, a, b)
    case .float16, .bfloat16: type.isNotComputed("loop compiler")
    case .bool: return logic(opcode, a, b)
    default: return integer(opcode, type, a, b)
    }
  }

  // MARK: Masks

  /// A bool for 64-bit lanes.
  private mutating func wide(_ mask: Value) -> Value {
    target.hasMaskRegisters || lane(mask) == .mask64 ? mask : change(.widenMask, mask, to: .mask64)
  }

  /// A comparison of 64-bit lanes as a bool.
  private mutating func narrow(_ mask: Value) -> Value {
    target.hasMaskRegisters || lane(mask) == .mask32 ? mask : change(.narrowMask, mask, to: .mask32)
  }

  /// Whatever is not zero is true, NaN too.
  private mutating func truth(_ a: Value, _ type: ScalarType) -> Value {
    switch type {
    case .bool: return a
    case .float32, .float64, .float16, .bfloat16:
      return narrow(compare(.notEqual, a, number(lane(a), 0)))
    default: return not(narrow(compare(.equal, a, integer(lane(a), 0))))
    }
  }

  private mutating func never() -> Value {
    let zero = integer(.i32, 0)
    return compare(.less, zero, zero)
  }

  /// A bool as the number 0 or 1.
  mutating func number(ofMask mask: Value) -> Value {
    select(mask, integer(.i32, 1), integer(.i32, 0))
  }

  /// The bool that a byte in memory says.
  mutating func mask(ofBytes bytes: Value) -> Value {
    compare(.less, integer(.i32, 0), bytes)
  }

  private mutating func comparison(
    _ opcode: Opcode, _ type: ScalarType, _ a: Value, _ b: Value
  ) -> Value {
    var (x, y) = (a, b)
    if type == .bool { (x, y) = (number(ofMask: a), number(ofMask: b)) }
    if opcode == .greater || opcode == .greaterEqual { swap(&x, &y) }
    let mask: Value
    switch opcode {
    case .equal: mask = compare(.equal, x, y)
    case .notEqual:
      mask = type.isFloating ? compare(.notEqual, x, y) : not(compare(.equal, x, y))
    case .less, .greater: mask = compare(.less, x, y)
    default:
      mask = type.isFloating ? compare(.lessEqual, x, y) : not(compare(.less, y, x))
    }
    return narrow(mask)
  }

  /// A sum, difference or product of floats, or of integers that wrap around in their lanes.
  mutating func arithmetic(_ opcode: Opcode, _ a: Value, _ b: Value) -> Value {
    let op = Op(arithmetic: opcode)
    return op == .mul && !lane(a).isFloat ? product(a, b) : binary(op, a, b)
  }

  // MARK: Floats

  private mutating func float(_ opcode: Opcode, _ a: Value, _ b: Value) -> Value {
    let type = lane(a)
    let zero = number(type, 0)
    switch opcode {
    case .neg: return negated(a)
    case .abs: return magnitude(a)
    case .sign:
      let below = select(compare(.less, a, zero), number(type, -1), a)
      let above = select(compare(.less, zero, a), number(type, 1), below)
      return select(compare(.equal, a, zero), zero, above)
    case .square: return mul(a, a)
    case .sqrt:
      return select(compare(.less, a, zero), number(type, .nan), unary(.sqrt, a))
    case .reciprocal: return div(number(type, 1), a)
    case .relu: return select(compare(.lessEqual, a, zero), zero, a)
    case .floor: return round(a, down: true)
    case .add, .sub, .mul: return arithmetic(opcode, a, b)
    case .div: return div(a, b)
    case .maximum: return select(compare(.unordered, a, a), a, binary(.max, a, b))
    case .minimum: return select(compare(.unordered, a, a), a, binary(.min, a, b))
    default:
      guard let function = opcode.info.function else {
        preconditionFailure("loop compiler: no operation \(opcode.info.name) on floats")
      }
      return withUnsafeMutablePointer(to: &self) { body in
        let lanes = LoopLanes(body, type, for: opcode)
        return function.value(lanes, a, b)
      }
    }
  }

  private mutating func magnitude(_ x: Value) -> Value {
    lane(x) == .f32
      ? and(x, constant(.f32, bits: 0x7FFF_FFFF)) : and(x, constant(.f64, bits: .max >> 1))
  }

  private mutating func negated(_ x: Value) -> Value {
    lane(x) == .f32
      ? xor(x, constant(.f32, bits: 0x8000_0000)) : xor(x, constant(.f64, bits: 1 << 63))
  }

  // MARK: Integers

  private mutating func logic(_ opcode: Opcode, _ a: Value, _ b: Value) -> Value {
    switch opcode {
    case .neg, .abs, .sign, .square, .relu, .floor: return a
    case .add, .maximum, .bitOr: return or(a, b)
    case .mul, .minimum, .bitAnd: return and(a, b)
    case .sub, .bitXor: return xor(a, b)
    case .pow: return or(a, not(b))
    default: preconditionFailure("loop compiler: no operation \(opcode.info.name) on bools")
    }
  }

  private mutating func integer(
    _ opcode: Opcode, _ type: ScalarType, _ a: Value, _ b: Value
  ) -> Value {
    let lane = lane(a)
    let zero = integer(lane, 0)
    let isUnsigned = type == .uint8
    switch opcode {
    case .neg: return wrapped(sub(zero, a), type)
    case .abs:
      if isUnsigned { return a }
      return lane == .i32 || target.hasWideIntegers
        ? unary(.abs, a) : select(compare(.less, a, zero), sub(zero, a), a)
    case .sign:
      let positive = select(compare(.less, zero, a), integer(lane, 1), zero)
      if isUnsigned { return positive }
      return select(compare(.less, a, zero), integer(lane, -1), positive)
    case .square: return wrapped(product(a, a), type)
    case .relu: return isUnsigned ? a : extreme(.max, a, zero)
    case .floor: return a
    case .add, .sub, .mul: return wrapped(arithmetic(opcode, a, b), type)
    case .maximum: return extreme(.max, a, b)
    case .minimum: return extreme(.min, a, b)
    case .bitAnd: return and(a, b)
    case .bitOr: return or(a, b)
    case .bitXor: return xor(a, b)
    case .pow, .leftShift, .rightShift:
      // The caller computes every lane.
      let help = LoopHelp(opcode: opcode, type: lane == .i32 ? .int32 : .int64)
      return wrapped(
        self.help(help, where: Self.none, a, b, fast: binary(.or, a, zero)), type)
    default: preconditionFailure("loop compiler: no operation \(opcode.info.name) on integers")
    }
  }

  /// Bytes wrap around.
  private mutating func wrapped(_ a: Value, _ type: ScalarType) -> Value {
    type == .uint8 ? and(a, integer(.i32, 255)) : a
  }

  mutating func extreme(_ op: Op, _ a: Value, _ b: Value) -> Value {
    if lane(a) == .i32 || target.hasWideIntegers { return binary(op, a, b) }
    return op == .max
      ? select(compare(.less, a, b), b, a) : select(compare(.less, b, a), b, a)
  }

  private mutating func product(_ a: Value, _ b: Value) -> Value {
    if lane(a) == .i32 || target.hasWideIntegers { return mul(a, b) }
    // There are products of halves.
    let low = binary(.mulLow, a, b)
    let cross = add(
      binary(.mulLow, shift(.shiftRight, a, 32), b), binary(.mulLow, a, shift(.shiftRight, b, 32)))
    return add(low, shift(.shiftLeft, cross, 32))
  }

  // MARK: Casts

  private mutating func cast(_ a: Value, _ source: ScalarType, _ target: ScalarType) -> Value {
    if source == target { return a }
    if target == .bool { return truth(a, source) }
    if source.isHalf { return cast(a, .float32, target) }
    if target.isHalf {
      let wide = source == .float64 ? cutToOdd(a) : cast(a, source, .float32)
      return rounded(wide, to: target)
    }
    if source == .bool { return cast(number(ofMask: a), .uint8, target) }
    if !self.target.convertsWideIntegers, Self.needsHelp(casting: source, to: target) {
      if source == .float32 { return cast(convert(a, to: .f64), .float64, target) }
      let zero = integer(target.lane, 0)
      return help(
        LoopHelp(opcode: .cast, type: source, resultType: target), where: Self.none, a, Self.none,
        fast: binary(.xor, zero, zero, as: target.lane))
    }
    switch (source, target) {
    case (.uint8, .int32), (.bool, .uint8): return a
    case (.int32, .uint8): return and(a, integer(.i32, 255))
    case (.uint8, .int64): return change(.zeroExtend, a, to: .i64)
    case (.int32, .int64): return change(.signExtend, a, to: .i64)
    case (.uint8, .float32), (.int32, .float32): return convert(a, to: .f32)
    case (.uint8, .float64), (.int32, .float64): return convert(a, to: .f64)
    case (.int64, .int32): return change(.narrow, a, to: .i32)
    case (.int64, .uint8):
      return and(change(.narrow, a, to: .i32), integer(.i32, 255))
    case (.int64, .float32): return convert(a, to: .f32)
    case (.int64, .float64):
      return self.target.convertsWideIntegers ? convert(a, to: .f64) : doubles(a)
    case (.float32, .float64): return convert(a, to: .f64)
    case (.float64, .float32): return convert(a, to: .f32)
    // What doesn't fit, the processor turns into the smallest number: that is the rule.
    case (_, .uint8): return and(change(.truncate, a, to: .i32), integer(.i32, 255))
    case (_, .int32): return change(.truncate, a, to: .i32)
    default:
      return change(.truncate, source == .float32 ? convert(a, to: .f64) : a, to: .i64)
    }
  }

  /// A float32 as the nearest number of 16 bits.
  private mutating func rounded(_ a: Value, to type: ScalarType) -> Value {
    if type == .float16 { return unary(.roundHalf, a) }
    // The bits beyond are 0, or all of those of NaN but one.
    let last = binary(.and, shift(.shiftRight, a, 16, as: .i32), integer(.i32, 1))
    let carry = binary(.add, last, integer(.i32, 0x7FFF))
    let nearest = binary(.add, a, carry, as: .i32)
    let quiet = binary(.or, a, integer(.i32, 0x0040_0000), as: .i32)
    let bits = select(compare(.unordered, a, a), quiet, nearest)
    return binary(.and, bits, integer(.i32, 0xFFFF_0000), as: .f32)
  }

  /// Doubles as `HalfFloat.cutToOdd` makes them float32.
  private mutating func cutToOdd(_ a: Value) -> Value {
    let nearest = convert(a, to: .f32)
    let back = convert(nearest, to: .f64)
    let isExcess = narrow(compare(.less, magnitude(a), magnitude(back)))
    let isRest = narrow(or(compare(.less, back, a), compare(.less, a, back)))
    let excess = select(isExcess, integer(.i32, 1), integer(.i32, 0))
    let rest = select(isRest, integer(.i32, 1), integer(.i32, 0))
    return binary(.or, binary(.sub, nearest, excess, as: .i32), rest, as: .f32)
  }

  /// 64-bit integers as doubles where there is no conversion: both halves become exact doubles by what they are put
  /// below, and their sum rounds once.
  private mutating func doubles(_ a: Value) -> Value {
    let low = or(
      and(a, integer(.i64, 0xFFFF_FFFF)), integer(.i64, 0x4330_0000_0000_0000))
    let high = xor(shift(.shiftRight, a, 32), integer(.i64, 0x4530_0000_8000_0000))
    let rest = binary(.sub, high, number(.f64, 0x1p84 + 0x1p63 + 0x1p52), as: .f64)
    return binary(.add, rest, low, as: .f64)
  }
}
