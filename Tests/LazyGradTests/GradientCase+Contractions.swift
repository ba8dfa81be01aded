// Products over axes, Einstein sums and diagonals, as cases of what is differentiated.

import LazyGrad
import LazyGradJIT

extension GradientCase {
  private static let both: ClosedRange<Double> = -1.5...1.5

  private static func sum(_ subscripts: String, _ shapes: [[Int]]) -> GradientCase {
    .init(.matmul, "einsum \(subscripts) \(shapes)", shapes, in: both) { einsum(subscripts, $0) }
  }

  static let contractions: [GradientCase] = [
    .init(.matmul, "dot of more axes", [[2, 3], [2, 3, 2]], in: both) { dot($0[0], $0[1]) },
    .init(.matmul, "inner", [[2, 3], [4, 3]], in: both) { inner($0[0], $0[1]) },
    .init(.mul, "outer", [[2, 2], [3]], in: both) { outer($0[0], $0[1]) },
    .init(.matmul, "tensordot", [[2, 3, 2], [3, 2, 3]], in: both) {
      tensordot($0[0], $0[1], axes: ([1, 2], [0, 1]))
    },
    .init(.matmul, "multiMatmul", [[2], [2, 3], [3, 2], [2]], in: both) { multiMatmul($0) },
    .init(.addRegion, "diagonal", [[3, 4]]) { square($0[0].diagonal(offset: 1)) },
    .init(.addRegion, "diagonal of a middle and last axis", [[2, 3, 3]]) {
      square($0[0].diagonal(offset: -1, axis1: 1, axis2: 2))
    },
    .init(.sum, "trace", [[3, 3]]) { square($0[0].trace()) },
    sum("ii", [[3, 3]]), sum("ijj->ji", [[2, 3, 3]]), sum("ijkji,k->jk", [[2, 3, 2, 3, 2], [2]]),
    sum("ij,ij->", [[2, 3], [1, 3]]), sum("ij,kj->ik", [[2, 3], [4, 1]]),
    sum("...ij,...jk", [[2, 1, 2, 3], [2, 3, 2]]), sum("bi,bi->b", [[2, 3], [2, 3]]),
    sum("k...,jk", [[3, 2], [4, 3]]), sum("ijk,jil->lk", [[2, 3, 2], [3, 2, 2]]),
    sum("a,ab,b", [[2], [2, 3], [3]]), sum("i,i,i->i", [[3], [3], [3]]), sum(",i->i", [[], [3]]),
    .init(.matmul, "einsum of a tensor with itself", [[3, 3]], in: both) {
      einsum("ij,jk,ki->", $0[0], $0[0], $0[0])
    },
  ]
}
