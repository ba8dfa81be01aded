// The oracle's routines on matrices: in Double, one number after the other, by the plainest method of each.
// Uses ReferenceArray.

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#else
  import Darwin
#endif

extension Reference {
  private typealias Matrix = [[Double]]

  /// The results of a routine for every matrix of a batch, the first of all, then the second of all.
  static func matrix(
    _ attribute: UInt32, _ operands: [ReferenceArray], dims: [Int]
  ) -> ReferenceArray {
    // Of factors that are given the oracle makes no use: what comes out is what they are for.
    let call = MatrixCall(attribute: attribute, operands[0].dims, operands.dropFirst().first?.dims)
    func part(_ array: ReferenceArray, _ index: Int, _ rows: Int, _ columns: Int) -> Matrix {
      (0..<rows).map { i in
        (0..<columns).map { array.floats[(index * rows + i) * columns + $0] }
      }
    }
    var results: [[Double]] = call.resultCounts.map { _ in [] }
    for index in 0..<call.batch {
      let a = part(operands[0], index, call.rows, call.columns)
      let b = operands.count > 1 ? part(operands[1], index, call.rows, call.width) : []
      for (k, result) in Self.results(call, a, b).enumerated() {
        results[k] += result.joined()
      }
    }
    return ReferenceArray(operands[0].type, dims, floats: Array(results.joined()))
  }

  private static func results(_ call: MatrixCall, _ a: Matrix, _ b: Matrix) -> [Matrix] {
    let n = call.rows
    switch call.routine {
    case .cholesky: return [cholesky(a)]
    case .triangularSolve: return [substituted(triangle(a, call.options), b)]
    case .solve:
      return [
        eliminated(call.options.contains(.transposed) ? transposed(a, columns: n) : a, b).solution
      ]
    case .factors: return [factors(a)]
    case .inverse: return [eliminated(a, identity(n)).solution]
    case .determinant: return [[[eliminated(a, identity(n)).pivots.reduce(1, *)]]]
    case .logDeterminant:
      let pivots = eliminated(a, identity(n)).pivots
      let sign = pivots.reduce(1) { $0 * ($1 > 0 ? 1 : $1 < 0 ? -1 : $1) }
      return [[[sign]], [[pivots.reduce(0) { $0 + log(abs($1)) }]]]
    case .qr: return qr(a, columns: call.columns)
    case .eigh: return eigenvectors(a)
    case .svd: return singularValues(a, columns: call.columns)
    }
  }

  private static func identity(_ n: Int) -> Matrix {
    (0..<n).map { i in (0..<n).map { $0 == i ? 1 : 0 } }
  }

  private static func transposed(_ a: Matrix, columns: Int) -> Matrix {
    (0..<columns).map { j in a.map { $0[j] } }
  }

  // MARK: Systems

  private static func cholesky(_ a: Matrix) -> Matrix {
    var l = a.map { $0.map { _ in 0.0 } }
    for j in a.indices {
      let pivot = a[j][j] - (0..<j).reduce(0) { $0 + l[j][$1] * l[j][$1] }
      if !(pivot > 0) { return a.map { $0.map { _ in .nan } } }
      l[j][j] = pivot.squareRoot()
      for i in a.indices where i > j {
        l[i][j] = (a[i][j] - (0..<j).reduce(0) { $0 + l[i][$1] * l[j][$1] }) / l[j][j]
      }
    }
    return l
  }

  /// The triangle that is meant, with zeros in the other one.
  private static func triangle(_ a: Matrix, _ options: MatrixCall.Options) -> Matrix {
    let n = a.count
    var result = a
    for i in 0..<n {
      for j in 0..<n where options.contains(.upper) ? i > j : i < j { result[i][j] = 0 }
      if options.contains(.unitDiagonal) { result[i][i] = 1 }
    }
    return options.contains(.transposed) ? transposed(result, columns: n) : result
  }

  /// The solution of a system whose matrix is a triangle, the upper or the lower.
  private static func substituted(_ a: Matrix, _ b: Matrix) -> Matrix {
    let n = a.count
    let isLower = a.indices.allSatisfy { i in (i + 1..<n).allSatisfy { a[i][$0] == 0 } }
    var x = b
    for i in isLower ? Array(0..<n) : (0..<n).reversed() {
      for k in x[i].indices {
        let others = isLower ? 0..<i : i + 1..<n
        x[i][k] = (x[i][k] - others.reduce(0) { $0 + a[i][$1] * x[$1][k] }) / a[i][i]
      }
    }
    return x
  }

  /// L and U in one matrix, and which row each has been exchanged with.
  private static func factors(_ a: Matrix) -> Matrix {
    var rows = a
    var order: [Double] = []
    for j in a.indices {
      let best = (j..<a.count).reduce(j) { abs(rows[$1][j]) > abs(rows[$0][j]) ? $1 : $0 }
      rows.swapAt(j, best)
      order.append(Double(best))
      if rows[j][j] == 0 { return (0...a.count).map { _ in a.map { _ in .nan } } }
      for i in a.indices where i > j {
        rows[i][j] /= rows[j][j]
        for k in a.indices where k > j { rows[i][k] -= rows[i][j] * rows[j][k] }
      }
    }
    return rows + [order]
  }

  /// Elimination by Gauss and Jordan. The first pivot is negated for each exchange of rows, so that their
  /// product is the determinant.
  private static func eliminated(_ a: Matrix, _ b: Matrix) -> (solution: Matrix, pivots: [Double]) {
    var (left, right) = (a, b)
    var pivots: [Double] = []
    var sign = 1.0
    for j in a.indices {
      let best = (j..<a.count).reduce(j) { abs(left[$1][j]) > abs(left[$0][j]) ? $1 : $0 }
      if best != j {
        left.swapAt(best, j)
        right.swapAt(best, j)
        sign = -sign
      }
      let pivot = left[j][j]
      pivots.append(pivot)
      if pivot == 0 { continue }
      for i in a.indices where i != j {
        let factor = left[i][j] / pivot
        for k in left[i].indices { left[i][k] -= factor * left[j][k] }
        for k in right[i].indices { right[i][k] -= factor * right[j][k] }
      }
    }
    let isSingular = pivots.contains(0)
    let solution = right.indices.map { i in right[i].map { isSingular ? .nan : $0 / pivots[i] } }
    if let first = pivots.first { pivots[0] = sign * first }
    return (solution, pivots)
  }

  // MARK: Factors

  /// One reflection after the other, on the whole of Q and R.
  private static func qr(_ a: Matrix, columns: Int) -> [Matrix] {
    if a.joined().contains(where: { !$0.isFinite }) {
      return [a, identity(columns)].map { $0.map { $0.map { _ in .nan } } }
    }
    var r = a
    var q = identity(a.count)
    for j in 0..<columns {
      let below = (j..<a.count).map { r[$0][j] }
      if below.dropFirst().allSatisfy({ $0 == 0 }) { continue }
      let length = below.reduce(0) { $0 + $1 * $1 }.squareRoot()
      var v = below
      v[0] += below[0] > 0 ? length : -length
      let square = v.reduce(0) { $0 + $1 * $1 }
      for k in 0..<columns {
        let sum = v.indices.reduce(0) { $0 + v[$1] * r[j + $1][k] }
        for i in v.indices { r[j + i][k] -= 2 * sum / square * v[i] }
      }
      for i in q.indices {
        let sum = v.indices.reduce(0) { $0 + v[$1] * q[i][j + $1] }
        for k in v.indices { q[i][j + k] -= 2 * sum / square * v[k] }
      }
    }
    let upper = (0..<columns).map { i in (0..<columns).map { i <= $0 ? r[i][$0] : 0 } }
    return [q.map { Array($0[..<columns]) }, upper]
  }

  /// Jacobi's rotations of rows and columns.
  private static func eigenvectors(_ matrix: Matrix) -> [Matrix] {
    let n = matrix.count
    if matrix.joined().contains(where: { !$0.isFinite }) {
      return [[[Double](repeating: .nan, count: n)], matrix.map { $0.map { _ in .nan } }]
    }
    var a = (0..<n).map { i in (0..<n).map { matrix[max(i, $0)][min(i, $0)] } }
    var vectors = identity(n)
    for _ in 0..<60 {
      for p in 0..<n {
        for q in (p + 1)..<max(n, p + 1) where a[p][q] != 0 {
          let ratio = (a[q][q] - a[p][p]) / (2 * a[p][q])
          let tangent = (ratio < 0 ? -1 : 1) / (abs(ratio) + (1 + ratio * ratio).squareRoot())
          let c = 1 / (1 + tangent * tangent).squareRoot()
          let s = tangent * c
          for k in 0..<n {
            (a[k][p], a[k][q]) = (c * a[k][p] - s * a[k][q], s * a[k][p] + c * a[k][q])
          }
          for k in 0..<n {
            (a[p][k], a[q][k]) = (c * a[p][k] - s * a[q][k], s * a[p][k] + c * a[q][k])
          }
          for k in 0..<n {
            let (x, y) = (vectors[p][k], vectors[q][k])
            (vectors[p][k], vectors[q][k]) = (c * x - s * y, s * x + c * y)
          }
        }
      }
    }
    let order = (0..<n).sorted { a[$0][$0] < a[$1][$1] }
    let rows = order.map { positive(vectors[$0]) }
    return [[order.map { a[$0][$0] }], transposed(rows, columns: n)]
  }

  /// The vector with its largest component, the first of these, positive.
  private static func positive(_ x: [Double]) -> [Double] {
    let largest = x.reduce(0) { abs($1) > abs($0) ? $1 : $0 }
    return largest < 0 ? x.map { -$0 } : x
  }

  /// Rotations of columns until they are orthogonal.
  private static func singularValues(_ a: Matrix, columns: Int) -> [Matrix] {
    if a.count < columns {
      let turned = singularValues(transposed(a, columns: columns), columns: a.count)
      var u = transposed(turned[2], columns: a.count)
      var v = transposed(turned[0], columns: a.count)
      for k in 0..<a.count {
        let column = u.map { $0[k] }
        if positive(column) == column { continue }
        for i in u.indices { u[i][k] = -u[i][k] }
        v[k] = v[k].map { -$0 }
      }
      return [u, turned[1], v]
    }
    if a.joined().contains(where: { !$0.isFinite }) {
      return [
        a.map { $0.map { _ in .nan } }, [[Double](repeating: .nan, count: columns)],
        identity(columns).map { $0.map { _ in .nan } },
      ]
    }
    // By columns: these become U times the singular values, those V.
    var left = transposed(a, columns: columns)
    var right = identity(columns)
    func dot(_ x: [Double], _ y: [Double]) -> Double { zip(x, y).reduce(0) { $0 + $1.0 * $1.1 } }
    for _ in 0..<60 {
      for p in 0..<columns {
        for q in (p + 1)..<max(columns, p + 1) {
          let product = dot(left[p], left[q])
          if product == 0 { continue }
          let ratio = (dot(left[q], left[q]) - dot(left[p], left[p])) / (2 * product)
          let tangent = (ratio < 0 ? -1 : 1) / (abs(ratio) + (1 + ratio * ratio).squareRoot())
          let c = 1 / (1 + tangent * tangent).squareRoot()
          func turn(_ x: inout Matrix) {
            let (y, z) = (x[p], x[q])
            x[p] = zip(y, z).map { c * $0 - tangent * c * $1 }
            x[q] = zip(y, z).map { tangent * c * $0 + c * $1 }
          }
          turn(&left)
          turn(&right)
        }
      }
    }
    let values = left.map { dot($0, $0).squareRoot() }
    let order = (0..<columns).sorted { (values[$0], $1) > (values[$1], $0) }
    // Vectors of nothing are any that are orthogonal to the others: the first unit vectors that are not
    // nearly in their span.
    let least = (values.max() ?? 0) * 0x1p-104
    var u: Matrix = []
    for k in order {
      if values[k] > least {
        u.append(left[k].map { $0 / values[k] })
        continue
      }
      let rests = identity(a.count).lazy.map { unit in
        u.reduce(unit) { rest, known in
          let part = dot(unit, known)
          return zip(rest, known).map { $0 - part * $1 }
        }
      }
      if let rest = rests.first(where: { 2 * dot($0, $0) * Double(a.count) >= 1 }) {
        u.append(rest.map { $0 / dot(rest, rest).squareRoot() })
      }
    }
    let v = zip(order, u).map { k, column in
      positive(column) == column ? right[k] : right[k].map { -$0 }
    }
    return [
      transposed(u.map(positive), columns: a.count), [order.map { values[$0] }], v,
    ]
  }
}
