// The oracle against numbers worked out by hand, at least one case for every opcode: what judges
// the engine is judged first.

import Foundation
import LazyGradJIT
import Testing

/// A node's operands and its expected value, written out.
private struct Case: Sendable {
  let opcode: Opcode
  let operands: [ReferenceArray]
  let expected: ReferenceArray
  var attribute: UInt32 = 0
  var offset = 0

  init(
    _ opcode: Opcode, _ operands: [ReferenceArray], _ expected: ReferenceArray,
    attribute: UInt32 = 0, offset: Int = 0
  ) {
    self.opcode = opcode
    self.operands = operands
    self.expected = expected
    self.attribute = attribute
    self.offset = offset
  }
}

private func f32(_ x: [Double], _ dims: [Int]? = nil) -> ReferenceArray {
  ReferenceArray(.float32, dims ?? [x.count], floats: x)
}
private func f64(_ x: [Double], _ dims: [Int]? = nil) -> ReferenceArray {
  ReferenceArray(.float64, dims ?? [x.count], floats: x)
}
private func ints(
  _ x: [Int64], _ dims: [Int]? = nil, _ type: ScalarType = .int64
) -> ReferenceArray {
  ReferenceArray(type, dims ?? [x.count], integers: x)
}
private func bools(_ x: [Int64], _ dims: [Int]? = nil) -> ReferenceArray { ints(x, dims, .bool) }
private func shape(_ dims: [Int]) -> LayoutID { LayoutTable.shared.intern(dims: dims) }
private func layout(_ dims: [Int], _ strides: [Int]) -> LayoutID {
  LayoutTable.shared.intern(dims: dims, strides: strides)
}

private let nan = Double.nan
private let inf = Double.infinity

private let elementwiseCases: [Case] = [
  Case(.copy, [f32([1, -2])], f32([1, -2])),
  Case(
    .cast, [f64([1.9, -1.9, nan, 3e9, -inf])],
    ints([1, -1, -2_147_483_648, -2_147_483_648, -2_147_483_648], nil, .int32)),
  Case(
    .cast, [f64([-1, 255.5, 300, -0.5, nan, 3e9])], ints([255, 255, 44, 0, 0, 0], nil, .uint8)),
  Case(.cast, [f64([0, -0.0, 0.1, nan])], bools([0, 0, 1, 1])),
  Case(.cast, [f64([1e19, -1e19])], ints([.min, .min])),
  Case(.cast, [ints([300, -1])], ints([44, 255], nil, .uint8)),
  // Between two floats, nearer to the larger; by way of Double it would tie and go down.
  Case(.cast, [ints([0x80_0000_8000_0001])], f32([0x1p55 + 0x1p32])),
  Case(.cast, [f64([0.1, 1e39])], f32([Double(Float(0.1)), inf])),
  Case(.neg, [f32([1, -inf])], f32([-1, inf])),
  Case(.neg, [ints([.min, 3])], ints([.min, -3])),
  Case(.abs, [f32([-1.5, 2])], f32([1.5, 2])),
  Case(.abs, [ints([-128, 5], nil, .int32)], ints([128, 5], nil, .int32)),
  Case(.sign, [f32([-3, 0, 0.5, nan])], f32([-1, 0, 1, nan])),
  Case(.sign, [ints([-3, 0, 9])], ints([-1, 0, 1])),
  Case(.square, [f32([-3])], f32([9])),
  Case(.square, [ints([70000], nil, .int32)], ints([605_032_704], nil, .int32)),
  Case(.sqrt, [f64([4, -1, inf])], f64([2, nan, inf])),
  Case(.sqrt, [f32([2])], f32([Double(Float(2).squareRoot())])),
  Case(.reciprocal, [f32([4, 0, -0.0])], f32([0.25, inf, -inf])),
  Case(.exp, [f64([0, 1, -inf])], f64([1, M_E, 0])),
  Case(.expm1, [f64([0, 1e-20, -inf])], f64([0, 1e-20, -1])),
  Case(.log, [f64([1, M_E, 0, -1])], f64([0, 1, -inf, nan])),
  Case(.log1p, [f64([0, 1e-20, -1])], f64([0, 1e-20, -inf])),
  Case(.sin, [f64([0, .pi / 2, inf])], f64([0, 1, nan])),
  Case(.cos, [f64([0, .pi])], f64([1, -1])),
  Case(.tanh, [f64([0, inf, -inf])], f64([0, 1, -1])),
  Case(.sigmoid, [f64([0, 1000, -1000])], f64([0.5, 1, 0])),
  Case(.erf, [f64([0, inf, -inf])], f64([0, 1, -1])),
  Case(.cbrt, [f64([0, 8, -1, -inf])], f64([0, 2, -1, -inf])),
  Case(.exp2, [f64([0, 10, -1, -inf])], f64([1, 1024, 0.5, 0])),
  Case(.log2, [f64([1, 8, 0, -1])], f64([0, 3, -inf, nan])),
  Case(.log10, [f64([1, 0.1, 0, -1])], f64([0, -1, -inf, nan])),
  Case(.tan, [f64([0, .pi / 4, inf])], f64([0, 1, nan])),
  Case(.arcsin, [f64([0, 1, -1, 2])], f64([0, .pi / 2, -.pi / 2, nan])),
  Case(.arccos, [f64([1, 0, -1, 2])], f64([0, .pi / 2, .pi, nan])),
  Case(.arctan, [f64([0, 1, -inf])], f64([0, .pi / 4, -.pi / 2])),
  Case(.sinh, [f64([0, 1000, -inf])], f64([0, inf, -inf])),
  Case(.cosh, [f64([0, 1000, -inf])], f64([1, inf, inf])),
  Case(.hypot, [f64([3, 0, -5]), f64([-4, 0, 12])], f64([5, 0, 13])),
  Case(.arctan2, [f64([0, 1, 1, 0]), f64([1, 0, -1, -1])], f64([0, .pi / 2, 3 * .pi / 4, .pi])),
  Case(.fmod, [f64([7, -7, 7, 1]), f64([4, 4, -4, 0])], f64([3, -3, 3, nan])),
  Case(.relu, [f32([-inf, -1, 0, 2, nan])], f32([0, 0, 0, 2, nan])),
  Case(.relu, [ints([-4, 4])], ints([0, 4])),
  Case(.floor, [f32([1.5, -1.5, -2])], f32([1, -2, -2])),
  Case(.logicalNot, [f32([0, -0.0, 2, nan])], bools([1, 1, 0, 0])),
  Case(.isNaN, [f32([nan, inf, 0])], bools([1, 0, 0])),
  Case(.isNaN, [ints([0, 1])], bools([0, 0])),
  Case(.add, [f32([1, 2, 3, 4], [2, 2]), f32([10, 20])], f32([11, 22, 13, 24], [2, 2])),
  Case(.add, [f32([16_777_216]), f32([1])], f32([16_777_216])),
  Case(.add, [ints([.max]), ints([1])], ints([.min])),
  Case(.add, [bools([0, 0, 1, 1]), bools([0, 1, 0, 1])], bools([0, 1, 1, 1])),
  Case(.sub, [f32([1, inf]), f32([3, inf])], f32([-2, nan])),
  Case(.sub, [ints([1], nil, .uint8), ints([2], nil, .uint8)], ints([255], nil, .uint8)),
  Case(.mul, [f32([2], []), f32([1, -2])], f32([2, -4])),
  Case(.mul, [bools([0, 1, 1]), bools([1, 0, 1])], bools([0, 0, 1])),
  Case(.div, [f32([1, 1, 0]), f32([3, 0, 0])], f32([Double(Float(1) / Float(3)), inf, nan])),
  Case(.pow, [f64([2, -8, 4]), f64([10, 1.0 / 3, -0.5])], f64([1024, nan, 0.5])),
  Case(
    .pow, [ints([3, -2, 7, 10]), ints([4, 3, 0, 20])], ints([81, -8, 1, 7_766_279_631_452_241_920])),
  Case(.pow, [ints([1, -1, -1, 2]), ints([-5, -5, -4, -1])], ints([1, -1, 1, 0])),
  Case(.bitAnd, [ints([12, -1]), ints([10, 7])], ints([8, 7])),
  Case(.bitOr, [bools([0, 0, 1]), bools([0, 1, 1])], bools([0, 1, 1])),
  Case(
    .bitXor, [ints([12, 255], nil, .uint8), ints([10, 1], nil, .uint8)],
    ints([6, 254], nil, .uint8)),
  Case(.leftShift, [ints([1, 3, 1, 5]), ints([63, 1, 64, -1])], ints([.min, 6, 0, 0])),
  Case(.leftShift, [ints([129], nil, .uint8), ints([1], nil, .uint8)], ints([2], nil, .uint8)),
  Case(.rightShift, [ints([-8, 8, -1, 9]), ints([1, 2, 64, -1])], ints([-4, 2, -1, 0])),
  Case(.rightShift, [ints([-9], nil, .int32), ints([32], nil, .int32)], ints([-1], nil, .int32)),
  Case(.lgamma, [f64([1, 3, 6, 0])], f64([0, Foundation.log(2), Foundation.log(120), inf])),
  Case(.polygamma, [f64([1, 1, 0]), f64([inf, 0, 0])], f64([0, inf, -inf])),
  Case(.maximum, [f32([1, nan, 3]), f32([2, 0, nan])], f32([2, nan, nan])),
  Case(.maximum, [ints([1, 5]), ints([2, -5])], ints([2, 5])),
  Case(.minimum, [f32([1, nan, 3]), f32([2, 0, nan])], f32([1, nan, nan])),
  Case(.minimum, [ints([1, 5]), ints([2, -5])], ints([1, -5])),
  Case(.equal, [f32([1, nan, 0]), f32([1, nan, -0.0])], bools([1, 0, 1])),
  Case(.notEqual, [f32([1, nan]), f32([1, nan])], bools([0, 1])),
  Case(.less, [ints([1, 2, 3]), ints([2, 2, 2])], bools([1, 0, 0])),
  Case(.less, [f32([nan, -1]), f32([0, 0])], bools([0, 1])),
  Case(.lessEqual, [f32([1, 2, nan]), f32([1, 1, nan])], bools([1, 0, 0])),
  Case(.greater, [f32([1, 2, nan]), f32([1, 1, nan])], bools([0, 1, 0])),
  Case(.greaterEqual, [f32([1, 0, nan]), f32([1, 1, nan])], bools([1, 0, 0])),
  Case(.logicalAnd, [bools([0, 1, 1]), bools([1, 0, 1])], bools([0, 0, 1])),
  Case(.logicalOr, [f32([0, nan, 0]), f32([0, 0, 2])], bools([0, 1, 1])),
  Case(
    .select, [bools([1, 0]), f32([1, 2, 3, 4], [2, 2]), f32([9], [])], f32([1, 9, 3, 9], [2, 2])),
  Case(.select, [bools([1, 0]), ints([1, 2]), ints([7, 8])], ints([1, 8])),
]

private let matrix = f32([1, 2, 3, 4, 5, 6], [2, 3])

private let otherCases: [Case] = [
  Case(
    .view, [matrix], f32([4, 1, 5, 2, 6, 3], [3, 2]), attribute: layout([3, 2], [1, -3]), offset: 3),
  Case(
    .view, [matrix], f32([2, 2, 5, 5], [2, 2]), attribute: layout([2, 2], [3, 0]), offset: 1),
  Case(.cumsum, [matrix], f32([1, 3, 6, 4, 9, 15], [2, 3]), attribute: 1),
  Case(.cumsum, [matrix], f32([1, 2, 3, 5, 7, 9], [2, 3]), attribute: 0),
  Case(.cumprod, [matrix], f32([1, 2, 6, 4, 20, 120], [2, 3]), attribute: 1),
  Case(.cumprod, [ints([.max, 2])], ints([.max, -2]), attribute: 0),
  Case(
    .sort, [f32([3, nan, 1, 2, 2, 5], [2, 3])], f32([1, 3, nan, 2, 2, 5], [2, 3]),
    attribute: SortOrder(axis: 1, isDescending: false).attribute),
  Case(
    .sort, [f32([3, nan, 1, 2, 2, 5], [2, 3])], f32([3, 2, 5, 2, nan, 1], [2, 3]),
    attribute: SortOrder(axis: 0, isDescending: true).attribute),
  Case(
    .argsort, [f32([3, nan, 1, nan, 3, 5], [6])], ints([2, 0, 4, 5, 1, 3]),
    attribute: SortOrder(axis: 0, isDescending: false).attribute),
  Case(
    .argsort, [ints([3, 0, 1, 2, 0, 5], [2, 3])], ints([0, 1, 5, 3, 4, 2], [2, 3]),
    attribute: SortOrder(axis: 0, isDescending: true, isFlat: true).attribute),
  Case(.sum, [matrix], f32([5, 7, 9], [3]), attribute: shape([1, 2, 3])),
  Case(.sum, [matrix], f32([6, 15], [2, 1]), attribute: shape([2, 3, 1])),
  Case(.sum, [matrix], f32([21], []), attribute: shape([1, 6, 1])),
  Case(.sum, [f32([], [2, 0])], f32([0, 0]), attribute: shape([2, 0, 1])),
  // Rounded once: float32 alone would lose every 1.
  Case(.sum, [f32([16_777_216, 1, 1])], f32([16_777_218], []), attribute: shape([1, 3, 1])),
  Case(
    .sum, [ints([200, 100], nil, .uint8)], ints([44], [], .uint8), attribute: shape([1, 2, 1])),
  Case(
    .sum, [ints([1, 2, 3, 4, 5, 6, 7, 8], [2, 2, 2])], ints([4, 6, 12, 14], [2, 2]),
    attribute: shape([2, 2, 2])),
  Case(.prod, [matrix], f32([4, 10, 18], [3]), attribute: shape([1, 2, 3])),
  Case(.prod, [matrix], f32([6, 120], [2, 1]), attribute: shape([2, 3, 1])),
  Case(.prod, [f32([], [2, 0])], f32([1, 1]), attribute: shape([2, 0, 1])),
  Case(.prod, [f32([1, 0, nan, 2], [2, 2])], f32([0, nan]), attribute: shape([2, 2, 1])),
  // Rounded once: the first two are too large for float32.
  Case(
    .prod, [f32([0x1p100, 0x1p100, 0x1p-100])], f32([0x1p100], []), attribute: shape([1, 3, 1])),
  Case(
    .prod, [ints([200, 3], nil, .uint8)], ints([88], [], .uint8), attribute: shape([1, 2, 1])),
  Case(.max, [f32([1, 7, nan, 2], [2, 2])], f32([7, nan]), attribute: shape([2, 2, 1])),
  Case(.max, [ints([3, -1])], ints([3], []), attribute: shape([1, 2, 1])),
  Case(.min, [f32([1, 7, nan, 2], [2, 2])], f32([1, nan]), attribute: shape([2, 2, 1])),
  Case(.min, [ints([3, -1])], ints([-1], []), attribute: shape([1, 2, 1])),
  Case(
    .argmax, [f32([1, 5, 5, nan, 9, nan], [2, 3])], ints([1, 0]), attribute: shape([2, 3, 1])),
  Case(.argmin, [f32([4, 1, 1, 2, 0, 3], [2, 3])], ints([1, 1]), attribute: shape([2, 3, 1])),
  Case(.argmax, [matrix], ints([1, 1, 1]), attribute: shape([1, 2, 3])),
  Case(.argmin, [ints([4, 1, 1])], ints([1], []), attribute: shape([1, 3, 1])),
  Case(.matmul, [matrix, f32([1, 0, 0, 1, 2, -1], [3, 2])], f32([7, -1, 16, -1], [2, 2])),
  Case(
    .matmul, [f32([1, 2, 3, 4], [2, 1, 2]), f32([5, 6], [2, 1])], f32([17, 39], [2, 1, 1])),
  Case(.matmul, [f32([], [2, 0]), f32([], [0, 2])], f32([0, 0, 0, 0], [2, 2])),
  Case(.matmul, [ints([2, 3], [1, 2]), ints([4, 5], [2, 1])], ints([23], [1, 1])),
  Case(.matmul, [bools([1, 1], [1, 2]), bools([1, 0, 1, 0], [2, 2])], bools([1, 0], [1, 2])),
  Case(.gatherRows, [matrix, ints([-1, 0, 1])], f32([4, 5, 6, 1, 2, 3, 4, 5, 6], [3, 3])),
  Case(.gatherRows, [f32([7, 8, 9]), ints([2, -3], [1, 2])], f32([9, 7], [1, 2])),
  Case(
    .scatterAddRows, [matrix, f32([1, 1, 1, 2, 2, 2], [2, 3]), ints([0, -2])],
    f32([4, 5, 6, 4, 5, 6], [2, 3])),
  Case(
    .setRows, [matrix, f32([7, 8, 9, -7, -8, -9], [2, 3]), ints([1, -2])],
    f32([-7, -8, -9, 7, 8, 9], [2, 3]), offset: 3),
  // Any shape of as many elements; the last of several writes stays.
  Case(
    .setRows, [matrix, f32([7, 8, 9], [1, 3]), ints([5, 0, -1])],
    f32([8, 2, 3, 4, 5, 9], [2, 3]), offset: 1),
  Case(.setRows, [matrix, f32([], [0, 3]), ints([], [0])], matrix, offset: 3),
  Case(
    .setRegion, [matrix, f32([9], [])], f32([1, 9, 9, 4, 9, 9], [2, 3]),
    attribute: layout([2, 2], [3, 1]), offset: 1),
  Case(
    .addRegion, [matrix, f32([10, 20], [2, 1])], f32([11, 2, 3, 24, 5, 6], [2, 3]),
    attribute: layout([2, 1], [3, 1])),
  // A repeated place gets every addend.
  Case(
    .addRegion, [f32([1, 2]), f32([1, 2, 3])], f32([1, 8]), attribute: layout([3], [0]), offset: 1),
  Case(
    .concat, [matrix, f32([0, 9], [2, 1])], f32([1, 2, 3, 0, 4, 5, 6, 9], [2, 4]), attribute: 1),
  Case(.concat, [ints([1]), ints([], [0])], ints([1]), attribute: 0),
  Case(.attach, [f32([1]), matrix], matrix, attribute: 3),
  Case(
    .matrix, [f32([4, 9, 2, 5], [2, 2])], f32([2, 0, 1, 2], [2, 2]),
    attribute: MatrixCall.attribute(.cholesky)),
  Case(
    .matrix, [f64([0, 2, 4, 0], [2, 2]), f64([2, 8], [2, 1])], f64([2, 1], [2, 1]),
    attribute: MatrixCall.attribute(.solve)),
  Case(
    .matrix,
    [f64([0, 2, 4, 0], [2, 2]), f64([4, 6], [2, 1]), f64([4, 0, 0, 2, 1, 1], [3, 2])],
    f64([3, 1], [2, 1]), attribute: MatrixCall.attribute(.solve, .transposed)),
  Case(
    .matrix, [f64([1, 2, 4, 0], [2, 2])], f64([4, 0, 0.25, 2, 1, 1], [3, 2]),
    attribute: MatrixCall.attribute(.factors)),
  Case(
    .matrix, [f64([2, 9, 1, 3], [2, 2]), f64([5, 9], [2, 1])], f64([1, 3], [2, 1]),
    attribute: MatrixCall.attribute(.triangularSolve, [.transposed])),
  Case(
    .matrix, [f64([0, 2, 4, 0, 3, 0, 0, 3], [2, 2, 2])], f64([-8, 9]),
    attribute: MatrixCall.attribute(.determinant)),
  Case(
    .matrix, [f64([3, 9, 0, 1], [2, 2])], f64([1, 3, 0, 1, 1, 0]),
    attribute: MatrixCall.attribute(.eigh)),
]

@Suite struct ReferenceTests {
  /// Checks one case by way of a graph whose leaves are the operands.
  private func check(_ test: Case) throws {
    var nodes: [GraphNode] = []
    var memory: [Storage] = []
    for operand in test.operands {
      let storage = try Storage(byteCount: operand.count * operand.type.size)
      operand.store(to: storage.pointer)
      let id = shape(operand.dims)
      nodes.append(GraphNode(.leaf, operand.type, shape: id, attribute: id, slot: memory.count))
      memory.append(storage)
    }
    let n = test.operands.count
    nodes.append(
      GraphNode(
        test.opcode, test.expected.type, shape: shape(test.expected.dims), a: n > 0 ? 0 : -1,
        b: n > 1 ? 1 : -1, c: n > 2 ? 2 : -1, attribute: test.attribute, offset: test.offset,
        isRoot: true))
    let graph = Graph(nodes: nodes, leafCount: n, scalarCount: 0)
    let values = withExtendedLifetime(memory) {
      Reference.evaluate(graph, leaves: memory.map { UnsafeRawPointer($0.pointer) }, scalars: [])
    }
    let actual = values[n]
    let context = "\(test.opcode) \(test.operands)"
    #expect(actual.type == test.expected.type, "\(context)")
    #expect(actual.dims == test.expected.dims, "\(context)")
    #expect(actual.integers == test.expected.integers, "\(context)")
    #expect(actual.floats.count == test.expected.floats.count, "\(context)")
    for (x, y) in zip(actual.floats, test.expected.floats) {
      // The C library's last digit is its own affair; all else is exact.
      let isClose = x == y || (x.isNaN && y.isNaN) || abs(x - y) <= 2e-16
      #expect(isClose, "\(context): expected \(y), got \(x)")
    }
  }

  @Test func elementwiseOperations() throws { for test in elementwiseCases { try check(test) } }

  @Test func otherOperations() throws { for test in otherCases { try check(test) } }

  @Test func everyOpcodeHasACase() {
    let sources: Set<Opcode> = [.leaf, .scalar, .iota]
    let covered = sources.union(elementwiseCases.map(\.opcode)).union(otherCases.map(\.opcode))
    #expect(Opcode.allCases.filter { !covered.contains($0) } == [])
  }

  @Test func sources() throws {
    let storage = try Storage(byteCount: 6 * 4)
    matrix.store(to: storage.pointer)
    let nodes = [
      // Columns backwards, transposed; the address is that of element 2.
      GraphNode(
        .leaf, .float32, shape: shape([3, 2]), attribute: layout([3, 2], [-1, 3]), slot: 0),
      GraphNode(.scalar, .float32, shape: LayoutTable.scalar, slot: 0),
      GraphNode(.scalar, .int64, shape: LayoutTable.scalar, slot: 1),
      GraphNode(.scalar, .bool, shape: LayoutTable.scalar, slot: 1),
      GraphNode(.iota, .int64, shape: shape([2, 3])),
      GraphNode(.iota, .int64, shape: LayoutTable.scalar),
    ]
    let graph = Graph(nodes: nodes, leafCount: 1, scalarCount: 2)
    let values = withExtendedLifetime(storage) {
      Reference.evaluate(
        graph, leaves: [UnsafeRawPointer(storage.pointer) + 8], scalars: [0.1, -7])
    }
    #expect(values[0].floats == [3, 6, 2, 5, 1, 4])
    #expect(values[1].floats == [Double(Float(0.1))])
    #expect(values[2].integers == [-7])
    #expect(values[3].integers == [1])
    #expect(values[4].integers == [0, 1, 2, 0, 1, 2])
    #expect(values[5].integers == [0])
  }

  /// The oracle computes float32 in Double; the correctly rounded result must come out.
  @Test func float32ArithmeticIsCorrectlyRounded() {
    var bits: UInt32 = 12345
    func next() -> Float {
      bits = bits &* 1_664_525 &+ 1_013_904_223
      return Float(bitPattern: bits)
    }
    for _ in 0..<20_000 {
      let (x, y) = (next(), next())
      let a = f32([Double(x)])
      let b = f32([Double(y)])
      func same(_ opcode: Opcode, _ expected: Float) -> Bool {
        let operands = opcode.info.arity == 1 ? [a] : [a, b]
        let node = GraphNode(opcode, .float32, shape: shape([1]))
        let got = Reference.value(of: node, operands, leaves: [], scalars: []).floats[0]
        return got == Double(expected) || (got.isNaN && expected.isNaN)
      }
      #expect(same(.add, x + y) && same(.sub, x - y) && same(.mul, x * y) && same(.div, x / y))
      #expect(same(.sqrt, x.squareRoot()) && same(.reciprocal, 1 / x) && same(.square, x * x))
    }
  }
}
