// What an in-place update of a part costs, by the process-wide counters, which other tests must not
// move: each test is a process of its own.

import LazyGrad
import Testing

#if os(Linux) || os(macOS)
  @Suite("The cost of updates")
  struct UpdateCostTests {
    /// The tape keeps the objects of the last few operations; what they read must not stay with them.
    @Test("Dropped tensors hold no memory")
    func dropped() async {
      await #expect(processExitsWith: .success) {
        let small = Tensor([1.0, 2])
        for _ in 0..<64 { _ = small + small }
        let before = LazyGradEngine.bytesInUse
        do {
          let large = Tensor.ones([1 << 20], dtype: .float32) + 1
          large.eval()
          for _ in 0..<64 { _ = small + small }
          _ = (large * 2) + 1
          precondition(LazyGradEngine.bytesInUse - before >= 4 << 20)
        }
        precondition(LazyGradEngine.bytesInUse - before < 1 << 20)
      }
    }

    /// A step may write this much for a region of a few elements, and no block may be larger than the
    /// slack that the limit leaves.
    @Test("An update of a slice writes the slice and takes no memory for the base")
    func slices() async {
      await #expect(processExitsWith: .success) {
        let n = 1_000_000
        let w = Tensor(NDArray.ones([n]))
        let matrix = Tensor(NDArray.ones([1000, 1000], dtype: .float32))
        let g = Tensor([0.5, 0.25], constant: true)
        let row = Tensor(NDArray.ones([1000], dtype: .float32), constant: true)
        let picks = NDArray([n - 1, 20])
        let mask = NDArray.zeros([n], dtype: .bool)
        mask[[50, 60]] = NDArray(true)
        let steps: [(String, Int, () -> Void)] = [
          ("slice", 64, { w[0..<2] -= 0.1 * g }),
          ("slice without autodiff", 64, { noAutodiff { w[0..<2] -= 0.1 * g } }),
          ("every other of a few", 128, { w[.slice(10, 20, step: 5)] *= g }),
          ("one element", 32, { w[7] = Tensor(3.0) }),
          (
            "two slices", 128,
            {
              w[0..<2] += g
              w[(n - 2)..<n] += g
            }
          ),
          ("a row", 8192, { matrix[17] -= 0.5 * row }),
          (
            "a view", 8192,
            {
              let view = matrix[18]
              view += row
            }
          ),
          ("a column", 8192, { matrix.transposed()[3] -= row }),
          ("an index array of a view", 256, { w[4..<8][[0, 2]] += g }),
          ("a mask over a view", 256, { w[4..<6][[true, false]] += 1.0 }),
          ("an index array", 256, { w[picks] -= 0.1 * g }),
          ("an index array without autodiff", 256, { noAutodiff { w[picks] -= 0.1 * g } }),
          ("an index array with duplicates", 256, { w[[70, 80, 70]] = Tensor([1.0, 2, 3]) }),
          ("nothing", 0, { w[[Int]()] = Tensor(3.0) }),
          ("a mask", 256, { w[mask] *= g }),
          ("rows", 32768, { matrix[[30, 20]] -= row }),
          ("columns", 32768, { noAutodiff { matrix.transposed()[[30, 20]] -= row } }),
          ("an index array of a slice", 256, { matrix[40..<50][[1, 2], [3, 4]] += 1.0 }),
        ]
        for (name, bytes, step) in steps {
          for _ in 0..<3 {
            step()
            eval(w, matrix)
          }
          LazyGradEngine.trimMemory()
          LazyGradEngine.setMemoryLimit(LazyGradEngine.bytesInUse + 1 << 20)
          let before = LazyGradEngine.counters.bytesWritten
          for _ in 0..<100 {
            step()
            eval(w, matrix)
          }
          let written = LazyGradEngine.counters.bytesWritten - before
          precondition(
            (written > 0 || bytes == 0) && written <= 100 * bytes,
            "\(name): \(written) bytes written")
          LazyGradEngine.setMemoryLimit(1 << 40)
        }
        precondition(w[7].item() == 3 && w[100].item() == 1)
        precondition(matrix[17, 5].item() == 1 - 103 * 0.5 && matrix[18, 5].item() == 104)
      }
    }

    @Test("An update that lacks memory half way leaves the old value, and works later")
    func lackOfMemory() async {
      await #expect(processExitsWith: .success) {
        let n = 100_000
        let w = Tensor(NDArray.arange(Double(n)), constant: true)
        let (a, b) = (NDArray.ones([1000, 2]), NDArray.ones([2, 1000]))
        // The product of the two has a place of its own while the plan runs.
        let product = matmul(Tensor(a, constant: true), Tensor(b, constant: true))
        w[0..<1000] -= matmul(product, Tensor(NDArray.ones([1000]), constant: true))
        LazyGradEngine.trimMemory()
        LazyGradEngine.setMemoryLimit(LazyGradEngine.bytesInUse + 1 << 20)
        for _ in 0..<2 {
          do {
            _ = try catchingTensorErrors { w.eval() }
            preconditionFailure("no error")
          } catch { precondition((error as? TensorError)?.cause == .outOfMemory) }
        }
        LazyGradEngine.setMemoryLimit(1 << 40)
        let before = LazyGradEngine.counters.bytesWritten
        precondition(w[999].item() == -1001 && w[1000].item() == 1000 && w[0].item() == -2000)
        // The product, a column and the region; no copy of the base.
        let written = LazyGradEngine.counters.bytesWritten - before
        precondition(written < 8 * (1_000_000 + n), "\(written) bytes written")
      }
    }

    @Test("Training a part of a parameter writes its gradient, not the parameter")
    func training() async {
      await #expect(processExitsWith: .success) {
        let n = 1_000_000
        let w = Tensor(NDArray.ones([n]))
        func loss() -> Tensor { square(w[0..<100] - 3.0).sum() }
        func update() { w[0..<100] -= 0.1 * w.grad![0..<100] }
        let loops: [(String, () -> Void)] = [
          (
            "read after the update",
            {
              let y = loss()
              y.backward()
              update()
              _ = y.item()
            }
          ),
          (
            "read before the backward pass",
            {
              let y = loss()
              _ = y.item()
              y.backward()
              update()
            }
          ),
          (
            "without autodiff",
            {
              let y = loss()
              y.backward()
              noAutodiff(update)
              w.eval()
            }
          ),
        ]
        for (name, step) in loops {
          for _ in 0..<3 { step() }
          let before = LazyGradEngine.counters.bytesWritten
          for _ in 0..<20 { step() }
          let written = LazyGradEngine.counters.bytesWritten - before
          // A copy of the parameter would be as much again.
          precondition(written < 20 * (8 * n + 1 << 16), "\(name): \(written) bytes written")
        }
        precondition(abs(w[5].item() - 3) < 1e-6 && w[100].item() == 1)
      }
    }
  }
#endif
