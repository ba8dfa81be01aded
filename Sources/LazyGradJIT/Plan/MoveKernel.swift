// What a plan keeps of a kernel that moves elements.

/// A kernel that moves elements.
package struct MoveKernel: @unchecked Sendable {
  package enum Kind: Sendable {
    case copy, gatherRows, scatterAddRows, setRows, setRegion, addRegion, concat
    case cumsum, cumprod, matrix, sort, argsort
    /// Rows brought together, added up, and copied out (BatchBuilder.swift).
    case stack, sumRows, unstack
    /// Run-time scalars as a value.
    case numbers
  }
  package var kind: Kind
  package var type: ScalarType
  package var node: Int
  package var destination: Place
  package var a: Place
  package var b: Place
  package var c: Place
  /// The layouts of `a`, `b`, `c` where they are read through one.
  package var aLayout: Unmanaged<Layout>
  package var bLayout: Unmanaged<Layout>?
  package var cLayout: Unmanaged<Layout>?
  /// Elements in the result.
  package var count: Int
  /// The region's layout over the destination, and its start.
  package var region: Unmanaged<Layout>?
  package var regionOffset = 0
  /// The run-time number that says where it starts instead; -1 for none.
  package var regionNumber: Int32 = -1
  /// The destination already holds operand a.
  package var isInPlace = false
  /// `gatherRows`, `scatterAddRows`, `setRows`: rows of the table and elements of a row.
  package var rowCount = 0
  package var width = 0
  /// `concat`: elements of one block of each operand, and how many blocks.
  package var aBlock = 0
  package var bBlock = 0
  package var blocks = 0
  /// Scans and sorting: along the axis.
  package var runs = Runs()
  /// Sorting: the order, and the type of what is sorted.
  package var order: (SortOrder, of: ScalarType)?
  /// Machine code that sorts; nil: there is none.
  package var nativeSort: NativeSort?
  /// `matrix`: what is done.
  package var call: MatrixCall?
  /// How products are taken in it; nil: by portable code, which rounds twice.
  package var matrixProducts: MatrixProducts?
  /// `stack`, `sumRows`: where the rows are, of `width` elements; `unstack`: by turns where they are and where
  /// they go.
  package var places: [Place] = []
  /// `numbers`: which.
  package var numbers: [Int32] = []

  /// Elements that are read and written: those of a region or of rows, and of what they change unless
  /// that is in place.
  var movedCount: Int {
    let changed: Int? =
      switch kind {
      case .setRegion, .addRegion: region?._withUnsafeGuaranteedRef { $0.count }
      case .scatterAddRows, .setRows: bLayout?._withUnsafeGuaranteedRef { $0.count }
      case .sumRows: width * (places.count - 1)
      case .copy, .gatherRows, .concat, .cumsum, .cumprod, .matrix, .sort, .argsort, .stack,
        .unstack,
        .numbers:
        nil
      }
    guard let changed else { return count }
    return changed + (isInPlace ? 0 : count)
  }
}
