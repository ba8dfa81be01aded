// Compiled functions: the values of the functions themselves, recorded no more often than needed. What a body may
// do besides recording is in CompiledBodyTests.

import Foundation
import LazyGrad
import LazyGradJIT
import Synchronization
import Testing

/// Counts what closures do that may run anywhere.
final class Count: Sendable {
  private let number = Atomic<Int>(0)
  var value: Int { number.load(ordering: .relaxed) }
  @discardableResult
  func next() -> Int { number.add(1, ordering: .relaxed).newValue }
}

extension CompiledFunction.Calls {
  /// Recorded, replayed.
  var pair: [Int] { [recorded, replayed] }
}

@Suite("Compiled functions")
struct CompiledFunctionTests {
  private func elements(_ x: Tensor) -> [Double] { x.elements(as: Double.self) }

  // MARK: Replaying

  @Test("The body is called twice, and its work is done every time")
  func replays() {
    Tape.renew()
    let calls = Count()
    let step = compiled { t in
      calls.next()
      return [tanh(matmul(t[0], t[1]) + 0.5), (t[0] * t[0]).sum()]
    }
    let w = Tensor([[0.5, -1], [2, 0.25]])
    for k in 0..<6 {
      let x = Tensor([[Double(k), 1.5], [-0.5, 2]])
      let before = LazyGradEngine.counters.replays
      let results = step(x, w)
      if k >= 2 { #expect(LazyGradEngine.counters.replays > before) }
      #expect(elements(results[0]) == elements(tanh(matmul(x, w) + 0.5)))
      #expect(results[1].item() == (x * x).sum().item())
    }
    #expect(calls.value == 2)
    #expect(step.calls.pair == [2, 4])
    #expect(step.obstacle == nil)
    #expect(Tape.current.brokenInvariant() == nil)
  }

  /// A tape on which nobody holds anything any more starts again when the next handle goes; not in a body.
  @Test("On a tape that is about to start again the body is called twice as well")
  func onALongTape() {
    ConcurrencyTests.onNewThread {
      let step = compiled { t in
        _ = t[0] * 3
        return [tanh(t[0]) * 2 + 1]
      }
      for k in 0..<6 {
        let y = Tensor([Double(k), 1])
        var many = (0..<300).map { y + Double($0) }
        eval(many)
        many = (0..<300).map { y * Double($0) }
        many = []
        #expect(many.isEmpty)
        #expect(elements(step(y)[0]) == elements(tanh(y) * 2 + 1))
      }
      #expect(step.calls.pair == [2, 4])
      #expect(step.obstacle == nil)
    }
  }

  /// Tapes become one where tensors of both are combined, and what is pending on one may be run.
  @Test("What another thread does with the calling thread's tensors does not disturb a recording")
  func besideOthers() {
    Tape.renew()
    for isJoined in [true, false] {
      let pending = ConcurrencyTests.Sent(value: sqrt(Tensor([4.0, 9])))
      let step = compiled { t in
        let y = t[0] * 2
        let seen = ConcurrencyTests.onNewThread {
          let x = isJoined ? Tensor([3.0, 4]) * 2 + pending.value * 0 : pending.value + 1
          return x.elements(as: Double.self)
        }
        #expect(seen[0] == (isJoined ? 6 : 3))
        return [y + 1]
      }
      for k in 0..<6 {
        #expect(elements(step(Tensor([Double(k), 1]))[0]) == [2 * Double(k) + 1, 3])
      }
      #expect(step.calls.pair == [2, 4])
      #expect(step.obstacle == nil)
    }
    #expect(Tape.current.brokenInvariant() == nil)
  }

  @Test("A replay records nothing, and leaves finished tensors")
  func nothingIsRecorded() {
    Tape.renew()
    let step = compiled { t in [t[0] * 2 + t[1], noAutodiff { t[0] - t[1] }] }
    let (x, y) = (Tensor([1.0, 2], constant: true), Tensor([3.0, 4], constant: true))
    for _ in 0..<2 { _ = step(x, y) }
    let before = Engine.tapeUse
    for _ in 0..<100 {
      let results = step(x, y)
      #expect(results[0].debugDescription.contains("evaluated"))
    }
    let isFlat = Engine.tapeUse == before
    #expect(isFlat)
  }

  @Test("A training step: losses and parameters are those of the plain loop, to the bit")
  func training() {
    let body: @Sendable ([Tensor]) -> [Tensor] = { t in
      let (w, b, x, y) = (t[0], t[1], t[2], t[3])
      let loss = square(tanh(matmul(x, w) + b) - y).mean()
      loss.backward()
      return [loss] + noAutodiff { [w - 0.1 * w.gradient, b - 0.1 * b.gradient] }
    }
    func run(_ step: ([Tensor]) -> [Tensor]) -> [[Double]] {
      var parameters = [
        Tensor([[0.3, -0.2], [0.1, 0.4], [-0.5, 0.2]], dtype: .float32),
        Tensor([0.0, 0.1], dtype: .float32),
      ]
      return (0..<12).map { k in
        let x = Tensor([[Double(k) / 8, 1, -1], [0.5, Double(k % 3), 2]], dtype: .float32)
        let y = Tensor([[0.5, -0.5], [Double(k % 2), 0.25]], dtype: .float32)
        let results = step(parameters + [x, y])
        #expect(results.map(\.isConstant) == [false, false, false])
        parameters = Array(results[1...])
        return results.flatMap { elements($0) }
      }
    }
    let step = compiled(body)
    #expect(run { step($0) } == run { body($0) })
    #expect(step.calls.pair == [2, 10])
  }

  @Test("Results of earlier calls stay what they are")
  func earlierResults() {
    let step = compiled { t in [t[0] * 2, t[0].sum()] }
    let all = (0..<8).map { step(Tensor([Double($0), 1])) }
    for (k, results) in all.enumerated() {
      #expect(elements(results[0]) == [2 * Double(k), 2] && results[1].item() == Double(k) + 1)
    }
  }

  @Test("As many equal recordings as the setting wants, two at least")
  func recordings() {
    for wanted in [0, 2, 3, 5] {
      var limits = CompiledFunction.Limits()
      limits.recordings = wanted
      let step = CompiledFunction(limits: limits) { [$0[0] + 1] }
      for k in 0..<8 { #expect(step(Tensor(Double(k)))[0].item() == Double(k) + 1) }
      #expect(step.calls.recorded == max(2, wanted))
    }
  }

  @Test("Functions of one and of two tensors")
  func convenientForms() {
    let one = compiled { (x: Tensor) in exp(x) * 2 }
    let two = compiled { (x: Tensor, y: Tensor) in matmul(x, y) }
    for k in 1...4 {
      let x = Tensor([[Double(k), 2], [3, 4]])
      #expect(elements(one(x)) == elements(exp(x) * 2))
      #expect(elements(two(x, x)) == elements(matmul(x, x)))
    }
  }

  // MARK: What a recording is for

  @Test("Each shape, type, constness and layout is recorded by itself")
  func keys() {
    let step = compiled { t in [t[0] * 2 + 1] }
    let kinds: [() -> Tensor] = [
      { Tensor([1.0, 2, 3]) }, { Tensor([1.0, 2]) }, { Tensor([[1.0, 2, 3]]) },
      { Tensor([1.0, 2, 3], dtype: .float32) }, { Tensor([1, 2, 3]) },
      { Tensor([1.0, 2, 3], constant: true) }, { Tensor([[1.0, 2], [3, 4]]).T },
      { Tensor([[1.0, 2], [3, 4]]) },
    ]
    for round in 1...4 {
      for kind in kinds {
        let x = kind()
        let y = step(x)[0]
        let expected = kind() * 2 + 1
        #expect(y.shape == expected.shape && y.dtype == expected.dtype)
        #expect(y.isConstant == expected.isConstant && elements(y) == elements(expected))
      }
      #expect(step.calls.recorded == kinds.count * min(round, 2))
    }
  }

  @Test("Of more shapes than are remembered the one that was used last goes last")
  func fewShapes() {
    var limits = CompiledFunction.Limits()
    limits.shapes = 2
    let step = CompiledFunction(limits: limits) { [$0[0].sum()] }
    func call(_ count: Int) { #expect(step(Tensor.ones([count]))[0].item() == Double(count)) }
    for count in [1, 1, 2, 2, 1, 2] { call(count) }
    #expect(step.calls.pair == [4, 2])
    call(1)
    call(3)
    call(1)
    #expect(step.calls.pair == [5, 4])
    for count in [2, 3, 4, 5, 2, 3, 4, 5] { call(count) }
    limits.shapes = 0
    let short = CompiledFunction(limits: limits) { [$0[0] + 1] }
    for _ in 0..<4 { #expect(short(Tensor(1.0))[0].item() == 2) }
    #expect(short.calls.replayed == 2)
  }

  @Test("Inside noAutodiff it is recorded by itself, without the guard it need not be")
  func scopes() {
    let step = compiled { t in
      let y = (t[0] * t[0]).sum()
      y.backward()
      return [y, t[0].grad ?? Tensor.zeros(like: t[0], constant: true)]
    }
    let x = Tensor([1.0, 2])
    for _ in 0..<4 {
      #expect(elements(step(x)[1]) == [2, 4])
      #expect(elements(noAutodiff { step(x)[1] }) == [0, 0])
      #expect(elements(memGuardOff { step(x)[1] }) == [2, 4])
    }
    #expect(step.calls.recorded == 4)
  }

  // MARK: Arguments

  @Test("Views at other places, broadcast and reversed values, the same tensor twice")
  func views() {
    let step = compiled { t in [t[0] * 10 + t[1], t[0].sum(axis: 0), t[1][0]] }
    let table = Tensor((0..<24).map(Double.init), shape: [4, 3, 2])
    for k in 0..<4 {
      for (x, y) in [
        (table[k], table[3 - k]), (table[k], table[k]),
        (table[0..., k % 3], table[0..., (k + 1) % 3]),
        (table[k, .slice(nil, nil, step: -1)], table[k]),
        (table[k, 0].broadcast(to: [3, 2]), table[k]),
      ] {
        let results = step(x, y)
        #expect(elements(results[0]) == elements(x * 10 + y))
        #expect(elements(results[1]) == elements(x.sum(axis: 0)))
        #expect(elements(results[2]) == elements(y[0]))
      }
    }
    #expect(step.calls.replayed >= 8)
    #expect(Tape.current.brokenInvariant() == nil)
  }

  @Test("Every element type, numbers, empty arrays, no arguments, and no results")
  func kinds() {
    let negated = compiled { t in [t[0] + t[0], t[0].reshaped([-1])] }
    for dtype in DType.allCases {
      for shape in [[], [3], [0], [2, 0, 3], [2, 2]] {
        let count = shape.reduce(1, *)
        for k in 0..<4 {
          let x = Tensor((0..<count).map { ($0 + k) % 2 }, shape: shape).cast(to: dtype)
          let results = negated(x)
          #expect(results[0].shape == shape && results[0].dtype == (x + x).dtype)
          #expect(elements(results[0]) == elements(x + x) && results[1].shape == [count])
        }
      }
    }
    let constant = compiled { _ in [Tensor.arange(3.0) * 2, Tensor.zeros([2])] }
    let nothing = compiled { _ in [] }
    for _ in 0..<4 {
      let results = constant()
      #expect(elements(results[0]) == [0, 2, 4] && elements(results[1]) == [0, 0])
      #expect(!results[1].isConstant)
      #expect(nothing(Tensor(1.0)).isEmpty)
    }
    #expect(constant.calls.replayed == 2 && nothing.calls.replayed == 2)
  }

  @Test("What is pending is computed first, what is poisoned stays so")
  func pending() {
    let step = compiled { t in [t[0] * t[1]] }
    for k in 0..<4 {
      let x = Tensor([1.0, 2]) + Double(k)
      let y = exp(x) * x
      #expect(elements(step(x, y)[0]) == elements(x * y))
    }
    #expect(step.calls.replayed == 2)
    let said = message {
      let bad = matmul(Tensor.ones([2, 3]), Tensor.ones([2, 3]))
      #expect(step(bad, Tensor(1.0))[0].isPoisoned)
    }
    #expect(said.contains("matmul"))
    #expect(elements(step(Tensor([1.0, 2]), Tensor([1.0, 2]))[0]) == [1, 4])
  }

  @Test("Results have memory of their own, also where they are arguments, views or one another")
  func ownMemory() {
    let step = compiled { t in
      let y = t[0] * 2
      return [t[0], t[0].T, y, y, y.T, y[0], t[1]]
    }
    for k in 0..<4 {
      let x = Tensor([[1.0, 2], [3, Double(k)]])
      let n = Tensor([7, 8])
      let results = step(x, n)
      let expected = [x, x.T, x * 2, x * 2, (x * 2).T, (x * 2)[0], n].map { elements($0) }
      #expect(results.map { elements($0) } == expected)
      for i in results.indices {
        let others = results.indices.filter { $0 != i }
        noAutodiff { results[i] += 100 }
        for j in others where j > i { #expect(elements(results[j]) == expected[j]) }
      }
      #expect(elements(x) == [1, 2, 3, Double(k)] && elements(n) == [7, 8])
    }
  }

  // MARK: Gradients

  @Test("Gradients of a pass in the body are those of its own tensors; old ones end")
  func gradientsInside() {
    let step = compiled { t in
      let loss = (t[0] * t[0]).sum()
      loss.backward()
      return [loss, t[0].gradient]
    }
    let x = Tensor([1.0, 2])
    for _ in 0..<4 {
      (x * 3).sum().backward()
      #expect(elements(x.gradient) == [3, 3])
      let results = step(x)
      #expect(elements(results[1]) == [2, 4] && results[1].isConstant)
      #expect(x.grad == nil)
      #expect(message { _ = x.gradient }.contains("an operation has used the tensor"))
      // Its graph was cleared in the body.
      let said = message { _ = LazyGrad.gradient(of: results[0], withRespectTo: x) }
      #expect(said.contains("cleared by an earlier backward pass"))
    }
    let other = Tensor([1.0, 2])
    _ = step(other)
    #expect(message { _ = other.gradient }.contains("it was inside a compiled function"))
  }

  @Test("A pass through a function is an error, not a gradient that lacks a part")
  func gradientsThrough() {
    let step = compiled { t in [(t[0] * t[0]).sum(), noAutodiff { t[0] * 3 }, t[0]] }
    let (x, w) = (Tensor([1.0, 2]), Tensor([5.0, 6]))
    for _ in 0..<4 {
      let results = step(x)
      #expect(results.map(\.isConstant) == [false, false, false])
      let targets = [
        results[0], results[0] * 2 + w.sum(), (results[2] * w).sum(), results[2][0] + w[0],
      ]
      for target in targets {
        #expect(message { target.backward() }.contains("don't go through a compiled function"))
        #expect(
          message { _ = gradients(of: target, withRespectTo: [w, x]) }.contains(
            "take them inside the function"))
      }
      #expect(w.grad == nil)
      // What was made without backward information is a variable of its own.
      let own = results[1]
      (own * w).sum().backward()
      #expect(elements(own.gradient) == [5, 6] && elements(w.gradient) == [3, 6])
      w.nullGradient()
      // So is a result with respect to which is differentiated, and a copy.
      #expect(elements(gradient(of: (results[2] * w).sum(), withRespectTo: results[2])) == [5, 6])
      let copy = results[2].detached()
      (copy * copy).sum().backward()
      #expect(elements(copy.gradient) == [2, 4])
      // A new value that is made of it has no way back either.
      results[2][0] = w[0]
      #expect(message { results[2].sum().backward() }.contains("a compiled function"))
      #expect(Tape.current.brokenInvariant() == nil)
    }
    // No gradient would have flowed from these.
    let constants = step(Tensor([1.0, 2], constant: true))
    (constants[0] * w).sum().backward()
    #expect(elements(w.gradient) == [5, 5])
    let untracked = noAutodiff { step(x) }
    (untracked[0] * w).sum().backward()
    #expect(untracked[0].gradient.item() == 11)
  }

  @Test("Parameters that were made with backward information don't pile up")
  func trackedParameters() {
    Tape.renew()
    let step = compiled { t in
      let loss = (t[0] * t[0]).sum()
      loss.backward()
      return [loss, t[0] - 0.25 * t[0].gradient]
    }
    var w = Tensor([8.0, -4])
    for _ in 0..<3000 { w = step(w)[1] * 1 }
    for _ in 0..<3000 { w = step(w + 1)[1] }
    #expect(elements(w) == [1, 1])
    #expect(tapeUse().live < 20_000)
    #expect(Tape.current.brokenInvariant() == nil)
  }
}
