// Machine code of loops against the portable kernels: every elementwise operation and type at every
// length of a tail, rows, reductions, broadcasts, on operands between unreadable pages.

import Foundation
import LazyGradJIT
import TestSupport
import Testing

private let nativeSets = NativeCode.available.filter { $0 != .portable }

/// Operations whose results differ between tiers: what has polynomials with fused steps inside.
private let fused: Set<Opcode> = [
  .exp, .expm1, .log, .log1p, .sin, .cos, .tanh, .sigmoid, .erf, .pow,
]

/// A graph over leaves of given shapes and types, and one root or more.
private struct LoopSketch {
  private(set) var nodes: [GraphNode] = []
  private(set) var leaves: [(dims: [Int], type: ScalarType)] = []
  private(set) var scalars: [Double] = []

  private static func id(_ dims: [Int]) -> LayoutID { LayoutTable.shared.intern(dims: dims) }

  mutating func leaf(_ dims: [Int], _ type: ScalarType) -> Int {
    leaves.append((dims, type))
    let shape = Self.id(dims)
    nodes.append(
      GraphNode(.leaf, type, shape: shape, attribute: shape, slot: leaves.count - 1))
    return nodes.count - 1
  }

  mutating func scalar(_ value: Double, _ type: ScalarType) -> Int {
    scalars.append(value)
    nodes.append(
      GraphNode(.scalar, type, shape: LayoutTable.scalar, slot: scalars.count - 1))
    return nodes.count - 1
  }

  mutating func op(
    _ opcode: Opcode, _ type: ScalarType, _ a: Int, _ b: Int = -1, _ c: Int = -1
  ) -> Int {
    var dims = dims(a)
    for other in [b, c] where other >= 0 {
      dims = Layout.broadcast(dims, self.dims(other))!
    }
    nodes.append(GraphNode(opcode, type, shape: Self.id(dims), a: a, b: b, c: c))
    return nodes.count - 1
  }

  /// A reduction of the last axis, of the first of two, or of everything.
  mutating func reduce(_ opcode: Opcode, _ a: Int, axis: Int?) -> Int {
    let dims = dims(a)
    let type = nodes[a].type
    let shape: [Int]
    let attribute: [Int]
    switch axis {
    case nil: (shape, attribute) = ([], [1, dims.reduce(1, *), 1])
    case 0: (shape, attribute) = ([1, dims[1]], [1, dims[0], dims[1]])
    default: (shape, attribute) = ([dims[0], 1], [dims[0], dims[1], 1])
    }
    nodes.append(
      GraphNode(opcode, type, shape: Self.id(shape), a: a, attribute: Self.id(attribute)))
    return nodes.count - 1
  }

  mutating func root(_ i: Int) { nodes[i].isRoot = true }

  func dims(_ i: Int) -> [Int] { LayoutTable.shared[nodes[i].shape].dims }

  func byteCount(_ i: Int) -> Int { dims(i).reduce(1, *) * nodes[i].type.size }

  var graph: Graph {
    Graph(nodes: nodes, leafCount: leaves.count, scalarCount: scalars.count)
  }
  var roots: [Int] { nodes.indices.filter { nodes[$0].isRoot } }
}

/// Numbers of a type, the special ones often among them.
///
/// - Parameter choices: the only floats, where they are given.
private func fill(
  _ p: UnsafeMutableRawPointer, _ type: ScalarType, _ count: Int, _ random: inout SeededRandom,
  choices: [Double]? = nil
) {
  let special: [Double] = [
    0, -0.0, 1, -1, .infinity, -.infinity, .nan, 0x1p-140, -0x1p-140, 3e38, 2.5, -2.5, 1e5, 300,
    2_147_483_648, -2_147_483_648, 9.3e18, -9.3e18, 255, 256, 0.5,
  ]
  for i in 0..<count {
    let bits = random.next()
    let isSpecial = bits >> 60 < 5
    let unit = Double(bits >> 11) * 0x1p-53
    var float = isSpecial ? special[Int(bits % UInt64(special.count))] : 12 * unit - 6
    if let choices { float = choices[Int(bits % UInt64(choices.count))] }
    switch type {
    case .float32: p.storeBytes(of: Float(float), toByteOffset: 4 * i, as: Float.self)
    case .float64: p.storeBytes(of: float, toByteOffset: 8 * i, as: Double.self)
    case .bool: p.storeBytes(of: UInt8(bits & 1), toByteOffset: i, as: UInt8.self)
    case .uint8:
      p.storeBytes(of: UInt8(truncatingIfNeeded: bits), toByteOffset: i, as: UInt8.self)
    case .int32:
      let value =
        isSpecial ? Int32.min &+ Int32(bits % 3) : Int32(truncatingIfNeeded: bits % 19) - 9
      p.storeBytes(of: value, toByteOffset: 4 * i, as: Int32.self)
    case .int64:
      let value = isSpecial ? Int64.min &+ Int64(bits % 3) : Int64(bits % 3_000_000_019) - 9
      p.storeBytes(of: value, toByteOffset: 8 * i, as: Int64.self)
    }
  }
}

/// The first difference of two runs of elements; NaNs are all the same.
private func difference(
  _ a: UnsafeRawPointer, _ b: UnsafeRawPointer, _ type: ScalarType, _ count: Int,
  tolerance: Double
) -> String? {
  for i in 0..<count {
    switch type {
    case .float32, .float64:
      let x =
        type == .float32
        ? Double(a.load(fromByteOffset: 4 * i, as: Float.self))
        : a.load(fromByteOffset: 8 * i, as: Double.self)
      let y =
        type == .float32
        ? Double(b.load(fromByteOffset: 4 * i, as: Float.self))
        : b.load(fromByteOffset: 8 * i, as: Double.self)
      if x.isNaN, y.isNaN { continue }
      if x == y, x.sign == y.sign { continue }
      if tolerance > 0, x.isFinite, y.isFinite, abs(x - y) <= tolerance * max(abs(x), 1e-36) {
        continue
      }
      return "element \(i): portable \(x), native \(y)"
    default:
      let size = type.size
      if memcmp(a + i * size, b + i * size, size) != 0 { return "element \(i) differs" }
    }
  }
  return nil
}

/// Runs a sketch on the portable kernels and on every instruction set, with leaves and roots between
/// fences, and compares.
private func check(
  _ sketch: LoopSketch, _ what: String, tolerance: Double = 0, fences: Bool = true,
  mustBeNative: Bool = true, threads: Int = 1, choices: [Double]? = nil
) throws {
  var random = SeededRandom(seed: UInt64(sketch.nodes.count * 77 + sketch.leaves.count))
  var plain: [Storage] = []
  for leaf in sketch.leaves {
    let count = leaf.dims.reduce(1, *)
    let storage = try Storage(byteCount: count * leaf.type.size)
    fill(storage.pointer, leaf.type, count, &random, choices: choices)
    plain.append(storage)
  }
  let expected = try PlanRunner.run(
    sketch.graph, leaves: plain.map { UnsafeRawPointer($0.pointer) }, scalars: sketch.scalars,
    threads: 1, instructionSet: .portable, poisons: true)
  for set in nativeSets {
    let plan = PlanRunner.plan(sketch.graph, for: set)
    let isNative = plan.kernels.allSatisfy { $0.nativeLoop != nil }
    if mustBeNative, !isNative { Issue.record("\(what), \(set): stays portable") }
    // The portable kernels may read beyond the end.
    let fences = fences && isNative
    for side in FencedMemory.Flush.allCases {
      let leaves = zip(sketch.leaves, plain).map { leaf, storage in
        let bytes = leaf.dims.reduce(1, *) * leaf.type.size
        let memory = FencedMemory(byteCount: bytes, flush: side)
        memory.pointer.copyMemory(from: storage.pointer, byteCount: bytes)
        return memory
      }
      var outputs: [Int: FencedMemory] = [:]
      for root in sketch.roots where fences {
        outputs[root] = FencedMemory(byteCount: sketch.byteCount(root), flush: side)
      }
      let sources =
        fences
        ? leaves.map { UnsafeRawPointer($0.pointer) } : plain.map { UnsafeRawPointer($0.pointer) }
      let others = try PlanRunner.run(
        sketch.graph, leaves: sources, scalars: sketch.scalars,
        outputs: outputs.mapValues(\.pointer), threads: threads, instructionSet: set,
        parallelThreshold: 0, poisons: true)
      for root in sketch.roots {
        let type = sketch.nodes[root].type
        let found = difference(
          expected[root]!.pointer, outputs[root]?.pointer ?? others[root]!.pointer, type,
          sketch.byteCount(root) / type.size, tolerance: tolerance)
        if let found { Issue.record("\(what), \(set), \(side): \(found)") }
      }
      withExtendedLifetime(leaves) {}
    }
  }
}

/// Lengths around every multiple of a vector, and what takes several parts of a sum.
private let lengths = Array(1...35) + [47, 64, 65, 511, 512, 513, 1100]

/// The elementwise operations with the types that they have.
private let elementwise: [(Opcode, ScalarType)] = Opcode.allCases.flatMap {
  opcode -> [(Opcode, ScalarType)] in
  guard opcode.info.opClass == .elementwise, opcode != .cast else { return [] }
  return ScalarType.allCases.filter { opcode.info.typeRule != .floating || $0.isFloating }
    .map { (opcode, $0) }
}

@Suite(.enabled(if: !nativeSets.isEmpty)) struct NativeLoopTests {
  /// Every operation at every tail, operands flush against unreadable pages.
  @Test func elementwiseOperations() throws {
    for (opcode, type) in elementwise {
      // Powers of integers with negative exponents are refused before they get here.
      for n in lengths {
        var sketch = LoopSketch()
        let first = sketch.leaf([n], opcode == .select ? .bool : type)
        let second = opcode.info.arity > 1 ? sketch.leaf([n], type) : -1
        let third = opcode.info.arity > 2 ? sketch.leaf([n], type) : -1
        let result = opcode.info.typeRule == .bool ? ScalarType.bool : type
        sketch.root(sketch.op(opcode, result, first, second, third))
        let tolerance = fused.contains(opcode) && type.isFloating ? 1e-5 : 0
        try check(sketch, "\(opcode) \(type) [\(n)]", tolerance: tolerance)
      }
    }
  }

  @Test func casts() throws {
    for source in ScalarType.allCases {
      for target in ScalarType.allCases where target != source {
        for n in lengths {
          var sketch = LoopSketch()
          let a = sketch.leaf([n], source)
          sketch.root(sketch.op(.cast, target, a))
          // With AVX2 the conversions between floats and int64 stay portable.
          try check(sketch, "cast \(source) to \(target) [\(n)]", mustBeNative: false)
        }
      }
    }
  }

  /// Operands that are run-time scalars, one element, one row, one column, and rows of all lengths.
  @Test func broadcastOperands() throws {
    for type in [ScalarType.float32, .float64, .int32, .int64, .uint8] {
      for columns in [1, 3, 7, 8, 9, 15, 16, 17, 33, 64] {
        for rows in [1, 2, 5, 67] {
          var sketch = LoopSketch()
          let a = sketch.leaf([rows, columns], type)
          let row = sketch.leaf([columns], type)
          let column = sketch.leaf([rows, 1], type)
          let one = sketch.leaf([1, 1], type)
          let scalar = sketch.scalar(3, type)
          var x = sketch.op(.add, type, a, row)
          x = sketch.op(.mul, type, x, column)
          x = sketch.op(.sub, type, x, one)
          x = sketch.op(.maximum, type, x, scalar)
          sketch.root(x)
          try check(sketch, "broadcast \(type) [\(rows), \(columns)]")
        }
      }
    }
  }

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
        for root in [x, largest, total, scaled, smallest] { sketch.root(root) }
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

  /// A chain long enough that its values do not all find registers, summed by rows, with results.
  @Test func longChains() throws {
    for type in [ScalarType.float32, .float64] {
      for columns in [5, 16, 40, 100, 1000] {
        var sketch = LoopSketch()
        let a = sketch.leaf([3, columns], type)
        let b = sketch.leaf([3, columns], type)
        let t = sketch.op(.tanh, type, sketch.op(.add, type, a, b))
        let e = sketch.op(.exp, type, sketch.op(.neg, type, sketch.op(.square, type, a)))
        let s = sketch.op(.sigmoid, type, sketch.op(.mul, type, t, b))
        let y = sketch.op(.mul, type, sketch.op(.mul, type, t, e), s)
        for root in [t, e, y, sketch.reduce(.sum, y, axis: 1)] { sketch.root(root) }
        try check(sketch, "chain \(type) [3, \(columns)]", tolerance: 1e-5)
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
        for opcode in [Opcode.sum, .max, .min] {
          for axis in [nil, 0] {
            var sketch = LoopSketch()
            let a = sketch.leaf([rows, columns], type)
            let b = sketch.leaf([rows, columns], type)
            let x = sketch.op(.sub, type, a, b)
            let total = sketch.reduce(opcode, x, axis: axis)
            sketch.root(x)
            sketch.root(total)
            // What the portable kernels reduce they may read beyond the end.
            try check(
              sketch, "\(opcode) \(type) [\(rows), \(columns)] axis \(axis ?? -1)", fences: false,
              mustBeNative: rows > 1 && columns > 1, threads: 2)
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
      for n in lengths + [32_769, 100_003, 300_000] {
        for opcode in [Opcode.sum, .max, .min] {
          for choice in choices where opcode != .sum || choice == nil {
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
        var zeros = (0..<count).map { _ in random.next() & 1 == 0 ? Float(0) : -0.0 }
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

  /// Arrays that no cache near a core holds are read in shorter vectors.
  @Test func rowsOfLargeArrays() throws {
    for (opcode, columns) in [(Opcode.sum, 4096), (.max, 1000)] {
      var sketch = LoopSketch()
      let a = sketch.leaf([(1 << 20) / columns + 2, columns], .float32)
      sketch.root(sketch.reduce(opcode, sketch.op(.neg, .float32, a), axis: 1))
      try check(sketch, "\(opcode) of large rows [\(columns)]", threads: 2)
    }
  }

  /// Arguments that vectors leave to the C library don't change their neighbours.
  @Test func helpWithSingleLanes() throws {
    for set in nativeSets {
      for (opcode, large) in [(Opcode.sin, Float(3e7)), (.cos, -1e38), (.sin, .infinity)] {
        var sketch = LoopSketch()
        let x = sketch.leaf([100], .float32)
        let y = sketch.op(.tanh, .float32, sketch.op(opcode, .float32, x))
        sketch.root(y)
        func run(_ values: [Float]) throws -> [Float] {
          let storage = try values.withUnsafeBytes { bytes in
            try PlanRunner.run(
              sketch.graph, leaves: [bytes.baseAddress!], scalars: [], threads: 1,
              instructionSet: set)
          }
          return (0..<100).map { storage[y]!.pointer.load(fromByteOffset: 4 * $0, as: Float.self) }
        }
        let plain = (0..<100).map { Float($0) * 0.37 - 20 }
        var mixed = plain
        for i in [0, 17, 18, 63, 99] { mixed[i] = large }
        let (a, b) = (try run(plain), try run(mixed))
        for i in 0..<100 {
          if mixed[i] == plain[i] {
            #expect(a[i].bitPattern == b[i].bitPattern, "\(set) \(opcode) lane \(i)")
          } else {
            let exact = opcode == .sin ? sin(Double(large)) : cos(Double(large))
            let expected = Float(tanh(exact))
            #expect(
              b[i].isNaN == expected.isNaN && !(abs(b[i] - expected) > 1e-6),
              "\(set) \(opcode)(\(large)) = \(b[i])")
          }
        }
      }
    }
  }

  /// The same loop in another plan, of another length, is the same code, and goes with its plans.
  @Test func equalLoopsShareTheirCode() throws {
    for set in nativeSets {
      func plan(_ n: Int, _ opcode: Opcode) -> Plan {
        var sketch = LoopSketch()
        let (a, b) = (sketch.leaf([n], .float64), sketch.leaf([n], .float64))
        let x = sketch.op(.sub, .float64, sketch.op(opcode, .float64, a, b), b)
        sketch.root(sketch.op(.neg, .float64, sketch.op(.square, .float64, x)))
        return PlanRunner.plan(sketch.graph, for: set)
      }
      weak var owner: AnyObject?
      do {
        let (one, two) = (plan(1000, .mul), plan(7, .mul))
        let other = plan(1000, .add)
        let entry = one.kernels[0].nativeLoop!.routine.entry
        #expect(two.kernels[0].nativeLoop!.routine.entry == entry)
        #expect(other.kernels[0].nativeLoop!.routine.entry != entry)
        owner = one.kernels[0].nativeLoop!.routine.owner
        #expect(owner != nil)
      }
      #expect(owner == nil)
    }
  }

  /// Registers that belong to the caller come back as they were, and the upper halves of the vector
  /// registers clean.
  @Test func registersOfTheCaller() throws {
    let saved: [GPR] = [.rbx, .rbp, .r12, .r13, .r14, .r15]
    func canary(_ i: Int) -> Int { 0x1122_3344_5566_7700 + i }
    var code = Assembler()
    for register in saved { code.push(register) }
    code.push(.rdi)
    for (i, register) in saved.enumerated() { code.mov(register, canary(i)) }
    code.mov(.rax, Memory(.rdi, 0))
    code.mov(.rdi, Memory(.rdi, 8))
    let back = code.label()
    code.lea(.r11, back)
    code.push(.r11)
    code.jump(.rax)
    code.bind(back)
    code.pop(.rdi)
    for (i, register) in saved.enumerated() { code.mov(Memory(.rdi, 16 + 8 * i), register) }
    for register in saved.reversed() { code.pop(register) }
    code.ret()
    let caller = try #require(CodeMemory.install(code.finish()))
    // xgetbv with rcx = 1: the parts of the register state that are in use; bit 2 is the upper
    // halves.
    let query = try #require(
      CodeMemory.install([
        0xB9, 1, 0, 0, 0, 0x0F, 0x01, 0xD0, 0x48, 0xC1, 0xE2, 0x20, 0x48, 0x09, 0xD0, 0xC3,
      ]))
    let call = unsafeBitCast(
      caller.entry, to: (@convention(c) (UnsafeMutableRawPointer) -> Void).self)
    let state = unsafeBitCast(query.entry, to: (@convention(c) () -> Int).self)
    for set in nativeSets {
      for opcode in [Opcode.add, .pow] {
        var sketch = LoopSketch()
        let (a, b) = (sketch.leaf([37], .float32), sketch.leaf([37], .float32))
        let sum = sketch.op(opcode, .float32, a, b)
        sketch.root(sum)
        sketch.root(sketch.op(.exp, .float32, sketch.op(.mul, .float32, sum, a)))
        let plan = PlanRunner.plan(sketch.graph, for: set)
        let entry = try #require(plan.kernels[0].nativeLoop).routine.entry
        // A frame by hand: four arrays of which only one is read, between ones.
        let memory = UnsafeMutableRawPointer.allocate(byteCount: 1 << 16, alignment: 64)
        defer { memory.deallocate() }
        memory.initializeMemory(as: UInt8.self, repeating: 0, count: 1 << 16)
        let frame = memory + 4096
        for i in 0..<64 { memory.storeBytes(of: 1, toByteOffset: 4 * i, as: Float.self) }
        frame.storeBytes(of: 37, toByteOffset: LoopFrame.elementCount, as: Int.self)
        for i in 0..<4 {
          frame.storeBytes(
            of: UInt(bitPattern: memory) + UInt(i < 2 ? 0 : 512 * i),
            toByteOffset: LoopFrame.pointer(i), as: UInt.self)
        }
        var context = [Int](repeating: 0, count: 10)
        context[0] = Int(bitPattern: entry)
        context[1] = Int(bitPattern: frame)
        let used = context.withUnsafeMutableBytes { context in
          call(context.baseAddress!)
          return state()
        }
        for i in saved.indices { #expect(context[2 + i] == canary(i), "\(set) \(saved[i])") }
        #expect(used & 4 == 0, "\(set): the upper halves are in use")
        let result = memory.load(fromByteOffset: 1024 + 36 * 4, as: Float.self)
        #expect(result == (opcode == .add ? 2 : 1))
        #expect(memory.load(fromByteOffset: 1024 + 37 * 4, as: Float.self) == 0)
      }
    }
  }
}
