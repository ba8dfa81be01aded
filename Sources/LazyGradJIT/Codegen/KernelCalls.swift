// Which kernels are a few calls of machine code, one after the other, and what these are. Uses Plan's
// description of kernels and the code that they have been given.

struct KernelCalls {
  private let kernel: LoopKernel
  private let plan: Plan

  /// Most calls of products, and copies for them, that are kept ready for one kernel.
  private static let productLimit = 8

  /// The calls that a kernel amounts to; nil where it takes more than that, or many.
  static func calls(_ kernel: LoopKernel, _ plan: Plan) -> [KernelCall]? {
    kernel.isOnePiece ? Self(kernel: kernel, plan: plan).calls() : nil
  }

  private func calls() -> [KernelCall]? {
    var arguments: [Place]?
    if let native = kernel.nativeLoop {
      arguments = self.arguments(native)
      if arguments == nil { return nil }
    } else if !kernel.hasProduct || kernel.loads.count > 0 || kernel.code.count > 0
      || kernel.stores.count > 0
    {
      return nil
    }
    var calls: [KernelCall] = []
    if kernel.hasProduct {
      guard let products = products() else { return nil }
      calls = products.start.map { [KernelCall($0)] } ?? []
      calls += products.calls.map { KernelCall($0) }
    }
    if let native = kernel.nativeLoop, let arguments {
      calls.append(
        KernelCall(
          LoopCall(
            entry: native.routine.entry, frame: kernel.layout.byteCount + native.registerBytes,
            count: kernel.rows * kernel.columns, arguments: Frozen(arguments))))
    }
    return calls
  }

  /// The product, from its first row to its last.
  private func products() -> (start: CopyCall?, calls: [ProductCall])? {
    guard let native = kernel.nativeProduct?.main, !native.streams, !native.isPieced,
      let target = memory(kernel.product.register)
    else { return nil }
    let product = kernel.product
    let size = product.type.size
    let nowhere = UnsafeMutableRawPointer(mutating: native.entry)
    let start = product.start.map {
      CopyCall(source: $0, target: target, byteCount: kernel.rows * product.n * size)
    }
    var calls: [ProductCall] = []
    for batch in 0..<(kernel.rows / product.m) {
      var c = target
      c.byteOffset += batch * product.m * product.n * size
      for (t, term) in kernel.terms.array.enumerated() {
        var (a, b) = (term.a, term.b)
        if term.aBatch >= 0 { a.byteOffset += kernel.batchOffsets[term.aBatch + batch] * size }
        if term.bBatch >= 0 { b.byteOffset += kernel.batchOffsets[term.bBatch + batch] * size }
        var done = 0
        repeat {
          if calls.count == Self.productLimit { return nil }
          var (left, right) = (a, b)
          left.byteOffset += done * term.aColumn * size
          right.byteOffset += done * term.bRow * size
          let depth = min(term.k - done, native.depth)
          calls.append(
            ProductCall(
              entry: native.entry, a: left, b: right, c: c,
              arguments: ProductArguments(
                a: nowhere, b: nowhere, c: nowhere, rows: product.m, depth: depth,
                aRow: term.aRow * size, aColumn: term.aColumn * size, bRow: term.bRow * size,
                cRow: product.n * size, bStrip: native.strip * size,
                accumulates: start != nil || t > 0 || done > 0)))
          done += depth
        } while done < term.k
      }
    }
    return (start, calls)
  }

  /// Where the arguments of the loop over all elements are; nil where it needs what the portable kernels do
  /// before it.
  private func arguments(_ native: NativeLoop) -> [Place]? {
    if native.loads.count > 0 || native.terminals.count > 0 { return nil }
    var places: [Place] = []
    for argument in native.arguments.array {
      switch argument.kind {
      case .elements, .rows, .codeRows, .fixed: places.append(argument.place)
      case .scalar:
        places.append(Place(base: Int32(plan.scalarBase), byteOffset: 8 * argument.number))
      case .register:
        guard let place = memory(argument.number) else { return nil }
        places.append(place)
      case .sums, .parts: return nil
      }
    }
    return places
  }

  /// Where a register begins: in its array, or in scratch memory.
  private func memory(_ register: Int) -> Place? {
    if kernel.registers[register].isDirect { return kernel.registers[register].place }
    let placed = kernel.nativeLoop?.registers.array.first { $0.register == register }
    return placed.map {
      Place(base: Int32(plan.scratchBase), byteOffset: kernel.layout.byteCount + $0.offset)
    }
  }
}
