// Errors in the use of tensors: what every check says, and what `catchingTensorErrors` makes of it.

import LazyGrad
import Testing

@Suite("Errors")
struct ErrorTests {
  private struct Other: Error {}

  private let m = Tensor([[1.0, 2, 3], [4, 5, 6]])

  // MARK: Messages

  @Test("Products")
  func products() {
    #expect(
      message { _ = matmul(m, Tensor.zeros([5, 2], dtype: .float64)) }
        == "matmul: inner dimensions differ: [2, 3] x [5, 2] (3 and 5)")
    #expect(
      message { _ = matmul(m, Tensor(1.0)) }
        == "matmul: expected at least one axis, got [2, 3] x []")
    #expect(
      message { _ = matmul(Tensor.zeros([2, 1, 3]), Tensor.zeros([3, 3, 1])) }
        == "matmul: the axes before the last two don't broadcast: [2, 1, 3] x [3, 3, 1]")
  }

  @Test("Broadcasting")
  func broadcasting() {
    #expect(
      message { _ = m + Tensor([1.0, 2]) }
        == "add: expected shapes that broadcast together, got [2, 3] and [2]")
    #expect(
      message { _ = m .< Tensor([1.0, 2]) }
        == "less: expected shapes that broadcast together, got [2, 3] and [2]")
    #expect(
      message { _ = `where`(Tensor([true, false]), m, m) }
        == "where: expected shapes that broadcast together, got [2] and [2, 3] and [2, 3]")
    #expect(
      message { _ = m.broadcast(to: [3]) } == "broadcast: shape [2, 3] does not broadcast to [3]")
    #expect(
      message { _ = m.broadcast(to: [-2, 2, 3]) }.hasPrefix("broadcast: shape [2, 3] does not"))
  }

  @Test("Axes")
  func axes() {
    for (name, body) in [
      ("sum", { m.sum(axis: 2) }), ("sum", { m.sum(axes: [0, -3]) }), ("mean", { m.mean(axis: 2) }),
      ("max", { m.max(axis: -3) }), ("min", { m.min(axis: 2) }), ("argmax", { m.argmax(axis: 5) }),
      ("prod", { m.prod(axis: 2) }), ("var", { m.var(axis: 2) }),
      ("softmax", { softmax(m, axis: 2) }),
      ("logSoftmax", { logSoftmax(m, axis: -3) }), ("logSumExp", { logSumExp(m, axis: 2) }),
      ("expandedDims", { m.expandedDims(at: 4) }),
      ("concatenate", { concatenate([m, m], axis: 2) }),
      ("stack", { stack([m, m], axis: 3) }),
    ] as [(String, () -> Tensor)] {
      let text = message { _ = body() }
      #expect(text.hasPrefix("\(name): axis "), "\(text)")
      #expect(text.contains("out of range for shape [2, 3]"), "\(text)")
    }
    #expect(message { _ = m.sum(axes: [1, -1]) } == "sum: axis -1 is named twice in [1, -1]")
    #expect(
      message { _ = m.squeezed(axis: 0) }
        == "squeezed: axis 0 of shape [2, 3] does not have length 1")
    #expect(
      message { _ = m.transposed([0, 0]) }
        == "transposed: expected a permutation of the axes of shape [2, 3], got [0, 0]")
    #expect(
      message { _ = Tensor.zeros([0]).max() }
        == "max: there is no max of zero elements, got shape [0]")
    #expect(
      message { _ = Tensor.zeros([2, 0]).argmin(axis: 1) }
        == "argmin: there is no argmin of zero elements, got shape [2, 0]")
  }

  @Test("Shapes")
  func shapes() {
    #expect(
      message { _ = m.reshaped([4, 2]) } == "reshaped: 6 elements of shape [2, 3] don't fit [4, 2]")
    for shape in [
      [-1, -1], [4, -1], [-2, 3], [0, -1], [.max, .max, -1], [.max, 2], [-1, -6],
    ] {
      #expect(message { _ = m.reshaped(shape) }.contains("don't fit \(shape)"), "\(shape)")
    }
    #expect(
      message { _ = m.reshaped([2, 3] + [Int](repeating: 1, count: 63)) }
        == "reshaped: expected at most 64 axes, got 65")
    #expect(
      message { _ = Tensor.zeros([2, -1]) }
        == "zeros: expected lengths of at least 0, got shape [2, -1]")
    #expect(message { _ = Tensor.ones([.max, .max]) }.contains("more elements than memory"))
    #expect(
      message { _ = Tensor.full([Int](repeating: 1, count: 65), 1.0) }
        == "full: expected at most 64 axes, got 65")
    #expect(message { _ = m.broadcast(to: [.max, .max, 2, 3]) }.hasPrefix("broadcast: "))
    let deep = Tensor.ones([Int](repeating: 1, count: 64))
    #expect(message { _ = deep.expandedDims(at: 0) }.contains("at most 64 axes"))
    #expect(message { _ = deep[.newAxis] }.contains("64"))
    #expect(message { _ = stack([deep, deep]) }.contains("64"))
    #expect(message { _ = deep.broadcast(to: [Int](repeating: 1, count: 65)) }.contains("64"))
  }

  @Test("Sizes that overflow are refused when they are recorded")
  func overflow() {
    let wide = Tensor(1.0).broadcast(to: [1 << 31, 1])
    let high = Tensor(1.0).broadcast(to: [1, 1 << 32])
    #expect(message { _ = wide + high } != "no error")
    #expect(message { _ = matmul(wide, high) } != "no error")
    let huge = Tensor(1.0).broadcast(to: [1 << 48])
    #expect(message { _ = concatenate([huge, huge]) } != "no error")
    #expect(message { _ = stack([huge, huge, huge]) } != "no error")
    #expect(
      message { _ = `where`(Tensor(true), wide, high) } != "no error")
    for shape in [[1 << 62], [1 << 49], [1 << 31, 1 << 32]] {
      let text = "shape \(shape) has more elements than memory can hold"
      #expect(message { _ = Tensor.zeros(shape) } == "zeros: " + text)
      #expect(message { _ = Tensor(1.0).broadcast(to: shape) } == "broadcast: " + text)
    }
    let view = NDArray(1.0).broadcast(to: [1 << 50])
    #expect(message { _ = Tensor(view, copy: false) }.contains("more elements than memory"))
  }

  @Test("Indices")
  func indices() {
    #expect(message { _ = m[2] }.hasPrefix("subscript: "))
    #expect(message { _ = m[0, -4] }.contains("-4"))
    #expect(message { _ = m[0, 0, 0] }.hasPrefix("subscript: "))
    #expect(message { _ = m[.ellipsis, .ellipsis] }.hasPrefix("subscript: "))
    #expect(message { _ = m[[0, 2]] }.contains("2"))
    #expect(message { _ = m[[true, false, true]] }.hasPrefix("subscript: "))
    #expect(
      message { _ = m.takeRows(NDArray([0, 2])) }
        == "takeRows: row 2 is out of range for axis 0 with length 2")
    #expect(
      message { _ = m.takeRows(NDArray([0.5])) }
        == "takeRows: expected integer row numbers, got float64")
    #expect(
      message { _ = m[0, 0].takeRows(NDArray([0])) }
        == "takeRows: expected at least one axis, got a scalar")
  }

  @Test("Joining")
  func joining() {
    #expect(
      message { _ = concatenate([]) } == "concatenate: expected at least one tensor, got none")
    #expect(message { _ = stack([]) } == "stack: expected at least one tensor, got none")
    #expect(
      message { _ = concatenate([m, m.transposed()]) }
        == "concatenate: shapes differ along more than axis 0: [2, 3] and [3, 2]")
    #expect(message { _ = stack([m, m[0]]) } == "stack: shapes differ: [2, 3] and [3]")
    #expect(
      message { _ = concatenate([m[0, 0], m[0, 0]]) }.hasPrefix("concatenate: axis 0 is out"))
  }

  @Test("Types, values and seeds")
  func types() {
    let n = Tensor([1, 2])
    #expect(
      message { _ = n ** -1 }
        == "power: integers to negative integer powers are not integers")
    #expect(
      message { _ = Tensor([1, 2], constant: false) }
        == "Tensor: integer and bool tensors are constants, got constant: false for int64")
    #expect(
      message { _ = Tensor.ones([2], dtype: .bool, constant: false) }
        == "ones: integer and bool tensors are constants, got constant: false for bool")
    #expect(message { _ = Tensor([[1.0], [1, 2]]) }.contains("ragged"))
    #expect(message { _ = m.item() } == "item: expected exactly one element, got shape [2, 3]")
    #expect(
      message { (m * 2).backward(Tensor([1.0, 2])) }
        == "backward: expected a seed that broadcasts to shape [2, 3], got shape [2]")
    #expect(
      message { n += 0.5 } == "+=: elements of type float64 can't be put into int64")
    #expect(
      message { m[0] = Tensor([1.0, 2]) } == "subscript: shape [2] does not fit into shape [3]")
    #expect(
      message { exp(m, out: Tensor([1.0])) }
        == "exp: a result of shape [2, 3] does not fit out: of shape [1]")
    #expect(
      message { matmul(m, m.transposed(), out: m) }
        == "matmul: a result of shape [2, 2] does not fit out: of shape [2, 3]")
    #expect(
      message { m += Tensor.ones([2, 2, 3], dtype: .float64) }
        == "+=: shape [2, 2, 3] does not fit into shape [2, 3]")
    #expect(
      message { Tensor(1.0).broadcast(to: [2]).assign(Tensor(2.0)) }
        == "assign: a tensor that was broadcast can't be updated in place")
  }

  @Test("Labels")
  func labels() {
    #expect(
      message { _ = softmaxCrossEntropy(m, NDArray([0, 3])) }
        == "softmaxCrossEntropy: label 3 is out of range for 3 classes")
    #expect(
      message { _ = softmaxCrossEntropy(m, NDArray([0, -1])) }
        == "softmaxCrossEntropy: label -1 is out of range for 3 classes")
    #expect(
      message { _ = softmaxCrossEntropy(m, NDArray([0.0, 1])) }
        == "softmaxCrossEntropy: expected integer labels, got float64")
    #expect(
      message { _ = softmaxCrossEntropy(m[0], NDArray([0, 1])) }
        == "softmaxCrossEntropy: expected logits [rows, classes] and labels [rows], "
        + "got [3] and [2]")
    #expect(message { _ = softmaxCrossEntropy(m, NDArray([0])) }.contains("got [2, 3] and [1]"))
    #expect(
      message { _ = softmaxCrossEntropy(Tensor.zeros([0, 3]), NDArray([Int]())) } == "no error")
  }

  // MARK: The scope

  @Test("The first error is thrown, with operation and shapes")
  func first() throws {
    do {
      try catchingTensorErrors {
        _ = m + Tensor([1.0, 2])
        _ = matmul(m, m)
      }
      Issue.record("nothing was thrown")
    } catch let error as TensorError {
      #expect(error.operation == "add")
      #expect(error.shapes == [[2, 3], [2]])
    }
    #expect(try catchingTensorErrors { (m + 1).sum().item() } == 27)
    #expect(throws: Other.self) { try catchingTensorErrors { throw Other() } }
    #expect(throws: TensorError.self) {
      try catchingTensorErrors {
        _ = m[7]
        throw Other()
      }
    }
  }

  @Test("Poisoned tensors stay poisoned through every operation and can be read")
  func poison() {
    let operations: [(Tensor) -> Tensor] = [
      { -$0 }, { exp($0) }, { $0 + 1 }, { 1 - $0 }, { $0 * m }, { m / $0 }, { $0 ** 2 },
      { 2 ** $0 },
      { $0 .== m }, { maximum($0, 0) }, { `where`(Tensor(true), $0, m) },
      { `where`($0, m, m) }, { $0.clip(0, 1) }, { $0.cast(to: .float32) }, { $0.sum() },
      { $0.sum(axis: 3) }, { $0.mean(axes: [1, 2]) }, { $0.max(axis: 1) }, { $0.argmax() },
      { $0.var(axis: 4) }, { matmul($0, m) }, { matmul(m, $0) }, { $0.reshaped([2, 3]) },
      { $0.flattened() }, { $0.transposed([1, 0]) }, { $0.broadcast(to: [3]) },
      { $0.expandedDims(at: 5) }, { $0.squeezed(axis: 1) }, { $0[1, 2] }, { $0[[1, 2]] },
      { $0.takeRows(NDArray([3])) }, { concatenate([m, $0]) }, { concatenate([$0, m]) },
      { stack([m, $0]) }, { stack([$0, m]) }, { softmax($0) }, { logSoftmax($0, axis: 1) },
      { logSumExp($0, axis: 1) }, { softmaxCrossEntropy($0, NDArray([0])) },
      { gradients(of: $0, withRespectTo: [m])[0] }, { gradients(of: m, withRespectTo: [$0])[0] },
      { $0.detached() },
      {
        $0 += m; return $0
      },
      {
        $0[0] = m; return $0
      }, { $0.eval() },
      {
        $0.backward(); return $0
      },
      {
        $0.clearGraph(); return $0
      },
    ]
    for (k, operation) in operations.enumerated() {
      #expect(throws: TensorError.self, "operation \(k)") {
        try catchingTensorErrors {
          let bad = matmul(m, m)
          let worse = operation(bad)
          #expect(worse.debugDescription.contains("poisoned"), "operation \(k)")
          #expect(worse.item().isNaN && worse.item(as: Int.self) == 0)
          _ = worse.elements(as: Double.self)
          _ = worse.array
          _ = worse.description
          eval(worse, m)
        }
      }
    }
  }

  @Test("Arrays that can't be made: the scope throws, and what was there is as before")
  func arrays() {
    let x = NDArray([1.0, 2, 3])
    let y = NDArray.zeros([2, 3])
    let cases: [(String, () -> NDArray)] = [
      ("zeros: expected lengths of at least 0, got shape [-1]", { .zeros([-1]) }),
      ("ones: expected lengths of at least 0, got shape [2, -3]", { .ones([2, -3]) }),
      (
        "full: shape [4611686018427387904, 4] has more elements than memory can hold",
        { .full([1 << 62, 4], 1) }
      ),
      (
        "zeros: shape [1152921504606846976] has more elements than memory can hold",
        { .zeros([1 << 60], dtype: .float64) }
      ),
      ("zeros: no memory for 1125899906842624 bytes", { .zeros([1 << 50], dtype: .uint8) }),
      ("zeros: expected at most", { .zeros([Int](repeating: 1, count: 100)) }),
      (
        "NDArray: expected 4 elements for shape [2, 2], got 3",
        { NDArray([1, 2, 3], shape: [2, 2]) }
      ),
      ("NDArray: ", { NDArray([[1, 2], [3]]) }),
      ("arange: expected a step other than 0", { .arange(0, 5, 0) }),
      ("arange: expected a finite number of elements", { .arange(Double.infinity) }),
      ("linspace: expected a count of at least 0, got -1", { .linspace(0, 1, count: -1) }),
      ("eye: expected lengths of at least 0, got shape [-1, -1]", { .eye(-1) }),
      ("reshaped: cannot show 3 elements of shape [3] as [2, 2]", { x.reshaped([2, 2]) }),
      ("transposed: expected a permutation", { x.transposed([1]) }),
      ("broadcast: shape [3] does not broadcast to [2]", { x.broadcast(to: [2]) }),
      ("subscript: ", { x[5] }), ("subscript: ", { x[[0, 7]] }), ("subscript: ", { x[0, 0] }),
    ]
    for (text, make) in cases {
      let thrown = message {
        let array = make()
        #expect(array.shape == [] && (array.item().isNaN || array.item() == 0), "\(text)")
        y[0] = array
        x[0] = array
        _ = x * Tensor(array, constant: true)
      }
      #expect(thrown.hasPrefix(text), "\(thrown)")
    }
    #expect(message { _ = x.item() } == "item: expected exactly one element, got shape [3]")
    #expect(message { x[7] = y }.hasPrefix("subscript: "))
    #expect(message { x[0..<2] = x }.hasPrefix("subscript: "))
    #expect(message { try? x.assign(y) } == "assign: shape [2, 3] does not broadcast to [3]")
    #expect(x.elements(as: Double.self) == [1, 2, 3])
    #expect(y.elements(as: Double.self) == [Double](repeating: 0, count: 6))
    x[0..<2] = NDArray([5.0])
    #expect((x * Tensor(2.0)).elements(as: Double.self) == [10, 10, 6])
  }

  @Test("Reading a poisoned tensor does not hide the first error")
  func reading() {
    #expect(
      message {
        let bad = m[5]
        if bad.item() > 0 { _ = m[6] }
        _ = m.item()
      }.contains("5"))
  }

  @Test("What existed before is not changed")
  func untouched() {
    let x = Tensor([1.0, 2])
    (x * 2).backward()
    _ = message {
      let bad = matmul(m, m)
      x += bad
      x[0] = bad
      x.assign(bad)
      x[0..<1] *= bad
      x[[0]] = bad
    }
    #expect(x.elements(as: Double.self) == [1, 2])
    #expect(x.grad?.elements(as: Double.self) == [2, 2])
    let y = x * 3
    _ = message { y.backward(matmul(m, m)) }
    #expect(x.grad == nil)
    y.backward()
    #expect(x.grad?.elements(as: Double.self) == [3, 3])
  }

  @Test("Scopes nest: each throws its own errors")
  func nesting() throws {
    try catchingTensorErrors {
      #expect(throws: TensorError.self) { try catchingTensorErrors { _ = m[9] } }
      _ = m + 1
    }
    #expect(message { _ = try? catchingTensorErrors { m[9] } } == "no error")
  }

  @Test("Across suspension points, in child tasks too")
  func asynchronous() async {
    await #expect(throws: TensorError.self) {
      try await catchingTensorErrors {
        await Task.yield()
        _ = Tensor([1.0])[4]
        await Task.yield()
      }
    }
    await #expect(throws: TensorError.self) {
      try await catchingTensorErrors {
        async let value = Tensor([1.0])[4].item()
        _ = await value
      }
    }
  }

  @Test("A poisoned tensor that escapes poisons what is made of it in a later scope")
  func escaped() {
    var bad: Tensor?
    _ = message { bad = m[7] }
    #expect(bad!.debugDescription.contains("poisoned"))
    #expect((bad! + 1).debugDescription.contains("poisoned"))
    #expect(message { _ = bad!.item() }.contains("7"))
  }

  @Test("Correct operations beside poisoned ones work")
  func beside() {
    var sum = 0.0
    _ = message {
      _ = m[7]
      sum = (m + 1).sum().item()
    }
    #expect(sum == 27)
  }
}
