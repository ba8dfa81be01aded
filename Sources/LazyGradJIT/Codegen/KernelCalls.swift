// Which kernels are a few calls of machine code, one after the other, and what these are. Uses Plan's
// description of kernels and the code that they have been given.

enum KernelCalls {
  /// Most calls of products that are kept ready for one kernel.
  private static let productLimit = 8

  /// The calls that a kernel amounts to; nil where it takes more than that, or many.
  static func calls(_ kernel: LoopKernel) -> [KernelCall]? {
    guard kernel.isOnePiece else { return nil }
    var calls: [KernelCall] = []
    if kernel.hasProduct {
      guard let products = products(kernel) else { return nil }
      calls = products
    }
    if let native = kernel.nativeLoop {
      guard let loop = loop(kernel, native) else { return nil }
      calls.append(.loop(loop))
    } else if !kernel.hasProduct || kernel.loads.count > 0 || kernel.code.count > 0
      || kernel.stores.count > 0
    {
      return nil
    }
    return calls
  }

  /// The product, from its first row to its last.
  private static func products(_ kernel: LoopKernel) -> [KernelCall]? {
    guard let native = kernel.nativeProduct?.main, !native.streams, !native.isPieced,
      let target = memory(kernel, kernel.product.register)
    else { return nil }
    let product = kernel.product
    let size = product.type.size
    let nowhere = UnsafeMutableRawPointer(mutating: native.entry)
    var calls: [KernelCall] = []
    if let start = product.start {
      calls.append(.copy(from: start, to: target, byteCount: kernel.rows * product.n * size))
    }
    for batch in 0..<(kernel.rows / product.m) {
      var c = target
      c.byteOffset += batch * product.m * product.n * size
      for (t, term) in kernel.terms.array.enumerated() {
        var (a, b) = (term.a, term.b)
        if term.aBatch >= 0 { a.byteOffset += kernel.batchOffsets[term.aBatch + batch] * size }
        if term.bBatch >= 0 { b.byteOffset += kernel.batchOffsets[term.bBatch + batch] * size }
        var done = 0
        repeat {
          if calls.count == productLimit { return nil }
          var (left, right) = (a, b)
          left.byteOffset += done * term.aColumn * size
          right.byteOffset += done * term.bRow * size
          let depth = min(term.k - done, native.depth)
          calls.append(
            .product(
              ProductCall(
                entry: native.entry, a: left, b: right, c: c,
                arguments: ProductArguments(
                  a: nowhere, b: nowhere, c: nowhere, rows: product.m, depth: depth,
                  aRow: term.aRow * size, aColumn: term.aColumn * size, bRow: term.bRow * size,
                  cRow: product.n * size, bStrip: native.strip * size,
                  accumulates: product.start != nil || t > 0 || done > 0))))
          done += depth
        } while done < term.k
      }
    }
    return calls
  }

  /// The loop over all elements; nil where it needs what the portable kernels do before it.
  private static func loop(_ kernel: LoopKernel, _ native: NativeLoop) -> LoopCall? {
    if native.loads.count > 0 || native.terminals.count > 0 { return nil }
    var arguments: [Place] = []
    for argument in native.arguments.array {
      switch argument.kind {
      case .elements, .rows, .codeRows, .fixed: arguments.append(argument.place)
      case .scalar:
        arguments.append(Place(base: Place.scalars, byteOffset: 8 * argument.number))
      case .register:
        guard let place = memory(kernel, argument.number) else { return nil }
        arguments.append(place)
      case .sums, .parts: return nil
      }
    }
    return LoopCall(
      entry: native.routine.entry, frame: kernel.layout.byteCount + native.registerBytes,
      count: kernel.rows * kernel.columns, arguments: Frozen(arguments))
  }

  /// Where a register begins: in its array, or in scratch memory.
  private static func memory(_ kernel: LoopKernel, _ register: Int) -> Place? {
    if kernel.registers[register].isDirect { return kernel.registers[register].place }
    let placed = kernel.nativeLoop?.registers.array.first { $0.register == register }
    return placed.map {
      Place(base: Place.scratch, byteOffset: kernel.layout.byteCount + $0.offset)
    }
  }
}
