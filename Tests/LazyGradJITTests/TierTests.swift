// What the program's choice of instruction set decides, and the grant of code memory does not: the bits
// of elementary functions and of products. Everything else has the bits of the portable kernels anyway, and
// where these round once (PortableArithmetic), elementary functions and products have them as well.

import LazyGradJIT
import TestSupport
import Testing

@Suite(.enabled(if: !Tier.fused.isEmpty)) struct TierTests {
  private static let opcodes = Opcode.allCases.filter {
    $0.info.opClass == .elementwise && $0.info.arity <= 2 && $0 != .cast && $0 != .copy
      && $0.info.typeRule != .bool && $0.info.takes(.float32)
  }

  /// The index of the first result that differs; NaNs count as equal.
  private static func difference<T: BinaryFloatingPoint>(_ a: [T], _ b: [T]) -> Int? {
    for i in a.indices where a[i] != b[i] || a[i].sign != b[i].sign {
      if !(a[i].isNaN && b[i].isNaN) { return i }
    }
    return nil
  }

  private static func check<T: BinaryFloatingPoint>(
    _ opcode: Opcode, _ type: ScalarType, _ x: [T], _ y: [T]
  ) {
    let expected = apply(opcode, type, x, y, on: Tier.fused[0])
    for tier in Tier.fused.dropFirst() {
      if let i = difference(apply(opcode, type, x, y, on: tier), expected) {
        Issue.record("\(opcode) \(type) \(tier.testDescription) at \(x[i]), \(y[i])")
      }
    }
  }

  @Test(arguments: opcodes) func elementwise(_ opcode: Opcode) {
    var random = SeededRandom(seed: UInt64(opcode.rawValue))
    var (x, y) = (singles, singles)
    // Where the functions are interesting, with exponents that give finite powers.
    for _ in 0..<40_000 {
      x.append(Float(random.uniform() * 40 - 20))
      y.append(Float(random.uniform() * 40 - 20))
    }
    y = Array(y[1...] + y[..<1])
    Self.check(opcode, .float32, x, y)
    var (wideX, wideY) = (doubles, doubles)
    for _ in 0..<40_000 {
      wideX.append(random.uniform() * 40 - 20)
      wideY.append(random.uniform() * 40 - 20)
    }
    wideY = Array(wideY[1...] + wideY[..<1])
    Self.check(opcode, .float64, wideX, wideY)
  }

  /// Products of one and of several parts, in a batch with more numbers of rows than one function
  /// serves, with one column and with one row.
  @Test(arguments: [
    (1, 30, 50, 7), (40, 30, 9, 12), (1, 3, 700, 33), (2, 65, 300, 1), (3, 1, 600, 40),
  ])
  func products(batch: Int, m: Int, k: Int, n: Int) {
    func results<T: BinaryFloatingPoint>(_: T.Type, _ type: ScalarType, _ tier: Tier) -> [T] {
      var random = SeededRandom(seed: 5)
      let a = (0..<(batch * m * k + 8)).map { _ in T(random.uniform() - 0.5) }
      let b = (0..<(batch * k * n + 8)).map { _ in T(random.uniform() - 0.5) }
      let table = LayoutTable.shared
      let left = table.intern(dims: [batch, m, k])
      let right = table.intern(dims: [batch, k, n])
      let shape = table.intern(dims: [batch, m, n])
      let nodes = [
        GraphNode(.leaf, type, shape: left, attribute: left, slot: 0),
        GraphNode(.leaf, type, shape: right, attribute: right, slot: 1),
        GraphNode(.matmul, type, shape: shape, a: 0, b: 1, isRoot: true),
      ]
      return a.withUnsafeBytes { a in
        b.withUnsafeBytes { b in
          let storage = try! PlanRunner.run(
            Graph(nodes: nodes, leafCount: 2, scalarCount: 0),
            leaves: [a.baseAddress!, b.baseAddress!], scalars: [], threads: 1,
            instructionSet: tier.set, refusesCode: tier.isRefused)
          return withExtendedLifetime(storage) {
            Array(
              UnsafeBufferPointer(
                start: storage[2]!.pointer.assumingMemoryBound(to: T.self), count: batch * m * n))
          }
        }
      }
    }
    let single = results(Float.self, .float32, Tier.fused[0])
    let double = results(Double.self, .float64, Tier.fused[0])
    for tier in Tier.fused.dropFirst() {
      #expect(results(Float.self, .float32, tier) == single, "\(tier.testDescription)")
      #expect(results(Double.self, .float64, tier) == double, "\(tier.testDescription)")
    }
    // The products above were in fact fused: a portable set that rounds twice gives others.
    if !PortableArithmetic.isFused {
      #expect(results(Float.self, .float32, Tier(set: .portable)) != single)
    }
  }

  /// A batch of products whose blocks begin at many rows of a matrix has machine code as well.
  @Test func everyNumberOfRowsHasCode() {
    for set in NativeCode.available where set != .portable {
      for m in [1, 5, 10, 17, 30, 31, 100] {
        let table = LayoutTable.shared
        let left = table.intern(dims: [40, m, 9])
        let right = table.intern(dims: [40, 9, 12])
        let nodes = [
          GraphNode(.leaf, .float32, shape: left, attribute: left, slot: 0),
          GraphNode(.leaf, .float32, shape: right, attribute: right, slot: 1),
          GraphNode(
            .matmul, .float32, shape: table.intern(dims: [40, m, 12]), a: 0, b: 1, isRoot: true),
        ]
        let plan = PlanRunner.plan(Graph(nodes: nodes, leafCount: 2, scalarCount: 0), for: set)
        #expect(plan.kernels.allSatisfy { $0.nativeProduct != nil }, "\(set) \(m)")
      }
    }
  }
}
