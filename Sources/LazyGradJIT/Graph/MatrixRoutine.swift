// Routines on whole matrices, which records of `matrix` name in their attribute: what they take, and
// what they leave in memory. Uses Core.

/// An operation on matrices that is more than a formula per element.
///
/// Operands are matrices over the last two axes, in as many batches as there are axes before them. A
/// routine with several results leaves them one behind the other: the first of all batches, then the
/// second of all.
package enum MatrixRoutine: UInt8, CaseIterable, Sendable {
  /// The lower triangle L of A = L Lᵀ, from the lower triangle of A.
  case cholesky = 0
  /// X of A X = B, where A is a triangle.
  case triangularSolve
  /// X of A X = B, or of Aᵀ X = B; with the factors of A as a third operand nothing is factored again.
  case solve
  /// The factors of A, L without the ones of its diagonal and U in one matrix, and behind them a row that says
  /// which row each has been exchanged with; not-a-number as a whole where a pivot is 0.
  case factors
  case inverse
  case determinant
  /// The sign of the determinant, and the logarithm of its absolute value.
  case logDeterminant
  /// Q of orthonormal columns and R, an upper triangle, for matrices with no fewer rows than columns.
  case qr
  /// Eigenvalues in rising order, and eigenvectors as columns, from the lower triangle of A.
  case eigh
  /// U of orthonormal columns, singular values in falling order, and V transposed.
  case svd
}

/// One use of a routine: how it is done, and on what.
package struct MatrixCall: Sendable {
  /// How a triangle is meant.
  package struct Options: OptionSet, Sendable {
    package let rawValue: UInt8
    package init(rawValue: UInt8) { self.rawValue = rawValue }
    /// None. An empty literal would be made by a loop of the standard library's that nobody specialises.
    package init() { rawValue = 0 }
    /// It is the upper one.
    package static let upper = Options(rawValue: 1)
    /// It is to be transposed.
    package static let transposed = Options(rawValue: 2)
    /// Its diagonal is not read, and stands for ones.
    package static let unitDiagonal = Options(rawValue: 4)
  }

  package let routine: MatrixRoutine
  package let options: Options
  package let batch: Int
  /// Of A.
  package let rows: Int
  package let columns: Int
  /// The columns of B, where there is one: 1 of a vector.
  package let width: Int
  private let hasVector: Bool
  /// Whether the factors of A are given.
  let hasFactors: Bool
  /// The axes before the last two.
  private let batchDims: [Int]

  /// - Parameters:
  ///   - a: The shape of A.
  ///   - b: The shape of B, with the same axes before the last two, or that of a vector.
  ///   - hasFactors: Whether the factors of A are given.
  package init(attribute: UInt32, _ a: [Int], _ b: [Int]?, hasFactors: Bool = false) {
    guard let routine = MatrixRoutine(rawValue: UInt8(truncatingIfNeeded: attribute)) else {
      fatalError("LazyGrad: matrix: no routine has the number \(attribute & 0xFF)")
    }
    self.routine = routine
    options = Options(rawValue: UInt8(truncatingIfNeeded: attribute >> 8))
    batchDims = Array(a.dropLast(2))
    batch = batchDims.reduce(1, *)
    rows = a[a.count - 2]
    columns = a[a.count - 1]
    self.hasFactors = hasFactors
    hasVector = b.map { $0.count < a.count } ?? false
    width = hasVector ? 1 : b.map { $0[$0.count - 1] } ?? 0
  }

  /// The attribute of a record.
  package static func attribute(_ routine: MatrixRoutine, _ options: Options = Options()) -> UInt32
  {
    UInt32(routine.rawValue) | UInt32(options.rawValue) << 8
  }

  /// Elements of the results of one matrix, one result after the other.
  package var resultCounts: [Int] {
    resultShapes.map { $0.dropFirst(batchDims.count).reduce(1, *) }
  }

  /// The shapes of the results, with the axes before the last two.
  package var resultShapes: [[Int]] {
    let inner = min(rows, columns)
    let shapes: [[Int]] =
      switch routine {
      case .cholesky, .inverse: [[rows, columns]]
      case .factors: [[rows + 1, columns]]
      case .triangularSolve, .solve: [hasVector ? [rows] : [rows, width]]
      case .determinant: [[]]
      case .logDeterminant: [[], []]
      case .qr: [[rows, inner], [inner, columns]]
      case .eigh: [[columns], [rows, columns]]
      case .svd: [[rows, inner], [inner], [inner, columns]]
      }
    return shapes.map { batchDims + $0 }
  }

  /// The shape of the value: that of the result, or of all results one behind the other.
  package var resultShape: [Int] {
    let shapes = resultShapes
    return shapes.count == 1 ? shapes[0] : [shapes.reduce(0) { $0 + $1.reduce(1, *) }]
  }

  /// About how many multiplications it takes.
  var multiplications: Double {
    let size = Double(rows) * Double(columns) * Double(min(rows, columns))
    let each: Double
    switch routine {
    case .cholesky: each = size / 6
    case .triangularSolve: each = Double(rows) * Double(rows) * Double(width) / 2
    case .solve:
      each = (hasFactors ? 0 : size / 3) + Double(rows) * Double(rows) * Double(width)
    case .inverse, .qr: each = size * 2
    case .factors, .determinant, .logDeterminant: each = size / 3
    case .eigh: each = size * 8
    case .svd: each = size * 20
    }
    return Double(batch) * each
  }
}
