// Passes that are asked for gradients by name, and what is recorded for a batch: copied from the last equal
// one, and not where anything that they depend on is different.

import LazyGrad
import LazyGradJIT
import Testing

extension RecordedPassTests {
  /// Which variables, in which order, how often, and whether they are reached.
  @Test func gradientsByNameAreCopied() {
    ConcurrencyTests.onNewThread {
      let before = Tape.current.passesCopied
      checkNames()
      expectCopies(since: before, more: 8)
    }
  }

  /// Only what is compared tells them apart.
  @Test func collidingKeysOfNamesAreToldApart() {
    ConcurrencyTests.onNewThread { PassCache.shared.withCollidingKeys { checkNames() } }
  }

  private func checkNames() {
    rounds(32) { round in
      let scalar = 0.25 * Double(round)
      func variables() -> (x: Tensor, y: Tensor, names: [Tensor]) {
        let (x, y) = (Tensor([0.5, scalar]), Tensor([1.0, 2]))
        let unused = Tensor([scalar, 3])
        switch round % 4 {
        case 0: return (x, y, [x, y])
        case 1: return (x, y, [y, x])
        case 2: return (x, y, [x, x, unused, y])
        default: return (x, y, [y])
        }
      }
      let (a, b) = (variables(), variables())
      let found = gradients(of: polynomial(a.x, a.y, scalar), withRespectTo: a.names)
      let wanted = derived(of: polynomial(b.x, b.y, scalar), withRespectTo: b.names)
      #expect(found.map { self.values($0) } == wanted.map { self.values($0) }, "round \(round)")
      // Each has a value of its own.
      if found.count == 4 {
        found[0] += 1
        #expect(values(found[1]) == values(wanted[1]))
      }
      // The graph is still there.
      a.x.nullGradient()
      let again = gradients(of: (a.x * a.y).sum(), withRespectTo: [a.x])[0]
      #expect(values(again) == [1, 2])
    }
  }

  /// With a graph of their own and without: equal windows, other records.
  @Test func gradientsOfGradientsAreCopied() {
    ConcurrencyTests.onNewThread {
      let before = Tape.current.passesCopied
      func loss(_ x: Tensor) -> Tensor { (tanh(x * x + 0.5) * exp(-x) + x * x * x).sum() }
      func second(_ numbers: [Double], remembers: Bool) -> [Double] {
        var limits = Tape.current.state.pointee.limits
        if !remembers { limits.passRecords = .max }
        return Tape.withLimits(limits) {
          let x = Tensor(numbers)
          let slope = gradients(of: loss(x), withRespectTo: [x], createGraph: true)[0]
          return values(gradients(of: (slope * slope).sum(), withRespectTo: [x])[0])
        }
      }
      rounds(12) { round in
        let numbers = [0.125 * Double(round), -0.5, 1]
        if round % 3 == 0 {
          let (x, y) = (Tensor(numbers), Tensor(numbers))
          let found = gradients(of: loss(x), withRespectTo: [x])[0]
          #expect(found.isConstant)
          #expect(values(found) == values(derived(of: loss(y), withRespectTo: [y])[0]))
        }
        let found = second(numbers, remembers: true)
        #expect(found == second(numbers, remembers: false), "round \(round)")
      }
      expectCopies(since: before, more: 2)
    }
  }

  /// Sizes, axes, where views begin, what is captured and how often a result is given: all of it counts.
  @Test func recordsOfBatchesAreCopied() {
    ConcurrencyTests.onNewThread {
      let before = Tape.current.passesCopied
      checkBatches()
      checkConstantBatches()
      expectCopies(since: before, more: 8)
    }
  }

  @Test func collidingKeysOfBatchesAreToldApart() {
    ConcurrencyTests.onNewThread {
      PassCache.shared.withCollidingKeys {
        checkBatches()
        checkConstantBatches()
      }
    }
  }

  /// Where a view of a constant begins is no matter of gradients.
  private func checkConstantBatches() {
    rounds(24) { round in
      let start = round % 3
      let numbers = (0..<20).map { Double($0) / 4 - Double(round) }
      let batch = Tensor(numbers, shape: [4, 5], constant: true)
      func body(_ x: Tensor) -> Tensor {
        let part = x[start..<(start + 3)]
        return tanh(part * part + 0.5) * part - part[1] * 2 + square(part)
      }
      let found = vmap { body($0) }(batch)
      let wanted = (0..<4).flatMap { self.values(body(batch[$0])) }
      #expect(values(found) == wanted, "round \(round)")
    }
  }

  private func checkBatches() {
    rounds(64) { round in
      let (size, start, factor) = (3 + round % 2, round / 2 % 3, Double(round))
      let numbers = (0..<(size * 5)).map { Double($0) / 4 - 1 }
      let captured = Tensor([0.5, factor, -1])
      let bias = round % 8 < 4 ? Tensor([factor], constant: true) : captured[1..<2]
      let batch = Tensor(numbers, shape: [size, 5])
      func body(_ x: Tensor) -> Tensor {
        let part = x[start..<(start + 3)] * captured
        return tanh(part * part + bias).sum() + exp(-part[1]) * factor
      }
      let twice = vmap { (t: [Tensor]) in
        let y = body(t[0])
        return [y, gradients(of: y, withRespectTo: [t[0]])[0], y]
      }([batch])
      let wanted = (0..<size).map { body(batch[$0]) }
      let slopes = derived(of: wanted.reduce(Tensor(0.0)) { $0 + $1 }, withRespectTo: [batch])[0]
      func expectEqual(_ a: [Double], _ b: [Double]) {
        let isClose = a.count == b.count && zip(a, b).allSatisfy { abs($0 - $1) < 1e-12 }
        #expect(isClose, "round \(round): \(a), \(b)")
      }
      expectEqual(values(twice[0]), wanted.map { $0.item() })
      expectEqual(values(twice[1]), values(slopes))
      #expect(values(twice[2]) == values(twice[0]))
      // Through the batch to what is captured.
      let through = gradients(of: twice[0].sum(), withRespectTo: [captured, batch])
      let direct = derived(
        of: wanted.reduce(Tensor(0.0)) { $0 + $1 }, withRespectTo: [captured, batch])
      for (a, b) in zip(through, direct) {
        expectEqual(values(a), values(b))
      }
    }
  }
}
