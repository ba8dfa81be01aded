// Backward passes that are copied from the last equal one: that they are, and that nothing that makes a
// pass different is overlooked. The cache is the process's, so the suite runs one test at a time, and
// every test looks only at windows that no other one records.

import LazyGrad
import LazyGradJIT
import TestSupport
import Testing

@Suite(.serialized) struct RecordedPassTests {
  func values(_ x: Tensor?) -> [Double] { x?.elements(as: Double.self) ?? [] }

  /// Passes have been copied, unless windows are so small that passes run in pieces.
  func expectCopies(since before: Int, more: Int = 0) {
    let limits = Tape.current.state.pointee.limits
    if limits.windowRecords < TapeLimits.usual.windowRecords { return }
    #expect(Tape.current.passesCopied > before + more)
  }

  /// Plans and passes only: what compiled functions of other tests have recorded stays.
  static func forgetPlans() {
    PlanCache.shared.removeAll()
    PassCache.shared.removeAll()
  }

  /// Runs `body` alone on a thread's tape, so that each round records the same window.
  func rounds(_ n: Int, _ body: (Int) -> Void) {
    Self.forgetPlans()
    for round in 0..<n { body(round) }
  }

  func polynomial(_ x: Tensor, _ y: Tensor, _ scalar: Double) -> Tensor {
    let a = tanh(x * y + scalar)
    let b = exp(-(a * a)) * x
    return (b + sqrt(y) * scalar).sum()
  }

  /// Gradients that a walk over the graph has derived, whatever is remembered.
  func derived(of head: Tensor, withRespectTo variables: [Tensor]) -> [Tensor] {
    var limits = Tape.current.state.pointee.limits
    limits.passRecords = .max
    return Tape.withLimits(limits) { gradients(of: head, withRespectTo: variables) }
  }

  func expected(
    _ x: [Double], _ y: [Double], _ scalar: Double
  ) -> [[Double]] {
    let (x, y) = (Tensor(x), Tensor(y))
    return derived(of: polynomial(x, y, scalar), withRespectTo: [x, y]).map { values($0) }
  }

  @Test func theThirdEqualPassIsACopy() {
    ConcurrencyTests.onNewThread {
      var counts: [Int] = []
      let before = Tape.current.passesCopied
      rounds(8) { _ in
        let (x, y) = (Tensor([0.5, -1.25, 2]), Tensor([1.0, 2, 3]))
        let before = Engine.tapeUse.records
        polynomial(x, y, 0.75).backward()
        counts.append(Engine.tapeUse.records - before)
        let wanted = expected([0.5, -1.25, 2], [1, 2, 3], 0.75)
        #expect(values(x.grad) == wanted[0])
        #expect(values(y.grad) == wanted[1])
      }
      #expect(Set(counts).count == 1, "\(counts)")
      expectCopies(since: before)
    }
  }

  @Test func numbersAndValuesAreNotPartOfWhatIsCopied() {
    ConcurrencyTests.onNewThread {
      let before = Tape.current.passesCopied
      rounds(6) { round in
        let (a, b, c) = (Double(round) + 0.5, Double(round) - 3, 0.25 * Double(round))
        let (x, y) = (Tensor([a, b]), Tensor([a + 1, a + 2]))
        polynomial(x, y, c).backward()
        let wanted = expected([a, b], [a + 1, a + 2], c)
        #expect(values(x.grad) == wanted[0])
        #expect(values(y.grad) == wanted[1])
      }
      expectCopies(since: before)
    }
  }

  /// What the program holds gets a gradient; who holds what changes from round to round.
  @Test func heldTensorsGetTheirGradients() {
    ConcurrencyTests.onNewThread {
      rounds(12) { round in
        let x = Tensor([1.0, 2, 3])
        var kept: Tensor?
        func loss() -> Tensor {
          let a = x * x
          let b = a * 3 + x
          if round % 2 == 0 { kept = a } else { kept = b }
          return (b * a * 2 + b - 1 + a).sum()
        }
        loss().backward()
        // loss = sum 2ab + b + a, b = 3a + x
        let v: [Double] = [1, 2, 3]
        let ofA = v.map { (x: Double) -> Double in 12 * x * x + 2 * x + 4 }
        let ofB = v.map { (x: Double) -> Double in 2 * x * x + 1 }
        #expect(values(kept!.grad) == (round % 2 == 0 ? ofA : ofB))
        #expect(values(x.grad) == v.indices.map { ofA[$0] * 2 * v[$0] + ofB[$0] })
      }
    }
  }

  /// Another head, a constant instead of a variable, another shape: with one key for all only the
  /// comparison tells them apart.
  @Test func collidingKeysAreToldApart() {
    ConcurrencyTests.onNewThread {
      PassCache.shared.withCollidingKeys {
        for _ in 0..<4 {
          for variant in 0..<5 {
            let x = Tensor([1.0, 2])
            let y = Tensor(variant == 4 ? [3.0] : [3.0, 4], constant: variant == 1)
            let a = x * y
            let b = a + x
            let c = b * b
            let d = c - a
            let e = d + d
            let head = variant == 2 ? d : e
            let factor = variant == 2 ? 1.0 : 2
            if variant == 3 { _ = a.sum() }
            head.backward()
            let (u, v): ([Double], [Double]) = ([1, 2], variant == 4 ? [3, 3] : [3, 4])
            // d = (xy + x)^2 - xy
            var (dx, dy): ([Double], [Double]) = ([], [])
            for (x, y) in zip(u, v) {
              let outer = 2 * (x * y + x)
              dx.append(factor * (outer * (y + 1) - y))
              dy.append(factor * (outer * x - x))
            }
            #expect(values(x.grad) == dx)
            #expect(values(y.grad) == (variant == 1 ? [] : variant == 4 ? [dy[0] + dy[1]] : dy))
          }
        }
      }
    }
  }

  /// The same records, all of them held: only the head is another.
  @Test func collidingHeadsAreToldApart() {
    ConcurrencyTests.onNewThread {
      PassCache.shared.withCollidingKeys {
        for round in 0..<12 {
          let x = Tensor([1.0, 2])
          let a = x * x
          let b = a + x
          let c = b * b
          let d = c - a
          let e = d + d
          let f = e * x
          let g = f + e
          let all = [a, b, c, d, e, f, g]
          all[4 + round % 3].backward()
          let wanted = [1.0, 2].map { v in
            let b = v * v + v
            let e = 2 * (b * b - v * v)
            let de = 2 * (2 * b * (2 * v + 1) - 2 * v)
            let df = de * v + e
            return [de, df, df + de][round % 3]
          }
          #expect(values(x.grad) == wanted, "round \(round)")
          withExtendedLifetime(all) {}
        }
      }
    }
  }

  /// An old gradient is replaced, as by a pass that is derived.
  @Test func oldGradientsAreReplaced() {
    ConcurrencyTests.onNewThread {
      let c = Tensor([1.0, 1])
      rounds(5) { round in
        let x = Tensor([1.0, 2])
        // `c` keeps the gradient of this while it is not used as a tracked operand again.
        (c * 3).backward()
        noAutodiff { _ = c * 2 }
        let y = x * x * x * x * x * x * 2 + x
        (y * y).backward()
        #expect(values(c.grad) == [3, 3])
        #expect(values(x.grad)[0] == 2 * 3 * 13)
        _ = round
      }
    }
  }

  /// The plan of a window is the same whichever row of a variable in memory it reads, but the gradient
  /// goes to that row.
  @Test func theRowOfAVariableIsCompared() {
    ConcurrencyTests.onNewThread {
      let before = Tape.current.passesCopied
      for rows in [[0, 1, 2, 3, 4, 5], [2, 2, 2, 2, 2, 2], [Int](0..<40)] {
        rounds(rows.count) { round in
          let x = Tensor([Double](repeating: 0.5, count: 40))
          let row = x[rows[round]..<(rows[round] + 1)]
          let y = row * row * row * row * 2 + row
          (y * y).sum().backward()
          var wanted = [Double](repeating: 0, count: 40)
          wanted[rows[round]] = 2 * 0.625 * 2
          #expect(values(x.grad) == wanted)
        }
      }
      expectCopies(since: before)
    }
  }

  /// What stands for the newest value of the window before is no value without a graph, though neither
  /// has a handle: a pass goes on from there.
  @Test func theValueBeforeTheWindowIsNotALeaf() {
    ConcurrencyTests.onNewThread {
      rounds(8) { round in
        let x = Tensor([1.0, 2])
        func loss() -> Tensor {
          let y: Tensor
          if round < 4 {
            y = Tensor([3.0, 6])
          } else {
            y = x * 3
            y.eval()
          }
          return (y * y * y * y * y + y + y).sum()
        }
        let head = loss()
        head.backward()
        #expect(head.item() == 8037)
        #expect(values(x.grad) == (round < 4 ? [] : [1221, 19446]))
      }
    }
  }

  /// A pass clears its graph whether it is derived or copied.
  @Test func theGraphIsCleared() {
    ConcurrencyTests.onNewThread {
      rounds(5) { _ in
        let x = Tensor([1.0, 2])
        let a = x * x + x * 2 + 1
        let b = (a * a * a + a).sum()
        let other = (a * 5).sum()
        b.backward()
        #expect(throws: TensorError.self) { try catchingTensorErrors { other.backward() } }
      }
    }
  }

  /// Composites of the library are told apart by a number in their record, which equal windows share.
  @Test func passesThroughCompositesAreCopied() {
    ConcurrencyTests.onNewThread {
      func loss(_ x: Tensor) -> Tensor {
        (softplus(x) * softmax(x, axis: 0) + logSoftmax(x * 2) - logSumExp(x * x)).sum()
      }
      for isSoftplus in [true, false] {
        let before = Tape.current.passesCopied
        rounds(6) { round in
          let numbers = [0.5 * Double(round), -1.25, 2]
          func inner(_ x: Tensor) -> Tensor { isSoftplus ? softplus(x) : softmax(x) }
          let x = Tensor(numbers)
          loss(inner(x)).backward()
          let y = Tensor(numbers)
          let wanted = derived(of: loss(inner(y)), withRespectTo: [y])[0]
          #expect(values(x.grad) == values(wanted), "round \(round)")
        }
        expectCopies(since: before)
      }
    }
  }

  /// The code of a custom operation runs every time.
  @Test func customRulesAreNotCopied() {
    ConcurrencyTests.onNewThread {
      var calls = 0
      rounds(5) { _ in
        let x = Tensor([1.0, 2])
        let doubled = Tensor.composite(inputs: [x]) {
          $0[0] * 2
        } gradient: { gradient, _, _ in
          calls += 1
          return [gradient * 2]
        }
        (doubled * doubled * x + x * x - x).backward()
        let wanted: [Double] = [13, 51]
        #expect(values(x.grad) == wanted)
      }
      #expect(calls == 5)
    }
  }

  /// Two passes in one window, the second over a graph that reads the first one's gradients.
  @Test func severalPassesInOneWindow() {
    ConcurrencyTests.onNewThread {
      rounds(5) { _ in
        let x = Tensor([1.0, 2])
        (x * x * x + x * x + x).backward()
        let g = x.grad!
        let y = Tensor([2.0, 5])
        (y * g * y + y * y * y).backward()
        let first: [Double] = [6, 17]
        #expect(values(g) == first)
        let wanted: [Double] = [36, 245]
        #expect(values(y.grad) == wanted)
      }
    }
  }

  @Test func theCacheStaysBounded() {
    ConcurrencyTests.onNewThread {
      Self.forgetPlans()
      for length in 0..<300 {
        for _ in 0..<3 {
          var y = Tensor([1.0])
          for _ in 0..<(8 + 4 * length) { y = y * 1.5 }
          y.backward()
        }
        #expect(PassCache.shared.records <= PassCache.recordLimit)
      }
    }
  }

  // MARK: Random programs

  /// Random operations on 3 x 3 variables; the same for a seed, whatever the values.
  ///
  /// - Returns: The head, and everything that the program goes on holding.
  func randomProgram(_ seed: UInt64, _ variables: [Tensor]) -> (Tensor, held: [Tensor]) {
    var random = SeededRandom(seed: seed)
    var known = variables
    var held: [Tensor] = []
    for _ in 0..<random.int(4...24) {
      let (x, y) = (random.pick(known), random.pick(known))
      let next: Tensor
      switch random.int(0...13) {
      case 0: next = x + y
      case 1: next = x * y
      case 2: next = x - y * random.uniform(0.5...2)
      case 3: next = tanh(x)
      case 4: next = exp(-(x * x))
      case 5: next = matmul(x, y) * 0.25
      case 6: next = matmul(x, y.transposed()) * 0.25
      case 7: next = x + y.sum(axis: 0) * 0.125
      case 8: next = softmax(x) + y
      case 9: next = x.reshaped([9]).reshaped([3, 3]) - x.transposed()
      case 10: next = concatenate([x[0..<1], y[1..<3]])
      case 11: next = x[random.int(0...2)] + y
      case 12:
        let copy = x * 1
        copy[0..<2] += y[1..<3]
        next = copy
      default: next = noAutodiff { x * 2 } + y
      }
      if random.chance(0.3) { held.append(next) }
      known.append(next)
      if known.count > 6 { known.remove(at: 0) }
    }
    return (known.last! + known[0], held)
  }

  @Test func copiesAgreeWithWhatIsDerived() {
    ConcurrencyTests.onNewThread {
      Self.forgetPlans()
      let before = Tape.current.passesCopied
      for seed in UInt64(1)...300 {
        for round in UInt64(0)..<4 {
          var random = SeededRandom(seed: seed << 8 | round)
          let values = (0..<3).map { _ in (0..<9).map { _ in random.uniform(-1...1) } }
          func variables() -> [Tensor] {
            values.map { Tensor(NDArray($0, shape: [3, 3])) }
          }
          let inputs = variables()
          var program = randomProgram(seed, inputs)
          let wanted = derived(of: program.0, withRespectTo: inputs + program.held)
            .map { self.values($0) }
          let named = variables()
          program = randomProgram(seed, named)
          let given = gradients(of: program.0, withRespectTo: named + program.held)
          for (k, (x, wanted)) in zip(given, wanted).enumerated() {
            #expect(self.values(x) == wanted, "seed \(seed), round \(round), name \(k)")
          }
          let again = variables()
          program = randomProgram(seed, again)
          program.0.backward()
          for (k, (x, wanted)) in zip(again + program.held, wanted).enumerated() {
            guard let gradient = x.grad else {
              #expect(wanted.allSatisfy { $0 == 0 }, "seed \(seed), tensor \(k)")
              continue
            }
            #expect(self.values(gradient) == wanted, "seed \(seed), round \(round), tensor \(k)")
          }
        }
      }
      // Other tests may push out what is remembered meanwhile.
      expectCopies(since: before)
    }
  }
}
