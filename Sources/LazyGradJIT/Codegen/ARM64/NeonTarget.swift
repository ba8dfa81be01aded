// What the vector instructions of AArch64 can do for loops.

extension Target {
  /// Two of the 32 registers are the emitter's own, for operations that take several instructions.
  static let neon = Target(
    vectorBytes: 16, vectorRegisters: 30, hasMaskRegisters: false, scalesByPowers: false,
    classifiesFloats: false, hasWideIntegers: false, convertsWideIntegers: true)
}
