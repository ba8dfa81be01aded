// The oracle's reductions and matrix products: plain loops, accumulated in Double or in wrapping
// 64-bit integers and rounded once. Uses ReferenceArray.

extension Reference {
  /// Reduces the middle axis of an operand that is viewed as `[outer, length, inner]` in C order.
  ///
  /// A reduction is its elementwise operation on one element after the other, from what there is of
  /// none. For a search NaN counts as the extreme, and of equal extremes the first is taken.
  static func reduction(
    _ opcode: Opcode, _ type: ScalarType, _ a: ReferenceArray, view: [Int], dims: [Int]
  ) -> ReferenceArray {
    guard let reducer = opcode.info.reducer else {
      preconditionFailure("reference: \(opcode) is not a reduction")
    }
    let (outer, length, inner) = (view[0], view[1], view[2])
    var floats: [Double] = []
    var integers: [Int64] = []
    for o in 0..<outer {
      for i in 0..<inner {
        let places = (0..<length).map { (o * length + $0) * inner + i }
        if a.type.isFloating {
          let run = places.map { a.floats[$0] }
          if let search = opcode.info.search {
            integers.append(Int64(firstExtreme(run, search.beats)))
          } else {
            floats.append(
              run.reduce(reducer.ofNothing(Double.self)) { binary(reducer.combiner, $0, $1) })
          }
        } else {
          let run = places.map { a.integers[$0] }
          if let search = opcode.info.search {
            integers.append(
              Int64(run.indices.reduce(0) { search.beats(run[$1], run[$0]) ? $1 : $0 }))
          } else {
            integers.append(
              run.reduce(reducer.ofNothing(Int64.self)) { binary(reducer.combiner, $0, $1) })
          }
        }
      }
    }
    return type.isFloating
      ? ReferenceArray(type, dims, floats: floats) : ReferenceArray(type, dims, integers: integers)
  }

  private static func firstExtreme(_ run: [Double], _ beats: (Double, Double) -> Bool) -> Int {
    if let index = run.firstIndex(where: \.isNaN) { return index }
    var best = 0
    for i in run.indices where beats(run[i], run[best]) { best = i }
    return best
  }

  /// `[..., M, K] x [..., K, N]`; the leading dimensions broadcast. For bool a product is "and", a
  /// sum is "or".
  static func matmul(
    _ type: ScalarType, _ a: ReferenceArray, _ b: ReferenceArray, dims: [Int]
  ) -> ReferenceArray {
    let batch = Array(dims.dropLast(2))
    let (m, n) = (dims[dims.count - 2], dims[dims.count - 1])
    let k = a.dims.last!
    precondition(b.dims[b.dims.count - 2] == k, "reference: inner dimensions differ")
    let x = a.broadcast(to: batch + [m, k])
    let y = b.broadcast(to: batch + [k, n])
    var floats: [Double] = []
    var integers: [Int64] = []
    for group in 0..<batch.reduce(1, *) {
      for row in 0..<m {
        for column in 0..<n {
          var float = 0.0
          var integer: Int64 = 0
          for j in 0..<k {
            let left = (group * m + row) * k + j
            let right = (group * k + j) * n + column
            if type.isFloating {
              float += x.floats[left] * y.floats[right]
            } else if type == .bool {
              integer |= x.integers[left] & y.integers[right]
            } else {
              integer &+= x.integers[left] &* y.integers[right]
            }
          }
          if type.isFloating { floats.append(float) } else { integers.append(integer) }
        }
      }
    }
    return type.isFloating
      ? ReferenceArray(type, dims, floats: floats) : ReferenceArray(type, dims, integers: integers)
  }
}
