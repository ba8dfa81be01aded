// How machine code is called that plans keep ready for small kernels, and how a matrix product's is. Here
// because plans keep the calls; the code is made in Codegen and called in Execute.

/// What an emitted product is called with beside its operands. Distances are in bytes.
///
/// Nothing of it changes from one run of a plan to the next, so that a call which is kept ready needs no copy of
/// it: the addresses come in registers.
package struct ProductArguments {
  /// Rows of C, one of the shape's heights.
  package var rows: Int
  /// The length of the summed axis.
  package var depth: Int
  package var aRow: Int
  package var aColumn: Int
  package var bRow: Int
  package var cRow: Int
  /// From one strip of B to the next.
  package var bStrip: Int
  /// 1 to add to C, 0 to overwrite it.
  package var accumulates: Int
  /// 1 to overwrite C past the caches, for code that can; C must begin with a cache line.
  package var streams = 0

  package init(
    rows: Int, depth: Int, aRow: Int, aColumn: Int, bRow: Int, cRow: Int, bStrip: Int,
    accumulates: Bool
  ) {
    self.rows = rows
    self.depth = depth
    self.aRow = aRow
    self.aColumn = aColumn
    self.bRow = bRow
    self.cRow = cRow
    self.bStrip = bStrip
    self.accumulates = accumulates ? 1 : 0
  }

  /// The arguments, B, C and A: in this order B and C are where the code wants them.
  package typealias Function =
    @convention(c) (UnsafeRawPointer, UnsafeRawPointer, UnsafeMutableRawPointer, UnsafeRawPointer)
    -> Void

  /// Rows of A that are worked on with one packed strip of B: with 256 of the summed axis and 128
  /// packed columns they fill a quarter of a second-level cache.
  package static let packedRows = 120
}

/// One of the calls that a small kernel amounts to, with everything but the addresses of its arrays.
///
/// What a kernel is made of stands in a dozen places; to gather it takes longer than a product of 16 x 16
/// matrices and the loop behind it. So for kernels that are a few calls, one after the other, it is
/// gathered once. The plan that keeps a call frees it: what is called with stays where it is, because to
/// copy it would take as long again.
package enum KernelCall: @unchecked Sendable {
  case product(UnsafeMutablePointer<ProductCall>)
  case loop(UnsafeMutablePointer<LoopCall>)
  case copy(UnsafeMutablePointer<CopyCall>)

  init(_ call: ProductCall) { self = .product(Self.kept(call)) }
  init(_ call: LoopCall) { self = .loop(Self.kept(call)) }
  init(_ call: CopyCall) { self = .copy(Self.kept(call)) }

  private static func kept<Call>(_ call: Call) -> UnsafeMutablePointer<Call> {
    let pointer = UnsafeMutablePointer<Call>.allocate(capacity: 1)
    pointer.initialize(to: call)
    return pointer
  }

  func free() {
    switch self {
    case .product(let call): call.deallocate()
    case .loop(let call):
      call.pointee.arguments.destroy()
      call.deallocate()
    case .copy(let call): call.deallocate()
    }
  }
}

/// One call of a product's machine code.
package struct ProductCall {
  let arguments: ProductArguments
  /// The code; the kernel keeps it.
  let entry: UnsafeRawPointer
  let a: Place
  let b: Place
  let c: Place
}

/// One call of a loop's machine code, for all of its elements.
package struct LoopCall {
  /// The code; the kernel keeps it.
  let entry: UnsafeRawPointer
  /// Where its frame is in a thread's scratch memory.
  let frame: Int
  let count: Int
  /// Where its arguments are.
  let arguments: Frozen<Place>
}

/// What the terms of a product are added to, where they are.
package struct CopyCall {
  let source: Place
  let target: Place
  let byteCount: Int
}
