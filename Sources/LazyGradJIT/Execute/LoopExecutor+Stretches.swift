// Products whose summed axis is longer than a stretch: the sums of stretches are added in pairs, so
// that the error grows with the logarithm of the axis' length. Uses Plan, Kernels and Codegen.
//
//     a term of 11 stretches:   C = ((0..<4) + (4..<8)) + ((8..<10) + 10)
//
// The first stretch of a group is computed where its sum belongs, the others in scratch memory, one
// block for each level of pairs. The portable tiles and the machine code do a stretch as they do any
// product that is no longer.

/// A part of one term of a product: some rows and columns, some of the summed axis.
struct ProductBlock {
  let term: LoopKernel.Product.Term
  var a: UnsafeRawPointer
  var b: UnsafeRawPointer
  var c: UnsafeMutableRawPointer
  /// Bytes from one row of C to the next.
  var cRow: Int
  let rows: Int
  let columns: Int
  /// The length of the summed axis.
  var depth: Int
  /// Of a product that is split by columns: whether these are the last.
  let isLast: Bool

  init(
    _ term: LoopKernel.Product.Term, a: UnsafeMutableRawPointer, b: UnsafeMutableRawPointer,
    c: UnsafeMutableRawPointer, cRow: Int, rows: Int, columns: Int, isLast: Bool = false
  ) {
    self.term = term
    self.a = UnsafeRawPointer(a)
    self.b = UnsafeRawPointer(b)
    self.c = c
    self.cRow = cRow
    self.rows = rows
    self.columns = columns
    depth = term.k
    self.isLast = isLast
  }
}

extension LoopKernel {
  /// Computes rows of one product of the batch.
  func multiplyStretches(
    rows n: Int, batch: Int, firstRow: Int, _ c: UnsafeMutableRawPointer, _ context: RunContext
  ) {
    let size = product.type.size
    for t in 0..<terms.count {
      let term = (terms.base + t).pointee
      let (a, b) = operands(term, batch: batch, context)
      add(
        ProductBlock(
          term, a: a + firstRow &* term.aRow &* size, b: b, c: c, cRow: product.n &* size, rows: n,
          columns: product.n), isFirst: t == 0 && product.start == nil, context)
    }
  }

  /// Computes some columns of a product that is split by columns, a panel of rows after the other.
  func multiplyColumnsInStretches(
    _ first: Int, _ count: Int, _ c: UnsafeMutableRawPointer, _ context: RunContext
  ) {
    let size = product.type.size
    for row in stride(from: 0, to: rows, by: Self.stretchRows) {
      for t in 0..<terms.count {
        let term = (terms.base + t).pointee
        let (a, b) = operands(term, batch: 0, context)
        add(
          ProductBlock(
            term, a: a + row &* term.aRow &* size, b: b + first &* size,
            c: c + row &* columns &* size, cRow: columns &* size,
            rows: min(rows &- row, Self.stretchRows), columns: count,
            isLast: first &+ count == columns), isFirst: t == 0 && product.start == nil, context)
      }
    }
  }

  /// Puts a whole term into C, or adds it to what is there.
  private func add(_ block: ProductBlock, isFirst: Bool, _ context: RunContext) {
    let count = (block.depth &+ Summation.stretchDepth &- 1) / Summation.stretchDepth
    if count <= 1 {
      run(block, accumulates: !isFirst, context)
    } else if isFirst {
      sum(block, 0, count, level: 0, context)
    } else {
      let part = waiting(block, level: 0, context)
      sum(part, 0, count, level: 1, context)
      add(part, to: block)
    }
  }

  /// Puts the sum of some stretches of a term into C.
  private func sum(
    _ block: ProductBlock, _ first: Int, _ count: Int, level: Int, _ context: RunContext
  ) {
    if count == 1 {
      let size = product.type.size
      let start = first &* Summation.stretchDepth
      var stretch = block
      stretch.a += start &* block.term.aColumn &* size
      stretch.b += start &* block.term.bRow &* size
      stretch.depth = min(block.depth &- start, Summation.stretchDepth)
      run(stretch, accumulates: false, context)
      return
    }
    let half = Summation.firstParts(of: count)
    sum(block, first, half, level: level, context)
    let part = waiting(block, level: level, context)
    sum(part, first &+ half, count &- half, level: level &+ 1, context)
    add(part, to: block)
  }

  /// The same block with scratch memory for C.
  private func waiting(_ block: ProductBlock, level: Int, _ context: RunContext) -> ProductBlock {
    var part = block
    part.c = context.scratch + layout.stretches + level &* layout.stretchStride
    part.cRow = block.columns &* product.type.size
    return part
  }

  private func add(_ part: ProductBlock, to block: ProductBlock) {
    func add<T: FloatingPoint>(_: T.Type) {
      for row in 0..<block.rows {
        let c = (block.c + row &* block.cRow).assumingMemoryBound(to: T.self)
        let p = (part.c + row &* part.cRow).assumingMemoryBound(to: T.self)
        for column in 0..<block.columns { c[column] += p[column] }
      }
    }
    if product.type == .float32 { add(Float.self) } else { add(Double.self) }
  }

  /// Computes what is no longer than a stretch.
  private func run(_ block: ProductBlock, accumulates: Bool, _ context: RunContext) {
    let size = product.type.size
    let term = block.term
    if nativeProduct != nil {
      if chunkColumns > 0 {
        runPackedCode(block, accumulates: accumulates, context)
      } else {
        runCode(block, accumulates: accumulates)
      }
      return
    }
    let segments = (context.scratch + layout.segments).assumingMemoryBound(to: MatmulSegment.self)
    segments[0] = MatmulSegment(
      a: block.a, b: block.b, k: block.depth, aRow: term.aRow, aColumn: term.aColumn,
      bRow: term.bRow)
    Matmul.run(
      type: product.type, m: block.rows, n: block.columns, segments: segments, segmentCount: 1,
      c: block.c, cRow: block.cRow / size, accumulate: accumulates, fused: fusesProducts)
  }

  private func runCode(_ block: ProductBlock, accumulates: Bool) {
    let size = product.type.size
    let term = block.term
    let native = nativeProduct.unsafelyUnwrapped.main
    let function = unsafeBitCast(native.entry, to: ProductArguments.Function.self)
    var row = 0
    while row < block.rows {
      let piece = native.piece(of: block.rows &- row)
      var done = 0
      while done < block.depth {
        let depth = min(block.depth &- done, native.depth)
        let place = row &* term.aRow &+ done &* term.aColumn
        var arguments = ProductArguments(
          rows: piece, depth: depth, aRow: term.aRow &* size, aColumn: term.aColumn &* size,
          bRow: term.bRow &* size, cRow: block.cRow, bStrip: native.strip &* size,
          accumulates: accumulates || done > 0)
        function(
          &arguments, block.b + done &* term.bRow &* size, block.c + row &* block.cRow,
          block.a + place &* size)
        done &+= depth
      }
      row &+= piece
    }
  }
}
