// Decides how a kernel's matrix product runs natively and gets the code for it. Uses the generator
// and the kernel cache.

enum ProductCompiler {
  /// Rows of A that are worked on with one packed strip of B: with 256 of the summed axis they fill a
  /// quarter of a second-level cache.
  package static let packedRows = 240
  /// Most numbers of rows that one function serves.
  private static let heightLimit = 8

  /// Gives a kernel the code for its product, where there is any.
  static func prepare(_ kernel: LoopKernel, _ instructionSet: InstructionSet) {
    let product = kernel.product
    guard product.type.isFloating, product.n > 0, kernel.terms.count > 0,
      let heights = heights(kernel)
    else { return }
    let width = kernel.chunkColumns > 0 ? min(kernel.chunkColumns, product.n) : product.n
    let edge = kernel.chunkColumns > 0 ? product.n - (kernel.chunkCount - 1) * width : width
    func shape(_ columns: Int) -> ProductShape {
      ProductShape(
        instructionSet: instructionSet, isDouble: product.type == .float64,
        left: left(kernel, tallest: heights.last!), columns: columns, heights: heights)
    }
    let (main, last) = (shape(width), shape(edge))
    guard let code = routine(main), let edgeCode = edge == width ? code : routine(last) else {
      return
    }
    kernel.productCode = [code.owner, edgeCode.owner]
    kernel.nativeProduct = NativeProduct(
      entry: code.entry, edgeEntry: edgeCode.entry, strip: main.tileVectors * main.lanes,
      edgeStrip: last.tileVectors * last.lanes)
  }

  private static func routine(_ shape: ProductShape) -> NativeRoutine? {
    let words =
      [UInt64(shape.isDouble ? 1 : 0), UInt64(shape.left.rawValue), UInt64(shape.columns)]
      + shape.heights.map { UInt64($0) }
    return KernelCache.shared.routine(for: KernelKey(.product, shape.instructionSet, words)) {
      shape.code()
    }
  }

  /// How the elements of every term's A lie.
  private static func left(_ kernel: LoopKernel, tallest: Int) -> ProductShape.Left {
    let terms = kernel.terms.array
    if terms.allSatisfy({ $0.aColumn == 1 || $0.k == 1 }) { return .rows }
    // A single row has no distance between rows.
    if terms.allSatisfy({ $0.aRow == 1 }) || tallest == 1 { return .columns }
    return .strided
  }

  /// The numbers of rows for which the product is asked, ascending; nil where there are too many
  /// different ones, or none.
  private static func heights(_ kernel: LoopKernel) -> [Int]? {
    if kernel.rows == 0 { return nil }
    var found: Set<Int> = []
    let step: Int
    if kernel.chunkColumns > 0 {
      step = packedRows
    } else {
      step = kernel.product.wholeChunk ? kernel.chunkRows : kernel.blockRows
    }
    var chunk = 0
    while chunk < kernel.rows {
      let end = kernel.chunkColumns > 0 ? kernel.rows : min(chunk + kernel.chunkRows, kernel.rows)
      var block = chunk
      while block < end {
        let blockEnd = min(block + step, end)
        var row = block
        while row < blockEnd {
          let left = kernel.product.m - row % kernel.product.m
          let n = min(blockEnd - row, left)
          found.insert(n)
          if found.count > heightLimit { return nil }
          row += n
        }
        block = blockEnd
      }
      chunk = end
    }
    return found.sorted()
  }
}
