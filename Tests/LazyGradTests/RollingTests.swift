// Recurrent programs whose loops are planned once for all turns: the bits of values and gradients are those of a
// program that is planned as a whole, in windows of any size, whatever is held, read or changed on the way.

import LazyGrad
import LazyGradJIT
import TestSupport
import Testing

/// Models that go through a sequence step by step.
struct SequenceModel: Sendable {
  enum Kind: CaseIterable, Sendable {
    /// h' = tanh(x w + h u + b), of rows of one tensor or of tensors of their own.
    case rows, tensors
    case gated, twoLayers
    case lossOfEachStep
    /// Other ways to end up with a state: a handle is kept for one, the loop ends early, one step does more.
    case heldStep, earlyExit, oddStep
    /// A table that is written row by row, and a state that is changed in place.
    case writtenRows, inPlace
    case readsOnTheWay
    /// Gradients of a norm of gradients.
    case gradientsTwice
    case withoutGradients
  }

  var kind: Kind
  var turns = 40
  var width = 6

  static func numbers(_ shape: [Int], _ seed: Int) -> NDArray {
    let values = (0..<shape.reduce(1, *)).map { (k: Int) -> Float in
      Float((k * 7 + k / 19 * 5 + seed * 13) % 23 - 11) / 24
    }
    return NDArray(values, shape: shape)
  }

  func parameter(_ shape: [Int], _ seed: Int) -> Tensor { Tensor(Self.numbers(shape, seed)) }

  /// The elements' bits of all that the program has at its end.
  func run() -> [[UInt32]] {
    kind == .withoutGradients ? noAutodiff { results() } : results()
  }

  private func results() -> [[UInt32]] {
    let matrices = (0..<6).map { parameter([width, width], $0) }
    let (w, u, b) = (matrices[0], matrices[1], parameter([width], 9))
    let x = parameter([turns, 2, width], 10)
    let own = (0..<turns).map { parameter([2, width], 11 + $0) }
    func input(_ t: Int) -> Tensor { kind == .tensors ? own[t] : x[t] }
    func step(_ h: Tensor, _ x: Tensor) -> Tensor { tanh(matmul(x, w) + matmul(h, u) + b) }
    let start = Tensor(Self.numbers([2, width], 8), constant: true)
    var (h, held) = (start, [Tensor]())
    var total: Tensor?
    switch kind {
    case .rows, .tensors, .withoutGradients:
      for t in 0..<turns { h = step(h, input(t)) }
    case .gated:
      for t in 0..<turns {
        let gate = sigmoid(matmul(x[t], w) + matmul(h, u))
        let reset = sigmoid(matmul(x[t], matrices[2]) + matmul(h, matrices[3]) + b)
        let candidate = tanh(matmul(x[t], matrices[4]) + matmul(reset * h, matrices[5]))
        h = (1 - gate) * h + gate * candidate
      }
    case .twoLayers:
      var upper = start
      for t in 0..<turns {
        h = step(h, x[t])
        upper = tanh(matmul(h, matrices[2]) + matmul(upper, matrices[3]))
      }
      h = upper * h
    case .lossOfEachStep:
      for t in 0..<turns {
        h = step(h, x[t])
        let loss = square(matmul(h, matrices[2]) - x[turns - 1 - t]).sum()
        total = total.map { $0 + loss } ?? loss
      }
    case .heldStep:
      for t in 0..<turns {
        h = step(h, x[t])
        if t == turns / 3 { held.append(h) }
        if t == turns - 2 { held.append(matmul(h, w)) }
      }
    case .earlyExit:
      for t in 0..<turns {
        h = step(h, x[t])
        if t == turns * 2 / 3 { break }
      }
    case .oddStep:
      for t in 0..<turns {
        h = step(h, x[t])
        if t == turns / 2 { h = h * sigmoid(matmul(h, w)) }
      }
    case .writtenRows:
      let table = Tensor.zeros([turns, 2, width], dtype: .float32)
      for t in 0..<turns {
        h = step(h, x[t])
        table[t] = h
      }
      h = (table * x).sum(axis: 0)
    case .inPlace:
      let state = +start
      for t in 0..<turns {
        state += step(state, x[t]) * 0.5
        state[0] *= 0.75
      }
      h = state
    case .readsOnTheWay:
      for t in 0..<turns {
        h = step(h, x[t])
        if t % 11 == 5 { held.append(Tensor(h.sum().item(), constant: true)) }
      }
    case .gradientsTwice:
      for t in 0..<turns { h = step(h, x[t]) }
      let slopes = gradients(of: square(h).sum(), withRespectTo: [w, u])
      total = square(slopes[0]).sum() + square(slopes[1]).sum()
    }
    let loss = total ?? square(h).sum()
    loss.backward()
    let parameters = matrices + [b, x] + own
    eval([loss, h] + held + parameters.compactMap(\.grad))
    return ([loss, h] + held).map(Self.bits) + parameters.map { $0.grad.map(Self.bits) ?? [] }
  }

  static func bits(_ x: Tensor) -> [UInt32] { x.elements(as: Float.self).map(\.bitPattern) }
}

@Suite struct RollingTests {
  private func bits(_ model: SequenceModel, _ rolling: RollLimits, window: UInt32?) -> [[UInt32]] {
    ConcurrencyTests.onNewThread {
      var limits = TapeLimits.usual
      if let window { limits.windowRecords = window }
      limits.rolling = rolling
      limits.checksPasses = true
      return Tape.withLimits(limits) {
        let first = model.run()
        // When plans and windows are known.
        let again = model.run()
        #expect(first == again, "\(model)")
        #expect(Tape.current.brokenInvariant() == nil)
        return first
      }
    }
  }

  @Test(arguments: SequenceModel.Kind.allCases, [nil, 1024, 61] as [UInt32?])
  func bitsOfValuesAndGradients(_ kind: SequenceModel.Kind, window: UInt32?) {
    for turns in [40, 43] {
      let model = SequenceModel(kind: kind, turns: turns)
      let whole = bits(model, .off, window: window)
      #expect(whole[0].count == 1 && whole[1].count == 12)
      for (name, limits) in [("usual", RollLimits.usual), ("all", .all)] {
        #expect(bits(model, limits, window: window) == whole, "\(name), \(turns) turns")
      }
    }
  }

  /// A window's end shows no more than a loop does.
  @Test(arguments: SequenceModel.Kind.allCases)
  func bitsInSmallWindows(_ kind: SequenceModel.Kind) {
    let model = SequenceModel(kind: kind, turns: 30, width: 5)
    let whole = bits(model, .off, window: nil)
    for window in [61, 1024] as [UInt32] {
      #expect(bits(model, .all, window: window) == whole, "window \(window)")
    }
  }

  /// The kernels of a loop stand once, and cost what is counted.
  @Test(arguments: [SequenceModel.Kind.rows, .tensors])
  func explanations(_ kind: SequenceModel.Kind) {
    let (kernels, told, counted) = ConcurrencyTests.onNewThread {
      Tape.withLimits(.usual) {
        let (w, u) = (
          Tensor(SequenceModel.numbers([5, 5], 1)), Tensor(SequenceModel.numbers([5, 5], 2))
        )
        let x = Tensor(SequenceModel.numbers([200, 3, 5], 3))
        let own = (0..<200).map { Tensor(SequenceModel.numbers([3, 5], $0)) }
        var h = Tensor.zeros([3, 5], dtype: .float32)
        for t in 0..<200 {
          h = tanh(matmul(kind == .rows ? x[t] : own[t], w) + matmul(h, u))
        }
        let loss = square(h).sum()
        loss.backward()
        let tensors = [loss, w.grad!, u.grad!] + (kind == .rows ? [x.grad!] : [])
        let explanation = explain(tensors)
        let before = Tape.current.locked { Tape.current.state.pointee.counters }
        eval(tensors)
        let after = Tape.current.locked { Tape.current.state.pointee.counters }
        return (
          explanation.kernels,
          [
            explanation.bytesRead, explanation.bytesWritten,
            explanation.kernels.reduce(0) { $0 + $1.turns },
          ],
          [
            after.bytesRead - before.bytesRead, after.bytesWritten - before.bytesWritten,
            after.kernelsRun - before.kernelsRun,
          ]
        )
      }
    }
    #expect(told == counted)
    #expect(kernels.contains { $0.turns > 10 }, "\(kernels.map(\.turns))")
    // A loop forth and one back.
    #expect(kernels.count < 400, "\(kernels.count)")
  }
}
