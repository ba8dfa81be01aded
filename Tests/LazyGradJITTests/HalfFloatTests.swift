// Conversions from and to 16 bits, all of them: the portable kernels against the definition of the formats,
// and machine code against the portable kernels, bit by bit.

import LazyGradJIT
import TestSupport
import Testing

@Suite("Numbers of 16 bits") struct HalfFloatTests {
  static let formats: [ScalarType] = [.float16, .bfloat16]

  // MARK: What the formats are

  /// The number that bits stand for, by IEEE 754: sign, exponent and fraction.
  private static func value(_ bits: UInt16, _ type: ScalarType) -> Double {
    let digits = type == .float16 ? 10 : 7
    let bias = type == .float16 ? 15 : 127
    let sign = bits >> 15 == 0 ? 1.0 : -1.0
    let fraction = Double(bits & (1 << digits - 1)) / Double(1 << digits)
    let exponent = Int(bits & 0x7FFF) >> digits
    if exponent == 2 * bias + 1 { return fraction == 0 ? sign * .infinity : .nan }
    let size =
      exponent == 0
      ? fraction * Double(sign: .plus, exponent: 1 - bias, significand: 1)
      : Double(sign: .plus, exponent: exponent - bias, significand: 1 + fraction)
    return sign * size
  }

  /// All positive finite numbers in order, and where infinity would be if it were one.
  private static func numbers(_ type: ScalarType) -> [Double] {
    let infinity: UInt16 = type == .float16 ? 0x7C00 : 0x7F80
    let end = type == .float16 ? 65536 : 0x1p128
    return (0..<infinity).map { value($0, type) } + [end]
  }

  @Test("Every pattern is the float32 that it stands for, and comes back", arguments: formats)
  func everyPattern(_ type: ScalarType) {
    var wrong = 0
    for bits in 0...UInt16.max {
      let (expected, x) = (Self.value(bits, type), HalfFloat.float(bits, type))
      let isSame =
        expected.isNaN ? x.isNaN : Double(x) == expected && x.sign == expected.sign
      // Payloads stay; a signaling NaN becomes a quiet one.
      let quiet: UInt16 = x.isNaN ? (type == .float16 ? 0x0200 : 0x0040) : 0
      let back =
        type == .float16 ? Float16Format.bits(x) : BFloat16Format.bits(x)
      if !isSame || back != bits | quiet { wrong += 1 }
      #if !(os(macOS) && arch(x86_64))
        if type == .float16, Float(Float16(bitPattern: bits)).bitPattern != x.bitPattern {
          wrong += 1
        }
      #endif
    }
    #expect(wrong == 0)
  }

  /// Between two neighbours: the middle goes to the even one, what is beside it to the nearer one.
  @Test("Every boundary of rounding from float32 and float64", arguments: formats)
  func everyBoundary(_ type: ScalarType) {
    let numbers = Self.numbers(type)
    var wrong = 0
    func check(_ x: Double, _ expected: Int) {
      for sign in [1.0, -1.0] {
        let bits = UInt16(expected) | (sign < 0 ? 0x8000 : 0)
        if HalfFloat.bits(sign * x, type) != bits { wrong += 1 }
        let single = Float(sign * x)
        if Double(single) == sign * x {
          let own = type == .float16 ? Float16Format.bits(single) : BFloat16Format.bits(single)
          if own != bits { wrong += 1 }
        }
        if ReferenceArray.rounded(sign * x, type) != Double(HalfFloat.float(bits, type)) {
          wrong += 1
        }
      }
    }
    for i in 0..<(numbers.count - 1) {
      let middle = numbers[i] + (numbers[i + 1] - numbers[i]) / 2
      check(numbers[i], i)
      check(middle, i % 2 == 0 ? i : i + 1)
      check(middle.nextDown, i)
      check(middle.nextUp, i + 1)
      check(Double(Float(middle).nextDown), i)
      check(Double(Float(middle).nextUp), i + 1)
      check(numbers[i + 1].nextDown, i + 1)
      if i > 0 { check(numbers[i].nextUp, i) }
    }
    check(.infinity, numbers.count - 1)
    check(1e300, numbers.count - 1)
    check(1e-300, 0)
    #expect(wrong == 0)
  }

  @Test("Largest numbers that are not greater", arguments: formats)
  func floors(_ type: ScalarType) {
    var random = SeededRandom(seed: 3)
    for _ in 0..<2000 {
      let bits = UInt16(truncatingIfNeeded: random.next()) & 0xBFFF
      let x = Double(HalfFloat.float(bits, type))
      if x.isNaN { continue }
      #expect(HalfFloat.float(HalfFloat.floor(x, type), type) == Float(x))
      let below = HalfFloat.float(HalfFloat.floor(x.nextDown, type), type)
      #expect(
        Double(below) < x
          && HalfFloat.bits(Double(below), type) == HalfFloat.floor(x.nextDown, type))
    }
  }

  // MARK: Machine code

  /// Casts memory by every instruction set, and compares with what is expected.
  private func check<S: BitwiseCopyable, R: BitwiseCopyable & Equatable>(
    _ source: ScalarType, _ target: ScalarType, _ elements: [S], _ expected: [R],
    _ what: Comment
  ) throws {
    let count = elements.count
    let from = try Storage(byteCount: count * source.size)
    elements.withUnsafeBytes { from.pointer.copyMemory(from: $0.baseAddress!, byteCount: $0.count) }
    let shape = LayoutTable.shared.intern(dims: [count])
    let graph = Graph(
      nodes: [
        GraphNode(.leaf, source, shape: shape, attribute: shape, slot: 0),
        GraphNode(.cast, target, shape: shape, a: 0, isRoot: true),
      ], leafCount: 1, scalarCount: 0)
    for set in NativeCode.available {
      let result = try #require(
        try PlanRunner.run(
          graph, leaves: [UnsafeRawPointer(from.pointer)], scalars: [], threads: 1,
          instructionSet: set, poisons: true)[1])
      let found = UnsafeRawBufferPointer(start: result.pointer, count: count * target.size)
        .bindMemory(to: R.self)
      let wrong = (0..<count).filter { found[$0] != expected[$0] }
      #expect(
        wrong.isEmpty, "\(what), \(set): \(wrong.prefix(3).map { (elements[$0], found[$0]) })")
    }
  }

  @Test("All patterns, by every instruction set", arguments: formats)
  func patternsInMachineCode(_ type: ScalarType) throws {
    let all = Array(0...UInt16.max)
    try check(
      type, .float32, all, all.map { HalfFloat.float($0, type).bitPattern }, "to float32")
    try check(
      type, .float64, all.filter { !HalfFloat.float($0, type).isNaN },
      all.map { Double(HalfFloat.float($0, type)) }.filter { !$0.isNaN }, "to float64")
    let other: ScalarType = type == .float16 ? .bfloat16 : .float16
    try check(
      type, other, all,
      all.map {
        let x = HalfFloat.float($0, type)
        return other == .float16 ? Float16Format.bits(x) : BFloat16Format.bits(x)
      }, "to the other")
  }

  @Test(
    "Boundaries, NaNs and a walk through all float32, by every instruction set", arguments: formats)
  func roundingInMachineCode(_ type: ScalarType) throws {
    var singles: [Float] = []
    let numbers = Self.numbers(type)
    for (x, next) in zip(numbers, numbers.dropFirst()) {
      let middle = Float(x + (next - x) / 2)
      for y in [Float(x), middle, middle.nextUp, middle.nextDown] { singles += [y, -y] }
    }
    for bits in stride(from: UInt64(0), to: 1 << 32, by: 16_411) {
      singles.append(Float(bitPattern: UInt32(bits)))
    }
    func rounded(_ x: Float) -> UInt16 {
      type == .float16 ? Float16Format.bits(x) : BFloat16Format.bits(x)
    }
    try check(.float32, type, singles, singles.map(rounded), "from float32")
    // Doubles: rounded by way of float32 these would go to the wrong neighbour.
    let doubles = zip(numbers, numbers.dropFirst()).flatMap { x, next in
      let middle = x + (next - x) / 2
      return [middle, middle * (1 + 0x1p-40), middle * (1 - 0x1p-40), -middle.nextUp]
    }
    try check(
      .float64, type, doubles, doubles.map { HalfFloat.bits($0, type) }, "from float64")
  }

  /// A cast to 16 bits and back is no identity, wherever it is computed.
  @Test("Rounding on the way is not optimised away", arguments: formats)
  func roundingStays(_ type: ScalarType) throws {
    let count = 37
    let shape = LayoutTable.shared.intern(dims: [count])
    let from = try Storage(byteCount: count * 4)
    let numbers = (0..<count).map { 1 + Float($0) * 0x1p-13 }
    numbers.withUnsafeBytes { from.pointer.copyMemory(from: $0.baseAddress!, byteCount: $0.count) }
    let nodes = [
      GraphNode(.leaf, .float32, shape: shape, attribute: shape, slot: 0),
      GraphNode(.cast, type, shape: shape, a: 0),
      GraphNode(.cast, .float32, shape: shape, a: 1),
      GraphNode(.sub, .float32, shape: shape, a: 2, b: 0, isRoot: true),
    ]
    let graph = Graph(nodes: nodes, leafCount: 1, scalarCount: 0)
    for set in NativeCode.available {
      let result = try #require(
        try PlanRunner.run(
          graph, leaves: [UnsafeRawPointer(from.pointer)], scalars: [], threads: 1,
          instructionSet: set)[3])
      for (i, x) in numbers.enumerated() {
        let expected = Float(ReferenceArray.rounded(Double(x), type)) - x
        #expect(result.pointer.load(fromByteOffset: 4 * i, as: Float.self) == expected)
      }
    }
  }
}
