// Every documented end of the program, in a process of its own: that it ends, and what it says.

import Foundation
import LazyGrad
import Testing

#if os(Linux) || os(macOS)
  /// Whether what a process wrote on standard error contains a text.
  private func says(_ result: ExitTest.Result?, _ text: String) -> Bool {
    String(decoding: result?.standardErrorContent ?? [], as: UTF8.self).contains(text)
  }

  @Suite("Ends of the program")
  struct ExitTests {
    @Test("matmul")
    func product() async {
      let result = await #expect(
        processExitsWith: .failure, observing: [\.standardErrorContent]
      ) {
        _ = matmul(Tensor.zeros([3, 4]), Tensor.zeros([5, 2]))
      }
      #expect(
        says(result, "LazyGrad: matmul: inner dimensions differ: [3, 4] x [5, 2] (4 and 5)"))
    }

    @Test("Operands that do not broadcast")
    func broadcasting() async {
      let result = await #expect(
        processExitsWith: .failure, observing: [\.standardErrorContent]
      ) {
        _ = Tensor.zeros([2, 3]) + Tensor.zeros([2])
      }
      #expect(says(result, "add: expected shapes that broadcast together, got [2, 3] and [2]"))
    }

    @Test("item")
    func item() async {
      let result = await #expect(
        processExitsWith: .failure, observing: [\.standardErrorContent]
      ) {
        _ = Tensor.zeros([2, 3]).item()
      }
      #expect(says(result, "item: expected exactly one element, got shape [2, 3]"))
    }

    @Test("An index out of range")
    func index() async {
      let result = await #expect(
        processExitsWith: .failure, observing: [\.standardErrorContent]
      ) {
        _ = Tensor.zeros([2, 3])[2]
      }
      #expect(says(result, "LazyGrad: subscript: "))
    }

    @Test("An index of an array out of range")
    func arrayIndex() async {
      let result = await #expect(
        processExitsWith: .failure, observing: [\.standardErrorContent]
      ) {
        _ = NDArray.zeros([2, 3])[0, -4]
      }
      #expect(says(result, "LazyGrad: subscript: ") && says(result, "-4"))
    }

    @Test("A setter on a locked array")
    func locked() async {
      let result = await #expect(
        processExitsWith: .failure, observing: [\.standardErrorContent]
      ) {
        let x = NDArray([1.0, 2])
        let y = x * Tensor([3.0, 4])
        x[0] = NDArray(5.0)
        _ = y
      }
      #expect(says(result, "subscript: the array is locked"))
      #expect(says(result, "held by multiply"))
    }

    @Test("A setter on a read-only array")
    func readOnly() async {
      let result = await #expect(
        processExitsWith: .failure, observing: [\.standardErrorContent]
      ) {
        let x = NDArray([1.0, 2])
        try! x.setWriteable(false)
        x[0] = NDArray(5.0)
      }
      #expect(says(result, "subscript: the array is read-only"))
    }

    @Test("reshaped")
    func reshaped() async {
      let result = await #expect(
        processExitsWith: .failure, observing: [\.standardErrorContent]
      ) {
        _ = Tensor.zeros([2, 3]).reshaped([4, -1])
      }
      #expect(says(result, "reshaped: 6 elements of shape [2, 3] don't fit [4, -1]"))
    }

    @Test("An axis")
    func axis() async {
      let result = await #expect(
        processExitsWith: .failure, observing: [\.standardErrorContent]
      ) {
        _ = Tensor.zeros([2, 3]).sum(axis: 2)
      }
      #expect(says(result, "sum: axis 2 is out of range for shape [2, 3]"))
    }

    @Test("A seed of a wrong shape")
    func seed() async {
      let result = await #expect(
        processExitsWith: .failure, observing: [\.standardErrorContent]
      ) {
        Tensor.ones([2, 3]).backward(Tensor([1.0, 2]))
      }
      #expect(
        says(result, "backward: expected a seed that broadcasts to shape [2, 3], got shape [2]"))
    }

    @Test("A second pass through a cleared graph")
    func cleared() async {
      let result = await #expect(
        processExitsWith: .failure, observing: [\.standardErrorContent]
      ) {
        let x = Tensor([1.0, 2])
        let shared = x * x
        let (a, b) = (shared * 2, shared * 3)
        a.backward()
        b.backward()
      }
      #expect(says(result, "backward: part of the graph below 'multiply' was cleared"))
    }

    @Test("Labels")
    func labels() async {
      let result = await #expect(
        processExitsWith: .failure, observing: [\.standardErrorContent]
      ) {
        _ = softmaxCrossEntropy(Tensor.zeros([2, 3]), NDArray([0, 3]))
      }
      #expect(says(result, "softmaxCrossEntropy: label 3 is out of range for 3 classes"))
    }

    @Test("Ragged nested arrays")
    func ragged() async {
      let result = await #expect(
        processExitsWith: .failure, observing: [\.standardErrorContent]
      ) {
        _ = Tensor([[1.0, 2], [3]])
      }
      #expect(says(result, "ragged nested array: expected length 2 along axis 1, got 1"))
    }

    @Test("Integers as variables")
    func variables() async {
      let result = await #expect(
        processExitsWith: .failure, observing: [\.standardErrorContent]
      ) {
        _ = Tensor([1, 2], constant: false)
      }
      #expect(says(result, "Tensor: integer and bool tensors are constants, got constant: false"))
    }

    @Test("Sizes")
    func sizes() async {
      let negative = await #expect(
        processExitsWith: .failure, observing: [\.standardErrorContent]
      ) {
        _ = Tensor.zeros([2, -1])
      }
      #expect(says(negative, "zeros: expected lengths of at least 0, got shape [2, -1]"))
      let huge = await #expect(
        processExitsWith: .failure, observing: [\.standardErrorContent]
      ) {
        _ = NDArray.zeros([.max, 2])
      }
      #expect(says(huge, "more elements than memory can hold"))
    }

    @Test("An update of the wrong type or shape")
    func updates() async {
      let type = await #expect(
        processExitsWith: .failure, observing: [\.standardErrorContent]
      ) {
        let x = Tensor([1, 2])
        x += 0.5
      }
      #expect(says(type, "+=: elements of type float64 can't be put into int64"))
      let shape = await #expect(
        processExitsWith: .failure, observing: [\.standardErrorContent]
      ) {
        let x = Tensor([1.0, 2])
        x[0..<1] = Tensor([1.0, 2])
      }
      #expect(says(shape, "subscript: shape [2] does not fit into shape [1]"))
    }

    @Test("Elements of another type")
    func elements() async {
      let result = await #expect(
        processExitsWith: .failure, observing: [\.standardErrorContent]
      ) {
        try! NDArray([1.0]).withMutableElements(as: Float.self) { _ in }
      }
      #expect(says(result, "withMutableElements: expected elements of type float64, got Float"))
    }

    @Test("A poisoned tensor that is read outside of the scope")
    func poisoned() async {
      let result = await #expect(
        processExitsWith: .failure, observing: [\.standardErrorContent]
      ) {
        var bad: Tensor?
        try? catchingTensorErrors { bad = Tensor([1.0])[3] }
        _ = bad!.item()
      }
      #expect(says(result, "LazyGrad: subscript: "))
    }

    @Test("A gradient that there is not")
    func gradient() async {
      let none = await #expect(
        processExitsWith: .failure, observing: [\.standardErrorContent]
      ) { _ = Tensor([1.0]).gradient }
      #expect(says(none, "LazyGrad: gradient: no backward pass has been run yet"))
      let used = await #expect(
        processExitsWith: .failure, observing: [\.standardErrorContent]
      ) {
        let w = Tensor([1.0])
        (w * w).backward()
        _ = w * 2
        _ = w.gradient
      }
      #expect(says(used, "LazyGrad: gradient: an operation has used the tensor since"))
    }

    @Test("No memory, where nobody catches that")
    func noMemory() async {
      let result = await #expect(
        processExitsWith: .failure, observing: [\.standardErrorContent]
      ) {
        LazyGradEngine.setMemoryLimit(1 << 20)
        _ = (Tensor.ones([1 << 20], dtype: .float32) + 1).array
      }
      #expect(says(result, "LazyGrad: array: no memory for 4194304 bytes (limit 1048576)"))
    }

    // MARK: The process-wide switches, which other tests must not see

    @Test("Lack of memory is thrown, changes nothing, and ends with more memory")
    func memoryLimit() async {
      await #expect(processExitsWith: .success) {
        func lacks(_ body: () throws -> Void) -> Bool {
          do {
            try catchingTensorErrors(body)
            return false
          } catch { return (error as? TensorError)?.cause == .outOfMemory }
        }
        let x = Tensor([1.0, 2, 3])
        let wide = x.reshaped([3, 1]) * Tensor.ones([1, 1 << 18], dtype: .float64)
        let kept = x * 2
        let total = wide.sum()
        let before = LazyGradEngine.bytesInUse
        LazyGradEngine.setMemoryLimit(before + 1 << 20)
        precondition(lacks { _ = wide.array })
        precondition(lacks { _ = wide.elements(as: Double.self) })
        precondition(lacks { precondition(total.item().isNaN) })
        precondition(lacks { eval(wide, kept) })
        precondition(lacks { wide.eval() })
        precondition(lacks { _ = "\(wide)" })
        precondition(lacks { _ = wide.detached() })
        precondition(LazyGradEngine.bytesInUse <= before + 1 << 16)
        precondition(kept.elements(as: Double.self) == [2, 4, 6])
        let source = NDArray.ones([100_000])
        precondition(lacks { _ = Tensor(source) } && !lacks { _ = Tensor(source, copy: false) })
        // A host write that would have to compute what is pending first.
        memGuardOff {
          let host = NDArray([1.0, 2, 3])
          let high = Tensor(host, copy: false).reshaped([3, 1]) * Tensor.ones([1, 1 << 18])
          do {
            try host.fill(0.0)
            preconditionFailure("written")
          } catch { precondition((error as? TensorError)?.cause == .outOfMemory) }
          precondition(host.elements(as: Double.self) == [1, 2, 3])
          LazyGradEngine.setMemoryLimit(1 << 40)
          try! host.fill(0.0)
          precondition(high[2, 7].item() == 3)
          LazyGradEngine.setMemoryLimit(LazyGradEngine.bytesInUse + 1 << 20)
        }
        // More than a window, of which every value is needed for the gradient.
        precondition(
          lacks {
            let p = Tensor.ones([1 << 12], dtype: .float64)
            var y = p
            for _ in 0..<40_000 { y = sin(y) }
            y.sum().backward()
            _ = p.grad!.array
          })
        LazyGradEngine.setMemoryLimit(1 << 40)
        total.backward()
        precondition(x.grad!.elements(as: Double.self) == [Double](repeating: 262_144, count: 3))
        precondition(total.item() == 6 * 262_144)
      }
    }

    @Test("What a thread keeps for its next results is no memory in use, and is given up")
    func spareMemory() async {
      await #expect(processExitsWith: .success) {
        let x = Tensor(NDArray.ones([1000]), constant: true)
        func results() -> [Tensor] {
          let results = (0..<16).map { x * Double($0) }
          eval(results)
          return results
        }
        _ = results()
        LazyGradEngine.trimMemory()
        precondition(LazyGradEngine.bytesCached == 0)
        let before = LazyGradEngine.bytesInUse
        let used = withExtendedLifetime(results()) { LazyGradEngine.bytesInUse - before }
        precondition(used >= 16 * 8000 && used <= 16 * 10_000)
        let kept = LazyGradEngine.bytesCached
        precondition(LazyGradEngine.bytesInUse == before && kept >= used)
        // The same memory again: blocks for the results and for the run.
        let taken = LazyGradEngine.counters.allocations
        withExtendedLifetime(results()) {
          precondition(LazyGradEngine.counters.allocations == taken + 17)
          precondition(LazyGradEngine.bytesInUse == before + used)
          precondition(LazyGradEngine.bytesCached == kept - used)
        }
        // Another thread takes it away.
        await Task.detached { LazyGradEngine.trimMemory() }.value
        precondition(LazyGradEngine.bytesCached == 0 && LazyGradEngine.bytesInUse == before)
        // It makes room for other sizes under a limit, and nothing is kept beyond one.
        _ = results()
        LazyGradEngine.setMemoryLimit(before + LazyGradEngine.bytesCached)
        precondition(
          (Tensor.ones([7000], dtype: .float64) + x[0]).elements(as: Double.self).last == 2)
        withExtendedLifetime(results()) { LazyGradEngine.setMemoryLimit(1 << 10) }
        precondition(LazyGradEngine.bytesCached == 0)
      }
    }

    /// In a process of its own, where no other test takes memory meanwhile.
    @Test("Training and ten thousand plans take flat memory")
    func flatMemory() async {
      await #expect(processExitsWith: .success) {
        let w = Tensor(NDArray.ones([64, 64], dtype: .float32))
        let x = Tensor(NDArray.ones([4, 64], dtype: .float32), constant: true)
        func differentiate() -> Tensor {
          let loss = square(matmul(x, w) * 0.01).sum()
          loss.backward()
          return loss
        }
        func update(_ body: () -> Void) {
          _ = differentiate()
          body()
          w.eval()
        }
        let loops: [(turns: Int, step: (Int) -> Void)] = [
          (500, { _ in update { w -= 0.001 * w.grad! } }),
          (500, { _ in update { noAutodiff { w -= 0.001 * w.grad! } } }),
          (500, { _ in update { w[0..<2] -= 0.001 * w.grad![0..<2] } }),
          (500, { _ in update { w[[0, 3, 0]] -= 0.001 * w.grad![[0, 3, 0]] } }),
          (500, { _ in _ = differentiate().item() }),
          (
            10_000,
            { n in
              let y = Tensor.full([n % 2500 + 1], Double(n), dtype: .float64)
              (n % 3 == 0 ? y + 1 : n % 3 == 1 ? y * 2 : -y).eval()
            }
          ),
        ]
        for (number, loop) in loops.enumerated() {
          for n in 0..<20 { loop.step(n) }
          let early = LazyGradEngine.bytesInUse
          for n in 20..<loop.turns { loop.step(n) }
          let late = LazyGradEngine.bytesInUse
          precondition(late <= early, "loop \(number): \(early) bytes became \(late)")
        }
      }
    }

    @Test("The variables that set the limit of memory and turn the guard off")
    func environment() async {
      await #expect(processExitsWith: .success) {
        setenv("LAZYGRAD_MEM_GUARD", "0", 1)
        setenv("LAZYGRAD_MEMORY_LIMIT", "1048576", 1)
        precondition(!isMemoryGuardActive)
        let x = NDArray([1.0, 2])
        let y = x * Tensor([3.0, 4])
        precondition(x.isWriteable && memGuardOn { isMemoryGuardActive })
        try! x.fill(0.0)
        precondition(y.elements(as: Double.self) == [3, 8])
        do {
          _ = try catchingTensorErrors { Tensor.ones([1 << 20]).eval() }
          preconditionFailure("no error")
        } catch { precondition((error as? TensorError)?.cause == .outOfMemory) }
      }
    }

    @Test("The guard's process-wide switch")
    func switches() async {
      await #expect(processExitsWith: .success) {
        func isLocked() -> Bool {
          let x = NDArray([1.0, 2])
          let y = x * Tensor([3.0, 4])
          return withExtendedLifetime(y) { !x.isWriteable }
        }
        precondition(isMemoryGuardActive && isLocked())
        turnMemoryGuardingOff()
        precondition(!isMemoryGuardActive && !isLocked())
        precondition(memGuardOn { isMemoryGuardActive && isLocked() })
        precondition(!isMemoryGuardActive)
        turnMemoryGuardingOn()
        precondition(isMemoryGuardActive && isLocked())
        precondition(memGuardOff { !isMemoryGuardActive && !isLocked() })
      }
    }
  }
#endif
