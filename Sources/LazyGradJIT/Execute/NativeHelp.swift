// Finishes what vector code leaves to its caller: the lanes of elementary functions outside of the
// range that vectors compute well, and operations that it has no instructions for. Uses the tile
// kernels and the functions' own definitions.

enum NativeHelp {
  /// Writes the missing lanes of a saved result register.
  static func answer(_ request: LoopRequest, _ frame: UnsafeMutableRawPointer) {
    let vectors = frame + LoopFrame.vectors
    func register(_ number: Int) -> UnsafeMutableRawPointer { vectors + 64 * number }
    let (x, y, result) = (register(request.x), register(request.y), register(request.result))
    let (opcode, type, resultType) = (request.opcode, request.type, request.resultType)
    let count = request.laneCount
    /// Whether vector code has no result for lane `i`.
    func isMissing(_ i: Int) -> Bool {
      switch request.missing {
      case .all: true
      case .maskRegister(let k):
        frame.load(fromByteOffset: LoopFrame.masks + 4 * Int(k), as: UInt32.self) >> i & 1 != 0
      case .vectorRegister(let r):
        register(Int(r)).load(fromByteOffset: type.size * (i + 1) - 1, as: Int8.self) < 0
      }
    }
    if type.isFloating, let function = opcode.info.function {
      for i in 0..<count where isMissing(i) {
        if type == .float32 {
          let bits = function.exactBits(
            isSingle: true, UInt64(x.load(fromByteOffset: 4 * i, as: UInt32.self)),
            UInt64(y.load(fromByteOffset: 4 * i, as: UInt32.self)))
          result.storeBytes(
            of: UInt32(truncatingIfNeeded: bits), toByteOffset: 4 * i, as: UInt32.self)
        } else {
          let bits = function.exactBits(
            isSingle: false, x.load(fromByteOffset: 8 * i, as: UInt64.self),
            y.load(fromByteOffset: 8 * i, as: UInt64.self))
          result.storeBytes(of: bits, toByteOffset: 8 * i, as: UInt64.self)
        }
      }
      return
    }
    withUnsafeTemporaryAllocation(byteCount: 64, alignment: 64) { buffer in
      let exact = buffer.baseAddress!
      Tile.run(opcode, type: type, to: resultType, dst: exact, a: x, b: y, c: nil, count: count)
      let size = resultType.size
      for i in 0..<count where isMissing(i) {
        (result + i * size).copyMemory(from: exact + i * size, byteCount: size)
      }
    }
  }
}
