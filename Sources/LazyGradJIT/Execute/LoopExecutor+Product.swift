// The matrix products of loop kernels: machine code where the plan has it, else the portable tiles.
// Uses Plan, Kernels and Codegen.

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#else
  import Darwin
#endif

extension LoopKernel {
  /// Computes rows of the product into its register.
  @inline(__always)
  func multiply(
    from start: Int, to end: Int, _ pointers: UnsafeMutablePointer<UnsafeMutableRawPointer>,
    _ context: RunContext
  ) {
    let size = product.type.size
    let c = pointers[product.register]
    if let sum = product.start {
      let rowBytes = product.n &* size
      memcpy(c, context.address(sum) + start &* rowBytes, (end &- start) &* rowBytes)
    }
    var row = start
    while row < end {
      let batch = product.m == rows ? 0 : row / product.m
      let inner = row &- batch &* product.m
      let n = min(end &- row, product.m &- inner)
      let target = c + (row &- start) &* product.n &* size
      if nativeProduct != nil {
        runCode(rows: n, batch: batch, firstRow: inner, target, context)
      } else {
        runTiles(rows: n, batch: batch, firstRow: inner, target, context)
      }
      row += n
    }
  }

  private func runTiles(
    rows n: Int, batch: Int, firstRow: Int, _ c: UnsafeMutableRawPointer, _ context: RunContext
  ) {
    let size = product.type.size
    let segments = (context.scratch + layout.segments).assumingMemoryBound(to: MatmulSegment.self)
    for t in 0..<terms.count {
      let term = (terms.base + t).pointee
      let (a, b) = operands(term, batch: batch, context)
      segments[t] = MatmulSegment(
        a: a + firstRow &* term.aRow &* size, b: b, k: term.k, aRow: term.aRow,
        aColumn: term.aColumn, bRow: term.bRow)
    }
    Matmul.run(
      type: product.type, m: n, n: product.n, segments: segments, segmentCount: terms.count,
      c: c, cRow: product.n, accumulate: product.start != nil)
  }

  @inline(__always)
  private func runCode(
    rows n: Int, batch: Int, firstRow: Int, _ c: UnsafeMutableRawPointer, _ context: RunContext
  ) {
    let size = product.type.size
    let native = nativeProduct.unsafelyUnwrapped
    let function = unsafeBitCast(native.entry, to: ProductArguments.Function.self)
    var arguments = ProductArguments(
      a: c, b: c, c: c, rows: n, depth: 0, aRow: 0, aColumn: 0, bRow: 0, cRow: product.n &* size,
      bStrip: native.strip &* size, accumulates: product.start != nil)
    for t in 0..<terms.count {
      let term = (terms.base + t).pointee
      let (a, b) = operands(term, batch: batch, context)
      arguments.a = UnsafeRawPointer(a + firstRow &* term.aRow &* size)
      arguments.b = UnsafeRawPointer(b)
      arguments.aRow = term.aRow &* size
      arguments.aColumn = term.aColumn &* size
      arguments.bRow = term.bRow &* size
      var left = term.k
      repeat {
        arguments.depth = min(left, Summation.blockDepth)
        function(&arguments)
        left &-= Summation.blockDepth
        arguments.a += Summation.blockDepth &* arguments.aColumn
        arguments.b += Summation.blockDepth &* arguments.bRow
        arguments.accumulates = 1
      } while left > 0
    }
  }

  @inline(__always)
  private func operands(
    _ term: Product.Term, batch: Int, _ context: RunContext
  ) -> (a: UnsafeMutableRawPointer, b: UnsafeMutableRawPointer) {
    let size = product.type.size
    let aBatch = term.aBatch < 0 ? 0 : batchOffsets[term.aBatch &+ batch]
    let bBatch = term.bBatch < 0 ? 0 : batchOffsets[term.bBatch &+ batch]
    return (context.address(term.a) + aBatch &* size, context.address(term.b) + bBatch &* size)
  }

  // MARK: Split by columns

  /// Computes some columns of a product that nothing is fused with, all rows.
  func multiplyColumns(_ chunk: Int, _ context: RunContext) {
    let size = product.type.size
    let first = chunk &* chunkColumns
    let count = min(chunkColumns, columns &- first)
    let c = context.address(registers[product.register].place)
    if let sum = product.start {
      let source = context.address(sum)
      for row in 0..<rows {
        let offset = (row &* columns &+ first) &* size
        memcpy(c + offset, source + offset, count &* size)
      }
    }
    if nativeProduct != nil {
      runPackedCode(first, count, c + first &* size, context)
      return
    }
    let segments = (context.scratch + layout.segments).assumingMemoryBound(to: MatmulSegment.self)
    for t in 0..<terms.count {
      let term = (terms.base + t).pointee
      let (a, b) = operands(term, batch: 0, context)
      segments[t] = MatmulSegment(
        a: a, b: b + first &* size, k: term.k, aRow: term.aRow, aColumn: term.aColumn,
        bRow: term.bRow)
    }
    Matmul.run(
      type: product.type, m: rows, n: count, segments: segments, segmentCount: terms.count,
      c: c + first &* size, cRow: columns, accumulate: product.start != nil)
  }

  /// Block by block of the summed axis: packs B's rows into strips whose rows follow each other, then
  /// goes over A in blocks that stay in the second-level cache.
  private func runPackedCode(
    _ first: Int, _ count: Int, _ c: UnsafeMutableRawPointer, _ context: RunContext
  ) {
    let size = product.type.size
    let native = nativeProduct.unsafelyUnwrapped
    let isEdge = count != min(chunkColumns, columns)
    let function = unsafeBitCast(
      isEdge ? native.edgeEntry : native.entry, to: ProductArguments.Function.self)
    let strip = isEdge ? native.edgeStrip : native.strip
    let packed = context.scratch + layout.packed
    var accumulates = product.start != nil
    for t in 0..<terms.count {
      let term = (terms.base + t).pointee
      let (a, b) = operands(term, batch: 0, context)
      for start in stride(from: 0, to: term.k, by: Summation.blockDepth) {
        let depth = min(term.k &- start, Summation.blockDepth)
        pack(
          b + (start &* term.bRow &+ first) &* size, rowBytes: term.bRow &* size, rows: depth,
          bytes: count &* size, strip: strip &* size, to: packed)
        for row in stride(from: 0, to: rows, by: ProductCompiler.packedRows) {
          let place = row &* term.aRow &+ start &* term.aColumn
          var arguments = ProductArguments(
            a: UnsafeRawPointer(a + place &* size), b: UnsafeRawPointer(packed),
            c: c + row &* columns &* size, rows: min(rows &- row, ProductCompiler.packedRows),
            depth: depth, aRow: term.aRow &* size, aColumn: term.aColumn &* size,
            bRow: strip &* size, cRow: columns &* size, bStrip: strip &* depth &* size,
            accumulates: accumulates)
          function(&arguments)
        }
        accumulates = true
      }
    }
  }

  private func pack(
    _ source: UnsafeMutableRawPointer, rowBytes: Int, rows: Int, bytes: Int, strip: Int,
    to packed: UnsafeMutableRawPointer
  ) {
    var target = packed
    for column in stride(from: 0, to: bytes, by: strip) {
      let width = min(strip, bytes &- column)
      for row in 0..<rows {
        memcpy(target, source + (row &* rowBytes &+ column), width)
        target += strip
      }
    }
  }
}
