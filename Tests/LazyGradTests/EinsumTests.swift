// Einstein sums: values against NumPy's, views, orders, errors.

import LazyGrad
import Testing

@Suite("einsum")
struct EinsumTests {
  /// Elements that are exact in every type and sum.
  static func values(_ shape: [Int], _ k: Int, dtype: DType = .float64) -> NDArray {
    let count = shape.reduce(1, *)
    let elements = (0..<count).map { Double(($0 * 7 + 3 * k + 1) % 11 - 5) / 4 }
    return NDArray(elements, shape: shape, dtype: dtype)
  }

  typealias Case = (String, [[Int]], [Int], [Double])

  /// Made with NumPy's `einsum` of the same elements.
  static let cases: [Case] = [
    // subscripts, shapes, shape of the result, its elements
    ("ii", [[3, 3]], [], [-1.25]),
    ("ii->i", [[3, 3]], [3], [-1.0, 0.5, -0.75]),
    ("ij->ji", [[2, 3]], [3, 2], [-1.0, -1.25, 0.75, 0.5, -0.25, -0.5]),
    ("ij->", [[2, 3]], [], [-1.75]),
    ("ijk->ki", [[2, 3, 4]], [4, 2], [-1.25, 1.25, 1.25, 1.0, 1.0, -2.0, -2.0, 0.5]),
    ("ijkji->k", [[2, 3, 2, 3, 2]], [2], [-0.25, 2.25]),
    (
      "ij,jk", [[2, 3], [3, 4]], [2, 4],
      [1.1875, 1.6875, -1.25, 1.3125, 0.9375, 2.1875, -1.375, 1.25]
    ),
    (
      "ij,jk->ki", [[2, 3], [3, 4]], [4, 2],
      [1.1875, 0.9375, 1.6875, 2.1875, -1.25, -1.375, 1.3125, 1.25]
    ),
    (
      "ij,kj", [[2, 3], [4, 3]], [2, 4], [-0.8125, 1.375, 1.5, 1.625, -0.5625, 1.125, 1.4375, 1.75]
    ),
    (
      "ji,jk", [[3, 2], [3, 4]], [2, 4],
      [-0.0625, 0.6875, 0.0625, 0.125, -1.75, -0.75, 0.9375, -1.5]
    ),
    (
      "bij,bjk->bik", [[2, 3, 4], [2, 4, 5]], [2, 3, 5],
      [
        -1.3125, 0.4375, 1.5, -0.875, -1.875, 1.0, -0.5, -2.0, 0.625, 0.5, -0.8125, -0.0625, 1.375,
        -0.625, -1.9375, -0.375, 1.25, -0.5625, -0.3125, 1.3125, -0.5, 1.3125, -0.3125, -0.5625,
        1.25, -0.625, 1.375, -0.0625, -0.8125, 1.1875,
      ]
    ),
    (
      "bij,bjk->ikb", [[2, 3, 4], [2, 4, 2]], [3, 2, 2],
      [1.25, 1.125, -0.4375, -0.6875, 1.0, 1.0, 0.1875, -0.625, 1.4375, 0.875, -0.5625, -0.5625]
    ),
    (
      "bij,jk->bik", [[2, 3, 4], [4, 5]], [2, 3, 5],
      [
        -1.3125, 0.4375, 1.5, -0.875, -1.875, 1.0, -0.5, -2.0, 0.625, 0.5, -0.8125, -0.0625, 1.375,
        -0.625, -1.9375, -0.5625, -0.3125, 1.3125, -0.5, 1.8125, -0.3125, -0.5625, 1.25, -0.375,
        -2.0, -0.0625, -0.8125, 1.1875, -0.25, 1.75,
      ]
    ),
    ("bi,bi->b", [[3, 4], [3, 4]], [3], [-0.1875, -0.1875, -0.75]),
    ("bij,bj->bi", [[2, 3, 4], [2, 4]], [2, 3], [-0.1875, 1.0, -0.5625, 2.3125, -1.25, 2.75]),
    ("i,j", [[2], [3]], [2, 3], [0.25, 1.25, -0.5, -0.1875, -0.9375, 0.375]),
    ("i,i", [[5], [5]], [], [0.4375]),
    ("ij,ij->ij", [[2, 3], [1, 3]], [2, 3], [0.25, -0.9375, -0.125, 0.3125, -0.625, -0.25]),
    (
      "ij,kj->ik", [[2, 3], [4, 1]], [2, 4],
      [0.125, 0.625, -0.25, 0.25, 0.3125, 1.5625, -0.625, 0.625]
    ),
    ("ij,ij->", [[2, 3], [1, 3]], [], [-1.375]),
    (
      "ijk,jil->kl", [[3, 4, 5], [4, 3, 2]], [5, 2],
      [3.6875, 0.5625, -0.875, -1.625, -0.625, 3.75, 3.75, -1.875, -3.5625, 0.75]
    ),
    ("...j,j", [[2, 2, 3], [3]], [2, 2], [-0.8125, -0.5625, -1.0, -0.75]),
    (
      "...ij,...jk", [[5, 1, 2, 3], [2, 3, 4]], [5, 2, 2, 4],
      [
        1.1875, 1.6875, -1.25, 1.3125, 0.9375, 2.1875, -1.375, 1.25, 1.6875, -1.25, 1.3125, -0.9375,
        2.1875, -1.375, 1.25, -0.9375, 0.0, -0.75, -0.125, -0.1875, -0.25, -0.25, -0.25, -0.25,
        -0.75, -0.125, -0.1875, 2.5, -0.25, -0.25, -0.25, 2.5, -0.5, 0.25, -0.375, -0.3125, -0.75,
        -2.0, 1.5625, -1.0625, 0.25, -0.375, -0.3125, 2.5, -2.0, 1.5625, -1.0625, -0.9375, -1.0,
        -1.5, 1.4375, -1.125, -1.25, -1.0, 1.3125, -1.1875, -1.5, 1.4375, -1.125, -0.9375, -1.0,
        1.3125, -1.1875, -0.9375, -1.5, -0.5, 1.1875, -1.25, 1.6875, 0.6875, -1.0, 1.4375, -0.5,
        1.1875, -1.25, -0.9375, 0.6875, -1.0, 1.4375, -0.9375,
      ]
    ),
    (
      "ki,...k->i...", [[3, 2], [4, 3]], [2, 4],
      [0.8125, 0.3125, 0.5, 0.6875, 1.125, -2.0625, -1.8125, -1.5625]
    ),
    (
      "k...,jk", [[3, 2], [4, 3]], [2, 4],
      [0.8125, 0.3125, 0.5, 0.6875, 1.125, -2.0625, -1.8125, -1.5625]
    ),
    (
      "i...->...i", [[2, 3, 4]], [3, 4, 2],
      [
        -1.0, 0.75, 0.75, -0.25, -0.25, -1.25, -1.25, 0.5, 0.5, -0.5, -0.5, 1.25, 1.25, 0.25, 0.25,
        -0.75, -0.75, 1.0, 1.0, 0.0, 0.0, -1.0, -1.0, 0.75,
      ]
    ),
    ("...->...", [[2, 3]], [2, 3], [-1.0, 0.75, -0.25, -1.25, 0.5, -0.5]),
    ("a,ab,b", [[2], [2, 3], [3]], [], [-1.546875]),
    (
      "ab,bc,cd->ad", [[5, 2], [2, 6], [6, 3]], [5, 3],
      [
        1.078125, -1.828125, 0.9375, 0.359375, -2.703125, 0.59375, -0.53125, 0.71875, -0.4375,
        -1.421875, 4.140625, -1.46875, 0.78125, -0.6875, 0.59375,
      ]
    ),
    ("i,i,i->i", [[3], [3], [3]], [3], [0.125, 0.46875, -0.15625]),
    (",i->i", [[], [3]], [3], [0.25, 1.25, -0.5]),
    ("ab,ab,ab->b", [[2, 3], [2, 3], [2, 3]], [3], [0.28125, 0.0, -0.28125]),
    (
      "ab,bc,cd,de,ef,fg,gh->ah", [[2, 3], [3, 2], [2, 4], [4, 2], [2, 3], [3, 2], [2, 2]], [2, 2],
      [0.0323486328125, -0.05859375, -0.0921630859375, -0.0146484375]
    ),
    (
      "ijkji,k->jk", [[2, 3, 2, 3, 2], [2]], [3, 2],
      [0.125, -1.5625, 0.25, -0.9375, -0.3125, -0.3125]
    ),
    ("iij,jk->ik", [[2, 2, 3], [3, 2]], [2, 2], [0.3125, 0.8125, -1.5, -1.5]),
    ("Ab,bA", [[2, 3], [3, 2]], [], [1.5]),
    ("ij,jk->ik", [[0, 3], [3, 4]], [0, 4], []),
    ("ij,jk->ik", [[2, 0], [0, 4]], [2, 4], [0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0]),
    ("i->", [[0]], [], [0.0]),
    (
      "abc,abd->cd", [[3, 2, 4], [3, 2, 5]], [4, 5],
      [
        0.75, 2.125, 0.75, 0.75, -0.625, -1.125, 0.0625, -1.5, -1.6875, 1.5625, -0.9375, -2.0, 1.75,
        -0.6875, -2.4375, 0.625, 2.125, 0.875, 1.0, -0.9375,
      ]
    ),
    (
      "acb,abd->cd", [[3, 4, 2], [3, 2, 5]], [4, 5],
      [
        1.0, 2.3125, 0.875, 0.8125, -0.625, -1.375, 0.25, -0.875, -0.625, 0.3125, -1.0, 0.25, -1.25,
        -1.375, 1.25, 0.0625, -1.125, 2.5, -0.0625, 2.1875,
      ]
    ),
    (
      "ab,cb,cd->ad", [[2, 3], [1, 3], [4, 2]], [2, 2], [-0.8125, 0.203125, -0.5625, 0.140625]
    ),
  ]

  @Test("Values are NumPy's", arguments: cases.indices)
  func agrees(_ k: Int) {
    let (subscripts, shapes, shape, expected) = Self.cases[k]
    for dtype in [DType.float64, .float32] {
      let operands = shapes.enumerated().map {
        Tensor(Self.values($1, $0, dtype: dtype), copy: false)
      }
      let result = einsum(subscripts, operands)
      #expect(result.shape == shape && result.dtype == dtype, "\(subscripts)")
      #expect(result.elements(as: Double.self) == expected, "\(subscripts)")
    }
  }

  @Test("Operands may be views of any layout", arguments: cases.indices)
  func strided(_ k: Int) {
    let (subscripts, shapes, _, expected) = Self.cases[k]
    let operands = shapes.enumerated().map { (k, shape) in
      let backwards = Tensor(Self.values(shape, k), copy: false).transposed()
      return Tensor((+backwards).array, copy: false).transposed()
    }
    #expect(einsum(subscripts, operands).elements(as: Double.self) == expected, "\(subscripts)")
    let sliced = shapes.enumerated().map { (k, shape) in
      let wide = Tensor.zeros(shape + [2], dtype: .float64)
      wide[.ellipsis, 1] = Tensor(Self.values(shape, k))
      return wide[.ellipsis, 1]
    }
    #expect(einsum(subscripts, sliced).elements(as: Double.self) == expected, "\(subscripts)")
  }

  @Test("What is carried out again gives the same bits", arguments: [0, 2, 256])
  func repeated(limit: Int) {
    // By operands' layouts: the same subscripts and shapes, rows or columns side by side in memory.
    let cases: [(String, [[Int]])] = [
      ("ij,jk->ik", [[5, 7], [7, 3]]), ("ij,kj", [[5, 7], [4, 7]]),
      ("aab,b->a", [[3, 3, 2], [2]]),
      ("bij,bjk->kbi", [[2, 3, 4], [2, 4, 5]]), ("ij,jk,kl->il", [[2, 3], [3, 4], [4, 2]]),
      ("ij,ij->i", [[3, 4], [1, 4]]), ("i,ij,j,k,k", [[2], [2, 3], [3], [2], [2]]),
    ]
    func run(
      _ subscripts: String, _ shapes: [[Int]], _ dtype: DType, turned: Bool, asNumbers: Bool
    ) -> [[Double]] {
      let operands = shapes.enumerated().map { k, shape in
        let x = Tensor(Self.values(turned ? shape.reversed() : shape, k), dtype: dtype) / 3
        return turned ? x.transposed() : x
      }
      // The way that nothing remembers.
      let letters = subscripts.split(separator: "->").map { $0.split(separator: ",") }
      let labels = letters[0].map { $0.utf8.map { Int($0) } }
      let result =
        asNumbers
        ? einsum(
          Array(zip(operands, labels)),
          output: letters.count == 2 ? letters[1][0].utf8.map { Int($0) } : nil)
        : einsum(subscripts, operands)
      result.sum().backward()
      return [result.elements(as: Double.self)]
        + operands.map { ($0.base ?? $0).grad!.elements(as: Double.self) }
    }
    ContractionMemo.shared.withLimit(limit) {
      for round in 0..<3 {
        for (subscripts, shapes) in cases {
          for (dtype, turned) in [
            (DType.float64, false), (.float32, true), (.float16, true), (.float64, true),
          ] {
            let result = run(subscripts, shapes, dtype, turned: turned, asNumbers: false)
            let expected = run(subscripts, shapes, dtype, turned: turned, asNumbers: true)
            #expect(result == expected, "\(subscripts) \(dtype) \(turned), round \(round)")
          }
        }
      }
    }
  }

  @Test("Steps that are remembered copy no operand that lies otherwise")
  func remembered() {
    func kernels(_ turned: Bool) -> [String] {
      func operand(_ shape: [Int]) -> Tensor { Tensor(Self.values(shape, 0), copy: false) }
      let (x, y) =
        turned
        ? (operand([3, 5, 4]).transposed(0, 2, 1), operand([5, 4, 6]).transposed(1, 0, 2))
        : (operand([3, 4, 5]), operand([4, 5, 6]))
      return einsum("ijk,jkl->il", x, y).explain().kernels.flatMap(\.operations)
    }
    let expected = [false, true].map { turned in
      ContractionMemo.shared.withLimit(0) { kernels(turned) }
    }
    #expect(expected == [["matmul"], ["matmul"]])
    // Often: shapes that other tests let go of make all steps be forgotten.
    for _ in 0..<20 { #expect([kernels(false), kernels(true)] == expected) }
  }

  @Test("Numbers as labels")
  func numbers() {
    let a = Tensor(Self.values([2, 3], 0))
    let b = Tensor(Self.values([3, 4], 1))
    let expected = matmul(a, b).elements(as: Double.self)
    #expect(einsum([(a, [7, 2]), (b, [2, 3])]).shape == [4, 2])
    #expect(
      einsum([(a, [0, 1]), (b, [1, 2])], output: [0, 2]).elements(as: Double.self) == expected)
    #expect(einsum([(a, [0, 1])], output: [1, 0]).base === a)
  }

  @Test("Integers and bools stay what they are")
  func integers() {
    let a = Tensor([[1, 2], [3, 4]], dtype: .int32)
    for (subscripts, expected) in [("ij->", [10]), ("ii", [5]), ("ij->j", [4, 6])] {
      let sum = einsum(subscripts, a)
      #expect(sum.dtype == .int32 && sum.elements(as: Int.self) == expected, "\(subscripts)")
    }
    let product = einsum("ij,jk", a, a)
    #expect(product.dtype == .int32 && product.elements(as: Int.self) == [7, 10, 15, 22])
    let rows = einsum("ij,ij->i", a, a)
    #expect(rows.dtype == .int32 && rows.elements(as: Int.self) == [5, 25])
    let both = einsum("ij,j", a, Tensor([0.5, 1]))
    #expect(both.dtype == .float64 && both.elements(as: Double.self) == [2.5, 5.5])
    let flags = Tensor([[true, false], [true, true]])
    #expect(einsum("ij->i", flags).dtype == .bool)
  }

  @Test("What needs no sum is a view of its operand, all else of nothing")
  func views() {
    let x = Tensor(Self.values([3, 3], 0))
    for subscripts in ["ii->i", "ij->ji", "ij->ij", "ij", "...->..."] {
      #expect(einsum(subscripts, x).base === x, "\(subscripts)")
    }
    #expect(einsum("ij->", x).base == nil)
    for subscripts in ["ij,jk->ik", "ij,jk->ki", "ij,kl->jlik", "ij,ij->ij"] {
      #expect(einsum(subscripts, x, x * 1).base == nil, "\(subscripts)")
    }
    let diagonal = einsum("ii->i", x)
    diagonal[.all] = Tensor([0.0, 0, 0])
    #expect(x.trace().item() == 0)
  }

  @Test("Products that are matrix products copy no operand")
  func products() {
    let a = Tensor(Self.values([4, 5, 6], 0))
    let b = Tensor(Self.values([5, 6, 7], 1))
    for (subscripts, x, y) in [
      ("ijk,jkl->il", a, b),
      ("ijk,ijl->kl", a, Tensor(Self.values([4, 5, 2], 2))),
      ("kij,kil->kjl", a, Tensor(Self.values([4, 5, 2], 2))),
    ] {
      let plan = einsum(subscripts, x, y).explain()
      #expect(plan.kernels.count == 1, "\(subscripts): \(plan)")
    }
    // Of two that lie across, machine code packs one, which the planner may do beforehand.
    let plan = einsum("ijk,jkl->li", a, b).explain()
    #expect(1...2 ~= plan.kernels.count, "\(plan)")
  }

  @Test("A long chain is multiplied in a cheap order")
  func order() {
    // From the left it would be a million multiplications per product.
    let x = Tensor.ones([1000, 1], dtype: .float32)
    let row = Tensor.ones([1, 1000], dtype: .float32)
    let v = Tensor.ones([1000], dtype: .float32)
    let plan = einsum("ab,bc,c->a", x, row, v)
    #expect(plan.elements(as: Float.self) == [Float](repeating: 1000, count: 1000))
    #expect(
      einsum("ab,bc,c->a", x, row, v).explain().kernels.allSatisfy { $0.shape != [1, 1000, 1000] })
    let long = einsum("ab,bc,cd,de,ef,fg,gh,h->a", x, row, x, row, x, row, x, Tensor.ones([1]))
    #expect(long.elements(as: Float.self) == [Float](repeating: 1e9, count: 1000))
  }

  @Test("What is wrong is said")
  func errors() {
    let x = Tensor(Self.values([2, 3], 0))
    let y = Tensor(Self.values([2, 4], 0))
    for (subscripts, operands, message) in [
      ("ij", [x, x], "names 1 operands, got 2"),
      ("i", [x], "operand 0 has 2 axes, \"i\" names 1 of them"),
      ("ijk...", [x], "names 3 of them"),
      ("ij,jk", [x, y], "lengths 3 and 2"),
      ("ii", [x], "lengths 2 and 3 of one operand have no diagonal"),
      ("ij->ik", [x], "no operand has label k of the result"),
      ("ij->ii", [x], "the result names label i twice"),
      ("i1", [x], "expected letters"),
      ("i...j...", [x], "expected letters"),
      ("i.j", [x], "expected letters"),
      ("i-j", [x], "expected letters"),
      ("...j->j", [x], "the result must have it too"),
    ] {
      let error = #expect(throws: TensorError.self) {
        try catchingTensorErrors { einsum(subscripts, operands) }
      }
      #expect(error?.operation == "einsum")
      #expect(error?.message.contains(message) == true, "\(subscripts): \(error?.message ?? "")")
    }
    #expect(throws: TensorError.self) { try catchingTensorErrors { einsum("", []) } }
    #expect(throws: TensorError.self) { try catchingTensorErrors { einsum([(x, [0, -1])]) } }
    #expect(throws: TensorError.self) { try catchingTensorErrors { einsum([(x, [0])]) } }
  }
}
