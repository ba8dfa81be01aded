// Which kernels are a few calls of machine code, one after the other, and what these are. Uses Plan's
// description of kernels and the code that they have been given.

struct KernelCalls {
  private let kernel: LoopKernel
  private let plan: Plan

  /// Most calls of products that are kept ready for one kernel, and most chunks.
  private static let productLimit = 8
  private static let chunkLimit = 8

  /// The calls that a kernel amounts to, as many for each chunk; nil where it takes more than that, or many.
  static func calls(_ kernel: LoopKernel, _ plan: Plan) -> [KernelCall]? {
    guard kernel.hasOnePieceChunks, kernel.chunkCount <= chunkLimit else { return nil }
    return Self(kernel: kernel, plan: plan).calls()
  }

  private func calls() -> [KernelCall]? {
    if kernel.nativeLoop == nil {
      let isProduct = kernel.loads.count == 0 && kernel.code.count == 0 && kernel.stores.count == 0
      if !kernel.hasProduct || !isProduct { return nil }
    }
    var chunks: [(products: Products?, loop: (arguments: [Place], count: Int)?)] = []
    var room = Self.productLimit
    for chunk in 0..<kernel.chunkCount {
      let first = chunk * kernel.chunkRows
      let rows = first..<min(first + kernel.chunkRows, kernel.rows)
      let products = kernel.hasProduct ? products(rows, &room) : nil
      let arguments = kernel.nativeLoop.flatMap { self.arguments($0, rows) }
      if (products == nil) == kernel.hasProduct { return nil }
      if (arguments == nil) == (kernel.nativeLoop != nil) { return nil }
      chunks.append((products, arguments.map { ($0, rows.count * kernel.columns) }))
    }
    var calls: [KernelCall] = []
    for chunk in chunks {
      if let start = chunk.products?.start { calls.append(KernelCall(start)) }
      for product in chunk.products?.calls ?? [] { calls.append(KernelCall(product)) }
      if let loop = chunk.loop, let native = kernel.nativeLoop {
        calls.append(
          KernelCall(
            LoopCall(
              entry: native.routine.entry, frame: kernel.layout.byteCount + native.registerBytes,
              count: loop.count, arguments: Frozen(loop.arguments))))
      }
    }
    return calls
  }

  private typealias Products = (start: CopyCall?, calls: [ProductCall])

  /// The product of some rows; nil where it has no such form, or takes more calls than there is room for.
  private func products(_ rows: Range<Int>, _ room: inout Int) -> Products? {
    let product = kernel.product
    guard let native = kernel.nativeProduct?.main, !native.streams, !native.isPieced,
      !native.isOuterSum,
      let target = memory(product.register, rows.lowerBound),
      rows.count == kernel.rows || product.m == kernel.rows
    else { return nil }
    let size = product.type.size
    let rowBytes = product.n * size
    let start = product.start.map {
      CopyCall(
        source: $0.advanced(by: rows.lowerBound * rowBytes), target: target,
        byteCount: rows.count * rowBytes)
    }
    var calls: [ProductCall] = []
    let height = min(rows.count, product.m)
    for batch in 0..<(rows.count / height) {
      let c = target.advanced(by: batch * height * rowBytes)
      for (t, term) in kernel.terms.array.enumerated() {
        var a = term.a.advanced(by: rows.lowerBound * term.aRow * size)
        var b = term.b
        if term.aBatch >= 0 { a.byteOffset += kernel.batchOffsets[term.aBatch + batch] * size }
        if term.bBatch >= 0 { b.byteOffset += kernel.batchOffsets[term.bBatch + batch] * size }
        var done = 0
        repeat {
          if room == 0 { return nil }
          room -= 1
          let depth = min(term.k - done, native.depth)
          calls.append(
            ProductCall(
              arguments: ProductArguments(
                rows: height, depth: depth, aRow: term.aRow * size, aColumn: term.aColumn * size,
                bRow: term.bRow * size, cRow: rowBytes, bStrip: native.strip * size,
                accumulates: start != nil || t > 0 || done > 0),
              entry: native.entry, a: a.advanced(by: done * term.aColumn * size),
              b: b.advanced(by: done * term.bRow * size), c: c))
          done += depth
        } while done < term.k
      }
    }
    return (start, calls)
  }

  /// Where the arguments of the loop over some rows are; nil where it needs what the portable kernels do
  /// before it, is several calls, or begins inside a row of the code.
  private func arguments(_ native: NativeLoop, _ rows: Range<Int>) -> [Place]? {
    let first = rows.lowerBound * kernel.columns
    if native.loads.count > 0 || native.terminals.count > 0 || native.groupLength > 0 { return nil }
    if native.startsInRows, first % native.rowLength != 0 { return nil }
    var places: [Place] = []
    for argument in native.arguments.array {
      let place = argument.place
      switch argument.kind {
      case .elements: places.append(place.advanced(by: first * argument.step))
      case .rows: places.append(place.advanced(by: rows.lowerBound * argument.step))
      case .codeRows:
        places.append(place.advanced(by: argument.offset(ofRow: first / native.rowLength)))
      case .fixed: places.append(place)
      case .scalar:
        places.append(Place(base: Int32(plan.scalarBase), byteOffset: 8 * argument.number))
      case .register:
        guard let place = memory(argument.number, rows.lowerBound) else { return nil }
        places.append(place)
      case .sums, .parts: return nil
      }
    }
    return places
  }

  /// Where a register is for a chunk: in its array, or in scratch memory.
  private func memory(_ register: Int, _ firstRow: Int) -> Place? {
    if kernel.registers[register].isDirect {
      let direct = kernel.registers[register]
      return direct.place.advanced(by: firstRow * direct.rowBytes)
    }
    let placed = kernel.nativeLoop?.registers.array.first { $0.register == register }
    return placed.map {
      Place(base: Int32(plan.scratchBase), byteOffset: kernel.layout.byteCount + $0.offset)
    }
  }
}

extension Place {
  fileprivate func advanced(by bytes: Int) -> Place {
    Place(base: base, byteOffset: byteOffset + bytes)
  }
}
