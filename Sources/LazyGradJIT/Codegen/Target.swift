// What loops are compiled for, as far as their programs depend on it: capabilities, no names of processors.
// The folder of each machine says what its instruction sets can do.

/// The capabilities of a set of vector instructions.
struct Target: Sendable {
  let vectorBytes: Int
  let vectorRegisters: Int
  /// Whether masks are registers of their own; else they are lanes of ones, which have a width.
  let hasMaskRegisters: Bool
  /// `x 2^k` for floats.
  let scalesByPowers: Bool
  /// Which floats are denormal, infinite or NaN, as one instruction.
  let classifiesFloats: Bool
  /// Products, magnitudes and extremes of 64-bit integers.
  let hasWideIntegers: Bool
  /// Conversions between 64-bit integers and floats.
  let convertsWideIntegers: Bool
}

extension InstructionSet {
  /// What loops are compiled for. There are none for the portable kernels.
  var target: Target {
    switch self {
    case .portable, .avx2: .x86(isNew: false)
    case .avx512: .x86(isNew: true)
    case .neon: .neon
    }
  }
}
