// Matrix products as machine code against the same chain of roundings in Swift, bit for bit: shapes
// around the tiles' sizes, every way A may lie, operands flush against memory that may not be
// touched, and registers that a caller relies on.

import LazyGradJIT
import TestSupport
import Testing

@Suite struct ProductTests {
  private static let native = NativeCode.available.filter { $0 != .portable }
  // Not the shared one, whose counters other tests watch.
  private static let memory = CodeMemory(limit: 16 << 20)

  /// A reproducible number between -1/2 and 1/2 with few equal neighbours.
  private static func value(_ i: Int) -> Double {
    Double((i &* 2_654_435_761) >> 7 & 0xFFFF) / 65536 - 0.5
  }

  private static func code(_ shape: ProductShape) -> CodeBlock { installed(shape.code()) }

  private static func installed(_ code: [UInt8]) -> CodeBlock {
    guard let block = memory.install(code) else {
      preconditionFailure("ProductTests: expected executable memory, got a refusal")
    }
    return block
  }

  /// Runs one product on fenced operands and compares every element.
  private static func check<T: BinaryFloatingPoint>(
    _: T.Type, _ instructionSet: InstructionSet, m: Int, n: Int, k: Int,
    left: ProductShape.Left, accumulates: Bool, flush: FencedMemory.Flush,
    prefetches: Bool = false, streams: Bool = false
  ) -> String? {
    let size = MemoryLayout<T>.size
    let (aRow, aColumn): (Int, Int) =
      switch left {
      case .rows: (k, 1)
      case .columns: (1, m)
      case .strided: (2 * k + 1, 2)
      }
    let aCount = m == 0 || k == 0 ? 0 : (m - 1) * aRow + (k - 1) * aColumn + 1
    let a = FencedMemory(byteCount: aCount * size, flush: flush)
    let b = FencedMemory(byteCount: k * n * size, flush: flush)
    let c = FencedMemory(byteCount: m * n * size, flush: flush)
    let (x, y, z) = (a.bound(to: T.self), b.bound(to: T.self), c.bound(to: T.self))
    for i in 0..<aCount { x[i] = T(value(i)) }
    for i in 0..<(k * n) { y[i] = T(value(i + 77)) }
    for i in 0..<(m * n) { z[i] = T(value(i + 991)) }
    let before = (0..<(m * n)).map { z[$0] }
    let shape = ProductShape(
      instructionSet: instructionSet, isDouble: size == 8, left: left, columns: n, heights: [m],
      prefetches: prefetches, streams: streams
    ).turned
    let block = code(shape)
    var arguments = ProductArguments(
      rows: m, depth: k, aRow: aRow * size, aColumn: aColumn * size, bRow: n * size,
      cRow: n * size, bStrip: shape.tileVectors * shape.lanes * size, accumulates: accumulates)
    arguments.streams = streams && !accumulates ? 1 : 0
    withExtendedLifetime(block) {
      unsafeBitCast(block.entry, to: ProductArguments.Function.self)(
        &arguments, b.pointer, c.pointer, a.pointer)
    }
    for i in 0..<m {
      for j in 0..<n {
        var sum = accumulates ? before[i * n + j] : 0
        // Only products with one column are asked for more than a part at once.
        var isFirst = !accumulates
        for start in stride(from: 0, to: max(k, 1), by: Summation.blockDepth) {
          var part: T = 0
          for p in start..<min(start + Summation.blockDepth, k) {
            part.addProduct(x[i * aRow + p * aColumn], y[p * n + j])
          }
          sum = isFirst ? part : sum + part
          isFirst = false
        }
        if sum != z[i * n + j] {
          return "\(instructionSet) \(T.self) \(m)x\(k)x\(n) \(left) at \(i), \(j): "
            + "expected \(sum), got \(z[i * n + j])"
        }
      }
    }
    return nil
  }

  @Test(arguments: native) func everyShapeGivesTheChain(_ instructionSet: InstructionSet) {
    var count = 0
    for m in [1, 2, 3, 4, 5, 6, 7, 11, 12, 13, 16, 17, 25] {
      for n in [1, 2, 3, 4, 7, 8, 9, 15, 16, 17, 31, 32, 33, 47, 63, 64, 65, 100, 129] {
        for (k, left) in [
          (0, ProductShape.Left.rows), (1, .strided), (3, .columns), (4, .rows), (5, .rows),
          (6, .strided), (8, .columns), (9, .rows),
        ] {
          count += 1
          let flush: FencedMemory.Flush = count % 2 == 0 ? .start : .end
          let single = Self.check(
            Float.self, instructionSet, m: m, n: n, k: k, left: left,
            accumulates: count % 3 == 0, flush: flush)
          #expect(single == nil)
          if count % 4 != 0 { continue }
          let double = Self.check(
            Double.self, instructionSet, m: m, n: n, k: k, left: left,
            accumulates: count % 3 == 0, flush: flush)
          #expect(double == nil)
        }
      }
    }
  }

  /// One column, by rows of A and by columns, over several parts of the summed axis.
  @Test(arguments: native) func matrixTimesVector(_ instructionSet: InstructionSet) {
    var count = 0
    for m in [1, 2, 3, 4, 7, 8, 9, 15, 16, 17, 24, 31, 32, 33, 50] {
      for k in [0, 1, 2, 3, 4, 5, 7, 8, 64, 255, 256, 257, 259, 511, 514, 1027] {
        for left in [ProductShape.Left.rows, .columns] where left == .rows || k <= 256 {
          count += 1
          for flush in FencedMemory.Flush.allCases {
            let single = Self.check(
              Float.self, instructionSet, m: m, n: 1, k: k, left: left,
              accumulates: count % 3 == 0, flush: flush)
            #expect(single == nil)
            let double = Self.check(
              Double.self, instructionSet, m: m, n: 1, k: k, left: left,
              accumulates: count % 3 == 1, flush: flush)
            #expect(double == nil)
          }
        }
      }
    }
  }

  /// Asking for memory ahead changes nothing and touches nothing.
  @Test(arguments: native) func prefetchingProducts(_ instructionSet: InstructionSet) {
    for m in [1, 5, 6, 7, 12, 29] {
      for n in [3, 16, 40, 64, 100] {
        for left in [ProductShape.Left.rows, .columns] {
          let text = Self.check(
            Float.self, instructionSet, m: m, n: n, k: 21, left: left, accumulates: m % 2 == 0,
            flush: n % 2 == 0 ? .start : .end, prefetches: true)
          #expect(text == nil)
        }
      }
    }
  }

  /// Code that can write past the caches gives the same, and still adds where it is asked to.
  @Test(arguments: native) func streamedProducts(_ instructionSet: InstructionSet) {
    for m in [1, 2, 3, 5, 7, 12, 29] {
      for n in [16, 32, 48, 64, 144] {
        for (k, left) in [(1, ProductShape.Left.rows), (3, .columns), (6, .strided), (9, .rows)] {
          for accumulates in [false, true] {
            let single = Self.check(
              Float.self, instructionSet, m: m, n: n, k: k, left: left, accumulates: accumulates,
              flush: .start, streams: true)
            #expect(single == nil)
            let double = Self.check(
              Double.self, instructionSet, m: m, n: n, k: k, left: left, accumulates: accumulates,
              flush: .start, streams: true)
            #expect(double == nil)
          }
        }
      }
    }
  }

  /// Large results that nothing in the plan reads are written past the caches, wherever they are.
  @Test(arguments: native) func largeOuterProductsAreStreamed(
    _ instructionSet: InstructionSet
  ) throws {
    func id(_ dims: [Int]) -> LayoutID { LayoutTable.shared.intern(dims: dims) }
    let n = 4096
    let m = ProductCompiler.streamingBytes / 4 / n
    for (m, n, isRead, streams) in [
      (m, n, false, true), (4, m * n / 4 + 16, false, true), (m, n, true, false),
      (m - 1, n, false, false), (m + 1, n + 2, false, false),
    ] {
      var nodes = [
        GraphNode(.leaf, .float32, shape: id([m, 1]), attribute: id([m, 1]), slot: 0),
        GraphNode(.leaf, .float32, shape: id([1, n]), attribute: id([1, n]), slot: 1),
        GraphNode(.matmul, .float32, shape: id([m, n]), a: 0, b: 1, isRoot: true),
      ]
      if isRead {
        nodes.append(GraphNode(.neg, .float32, shape: id([m, n]), a: 2, isRoot: true))
      }
      let graph = Graph(nodes: nodes, leafCount: 2, scalarCount: 0)
      let plan = PlanRunner.plan(graph, for: instructionSet)
      // Neon has no stores past the caches.
      let expected = streams && instructionSet != .neon
      #expect(plan.kernels[0].nativeProduct?.main.streams == expected, "\(m) x \(n)")
      let left = (0..<m).map { Float(Self.value($0)) }
      let right = (0..<n).map { Float(Self.value($0 + 77)) }
      let c = FencedMemory(byteCount: (m * n + 1) * 4, flush: .start)
      let values = c.bound(to: Float.self)
      for (shift, threads) in [(0, 1), (1, 1), (0, 2)] {
        try left.withUnsafeBytes { left in
          try right.withUnsafeBytes { right in
            _ = try PlanRunner.run(
              graph, leaves: [left.baseAddress!, right.baseAddress!], scalars: [],
              outputs: [2: c.pointer + 4 * shift], threads: threads,
              instructionSet: instructionSet, parallelThreshold: 0)
          }
        }
        let isWrong = (0..<m).contains { i in
          (0..<n).contains { j in values[shift + i * n + j] != left[i] * right[j] }
        }
        #expect(!isWrong, "\(m) x \(n), \(threads) threads, shifted by \(shift)")
      }
    }
  }

  /// Packing reads exactly B's columns, and the strips hold them row after row.
  @Test(arguments: native) func packedStrips(_ instructionSet: InstructionSet) {
    for isDouble in [false, true] {
      for columns in [1, 7, 8, 16, 17, 64, 100, 128] {
        for (rows, flush) in [(1, FencedMemory.Flush.start), (3, .end), (19, .start), (19, .end)] {
          checkPacking(instructionSet, isDouble: isDouble, columns, rows, flush)
        }
      }
    }
  }

  private func checkPacking(
    _ instructionSet: InstructionSet, isDouble: Bool, _ columns: Int, _ rows: Int,
    _ flush: FencedMemory.Flush
  ) {
    let size = isDouble ? 8 : 4
    let shape = ProductShape(
      instructionSet: instructionSet, isDouble: isDouble, left: .rows, columns: columns,
      heights: [12], prefetches: true)
    let block = Self.installed(shape.packingCode())
    let strip = shape.tileVectors * shape.lanes * size
    let strips = (columns * size + strip - 1) / strip
    let b = FencedMemory(byteCount: rows * columns * size, flush: flush)
    let bytes = b.bound(to: UInt8.self)
    for i in 0..<(rows * columns * size) { bytes[i] = UInt8(truncatingIfNeeded: i &* 167 >> 3) }
    let packed = FencedMemory(byteCount: strips * strip * rows, flush: flush)
    var arguments = PackArguments(
      from: b.pointer, to: packed.pointer, fromRow: columns * size, rows: rows, strip: strip * rows)
    withExtendedLifetime(block) {
      unsafeBitCast(block.entry, to: PackArguments.Function.self)(&arguments)
    }
    let result = packed.bound(to: UInt8.self)
    for row in 0..<rows {
      for i in 0..<(columns * size) {
        let place = i / strip * strip * rows + row * strip + i % strip
        if result[place] != bytes[row * columns * size + i] {
          Issue.record("\(instructionSet) \(columns) columns, \(rows) rows: row \(row), byte \(i)")
          return
        }
      }
    }
  }

  /// One function serves several heights, and leaves no trace of which tile computed a row.
  @Test(arguments: native) func heightsShareAFunction(_ instructionSet: InstructionSet) {
    let (n, k) = (37, 19)
    let heights = [1, 5, 16, 23]
    let shape = ProductShape(
      instructionSet: instructionSet, isDouble: false, left: .rows, columns: n, heights: heights)
    let block = Self.code(shape)
    let left = (0..<(23 * k)).map { Float(Self.value($0)) }
    let right = (0..<(k * n + 16)).map { Float(Self.value($0 + 77)) }
    func product(_ m: Int) -> [Float] {
      var result = [Float](repeating: 9, count: m * n + 1)
      left.withUnsafeBytes { a in
        right.withUnsafeBytes { b in
          result.withUnsafeMutableBytes { c in
            var arguments = ProductArguments(
              rows: m, depth: k, aRow: k * 4, aColumn: 4, bRow: n * 4, cRow: n * 4,
              bStrip: shape.tileVectors * shape.lanes * 4, accumulates: false)
            unsafeBitCast(block.entry, to: ProductArguments.Function.self)(
              &arguments, b.baseAddress!, c.baseAddress!, a.baseAddress!)
          }
        }
      }
      #expect(result.removeLast() == 9)
      return result
    }
    let whole = product(23)
    for m in heights { #expect(product(m) == Array(whole.prefix(m * n))) }
    withExtendedLifetime(block) {}
  }

  /// Small products that nothing is fused with are calls that their plan keeps ready: several where
  /// there are several matrices or the summed axis is long.
  @Test(arguments: native) func loneProductsAreCalls(_ instructionSet: InstructionSet) throws {
    func id(_ dims: [Int]) -> LayoutID { LayoutTable.shared.intern(dims: dims) }
    for (left, right, result) in [
      ([16, 16], [16, 16], [16, 16]), ([3, 5], [5, 7], [3, 7]), ([1, 9], [9, 40], [1, 40]),
      ([8, 64], [64, 1], [8, 1]), ([4, 600], [600, 9], [4, 9]), ([3, 4, 5], [5, 6], [3, 4, 6]),
      ([2, 1, 3, 300], [4, 300, 2], [2, 4, 3, 2]),
    ] {
      let graph = Graph(
        nodes: [
          GraphNode(.leaf, .float32, shape: id(left), attribute: id(left), slot: 0),
          GraphNode(.leaf, .float32, shape: id(right), attribute: id(right), slot: 1),
          GraphNode(.matmul, .float32, shape: id(result), a: 0, b: 1, isRoot: true),
        ], leafCount: 2, scalarCount: 0)
      let plan = PlanRunner.plan(graph, for: instructionSet)
      let steps = withExtendedLifetime(plan) { plan.steps.array }
      let calls = steps.compactMap { step -> Int? in
        if case .calls(_, _, let count) = step { count } else { nil }
      }
      let matrices = result.dropLast(2).reduce(1, *)
      let depth = left.last!
      let parts = result.last! == 1 ? 1 : (depth + Summation.blockDepth - 1) / Summation.blockDepth
      let isKept = matrices * parts <= 8
      #expect(
        steps.count == 1 && calls == (isKept ? [matrices * parts] : []), "\(left) x \(right)")

      let operands = try [left, right].enumerated().map { number, dims in
        let count = dims.reduce(1, *)
        let storage = try Storage(byteCount: 4 * count)
        let values = storage.pointer.bindMemory(to: Float.self, capacity: count)
        for i in 0..<count { values[i] = Float(Self.value(i + 77 * number)) }
        return storage
      }
      func run(_ instructionSet: InstructionSet) throws -> [Float] {
        let storage = try PlanRunner.run(
          graph, leaves: operands.map { UnsafeRawPointer($0.pointer) }, scalars: [], threads: 1,
          instructionSet: instructionSet, poisons: true)[2]!
        return withExtendedLifetime(storage) {
          (0..<result.reduce(1, *)).map {
            storage.pointer.load(fromByteOffset: 4 * $0, as: Float.self)
          }
        }
      }
      let difference = zip(try run(instructionSet), try run(.portable)).map { abs($0 - $1) }
      #expect(difference.max()! <= 1e-6 * Float(depth), "\(left) x \(right)")
      withExtendedLifetime(operands) {}
    }
  }

  #if arch(x86_64)
    /// A function called with known values in the registers that a callee must keep, which stores
    /// whether they are still there. A single row takes fewer of them.
    @Test(arguments: native, [13, 1])
    func savedRegistersAreKept(_ instructionSet: InstructionSet, height: Int) {
      let shape = ProductShape(
        instructionSet: instructionSet, isDouble: false, left: .rows, columns: 33, heights: [height]
      )
      let block = Self.code(shape)
      let saved: [GPR] = [.rbx, .rbp, .r12, .r13, .r14, .r15]
      var asm = Assembler()
      for register in saved { asm.push(register) }
      asm.push(.r8)
      for (i, register) in saved.enumerated() { asm.mov(register, 0x5151_0000 + i) }
      asm.mov(.rax, Int(bitPattern: block.entry))
      asm.call(.rax)
      asm.pop(.rsi)
      asm.mov(.rax, 0)
      for (i, register) in saved.enumerated() {
        let isKept = asm.label()
        asm.cmp(register, 0x5151_0000 + i)
        asm.jump(.equal, isKept)
        asm.add(.rax, 1 << i)
        asm.bind(isKept)
      }
      asm.mov(Memory(.rsi), .rax)
      for register in saved.reversed() { asm.pop(register) }
      asm.ret()
      let canary = Self.memory.install(asm.finish())!
      let a = [Float](repeating: 1, count: height * 7)
      let b = [Float](repeating: 2, count: 7 * 33)
      var c = [Float](repeating: 0, count: height * 33)
      var changed: Int = -1
      a.withUnsafeBytes { a in
        b.withUnsafeBytes { b in
          c.withUnsafeMutableBytes { c in
            var arguments = ProductArguments(
              rows: height, depth: 7, aRow: 28, aColumn: 4, bRow: 132, cRow: 132,
              bStrip: shape.tileVectors * shape.lanes * 4, accumulates: false)
            typealias Entry =
              @convention(c) (
                UnsafeRawPointer, UnsafeRawPointer, UnsafeMutableRawPointer, UnsafeRawPointer,
                UnsafeMutableRawPointer
              ) -> Void
            unsafeBitCast(canary.entry, to: Entry.self)(
              &arguments, b.baseAddress!, c.baseAddress!, a.baseAddress!, &changed)
          }
        }
      }
      #expect(changed == 0)
      #expect(c == [Float](repeating: 14, count: height * 33))
      withExtendedLifetime((block, canary)) {}
    }
  #endif
}
