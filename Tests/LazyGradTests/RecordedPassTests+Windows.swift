// Windows that a pass has been copied to. Their records are not compared again when the window is run, so what
// happens between the pass and that must be told apart in other ways.

import LazyGrad
import LazyGradJIT
import TestSupport
import Testing

extension RecordedPassTests {
  /// The windows that have been known by the passes copied to them, unless windows are so small that none are.
  private func expectKnown(since before: Int) {
    let limits = Tape.current.state.pointee.limits
    if limits.windowRecords < TapeLimits.usual.windowRecords { return }
    #expect(copiedWindowHits > before)
  }

  private var copiedWindowHits: Int {
    Tape.current.locked { Tape.current.state.pointee.counters.copiedWindowHits }
  }

  /// What is held when the window is run is in memory afterwards, whether or not the last windows, to which the
  /// same pass was copied, had it.
  @Test func whatIsHeldAfterACopiedPassIsKept() {
    ConcurrencyTests.onNewThread {
      let before = copiedWindowHits
      rounds(40) { round in
        let x = Tensor([1.0, 2, 3])
        var kept: Tensor?
        func loss() -> Tensor {
          let a = x * x
          let b = a * 3 + x
          kept = a
          return (b * a * 2 + b - 1 + a).sum()
        }
        loss().backward()
        if round % 10 < 5 { kept = nil }
        // loss = sum 6x^4 + 2x^3 + 4x^2 + x - 1
        #expect(values(x.grad) == [39, 233, 727])
        if let kept { #expect(values(kept) == [1, 4, 9]) }
      }
      expectKnown(since: before)
    }
  }

  /// What a pass may still come by keeps what its rules read, whether or not the graph was cleared there in the
  /// last windows to which the same pass was copied.
  @Test(arguments: [DType.float16, .float32, .float64])
  func aGraphThatIsClearedAfterACopiedPassIsAnother(dtype: DType) {
    ConcurrencyTests.onNewThread {
      func gradient(clears: Bool) -> [Double]? {
        let z = Tensor([1.0, 2, 3])
        let x = Tensor(
          NDArray([0.5, 1, -1, 2, 0, 0.25], shape: [2, 3], dtype: dtype), constant: false)
        let y = softmax(x) * softmax(x)
        (z * z * z + z * 2 - 1).sum().backward()
        if clears { y.clearGraph() }
        y.eval()
        #expect(values(z.grad) == [5, 14, 29])
        if clears { return nil }
        y.sum().backward()
        return values(x.grad)
      }
      var limits = Tape.current.state.pointee.limits
      limits.passRecords = .max
      let wanted = Tape.withLimits(limits) { gradient(clears: false) }
      let before = copiedWindowHits
      rounds(40) { round in
        let clears = round % 10 < 5
        #expect(gradient(clears: clears) == (clears ? nil : wanted))
      }
      expectKnown(since: before)
    }
  }
}
