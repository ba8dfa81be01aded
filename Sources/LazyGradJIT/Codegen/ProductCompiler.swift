// Decides how a kernel's matrix product runs natively and gets the code for it. Uses the generator
// and the kernel cache.

package enum ProductCompiler {
  /// Results from this size on are written past the caches. A smaller one may still be in the third
  /// level when its reader comes. With 32 MiB of that on a Zen, an outer product and then its sum took,
  /// the usual way and past the caches, with AVX-512 and with AVX2: of 12 MiB 0.7 and 0.9 ms, 1.0 and
  /// 1.2; of 32 MiB 3.0 and 2.5, 3.1 and 2.7; of 64 MiB 9.2 and 4.9, 6.2 and 5.9.
  package static let streamingBytes = 32 << 20
  /// Most numbers of rows that one function serves. What is asked for more goes piece by piece, in
  /// numbers of rows that are powers of two: the portable kernels, which give the same bits, would
  /// take ten times as long.
  private static let heightLimit = 8

  /// These numbers of rows.
  static let pieces = (0..<heightLimit).map { 1 << $0 }

  /// Elements of a row of C whose bytes an instruction can count.
  private static let longestRow = Int(Int32.max) / 8
  /// Most rows that are looked through for the numbers of rows in which they come.
  private static let mostRows = 1 << 32

  /// Least terms of a sum of outer products that is computed as such.
  private static let outerTerms = 4

  /// Gives a kernel the code for its product, where there is any.
  static func prepare(_ kernel: LoopKernel, _ instructionSet: InstructionSet) {
    let product = kernel.product
    guard product.type.isFloating, product.n > 0, product.n <= longestRow, kernel.terms.count > 0,
      let (heights, isPieced) = heights(kernel)
    else { return }
    if isOuterSum(kernel) {
      // The portable kernels are as good as vectors of 16 bytes.
      if instructionSet == .neon { return }
      let shape = OuterSumShape(
        instructionSet: instructionSet, isDouble: product.type == .float64, columns: product.n,
        heights: heights)
      let key = KernelKey(.outerSum, instructionSet, shape.words)
      let code = KernelCache.shared.routine(for: key) { OuterSumGenerator.code(for: shape) }
      guard let code else { return }
      kernel.productCode.append(code.owner)
      var part = NativeProduct.Part(
        entry: code.entry, packing: nil, strip: 0, depth: 1, streams: false)
      part.isOuterSum = true
      part.isPieced = isPieced
      kernel.nativeProduct = NativeProduct(main: part, last: part)
      return
    }
    let width = kernel.chunkColumns > 0 ? min(kernel.chunkColumns, product.n) : product.n
    let edge = kernel.chunkColumns > 0 ? product.n - (kernel.chunkCount - 1) * width : width
    func shape(_ columns: Int) -> ProductShape {
      ProductShape(
        instructionSet: instructionSet, isDouble: product.type == .float64,
        left: left(kernel, tallest: heights.last!), columns: columns, heights: heights,
        prefetches: kernel.chunkColumns > 0,
        streams: instructionSet != .neon && streams(kernel)
      ).turned
    }
    guard var main = part(shape(width), kernel),
      let last = edge == width ? main : part(shape(edge), kernel)
    else { return }
    main.isPieced = isPieced
    kernel.nativeProduct = NativeProduct(main: main, last: last)
  }

  /// Whether all terms are a column times a row, the column's elements one after the other.
  private static func isOuterSum(_ kernel: LoopKernel) -> Bool {
    kernel.terms.count >= outerTerms && kernel.product.m == kernel.rows && kernel.chunkColumns == 0
      && kernel.terms.array.allSatisfy { $0.k == 1 && ($0.aRow == 1 || kernel.rows == 1) }
  }

  /// The code for some columns of a kernel's product, which the kernel then owns.
  private static func part(_ shape: ProductShape, _ kernel: LoopKernel) -> NativeProduct.Part? {
    guard let code = routine(shape) else { return nil }
    kernel.productCode.append(code.owner)
    var part = NativeProduct.Part(
      entry: code.entry, packing: nil, strip: shape.tileVectors * shape.lanes,
      depth: shape.isMatrixVector ? Int.max : Summation.blockDepth, streams: shape.streams)
    if kernel.chunkColumns > 0 {
      guard let packing = packing(shape) else { return nil }
      kernel.productCode.append(packing.owner)
      part.packing = packing.entry
    }
    return part
  }

  /// The code of a shape.
  static func routine(_ shape: ProductShape) -> NativeRoutine? {
    let words =
      [
        UInt64(shape.isDouble ? 1 : 0), UInt64(shape.left.rawValue), UInt64(shape.columns),
        UInt64(shape.prefetches ? 1 : 0), UInt64(shape.isTransposed ? 1 : 0),
        UInt64(shape.streams ? 1 : 0),
      ] + shape.heights.map { UInt64($0) }
    return KernelCache.shared.routine(for: KernelKey(.product, shape.instructionSet, words)) {
      shape.code()
    }
  }

  private static func packing(_ shape: ProductShape) -> NativeRoutine? {
    let words = [UInt64(shape.isDouble ? 1 : 0), UInt64(shape.columns), UInt64(shape.tileVectors)]
    return KernelCache.shared.routine(for: KernelKey(.packing, shape.instructionSet, words)) {
      shape.packingCode()
    }
  }

  /// Whether C is written once, in whole cache lines, and is read by nobody while it would be in a
  /// cache. Where the summed axis is long, writing C does not count.
  private static func streams(_ kernel: LoopKernel) -> Bool {
    let product = kernel.product
    let rowBytes = product.n * product.type.size
    return product.isOnlyResult && product.start == nil && kernel.chunkColumns == 0
      && kernel.terms.count == 1 && kernel.terms[0].k <= Summation.blockDepth
      && rowBytes % 64 == 0 && kernel.rows * rowBytes >= streamingBytes
  }

  /// How the elements of every term's A lie.
  private static func left(_ kernel: LoopKernel, tallest: Int) -> ProductShape.Left {
    let terms = kernel.terms.array
    if terms.allSatisfy({ $0.aColumn == 1 || $0.k == 1 }) { return .rows }
    // A single row has no distance between rows.
    if terms.allSatisfy({ $0.aRow == 1 }) || tallest == 1 { return .columns }
    return .strided
  }

  /// The numbers of rows for which the code is made, ascending, and whether the product is asked for
  /// others as well; nil where there are no rows.
  private static func heights(_ kernel: LoopKernel) -> (heights: [Int], isPieced: Bool)? {
    if kernel.rows == 0 || kernel.rows > mostRows { return nil }
    var found: Set<Int> = []
    let step: Int
    if kernel.chunkColumns > 0 {
      step = ProductArguments.packedRows
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
          if found.count > heightLimit {
            return (pieces, true)
          }
          row += n
        }
        block = blockEnd
      }
      chunk = end
    }
    return (found.sorted(), false)
  }
}
