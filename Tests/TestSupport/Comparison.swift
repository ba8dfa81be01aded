// Judges whether values of the engine agree with the oracle's.

import LazyGradJIT

/// The verdict of the differential tests.
package enum Comparison {
  /// The error that is allowed, relative to the largest finite magnitude of the expected array.
  ///
  /// Twenty times what a generated graph may make of a few units in the last place
  /// (`GraphBuilder`), so what exceeds it is wrong and not merely rounded.
  package static func tolerance(_ agreement: Agreement) -> Double {
    switch agreement {
    case .exact: 0
    case .double: 1e-9
    case .single: 1e-4
    }
  }

  /// Compares contiguous memory with an expected array.
  ///
  /// - Parameters:
  ///   - agreement: `.exact` asks for equal numbers; the others for a small error. NaN and the
  ///     infinities must stand in the same places in any case. Integers and bools are always exact.
  ///   - signsOfZeros: whether -0 and 0 are told apart (`.exact` only).
  /// - Returns: what differs first, or nil.
  package static func compare(
    _ actual: UnsafeRawPointer, _ expected: ReferenceArray, _ agreement: Agreement,
    signsOfZeros: Bool = false
  ) -> String? {
    let layout = LayoutTable.shared[LayoutTable.shared.intern(dims: expected.dims)]
    return compare(
      ReferenceArray(expected.type, layout, at: actual), expected, agreement,
      signsOfZeros: signsOfZeros)
  }

  /// Compares contiguous memory with an expected array bit by bit, the payloads of NaNs included.
  ///
  /// - Returns: what differs first, or nil.
  package static func compareBits(
    _ actual: UnsafeRawPointer, _ expected: UnsafeRawPointer, _ type: ScalarType, count: Int
  ) -> String? {
    for i in 0..<(count * type.size) {
      let (x, y) = (
        actual.load(fromByteOffset: i, as: UInt8.self),
        expected.load(fromByteOffset: i, as: UInt8.self)
      )
      if x == y { continue }
      let place = i / type.size * type.size
      func text(_ memory: UnsafeRawPointer) -> String {
        (0..<type.size).reversed().map {
          let byte = memory.load(fromByteOffset: place + $0, as: UInt8.self)
          return (byte < 16 ? "0" : "") + String(byte, radix: 16)
        }.joined()
      }
      return "element \(i / type.size): expected bits \(text(expected)), got \(text(actual))"
    }
    return nil
  }

  /// Compares two arrays of the same type and shape, as above.
  package static func compare(
    _ actual: ReferenceArray, _ expected: ReferenceArray, _ agreement: Agreement,
    signsOfZeros: Bool = false
  ) -> String? {
    guard actual.type == expected.type, actual.dims == expected.dims else {
      return "expected \(expected.type.name)\(expected.dims), "
        + "got \(actual.type.name)\(actual.dims)"
    }
    if !expected.type.isFloating {
      return zip(actual.integers, expected.integers).enumerated().first { $1.0 != $1.1 }.map {
        "element \($0.offset): expected \($0.element.1), got \($0.element.0)"
      }
    }
    let bound = agreement == .exact ? 0 : allowedError(expected, agreement)
    for (i, (x, y)) in zip(actual.floats, expected.floats).enumerated() {
      let agrees =
        if x.isNaN || y.isNaN {
          x.isNaN && y.isNaN
        } else if x.isInfinite || y.isInfinite || agreement == .exact {
          x == y && (!signsOfZeros || x.sign == y.sign)
        } else {
          abs(x - y) <= bound
        }
      if !agrees { return "element \(i): expected \(y), got \(x), allowed error \(bound)" }
    }
    return nil
  }

  /// The error that each element of an array may have. Never less than the smallest normal number:
  /// results in the denormal range may be flushed by elementary functions.
  package static func allowedError(_ expected: ReferenceArray, _ agreement: Agreement) -> Double {
    let smallest = expected.type == .float32 ? Double(Float.leastNormalMagnitude) : 1e-300
    return max(tolerance(agreement) * largestMagnitude(expected.floats), smallest)
  }

  /// The largest magnitude of the finite numbers, 0 if there is none.
  package static func largestMagnitude(_ numbers: [Double]) -> Double {
    numbers.reduce(0) { $1.isFinite ? max($0, abs($1)) : $0 }
  }
}
