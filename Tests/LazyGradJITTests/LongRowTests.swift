// Reductions of rows, and over rows, that are too long to be worked on at once: in panels, alone and
// behind other operations, on every tier and on one thread and two. Positions of extremes along every
// axis, against a search in the order of the elements.

import LazyGradJIT
import TestSupport
import Testing

@Suite struct LongRowTests {
  private static let types: [ScalarType] = [.float32, .float64, .int32, .int64, .uint8]

  /// Machine code against the portable kernels, between fences: what is fused with the reductions,
  /// what is stored beside them, several at once.
  @Test func nativeAgainstPortable() throws {
    for type in [ScalarType.float32, .float64, .int32, .int64] {
      for (rows, columns) in [(1, 8193), (3, 8200), (2, 20_001), (70, 9000), (5, 66_000)] {
        for axis in [0, 1] {
          for isStored in [false, true] {
            var sketch = LoopSketch()
            let a = sketch.leaf([rows, columns], type)
            let b = sketch.leaf([rows, columns], type)
            let x = sketch.op(.sub, type, a, b)
            if isStored { sketch.root(x) }
            for opcode in [Opcode.sum, .max, .min, .prod] {
              sketch.root(sketch.reduce(opcode, x, axis: axis))
            }
            try check(
              sketch, "\(type) [\(rows), \(columns)] axis \(axis)", mustBeNative: rows > 1,
              threads: 2)
          }
        }
      }
    }
  }

  /// Sums over both axes of one operand, which are one loop.
  @Test func bothAxesAtOnce() throws {
    for type in [ScalarType.float32, .int64] {
      var sketch = LoopSketch()
      let a = sketch.leaf([9, 8209], type)
      let x = sketch.op(.neg, type, a)
      sketch.root(x)
      sketch.root(sketch.reduce(.sum, x, axis: 0))
      sketch.root(sketch.reduce(.max, x, axis: 1))
      sketch.root(sketch.reduce(.sum, x, axis: 1))
      // What the portable kernels reduce they may read beyond the end.
      try check(sketch, "\(type) both axes", fences: false, threads: 2)
      #expect(PlanRunner.plan(sketch.graph, for: .portable).kernels.count == 1)
    }
  }

  /// Nothing as long as a row is kept on the way, whatever is reduced.
  @Test func memoryOfAPlan() {
    for type in Self.types {
      for (rows, columns) in [(4, 1 << 20), (1 << 10, 1 << 14), (1, 1 << 22)] {
        for opcode in [Opcode.sum, .prod, .max, .argmax] {
          for axis in [nil, 0, 1] {
            var sketch = LoopSketch()
            let a = sketch.leaf([rows, columns], .uint8)
            let x = type == .uint8 ? a : sketch.op(.cast, type, a)
            // Nothing is fused with a search; its operand is in memory.
            if opcode == .argmax, type != .uint8 { continue }
            sketch.root(sketch.reduce(opcode, x, axis: axis))
            for set in NativeCode.available {
              let bytes = PlanRunner.plan(sketch.graph, for: set).runBytes(threads: 2)
              #expect(
                bytes < 1 << 20, "\(opcode) \(type) [\(rows), \(columns)] axis \(axis ?? -1) \(set)"
              )
            }
          }
        }
      }
    }
  }

  /// Elements with ties, zeros of both signs and, for floats, some NaN.
  private static func fill(_ type: ScalarType, _ count: Int, hasNaN: Bool) throws -> Storage {
    let storage = try Storage(byteCount: count * type.size)
    var random = SeededRandom(seed: UInt64(count))
    for i in 0..<count {
      let bits = Int(random.next() % 1000)
      let float = hasNaN && bits == 7 ? Double.nan : bits < 100 ? -0.0 : Double(bits - 500)
      let p = storage.pointer + i * type.size
      switch type {
      case .float64: p.storeBytes(of: float, as: Double.self)
      case .float32: p.storeBytes(of: Float(float), as: Float.self)
      case .int64: p.storeBytes(of: Int64(bits), as: Int64.self)
      case .int32: p.storeBytes(of: Int32(bits), as: Int32.self)
      default: p.storeBytes(of: UInt8(truncatingIfNeeded: bits), as: UInt8.self)
      }
    }
    return storage
  }

  private static func value(_ storage: Storage, _ type: ScalarType, _ i: Int) -> Double {
    let p = storage.pointer + i * type.size
    return switch type {
    case .float64: p.load(as: Double.self)
    case .float32: Double(p.load(as: Float.self))
    case .int64: Double(p.load(as: Int64.self))
    case .int32: Double(p.load(as: Int32.self))
    default: Double(p.load(as: UInt8.self))
    }
  }

  @Test func positionsOfExtremes() throws {
    for type in Self.types {
      for hasNaN in type.isFloating ? [false, true] : [false] {
        for dims in [
          [1, 10_000, 1], [3, 8193, 1], [2, 100, 1], [1, 5, 1], [1, 30, 4], [2, 3, 17],
          [3, 700, 600], [1, 2, 9001], [2, 1, 5],
        ] {
          let count = dims.reduce(1, *)
          let storage = try Self.fill(type, count, hasNaN: hasNaN)
          for opcode in [Opcode.argmax, .argmin] {
            var expected: [Int64] = []
            for outer in 0..<dims[0] {
              for inner in 0..<dims[2] {
                var best = 0
                func element(_ k: Int) -> Double {
                  Self.value(storage, type, (outer * dims[1] + k) * dims[2] + inner)
                }
                for k in 1..<max(dims[1], 1) where !element(best).isNaN {
                  let (x, known) = (element(k), element(best))
                  if x.isNaN || (opcode == .argmax ? x > known : x < known) { best = k }
                }
                expected.append(Int64(best))
              }
            }
            var sketch = LoopSketch()
            sketch.root(sketch.reduceMiddle(opcode, sketch.leaf(dims, type)))
            for threads in [1, 2] {
              let result = try PlanRunner.run(
                sketch.graph, leaves: [UnsafeRawPointer(storage.pointer)], scalars: [],
                threads: threads, parallelThreshold: 0, poisons: true)[sketch.roots[0]]!
              let found = (0..<expected.count).map {
                result.pointer.load(fromByteOffset: 8 * $0, as: Int64.self)
              }
              #expect(found == expected, "\(opcode) \(type) \(dims) NaN \(hasNaN)")
            }
          }
        }
      }
    }
  }

  /// Small integers and bools, which machine code leaves to the portable kernels.
  @Test func bytes() throws {
    for (rows, columns) in [(2, 8193), (40, 10_000)] {
      let storage = try Self.fill(.uint8, rows * columns, hasNaN: false)
      for opcode in [Opcode.max, .min, .sum, .prod] {
        for axis in [0, 1] {
          for set in NativeCode.available {
            var sketch = LoopSketch()
            let x = sketch.leaf([rows, columns], .uint8)
            // Odd ones, whose products don't become 0.
            let odd = sketch.op(
              .add, .uint8, sketch.op(.add, .uint8, x, x), sketch.scalar(1, .uint8))
            sketch.root(sketch.reduce(opcode, odd, axis: axis))
            let result = try PlanRunner.run(
              sketch.graph, leaves: [UnsafeRawPointer(storage.pointer)], scalars: sketch.scalars,
              threads: 2, instructionSet: set, parallelThreshold: 0, poisons: true)[
                sketch.roots[0]]!
            for i in 0..<(axis == 0 ? columns : rows) {
              var expected: UInt8 = opcode == .min ? 255 : opcode == .prod ? 1 : 0
              for k in 0..<(axis == 0 ? rows : columns) {
                let place = axis == 0 ? k * columns + i : i * columns + k
                let element = UInt8(Self.value(storage, .uint8, place)) &* 2 | 1
                switch opcode {
                case .max: expected = max(expected, element)
                case .min: expected = min(expected, element)
                case .prod: expected &*= element
                default: expected &+= element
                }
              }
              let found = result.pointer.load(fromByteOffset: i, as: UInt8.self)
              if found != expected {
                Issue.record("\(opcode) [\(rows), \(columns)] axis \(axis) \(set): element \(i)")
                break
              }
            }
          }
        }
      }
    }
  }
}
