// Gives routines on large matrices machine code for their products. Uses ProductCompiler.

package enum MatrixProductCompiler {
  /// Rows from which on: code is made for a few widths, which takes as long as to factor a smaller matrix.
  package static let leastRows = 96

  /// Products for a routine; nil where it takes none that round once.
  package static func products(
    for call: MatrixCall, _ type: ScalarType, _ instructionSet: InstructionSet, refusesCode: Bool
  ) -> MatrixProducts? {
    // Where portable products round once, these give the bits of machine code.
    let isPortable = instructionSet == .portable
    guard call.rows >= leastRows, !isPortable || PortableArithmetic.isFused else { return nil }
    switch call.routine {
    // A vector takes no products.
    case .solve where call.hasFactors && call.width == 1: return nil
    case .cholesky, .triangularSolve, .solve, .factors, .inverse, .determinant, .logDeterminant:
      break
    case .qr, .eigh, .svd: return nil
    }
    if isPortable || refusesCode { return MatrixProducts([]) }
    let widths = MatrixProducts.widths
    let narrowest = widths.last!
    let rests = Set([call.rows % narrowest, call.width % narrowest]).subtracting([0])
    return MatrixProducts(
      (widths + rests.sorted(by: >)).compactMap { columns in
        let shape = ProductShape(
          instructionSet: instructionSet, isDouble: type == .float64,
          left: columns == 1 ? .strided : .rows, columns: columns, heights: ProductCompiler.pieces)
        guard let routine = ProductCompiler.routine(shape) else { return nil }
        return MatrixProducts.Strip(
          routine, columns: columns, step: shape.tileVectors * shape.lanes)
      })
  }

  /// Gives a move its code, if it is such a routine.
  static func prepare(
    _ move: inout MoveKernel, _ instructionSet: InstructionSet, refusesCode: Bool
  ) {
    guard move.kind == .matrix, let call = move.call else { return }
    move.matrixProducts = products(
      for: call, move.type, instructionSet, refusesCode: refusesCode)
  }
}
