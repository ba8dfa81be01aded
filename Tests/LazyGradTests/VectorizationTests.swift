// Functions of one sample made functions of a batch, against the loop over the samples.

import LazyGrad
import LazyGradJIT
import TestSupport
import Testing

@Suite("vmap")
struct VectorizationTests {
  // MARK: Every operation

  /// Operations without a derivative; the operands lie in `-1.5...1.5`.
  private static var undifferentiable: [(Opcode, ([Tensor]) -> Tensor)] {
    [
      (.sign, { sign($0[0]) }), (.floor, { floor($0[0] * 3) }),
      (.logicalNot, { logicalNot($0[0] .> 0) }), (.isNaN, { isNaN(log($0[0])) }),
      (.equal, { floor($0[0]) .== floor($0[1]) }), (.notEqual, { floor($0[0]) .!= floor($0[1]) }),
      (.less, { $0[0] .< $0[1] }), (.lessEqual, { $0[0] .<= $0[1] }),
      (.greater, { $0[0] .> $0[1] }), (.greaterEqual, { $0[0] .>= $0[1] }),
      (.logicalAnd, { logicalAnd($0[0] .> 0, $0[1] .> 0) }),
      (.logicalOr, { logicalOr($0[0] .> 0, $0[1] .> 0) }),
      (.argmax, { $0[0].argmax(axis: 1) }), (.argmin, { $0[0].argmin() }),
      (.argsort, { $0[0].argsort(axis: 0, descending: true) }),
      (.bitAnd, { bitwiseAnd(whole($0[0]), whole($0[1])) }),
      (.bitOr, { bitwiseOr(whole($0[0]), whole($0[1])) }),
      (.bitXor, { bitwiseXor(whole($0[0]), whole($0[1])) }),
      (.leftShift, { leftShift(whole($0[0]), 2) }), (.rightShift, { rightShift(whole($0[0]), 1) }),
    ]
  }

  private static func whole(_ x: Tensor) -> Tensor { (x * 100).cast(to: .int64) }

  @Test("Every operation has a rule and a function here, or no operand")
  func complete() {
    let tested = Set(GradientCase.all.map(\.opcode) + Self.undifferentiable.map(\.0))
    for opcode in Opcode.allCases {
      #expect(BatchingRules.hasRule(opcode.rawValue) == (opcode.info.arity > 0), "\(opcode)")
      if opcode.info.arity > 0 { #expect(tested.contains(opcode), "\(opcode) has no function") }
    }
  }

  /// With all operands of a batch, and with one at a time; one sample, several, and none.
  private func check(_ example: GradientCase, _ parts: [BatchComparison.Part]) {
    let n = example.shapes.count
    let singles = (0..<n).map { k in (0..<n).map { $0 == k } }
    for mask in [[Bool](repeating: true, count: n)] + (n > 1 ? singles : []) {
      for (size, isLast) in [(3, false), (1, false), (2, true), (0, false)] {
        let comparison = BatchComparison(
          name: example.name, shapes: example.shapes, range: example.range, isBatched: mask,
          isLast: isLast, size: size, function: example.function)
        for part in parts where part != .second || example.isSmooth {
          let failure = comparison.failure(part)
          #expect(failure == nil, "\(mask), \(size) samples: \(failure ?? "")")
        }
      }
    }
  }

  @Test("Values, gradients inside and gradients through", arguments: GradientCase.all)
  func everyCase(_ example: GradientCase) { check(example, [.values, .inside, .through]) }

  @Test("Derivatives of second order inside", arguments: GradientCase.all)
  func secondOrder(_ example: GradientCase) { check(example, [.second]) }

  @Test("In windows of a few records, which a function of a sample does not end")
  func smallWindows() {
    Tape.withLimits(TapeLimits(windowRecords: 10)) {
      for example in GradientCase.all { check(example, [.values, .through]) }
    }
  }

  @Test("Operations without a derivative", arguments: 0..<20)
  func values(_ k: Int) {
    let (opcode, function) = Self.undifferentiable[k]
    for mask in [[true, true], [true, false], [false, true]] {
      for size in [1, 5, 0] {
        let failure = BatchComparison(
          name: "\(opcode)", shapes: [[2, 3], [2, 3]], range: -1.5...1.5, isBatched: mask,
          size: size, function: function
        ).failure(.values)
        #expect(failure == nil, "\(mask): \(failure ?? "")")
      }
    }
  }

  // MARK: What is given, and what comes out

  private func values(_ shape: [Int], _ seed: Int = 0) -> Tensor {
    Tensor(
      (0..<shape.reduce(1, *)).map {
        Double(($0 * 7919 + seed * 104_729 + 13) % 1009) / 1009 - 0.4
      }, shape: shape)
  }

  private func agree(_ a: Tensor, _ b: Tensor) -> Bool {
    a.shape == b.shape
      && zip(a.elements(as: Double.self), b.elements(as: Double.self)).allSatisfy {
        abs($0 - $1) <= 1e-11 * max(1, abs($1))
      }
  }

  @Test("Axes in and out, operands of every sample, several results, results of none")
  func axes() {
    let (x, w) = (values([5, 3]), values([3, 4], 1))
    #expect(agree(vmap(outAxis: 1) { matmul($0, w) }(x), matmul(x, w).T))
    #expect(agree(vmap(inAxis: 1, outAxis: -1) { $0 * 2 }(x), x * 2))
    #expect(agree(vmap { $0 }(x), x))
    #expect(agree(vmap { _ in w }(x), w.broadcast(to: [5, 3, 4])))
    #expect(agree(vmap(inAxes: (nil, -1)) { matmul($1, $0) }(w, x.T), matmul(x, w)))
    let sums = vmap(inAxes: (0, nil, 0)) { ($0 * $1[.all, 0] + $2).sum() }(x, w, x)
    #expect(agree(sums, (x * w[.all, 0] + x).sum(axis: 1)))
    let parts = vmap(outAxes: [0, 0, 1]) { t in [t[0] * 2, t[0].sum(), t[0]] }([x])
    #expect(agree(parts[0], x * 2) && agree(parts[1], x.sum(axis: 1)) && agree(parts[2], x.T))
    let array = NDArray((0..<24).map(Double.init), shape: [2, 3, 4])
    let views = Tensor(array)
    #expect(
      agree(
        vmap(inAxis: 1) { $0.T.reshaped(8) }(views),
        stack((0..<3).map { views[.all, $0].T.reshaped(8) })))
  }

  @Test("Gradients flow through a sample that is itself a result")
  func identity() {
    for function: ([Tensor]) -> [Tensor] in [
      { $0 }, { [$0[0], $0[0]] }, { x in [x[0], noAutodiff { x[0] * 2 }] },
    ] {
      let x = values([5, 3])
      let result = vmap(function)([x])[0]
      #expect(gradient(of: (result * 2).sum(), withRespectTo: x).elements.allSatisfy { $0 == 2 })
      #expect(gradient(of: result.sum(), withRespectTo: x).elements.allSatisfy { $0 == 1 })
    }
    let x = values([5, 3])
    let result = noAutodiff { vmap { $0 }(x) }
    #expect(gradient(of: result.sum(), withRespectTo: x).elements.allSatisfy { $0 == 0 })
  }

  /// Windows that differ in where a view of memory begins are recorded in the same words.
  @Test("Parts of samples are those of the batch that was given, wherever that lies")
  func batchesInMemory() {
    let x = Tensor((0..<6).map(Double.init), shape: [6]).expandedDims(at: 1)
    let table = +(x * 100 + Tensor((0..<20).map(Double.init), constant: true)).reshaped([6, 4, 5])
    eval(table)
    let middle = vmap { (s: Tensor) in
      let part = s[1..<3]
      return exp(log(part * 2 + 1)) - square(part) + square(part) + part.sum() - part.sum()
    }
    for constant in [true, false] {
      let rows = table.detached(constant: constant).eval()
      for k in 0..<12 {
        let y = middle(rows[k % 6])
        let expected = (rows[k % 6][0..., 1..<3] * 2 + 1).elements(as: Double.self)
        let values = y.elements(as: Double.self)
        #expect(zip(values, expected).allSatisfy { abs($0 - $1) < 1e-9 }, "batch \(k)")
      }
    }
  }

  @Test("Calls nest")
  func nested() {
    let (x, y) = (values([5, 3]), values([2, 3], 3))
    let products = vmap(inAxes: (nil, 0)) { a, b in
      vmap(inAxes: (0, nil)) { p, q in (p * q).sum() }(a, b)
    }
    #expect(agree(products(x, y), matmul(y, x.T)))
    let inner = vmap { x in vmap { row in row * x.sum() }(x) }
    let z = values([4, 2, 3], 5)
    #expect(agree(inner(z), z * z.sum(axes: [1, 2], keepDims: true)))
    #expect(
      agree(
        gradient(of: square(inner(z)).sum(), withRespectTo: z),
        gradient(
          of: square(z * z.sum(axes: [1, 2], keepDims: true)).sum(), withRespectTo: z)))
  }

  @Test("Jacobians, Hessians and jvp inside; Jacobians by vmap over covectors")
  func derivatives() {
    let (x, w) = (values([5, 3]), values([3, 4], 1))
    func each(_ body: (Tensor) -> Tensor) -> Tensor { stack((0..<5).map { body(+x[$0]) }) }
    func f(_ x: Tensor) -> Tensor { tanh(matmul(x, w)) }
    #expect(agree(vmap { jacobian(at: $0, of: f) }(x), each { jacobian(at: $0, of: f) }))
    func cubes(_ x: Tensor) -> Tensor { (x * x * x).sum() * x[0] }
    #expect(agree(vmap { hessian(at: $0, of: cubes) }(x), each { hessian(at: $0, of: cubes) }))
    let v = values([3], 7)
    #expect(
      agree(
        vmap { jvp(at: $0, along: v, of: f).derivative }(x),
        each { jvp(at: $0, along: v, of: f).derivative }))
    let y = f(+x[0])
    let rows = vmap { v in gradient(of: (y * v).sum(), withRespectTo: w) }(Tensor.eye(4))
    #expect(agree(rows, stack((0..<4).map { gradient(of: y[$0], withRespectTo: w) })))
  }

  @Test("Updates in place stay inside; custom rules, checkpoints and captured values")
  func programs() {
    let (x, w) = (values([5, 3]), values([3, 4], 1))
    func updated(_ x: Tensor) -> Tensor {
      let y = x * 1
      y[0] = 7.0
      y[1...] += x[0]
      return y
    }
    #expect(agree(vmap(updated)(x), stack((0..<5).map { updated(x[$0]) })))
    let before = x.elements
    let doubled = vmap { x in
      x *= 2
      return x
    }(x)
    #expect(agree(doubled, x * 2) && x.elements == before)
    func kept(_ x: Tensor) -> Tensor { checkpoint(x, w) { tanh(matmul($0[0], $0[1])) } }
    #expect(agree(vmap(kept)(x), tanh(matmul(x, w))))
    #expect(
      agree(
        gradient(of: square(vmap(kept)(x)).sum(), withRespectTo: w),
        gradient(of: square(tanh(matmul(x, w))).sum(), withRespectTo: w)))
    // What belongs to every sample can be read.
    let captured = values([3], 4) * 2
    let read = vmap { x in
      let first = x * (captured * 3).sum().item()
      return tanh(first).reshaped(3, 1) * (captured * 5).sum().item()
    }(x)
    let (s, t) = ((captured * 3).sum().item(), (captured * 5).sum().item())
    #expect(agree(read, tanh(x * s).reshaped(5, 3, 1) * t))
    vmap { tanh(matmul($0, w)).sum() }(x).sum().backward()
    #expect(agree(w.gradient, gradient(of: tanh(matmul(x, w)).sum(), withRespectTo: w)))
  }

  @Test("All samples have the same random numbers")
  func randomNumbers() {
    let x = Tensor.zeros([4, 3])
    let drawn = vmap { $0 + Tensor.uniform([3], key: RandomKey(3)) }(x)
    #expect(agree(drawn, Tensor.uniform([3], key: RandomKey(3)).broadcast(to: [4, 3])))
    let own = Tensor.uniform([4, 3], key: RandomKey(3))
    #expect(agree(vmap { $0 + $1 }(x, own), own))
  }

  // MARK: What is recorded

  @Test("Products with one matrix are one product; a further call finds its plan")
  func plans() {
    let (x, w, b) = (values([64, 32]), values([32, 16], 1), values([16], 2))
    let product = vmap { matmul($0, w) }(x).computationGraph()
    let products = product.nodes.filter { $0.operation == "matmul" }
    #expect(products.map(\.shape) == [[64, 16]])
    let turned = vmap { matmul(w.T, $0) }(x).computationGraph()
    #expect(turned.nodes.filter { $0.operation == "matmul" }.map(\.shape) == [[64, 16]])
    func norms() -> Tensor {
      vmap { x in
        let loss = square(tanh(matmul(x, w) + b)).sum()
        let parts = gradients(of: loss, withRespectTo: [w, b])
        return square(parts[0]).sum() + square(parts[1]).sum()
      }(x)
    }
    // In a window of the usual size. Another test may empty the cache in between.
    let tape = Tape.current
    let runs = Tape.withLimits(.usual) {
      (0..<6).map { _ in
        let before = tape.locked { tape.state.pointee.counters.kernelsRun }
        let counts = PlanCounts { norms().eval() }
        return (counts, kernels: tape.locked { tape.state.pointee.counters.kernelsRun } - before)
      }
    }
    #expect(runs.contains { $0.0 == PlanCounts(hits: 1, misses: 0) }, "\(runs)")
    #expect(runs.allSatisfy { $0.kernels <= 4 }, "\(runs)")
  }

  // MARK: Errors

  private func message(_ body: () -> Tensor) -> String {
    do {
      _ = try catchingTensorErrors { body() }
      return "no error"
    } catch { return "\(error)" }
  }

  @Test("What can't be done for a batch says why")
  func errors() {
    let x = values([5, 3])
    let outer = values([3], 9)
    var kept: Tensor?
    let cases: [(part: String, result: () -> Tensor)] = [
      ("asks for a value of a sample", { vmap { x in x * x[0].item() }(x) }),
      ("asks for a value of a sample", { vmap { x in x[x .> 0] }(x) }),
      ("asks for a value of a sample", { vmap { x in "\(x)".isEmpty ? x : x * 2 }(x) }),
      ("asks for a value of a sample", { vmap { exp($0, out: NDArray.zeros([3])) }(x) }),
      ("asks for a value of a sample", { vmap { $0.takeAlong($0.argsort()) }(x) }),
      (
        "got Tensor.custom",
        {
          vmap {
            Tensor.custom(inputs: [$0]) {
              $0[0]
            } backward: { g, _, _ in
              [g]
            }
          }(x)
        }
      ),
      (
        "outlives the call",
        {
          vmap { x in
            kept = x * 2
            return x
          }(x)
        }
      ),
      (
        "updated in place",
        {
          vmap { x in
            outer += x
            return x
          }(x)
        }
      ),
      (
        "without backward()",
        {
          let outer = Tensor([1.0, 2, 3])
          return vmap { x in
            let loss = (x * outer).sum()
            loss.backward()
            return loss
          }(x)
        }
      ),
      ("one length, got 5 and 4", { vmap { $0 * $1 }(x, self.values([4, 3])) }),
      ("operand with a batch", { vmap(inAxes: (nil, nil)) { $0 * $1 }(x, x) }),
      ("an axis for each of 1 operands", { vmap(inAxes: [0, 0]) { $0 }([x])[0] }),
      ("an axis for each of 1 results", { vmap(outAxes: [0, 0]) { $0 }([x])[0] }),
      ("axis 2 is out of range", { vmap(inAxis: 2) { $0 }(x) }),
      ("axis 3 is out of range", { vmap(outAxis: 3) { $0 }(x) }),
      ("axis 0 is out of range", { vmap { $0 }(Tensor(1.0)) }),
      ("inner dimensions differ", { vmap { matmul($0, self.values([5, 2])) }(x) }),
    ]
    for (part, result) in cases {
      let text = message(result)
      #expect(text.contains(part), "\(text)")
    }
    #expect(kept?.shape == [3])
    kept = nil
    // Nothing stays behind.
    #expect(agree(vmap { $0 * 2 }(x), x * 2))
  }
}
