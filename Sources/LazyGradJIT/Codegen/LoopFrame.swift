// The memory that a loop's code is called with: what lies where, and what is given out behind that. Uses
// nothing else of the engine.

/// Where things are in a frame, the memory that a loop's code is called with.
package enum LoopFrame {
  /// Where to go on; 0 for the start.
  static let resume = 0
  package static let elementCount = 8
  static let startColumn = 16
  static let row = 24
  static let registers = 32
  /// Elements of a masked iteration, kept while the caller helps.
  static let tailCount = 80
  static let rowEnd = 88
  /// The bytes of a masked iteration: a vector of numbers of 16 bits.
  static let staging = 96
  /// Vector registers and mask registers while the caller helps.
  static let vectors = 128
  static let masks = vectors + 32 * 64
  static let tails = masks + 64
  static let pointers = tails + 128
  package static func pointer(_ number: Int) -> Int { pointers + 8 * number }
}

/// What lies behind the pointers of a frame.
struct LoopFrameSpace {
  /// The first byte that is free.
  private(set) var end: Int

  init(pointers: Int) { end = (LoopFrame.pointer(pointers) + 63) & ~63 }

  /// Bytes in the frame, aligned to 64.
  mutating func reserve(_ bytes: Int) -> Int {
    let offset = end
    end += (bytes + 63) & ~63
    return offset
  }
}
