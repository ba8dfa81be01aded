// Products over axes, chains of matrices and diagonals: values against loops, views, errors.

import LazyGrad
import Testing

@Suite("Contractions")
struct ContractionTests {
  private func values(_ shape: [Int], _ k: Int = 0) -> Tensor {
    Tensor(EinsumTests.values(shape, k))
  }

  private func same(_ a: Tensor, _ b: Tensor) -> Bool {
    a.shape == b.shape && a.elements(as: Double.self) == b.elements(as: Double.self)
  }

  // MARK: Products

  @Test("dot and inner in all of NumPy's cases")
  func dots() {
    let (s, v) = (Tensor(2.5), values([3]))
    let (m, t) = (values([2, 3], 1), values([4, 3, 2], 2))
    #expect(same(dot(s, m), m * 2.5) && same(dot(m, s), m * 2.5))
    #expect(same(inner(s, m), m * 2.5))
    #expect(same(dot(v, v), (v * v).sum()) && same(inner(v, v), (v * v).sum()))
    #expect(same(dot(m, v), einsum("ij,j->i", m, v)) && same(inner(m, v), dot(m, v)))
    #expect(same(dot(m, m.transposed()), matmul(m, m.transposed())))
    #expect(same(inner(m, m), einsum("ij,kj->ik", m, m)))
    #expect(same(dot(m, t), einsum("ij,kjl->ikl", m, t)))
    #expect(same(dot(t, m), einsum("abi,ij->abj", t, m)))
    #expect(same(dot(v, t), einsum("j,kjl->kl", v, t)))
    #expect(same(dot(t, values([2])), einsum("abi,i->ab", t, values([2]))))
    #expect(same(inner(t, values([5, 2], 1)), einsum("abi,ki->abk", t, values([5, 2], 1))))
    #expect(dot(values([0]), values([0])).item() == 0)
  }

  @Test("The gradient of a small matrix by a long one is that of the product turned")
  func longProducts() {
    // Rows of the small matrix, its columns, those of the long one; on both sides of what counts as long.
    let sizes = [(3, 8, 600), (3, 8, 511), (3, 7, 590), (4, 8, 600), (5, 8, 600), (1, 4, 2000)]
    for (rows, columns, length) in sizes + [(2, 4, 1024), (2, 4, 1023)] {
      for batch in [[], [2]] {
        let a = values([rows, columns])
        let b = values(batch + [columns, length], 1)
        let weights = Tensor(EinsumTests.values(batch + [rows, length], 2), constant: true)
        func slopes(_ product: Tensor) -> [Tensor] {
          let first = gradients(
            of: (product * product * weights).sum(), withRespectTo: [a, b], createGraph: true)
          return first + gradients(of: (first[0] * first[0]).sum(), withRespectTo: [a, b])
        }
        func turned(_ x: Tensor) -> Tensor {
          x.transposed(Array(0..<x.rank - 2) + [x.rank - 1, x.rank - 2])
        }
        let found = slopes(matmul(a, b))
        let wanted = slopes(turned(matmul(turned(b), turned(a))))
        for (x, y) in zip(found, wanted) {
          let scale = abs(y).max().item()
          #expect(x.shape == y.shape && abs(x - y).max().item() <= 1e-12 * scale)
        }
      }
    }
  }

  @Test("outer flattens")
  func outers() {
    let (a, b) = (values([2, 2]), values([3], 1))
    #expect(same(outer(a, b), a.reshaped([4, 1]) * b))
    #expect(same(outer(Tensor(2.0), b), b.reshaped([1, 3]) * 2.0))
    #expect(outer(values([0, 2]), b).shape == [0, 3])
    #expect(outer(b, values([0])).shape == [3, 0])
  }

  @Test("tensordot")
  func tensordots() {
    let (a, b) = (values([3, 4, 5]), values([4, 3, 2], 1))
    #expect(
      same(tensordot(a, b, axes: ([1, 0], [0, 1])), einsum("ijk,jil->kl", a, b)))
    #expect(same(tensordot(a, b, axes: ([-3], [1])), einsum("ijk,ail->jkal", a, b)))
    #expect(
      same(tensordot(a, values([4, 5, 2]), axes: 2), einsum("ijk,jkl->il", a, values([4, 5, 2]))))
    #expect(same(tensordot(a, b, axes: 0), einsum("ijk,abc->ijkabc", a, b)))
    #expect(tensordot(a, a, axes: 3).shape == [])
    #expect(
      tensordot(values([2, 0]), values([0, 3]), axes: 1).elements(as: Double.self) == [
        0, 0, 0, 0, 0, 0,
      ])
  }

  @Test("A chain of matrices is multiplied in the cheapest order")
  func chains() {
    let m = [values([5, 2]), values([2, 6], 1), values([6, 3], 2), values([3, 4], 3)]
    #expect(same(multiMatmul(m), einsum("ab,bc,cd,de->ae", m)))
    #expect(same(multiMatmul(Array(m[0...1])), matmul(m[0], m[1])))
    let row = values([5], 4)
    let column = values([4], 5)
    #expect(
      same(multiMatmul([row] + m + [column]), einsum("a,ab,bc,cd,de,e->", [row] + m + [column])))
    #expect(multiMatmul([row] + m).shape == [4] && multiMatmul(m + [column]).shape == [5])
    // Two products of a matrix and a column, not one of matrices.
    let big = Tensor.ones([300, 300], dtype: .float32)
    let plan = multiMatmul([big, big, Tensor.ones([300])]).explain()
    #expect(plan.kernels.allSatisfy { $0.shape != [1, 300, 300] }, "\(plan)")
  }

  @Test("What is wrong with operands is said", arguments: 0..<12)
  func errors(_ k: Int) {
    let (v, m) = (values([3]), values([2, 4]))
    let t = values([2, 3, 4])
    let calls: [(String, () -> Tensor)] = [
      ("dot", { dot(m, t) }), ("inner", { inner(v, m) }),
      ("tensordot", { tensordot(m, v, axes: 2) }), ("tensordot", { tensordot(m, v, axes: -1) }),
      ("tensordot", { tensordot(m, v, axes: ([0], [0])) }),
      ("tensordot", { tensordot(m, m, axes: ([0, 0], [0, 1])) }),
      ("tensordot", { tensordot(m, m, axes: ([0, 1], [0])) }),
      ("tensordot", { tensordot(m, m, axes: ([2], [0])) }),
      ("multiMatmul", { multiMatmul([m]) }), ("multiMatmul", { multiMatmul([m, v, m]) }),
      ("multiMatmul", { multiMatmul([m, m]) }), ("multiMatmul", { multiMatmul([t, m]) }),
    ]
    let error = #expect(throws: TensorError.self) { try catchingTensorErrors(calls[k].1) }
    #expect(error?.operation == calls[k].0)
  }

  // MARK: Diagonals

  @Test("Diagonals of every offset and pair of axes")
  func diagonals() {
    for shape in [[3, 4], [4, 3], [1, 3], [2, 3, 4], [0, 3]] {
      let x = values(shape)
      let elements = x.elements(as: Double.self)
      for offset in -5...5 {
        for (i, j) in [(0, 1), (1, 0), (-1, -2), (0, -1)] {
          let (rows, columns) = ((i + shape.count) % shape.count, (j + shape.count) % shape.count)
          if rows == columns { continue }
          let rest = shape.indices.filter { $0 != rows && $0 != columns }
          var strides = [Int](repeating: 1, count: shape.count)
          for axis in shape.indices.dropLast().reversed() {
            strides[axis] = strides[axis + 1] * shape[axis + 1]
          }
          var expected: [Double] = []
          for other in 0..<(rest.first.map { shape[$0] } ?? 1) {
            for row in 0..<shape[rows]
            where row + offset >= 0 && row + offset < shape[columns] {
              let start = rest.first.map { other * strides[$0] } ?? 0
              expected.append(
                elements[start + row * strides[rows] + (row + offset) * strides[columns]])
            }
          }
          for _ in 0..<2 {
            let view = x.diagonal(offset: offset, axis1: i, axis2: j)
            #expect(view.base === x)
            #expect(view.elements(as: Double.self) == expected, "\(shape) \(offset) \(i) \(j)")
            let again = x.transposed().diagonal(
              offset: offset, axis1: shape.count - 1 - rows, axis2: shape.count - 1 - columns)
            #expect(again.count == expected.count)
            #expect(
              again.sum().item() == expected.reduce(0, +), "\(shape) \(offset) \(i) \(j)")
          }
        }
      }
    }
  }

  @Test("A trace is the sum of a diagonal; integers are summed as int64")
  func traces() {
    let x = values([3, 3])
    #expect(x.trace().item() == (0..<3).reduce(0) { $0 + x[$1, $1].item() })
    #expect(
      same(
        values([2, 3, 4]).trace(axis1: 1, axis2: 2),
        einsum("abb->a", values([2, 3, 4])[.ellipsis, 0..<3])))
    #expect(Tensor([[1, 2], [3, 4]], dtype: .int32).trace().dtype == .int64)
    #expect(x.trace(offset: 5).item() == 0)
  }

  @Test("An update of a diagonal changes the matrix, and has its gradient")
  func updates() {
    let x = values([3, 3])
    let y = x * 1
    let d = y.diagonal()
    d[.all] = Tensor([1.0, 2, 3], constant: true)
    #expect(y.trace().item() == 6 && y[0, 1].item() == x[0, 1].item())
    (y * y).sum().backward()
    #expect(x.grad!.trace().item() == 0 && x.grad![0, 1].item() == 2 * x[0, 1].item())
  }

  @Test("What is wrong with a diagonal is said")
  func diagonalErrors() {
    for call in [
      { self.values([3]).diagonal() }, { self.values([3, 3]).diagonal(axis1: 1, axis2: -1) },
      { self.values([3, 3]).diagonal(axis1: 2) }, { self.values([3]).trace() },
    ] as [() -> Tensor] {
      let error = #expect(throws: TensorError.self) { try catchingTensorErrors(call) }
      #expect(error?.operation == "diagonal")
    }
  }
}
