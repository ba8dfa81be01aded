// Systems, determinants and factors: values against NumPy's, what is singular, types, batches, errors.

import Foundation
import LazyGrad
import Testing

@Suite("Linear algebra")
struct LinearAlgebraTests {
  private let a = Tensor([[4.0, 1, -2], [1, 5, 0.5], [-2, 0.5, 6]])
  private let b = Tensor([1.0, 2, 3])
  private let g = Tensor([[1.0, 2, 0, -1], [3, -4, 2, 5], [0.5, 1, -1, 2]])

  private func close(_ x: Tensor, _ y: [Double], _ tolerance: Double = 1e-14) -> Bool {
    x.count == y.count
      && zip(x.elements(as: Double.self), y).allSatisfy {
        Swift.abs($0 - $1) <= tolerance * Swift.max(1, Swift.abs($1))
      }
  }

  private func eye(_ n: Int) -> [Double] { NDArray.eye(n).elements(as: Double.self) }

  @Test("Values are NumPy's")
  func values() {
    #expect(
      close(
        cholesky(a),
        [2, 0, 0, 0.5, 2.179449471770337, 0, -1, 0.4588314677411235, 2.1884866196096624]))
    #expect(close(solve(a, b), [0.5192307692307692, 0.23076923076923078, 0.6538461538461539]))
    #expect(
      close(
        inverse(a),
        [
          0.3269230769230769, -0.07692307692307693, 0.11538461538461538, -0.07692307692307691,
          0.21978021978021978, -0.04395604395604395, 0.11538461538461536, -0.04395604395604395,
          0.20879120879120877,
        ]))
    #expect(close(determinant(a), [91]))
    let (sign, logarithm) = logDeterminant(a * -1.0)
    #expect(sign.item() == -1 && close(logarithm, [4.51085950651685]))
    let (q, r) = qr(g.transposed())
    #expect(
      close(
        q,
        [
          -0.40824829046386313, 0.7637626158259736, -0.16550318531021105, -0.8164965809277261,
          -0.10910894511799617, 0.41769851530672325, 0, 0.3273268353539886, -0.5910828046793254,
          0.4082482904638631, 0.5455447255899809, 0.6698938453032355,
        ]))
    #expect(
      close(
        r,
        [
          -2.449489742783178, 4.082482904638631, -0.20412414523193156, 0, 6.110100926607786,
          1.0365349786209639, 0, 0, 2.265817417937414,
        ]))
    let (values, vectors) = eigh(a)
    #expect(close(values, [2.3037203624449125, 5.455079301746722, 7.241200335808365]))
    #expect(close(matmul(vectors * values, vectors.transposed()), a.elements(as: Double.self)))
    let (u, s, vt) = svd(g)
    #expect(close(s, [7.520495792858033, 2.5731784027690274, 1.7523971973065025]))
    #expect(close(matmul(u * s, vt), g.elements(as: Double.self)))
  }

  @Test("Only the lower triangle of what is symmetric is read, and only its own half of a triangle")
  func halves() {
    let upper = NDArray([[4.0, .nan, .nan], [1, 5, .nan], [-2, 0.5, 6]])
    #expect(close(cholesky(Tensor(upper)), cholesky(a).elements(as: Double.self)))
    #expect(close(eigh(Tensor(upper)).values, eigh(a).values.elements(as: Double.self)))
    let x = triangularSolve(Tensor(upper), b)
    #expect(close(x, [0.25, 0.35, 3.325 / 6], 1e-13))
    let y = triangularSolve(Tensor(upper), b, transposed: true)
    #expect(close(y, [0.4125, 0.35, 0.5], 1e-13))
    let z = triangularSolve(
      Tensor([[.nan, 2], [.nan, .nan]]), Tensor([1.0, 1]), upper: true, unitDiagonal: true)
    #expect(close(z, [-1, 1]))
  }

  @Test("The gradient of a triangle is one, and that of what is symmetric is symmetric")
  func gradientsOfHalves() {
    let x = Tensor(a.array)
    triangularSolve(x, b).sum().backward()
    let gradient = x.grad!.elements(as: Double.self)
    #expect(gradient[1] == 0 && gradient[2] == 0 && gradient[5] == 0 && gradient[3] != 0)
    for f in [{ cholesky($0).sum() }, { eigh($0).vectors.sum() }] as [(Tensor) -> Tensor] {
      let y = Tensor(a.array)
      f(y).backward()
      let whole = y.grad!
      #expect(close(whole, whole.transposed().elements(as: Double.self), 1e-13))
    }
  }

  @Test("Integers are taken as float64, and float32 stays what it is")
  func types() {
    let whole = Tensor([[2, 0], [0, 4]], dtype: .int32)
    #expect(determinant(whole).dtype == .float64 && determinant(whole).item() == 8)
    #expect(solve(whole, Tensor([2, 2])).elements(as: Double.self) == [1, 0.5])
    let single = whole.cast(to: .float32)
    #expect(inverse(single).dtype == .float32 && eigh(single).values.dtype == .float32)
    #expect(solve(single, Tensor([1.0, 1])).dtype == .float64)
    #expect(svd(single).s.elements(as: Double.self) == [4, 2])
    let variable = Tensor(single.array)
    (inverse(variable) * Tensor([[1, 0], [0, 0]], dtype: .float32)).sum().backward()
    #expect(variable.grad!.dtype == .float32)
    #expect(close(variable.grad!, [-0.25, 0, 0, 0], 1e-6))
  }

  @Test(
    "A singular matrix of a batch gives not-a-number, or 0 and minus infinity; others are not affected"
  )
  func singular() {
    let x = Tensor([[[1.0, 2], [2, 4]], [[2, 0], [0, 4]]])
    let inverses = inverse(x).elements(as: Double.self)
    #expect(inverses[..<4].allSatisfy(\.isNaN) && Array(inverses[4...]) == [0.5, 0, 0, 0.25])
    let solutions = solve(x, Tensor([[1.0], [1]])).elements(as: Double.self)
    #expect(solutions[..<2].allSatisfy(\.isNaN) && Array(solutions[2...]) == [0.5, 0.25])
    #expect(determinant(x).elements(as: Double.self) == [0, 8])
    let (sign, logarithm) = logDeterminant(x)
    #expect(sign.elements(as: Double.self) == [0, 1])
    #expect(close(logarithm[1], [log(8)]) && logarithm[0].item() == -.infinity)
    let factors = cholesky(Tensor([[[1.0, 2], [2, 4]], [[4, 0], [0, 9]]])).elements(as: Double.self)
    #expect(factors[..<4].allSatisfy(\.isNaN) && Array(factors[4...]) == [2, 0, 0, 3])
    logarithm.sum().backward()
    let gradient = x.grad!.elements(as: Double.self)
    #expect(gradient[..<4].allSatisfy(\.isNaN) && Array(gradient[4...]) == [0.5, 0, 0, 0.25])
  }

  @Test("Sums of equal eigenvalues and singular values have their gradient, their vectors none")
  func degenerate() {
    let x = Tensor(NDArray.eye(3))
    let (values, vectors) = eigh(x)
    (values.sum() + (vectors * 0.0).sum()).backward()
    #expect(close(x.grad!, eye(3)))
    let y = Tensor(NDArray.eye(3))
    svd(y).s.sum().backward()
    #expect(close(y.grad!, eye(3)))
    let z = Tensor([[1.0, 0], [0, 0], [0, 0]])
    let (u, s, vt) = svd(z)
    (s[0] + (u * 0.0).sum() + (vt * 0.0).sum()).backward()
    #expect(close(z.grad!, [1, 0, 0, 0, 0, 0]))
  }

  @Test("Nothing at all")
  func empty() {
    let none = Tensor.zeros([0, 0], dtype: .float64)
    #expect(cholesky(none).shape == [0, 0] && inverse(none).shape == [0, 0])
    #expect(determinant(none).item() == 1 && logDeterminant(none).logarithm.item() == 0)
    #expect(eigh(none).values.shape == [0] && qr(none).q.shape == [0, 0])
    let (u, s, vt) = svd(Tensor.zeros([2, 3, 0], dtype: .float64))
    #expect(u.shape == [2, 3, 0] && s.shape == [2, 0] && vt.shape == [2, 0, 0])
    #expect(qr(Tensor.zeros([0, 4], dtype: .float64)).r.shape == [0, 4])
    #expect(solve(none, Tensor.zeros([0, 2], dtype: .float64)).shape == [0, 2])
    #expect(solve(a, Tensor.zeros([3, 0], dtype: .float64)).shape == [3, 0])
    let batch = Tensor.zeros([0, 2, 2], dtype: .float64)
    #expect(inverse(batch).count == 0 && determinant(batch).shape == [0])
    let variable = Tensor.zeros([0, 2, 2], dtype: .float64)
    determinant(variable).sum().backward()
    #expect(variable.grad!.shape == [0, 2, 2])
  }

  @Test("Views are read as they lie, and results are views of nothing")
  func views() {
    let wide = Tensor.zeros([3, 6], dtype: .float64)
    wide[.all, .slice(step: 2)] = a * 1.0
    let view = wide[.all, .slice(step: 2)]
    #expect(close(inverse(view), inverse(a).elements(as: Double.self), 0))
    #expect(close(inverse(view.transposed()), inverse(a).elements(as: Double.self), 1e-13))
    let (q, r) = qr(view)
    #expect(q.base == nil && r.base == nil && eigh(a).values.base == nil)
    let before = r.elements(as: Double.self)
    q[.all] = Tensor([0.0, 0, 0])
    #expect(r.elements(as: Double.self) == before)
  }

  @Test("Equal programs run one plan")
  func plans() {
    func run(_ scale: Double) -> Double {
      let x = Tensor(a.array)
      let y = (solve(x * scale, b) * logDeterminant(x).logarithm).sum()
      y.backward()
      return x.grad![0, 0].item() + y.item()
    }
    _ = run(1)
    let first = run(2)
    #expect(first == run(2) && first.isFinite)
  }

  @Test("What is wrong is said", arguments: 0..<13)
  func errors(_ k: Int) {
    let calls: [(String, () -> Tensor)] = [
      ("cholesky", { cholesky(g) }), ("cholesky", { cholesky(b) }), ("inverse", { inverse(g) }),
      ("determinant", { determinant(g) }), ("logDeterminant", { logDeterminant(b).sign }),
      ("qr", { qr(b).q }), ("eigh", { eigh(g).vectors }), ("svd", { svd(Tensor(1.0)).vt }),
      ("solve", { solve(g, b) }), ("solve", { solve(a, g.transposed()) }),
      ("solve", { solve(a, Tensor(1.0)) }),
      ("triangularSolve", { triangularSolve(a, Tensor([1.0, 2])) }),
      (
        "solve",
        { solve(Tensor.zeros([2, 3, 3], dtype: .float64), Tensor.zeros([4, 3, 1])) }
      ),
    ]
    let error = #expect(throws: TensorError.self) { try catchingTensorErrors(calls[k].1) }
    #expect(error?.operation == calls[k].0)
  }

  @Test("A system and its derivatives of any order take one elimination")
  func factorsAreKept() {
    let n = 40
    let diagonal = Tensor(NDArray.eye(n)) * 4.0
    let a = (Tensor.uniform([n, n], -1, 1, key: RandomKey(3)) + diagonal).detached()
    for shape in [[n], [n, 3]] {
      let b = Tensor.uniform(shape, -1, 1, key: RandomKey(4))
      let weights = Tensor.uniform(shape, -1, 1, key: RandomKey(5), constant: true)
      let x = solve(a, b)
      let loss = (x * weights * x).sum()
      let first = gradients(of: loss, withRespectTo: [a, b], createGraph: true)
      let second = gradients(of: (first[0] * first[0]).sum(), withRespectTo: [a, b])
      let names = explain([loss] + first + second).kernels.flatMap(\.operations)
      #expect(names.filter { $0.contains("factors") }.count == 1, "\(names)")
      // By the inverse, whose derivative is another rule.
      let inverted = inverse(a)
      let other = matmul(inverted, b)
      let otherLoss = (other * weights * other).sum()
      let otherFirst = gradients(of: otherLoss, withRespectTo: [a, b], createGraph: true)
      let otherSecond = gradients(
        of: (otherFirst[0] * otherFirst[0]).sum(), withRespectTo: [a, b])
      for (found, wanted) in zip(first + second, otherFirst + otherSecond) {
        #expect(close(found, wanted.elements(as: Double.self), 1e-11))
      }
      // No graph, no factors.
      #expect(
        !explain(noAutodiff { solve(a, b) }).kernels.contains { $0.operations.contains("factors") })
      #expect(
        !explain(solve(a.detached(constant: true), b.detached(constant: true))).kernels.contains {
          $0.operations.contains("factors")
        })
    }
  }
}
