// Backward passes over windows that were forced before, because the program has read the loss or
// something else of the graph: they are copied too, and nothing of the tape differs afterwards.

import LazyGrad
import LazyGradJIT
import TestSupport
import Testing

extension RecordedPassTests {
  /// Everything that the calling thread's tape records, but where memory and handles are.
  private struct TapeState {
    var records: [[UInt64]] = []
    var live = 0
    var held = 0

    init() {
      let tape = Tape.current
      (live, held) = tapeUse()
      tape.locked {
        for id in 0..<tape.count {
          let node = tape[id]
          let words = UnsafeRawPointer(tape.nodes + Int(id)).assumingMemoryBound(to: UInt64.self)
          records.append([
            words[0], words[1], words[2], words[3],
            node.storage == nil ? 0 : 1,
            // A dead record's handle is somebody else's by now.
            node.slot == nil || node.state.contains(.dead) ? 0 : 1,
            words[6], words[7] & 0xFFFF_FFFF,
          ])
        }
      }
    }

    /// The first thing in which another state differs.
    func difference(from other: TapeState) -> String? {
      if live != other.live || held != other.held || records.count != other.records.count {
        return "\((records.count, live, held)) != "
          + "\((other.records.count, other.live, other.held))"
      }
      return records.indices.first { records[$0] != other.records[$0] }
        .map { "record \($0): \(records[$0]) != \(other.records[$0])" }
    }
  }

  /// Begins the calling thread's arena again; nothing holds a node.
  private func emptyTape() {
    noAutodiff {
      let result = Tensor([1.0]) * 2
      result.eval()
    }
    #expect(Engine.tapeUse.records == 0)
  }

  @Test func aPassAfterAReadIsACopy() {
    ConcurrencyTests.onNewThread {
      let before = Tape.current.passesCopied
      rounds(8) { round in
        let (a, b, c) = (Double(round) + 0.5, Double(round) - 3, 0.25 * Double(round))
        let (x, y) = (Tensor([a, b]), Tensor([a + 1, a + 2]))
        let loss = polynomial(x, y, c)
        let value = loss.item()
        loss.backward()
        let wanted = expected([a, b], [a + 1, a + 2], c)
        #expect(values(x.grad) == wanted[0])
        #expect(values(y.grad) == wanted[1])
        #expect(loss.item() == value)
      }
      expectCopies(since: before)
    }
  }

  /// The numbers of an evaluated window are repeated in that of the pass, as they are now.
  @Test func numbersOfAWindowThatWasReadAreRepeated() {
    ConcurrencyTests.onNewThread {
      rounds(8) { round in
        let x = Tensor([1.0, 2])
        let factor = Double(round) + 2
        let loss = ((x * factor + 1) * (x * (factor + 1)) * 0.5 + x / factor).sum()
        _ = loss.item()
        loss.backward()
        let again = Tensor([1.0, 2])
        let same = ((again * factor + 1) * (again * (factor + 1)) * 0.5 + again / factor).sum()
        #expect(values(x.grad) == values(derived(of: same, withRespectTo: [again])[0]))
      }
    }
  }

  /// Several values are read, one of them of the middle of the graph, and the head is newer than all.
  @Test func severalReadsBeforeThePass() {
    ConcurrencyTests.onNewThread {
      let before = Tape.current.passesCopied
      rounds(8) { round in
        let values = [0.5 * Double(round) - 1, 2.0]
        func loss(_ x: Tensor, reads: Bool) -> Tensor {
          let a = tanh(x * x + 1) * x
          if reads { _ = a.elements(as: Double.self) }
          let b = exp(-a) * a + x * 3
          let c = (b * b).sum()
          if reads {
            _ = c.item()
            _ = (b.max() - b.min()).item()
          }
          return c * 2 + (x * x).sum() * 0.125
        }
        let x = Tensor(values)
        loss(x, reads: true).backward()
        let same = Tensor(values)
        let wanted = derived(of: loss(same, reads: false), withRespectTo: [same])
        #expect(self.values(x.grad) == self.values(wanted[0]))
      }
      expectCopies(since: before)
    }
  }

  /// What the program holds of an evaluated window gets a gradient; who holds what changes.
  @Test func heldTensorsOfAWindowThatWasReadGetTheirGradients() {
    ConcurrencyTests.onNewThread {
      rounds(16) { round in
        let x = Tensor([1.0, 2, 3])
        var kept: Tensor?
        func loss() -> Tensor {
          let a = x * x
          let b = a * 3 + x
          if round % 4 < 2 { kept = round % 2 == 0 ? a : b }
          return (b * a * 2 + b - 1 + a).sum()
        }
        let head = loss()
        _ = head.item()
        if round % 4 == 3 { kept = nil }
        head.backward()
        // loss = sum 2ab + b + a, b = 3a + x
        let v: [Double] = [1, 2, 3]
        if let kept {
          #expect(
            values(kept.grad)
              == v.map { round % 2 == 0 ? 12 * $0 * $0 + 2 * $0 + 4 : 2 * $0 * $0 + 1 })
        }
        #expect(
          values(x.grad) == v.map { (12 * $0 * $0 + 2 * $0 + 4) * 2 * $0 + 2 * $0 * $0 + 1 })
      }
    }
  }

  /// One key for windows that were read and for those that weren't, of which something is held or
  /// nothing, and that read one row or another.
  @Test func collidingKeysOfReadWindowsAreToldApart() {
    ConcurrencyTests.onNewThread {
      PassCache.shared.withCollidingKeys {
        for _ in 0..<4 {
          for variant in 0..<6 {
            let x = Tensor([1.0, 2, 4])
            let row = variant == 4 ? 1 : 0
            let k: Double = variant == 5 ? 3 : 2
            func loss() -> (Tensor, Tensor) {
              let y = x[row..<(row + 2)]
              let a = y * y * k
              return ((a * a + a).sum() * 2, a)
            }
            var (head, held): (Tensor, Tensor?) = loss()
            if variant != 1 { held = nil }
            if variant == 2 { eval(head, held ?? x) } else if variant != 3 { _ = head.item() }
            head.backward()
            var wanted: [Double] = [0, 0, 0]
            for i in row..<(row + 2) {
              let v: Double = [1, 2, 4][i]
              wanted[i] = 2 * (2 * k * v * v + 1) * 2 * k * v
            }
            #expect(values(x.grad) == wanted, "variant \(variant)")
            #expect(variant == 1 || held == nil)
          }
        }
      }
    }
  }

  /// Parameters that change in place between the passes: step by step the same bits as without the
  /// cache.
  @Test func parametersAreUpdatedBetweenThePasses() {
    ConcurrencyTests.onNewThread {
      LazyGradEngine.clearPlanCache()
      func train(forgetting: Bool) -> [[Double]] {
        var random = SeededRandom(seed: 7)
        let w = Tensor(NDArray((0..<12).map { _ in random.uniform(-1...1) }, shape: [4, 3]))
        let b = Tensor(NDArray.zeros([3]))
        var history: [[Double]] = []
        for step in 0..<12 {
          if forgetting { PassCache.shared.removeAll() }
          let data = (0..<8).map { _ in random.uniform(-1...1) }
          let x = Tensor(NDArray(data, shape: [2, 4]), constant: true)
          let loss = softmaxCrossEntropy(tanh(matmul(x, w) + b) * 2.5, NDArray([step % 3, 1]))
          history.append([loss.item()])
          loss.backward()
          noAutodiff {
            w -= 0.5 * w.grad!
            b -= 0.5 * b.grad!
          }
          history.append(values(w) + values(b))
        }
        return history
      }
      let wanted = train(forgetting: true)
      let before = Tape.current.passesCopied
      #expect(train(forgetting: false) == wanted)
      expectCopies(since: before)
    }
  }

  /// Arrays are locked until the pass and free after it, whoever recorded that.
  @Test func arraysAreFreeAfterTheCopy() {
    ConcurrencyTests.onNewThread {
      rounds(6) { _ in
        let host = NDArray.arange(4.0)
        let x = Tensor(host, copy: false)
        let a = x * x + x * 2 + 1
        let b = (a * a * a + a).sum()
        let other = (a * 5).sum()
        _ = b.item()
        #expect(host.lockHolders == ["multiply", "multiply"])
        b.backward()
        #expect(host.isWriteable)
        #expect(values(x.grad) == [8, 196, 1464, 6152])
        #expect(throws: TensorError.self) { try catchingTensorErrors { other.backward() } }
      }
      let use = tapeUse()
      #expect(use.held == 0)
    }
  }

  /// A graph that is kept, or that runs the program's code, is differentiated by a walk.
  @Test func retainedGraphsAndCustomRulesAreWalked() {
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
        let loss = (doubled * doubled * x + x * x - x).sum()
        _ = loss.item()
        loss.backward()
        #expect(values(x.grad) == [13, 51])
        let y = Tensor([1.0, 2])
        let head = (y * y * y * y + y * y * 2 + y).sum()
        _ = head.item()
        head.backward(retainGraph: true)
        head.backward(accumulate: true)
        #expect(values(y.grad) == [18, 82])
      }
      #expect(calls == 5)
    }
  }

  /// Random programs that read something on the way: the tape is the same record by record after a walk
  /// and after a copy, and so are the gradients.
  @Test func aCopyLeavesTheTapeAsAWalkDoes() {
    ConcurrencyTests.onNewThread {
      LazyGradEngine.clearPlanCache()
      let before = Tape.current.passesCopied
      for seed in UInt64(1)...400 {
        var random = SeededRandom(seed: seed)
        let numbers = (0..<27).map { _ in random.uniform(-1...1) }
        let (readsHeld, readsHead, recordsMore) =
          (random.chance(0.4), random.chance(0.7), random.chance(0.3))
        var first: (TapeState, TapeState, [[Double]])?
        for round in 0..<4 {
          emptyTape()
          let inputs = (0..<3).map {
            Tensor(NDArray([Double](numbers[(9 * $0)..<(9 * $0 + 9)]), shape: [3, 3]))
          }
          let (head, held) = randomProgram(seed, inputs)
          if readsHeld, let middle = held.first { middle.eval() }
          let later = recordsMore ? head * 2 : head
          if readsHead { head.eval() }
          later.backward()
          let state = TapeState()
          let found = (inputs + held).map { values($0.grad) }
          let end = TapeState()
          guard let first else {
            first = (state, end, found)
            continue
          }
          #expect(state.difference(from: first.0) == nil, "seed \(seed), round \(round)")
          #expect(end.difference(from: first.1) == nil, "seed \(seed), round \(round)")
          #expect(found == first.2, "seed \(seed), round \(round)")
        }
      }
      expectCopies(since: before, more: 100)
    }
  }

  /// One program in changing circumstances, so that its windows have the same words but not the same
  /// pass: what is held, what has been read, and what the inputs were computed from.
  @Test(arguments: [8, 11, 25, 61, 150, 1024, TapeLimits.usual.windowRecords])
  func aCopyIsOfTheSameCircumstances(window: UInt32) {
    ConcurrencyTests.onNewThread {
      let isUsual = window == TapeLimits.usual.windowRecords
      Tape.withLimits(isUsual ? .usual : TapeLimits(windowRecords: window)) { self.compareCopies() }
    }
  }

  private func compareCopies() {
    LazyGradEngine.clearPlanCache()
    let before = Tape.current.passesCopied
    for seed in UInt64(1)...200 {
      var random = SeededRandom(seed: seed)
      let numbers = (0..<27).map { _ in random.uniform(-1...1) }
      func inputs() -> [Tensor] {
        (0..<3).map {
          Tensor(NDArray([Double](numbers[(9 * $0)..<(9 * $0 + 9)]), shape: [3, 3]))
        }
      }
      for round in 0..<16 {
        emptyTape()
        // Among few of them, so that most come back.
        var choices = SeededRandom(seed: seed << 8 | UInt64(random.int(0...4)))
        let (isComputed, isRead) = (choices.chance(0.4), choices.chance(0.7))
        let (readsHead, holds) = (choices.chance(0.7), choices.chance(0.6))
        func program(_ leaves: [Tensor], reads: Bool) -> (Tensor, [Tensor]) {
          let start = isComputed ? leaves.map { $0 * 1.5 } : leaves
          if isRead, reads { eval(start) }
          let (head, held) = randomProgram(seed, start)
          if readsHead, reads { head.eval() }
          return (head, holds ? held : [])
        }
        let leaves = inputs()
        let (head, held) = program(leaves, reads: true)
        head.backward()
        let found = (leaves + held).map { values($0.grad) }
        let others = inputs()
        let (sameHead, sameHeld) = program(others, reads: false)
        let wanted = derived(of: sameHead, withRespectTo: others + sameHeld)
        for (k, (found, wanted)) in zip(found, wanted).enumerated() {
          let wanted = values(wanted)
          #expect(
            found == wanted || (found.isEmpty && wanted.allSatisfy { $0 == 0 }),
            "seed \(seed), round \(round), tensor \(k)")
        }
      }
    }
    expectCopies(since: before, more: 100)
  }
}
