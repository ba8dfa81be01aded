// Reductions of arrays that are larger than what may be taken besides: each in a process of its own
// whose limit lets the operand, the result and a little more through.

import LazyGrad
import Testing

#if os(Linux) || os(macOS)
  @Suite("The memory of reductions")
  struct ReductionMemoryTests {
    /// Evaluates with room for a result and six megabytes besides, and compares. 64 rows of sums may
    /// wait at once, of 8192 columns.
    private static func bounded(
      _ name: String, resultBytes: Int = 64, _ expected: Double, _ work: () -> Tensor
    ) {
      LazyGradEngine.trimMemory()
      // A block of the pool is a quarter larger than what is asked for at most.
      let room = resultBytes * 5 / 4 + 6 << 20
      LazyGradEngine.setMemoryLimit(LazyGradEngine.bytesInUse + room)
      let result = work()
      precondition(
        result.item(as: Double.self) == expected,
        "\(name): expected \(expected), got \(result.item(as: Double.self))")
      LazyGradEngine.setMemoryLimit(1 << 46)
    }

    private static let types: [DType] = [.bool, .uint8, .int32, .int64, .float32, .float64]

    @Test("Whole reductions keep nothing as large as their operand")
    func everything() async {
      await #expect(processExitsWith: .success) { Self.everything(threads: 1) }
      await #expect(processExitsWith: .success) { Self.everything(threads: 2) }
    }

    private static func everything(threads: Int) {
      LazyGradEngine.threads = threads
      let n = 16 << 20
      for type in Self.types {
        let array = NDArray.ones([n], dtype: type)
        array[n - 3] = NDArray.zeros([], dtype: type)
        let x = Tensor(array, copy: false)
        for (name, y) in [("flat", x), ("matrix", x.reshaped([4, n / 4]))] {
          let what = "\(type) \(name)"
          Self.bounded("sum \(what)", Double(n - 1)) { y.sum() }
          Self.bounded("mean \(what)", Double(n - 1) / Double(n)) { y.mean() }
          Self.bounded("prod \(what)", 0) { y.prod() }
          Self.bounded("max \(what)", 1) { y.max() }
          Self.bounded("min \(what)", 0) { y.min() }
          Self.bounded("argmax \(what)", 0) { y.argmax() }
          Self.bounded("argmin \(what)", Double(n - 3)) { y.argmin() }
        }
        Self.bounded("mask \(type)", 1) { (x .== 0).sum() }
      }
    }

    @Test("Reductions of axes keep nothing as large as their operand")
    func axes() async {
      await #expect(processExitsWith: .success) { Self.axes(threads: 1) }
      await #expect(processExitsWith: .success) { Self.axes(threads: 2) }
    }

    private static func axes(threads: Int) {
      LazyGradEngine.threads = threads
      let n = 16 << 20
      for type in Self.types {
        let array = NDArray.ones([n], dtype: type)
        let x = Tensor(array, copy: false)
        let size = type.isFloating ? type.size : 8
        for (rows, columns) in [
          (4, n / 4), (n / 4, 4), (n / 64, 64), (2048, 8192), (1024, 16384),
        ] {
          let what = "\(type) [\(rows), \(columns)]"
          let y = x.reshaped([rows, columns])
          // Two of the result: it is summed again, and a temporary of one may be alive.
          Self.bounded("sum 0 \(what)", resultBytes: 2 * columns * size, Double(n)) {
            y.sum(axis: 0).sum()
          }
          Self.bounded("sum 1 \(what)", resultBytes: 2 * rows * size, Double(n)) {
            y.sum(axis: 1).sum()
          }
          Self.bounded("mean 1 \(what)", resultBytes: 2 * rows * 8, Double(rows)) {
            y.mean(axis: 1).sum()
          }
          Self.bounded("prod 0 \(what)", resultBytes: 2 * columns * 8, Double(columns)) {
            y.prod(axis: 0).sum()
          }
          Self.bounded("max 1 \(what)", resultBytes: 2 * rows * 8, Double(rows)) {
            y.max(axis: 1).sum()
          }
          Self.bounded("min 0 \(what)", resultBytes: 2 * columns * 8, Double(columns)) {
            y.min(axis: 0).sum()
          }
          Self.bounded("argmax 1 \(what)", resultBytes: 2 * rows * 8, 0) {
            y.argmax(axis: 1).sum()
          }
          Self.bounded("mask \(what)", resultBytes: 2 * columns * 8, 0) {
            (y .== 0).sum(axis: 0).sum()
          }
        }
        Self.bounded("middle \(type)", resultBytes: 16 * size, Double(n)) {
          x.reshaped([2, n / 8, 4]).sum(axis: 1).sum()
        }
        Self.bounded("wide middle \(type)", resultBytes: n / 16 * size, Double(n)) {
          x.reshaped([2, 16, n / 32]).sum(axis: 1).sum()
        }
        Self.bounded("every other \(type)", Double(n / 2)) { x[.slice(0, n, step: 2)].sum() }
        Self.bounded("transposed \(type)", 0) { x.reshaped([4, n / 4]).transposed().argmax() }
      }
    }

    @Test("A variance keeps nothing as large as its operand")
    func variance() async {
      await #expect(processExitsWith: .success) { Self.variance(threads: 1) }
      await #expect(processExitsWith: .success) { Self.variance(threads: 2) }
    }

    private static func variance(threads: Int) {
      LazyGradEngine.threads = threads
      let n = 8 << 20
      for type in [DType.float32, .float64] {
        // A variable would keep the distances from the mean for its gradient.
        let x = Tensor(NDArray.ones([n], dtype: type), constant: true, copy: false)
        Self.bounded("var", 0) { x.var() }
        Self.bounded("var 1", 0) { x.reshaped([4, n / 4]).var(axis: 1).sum() }
        Self.bounded("var 0", resultBytes: 4 * n / 4 * type.size, 0) {
          x.reshaped([4, n / 4]).var(axis: 0).sum()
        }
      }
    }
  }
#endif
