// Graphs that tests of loops sketch, and how the machine code of one is held against the portable
// kernels: on operands between unreadable pages.

import Foundation
import LazyGradJIT
import TestSupport
import Testing

let nativeSets = NativeCode.available.filter { $0 != .portable }

/// A graph over leaves of given shapes and types, and one root or more.
struct LoopSketch {
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

  /// A matrix that lies transposed in memory.
  mutating func transposedLeaf(_ dims: [Int], _ type: ScalarType) -> Int {
    let leaf = leaf(dims, type)
    nodes[leaf].attribute = LayoutTable.shared.intern(dims: dims, strides: [1, dims[0]])
    return leaf
  }

  /// A product of matrices.
  mutating func matmul(_ a: Int, _ b: Int) -> Int {
    nodes.append(
      GraphNode(
        .matmul, nodes[a].type, shape: Self.id([dims(a)[0], dims(b)[1]]), a: a, b: b))
    return nodes.count - 1
  }

  /// A reduction of the last axis, of the first of two, or of everything.
  mutating func reduce(_ opcode: Opcode, _ a: Int, axis: Int?) -> Int {
    let dims = dims(a)
    let type: ScalarType = opcode.info.search != nil ? .int64 : nodes[a].type
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

  /// A reduction of the middle one of three axes.
  mutating func reduceMiddle(_ opcode: Opcode, _ a: Int) -> Int {
    let dims = dims(a)
    let type: ScalarType = opcode.info.search != nil ? .int64 : nodes[a].type
    nodes.append(
      GraphNode(
        opcode, type, shape: Self.id([dims[0], 1, dims[2]]), a: a,
        attribute: Self.id(dims)))
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
    // Where numbers of 16 bits begin, end and lie in the middle, and just beside it.
    65504, 65519, 65520, -65520, 0x1p-24, 0x1p-25, -0x1.8p-24, 0x1p-14, 1 + 0x1p-11,
    1 + 0x1p-11 + 0x1p-40, 1 + 0x1p-8, 1 + 0x1p-8 + 0x1p-40, 1 + 0x3p-11 - 0x1p-40,
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
    case .float16, .bfloat16:
      p.storeBytes(of: HalfFloat.bits(float, type), toByteOffset: 2 * i, as: UInt16.self)
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
func check(
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
      withExtendedLifetime((leaves, outputs, others)) {}
    }
  }
}

/// Lengths around every multiple of a vector, and what takes several parts of a sum.
let loopLengths = Array(1...35) + [47, 64, 65, 511, 512, 513, 1100]
