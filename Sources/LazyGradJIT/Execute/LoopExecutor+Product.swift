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
      if hasStretches {
        multiplyStretches(rows: n, batch: batch, firstRow: inner, target, context)
      } else if let nativeProduct {
        var done = 0
        repeat {
          let piece = nativeProduct.main.piece(of: n &- done)
          runCode(
            rows: piece, batch: batch, firstRow: inner &+ done,
            target + done &* product.n &* size, context)
          done &+= piece
        } while done < n
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
      c: c, cRow: product.n, accumulate: product.start != nil,
      fused: fusesProducts)
  }

  @inline(__always)
  private func runCode(
    rows n: Int, batch: Int, firstRow: Int, _ c: UnsafeMutableRawPointer, _ context: RunContext
  ) {
    let size = product.type.size
    let native = nativeProduct.unsafelyUnwrapped.main
    let function = unsafeBitCast(native.entry, to: ProductArguments.Function.self)
    var arguments = ProductArguments(
      rows: n, depth: 0, aRow: 0, aColumn: 0, bRow: 0, cRow: product.n &* size,
      bStrip: native.strip &* size, accumulates: product.start != nil)
    if native.isOuterSum {
      let table = (context.scratch + layout.segments).assumingMemoryBound(to: UnsafeRawPointer.self)
      for t in 0..<terms.count {
        let term = terms.base + t
        table[2 &* t] = UnsafeRawPointer(context.address(term.pointee.a) + firstRow &* size)
        table[2 &* t &+ 1] = UnsafeRawPointer(context.address(term.pointee.b))
      }
      arguments.depth = terms.count
      // The table has the places of both operands.
      function(&arguments, c, c, table)
      return
    }
    arguments.streams = native.streams && Int(bitPattern: c) & 63 == 0 ? 1 : 0
    for t in 0..<terms.count {
      let term = (terms.base + t).pointee
      var (a, b) = operands(term, batch: batch, context)
      a += firstRow &* term.aRow &* size
      arguments.aRow = term.aRow &* size
      arguments.aColumn = term.aColumn &* size
      arguments.bRow = term.bRow &* size
      var left = term.k
      while true {
        arguments.depth = min(left, native.depth)
        function(&arguments, b, c, a)
        arguments.accumulates = 1
        left &-= arguments.depth
        if left == 0 { break }
        a += arguments.depth &* arguments.aColumn
        b += arguments.depth &* arguments.bRow
      }
    }
  }

  @inline(__always)
  func operands(
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
    if hasStretches {
      multiplyColumnsInStretches(first, count, c + first &* size, context)
      return
    }
    if nativeProduct != nil {
      var accumulates = product.start != nil
      for t in 0..<terms.count {
        let term = (terms.base + t).pointee
        let (a, b) = operands(term, batch: 0, context)
        let block = ProductBlock(
          term, a: a, b: b + first &* size, c: c + first &* size, cRow: columns &* size,
          rows: rows, columns: count, isLast: first &+ count == columns)
        runPackedCode(block, accumulates: accumulates, context)
        accumulates = true
      }
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
      c: c + first &* size, cRow: columns, accumulate: product.start != nil,
      fused: fusesProducts)
  }

  /// Block by block of the summed axis: packs B's rows into strips whose rows follow each other, then
  /// goes over A in blocks that stay in the second-level cache.
  func runPackedCode(_ block: ProductBlock, accumulates: Bool, _ context: RunContext) {
    let size = self.product.type.size
    let product = nativeProduct.unsafelyUnwrapped
    let native = block.isLast ? product.last : product.main
    let multiply = unsafeBitCast(native.entry, to: ProductArguments.Function.self)
    let pack = unsafeBitCast(
      native.packing.unsafelyUnwrapped, to: PackArguments.Function.self)
    let strip = native.strip &* size
    let packed = context.scratch + layout.packed
    let term = block.term
    let step = ProductArguments.packedRows
    for start in stride(from: 0, to: block.depth, by: Summation.blockDepth) {
      let depth = min(block.depth &- start, Summation.blockDepth)
      var packing = PackArguments(
        from: block.b + start &* term.bRow &* size, to: packed, fromRow: term.bRow &* size,
        rows: depth, strip: strip &* depth)
      pack(&packing)
      for row in stride(from: 0, to: block.rows, by: step) {
        let place = row &* term.aRow &+ start &* term.aColumn
        var arguments = ProductArguments(
          rows: min(block.rows &- row, step), depth: depth, aRow: term.aRow &* size,
          aColumn: term.aColumn &* size, bRow: strip, cRow: block.cRow, bStrip: strip &* depth,
          accumulates: accumulates || start > 0)
        multiply(
          &arguments, packed, block.c + row &* block.cRow, block.a + place &* size)
      }
    }
  }
}
