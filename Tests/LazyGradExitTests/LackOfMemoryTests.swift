// What happens where the system has no memory left for Swift arrays and records: in processes of their
// own, whose address space is limited.

import Foundation
import LazyGrad
import TestSupport
import Testing

#if os(Linux)
  import Glibc

  /// Lets the process have so many bytes more than it has, or, with nil, as many as it likes.
  private func limitMemory(_ more: Int?) {
    var limit = rlimit()
    let resource = __rlimit_resource_t(RLIMIT_AS.rawValue)
    precondition(getrlimit(resource, &limit) == 0)
    if let more {
      let status = FileManager.default.contents(atPath: "/proc/self/statm")!
      let pages = Int(String(decoding: status, as: UTF8.self).split(separator: " ")[0])!
      limit.rlim_cur = rlim_t(pages * Int(getpagesize()) + more)
    } else {
      limit.rlim_cur = limit.rlim_max
    }
    precondition(setrlimit(resource, &limit) == 0)
  }

  private func cause(_ body: () throws -> Void) -> TensorError.Cause? {
    do {
      try catchingTensorErrors(body)
      return nil
    } catch { return (error as? TensorError)?.cause }
  }

  @Suite(
    "Lack of memory", .disabled(if: Emulation.isActive, "QEMU lets programs set no limit of memory")
  )
  struct LackOfMemoryTests {
    @Test("For elements, snapshots, index arrays and masks it is thrown, and is no misuse")
    func arrays() async {
      await #expect(processExitsWith: .success) {
        LazyGradEngine.threads = 1
        let n = 16 << 20
        let bytes = NDArray.ones([n], dtype: .uint8)
        let mask = bytes.astype(.bool)
        let wide = NDArray.ones([1 << 10, 8], dtype: .uint8)
        let (x, rows) = (Tensor(bytes, copy: false), Tensor(wide, copy: false))
        let zeros = NDArray.zeros([n], dtype: .uint8)
        let scores = Tensor.ones([n, 1], dtype: .float32)
        let table = Tensor([[1.0, 2], [3, 4]])
        let (a, b) = (bytes[.slice(0, nil, step: 2)], bytes[.slice(1, nil, step: 2)])
        let uses: [(String, () -> Void)] = [
          ("elements", { precondition(bytes.elements(as: Double.self) == [0]) }),
          ("tensor's elements", { _ = x.elements(as: Int.self) }),
          ("mask", { precondition(bytes[mask].rank == 0) }),
          ("tensor's mask", { precondition(x[mask].debugDescription.contains("poisoned")) }),
          ("indices", { _ = bytes[zeros] }), ("tensor's indices", { _ = x[zeros] }),
          ("two index arrays", { _ = wide[zeros, zeros] }),
          ("tensor's two index arrays", { _ = rows[zeros, zeros] }),
          ("rows", { _ = rows[zeros] }), ("takeRows", { _ = table.takeRows(zeros) }),
          ("labels", { _ = softmaxCrossEntropy(scores, zeros) }),
          ("stored by mask", { bytes[mask] = NDArray(3) }),
          ("stored by indices", { bytes[zeros] = NDArray(3) }),
          ("tensor's update", { x[mask] = Tensor(3) }),
          ("tensor's update by indices", { x[zeros] += 1 }),
        ]
        limitMemory(24 << 20)
        for (name, use) in uses {
          let cause = cause(use)
          precondition(cause == .outOfMemory, "\(name): \(String(describing: cause))")
        }
        // Nothing but the arrays themselves is needed for this.
        precondition(!a.sharesMemory(with: b) && a.sharesMemory(with: bytes[.slice(step: -3)]))
        let repeated = bytes[0..<1].broadcast(to: [256 << 20])
        precondition(cause { precondition(TensorSnapshot(repeated).shape == []) } == .outOfMemory)
        precondition(cause { _ = Tensor(repeated, copy: false).snapshot } == .outOfMemory)
        limitMemory(nil)
        precondition(bytes.elements(as: Int.self).reduce(0, +) == n)
        for (name, use) in uses where !name.hasSuffix("elements") && !name.contains("mask") {
          precondition(cause(use) == nil, name)
        }
        precondition(TensorSnapshot(bytes).bytes.count == n && bytes[mask].shape == [n])
      }
    }

    @Test("For what kernels work in it is thrown before any of them runs")
    func kernels() async {
      let result = await #expect(
        processExitsWith: .success, observing: [\.standardErrorContent]
      ) {
        LazyGradEngine.threads = 1
        // Blocks of more than 32 MiB are mapped by themselves: the process has no others to give.
        let n = 20 << 20
        let bytes = Tensor(NDArray.ones([n], dtype: .uint8), copy: false)
        let tall = Tensor(NDArray.ones([2 * n, 2], dtype: .uint8), copy: false)
        let wide = Tensor(NDArray.ones([2, n / 4]), copy: false)
        let numbers = NDArray.zeros([n / 4], dtype: .float32)
        let places = NDArray.zeros([n], dtype: .int64)[.slice(step: -1)]
        let table = Tensor([[1.0], [2.0]])
        let matrix = Tensor(NDArray.ones([2100, 2100]), copy: false)
        let rows = Tensor(NDArray.ones([n / 64, 4]), copy: false)
        let uses: [(String, () -> Tensor)] = [
          ("sort", { bytes.sorted() }), ("argsort", { bytes.argsort() }),
          ("sort with what is no number", { Tensor(numbers, copy: false).sorted() }),
          ("running sums side by side", { wide.cumsum(axis: 0) }),
          ("joining", { concatenate([tall.transposed(), tall.transposed()], axis: 1) }),
          ("rows", { table.takeRows(places) }),
          ("inverse", { inverse(matrix) }), ("QR", { qr(rows).r }),
        ]
        // Plans are made where there is memory.
        for (_, use) in uses { use().eval() }
        for (name, use) in uses {
          var least = 0
          // From too little for the result on, but enough for records and plans.
          var more = 4 << 20
          while true {
            LazyGradEngine.trimMemory()
            limitMemory(more)
            let cause = cause { use().eval() }
            limitMemory(nil)
            if cause == nil { break }
            if cause != .outOfMemory { fatalError("\(name), \(more) bytes: \(cause!)") }
            least = more
            more += more / 2
          }
          if least == 0 { fatalError("\(name): never too little") }
          if let cause = cause({ use().eval() }) { fatalError("\(name): \(cause)") }
        }
      }
      let text = String(decoding: result?.standardErrorContent ?? [], as: UTF8.self)
      #expect(text.isEmpty)
    }

    @Test("Copies for raw access have to be whole: without memory the program says so and ends")
    func rawAccess() async {
      let result = await #expect(
        processExitsWith: .failure, observing: [\.standardErrorContent]
      ) {
        let x = NDArray.ones([2, 4 << 20])
        limitMemory(8 << 20)
        try catchingTensorErrors { x.transposed().withUnsafeElements(as: Double.self) { _ in } }
      }
      let text = String(decoding: result?.standardErrorContent ?? [], as: UTF8.self)
      #expect(
        text.contains("LazyGrad: withUnsafeElements: no memory for 67108864 bytes"), "\(text)")
    }

    @Test("For more records it is thrown, what was there before stays, and is useful again")
    func records() async {
      await #expect(processExitsWith: .success) {
        LazyGradEngine.threads = 1
        let w = Tensor([1.0, 2])
        let before = w * 3
        func chain(_ length: Int) -> Tensor {
          var y = w
          for _ in 0..<length { y = y + w }
          return y
        }
        precondition(chain(320_000).eval().elements(as: Double.self) == [320_001, 640_002])
        limitMemory(384 << 20)
        for _ in 0..<3 {
          let found = cause {
            let y = chain(20_000_000)
            precondition(y.debugDescription.contains("poisoned"))
            y.backward()
            _ = (w - 0.1 * w.grad!).item()
          }
          precondition(found == .outOfMemory)
          // What is recorded on tensors that are no part of the failed work has to go somewhere, too.
          let others = cause {
            let y = chain(20_000_000)
            for k in 0..<300_000 { _ = (w * Double(k)).sum(axis: 0) }
            withExtendedLifetime(y) {}
          }
          precondition(others == .outOfMemory)
          precondition(before.elements(as: Double.self) == [3, 6])
        }
        limitMemory(nil)
        let y = chain(1000)
        y.backward()
        precondition(w.gradient.elements(as: Double.self) == [1001, 1001])
        precondition(before.elements(as: Double.self) == [3, 6])
      }
    }

    @Test("For more records, where nobody catches that")
    func recordsUncaught() async {
      let result = await #expect(
        processExitsWith: .failure, observing: [\.standardErrorContent]
      ) {
        LazyGradEngine.threads = 1
        let w = Tensor([1.0, 2])
        var y = w
        limitMemory(384 << 20)
        for _ in 0..<20_000_000 { y = y + w }
      }
      let text = String(decoding: result?.standardErrorContent ?? [], as: UTF8.self)
      #expect(text.contains("LazyGrad: record: no memory for more than"), "\(text)")
    }
  }
#endif
