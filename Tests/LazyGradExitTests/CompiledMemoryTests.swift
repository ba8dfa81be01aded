// Compiled functions where memory is short, and where plans are made anew: in processes of their own.

import Foundation
import LazyGrad
import LazyGradJIT
import Testing

#if os(Linux) || os(macOS)
  @Suite("Compiled functions by themselves")
  struct CompiledMemoryTests {
    @Test("Where there is no memory a call throws, and the next one is right")
    func memoryLimit() async {
      await #expect(processExitsWith: .success) {
        let count = 1 << 20
        let step = compiled { t in [exp(t[0]), t[0].sum()] }
        let x = Tensor.ones([count]).eval()
        func fails() -> Bool {
          do {
            try catchingTensorErrors {
              precondition(step(x).allSatisfy(\.isPoisoned))
            }
            return false
          } catch { return (error as? TensorError)?.cause == .outOfMemory }
        }
        for call in 0..<5 {
          // When it is recorded and when it is replayed.
          LazyGradEngine.trimMemory()
          let limit = LazyGradEngine.memoryLimit
          LazyGradEngine.setMemoryLimit(LazyGradEngine.bytesInUse + 4 * count)
          precondition(fails(), "call \(call)")
          LazyGradEngine.setMemoryLimit(limit)
          let before = LazyGradEngine.bytesInUse
          for _ in 0..<3 { precondition(step(x)[1].item() == Double(count)) }
          precondition(LazyGradEngine.bytesInUse - before < count)
        }
        precondition(step.calls.replayed >= 15)
        precondition(Tape.current.brokenInvariant() == nil)
        // A pending argument.
        let limit = LazyGradEngine.memoryLimit
        LazyGradEngine.trimMemory()
        let y = x * 2
        LazyGradEngine.setMemoryLimit(LazyGradEngine.bytesInUse + count)
        do {
          try catchingTensorErrors { _ = step(y)[0].elements(as: Double.self) }
          preconditionFailure("no error")
        } catch { precondition((error as? TensorError)?.cause == .outOfMemory) }
        LazyGradEngine.setMemoryLimit(limit)
        precondition(step(y)[1].item() == 2 * Double(count))
      }
    }

    @Test("Plans that were made for another instruction set are not run")
    func instructionSets() async {
      await #expect(processExitsWith: .success) {
        let body: @Sendable ([Tensor]) -> [Tensor] = { t in
          [exp(t[0]) * t[0], matmul(t[0], t[0]), t[0].sum()]
        }
        let step = compiled(body)
        let x = Tensor((0..<1024).map { Float($0 % 37) / 41 }, shape: [32, 32])
        for name in LazyGradEngine.availableInstructionSets + ["portable", "auto"] {
          LazyGradEngine.selectInstructionSet(name)
          let before = step.calls.recorded
          for _ in 0..<4 {
            let expected = body([x]).map { $0.elements(as: Float.self) }
            precondition(step(x).map { $0.elements(as: Float.self) } == expected)
          }
          let plans = step.explain(x)
          precondition(plans.instructionSet == LazyGradEngine.instructionSet)
          precondition(plans.kernels.allSatisfy { name != "portable" || $0.code == .portable })
          precondition(step.calls.recorded <= before + 2)
        }
        let before = step.calls.recorded
        LazyGradEngine.clearPlanCache()
        for _ in 0..<3 { _ = step(x) }
        precondition(step.calls.recorded == before + 2)
      }
    }

    @Test("Layouts that only a compiled function names stay what they are")
    func layouts() async {
      await #expect(processExitsWith: .success) {
        let before = LayoutTable.limit
        LayoutTable.limit = 1
        defer { LayoutTable.limit = before }
        let step = compiled { t in
          [
            t[0].T * 2, t[0][1..., .slice(nil, nil, step: 2)].sum(axis: 0),
            concatenate([t[0], t[0]]),
          ]
        }
        func check(_ k: Int) {
          let x = Tensor((0..<35).map { Double($0 + k) }, shape: [5, 7])
          let results = step(x)
          precondition(results[0].elements(as: Double.self) == (x.T * 2).elements(as: Double.self))
          precondition(results[1].shape == [4])
          precondition(
            results[1].elements(as: Double.self)
              == x[1..., .slice(nil, nil, step: 2)].sum(axis: 0).elements(as: Double.self))
          precondition(results[2].shape == [10, 7])
        }
        for k in 0..<4 { check(k) }
        for k in 1...300 {
          // Others come and go meanwhile, by whatever identities are free.
          _ = (Tensor.ones([k, 3]).T * 2).sum(axis: 1).eval()
          if k % 50 == 0 { check(k) }
        }
        precondition(step.calls.recorded == 2)
      }
    }

    @Test("For LAZYGRAD_DEBUG each replay is a line")
    func debugLines() async {
      let result = await #expect(
        processExitsWith: .success, observing: [\.standardErrorContent]
      ) {
        setenv("LAZYGRAD_DEBUG", "1", 1)
        let step = compiled { t in [t[0] * 2] }
        for _ in 0..<3 { _ = step(Tensor([1.0, 2])) }
      }
      let text = String(decoding: result?.standardErrorContent ?? [], as: UTF8.self)
      #expect(text.components(separatedBy: "compiled: recorded, 1 kernel, ").count == 3, "\(text)")
      #expect(text.components(separatedBy: "compiled: replayed, 1 kernel, ").count == 2, "\(text)")
    }
  }
#endif
