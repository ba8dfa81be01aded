// Tile kernels of the elementary functions: one for each function and precision. Called by the
// dispatcher in Tile.swift; uses vectors as lanes.

extension ElementaryFunction {
  package static func tile(
    isSingle: Bool, _ dst: UnsafeMutableRawPointer, _ x: UnsafeRawPointer, _ y: UnsafeRawPointer,
    _ count: Int
  ) {
    if isSingle { singles(dst, x, y, count) } else { doubles(dst, x, y, count) }
  }

  // Functions of their own, so that their registers and constants burden neither each other nor the cheap
  // operations; and loops without a closure, in which the definition would stay a call per vector.

  @inline(never)
  private static func singles(
    _ dst: UnsafeMutableRawPointer, _ x: UnsafeRawPointer, _ y: UnsafeRawPointer, _ count: Int
  ) {
    var i = 0
    while i < count {
      dst.put(value(SingleLanes(), x.vector(i), y.vector(i)), i)
      i &+= 8
    }
  }

  @inline(never)
  private static func doubles(
    _ dst: UnsafeMutableRawPointer, _ x: UnsafeRawPointer, _ y: UnsafeRawPointer, _ count: Int
  ) {
    var i = 0
    while i < count {
      dst.put(value(DoubleLanes(), x.vector(i), y.vector(i)), i)
      i &+= 4
    }
  }
}
