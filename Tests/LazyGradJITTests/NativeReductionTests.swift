// Reductions inside loops as machine code against the portable kernels: of rows and of everything, at
// every tail, with what has an order of its own: zeros, infinities, NaN.

import LazyGradJIT
import TestSupport
import Testing

@Suite(.enabled(if: !nativeSets.isEmpty)) struct NativeReductionTests {
  private static let reductions = [Opcode.sum, .max, .min, .prod]
  /// Factors of products that stay in range for long, but are rounded.
  private static let factors = [1.25, 0.8, -1, 1.1, 0.9, -0.99, 1.01]

  /// Rows with reductions in between; the sums have the same order on all tiers.
  @Test func rowReductions() throws {
    for type in [ScalarType.float32, .float64, .int32, .int64] {
      for columns in [2, 3, 8, 15, 16, 17, 31, 32, 33, 100, 511, 512, 513, 1500, 4096] {
        var sketch = LoopSketch()
        let a = sketch.leaf([5, columns], type)
        let bias = sketch.leaf([5, columns], type)
        let x = sketch.op(.add, type, a, bias)
        let largest = sketch.reduce(.max, x, axis: 1)
        let centred = sketch.op(.sub, type, x, largest)
        let total = sketch.reduce(.sum, sketch.op(.mul, type, centred, centred), axis: 1)
        let scaled = sketch.op(.mul, type, centred, total)
        let smallest = sketch.reduce(.min, scaled, axis: 1)
        let product = sketch.reduce(.prod, centred, axis: 1)
        for root in [x, largest, total, scaled, smallest, product] { sketch.root(root) }
        try check(sketch, "rows \(type) [5, \(columns)]")
      }
    }
  }

  /// Running results of several types go around different numbers of vectors in one loop.
  @Test func rowReductionsOfSeveralTypes() throws {
    let sets: [[ScalarType]] = [
      [.float32, .float64], [.int32, .float64, .float32], [.uint8, .int64],
    ]
    for columns in [3, 16, 33, 64, 100, 515, 1024] {
      for types in sets {
        var sketch = LoopSketch()
        let a = sketch.leaf([5, columns], types[0])
        for type in types {
          let x = type == types[0] ? a : sketch.op(.cast, type, a)
          let largest = sketch.reduce(.max, x, axis: 1)
          let centred = sketch.op(.sub, type, x, largest)
          sketch.root(sketch.reduce(.sum, centred, axis: 1))
          sketch.root(largest)
        }
        try check(sketch, "rows \(types) [5, \(columns)]", mustBeNative: false)
      }
    }
  }

  @Test func softmaxOfRows() throws {
    for type in [ScalarType.float32, .float64] {
      for columns in [2, 10, 16, 33, 1000] {
        var sketch = LoopSketch()
        let x = sketch.leaf([7, columns], type)
        let e = sketch.op(
          .exp, type, sketch.op(.sub, type, x, sketch.reduce(.max, x, axis: 1)))
        sketch.root(sketch.op(.div, type, e, sketch.reduce(.sum, e, axis: 1)))
        try check(sketch, "softmax \(type) [7, \(columns)]", tolerance: 1e-5)
      }
    }
  }

  /// Sums over everything and over the rows, next to results that are kept.
  @Test func wholeReductions() throws {
    for type in [ScalarType.float32, .float64, .int32, .int64] {
      for (rows, columns) in [(1, 1), (3, 7), (4, 16), (5, 33), (130, 40), (700, 100), (9, 5000)] {
        for opcode in Self.reductions {
          for axis in [nil, 0] {
            var sketch = LoopSketch()
            let a = sketch.leaf([rows, columns], type)
            let b = sketch.leaf([rows, columns], type)
            let x = sketch.op(opcode == .prod ? .mul : .sub, type, a, b)
            let total = sketch.reduce(opcode, x, axis: axis)
            sketch.root(x)
            sketch.root(total)
            // What the portable kernels reduce they may read beyond the end.
            try check(
              sketch, "\(opcode) \(type) [\(rows), \(columns)] axis \(axis ?? -1)", fences: false,
              mustBeNative: rows > 1 && columns > 1, threads: 2,
              choices: opcode == .prod ? Self.factors : nil)
          }
        }
      }
    }
  }

  /// Reductions of everything alone, at every tail and cut among threads. Which of two zeros is the
  /// extreme must be the same everywhere, a NaN among numbers must be found.
  @Test func wholeReductionsAlone() throws {
    for type in [ScalarType.float32, .float64, .int32, .int64] {
      var choices: [[Double]?] = [nil]
      if type.isFloating {
        choices += [
          [0, -0.0], [-0.0, 0, 1, -1, .infinity, -.infinity], [-.infinity], [.infinity],
          (0..<1000).map { $0 == 500 ? .nan : Double($0) },
        ]
      }
      for n in loopLengths + [32_769, 100_003, 300_000] {
        for opcode in Self.reductions {
          let own = opcode == .prod ? choices + [Self.factors] : choices
          for choice in own where opcode != .sum || choice == nil {
            var sketch = LoopSketch()
            sketch.root(sketch.reduce(opcode, sketch.leaf([n], type), axis: nil))
            try check(
              sketch, "\(opcode) \(type) [\(n)] of \(choice?.first ?? 0)", mustBeNative: n > 1,
              threads: 1 + n % 2, choices: choice)
          }
        }
      }
    }
  }

  /// What was computed together with an extreme doesn't change which zero it is, and there is one
  /// kind of NaN.
  @Test func wholeExtremesAreTheSameInEveryLoop() throws {
    for set in NativeCode.available {
      var random = SeededRandom(seed: 5)
      for count in [1100, 40_003] {
        // Vectors may read past the end, as far as the slack of a storage goes.
        let slack = StoragePool.slack / MemoryLayout<Float>.stride
        var zeros = (0..<(count + slack)).map { _ in random.next() & 1 == 0 ? Float(0) : -0.0 }
        for isNaN in [false, true] {
          if isNaN { zeros[count / 3] = Float(bitPattern: 0xFFC1_2345) }
          var found: Set<UInt32> = []
          for length in [0, 12] {
            for threads in [1, 2] {
              var sketch = LoopSketch()
              let x = sketch.leaf([count], .float32)
              let extreme = sketch.reduce(.max, x, axis: nil)
              sketch.root(extreme)
              // More results alive make the blocks of the portable loops shorter.
              for k in 0..<length {
                sketch.root(sketch.op(.add, .float32, x, sketch.scalar(Double(k), .float32)))
              }
              let result = try zeros.withUnsafeBytes {
                try PlanRunner.run(
                  sketch.graph, leaves: [$0.baseAddress!], scalars: sketch.scalars,
                  threads: threads, instructionSet: set, parallelThreshold: 0)
              }
              found.insert(result[extreme]!.pointer.load(as: UInt32.self))
            }
          }
          #expect(found.count == 1, "\(set) [\(count)]")
          if isNaN { #expect(found == [Float.nan.bitPattern], "\(set) [\(count)]") }
        }
      }
    }
  }

  /// Columns of an empty matrix: no results, and nothing to read, however many rows it has.
  @Test(arguments: [Opcode.argmax, .argmin, .max, .sum, .prod])
  func columnsOfAnEmptyMatrix(opcode: Opcode) throws {
    let memory = FencedMemory(byteCount: StoragePool.slack, flush: .end)
    for set in NativeCode.available {
      var sketch = LoopSketch()
      sketch.root(sketch.reduce(opcode, sketch.leaf([2560, 0], .float32), axis: 0))
      let result = try PlanRunner.run(
        sketch.graph, leaves: [UnsafeRawPointer(memory.pointer)], scalars: [], threads: 1,
        instructionSet: set)
      #expect(result.values.allSatisfy { $0.byteCount == 0 })
    }
  }

  /// Arrays that no cache near a core holds are read in shorter vectors.
  @Test func rowsOfLargeArrays() throws {
    for (opcode, columns) in [(Opcode.sum, 4096), (.max, 1000)] {
      var sketch = LoopSketch()
      let a = sketch.leaf([(1 << 20) / columns + 2, columns], .float32)
      sketch.root(sketch.reduce(opcode, sketch.op(.neg, .float32, a), axis: 1))
      try check(sketch, "\(opcode) of large rows [\(columns)]", threads: 2)
    }
  }
}
