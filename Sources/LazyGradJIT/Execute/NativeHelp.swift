// Finishes what vector code leaves to its caller: the lanes of elementary functions outside of the
// range that vectors compute well. Uses the tile kernels, which have the C library for them.

enum NativeHelp {
  /// Writes the missing lanes of a saved result register.
  static func answer(_ request: Int, _ frame: UnsafeMutableRawPointer) {
    let opcode = Opcode(rawValue: UInt8(truncatingIfNeeded: request))!
    let type = ScalarType(rawValue: UInt8(truncatingIfNeeded: request >> 8))!
    let resultType = ScalarType(rawValue: UInt8(truncatingIfNeeded: request >> 40))!
    func register(_ shift: Int) -> UnsafeMutableRawPointer {
      frame + LoopFrame.vectors + 64 * (request >> shift & 255)
    }
    let (x, y, result) = (register(16), register(24), register(32))
    withUnsafeTemporaryAllocation(byteCount: 64, alignment: 64) { buffer in
      let exact = buffer.baseAddress!
      let count = 64 / max(type.size, resultType.size)
      Tile.run(opcode, type: type, to: resultType, dst: exact, a: x, b: y, c: nil, count: count)
      let size = resultType.size
      for i in 0..<count where isMissing(opcode, type, x, y, i) {
        (result + i * size).copyMemory(from: exact + i * size, byteCount: size)
      }
    }
  }

  /// Whether vector code has no result for lane `i`: the reverse of what it compares.
  private static func isMissing(
    _ opcode: Opcode, _ type: ScalarType, _ x: UnsafeRawPointer, _ y: UnsafeRawPointer, _ i: Int
  ) -> Bool {
    switch (opcode, type) {
    case (.sin, .float32), (.cos, .float32):
      return !(x.load(fromByteOffset: 4 * i, as: Float.self).magnitude <= 1e5)
    case (.sin, .float64), (.cos, .float64):
      return !(x.load(fromByteOffset: 8 * i, as: Double.self).magnitude <= 1e6)
    case (.pow, .float32):
      let base = x.load(fromByteOffset: 4 * i, as: Float.self)
      let exponent = y.load(fromByteOffset: 4 * i, as: Float.self).magnitude
      let isNegative = base.sign == .minus
      return base.isNaN || !(exponent < .infinity) || (isNegative && !(exponent <= 0x1p22))
    default: return true
    }
  }
}
