// Text of single elements, aligned with each other as NumPy aligns them. Uses NDArray's reading.

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#else
  import Darwin
#endif

internal import LazyGradJIT

/// Turns the elements of an array into words of equal width.
enum ElementFormat {
  static func words(of array: NDArray) -> [String] {
    switch array.dtype {
    case .float64: FloatFormat(array.elements(as: Double.self), wholeLimit: 1e8).words()
    case .float32: FloatFormat(array.elements(as: Float.self), wholeLimit: 1e6).words()
    case .float16: HalfText(type: .float16, mostDigits: 5).words(of: array, wholeLimit: 1e3)
    case .bfloat16: HalfText(type: .bfloat16, mostDigits: 4).words(of: array, wholeLimit: 1e2)
    case .bool:
      array.elements(as: Bool.self).map { $0 ? (array.rank == 0 ? "True" : " True") : "False" }
    default: aligned(array.elements(as: Int.self).map { "\($0)" })
    }
  }

  private static func aligned(_ words: [String]) -> [String] {
    let width = words.lazy.map(\.utf8.count).max() ?? 0
    return words.map { $0.leftPadded(to: width) }
  }
}

/// The format of a set of floating-point numbers that are printed together.
///
/// All of them are written in fixed notation, or all in scientific notation if the finite ones span
/// more than three orders of magnitude, or if the largest or smallest is far from 1. In fixed
/// notation each has the fewest digits that identify it, but at most eight after the point; in
/// scientific notation all have as many as the longest of them would need.
struct FloatFormat<Value: BinaryFloatingPoint & TensorScalar & CustomStringConvertible> {
  private let values: [Value]
  private let isScientific: Bool
  /// The fewest digits that identify a number.
  private let shortest: (Value) -> String
  /// The most digits behind the point.
  private var precision: Int { 8 }

  /// - Parameters:
  ///   - wholeLimit: Where scientific notation begins: a power of ten with as many digits as the type always
  ///     preserves, at most 1e8.
  ///   - rounded: A quotient as a number of the type.
  ///   - shortest: The fewest digits that identify a number.
  fileprivate init(
    _ values: [Value], wholeLimit: Value, rounded: (Value) -> Value = { $0 },
    shortest: @escaping (Value) -> String = { $0.description }
  ) {
    self.shortest = shortest
    let magnitudes = values.lazy.filter { $0.isFinite && $0 != 0 }.map(\.magnitude)
    if let most = magnitudes.max(), let least = magnitudes.min() {
      isScientific = most >= wholeLimit || least < 1e-4 || rounded(most / least) > 1000
    } else {
      isScientific = false
    }
    self.values = values
  }

  /// The words, all of the same width.
  func words() -> [String] {
    let finite = values.filter(\.isFinite)
    var decimals = finite.map { value in
      let shortest = Decimal(self.shortest(value))
      return shortest.fractionCount(isScientific) <= precision
        ? shortest : Decimal(printed: value, isScientific: isScientific, digits: precision)
    }
    let digits = decimals.lazy.map { $0.fractionCount(isScientific) }.max() ?? 0
    if isScientific {
      // Digits beyond those that identify a number are those of its binary value.
      decimals = finite.map { Decimal(printed: $0, isScientific: true, digits: digits) }
    }
    let left = decimals.lazy.map { $0.wholeCount(isScientific) }.max() ?? 0
    let exponentDigits = decimals.lazy.map(\.exponentCount).max() ?? 0
    // In scientific notation "e", the sign and the digits of the exponent follow the fraction.
    let right = isScientific ? digits + 2 + exponentDigits : digits
    let specials = values.lazy.filter { !$0.isFinite }.map { Self.special($0).utf8.count }
    let width = max(left + 1 + right, specials.max() ?? 0)

    var next = decimals.makeIterator()
    return values.map { value in
      guard value.isFinite, let decimal = next.next() else {
        return Self.special(value).leftPadded(to: width)
      }
      let text =
        isScientific
        ? decimal.scientific(digits, exponentDigits)
        : decimal.fixed.padding(digits - decimal.fractionCount(false))
      return text.leftPadded(to: width)
    }
  }

  private static func special(_ value: Value) -> String {
    value.isNaN ? "nan" : value < 0 ? "-inf" : "inf"
  }
}

/// The text of numbers of 16 bits, which are taken for `Float` here.
private struct HalfText {
  let type: ScalarType
  /// As many as tell all numbers of the type apart.
  let mostDigits: Int

  func words(of array: NDArray, wholeLimit: Float) -> [String] {
    FloatFormat(
      array.elements(as: Float.self), wholeLimit: wholeLimit, rounded: { nearest(Double($0)) },
      shortest: shortest
    ).words()
  }

  private func nearest(_ x: Double) -> Float { HalfFloat.float(HalfFloat.bits(x, type), type) }

  private func shortest(_ value: Float) -> String {
    for digits in 0..<mostDigits {
      // The C library rounds a decimal that ends in the middle to the even digit. Below a power of two numbers
      // are closer together than above, so that the other one may be the one that identifies it.
      for number in [Double(value), Double(value) * (1 + 0x1p-40)] {
        let text = String(printing: number, "%.*e", digits: digits)
        if let read = Double(text), nearest(read) == value { return text }
      }
    }
    return value.description
  }
}

/// A decimal number: sign, digits without zeros around them, and where the point is.
private struct Decimal {
  var isNegative: Bool
  var digits: [UInt8] = []
  /// The point stands before this digit; it can lie outside of the digits. Zero has no digits, and
  /// the point behind the one that is printed for it.
  var pointPosition = 0

  /// Takes a number apart that Swift or C has printed: `-12.5`, `1e-07`.
  init(_ text: String) {
    isNegative = text.utf8.first == UInt8(ascii: "-")
    let halves = text.utf8.split(separator: UInt8(ascii: "e"))
    var position: Int?
    for byte in halves[0] {
      if byte == UInt8(ascii: ".") { position = digits.count }
      if byte >= UInt8(ascii: "0"), byte <= UInt8(ascii: "9") { digits.append(byte) }
    }
    pointPosition = position ?? digits.count
    if halves.count > 1 { pointPosition += Int(String(Substring(halves[1]))) ?? 0 }
    while digits.last == UInt8(ascii: "0") { digits.removeLast() }
    let leading = digits.prefix { $0 == UInt8(ascii: "0") }.count
    digits.removeFirst(leading)
    pointPosition = digits.isEmpty ? 1 : pointPosition - leading
  }

  /// Rounds the exact binary value to some digits behind the point, ties to even, as the C library
  /// does. Rounding the shortest text instead could round twice.
  init<Value: TensorScalar>(printed value: Value, isScientific: Bool, digits: Int) {
    self.init(
      String(printing: value._double, isScientific ? "%.*e" : "%.*f", digits: digits))
  }

  /// Digits behind the point.
  func fractionCount(_ isScientific: Bool) -> Int {
    max(digits.count - (isScientific ? 1 : pointPosition), 0)
  }

  /// Characters before the point.
  func wholeCount(_ isScientific: Bool) -> Int {
    (isNegative ? 1 : 0) + (isScientific ? 1 : max(pointPosition, 1))
  }

  /// Digits of the power of ten, two at least.
  var exponentCount: Int { max("\((pointPosition - 1).magnitude)".utf8.count, 2) }

  var fixed: String {
    let whole = pointPosition > 0 ? text(0..<pointPosition) : "0"
    let fraction = digits.count > pointPosition ? text(pointPosition..<digits.count) : ""
    return "\(sign)\(whole).\(fraction)"
  }

  func scientific(_ fractionDigits: Int, _ exponentDigits: Int) -> String {
    let power = pointPosition - 1
    let exponent = "\(power.magnitude)".leftPadded(to: exponentDigits, with: "0")
    let mantissa = "\(sign)\(text(0..<1)).\(text(1..<(1 + fractionDigits)))"
    return "\(mantissa)e\(power < 0 ? "-" : "+")\(exponent)"
  }

  private var sign: String { isNegative ? "-" : "" }

  /// Digits by position; places before the first and after the last are zeros.
  private func text(_ range: Range<Int>) -> String {
    String(
      decoding: range.map { digits.indices.contains($0) ? digits[$0] : UInt8(ascii: "0") },
      as: UTF8.self)
  }
}

extension String {
  /// What the C library makes of a number, with some digits behind the point.
  fileprivate init(printing value: Double, _ format: String, digits: Int) {
    // A double has at most 309 digits before the point.
    self = withUnsafeTemporaryAllocation(of: CChar.self, capacity: 400) { buffer in
      let length = withVaList([Int32(digits), value]) {
        vsnprintf(buffer.baseAddress, buffer.count, format, $0)
      }
      return String(
        decoding: UnsafeRawBufferPointer(buffer).prefix(Int(length)), as: UTF8.self)
    }
  }

  fileprivate func leftPadded(to width: Int, with pad: String = " ") -> String {
    String(repeating: pad, count: max(width - utf8.count, 0)) + self
  }
  fileprivate func padding(_ count: Int) -> String { self + String(repeating: " ", count: count) }
}
